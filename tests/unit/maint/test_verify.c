/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "verify_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../repo/samples.h"
#include "../repo/slow_store.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "maint/agent.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "repo/repo.h"

#include "../cm.h"

#define C WORLD_CHUNK
#define N 6		/* chunks of an image */
#define DIR1 ".cnt/host/h1/2024-01-01T00:00:00Z/"
#define DIR2 ".cnt/ns/a/host/h1/2024-01-02T00:00:00Z/"
#define SNAP1 "host/h1/2024-01-01T00:00:00Z"
#define SNAP2 "ns/a/host/h1/2024-01-02T00:00:00Z"

static uint8_t image[N * C];

/* Two snapshots in two namespaces, whose images have all but one chunk in
 * common: N + 1 chunks, and one of a stream. */
static struct slow_store *
two_snaps(void)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;

	sample_bytes(image, sizeof(image), 7);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_fixed(&m, "disk.img.fidx", image, sizeof(image));
	snap_blob(&m, "a.conf.blob", "conf\n", 5);
	snap_finish(&m, NULL);
	image[2 * C] ^= 1;
	snap_begin(&m, s, "a", BACKUP_HOST, "h1", T2);
	snap_fixed(&m, "disk.img.fidx", image, sizeof(image));
	snap_dynamic(&m, "stream.didx", "raw stream", 10);
	snap_finish(&m, NULL);
	image[2 * C] ^= 1;
	return s;
}

static void
chunk_key(unsigned i, char key[KEY_MAX + 1])
{
	world_chunk(image + i * C, C, key);
}

static char *
state_of(struct rig *g, enum backup_type type, const char *ns, int64_t time)
{
	struct tree *t = repo_tree(g->repo);
	const struct tree_group *group = tree_find_group(tree_find_ns(t, ns),
	    type, "h1");
	struct manifest *m;
	char *state;

	assert_int_equal(repo_manifest(g->repo, tree_find_snap(group, time), 0,
	    &m), 0);
	state = m->verify_state != NULL ? strdup(m->verify_state) : NULL;
	manifest_unref(m);
	tree_unref(t);
	return state;
}

static void
all_is_good_and_each_chunk_is_read_once(void **state)
{
	struct rig g;
	char *text;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	g.s->gets = g.s->fresh = 0;
	rig_is(&g, VERIFY_FULL, SNAP1 " is good, recorded\n"
	    SNAP2 " is good, recorded\n");
	assert_int_equal(g.res.ok, 2);
	assert_int_equal(g.res.chunks, N + 2);
	assert_int_equal(g.res.bytes, (N + 1) * C + 10);
	assert_int_equal(g.res.objects, 6);
	assert_int_equal(g.res.recorded, 2);
	/* And two of a manifest to be changed. */
	assert_int_equal(g.s->fresh, N + 2 + 6 + 2);
	assert_int_equal(g.progress, (N + 1) * C + 10);
	text = state_of(&g, BACKUP_HOST, "a", T2);
	assert_string_equal(text, "ok");
	free(text);
	rig_close(&g);
}

static void
a_flipped_bit_is_found_where_it_is(void **state)
{
	char key[KEY_MAX + 1], *text;
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	chunk_key(3, key);
	rig_flip(g.s, key, -5);
	rig_is(&g, VERIFY_FULL,
	    "damaged " SNAP1 "/disk.img.fidx 196608+65536: crc is wrong\n"
	    "damaged " SNAP2 "/disk.img.fidx 196608+65536: crc is wrong\n"
	    SNAP1 " is damaged, recorded\n" SNAP2 " is damaged, recorded\n");
	assert_int_equal(g.res.damaged, 1);
	assert_int_equal(g.res.failed, 2);
	text = state_of(&g, BACKUP_HOST, "", T1);
	assert_string_equal(text, "failed");
	free(text);
	/* Nothing is renamed by itself. */
	assert_true(rig_has(g.s, key));
	rig_close(&g);
}

static void
a_chunk_of_one_snapshot_does_not_blame_the_other(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	chunk_key(2, key);
	rig_remove(g.s, key);
	rig_is(&g, VERIFY_FULL,
	    "missing " SNAP1 "/disk.img.fidx 131072+65536: "
	    "is not in the store\n"
	    SNAP1 " is missing, recorded\n" SNAP2 " is good, recorded\n");
	assert_int_equal(g.res.missing, 1);
	assert_int_equal(g.res.damaged, 0);
	rig_close(&g);
}

