/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "suite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "pbs/names.h"

#include "../cm.h"

#define SNAP ".cnt/host/web1/2024-01-01T00:00:00Z/"
/* Parentheses: they are also elements of arrays. */
#define CHUNK                                                                  \
	(".chunks/abcd/"                                                       \
	 "abcd000000000000000000000000000000000000000000000000000000000001")
#define BAD_CHUNK                                                              \
	(".chunks/abcd/"                                                       \
	 "abcd000000000000000000000000000000000000000000000000000000000001"    \
	 ".0.bad")

static const struct store_get whole = {.max = MIB};

void
must_put(struct store *s, const char *key, const char *text)
{
	assert_int_equal(store_put(s, key, text, strlen(text), NULL, NULL), 0);
}

void
must_have(struct store *s, const char *key, const char *text)
{
	struct buf *b = NULL;

	assert_int_equal(store_get(s, key, &whole, &b, NULL), 0);
	assert_int_equal(b->len, strlen(text));
	assert_memory_equal(b->data, text, b->len);
	buf_unref(b);
}

void
must_lack(struct store *s, const char *key)
{
	struct store_object o;
	struct buf *b = NULL;

	assert_int_equal(store_get(s, key, &whole, &b, NULL), 1);
	assert_null(b);
	assert_int_equal(store_stat(s, key, 0, &o), 1);
}

static int
append_key(void *arg, const char *key, const struct store_object *o)
{
	struct str *t = arg;

	(void)o;
	if (t->len > 0)
		str_addc(t, ' ');
	str_add(t, key);
	return 0;
}

void
must_list(
    struct store *s, const char *prefix, const char *after, const char *keys)
{
	struct str t = {0};

	assert_int_equal(store_list(s, prefix, after, append_key, &t), 0);
	assert_string_equal(str_get(&t), keys);
	str_fini(&t);
}

static void
an_empty_store_has_nothing(struct store *s)
{
	must_lack(s, SNAP "index.json.blob");
	must_lack(s, ".in-use");
	must_lack(s, CHUNK);
	must_list(s, "", NULL, "");
	must_list(s, ".cnt/", NULL, "");
}

static void
what_was_put_is_there(struct store *s)
{
	must_put(s, SNAP "index.json.blob", "manifest");
	must_put(s, ".in-use", "{\"hostname\":\"a\"}");
	must_put(s, CHUNK, "chunk");
	must_have(s, SNAP "index.json.blob", "manifest");
	must_have(s, ".in-use", "{\"hostname\":\"a\"}");
	must_have(s, CHUNK, "chunk");
	must_lack(s, SNAP "other.blob");
}

static void
empty_objects_are_objects(struct store *s)
{
	struct store_object o;

	must_put(s, SNAP ".protected", "");
	must_have(s, SNAP ".protected", "");
	assert_int_equal(store_stat(s, SNAP ".protected", 0, &o), 0);
	assert_int_equal(o.size, 0);
	must_list(s, ".cnt/", NULL, SNAP ".protected");
}

static void
a_second_put_replaces(struct store *s)
{
	struct store_object a, b, st;
	struct store_put how = {0};

	assert_int_equal(
	    store_put(s, ".cnt/vm/1/notes", "first", 5, &how, &a), 0);
	assert_int_equal(
	    store_put(s, ".cnt/vm/1/notes", "second!", 7, &how, &b), 0);
	must_have(s, ".cnt/vm/1/notes", "second!");
	assert_int_equal(store_stat(s, ".cnt/vm/1/notes", 0, &st), 0);
	assert_int_equal(st.size, 7);
	assert_string_not_equal(a.etag, "");
	assert_string_not_equal(a.etag, b.etag);
	assert_string_equal(b.etag, st.etag);
}

static void
if_absent_keeps_what_is_there(struct store *s)
{
	const struct store_put how = {.if_absent = true};
	const char *keys[] = {
	    SNAP ".protected", CHUNK, ".in-use", ".cnt/ct/9/owner"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		assert_int_equal(
		    store_put(s, keys[i], "one", 3, &how, NULL), 0);
		assert_int_equal(
		    store_put(s, keys[i], "two", 3, &how, NULL), 1);
		must_have(s, keys[i], "one");
	}
}

