/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/copy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "maint/copy_priv.h"
#include "maint/pick.h"
#include "pbs/index.h"
#include "pbs/names.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "store/store.h"

#define JOBS 8
#define OWNER "root@pam"
/* Snapshots that fail one after the other before the store is called away. */
#define AWAY_MAX 3

void
copier_event(struct copier *c, enum copy_event e, const char *path,
    const char *text)
{
	LOCK(&c->lock);

	if (c->o->event != NULL)
		c->o->event(c->o->arg, e, path, text);
}

/* Whether the next snapshot would fail as well. */
static bool
ends_all(int err)
{
	switch (err) {
	case -ECANCELED:
	case -EDQUOT:
	case -ENOMEM:
	case -ENOSPC:
	case -EROFS:
	case -ESHUTDOWN:
	case -EUSERS:
		return true;
	default:
		return false;
	}
}

static const char *
why(int err)
{
	switch (err) {
	case -EBADE:
		return "its signature is wrong";
	case -EBADMSG:
		return "something of it is damaged";
	case -ENOENT:
		return "something of it is missing";
	case -EBUSY:
		return "a backup server is at work on it";
	case -EDQUOT:
		return "a limit was reached";
	default:
		return strerror(-err);
	}
}

static int
make_ns(struct copier *c, const char *path)
{
	struct tree *t = repo_tree(c->o->to);
	bool there = tree_find_ns(t, path) != NULL;
	int r = 0;

	tree_unref(t);
	if (!there && !c->o->dry_run)
		r = repo_create_ns(c->o->to, path);
	c->res->namespaces += !there && r == 0;
	return r == -EEXIST ? 0 : r;
}

static int
make_owned(struct copier *c, const struct tree_group *g,
    const struct group_name *name)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	_cleanup_free_ char *owner = NULL;
	const char *mine = c->o->owner != NULL ? c->o->owner : OWNER;
	int r = -ENOENT;

	if (g->owner != NULL)
		r = repo_text(c->o->from, g->owner, 0, &b);
	if (r == 0)
		r = owner_parse((const char *)b->data, b->len, &owner);
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	if (r < 0)
		log_warn("%s/%s: its owner is not known, so it is %s",
		    backup_type_name(g->type), g->id, mine);
	return repo_create_group(c->o->to, name, r == 0 ? owner : mine);
}

/* The group, if there is none; and notes, if it has none. */
static int
make_group(struct copier *c, const struct tree_group *g)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	const struct tree_group *there;
	struct group_name name;
	struct tree *t;
	bool owned, noted;
	int r;

	pick_group_name(g, &name);
	/* Of a dry run it was counted when it would have been made. */
	r = c->o->dry_run ? 0 : make_ns(c, name.ns);
	if (r < 0)
		return r;
	t = repo_tree(c->o->to);
	there = edit_find_group(t, &name);
	owned = there != NULL && there->owner != NULL;
	noted = there != NULL && there->notes != NULL;
	tree_unref(t);
	c->res->groups += there == NULL;
	if (c->o->dry_run)
		return 0;
	if (!owned)
		r = make_owned(c, g, &name);
	if ((r < 0 && r != -EEXIST) || g->notes == NULL || noted)
		return r == -EEXIST ? 0 : r;
	r = repo_text(c->o->from, g->notes, 0, &b);
	if (r == 0)
		r = repo_set_notes(c->o->to, &name, (const char *)b->data,
		    b->len);
	/* Notes are no reason to copy nothing. */
	if (r < 0 && !ends_all(r)) {
		log_warn("%s/%s: its notes are not copied: %s",
		    backup_type_name(g->type), g->id, strerror(-r));
		r = 0;
	}
	return r;
}

/* What the last snapshot of the group refers to in the target is there. */
static void
learn(struct copier *c, const struct tree_group *g)
{
	const struct tree_group *there;
	const struct tree_snap *s;
	struct group_name name;
	struct index *x;
	struct tree *t;

	if (c->learnt || c->listed || c->touches || c->o->dry_run)
		return;
	c->learnt = true;
	pick_group_name(g, &name);
	t = repo_tree(c->o->to);
	there = edit_find_group(t, &name);
	s = there != NULL ? tree_latest(there) : NULL;
	for (size_t i = 0; s != NULL && i < s->n_files; i++) {
		enum archive_kind kind = archive_kind(s->files[i].name);

		if (kind == ARCHIVE_BLOB || kind == ARCHIVE_MANIFEST ||
		    kind == ARCHIVE_OTHER ||
		    repo_index(c->o->to, &s->files[i], 0, &x) < 0)
			continue;
		/* Not if one may be gone since: it is sent again. */
		(void)known_add_index(c->known, x, c->era);
		index_unref(x);
	}
	tree_unref(t);
}

