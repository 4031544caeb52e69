/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/num.h"

#include "../cm.h"

#define T1 RIG_T
#define T2 (RIG_T + 60)

static void
begin(struct rig *g)
{
	const size_t len = 6 * MIB;
	uint8_t *p = malloc(len);
	int r;

	assert_non_null(p);
	rig_noise(p, len, 3);
	rig_begin(g, false);
	rig_open(g);
	fs_mkdir(g, "root");
	fs_write(g, "root/big", p, 300 * KIB);
	fs_text(g, "root/a", "a");
	fs_text(g, "root/z", "z");
	fs_write(g, "a.img", p, len);
	fs_text(g, "a.conf", "1");
	r = draft_publish(g->d, T1);
	assert_int_equal(r, 0);
	rig_noise(p, len, 4);
	fs_pwrite(g, "a.img", p, 2000, 5 * MIB);
	fs_write(g, "s", p, 1500 * KIB);
	fs_write(g, "root/new", p, 500 * KIB);
	fs_text(g, "root/a", "other");
	fs_unlink(g, "root/z");
	fs_text(g, "a.conf", "2");
	free(p);
}

/* What is there once all is well; the chunks that this takes. */
static uint64_t
ideal(void)
{
	struct rig g;
	uint64_t n;

	begin(&g);
	gate_reset(g.gate);
	assert_int_equal(draft_publish(g.d, T2), 0);
	n = g.gate->chunk_puts;
	assert_true(n >= 4);
	rig_end(&g);
	return n;
}

/* After a publish that failed in some way: it can be done again, and nothing
 * that has arrived is sent again. */
static void
go_on(struct rig *g, uint64_t sent, uint64_t want, const char *before,
    bool counts)
{
	char *now, *snap;
	int r;

	now = dump_draft(g);
	dump_equal(now, before);
	free(now);
	r = draft_publish(g->d, T2);
	/* It may turn out to have been published after all. */
	if (r != -EEXIST && r != 0)
		fail_msg("again: %s", strerror(-r));
	if (counts && r == 0)
		assert_true(g->gate->chunk_puts + sent <= want + 1);
	now = dump_draft(g);
	snap = dump_snap(g, T2);
	dump_equal(now, snap);
	dump_equal(before, snap);
	free(now);
	free(snap);
	fs_text(g, "root/after", "x");
	assert_int_equal(draft_publish(g->d, T2 + 1), 0);
}

/* True if a call failed. */
static bool
fail_at(uint64_t n, enum gate_mode mode, bool restart, uint64_t want)
{
	char *before, *old, *snap;
	struct rig g;
	uint64_t sent;
	bool failed;
	int r;

	begin(&g);
	before = dump_draft(&g);
	old = dump_snap(&g, T1);
	gate_reset(g.gate);
	g.gate->mode = mode;
	g.gate->fail_at = n;
	r = draft_publish(g.d, T2);
	failed = g.gate->calls >= n;
	sent = g.gate->chunk_puts;
	gate_reset(g.gate);
	if (!failed)
		assert_int_equal(r, 0);
	/* What was there is as it was, and what is there is whole. */
	snap = dump_snap(&g, T1);
	dump_equal(snap, old);
	free(snap);
	if (r == 0) {
		snap = dump_snap(&g, T2);
		dump_equal(snap, before);
		free(snap);
	} else {
		assert_int_equal(g.published, 1);
		if (restart)
			rig_restart(&g);
		go_on(&g, sent, want, before, !restart);
	}
	free(before);
	free(old);
	rig_end(&g);
	return failed;
}

static void
everywhere(enum gate_mode mode, bool restart)
{
	uint64_t n, want = ideal();

	for (n = 1; fail_at(n, mode, restart, want); n++)
		;
	print_message("%u requests\n", (unsigned)n - 1);
	assert_true(n > 10);
}

static void
test_fail(void **state)
{
	(void)state;
	everywhere(GATE_FAIL, false);
}

static void
test_lost(void **state)
{
	(void)state;
	everywhere(GATE_LOST, false);
}

static void
test_dead(void **state)
{
	(void)state;
	everywhere(GATE_DEAD, false);
}

static void
test_dead_and_restarted(void **state)
{
	(void)state;
	everywhere(GATE_DEAD, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fail),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_dead_and_restarted),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
