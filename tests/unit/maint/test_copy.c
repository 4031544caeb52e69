/* SPDX-License-Identifier: GPL-3.0-or-later */

/* Copies of snapshots: all of them, only what is new, whole or not at all. */
#include "maint/copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/pick.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"
#include "repo/guard.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "store/backends.h"
#include "store/filters.h"
#include "store/store.h"

#include "../cm.h"
#include "../draft/scratch_dir.h"
#include "copy_world.h"

#define HOUR 3600

static const struct cw_snap snaps[] = {
    {.group = {"", BACKUP_HOST, "web1"}, .time = CW_TIME, .first = 0, .n = 20},
    {.group = {"", BACKUP_HOST, "web1"}, .time = CW_TIME + HOUR, .first = 5,
	.n = 20, .protect = true},
    {.group = {"", BACKUP_HOST, "web10"}, .time = CW_TIME, .first = 100,
	.n = 10},
    {.group = {"a", BACKUP_VM, "100"}, .time = CW_TIME, .first = 0, .n = 30},
    {.group = {"ab", BACKUP_VM, "100"}, .time = CW_TIME, .first = 200,
	.n = 5},
};
/* Numbers 0..29, 100..109, 200..204, and zeros. */
#define DISTINCT 46

struct seen {
	unsigned done, there, gone, failed, chunk, left;
	char last_failed[256];
	char last_chunk[DIGEST_HEX_LEN + 1];
};

struct pair {
	struct scratch_dir dir;
	struct store *a, *b;	/* what is at the ends */
	struct store *from, *to;	/* counting, on the way there */
	struct repo *rfrom, *rto;
	struct seen seen;
};

static void
on_event(void *arg, enum copy_event e, const char *path, const char *text)
{
	struct seen *s = arg;

	(void)text;
	switch (e) {
	case COPY_DONE:
		s->done++;
		return;
	case COPY_THERE:
		s->there++;
		return;
	case COPY_GONE:
		s->gone++;
		return;
	case COPY_FAILED:
		s->failed++;
		snprintf(s->last_failed, sizeof(s->last_failed), "%s", path);
		return;
	case COPY_CHUNK:
		s->chunk++;
		snprintf(s->last_chunk, sizeof(s->last_chunk), "%s", path);
		return;
	case COPY_LEFT:
		s->left++;
		return;
	}
}

/* What a run sees, counted. */
static void
open_ends(struct pair *p)
{
	assert_int_equal(store_count_new(cw_keep(p->a), &p->from), 0);
	assert_int_equal(store_count_new(cw_keep(p->b), &p->to), 0);
	p->rfrom = cw_repo(p->from, NULL);
	p->rto = cw_repo(p->to, NULL);
}

static void
close_ends(struct pair *p)
{
	repo_free(p->rfrom);
	repo_free(p->rto);
	store_free(p->from);
	store_free(p->to);
}

static void
pair_begin(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	scratch_begin(&p->dir);
	assert_int_equal(store_mem_new(&p->a), 0);
	assert_int_equal(store_mem_new(&p->b), 0);
	for (size_t i = 0; i < ARRAY_SIZE(snaps); i++)
		cw_put(p->a, &snaps[i]);
	store_put(p->a, ".cnt/ns/a/.namespace", "", 0, NULL, NULL);
	store_put(p->a, ".cnt/ns/ab/.namespace", "", 0, NULL, NULL);
	store_put(p->a, ".cnt/ns/a/ns/empty/.namespace", "", 0, NULL, NULL);
	store_put(p->a, ".cnt/host/web1/notes", "hello", 5, NULL, NULL);
	store_put(p->b, ".in-use", "x", 1, NULL, NULL);
	open_ends(p);
}

static void
pair_end(struct pair *p)
{
	close_ends(p);
	store_free(p->a);
	store_free(p->b);
	scratch_end(&p->dir);
}