static void
an_index_is_compared_with_the_manifest(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	/* One digest of the table: that chunk is not there. */
	rig_flip(g.s, DIR1 "disk.img.fidx", -1);
	rig_is(&g, VERIFY_FULL,
	    "damaged " SNAP1 "/disk.img.fidx: its checksum is not what the "
	    "manifest says\n"
	    "missing " SNAP1 "/disk.img.fidx 327680+65536: "
	    "is not in the store\n"
	    SNAP1 " is damaged, recorded\n" SNAP2 " is good, recorded\n");
	rig_close(&g);
}

static void
a_blob_is_compared_with_the_manifest(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	rig_flip(g.s, DIR1 "a.conf.blob", -1);
	rig_is(&g, VERIFY_FULL,
	    "damaged " SNAP1 "/a.conf.blob: its checksum is not what the "
	    "manifest says\n"
	    SNAP1 " is damaged, recorded\n" SNAP2 " is good, recorded\n");
	rig_remove(g.s, DIR1 "a.conf.blob");
	for (int level = VERIFY_EXISTS; level <= VERIFY_FULL; level++) {
		g.o.no_record = true;
		g.o.share = 1000000;
		rig_is(&g, level, "missing " SNAP1 "/a.conf.blob: "
		    "is not in the store\n"
		    SNAP1 " is missing\n" SNAP2 " is good\n");
	}
	rig_close(&g);
}

static void
a_manifest_is_checked(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	rig_flip(g.s, DIR1 "index.json.blob", -1);
	rig_run(&g, VERIFY_FULL);
	assert_non_null(strstr(str_get(&g.text), "damaged " SNAP1
	    "/index.json.blob: "));
	/* There is nothing to record it in. */
	assert_non_null(strstr(str_get(&g.text), SNAP1 " is damaged\n"));
	assert_int_equal(g.res.bad_objects, 1);
	rig_close(&g);
}

/* A dynamic index of one chunk, of which it says another length. */
static void
add_wrong_index(struct snap_maker *m, const char *name, const void *p,
    size_t len, size_t said)
{
	struct digest d = digest_of(p, len);
	const uint8_t uuid[16] = {1};
	char hex[DIGEST_HEX_LEN + 1];
	struct index_writer *w;
	struct buf *b;

	assert_int_equal(index_writer_dynamic(&w), 0);
	assert_int_equal(index_writer_add(w, said, &d), 0);
	assert_int_equal(index_writer_finish(w, uuid, 1, &b), 0);
	index_writer_free(w);
	snap_put(m, name, b->data, b->len);
	d = digest_of(b->data + INDEX_HEADER_LEN, b->len - INDEX_HEADER_LEN);
	buf_unref(b);
	str_addf(&m->files, ",{\"filename\":\"%s\",\"size\":%zu,"
	    "\"csum\":\"%s\",\"crypt-mode\":\"none\"}", name, said,
	    digest_hex(&d, hex));
}

static void
a_length_is_that_of_every_index(void **state)
{
	struct slow_store *s = slow_store_new();
	static uint8_t bytes[C];
	struct snap_maker m;
	struct rig g;

	(void)state;
	sample_bytes(bytes, sizeof(bytes), 3);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_dynamic(&m, "a.didx", bytes, C);
	add_wrong_index(&m, "b.didx", bytes, C, C - 1);
	snap_finish(&m, NULL);
	rig_open(&g, s, NULL);
	for (int level = VERIFY_SIZE; level <= VERIFY_FULL; level++) {
		g.o.no_record = true;
		g.o.share = 1000000;
		rig_is(&g, level, "damaged " SNAP1 "/b.didx 0+65535: is good, "
		    "but not as long as the index says\n"
		    SNAP1 " is damaged\n");
	}
	rig_is(&g, VERIFY_EXISTS, SNAP1 " is good\n");
	rig_close(&g);
}

