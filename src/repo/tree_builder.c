/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/tree_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "repo/strpool.h"

/* An object of the listing.  ns and id are interned: equal means one pointer. */
struct entry {
	const char *ns;
	const char *id;		/* NULL: the namespace itself */
	const char *name;
	const char *etag;
	uint64_t size;
	int64_t mtime;
	int64_t time;
	enum backup_type type;
	enum key_kind kind;
};

struct tree_builder {
	struct strpool *pool;	/* owned */
	struct entry *entries;	/* owned */
	size_t n, size;
	size_t n_ignored;
	const char **ignored;	/* owned; TREE_IGNORED_MAX */
	size_t n_keys;
};

int
tree_builder_new(struct tree_builder **ret)
{
	struct tree_builder *b;
	int r;

	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return -ENOMEM;
	r = strpool_new(&b->pool);
	if (r < 0) {
		free(b);
		return r;
	}
	*ret = b;
	return 0;
}

void
tree_builder_free(struct tree_builder *b)
{
	if (b == NULL)
		return;
	strpool_free(b->pool);
	free(b->entries);
	free(b->ignored);
	free(b);
}

void
tree_store_free(struct tree_store *ts)
{
	strpool_free(ts->pool);
	free(ts->ns);
	free(ts->children);
	free(ts->groups);
	free(ts->snaps);
	free(ts->files);
	free(ts->ignored);
	free(ts);
}

static struct entry *
next_entry(struct tree_builder *b)
{
	struct entry *p;
	size_t size;

	if (b->n == b->size) {
		size = b->size == 0 ? 256 : b->size * 2;
		p = reallocarray(b->entries, size, sizeof(*p));
		if (p == NULL)
			return NULL;
		b->entries = p;
		b->size = size;
	}
	p = &b->entries[b->n];
	memset(p, 0, sizeof(*p));
	return p;
}

static bool
file_is_known(const char *name)
{
	return streq(name, ".protected") ||
	    archive_kind(name) != ARCHIVE_OTHER;
}

int
tree_builder_ignore(struct tree_builder *b, const char *key, size_t n)
{
	b->n_ignored += n;
	if (key == NULL || b->n_keys == TREE_IGNORED_MAX)
		return 0;
	if (b->ignored == NULL)
		b->ignored = calloc(TREE_IGNORED_MAX, sizeof(*b->ignored));
	if (b->ignored == NULL)
		return -ENOMEM;
	b->ignored[b->n_keys] = strpool_add(b->pool, key, strlen(key));
	return b->ignored[b->n_keys++] == NULL ? -ENOMEM : 0;
}

int
tree_builder_add(struct tree_builder *b, const char *key, uint64_t size,
    int64_t mtime, const char *etag)
{
	struct key_parts k;
	struct entry *e;

	key_parse(key, &k);
	if (k.kind != KEY_NAMESPACE && k.kind != KEY_OWNER &&
	    k.kind != KEY_NOTES && k.kind != KEY_FILE)
		return tree_builder_ignore(b, key, 1);
	e = next_entry(b);
	if (e == NULL)
		return -ENOMEM;
	e->kind = k.kind;
	e->size = size;
	e->mtime = mtime;
	e->ns = strpool_intern(b->pool, k.ns, strlen(k.ns));
	e->etag = etag == NULL || *etag == '\0' ?
	    "" : strpool_add(b->pool, etag, strlen(etag));
	if (e->ns == NULL || e->etag == NULL)
		return -ENOMEM;
	if (k.kind != KEY_NAMESPACE) {
		e->type = k.type;
		e->id = strpool_intern(b->pool, k.id, k.id_len);
		if (e->id == NULL)
			return -ENOMEM;
	}
	if (k.kind == KEY_OWNER)
		e->name = "owner";
	if (k.kind == KEY_NOTES)
		e->name = "notes";
	if (k.kind == KEY_FILE) {
		e->time = k.time;
		e->name = strpool_intern(b->pool, k.file, k.file_len);
		if (e->name == NULL)
			return -ENOMEM;
		if (!file_is_known(e->name))
			return tree_builder_ignore(b, key, 1);
	}
	b->n++;
	return 0;
}

/* Namespaces by path; in one: its marker, then groups; in a group: owner,
 * notes, then snapshots by time; in a snapshot: files by name. */
static int
entry_cmp(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int r;

	if (a->ns != b->ns)
		return tree_ns_cmp(a->ns, b->ns);
	if (a->id != b->id || a->type != b->type) {
		if (a->id == NULL || b->id == NULL)
			return (a->id != NULL) - (b->id != NULL);
		r = tree_group_cmp(
		    &(struct tree_group){.type = a->type, .id = a->id},
		    &(struct tree_group){.type = b->type, .id = b->id});
		if (r != 0)
			return r;
	}
	if ((a->kind == KEY_FILE) != (b->kind == KEY_FILE))
		return a->kind == KEY_FILE ? 1 : -1;
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	if (a->name == b->name)
		return 0;
	return strcmp(a->name, b->name);
}

