/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/pxar.h"
#include "pbs/pxar_writer.h"
#include "repo/reader.h"
#include "repo/repo.h"
#include "repo/tree.h"

/*
 * What of a tree lies in ranges of its stream.  Goodbye tables lead to it: a
 * directory outside of all ranges is not entered.  For ranges of a payload
 * stream all of the metadata is walked, which is short.
 *
 * Bad ranges read as zeros, which are no record: what lies next to them can be
 * read, and nothing bad is fetched again.
 */

#define WALKS_MAX 256	/* of a run; what is in other archives is not named */
#define TODO_MAX ((size_t)64 << 20)	/* bytes of directories to be entered */
#define GOODBYE_ITEM 24
#define GOODBYE_HEAD 16

struct todo {
	struct todo *next;
	uint64_t pos, begin;
	size_t cost;
	char path[];
};

struct walk {
	struct verify_one *one;		/* borrowed, as is all below */
	const struct verify_obj *obj;
	const struct verify_range *ranges;
	size_t n;
	bool payload;		/* ranges are of that stream */
	struct reader *reader;	/* of the one with the names */
	struct pxar *px;
	struct todo *todo;	/* owned */
	size_t todo_bytes;
	struct verify_names *names;	/* owned; NULL: not opened, or none */
	bool asked;		/* for names */
	uint64_t told;
	int err;		/* the store failed */
};

