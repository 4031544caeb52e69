/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "copy_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "repo/repo.h"
#include "store/store.h"

#include "../cm.h"

static void
put(struct store *s, const char *key, const void *p, size_t len)
{
	assert_int_equal(store_put(s, key, p, len, NULL, NULL), 0);
}

static struct buf *
get(struct store *s, const char *key)
{
	const struct store_get how = {.max = SIZE_MAX};
	struct buf *b;

	return store_get(s, key, &how, &b, NULL) == 0 ? b : NULL;
}

static void
content(uint32_t number, char out[CW_CHUNK])
{
	memset(out, 0, CW_CHUNK);
	if (number != CW_ZERO)
		snprintf(out, CW_CHUNK, "chunk %u", number);
}

struct digest
cw_digest(uint32_t number, const struct enc_key *key)
{
	char text[CW_CHUNK];
	struct digest d;

	content(number, text);
	if (key == NULL)
		return digest_of(text, CW_CHUNK);
	assert_int_equal(enc_key_digest(key, text, CW_CHUNK, &d), 0);
	return d;
}

void
cw_chunk(struct store *s, uint32_t number, const struct enc_key *key)
{
	struct digest d = cw_digest(number, key);
	char text[CW_CHUNK], name[KEY_CHUNK_LEN + 1];
	const struct store_put how = {.if_absent = true};
	struct buf *b;

	content(number, text);
	assert_int_equal(chunk_encode(text, CW_CHUNK, key, true, &b), 0);
	key_chunk(&d, name);
	assert_in_range(store_put(s, name, b->data, b->len, &how, NULL), 0, 1);
	buf_unref(b);
}

void
cw_delete(struct store *s, uint32_t number, const struct enc_key *key)
{
	struct digest d = cw_digest(number, key);
	char name[KEY_CHUNK_LEN + 1];
	const char *keys[] = {name};

	key_chunk(&d, name);
	assert_int_equal(store_delete(s, keys, 1, NULL, NULL, 0), 0);
}

void
cw_flip(struct store *s, uint32_t number, const struct enc_key *key,
    size_t off)
{
	struct digest d = cw_digest(number, key);
	char name[KEY_CHUNK_LEN + 1];
	struct buf *b, *c;

	key_chunk(&d, name);
	b = get(s, name);
	assert_non_null(b);
	c = buf_copy(b->data, b->len);
	c->data[off] ^= 1;
	put(s, name, c->data, c->len);
	buf_unref(b);
	buf_unref(c);
}

bool
cw_is_good(struct store *s, uint32_t number, const struct enc_key *key)
{
	struct digest d = cw_digest(number, key);
	char name[KEY_CHUNK_LEN + 1];
	struct buf *b, *plain;
	int r;

	key_chunk(&d, name);
	b = get(s, name);
	if (b == NULL)
		return false;
	r = chunk_decode_with(b->data, b->len, &d, CW_CHUNK, key, &plain);
	buf_unref(b);
	if (r == 0)
		buf_unref(plain);
	return r == 0;
}

static struct buf *
make_index(struct store *s, const struct cw_snap *x)
{
	const uint8_t uuid[16] = {1};
	struct index_writer *w;
	struct digest d;
	struct buf *b;

	assert_int_equal(index_writer_fixed((uint64_t)(x->n + 2) * CW_CHUNK,
	    CW_CHUNK, &w), 0);
	for (uint32_t i = 0; i < x->n + 2; i++) {
		uint32_t number = i < x->n ? x->first + i : CW_ZERO;

		cw_chunk(s, number, x->key);
		d = cw_digest(number, x->key);
		assert_int_equal(index_writer_add(w, CW_CHUNK, &d), 0);
	}
	assert_int_equal(index_writer_finish(w, uuid, 1, &b), 0);
	index_writer_free(w);
	return b;
}

static void
add_file(struct str *json, const char *name, uint64_t size,
    const struct digest *csum, const struct enc_key *key)
{
	char hex[DIGEST_HEX_LEN + 1];

	str_addf(json, "{\"filename\":\"%s\",\"size\":%llu,\"csum\":\"%s\","
	    "\"crypt-mode\":\"%s\"}", name, (unsigned long long)size,
	    digest_hex(csum, hex), key != NULL ? "encrypt" : "none");
}