static struct copy_opts
opts(struct pair *p)
{
	return (struct copy_opts){
	    .from = p->rfrom,
	    .to = p->rto,
	    .timeout_ms = 5000,
	    .event = on_event,
	    .arg = &p->seen,
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
all_is_copied_once(void **state)
{
	struct copy_result r;
	struct copy_opts o;
	struct pair p;
	uint64_t gets, stats;

	(void)state;
	pair_begin(&p);
	stats = requests(p.to, STORE_STAT);
	o = opts(&p);
	o.read_all = true;
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.copied, ARRAY_SIZE(snaps));
	assert_int_equal(p.seen.done, ARRAY_SIZE(snaps));
	assert_int_equal(r.sent, DISTINCT);
	assert_int_equal(r.by_server, 0);
	assert_int_equal(r.unproven, 0);
	assert_int_equal(r.namespaces, 3);
	assert_int_equal(r.groups, 4);
	cw_same(p.a, p.b, ".cnt/");
	cw_same(p.a, p.b, ".chunks/");
	cw_check(p.b);
	/* Each chunk once, and each object. */
	gets = requests(p.from, STORE_GET);
	/* 5 snapshots of 3 files and a manifest, 4 owners, notes. */
	assert_int_equal(gets, DISTINCT + 5 * 4 + 4 + 1);
	assert_int_equal(requests(p.to, STORE_STAT), stats);

	memset(&p.seen, 0, sizeof(p.seen));
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.copied, 0);
	assert_int_equal(r.there, ARRAY_SIZE(snaps));
	assert_int_equal(r.sent + r.by_server + r.chunks, 0);
	assert_int_equal(requests(p.from, STORE_GET), gets);
	pair_end(&p);
}

/* A server that can copies the chunks itself. */
static void
server_copies(void **state)
{
	static const struct cw_snap bad = {
	    .group = {"", BACKUP_HOST, "web2"},
	    .time = CW_TIME,
	    .first = 300,
	    .n = 7,
	    .verify = "failed",
	};
	struct copy_result r;
	struct copy_opts o;
	struct pair p;

	(void)state;
	pair_begin(&p);
	o = opts(&p);
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.by_server, DISTINCT);
	assert_int_equal(r.by_server_bytes, DISTINCT * CW_CHUNK);
	assert_int_equal(r.sent, 0);
	assert_int_equal(requests(p.to, STORE_COPY), DISTINCT);
	assert_int_equal(requests(p.from, STORE_GET), 5 * 4 + 4 + 1);
	cw_same(p.a, p.b, ".cnt/");
	cw_same(p.a, p.b, ".chunks/");
	/* What may be damaged is looked at. */
	cw_put(p.a, &bad);
	assert_int_equal(repo_refresh(p.rfrom, NULL), 0);
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.copied, 1);
	assert_int_equal(r.sent, 7);
	assert_int_equal(r.by_server, 0);
	pair_end(&p);
}

/* A listing tells of what the indices do not; a new snapshot needs none. */
static void
what_is_there_is_not_sent(void **state)
{
	static const struct cw_snap next = {
	    .group = {"", BACKUP_HOST, "web1"},
	    .time = CW_TIME + 2 * HOUR,
	    .first = 5,
	    .n = 21,	/* number 25 is not in the snapshot before */
	};
	struct copy_result r;
	struct copy_opts o;
	struct pair p;
	uint64_t lists;

	(void)state;
	pair_begin(&p);
	/* As a run that was killed leaves them. */
	for (uint32_t i = 0; i < 15; i++)
		cw_chunk(p.b, i, NULL);
	o = opts(&p);
	o.read_all = true;
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.listed, 15);
	assert_int_equal(r.sent, DISTINCT - 15);
	lists = requests(p.to, STORE_LIST);
	cw_put(p.a, &next);
	assert_int_equal(repo_refresh(p.rfrom, NULL), 0);
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.listed, 0);
	assert_int_equal(requests(p.to, STORE_LIST), lists);
	/* Number 25 is in the target for vm/100: only the put tells. */
	assert_int_equal(r.sent, 0);
	assert_int_equal(r.chunks_there, r.chunks);
	assert_int_equal(r.copied, 1);
	cw_check(p.b);
	pair_end(&p);
}

