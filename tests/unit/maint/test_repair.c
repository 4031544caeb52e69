/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Good chunks into the place of bad ones, and of no others. */
#include "maint/repair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/pick.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"
#include "repo/repo.h"
#include "store/backends.h"
#include "store/filters.h"
#include "store/store.h"

#include "../cm.h"
#include "../draft/scratch_dir.h"
#include "copy_world.h"

#define N 20	/* chunks of numbers 0..19, and zeros */

struct seen {
	unsigned n[REPAIR_OBJECT_LOST + 1];
	char paths[1024];	/* of the last outcome that was not good */
	char text[128];
};

struct rig {
	struct scratch_dir dir;
	struct store *s, *other;	/* what is damaged, and what is not */
	struct store *counted;		/* the way to s */
	struct repo *repo;
	struct repair_source from;
	struct seen seen;
};

static const struct cw_snap one = {
    .group = {"", BACKUP_HOST, "web1"}, .time = CW_TIME, .n = N};
static const struct cw_snap two = {
    .group = {"", BACKUP_HOST, "web2"}, .time = CW_TIME, .first = 10,
    .n = 10};

static void
on_event(void *arg, enum repair_event e, const char *what, const char *path,
    const char *text)
{
	struct seen *s = arg;
	size_t n = strlen(s->paths);

	(void)what;
	s->n[e]++;
	snprintf(s->text, sizeof(s->text), "%s", text);
	if (e == REPAIR_LOST || e == REPAIR_UNKNOWN)
		snprintf(s->paths + n, sizeof(s->paths) - n, "%s\n", path);
}

static void
rig_open(struct rig *g, struct keyring *keys)
{
	assert_int_equal(store_count_new(cw_keep(g->s), &g->counted), 0);
	g->repo = cw_repo(g->counted, keys);
}

static void
rig_begin(struct rig *g)
{
	memset(g, 0, sizeof(*g));
	scratch_begin(&g->dir);
	assert_int_equal(store_mem_new(&g->s), 0);
	assert_int_equal(store_mem_new(&g->other), 0);
	cw_put(g->s, &one);
	cw_put(g->s, &two);
	cw_put(g->other, &one);
	g->from = (struct repair_source){"other", g->other};
	rig_open(g, NULL);
}

static void
rig_close(struct rig *g)
{
	repo_free(g->repo);
	store_free(g->counted);
}

static void
rig_end(struct rig *g)
{
	rig_close(g);
	store_free(g->s);
	store_free(g->other);
	scratch_end(&g->dir);
}

static struct repair_opts
opts(struct rig *g)
{
	memset(&g->seen, 0, sizeof(g->seen));
	return (struct repair_opts){
	    .repo = g->repo,
	    .sources = &g->from,
	    .n_sources = 1,
	    .timeout_ms = 5000,
	    .event = on_event,
	    .arg = &g->seen,
	};
}

static uint64_t
requests(struct store *s, enum store_verb v)
{
	struct store_counts c;

	store_counts(s, &c);
	return c.requests[v];
}

static void
missing_ones_come_back(void **state)
{
	struct repair_result r;
	struct repair_opts o;
	struct rig g;

	(void)state;
	rig_begin(&g);
	cw_delete(g.s, 3, NULL);
	cw_delete(g.s, 12, NULL);
	cw_delete(g.s, CW_ZERO, NULL);
	cw_delete(g.other, CW_ZERO, NULL);
	o = opts(&g);
	o.dry_run = true;
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.healed, 3);
	assert_int_equal(requests(g.counted, STORE_PUT), 0);
	assert_false(cw_is_good(g.s, 3, NULL));

	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.missing, 3);
	assert_int_equal(r.healed, 3);
	assert_int_equal(r.made, 1);
	assert_int_equal(r.lost, 0);
	/* No other is read, and no other is written. */
	assert_int_equal(r.read, 3);
	assert_int_equal(requests(g.counted, STORE_PUT), 3);
	/* Zeros and number 12 are needed by both snapshots, zeros twice. */
	assert_int_equal(g.seen.n[REPAIR_HEALED], 5);
	cw_check(g.s);
	assert_true(cw_is_good(g.s, 3, NULL));
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.read, 0);
	rig_end(&g);
}

