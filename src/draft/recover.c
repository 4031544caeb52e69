/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/io.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/staging.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/uploads.h"
#include "store/store.h"

#define ASK_MS 30000

/*
 * After a replay.  Nobody else knows the inode yet, but records go through the
 * journal as always: what was lost stays lost, even if the staging file grows
 * over that place later.
 */
struct recovery {
	struct draft *d;
	struct inode *i;
	uint64_t lost;		/* bytes */
	bool away;		/* the store did not answer */
};

static int
lose(struct recovery *rc, uint64_t off, uint64_t len)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct draft *d = rc->d;
	uint64_t seq = 0;
	int r;

	LOCK(&d->lock);
	r = io_add_range(&txn, REC_LOST, rc->i, off, len);
	if (r == 0)
		r = draft_log(d, &txn, &seq);
	if (r == 0)
		r = content_lose(rc->i->content, off, len, ++d->seq);
	rc->lost += len;
	return r;
}

/* Staged bytes from there on are not in the file. */
static int
lose_staged(struct recovery *rc, uint64_t from)
{
	struct piece p;
	int r = 0;

	while (r == 0 &&
	    content_next(rc->i->content, from, PIECE_STAGED, &p) == 0) {
		uint64_t off = MAX(p.off, from);

		r = lose(rc, off, p.off + p.len - off);
	}
	return r;
}

/* What was uploaded or overwritten, and was not given back any more. */
static int
punch_rest(const struct inode *i, int fd, uint64_t size)
{
	uint64_t pos = 0, gap;
	struct piece p;
	int r = 0;

	while (r == 0 && pos < size) {
		if (content_next(i->content, pos, PIECE_STAGED, &p) < 0)
			p.off = size, p.len = 0;
		gap = MIN(MAX(p.off, pos), size);
		if (gap > pos)
			r = staging_punch(fd, pos, gap - pos);
		pos = MAX(p.off + p.len, gap);
	}
	return r;
}

static int
recover_staged(struct recovery *rc)
{
	struct inode *i = rc->i;
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r;

	fd = staging_file(rc->d->dir, i->ino, false);
	if (fd == -ENOENT)
		return lose_staged(rc, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	r = lose_staged(rc, (uint64_t)st.st_size);
	if (r < 0)
		return r;
	/* Room that is not given back is no reason to refuse the rest. */
	r = punch_rest(i, fd, (uint64_t)st.st_size);
	if (r < 0)
		log_limited(LOG_LVL_WARN,
		    "staging area: cannot give back room: %s", strerror(-r));
	i->staged_file = true;
	staging_charge(rc->d->all->staging, STAGING_FILE_COST);
	return 0;
}

/* What nobody here remembers to have uploaded: the store knows.  1: gone. */
static int
ask_store(struct recovery *rc, const struct digest *dg)
{
	struct drafts *ds = rc->d->all;
	char hex[DIGEST_HEX_LEN + 1], key[DIGEST_HEX_LEN + 32];
	struct store_object o;
	int r;

	if (rc->away)
		return 0;
	digest_hex(dg, hex);
	snprintf(key, sizeof(key), ".chunks/%.4s/%s", hex, hex);
	r = store_stat(repo_store(ds->repo), key, deadline_in(ASK_MS), &o);
	if (r == 0)
		known_add(uploads_known(ds->opts.uploads), dg);
	return r;
}

/* Chunks that only the draft refers to. */
static int
recover_chunks(struct recovery *rc)
{
	struct uploads *u = rc->d->all->opts.uploads;
	uint64_t pos = 0;
	struct piece p;
	int r;

	for (; content_next(rc->i->content, pos, PIECE_CHUNK, &p) == 0;
	    pos = p.off + p.len) {
		/* The journal keeps it from being collected. */
		r = uploads_renew(u, &p.digest);
		if (r == 1)
			r = ask_store(rc, &p.digest);
		/* Not to know is not to miss: reading or publishing will
		 * tell. */
		if (r < 0) {
			rc->away = true;
			continue;
		}
		if (r == 1) {
			r = lose(rc, p.off, p.len);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int
io_recover(struct draft *d, struct inode *i)
{
	struct recovery rc = {.d = d, .i = i};
	int r = 0;

	if (i->content == NULL)
		return 0;
	if (content_staged(i->content) > 0)
		r = recover_staged(&rc);
	if (r == 0)
		r = recover_chunks(&rc);
	if (r < 0)
		return r;
	{
		_cleanup_(str_fini) struct str path = {0};
		LOCK(&d->lock);

		d->staged += content_staged(i->content);
		d->chunked += content_chunked(i->content);
		i->size = content_size(i->content);
		i->summed = true;
		inode_path(d, i, &path);
		if (rc.lost > 0)
			log_err("%s: %ju bytes that were written to it are "
			    "gone from the staging area or the store\n"
			    "hint: write the file again, or remove it",
			    str_get(&path), (uintmax_t)rc.lost);
	}
	staging_charge(d->all->staging, content_room(i->content));
	return 0;
}