static void
picks_are_exact(void **state)
{
	static const struct {
		struct pick pick;
		unsigned copied;
		const char *other;	/* what must not be there */
	} cases[] = {
	    {{PICK_GROUP, {"", BACKUP_HOST, "web1"}, 0}, 2,
		".cnt/host/web10/"},
	    {{PICK_NS, {.ns = "a"}, 0}, 1, ".cnt/ns/ab/"},
	    {{PICK_SNAP, {"", BACKUP_HOST, "web1"}, CW_TIME}, 1,
		".cnt/host/web1/2024-01-01T01:00:00Z/"},
	    {{PICK_NS, {.ns = ""}, 0}, 5, ".cnt/nothing/"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct copy_result r;
		struct copy_opts o;
		struct pair p;

		pair_begin(&p);
		o = opts(&p);
		o.picks = &cases[i].pick;
		o.n_picks = 1;
		assert_int_equal(copy_run(&o, &r), 0);
		assert_int_equal(r.copied, cases[i].copied);
		assert_int_equal(cw_count(p.b, cases[i].other), 0);
		cw_check(p.b);
		pair_end(&p);
	}
}

static void
nothing_of_that_name(void **state)
{
	static const struct pick pick = {PICK_GROUP,
	    {"", BACKUP_HOST, "web"}, 0};
	struct copy_result r;
	struct copy_opts o;
	struct pair p;

	(void)state;
	pair_begin(&p);
	o = opts(&p);
	o.picks = &pick;
	o.n_picks = 1;
	assert_int_equal(copy_run(&o, &r), -ENOENT);
	assert_int_equal(cw_count(p.b, ".cnt/"), 0);
	pair_end(&p);
}

/* One snapshot is not copied; the others are; the damage is not. */
static void
damage_stays_where_it_is(void **state)
{
	enum { CHUNK_GONE, CHUNK_FLIPPED, INDEX_FLIPPED, BLOB_GONE, CASES };

	(void)state;
	for (int i = 0; i < CASES; i++) {
		static const char blob[] =
		    ".cnt/host/web10/2024-01-01T00:00:00Z/c.conf.blob";
		static const char index[] =
		    ".cnt/host/web10/2024-01-01T00:00:00Z/d.img.fidx";
		const char *keys[] = {blob};
		struct copy_result r;
		struct copy_opts o;
		struct pair p;

		pair_begin(&p);
		switch (i) {
		case CHUNK_GONE:
			cw_delete(p.a, 103, NULL);
			break;
		case CHUNK_FLIPPED:
			cw_flip(p.a, 103, NULL, 20);
			break;
		case INDEX_FLIPPED:
			assert_int_equal(store_put(p.a, index, "xyz", 3, NULL,
			    NULL), 0);
			break;
		default:
			assert_int_equal(store_delete(p.a, keys, 1, NULL,
			    NULL, 0), 0);
		}
		assert_int_equal(repo_refresh(p.rfrom, NULL), 0);
		o = opts(&p);
		o.read_all = true;
		assert_int_equal(copy_run(&o, &r), 1);
		assert_int_equal(r.failed, 1);
		assert_int_equal(r.damaged, 1);
		assert_int_equal(r.copied, ARRAY_SIZE(snaps) - 1);
		assert_string_equal(p.seen.last_failed,
		    "host/web10/2024-01-01T00:00:00Z");
		assert_int_equal(p.seen.chunk, i <= CHUNK_FLIPPED);
		assert_int_equal(cw_count(p.b,
		    ".cnt/host/web10/2024-01-01T00:00:00Z/"), 0);
		assert_false(cw_is_good(p.b, 103, NULL) && i <= CHUNK_FLIPPED);
		cw_check(p.b);
		pair_end(&p);
	}
}

/* A manifest that is whole, and of somebody else. */
static void
another_manifest_is_refused(void **state)
{
	const struct store_get how = {.max = MIB};
	struct copy_result r;
	struct copy_opts o;
	struct pair p;
	struct buf *b;

	(void)state;
	pair_begin(&p);
	assert_int_equal(store_get(p.a,
	    ".cnt/host/web1/2024-01-01T00:00:00Z/index.json.blob", &how, &b,
	    NULL), 0);
	assert_int_equal(store_put(p.a,
	    ".cnt/host/web10/2024-01-01T00:00:00Z/index.json.blob", b->data,
	    b->len, NULL, NULL), 0);
	buf_unref(b);
	assert_int_equal(repo_refresh(p.rfrom, NULL), 0);
	o = opts(&p);
	assert_int_equal(copy_run(&o, &r), 1);
	assert_int_equal(r.failed, 1);
	assert_int_equal(cw_count(p.b, 
	    ".cnt/host/web10/2024-01-01T00:00:00Z/"), 0);
	pair_end(&p);
}

static struct enc_key *
new_key(uint8_t fill)
{
	uint8_t raw[ENC_KEY_LEN];
	struct enc_key *k;

	memset(raw, fill, sizeof(raw));
	assert_int_equal(enc_key_new(raw, &k), 0);
	return k;
}

/* Without a key by CRC and length, with it by content. */
static void
encrypted_ones_stay_so(void **state)
{
	struct enc_key *key = new_key(7);
	struct cw_snap x = {
	    .group = {"", BACKUP_HOST, "secret"},
	    .time = CW_TIME,
	    .first = 0,
	    .n = 9,
	    .key = key,
	};
	const struct pick pick = {PICK_GROUP, x.group, 0};
	struct keyring *ring;
	struct copy_result r;
	struct copy_opts o;
	struct pair p;

	(void)state;
	pair_begin(&p);
	cw_put(p.a, &x);
	assert_int_equal(repo_refresh(p.rfrom, NULL), 0);
	o = opts(&p);
	o.read_all = true;
	o.picks = &pick;
	o.n_picks = 1;
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.sent, 10);
	assert_int_equal(r.unproven, 10);
	for (uint32_t i = 0; i < 9; i++)
		assert_true(cw_is_good(p.b, i, key));
	cw_same(p.a, p.b, ".cnt/host/secret/");

	/* With the key. */
	x.time += HOUR;
	x.first = 20;
	cw_put(p.a, &x);
	assert_int_equal(keyring_new(&ring), 0);
	assert_int_equal(keyring_add(ring, key), 0);
	repo_free(p.rfrom);
	p.rfrom = cw_repo(p.from, ring);
	o.from = p.rfrom;
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.sent, 9);
	assert_int_equal(r.unproven, 0);
	keyring_unref(ring);
	pair_end(&p);
	enc_key_unref(key);
}