/* The first range that ends behind off. */
static size_t
range_at(const struct walk *w, uint64_t off)
{
	size_t low = 0, high = w->n, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (w->ranges[mid].end <= off)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool
overlaps(const struct walk *w, uint64_t begin, uint64_t end)
{
	size_t i = range_at(w, begin);

	return i < w->n && begin < end && w->ranges[i].begin < end;
}

static int
read_good(struct walk *w, uint8_t *p, uint64_t off, uint64_t end)
{
	int r;

	r = reader_pread(w->reader, p, (size_t)(end - off), off, 0);
	if (r == -ENOENT)
		r = -EBADMSG;
	if (r < 0 && r != -EBADMSG)
		w->err = r;
	return r;
}

static int
walk_pread(void *arg, void *p, size_t len, uint64_t off)
{
	struct walk *w = arg;
	uint64_t size = reader_size(w->reader), at = off, end, next;
	uint8_t *out = p;
	int r = 0;

	if (off > size || len > size - off)
		return -EBADMSG;
	end = off + len;
	while (r == 0 && at < end) {
		size_t i = w->payload ? w->n : range_at(w, at);

		if (i < w->n && w->ranges[i].begin <= at) {
			next = MIN(end, w->ranges[i].end);
			memset(out + (at - off), 0, (size_t)(next - at));
		} else {
			next = i < w->n ? MIN(end, w->ranges[i].begin) : end;
			r = read_good(w, out + (at - off), at, next);
		}
		at = next;
	}
	return r;
}

static void
tell(struct walk *w, const char *path, enum verify_part part, uint64_t off,
    uint64_t len)
{
	const struct verify_opts *o = w->one->v->o;

	if (w->told++ >= VERIFY_PATHS_MAX) {
		w->one->more_paths++;
		return;
	}
	o->path(o->arg, &(struct verify_path){
	    .snap = w->one->path,
	    .file = w->obj->name,
	    .path = path,
	    .part = part,
	    .off = off,
	    .len = len,
	});
}

/* Content of size bytes that begins at content in the stream. */
static void
tell_content(struct walk *w, const char *path, uint64_t content, uint64_t size)
{
	uint64_t end;

	if (__builtin_add_overflow(content, size, &end))
		end = UINT64_MAX;
	for (size_t i = range_at(w, content); i < w->n &&
	    w->ranges[i].begin < end; i++) {
		uint64_t from = MAX(w->ranges[i].begin, content);
		uint64_t to = MIN(w->ranges[i].end, end);

		if (from < to)
			tell(w, path, VERIFY_CONTENT, from - content,
			    to - from);
	}
}

static int
push(struct walk *w, const struct pxar_entry *e, const char *path)
{
	size_t len = strlen(path) + 1, cost = sizeof(struct todo) + len;
	struct todo *t;

	if (cost > TODO_MAX - w->todo_bytes) {
		w->one->more_paths++;
		return 0;
	}
	t = malloc(cost);
	if (t == NULL)
		return -ENOMEM;
	t->pos = e->pos;
	t->begin = e->begin;
	t->cost = cost;
	memcpy(t->path, path, len);
	t->next = w->todo;
	w->todo = t;
	w->todo_bytes += cost;
	return 0;
}

static int
visit_entry(struct walk *w, const char *path, const struct pxar_entry *e,
    uint64_t link)
{
	uint64_t content = MIN(e->content, (uint64_t)INT64_MAX);

	if (S_ISDIR(e->mode))
		return push(w, e, path);
	/* It has been named, or will be, by its first name. */
	if (link != 0)
		return 0;
	if (S_ISREG(e->mode) && e->is_ref && w->payload) {
		if (overlaps(w, content, content + PXAR_PAYLOAD_HEADER_LEN))
			tell(w, path, VERIFY_ENTRY, 0, 0);
		tell_content(w, path, content + PXAR_PAYLOAD_HEADER_LEN,
		    e->size);
	} else if (S_ISREG(e->mode) && !e->is_ref && !w->payload) {
		if (overlaps(w, e->begin, content))
			tell(w, path, VERIFY_ENTRY, 0, 0);
		tell_content(w, path, content, e->size);
	} else if (!w->payload && overlaps(w, e->begin, e->end)) {
		tell(w, path, VERIFY_ENTRY, 0, 0);
	}
	return 0;
}

/* -EBADMSG: what that entry is cannot be said. */
static int
visit_item(struct walk *w, const struct todo *t, const struct pxar_dir *d,
    size_t i)
{
	_cleanup_(str_fini) struct str path = {0};
	char name[PXAR_NAME_MAX + 1];
	uint64_t begin, end, link;
	struct pxar_entry e;
	int r;

	pxar_dir_range(d, i, &begin, &end);
	if (!w->payload && !overlaps(w, begin, end))
		return 0;
	r = pxar_dir_entry(w->px, d, i, 0, name, &e, &link);
	if (r < 0)
		return r;
	str_addf(&path, "%s%s%s", t->path, t->path[0] != '\0' ? "/" : "",
	    name);
	r = str_error(&path);
	if (r == 0 && path.len > PXAR_PATH_MAX)
		r = -EBADMSG;
	if (r == 0)
		r = visit_entry(w, str_get(&path), &e, link);
	pxar_entry_fini(&e);
	return r;
}

/* One that cannot be read, but the catalog knows what was there.  The content
 * of a file is the last that it has. */
static bool
visit_named(struct walk *w, const struct todo *t, const struct pxar_dir *d,
    size_t i)
{
	_cleanup_(str_fini) struct str path = {0};
	const struct verify_name *n;
	uint64_t begin, end, content;

	n = w->names != NULL ? verify_names_find(w->names,
	    pxar_dir_hash(d, i)) : NULL;
	if (n == NULL)
		return false;
	str_addf(&path, "%s%s%.*s", t->path, t->path[0] != '\0' ? "/" : "",
	    (int)n->len, n->name);
	if (str_error(&path) < 0)
		return false;
	pxar_dir_range(d, i, &begin, &end);
	content = n->is_file && n->size <= end - begin ? end - n->size : end;
	if (n->is_dir)
		tell(w, str_get(&path), VERIFY_LIST, 0, 0);
	else if (overlaps(w, begin, content))
		tell(w, str_get(&path), VERIFY_ENTRY, 0, 0);
	tell_content(w, str_get(&path), content, end - content);
	return true;
}

/* For the directory that is being visited; opened when first needed. */
static void
want_names(struct walk *w, const struct todo *t)
{
	if (!w->asked && archive_kind(w->obj->name) == ARCHIVE_PXAR)
		w->names = verify_names_open(w->one->v, w->one->s,
		    w->obj->name);
	w->asked = true;
	if (w->names != NULL)
		verify_names_dir(w->names, t->path);
}

static int
visit_dir(struct walk *w, const struct todo *t)
{
	uint64_t begin, end = t->pos;
	struct pxar_dir *d;
	bool lost = false, named = false;
	size_t n;
	int r;

	r = pxar_dir_open(w->px, t->pos, &d);
	if (r == -EBADMSG && w->err == 0) {
		tell(w, t->path, VERIFY_LIST, 0, 0);
		return 0;
	}
	if (r < 0)
		return r;
	n = pxar_dir_count(d);
	lost = !w->payload && overlaps(w, t->pos, t->pos + GOODBYE_HEAD +
	    GOODBYE_ITEM * ((uint64_t)n + 1));
	if (n > 0)
		pxar_dir_range(d, 0, &end, &begin);
	if (!w->payload && overlaps(w, t->begin, end))
		tell(w, t->path, VERIFY_ENTRY, 0, 0);
	for (size_t i = 0; r == 0 && i < n; i++) {
		r = verify_ended(w->one->v);
		if (r == 0)
			r = visit_item(w, t, d, i);
		if (r == -EBADMSG && w->err == 0) {
			if (!named)
				want_names(w, t);
			named = true;
			lost |= !visit_named(w, t, d, i);
			r = 0;
		}
	}
	if (lost && r == 0)
		tell(w, t->path, VERIFY_LIST, 0, 0);
	pxar_dir_unref(d);
	return r;
}

static int
walk_tree(struct walk *w)
{
	const struct pxar_source src = {
	    .pread = walk_pread,
	    .arg = w,
	    .size = reader_size(w->reader),
	};
	struct pxar_entry root = {0};
	struct todo *t;
	int r;

	r = pxar_open(&src, &w->px);
	if (r == -EBADMSG && w->err == 0) {
		tell(w, "", VERIFY_LIST, 0, 0);
		return 0;
	}
	if (r < 0)
		return r;
	root.pos = pxar_root(w->px);
	r = push(w, &root, "");
	while (r == 0 && (t = w->todo) != NULL) {
		w->todo = t->next;
		w->todo_bytes -= t->cost;
		r = visit_dir(w, t);
		free(t);
	}
	return r;
}

/* Of a payload, the archive that says what is in it. */
static const struct tree_file *
names_of(const struct verify_one *one, const struct verify_obj *obj)
{
	static const char suffix[] = ".ppxar.didx";
	char name[NAME_LEN_MAX + 1];
	size_t len = strlen(obj->name) - strlen(suffix);

	if (archive_kind(obj->name) != ARCHIVE_PPXAR)
		return obj->f;
	snprintf(name, sizeof(name), "%.*s.mpxar.didx", (int)len, obj->name);
	return tree_find_file(one->s, name);
}

int
verify_paths(struct verify *v, struct verify_one *one,
    const struct verify_obj *obj, const struct verify_range *ranges, size_t n)
{
	enum archive_kind kind = archive_kind(obj->name);
	const struct tree_file *f = names_of(one, obj);
	struct walk w = {
	    .one = one,
	    .obj = obj,
	    .ranges = ranges,
	    .n = n,
	    .payload = kind == ARCHIVE_PPXAR,
	};
	struct todo *t;
	int r;

	if (kind != ARCHIVE_PXAR && kind != ARCHIVE_MPXAR &&
	    kind != ARCHIVE_PPXAR)
		return 0;
	if (f == NULL || v->walks++ >= WALKS_MAX ||
	    repo_reader(v->o->repo, f, 0, &w.reader) < 0) {
		one->more_paths++;
		return 0;
	}
	r = walk_tree(&w);
	while ((t = w.todo) != NULL) {
		w.todo = t->next;
		free(t);
	}
	verify_names_close(w.names);
	pxar_close(w.px);
	reader_unref(w.reader);
	if (r == -ENOMEM || r == -ECANCELED)
		return r;
	/* It was named as far as it goes. */
	if (r < 0)
		one->more_paths++;
	return 0;
}
