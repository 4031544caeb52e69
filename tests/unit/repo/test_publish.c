/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "edit_world.h"
#include "pbs/manifest.h"
#include "store/filters.h"

#include "../store/scratch.h"
#include "../cm.h"

#define T2 (W_TIME + 7200)	/* 02:00:00 */
#define DIR2 ".cnt/host/web1/2024-01-01T02:00:00Z/"

static int
publish(struct world *w, const struct new_snap *n)
{
	bool unknown = true;
	int r = repo_publish(w->repo, &n->s, &unknown);

	assert_false(unknown);
	return r;
}

static void
publishing_puts_each_file_once_and_the_manifest_last(bool is_dir)
{
	struct picture before, after;
	struct new_snap n;
	struct manifest *m;
	struct world w;
	struct tree *t;

	world_open(&w, is_dir);
	picture_take(&w, &before);
	new_snap_init(&n, &w_group, T2, "new");
	assert_int_equal(publish(&w, &n), 0);
	assert_int_equal(w.trip->n[STORE_PUT], 4);
	assert_int_equal(w.trip->calls, 4);
	assert_string_equal(w.trip->last_put, DIR2 "index.json.blob");
	picture_take(&w, &after);
	assert_int_equal(after.n, before.n + 4);
	picture_compare(&before, &after, DIR2);
	world_check(&w);
	/* The tree has it, and a listing nothing else. */
	t = repo_tree(w.repo);
	assert_non_null(world_snap(t, &w_group, T2));
	assert_true(world_snap(t, &w_group, T2)->finished);
	assert_int_equal(world_snap(t, &w_group, T2)->n_files, 4);
	assert_true(world_snap(t, &w_group, W_TIME + 3600)->protected);
	assert_int_equal(repo_manifest(w.repo,
	    world_snap(t, &w_group, T2), 0, &m), 0);
	assert_int_equal(m->n_files, 3);
	manifest_unref(m);
	tree_unref(t);
	world_shows_all(&w);
	/* Once. */
	world_reset(&w);
	assert_int_equal(publish(&w, &n), -EEXIST);
	assert_int_equal(w.trip->calls, 0);
	new_snap_fini(&n);
	picture_free(&before);
	picture_free(&after);
	world_close(&w);
}

static void
publishing_into_memory(void **state)
{
	(void)state;
	publishing_puts_each_file_once_and_the_manifest_last(false);
}

static void
publishing_into_a_directory(void **state)
{
	(void)state;
	publishing_puts_each_file_once_and_the_manifest_last(true);
}

static void
names_that_are_none_are_refused(void **state)
{
	static const char *const names[] = {"a b.blob", "index.json.blob",
	    "x", "../x.blob", "1.conf.blob", ""};
	struct new_snap n;
	struct world w;

	(void)state;
	world_open(&w, false);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		new_snap_init(&n, &w_group, T2, "x");
		snprintf(n.files[0].name, sizeof(n.files[0].name), "%s",
		    names[i]);
		assert_int_equal(publish(&w, &n), -EINVAL);
		new_snap_fini(&n);
	}
	new_snap_init(&n, &w_group, 0, "x");
	assert_int_equal(publish(&w, &n), -EINVAL);
	n.s.time = INT64_MAX;
	assert_int_equal(publish(&w, &n), -ERANGE);
	n.s.time = T2;
	snprintf(n.s.group.id, sizeof(n.s.group.id), "other");
	assert_int_equal(publish(&w, &n), -ENOENT);
	snprintf(n.s.group.id, sizeof(n.s.group.id), "../web1");
	assert_int_equal(publish(&w, &n), -EINVAL);
	new_snap_fini(&n);
	assert_int_equal(w.trip->calls, 0);
	world_close(&w);
}

