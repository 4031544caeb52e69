/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/writing.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/ending.h"
#include "cmd/exits.h"
#include "cmd/gc_schedule.h"
#include "cmd/gc_when.h"
#include "cmd/option.h"
#include "cmd/stack.h"
#include "cmd/state_dir.h"
#include "draft/draft.h"
#include "maint/agent.h"
#include "maint/control.h"
#include "repo/claim.h"
#include "repo/damage.h"
#include "repo/edit.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "repo/uploads.h"
#include "vfs/vfs.h"

static void
published(void *arg, const struct group_name *g, int64_t time)
{
	struct writing *w = arg;
	struct vfs *v = atomic_load(&w->vfs);
	int r;

	(void)g, (void)time;
	r = v != NULL ? vfs_renew(v) : 0;
	if (r < 0)
		log_warn("a new snapshot is not shown: %s", strerror(-r));
}

static void
parted(void *arg, uint64_t dir, const char *name, uint64_t ino)
{
	struct writing *w = arg;
	struct vfs *v = atomic_load(&w->vfs);

	if (v != NULL)
		vfs_parted(v, dir, name, ino);
}

static int
open_drafts(struct writing *w, const char *dir, const char *identity)
{
	const struct options *o = w->s->o;
	struct drafts_opts opts = {
	    .state = dir,
	    .identity = identity,
	    .uploads = w->uploads,
	    .claim = w->s->claim,
	    .staging = o->staging_size,
	    .floor = o->staging_floor,
	    .timeout_ms = (unsigned)o->staging_timeout,
	    .idle_s = (unsigned)((o->snapshot_idle + 999) / 1000),
	    .archive = o->archive == OPTION_ARCHIVE_PXAR ? 1 : 2,
	    .fsync_store = o->fsync == OPTION_FSYNC_S3,
	    .uid = option_is_set(o, "uid") ? (uid_t)o->uid : geteuid(),
	    .gid = option_is_set(o, "gid") ? (gid_t)o->gid : getegid(),
	    .key = w->s->key,
	    .sign_only = o->crypt == OPTION_CRYPT_SIGN_ONLY,
	    .key_blob = w->s->key_blob,
	    .parted = parted,
	    .published = published,
	    .arg = w,
	    .kill_at = (unsigned)o->kill_journal,
	};

	return drafts_open(w->s->repo, &opts, &w->drafts);
}

/* What is missing or damaged is sent again by who has it. */
static void
on_damage(void *arg, const struct digest *d)
{
	known_doubt(arg, d);
}