static void
damaged_without_a_key(void **state)
{
	struct enc_key *key = new_key(7);
	const struct cw_snap x = {
	    .group = {"", BACKUP_HOST, "secret"},
	    .time = CW_TIME,
	    .first = 0,
	    .n = 9,
	    .key = key,
	};
	struct copy_result r;
	struct copy_opts o;
	struct pair p;

	(void)state;
	pair_begin(&p);
	cw_put(p.a, &x);
	cw_flip(p.a, 4, key, 60);
	assert_int_equal(repo_refresh(p.rfrom, NULL), 0);
	o = opts(&p);
	o.read_all = true;
	assert_int_equal(copy_run(&o, &r), 1);
	assert_string_equal(p.seen.last_failed,
	    "host/secret/2024-01-01T00:00:00Z");
	assert_int_equal(cw_count(p.b, 
	    ".cnt/host/secret/2024-01-01T00:00:00Z/"), 0);
	pair_end(&p);
	enc_key_unref(key);
}

static void
dry_run_writes_nothing(void **state)
{
	struct copy_result r;
	struct copy_opts o;
	struct pair p;

	(void)state;
	pair_begin(&p);
	for (uint32_t i = 0; i < 15; i++)
		cw_chunk(p.b, i, NULL);
	o = opts(&p);
	o.dry_run = true;
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.copied, ARRAY_SIZE(snaps));
	assert_int_equal(r.sent, DISTINCT - 15);
	assert_int_equal(r.sent_bytes, (DISTINCT - 15) * CW_CHUNK);
	assert_int_equal(r.namespaces, 3);
	assert_int_equal(r.groups, 4);
	/* 5 of three files and a manifest, and a mark of protection. */
	assert_int_equal(r.objects, 5 * 4 + 1);
	assert_int_equal(requests(p.to, STORE_PUT), 0);
	assert_int_equal(requests(p.to, STORE_COPY), 0);
	assert_int_equal(cw_count(p.b, ".cnt/"), 0);
	pair_end(&p);
}

