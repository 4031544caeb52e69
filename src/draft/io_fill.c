/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/io.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "pbs/enc_key.h"
#include "pbs/index.h"
#include "repo/chunks.h"
#include "repo/reader.h"
#include "repo/repo.h"

#define SPAN_PIECES 32
#define AHEAD_CHUNKS 4
#define STREAK_MIN 2	/* reads in a row before anything is fetched ahead */

/* A look at what some bytes are made of. */
struct span {
	struct piece p[SPAN_PIECES];	/* cut to the range */
	unsigned n;
	struct stage_file *stage;	/* if one of them is staged */
	struct piece ahead[AHEAD_CHUNKS];	/* chunks that follow */
	unsigned n_ahead;
	bool sequential;
};

static void
cut_piece(struct piece *p, uint64_t off, uint64_t end)
{
	uint64_t skip = off > p->off ? off - p->off : 0;

	if (p->kind == PIECE_BASE)
		p->base_off += skip;
	if (p->kind == PIECE_CHUNK)
		p->skip += (uint32_t)skip;
	p->off += skip;
	p->len -= skip;
	p->len = MIN(p->len, end - p->off);
}

/* Of a file without a content of its own: the base's, all of it. */
static int
piece_at(const struct inode *i, uint64_t off, struct piece *ret)
{
	if (i->content != NULL)
		return content_at(i->content, off, ret);
	if (off >= i->size)
		return -ENXIO;
	*ret = (struct piece){.kind = PIECE_BASE, .len = i->size};
	return 0;
}

static void
look_ahead(const struct inode *i, uint64_t off, struct span *s)
{
	struct piece p;

	while (s->n_ahead < AHEAD_CHUNKS && i->content != NULL &&
	    content_next(i->content, off, PIECE_CHUNK, &p) == 0) {
		s->ahead[s->n_ahead++] = p;
		off = p.off + p.len;
	}
}

/* The lock is held. */
static void
look(struct inode *i, uint64_t off, uint64_t end, struct span *s)
{
	s->n = 0;
	while (off < end && s->n < SPAN_PIECES &&
	    piece_at(i, off, &s->p[s->n]) == 0) {
		struct piece *p = &s->p[s->n++];

		cut_piece(p, off, end);
		off += p->len;
	}
	if (s->sequential)
		look_ahead(i, off, s);
}

/* What is on the local disk, at once; i->data is held. */
static int
fill_local(struct draft *d, struct inode *i, const struct span *s,
    uint8_t *out)
{
	struct stage_file *f = NULL;
	unsigned k;
	int r = 0;

	for (k = 0; k < s->n && r == 0; k++) {
		const struct piece *p = &s->p[k];

		if (p->kind == PIECE_LOST) {
			r = -EIO;
		} else if (p->kind == PIECE_HOLE) {
			memset(out, 0, p->len);
		} else if (p->kind == PIECE_STAGED) {
			if (f == NULL)
				r = stage_get(d, i, NULL, &f);
			if (r == 0)
				r = io_pread_full(f->fd, out, p->len,
				    (off_t)p->off);
			if (r == -ENODATA || r == -ENOENT)
				r = -EIO;
		}
		out += p->len;
	}
	stage_put(d, i, f);
	return r;
}

static int
chunk_of(const struct draft *d, const struct piece *p, struct chunk_id *ret)
{
	*ret = (struct chunk_id){.digest = p->digest, .size = p->chunk_size};
	return chunk_keys_get(d->all->keys, p->key, &ret->key);
}

/* It was uploaded by a mount that had another key. */
static int
no_key(const struct draft *d, const struct piece *p)
{
	char text[FINGERPRINT_LEN + 1];

	fingerprint_format(chunk_keys_fingerprint(d->all->keys, p->key), text);
	log_limited(LOG_LVL_ERR, "%s/%s: what was written has been encrypted "
	    "with key %s, which is not at hand\nhint: keyfile=FILE, beside "
	    "the one to write with", backup_type_name(d->group.type),
	    d->group.id, text);
	return -ENOKEY;
}

static void
prefetch(struct draft *d, const struct piece *p, unsigned n)
{
	struct chunks *c = repo_chunks(d->all->repo);
	struct chunk_id id;
	unsigned k;

	for (k = 0; k < n; k++) {
		if (p[k].kind == PIECE_CHUNK &&
		    chunk_of(d, &p[k], &id) == 0 && !chunks_prefetch(c, &id))
			return;
	}
}

