/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/index.h"
#include "repo/tree.h"
#include "vfs/gen.h"
#include "vfs/ino.h"

#define CHUNK_USUAL (4 * MIB)

/* A growing list of children, before it is sorted into its parent. */
struct kids {
	struct node *v;
	size_t n, size;
	bool failed;
};

static struct node *
kids_add(struct kids *k, enum node_kind kind, const char *name, int64_t mtime)
{
	struct node *n;
	size_t size;

	if (k->failed)
		return NULL;
	if (k->n == k->size) {
		size = k->size == 0 ? 8 : k->size * 2;
		n = reallocarray(k->v, size, sizeof(*n));
		if (n == NULL) {
			k->failed = true;
			return NULL;
		}
		k->v = n;
		k->size = size;
	}
	n = &k->v[k->n++];
	memset(n, 0, sizeof(*n));
	n->name = name;
	n->kind = (uint8_t)kind;
	n->mtime = mtime;
	atomic_store(&n->size, NODE_SIZE_UNKNOWN);
	return n;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct node *)a)->name,
	    ((const struct node *)b)->name);
}

/* Hands the children over to n, which learns the newest time below it. */
static int
kids_finish(struct kids *k, struct node *n)
{
	struct node *fit;
	size_t i;

	if (k->failed || k->n > UINT32_MAX) {
		for (i = 0; i < k->n; i++)
			if (k->v[i].own_name)
				free((void *)(uintptr_t)k->v[i].name);
		free(k->v);
		return -ENOMEM;
	}
	if (k->n == 0) {
		free(k->v);
		return 0;
	}
	fit = reallocarray(k->v, k->n, sizeof(*fit));
	n->children = fit != NULL ? fit : k->v;
	n->n_children = (uint32_t)k->n;
	qsort(n->children, k->n, sizeof(*n->children), by_name);
	for (i = 0; i < k->n; i++)
		n->children[i].parent = n;
	return 0;
}

/* A shown name and the file behind it. */
struct shown {
	const struct tree_file *file;
	size_t len;		/* of the shown name, a prefix of file->name */
	bool full;		/* fell back on the server's name */
};

static int
shown_cmp(const void *pa, const void *pb)
{
	const struct shown *a = pa, *b = pb;
	int r = memcmp(a->file->name, b->file->name, MIN(a->len, b->len));

	if (r == 0 && a->len != b->len)
		r = a->len < b->len ? -1 : 1;
	return r != 0 ? r : strcmp(a->file->name, b->file->name);
}

static bool
shown_eq(const struct shown *a, const struct shown *b)
{
	return a->len == b->len &&
	    memcmp(a->file->name, b->file->name, a->len) == 0;
}

/* Of files that would be shown alike, only the first is; each of the others
 * goes by its server name, which may in turn be what another is shown as. */
static void
shown_settle(struct shown *s, size_t n)
{
	struct shown *loser;
	bool again = true;
	size_t i;

	while (again) {
		again = false;
		qsort(s, n, sizeof(*s), shown_cmp);
		for (i = 1; i < n; i++) {
			if (!shown_eq(&s[i - 1], &s[i]))
				continue;
			loser = s[i].full ? &s[i - 1] : &s[i];
			if (loser->full)
				continue;
			loser->full = true;
			loser->len = strlen(loser->file->name);
			again = true;
		}
	}
}

/* The other half of a split archive: NAME.from -> NAME.to. */
static const struct tree_file *
sibling(const struct tree_snap *s, const char *name, const char *from,
    const char *to)
{
	struct str other = {0};
	const struct tree_file *f = NULL;

	str_addn(&other, name, strlen(name) - strlen(from));
	str_add(&other, to);
	if (str_error(&other) == 0)
		f = tree_find_file(s, str_get(&other));
	str_fini(&other);
	return f;
}

/* How much a file holds, as far as the listing tells. */
static uint64_t
estimate(const struct tree_file *f, enum archive_kind kind)
{
	uint64_t table, n;

	switch (kind) {
	case ARCHIVE_BLOB:
	case ARCHIVE_MANIFEST:
		return f->size;
	case ARCHIVE_FIXED:
		table = f->size > INDEX_HEADER_LEN ?
		    f->size - INDEX_HEADER_LEN : 0;
		n = table / DIGEST_LEN;
		break;
	case ARCHIVE_DYNAMIC:
	case ARCHIVE_PXAR:
	case ARCHIVE_MPXAR:
	case ARCHIVE_PPXAR:
		table = f->size > INDEX_HEADER_LEN ?
		    f->size - INDEX_HEADER_LEN : 0;
		n = table / (8 + DIGEST_LEN);
		break;
	default:
		return 0;
	}
	return n > (UINT64_MAX >> 32) ? 0 : n * CHUNK_USUAL;
}

