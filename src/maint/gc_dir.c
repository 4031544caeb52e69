/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/str.h"
#include "pbs/names.h"
#include "store/dir_names.h"
#include "store/dir_path.h"
#include "store/store.h"

/*
 * A server marks what every index below the base refers to, wherever it is,
 * but for hidden directories.  So this looks into all of them, while a listing
 * has only those of the scheme.
 */
#define LISTED_DEPTH_MAX 40	/* a listing goes somewhat deeper */
#define LOST_FOUND "lost+found"

struct place {
	TAILQ_ENTRY(place) link;
	unsigned depth;
	char path[];		/* "" is the base */
};

struct walk {
	struct gc *g;
	TAILQ_HEAD(, place) todo;
	const struct place *at;
};

static int
add_place(struct walk *w, const char *above, const char *name, unsigned depth)
{
	size_t len = strlen(above) + strlen(name) + 2;
	struct place *p = malloc(sizeof(*p) + len);

	if (p == NULL)
		return -ENOMEM;
	snprintf(p->path, len, "%s%s%s", above, above[0] != '\0' ? "/" : "",
	    name);
	p->depth = depth;
	TAILQ_INSERT_HEAD(&w->todo, p, link);
	return 0;
}

/* Whether a listing of ".cnt/" has this file. */
static bool
is_listed(const struct place *p, const char *path, const char *name)
{
	_cleanup_(str_fini) struct str key = {0};
	struct dir_name n;

	str_addf(&key, ".cnt/%s", path);
	return str_error(&key) == 0 && p->depth <= LISTED_DEPTH_MAX &&
	    key.len < KEY_MAX && store_key_is_valid(str_get(&key)) &&
	    dir_names_of_key(str_get(&key), &n) == 0 &&
	    dir_names_file(n.place, name);
}

static int
add_file(struct walk *w, int dir, const char *name)
{
	_cleanup_(str_fini) struct str path = {0};
	char etag[72];
	struct stat st;

	if (!str_ends(name, ".fidx") && !str_ends(name, ".didx"))
		return 0;
	str_addf(&path, "%s%s%s", w->at->path, w->at->path[0] != '\0' ?
	    "/" : "", name);
	if (str_error(&path) < 0)
		return -ENOMEM;
	if (is_listed(w->at, str_get(&path), name))
		return 0;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	snprintf(etag, sizeof(etag), "%llx-%llx-%llx.%lx",
	    (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
	    (unsigned long long)st.st_ctim.tv_sec,
	    (unsigned long)st.st_ctim.tv_nsec);
	gc_event(w->g, GC_STRAY_INDEX, str_get(&path),
	    "outside of the scheme of groups and snapshots");
	return gc_add_index(w->g, str_get(&path), etag, (uint64_t)st.st_size,
	    true);
}

static int
on_name(void *arg, int dir, const struct dirent *e)
{
	struct walk *w = arg;
	struct stat st;
	bool is_dir = e->d_type == DT_DIR;

	if (e->d_name[0] == '.')
		return 0;
	if (e->d_type == DT_UNKNOWN) {
		if (fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
		is_dir = S_ISDIR(st.st_mode);
	}
	if (is_dir)
		return add_place(w, w->at->path, e->d_name, w->at->depth + 1);
	return add_file(w, dir, e->d_name);
}

static int
walk_place(struct walk *w, const struct place *p)
{
	const char *path = p->path[0] != '\0' ? p->path : ".";
	int fd = dir_path_open(w->g->base_fd, path, O_RDONLY | O_DIRECTORY);
	int r = fd;

	w->at = p;
	if (fd >= 0)
		r = io_read_dir(fd, on_name, w);
	if (r == 0 || dir_path_is_absent(r))
		return 0;
	if ((r == -EACCES || r == -EPERM) && p->depth <= 1 &&
	    streq(p->path, LOST_FOUND))
		return 0;
	log_err("%s/%s: cannot look for indices there: %s; nothing is deleted",
	    w->g->base, p->path, strerror(-r));
	return r;
}

int
gc_dir_list(struct gc *g)
{
	struct walk w = {.g = g};
	struct place *p;
	int r;

	TAILQ_INIT(&w.todo);
	r = add_place(&w, "", "", 0);
	while ((p = TAILQ_FIRST(&w.todo)) != NULL) {
		TAILQ_REMOVE(&w.todo, p, link);
		if (r == 0)
			r = gc_stopped(g);
		if (r == 0)
			r = walk_place(&w, p);
		free(p);
	}
	return r;
}
