/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "pbs/index.h"
#include "repo/chunks.h"
#include "repo/reader_impl.h"
#include "repo/repo.h"

int
reader_new_with(struct chunks *c, struct index *x, const struct enc_key *key,
    struct reader **ret)
{
	struct chunks_stats st;
	struct reader *r;

	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return -ENOMEM;
	chunks_stats(c, &st);
	r->refs = 1;
	r->chunks = c;
	r->index = index_ref(x);
	r->key = key;
	r->size = index_size(x);
	r->ahead_max = st.memory_limit / 4;
	*ret = r;
	return 0;
}

int
reader_new(struct chunks *c, struct index *x, struct reader **ret)
{
	return reader_new_with(c, x, NULL, ret);
}

struct reader *
reader_ref(struct reader *r)
{
	__atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
	return r;
}

void
reader_unref(struct reader *r)
{
	if (r == NULL ||
	    __atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	index_unref(r->index);
	free(r);
}

uint64_t
reader_size(const struct reader *r)
{
	return r->size;
}

struct index *
reader_index(const struct reader *r)
{
	return r->index;
}

struct chunk_id
reader_chunk_id(const struct reader *r, const struct index_chunk *x)
{
	return (struct chunk_id){
	    .digest = x->digest,
	    .size = (uint32_t)(x->end - x->start),
	    .key = r->key,
	};
}

static bool
is_inside(const struct reader *r, uint64_t off, uint64_t len)
{
	return off <= r->size && len <= r->size - off;
}

/* A long read goes through its chunks one by one; the next ones are fetched
 * meanwhile. */
static void
prefetch_rest(struct reader *r, size_t i, uint64_t end)
{
	size_t k, count = index_count(r->index);
	struct index_chunk x;
	struct chunk_id id;

	for (k = i + 1; k < count && k - i <= 4; k++) {
		x = index_chunk(r->index, k);
		id = reader_chunk_id(r, &x);
		if (x.start >= end || !chunks_prefetch(r->chunks, &id))
			return;
	}
}

int
reader_pread(struct reader *r, void *p, size_t len, uint64_t off,
    unsigned flags)
{
	uint8_t *out = p;
	size_t i, n;
	int err;

	if (!is_inside(r, off, len))
		return -EBADMSG;
	for (i = len > 0 ? index_find(r->index, off) : 0; len > 0; i++) {
		_cleanup_(buf_unrefp) struct buf *b = NULL;
		struct index_chunk x = index_chunk(r->index, i);
		struct chunk_id id = reader_chunk_id(r, &x);

		if (flags & REPO_NOWAIT) {
			err = chunks_try(r->chunks, &id, &b);
		} else {
			if (off + len > x.end)
				prefetch_rest(r, i, off + len);
			err = chunks_get(r->chunks, &id, &b);
		}
		if (err < 0)
			return err;
		n = MIN(len, (size_t)(x.end - off));
		memcpy(out, b->data + (off - x.start), n);
		out += n;
		off += n;
		len -= n;
	}
	return 0;
}

int
reader_hole(struct reader *r, uint64_t off, uint64_t *ret_end)
{
	struct index_chunk x;
	struct chunk_id id;
	size_t i, n = index_count(r->index);
	bool hole = false, first = true;

	if (off >= r->size)
		return -EINVAL;
	for (i = index_find(r->index, off); i < n; i++) {
		x = index_chunk(r->index, i);
		id = reader_chunk_id(r, &x);
		if (first)
			hole = chunk_is_zero(&id);
		else if (chunk_is_zero(&id) != hole)
			break;
		first = false;
		if (ret_end == NULL)
			break;
		*ret_end = x.end;
	}
	return hole ? 1 : 0;
}

/*
 * One reader_read.  Its chunks are asked for in rounds of at most
 * READER_IOV_MAX.  Normally there is one round, and what it brought is handed
 * on as it is.  If the range has more chunks than that, every round is copied
 * together, so that neither the pieces nor the memory grow without bound.
 */
struct piece {
	struct chunk_request req;	/* first */
	struct op *op;			/* borrowed */
	struct chunk_id id;
	size_t skip, len;		/* the part of the chunk that is wanted */
	struct buf *b;			/* owned */
};

struct op {
	struct reader *r;	/* owned */
	reader_fn *fn;
	void *arg;
	uint64_t off;		/* where the next round begins */
	size_t left;
	size_t next;		/* its first chunk */
	unsigned pending;	/* atomic: of this round, plus whoever starts it */
	int err;		/* atomic: the first error */
	uint8_t *copy;		/* owned; NULL: one round, nothing is copied */
	size_t copied;
	unsigned n;		/* pieces of this round */
	unsigned max;
	struct piece pieces[];
};

static void
op_finish(struct op *op, int err)
{
	struct iovec iov[READER_IOV_MAX];
	unsigned i;
	int n = 0;

	if (err == 0 && op->copy != NULL) {
		iov[0].iov_base = op->copy;
		iov[0].iov_len = op->copied;
		n = 1;
	} else if (err == 0) {
		for (i = 0; i < op->n; i++) {
			iov[i].iov_base = op->pieces[i].b->data +
			    op->pieces[i].skip;
			iov[i].iov_len = op->pieces[i].len;
		}
		n = (int)op->n;
	}
	op->fn(op->arg, err, err == 0 ? iov : NULL, n);
	for (i = 0; i < op->n; i++)
		buf_unref(op->pieces[i].b);
	free(op->copy);
	reader_unref(op->r);
	free(op);
}

/* Recursion of the callbacks only: see op_run. */
static void op_run(struct op *op, bool landed);

static bool
op_drop(struct op *op)
{
	return __atomic_sub_fetch(&op->pending, 1, __ATOMIC_ACQ_REL) == 0;
}

static void
piece_done(struct chunk_request *req, int err, struct buf *b)
{
	struct piece *p = (struct piece *)req;
	struct op *op = p->op;
	int none = 0;

	if (err == 0)
		p->b = buf_ref(b);
	else
		__atomic_compare_exchange_n(&op->err, &none, err, false,
		    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	if (op_drop(op))
		op_run(op, true);
}

static void
start_round(struct op *op)
{
	const struct index *index = op->r->index;
	struct chunks *chunks = op->r->chunks;
	struct index_chunk x;
	struct piece *p;
	unsigned i;

	op->n = 0;
	while (op->left > 0 && op->n < op->max) {
		x = index_chunk(index, op->next++);
		p = &op->pieces[op->n++];
		memset(p, 0, sizeof(*p));
		p->req.done = piece_done;
		p->op = op;
		p->id = reader_chunk_id(op->r, &x);
		p->skip = (size_t)(op->off - x.start);
		p->len = MIN(op->left, (size_t)(x.end - op->off));
		op->off += p->len;
		op->left -= p->len;
	}
	/* One more for ourselves: while we ask, nobody finishes the round. */
	__atomic_store_n(&op->pending, op->n + 1, __ATOMIC_RELEASE);
	for (i = 0; i < op->n; i++)
		chunks_request(chunks, &op->pieces[i].id, &op->pieces[i].req);
}

static void
copy_round(struct op *op)
{
	struct piece *p;
	unsigned i;

	for (i = 0; i < op->n; i++) {
		p = &op->pieces[i];
		memcpy(op->copy + op->copied, p->b->data + p->skip, p->len);
		op->copied += p->len;
		buf_unref(steal(&p->b));
	}
	op->n = 0;
}

/* Whoever finds a round complete goes on: with landed, one is.  A loop and not
 * a recursion, because all of it may come from memory. */
static void
op_run(struct op *op, bool landed)
{
	int err;

	for (;; landed = true) {
		if (landed) {
			err = __atomic_load_n(&op->err, __ATOMIC_RELAXED);
			if (err == 0 && op->copy != NULL)
				copy_round(op);
			if (err < 0 || op->left == 0) {
				op_finish(op, err);
				return;
			}
		}
		start_round(op);
		if (!op_drop(op))
			return;
	}
}

void
reader_read(struct reader *r, uint64_t off, size_t len, reader_fn *fn,
    void *arg)
{
	size_t first, count;
	struct op *op;
	unsigned max;

	if (len == 0 || !is_inside(r, off, len)) {
		fn(arg, is_inside(r, off, len) ? 0 : -EINVAL, NULL, 0);
		return;
	}
	first = index_find(r->index, off);
	count = index_find(r->index, off + len - 1) - first + 1;
	max = (unsigned)MIN(count, (size_t)READER_IOV_MAX);
	op = calloc(1, sizeof(*op) + max * sizeof(*op->pieces));
	if (op == NULL) {
		fn(arg, -ENOMEM, NULL, 0);
		return;
	}
	if (count > READER_IOV_MAX) {
		op->copy = malloc(len);
		if (op->copy == NULL) {
			free(op);
			fn(arg, -ENOMEM, NULL, 0);
			return;
		}
	}
	op->r = reader_ref(r);
	op->fn = fn;
	op->arg = arg;
	op->off = off;
	op->left = len;
	op->next = first;
	op->max = max;
	op_run(op, false);
}