static int
add_files(struct nodes *t, struct node *snap)
{
	const struct tree_snap *s = snap->snap;
	_cleanup_free_ struct shown *shown = NULL;
	enum archive_kind kind;
	struct kids k = {0};
	struct node *n;
	size_t i, count = 0;
	char *name;

	if (s->n_files == 0)
		return 0;
	shown = calloc(s->n_files, sizeof(*shown));
	if (shown == NULL)
		return -ENOMEM;
	for (i = 0; i < s->n_files; i++) {
		const struct tree_file *f = &s->files[i];

		kind = archive_kind(f->name);
		if (kind == ARCHIVE_OTHER)
			continue;
		t->bytes += estimate(f, kind);
		if (kind == ARCHIVE_PPXAR && sibling(s, f->name, ".ppxar.didx",
		    ".mpxar.didx") != NULL)
			continue;
		name = malloc(strlen(f->name) + 1);
		if (name == NULL)
			return -ENOMEM;
		archive_shown_name(f->name, name);
		shown[count].file = f;
		shown[count++].len = strlen(name);
		free(name);
	}
	shown_settle(shown, count);
	for (i = 0; i < count; i++) {
		name = strndup(shown[i].file->name, shown[i].len);
		if (name == NULL) {
			k.failed = true;
			break;
		}
		n = kids_add(&k, NODE_FILE, name, snap->mtime);
		if (n == NULL) {
			free(name);
			break;
		}
		n->own_name = true;
		n->file = shown[i].file;
		n->archive_kind = (uint8_t)archive_kind(n->file->name);
		if (n->archive_kind == ARCHIVE_PXAR ||
		    n->archive_kind == ARCHIVE_MPXAR)
			t->n_archives++;
	}
	return kids_finish(&k, snap);
}

static int
add_snaps(struct nodes *t, struct node *group, bool all)
{
	const struct tree_group *g = group->group;
	const struct tree_snap *latest = tree_latest(g);
	struct kids k = {0};
	struct node *n;
	size_t i;
	int r;

	for (i = 0; i < g->n_snaps; i++) {
		if (!g->snaps[i].finished && !all)
			continue;
		n = kids_add(&k, NODE_SNAP, g->snaps[i].name, g->snaps[i].time);
		if (n == NULL)
			break;
		n->snap = &g->snaps[i];
		group->mtime = MAX(group->mtime, g->snaps[i].time);
	}
	if (t->writable) {
		n = kids_add(&k, NODE_CURRENT, "current", group->mtime);
		if (n != NULL)
			n->group = g;
	}
	if (latest != NULL) {
		n = kids_add(&k, NODE_LATEST, "latest", latest->time);
		if (n != NULL) {
			n->group = g;
			atomic_store(&n->size, strlen(latest->name));
		}
	}
	if (g->owner != NULL) {
		n = kids_add(&k, NODE_OWNER, "owner", g->owner->mtime);
		if (n != NULL) {
			n->file = g->owner;
			atomic_store(&n->size, g->owner->size);
		}
	}
	if (g->notes != NULL || t->writable) {
		n = kids_add(&k, NODE_NOTES, "notes",
		    g->notes != NULL ? g->notes->mtime : 0);
		if (n != NULL) {
			n->file = g->notes;
			atomic_store(&n->size,
			    g->notes != NULL ? g->notes->size : 0);
		}
	}
	r = kids_finish(&k, group);
	for (i = 0; r == 0 && i < group->n_children; i++)
		if (group->children[i].kind == NODE_SNAP)
			r = add_files(t, &group->children[i]);
	return r;
}

static int
add_groups(struct nodes *t, struct node *type, const struct tree_ns *ns,
    size_t from, size_t to, bool all)
{
	struct kids k = {0};
	struct node *n;
	size_t i;
	int r;

	for (i = from; i < to; i++) {
		n = kids_add(&k, NODE_GROUP, ns->groups[i].id, 0);
		if (n == NULL)
			break;
		n->group = &ns->groups[i];
	}
	r = kids_finish(&k, type);
	for (i = 0; r == 0 && i < type->n_children; i++) {
		r = add_snaps(t, &type->children[i], all);
		type->mtime = MAX(type->mtime, type->children[i].mtime);
	}
	return r;
}

static int
add_ctl(struct node *ctl, int64_t now)
{
	struct kids k = {0};
	size_t i;

	for (i = 0; i < GEN_NAMES; i++)
		(void)kids_add(&k, NODE_CTL_FILE, gen_names[i], now);
	return kids_finish(&k, ctl);
}

static unsigned
depth_of(const struct tree_ns *ns)
{
	unsigned d = 0;

	for (; ns->parent != NULL; ns = ns->parent)
		d++;
	return d;
}

