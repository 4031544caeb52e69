/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "gc_world.h"
#include "repo/guard.h"

#include "../cm.h"

static int
setup_mem(void **state)
{
	*state = malloc(sizeof(struct gc_world));
	gc_world_open(*state, false);
	return 0;
}

static int
teardown(void **state)
{
	gc_world_close(*state);
	free(*state);
	return 0;
}

#define A1 GC_INDEX("host/a", "01", "root.pxar.didx")
#define A2 GC_INDEX("host/a", "02", "root.pxar.didx")
#define B1 GC_INDEX("ns/x/ns/y/vm/100", "01", "disk.img.fidx")

static void
put_chunks(struct gc_world *w, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		gc_put_chunk(w, i);
}

static void
expect_chunks(struct gc_world *w, uint64_t from, uint64_t to, bool there)
{
	for (uint64_t i = from; i < to; i++)
		if (gc_has_chunk(w, i) != there)
			fail_msg("chunk %u: %s", (unsigned)i, there ? "gone" :
			    "still there");
}

/* Three indices, in and outside of namespaces, finished or not; garbage of two
 * ages. */
static void
put_some(struct gc_world *w)
{
	put_chunks(w, 0, 100);
	gc_put_index(w, A1, 0, 30);
	gc_put_index(w, A2, 20, 40);
	gc_put_index(w, B1, 40, 50);
}

static void
test_garbage_goes(void **state)
{
	struct gc_world *w = *state;

	put_some(w);
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 0, 50, true);
	expect_chunks(w, 50, 100, false);
	assert_int_equal(w->res.chunks, 100);
	assert_int_equal(w->res.bytes, 1000);
	assert_int_equal(w->res.removed, 50);
	assert_int_equal(w->res.removed_bytes, 500);
	assert_int_equal(w->res.referenced, 50);
	assert_int_equal(w->res.indices, 3);
	assert_int_equal(w->res.index_data_bytes, 6000);
	assert_int_equal(w->res.missing, 0);
	assert_int_equal(w->n_told, 0);
	/* .cnt/, .chunks/, the indices, one batch; nothing else. */
	assert_int_equal(w->f->n[STORE_LIST], 2);
	assert_int_equal(w->f->n[STORE_GET], 3);
	assert_int_equal(w->f->n[STORE_DELETE], 1);
	assert_int_equal(w->f->n[STORE_PUT] + w->f->n[STORE_STAT], 0);
	/* Again: there is nothing to do, and nothing to read. */
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 0);
	assert_int_equal(w->res.chunks, 50);
	assert_int_equal(w->res.indices, 3);
	assert_int_equal(w->res.indices_reused, 3);
	assert_int_equal(w->res.index_data_bytes, 6000);
	assert_int_equal(w->f->n[STORE_LIST], 2);
	assert_int_equal(w->f->n[STORE_GET] + w->f->n[STORE_DELETE], 0);
	expect_chunks(w, 0, 50, true);
}

static void
test_young_stays(void **state)
{
	struct gc_world *w = *state;

	put_some(w);
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 0, 100, true);
	assert_int_equal(w->res.pending, 50);
	assert_int_equal(w->res.pending_bytes, 500);
	w->f->age = GC_CUTOFF_DEFAULT - 60;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.pending, 50);
	w->f->age = GC_CUTOFF_DEFAULT + 60;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 50);
	expect_chunks(w, 50, 100, false);
}

/* Clocks that are wrong, in either way, delete nothing too early. */
static void
test_clocks(void **state)
{
	struct gc_world *w = *state;

	put_some(w);
	w->f->age = -100000;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.pending, 50);
	/* The store is an hour behind: what it calls old is not. */
	w->f->age = GC_CUTOFF_DEFAULT + 1800;
	w->f->skew = -3600;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.pending, 50);
	/* It is ahead, or we are behind: our own clock counts. */
	w->f->age = GC_CUTOFF_DEFAULT - 1800;
	w->f->skew = 3600;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.pending, 50);
	w->f->age = GC_CUTOFF_DEFAULT + 1800;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 50);
	/* No age at all: no clock. */
	put_chunks(w, 50, 100);
	w->o.cutoff = 0;
	w->f->age = -100000;
	w->f->skew = -100000;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 50);
}

static void
put_bytes(struct gc_world *w, const char *key, const void *p, size_t len)
{
	static const struct store_put how;

	assert_int_equal(store_put(w->f->s.below, key, p, len, &how, NULL), 0);
}

