/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/source.h"
#include "draft/walk.h"
#include "pbs/blob.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/stream_writer.h"
#include "repo/uploads.h"

/* A chunk that is as large is worth cutting the one before it short. */
#define WORTH_A_CUT (128 * KIB)

/* Bytes from off to end. */
static int
feed(struct emit *em, struct source *s, struct stream_writer *w, uint64_t off,
    uint64_t end)
{
	struct piece p;
	uint64_t n;
	int r = 0;

	for (; r == 0 && off < end; off += n) {
		source_piece(s, off, &p);
		if (p.kind == PIECE_HOLE) {
			n = MIN(end, p.off + p.len) - off;
			r = stream_write_zeros(w, n);
		} else {
			n = MIN(end - off, EMIT_BLOCK);
			r = source_read(s, em->buf, n, off);
			if (r == 0)
				r = stream_write(w, em->buf, n);
		}
		emit_progress(em, n);
	}
	return r;
}

int
emit_inject(struct emit *em, struct stream_writer *w,
    const struct digest *digest, uint64_t size)
{
	int r = 0;

	/* Somebody has tried to read it. */
	if (damage_has_chunk(repo_damage(em->d->all->repo), digest)) {
		known_doubt(uploads_known(em->uploads), digest);
		return -ENOENT;
	}
	/* A cut for nothing would leave a small chunk. */
	if (stream_fill(w) != 0) {
		r = uploads_touch(em->uploads, digest);
		if (r == 0)
			r = stream_cut(w);
	}
	if (r == 0)
		r = stream_inject(w, digest, size);
	return r == 1 ? -ENOENT : r;
}

int
emit_content(struct emit *em, struct source *s, struct stream_writer *w,
    bool natural)
{
	struct source_chunk c;
	uint64_t off = 0, from = 0;
	int r = 0;

	while (r == 0 && source_chunk(s, from, s->size, natural, &c) == 0) {
		r = feed(em, s, w, off, c.off);
		off = c.off;
		from = off + 1;
		if (r < 0 || (stream_fill(w) != 0 &&
		    (natural || c.size < WORTH_A_CUT)))
			continue;
		r = emit_inject(em, w, &c.digest, c.size);
		if (r == 0) {
			off = from = c.off + c.size;
			emit_progress(em, c.size);
		}
		/* Perhaps a cache has it still. */
		if (r == -ENOENT)
			r = 0;
	}
	return r < 0 ? r : feed(em, s, w, off, s->size);
}

static bool
is_zeros(const struct emit *em, const struct source_chunk *c)
{
	const struct chunk_id id = {
	    .digest = c->digest, .size = (uint32_t)c->size, .key = em->key};

	return chunk_is_zero(&id);
}

static int
image_slot(struct emit *em, struct source *s, struct stream_writer *w,
    uint64_t off, uint64_t len)
{
	struct source_chunk c;
	struct piece p;
	int r;

	if (source_chunk(s, off, off + 1, false, &c) == 0 && c.size == len) {
		if (is_zeros(em, &c))
			return stream_write_zeros(w, len);
		r = emit_inject(em, w, &c.digest, len);
		if (r != -ENOENT)
			return r;
	}
	source_piece(s, off, &p);
	if (p.kind == PIECE_HOLE && p.off + p.len >= off + len)
		return stream_write_zeros(w, len);
	r = source_read(s, em->buf, len, off);
	return r < 0 ? r : stream_write(w, em->buf, len);
}

static int
image(struct emit *em, struct source *s, const char *server)
{
	struct stream_writer *w;
	uint64_t off, n;
	int r;

	r = stream_writer_new(em->uploads, STREAM_FIXED, s->size, em->key, &w);
	if (r < 0)
		return r;
	for (off = 0; r == 0 && off < s->size; off += n) {
		n = MIN(s->size - off, STREAM_FIXED_CHUNK);
		r = image_slot(em, s, w, off, n);
		emit_progress(em, n);
	}
	if (r == 0)
		r = emit_stream(em, w, server);
	stream_writer_free(w);
	return r;
}

static int
stream(struct emit *em, struct source *s, const char *server)
{
	struct stream_writer *w;
	int r;

	r = stream_writer_new(em->uploads, STREAM_DYNAMIC, 0, em->key, &w);
	if (r < 0)
		return r;
	r = emit_content(em, s, w, true);
	if (r == 0)
		r = emit_stream(em, w, server);
	stream_writer_free(w);
	return r;
}

static int
blob(struct emit *em, struct source *s, const char *server)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	if (s->size > BLOB_CONTENT_MAX)
		return -EFBIG;
	b = buf_new(s->size);
	if (b == NULL)
		return -ENOMEM;
	r = source_read(s, b->data, s->size, 0);
	emit_progress(em, s->size);
	return r < 0 ? r : emit_add_blob(em, server, b->data, b->len);
}

int
emit_file(struct emit *em, const struct walk_entry *e,
    const struct plan_top *t)
{
	struct source s;
	int r;

	r = source_open(em->d, e, &s);
	if (r < 0)
		return r;
	if (t->kind == ARCHIVE_FIXED)
		r = image(em, &s, t->server);
	else if (t->kind == ARCHIVE_BLOB)
		r = blob(em, &s, t->server);
	else
		r = stream(em, &s, t->server);
	source_close(&s);
	if (r == 0)
		emit_place(em, e, 0);
	return r;
}
