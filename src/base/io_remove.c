/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

/*
 * The way down to the directory that is being emptied.  Only that one is
 * open, so that depth costs memory but neither descriptors nor stack; the way
 * up is "..", which must lead to where we came from.
 */
struct level {
	char *name;		/* owned; of the directory below */
	dev_t dev;		/* of the directory that has it */
	ino_t ino;
};

struct way {
	struct level *level;	/* owned */
	size_t n, size;
};

static int
way_push(struct way *w, const char *name, const struct stat *st)
{
	struct level *l;

	if (w->n == w->size) {
		size_t size = w->size == 0 ? 16 : 2 * w->size;

		l = reallocarray(w->level, size, sizeof(*l));
		if (l == NULL)
			return -ENOMEM;
		w->level = l;
		w->size = size;
	}
	l = &w->level[w->n];
	l->name = strdup(name);
	if (l->name == NULL)
		return -ENOMEM;
	l->dev = st->st_dev;
	l->ino = st->st_ino;
	w->n++;
	return 0;
}

static void
way_fini(struct way *w)
{
	while (w->n > 0)
		free(w->level[--w->n].name);
	free(w->level);
}

/* 0, or 1 with the name (malloc'ed) of what is a directory. */
static int
empty_name(void *arg, int dir, const struct dirent *e)
{
	char **ret_name = arg;

	if (unlinkat(dir, e->d_name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	*ret_name = strdup(e->d_name);
	return *ret_name == NULL ? -ENOMEM : 1;
}

/*
 * Unlink what is in the directory up to the first subdirectory.  0 if it is
 * empty now, 1 with *ret_name (malloc'ed) if there is one.
 */
static int
empty(int fd, char **ret_name)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return copy < 0 ? -errno : io_read_dir(copy, empty_name, ret_name);
}

static int
move_to(int *fd, const char *name)
{
	int next = openat(*fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (next < 0)
		return -errno;
	close(*fd);
	*fd = next;
	return 0;
}

static int
go_down(struct way *w, int *fd, const char *name)
{
	struct stat here, there;
	int r;

	if (fstat(*fd, &here) < 0)
		return -errno;
	if (fstatat(*fd, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (there.st_dev != here.st_dev)
		return -EXDEV;	/* what is mounted there is not ours */
	r = way_push(w, name, &here);
	return r < 0 ? r : move_to(fd, name);
}

static int
go_up(struct way *w, int *fd)
{
	struct level *l = &w->level[w->n - 1];
	struct stat st;
	int r;

	r = move_to(fd, "..");
	if (r < 0)
		return r;
	if (fstat(*fd, &st) < 0)
		return -errno;
	if (st.st_dev != l->dev || st.st_ino != l->ino)
		return -ESTALE;	/* somebody moved it away under us */
	if (unlinkat(*fd, l->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	free(l->name);
	w->n--;
	return 0;
}

int
io_remove_tree(int dirfd, const char *path)
{
	_cleanup_close_ int fd = -1;
	struct way w = {0};
	int r;

	if (unlinkat(dirfd, path, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	fd = openat(dirfd, path,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (;;) {
		_cleanup_free_ char *name = NULL;

		r = empty(fd, &name);
		if (r < 0)
			break;
		if (r == 1) {
			r = go_down(&w, &fd, name);
		} else {
			if (w.n == 0)
				break;
			r = go_up(&w, &fd);
		}
		if (r < 0)
			break;
	}
	way_fini(&w);
	if (r == 0 && unlinkat(dirfd, path, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}