/* Whatever fails, at any rate: an error says nothing of a chunk. */
static void
errors_damage_nothing(void **state)
{
	static const char *const errors[] = {"EIO", "ETIMEDOUT", "EHOSTDOWN",
	    "EACCES"};
	char rules[256];
	struct rig g;

	(void)state;
	for (unsigned i = 0; i < 24; i++) {
		snprintf(rules, sizeof(rules), "* * error=%s rate=%u%% "
		    "seed=%u\n", errors[i % ARRAY_SIZE(errors)],
		    i % 2 == 0 ? 30 : 80, i);
		rig_open(&g, two_snaps(), "");
		assert_int_equal(repo_refresh(g.repo, NULL), 0);
		rig_rules(&g, rules);
		g.o.no_record = i % 3 == 0;
		g.o.level = i % 5 == 0 ? VERIFY_EXISTS : i % 5 == 1 ?
		    VERIFY_SIZE : VERIFY_FULL;
		verify_run(&g.o, &g.res);
		assert_int_equal(g.res.damaged, 0);
		assert_int_equal(g.res.missing, 0);
		assert_int_equal(g.res.bad_objects, 0);
		assert_int_equal(g.res.failed, 0);
		assert_null(strstr(str_get(&g.text), "damaged"));
		assert_null(strstr(str_get(&g.text), "missing"));
		rig_close(&g);
	}
}

static void
unknown_is_not_recorded(void **state)
{
	char *text;
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), "");
	rig_rules(&g, "get .chunks/* error=EIO\n");
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.unknown, 2);
	assert_int_equal(g.res.recorded, 0);
	assert_int_equal(g.res.unknown_chunks, N + 2);
	assert_non_null(strstr(str_get(&g.text), SNAP1 " is unknown\n"));
	text = state_of(&g, BACKUP_HOST, "", T1);
	assert_null(text);
	rig_close(&g);
}

static void
one_wrong_answer_is_none(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), "");
	rig_rules(&g, "get * flip=20 count=1\n");
	rig_is(&g, VERIFY_FULL, SNAP1 " is good, recorded\n"
	    SNAP2 " is good, recorded\n");
	rig_rules(&g, "get .chunks/* absent count=1\n");
	rig_is(&g, VERIFY_FULL, SNAP1 " is good, recorded\n"
	    SNAP2 " is good, recorded\n");
	rig_close(&g);
}

/* The one that is wrong comes last, long after all others: what a snapshot
 * comes to waits for it. */
static void
the_verdict_waits_for_the_last_chunk(void **state)
{
	char key[KEY_MAX + 1], rules[KEY_MAX + 100];
	struct rig g;

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		rig_open(&g, two_snaps(), "");
		chunk_key(i, key);
		rig_flip(g.s, key, -1);
		snprintf(rules, sizeof(rules), "get %s delay=40\n", key);
		rig_rules(&g, rules);
		rig_run(&g, VERIFY_FULL);
		assert_non_null(strstr(str_get(&g.text), SNAP1
		    " is damaged, recorded\n"));
		assert_int_equal(g.res.failed, i == 2 ? 1 : 2);
		rig_close(&g);
	}
}

static void
every_worker_is_late(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), "");
	chunk_key(0, key);
	rig_flip(g.s, key, -1);
	rig_rules(&g, "get .chunks/* delay=30\n");
	g.o.threads = 16;
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.failed, 2);
	assert_int_equal(g.res.ok, 0);
	assert_null(strstr(str_get(&g.text), "good"));
	rig_close(&g);
}

static void
listings_read_no_chunk(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	for (int level = VERIFY_EXISTS; level <= VERIFY_SIZE; level++) {
		g.s->gets = g.s->lists = g.s->stats = 0;
		rig_is(&g, level, SNAP1 " is good\n" SNAP2 " is good\n");
		/* Two manifests, three indices; the blob is listed. */
		assert_int_equal(g.s->gets, 5);
		assert_int_equal(g.s->lists, 2);	/* and the tree */
		assert_int_equal(g.s->stats, 0);
		assert_int_equal(g.res.chunks, N + 2);
		assert_int_equal(g.res.passes, 1);
	}
	chunk_key(1, key);
	rig_remove(g.s, key);
	for (int level = VERIFY_EXISTS; level <= VERIFY_SIZE; level++)
		rig_is(&g, level,
		    "missing " SNAP1 "/disk.img.fidx 65536+65536: "
		    "is not in the store\n"
		    "missing " SNAP2 "/disk.img.fidx 65536+65536: "
		    "is not in the store\n"
		    SNAP1 " is missing\n" SNAP2 " is missing\n");
	rig_close(&g);
}

