/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/edit_lock.h"
#include "repo/repo_priv.h"

static int
check_path(const char *path)
{
	_cleanup_(str_fini) struct str s = {0};

	if (strlen(path) > NS_LEN_MAX)
		return -ENAMETOOLONG;
	if (*path != '\0' && ns_is_valid(path))
		return 0;
	str_escape(&s, path, strlen(path));
	log_err("namespace %s: not a name of one\n"
		"hint: at most %d levels of letters, digits, '_', '.' and '-'",
	    str_get(&s), NS_DEPTH_MAX);
	return -EINVAL;
}

/* The marker of path alone; its parents have theirs. */
static int
create_one(struct repo *r, const char *path)
{
	struct repo_edit e = {0};
	struct store_object o;
	char key[KEY_MAX + 1];
	int err;

	err = key_ns(key, path, KEY_NS_MARKER);
	if (err == 0)
		err = edit_put(r, key, "", 0, true, &o);
	if (err < 0)
		return err;
	e.key = key;
	e.mtime = o.mtime;
	e.etag = o.etag;
	edit_show(r, &e, 1);
	return 0;
}

int
repo_create_ns(struct repo *r, const char *path)
{
	char part[NS_LEN_MAX + 1];
	struct edit_lock l;
	struct tree *t;
	size_t n = 0;
	int err;

	err = check_path(path);
	if (err < 0)
		return err;
	edit_lock_ns(r, path, &l);
	t = repo_tree(r);
	err = tree_find_ns(t, path) != NULL ? -EEXIST : 0;
	while (err == 0 && path[n] != '\0') {
		n += path[n] == '/';
		n += strcspn(path + n, "/");
		memcpy(part, path, n);
		part[n] = '\0';
		if (tree_find_ns(t, part) == NULL)
			err = create_one(r, part);
	}
	tree_unref(t);
	edit_unlock(r, &l);
	return err;
}

/* The marker, and notes of groups that are gone: servers leave them. */
static int
check_empty(struct repo *r, const char *path, const struct edit_list *l)
{
	struct key_parts k;

	for (size_t i = 0; i < l->n; i++) {
		key_parse(l->v[i].key, &k);
		if ((k.kind == KEY_NAMESPACE || k.kind == KEY_NOTES) &&
		    streq(k.ns, path))
			continue;
		log_err("%s: cannot remove namespace %s: there is %s in it",
		    r->name, path, l->v[i].key);
		return -ENOTEMPTY;
	}
	return 0;
}

/* As long as there is the marker, there is a namespace to be removed. */
static int
delete_marker_last(struct repo *r, const char *marker, struct edit_list *l)
{
	const char *key[1] = {marker};
	int err = 0;

	for (size_t i = 0; i < l->n; i++) {
		if (!streq(l->v[i].key, marker))
			continue;
		free(l->v[i].key);
		l->v[i] = l->v[--l->n];
		break;
	}
	if (l->n > 0)
		err = edit_list_delete(r, l);
	return err < 0 ? err : edit_delete(r, key, 1);
}

static int
remove_ns(struct repo *r, const char *path)
{
	char prefix[KEY_MAX + 1], key[KEY_MAX + 1];
	const struct repo_edit e = {.key = key, .gone = true};
	struct edit_list l;
	int err;

	err = key_ns(prefix, path, "");
	if (err == 0)
		err = key_ns(key, path, KEY_NS_MARKER);
	if (err == 0)
		err = edit_list(r, prefix, &l);
	if (err < 0)
		return err;
	err = check_empty(r, path, &l);
	if (err == 0)
		err = delete_marker_last(r, key, &l);
	edit_list_fini(&l);
	if (err == 0)
		edit_show(r, &e, 1);
	return err;
}

int
repo_remove_ns(struct repo *r, const char *path)
{
	const struct tree_ns *ns;
	struct edit_lock l;
	struct tree *t;
	int err;

	err = check_path(path);
	if (err < 0)
		return err;
	edit_lock_ns(r, path, &l);
	t = repo_tree(r);
	ns = tree_find_ns(t, path);
	if (ns == NULL)
		err = -ENOENT;
	else if (ns->n_groups > 0 || ns->n_children > 0)
		err = -ENOTEMPTY;
	tree_unref(t);
	if (err == 0)
		err = remove_ns(r, path);
	edit_unlock(r, &l);
	return err;
}