/* An end that misbehaves. */
static struct store *
faulty(struct pair *p, struct store *end, const char *rules)
{
	char path[128];
	struct store *s;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", p->dir.path,
	    end == p->a ? "a" : "b");
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(rules, f);
	fclose(f);
	assert_int_equal(store_fault_new(cw_keep(end), path, &s), 0);
	return s;
}

/* However many requests fail, nothing is damaged, and each run comes
 * further. */
static void
a_third_of_requests_fails(void **state)
{
	struct copy_result r;
	struct copy_opts o;
	struct pair p;
	int err = 1, runs;

	(void)state;
	pair_begin(&p);
	for (runs = 0; err != 0 && runs < 400; runs++) {
		char a[256], b[256];
		struct store *fa, *fb;
		struct repo *ra, *rb;

		snprintf(a, sizeof(a), "get .chunks/* error=EIO rate=30%% "
		    "seed=%d\nget * error=EIO rate=10%% seed=%d\n", runs,
		    runs);
		snprintf(b, sizeof(b), "put .chunks/* error=EIO rate=30%% "
		    "seed=%d\nput * lost rate=10%% seed=%d\n", runs, runs);
		fa = faulty(&p, p.a, a);
		fb = faulty(&p, p.b, b);
		ra = cw_repo(fa, NULL);
		rb = cw_repo(fb, NULL);
		o = opts(&p);
		o.from = ra;
		o.to = rb;
		o.read_all = true;
		o.jobs = 2;
		err = copy_run(&o, &r);
		assert_int_equal(r.damaged, 0);
		cw_check(p.b);
		repo_free(ra);
		repo_free(rb);
		store_free(fa);
		store_free(fb);
	}
	assert_int_equal(err, 0);
	cw_same(p.a, p.b, ".cnt/");
	cw_same(p.a, p.b, ".chunks/");
	assert_true(runs > 1);
	pair_end(&p);
}

/* Requests that it takes to open a store, at most. */
#define OPENING 4

/* Dead at any request: what is there is whole, and the next run ends it. */
static void
killed_at_any_request(void **state)
{
	static const char *const modes[] = {"error=EHOSTDOWN", "lost"};
	struct copy_result r;
	unsigned n = 0, mode;

	(void)state;
	for (mode = 0; mode < ARRAY_SIZE(modes); mode++)
		for (n = 0; ; n += 1 + n / 8) {
			struct copy_opts o;
			struct store *dying;
			struct repo *rdying;
			struct pair p;
			char rules[256];
			int err;

			pair_begin(&p);
			/* One is answered, or not; then nothing works. */
			snprintf(rules, sizeof(rules), "* * %s after=%u "
			    "count=1\n* * error=EHOSTDOWN after=%u\n",
			    modes[mode], n + OPENING, n + OPENING);
			dying = faulty(&p, p.b, rules);
			o = opts(&p);
			rdying = cw_repo(dying, NULL);
			o.to = rdying;
			o.read_all = n % 2;
			o.jobs = 3;
			err = copy_run(&o, &r);
			cw_check(p.b);
			repo_free(rdying);
			store_free(dying);
			assert_int_equal(repo_refresh(p.rto, NULL), 0);
			o.to = p.rto;
			assert_int_equal(copy_run(&o, &r), 0);
			cw_same(p.a, p.b, ".cnt/");
			cw_same(p.a, p.b, ".chunks/");
			pair_end(&p);
			if (err == 0)
				break;
		}
	assert_true(n > 30);
}