static bool
has_snap(struct copier *c, const struct tree_snap *s)
{
	struct tree *t = repo_tree(c->o->to);
	const struct tree_snap *there;
	struct group_name name;
	bool r;

	pick_group_name(s->group, &name);
	there = edit_find_snap(t, &name, s->time);
	r = there != NULL && there->finished;
	tree_unref(t);
	return r;
}

/* How it went, told and counted. */
static void
account(struct copier *c, const struct tree_snap *s, int r)
{
	_cleanup_(str_fini) struct str path = {0};

	pick_path(s, NULL, &path);
	switch (r) {
	case 0:
		c->res->copied++;
		copier_event(c, COPY_DONE, str_get(&path), "");
		return;
	case 1:
		c->res->there++;
		copier_event(c, COPY_THERE, str_get(&path), "");
		return;
	case -ESTALE:
		c->res->gone++;
		copier_event(c, COPY_GONE, str_get(&path), "");
		return;
	default:
		c->res->failed++;
		c->res->damaged += r == -EBADMSG || r == -ENOENT ||
		    r == -EBADE;
		copier_event(c, COPY_FAILED, str_get(&path), why(r));
	}
}

static int
copy_one(struct copier *c, const struct tree_snap *s)
{
	int r;

	if (c->o->stop != NULL && atomic_load(c->o->stop))
		return -ECANCELED;
	r = has_snap(c, s) ? 1 : c->made ? 0 : make_group(c, s->group);
	if (r == 0) {
		c->made = true;
		learn(c, s->group);
		r = copy_snap(c, s);
	}
	if (r != -ECANCELED)
		account(c, s, r);
	return r;
}

static int
copy_group(struct copier *c, const struct tree_group *g, unsigned *away)
{
	const struct copy_opts *o = c->o;
	int r;

	c->learnt = c->made = false;
	for (size_t i = 0; i < g->n_snaps; i++) {
		const struct tree_snap *s = &g->snaps[i];

		if (!s->finished || !pick_has_snap(o->picks, o->n_picks, s))
			continue;
		r = copy_one(c, s);
		if (ends_all(r))
			return r;
		*away = repo_is_outage(r) || r == -EACCES ? *away + 1 : 0;
		if (*away == AWAY_MAX)
			return r;
	}
	return 0;
}

static int
copy_all(struct copier *c, const struct tree *t)
{
	const struct copy_opts *o = c->o;
	unsigned away = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < t->n_ns; i++) {
		const struct tree_ns *ns = &t->all_ns[i];

		if (ns->marked && pick_has_ns(o->picks, o->n_picks, ns->path))
			r = make_ns(c, ns->path);
		for (size_t j = 0; r == 0 && j < ns->n_groups; j++)
			r = copy_group(c, &ns->groups[j], &away);
	}
	return r;
}

static int
check_picks(const struct copy_opts *o, const struct tree *t)
{
	for (size_t i = 0; i < o->n_picks; i++)
		if (!pick_is_there(&o->picks[i], t)) {
			log_err("the source has nothing of that name");
			return -ENOENT;
		}
	return 0;
}

/* Whether the target tells of each chunk, at no cost, if it is there. */
static bool
can_touch(const struct copy_opts *o)
{
	static const struct digest none;
	char key[KEY_CHUNK_LEN + 1];

	key_chunk(&none, key);
	return !o->dry_run &&
	    store_touch(repo_store(o->to), key) != -EOPNOTSUPP;
}

int
copy_run(const struct copy_opts *o, struct copy_result *ret)
{
	struct copier c = {
	    .o = o,
	    .res = ret,
	    .known = o->known,
	    .own = o->known == NULL || o->dry_run,
	    .jobs = o->jobs != 0 ? o->jobs : JOBS,
	};
	struct tree *t;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (c.own) {
		r = known_new(NULL, "", KNOWN_MAX_DEFAULT, &c.known);
		if (r < 0)
			return r;
	}
	pthread_mutex_init(&c.lock, NULL);
	c.era = known_era(c.known);
	c.touches = can_touch(o);
	t = repo_tree(o->from);
	r = check_picks(o, t);
	if (r == 0)
		r = copy_all(&c, t);
	tree_unref(t);
	pthread_mutex_destroy(&c.lock);
	if (c.own)
		known_free(c.known);
	return r < 0 ? r : ret->failed > 0 ? 1 : 0;
}
