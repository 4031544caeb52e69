/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../pbs/fixture.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "pbs/names.h"

#include "../cm.h"

/* Nothing plain is in an encrypted snapshot, and nothing under another key,
 * wherever the bytes have come from. */

struct way {
	enum crypt_mode mode;
	size_t key;		/* of fixture_keys() */
};

static int64_t next_time = RIG_T;

static const struct enc_key *
key_of(const struct way *w)
{
	return w->mode == CRYPT_NONE ? NULL :
	    keyring_at(fixture_keys(), w->key);
}

static void
set_way(struct rig *g, const struct way *w)
{
	g->o.key = key_of(w);
	g->o.sign_only = w->mode == CRYPT_SIGN;
}

static struct buf *
get(struct rig *g, const char *key)
{
	const struct store_get how = {.max = 64 * MIB};
	struct buf *b = NULL;

	if (store_get(g->gate->store, key, &how, &b, NULL) != 0)
		fail_msg("%s is not there", key);
	return b;
}

/* What is in the store of one snapshot. */
struct look {
	struct rig *g;
	const struct way *w;
	size_t n_chunks, n_blobs, n_key_blobs;
	uint8_t (*ivs)[16];		/* owned */
	size_t n_ivs;
};

static void
add_iv(struct look *l, const struct buf *raw)
{
	l->ivs = reallocarray(l->ivs, l->n_ivs + 1, sizeof(*l->ivs));
	assert_non_null(l->ivs);
	memcpy(l->ivs[l->n_ivs++], raw->data + 12, 16);
}

static void
check_kind(struct look *l, const struct buf *raw)
{
	enum blob_kind kind;

	assert_int_equal(blob_kind(raw->data, raw->len, &kind), 0);
	assert_int_equal(blob_is_encrypted(kind),
	    l->w->mode == CRYPT_ENCRYPT);
	if (blob_is_encrypted(kind))
		add_iv(l, raw);
}

static void
check_index(struct look *l, const char *path)
{
	const struct enc_key *key = l->w->mode == CRYPT_ENCRYPT ?
	    key_of(l->w) : NULL;
	char name[KEY_CHUNK_LEN + 1];
	struct buf *b = get(l->g, path), *raw, *plain;
	const char *why = "";
	struct index *x;

	assert_int_equal(index_open(b, &x, &why), 0);
	for (size_t i = 0; i < index_count(x); i++) {
		const struct index_chunk c = index_chunk(x, i);

		key_chunk(&c.digest, name);
		raw = get(l->g, name);
		check_kind(l, raw);
		assert_int_equal(chunk_decode_with(raw->data, raw->len,
		    &c.digest, c.end - c.start, key, &plain), 0);
		buf_unref(plain);
		buf_unref(raw);
		l->n_chunks++;
	}
	index_unref(x);
	buf_unref(b);
}

static void
check_manifest(struct look *l, const char *path)
{
	struct buf *b = get(l->g, path);
	const char *why = "";
	struct manifest *m;
	char fp[FINGERPRINT_LEN + 1];

	assert_int_equal(manifest_parse(b->data, b->len, &m, &why), 0);
	for (size_t i = 0; i < m->n_files; i++)
		assert_int_equal(m->files[i].crypt, l->w->mode);
	if (l->w->mode == CRYPT_NONE) {
		assert_null(m->signature);
		assert_null(m->key_fingerprint);
	} else {
		fingerprint_format(enc_key_fingerprint(key_of(l->w)), fp);
		assert_string_equal(m->key_fingerprint, fp);
		assert_int_equal(manifest_verify(m, key_of(l->w)), 0);
	}
	manifest_unref(m);
	buf_unref(b);
}

static int
check_file(void *arg, const char *path, const struct store_object *o)
{
	const char *name = strrchr(path, '/') + 1;
	struct look *l = arg;
	enum blob_kind kind;
	struct buf *b;

	(void)o;
	if (streq(name, "index.json.blob")) {
		check_manifest(l, path);
	} else if (streq(name, "rsa-encrypted.key.blob")) {
		b = get(l->g, path);
		assert_int_equal(blob_kind(b->data, b->len, &kind), 0);
		assert_int_equal(kind, BLOB_PLAIN);
		buf_unref(b);
		l->n_key_blobs++;
	} else if (str_ends(name, ".blob")) {
		b = get(l->g, path);
		check_kind(l, b);
		buf_unref(b);
		l->n_blobs++;
	} else {
		check_index(l, path);
	}
	return 0;
}

