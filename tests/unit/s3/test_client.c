/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"
#include "base/buf.h"
#include "s3/cred.h"
#include "s3/s3.h"
#include "script.h"

static struct script script;
static struct s3_cred *cred;

static struct s3 *
client(void)
{
	struct s3_opts o = {
	    .endpoint = script.url,
	    .bucket = "bkt",
	    .path_style = true,
	    .insecure_http = true,
	    .cred = cred,
	};
	struct s3 *c = NULL;

	assert_int_equal(s3_new(&o, &c), 0);
	return c;
}

/* Keys that a careless encoder gets wrong. */
static const char *const odd_keys[] = {
    "a b",
    "a+b",
    "a%20b",
    "a//b",
    ".hidden/x",
    "t/2020-06-26T13:56:05Z/x",
    "\xc3\xa4\xe2\x82\xac",
    "q?x=1&y#z",
    "quote\"'<>&",
    "dot/../dot/./x",
    "~tilde!*()",
};

static void
test_round_trip(void **state)
{
	struct s3 *c = client();
	struct s3_object o;
	struct buf *b;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(odd_keys) / sizeof(odd_keys[0]); i++) {
		const char *k = odd_keys[i];

		assert_int_equal(s3_put(c, k, k, strlen(k), false, 0, &o), 0);
		assert_int_equal(strlen(o.etag), 32);
		assert_int_equal(s3_get(c, k, NULL, 100, 0, &b, &o), 0);
		assert_int_equal(b->len, strlen(k));
		assert_memory_equal(b->data, k, b->len);
		assert_int_equal(o.size, strlen(k));
		assert_true(o.mtime > 1500000000);
		buf_unref(b);
		assert_int_equal(s3_head(c, k, 0, &o), 0);
		assert_int_equal(o.size, strlen(k));
		assert_int_equal(s3_copy(c, k, "copy", 0), 0);
		assert_int_equal(s3_copy(c, k, k, 0), 0);
		assert_int_equal(s3_get(c, "copy", NULL, 100, 0, &b, NULL), 0);
		assert_memory_equal(b->data, k, b->len);
		buf_unref(b);
		assert_int_equal(s3_put(c, k, "", 0, true, 0, NULL), 1);
		assert_int_equal(s3_delete(c, k, 0), 0);
		assert_int_equal(s3_delete(c, k, 0), 0);
		assert_int_equal(s3_head(c, k, 0, &o), 1);
		assert_int_equal(s3_get(c, k, NULL, 100, 0, &b, NULL), 1);
		assert_int_equal(s3_copy(c, k, "copy", 0), 1);
	}
	assert_int_equal(s3_head_bucket(c, 0), 0);
	s3_free(c);
}

static int
collect(void *arg, const char *key, const struct s3_object *o)
{
	unsigned *n = arg;
	char want[32];

	snprintf(want, sizeof(want), "list/%05u", *n);
	assert_string_equal(key, want);
	assert_int_equal(o->size, *n % 7);
	++*n;
	return 0;
}

static void
test_list_and_delete(void **state)
{
	static char keys[2345][16];
	const char *ptrs[2345];
	struct s3 *c = client();
	unsigned i, n = 0;

	(void)state;
	for (i = 0; i < 2345; i++) {
		snprintf(keys[i], sizeof(keys[i]), "list/%05u", i);
		ptrs[i] = keys[i];
		assert_int_equal(
		    s3_put(c, keys[i], "1234567", i % 7, false, 0, NULL), 0);
	}
	script_clear(&script);
	assert_int_equal(s3_list(c, "list/", NULL, collect, &n, 0), 0);
	assert_int_equal(n, 2345);
	assert_int_equal(script_count(&script, "LIST"), 3);
	n = 2000;
	assert_int_equal(s3_list(c, "list/", "list/01999", collect, &n, 0), 0);
	assert_int_equal(n, 2345);
	assert_int_equal(s3_delete_many(c, ptrs, 2345, NULL, NULL, 0), 0);
	assert_int_equal(script_count(&script, "POST"), 3);
	assert_int_equal(s3_list(c, "list/", NULL, collect, &n, 0), 0);
	assert_int_equal(n, 2345);
	s3_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_list_and_delete),
	};
	static const char *const args[] = {"--key", "AKID:topsecret", NULL};
	int r;

	if (!script_start(&script, args, false))
		return script_skip();
	if (s3_cred_static("AKID", "topsecret", NULL, &cred) < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	s3_cred_free(cred);
	script_stop(&script);
	return r;
}