static void
sizes_that_cannot_be_are_looked_into(void **state)
{
	char key[KEY_MAX + 1];
	uint8_t *long_one = calloc(1, 2 * C);
	struct rig g;

	(void)state;
	assert_non_null(long_one);
	rig_open(&g, two_snaps(), NULL);
	chunk_key(4, key);
	slow_store_put(g.s, key, long_one, 2 * C);
	chunk_key(2, key);
	slow_store_put(g.s, key, "", 0);
	rig_is(&g, VERIFY_EXISTS, SNAP1 " is good\n" SNAP2 " is good\n");
	rig_is(&g, VERIFY_SIZE,
	    "damaged " SNAP1 "/disk.img.fidx 131072+65536: is empty\n"
	    "damaged " SNAP1 "/disk.img.fidx 262144+65536: has no valid "
	    "header\n"
	    "damaged " SNAP2 "/disk.img.fidx 262144+65536: has no valid "
	    "header\n"
	    SNAP1 " is damaged\n" SNAP2 " is damaged\n");
	assert_int_equal(g.res.chunks, N + 2);
	free(long_one);
	rig_close(&g);
}

/* The set has no room for all digests: several listings, or chunks read again;
 * nothing else changes. */
static void
a_full_set_changes_nothing(void **state)
{
	struct slow_store *s = slow_store_new();
	const unsigned n = 4000;
	uint8_t *bytes = malloc(n * 64);
	char key[KEY_MAX + 1];
	struct snap_maker m;
	struct rig g;

	(void)state;
	assert_non_null(bytes);
	sample_bytes(bytes, n * 64, 5);
	for (int i = 0; i < 2; i++) {
		snap_begin(&m, s, "", BACKUP_HOST, "h1", T1 + i * 86400);
		m.chunk = 64;
		snap_dynamic(&m, "many.didx", bytes, n * 64);
		snap_finish(&m, NULL);
	}
	world_chunk(bytes + 64 * 777, 64, key);
	rig_open(&g, s, NULL);
	rig_remove(s, key);
	g.o.set_memory = 1024 * 16;
	for (int level = VERIFY_EXISTS; level <= VERIFY_FULL; level++) {
		g.o.share = 1000000;
		g.o.no_record = true;
		rig_is(&g, level,
		    "missing " SNAP1 "/many.didx 49728+64: is not in the "
		    "store\n"
		    "missing host/h1/2024-01-02T00:00:00Z/many.didx 49728+64: "
		    "is not in the store\n"
		    SNAP1 " is missing\n"
		    "host/h1/2024-01-02T00:00:00Z is missing\n");
		assert_int_equal(g.res.missing, 1);
		assert_int_equal(g.res.chunks, n);
		assert_true(level >= VERIFY_SAMPLE || g.res.passes >= 5);
	}
	free(bytes);
	rig_close(&g);
}

static void
samples_come_to_all(void **state)
{
	struct rig g;
	uint64_t chunks = 0;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	g.o.share = 300000;
	for (g.o.turn = 20000; g.o.turn < 20010; g.o.turn++) {
		rig_run(&g, VERIFY_SAMPLE);
		assert_int_equal(g.res.recorded, 0);
		assert_int_equal(g.res.ok, 2);
		chunks += g.res.chunks;
	}
	/* Ten turns of 30 % are three times all. */
	assert_int_equal(chunks, 3 * (N + 2));
	rig_close(&g);
}

static void
what_was_verified_lately_is_left_out(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	verify_upid(g.upid, "my store", clock_real_s() - 100);
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.recorded, 2);
	g.o.since = 3600;
	rig_is(&g, VERIFY_FULL, SNAP1 " is skipped\n" SNAP2 " is skipped\n");
	assert_int_equal(g.res.chunks, 0);
	assert_int_equal(g.res.skipped, 2);
	g.o.since = 50;
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.ok, 2);
	/* Or will be. */
	verify_upid(g.upid, "my store", clock_real_s() + 1000000);
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.recorded, 2);
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.ok, 2);
	rig_close(&g);
}

static bool
want_first(void *arg, const struct tree_snap *s)
{
	(void)arg;
	return s->time == T1;
}

