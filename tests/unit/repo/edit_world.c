/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edit_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "store/backends.h"

#include "../cm.h"

const struct group_name w_group = {"", BACKUP_HOST, "web1"};
const struct group_name w_prefix = {"", BACKUP_HOST, "web10"};
const struct group_name w_nested = {"a", BACKUP_HOST, "web1"};
const struct group_name w_inner = {"a/b", BACKUP_HOST, "web1"};

/* 0: go on; 1: do it and fail; -errno. */
static int
trip(struct trip *t, enum store_verb v)
{
	LOCK(&t->lock);

	t->n[v]++;
	pthread_cond_broadcast(&t->change);
	t->calls++;
	if (t->fail_at == 0 || t->calls < t->fail_at)
		return 0;
	if (t->calls > t->fail_at)
		return t->mode == FAIL_ALL_AFTER ||
		    t->mode == FAIL_LOST_ALL_AFTER ? t->error : 0;
	return t->mode == FAIL_LOST || t->mode == FAIL_LOST_ALL_AFTER ? 1 :
	    t->error;
}

static int
trip_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *o)
{
	struct trip *t = (struct trip *)s;
	int r = trip(t, STORE_GET);

	return r != 0 ? t->error : store_get(s->below, key, how, ret, o);
}

static int
trip_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *o)
{
	struct trip *t = (struct trip *)s;
	int r = trip(t, STORE_PUT), e;

	if (r < 0)
		return r;
	{
		LOCK(&t->lock);
		snprintf(t->last_put, sizeof(t->last_put), "%s", key);
	}
	e = store_put(s->below, key, p, len, how, o);
	return r == 1 ? t->error : e;
}

static int
trip_stat(struct store *s, const char *key, deadline_t d,
    struct store_object *o)
{
	struct trip *t = (struct trip *)s;
	int r = trip(t, STORE_STAT);

	return r != 0 ? t->error : store_stat(s->below, key, d, o);
}

static int
trip_list(struct store *s, const char *prefix, const char *after,
    store_list_fn *fn, void *arg)
{
	struct trip *t = (struct trip *)s;
	int r = trip(t, STORE_LIST);

	r = r != 0 ? t->error : store_list(s->below, prefix, after, fn, arg);
	LOCK(&t->lock);
	while (t->hold_list)
		pthread_cond_wait(&t->change, &t->lock);
	return r;
}

static int
trip_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t d)
{
	struct trip *t = (struct trip *)s;
	int r = trip(t, STORE_DELETE), e;

	if (r < 0)
		return r;
	if (t->first_deleted[0] == '\0')
		snprintf(t->first_deleted, sizeof(t->first_deleted), "%s",
		    keys[0]);
	e = store_delete(s->below, keys, n, fn, arg, d);
	return r == 1 ? t->error : e;
}

static void
trip_free(struct store *s)
{
	pthread_mutex_destroy(&((struct trip *)s)->lock);
	pthread_cond_destroy(&((struct trip *)s)->change);
	free(s);
}

static struct trip *
trip_new(struct store *below)
{
	static const struct store_ops ops = {
	    .get = trip_get,
	    .put = trip_put,
	    .stat = trip_stat,
	    .list = trip_list,
	    .del = trip_del,
	    .free = trip_free,
	};
	struct trip *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->s.ops = &ops;
	t->s.below = below;
	t->s.name = "trip";
	t->error = -EHOSTDOWN;
	pthread_mutex_init(&t->lock, NULL);
	assert_int_equal(cond_init(&t->change), 0);
	return t;
}

static void
put(struct store *s, const char *key, const void *p, size_t len)
{
	assert_int_equal(store_put(s, key, p, len, NULL, NULL), 0);
}

void
new_snap_init(struct new_snap *n, const struct group_name *g, int64_t time,
    const char *text)
{
	const uint8_t uuid[16] = {1};
	char hex[DIGEST_HEX_LEN + 1];
	struct digest chunk = digest_of(text, strlen(text));
	struct index_writer *w;
	struct str json = {0};

	memset(n, 0, sizeof(*n));
	n->s.group = *g;
	n->s.time = time;
	n->s.files = n->files;
	n->s.n_files = ARRAY_SIZE(n->files);
	assert_int_equal(index_writer_fixed(4096, 4096, &w), 0);
	assert_int_equal(index_writer_add(w, 4096, &chunk), 0);
	assert_int_equal(index_writer_finish(w, uuid, 1, &n->files[0].data), 0);
	index_writer_free(w);
	n->files[0].size = 4096;
	n->files[0].csum = digest_of(n->files[0].data->data +
	    INDEX_HEADER_LEN, n->files[0].data->len - INDEX_HEADER_LEN);
	snprintf(n->files[0].name, sizeof(n->files[0].name), "d.img.fidx");
	for (int i = 1; i < 3; i++) {
		struct snapshot_file *f = &n->files[i];

		snprintf(f->name, sizeof(f->name), "%d.conf.blob", i);
		assert_int_equal(blob_encode(text, strlen(text), true,
		    &f->data), 0);
		f->size = f->data->len;
		f->csum = digest_of(f->data->data, f->data->len);
	}
	str_addf(&json, "{\"backup-type\":\"%s\",\"backup-id\":\"%s\","
	    "\"backup-time\":%lld,\"files\":[", backup_type_name(g->type),
	    g->id, (long long)time);
	for (size_t i = 0; i < 3; i++)
		str_addf(&json, "%s{\"filename\":\"%s\",\"size\":%llu,"
		    "\"csum\":\"%s\",\"crypt-mode\":\"none\"}",
		    i > 0 ? "," : "", n->files[i].name,
		    (unsigned long long)n->files[i].size,
		    digest_hex(&n->files[i].csum, hex));
	str_add(&json, "],\"unprotected\":{},\"signature\":null}");
	assert_int_equal(blob_encode(json.s, json.len, true,
	    &n->s.manifest), 0);
	str_fini(&json);
}

