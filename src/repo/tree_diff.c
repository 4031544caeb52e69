/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/tree_diff.h"

#include <string.h>

#include "base/str.h"

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
    struct repo_changes *c)
{
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
}

static void
diff_group(const struct tree_group *a, const struct tree_group *b,
    struct repo_changes *c)
{
	const struct tree_snap *sa = a == NULL ? NULL : a->snaps;
	const struct tree_snap *sb = b == NULL ? NULL : b->snaps;
	const struct tree_snap *ea = a == NULL ? NULL : sa + a->n_snaps;
	const struct tree_snap *eb = b == NULL ? NULL : sb + b->n_snaps;
	int r;

	diff_file(a == NULL ? NULL : a->owner, b == NULL ? NULL : b->owner, c);
	diff_file(a == NULL ? NULL : a->notes, b == NULL ? NULL : b->notes, c);
	while (sa != ea || sb != eb) {
		if (sa == ea)
			r = 1;
		else if (sb == eb)
			r = -1;
		else
			r = (sa->time > sb->time) - (sa->time < sb->time);
		diff_snap(r <= 0 ? sa : NULL, r >= 0 ? sb : NULL, c);
		if (r <= 0)
			sa++;
		if (r >= 0)
			sb++;
	}
}

static void
diff_ns(const struct tree_ns *a, const struct tree_ns *b,
    struct repo_changes *c)
{
	const struct tree_group *ga = a == NULL ? NULL : a->groups;
	const struct tree_group *gb = b == NULL ? NULL : b->groups;
	const struct tree_group *ea = a == NULL ? NULL : ga + a->n_groups;
	const struct tree_group *eb = b == NULL ? NULL : gb + b->n_groups;
	int r;

	c->added += a == NULL;
	c->removed += b == NULL;
	while (ga != ea || gb != eb) {
		r = ga == ea ? 1 : gb == eb ? -1 : tree_group_cmp(ga, gb);
		diff_group(r <= 0 ? ga : NULL, r >= 0 ? gb : NULL, c);
		if (r <= 0)
			ga++;
		if (r >= 0)
			gb++;
	}
}

void
tree_diff(const struct tree *old, const struct tree *new,
    struct repo_changes *ret)
{
	const struct tree_ns *a = old->all_ns, *ea = a + old->n_ns;
	const struct tree_ns *b = new->all_ns, *eb = b + new->n_ns;
	int r;

	memset(ret, 0, sizeof(*ret));
	while (a != ea || b != eb) {
		r = a == ea ? 1 : b == eb ? -1 : tree_ns_cmp(a->path, b->path);
		diff_ns(r <= 0 ? a : NULL, r >= 0 ? b : NULL, ret);
		if (r <= 0)
			a++;
		if (r >= 0)
			b++;
	}
}
