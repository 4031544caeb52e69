/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "maint/pick.h"
#include "maint/present.h"
#include "maint/repair_priv.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "pbs/names.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/tree.h"

#define JOBS 8

void
repair_event(struct repairer *r, enum repair_event e, const char *what,
    const char *path, const char *text)
{
	if (r->o->event != NULL)
		r->o->event(r->o->arg, e, what, path, text);
}

/* Its chunks cannot be looked at. */
static int
cannot_read(struct repairer *r, const struct tree_snap *s, const char *name,
    int err)
{
	_cleanup_(str_fini) struct str path = {0};
	bool damaged = err == -EBADMSG || err == -EBADE || err == -ENOENT;

	if (!damaged && !repo_is_outage(err) && err != -EIO && err != -EACCES)
		return err;
	pick_path(s, name, &path);
	LOCK(&r->lock);
	r->res->objects_lost += damaged;
	r->res->unknown += !damaged;
	repair_event(r, damaged ? REPAIR_OBJECT_LOST : REPAIR_UNKNOWN,
	    str_get(&path), str_get(&path),
	    err == -ENOENT ? "missing" : damaged ? "damaged" :
	    strerror(-err));
	return 0;
}

static int
look_at(struct repairer *r, const struct tree_snap *s, struct manifest *m,
    const struct tree_file *f)
{
	const struct manifest_file *mf = manifest_find(m, f->name);
	bool encrypted = mf != NULL && mf->crypt == CRYPT_ENCRYPT;
	struct repair_snap x = {
	    .r = r,
	    .s = s,
	    .file = ++r->files,
	    .all = r->o->n_picks > 0 ?
		pick_has_snap(r->o->picks, r->o->n_picks, s) :
		r->o->n_chunks == 0 && m->verify_state != NULL &&
		streq(m->verify_state, "failed"),
	};
	struct each_file file = {
	    .name = f->name,
	    .encrypted = encrypted,
	    .key = encrypted ? m->key : NULL,
	};
	const struct each e = {
	    .files = &file,
	    .n_files = 1,
	    .jobs = r->jobs,
	    .stop = r->o->stop,
	    .fn = repair_chunk,
	    .arg = &x,
	};
	int err;

	err = repair_index(r, f, mf, &file.index);
	if (err < 0)
		return cannot_read(r, s, f->name, err);
	if (err == 1)
		(void)cannot_read(r, s, f->name, -EBADMSG);
	err = each_run(&e);
	index_unref(file.index);
	return err;
}

/* What the manifest knows and no listing has. */
static int
look_for(struct repairer *r, const struct tree_snap *s, struct manifest *m,
    const struct manifest_file *mf)
{
	struct tree_file f = {
	    .name = mf->name,
	    .etag = "",
	    .snap = NULL,
	    .group = s->group,
	};

	if (tree_find_file(s, mf->name) != NULL)
		return 0;
	if (!archive_is_index(mf->name))
		return cannot_read(r, s, mf->name, -ENOENT);
	f.snap = &s->group->snaps[s - s->group->snaps];
	return look_at(r, s, m, &f);
}

static int
repair_snap(struct repairer *r, const struct tree_snap *s)
{
	_cleanup_(manifest_unrefp) struct manifest *m = NULL;
	int err;

	if (r->o->stop != NULL && atomic_load(r->o->stop))
		return -ECANCELED;
	err = repo_manifest(r->o->repo, s, 0, &m);
	/* It was forgotten meanwhile, or is gone. */
	if (err < 0)
		return cannot_read(r, s, "index.json.blob", err);
	r->res->snapshots++;
	for (size_t i = 0; err == 0 && i < s->n_files; i++)
		if (archive_is_index(s->files[i].name))
			err = look_at(r, s, m, &s->files[i]);
	for (size_t i = 0; err == 0 && i < m->n_files; i++)
		err = look_for(r, s, m, &m->files[i]);
	return err;
}

/* With chunks named, any snapshot may need them. */
static bool
is_wanted(const struct repair_opts *o, const struct tree_snap *s)
{
	return s->finished && (o->n_chunks > 0 ||
	    pick_has_snap(o->picks, o->n_picks, s));
}

static int
repair_group(struct repairer *r, const struct tree_group *g)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < g->n_snaps; i++)
		if (is_wanted(r->o, &g->snaps[i]))
			err = repair_snap(r, &g->snaps[i]);
	return err;
}

static int
repair_tree(struct repairer *r, const struct tree *t)
{
	int err = 0;

	for (size_t i = 0; i < r->o->n_picks; i++)
		if (!pick_is_there(&r->o->picks[i], t)) {
			log_err("the store has nothing of that name");
			return -ENOENT;
		}
	for (size_t i = 0; err == 0 && i < t->n_ns; i++)
		for (size_t j = 0; err == 0 && j < t->all_ns[i].n_groups; j++)
			err = repair_group(r, &t->all_ns[i].groups[j]);
	return err;
}

static void
tell_unused(struct repairer *r)
{
	char hex[DIGEST_HEX_LEN + 1];

	for (size_t i = 0; i < r->o->n_chunks; i++)
		if (!r->used[i])
			repair_event(r, REPAIR_NOT_USED,
			    digest_hex(&r->o->chunks[i], hex), "", "");
}

static int
repair_all(struct repairer *r)
{
	const struct repair_opts *o = r->o;
	uint64_t hold;
	struct tree *t;
	int err = 0;

	if (o->n_picks == 0 && o->n_chunks == 0) {
		err = known_new(NULL, "", KNOWN_MAX_DEFAULT, &r->present);
		if (err == 0)
			err = present_list(repo_store(o->repo), r->present,
			    o->stop, &r->res->listed);
	}
	if (err < 0)
		return err;
	hold = guard_hold(o->guard);
	t = repo_tree(o->repo);
	err = repair_tree(r, t);
	tree_unref(t);
	guard_release(o->guard, hold);
	if (err == 0)
		tell_unused(r);
	return err;
}

static void
free_troubles(struct chunk_map *m)
{
	for (size_t i = 0; i < m->n_buckets; i++)
		while (!LIST_EMPTY(&m->buckets[i])) {
			struct chunk_node *n = LIST_FIRST(&m->buckets[i]);

			chunk_map_remove(m, n);
			free(n);
		}
	chunk_map_fini(m);
}

int
repair_run(const struct repair_opts *o, struct repair_result *ret)
{
	struct repairer r = {
	    .o = o,
	    .res = ret,
	    .jobs = o->jobs != 0 ? o->jobs : JOBS,
	};
	int err;

	memset(ret, 0, sizeof(*ret));
	err = chunk_map_init(&r.troubles);
	if (err < 0)
		return err;
	pthread_mutex_init(&r.lock, NULL);
	r.used = calloc(o->n_chunks + 1, sizeof(*r.used));
	err = r.used == NULL ? -ENOMEM :
	    known_new(NULL, "", KNOWN_MAX_DEFAULT, &r.good);
	if (err == 0)
		err = repair_all(&r);
	free_troubles(&r.troubles);
	known_free(r.good);
	known_free(r.present);
	free(r.used);
	pthread_mutex_destroy(&r.lock);
	return err < 0 ? err :
	    ret->lost + ret->unknown + ret->objects_lost > 0 ? 1 : 0;
}