#define RACERS 8

struct racer {
	struct store *s;
	int index, result;
	pthread_t thread;
};

static void *
race(void *arg)
{
	const struct store_put how = {.if_absent = true};
	struct racer *r = arg;
	char text[2] = {(char)('a' + r->index), '\0'};

	r->result = store_put(r->s, CHUNK, text, 1, &how, NULL);
	return NULL;
}

static void
if_absent_has_one_winner(struct store *s)
{
	struct racer r[RACERS];
	int winner = -1;

	for (int i = 0; i < RACERS; i++) {
		r[i] = (struct racer){.s = s, .index = i};
		assert_int_equal(
		    pthread_create(&r[i].thread, NULL, race, &r[i]), 0);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(r[i].thread, NULL);
		if (r[i].result == 0) {
			assert_int_equal(winner, -1);
			winner = i;
		} else {
			assert_int_equal(r[i].result, 1);
		}
	}
	assert_true(winner >= 0);
	must_have(s, CHUNK, (char[2]){(char)('a' + winner), '\0'});
}

static void
ranges(struct store *s)
{
	static const struct {
		uint64_t off, len;
		int r;
		const char *text;
	} cases[] = {
	    {0, 3, 0, "012"},
	    {3, 4, 0, "3456"},
	    {8, 2, 0, "89"},
	    {8, 100, 0, "89"},
	    {0, 10, 0, "0123456789"},
	    {0, 0, 0, "0123456789"},
	    {10, 1, -ERANGE, NULL},
	    {5000, 1, -ERANGE, NULL},
	    {3, 0, -EINVAL, NULL},
	    {UINT64_MAX, 2, -EINVAL, NULL},
	};

	must_put(s, CHUNK, "0123456789");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct store_get how = {
		    .max = 10, .off = cases[i].off, .len = cases[i].len};
		struct buf *b = NULL;
		int r;

		r = store_get(s, CHUNK, &how, &b, NULL);
		if (cases[i].r != 0) {
			assert_int_equal(r, cases[i].r);
			assert_null(b);
			continue;
		}
		assert_int_equal(r, 0);
		assert_int_equal(b->len, strlen(cases[i].text));
		assert_memory_equal(b->data, cases[i].text, b->len);
		buf_unref(b);
	}
}

static void
larger_than_allowed_is_refused(struct store *s)
{
	struct store_get how = {.max = 9};
	struct buf *b = NULL;

	must_put(s, ".cnt/vm/1/notes", "0123456789");
	assert_int_equal(
	    store_get(s, ".cnt/vm/1/notes", &how, &b, NULL), -EFBIG);
	assert_null(b);
	how.max = 10;
	assert_int_equal(store_get(s, ".cnt/vm/1/notes", &how, &b, NULL), 0);
	buf_unref(b);
}

static void
bytes_of_every_value_and_a_large_object(struct store *s)
{
	const size_t len = 5 * MIB + 7;
	const struct store_get how = {.max = len};
	struct buf *in = buf_new(len), *out = NULL;
	struct store_object o;

	for (size_t i = 0; i < len; i++)
		in->data[i] = (uint8_t)(i * 31 + i / 251);
	assert_int_equal(
	    store_put(s, SNAP "root.pxar.didx", in->data, len, NULL, NULL), 0);
	assert_int_equal(
	    store_get(s, SNAP "root.pxar.didx", &how, &out, &o), 0);
	assert_int_equal(out->len, len);
	assert_int_equal(o.size, len);
	assert_true(memcmp(in->data, out->data, len) == 0);
	buf_unref(in);
	buf_unref(out);
}

static void
times_are_about_now(struct store *s)
{
	struct store_object o;

	must_put(s, ".cnt/vm/1/owner", "root@pam\n");
	assert_int_equal(store_stat(s, ".cnt/vm/1/owner", 0, &o), 0);
	assert_true(o.mtime > clock_real_s() - 900);
	assert_true(o.mtime < clock_real_s() + 900);
}

