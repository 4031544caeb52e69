/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/stream_writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/chunker.h"
#include "pbs/index.h"
#include "pbs/index_format.h"
#include "repo/uploads.h"

/* Zeros of a stream that is cut by content pass in pieces of this. */
#define ZEROS_LEN ((size_t)64 * 1024)
/* Chunks behind one that is still under way: beyond it the writer waits. */
#define PARTS_MAX 16384

enum part_kind {
	PART_SENT,
	PART_ZEROS,		/* the first whole chunk of zeros: sent */
	PART_ZEROS_AGAIN,	/* called as that one is */
	PART_INJECTED,
};

/* A chunk of the stream, until it is in the index. */
struct part {
	struct upload up;	/* first */
	struct stream_writer *w;	/* borrowed */
	enum part_kind kind;
	uint64_t size;
	TAILQ_ENTRY(part) link;
	bool pending;		/* guarded by the writer's lock */
};

struct stream_writer {
	struct uploads *u;	/* borrowed */
	const struct enc_key *key;	/* borrowed */
	enum stream_kind kind;
	uint64_t size;		/* of a fixed one */
	struct index_writer *index;	/* owned; NULL: fixed and empty */
	struct chunker chunker;
	size_t avg;		/* of the chunker */
	uint64_t offset;
	struct buf *fill;	/* owned, or NULL: the chunk being filled */
	size_t fill_len;
	bool had_zeros;
	struct digest zeros;	/* once the first of them is in the index */
	int err;		/* sticks */
	TAILQ_HEAD(, part) parts;	/* in the order of the stream */
	size_t n_parts;
	struct stream_result stats;	/* without the index */

	pthread_mutex_t lock;	/* guards all below, and pending of parts */
	pthread_cond_t change;
	unsigned pending;
	int upload_err;		/* of the first that failed */
};

int
stream_writer_new(struct uploads *u, enum stream_kind kind, uint64_t size,
    const struct enc_key *key, struct stream_writer **ret)
{
	struct stream_writer *w = calloc(1, sizeof(*w));
	int r = 0;

	if (w == NULL)
		return -ENOMEM;
	w->u = u;
	w->key = key;
	w->kind = kind;
	w->size = size;
	w->avg = kind == STREAM_CATALOG ? CHUNKER_AVG_CATALOG :
	    CHUNKER_AVG_DATA;
	chunker_init(&w->chunker, w->avg);
	TAILQ_INIT(&w->parts);
	if (kind != STREAM_FIXED)
		r = index_writer_dynamic(&w->index);
	else if (size > 0)
		r = index_writer_fixed(size, STREAM_FIXED_CHUNK, &w->index);
	if (r == 0)
		r = -pthread_mutex_init(&w->lock, NULL);
	if (r < 0)
		goto err_index;
	r = cond_init(&w->change);
	if (r < 0)
		goto err_lock;
	*ret = w;
	return 0;

err_lock:
	pthread_mutex_destroy(&w->lock);
err_index:
	index_writer_free(w->index);
	free(w);
	return r;
}

static void
part_done(struct upload *up, int err)
{
	struct part *p = (struct part *)up;
	struct stream_writer *w = p->w;

	/* Signalled under the lock: after that w may be gone. */
	LOCK(&w->lock);
	if (err < 0 && w->upload_err == 0)
		w->upload_err = err;
	p->pending = false;
	w->pending--;
	pthread_cond_signal(&w->change);
}

static struct part *
part_new(struct stream_writer *w, enum part_kind kind, uint64_t size)
{
	struct part *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->up.done = part_done;
	p->w = w;
	p->kind = kind;
	p->size = size;
	TAILQ_INSERT_TAIL(&w->parts, p, link);
	w->n_parts++;
	return p;
}

static void
part_free(struct stream_writer *w, struct part *p)
{
	TAILQ_REMOVE(&w->parts, p, link);
	w->n_parts--;
	free(p);
}

/* Whether the first part can go into the index; with wait it will. */
static bool
first_is_done(struct stream_writer *w, bool wait)
{
	const struct part *p = TAILQ_FIRST(&w->parts);
	LOCK(&w->lock);

	while (wait && p->pending && w->upload_err == 0)
		pthread_cond_wait(&w->change, &w->lock);
	return p != NULL && !p->pending && w->upload_err == 0;
}

static int
upload_error(struct stream_writer *w)
{
	LOCK(&w->lock);
	return w->upload_err;
}

static int
enter(struct stream_writer *w, struct part *p)
{
	struct stream_result *s = &w->stats;
	const struct digest *d = &p->up.digest;

	if (p->kind == PART_ZEROS)
		w->zeros = *d;
	if (p->kind == PART_ZEROS_AGAIN)
		d = &w->zeros;
	s->chunks++;
	if (p->kind == PART_INJECTED) {
		s->injected++;
	} else if (p->kind != PART_ZEROS_AGAIN && !p->up.duplicate) {
		s->new_chunks++;
		s->new_bytes += p->size;
		s->stored_bytes += p->up.stored;
	}
	return index_writer_add(w->index, p->size, d);
}