static void
expect_refused(struct gc_world *w, const char *what, int err)
{
	int r = gc_world_run(w);

	if (r != err)
		fail_msg("%s: %d", what, r);
	if (w->f->n[STORE_DELETE] != 0 || w->res.removed != 0)
		fail_msg("%s: something was deleted", what);
	expect_chunks(w, 0, 100, true);
}

/* What an index that is there refers to is to be known. */
static void
test_damaged_index(void **state)
{
	static const size_t bits[] = {0, 40, 4096, 4100, 4135};
	struct gc_world *w = *state;
	size_t len;
	uint8_t *p = gc_index_file(60, 70, 1, &len);

	w->o.cutoff = 0;
	put_some(w);
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		p[bits[i]] ^= 4;
		put_bytes(w, GC_INDEX("host/b", "01", "x.img.fidx"), p, len);
		expect_refused(w, "a flipped bit", -EBADMSG);
		p[bits[i]] ^= 4;
	}
	for (size_t cut = 0; cut < len; cut += cut < 4096 ? 1365 : 7) {
		put_bytes(w, GC_INDEX("host/b", "01", "x.img.fidx"), p, cut);
		expect_refused(w, "cut off", -EBADMSG);
	}
	put_bytes(w, GC_INDEX("host/b", "01", "x.img.fidx"), p, len);
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 60, 70, true);
	expect_chunks(w, 70, 100, false);
	free(p);
}

static void
test_unreadable_index(void **state)
{
	static const int errors[] = {-EIO, -EACCES, -ETIMEDOUT, -EHOSTDOWN};
	struct gc_world *w = *state;

	w->o.cutoff = 0;
	put_some(w);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		w->f->fail_get = errors[i];
		expect_refused(w, "an error", errors[i]);
	}
	w->f->fail_get = 0;
	/* Listed, and yet it is not there: one of the two is a lie. */
	w->f->gone = A2;
	expect_refused(w, "listed, not there", -EIO);
	w->f->gone = NULL;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 50);
}

/* Forgotten in the meantime. */
static void
test_vanished_index(void **state)
{
	struct gc_world *w = *state;

	w->o.cutoff = 0;
	put_some(w);
	w->f->vanish = A1;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.indices, 2);
	expect_chunks(w, 0, 20, false);
	expect_chunks(w, 20, 50, true);
}

/* Wherever an index is, it counts. */
static void
test_stray_indices(void **state)
{
	static const char *const keys[] = {
	    ".cnt/x.fidx",
	    ".cnt/host/a/x.didx",
	    ".cnt/host/a/not-a-time/x.didx",
	    ".cnt/ns/bad name/host/a/2024-01-01T00:00:00Z/x.didx",
	    ".cnt/host/a/2024-13-01T00:00:00Z/x.didx",
	    ".cnt/other/deep/er/x.y.fidx",
	    GC_INDEX("host/a", "01", "sub/x.fidx"),
	};
	struct gc_world *w = *state;

	w->o.cutoff = 0;
	put_some(w);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		gc_put_index(w, keys[i], 60 + 2 * i, 62 + 2 * i);
	gc_put(w, ".cnt/host/a/x.fidx.tmp", "not one");
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 60, 60 + 2 * ARRAY_SIZE(keys), true);
	assert_int_equal(w->count[GC_STRAY_INDEX], ARRAY_SIZE(keys));
	assert_int_equal(w->res.indices, 3 + ARRAY_SIZE(keys));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_non_null(gc_told(w, GC_STRAY_INDEX, keys[i]));
	/* One that is none keeps everything. */
	put_chunks(w, 90, 100);
	gc_put(w, ".cnt/README.fidx", "hello");
	assert_int_equal(gc_world_run(w), -EBADMSG);
	expect_chunks(w, 90, 100, true);
}

static void
test_copies_once(void **state)
{
	struct gc_world *w = *state;
	size_t len;
	void *p = gc_index_file(0, 10, 5, &len);

	w->o.cutoff = 0;
	put_chunks(w, 0, 12);
	put_bytes(w, A1, p, len);
	put_bytes(w, A2, p, len);
	put_bytes(w, B1, p, len);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->f->n[STORE_GET], 1);
	assert_int_equal(w->res.indices, 3);
	assert_int_equal(w->res.index_data_bytes, 3000);
	assert_int_equal(w->res.removed, 2);
	expect_chunks(w, 0, 10, true);
	/* Also if the one that is read goes in that moment. */
	w->o.work = NULL;
	w->f->vanish = A1;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.indices, 2);
	expect_chunks(w, 0, 10, true);
	free(p);
}

