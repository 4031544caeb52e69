/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/drafts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "draft/content.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/staging.h"

/*
 * STATE/<16 hex digits of the store's identity>/	locked by flock
 *	store			the identity, to be read by people
 *	open/<slot>/journal	a draft
 *	open/<slot>/data/...	its staging files
 */
#define ID_BYTES (STATE_NAME_LEN / 2)
#define SLOT_DIGITS 5

static int
open_dir(int at, const char *path, int *ret)
{
	*ret = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret >= 0 ? 0 : -errno;
}

/* Of a directory that two stores would share nothing is safe. */
static int
check_store(int dir, const char *identity)
{
	struct iovec iov = {
	    .iov_base = (char *)(uintptr_t)identity,
	    .iov_len = strlen(identity),
	};
	struct buf *b;
	bool same;
	int r;

	r = io_read_file(dir, "store", STATE_STORE_MAX, &b);
	if (r == -ENOENT)
		return io_replace(dir, "store", &iov, 1, 0600, IO_SYNC);
	if (r < 0)
		return r;
	same = b->len == iov.iov_len &&
	    memcmp(b->data, identity, b->len) == 0;
	buf_unref(b);
	return same ? 0 : -EEXIST;
}

/* For as long as the descriptor is open. */
static int
lock_dir(int dir)
{
	if (flock(dir, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

void
state_name(const char *identity, char out[STATE_NAME_LEN + 1])
{
	struct digest id = digest_of(identity, strlen(identity));

	hex_encode(out, id.b, ID_BYTES);
}

int
state_open(struct drafts *ds)
{
	const char *state = ds->opts.state, *identity = ds->opts.identity;
	char name[STATE_NAME_LEN + 1];
	_cleanup_close_ int top = -1;
	_cleanup_close_ int dir = -1;
	int r;

	state_name(identity, name);
	r = io_mkdirs(AT_FDCWD, state, 0700);
	if (r == 0)
		r = open_dir(AT_FDCWD, state, &top);
	if (r == 0)
		r = io_check_private(top);
	if (r == 0)
		r = io_mkdirs(top, name, 0700);
	if (r == 0)
		r = open_dir(top, name, &dir);
	if (r == 0)
		r = lock_dir(dir);
	if (r == 0)
		r = check_store(dir, identity);
	if (r == 0)
		r = io_mkdirs(dir, "open", 0700);
	if (r == -EBUSY)
		log_err("state directory %s/%s: another process works on this "
		    "store\nhint: one mount at a time can write to a store",
		    state, name);
	else if (r < 0)
		log_err("state directory %s/%s: %s", state, name,
		    strerror(-r));
	if (r < 0)
		return r;
	ds->dir = dir;
	dir = -1;
	return 0;
}

static bool
keep_file(void *arg, uint64_t ino)
{
	struct draft *d = arg;
	struct inode *i;
	bool keep;
	LOCK(&d->lock);

	i = inode_find(d, ino);
	if (i == NULL)
		return false;
	keep = i->content != NULL && content_staged(i->content) > 0;
	inode_unref(d, i);
	return keep;
}

/* What else the journal tells of is on the disk and in the store. */
static int
recover_data(struct draft *d)
{
	struct inode *i;
	int r;

	r = staging_sweep(d->dir, keep_file, d);
	if (r < 0)
		return r;
	/* Nobody else knows the draft. */
	RB_FOREACH(i, inodes_by_ino, &d->inos) {
		r = io_recover(d, i);
		if (r < 0)
			return r;
	}
	return journal_commit(d->journal, 0);
}

static int
replay(struct draft *d)
{
	struct stat st;
	int r;

	if (fstatat(d->dir, "journal", &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	r = draft_replay_begin(d);
	if (r < 0)
		return r;
	r = journal_open(d->dir, "journal", draft_replay, d, &d->journal);
	r = draft_replay_end(d, r);
	if (r < 0)
		return r;
	d->compact_at = JOURNAL_COMPACT_MIN;
	return d->changed || d->unsettled ? recover_data(d) : 0;
}

static int
damaged(uint32_t slot, int r)
{
	log_err("state directory: open/%05x: its changes cannot be read: %s\n"
	    "hint: move that directory away to go on without them", slot,
	    strerror(-r));
	return r;
}

int
draft_load(struct drafts *ds, uint32_t slot, struct draft **ret)
{
	const struct group_name none = {.ns = ""};
	struct draft *d;
	char path[32];
	int r;

	*ret = NULL;
	r = draft_new(ds, &none, slot, &d);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "open/%05x", slot);
	r = open_dir(ds->dir, path, &d->dir);
	if (r == 0)
		r = replay(d);
	if (r < 0) {
		draft_free(d);
		return damaged(slot, r);
	}
	if (d->changed || d->unsettled) {
		*ret = d;
		return 0;
	}
	/* A view of what is the latest snapshot is made when asked for. */
	draft_free(d);
	r = io_remove_tree(ds->dir, path);
	return r < 0 ? damaged(slot, r) : 0;
}

bool
state_parse_slot(const char *name, uint32_t *ret)
{
	char *end;
	size_t i;

	for (i = 0; i < SLOT_DIGITS; i++)
		if (strchr("0123456789abcdef", name[i]) == NULL ||
		    name[i] == '\0')
			return false;
	if (name[SLOT_DIGITS] != '\0')
		return false;
	*ret = (uint32_t)strtoul(name, &end, 16);
	return *ret < DRAFT_SLOTS;
}

static int
load_one(void *arg, int dir, const struct dirent *e)
{
	struct drafts *ds = arg;
	struct draft *d;
	uint32_t slot;
	int r;

	(void)dir;
	if (!state_parse_slot(e->d_name, &slot))
		return 0;
	r = draft_load(ds, slot, &d);
	if (r < 0 || d == NULL)
		return r;
	{
		LOCK(&ds->lock);
		r = drafts_add(ds, d);
	}
	if (r < 0) {
		draft_free(d);
		return damaged(slot, r);
	}
	return 0;
}

int
state_load(struct drafts *ds)
{
	int fd, r;

	r = open_dir(ds->dir, "open", &fd);
	return r < 0 ? r : io_read_dir(fd, load_one, ds);
}
