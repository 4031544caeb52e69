/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "repo/edit_lock.h"
#include "repo/repo_priv.h"

/* Something was deleted and something was not: show what is there. */
static void
show_rest(struct repo *r, const struct group_name *g, int64_t time,
    const char *prefix)
{
	struct edit_list l;

	if (edit_list(r, prefix, &l) < 0)
		return;		/* as it was; the next refresh knows more */
	if (edit_show_snap(r, g, time, &l) < 0)
		log_warn("%s: what is left of %s is not shown", r->name,
		    prefix);
	edit_list_fini(&l);
}

static int
delete_files(struct repo *r, const char *prefix, struct edit_list *l)
{
	const char *first[1];
	int err = 0;

	/* From here on it is no snapshot any more; one that was unfinished is
	 * none already. */
	for (size_t i = 0; err == 0 && i < l->n; i++) {
		if (!streq(l->v[i].key + strlen(prefix), EDIT_MANIFEST))
			continue;
		first[0] = l->v[i].key;
		err = edit_delete(r, first, 1);
		if (err < 0)
			return err;
		free(l->v[i].key);
		l->v[i] = l->v[--l->n];
	}
	return edit_list_delete(r, l);
}

static int
forget(struct repo *r, const struct group_name *g, int64_t time)
{
	static const struct edit_list none;
	char prefix[KEY_MAX + 1];
	struct edit_list l;
	int err;

	err = key_file(prefix, g->ns, g->type, g->id, time, "");
	if (err == 0)
		err = edit_list(r, prefix, &l);
	if (err < 0)
		return err;
	if (edit_list_find(&l, prefix, ".protected")) {
		log_err("%s: %s is protected\n"
			"hint: take the protection off first", r->name, prefix);
		err = -EPERM;
		(void)edit_show_snap(r, g, time, &l);
	} else {
		err = delete_files(r, prefix, &l);
		if (err < 0 && err != -EROFS)
			show_rest(r, g, time, prefix);
	}
	edit_list_fini(&l);
	if (err == 0 && edit_show_snap(r, g, time, &none) < 0)
		log_warn("%s: %s is gone, but still shown\n"
		    "hint: the next refresh shows it", r->name, prefix);
	return err;
}

int
repo_forget(struct repo *r, const struct group_name *g, int64_t time)
{
	struct edit_lock l;
	struct tree *t;
	int err;

	err = edit_check_group(g);
	if (err < 0)
		return err;
	edit_lock_group(r, g, &l);
	t = repo_tree(r);
	if (edit_find_snap(t, g, time) == NULL)
		err = -ENOENT;
	tree_unref(t);
	if (err == 0)
		err = edit_lock_server(r, &l);
	if (err == 0)
		err = edit_lock_server_snap(r, &l, time);
	if (err == 0)
		err = forget(r, g, time);
	edit_unlock(r, &l);
	return err;
}