/* Fails the call number at of a publishing.  False: there are not so many. */
static bool
fail_one(bool is_dir, enum fail_mode mode, unsigned at)
{
	struct picture before, after;
	struct digest manifest;
	bool unknown, reached;
	struct new_snap n;
	struct world w;
	struct tree *t;
	int r, out;

	world_open(&w, is_dir);
	picture_take(&w, &before);
	new_snap_init(&n, &w_group, T2, "new");
	manifest = digest_of(n.s.manifest->data, n.s.manifest->len);
	w.trip->fail_at = at;
	w.trip->mode = mode;
	r = repo_publish(w.repo, &n.s, &unknown);
	reached = w.trip->calls >= at;
	world_check(&w);
	picture_take(&w, &after);
	picture_compare(&before, &after, DIR2);
	if (r == 0) {
		assert_true(picture_has(&after, DIR2 "index.json.blob"));
		world_shows_all(&w);
	} else if (mode == FAIL_BEFORE || mode == FAIL_LOST) {
		/* One trouble at a time leaves nothing behind, and the other
		 * trouble was the asking. */
		assert_false(unknown);
		assert_int_equal(after.n, before.n);
		world_shows_all(&w);
	} else {
		assert_true(!picture_has(&after, DIR2 "index.json.blob") ||
		    unknown);
	}
	assert_true(r == 0 || r == w.trip->error);
	/* Later it is known, and nothing remains that is none. */
	world_reset(&w);
	out = repo_publish_outcome(w.repo, &w_group, T2, &manifest);
	assert_int_equal(out, picture_has(&after, DIR2 "index.json.blob"));
	world_check(&w);
	world_shows_all(&w);
	picture_free(&after);
	picture_take(&w, &after);
	assert_int_equal(after.n, out == 1 ? before.n + 4 : before.n);
	t = repo_tree(w.repo);
	assert_int_equal(world_snap(t, &w_group, T2) != NULL, out);
	tree_unref(t);
	/* Again: it works, or is there. */
	assert_int_equal(publish(&w, &n), out == 1 ? -EEXIST : 0);
	world_shows_all(&w);
	new_snap_fini(&n);
	picture_free(&before);
	picture_free(&after);
	world_close(&w);
	return reached;
}

static void
a_failure_at_any_request_leaves_the_store_valid(void **state)
{
	unsigned n = 0;

	(void)state;
	for (int mode = 0; mode < FAIL_MODES; mode++)
		for (int is_dir = 0; is_dir < 2; is_dir++) {
			unsigned at = 1;

			while (fail_one(is_dir != 0, (enum fail_mode)mode, at))
				at++;
			assert_true(at > 4);
			n += at - 1;
		}
	assert_true(n >= 32);
}

static void
a_lost_answer_is_asked_for(void **state)
{
	struct new_snap n;
	bool unknown;
	struct world w;

	(void)state;
	world_open(&w, false);
	new_snap_init(&n, &w_group, T2, "new");
	w.trip->fail_at = 4;
	w.trip->mode = FAIL_LOST;
	assert_int_equal(publish(&w, &n), 0);
	assert_int_equal(w.trip->n[STORE_PUT], 4);
	assert_int_equal(w.trip->n[STORE_GET], 1);
	assert_int_equal(w.trip->calls, 5);
	n.s.time++;
	world_reset(&w);
	w.trip->fail_at = 4;
	w.trip->mode = FAIL_LOST_ALL_AFTER;
	assert_int_equal(repo_publish(w.repo, &n.s, &unknown), -EHOSTDOWN);
	assert_true(unknown);
	assert_int_equal(w.trip->n[STORE_DELETE], 0);
	world_check(&w);
	new_snap_fini(&n);
	world_close(&w);
}