static bool
same_group(const struct entry *a, const struct entry *b)
{
	return a->ns == b->ns && a->id == b->id && a->type == b->type;
}

/* How many components path has, and how many of them prev begins with. */
static size_t
ns_depth(const char *path, const char *prev, size_t *ret_common)
{
	size_t i, depth = 0, common = 0;
	bool same = true;

	if (*path == '\0') {
		*ret_common = 0;
		return 0;
	}
	for (i = 0;; i++) {
		if (path[i] == '/' || path[i] == '\0') {
			depth++;
			if (same && (prev[i] == '/' || prev[i] == '\0'))
				common++;
			else
				same = false;
			if (path[i] == '\0')
				break;
		} else if (same && prev[i] != path[i]) {
			same = false;
		}
		if (same && prev[i] == '\0')
			same = false;
	}
	*ret_common = common;
	return depth;
}

/* Upper bounds of what the entries become, so that nothing moves later. */
static int
allocate(const struct tree_builder *b, struct tree_store *ts)
{
	size_t i, common, n_ns = 1, n_groups = 0, n_snaps = 0;
	const char *prev = "";
	const struct entry *e;

	for (i = 0; i < b->n; i++) {
		e = &b->entries[i];
		if (e->ns != prev) {
			n_ns += ns_depth(e->ns, prev, &common);
			n_ns -= common;
			prev = e->ns;
		}
		if (e->id != NULL && (i == 0 || !same_group(e - 1, e)))
			n_groups++;
		if (e->kind == KEY_FILE && (i == 0 || !same_group(e - 1, e) ||
		    e[-1].kind != KEY_FILE || e[-1].time != e->time))
			n_snaps++;
	}
	ts->ns = calloc(n_ns, sizeof(*ts->ns));
	ts->children = calloc(n_ns, sizeof(struct tree_ns *));
	ts->groups = calloc(n_groups + 1, sizeof(*ts->groups));
	ts->snaps = calloc(n_snaps + 1, sizeof(*ts->snaps));
	ts->files = calloc(b->n + 1, sizeof(*ts->files));
	if (ts->ns == NULL || ts->children == NULL || ts->groups == NULL ||
	    ts->snaps == NULL || ts->files == NULL)
		return -ENOMEM;
	return 0;
}

/* What is being filled. */
struct fill {
	struct tree_builder *b;
	struct tree_store *ts;
	struct tree_ns *ns;
	struct tree_group *group;
	struct tree_snap *snap;
	size_t n_files;		/* slots of ts->files in use */
};

static struct tree_ns *
new_ns(struct fill *f, struct tree_ns *parent, const char *path, size_t len)
{
	struct tree_store *ts = f->ts;
	struct tree_ns *ns = &ts->ns[ts->t.n_ns];
	const char *slash;

	ns->path = strpool_intern(ts->pool, path, len);
	if (ns->path == NULL)
		return NULL;
	slash = strrchr(ns->path, '/');
	ns->name = slash == NULL ? ns->path : slash + 1;
	ns->parent = parent;
	ns->groups = &ts->groups[ts->t.n_groups];
	if (parent != NULL)
		parent->n_children++;
	ts->t.n_ns++;
	return ns;
}

/* Goes from f->ns to the namespace of that path and makes what is missing on
 * the way; entries come in tree order, so nothing made is left out of reach. */
static int
enter_ns(struct fill *f, const char *path)
{
	size_t i, depth = 0, common, have;
	struct tree_ns *ns = f->ns;

	ns_depth(path, ns->path, &common);
	for (have = 0; ns->parent != NULL; ns = ns->parent)
		have++;
	for (ns = f->ns; have > common; have--)
		ns = ns->parent;
	for (i = 0; *path != '\0'; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		if (++depth > common) {
			ns = new_ns(f, ns, path, i);
			if (ns == NULL)
				return -ENOMEM;
		}
		if (path[i] == '\0')
			break;
	}
	f->ns = ns;
	f->group = NULL;
	f->snap = NULL;
	return 0;
}

static struct tree_file *
new_file(struct fill *f, const struct entry *e)
{
	struct tree_file *file = &f->ts->files[f->n_files++];

	file->name = e->name;
	file->size = e->size;
	file->mtime = e->mtime;
	file->etag = e->etag;
	file->group = f->group;
	file->snap = e->kind == KEY_FILE ? f->snap : NULL;
	return file;
}