/* A directory tells of each chunk, and what it has is not written again. */
static void
directories_are_touched(void **state)
{
	char path[128];
	struct copy_result r;
	struct copy_opts o;
	struct store *dir;
	struct repo *rdir;
	struct pair p;

	(void)state;
	pair_begin(&p);
	snprintf(path, sizeof(path), "%s/store/.chunks", p.dir.path);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0755), 0);
	*strrchr(path, '/') = '\0';
	assert_int_equal(store_dir_new(path, &dir), 0);
	for (uint32_t i = 0; i < 15; i++)
		cw_chunk(dir, i, NULL);
	rdir = cw_repo(dir, NULL);
	o = opts(&p);
	o.to = rdir;
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(r.listed, 0);
	assert_int_equal(r.sent, DISTINCT - 15);
	assert_int_equal(r.by_server, 0);
	cw_same(p.a, dir, ".cnt/host/");
	cw_same(p.a, dir, ".chunks/");
	cw_check(dir);
	repo_free(rdir);
	store_free(dir);
	pair_end(&p);
}

static void
marks_last_for_a_snapshot(void **state)
{
	const struct digest d = cw_digest(3, NULL);
	struct copy_result r;
	struct guard *guard;
	struct copy_opts o;
	struct pair p;
	bool spared;

	(void)state;
	pair_begin(&p);
	assert_int_equal(guard_new(NULL, NULL, &guard), 0);
	o = opts(&p);
	o.guard = guard;
	/* A collector that began before sees what the copy refers to. */
	assert_int_equal(guard_begin(guard), 0);
	assert_int_equal(copy_run(&o, &r), 0);
	assert_int_equal(guard_condemn(guard, &d, 1, &spared), 0);
	assert_true(spared);
	guard_end(guard);
	assert_false(guard_is_marked(guard, &d));
	guard_shutdown(guard);
	guard_free(guard);
	pair_end(&p);
}

static void
stops_when_told(void **state)
{
	atomic_bool stop = true;
	struct copy_result r;
	struct copy_opts o;
	struct pair p;

	(void)state;
	pair_begin(&p);
	o = opts(&p);
	o.stop = &stop;
	assert_int_equal(copy_run(&o, &r), -ECANCELED);
	assert_int_equal(r.copied, 0);
	assert_int_equal(p.seen.failed, 0);
	pair_end(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_is_copied_once),
	    cmocka_unit_test(server_copies),
	    cmocka_unit_test(what_is_there_is_not_sent),
	    cmocka_unit_test(picks_are_exact),
	    cmocka_unit_test(nothing_of_that_name),
	    cmocka_unit_test(damage_stays_where_it_is),
	    cmocka_unit_test(another_manifest_is_refused),
	    cmocka_unit_test(encrypted_ones_stay_so),
	    cmocka_unit_test(damaged_without_a_key),
	    cmocka_unit_test(dry_run_writes_nothing),
	    cmocka_unit_test(a_third_of_requests_fails),
	    cmocka_unit_test(killed_at_any_request),
	    cmocka_unit_test(directories_are_touched),
	    cmocka_unit_test(marks_last_for_a_snapshot),
	    cmocka_unit_test(stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
