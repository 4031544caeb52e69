/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/edit_lock.h"
#include "repo/edit_priv.h"
#include "repo/repo_priv.h"

/* As it is written: what owner_parse finds in it is all of it. */
int
repo_check_owner(const char *owner)
{
	_cleanup_free_ char *id = NULL;
	int r = owner_parse(owner, strlen(owner), &id);

	if (r == -ENOMEM)
		return r;
	if (r < 0 || !streq(id, owner)) {
		_cleanup_(str_fini) struct str s = {0};

		str_escape(&s, owner, strlen(owner));
		log_err("owner %s: not the name of a user\n"
			"hint: user@realm or user@realm!token, as root@pam",
		    str_get(&s));
		return -EINVAL;
	}
	return 0;
}

/* 0 if there may be such a group now. */
static int
check_new_group(struct repo *r, const struct group_name *g)
{
	struct tree *t = repo_tree(r);
	const struct tree_group *tg = edit_find_group(t, g);
	int err = 0;

	/* One without an owner is of no use to anybody: it gets one. */
	if (tg != NULL && tg->owner != NULL)
		err = -EEXIST;
	else if (tree_find_ns(t, g->ns) == NULL)
		err = -ENOENT;
	tree_unref(t);
	return err;
}

int
repo_create_group(struct repo *r, const struct group_name *g,
    const char *owner)
{
	_cleanup_(str_fini) struct str text = {0};
	struct repo_edit e = {0};
	struct store_object o;
	char key[KEY_MAX + 1];
	struct edit_lock l;
	int err;

	err = edit_check_group(g);
	if (err == 0)
		err = repo_check_owner(owner);
	if (err < 0)
		return err;
	str_addf(&text, "%s\n", owner);
	err = str_error(&text);
	if (err == 0)
		err = key_group(key, g->ns, g->type, g->id, "owner");
	if (err < 0)
		return err;
	edit_lock_group(r, g, &l);
	err = check_new_group(r, g);
	if (err == 0)
		err = edit_lock_server(r, &l);
	if (err == 0)
		err = edit_put(r, key, str_get(&text), text.len, false, &o);
	if (err == 0) {
		e.key = key;
		e.size = o.size;
		e.mtime = o.mtime;
		e.etag = o.etag;
		edit_show(r, &e, 1);
	}
	edit_unlock(r, &l);
	return err;
}

int
repo_set_notes(struct repo *r, const struct group_name *g, const char *text,
    size_t len)
{
	struct repo_edit e = {.gone = len == 0};
	struct store_object o = {0};
	const char *keys[1];
	char key[KEY_MAX + 1];
	struct edit_lock l;
	struct tree *t;
	int err;

	err = edit_check_group(g);
	if (err == 0)
		err = edit_check_text(text, len);
	if (err == 0)
		err = key_group(key, g->ns, g->type, g->id, "notes");
	if (err < 0)
		return err;
	edit_lock_group(r, g, &l);
	t = repo_tree(r);
	err = edit_find_group(t, g) == NULL ? -ENOENT : 0;
	tree_unref(t);
	keys[0] = e.key = key;
	if (err == 0)
		err = len == 0 ? edit_delete(r, keys, 1) :
		    edit_put(r, key, text, len, false, &o);
	if (err == 0) {
		e.size = o.size;
		e.mtime = o.mtime;
		e.etag = o.etag;
		edit_show(r, &e, 1);
	}
	edit_unlock(r, &l);
	return err;
}

int
repo_protect(struct repo *r, const struct group_name *g, int64_t time, bool on)
{
	struct repo_edit e = {.gone = !on};
	char key[KEY_MAX + 1];
	const char *keys[1];
	struct edit_lock l;
	int err;

	err = edit_lock_snap(r, g, time, &l);
	if (err < 0)
		return err;
	keys[0] = e.key = key;
	err = key_file(key, g->ns, g->type, g->id, time, ".protected");
	if (err == 0)
		err = on ? edit_put(r, key, "", 0, true, NULL) :
		    edit_delete(r, keys, 1);
	/* That it was there before is as good. */
	if (err >= 0)
		edit_show(r, &e, 1);
	edit_unlock(r, &l);
	return err < 0 ? err : 0;
}