/* The chunks of the base behind what is read. */
static void
prefetch_base(struct draft *d, struct base_view *v, uint64_t off)
{
	struct index_chunk x;
	struct chunk_id id;
	struct index *idx;
	size_t k, first;

	if (v->c.stream == NULL || off >= v->c.size)
		return;
	idx = reader_index(v->c.stream);
	off += v->c.off;
	if (off >= reader_size(v->c.stream))
		return;
	first = index_find(idx, off);
	for (k = first; k < index_count(idx) && k - first < AHEAD_CHUNKS;
	    k++) {
		x = index_chunk(idx, k);
		if (x.start >= v->c.off + v->c.size)
			return;
		id = reader_chunk_id(v->c.stream, &x);
		if (!chunks_prefetch(repo_chunks(d->all->repo), &id))
			return;
	}
}

static int
fill_chunk(struct draft *d, const struct piece *p, uint8_t *out,
    unsigned flags)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct chunks *c = repo_chunks(d->all->repo);
	struct chunk_id id;
	int r;

	r = chunk_of(d, p, &id);
	if (r < 0)
		return no_key(d, p);
	if (flags & DRAFT_NOWAIT)
		r = chunks_try(c, &id, &b);
	else
		r = chunks_get(c, &id, &b);
	if (r < 0)
		return r;
	if (p->skip > b->len || p->len > b->len - p->skip)
		return -EBADMSG;
	memcpy(out, b->data + p->skip, p->len);
	return 0;
}

static int
fill_base(struct draft *d, struct inode *i, const struct piece *p,
    uint8_t *out, unsigned flags, bool ahead)
{
	struct base_view *v;
	int r;

	r = view_get(d, i, flags, &v);
	if (r < 0)
		return r;
	if (ahead)
		prefetch_base(d, v, p->base_off + p->len);
	r = view_read(v, out, p->len, p->base_off, flags);
	view_unref(v);
	return r;
}

static int
fill_remote(struct draft *d, struct inode *i, const struct span *s,
    uint8_t *out, unsigned flags)
{
	unsigned k;
	int r = 0;

	if (!(flags & DRAFT_NOWAIT))
		prefetch(d, s->p, s->n);
	prefetch(d, s->ahead, s->n_ahead);
	for (k = 0; k < s->n && r == 0; k++) {
		const struct piece *p = &s->p[k];

		if (p->kind == PIECE_CHUNK)
			r = fill_chunk(d, p, out, flags);
		else if (p->kind == PIECE_BASE)
			r = fill_base(d, i, p, out, flags,
			    s->sequential && k + 1 == s->n);
		out += p->len;
	}
	return r;
}

static uint64_t
span_len(const struct span *s)
{
	uint64_t len = 0;
	unsigned k;

	for (k = 0; k < s->n; k++)
		len += s->p[k].len;
	return len;
}

/* The kernel sends the parts of one sequential read side by side. */
static bool
note_read(struct inode *i, uint64_t off, uint64_t end)
{
	uint64_t near = (end - off) * 4;
	bool follows = off <= i->read_end + near && off + near >= i->read_end;

	i->read_end = follows ? MAX(i->read_end, end) : end;
	i->read_streak = follows ? i->read_streak + 1 : 0;
	return i->read_streak > STREAK_MIN;
}

int
io_fill(struct draft *d, struct inode *i, void *p, size_t len, uint64_t off,
    unsigned flags, size_t *ret_len)
{
	struct span s = {0};
	uint64_t pos = off, end, n;
	uint8_t *out = p;
	int r = 0;

	if (__builtin_add_overflow(off, len, &end) || end > INT64_MAX)
		end = INT64_MAX;
	do {
		/* What is staged may be uploaded and given back at any moment
		 * when data is not held; then it is somewhere else. */
		pthread_rwlock_rdlock(&i->data);
		{
			LOCK(&d->lock);
			if (pos == off && !(flags & IO_SPILL))
				s.sequential = note_read(i, off, end);
			s.n_ahead = 0;
			look(i, pos, end, &s);
		}
		r = fill_local(d, i, &s, out);
		pthread_rwlock_unlock(&i->data);
		if (r == 0)
			r = fill_remote(d, i, &s, out,
			    flags & DRAFT_NOWAIT);
		n = span_len(&s);
		out += n;
		pos += n;
	} while (r == 0 && n > 0 && pos < end);
	*ret_len = (size_t)(pos - off);
	return r;
}

int
io_read(struct draft *d, struct inode *i, void *p, size_t len, uint64_t off)
{
	size_t n;
	int r;

	r = io_fill(d, i, p, len, off, 0, &n);
	/* The caller keeps writers out. */
	return r == 0 && n < len ? -EINVAL : r;
}
