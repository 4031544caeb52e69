/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/edit_lock.h"

#define NOTES_MAX ((size_t)MIB)	/* as much as is read of them */

int
edit_check_group(const struct group_name *g)
{
	char key[KEY_MAX + 1];

	if (!ns_is_valid(g->ns) || (unsigned)g->type >= BACKUP_TYPES ||
	    !name_is_safe(g->id, strlen(g->id)) ||
	    key_group(key, g->ns, g->type, g->id, "owner") < 0) {
		_cleanup_(str_fini) struct str s = {0};

		str_escape(&s, g->id, strlen(g->id));
		log_err("group %s: not a name of a group\n"
			"hint: letters, digits, '_', '.' and '-', the first "
			"neither '.' nor '-'",
		    str_get(&s));
		return -EINVAL;
	}
	return 0;
}

const struct tree_group *
edit_find_group(const struct tree *t, const struct group_name *g)
{
	const struct tree_ns *ns = tree_find_ns(t, g->ns);

	return ns == NULL ? NULL : tree_find_group(ns, g->type, g->id);
}

const struct tree_snap *
edit_find_snap(const struct tree *t, const struct group_name *g, int64_t time)
{
	const struct tree_group *tg = edit_find_group(t, g);

	return tg == NULL ? NULL : tree_find_snap(tg, time);
}

/* What a server reads as text. */
int
edit_check_text(const char *text, size_t len)
{
	size_t n;

	if (len > NOTES_MAX) {
		log_err("notes of %zu bytes: more than %zu", len, NOTES_MAX);
		return -EFBIG;
	}
	for (size_t i = 0; i < len; i += n) {
		n = text[i] == '\0' ? 0 : str_utf8(text + i, len - i);
		if (n == 0) {
			log_err("notes: not UTF-8 text, at byte %zu", i);
			return -EINVAL;
		}
	}
	return 0;
}

int
edit_lock_snap(struct repo *r, const struct group_name *g, int64_t time,
    struct edit_lock *l)
{
	const struct tree_snap *s;
	struct tree *t;
	int err;

	err = edit_check_group(g);
	if (err < 0)
		return err;
	edit_lock_group(r, g, l);
	t = repo_tree(r);
	s = edit_find_snap(t, g, time);
	tree_unref(t);
	if (s != NULL)
		return 0;
	edit_unlock(r, l);
	return -ENOENT;
}