static void
lists_are_in_byte_order(struct store *s)
{
	static const char *const keys[] = {
	    ".cnt/vm/a0/owner",
	    ".cnt/vm/a/owner",
	    ".cnt/vm/a-b/owner",
	    ".cnt/vm/a.b/owner",
	    ".cnt/vm/a/2024-01-01T00:00:00Z/x.blob",
	    ".cnt/vm/a/notes",
	    ".cnt/vm/A/owner",
	    ".cnt/vm/\xc3\xa9/owner",
	    ".cnt/ct/100/owner",
	    ".in-use",
	    ".chunks/ffff/x",
	    ".chunks/0000/x",
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_put(s, keys[i], "x");
	must_list(s, ".cnt/vm/", NULL,
	    ".cnt/vm/A/owner .cnt/vm/a-b/owner .cnt/vm/a.b/owner "
	    ".cnt/vm/a/2024-01-01T00:00:00Z/x.blob .cnt/vm/a/notes "
	    ".cnt/vm/a/owner .cnt/vm/a0/owner .cnt/vm/\xc3\xa9/owner");
	must_list(s, "", NULL,
	    ".chunks/0000/x .chunks/ffff/x .cnt/ct/100/owner "
	    ".cnt/vm/A/owner .cnt/vm/a-b/owner .cnt/vm/a.b/owner "
	    ".cnt/vm/a/2024-01-01T00:00:00Z/x.blob .cnt/vm/a/notes "
	    ".cnt/vm/a/owner .cnt/vm/a0/owner .cnt/vm/\xc3\xa9/owner .in-use");
}

static void
a_prefix_is_a_directory(struct store *s)
{
	must_put(s, ".cnt/vm/10/owner", "x");
	must_put(s, ".cnt/vm/100/owner", "x");
	must_put(s, ".cnt/vm/1000/owner", "x");
	must_list(s, ".cnt/vm/10/", NULL, ".cnt/vm/10/owner");
	must_list(s, ".cnt/vm/1/", NULL, "");
	assert_int_equal(
	    store_list(s, ".cnt/vm/10", NULL, append_key, NULL), -EINVAL);
	assert_int_equal(store_list(s, "/", NULL, append_key, NULL), -EINVAL);
	assert_int_equal(
	    store_list(s, ".cnt/../", NULL, append_key, NULL), -EINVAL);
}

static void
lists_start_after(struct store *s)
{
	must_put(s, ".cnt/vm/a-b/owner", "x");
	must_put(s, ".cnt/vm/a/notes", "x");
	must_put(s, ".cnt/vm/a/owner", "x");
	must_put(s, ".cnt/vm/b/owner", "x");
	must_list(s, ".cnt/vm/", ".cnt/vm/a-b/owner",
	    ".cnt/vm/a/notes .cnt/vm/a/owner .cnt/vm/b/owner");
	must_list(s, ".cnt/vm/", ".cnt/vm/a/notes",
	    ".cnt/vm/a/owner .cnt/vm/b/owner");
	must_list(s, ".cnt/vm/", ".cnt/vm/a",
	    ".cnt/vm/a-b/owner .cnt/vm/a/notes .cnt/vm/a/owner "
	    ".cnt/vm/b/owner");
	must_list(s, ".cnt/vm/", ".cnt/vm/a/zzz", ".cnt/vm/b/owner");
	must_list(s, ".cnt/vm/a/", ".cnt/vm/a/notes", ".cnt/vm/a/owner");
	must_list(
	    s, ".cnt/vm/a/", ".cnt/ct/", ".cnt/vm/a/notes .cnt/vm/a/owner");
	must_list(s, ".cnt/vm/", ".cnt/vm/b/owner", "");
	must_list(s, ".cnt/vm/", "",
	    ".cnt/vm/a-b/owner .cnt/vm/a/notes .cnt/vm/a/owner "
	    ".cnt/vm/b/owner");
}

static int
count_objects(void *arg, const char *key, const struct store_object *o)
{
	size_t *n = arg;

	assert_true(store_key_is_valid(key));
	assert_int_equal(o->size, 1);
	assert_string_not_equal(o->etag, "");
	return ++*n == 300 ? 42 : 0;
}

static void
a_list_ends_when_told(struct store *s)
{
	size_t n = 0;

	for (int i = 0; i < 1100; i++) {
		char key[64];

		snprintf(key, sizeof(key), ".cnt/vm/%d/owner", i);
		must_put(s, key, "x");
	}
	assert_int_equal(store_list(s, ".cnt/", NULL, count_objects, &n), 42);
	assert_int_equal(n, 300);
	/* Another 800, and this time past the place where it stopped. */
	assert_int_equal(store_list(s, ".cnt/", NULL, count_objects, &n), 0);
	assert_int_equal(n, 1400);
}

static int
stat_equals(void *arg, const char *key, const struct store_object *o)
{
	struct store_object st;

	assert_int_equal(store_stat(arg, key, 0, &st), 0);
	assert_int_equal(st.size, o->size);
	assert_string_equal(st.etag, o->etag);
	return 0;
}

static void
list_stat_and_get_agree(struct store *s)
{
	struct store_object st, got;
	struct buf *b = NULL;

	must_put(s, SNAP "a.fidx", "content");
	must_put(s, SNAP "b.blob", "");
	must_put(s, CHUNK, "chunk");
	assert_int_equal(store_list(s, "", NULL, stat_equals, s), 0);
	assert_int_equal(store_stat(s, SNAP "a.fidx", 0, &st), 0);
	assert_int_equal(store_get(s, SNAP "a.fidx", &whole, &b, &got), 0);
	assert_string_equal(st.etag, got.etag);
	assert_int_equal(got.size, 7);
	buf_unref(b);
}

static void
told_of_key(void *arg, const char *key, const char *why)
{
	(void)key;
	(void)why;
	++*(int *)arg;
}

static void
what_was_deleted_is_gone(struct store *s)
{
	static const char *const keys[] = {
	    SNAP "a.blob", SNAP "never.blob", ".in-use", CHUNK};
	int told = 0;

	must_put(s, SNAP "a.blob", "x");
	must_put(s, SNAP "b.blob", "x");
	must_put(s, ".in-use", "x");
	must_put(s, CHUNK, "x");
	assert_int_equal(
	    store_delete(s, keys, ARRAY_SIZE(keys), told_of_key, &told, 0), 0);
	assert_int_equal(told, 0);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_lack(s, keys[i]);
	must_list(s, "", NULL, SNAP "b.blob");
	assert_int_equal(store_delete(s, keys, 0, NULL, NULL, 0), 0);
}

static void
a_directory_is_no_object(struct store *s)
{
	const char *key = ".cnt/vm/100";

	must_put(s, ".cnt/vm/100/owner", "x");
	must_lack(s, ".cnt/vm/100");
	must_lack(s, ".cnt/vm/100/owner/x");
	assert_int_equal(store_delete(s, &key, 1, NULL, NULL, 0), 0);
	must_have(s, ".cnt/vm/100/owner", "x");
}

static void
copies(struct store *s)
{
	must_put(s, CHUNK, "damaged");
	assert_int_equal(store_copy(s, CHUNK, BAD_CHUNK, 0), 0);
	must_have(s, BAD_CHUNK, "damaged");
	must_have(s, CHUNK, "damaged");
	assert_int_equal(store_copy(s, SNAP "none.blob", SNAP "x.blob", 0), 1);
	must_lack(s, SNAP "x.blob");
}

static void
bad_keys_are_refused(struct store *s)
{
	char long_key[KEY_MAX + 2];
	const char *keys[] = {"", "/", "/a", "a/", "a//b", ".", "..", "a/..",
	    "../a", "a/./b", ".cnt/\n", ".cnt/\x7f", ".cnt/x\x01", long_key};
	struct store_object o;

	memset(long_key, 'a', sizeof(long_key));
	long_key[KEY_MAX + 1] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct buf *b = NULL;

		assert_false(store_key_is_valid(keys[i]));
		assert_int_equal(
		    store_get(s, keys[i], &whole, &b, NULL), -EINVAL);
		assert_int_equal(
		    store_put(s, keys[i], "x", 1, NULL, NULL), -EINVAL);
		assert_int_equal(store_stat(s, keys[i], 0, &o), -EINVAL);
		assert_int_equal(
		    store_delete(s, &keys[i], 1, NULL, NULL, 0), -EINVAL);
		assert_int_equal(store_copy(s, keys[i], "x", 0), -EINVAL);
		assert_int_equal(store_copy(s, "x", keys[i], 0), -EINVAL);
	}
	long_key[KEY_MAX] = '\0';
	assert_true(store_key_is_valid(long_key));
}