static void
bad_key(char out[128], uint64_t n, int i)
{
	snprintf(out, 128, "%s.%d.bad", gc_key(n), i);
}

/* Referred to or not, with a good chunk or without, old or young. */
static void
test_set_aside(void **state)
{
	struct gc_world *w = *state;
	char key[6][128];

	gc_put_index(w, A1, 0, 2);
	gc_put_chunk(w, 0);
	gc_put_chunk(w, 2);
	for (int i = 0; i < 4; i++)
		bad_key(key[i], (uint64_t)i, 0);
	bad_key(key[4], 1, 9);
	bad_key(key[5], 0, 3);
	for (int i = 0; i < 6; i++)
		gc_put(w, key[i], "damaged");
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed_bad + w->res.removed, 0);
	assert_int_equal(w->res.bad, 6);
	w->f->age = GC_CUTOFF_DEFAULT + 60;
	assert_int_equal(gc_world_run(w), 0);
	/* All that is left of chunk 1. */
	assert_true(gc_has(w, key[1]));
	assert_true(gc_has(w, key[4]));
	/* There is a good one, or nobody cares. */
	assert_false(gc_has(w, key[0]));
	assert_false(gc_has(w, key[5]));
	assert_false(gc_has(w, key[2]));
	assert_false(gc_has(w, key[3]));
	assert_int_equal(w->res.removed_bad, 4);
	assert_int_equal(w->res.removed_bad_bytes, 28);
	assert_int_equal(w->res.removed, 1);
	assert_int_equal(w->f->n[STORE_DELETE], 1);
	/* Missing is missing. */
	assert_int_equal(w->res.missing, 1);
	/* A good one is back: then it goes. */
	gc_put_chunk(w, 1);
	assert_int_equal(gc_world_run(w), 0);
	assert_false(gc_has(w, key[1]));
	assert_false(gc_has(w, key[4]));
	assert_int_equal(w->res.missing, 0);
}

static void
test_strangers(void **state)
{
	struct gc_world *w = *state;
	char hex[DIGEST_HEX_LEN + 1], upper[DIGEST_HEX_LEN + 1];
	char key[12][160];
	struct digest d = gc_digest(7);
	size_t n = 0;

	digest_hex(&d, hex);
	for (size_t i = 0; i <= DIGEST_HEX_LEN; i++)
		upper[i] = (char)(hex[i] >= 'a' ? hex[i] - 'a' + 'A' : hex[i]);
	put_some(w);
#define STRANGE(...) snprintf(key[n++], sizeof(key[0]), ".chunks/" __VA_ARGS__)
	STRANGE("0000/%s", hex);
	STRANGE("%.4s/%s", hex, upper);
	STRANGE("%.4s/%.63s", hex, hex);
	STRANGE("%.4s/%s0", hex, hex);
	STRANGE("%.4s/%s.bad", hex, hex);
	STRANGE("%.4s/%s.10.bad", hex, hex);
	STRANGE("%.4s/%s.0.bad.bak", hex, hex);
	STRANGE("%.4s/%s.using", hex, hex);
	STRANGE("%.4s/%s.tmp_AbCdEf", hex, hex);
	STRANGE("%.4s/sub/%s", hex, hex);
	STRANGE("%s", hex);
	STRANGE("README");
	for (size_t i = 0; i < n; i++)
		gc_put(w, key[i], "somebody's");
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.strange, n);
	assert_int_equal(w->res.removed, 50);
	for (size_t i = 0; i < n; i++) {
		assert_true(gc_has(w, key[i]));
		assert_non_null(gc_told(w, GC_STRANGE, key[i]));
	}
	/* Another prefix is not the chunk: that is missing without its own. */
	gc_remove(w, gc_key(7));
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.missing, 1);
}