static int
add_to_snap(struct fill *f, const struct entry *e)
{
	struct tree *t = &f->ts->t;
	struct tree_snap *s = f->snap;
	struct tree_file *file;
	int r;

	if (s == NULL || s->time != e->time) {
		s = &f->group->snaps[f->group->n_snaps];
		s->time = e->time;
		r = clock_format_utc(s->name, e->time);
		if (r < 0)
			return r;
		s->group = f->group;
		s->files = &f->ts->files[f->n_files];
		f->group->n_snaps++;
		t->n_snaps++;
		f->snap = s;
	}
	if (streq(e->name, ".protected")) {
		s->protected = true;
		return 0;
	}
	file = new_file(f, e);
	s->n_files++;
	t->n_files++;
	if (archive_kind(file->name) == ARCHIVE_MANIFEST)
		s->finished = true;
	return 0;
}

/* Only notes: what is left of a group that was forgotten. */
static int
drop_if_empty(struct fill *f)
{
	struct tree *t = &f->ts->t;
	char key[KEY_MAX + 1];
	int r;

	if (f->group == NULL || f->group->owner != NULL ||
	    f->group->n_snaps > 0)
		return 0;
	r = tree_file_key(f->group->notes, key);
	if (r == 0)
		r = tree_builder_ignore(f->b, key, 1);
	if (r < 0)
		return r;
	memset(f->group, 0, sizeof(*f->group));
	f->ns->n_groups--;
	t->n_groups--;
	f->group = NULL;
	return 0;
}

static int
add_entry(struct fill *f, const struct entry *e)
{
	struct tree *t = &f->ts->t;
	struct tree_group *g;
	int r;

	if (e->id == NULL) {
		f->ns->marked = true;
		return 0;
	}
	if (f->group == NULL || f->group->id != e->id ||
	    f->group->type != e->type) {
		r = drop_if_empty(f);
		if (r < 0)
			return r;
		g = &f->ts->groups[t->n_groups++];
		g->type = e->type;
		g->id = e->id;
		g->ns = f->ns;
		g->snaps = &f->ts->snaps[t->n_snaps];
		f->ns->n_groups++;
		f->group = g;
		f->snap = NULL;
	}
	if (e->kind == KEY_FILE)
		return add_to_snap(f, e);
	if (e->kind == KEY_OWNER)
		f->group->owner = new_file(f, e);
	else
		f->group->notes = new_file(f, e);
	return 0;
}

static int
fill(struct tree_builder *b, struct tree_store *ts)
{
	struct fill f = {.b = b, .ts = ts};
	const struct entry *e, *prev = NULL;
	size_t i;
	int r;

	f.ns = new_ns(&f, NULL, "", 0);
	if (f.ns == NULL)
		return -ENOMEM;
	for (i = 0; i < b->n; i++, prev = e) {
		e = &b->entries[i];
		/* A listing may tell one object twice. */
		if (prev != NULL && entry_cmp(prev, e) == 0)
			continue;
		if (strcmp(e->ns, f.ns->path) != 0) {
			r = drop_if_empty(&f);
			if (r == 0)
				r = enter_ns(&f, e->ns);
			if (r < 0)
				return r;
		}
		r = add_entry(&f, e);
		if (r < 0)
			return r;
	}
	return drop_if_empty(&f);
}

static int
by_text(const void *pa, const void *pb)
{
	const char *const *a = pa, *const *b = pb;

	return strcmp(*a, *b);
}

static void
take_ignored(struct tree_builder *b, struct tree_store *ts)
{
	if (b->n_keys > 0)
		qsort(b->ignored, b->n_keys, sizeof(*b->ignored), by_text);
	ts->ignored = steal(&b->ignored);
	ts->t.ignored = ts->ignored;
	ts->t.n_ignored_keys = b->n_keys;
	ts->t.n_ignored = b->n_ignored;
}

static void
link_children(struct tree_store *ts)
{
	struct tree_ns **slots = ts->children, *ns;
	size_t i;

	for (i = 0; i < ts->t.n_ns; i++) {
		ns = &ts->ns[i];
		ns->children = slots;
		slots += ns->n_children;
		ns->n_children = 0;
		if (ns->parent != NULL)
			ns->parent->children[ns->parent->n_children++] = ns;
	}
}

int
tree_builder_finish(struct tree_builder *b, struct tree **ret)
{
	struct tree_store *ts;
	int r;

	ts = calloc(1, sizeof(*ts));
	if (ts == NULL) {
		tree_builder_free(b);
		return -ENOMEM;
	}
	ts->pool = b->pool;
	if (b->n > 0)
		qsort(b->entries, b->n, sizeof(*b->entries), entry_cmp);
	r = allocate(b, ts);
	if (r == 0)
		r = fill(b, ts);
	if (r == 0) {
		link_children(ts);
		take_ignored(b, ts);
		b->pool = NULL;
		strpool_seal(ts->pool);
		ts->t.refs = 1;
		ts->t.root = ts->ns;
		ts->t.all_ns = ts->ns;
		ts->t.listed_at = clock_real_s();
		*ret = &ts->t;
	} else {
		ts->pool = NULL;	/* it is the builder's */
		tree_store_free(ts);
	}
	tree_builder_free(b);
	return r;
}