static int
by_iv(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static struct look
check_snap(struct rig *g, int64_t time, const struct way *w)
{
	struct look l = {.g = g, .w = w};
	char name[CLOCK_UTC_LEN + 1], prefix[512];

	assert_int_equal(clock_format_utc(name, time), 0);
	snprintf(prefix, sizeof(prefix), ".cnt/%s/%s/%s/",
	    backup_type_name(g->group.type), g->group.id, name);
	assert_int_equal(store_list(g->gate->store, prefix, NULL, check_file,
	    &l), 0);
	assert_true(l.n_chunks > 0 && l.n_blobs > 0);
	free(l.ivs);
	l.ivs = NULL;
	return l;
}

static int64_t
publish(struct rig *g)
{
	int r;

	gate_reset(g->gate);
	r = draft_publish(g->d, ++next_time);
	if (r < 0)
		fail_msg("publish: %s", strerror(-r));
	return next_time;
}

static void
check_dump(struct rig *g, const char *want, int64_t time)
{
	char *snap = dump_snap(g, time);

	dump_equal(want, snap);
	free(snap);
}

#define N_SMALL 40
#define NOISE (9 * MIB)

/* Something of every kind; 23 MiB. */
static void
fill(struct rig *g)
{
	uint8_t *p = malloc(NOISE);
	char path[64];

	assert_non_null(p);
	rig_noise(p, NOISE, 7);
	fs_mkdir(g, "root");
	fs_mkdir(g, "root/sub");
	for (size_t i = 0; i < N_SMALL; i++) {
		snprintf(path, sizeof(path), "root/%sf%zu", i % 2 ? "sub/" : "",
		    i);
		fs_write(g, path, p + i * 1000, 100000 + i * 100);
	}
	fs_write(g, "root/large", p + 1000, 6 * MIB + 5);
	memset(p + 4 * MIB, 0, 4 * MIB);
	fs_write(g, "disk.img", p, NOISE);
	fs_write(g, "stream", p + 100, 3 * MIB + 7);
	fs_write(g, "x.conf", p, 1000);
	free(p);
}

static const struct way ways[] = {
    {CRYPT_NONE, 0},
    {CRYPT_ENCRYPT, 0},
    {CRYPT_ENCRYPT, 1},
    {CRYPT_SIGN, 1},
    {CRYPT_ENCRYPT, 0},
    {CRYPT_NONE, 0},
    {CRYPT_SIGN, 0},
};

/* Over every kind of base. */
static void
all_ways(int archive)
{
	char *want = NULL;
	struct look l;
	struct rig g;
	int64_t t;

	rig_begin(&g, false);
	g.o.archive = archive;
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		set_way(&g, &ways[i]);
		rig_open(&g);
		if (i == 0)
			fill(&g);
		else
			/* Touches no content. */
			fs_chmod(&g, "root/f0", 0600 + (mode_t)i);
		free(want);
		want = dump_draft(&g);
		t = publish(&g);
		l = check_snap(&g, t, &ways[i]);
		check_dump(&g, want, t);
		/* Again with the same: what is there is taken over. */
		fs_chmod(&g, "root/sub/f1", 0600 + (mode_t)i);
		t = publish(&g);
		assert_true(g.gate->chunk_puts <= 2);
		/* Of a whole archive, what lies beside it in its chunk. */
		assert_true(g.gate->chunk_bytes <
		    (archive == 1 ? NOISE : 100000));
		assert_int_equal(check_snap(&g, t, &ways[i]).n_chunks,
		    l.n_chunks);
		rig_close(&g);
	}
	free(want);
	rig_end(&g);
}

static void
test_all_ways_split(void **state)
{
	(void)state;
	all_ways(2);
}

static void
test_all_ways_v1(void **state)
{
	(void)state;
	all_ways(1);
}

/* Everything is written anew, with what it had. */
static void
test_dedup_within_a_key(void **state)
{
	const struct way w = {CRYPT_ENCRYPT, 0}, other = {CRYPT_ENCRYPT, 1};
	uint8_t *p = malloc(NOISE);
	struct rig g;

	(void)state;
	rig_noise(p, NOISE, 1);
	rig_begin(&g, false);
	set_way(&g, &w);
	rig_open(&g);
	fs_write(&g, "a.img", p, NOISE);
	fs_text(&g, "x.conf", "x");
	check_snap(&g, publish(&g), &w);
	assert_int_equal(g.gate->chunk_puts, 3);
	/* In a mount that has not seen the upload. */
	rig_restart(&g);
	fs_write(&g, "a.img", p, NOISE);
	fs_write(&g, "b.img", p, NOISE);
	check_snap(&g, publish(&g), &w);
	assert_int_equal(g.gate->chunk_puts, 0);
	/* Under another key nothing of it is the same. */
	rig_close(&g);
	set_way(&g, &other);
	rig_open(&g);
	fs_write(&g, "a.img", p, NOISE);
	fs_unlink(&g, "b.img");
	check_snap(&g, publish(&g), &other);
	assert_int_equal(g.gate->chunk_puts, 3);
	rig_end(&g);
	free(p);
}

