/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "draft/io.h"
#include "draft/journal.h"
#include "draft/learn.h"
#include "draft/staging.h"
#include "repo/claim.h"
#include "repo/guard.h"
#include "repo/repo.h"
#include "repo/uploads.h"
#include "store/store.h"

#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000

int
spill_job_new(struct spill *s, struct draft *d, size_t n,
    struct spill_job **ret)
{
	struct spill_job *j = calloc(1, sizeof(*j) + n * sizeof(*j->parts));

	if (j == NULL)
		return -ENOMEM;
	j->s = s;
	j->d = d;
	*ret = j;
	return 0;
}

void
spill_job_free(struct spill_job *j)
{
	size_t k;

	if (j == NULL)
		return;
	for (k = 0; k < j->n; k++)
		LIST_REMOVE(&j->parts[k], link);
	buf_unref(j->plain);
	free(j);
}

/* All of it is STAGED or a hole. */
static bool
is_local(const struct inode *i, uint64_t off, uint64_t end)
{
	struct piece p;

	if (i->content == NULL)
		return false;
	while (off < end) {
		if (content_at(i->content, off, &p) < 0 ||
		    (p.kind != PIECE_STAGED && p.kind != PIECE_HOLE))
			return false;
		off = p.off + p.len;
	}
	return true;
}

int
spill_read(struct draft *d, struct inode *i, uint64_t off, uint64_t len,
    uint8_t *p, uint64_t *ret_seq)
{
	size_t n = 0;
	int r;

	/* It may be written from now on, which settling will see.  It cannot
	 * be given back: that is this thread's own doing. */
	{
		LOCK(&d->lock);
		if (!is_local(i, off, off + len))
			return -ESTALE;
		*ret_seq = content_mark(i->content);
	}
	r = io_fill(d, i, p, len, off, DRAFT_NOWAIT | IO_SPILL, &n);
	if (r == -EAGAIN || (r == 0 && n < len))
		return -ESTALE;
	return r;
}

static void
upload_done(struct upload *up, int err)
{
	struct spill_job *j = (struct spill_job *)up;
	struct spill *s = j->s;
	struct staging *st = s->ds->staging;

	{
		LOCK(&s->lock);
		j->err = err;
		STAILQ_INSERT_TAIL(&s->done, j, link);
		pthread_cond_broadcast(&s->cond);
		/* The spill, and the staging area, are there as long as a job
		 * is not settled. */
		staging_wake(st);
	}
}

/* Nothing more for a while; told once. */
static void
back_off(struct spill *s, int err)
{
	if (err == -ESHUTDOWN)
		return;
	if (s->delay == 0)
		log_warn("cannot upload what was written: %s\n"
		    "hint: it stays in the staging area, and is tried again",
		    strerror(-err));
	s->delay = s->delay == 0 ? RETRY_MIN_MS :
	    MIN(s->delay * 2, (uint64_t)RETRY_MAX_MS);
	s->retry_at = clock_mono_ms() + s->delay;
}

static void
fail_requests(struct spill *s, const struct spill_job *j, int err)
{
	struct spill_request *q;
	size_t k;

	LOCK(&s->lock);
	LIST_FOREACH(q, &s->requests, link) {
		for (k = 0; k < j->n; k++) {
			if (q->d == j->d && q->ino == j->parts[k].item->ino)
				q->err = err;
		}
	}
}

void
spill_drop(struct spill *s, struct spill_job *j)
{
	struct spill_draft *sd = j->sd;

	guard_release(uploads_guard(s->ds->opts.uploads), j->hold);
	if (sd != NULL) {
		s->flying -= j->bytes;
		LOCK(&s->lock);
		sd->flying--;
		pthread_cond_broadcast(&s->cond);
	}
	spill_job_free(j);
}

static void
job_failed(struct spill *s, struct spill_job *j, int err)
{
	back_off(s, err);
	fail_requests(s, j, err);
	spill_drop(s, j);
}