/* Damage that nobody knows of is found by reading. */
static void
damaged_ones_are_replaced(void **state)
{
	const struct pick pick = {PICK_GROUP, one.group, 0};
	struct repair_result r;
	struct repair_opts o;
	struct rig g;

	(void)state;
	rig_begin(&g);
	cw_flip(g.s, 5, NULL, 14);
	cw_flip(g.s, 7, NULL, 2);
	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.read, 0);
	o.picks = &pick;
	o.n_picks = 1;
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.read, N + 1);
	assert_int_equal(r.good, N - 1);
	assert_int_equal(r.damaged, 2);
	assert_int_equal(r.healed, 2);
	assert_int_equal(requests(g.counted, STORE_PUT), 2);
	assert_true(cw_is_good(g.s, 5, NULL));
	assert_true(cw_is_good(g.s, 7, NULL));
	rig_end(&g);
}

static void
named_ones_alone(void **state)
{
	struct digest d[2] = {cw_digest(5, NULL), cw_digest(999, NULL)};
	struct repair_result r;
	struct repair_opts o;
	struct rig g;

	(void)state;
	if (memcmp(&d[0], &d[1], sizeof(d[0])) > 0) {
		struct digest t = d[0];

		d[0] = d[1];
		d[1] = t;
	}
	rig_begin(&g);
	cw_flip(g.s, 5, NULL, 14);
	cw_delete(g.s, 6, NULL);
	o = opts(&g);
	o.chunks = d;
	o.n_chunks = 2;
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.read, 1);
	assert_int_equal(r.healed, 1);
	assert_int_equal(g.seen.n[REPAIR_NOT_USED], 1);
	assert_true(cw_is_good(g.s, 5, NULL));
	assert_false(cw_is_good(g.s, 6, NULL));
	rig_end(&g);
}

/* What a verification has found is looked for. */
static void
failed_snapshots_are_read(void **state)
{
	struct cw_snap bad = one;
	struct repair_result r;
	struct repair_opts o;
	struct rig g;

	(void)state;
	rig_begin(&g);
	bad.verify = "failed";
	cw_put(g.s, &bad);
	cw_flip(g.s, 5, NULL, 14);
	assert_int_equal(repo_refresh(g.repo, NULL), 0);
	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.read, N + 1);
	assert_int_equal(r.healed, 1);
	assert_true(cw_is_good(g.s, 5, NULL));
	rig_end(&g);
}

/* A copy that is no better is no copy. */
static void
bad_copies_are_refused(void **state)
{
	struct digest d = cw_digest(5, NULL), wrong = cw_digest(6, NULL);
	char key[KEY_CHUNK_LEN + 1], from[KEY_CHUNK_LEN + 1];
	struct repair_result r;
	struct repair_opts o;
	struct rig g;

	(void)state;
	rig_begin(&g);
	cw_delete(g.s, 5, NULL);
	cw_delete(g.s, 12, NULL);
	/* A whole chunk, of another name; and one that is damaged. */
	key_chunk(&d, key);
	key_chunk(&wrong, from);
	assert_int_equal(store_copy(g.other, from, key, 0), 0);
	cw_flip(g.other, 12, NULL, 13);
	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 1);
	assert_int_equal(r.lost, 2);
	assert_int_equal(r.healed, 0);
	assert_int_equal(requests(g.counted, STORE_PUT), 0);
	/* Each path that needs them. */
	assert_int_equal(g.seen.n[REPAIR_LOST], 3);
	assert_non_null(strstr(g.seen.paths,
	    "host/web1/2024-01-01T00:00:00Z/d.img.fidx\n"));
	assert_non_null(strstr(g.seen.paths,
	    "host/web2/2024-01-01T00:00:00Z/d.img.fidx\n"));
	rig_end(&g);
}