static void
unusual_keys(struct store *s)
{
	static const char *const keys[] = {
	    ".cnt/vm/a b/owner",
	    ".cnt/vm/a%2Fb/owner",
	    ".cnt/vm/a+b/owner",
	    ".cnt/vm/a&b<c>'\"/owner",
	    ".cnt/vm/a?b#c/owner",
	    ".cnt/vm/na\xc3\xafve/owner",
	    ".cnt/vm/x/2024-01-01T00:00:00Z/a:b@c=d.blob",
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_put(s, keys[i], keys[i]);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		must_have(s, keys[i], keys[i]);
	must_list(s, ".cnt/vm/a%2Fb/", NULL, ".cnt/vm/a%2Fb/owner");
	assert_int_equal(
	    store_delete(s, keys, ARRAY_SIZE(keys), NULL, NULL, 0), 0);
	must_list(s, ".cnt/", NULL, "");
}

static void
namespaces_have_marks(struct store *s)
{
	static const char *const marks[] = {
	    ".cnt/ns/a/.namespace", ".cnt/ns/a/ns/b/.namespace"};

	must_put(s, marks[0], "");
	must_put(s, marks[1], "");
	must_put(s, ".cnt/ns/a/vm/1/owner", "x");
	must_have(s, marks[0], "");
	must_list(s, ".cnt/", NULL,
	    ".cnt/ns/a/.namespace .cnt/ns/a/ns/b/.namespace "
	    ".cnt/ns/a/vm/1/owner");
	assert_int_equal(store_list(s, "", NULL, stat_equals, s), 0);
	assert_int_equal(
	    store_delete(
		s, (const char *[]){".cnt/ns/a/vm/1/owner"}, 1, NULL, NULL, 0),
	    0);
	assert_int_equal(store_delete(s, marks, 2, NULL, NULL, 0), 0);
	must_list(s, ".cnt/", NULL, "");
}

static void
after_shutdown_nothing_is_answered(struct store *s)
{
	struct store_object o;
	struct buf *b = NULL;

	must_put(s, ".in-use", "x");
	store_shutdown(s);
	assert_int_equal(store_get(s, ".in-use", &whole, &b, NULL), -ESHUTDOWN);
	assert_int_equal(
	    store_put(s, ".in-use", "x", 1, NULL, NULL), -ESHUTDOWN);
	assert_int_equal(store_stat(s, ".in-use", 0, &o), -ESHUTDOWN);
	assert_int_equal(store_list(s, "", NULL, append_key, NULL), -ESHUTDOWN);
}

#define CHECK(f)                                                               \
	{                                                                      \
#f, f                                                          \
	}
const struct suite_check suite_checks[] = {
    CHECK(an_empty_store_has_nothing),
    CHECK(what_was_put_is_there),
    CHECK(empty_objects_are_objects),
    CHECK(a_second_put_replaces),
    CHECK(if_absent_keeps_what_is_there),
    CHECK(if_absent_has_one_winner),
    CHECK(ranges),
    CHECK(larger_than_allowed_is_refused),
    CHECK(bytes_of_every_value_and_a_large_object),
    CHECK(times_are_about_now),
    CHECK(lists_are_in_byte_order),
    CHECK(a_prefix_is_a_directory),
    CHECK(lists_start_after),
    CHECK(a_list_ends_when_told),
    CHECK(list_stat_and_get_agree),
    CHECK(what_was_deleted_is_gone),
    CHECK(a_directory_is_no_object),
    CHECK(copies),
    CHECK(bad_keys_are_refused),
    CHECK(unusual_keys),
    CHECK(namespaces_have_marks),
    CHECK(after_shutdown_nothing_is_answered),
};
const size_t suite_n_checks = ARRAY_SIZE(suite_checks);