static void
test_missing(void **state)
{
	struct gc_world *w = *state;
	const struct gc_told *t;

	put_some(w);
	gc_remove(w, gc_key(3));
	gc_remove(w, gc_key(25));
	gc_remove(w, gc_key(45));
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.missing, 3);
	/* One of them two archives lack. */
	assert_int_equal(w->count[GC_MISSING], 4);
	t = gc_told(w, GC_MISSING, gc_key(45));
	assert_string_equal(t->text,
	    "ns/x/ns/y/vm/100/2024-01-01T00:00:00Z/disk.img.fidx");
	t = gc_told(w, GC_MISSING, gc_key(3));
	assert_string_equal(t->text,
	    "host/a/2024-01-01T00:00:00Z/root.pxar.didx");
	/* Named again when nothing else had to be read. */
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.indices_reused, 3);
	assert_int_equal(w->count[GC_MISSING], 4);
	/* A listing that breaks off says nothing of the rest. */
	w->f->fail_list = -EIO;
	w->f->fail_list_at = 1;
	assert_int_equal(gc_world_run(w), -EIO);
	assert_int_equal(w->res.missing, 0);
	assert_int_equal(w->n_told, 0);
}

static void
test_many_missing(void **state)
{
	struct gc_world *w = *state;

	gc_put_index(w, A1, 0, 1500);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.missing, 1500);
	assert_int_equal(w->count[GC_MISSING], 1000);
}

static void
test_refused_keys(void **state)
{
	struct gc_world *w = *state;
	char tail[3];

	put_some(w);
	snprintf(tail, sizeof(tail), "%s", gc_key(77) + strlen(gc_key(77)) - 2);
	w->f->refuse = tail;
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 1);
	assert_true(gc_has_chunk(w, 77));
	assert_true(w->res.undeleted >= 1);
	assert_int_equal(w->res.undeleted + w->res.removed, 50);
	assert_int_equal(w->count[GC_UNDELETED], w->res.undeleted);
	assert_string_equal(gc_told(w, GC_UNDELETED, gc_key(77))->text,
	    "AccessDenied");
	w->f->refuse = NULL;
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 0, 50, true);
	expect_chunks(w, 50, 100, false);
}

/* A store that deletes nothing is not asked for ever. */
static void
test_refused_all(void **state)
{
	struct gc_world *w = *state;

	put_chunks(w, 0, 5000);
	w->f->refuse = "";
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), -EIO);
	assert_int_equal(w->f->n[STORE_DELETE], 2);
	assert_int_equal(w->res.undeleted, 2000);
	assert_int_equal(w->res.removed, 0);
}

/* Nobody knows what became of a request without an answer. */
static void
test_no_answer(void **state)
{
	struct gc_world *w = *state;
	uint64_t hold;
	struct digest d = gc_digest(50);
	uint64_t begin;

	put_chunks(w, 0, 2500);
	gc_put_index(w, A1, 0, 50);
	w->f->fail_delete = -ETIMEDOUT;
	w->o.cutoff = 0;
	guard_set_grace(w->guard, 300);
	begin = clock_mono_ms();
	assert_int_equal(gc_world_run(w), -ETIMEDOUT);
	assert_int_equal(w->f->n[STORE_DELETE], 1);
	assert_int_equal(w->res.removed, 0);
	/* A writer is told only when that is over. */
	hold = guard_hold(w->guard);
	assert_int_equal(guard_mark(w->guard, &d), 0);
	assert_true(clock_mono_ms() - begin >= 300);
	guard_release(w->guard, hold);
	w->f->fail_delete = 0;
	assert_int_equal(gc_world_run(w), 0);
	expect_chunks(w, 0, 50, true);
	expect_chunks(w, 51, 2500, false);
}

static void
test_interrupted(void **state)
{
	struct gc_world *w = *state;
	atomic_bool stop = true;

	put_chunks(w, 0, 4000);
	gc_put_index(w, A1, 0, 30);
	gc_put_index(w, A2, 30, 60);
	w->o.cutoff = 0;
	w->o.stop = &stop;
	assert_int_equal(gc_world_run(w), -ECANCELED);
	assert_int_equal(w->f->n[STORE_DELETE], 0);
	stop = false;
	w->f->stop_at_delete = &stop;
	assert_int_equal(gc_world_run(w), -ECANCELED);
	assert_int_equal(w->f->n[STORE_DELETE], 1);
	assert_int_equal(w->res.removed, 1000);
	/* What was marked is not read again. */
	stop = false;
	w->f->stop_at_delete = NULL;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.indices_reused, 2);
	assert_int_equal(w->f->n[STORE_GET], 0);
	assert_int_equal(w->res.removed, 2940);
	expect_chunks(w, 0, 60, true);
	expect_chunks(w, 60, 4000, false);
}

