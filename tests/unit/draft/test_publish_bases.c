/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../pbs/fixture.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "repo/repo.h"
#include "repo/tree.h"

#include "../cm.h"

#define T1 RIG_T
#define T2 (RIG_T + 60)

/* Groups of a store, so that they can be gone through while it changes. */
struct groups {
	struct group_name v[64];
	int64_t latest[64];
	size_t n;
};

static void
list_groups(struct rig *g, struct groups *l)
{
	struct tree *t = repo_tree(g->repo);

	l->n = 0;
	for (size_t k = 0; k < t->n_ns; k++) {
		const struct tree_ns *ns = &t->all_ns[k];

		for (size_t i = 0; i < ns->n_groups; i++) {
			const struct tree_group *gr = &ns->groups[i];
			const struct tree_snap *s = tree_latest(gr);

			if (s == NULL)
				continue;
			assert_true(l->n < ARRAY_SIZE(l->v));
			l->latest[l->n] = s->time;
			snprintf(l->v[l->n].ns, sizeof(l->v[0].ns), "%s",
			    ns->path);
			snprintf(l->v[l->n].id, sizeof(l->v[0].id), "%s",
			    gr->id);
			l->v[l->n++].type = gr->type;
		}
	}
	tree_unref(t);
}

static void
publish(struct rig *g, int64_t time)
{
	int r = draft_publish(g->d, time);

	if (r < 0)
		fail_msg("%s %s: %s", g->group.ns, g->group.id, strerror(-r));
}

/* A copy of each group's latest snapshot, and one with changes. */
static void
copy_group(struct rig *g, int64_t base)
{
	char *want = dump_snap(g, base), *draft, *snap;

	draft = dump_draft(g);
	dump_equal(draft, want);
	publish(g, T1);
	snap = dump_snap(g, T1);
	dump_equal(snap, want);
	free(draft);
	free(snap);
	free(want);
	/* Nothing is left to send the second time. */
	gate_reset(g->gate);
	publish(g, T1 + 1);
	assert_int_equal(g->gate->chunk_puts, 0);
	assert_int_equal(g->gate->chunk_gets, 0);
	fs_mkdir(g, "added");
	fs_text(g, "added/file", "new");
	draft = dump_draft(g);
	publish(g, T2);
	snap = dump_snap(g, T2);
	dump_equal(snap, draft);
	free(draft);
	free(snap);
}

static void
copy_all(const char *name, const char *top, const struct enc_key *key,
    int archive)
{
	struct groups l;
	struct rig g;

	rig_fixture(&g, name, top, BACKUP_HOST, "web1");
	g.o.key = key;
	g.o.archive = archive;
	/* Of the store alone. */
	snprintf(g.group.id, sizeof(g.group.id), "web1");
	rig_open(&g);
	list_groups(&g, &l);
	assert_true(l.n > 0);
	for (size_t i = 0; i < l.n; i++) {
		g.group = l.v[i];
		assert_int_equal(drafts_get(g.ds, &g.group, &g.d), 0);
		copy_group(&g, l.latest[i]);
	}
	rig_end(&g);
}

static void
test_plain(void **state)
{
	(void)state;
	copy_all("plain", "plain/", NULL, 0);
}

static void
test_plain_v1(void **state)
{
	(void)state;
	copy_all("plain", "plain/", NULL, 1);
}

static void
test_bucket(void **state)
{
	(void)state;
	copy_all("s3-bucket", "bucket/s3store/", NULL, 0);
}

/* From all keys to none. */
static void
test_decrypt(void **state)
{
	(void)state;
	copy_all("encrypted", "encrypted/", NULL, 0);
}

/* From all keys to one, which is some groups' own. */
static void
test_encrypt(void **state)
{
	struct fixture *f = fixture_load("encrypted");
	const struct enc_key *key = NULL;
	struct manifest *m;
	const char *path;
	size_t i = 0;

	(void)state;
	while (key == NULL &&
	    (path = fixture_next(f, &i, ".ppxar.didx")) != NULL) {
		m = fixture_manifest(f, path);
		key = m->key;
		manifest_unref(m);
	}
	fixture_free(f);
	if (key == NULL) {
		f = fixture_load("encrypted");
		i = 0;
		while (key == NULL &&
		    (path = fixture_next(f, &i, ".fidx")) != NULL) {
			m = fixture_manifest(f, path);
			key = m->key;
			manifest_unref(m);
		}
		fixture_free(f);
	}
	assert_non_null(key);
	copy_all("encrypted", "encrypted/", key, 0);
}

/* An unchanged split archive keeps its payload stream as it is, an image its
 * chunks. */
static void
test_same_index(void **state)
{
	struct index *a, *b;
	struct digest x, y;
	struct rig g;

	(void)state;
	rig_fixture(&g, "plain", "plain/", BACKUP_HOST, "myhost");
	rig_open(&g);
	gate_reset(g.gate);
	publish(&g, T1);
	/* Of 2024-01-04. */
	a = rig_index(&g, 1704326407, "root.ppxar.didx");
	b = rig_index(&g, T1, "root.ppxar.didx");
	x = index_csum(a);
	y = index_csum(b);
	assert_true(digest_eq(&x, &y));
	index_unref(a);
	index_unref(b);
	/* At most metadata was read, and none sent but that. */
	assert_true(g.gate->chunk_puts <= 2);
	rig_end(&g);
}

/* Whatever is wrong with a snapshot, one can be made of it, or that is refused;
 * what nobody has read may be damaged in both. */
