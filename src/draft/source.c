/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/source.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "draft/walk.h"
#include "pbs/chunker.h"
#include "pbs/enc_key.h"
#include "pbs/index.h"
#include "pbs/pxar_writer.h"
#include "repo/chunks.h"

/* Whether chunks of that stream are what a new index of the draft could have:
 * encrypted with the same key, or not at all. */
static bool
shares(const struct draft *d, const struct reader *r)
{
	const struct index_chunk first = index_chunk(reader_index(r), 0);
	const struct chunk_id id = reader_chunk_id(r, &first);
	const struct enc_key *ours;

	(void)chunk_keys_get(d->all->keys, chunk_keys_ours(d->all->keys),
	    &ours);
	if (ours == NULL || id.key == NULL)
		return ours == id.key;
	return digest_eq(enc_key_fingerprint(ours),
	    enc_key_fingerprint(id.key));
}

int
source_open(struct draft *d, const struct walk_entry *e, struct source *ret)
{
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	ret->d = d;
	if (e->own_content && e->inode != NULL) {
		LOCK(&d->lock);
		ret->size = e->inode->size;
		if (e->inode->content != NULL)
			ret->inode = e->inode;
	}
	if (e->archive != NULL) {
		r = walk_content(e, &ret->base);
		if (r < 0)
			return r;
		ret->has_base = true;
		if (ret->inode == NULL)
			ret->size = ret->base.size;
	}
	if (ret->base.stream != NULL) {
		ret->shares = shares(d, ret->base.stream);
		ret->is_stream = e->archive->kind == ARCHIVE_DYNAMIC;
		readahead_init(&ret->ahead, ret->base.off,
		    ret->base.off + ret->base.size);
	}
	return 0;
}

void
source_close(struct source *s)
{
	base_content_fini(&s->base);
	memset(s, 0, sizeof(*s));
}

int
source_read(struct source *s, void *p, size_t len, uint64_t off)
{
	if (off > s->size || len > s->size - off)
		return -EINVAL;
	if (len == 0)
		return 0;
	if (s->inode != NULL)
		return io_read(s->d, s->inode, p, len, off);
	if (s->base.blob != NULL) {
		memcpy(p, s->base.blob->data + off, len);
		return 0;
	}
	readahead_update(&s->ahead, s->base.stream, s->base.off + off, len);
	return reader_pread(s->base.stream, p, len, s->base.off + off, 0);
}

void
source_piece(const struct source *s, uint64_t off, struct piece *ret)
{
	int r;

	if (s->inode != NULL) {
		LOCK(&s->d->lock);
		r = content_at(s->inode->content, off, ret);
		assert(r == 0);
		(void)r;
		return;
	}
	*ret = (struct piece){.kind = PIECE_BASE, .len = s->size};
}

uint64_t
source_lost(const struct source *s)
{
	if (s->inode == NULL)
		return 0;
	LOCK(&s->d->lock);
	return content_lost(s->inode->content);
}

/* Whether a chunk of a stream in the base ends where the chunker would cut:
 * all but the last do, which the end of the stream has cut. */
static bool
is_natural(const struct source *s, const struct index *x, size_t i,
    uint64_t end)
{
	const struct index_chunk c = index_chunk(x, i);
	const uint64_t len = c.end - c.start;

	if (!s->is_stream)
		return false;
	/* What nobody has touched stays as it was, whoever cut it. */
	if (s->inode == NULL)
		return true;
	if (i + 1 == index_count(x))
		return end == s->size;
	return len >= CHUNKER_AVG_DATA / 4 && len <= CHUNKER_AVG_DATA * 4;
}

/* The first chunk of a piece of the base that begins at or after off. */
static int
base_chunk(const struct source *s, const struct piece *p, uint64_t off,
    uint64_t end, bool natural, struct source_chunk *ret)
{
	/* Of the piece. */
	const uint64_t begin = s->base.off + p->base_off;
	const struct index *x;
	struct index_chunk c;
	size_t i;

	if (s->base.stream == NULL || !s->shares)
		return -ENXIO;
	x = reader_index(s->base.stream);
	i = index_find(x, begin + (off - p->off));
	if (index_chunk(x, i).start < begin + (off - p->off))
		i++;
	for (; i < index_count(x); i++) {
		c = index_chunk(x, i);
		if (c.end > begin + p->len ||
		    c.start - begin >= end - p->off)
			break;
		*ret = (struct source_chunk){
		    .off = p->off + (c.start - begin),
		    .size = c.end - c.start,
		    .digest = c.digest,
		};
		ret->natural = is_natural(s, x, i, ret->off + ret->size);
		if (ret->natural || !natural)
			return 0;
	}
	return -ENXIO;
}

/* A chunk that a new index could have; what another mount has uploaded may be
 * under another key. */
static bool
is_ours(const struct source *s, const struct piece *p)
{
	return p->kind == PIECE_CHUNK &&
	    p->key == chunk_keys_ours(s->d->all->keys);
}

int
source_chunk(const struct source *s, uint64_t off, uint64_t end, bool natural,
    struct source_chunk *ret)
{
	struct piece p;

	for (end = MIN(end, s->size); off < end; off = p.off + p.len) {
		source_piece(s, off, &p);
		if (p.kind == PIECE_BASE &&
		    base_chunk(s, &p, off, end, natural, ret) == 0)
			return 0;
		if (!is_ours(s, &p) || p.off != off || p.skip != 0 ||
		    p.len != p.chunk_size)
			continue;
		*ret = (struct source_chunk){
		    .off = off,
		    .size = p.len,
		    .digest = p.digest,
		    .natural = (p.flags & PIECE_NATURAL) != 0,
		};
		if (ret->natural || !natural)
			return 0;
	}
	return -ENXIO;
}

/* All pieces are chunks, one after the other, and each but the first is one
 * from its start, each but the last one to its end. */
static bool
is_packed(const struct source *s)
{
	struct piece p;

	if (s->size == 0)
		return false;
	source_piece(s, 0, &p);
	if (!is_ours(s, &p) || (p.flags & PIECE_PACKED) == 0 ||
	    p.skip < PXAR_PAYLOAD_HEADER_LEN)
		return false;
	while (p.off + p.len < s->size) {
		if (p.skip + p.len != p.chunk_size)
			return false;
		source_piece(s, p.off + p.len, &p);
		if (!is_ours(s, &p) || p.skip != 0)
			return false;
	}
	return true;
}

bool
source_header(const struct source *s, const struct reader **ret_stream,
    uint64_t *ret_off)
{
	struct piece p;

	if (s->inode == NULL) {
		*ret_stream = s->base.stream;
		*ret_off = s->base.off - PXAR_PAYLOAD_HEADER_LEN;
		return s->has_base && s->base.has_header && s->shares;
	}
	if (!is_packed(s))
		return false;
	source_piece(s, 0, &p);
	*ret_stream = NULL;
	*ret_off = p.skip - PXAR_PAYLOAD_HEADER_LEN;
	return true;
}