/* As long as chunks have no index, nobody may collect garbage. */
int
spill_hold(struct spill *s, struct spill_draft *sd)
{
	int r;

	if (sd->holds || s->ds->opts.claim == NULL)
		return 0;
	r = claim_hold(s->ds->opts.claim);
	sd->holds = r == 0;
	return r == -EAGAIN ? -EBUSY : r;
}

/* From now on it is under way, also while it waits for room. */
static int
launch(struct spill *s, struct spill_job *j)
{
	struct spill_draft *sd = spill_draft_get(s, j->d);
	int r;

	if (sd == NULL)
		return -ENOMEM;
	r = spill_hold(s, sd);
	if (r < 0)
		return r;
	learn_base(j->d);
	j->sd = sd;
	j->hold = guard_hold(uploads_guard(s->ds->opts.uploads));
	s->flying += j->bytes;
	LOCK(&s->lock);
	sd->flying++;
	return 0;
}

int
spill_submit(struct spill *s, struct spill_job *j)
{
	const struct enc_key *key;
	int r = 0;

	if (j->sd == NULL)
		r = launch(s, j);
	if (r == 0)
		r = chunk_keys_get(s->ds->keys, chunk_keys_ours(s->ds->keys),
		    &key);
	if (r == 0) {
		j->up.done = upload_done;
		r = uploads_try(s->ds->opts.uploads, j->plain, key, &j->up);
	}
	if (r == -EAGAIN) {
		s->stalled = j;
	} else if (r < 0) {
		job_failed(s, j, r);
	} else {
		/* It may be over, but only this thread frees it. */
		buf_unref(j->plain);
		j->plain = NULL;
	}
	return r;
}

int
spill_upload_range(struct spill *s, struct spill_item *item, struct buf *plain,
    uint64_t off, uint64_t seq, unsigned flags)
{
	uint64_t len = plain->len;
	struct spill_job *j;
	int r;

	r = spill_job_new(s, item->d, 1, &j);
	if (r < 0)
		return r;
	j->plain = buf_ref(plain);
	j->bytes = len;
	j->n = 1;
	j->parts[0] = (struct spill_part){
	    .item = item,
	    .seq = seq,
	    .p = {
	        .kind = PIECE_CHUNK,
	        .off = off,
	        .len = len,
	        .chunk_size = (uint32_t)len,
	        .flags = flags,
	    },
	};
	LIST_INSERT_HEAD(&item->flying, &j->parts[0], link);
	return spill_submit(s, j);
}

/* What the journal is told of one part: what of it still holds. */
static void
note_part(struct draft *d, const struct spill_part *part, struct str *txn)
{
	struct inode *i = inode_find(d, part->item->ino);
	struct piece p;

	if (i == NULL)
		return;
	if (i->content != NULL && !inode_is_orphan(i) &&
	    content_try_settle(i->content, &part->p, part->seq, &p) == 0 &&
	    log_chunk(d, i->ino, &p, txn) < 0)
		txn->failed = true;
	inode_unref(d, i);
}

/* What a part that was settled leaves. */
struct settled {
	uint64_t dead;		/* bytes of blocks without STAGED ones now */
	bool last;		/* no byte of the file is STAGED any more */
};

/* Brings one part into its inode. */
static void
settle_part(struct draft *d, const struct spill_part *part,
    struct settled *ret)
{
	struct inode *i = inode_find(d, part->item->ino);
	uint64_t staged, chunked, room;

	ret->last = i == NULL || i->content == NULL;
	if (i == NULL)
		return;
	if (i->content != NULL) {
		staged = content_staged(i->content);
		chunked = content_chunked(i->content);
		room = content_room(i->content);
		(void)content_settle(i->content, &part->p, part->seq);
		ret->last = content_staged(i->content) == 0;
		ret->dead = room - content_room(i->content);
		d->staged -= staged - content_staged(i->content);
		d->chunked += content_chunked(i->content) - chunked;
	}
	inode_unref(d, i);
}

/*
 * The journal first: blocks that it calls STAGED must never be given back, not
 * even those that a neighbour shares.  The other way round, if there is no
 * memory to settle what it was told, the bytes are in both places.
 */
