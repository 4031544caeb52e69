/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/tree_diff.h"

#include <string.h>

#include "base/str.h"

struct differ {
	struct repo_changes c;
	repo_change_fn *fn;	/* or NULL */
	void *arg;
};

const char *
repo_change_name(enum repo_change what)
{
	static const char *const names[] = {
	    [REPO_ADDED] = "added",
	    [REPO_REMOVED] = "removed",
	    [REPO_CHANGED] = "changed",
	};

	return names[what];
}

const char *
repo_change_kind_name(enum repo_change_kind kind)
{
	static const char *const names[] = {
	    [REPO_NS] = "namespace",
	    [REPO_GROUP] = "group",
	    [REPO_SNAP] = "snapshot",
	    [REPO_IGNORED] = "ignored",
	};

	return names[kind];
}

/* Below ".cnt/" keys are what paths are. */
static void
tell(struct differ *d, enum repo_change what, enum repo_change_kind kind,
    const struct tree_ns *ns, const struct tree_group *g,
    const struct tree_snap *s)
{
	char key[KEY_MAX + 1];
	size_t len;
	int r;

	if (d->fn == NULL)
		return;
	if (s != NULL)
		r = key_file(key, ns->path, g->type, g->id, s->time, "");
	else if (g != NULL)
		r = key_group(key, ns->path, g->type, g->id, "");
	else
		r = key_ns(key, ns->path, "");
	if (r < 0)
		return;
	len = strlen(key);
	key[len - 1] = '\0';
	d->fn(d->arg, what, kind, key + strlen(".cnt/"));
}

/* Of what is on one side only, or on both. */
static enum repo_change
which(const void *a, const void *b)
{
	return a == NULL ? REPO_ADDED : b == NULL ? REPO_REMOVED :
	    REPO_CHANGED;
}

static size_t
sum(const struct repo_changes *c)
{
	return c->added + c->removed + c->changed;
}

/*
 * Both trees are sorted alike on every level, so each level is one merge.  A
 * side that has come to its end is NULL, as is what is only on the other side.
 */
static void
diff_file(const struct tree_file *a, const struct tree_file *b,
    struct repo_changes *c)
{
	if (a == NULL && b == NULL)
		return;
	if (a == NULL)
		c->added++;
	else if (b == NULL)
		c->removed++;
	else if (a->size != b->size || !streq(a->etag, b->etag) ||
	    (*a->etag == '\0' && a->mtime != b->mtime))
		c->changed++;
}

static void
diff_snap(const struct tree_snap *a, const struct tree_snap *b,
    struct differ *d)
{
	const struct tree_snap *any = a != NULL ? a : b;
	struct repo_changes *c = &d->c;
	size_t before = sum(c);
	const struct tree_file *fa = a == NULL ? NULL : a->files;
	const struct tree_file *fb = b == NULL ? NULL : b->files;
	const struct tree_file *ea = a == NULL ? NULL : fa + a->n_files;
	const struct tree_file *eb = b == NULL ? NULL : fb + b->n_files;
	int r;

	if (a == NULL)
		c->snaps_added++;
	if (b == NULL)
		c->snaps_removed++;
	if (a != NULL && b != NULL && a->protected != b->protected)
		c->changed++;
	while (fa != ea || fb != eb) {
		r = fa == ea ? 1 : fb == eb ? -1 : strcmp(fa->name, fb->name);
		diff_file(r <= 0 ? fa : NULL, r >= 0 ? fb : NULL, c);
		if (r <= 0)
			fa++;
		if (r >= 0)
			fb++;
	}
	if (a == NULL || b == NULL || sum(c) != before)
		tell(d, which(a, b), REPO_SNAP, any->group->ns, any->group,
		    any);
}

static void
diff_group(const struct tree_group *a, const struct tree_group *b,
    struct differ *d)
{
	const struct tree_group *any = a != NULL ? a : b;
	struct repo_changes *c = &d->c;
	size_t before = sum(c);
	const struct tree_snap *sa = a == NULL ? NULL : a->snaps;
	const struct tree_snap *sb = b == NULL ? NULL : b->snaps;
	const struct tree_snap *ea = a == NULL ? NULL : sa + a->n_snaps;
	const struct tree_snap *eb = b == NULL ? NULL : sb + b->n_snaps;
	int r;