static void
others_that_need_a_bad_chunk_are_named(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	g.o.want = want_first;
	rig_is(&g, VERIFY_FULL, SNAP1 " is good, recorded\n");
	chunk_key(5, key);
	rig_flip(g.s, key, -1);
	rig_is(&g, VERIFY_FULL,
	    "damaged " SNAP1 "/disk.img.fidx 327680+65536: crc is wrong\n"
	    SNAP1 " is damaged, recorded\n"
	    "damaged " SNAP2 "/disk.img.fidx 327680+65536: crc is wrong\n");
	assert_int_equal(g.res.snaps, 1);
	assert_int_equal(g.res.others, 1);
	rig_close(&g);
}

static void
quarantine_keeps_what_was_there(void **state)
{
	char key[KEY_MAX + 1], bad[KEY_MAX + 20];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	chunk_key(1, key);
	rig_flip(g.s, key, -1);
	snprintf(bad, sizeof(bad), "%s.0.bad", key);
	slow_store_put(g.s, bad, "older", 5);
	snprintf(bad, sizeof(bad), "%s.1.bad", key);
	g.o.quarantine = true;
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.quarantined, 1);
	assert_false(rig_has(g.s, key));
	assert_true(rig_has(g.s, bad));
	rig_is(&g, VERIFY_FULL,
	    "missing " SNAP1 "/disk.img.fidx 65536+65536: "
	    "is not in the store\n"
	    "missing " SNAP2 "/disk.img.fidx 65536+65536: "
	    "is not in the store\n"
	    SNAP1 " is missing, recorded\n" SNAP2 " is missing, recorded\n");
	assert_int_equal(g.res.quarantined, 0);
	assert_int_equal(rig_chunks(g.s), N + 1 + 2);
	rig_close(&g);
}

static void
a_good_chunk_is_never_quarantined(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), "");
	g.o.quarantine = true;
	/* Wrong twice on the way, good the third time. */
	rig_rules(&g, "get .chunks/* flip=20 count=2\n");
	g.o.threads = 1;
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.quarantined, 0);
	assert_int_equal(rig_chunks(g.s) >= N + 2, 1);
	rig_close(&g);
}

static void
a_snapshot_forgotten_meanwhile_lacks_nothing(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	assert_int_equal(repo_refresh(g.repo, NULL), 0);
	chunk_key(2, key);
	rig_remove(g.s, key);
	rig_remove(g.s, DIR1 "index.json.blob");
	str_reset(&g.text);
	g.o.level = VERIFY_FULL;
	assert_int_equal(verify_run(&g.o, &g.res), 0);
	assert_string_equal(str_get(&g.text), SNAP2 " is good, recorded\n");
	assert_int_equal(g.res.vanished, 1);
	assert_int_equal(g.res.missing, 0);
	rig_close(&g);
}

/* When its manifest had been read, but before its chunks. */
static void
a_snapshot_forgotten_under_way_lacks_nothing(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), "");
	chunk_key(2, key);
	rig_remove(g.s, key);
	rig_rules(&g, "stat " DIR1 "index.json.blob absent\n");
	for (int level = VERIFY_EXISTS; level <= VERIFY_FULL; level++) {
		g.o.share = 1000000;
		g.o.no_record = true;
		rig_is(&g, level, SNAP2 " is good\n");
		assert_int_equal(g.res.vanished, 1);
		assert_int_equal(g.res.failed, 0);
	}
	rig_close(&g);
}

/* Whether a snapshot that lacks much is still there is asked once. */
static void
many_missing_chunks_cost_little(void **state)
{
	char key[KEY_MAX + 1];
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	g.o.no_record = true;
	for (unsigned i = 0; i < N; i++) {
		chunk_key(i, key);
		rig_remove(g.s, key);
	}
	g.s->stats = 0;
	rig_run(&g, VERIFY_FULL);
	assert_int_equal(g.res.missing, N);
	assert_int_equal(g.res.failed, 2);
	assert_int_equal(g.s->stats, 2);
	rig_close(&g);
}

static void
what_a_cache_has_is_not_recorded_as_good(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	g.o.cached = true;
	g.s->gets = g.s->fresh = 0;
	rig_is(&g, VERIFY_FULL, SNAP1 " is good\n" SNAP2 " is good\n");
	assert_int_equal(g.s->gets, N + 2 + 6);
	assert_int_equal(g.s->fresh, 0);
	assert_int_equal(g.res.recorded, 0);
	rig_close(&g);
}

