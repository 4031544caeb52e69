/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/runs.h"
#include "draft/source.h"
#include "draft/walk.h"
#include "pbs/catalog.h"
#include "pbs/index.h"
#include "pbs/pxar_writer.h"
#include "repo/stream_writer.h"

/* A new chunk begins with a file, if the one before it is as long. */
#define CHUNK_MIN (1 * MIB)

/* The chunk that was put in last, if nothing came behind it. */
struct cursor {
	struct digest digest;
	uint64_t begin, end;	/* in the payload stream; end 0: none */
	bool has_tail;		/* it ends a payload stream */
};

struct emit_tree {
	struct emit *em;	/* borrowed */
	bool split;
	char server[NAME_LEN_MAX + 1];
	struct stream_writer *main;	/* owned: metadata, or all */
	struct stream_writer *payload;	/* owned; NULL: v1 */
	struct pxar_writer *px;		/* owned */
	bool started;		/* the payload stream has its start marker */
	uint64_t last_ref;
	struct cursor cursor;
};

void
emit_tree_free(struct emit_tree *t)
{
	if (t == NULL)
		return;
	pxar_writer_free(t->px);
	stream_writer_free(t->main);
	stream_writer_free(t->payload);
	free(t);
}

static int
sink_write(void *arg, const void *p, size_t len)
{
	struct emit_tree *t = arg;

	return stream_write(t->main, p, len);
}

static int
begin_catalog(struct emit *em, const char *server)
{
	int r = 0;

	if (em->catalog == NULL)
		r = catalog_writer_new(&em->catalog);
	if (r == 0)
		r = catalog_writer_open(em->catalog, server, strlen(server));
	return r;
}

int
emit_tree_begin(struct emit *em, const struct walk_entry *e,
    const struct plan_top *top)
{
	struct emit_tree *t = calloc(1, sizeof(*t));
	struct pxar_sink sink = {.write = sink_write, .arg = t};
	int r;

	if (t == NULL)
		return -ENOMEM;
	assert(em->tree == NULL);
	em->tree = t;
	t->em = em;
	t->split = top->kind == ARCHIVE_MPXAR;
	memcpy(t->server, top->server, sizeof(t->server));
	r = stream_writer_new(em->uploads, STREAM_DYNAMIC, 0, em->key,
	    &t->main);
	if (r == 0 && t->split)
		r = stream_writer_new(em->uploads, STREAM_DYNAMIC, 0, em->key,
		    &t->payload);
	if (r == 0 && !t->split)
		r = begin_catalog(em, t->server);
	if (r == 0)
		r = pxar_writer_new(t->split ? 2 : 1, &sink, &t->px);
	return r < 0 ? r : pxar_writer_root(t->px, &e->e);
}

/*
 * The payload stream.
 */

static int
start_payload(struct emit_tree *t)
{
	uint8_t mark[PXAR_PAYLOAD_START_LEN];

	if (t->started)
		return 0;
	t->started = true;
	pxar_payload_start(mark);
	return stream_write(t->payload, mark, sizeof(mark));
}

static int
put_chunk(struct emit_tree *t, const struct digest *digest, uint64_t size)
{
	uint64_t begin;
	int r;

	r = emit_inject(t->em, t->payload, digest, size);
	begin = stream_offset(t->payload) - size;
	if (r == 0)
		t->cursor = (struct cursor){
		    .digest = *digest, .begin = begin, .end = begin + size};
	return r;
}

/* The chunk with a file's header, which lies at skip in it.  It need not be put
 * in twice for files that follow each other in it. */
static int
put_first(struct emit_tree *t, const struct digest *digest, uint64_t size,
    uint64_t skip, uint64_t *ret_ref)
{
	const struct cursor *c = &t->cursor;
	int r = 0;

	if (c->end == 0 || c->end != stream_offset(t->payload) ||
	    !digest_eq(&c->digest, digest) || c->begin + skip <= t->last_ref)
		r = put_chunk(t, digest, size);
	*ret_ref = c->begin + skip;
	return r;
}