void
cw_put(struct store *s, const struct cw_snap *x)
{
	const struct group_name *g = &x->group;
	struct buf *index = make_index(s, x), *blob, *manifest;
	char key[KEY_MAX + 1];
	struct str json = {0};
	struct digest csum;

	assert_int_equal(key_group(key, g->ns, g->type, g->id, "owner"), 0);
	put(s, key, "alice@pbs\n", 10);
	str_addf(&json, "{\"backup-type\":\"%s\",\"backup-id\":\"%s\","
	    "\"backup-time\":%lld,\"files\":[", backup_type_name(g->type),
	    g->id, (long long)x->time);
	csum = digest_of(index->data + INDEX_HEADER_LEN,
	    index->len - INDEX_HEADER_LEN);
	add_file(&json, "d.img.fidx", (uint64_t)(x->n + 2) * CW_CHUNK, &csum,
	    x->key);
	assert_int_equal(key_file(key, g->ns, g->type, g->id, x->time,
	    "d.img.fidx"), 0);
	put(s, key, index->data, index->len);
	buf_unref(index);
	assert_int_equal(blob_encode("conf", 4, true, &blob), 0);
	csum = digest_of(blob->data, blob->len);
	str_addc(&json, ',');
	add_file(&json, "c.conf.blob", blob->len, &csum, NULL);
	key_file(key, g->ns, g->type, g->id, x->time, "c.conf.blob");
	put(s, key, blob->data, blob->len);
	/* It comes after the manifest. */
	key_file(key, g->ns, g->type, g->id, x->time, "client.log.blob");
	put(s, key, blob->data, blob->len);
	buf_unref(blob);
	str_add(&json, "],\"unprotected\":{");
	if (x->verify != NULL)
		str_addf(&json, "\"verify_state\":{\"state\":\"%s\","
		    "\"upid\":\"UPID:x:0000A1B2:00C3D4E5:00000001:6592A0C0:"
		    "verify:x:root@pam:\"}", x->verify);
	str_add(&json, "},\"signature\":null}");
	assert_int_equal(blob_encode(json.s, json.len, true, &manifest), 0);
	if (x->protect) {
		key_file(key, g->ns, g->type, g->id, x->time, ".protected");
		put(s, key, "", 0);
	}
	key_file(key, g->ns, g->type, g->id, x->time, "index.json.blob");
	put(s, key, manifest->data, manifest->len);
	buf_unref(manifest);
	str_fini(&json);
}

static int
count_one(void *arg, const char *key, const struct store_object *o)
{
	(void)key, (void)o;
	++*(unsigned *)arg;
	return 0;
}

unsigned
cw_count(struct store *s, const char *prefix)
{
	unsigned n = 0;

	assert_int_equal(store_list(s, prefix, NULL, count_one, &n), 0);
	return n;
}

bool
cw_has(struct store *s, const char *key)
{
	struct buf *b = get(s, key);

	buf_unref(b);
	return b != NULL;
}

static int
same_one(void *arg, const char *key, const struct store_object *o)
{
	struct store **ab = arg;
	struct buf *a = get(ab[0], key), *b = get(ab[1], key);

	(void)o;
	if (b == NULL)
		fail_msg("%s is missing", key);
	if (a->len != b->len || memcmp(a->data, b->data, a->len) != 0)
		fail_msg("%s is another one", key);
	buf_unref(a);
	buf_unref(b);
	return 0;
}

void
cw_same(struct store *a, struct store *b, const char *prefix)
{
	struct store *ab[] = {a, b};

	assert_int_equal(store_list(a, prefix, NULL, same_one, ab), 0);
	assert_int_equal(cw_count(a, prefix), cw_count(b, prefix));
}

