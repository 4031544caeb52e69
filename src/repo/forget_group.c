/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/edit_lock.h"
#include "repo/repo_priv.h"
#include "repo/server_lock.h"

/* Of which a server's locks are held at a time. */
#define SNAPS_AT_ONCE 100

/* Side by side in the listing. */
struct snap {
	int64_t time;
	size_t first, n;
	bool protected;
};

/* A group on its way out. */
struct going {
	struct repo *r;
	const struct group_name *g;
	char prefix[KEY_MAX + 1];
	struct edit_list l;	/* owned: what is there; ascending */
	struct snap *snaps;	/* owned */
	size_t n_snaps, n_protected, n_busy;
	const char *strange;	/* what no group has; in l */
	bool *gone;		/* owned: of l */
};

static int
add_snap(struct going *x, size_t i, int64_t time, const char *file)
{
	struct snap *s = x->n_snaps > 0 ? &x->snaps[x->n_snaps - 1] : NULL;

	if (s == NULL || s->time != time) {
		s = &x->snaps[x->n_snaps++];
		*s = (struct snap){.time = time, .first = i};
	}
	s->n++;
	if (streq(file, ".protected")) {
		s->protected = true;
		x->n_protected++;
	}
	return 0;
}

static int
look(struct going *x)
{
	size_t skip = strlen(x->prefix);
	int err;

	err = edit_list(x->r, x->prefix, &x->l);
	if (err < 0)
		return err;
	x->snaps = calloc(x->l.n + 1, sizeof(*x->snaps));
	x->gone = calloc(x->l.n + 1, sizeof(*x->gone));
	if (x->snaps == NULL || x->gone == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < x->l.n; i++) {
		const char *name = x->l.v[i].key + skip;
		const char *slash = strchr(name, '/');
		char text[CLOCK_UTC_LEN + 1];
		int64_t time;

		if (slash != NULL && slash - name == CLOCK_UTC_LEN) {
			memcpy(text, name, CLOCK_UTC_LEN);
			text[CLOCK_UTC_LEN] = '\0';
			if (clock_parse_utc(text, &time) == 0) {
				add_snap(x, i, time, slash + 1);
				continue;
			}
		}
		if (!streq(name, "owner") && !streq(name, "notes") &&
		    x->strange == NULL)
			x->strange = x->l.v[i].key;
	}
	return 0;
}

/* Of those listed whose name is that one, or all others. */
static int
delete_in(struct going *x, const struct snap *const *snaps, size_t n,
    bool manifests)
{
	_cleanup_free_ const char **keys = NULL;
	size_t n_keys = 0, room = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		room += snaps[i]->n;
	keys = calloc(room + 1, sizeof(*keys));
	if (keys == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const struct snap *s = snaps[i];

		for (size_t k = s->first; k < s->first + s->n; k++)
			if (str_ends(x->l.v[k].key, "/" EDIT_MANIFEST) ==
			    manifests)
				keys[n_keys++] = x->l.v[k].key;
	}
	err = edit_delete(x->r, keys, n_keys);
	for (size_t i = 0; err == 0 && !manifests && i < n; i++)
		memset(x->gone + snaps[i]->first, true, snaps[i]->n);
	return err;
}

/* Those that nobody holds on to; the manifests of all of them go first. */
static int
delete_some(struct going *x, size_t from, size_t to)
{
	const struct snap *snaps[SNAPS_AT_ONCE];
	int locks[SNAPS_AT_ONCE];
	size_t n = 0;
	int err = 0;

	for (size_t i = from; i < to; i++) {
		locks[n] = -1;
		if (x->snaps[i].protected)
			continue;
		err = x->r->lock_dir == NULL ? 0 :
		    server_lock_snap(x->r->lock_dir, x->g, x->snaps[i].time,
			&locks[n]);
		if (err == -EBUSY)
			x->n_busy++;
		else if (err < 0)
			break;
		else
			snaps[n++] = &x->snaps[i];
		err = 0;
	}
	if (err == 0)
		err = delete_in(x, snaps, n, true);
	if (err == 0)
		err = delete_in(x, snaps, n, false);
	for (size_t i = 0; i < n; i++)
		if (locks[i] >= 0)
			close(locks[i]);
	return err;
}

/*
 * The owner last and alone: as long as there is one, there is a group, and who
 * comes again finds what is left of it.
 */
