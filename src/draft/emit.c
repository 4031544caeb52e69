/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/walk.h"
#include "pbs/blob.h"
#include "pbs/catalog.h"
#include "repo/edit.h"
#include "repo/stream_writer.h"

#define CATALOG_NAME "catalog.pcat1.didx"
#define KEY_NAME "rsa-encrypted.key.blob"
/* How often progress is shown. */
#define REPORT_BYTES (8 * MIB)

void
emit_fini(struct emit *em)
{
	emit_tree_free(em->tree);
	catalog_writer_free(em->catalog);
	for (size_t i = 0; i < em->n_files; i++)
		buf_unref(em->files[i].data);
	free(em->files);
	free(em->buf);
	em->tree = NULL;
	em->catalog = NULL;
	em->files = NULL;
	em->n_files = em->room = 0;
	em->buf = NULL;
}

static int
new_file(struct emit *em, const char *server, struct snapshot_file **ret)
{
	size_t room = MAX(em->room * 2, (size_t)16);
	struct snapshot_file *v;

	assert(strlen(server) <= NAME_LEN_MAX);
	if (em->n_files == em->room) {
		v = reallocarray(em->files, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		em->files = v;
		em->room = room;
	}
	v = &em->files[em->n_files++];
	memset(v, 0, sizeof(*v));
	memcpy(v->name, server, strlen(server));
	*ret = v;
	return 0;
}

int
emit_stream(struct emit *em, struct stream_writer *w, const char *server)
{
	struct snapshot_file *f;
	struct stream_result res;
	int r;

	r = stream_finish(w, em->time, &res);
	if (r < 0)
		return r;
	r = new_file(em, server, &f);
	if (r == 0) {
		f->data = steal(&res.index);
		f->size = res.size;
		f->csum = res.csum;
		em->stats.count += res.new_chunks;
		em->stats.size += res.new_bytes;
		em->stats.compressed_size += res.stored_bytes;
	}
	stream_result_fini(&res);
	return r;
}

/* Takes b over. */
static int
add_blob(struct emit *em, const char *server, struct buf *b)
{
	struct snapshot_file *f;
	int r;

	r = new_file(em, server, &f);
	if (r < 0) {
		buf_unref(b);
		return r;
	}
	f->data = b;
	f->size = b->len;
	f->csum = digest_of(b->data, b->len);
	return 0;
}

int
emit_add_blob(struct emit *em, const char *server, const void *p, size_t len)
{
	struct buf *b;
	int r;

	r = blob_encode_with(p, len, true, em->key, &b);
	return r < 0 ? r : add_blob(em, server, b);
}

static void
report(struct emit *em)
{
	LOCK(&em->d->lock);
	em->d->done += em->unreported;
	em->unreported = 0;
}

void
emit_progress(struct emit *em, uint64_t n)
{
	em->unreported += n;
	if (em->unreported >= REPORT_BYTES)
		report(em);
}

int
emit_place(struct emit *em, const struct walk_entry *e, uint64_t pos)
{
	return e->inode != NULL ?
	    place_set(em->d, e->inode, em->archive, pos, e->path) : 0;
}

static int
failed(const struct emit *em, const char *path, size_t len, int r)
{
	_cleanup_(str_fini) struct str title = {0}, name = {0};

	publish_title(em->d, &title);
	str_escape(&name, path, len);
	if (r != -ENOENT && r != -EBADMSG) {
		publish_log(em->d, "%s: publishing has stopped at %s: %s",
		    str_get(&title), str_get(&name), publish_why(r));
		return r;
	}
	publish_log(em->d, "%s: cannot publish %s: some of its bytes are "
	    "%s\nhint: write it anew, or remove it", str_get(&title),
	    str_get(&name), r == -ENOENT ? "not in the store any more" :
	    "damaged in the store");
	return -EIO;
}

static int
one(struct emit *em, const struct walk_entry *e, size_t *n_tops)
{
	const struct plan_top *t = NULL;

	if (e->step == WALK_DIR_END)
		return emit_tree_end(em, e);
	if (e->depth > 1)
		return emit_tree_entry(em, e);
	assert(*n_tops < em->plan->n_tops);
	em->archive = (uint32_t)*n_tops;
	t = &em->plan->tops[(*n_tops)++];
	return e->step == WALK_DIR ? emit_tree_begin(em, e, t) :
	    emit_file(em, e, t);
}

static int
write_catalog(struct emit *em)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct stream_writer *w = NULL;
	int r;

	if (em->catalog == NULL)
		return 0;
	r = catalog_writer_finish(em->catalog, &b);
	if (r == 0)
		r = stream_writer_new(em->uploads, STREAM_CATALOG, 0, em->key,
		    &w);
	if (r == 0)
		r = stream_write(w, b->data, b->len);
	if (r == 0)
		r = emit_stream(em, w, CATALOG_NAME);
	stream_writer_free(w);
	return r < 0 ? failed(em, CATALOG_NAME, strlen(CATALOG_NAME), r) : 0;
}

/* The key that everything is encrypted with, for who has the master key: that
 * is encrypted already, and not packed. */
static int
write_key(struct emit *em)
{
	const struct buf *b = em->d->all->opts.key_blob;
	struct buf *blob;
	int r;

	if (b == NULL || em->d->all->opts.key == NULL)
		return 0;
	r = blob_encode(b->data, b->len, false, &blob);
	return r < 0 ? r : add_blob(em, KEY_NAME, blob);
}

static int
rank(const struct snapshot_file *f)
{
	if (streq(f->name, CATALOG_NAME))
		return 1;
	if (streq(f->name, KEY_NAME))
		return 3;
	return archive_kind(f->name) == ARCHIVE_BLOB ? 2 : 0;
}

/* Archives, the catalog, blobs, the key; each as they came, which is by
 * name. */
static int
sort_files(struct emit *em)
{
	struct snapshot_file *v = calloc(em->n_files, sizeof(*v));
	size_t n = 0;

	if (v == NULL)
		return -ENOMEM;
	for (int k = 0; k <= 3; k++)
		for (size_t i = 0; i < em->n_files; i++)
			if (rank(&em->files[i]) == k)
				v[n++] = em->files[i];
	free(em->files);
	em->files = v;
	em->room = em->n_files;
	return 0;
}

int
emit_all(struct emit *em)
{
	const struct walk_entry *e;
	struct walk *w = NULL;
	size_t n_tops = 0;
	int r;

	em->buf = malloc(EMIT_BLOCK);
	if (em->buf == NULL)
		return -ENOMEM;
	r = walk_new(em->d, PXAR_META, &w);
	while (r == 0) {
		r = walk_next(w, &e);
		if (r != 0)
			break;
		r = one(em, e, &n_tops);
		if (r < 0)
			r = failed(em, e->path, e->path_len, r);
	}
	if (r == 1)
		r = write_catalog(em);
	if (r == 0)
		r = write_key(em);
	if (r == 0)
		r = sort_files(em);
	walk_free(w);
	report(em);
	return r;
}