/* The second of two sources has what the first has not. */
static void
sources_are_asked_in_turn(void **state)
{
	struct repair_source from[2];
	struct repair_result r;
	struct repair_opts o;
	struct store *third;
	struct rig g;

	(void)state;
	rig_begin(&g);
	assert_int_equal(store_mem_new(&third), 0);
	cw_put(third, &one);
	cw_delete(g.s, 5, NULL);
	cw_delete(g.s, 6, NULL);
	cw_flip(g.other, 5, NULL, 13);
	from[0] = g.from;
	from[1] = (struct repair_source){"third", third};
	o = opts(&g);
	o.sources = from;
	o.n_sources = 2;
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.healed, 2);
	assert_true(cw_is_good(g.s, 5, NULL));
	rig_end(&g);
	store_free(third);
}

/* With the store failing, nothing is damaged and nothing is replaced. */
static void
uncertain_answers_change_nothing(void **state)
{
	const struct pick pick = {PICK_NS, {.ns = ""}, 0};
	struct repair_result r;
	struct repair_opts o;
	struct store *faulty;
	struct repo *repo;
	char path[128];
	struct rig g;
	FILE *f;

	(void)state;
	rig_begin(&g);
	snprintf(path, sizeof(path), "%s/faults", g.dir.path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("get .chunks/* error=EIO rate=30% seed=5\n", f);
	fclose(f);
	assert_int_equal(store_fault_new(cw_keep(g.counted), path, &faulty),
	    0);
	repo = cw_repo(faulty, NULL);
	o = opts(&g);
	o.repo = repo;
	o.picks = &pick;
	o.n_picks = 1;
	assert_int_equal(repair_run(&o, &r), 1);
	assert_true(r.unknown > 0);
	assert_int_equal(r.damaged + r.missing + r.healed + r.lost, 0);
	assert_int_equal(r.unknown + r.good, r.read);
	assert_int_equal(requests(g.counted, STORE_PUT), 0);
	repo_free(repo);
	store_free(faulty);
	rig_end(&g);
}

/* One wrong answer is no damage. */
static void
a_second_look_decides(void **state)
{
	const struct pick pick = {PICK_GROUP, one.group, 0};
	struct repair_result r;
	struct repair_opts o;
	struct store *faulty;
	struct repo *repo;
	char path[128];
	struct rig g;
	FILE *f;

	(void)state;
	rig_begin(&g);
	snprintf(path, sizeof(path), "%s/faults", g.dir.path);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("get .chunks/* flip=14 count=1\n", f);
	fclose(f);
	assert_int_equal(store_fault_new(cw_keep(g.counted), path, &faulty),
	    0);
	repo = cw_repo(faulty, NULL);
	o = opts(&g);
	o.repo = repo;
	o.picks = &pick;
	o.n_picks = 1;
	o.jobs = 1;
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.good, N + 1);
	assert_int_equal(r.damaged, 0);
	assert_int_equal(requests(g.counted, STORE_PUT), 0);
	repo_free(repo);
	store_free(faulty);
	rig_end(&g);
}

/* With its key a chunk is proven; without, CRC and length decide. */
static void
encrypted_ones(void **state)
{
	uint8_t raw[ENC_KEY_LEN] = {9};
	struct enc_key *key;
	struct cw_snap x = {
	    .group = {"", BACKUP_HOST, "secret"},
	    .time = CW_TIME,
	    .n = N,
	};
	char name[KEY_CHUNK_LEN + 1], from[KEY_CHUNK_LEN + 1];
	struct digest d, wrong;
	struct repair_result r;
	struct keyring *ring;
	struct repair_opts o;
	struct rig g;

	(void)state;
	assert_int_equal(enc_key_new(raw, &key), 0);
	assert_int_equal(keyring_new(&ring), 0);
	assert_int_equal(keyring_add(ring, key), 0);
	x.key = key;
	rig_begin(&g);
	cw_put(g.s, &x);
	cw_put(g.other, &x);
	assert_int_equal(repo_refresh(g.repo, NULL), 0);
	cw_delete(g.s, 3, key);
	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.unproven, 1);
	assert_int_equal(g.seen.n[REPAIR_UNPROVEN], 1);
	assert_true(cw_is_good(g.s, 3, key));

	/* A sound chunk of another name: only the key tells. */
	rig_close(&g);
	rig_open(&g, ring);
	d = cw_digest(4, key);
	wrong = cw_digest(5, key);
	key_chunk(&d, name);
	key_chunk(&wrong, from);
	assert_int_equal(store_copy(g.other, from, name, 0), 0);
	cw_delete(g.s, 4, key);
	cw_delete(g.s, 6, key);
	cw_delete(g.s, CW_ZERO, key);
	cw_delete(g.other, CW_ZERO, key);
	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 1);
	assert_int_equal(r.lost, 1);
	assert_int_equal(r.unproven, 0);
	assert_int_equal(r.healed, 2);
	assert_int_equal(r.made, 1);
	assert_false(cw_is_good(g.s, 4, key));
	assert_true(cw_is_good(g.s, 6, key));
	assert_true(cw_is_good(g.s, CW_ZERO, key));
	/* And nothing that is not encrypted stands in for one that is. */
	rig_end(&g);
	keyring_unref(ring);
	enc_key_unref(key);
}