/* Its chunks in the stream of the base. */
static int
keep_base(struct emit_tree *t, const struct source *s,
    const struct reader *stream, uint64_t off, bool is_payload,
    uint64_t *ret_ref)
{
	const struct index *x = reader_index(stream);
	const uint64_t end = off + PXAR_PAYLOAD_HEADER_LEN + s->size;
	size_t i = index_find(x, off);
	struct index_chunk c = index_chunk(x, i);
	int r = 0;

	/* The first chunk of a payload stream has the start marker. */
	if (i == 0 && is_payload && stream_offset(t->payload) == 0)
		t->started = true;
	else
		r = start_payload(t);
	if (r == 0)
		r = put_first(t, &c.digest, c.end - c.start, off - c.start,
		    ret_ref);
	while (r == 0 && c.end < end) {
		c = index_chunk(x, ++i);
		r = put_chunk(t, &c.digest, c.end - c.start);
	}
	t->cursor.has_tail = r == 0 && is_payload && i + 1 == index_count(x);
	if (r == -ENOENT && stream_offset(t->payload) == 0)
		t->started = false;
	return r;
}

/* The chunks that it was uploaded in. */
static int
keep_packed(struct emit_tree *t, const struct source *s, uint64_t skip,
    uint64_t *ret_ref)
{
	struct piece p;
	int r;

	source_piece(s, 0, &p);
	r = start_payload(t);
	if (r == 0)
		r = put_first(t, &p.digest, p.chunk_size, skip, ret_ref);
	while (r == 0 && p.off + p.len < s->size) {
		source_piece(s, p.off + p.len, &p);
		r = put_chunk(t, &p.digest, p.chunk_size);
	}
	return r;
}

static int
write_anew(struct emit_tree *t, struct source *s, uint64_t *ret_ref)
{
	uint8_t head[PXAR_PAYLOAD_HEADER_LEN];
	int r;

	r = start_payload(t);
	if (r == 0 && stream_fill(t->payload) >= CHUNK_MIN)
		r = stream_cut(t->payload);
	*ret_ref = stream_offset(t->payload);
	pxar_payload_header(s->size, head);
	if (r == 0)
		r = stream_write(t->payload, head, sizeof(head));
	return r < 0 ? r : emit_content(t->em, s, t->payload, false);
}

static int
file_ref(struct emit_tree *t, const struct walk_entry *e, struct source *s,
    uint64_t *ret_pos)
{
	const bool keeps = runs_keeps(t->em->plan->runs, t->em->n_packed++);
	const struct reader *stream;
	uint64_t off, ref = 0;
	int r = -ENOENT;

	if (keeps && source_header(s, &stream, &off)) {
		if (stream != NULL)
			r = keep_base(t, s, stream, off,
			    e->archive->kind == ARCHIVE_MPXAR, &ref);
		else
			r = keep_packed(t, s, off, &ref);
		if (r == 0)
			emit_progress(t->em, s->size);
	}
	/* A chunk that is gone from the store may still be in a cache. */
	if (r == -ENOENT)
		r = write_anew(t, s, &ref);
	if (r < 0)
		return r;
	t->last_ref = ref;
	return pxar_writer_file_ref(t->px, e->name, &e->e, ref, ret_pos);
}

static int
end_payload(struct emit_tree *t)
{
	uint8_t mark[PXAR_PAYLOAD_START_LEN];
	int r;

	r = start_payload(t);
	if (r < 0 || (t->cursor.has_tail &&
	    t->cursor.end == stream_offset(t->payload)))
		return r;
	pxar_payload_tail(mark);
	return stream_write(t->payload, mark, sizeof(mark));
}

/*
 * Entries.
 */