static void
check_index(struct store *s, const char *key, const struct manifest_file *f)
{
	struct buf *b = get(s, key);
	struct digest csum;
	struct index *x;
	const char *why;

	assert_non_null(b);
	assert_int_equal(index_open(b, &x, &why), 0);
	csum = index_csum(x);
	assert_true(digest_eq(&csum, &f->csum));
	for (size_t i = 0; i < index_count(x); i++) {
		struct digest d = index_chunk(x, i).digest;
		char name[KEY_CHUNK_LEN + 1];
		struct buf *c;

		key_chunk(&d, name);
		c = get(s, name);
		if (c == NULL || blob_check(c->data, c->len) < 0)
			fail_msg("%s: %s is not good", key, name);
		buf_unref(c);
	}
	index_unref(x);
	buf_unref(b);
}

static int
check_one(void *arg, const char *key, const struct store_object *o)
{
	size_t dir = strlen(key) - strlen("index.json.blob");
	struct store *s = arg;
	char name[KEY_MAX + 1], id[NAME_LEN_MAX + 1];
	struct key_parts k;
	struct manifest *m;
	const char *why;
	struct buf *b;

	(void)o;
	if (!str_ends(key, "/index.json.blob"))
		return 0;
	key_parse(key, &k);
	snprintf(id, sizeof(id), "%.*s", (int)k.id_len, k.id);
	key_group(name, k.ns, k.type, id, "owner");
	assert_true(cw_has(s, name));
	b = get(s, key);
	assert_int_equal(manifest_parse(b->data, b->len, &m, &why), 0);
	buf_unref(b);
	for (size_t i = 0; i < m->n_files; i++) {
		snprintf(name, sizeof(name), "%.*s%s", (int)dir, key,
		    m->files[i].name);
		if (str_ends(name, ".fidx"))
			check_index(s, name, &m->files[i]);
		else
			assert_true(cw_has(s, name));
	}
	manifest_unref(m);
	return 0;
}

void
cw_check(struct store *s)
{
	assert_int_equal(store_list(s, ".cnt/", NULL, check_one, s), 0);
}

/* Knows of the other without owning it. */
struct keep {
	struct store s;
	struct store *other;	/* borrowed */
};

static int
keep_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *o)
{
	return store_get(((struct keep *)s)->other, key, how, ret, o);
}

static int
keep_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *o)
{
	return store_put(((struct keep *)s)->other, key, p, len, how, o);
}

static int
keep_stat(struct store *s, const char *key, deadline_t d,
    struct store_object *o)
{
	return store_stat(((struct keep *)s)->other, key, d, o);
}

static int
keep_list(struct store *s, const char *prefix, const char *after,
    store_list_fn *fn, void *arg)
{
	return store_list(((struct keep *)s)->other, prefix, after, fn, arg);
}

static int
keep_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t d)
{
	return store_delete(((struct keep *)s)->other, keys, n, fn, arg, d);
}

static int
keep_copy(struct store *s, const char *from, const char *to, deadline_t d)
{
	return store_copy(((struct keep *)s)->other, from, to, d);
}

static int
keep_copy_from(struct store *s, struct store *source, const char *key,
    deadline_t d)
{
	if (source->ops == s->ops)
		source = ((struct keep *)source)->other;
	return store_copy_from(((struct keep *)s)->other, source, key, d);
}

static int
keep_touch(struct store *s, const char *key)
{
	return store_touch(((struct keep *)s)->other, key);
}

static void
keep_free(struct store *s)
{
	free(s);
}

struct store *
cw_keep(struct store *s)
{
	static const struct store_ops ops = {
	    .get = keep_get,
	    .put = keep_put,
	    .stat = keep_stat,
	    .list = keep_list,
	    .del = keep_del,
	    .copy = keep_copy,
	    .copy_from = keep_copy_from,
	    .touch = keep_touch,
	    .free = keep_free,
	};
	struct keep *k = calloc(1, sizeof(*k));

	assert_non_null(k);
	k->s.ops = &ops;
	k->s.name = "keep";
	k->other = s;
	return &k->s;
}

struct repo *
cw_repo(struct store *s, struct keyring *keys)
{
	const struct repo_opts o = {.timeout_ms = 5000, .keys = keys};
	struct repo *r;

	assert_int_equal(repo_open(cw_keep(s), &o, &r), 0);
	return r;
}