static void
add_uploaded(void *arg, const struct draft_state *s)
{
	*(uint64_t *)arg += s->uploaded;
}

static uint64_t
uploaded(struct rig *g)
{
	uint64_t n = 0;

	drafts_each(g->ds, add_uploaded, &n);
	return n;
}

static void
sync_file(struct rig *g, const char *path)
{
	uint64_t ino = fs_ino(g, path, NULL);

	assert_int_equal(draft_fsync(g->d, ino), 0);
	fs_forget(g, ino);
}

/* What one mount has uploaded before publishing, another one goes on with. */
static void
resume(const struct way *from, const struct way *to, bool packed)
{
	struct rig g;
	char *want;
	int64_t t;

	rig_begin(&g, false);
	set_way(&g, from);
	g.o.fsync_store = !packed;
	/* Less than there is: small files are packed. */
	if (packed)
		g.o.staging = 8 * MIB;
	rig_open(&g);
	fill(&g);
	if (!packed) {
		sync_file(&g, "root/large");
		sync_file(&g, "root/f0");
		sync_file(&g, "disk.img");
		sync_file(&g, "stream");
	}
	assert_true(uploaded(&g) > 8 * MIB);
	want = dump_draft(&g);
	rig_close(&g);
	set_way(&g, to);
	rig_open(&g);
	assert_true(uploaded(&g) > 8 * MIB);
	/* And some more, beside it. */
	fs_text(&g, "root/f0", "new");
	fs_pwrite(&g, "disk.img", "new", 3, 100);
	free(want);
	want = dump_draft(&g);
	t = publish(&g);
	check_snap(&g, t, to);
	check_dump(&g, want, t);
	rig_end(&g);
	free(want);
}