	diff_file(a == NULL ? NULL : a->owner, b == NULL ? NULL : b->owner, c);
	diff_file(a == NULL ? NULL : a->notes, b == NULL ? NULL : b->notes, c);
	if (a == NULL || b == NULL || sum(c) != before)
		tell(d, which(a, b), REPO_GROUP, any->ns, any, NULL);
	while (sa != ea || sb != eb) {
		if (sa == ea)
			r = 1;
		else if (sb == eb)
			r = -1;
		else
			r = (sa->time > sb->time) - (sa->time < sb->time);
		diff_snap(r <= 0 ? sa : NULL, r >= 0 ? sb : NULL, d);
		if (r <= 0)
			sa++;
		if (r >= 0)
			sb++;
	}
}

static void
diff_ns(const struct tree_ns *a, const struct tree_ns *b, struct differ *d)
{
	const struct tree_group *ga = a == NULL ? NULL : a->groups;
	const struct tree_group *gb = b == NULL ? NULL : b->groups;
	const struct tree_group *ea = a == NULL ? NULL : ga + a->n_groups;
	const struct tree_group *eb = b == NULL ? NULL : gb + b->n_groups;
	int r;

	d->c.added += a == NULL;
	d->c.removed += b == NULL;
	if (a == NULL || b == NULL)
		tell(d, which(a, b), REPO_NS, a != NULL ? a : b, NULL, NULL);
	while (ga != ea || gb != eb) {
		r = ga == ea ? 1 : gb == eb ? -1 : tree_group_cmp(ga, gb);
		diff_group(r <= 0 ? ga : NULL, r >= 0 ? gb : NULL, d);
		if (r <= 0)
			ga++;
		if (r >= 0)
			gb++;
	}
}

/* Nobody need know that one has gone. */
static void
tell_ignored(const struct tree *old, const struct tree *new, struct differ *d)
{
	size_t i = 0;
	int r;

	for (size_t k = 0; d->fn != NULL && k < new->n_ignored_keys; k++) {
		r = -1;
		while (i < old->n_ignored_keys && r < 0) {
			r = strcmp(old->ignored[i], new->ignored[k]);
			i += r < 0;
		}
		if (r != 0)
			d->fn(d->arg, REPO_ADDED, REPO_IGNORED,
			    new->ignored[k]);
	}
}

void
tree_diff_tell(const struct tree *old, const struct tree *new,
    struct repo_changes *ret, repo_change_fn *fn, void *arg)
{
	const struct tree_ns *a = old->all_ns, *ea = a + old->n_ns;
	const struct tree_ns *b = new->all_ns, *eb = b + new->n_ns;
	struct differ d = {.fn = fn, .arg = arg};
	int r;

	while (a != ea || b != eb) {
		r = a == ea ? 1 : b == eb ? -1 : tree_ns_cmp(a->path, b->path);
		diff_ns(r <= 0 ? a : NULL, r >= 0 ? b : NULL, &d);
		if (r <= 0)
			a++;
		if (r >= 0)
			b++;
	}
	tell_ignored(old, new, &d);
	*ret = d.c;
}

void
tree_diff(const struct tree *old, const struct tree *new,
    struct repo_changes *ret)
{
	tree_diff_tell(old, new, ret, NULL, NULL);
}

int
repo_tell_all(struct repo *r, struct repo_changes *ret, repo_change_fn *fn,
    void *arg)
{
	struct tree *none, *now;
	struct tree_builder *b;
	int err;

	err = tree_builder_new(&b);
	if (err == 0)
		err = tree_builder_finish(b, &none);
	if (err < 0)
		return err;
	now = repo_tree(r);
	tree_diff_tell(none, now, ret, fn, arg);
	tree_unref(now);
	tree_unref(none);
	return 0;
}