static int
open_all(struct writing *w)
{
	_cleanup_free_ char *identity = NULL;
	struct uploads_opts uo = {
	    .memory = w->s->o->upload_memory,
	    .putters = (unsigned)w->s->o->uploads,
	};
	char path[PATH_MAX];
	int r;

	r = stack_identity(w->s, &identity);
	if (r == 0)
		r = state_dir_prepare(w->s, &w->dir);
	if (r < 0)
		return r;
	ending_clear(w->dir);
	if (snprintf(path, sizeof(path), "%s/" STATE_DIR_KNOWN, w->dir) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	r = known_new(path, claim_generation(w->s->claim), KNOWN_MAX_DEFAULT,
	    &w->known);
	if (r < 0)
		return r;
	/* A snapshot in a listing from long ago may be gone, and its chunks with
	 * it: each is asked for before they count as known. */
	if (repo_is_offline(w->s->repo))
		(void)known_condemn(w->known, NULL, 0);
	damage_listen(repo_damage(w->s->repo), on_damage, w->known);
	if (snprintf(path, sizeof(path), "%s/" STATE_DIR_GUARD, w->dir) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	r = guard_new(path, w->known, &w->guard);
	if (r < 0)
		return r;
	uo.guard = w->guard;
	uo.chunks = repo_chunks(w->s->repo);
	r = uploads_new(repo_store(w->s->repo), w->known, &uo, &w->uploads);
	if (r < 0)
		return r;
	if (snprintf(path, sizeof(path), "%s/" STATE_DIR_DRAFTS, w->dir) >=
	    PATH_MAX)
		return -ENAMETOOLONG;
	return open_drafts(w, path, identity);
}

static void
add_group(struct str *out, const struct group_name *g)
{
	if (g->ns[0] != '\0')
		str_addf(out, "%s:", g->ns);
	str_addf(out, "%s/%s", backup_type_name(g->type), g->id);
}

/* What is told of one draft at the start and at the end. */
static void
say(void *arg, const struct draft_state *d)
{
	const char *what = arg;
	_cleanup_(str_fini) struct str group = {0};
	char staged[NUM_SIZE_MAX], since[CLOCK_UTC_LEN + 1];

	if (!d->changed)
		return;
	add_group(&group, &d->group);
	if (clock_format_utc(since, d->since) < 0)
		since[0] = '\0';
	log_info("%s: %s of %s, %s of it not in the store", str_get(&group),
	    what, since, num_format_size(staged, d->staged));
}

int
writing_open(struct writing *w, struct stack *s)
{
	struct gc_when when;
	int r;

	w->s = s;
	if (s->o->owner != NULL && repo_check_owner(s->o->owner) < 0)
		return EXIT_USAGE;
	if (s->o->gc_schedule != NULL &&
	    gc_when_parse(s->o->gc_schedule, &when) < 0) {
		log_err("gc-schedule: neither a time of day nor how often\n"
			"hint: daily, 03:30 or 12h");
		return EXIT_USAGE;
	}
	r = open_all(w);
	if (r < 0) {
		log_err("%s: cannot write: %s", s->t.name, exits_why(r));
		return exits_of(r);
	}
	s->drafts = w->drafts;
	drafts_each(w->drafts, say,
	    (char *)(uintptr_t)"going on with changes");
	return EXIT_OK;
}

/* A command has made or removed something. */
static void
changed(void *arg)
{
	struct writing *w = arg;
	struct vfs *v = atomic_load(&w->vfs);
	int r = v != NULL ? vfs_changed(v) : 0;

	if (r < 0)
		log_warn("what a command has changed is not shown: %s",
		    strerror(-r));
}

static int
open_control(struct writing *w)
{
	_cleanup_free_ char *identity = NULL, *drafts = NULL, *path = NULL;
	struct agent_local al = {
	    .repo = w->s->repo,
	    .guard = w->guard,
	    .claim = w->s->claim,
	    .known = w->known,
	    .drafts = w->drafts,
	    .changed = changed,
	    .arg = w,
	};
	int r;

	r = stack_identity(w->s, &identity);
	if (r == 0)
		r = state_dir_path(w->dir, STATE_DIR_DRAFTS, &drafts);
	if (r == 0)
		r = claim_socket(NULL, identity, &path);
	if (r < 0)
		return r;
	al.identity = identity;
	al.state = drafts;
	r = agent_local_new(&al, &w->agent);
	return r < 0 ? r : control_new(path, w->agent, &w->control);
}

void
writing_show(struct writing *w)
{
	int r;

	atomic_store(&w->vfs, w->s->vfs);
	/* What came in between. */
	published(w, NULL, 0);
	r = open_control(w);
	if (r < 0)
		log_warn("%s: gc, forget and other commands cannot work beside "
		    "this mount: %s", w->s->t.name, strerror(-r));
	if (r == 0)
		r = gc_schedule_start(w->s, w->dir, &w->gc);
	if (r < 0 && w->s->o->gc_schedule != NULL)
		log_err("%s: no garbage will be collected: %s", w->s->t.name,
		    strerror(-r));
}

void
writing_unmounted(struct writing *w)
{
	gc_schedule_stop(w->gc);
	w->gc = NULL;
	if (w->drafts != NULL)
		w->ending = ending_begin(w);
}

int
writing_finish(struct writing *w)
{
	int r;

	if (w->drafts == NULL)
		return EXIT_OK;
	r = drafts_finish(w->drafts);
	ending_end(w->ending);
	w->ending = NULL;
	if (r < 0)
		log_err("%s: not all is in the store: %s", w->s->t.name,
		    exits_why(r));
	drafts_each(w->drafts, say, (char *)(uintptr_t)
	    "the next mount goes on with changes");
	return exits_of(r);
}

void
writing_close(struct writing *w)
{
	if (w->s == NULL)
		return;
	gc_schedule_stop(w->gc);
	/* Who still waits is woken from below. */
	repo_shutdown(w->s->repo);
	guard_shutdown(w->guard);
	control_free(w->control);
	agent_free(w->agent);
	if (w->uploads != NULL)
		uploads_shutdown(w->uploads);
	if (w->drafts != NULL)
		drafts_shutdown(w->drafts);
	/* As long as there are drafts they may tell the tree of something. */
	if (w->s->vfs != NULL)
		vfs_let_go(w->s->vfs);
	drafts_free(w->drafts);
	w->s->drafts = NULL;
	vfs_free(w->s->vfs);
	w->s->vfs = NULL;
	uploads_free(w->uploads);
	guard_free(w->guard);
	damage_listen(repo_damage(w->s->repo), NULL, NULL);
	known_free(w->known);
	free(w->dir);
	memset(w, 0, sizeof(*w));
}

static void
add_draft(void *arg, const struct draft_state *d)
{
	_cleanup_(str_fini) struct str group = {0};
	char since[CLOCK_UTC_LEN + 1];

	add_group(&group, &d->group);
	if (d->since == 0 || clock_format_utc(since, d->since) < 0)
		since[0] = '\0';
	json_array_append_new(arg, json_pack("{s:s,s:b,s:b,s:I,s:I,s:s,s:I,"
	    "s:I}", "group", str_get(&group), "changed", (int)d->changed,
	    "publishing", (int)d->publishing, "staged", (json_int_t)d->staged,
	    "uploaded", (json_int_t)d->uploaded, "since", since, "done",
	    (json_int_t)d->done, "total", (json_int_t)d->total));
}

static json_t *
uploads_json(struct writing *w)
{
	struct uploads_stats u;

	uploads_stats(w->uploads, &u);
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "chunks",
	    (json_int_t)u.chunks, "bytes", (json_int_t)u.bytes, "puts",
	    (json_int_t)u.puts, "put_bytes", (json_int_t)u.put_bytes,
	    "duplicates", (json_int_t)u.duplicates, "failed",
	    (json_int_t)u.failed, "memory", (json_int_t)u.memory, "limit",
	    (json_int_t)u.memory_limit, "in_flight", (json_int_t)u.in_flight);
}

json_t *
writing_json(struct writing *w)
{
	char oldest[CLOCK_UTC_LEN + 1];
	json_t *groups = json_array();
	struct drafts_stats d;

	drafts_stats(w->drafts, &d);
	if (d.oldest == 0 || clock_format_utc(oldest, d.oldest) < 0)
		oldest[0] = '\0';
	drafts_each(w->drafts, add_draft, groups);
	return json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:o,s:o,s:o}",
	    "state",
	    w->dir, "staged", (json_int_t)d.staged, "limit",
	    (json_int_t)d.staged_limit, "waiting", (json_int_t)d.waiting,
	    "changed", (json_int_t)d.changed, "unsent", (json_int_t)d.unsent,
	    "oldest", oldest, "known", (json_int_t)known_count(w->known),
	    "uploads", uploads_json(w), "groups", groups, "gc",
	    w->gc != NULL ? gc_schedule_json(w->gc) : json_null());
}
