/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/log.h"
#include "draft/base_priv.h"
#include "pbs/index.h"
#include "repo/reader.h"
#include "repo/repo.h"

/*
 * What is in the archives of a base: opened when first needed.
 */

int
base_error(const struct base_archive *a, int r)
{
	const struct base *b = a->base;

	switch (r) {
	case -EBADMSG:
		log_limited(LOG_LVL_ERR, "%s/%s/%s/%s: the archive is damaged",
		    backup_type_name(b->group.type), b->group.id,
		    b->snap.name, a->server);
		return r;
	case -ENOENT:
		/* What was listed is gone: not a name that is not there. */
		log_limited(LOG_LVL_ERR, "%s/%s/%s/%s: what the open snapshot "
		    "is based on is not in the store any more",
		    backup_type_name(b->group.type), b->group.id,
		    b->snap.name, a->server);
		return -EIO;
	default:
		return r;
	}
}

void
base_opened_free(struct opened *o)
{
	if (o == NULL)
		return;
	pxar_close(o->px[0]);
	pxar_close(o->px[1]);
	reader_unref(o->stream);
	buf_unref(o->blob);
	free(o);
}

static int
source_pread(void *arg, void *p, size_t len, uint64_t off)
{
	struct opened_source *s = arg;
	uint64_t size = reader_size(s->stream);
	int r;

	if (off > size || len > size - off)
		return -EBADMSG;
	r = reader_pread(s->stream, p, len, off, s->flags);
	/* A chunk that is not there is damage of this place, too. */
	return r == -ENOENT ? -EBADMSG : r;
}

static int
open_tree(struct base_archive *a, unsigned flags, struct opened *o)
{
	struct pxar_source src = {
	    .pread = source_pread,
	    .size = reader_size(o->stream),
	};
	int i, first = (flags & REPO_NOWAIT) != 0, r;

	for (i = 0; i < 2; i++) {
		o->source[i].a = a;
		o->source[i].stream = o->stream;
		o->source[i].flags = i == 1 ? REPO_NOWAIT : 0;
	}
	src.arg = &o->source[first];
	r = pxar_open(&src, &o->px[first]);
	if (r < 0)
		return r;
	src.arg = &o->source[!first];
	return pxar_with_source(o->px[first], &src, &o->px[!first]);
}

static int
open_archive(struct base_archive *a, unsigned flags, struct opened *o)
{
	struct base_archive_data *x = a->data;
	struct digest csum;
	int r;

	if (a->base->gone)
		return -ENOENT;
	if (a->kind == ARCHIVE_BLOB)
		return repo_blob(a->base->repo, x->file, flags, &o->blob);
	r = repo_reader(a->base->repo, x->file, flags, &o->stream);
	if (r < 0)
		return r;
	if (x->has_expect) {
		csum = index_csum(reader_index(o->stream));
		if (!digest_eq(&csum, &x->expect)) {
			log_limited(LOG_LVL_ERR, "%s/%s/%s/%s: is not what the "
			    "open snapshot was begun with",
			    backup_type_name(a->base->group.type),
			    a->base->group.id, a->base->snap.name, a->server);
			return -EIO;
		}
	}
	return base_is_tree(a) ? open_tree(a, flags, o) : 0;
}

int
base_opened(struct base_archive *a, unsigned flags, struct opened **ret)
{
	struct base_archive_data *x = a->data;
	struct opened *o;
	int r;

	{
		LOCK(&x->lock);
		*ret = x->opened;
		if (*ret != NULL)
			return 0;
	}
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return -ENOMEM;
	r = open_archive(a, flags, o);
	if (r < 0) {
		base_opened_free(o);
		return base_error(a, r);
	}
	pthread_mutex_lock(&x->lock);
	if (x->opened == NULL) {
		x->opened = o;
		o = NULL;
	}
	*ret = x->opened;
	pthread_mutex_unlock(&x->lock);
	base_opened_free(o);
	return 0;
}

