/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "draft/runs.h"
#include "draft/source.h"
#include "draft/walk.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "pbs/pxar_writer.h"
#include "repo/stream_writer.h"

/* What a file takes in a manifest beside its name. */
#define MANIFEST_FILE 220

/* Who has a thousand files that cannot be published wants to know of some. */
#define MESSAGES_MAX 20

struct planner {
	struct draft *d;
	struct plan *p;
	int err;		/* the first */
	unsigned problems;
	uint64_t stream;	/* bytes of the archive that the walk is in */
	size_t files;		/* of the snapshot */
	size_t manifest;	/* bytes of it, or somewhat more */
};

void
publish_title(const struct draft *d, struct str *out)
{
	if (d->group.ns[0] != '\0')
		str_addf(out, "%s/", d->group.ns);
	str_addf(out, "%s/%s", backup_type_name(d->group.type), d->group.id);
}

void
publish_log(const struct draft *d, const char *fmt, ...)
{
	_cleanup_(str_fini) struct str t = {0};
	va_list ap;

	va_start(ap, fmt);
	str_addv(&t, fmt, ap);
	va_end(ap);
	log_msg(d->quiet ? LOG_LVL_DEBUG : LOG_LVL_ERR, "%s", str_get(&t));
}

const char *
publish_why(int err)
{
	if (err == -ENOKEY)
		return "it is encrypted with a key that is not at hand\n"
		    "hint: keyfile=FILE, beside the one to write with";
	return err == -EBADMSG ? "it is damaged" : strerror(-err);
}

void
plan_fini(struct plan *p)
{
	runs_free(p->runs);
	free(p->tops);
	memset(p, 0, sizeof(*p));
}

static void
refuse(struct planner *pl, const struct walk_entry *e, int err,
    const char *why, const char *hint)
{
	_cleanup_(str_fini) struct str title = {0}, path = {0};

	if (pl->err == 0)
		pl->err = err;
	if (++pl->problems > MESSAGES_MAX)
		return;
	publish_title(pl->d, &title);
	str_escape(&path, e->path, e->path_len);
	publish_log(pl->d, "%s: cannot publish %s: %s\nhint: %s",
	    str_get(&title), str_get(&path), why, hint);
}

