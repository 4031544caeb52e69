/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../repo/slow_store.h"
#include "../vfs/world.h"
#include "draft/draft_priv.h"
#include "draft_world.h"
#include "repo/repo.h"

static const struct group_name h1 = {.type = BACKUP_HOST, .id = "h1"};
static const struct group_name h2 = {.type = BACKUP_HOST, .id = "h2"};

/* One process at a time has the state of a store. */
static void
test_lock(void **state)
{
	struct drafts_opts o = {.identity = "mem:"};
	struct draft_world w;
	struct drafts *other;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	o.state = w.dir.path;
	o.uploads = w.uploads;
	assert_int_equal(drafts_open(w.repo, &o, &other), -EBUSY);
	/* Another store has a directory of its own. */
	o.identity = "other:";
	assert_int_equal(drafts_open(w.repo, &o, &other), 0);
	drafts_free(other);
	draft_world_close(&w);
}

static void
test_groups(void **state)
{
	struct draft_world w;
	struct draft *d, *again;
	uint64_t root;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	assert_int_equal(drafts_get(w.ds, &h2, &d), -ENOENT);
	slow_store_put(w.s, ".cnt/host/h2/owner", "root@pam\n", 9);
	assert_int_equal(repo_refresh(w.repo, NULL), 0);
	assert_int_equal(drafts_get(w.ds, &h2, &d), 0);
	assert_int_equal(drafts_get(w.ds, &h2, &again), 0);
	assert_ptr_equal(d, again);
	assert_ptr_not_equal(d, w.d);
	root = draft_root(d);
	assert_ptr_equal(drafts_of(w.ds, root), d);
	assert_ptr_equal(drafts_of(w.ds, draft_root(w.d)), w.d);
	assert_null(drafts_of(w.ds, 1));
	assert_null(drafts_of(w.ds, root | (uint64_t)1 << 63));
	assert_null(drafts_of(w.ds, DRAFT_INO | (uint64_t)9999 <<
	    DRAFT_SLOT_SHIFT));
	assert_int_equal(drafts_remove(w.ds, &h2), 0);
	/* It may come back; then it is empty. */
	assert_int_equal(drafts_get(w.ds, &h2, &again), 0);
	assert_true(draft_root(again) == root);
	draft_world_close(&w);
}

static void
test_remove(void **state)
{
	struct draft_world w;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(dw_make(&w, "new", S_IFDIR | 0755), 0);
	assert_int_equal(drafts_remove(w.ds, &h1), -EBUSY);
	assert_int_equal(dw_rmdir(&w, "new"), 0);
	assert_int_equal(drafts_remove(w.ds, &h1), -EBUSY);
	assert_int_equal(draft_publish(w.d, T2), 0);
	assert_int_equal(drafts_remove(w.ds, &h1), 0);
	assert_int_equal(dw_make(&w, "new", S_IFDIR | 0755), -ESTALE);
	draft_world_close(&w);
}

static void
count_replaced(void *arg, const struct group_name *g)
{
	assert_string_equal(g->id, "h1");
	++*(unsigned *)arg;
}

static bool
has_snap(struct draft_world *w, int64_t time)
{
	struct tree *t = repo_tree(w->repo);
	bool has = edit_find_snap(t, &h1, time) != NULL;

	tree_unref(t);
	return has;
}