/* An index comes back, if it is what the manifest says. */
static void
indices_too(void **state)
{
	static const char key[] =
	    ".cnt/host/web1/2024-01-01T00:00:00Z/d.img.fidx";
	static const char other[] =
	    ".cnt/host/web2/2024-01-01T00:00:00Z/d.img.fidx";
	const struct store_get how = {.max = MIB};
	struct repair_result r;
	struct repair_opts o;
	struct rig g;
	struct buf *b;

	(void)state;
	for (int gone = 0; gone < 2; gone++) {
		const char *keys[] = {key};

		rig_begin(&g);
		if (gone) {
			assert_int_equal(store_delete(g.s, keys, 1, NULL,
			    NULL, 0), 0);
		} else {
			assert_int_equal(store_get(g.s, key, &how, &b, NULL),
			    0);
			b->data[b->len - 1] ^= 1;
			assert_int_equal(store_put(g.s, key, b->data, b->len,
			    NULL, NULL), 0);
			b->data[b->len - 1] ^= 1;
			buf_unref(b);
		}
		cw_delete(g.s, 3, NULL);
		assert_int_equal(repo_refresh(g.repo, NULL), 0);
		o = opts(&g);
		assert_int_equal(repair_run(&o, &r), 0);
		assert_int_equal(r.objects_healed, 1);
		assert_int_equal(r.objects_lost, 0);
		assert_int_equal(r.healed, 1);
		cw_check(g.s);
		/* That of another snapshot is none. */
		assert_int_equal(store_delete(g.s, keys, 1, NULL, NULL, 0), 0);
		assert_int_equal(store_get(g.s, other, &how, &b, NULL), 0);
		assert_int_equal(store_put(g.other, key, b->data, b->len,
		    NULL, NULL), 0);
		buf_unref(b);
		assert_int_equal(repo_refresh(g.repo, NULL), 0);
		o = opts(&g);
		assert_int_equal(repair_run(&o, &r), 1);
		assert_int_equal(r.objects_healed, 0);
		assert_int_equal(r.objects_lost, 1);
		assert_false(cw_has(g.s, key));
		rig_end(&g);
	}
}

/* A directory with a tree of chunks and nothing else. */
static void
from_a_directory(void **state)
{
	struct repair_result r;
	struct repair_opts o;
	struct store *dir;
	char path[128];
	struct rig g;

	(void)state;
	rig_begin(&g);
	snprintf(path, sizeof(path), "%s/x/.chunks", g.dir.path);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0755), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(store_dir_new(path, &dir), 0);
	cw_chunk(dir, 5, NULL);
	cw_delete(g.s, 5, NULL);
	g.from.store = dir;
	o = opts(&g);
	assert_int_equal(repair_run(&o, &r), 0);
	assert_int_equal(r.healed, 1);
	assert_true(cw_is_good(g.s, 5, NULL));
	store_free(dir);
	rig_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(missing_ones_come_back),
	    cmocka_unit_test(damaged_ones_are_replaced),
	    cmocka_unit_test(named_ones_alone),
	    cmocka_unit_test(failed_snapshots_are_read),
	    cmocka_unit_test(bad_copies_are_refused),
	    cmocka_unit_test(sources_are_asked_in_turn),
	    cmocka_unit_test(uncertain_answers_change_nothing),
	    cmocka_unit_test(a_second_look_decides),
	    cmocka_unit_test(encrypted_ones),
	    cmocka_unit_test(indices_too),
	    cmocka_unit_test(from_a_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