/* One namespace: its types and, if it has children, its "ns". */
static int
add_ns(struct nodes *t, struct node *n, bool all)
{
	const struct tree_ns *ns = n->ns;
	struct kids k = {0};
	bool has[BACKUP_TYPES] = {false};
	struct node *c;
	size_t i, end;
	int r;

	if (ns->n_children > 0 ||
	    (t->writable && depth_of(ns) < NS_DEPTH_MAX)) {
		c = kids_add(&k, NODE_NS_DIR, "ns", 0);
		if (c != NULL)
			c->ns = ns;
	}
	for (i = 0; i < ns->n_groups; i++)
		has[ns->groups[i].type] = true;
	for (i = 0; i < BACKUP_TYPES; i++)
		if (has[i] || t->writable) {
			c = kids_add(&k, NODE_TYPE,
			    backup_type_name((enum backup_type)i), 0);
			if (c != NULL)
				c->ns = ns;
		}
	if (n->parent == NULL)
		(void)kids_add(&k, NODE_CTL, ".pbs3fs", t->since);
	r = kids_finish(&k, n);
	if (r < 0)
		return r;
	for (i = 0; i < ns->n_groups; i = end) {
		end = i;
		while (end < ns->n_groups &&
		    ns->groups[end].type == ns->groups[i].type)
			end++;
		c = node_child(n, backup_type_name(ns->groups[i].type));
		r = add_groups(t, c, ns, i, end, all);
		if (r < 0)
			return r;
		n->mtime = MAX(n->mtime, c->mtime);
	}
	c = n->parent == NULL ? node_child(n, ".pbs3fs") : NULL;
	return c != NULL ? add_ctl(c, t->since) : 0;
}

static int
add_ns_children(struct node *dir)
{
	const struct tree_ns *ns = dir->ns;
	struct kids k = {0};
	struct node *n;
	size_t i;

	for (i = 0; i < ns->n_children; i++) {
		n = kids_add(&k, NODE_NS, ns->children[i]->name, 0);
		if (n != NULL)
			n->ns = ns->children[i];
	}
	return kids_finish(&k, dir);
}

static int
add_all(struct nodes *t, bool all)
{
	struct node *n, *p;
	int r;

	for (n = t->root; n != NULL; n = node_next(n)) {
		t->n_nodes++;
		r = 0;
		if (n->kind == NODE_NS)
			r = add_ns(t, n, all);
		else if (n->kind == NODE_NS_DIR)
			r = add_ns_children(n);
		if (r < 0)
			return r;
		if (n->kind == NODE_NS)
			for (p = n->parent; p != NULL; p = p->parent)
				p->mtime = MAX(p->mtime, n->mtime);
	}
	/* Where there is no backup at all, some time that makes sense. */
	for (n = t->root; n != NULL; n = node_next(n))
		if (n->mtime == 0)
			n->mtime = t->since;
	return 0;
}

static void
fill_archives(struct nodes *t)
{
	struct node *n;
	size_t i = 0;

	for (n = t->root; n != NULL; n = node_next(n)) {
		struct node_archive *a;

		if (n->kind != NODE_FILE || (n->archive_kind != ARCHIVE_PXAR &&
		    n->archive_kind != ARCHIVE_MPXAR))
			continue;
		a = &t->archives[i++];
		a->node = n;
		a->span = ino_span(n->file->size);
		if (n->archive_kind == ARCHIVE_MPXAR)
			a->payload = sibling(n->file->snap, n->file->name,
			    ".mpxar.didx", ".ppxar.didx");
	}
}

int
nodes_build(struct tree *tree, unsigned flags, struct nodes *old,
    struct nodes **ret)
{
	struct nodes *t = calloc(1, sizeof(*t));
	int r = -ENOMEM;

	if (t == NULL)
		return -ENOMEM;
	t->refs = 1;
	t->writable = (flags & NODES_WRITABLE) != 0;
	t->tree = tree_ref(tree);
	/* Not that of each listing, or every refresh would change something. */
	t->since = old != NULL ? old->since : tree->listed_at;
	t->root = calloc(1, sizeof(*t->root));
	if (t->root == NULL)
		goto err;
	t->root->name = "";
	t->root->kind = NODE_NS;
	t->root->ns = tree->root;
	atomic_store(&t->root->size, NODE_SIZE_UNKNOWN);
	r = add_all(t, (flags & NODES_ALL) != 0);
	if (r < 0)
		goto err;
	if (t->n_archives > 0) {
		t->archives = calloc(t->n_archives, sizeof(*t->archives));
		if (t->archives == NULL) {
			r = -ENOMEM;
			goto err;
		}
	}
	fill_archives(t);
	r = nodes_number(t, old);
	if (r < 0)
		goto err;
	*ret = t;
	return 0;

err:
	if (t->archives == NULL)
		t->n_archives = 0;
	nodes_unref(t);
	return r;
}