int
base_pxar(struct base_archive *a, unsigned flags, struct pxar **ret)
{
	struct opened *o;
	int r;

	if (!base_is_tree(a))
		return -EINVAL;
	r = base_opened(a, flags, &o);
	if (r == 0)
		*ret = o->px[(flags & REPO_NOWAIT) != 0];
	return r;
}

int
base_root(struct base_archive *a, unsigned flags, uint64_t *ret_pos)
{
	struct pxar *px;
	int r;

	*ret_pos = 0;
	if (!base_is_tree(a))
		return 0;
	r = base_pxar(a, flags, &px);
	if (r == 0)
		*ret_pos = pxar_root(px);
	return r;
}

/*
 * Entries and content.
 */

static int
entry_of_file(struct base_archive *a, unsigned flags, struct pxar_entry *ret)
{
	struct opened *o;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = base_opened(a, flags, &o);
	if (r < 0)
		return r;
	ret->mode = S_IFREG | 0644;
	ret->mtime_sec = a->base->snap.time;
	ret->size = o->blob != NULL ? o->blob->len : reader_size(o->stream);
	return 0;
}

int
base_entry(struct base_archive *a, uint64_t pos, unsigned pxar_flags,
    unsigned flags, struct pxar_entry *ret)
{
	struct pxar *px = NULL;
	int r;

	if (!base_is_tree(a))
		return entry_of_file(a, flags, ret);
	r = base_pxar(a, flags, &px);
	if (r < 0)
		return r;
	r = pxar_stat(px, pos, pxar_flags, ret);
	return base_error(a, r == -ENOENT ? -EBADMSG : r);
}

static int
payload_stream(struct base_archive *a, unsigned flags, struct reader **ret)
{
	struct base_archive_data *x = a->data;
	struct reader *fresh;
	int r;

	{
		LOCK(&x->lock);
		if (x->payload_stream != NULL) {
			*ret = reader_ref(x->payload_stream);
			return 0;
		}
	}
	if (x->payload == NULL)
		return base_error(a, -ENOENT);
	r = repo_reader(a->base->repo, x->payload, flags, &fresh);
	if (r < 0)
		return base_error(a, r);
	LOCK(&x->lock);
	if (x->payload_stream == NULL)
		x->payload_stream = reader_ref(fresh);
	*ret = fresh;
	return 0;
}

static int
content_of_entry(struct base_archive *a, const struct opened *o,
    const struct pxar_entry *e, unsigned flags, struct base_content *ret)
{
	uint64_t end;
	int r = 0;

	ret->off = e->content;
	ret->has_header = true;
	if (e->is_ref) {
		r = payload_stream(a, flags, &ret->stream);
		if (r == 0 && __builtin_add_overflow(e->content,
		    (uint64_t)16, &ret->off))
			r = -EBADMSG;
	} else {
		ret->stream = reader_ref(o->stream);
	}
	if (r == 0 && (ret->off < 16 ||
	    __builtin_add_overflow(ret->off, ret->size, &end) ||
	    end > reader_size(ret->stream)))
		r = -EBADMSG;
	return base_error(a, r);
}

int
base_content(struct base_archive *a, const struct pxar_entry *e,
    unsigned flags, struct base_content *ret)
{
	struct opened *o;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = base_opened(a, flags, &o);
	if (r < 0)
		return r;
	ret->size = e->size;
	if (base_is_tree(a)) {
		r = content_of_entry(a, o, e, flags, ret);
		if (r < 0)
			base_content_fini(ret);
	} else if (o->blob != NULL) {
		ret->blob = buf_ref(o->blob);
		ret->size = o->blob->len;
	} else {
		ret->stream = reader_ref(o->stream);
		ret->size = reader_size(o->stream);
	}
	return r;
}

void
base_content_fini(struct base_content *c)
{
	reader_unref(c->stream);
	buf_unref(c->blob);
	memset(c, 0, sizeof(*c));
}