static void
test_dry_run(void **state)
{
	struct gc_world *w = *state;
	struct gc_result dry;
	char bad[128];

	put_some(w);
	bad_key(bad, 60, 1);
	gc_put(w, bad, "damaged");
	w->o.cutoff = 0;
	w->o.dry_run = true;
	w->o.agent = NULL;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->f->n[STORE_DELETE] + w->f->n[STORE_PUT] +
	    w->f->n[STORE_TOUCH] + w->f->n[STORE_COPY], 0);
	assert_int_equal(w->count[GC_WOULD], 51);
	expect_chunks(w, 0, 100, true);
	dry = w->res;
	w->o.dry_run = false;
	w->o.agent = w->agent;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(dry.removed, 50);
	assert_int_equal(dry.removed, w->res.removed);
	assert_int_equal(dry.removed_bytes, w->res.removed_bytes);
	assert_int_equal(dry.removed_bad, w->res.removed_bad);
	assert_int_equal(dry.removed_bad_bytes, w->res.removed_bad_bytes);
}

static void
test_spared(void **state)
{
	struct gc_world *w = *state;
	uint64_t hold;

	put_some(w);
	hold = guard_hold(w->guard);
	for (uint64_t i = 60; i < 70; i++) {
		struct digest d = gc_digest(i);

		assert_int_equal(guard_mark(w->guard, &d), 0);
	}
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.spared, 10);
	assert_int_equal(w->res.removed, 40);
	expect_chunks(w, 60, 70, true);
	guard_release(w->guard, hold);
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 10);
	/* Two at once are one too many. */
	assert_int_equal(guard_begin(w->guard), 0);
	assert_int_equal(gc_world_run(w), -EBUSY);
	guard_end(w->guard);
	assert_int_equal(gc_world_run(w), 0);
}

/* A server wants it to be there. */
static void
test_zero_chunk(void **state)
{
	static const char zero[] = ".chunks/bb9f/bb9f8df61474d25e71fa00722318cd"
	    "387396ca1736605e1248821cc0de3d3af8";
	struct gc_world *w = *state;

	gc_put(w, zero, "zeroes");
	gc_put_chunk(w, 1);
	w->o.cutoff = 0;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->res.removed, 1);
	assert_true(gc_has(w, zero));
}

static void
test_single_deletes(void **state)
{
	struct gc_world *w = *state;

	put_chunks(w, 0, 350);
	w->o.cutoff = 0;
	w->o.single_deletes = true;
	assert_int_equal(gc_world_run(w), 0);
	assert_int_equal(w->f->n[STORE_DELETE], 4);
	assert_int_equal(w->res.removed, 350);
}

/* Of many requests the first error is told, which another that had no answer
 * may hide behind. */
static void
test_single_no_answer(void **state)
{
	struct gc_world *w = *state;
	struct digest d = gc_digest(20);
	uint64_t hold, begin;

	put_chunks(w, 0, 50);
	w->o.cutoff = 0;
	w->o.single_deletes = true;
	w->f->fail_delete = -EACCES;
	guard_set_grace(w->guard, 300);
	begin = clock_mono_ms();
	assert_int_equal(gc_world_run(w), -EACCES);
	hold = guard_hold(w->guard);
	assert_int_equal(guard_mark(w->guard, &d), 0);
	assert_true(clock_mono_ms() - begin >= 300);
	guard_release(w->guard, hold);
}

#define MEM(fn) cmocka_unit_test_setup_teardown(fn, setup_mem, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		MEM(test_garbage_goes),
		MEM(test_young_stays),
		MEM(test_clocks),
		MEM(test_damaged_index),
		MEM(test_unreadable_index),
		MEM(test_vanished_index),
		MEM(test_stray_indices),
		MEM(test_copies_once),
		MEM(test_set_aside),
		MEM(test_strangers),
		MEM(test_missing),
		MEM(test_many_missing),
		MEM(test_refused_keys),
		MEM(test_refused_all),
		MEM(test_no_answer),
		MEM(test_interrupted),
		MEM(test_dry_run),
		MEM(test_spared),
		MEM(test_zero_chunk),
		MEM(test_single_deletes),
		MEM(test_single_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
