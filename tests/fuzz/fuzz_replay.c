/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "draft/content.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "draft/drafts.h"
#include "repo/repo.h"
#include "store/backends.h"
#include "store/store.h"

/*
 * The transactions of a journal, one behind the other.  Whatever they say, the
 * draft is either refused or a tree that can be walked.
 */
#define SLOT 5

static struct repo *
open_repo(void)
{
	static const char owner[] = "root@pam\n";
	const struct repo_opts o = {.timeout_ms = 1000};
	const struct store_put how = {.if_absent = false};
	struct store *s;
	struct repo *r;

	log_set_level(LOG_LVL_ERR);
	FUZZ_CHECK(store_mem_new(&s) == 0);
	FUZZ_CHECK(store_put(s, ".cnt/host/h1/owner", owner,
	    sizeof(owner) - 1, &how, NULL) == 0);
	FUZZ_CHECK(repo_open(s, &o, &r) == 0);
	return r;
}

struct walk {
	struct draft *d;
	uint64_t *dirs;		/* owned: found, in order */
	size_t n, size;
};

static void
add_dir(struct walk *w, uint64_t ino)
{
	size_t i;

	/* One way leads to each. */
	for (i = 0; i < w->n; i++)
		FUZZ_CHECK(w->dirs[i] != ino);
	if (w->n == w->size) {
		w->size = w->size == 0 ? 64 : 2 * w->size;
		w->dirs = reallocarray(w->dirs, w->size, sizeof(*w->dirs));
		FUZZ_CHECK(w->dirs != NULL);
	}
	w->dirs[w->n++] = ino;
}

struct names {
	struct str all;		/* each with a NUL */
	size_t n;
};

static int
add_name(void *arg, const struct draft_dirent *e)
{
	struct names *l = arg;

	FUZZ_CHECK(e->cookie != 0 && e->name[0] != '\0');
	str_addn(&l->all, e->name, strlen(e->name) + 1);
	l->n++;
	return 0;
}

static void
look(struct walk *w, uint64_t dir, const char *name)
{
	struct buf *b = NULL;
	struct stat st, again;

	if (draft_lookup(w->d, dir, name, 0, &st) < 0)
		return;
	FUZZ_CHECK(draft_getattr(w->d, st.st_ino, 0, &again) == 0);
	FUZZ_CHECK(again.st_mode == st.st_mode && st.st_size >= 0);
	if (draft_xattr_list(w->d, st.st_ino, 0, &b) == 0)
		buf_unref(b);
	/* The kernel holds directories as long as it is below them. */
	if (S_ISDIR(st.st_mode)) {
		add_dir(w, st.st_ino);
		return;
	}
	if (S_ISLNK(st.st_mode) &&
	    draft_readlink(w->d, st.st_ino, 0, &b) == 0)
		buf_unref(b);
	draft_forget(w->d, st.st_ino, 1);
}

static void
walk_dir(struct walk *w, uint64_t ino)
{
	struct names l = {0};
	struct draft_dir *dir;
	const char *p;
	size_t i;

	if (draft_opendir(w->d, ino, 0, &dir) < 0)
		return;
	(void)draft_readdir(dir, 0, 0, add_name, &l);
	draft_closedir(dir);
	FUZZ_CHECK(str_error(&l.all) == 0);
	for (i = 0, p = str_get(&l.all); i < l.n; i++, p += strlen(p) + 1)
		look(w, ino, p);
	str_fini(&l.all);
}

static void
walk(struct draft *d)
{
	struct walk w = {.d = d};
	size_t i;

	add_dir(&w, draft_root(d));
	for (i = 0; i < w.n; i++)
		walk_dir(&w, w.dirs[i]);
	for (i = 1; i < w.n; i++)
		draft_forget(d, w.dirs[i], 1);
	free(w.dirs);
}

static void
check_inodes(struct draft *d)
{
	struct inode *i;

	RB_FOREACH(i, inodes_by_ino, &d->inos) {
		FUZZ_CHECK(i->refs > 0);
		FUZZ_CHECK(i->nlink > 0 && (i->mode & S_IFMT) != 0);
		FUZZ_CHECK(i->content == NULL || S_ISREG(i->mode));
		FUZZ_CHECK(i->parent == NULL || S_ISDIR(i->parent->mode));
		FUZZ_CHECK(RB_EMPTY(&i->names) || S_ISDIR(i->mode));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	static struct repo *repo;
	const struct group_name none = {.ns = ""};
	struct drafts ds = {.dir = -1};
	struct draft *d;
	int r;

	if (repo == NULL)
		repo = open_repo();
	ds.repo = repo;
	FUZZ_CHECK(chunk_keys_new(NULL, NULL, &ds.keys) == 0);
	FUZZ_CHECK(draft_new(&ds, &none, SLOT, &d) == 0);
	FUZZ_CHECK(draft_replay_begin(d) == 0);
	r = draft_replay(d, p, len);
	FUZZ_CHECK(draft_replay_end(d, r) == r);
	if (r == 0) {
		check_inodes(d);
		walk(d);
	}
	draft_free(d);
	chunk_keys_free(ds.keys);
	return 0;
}
