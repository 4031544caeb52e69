/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/chunk_keys.h"
#include "draft/draft_priv.h"
#include "draft/journal.h"
#include "draft/learn.h"
#include "pbs/manifest.h"
#include "repo/claim.h"
#include "repo/edit.h"
#include "repo/guard.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "repo/uploads.h"

static int
refuse(const struct draft *d, int64_t time, int err, const char *why)
{
	_cleanup_(str_fini) struct str title = {0};
	char name[CLOCK_UTC_LEN + 1];

	publish_title(d, &title);
	if (clock_format_utc(name, time) < 0)
		name[0] = '\0';
	publish_log(d, "%s: cannot publish as %s: %s", str_get(&title), name,
	    why);
	return err;
}

static int
check_time(struct draft *d, int64_t time)
{
	char name[CLOCK_UTC_LEN + 1];
	const struct tree_snap *same = NULL, *latest = NULL;
	const struct tree_group *g;
	struct tree *t;
	int r = 0;

	if (time < 1 || clock_format_utc(name, time) < 0)
		return refuse(d, time, -EINVAL, "no snapshot can have that "
		    "time");
	t = repo_tree(d->all->repo);
	g = edit_find_group(t, &d->group);
	if (g != NULL) {
		same = tree_find_snap(g, time);
		latest = tree_latest(g);
	}
	if (g == NULL)
		r = refuse(d, time, -ENOENT, "the group is gone");
	else if (same != NULL && same->finished)
		r = refuse(d, time, -EEXIST, "there is such a snapshot");
	else if (latest != NULL && latest->time >= time)
		r = refuse(d, time, -EINVAL, "there is a later snapshot");
	tree_unref(t);
	return r;
}

static int
make_manifest(const struct emit *em, struct buf **ret)
{
	const struct draft *d = em->d;
	struct manifest m = {
	    .type = d->group.type,
	    .id = (char *)(uintptr_t)d->group.id,
	    .time = em->time,
	    .n_files = em->n_files,
	};
	int r;

	m.files = calloc(em->n_files, sizeof(*m.files));
	if (m.files == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < em->n_files; i++)
		m.files[i] = (struct manifest_file){
		    .name = em->files[i].name,
		    .crypt = publish_mode(d),
		    .size = em->files[i].size,
		    .csum = em->files[i].csum,
		};
	r = manifest_make(&m, d->all->opts.key, &em->stats, ret);
	free(m.files);
	return r;
}

static int
add_record(struct draft *d, const struct record *rec)
{
	_cleanup_(str_fini) struct str txn = {0};
	uint64_t seq;
	int r;

	r = record_add(&txn, rec);
	if (r == 0)
		r = str_error(&txn);
	if (r < 0)
		return r;
	{
		LOCK(&d->lock);
		r = journal_add(d->journal, txn.s, txn.len, &seq);
	}
	return r < 0 ? r : journal_sync(d->journal, seq);
}

static void
set_unsettled(struct draft *d, int64_t time, const struct digest *manifest)
{
	LOCK(&d->lock);
	d->unsettled = true;
	d->unsettled_time = time;
	d->unsettled_manifest = *manifest;
}

/* The snapshot is there: what the draft was is its base from now on. */
static int
adopt(struct draft *d, int64_t time, bool all)
{
	const struct tree_snap *s;
	struct base *b = NULL;
	struct tree *t;
	int r = -ENOENT;

	t = repo_tree(d->all->repo);
	s = edit_find_snap(t, &d->group, time);
	if (s != NULL)
		r = base_open(d->all->repo, s, &b);
	tree_unref(t);
	if (r == 0 && all)
		r = place_all(d, b);
	do {
		if (r == 0 || r == -EAGAIN)
			r = place_rest(d, b);
		if (r == 0)
			r = draft_reset(d, b);
	} while (r == -EAGAIN);
	base_unref(b);
	if (r == 0) {
		LOCK(&d->lock);
		d->unsettled = false;
		d->learned = time;
	}
	return r;
}

static void
not_published(struct draft *d)
{
	const struct record rec = {.kind = REC_NOT_PUBLISHED};
	int r = add_record(d, &rec);

	if (r < 0)
		log_warn("journal: cannot note that a snapshot was not "
		    "published: %s", strerror(-r));
	place_forget(d);
	LOCK(&d->lock);
	d->unsettled = false;
}