static void
test_resume_other_way(void **state)
{
	static const unsigned pairs[][2] = {
	    {0, 1}, {1, 0}, {1, 1}, {1, 2}, {1, 3}, {3, 2}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
		resume(&ways[pairs[i][0]], &ways[pairs[i][1]], false);
}

static void
test_resume_packed(void **state)
{
	(void)state;
	resume(&ways[0], &ways[1], true);
	resume(&ways[1], &ways[2], true);
	resume(&ways[1], &ways[0], true);
	resume(&ways[1], &ways[1], true);
}

static struct keyring *
ring_of(size_t i)
{
	struct keyring *r;
	const struct enc_key *k = keyring_at(fixture_keys(), i);
	struct enc_key *copy;

	assert_int_equal(enc_key_new(enc_key_raw(k), &copy), 0);
	assert_int_equal(keyring_new(&r), 0);
	assert_int_equal(keyring_add(r, copy), 0);
	enc_key_unref(copy);
	return r;
}

/* The key that some of it was uploaded with is not there: nothing is lost. */
static void
test_resume_without_key(void **state)
{
	static const struct way lacking[] = {
	    {CRYPT_NONE, 0}, {CRYPT_ENCRYPT, 1}};
	const struct way w = {CRYPT_ENCRYPT, 0};
	struct draft_file *f;
	struct rig g;
	uint64_t ino;
	char *want;
	int64_t t;

	(void)state;
	rig_begin(&g, false);
	set_way(&g, &w);
	g.o.fsync_store = true;
	rig_open(&g);
	fill(&g);
	sync_file(&g, "root/large");
	want = dump_draft(&g);
	for (size_t i = 0; i < ARRAY_SIZE(lacking); i++) {
		rig_close(&g);
		set_way(&g, &lacking[i]);
		g.keys = ring_of(1);
		rig_open(&g);
		f = fs_open(&g, "root/large", O_RDONLY, &ino);
		assert_int_equal(fs_try_read(f, 0, 4096), -ENOKEY);
		draft_close(f);
		fs_forget(&g, ino);
		assert_int_equal(draft_publish(g.d, ++next_time), -ENOKEY);
		rig_close(&g);
		keyring_unref(g.keys);
		g.keys = NULL;
		set_way(&g, &w);
		rig_open(&g);
	}
	t = publish(&g);
	check_snap(&g, t, &w);
	check_dump(&g, want, t);
	free(want);
	rig_end(&g);
}

/* An encrypted base whose key is not there. */
static void
test_base_without_key(void **state)
{
	const struct way w = {CRYPT_ENCRYPT, 0}, none = {CRYPT_NONE, 0};
	struct rig g;
	int64_t t;

	(void)state;
	rig_begin(&g, false);
	set_way(&g, &w);
	rig_open(&g);
	fill(&g);
	publish(&g);
	rig_close(&g);
	set_way(&g, &none);
	g.keys = ring_of(1);
	rig_open(&g);
	fs_text(&g, "new.conf", "plain");
	assert_int_equal(draft_publish(g.d, ++next_time), -ENOKEY);
	rig_close(&g);
	keyring_unref(g.keys);
	g.keys = NULL;
	rig_open(&g);
	t = publish(&g);
	check_snap(&g, t, &none);
	assert_true(rig_has(&g, t, "new.conf.blob"));
	rig_end(&g);
}

/* What the server has, under the same key, is taken over as it is. */
static void
golden(enum backup_type type, const char *id, const struct way *w, int archive)
{
	struct rig g;
	char *want;
	int64_t t;

	rig_fixture(&g, "encrypted", "encrypted/", type, id);
	set_way(&g, w);
	g.o.archive = archive;
	rig_open(&g);
	fs_text(&g, "new.conf", "new");
	want = dump_draft(&g);
	t = publish(&g);
	check_snap(&g, t, w);
	check_dump(&g, want, t);
	/* Metadata and a catalog, at the most. */
	assert_true(g.gate->chunk_puts <= 2);
	/* Then under another one. */
	rig_close(&g);
	set_way(&g, &(struct way){CRYPT_ENCRYPT, 1});
	rig_open(&g);
	fs_text(&g, "new.conf", "newer");
	free(want);
	want = dump_draft(&g);
	t = publish(&g);
	check_snap(&g, t, &(struct way){CRYPT_ENCRYPT, 1});
	check_dump(&g, want, t);
	free(want);
	rig_end(&g);
}

static void
test_golden(void **state)
{
	(void)state;
	golden(BACKUP_VM, "100", &(struct way){CRYPT_ENCRYPT, 0}, 2);
	golden(BACKUP_CT, "200", &(struct way){CRYPT_ENCRYPT, 2}, 1);
}

static void
test_key_blob(void **state)
{
	struct buf *b = buf_copy("not to be packed: aaaaaaaaaaaaaaaaaaaa", 38);
	struct rig g;

	(void)state;
	rig_begin(&g, false);
	for (size_t i = 0; i < 4; i++) {
		set_way(&g, &ways[i]);
		g.o.key_blob = b;
		rig_open(&g);
		if (i == 0)
			fill(&g);
		else
			fs_chmod(&g, "root/f0", 0600 + (mode_t)i);
		assert_int_equal(check_snap(&g, publish(&g),
		    &ways[i]).n_key_blobs, ways[i].mode != CRYPT_NONE);
		rig_close(&g);
	}
	rig_end(&g);
	buf_unref(b);
}

/* Every object has one of its own. */
static void
test_ivs(void **state)
{
	const struct way w = {CRYPT_ENCRYPT, 0};
	struct look l = {.w = &w};
	uint8_t p[64] = {0};
	struct buf *b;
	unsigned ones[128] = {0};
	const size_t n = 4096;

	(void)state;
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(chunk_encode(p, sizeof(p), key_of(&w), true,
		    &b), 0);
		add_iv(&l, b);
		for (unsigned k = 0; k < 128; k++)
			ones[k] += b->data[12 + k / 8] >> k % 8 & 1;
		buf_unref(b);
	}
	qsort(l.ivs, n, 16, by_iv);
	for (size_t i = 1; i < n; i++)
		assert_true(memcmp(l.ivs[i - 1], l.ivs[i], 16) != 0);
	/* Each bit is set in half of them; eight deviations of 32 are never
	 * seen by chance. */
	for (unsigned k = 0; k < 128; k++)
		assert_in_range(ones[k], n / 2 - 8 * 32, n / 2 + 8 * 32);
	free(l.ivs);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_ways_split),
		cmocka_unit_test(test_all_ways_v1),
		cmocka_unit_test(test_dedup_within_a_key),
		cmocka_unit_test(test_resume_other_way),
		cmocka_unit_test(test_resume_packed),
		cmocka_unit_test(test_resume_without_key),
		cmocka_unit_test(test_base_without_key),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_key_blob),
		cmocka_unit_test(test_ivs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