void
new_snap_fini(struct new_snap *n)
{
	for (size_t i = 0; i < ARRAY_SIZE(n->files); i++)
		buf_unref(n->files[i].data);
	buf_unref(n->s.manifest);
}

static void
seed_snap(struct store *s, const struct group_name *g, int64_t time,
    bool protect)
{
	char key[KEY_MAX + 1];
	struct new_snap n;

	new_snap_init(&n, g, time, "seed");
	for (size_t i = 0; i < n.s.n_files; i++) {
		assert_int_equal(key_file(key, g->ns, g->type, g->id, time,
		    n.files[i].name), 0);
		put(s, key, n.files[i].data->data, n.files[i].data->len);
	}
	if (protect) {
		key_file(key, g->ns, g->type, g->id, time, ".protected");
		put(s, key, "", 0);
	}
	key_file(key, g->ns, g->type, g->id, time, "index.json.blob");
	put(s, key, n.s.manifest->data, n.s.manifest->len);
	new_snap_fini(&n);
}

static void
seed(struct store *s)
{
	static const char *const owners[] = {".cnt/host/web1/owner",
	    ".cnt/host/web10/owner", ".cnt/ns/a/host/web1/owner",
	    ".cnt/ns/ab/host/web1/owner", ".cnt/ns/a/ns/b/host/web1/owner"};
	static const struct group_name ab = {"ab", BACKUP_HOST, "web1"};

	put(s, ".cnt/ns/a/.namespace", "", 0);
	put(s, ".cnt/ns/ab/.namespace", "", 0);
	put(s, ".cnt/ns/a/ns/b/.namespace", "", 0);
	for (size_t i = 0; i < ARRAY_SIZE(owners); i++)
		put(s, owners[i], "root@pam\n", 9);
	seed_snap(s, &w_group, W_TIME, false);
	seed_snap(s, &w_group, W_TIME + 3600, true);
	seed_snap(s, &w_prefix, W_TIME, false);
	seed_snap(s, &w_nested, W_TIME, false);
	seed_snap(s, &ab, W_TIME, false);
	seed_snap(s, &w_inner, W_TIME, false);
}

void
world_open(struct world *w, bool is_dir)
{
	struct repo_opts o = {.timeout_ms = 5000};
	char path[256];
	struct store *s;

	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "%s/edit-XXXXXX",
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(w->dir));
	w->is_dir = is_dir;
	snprintf(path, sizeof(path), "%s/store/.chunks", w->dir);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0755), 0);
	snprintf(path, sizeof(path), "%s/store", w->dir);
	if (is_dir)
		assert_int_equal(store_dir_new(path, &s), 0);
	else
		assert_int_equal(store_mem_new(&s), 0);
	seed(s);
	w->trip = trip_new(s);
	snprintf(path, sizeof(path), "%s/listing", w->dir);
	o.listing = path;
	assert_int_equal(repo_open(&w->trip->s, &o, &w->repo), 0);
	world_reset(w);
}

void
world_reset(struct world *w)
{
	int error = w->trip->error;

	memset(w->trip->n, 0, sizeof(w->trip->n));
	w->trip->calls = w->trip->fail_at = 0;
	w->trip->first_deleted[0] = w->trip->last_put[0] = '\0';
	w->trip->error = error;
}

void
world_await(struct world *w, enum store_verb v, unsigned n)
{
	deadline_t d = deadline_in(10000);
	LOCK(&w->trip->lock);

	while (w->trip->n[v] < n)
		assert_int_equal(cond_wait_until(&w->trip->change,
		    &w->trip->lock, d), 0);
}

void
world_hold_list(struct world *w, bool hold)
{
	LOCK(&w->trip->lock);

	w->trip->hold_list = hold;
	pthread_cond_broadcast(&w->trip->change);
}