static int
settle_parts(struct draft *d, struct spill_job *j, struct settled *v,
    uint64_t *ret_seq)
{
	_cleanup_(str_fini) struct str txn = {0};
	size_t k;
	int r;

	LOCK(&d->lock);
	for (k = 0; k < j->n; k++) {
		j->parts[k].p.digest = j->up.digest;
		j->parts[k].p.key = chunk_keys_ours(d->all->keys);
		note_part(d, &j->parts[k], &txn);
	}
	r = draft_log(d, &txn, ret_seq);
	for (k = 0; k < j->n && r == 0; k++)
		settle_part(d, &j->parts[k], &v[k]);
	return r;
}

/*
 * Who collects garbage reads the journal's file: before that says of the chunk
 * its mark must not go.  If the file cannot be written any more the mark stays
 * for good, as what is in memory does.
 */
static void
show(struct draft *d, struct spill_job *j, uint64_t seq)
{
	if (seq != 0 && j->hold != 0 && journal_commit(d->journal, seq) < 0)
		j->hold = 0;
}

static int
settle(struct spill *s, struct spill_job *j)
{
	struct draft *d = j->d;
	struct settled *v = calloc(j->n, sizeof(*v));
	uint64_t seq = 0;
	size_t k;
	int r;

	r = v != NULL ? settle_parts(d, j, v, &seq) : -ENOMEM;
	if (r == 0)
		show(d, j, seq);
	for (k = 0; k < j->n && r == 0; k++) {
		const struct spill_part *p = &j->parts[k];

		if (v[k].dead > 0)
			spill_garbage(d, p->item->ino, p->p.off, p->p.len,
			    v[k].dead);
		if (v[k].last)
			spill_item_look(s, p->item);
	}
	free(v);
	if (r < 0)
		return r;
	if (s->delay > 0)
		log_info("uploads of what was written work again");
	s->delay = 0;
	s->retry_at = 0;
	return 0;
}

/* 0: it is over; -EAGAIN: its draft is frozen. */
static int
finish(struct spill *s, struct spill_job *j)
{
	bool ended;
	int r = j->err;

	if (r < 0) {
		job_failed(s, j, r);
		return 0;
	}
	{
		LOCK(&s->lock);
		ended = j->sd->suspended > 0 || s->stop;
	}
	r = draft_enter(j->d, DRAFT_NOWAIT);
	/* Who has frozen it waits for us: the chunk is in the store, and will
	 * not be sent again. */
	if (r == -EAGAIN && !ended)
		return -EAGAIN;
	if (r == 0) {
		r = settle(s, j);
		draft_leave(j->d);
		if (r < 0) {
			job_failed(s, j, r);
			return 0;
		}
	}
	spill_drop(s, j);
	return 0;
}

/* Chunks are put lazily.  A journal that names one may become durable at any
 * time, and must not before the chunk is. */
static void
make_lasting(struct spill *s, struct spill_jobs *jobs)
{
	struct spill_job *j;
	bool needed = false;
	int r;

	STAILQ_FOREACH(j, jobs, link)
		needed = needed || (j->err == 0 && !j->lasting);
	if (!needed)
		return;
	r = store_sync(repo_store(s->ds->repo));
	STAILQ_FOREACH(j, jobs, link) {
		if (j->err == 0 && !j->lasting)
			j->err = r;
		j->lasting = true;
	}
}

bool
spill_settle(struct spill *s)
{
	struct spill_jobs jobs = STAILQ_HEAD_INITIALIZER(jobs);
	struct spill_job *j;
	bool did = false;

	STAILQ_CONCAT(&jobs, &s->parked);
	{
		LOCK(&s->lock);
		STAILQ_CONCAT(&jobs, &s->done);
	}
	make_lasting(s, &jobs);
	while ((j = STAILQ_FIRST(&jobs)) != NULL) {
		STAILQ_REMOVE_HEAD(&jobs, link);
		if (finish(s, j) < 0)
			STAILQ_INSERT_TAIL(&s->parked, j, link);
		else
			did = true;
	}
	return did;
}
