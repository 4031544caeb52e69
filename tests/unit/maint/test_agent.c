/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/agent.h"

#include <errno.h>
#include <string.h>

#include "../repo/edit_world.h"
#include "base/buf.h"
#include "pbs/manifest.h"
#include "repo/guard.h"
#include "repo/known.h"

#include "../cm.h"

#define UPID \
	"UPID:host:0000002F:000618C8:00000014:6B01A9EB:verify:store:root@pam:"

struct setting {
	struct world w;
	struct known *known;
	struct guard *guard;
	struct agent *a;
	unsigned changes;
};

static void
count(void *arg)
{
	((struct setting *)arg)->changes++;
}

static void
begin(struct setting *s)
{
	struct agent_local o = {.changed = count, .arg = s,
	    .identity = "mem:", .state = "/nowhere"};

	memset(s, 0, sizeof(*s));
	world_open(&s->w, false);
	assert_int_equal(known_new(NULL, "1", 0, &s->known), 0);
	assert_int_equal(guard_new(NULL, s->known, &s->guard), 0);
	o.repo = s->w.repo;
	o.known = s->known;
	o.guard = s->guard;
	assert_int_equal(agent_local_new(&o, &s->a), 0);
}

static void
end(struct setting *s)
{
	world_shows_all(&s->w);
	agent_free(s->a);
	guard_shutdown(s->guard);
	guard_free(s->guard);
	known_free(s->known);
	world_close(&s->w);
}

static bool
has_snap(struct setting *s, const struct group_name *g, int64_t time)
{
	struct tree *t = repo_tree(s->w.repo);
	bool has = edit_find_snap(t, g, time) != NULL;

	tree_unref(t);
	return has;
}

static bool
has_group(struct setting *s, const struct group_name *g)
{
	struct tree *t = repo_tree(s->w.repo);
	bool has = edit_find_group(t, g) != NULL;

	tree_unref(t);
	return has;
}

static void
it_says_where_drafts_are(void **state)
{
	struct setting s;

	(void)state;
	begin(&s);
	assert_false(s.a->remote);
	assert_string_equal(s.a->state, "/nowhere");
	assert_string_equal(s.a->identity, "mem:");
	end(&s);
}

static void
a_snapshot_is_forgotten(void **state)
{
	struct picture before, after;
	struct setting s;

	(void)state;
	begin(&s);
	picture_take(&s.w, &before);
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME), 0);
	assert_int_equal(s.changes, 1);
	assert_false(has_snap(&s, &w_group, W_TIME));
	picture_take(&s.w, &after);
	picture_compare(&before, &after,
	    ".cnt/host/web1/2024-01-01T00:00:00Z/");
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME), -ENOENT);
	picture_free(&before);
	picture_free(&after);
	end(&s);
}

static void
a_protected_one_keeps_its_group_but_not_the_others(void **state)
{
	struct picture before, after;
	struct setting s;

	(void)state;
	begin(&s);
	picture_take(&s.w, &before);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_group), -EPERM);
	assert_false(has_snap(&s, &w_group, W_TIME));
	assert_true(has_snap(&s, &w_group, W_TIME + 3600));
	picture_take(&s.w, &after);
	picture_compare(&before, &after,
	    ".cnt/host/web1/2024-01-01T00:00:00Z/");
	assert_int_equal(s.a->ops->protect(s.a, &w_group, W_TIME + 3600,
	    false), 0);
	assert_int_equal(s.a->ops->notes(s.a, &w_group, 0, "gone soon"), 0);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_group), 0);
	assert_false(has_group(&s, &w_group));
	picture_free(&after);
	picture_take(&s.w, &after);
	picture_compare(&before, &after, ".cnt/host/web1/");
	assert_false(picture_has(&after, ".cnt/host/web1/owner"));
	assert_false(picture_has(&after, ".cnt/host/web1/notes"));
	assert_true(picture_has(&after, ".cnt/host/web10/owner"));
	assert_int_equal(s.a->ops->forget_group(s.a, &w_group), -ENOENT);
	picture_free(&before);
	picture_free(&after);
	end(&s);
}

/* Whatever fails, and wherever it stops: valid, and done by a second go. */
static void
a_group_goes_in_steps_that_may_stop(void **state)
{
	struct setting s;
	unsigned at, calls;

	(void)state;
	begin(&s);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_nested), 0);
	calls = s.w.trip->calls;
	end(&s);
	assert_true(calls >= 4);
	for (at = 1; at <= calls; at++) {
		begin(&s);
		s.w.trip->fail_at = at;
		s.w.trip->mode = FAIL_ALL_AFTER;
		assert_int_equal(s.a->ops->forget_group(s.a, &w_nested),
		    -EHOSTDOWN);
		world_reset(&s.w);
		world_check(&s.w);
		assert_int_equal(repo_refresh(s.w.repo, NULL), 0);
		if (has_group(&s, &w_nested))
			assert_int_equal(s.a->ops->forget_group(s.a,
			    &w_nested), 0);
		assert_int_equal(repo_refresh(s.w.repo, NULL), 0);
		assert_false(has_group(&s, &w_nested));
		assert_true(has_group(&s, &w_inner));
		end(&s);
	}
}

