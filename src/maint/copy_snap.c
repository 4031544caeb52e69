/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/copy_priv.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "maint/pick.h"
#include "maint/present.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "repo/claim.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "store/store.h"

#define TIMEOUT_MS 60000

/* Whether more chunks of it are not known than that. */
static bool
has_unknown(const struct copy_snap *x, uint64_t than)
{
	uint64_t n = 0;

	for (size_t i = 0; i < x->n_indices; i++) {
		const struct index *ix = x->indices[i].index;

		for (size_t j = 0; j < index_count(ix); j++) {
			struct digest d = index_chunk(ix, j).digest;

			if (!known_has(x->c->known, &d) && ++n > than)
				return true;
		}
	}
	return false;
}

/*
 * To put a chunk that is there costs a request and its bytes; to list all of
 * them a request for each thousand.  So that is done, once, when it takes no
 * more requests than there are chunks of which nothing is known.  Where each
 * chunk is touched that tells it.
 */
static int
look(struct copy_snap *x)
{
	struct copier *c = x->c;
	struct tree *t;
	uint64_t pages;
	int r;

	if (c->listed || (c->touches && !c->o->dry_run))
		return 0;
	t = repo_tree(c->o->to);
	pages = present_pages(t);
	tree_unref(t);
	if (!c->o->dry_run && !has_unknown(x, pages))
		return 0;
	r = present_list(repo_store(c->o->to), c->known, c->o->stop,
	    &c->res->listed);
	c->listed = r == 0;
	return r;
}

static int
publish(struct copy_snap *x)
{
	const struct copy_opts *o = x->c->o;
	struct snapshot_new n = {
	    .time = x->s->time,
	    .files = x->files,
	    .n_files = x->n_files,
	    .manifest = x->manifest,
	    .protect = x->s->protected,
	};
	bool unknown = false;
	int r = 0;

	pick_group_name(x->s->group, &n.group);
	if (o->claim != NULL)
		r = claim_check(o->claim);
	if (r == 0)
		r = repo_publish(o->to, &n, &unknown);
	if (unknown)
		log_warn("%s/%s/%s: nobody knows whether its manifest has "
		    "arrived\nhint: the next run finds out",
		    backup_type_name(n.group.type), n.group.id, x->s->name);
	return r == -EEXIST ? 1 : r;
}

/* Chunks, then all else, while nobody collects any of it. */
static int
transfer(struct copy_snap *x)
{
	const struct copy_opts *o = x->c->o;
	const struct each e = {
	    .files = x->indices,
	    .n_files = x->n_indices,
	    .jobs = x->c->jobs,
	    .stop = o->stop,
	    .fn = copy_chunk,
	    .arg = x,
	};
	uint64_t hold;
	int r;

	x->c->res->objects += x->n_files + x->s->protected + 1;
	if (o->dry_run)
		return each_run(&e);
	r = o->claim != NULL ? claim_hold(o->claim) : 0;
	if (r < 0)
		return r;
	hold = guard_hold(o->guard);
	r = each_run(&e);
	if (r == 0)
		r = publish(x);
	guard_release(o->guard, hold);
	if (o->claim != NULL)
		claim_drop(o->claim);
	return r;
}

/* What is missing may have been forgotten with all of its snapshot. */
static bool
is_gone(const struct copier *c, const struct tree_snap *s)
{
	const struct tree_file *f = tree_find_file(s, "index.json.blob");
	unsigned ms = c->o->timeout_ms != 0 ? c->o->timeout_ms : TIMEOUT_MS;
	struct store_object o;
	char key[KEY_MAX + 1];

	return f == NULL || (tree_file_key(f, key) == 0 &&
	    store_stat(repo_store(c->o->from), key, deadline_in(ms), &o) == 1);
}

int
copy_snap(struct copier *c, const struct tree_snap *s)
{
	struct copy_snap x = {.c = c, .s = s};
	int r;

	r = copy_load(&x);
	if (r == 0) {
		/* What a verification found damaged is not passed on. */
		x.read_all = c->o->read_all || (x.m->verify_state != NULL &&
		    streq(x.m->verify_state, "failed"));
		r = look(&x);
	}
	if (r == 0)
		r = transfer(&x);
	copy_unload(&x);
	return r == -ENOENT && is_gone(c, s) ? -ESTALE : r;
}