static int
add_top(struct plan *p, const struct plan_top *t)
{
	size_t room = MAX(p->room * 2, (size_t)16);
	struct plan_top *v;

	if (p->n_tops == p->room) {
		v = reallocarray(p->tops, room, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		p->tops = v;
		p->room = room;
	}
	p->tops[p->n_tops++] = *t;
	return 0;
}

/* A manifest that is too large to be read is found out last otherwise. */
static void
count_top(struct planner *pl, const struct plan_top *t)
{
	const size_t n = t->kind == ARCHIVE_MPXAR ? 2 : 1;

	pl->files += n;
	pl->manifest += n * (MANIFEST_FILE + strlen(t->server));
}

static void
check_size(struct planner *pl, const struct walk_entry *e,
    enum archive_kind kind, uint64_t size)
{
	if (size == 0 && (kind == ARCHIVE_FIXED || kind == ARCHIVE_DYNAMIC))
		refuse(pl, e, -EILSEQ, "it is empty, and the format has no "
		    "images and streams without a byte",
		    "write into it, remove it, or move it into a directory");
	if (size > BLOB_CONTENT_MAX && kind == ARCHIVE_BLOB)
		refuse(pl, e, -EILSEQ, "it is over 128 MiB, which is the most "
		    "that a file of this name can have",
		    "use a name that does not end in .conf, .log, .json or "
		    ".key, or move it into a directory");
}

/* A sparse file can be of any size, and it takes ages to find out late. */
static void
check_room(struct planner *pl, const struct walk_entry *e,
    enum archive_kind kind, uint64_t size)
{
	const uint64_t max = kind == ARCHIVE_FIXED ?
	    index_size_max(INDEX_FIXED, STREAM_FIXED_CHUNK) :
	    index_size_max(INDEX_DYNAMIC, CHUNK_CONTENT_MAX);

	if (kind == ARCHIVE_BLOB)
		return;
	if (size <= max && pl->stream <= max - size) {
		pl->stream += size;
		return;
	}
	refuse(pl, e, -EILSEQ, kind == ARCHIVE_FIXED ?
	    "an image has at most 64 TiB" :
	    "a stream, or all files of an archive, have at most 204 TiB",
	    "make it shorter, or remove it");
}

static void
check_lost(struct planner *pl, const struct walk_entry *e,
    const struct source *s)
{
	bool failed = false;

	if (e->inode != NULL) {
		LOCK(&pl->d->lock);
		failed = e->inode->error != 0;
	}
	if (source_lost(s) > 0 || failed)
		refuse(pl, e, -EIO, "what was written into it could not be "
		    "kept", "write it anew, or remove it");
}

/* Where a file lies that may stay where it is. */
static bool
find_item(const struct source *s, struct run_item *ret)
{
	const struct reader *stream;
	struct index_chunk first, last;
	const struct index *x;
	struct piece p = {0};
	uint64_t off;

	if (!source_header(s, &stream, &off))
		return false;
	ret->begin = off;
	ret->end = off + PXAR_PAYLOAD_HEADER_LEN + s->size;
	if (stream != NULL) {
		x = reader_index(stream);
		first = index_chunk(x, index_find(x, off));
		last = index_chunk(x, index_find(x, ret->end - 1));
		ret->stream = index_csum(x);
		ret->chunks_begin = first.start;
		ret->chunks_end = last.end;
		ret->first = first.digest;
		ret->first_end = first.end;
		ret->last = last.digest;
		return true;
	}
	source_piece(s, 0, &p);
	ret->stream = ret->first = p.digest;
	ret->chunks_begin = 0;
	ret->first_end = p.chunk_size;
	source_piece(s, s->size - 1, &p);
	ret->chunks_end = ret->end + p.chunk_size - (p.skip + p.len);
	ret->last = p.digest;
	return true;
}

static int
plan_file(struct planner *pl, const struct walk_entry *e,
    const struct plan_top *t)
{
	const bool packs = e->depth > 1 && t->kind == ARCHIVE_MPXAR;
	struct run_item it;
	struct source s;
	int r;

	if (e->again)
		return 0;
	r = source_open(pl->d, e, &s);
	if (r < 0) {
		refuse(pl, e, r, "the base that it is in cannot be read",
		    "remove it, or try again");
		return 0;
	}
	check_lost(pl, e, &s);
	if (e->depth == 1)
		check_size(pl, e, t->kind, s.size);
	check_room(pl, e, t->kind, s.size);
	if (__builtin_add_overflow(pl->p->total, s.size, &pl->p->total))
		pl->p->total = UINT64_MAX;
	if (packs)
		r = runs_add(pl->p->runs, find_item(&s, &it) ? &it : NULL);
	source_close(&s);
	return r;
}

static int
plan_entry(struct planner *pl, const struct walk_entry *e,
    struct plan_top *t)
{
	const char *why;
	int r = 0;

	if (e->step == WALK_DIR_END) {
		/* A snapshot without them would pass for whole. */
		if (e->bad > 0)
			refuse(pl, e, -EIO, "entries of it are damaged in the "
			    "snapshot before", "move what is left of it into "
			    "a new directory, and remove this one");
		return 0;
	}
	if (e->depth == 1) {
		pl->stream = 0;
		r = plan_top_of(pl->d, e->name, e->e.mode, t, &why);
		if (r == -EILSEQ) {
			refuse(pl, e, r, why, S_ISREG(e->e.mode) ||
			    S_ISDIR(e->e.mode) ?
			    "rename it, or move it into a directory" :
			    "move it into a directory, or remove it");
			/* What is in it is looked at all the same. */
			*t = (struct plan_top){.kind = ARCHIVE_MPXAR};
			r = 0;
		}
		if (r == 0)
			r = add_top(pl->p, t);
		if (r == 0)
			count_top(pl, t);
	}
	if (r == 0 && S_ISREG(e->e.mode))
		r = plan_file(pl, e, t);
	return r;
}

static int
finish(struct planner *pl)
{
	_cleanup_(str_fini) struct str title = {0};

	publish_title(pl->d, &title);
	if (pl->problems > MESSAGES_MAX)
		publish_log(pl->d, "%s: %u more files cannot be published",
		    str_get(&title), pl->problems - MESSAGES_MAX);
	if (pl->err == 0 && pl->p->n_tops == 0) {
		publish_log(pl->d, "%s: cannot publish: there is nothing in it",
		    str_get(&title));
		return -ENODATA;
	}
	if (pl->files > MANIFEST_FILES_MAX ||
	    pl->manifest > MANIFEST_CONTENT_MAX) {
		publish_log(pl->d, "%s: cannot publish: %zu files and "
		    "directories at the top are more than a manifest can list\n"
		    "hint: move them into a directory", str_get(&title),
		    pl->p->n_tops);
		return pl->err < 0 ? pl->err : -EILSEQ;
	}
	runs_finish(pl->p->runs);
	return pl->err;
}

int
plan_make(struct draft *d, struct plan *p)
{
	struct planner pl = {.d = d, .p = p};
	struct plan_top top = {0};
	const struct walk_entry *e;
	struct walk *w = NULL;
	int r;

	memset(p, 0, sizeof(*p));
	r = runs_new(&p->runs);
	if (r == 0)
		r = walk_new(d, 0, &w);
	while (r == 0) {
		r = walk_next(w, &e);
		if (r == 0)
			r = plan_entry(&pl, e, &top);
	}
	walk_free(w);
	r = r == 1 ? finish(&pl) : r;
	if (r < 0)
		plan_fini(p);
	return r;
}