static void
a_namespace_goes_when_it_is_empty(void **state)
{
	struct setting s;

	(void)state;
	begin(&s);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a/b"), -ENOTEMPTY);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_inner), 0);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a/b"), 0);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a/b"), -ENOENT);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a"), -ENOTEMPTY);
	end(&s);
}

static void
what_a_verification_found_is_in_the_manifest(void **state)
{
	struct setting s;
	struct manifest *m;
	struct tree *t;

	(void)state;
	begin(&s);
	assert_int_equal(s.a->ops->notes(s.a, &w_group, W_TIME, "kept"), 0);
	assert_int_equal(s.a->ops->record_verify(s.a, &w_group, W_TIME,
	    VERIFY_FAILED, UPID), 0);
	t = repo_tree(s.w.repo);
	assert_int_equal(repo_manifest(s.w.repo,
	    edit_find_snap(t, &w_group, W_TIME), 0, &m), 0);
	assert_string_equal(m->verify_state, "failed");
	assert_string_equal(m->verify_upid, UPID);
	assert_string_equal(m->notes, "kept");
	manifest_unref(m);
	tree_unref(t);
	world_check(&s.w);
	assert_int_equal(s.a->ops->record_verify(s.a, &w_group, W_TIME,
	    VERIFY_OK, "no task"), -EINVAL);
	assert_int_equal(s.a->ops->record_verify(s.a, &w_group, W_TIME + 1,
	    VERIFY_OK, UPID), -ENOENT);
	end(&s);
}

static void
what_is_in_doubt_is_known_no_more(void **state)
{
	const struct digest d[] = {digest_of("a", 1), digest_of("b", 1)};
	struct setting s;

	(void)state;
	begin(&s);
	known_add(s.known, &d[0]);
	known_add(s.known, &d[1]);
	assert_int_equal(s.a->ops->doubt(s.a, d, 1), 0);
	assert_false(known_has(s.known, &d[0]));
	assert_true(known_has(s.known, &d[1]));
	end(&s);
}

static void
collections_ask_the_guard(void **state)
{
	const struct digest d[] = {digest_of("a", 1), digest_of("b", 1)};
	bool spared[2] = {false, false};
	struct setting s;
	uint64_t hold;

	(void)state;
	begin(&s);
	known_add(s.known, &d[0]);
	hold = guard_hold(s.guard);
	assert_int_equal(s.a->ops->gc_begin(s.a), 0);
	assert_int_equal(s.a->ops->gc_begin(s.a), -EBUSY);
	assert_int_equal(guard_mark(s.guard, &d[1]), 0);
	assert_int_equal(s.a->ops->gc_condemn(s.a, d, 2, spared), 0);
	assert_false(spared[0]);
	assert_true(spared[1]);
	assert_false(known_has(s.known, &d[0]));
	assert_int_equal(s.a->ops->gc_settle(s.a, true), 0);
	s.a->ops->gc_end(s.a);
	assert_false(guard_is_collecting(s.guard));
	guard_release(s.guard, hold);
	end(&s);
}

static void
without_a_guard_nothing_is_collected(void **state)
{
	struct agent_local o = {0};
	struct agent *a;
	struct world w;

	(void)state;
	world_open(&w, false);
	o.repo = w.repo;
	assert_int_equal(agent_local_new(&o, &a), 0);
	assert_int_equal(a->ops->gc_begin(a), -EOPNOTSUPP);
	a->ops->gc_end(a);
	agent_free(a);
	agent_free(NULL);
	world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_says_where_drafts_are),
	    cmocka_unit_test(a_snapshot_is_forgotten),
	    cmocka_unit_test(
		a_protected_one_keeps_its_group_but_not_the_others),
	    cmocka_unit_test(a_group_goes_in_steps_that_may_stop),
	    cmocka_unit_test(a_namespace_goes_when_it_is_empty),
	    cmocka_unit_test(what_a_verification_found_is_in_the_manifest),
	    cmocka_unit_test(what_is_in_doubt_is_known_no_more),
	    cmocka_unit_test(collections_ask_the_guard),
	    cmocka_unit_test(without_a_guard_nothing_is_collected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