/* Put into the index what is done, as far as nothing before it is pending. */
static int
collect(struct stream_writer *w)
{
	struct part *p;
	int r = 0;

	while (r == 0 && first_is_done(w, w->n_parts > PARTS_MAX)) {
		p = TAILQ_FIRST(&w->parts);
		r = enter(w, p);
		part_free(w, p);
	}
	return r < 0 ? r : upload_error(w);
}

/* What every call begins with. */
static int
check(struct stream_writer *w)
{
	if (w->err == 0)
		w->err = collect(w);
	return w->err;
}

/* And ends with, if it did something. */
static int
stick(struct stream_writer *w, int r)
{
	if (r < 0 && w->err == 0)
		w->err = r;
	return r;
}

/* Takes b over. */
static int
send_part(struct stream_writer *w, enum part_kind kind, struct buf *b)
{
	_cleanup_(buf_unrefp) struct buf *plain = b;
	struct part *p = part_new(w, kind, b->len);
	int r;

	if (p == NULL)
		return -ENOMEM;
	{
		LOCK(&w->lock);
		p->pending = true;
		w->pending++;
	}
	r = uploads_add(w->u, plain, w->key, &p->up);
	if (r < 0) {
		LOCK(&w->lock);
		w->pending--;
		part_free(w, p);
		return r;
	}
	return collect(w);
}

static int
note(struct stream_writer *w, enum part_kind kind, uint64_t size,
    const struct digest *d)
{
	struct part *p = part_new(w, kind, size);

	if (p == NULL)
		return -ENOMEM;
	if (d != NULL)
		p->up.digest = *d;
	return collect(w);
}

/* A whole chunk of zeros of a fixed stream; b is one, or NULL. */
static int
send_zeros(struct stream_writer *w, struct buf *b)
{
	if (w->had_zeros) {
		buf_unref(b);
		return note(w, PART_ZEROS_AGAIN, STREAM_FIXED_CHUNK, NULL);
	}
	if (b == NULL) {
		b = buf_new(STREAM_FIXED_CHUNK);
		if (b == NULL)
			return -ENOMEM;
		memset(b->data, 0, b->len);
	}
	w->had_zeros = true;
	return send_part(w, PART_ZEROS, b);
}

static bool
is_zeros(const struct buf *b)
{
	return b->len == STREAM_FIXED_CHUNK && b->data[0] == 0 &&
	    memcmp(b->data, b->data + 1, b->len - 1) == 0;
}

/* How long the chunk that is being filled, or the next one, will be. */
static size_t
fixed_len(const struct stream_writer *w)
{
	return (size_t)MIN(STREAM_FIXED_CHUNK,
	    w->size - (w->offset - w->fill_len));
}

/* Into the chunk that is being filled; n is not more than it lacks.  p NULL:
 * zeros. */
static int
fill_fixed(struct stream_writer *w, const uint8_t *p, size_t n)
{
	struct buf *b;

	if (w->fill == NULL)
		w->fill = buf_new(fixed_len(w));
	b = w->fill;
	if (b == NULL)
		return -ENOMEM;
	if (p != NULL)
		memcpy(b->data + w->fill_len, p, n);
	else
		memset(b->data + w->fill_len, 0, n);
	w->fill_len += n;
	w->offset += n;
	if (w->fill_len < b->len)
		return 0;
	w->fill = NULL;
	w->fill_len = 0;
	return is_zeros(b) ? send_zeros(w, b) : send_part(w, PART_SENT, b);
}

/* p NULL: zeros. */
static int
write_fixed(struct stream_writer *w, const uint8_t *p, uint64_t len)
{
	size_t n;
	int r;

	/* A caller that has lost count must not make an index of it. */
	if (len > w->size - w->offset)
		return -EINVAL;
	for (; len > 0; len -= n) {
		n = (size_t)MIN(len, (uint64_t)(fixed_len(w) - w->fill_len));
		if (p == NULL && n == STREAM_FIXED_CHUNK) {
			w->offset += n;
			r = send_zeros(w, NULL);
		} else {
			r = fill_fixed(w, p, n);
		}
		if (r < 0)
			return r;
		if (p != NULL)
			p += n;
	}
	return 0;
}

/* Room for n more.  Most chunks fit into the first buffer, all into the second,
 * and memory that is never touched costs nothing. */
static int
make_room(struct stream_writer *w, size_t n)
{
	size_t need = w->fill_len + n, room = 2 * w->avg;
	struct buf *b;

	if (w->fill != NULL && w->fill->len >= need)
		return 0;
	if (room < need)
		room = (size_t)w->chunker.max;
	b = buf_new(room);
	if (b == NULL)
		return -ENOMEM;
	if (w->fill_len > 0)
		memcpy(b->data, w->fill->data, w->fill_len);
	buf_unref(w->fill);
	w->fill = b;
	return 0;
}