/* What was changed, or is in use, keeps the snapshot that it is a view of. */
static void
test_forget(void **state)
{
	struct draft_file *f;
	struct draft_world w;
	unsigned told = 0;
	struct stat st;
	uint64_t dir;
	const char *name;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(drafts_forget(w.ds, &h1, T1 + 1), -ENOENT);
	assert_int_equal(dw_parent(&w, "a.conf", &dir, &name), 0);
	assert_int_equal(draft_lookup(w.d, dir, name, 0, &st), 0);
	assert_int_equal(draft_open(w.d, st.st_ino, O_RDONLY, 0, &f), 0);
	assert_int_equal(drafts_forget(w.ds, &h1, T1), -EBUSY);
	draft_close(f);
	dw_drop(&w, st.st_ino);
	dw_drop(&w, dir);
	assert_int_equal(dw_make(&w, "new", S_IFDIR | 0755), 0);
	assert_int_equal(drafts_forget(w.ds, &h1, T1), -EBUSY);
	assert_int_equal(drafts_forget_group(w.ds, &h1), -EBUSY);
	assert_true(has_snap(&w, T1));
	assert_int_equal(draft_publish(w.d, T2), 0);
	/* It is a view of the new one now. */
	assert_int_equal(drafts_forget(w.ds, &h1, T1), 0);
	assert_false(has_snap(&w, T1));
	drafts_refreshed(w.ds, count_replaced, &told);
	assert_int_equal(told, 0);
	assert_int_equal(dw_find(&w, "new", &st), 0);
	/* And then of nothing. */
	assert_int_equal(drafts_forget(w.ds, &h1, T2), 0);
	assert_false(has_snap(&w, T2));
	assert_int_equal(dw_find(&w, "new", &st), -ENOENT);
	drafts_refreshed(w.ds, count_replaced, &told);
	drafts_refreshed(w.ds, count_replaced, &told);
	assert_int_equal(told, 1);
	assert_int_equal(dw_make(&w, "other", S_IFDIR | 0755), 0);
	assert_int_equal(draft_publish(w.d, T3), 0);
	assert_int_equal(drafts_forget_group(w.ds, &h1), 0);
	assert_int_equal(dw_make(&w, "new", S_IFDIR | 0755), -ESTALE);
	assert_int_equal(drafts_forget_group(w.ds, &h1), -ENOENT);
	draft_world_close(&w);
}

/* The store fails somewhere on the way: then it is a view of what is left. */
static void
test_forget_fails(void **state)
{
	struct draft_world w;
	struct stat st;

	(void)state;
	draft_world_open(&w, draft_world_tree(2));
	assert_int_equal(repo_protect(w.repo, &h1, T1, true), 0);
	assert_int_equal(drafts_forget(w.ds, &h1, T1), -EPERM);
	assert_int_equal(dw_find(&w, "root/d0", &st), 0);
	assert_int_equal(dw_make(&w, "new", S_IFDIR | 0755), 0);
	draft_world_close(&w);
}

static void
count(void *arg, const struct draft_state *s)
{
	unsigned *n = arg;

	assert_string_equal(s->group.id, "h1");
	assert_true(s->changed && s->since > 0 && s->staged == 5);
	++*n;
}

static void
test_stats(void **state)
{
	struct drafts_stats st;
	struct draft_world w;
	unsigned n = 0;
	int i;

	(void)state;
	draft_world_open(&w, draft_world_empty());
	drafts_each(w.ds, count, &n);
	assert_int_equal(n, 0);
	assert_int_equal(dw_make(&w, "a", S_IFREG | 0644), 0);
	assert_int_equal(dw_write(&w, "a", "12345", 5, 0), 0);
	for (i = 1; i < 3; i++) {
		drafts_each(w.ds, count, &n);
		assert_int_equal(n, i);
		drafts_stats(w.ds, &st);
		assert_int_equal(st.changed, 1);
		assert_int_equal(st.unsent, 5);
		assert_true(st.oldest > 0 && st.staged >= 5);
		draft_world_again(&w);
	}
	assert_int_equal(dw_unlink(&w, "a"), 0);
	drafts_stats(w.ds, &st);
	assert_int_equal(st.unsent, 0);
	draft_world_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lock),
	    cmocka_unit_test(test_groups),
	    cmocka_unit_test(test_remove),
	    cmocka_unit_test(test_forget),
	    cmocka_unit_test(test_forget_fails),
	    cmocka_unit_test(test_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