static void
try_damaged(const struct fixture *f, const char *top)
{
	struct groups l;
	struct rig g;

	rig_begin(&g, false);
	gate_fill(g.gate, f, top);
	rig_open(&g);
	list_groups(&g, &l);
	for (size_t i = 0; i < l.n; i++) {
		g.group = l.v[i];
		if (drafts_get(g.ds, &g.group, &g.d) < 0 ||
		    draft_publish(g.d, T1) < 0)
			continue;
		fs_mkdir(&g, "added");
		(void)draft_publish(g.d, T2);
	}
	rig_end(&g);
}

static void
test_damaged(void **state)
{
	struct fixture *f = fixture_load("damaged");
	char top[256], last[256] = "";
	const char *path;
	size_t i = 0, n = 0, len;

	(void)state;
	while ((path = fixture_next(f, &i, "")) != NULL) {
		len = strcspn(path, "/") + 1;
		len += strcspn(path + len, "/") + 1;
		if (len >= sizeof(top) || len > strlen(path))
			continue;
		snprintf(top, sizeof(top), "%.*s", (int)len, path);
		if (streq(top, last))
			continue;
		snprintf(last, sizeof(last), "%s", top);
		try_damaged(f, top);
		n++;
	}
	assert_true(n > 30);
	fixture_free(f);
}

static int
drop_chunk(void *arg, const char *key, const struct store_object *o)
{
	struct rig *g = arg;

	/* Not the metadata, which is read to publish anything. */
	if (o->size > 4 * MIB)
		assert_int_equal(store_delete(g->gate->store, &key, 1, NULL,
		    NULL, 0), 0);
	return 0;
}

/* What is known to be gone is not taken over into a new snapshot, and the file
 * can be written anew. */
static void
test_missing(void **state)
{
	const size_t len = 24 * MIB;
	uint8_t *p = malloc(len);
	struct draft_file *f;
	struct rig g;
	uint64_t ino;
	char *snap;

	(void)state;
	assert_non_null(p);
	rig_noise(p, len, 1);
	rig_begin(&g, false);
	rig_open(&g);
	fs_mkdir(&g, "root");
	fs_write(&g, "root/big", p, len);
	publish(&g, T1);
	assert_int_equal(store_list(g.gate->store, ".chunks/", NULL,
	    drop_chunk, &g), 0);
	rig_restart(&g);
	fs_text(&g, "a.conf", "x");
	f = fs_open(&g, "root/big", O_RDONLY, &ino);
	for (uint64_t off = 0; off < len; off += MIB)
		fs_try_read(f, off, 1);
	draft_close(f);
	fs_forget(&g, ino);
	assert_int_equal(draft_publish(g.d, T2), -EIO);
	fs_write(&g, "root/big", p, len);
	publish(&g, T2);
	snap = dump_snap(&g, T2);
	free(snap);
	rig_end(&g);
	free(p);
}

/* The bytes of a fixture's stream give the fixture's index. */
static void
same_table(struct rig *g, const struct buf *golden, const char *server)
{
	const char *why;
	struct index *a, *b;
	struct digest x, y;

	assert_int_equal(index_open((struct buf *)(uintptr_t)golden, &a, &why),
	    0);
	b = rig_index(g, T1, server);
	assert_int_equal(index_count(a), index_count(b));
	assert_int_equal(index_size(a), index_size(b));
	x = index_csum(a);
	y = index_csum(b);
	assert_true(digest_eq(&x, &y));
	index_unref(a);
	index_unref(b);
}

static void
golden(uint64_t staging)
{
	static const char *const files[][2] = {
		{"plain/ct/200/2024-01-03T01:00:00Z/root.pxar.didx", "s"},
		{"plain/host/myhost/2024-01-01T00:00:07Z/root.pxar.didx", "t"},
	};
	struct fixture *f = fixture_load("plain");
	char name[32], server[64];
	const char *path;
	struct buf *b;
	struct rig g;
	size_t i = 0, n = 0;

	rig_begin(&g, false);
	g.o.staging = staging;
	rig_open(&g);
	while ((path = fixture_next(f, &i, ".fidx")) != NULL) {
		const char *why;
		struct index *x;
		uint64_t chunk;

		assert_int_equal(index_open(fixture_file(f, path), &x, &why),
		    0);
		chunk = index_chunk_size(x);
		index_unref(x);
		if (chunk != 4 * MIB)
			continue;
		b = fixture_stream(f, path);
		snprintf(name, sizeof(name), "disk%zu.img", n++);
		fs_write(&g, name, b->data, b->len);
		buf_unref(b);
	}
	assert_true(n > 3);
	for (size_t k = 0; k < ARRAY_SIZE(files); k++) {
		b = fixture_stream(f, files[k][0]);
		fs_write(&g, files[k][1], b->data, b->len);
		buf_unref(b);
	}
	publish(&g, T1);
	i = n = 0;
	while ((path = fixture_next(f, &i, ".fidx")) != NULL) {
		const char *why;
		struct index *x;
		uint64_t chunk;

		assert_int_equal(index_open(fixture_file(f, path), &x, &why),
		    0);
		chunk = index_chunk_size(x);
		index_unref(x);
		if (chunk != 4 * MIB)
			continue;
		snprintf(server, sizeof(server), "disk%zu.img.fidx", n++);
		same_table(&g, fixture_file(f, path), server);
	}
	for (size_t k = 0; k < ARRAY_SIZE(files); k++) {
		snprintf(server, sizeof(server), "%s.didx", files[k][1]);
		same_table(&g, fixture_file(f, files[k][0]), server);
	}
	fixture_free(f);
	rig_end(&g);
}

static void
test_golden(void **state)
{
	(void)state;
	golden(0);
}

/* The same while it is uploaded as it is written. */
static void
test_golden_spilled(void **state)
{
	(void)state;
	golden(12 * MIB);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_v1),
		cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_decrypt),
		cmocka_unit_test(test_encrypt),
		cmocka_unit_test(test_same_index),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_golden_spilled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