static int
file_inline(struct emit_tree *t, const struct walk_entry *e, struct source *s,
    uint64_t *ret_pos)
{
	uint64_t off, n;
	int r;

	r = pxar_writer_file(t->px, e->name, &e->e, ret_pos);
	for (off = 0; r == 0 && off < s->size; off += n) {
		n = MIN(s->size - off, EMIT_BLOCK);
		r = source_read(s, t->em->buf, n, off);
		if (r == 0)
			r = pxar_writer_data(t->px, t->em->buf, n);
		emit_progress(t->em, n);
	}
	return r;
}

static int
file(struct emit_tree *t, const struct walk_entry *e)
{
	struct source s;
	uint64_t pos;
	int r;

	if (e->again) {
		r = pxar_writer_hardlink(t->px, e->name, e->link->pos,
		    e->link->path);
		return r < 0 ? r : emit_place(t->em, e, e->link->pos);
	}
	r = source_open(t->em->d, e, &s);
	if (r < 0)
		return r;
	/* What the header says and what the entry says must be the same. */
	assert(s.size == e->e.size);
	r = t->split ? file_ref(t, e, &s, &pos) : file_inline(t, e, &s, &pos);
	source_close(&s);
	if (r < 0)
		return r;
	if (e->link != NULL)
		e->link->pos = pos;
	return emit_place(t->em, e, pos);
}

static enum catalog_type
catalog_type(const struct walk_entry *e)
{
	switch (e->e.mode & S_IFMT) {
	case S_IFREG:
		return e->again ? CATALOG_HARDLINK : CATALOG_FILE;
	case S_IFLNK:
		return CATALOG_SYMLINK;
	case S_IFBLK:
		return CATALOG_BLOCK;
	case S_IFCHR:
		return CATALOG_CHAR;
	case S_IFIFO:
		return CATALOG_FIFO;
	default:
		return CATALOG_SOCKET;
	}
}

static int
add_to_catalog(struct emit *em, const struct walk_entry *e)
{
	const struct catalog_entry c = {
	    .type = catalog_type(e),
	    .name = e->name,
	    .name_len = strlen(e->name),
	    .size = e->e.size,
	    .mtime = e->e.mtime_sec,
	};

	return catalog_writer_add(em->catalog, &c);
}

int
emit_tree_entry(struct emit *em, const struct walk_entry *e)
{
	struct emit_tree *t = em->tree;
	uint64_t pos;
	int r;

	if (e->step == WALK_DIR) {
		r = pxar_writer_dir(t->px, e->name, &e->e);
		if (r == 0 && !t->split)
			r = catalog_writer_open(em->catalog, e->name,
			    strlen(e->name));
		return r;
	}
	if (S_ISREG(e->e.mode)) {
		r = file(t, e);
	} else {
		r = pxar_writer_node(t->px, e->name, &e->e, &pos);
		if (r == 0)
			r = emit_place(em, e, pos);
	}
	if (r == 0 && !t->split)
		r = add_to_catalog(em, e);
	return r;
}

static int
finish_archive(struct emit *em)
{
	struct emit_tree *t = em->tree;
	char payload[NAME_LEN_MAX + 1];
	int r = 0;

	if (t->split) {
		memcpy(payload, t->server, sizeof(payload));
		payload[strlen(payload) - strlen("mpxar.didx")] = 'p';
		r = end_payload(t);
		if (r == 0)
			r = emit_stream(em, t->payload, payload);
	}
	if (r == 0)
		r = emit_stream(em, t->main, t->server);
	emit_tree_free(t);
	em->tree = NULL;
	return r;
}

int
emit_tree_end(struct emit *em, const struct walk_entry *e)
{
	struct emit_tree *t = em->tree;
	uint64_t pos;
	int r;

	r = pxar_writer_dir_end(t->px, &pos);
	if (r == 0 && !t->split)
		r = catalog_writer_close(em->catalog);
	if (r == 0)
		r = emit_place(em, e, pos);
	if (r < 0)
		return r;
	return e->depth == 1 ? finish_archive(em) : 0;
}