void
world_close(struct world *w)
{
	repo_free(w->repo);
	assert_int_equal(io_remove_tree(AT_FDCWD, w->dir), 0);
}

static int
picture_add(void *arg, const char *key, const struct store_object *o)
{
	struct picture *p = arg;
	struct picture_entry *e;

	(void)o;
	p->v = reallocarray(p->v, p->n + 1, sizeof(*p->v));
	assert_non_null(p->v);
	e = &p->v[p->n++];
	snprintf(e->key, sizeof(e->key), "%s", key);
	return 0;
}

void
picture_take(struct world *w, struct picture *p)
{
	const struct store_get how = {.max = SIZE_MAX};
	struct store *s = w->trip->s.below;

	memset(p, 0, sizeof(*p));
	assert_int_equal(store_list(s, ".cnt/", NULL, picture_add, p), 0);
	for (size_t i = 0; i < p->n; i++) {
		struct buf *b;

		assert_int_equal(store_get(s, p->v[i].key, &how, &b, NULL), 0);
		p->v[i].d = digest_of(b->data, b->len);
		buf_unref(b);
	}
}

void
picture_free(struct picture *p)
{
	free(p->v);
}

static const struct picture_entry *
find(const struct picture *p, const char *key)
{
	for (size_t i = 0; i < p->n; i++)
		if (streq(p->v[i].key, key))
			return &p->v[i];
	return NULL;
}

bool
picture_has(const struct picture *p, const char *key)
{
	return find(p, key) != NULL;
}

static void
compare(const struct picture *a, const struct picture *b, const char *except)
{
	for (size_t i = 0; i < a->n; i++) {
		const struct picture_entry *e = &a->v[i], *x;

		if (except != NULL && str_starts(e->key, except))
			continue;
		x = find(b, e->key);
		if (x == NULL || !digest_eq(&x->d, &e->d))
			fail_msg("%s is another one", e->key);
	}
}

void
picture_compare(const struct picture *a, const struct picture *b,
    const char *except)
{
	compare(a, b, except);
	compare(b, a, except);
}

/* The manifest at key: each of its files is there. */
static void
check_snap(struct world *w, const char *key)
{
	const struct store_get how = {.max = SIZE_MAX};
	struct store *s = w->trip->s.below;
	struct manifest *m;
	const char *why;
	struct buf *b;
	size_t dir = strlen(key) - strlen("index.json.blob");

	assert_int_equal(store_get(s, key, &how, &b, NULL), 0);
	assert_int_equal(manifest_parse(b->data, b->len, &m, &why), 0);
	buf_unref(b);
	for (size_t i = 0; i < m->n_files; i++) {
		size_t skip = str_ends(m->files[i].name, ".fidx") ?
		    INDEX_HEADER_LEN : 0;
		char file[KEY_MAX + 1];
		struct digest d;

		snprintf(file, sizeof(file), "%.*s%s", (int)dir, key,
		    m->files[i].name);
		if (store_get(s, file, &how, &b, NULL) != 0)
			fail_msg("%s is missing", file);
		d = digest_of(b->data + skip, b->len - skip);
		assert_true(digest_eq(&d, &m->files[i].csum));
		buf_unref(b);
	}
	manifest_unref(m);
}

void
world_check(struct world *w)
{
	char owner[KEY_MAX + 1];
	struct key_parts k;
	struct picture p;

	picture_take(w, &p);
	for (size_t i = 0; i < p.n; i++) {
		char id[NAME_LEN_MAX + 1];

		key_parse(p.v[i].key, &k);
		if (k.kind != KEY_FILE)
			continue;
		snprintf(id, sizeof(id), "%.*s", (int)k.id_len, k.id);
		assert_int_equal(key_group(owner, k.ns, k.type, id, "owner"),
		    0);
		assert_non_null(find(&p, owner));
		if (str_ends(p.v[i].key, "/index.json.blob"))
			check_snap(w, p.v[i].key);
	}
	picture_free(&p);
}

void
world_shows_all(struct world *w)
{
	struct repo_changes c;
	unsigned fail = w->trip->fail_at;

	w->trip->fail_at = 0;
	assert_int_equal(repo_refresh(w->repo, &c), 0);
	w->trip->fail_at = fail;
	assert_int_equal(c.added, 0);
	assert_int_equal(c.removed, 0);
	assert_int_equal(c.changed, 0);
	assert_int_equal(c.snaps_added + c.snaps_removed, 0);
}

const struct tree_snap *
world_snap(struct tree *t, const struct group_name *g, int64_t time)
{
	const struct tree_ns *ns = tree_find_ns(t, g->ns);
	const struct tree_group *tg;

	tg = ns == NULL ? NULL : tree_find_group(ns, g->type, g->id);
	return tg == NULL ? NULL : tree_find_snap(tg, time);
}