static int
delete_rest(struct going *x)
{
	static const char *const names[] = {"notes", "owner"};
	const char *key[1];
	int err = 0;

	for (size_t i = 0; err == 0 && i < 2; i++) {
		for (size_t k = 0; err == 0 && k < x->l.n; k++) {
			key[0] = x->l.v[k].key;
			if (!streq(key[0] + strlen(x->prefix), names[i]))
				continue;
			err = edit_delete(x->r, key, 1);
			x->gone[k] = err == 0;
		}
	}
	return err;
}

static int
delete_all(struct going *x)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < x->n_snaps; i += SNAPS_AT_ONCE)
		err = delete_some(x, i, i + SNAPS_AT_ONCE < x->n_snaps ?
		    i + SNAPS_AT_ONCE : x->n_snaps);
	if (err < 0)
		return err;
	if (x->n_protected > 0) {
		log_err("%s: protected snapshots in %s: %zu; they stay, and "
			"so does the group\nhint: take the protection off "
			"first", x->r->name, x->prefix, x->n_protected);
		return -EPERM;
	}
	if (x->n_busy > 0)
		return -EBUSY;	/* it was said of which */
	if (x->strange != NULL) {
		log_err("%s: cannot remove group %s: there is %s in it",
		    x->r->name, x->prefix, x->strange);
		return -ENOTEMPTY;
	}
	return delete_rest(x);
}

/* What was not answered may have been done: ask what is there. */
static void
show(struct going *x, bool known)
{
	size_t n = 0;
	int err = 0;

	if (known) {
		for (size_t i = 0; i < x->l.n; i++) {
			if (x->gone[i])
				free(x->l.v[i].key);
			else
				x->l.v[n++] = x->l.v[i];
		}
		x->l.n = n;
	} else {
		edit_list_fini(&x->l);
		err = edit_list(x->r, x->prefix, &x->l);
		if (err < 0)
			return;	/* as it was; the next refresh knows more */
	}
	err = edit_show_group(x->r, x->g, &x->l);
	if (err < 0)
		log_warn("%s: %s was changed, but this is not shown: %s\n"
		    "hint: the next refresh shows it", x->r->name, x->prefix,
		    strerror(-err));
}

static int
remove_group(struct repo *r, const struct group_name *g, bool empty)
{
	struct going x = {.r = r, .g = g};
	int err;

	err = key_group(x.prefix, g->ns, g->type, g->id, "");
	if (err == 0)
		err = look(&x);
	if (err == 0 && x.l.n == 0) {
		/* Somebody else was faster. */
		err = -ENOENT;
		(void)edit_show_group(r, g, &x.l);
	} else if (err == 0 && empty && x.n_snaps > 0) {
		log_err("%s: cannot remove group %s: there is %s in it",
		    r->name, x.prefix, x.l.v[x.snaps[0].first].key);
		err = -ENOTEMPTY;
	} else if (err == 0) {
		err = delete_all(&x);
		if (err != -EROFS)
			show(&x, err == 0 || err == -EPERM || err == -EBUSY ||
			    err == -ENOTEMPTY);
	}
	edit_list_fini(&x.l);
	free(x.snaps);
	free(x.gone);
	return err;
}

int
repo_remove_group(struct repo *r, const struct group_name *g)
{
	const struct tree_group *tg;
	struct edit_lock l;
	struct tree *t;
	int err;

	err = edit_check_group(g);
	if (err < 0)
		return err;
	edit_lock_group(r, g, &l);
	t = repo_tree(r);
	tg = edit_find_group(t, g);
	if (tg == NULL)
		err = -ENOENT;
	else if (tg->n_snaps > 0)
		err = -ENOTEMPTY;
	tree_unref(t);
	if (err == 0)
		err = edit_lock_server(r, &l);
	if (err == 0)
		err = remove_group(r, g, true);
	edit_unlock(r, &l);
	return err;
}

int
repo_forget_group(struct repo *r, const struct group_name *g)
{
	struct edit_lock l;
	int err;

	err = edit_check_group(g);
	if (err < 0)
		return err;
	edit_lock_group(r, g, &l);
	err = edit_lock_server(r, &l);
	if (err == 0)
		err = remove_group(r, g, false);
	edit_unlock(r, &l);
	return err;
}