/* The chunk that is being filled ends here. */
static int
end_dynamic(struct stream_writer *w)
{
	struct buf *b = steal(&w->fill);

	b->len = w->fill_len;
	w->fill_len = 0;
	return send_part(w, PART_SENT, b);
}

static int
write_dynamic(struct stream_writer *w, const uint8_t *p, size_t len)
{
	size_t cut, n;
	int r = 0;

	if (len > INT64_MAX - w->offset)
		return -EFBIG;
	for (; r == 0 && len > 0; p += n, len -= n) {
		cut = chunker_scan(&w->chunker, p, len);
		n = cut != 0 ? cut : len;
		r = make_room(w, n);
		if (r < 0)
			return r;
		memcpy(w->fill->data + w->fill_len, p, n);
		w->fill_len += n;
		w->offset += n;
		if (cut != 0)
			r = end_dynamic(w);
	}
	return r;
}

int
stream_write(struct stream_writer *w, const void *p, size_t len)
{
	int r = check(w);

	if (r < 0 || len == 0)
		return r;
	return stick(w, w->kind == STREAM_FIXED ? write_fixed(w, p, len) :
	    write_dynamic(w, p, len));
}

int
stream_write_zeros(struct stream_writer *w, uint64_t len)
{
	static const uint8_t zeros[ZEROS_LEN];
	size_t n;
	int r = check(w);

	if (r < 0)
		return r;
	if (w->kind == STREAM_FIXED)
		return stick(w, write_fixed(w, NULL, len));
	for (; r == 0 && len > 0; len -= n) {
		n = (size_t)MIN(len, (uint64_t)ZEROS_LEN);
		r = write_dynamic(w, zeros, n);
	}
	return stick(w, r);
}

static int
cut(struct stream_writer *w)
{
	chunker_init(&w->chunker, w->avg);
	return w->fill_len == 0 ? 0 : end_dynamic(w);
}

int
stream_cut(struct stream_writer *w)
{
	int r = check(w);

	if (r < 0)
		return r;
	return w->kind == STREAM_FIXED ? -EINVAL : stick(w, cut(w));
}

int
stream_inject(struct stream_writer *w, const struct digest *digest,
    uint64_t size)
{
	int r = check(w);

	if (r < 0)
		return r;
	if (w->fill_len > 0 || size == 0 || size > CHUNK_CONTENT_MAX ||
	    size > INT64_MAX - w->offset ||
	    (w->kind == STREAM_FIXED && size != fixed_len(w)))
		return -EINVAL;
	r = uploads_touch(w->u, digest);
	if (r == 1)
		return -ENOENT;
	if (r == 0) {
		w->offset += size;
		r = note(w, PART_INJECTED, size, digest);
	}
	return stick(w, r);
}

uint64_t
stream_offset(const struct stream_writer *w)
{
	return w->offset;
}

uint64_t
stream_fill(const struct stream_writer *w)
{
	return w->fill_len;
}

static void
wait_for_uploads(struct stream_writer *w)
{
	LOCK(&w->lock);

	while (w->pending > 0)
		pthread_cond_wait(&w->change, &w->lock);
}

/* A random one, version 4. */
static int
make_uuid(uint8_t uuid[INDEX_UUID_LEN])
{
	int r = crypt_random(uuid, INDEX_UUID_LEN);

	if (r < 0)
		return r;
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

static int
finish(struct stream_writer *w, int64_t ctime, struct buf **ret)
{
	uint8_t uuid[INDEX_UUID_LEN];
	int r;

	if (w->offset == 0 || (w->kind == STREAM_FIXED && w->offset != w->size))
		return -EINVAL;
	r = w->kind != STREAM_FIXED ? cut(w) : 0;
	wait_for_uploads(w);
	if (r == 0)
		r = collect(w);
	if (r == 0)
		r = make_uuid(uuid);
	return r < 0 ? r : index_writer_finish(w->index, uuid, ctime, ret);
}

int
stream_finish(struct stream_writer *w, int64_t ctime,
    struct stream_result *ret)
{
	struct buf *b;
	int r = check(w);

	if (r == 0)
		r = stick(w, finish(w, ctime, &b));
	if (r < 0)
		return r;
	*ret = w->stats;
	ret->index = b;
	ret->size = w->offset;
	memcpy(ret->csum.b, b->data + INDEX_OFF_CSUM, DIGEST_LEN);
	return 0;
}

void
stream_result_fini(struct stream_result *r)
{
	buf_unref(r->index);
	memset(r, 0, sizeof(*r));
}

void
stream_writer_free(struct stream_writer *w)
{
	struct part *p;

	if (w == NULL)
		return;
	wait_for_uploads(w);
	while ((p = TAILQ_FIRST(&w->parts)) != NULL)
		part_free(w, p);
	buf_unref(w->fill);
	index_writer_free(w->index);
	pthread_cond_destroy(&w->change);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
