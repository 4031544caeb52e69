/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"
#include "base/buf.h"
#include "base/num.h"
#include "s3/client.h"
#include "script.h"

#define KEYS 25

static struct script script;
static char keys[KEYS][32];
static const char *ptrs[KEYS];

static struct s3 *
client(bool no_multi_delete)
{
	struct s3_opts o = {
	    .endpoint = script.url,
	    .bucket = "bkt",
	    .path_style = true,
	    .insecure_http = true,
	    .proxy = "",
	    .retries = 2,
	    .no_multi_delete = no_multi_delete,
	};
	struct s3 *c = NULL;
	int i;

	script_clear(&script);
	assert_int_equal(s3_new(&o, &c), 0);
	c->backoff_ms = 20;
	for (i = 0; i < KEYS; i++) {
		/* Characters that XML and percent-encoding care for. */
		snprintf(keys[i], sizeof(keys[i]), "p/<%02d>&+%% \xc3\xa4", i);
		ptrs[i] = keys[i];
		assert_int_equal(s3_put(c, keys[i], "x", 1, false, 0, NULL),
		    0);
	}
	script_clear(&script);
	return c;
}

static int
next(void *arg, const char *key, const struct s3_object *o)
{
	unsigned *n = arg;

	assert_true(*n < KEYS);
	assert_string_equal(key, keys[*n]);
	assert_int_equal(o->size, 1);
	++*n;
	return 0;
}

/* Rules, the outcome, entries told, and LIST requests. */
static const struct {
	const char *rule;
	int want;
	unsigned told, requests;
} cases[] = {
    {"{}", 0, KEYS, 1},
    {"{\"page\": 10}", 0, KEYS, 3},
    {"{\"page\": 5}", 0, KEYS, 5},
    {"{\"page\": 10, \"omit\": [\"IsTruncated\", \"KeyCount\", \"Name\", "
     "\"Prefix\", \"MaxKeys\", \"StorageClass\", \"ETag\", \"LastModified\", "
     "\"Date\", \"Content-Type\"]}", 0, KEYS, 3},
    {"{\"page\": 10, \"encode\": true}", 0, KEYS, 3},
    {"{\"page\": 10, \"no_token\": true}", 0, KEYS, 3},
    {"{\"page\": 10, \"same_token\": true}", -EPROTO, 10, 2},
    {"{\"page\": 10, \"truncate\": 700, \"after\": 1, \"count\": 2},"
     " {\"page\": 10}", 0, KEYS, 5},
    {"{\"body\": \"<html>hello</html>\", \"count\": 2}", 0, KEYS, 3},
    {"{\"body\": \"<ListBucketResult><Contents>\", \"count\": 2}", 0, KEYS,
	3},
    {"{\"body\": \"<ListBucketResult><Contents>\"}", -EPROTO, 0, 3},
    {"{\"status\": 200, \"code\": \"SlowDown\", \"count\": 2}", 0, KEYS, 3},
    {"{\"status\": 200, \"code\": \"AccessDenied\"}", -EACCES, 0, 1},
    {"{\"status\": 404, \"code\": \"NoSuchBucket\"}", -EIO, 0, 1},
    {"{\"status\": 404}", -EIO, 0, 1},
    {"{\"status\": 503}", -EHOSTDOWN, 0, 3},
    /* Entries that are not ours, or none at all. */
    {"{\"body\": \"<ListBucketResult><Contents><Key>q/x</Key><Size>1</Size>"
     "</Contents></ListBucketResult>\"}", -EPROTO, 0, 3},
    {"{\"body\": \"<ListBucketResult><Contents><Size>1</Size></Contents>"
     "</ListBucketResult>\"}", -EPROTO, 0, 3},
    {"{\"body\": \"<ListBucketResult><Contents><Key>p/x</Key></Contents>"
     "</ListBucketResult>\"}", -EPROTO, 0, 3},
    {"{\"body\": \"<ListBucketResult><IsTruncated>true</IsTruncated>"
     "</ListBucketResult>\"}", -EPROTO, 0, 1},
};

static void
test_cases(void **state)
{
	struct s3 *c = client(false);
	char rules[512];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned told = 0;
		int r;

		script_clear(&script);
		snprintf(rules, sizeof(rules), "[%s]", cases[i].rule);
		script_rules(&script, rules);
		r = s3_list(c, "p/", NULL, next, &told, 0);
		if (r != cases[i].want || told != cases[i].told)
			fail_msg("%s: %d, %u told", cases[i].rule, r, told);
		assert_int_equal(
		    script_count(&script, "LIST"), cases[i].requests);
	}
	s3_free(c);
}

static int
count_up(void *arg, const char *key, const struct s3_object *o)
{
	(void)key;
	(void)o;
	++*(unsigned *)arg;
	return 0;
}