/* The same by the filter that users have. */
static void
a_lost_answer_by_a_script(void **state)
{
	static const char lost[] = "put */index.json.blob lost count=1\n";
	static const char mute[] = "put */index.json.blob lost count=1\n"
	    "get */index.json.blob error=EHOSTDOWN\n";
	char path[256];
	struct new_snap n;
	bool unknown;
	struct world w;

	(void)state;
	world_open(&w, true);
	snprintf(path, sizeof(path), "%s/script", w.dir);
	scratch_write(path, lost, strlen(lost));
	assert_int_equal(store_fault_new(w.trip->s.below, path,
	    &w.trip->s.below), 0);
	new_snap_init(&n, &w_group, T2, "new");
	assert_int_equal(publish(&w, &n), 0);
	world_shows_all(&w);
	n.s.time++;
	scratch_write(path, mute, strlen(mute));
	assert_true(repo_publish(w.repo, &n.s, &unknown) < 0);
	assert_true(unknown);
	assert_int_equal(unlink(path), 0);
	/* The store is back, and has it. */
	{
		struct digest d = digest_of(n.s.manifest->data,
		    n.s.manifest->len);

		assert_int_equal(repo_publish_outcome(w.repo, &w_group,
		    n.s.time, &d), 1);
	}
	world_check(&w);
	world_shows_all(&w);
	new_snap_fini(&n);
	world_close(&w);
}

static void
another_manifest_is_left_alone(void **state)
{
	struct digest other = digest_of("x", 1);
	struct picture before, after;
	struct world w;

	(void)state;
	world_open(&w, false);
	picture_take(&w, &before);
	assert_int_equal(repo_publish_outcome(w.repo, &w_group, W_TIME, &other),
	    0);
	picture_take(&w, &after);
	picture_compare(&before, &after, NULL);
	world_shows_all(&w);
	picture_free(&before);
	picture_free(&after);
	world_close(&w);
}

/* What an attempt has left is no part of the next one of that time. */
static void
leftovers_are_cleared(void **state)
{
	static const char stray[] = DIR2 "old.conf.blob";
	struct picture after;
	struct new_snap n;
	struct world w;

	(void)state;
	world_open(&w, false);
	new_snap_init(&n, &w_group, T2, "new");
	assert_int_equal(store_put(w.trip->s.below, stray, "x", 1, NULL, NULL),
	    0);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	assert_int_equal(publish(&w, &n), 0);
	picture_take(&w, &after);
	assert_false(picture_has(&after, stray));
	world_check(&w);
	world_shows_all(&w);
	picture_free(&after);
	new_snap_fini(&n);
	world_close(&w);
}

struct publisher {
	pthread_t thread;
	struct world *w;
	struct new_snap n;
	int r;
};

static void *
publisher_run(void *arg)
{
	struct publisher *p = arg;

	p->r = publish(p->w, &p->n);
	return NULL;
}

static void *
refresher_run(void *arg)
{
	struct world *w = arg;

	for (int i = 0; i < 20; i++)
		assert_int_equal(repo_refresh(w->repo, NULL), 0);
	return NULL;
}

/* Two of one time: one wins.  Others side by side, while somebody lists. */
static void
several_publish_at_once(void **state)
{
	struct publisher p[8];
	pthread_t refresher;
	unsigned won = 0;
	struct world w;

	(void)state;
	world_open(&w, false);
	assert_int_equal(pthread_create(&refresher, NULL, refresher_run, &w),
	    0);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		p[i].w = &w;
		new_snap_init(&p[i].n, i % 2 ? &w_group : &w_prefix,
		    i < 4 ? T2 : T2 + i, i % 2 ? "odd" : "even");
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		assert_int_equal(pthread_create(&p[i].thread, NULL,
		    publisher_run, &p[i]), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		pthread_join(p[i].thread, NULL);
		assert_true(p[i].r == 0 || p[i].r == -EEXIST);
		won += p[i].r == 0;
		new_snap_fini(&p[i].n);
	}
	pthread_join(refresher, NULL);
	assert_int_equal(won, 6);
	world_check(&w);
	world_shows_all(&w);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(publishing_into_memory),
	    cmocka_unit_test(publishing_into_a_directory),
	    cmocka_unit_test(names_that_are_none_are_refused),
	    cmocka_unit_test(a_failure_at_any_request_leaves_the_store_valid),
	    cmocka_unit_test(a_lost_answer_is_asked_for),
	    cmocka_unit_test(a_lost_answer_by_a_script),
	    cmocka_unit_test(another_manifest_is_left_alone),
	    cmocka_unit_test(leftovers_are_cleared),
	    cmocka_unit_test(several_publish_at_once),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