/* Everything but the manifest is in the store. */
static int
put_manifest(struct emit *em, struct buf *manifest)
{
	struct draft *d = em->d;
	const struct snapshot_new s = {
	    .group = d->group,
	    .time = em->time,
	    .files = em->files,
	    .n_files = em->n_files,
	    .manifest = manifest,
	};
	const struct record rec = {
	    .kind = REC_PUBLISHING,
	    .time = em->time,
	    .digest = digest_of(manifest->data, manifest->len),
	};
	bool unknown = false;
	int r;

	r = add_record(d, &rec);
	if (r == 0)
		r = repo_publish(d->all->repo, &s, &unknown);
	if (unknown) {
		set_unsettled(d, em->time, &rec.digest);
		return r;
	}
	if (r < 0) {
		not_published(d);
		return r;
	}
	r = adopt(d, em->time, false);
	if (r < 0) {
		/* It is published all the same; the next change tries again. */
		log_warn("%s/%s: published, but the open snapshot cannot be "
		    "based on it yet: %s", backup_type_name(d->group.type),
		    d->group.id, publish_why(r));
		set_unsettled(d, em->time, &rec.digest);
	}
	return 0;
}

static int
emit(struct draft *d, int64_t time, const struct plan *plan)
{
	_cleanup_(buf_unrefp) struct buf *manifest = NULL;
	struct emit em = {
	    .d = d,
	    .plan = plan,
	    .uploads = d->all->opts.uploads,
	    .time = time,
	};
	int r;

	(void)chunk_keys_get(d->all->keys, chunk_keys_ours(d->all->keys),
	    &em.key);
	learn_base(d);
	r = emit_all(&em);
	if (r == 0)
		r = make_manifest(&em, &manifest);
	/* Another host may have taken away what is thought to be there. */
	if (r == 0 && d->all->opts.claim != NULL)
		r = claim_check(d->all->opts.claim);
	if (r == 0)
		r = put_manifest(&em, manifest);
	else
		place_forget(d);
	emit_fini(&em);
	return r;
}

/* Nobody changes anything.  If it is not known whether there is a snapshot now,
 * its indices are there, and keep the chunks. */
static int
publish_frozen(struct draft *d, int64_t time)
{
	struct claim *claim = d->all->opts.claim;
	struct guard *guard = uploads_guard(d->all->opts.uploads);
	struct plan plan;
	uint64_t hold;
	int r;

	r = plan_make(d, &plan);
	if (r < 0)
		return r;
	{
		LOCK(&d->lock);
		d->total = plan.total;
	}
	publish_tell_crypt(d);
	r = claim != NULL ? claim_hold(claim) : 0;
	if (r == 0) {
		hold = guard_hold(guard);
		r = emit(d, time, &plan);
		guard_release(guard, hold);
		if (claim != NULL)
			claim_drop(claim);
	}
	plan_fini(&plan);
	return r;
}

static int
begin(struct draft *d)
{
	LOCK(&d->lock);

	if (d->publishing)
		return -EBUSY;
	d->publishing = true;
	__atomic_add_fetch(&d->all->publishing, 1, __ATOMIC_RELAXED);
	d->done = d->total = 0;
	return 0;
}

static void
end(struct draft *d)
{
	LOCK(&d->lock);

	d->publishing = false;
	__atomic_sub_fetch(&d->all->publishing, 1, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&d->cond);
}

static int
publish(struct draft *d, int64_t time)
{
	int r;

	/* There is a journal then, and nothing unsettled. */
	r = draft_enter(d, 0);
	if (r < 0)
		return r;
	draft_leave(d);
	r = check_time(d, time);
	if (r < 0)
		return r;
	/* First the uploads: what they brought still gets into the journal.
	 * Who waits for room is not inside, and does not hold this up. */
	spill_suspend(d);
	draft_freeze(d);
	r = publish_frozen(d, time);
	spill_resume(d);
	draft_thaw(d);
	return r;
}

int
draft_publish(struct draft *d, int64_t time)
{
	const struct drafts_opts *o = &d->all->opts;
	int r;

	r = begin(d);
	if (r < 0)
		return r;
	r = publish(d, time);
	end(d);
	/* Not while changes are kept out: who is told may wait for one. */
	if (r == 0)
		parted_tell(d);
	if (r == 0 && o->published != NULL)
		o->published(o->arg, &d->group, time);
	return r;
}

int
publish_if_changed(struct draft *d)
{
	int64_t time;
	bool changed;
	int r;

	/* What seems to be a change may have been published already. */
	r = draft_enter(d, 0);
	if (r < 0)
		return r;
	draft_leave(d);
	{
		LOCK(&d->lock);
		changed = d->changed;
		time = MAX(clock_real_s(), base_time(d->base) + 1);
	}
	return changed ? draft_publish(d, time) : 0;
}

int
publish_settle(struct draft *d)
{
	const struct drafts_opts *o = &d->all->opts;
	const int64_t time = d->unsettled_time;
	int r;

	r = repo_publish_outcome(d->all->repo, &d->group, time,
	    &d->unsettled_manifest);
	if (r < 0)
		return r;
	if (r == 0) {
		not_published(d);
		return 0;
	}
	draft_freeze(d);
	spill_suspend(d);
	r = adopt(d, time, true);
	spill_resume(d);
	draft_thaw(d);
	if (r == 0)
		parted_tell(d);
	if (r == 0 && o->published != NULL)
		o->published(o->arg, &d->group, time);
	return r;
}