static void
it_can_be_stopped(void **state)
{
	atomic_bool stop = true;
	struct rig g;

	(void)state;
	rig_open(&g, two_snaps(), NULL);
	g.o.stop = &stop;
	for (int level = VERIFY_EXISTS; level <= VERIFY_FULL; level++) {
		g.o.level = level;
		assert_int_equal(verify_run(&g.o, &g.res), -ECANCELED);
		assert_int_equal(g.res.recorded, 0);
		assert_int_equal(g.res.failed, 0);
	}
	assert_int_equal(g.text.len, 0);
	rig_close(&g);
}

static void
an_outage_ends_it(void **state)
{
	struct slow_store *s = slow_store_new();
	uint8_t *bytes = malloc(4000 * 64);
	struct snap_maker m;
	struct rig g;

	(void)state;
	assert_non_null(bytes);
	sample_bytes(bytes, 4000 * 64, 5);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	m.chunk = 64;
	snap_dynamic(&m, "many.didx", bytes, 4000 * 64);
	snap_finish(&m, NULL);
	rig_open(&g, s, "");
	rig_rules(&g, "get .chunks/* error=EHOSTDOWN after=100\n");
	g.o.level = VERIFY_FULL;
	assert_int_equal(verify_run(&g.o, &g.res), -EHOSTDOWN);
	assert_true(g.s->gets < 300);
	assert_int_equal(g.res.damaged + g.res.missing, 0);
	free(bytes);
	rig_close(&g);
}

static void
tasks_have_names_that_a_server_reads(void **state)
{
	char upid[VERIFY_UPID_MAX];
	int64_t t;

	(void)state;
	verify_upid(upid, "s3://bucket/my-store", 1704067200);
	assert_int_equal(verify_upid_start(upid, &t), 0);
	assert_int_equal(t, 1704067200);
	assert_non_null(strstr(upid,
	    ":65920080:verify:s3\\x3a--bucket-my\\x2dstore:root@pam:"));
	assert_int_equal(verify_upid_start("UPID:pbs:000001A2:00002A3B:"
	    "00000001:65920081:verify:a:root@pam:", &t), 0);
	assert_int_equal(t, 1704067201);
	assert_int_equal(verify_upid_start("UPID:pbs:1:2:3", &t), -EINVAL);
	assert_int_equal(verify_upid_start("UPID:a:b:c:d:zz:e:", &t), -EINVAL);
	assert_int_equal(verify_upid_start("", &t), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_is_good_and_each_chunk_is_read_once),
	    cmocka_unit_test(a_flipped_bit_is_found_where_it_is),
	    cmocka_unit_test(a_chunk_of_one_snapshot_does_not_blame_the_other),
	    cmocka_unit_test(an_index_is_compared_with_the_manifest),
	    cmocka_unit_test(a_blob_is_compared_with_the_manifest),
	    cmocka_unit_test(a_manifest_is_checked),
	    cmocka_unit_test(a_length_is_that_of_every_index),
	    cmocka_unit_test(errors_damage_nothing),
	    cmocka_unit_test(unknown_is_not_recorded),
	    cmocka_unit_test(one_wrong_answer_is_none),
	    cmocka_unit_test(the_verdict_waits_for_the_last_chunk),
	    cmocka_unit_test(every_worker_is_late),
	    cmocka_unit_test(listings_read_no_chunk),
	    cmocka_unit_test(sizes_that_cannot_be_are_looked_into),
	    cmocka_unit_test(a_full_set_changes_nothing),
	    cmocka_unit_test(samples_come_to_all),
	    cmocka_unit_test(what_was_verified_lately_is_left_out),
	    cmocka_unit_test(others_that_need_a_bad_chunk_are_named),
	    cmocka_unit_test(quarantine_keeps_what_was_there),
	    cmocka_unit_test(a_good_chunk_is_never_quarantined),
	    cmocka_unit_test(a_snapshot_forgotten_meanwhile_lacks_nothing),
	    cmocka_unit_test(a_snapshot_forgotten_under_way_lacks_nothing),
	    cmocka_unit_test(many_missing_chunks_cost_little),
	    cmocka_unit_test(what_a_cache_has_is_not_recorded_as_good),
	    cmocka_unit_test(it_can_be_stopped),
	    cmocka_unit_test(an_outage_ends_it),
	    cmocka_unit_test(tasks_have_names_that_a_server_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