/* The same page for ever, with its end before its begin. */
static void
test_unsorted_for_ever(void **state)
{
	struct s3 *c = client(false);
	unsigned n = 0;

	(void)state;
	script_clear(&script);
	script_rules(&script, "[{\"body\": \"<ListBucketResult>"
	    "<IsTruncated>true</IsTruncated>"
	    "<Contents><Key>p/b</Key><Size>1</Size></Contents>"
	    "<Contents><Key>p/a</Key><Size>1</Size></Contents>"
	    "</ListBucketResult>\", \"count\": 100}]");
	assert_int_equal(s3_list(c, "p/", NULL, count_up, &n, 0), -EPROTO);
	assert_int_equal(n, 2);
	assert_int_equal(script_count(&script, "LIST"), 2);
	s3_free(c);
}

static int
stop_at_three(void *arg, const char *key, const struct s3_object *o)
{
	unsigned *n = arg;

	(void)key;
	(void)o;
	return ++*n == 3 ? 42 : 0;
}

static void
test_stop_and_start(void **state)
{
	struct s3 *c = client(false);
	unsigned n = 0;

	(void)state;
	script_rules(&script, "[{\"page\": 2}]");
	assert_int_equal(s3_list(c, "", NULL, stop_at_three, &n, 0), 42);
	assert_int_equal(n, 3);
	assert_int_equal(script_count(&script, "LIST"), 2);
	n = 20;
	assert_int_equal(s3_list(c, "p/", keys[19], next, &n, 0), 0);
	assert_int_equal(n, KEYS);
	s3_free(c);
}

struct told {
	unsigned n;
	char code[64];
};

static void
tell(void *arg, const char *key, const char *code, const char *message)
{
	struct told *t = arg;

	(void)key;
	(void)message;
	t->n++;
	snprintf(t->code, sizeof(t->code), "%s", code);
}

static unsigned
left(struct s3 *c)
{
	unsigned n = 1000;

	script_clear(&script);
	assert_int_equal(s3_list(c, "p/", NULL, stop_at_three, &n, 0), 0);
	return n - 1000;
}

/* What is done to the deletion of all keys, and what is left then. */
static const struct {
	const char *rule;
	int want;
	unsigned told, left, requests;
	const char *code;
} deletions[] = {
    {"{}", 0, 0, 0, 1, ""},
    {"{\"delete_error\": \"NoSuchKey\", \"delete_key\": \"*1*\"}", 0, 0, 12,
	1, ""},
    {"{\"delete_error\": \"AccessDenied\", \"delete_key\": \"*<1*\"}", -EIO,
	10, 10, 1, "AccessDenied"},
    {"{\"delete_error\": \"InternalError\", \"delete_key\": \"*<1*\", "
     "\"count\": 2}", 0, 0, 0, 3, ""},
    {"{\"delete_error\": \"SlowDown\", \"delete_key\": \"*<1*\"}", -EIO, 10,
	10, 3, "SlowDown"},
    {"{\"truncate\": 200, \"count\": 2}", 0, 0, 0, 3, ""},
    {"{\"status\": 200, \"code\": \"InternalError\", \"count\": 2}", 0, 0, 0,
	3, ""},
    {"{\"status\": 200, \"code\": \"AccessDenied\"}", -EACCES, KEYS, KEYS, 1,
	"AccessDenied"},
    {"{\"body\": \"\"}", -EPROTO, KEYS, 0, 3, ""},
    {"{\"status\": 501, \"code\": \"NotImplemented\"}", -EOPNOTSUPP, KEYS,
	KEYS, 1, "NotImplemented"},
};

static void
test_delete_many(void **state)
{
	struct s3 *c;
	char rules[512];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(deletions); i++) {
		struct told t = {0};
		int r;

		c = client(false);
		snprintf(rules, sizeof(rules), "[%s]", deletions[i].rule);
		script_rules(&script, rules);
		r = s3_delete_many(c, ptrs, KEYS, tell, &t, 0);
		if (r != deletions[i].want || t.n != deletions[i].told)
			fail_msg("%s: %d, %u told", deletions[i].rule, r, t.n);
		assert_string_equal(t.code, deletions[i].code);
		assert_int_equal(script_count(&script, "POST"),
		    deletions[i].requests);
		assert_int_equal(left(c), deletions[i].left);
		s3_free(c);
	}
}

static void
test_delete_singly(void **state)
{
	struct s3 *c = client(true);
	struct told t = {0};

	(void)state;
	script_rules(&script, "[{\"verb\": \"DELETE\", \"key\": \"*<07*\", "
			      "\"status\": 403, \"code\": \"AccessDenied\"}]");
	assert_int_equal(
	    s3_delete_many(c, ptrs, KEYS, tell, &t, 0), -EACCES);
	assert_int_equal(t.n, 1);
	assert_string_equal(t.code, "AccessDenied");
	assert_int_equal(script_count(&script, "DELETE"), KEYS);
	assert_int_equal(script_count(&script, "POST"), 0);
	assert_int_equal(left(c), 1);
	assert_int_equal(s3_delete_many(c, ptrs, 0, tell, &t, 0), 0);
	s3_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cases),
	    cmocka_unit_test(test_unsorted_for_ever),
	    cmocka_unit_test(test_stop_and_start),
	    cmocka_unit_test(test_delete_many),
	    cmocka_unit_test(test_delete_singly),
	};
	int r;

	if (!script_start(&script, NULL, false))
		return script_skip();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	script_stop(&script);
	return r;
}
