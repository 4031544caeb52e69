/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"
#include "base/num.h"
#include "s3/url.h"

static const struct {
	const char *text, *path, *value;
} encodings[] = {
    {"", "", ""},
    {"AZaz09-._~", "AZaz09-._~", "AZaz09-._~"},
    {"a b", "a%20b", "a%20b"},
    {"a+b", "a%2Bb", "a%2Bb"},
    {"a%b", "a%25b", "a%25b"},
    {"%3A", "%253A", "%253A"},
    {"a//b", "a//b", "a%2F%2Fb"},
    {".chunks/.x", ".chunks/.x", ".chunks%2F.x"},
    {"vm/10/2020-06-26T13:56:05Z", "vm/10/2020-06-26T13%3A56%3A05Z",
	"vm%2F10%2F2020-06-26T13%3A56%3A05Z"},
    {"\xc3\xa4\xe2\x82\xac", "%C3%A4%E2%82%AC", "%C3%A4%E2%82%AC"},
    {"\x01\x7f\xff", "%01%7F%FF", "%01%7F%FF"},
    {"!\"#$&'()*,;<=>?@[\\]^`{|}",
	"%21%22%23%24%26%27%28%29%2A%2C%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B"
	"%7C%7D",
	"%21%22%23%24%26%27%28%29%2A%2C%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B"
	"%7C%7D"},
};

static void
test_encode(void **state)
{
	struct str s = {0};
	char text[64];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(encodings); i++) {
		str_reset(&s);
		url_encode(&s, encodings[i].text, true);
		assert_string_equal(str_get(&s), encodings[i].path);
		str_reset(&s);
		url_encode(&s, encodings[i].text, false);
		assert_string_equal(str_get(&s), encodings[i].value);
		snprintf(text, sizeof(text), "%s", str_get(&s));
		str_fini(&s);
		if (strlen(encodings[i].value) < sizeof(text)) {
			assert_int_equal(url_decode(text, true), 0);
			assert_string_equal(text, encodings[i].text);
		}
	}
}

static void
test_long_key(void **state)
{
	struct str s = {0};
	char key[1025];

	(void)state;
	memset(key, ':', 1024);
	key[1024] = '\0';
	url_encode(&s, key, true);
	assert_int_equal(s.len, 3072);
	assert_int_equal(url_decode(s.s, false), 0);
	assert_string_equal(s.s, key);
	str_fini(&s);
}

static void
test_decode(void **state)
{
	static const char *const bad[] = {"%", "%4", "%zz", "%4g", "a%", "%00"};
	char text[16];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "%s", bad[i]);
		assert_int_equal(url_decode(text, true), -EINVAL);
	}
	snprintf(text, sizeof(text), "a+b%%2b%%2F");
	assert_int_equal(url_decode(text, true), 0);
	assert_string_equal(text, "a b+/");
	snprintf(text, sizeof(text), "a+b");
	assert_int_equal(url_decode(text, false), 0);
	assert_string_equal(text, "a+b");
}

static void
test_query(void **state)
{
	struct str s = {0};

	(void)state;
	url_add_query(&s, "list-type", "2");
	url_add_query(&s, "prefix", "a/b c");
	url_add_query(&s, "x", "");
	assert_string_equal(str_get(&s), "list-type=2&prefix=a%2Fb%20c&x=");
	str_fini(&s);
}

static const struct {
	const char *endpoint;
	unsigned port;
	bool path_style;
	const char *origin, *host, *root;
} bases[] = {
    {"s3.example.com", 0, false, "https://bkt.s3.example.com",
	"bkt.s3.example.com", "/"},
    {"https://s3.example.com/", 0, true, "https://s3.example.com",
	"s3.example.com", "/bkt/"},
    {"https://s3.example.com:443", 0, true, "https://s3.example.com",
	"s3.example.com", "/bkt/"},
    {"s3.example.com", 8443, true, "https://s3.example.com:8443",
	"s3.example.com:8443", "/bkt/"},
    {"s3.example.com:9000", 8443, true, "https://s3.example.com:9000",
	"s3.example.com:9000", "/bkt/"},
    {"http://s3.example.com:80", 0, true, "http://s3.example.com",
	"s3.example.com", "/bkt/"},
    {"http://s3.example.com:443", 0, true, "http://s3.example.com:443",
	"s3.example.com:443", "/bkt/"},
    {"{{bucket}}.s3.{{region}}.example.com", 0, false,
	"https://bkt.s3.eu-1.example.com", "bkt.s3.eu-1.example.com", "/"},
    {"s3.{{region}}.example.com", 0, false,
	"https://bkt.s3.eu-1.example.com", "bkt.s3.eu-1.example.com", "/"},
    /* The bucket is in there already. */
    {"bkt.s3.example.com", 0, false, "https://bkt.s3.example.com",
	"bkt.s3.example.com", "/"},
    {"bkt2.s3.example.com", 0, false, "https://bkt.bkt2.s3.example.com",
	"bkt.bkt2.s3.example.com", "/"},
    /* An address has no names below it. */
    {"10.1.2.3:7480", 0, false, "https://10.1.2.3:7480", "10.1.2.3:7480",
	"/bkt/"},
    {"[fe80::1]:7480", 0, false, "https://[fe80::1]:7480", "[fe80::1]:7480",
	"/bkt/"},
    {"localhost", 0, true, "https://localhost", "localhost", "/bkt/"},
};

static void
test_bases(void **state)
{
	struct url_base u;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bases); i++) {
		struct url_opts o = {
		    .endpoint = bases[i].endpoint,
		    .port = bases[i].port,
		    .region = "eu-1",
		    .bucket = "bkt",
		    .path_style = bases[i].path_style,
		    .insecure_http = true,
		};

		assert_int_equal(url_parse(&o, &u, &why), 0);
		assert_string_equal(u.origin, bases[i].origin);
		assert_string_equal(u.host, bases[i].host);
		assert_string_equal(u.root, bases[i].root);
		url_fini(&u);
	}
}

static void
test_refused(void **state)
{
	static const char *const endpoints[] = {
	    "", "ftp://x", "http://", "https://", "a b", "user@host",
	    "host/path",
	    "host:", "host:0", "host:65536", "host:1x", "host?x", "[::1",
	    "[::1]x", "[zz]", "{{bukket}}.x", "x}", "-x", ".x", "host#y",
	    "https://https://x", "h\r\nx"};
	static const char *const buckets[] = {
	    "", "a/b", "a b", "..", "b\xc3\xa4", "a?b"};
	struct url_opts o = {.region = "r", .bucket = "bkt",
	    .insecure_http = true};
	struct url_base u;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(endpoints); i++) {
		o.endpoint = endpoints[i];
		assert_int_equal(url_parse(&o, &u, &why), -EINVAL);
		assert_true(why[0] != '\0');
	}
	o.endpoint = "host";
	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		o.bucket = buckets[i];
		assert_int_equal(url_parse(&o, &u, &why), -EINVAL);
	}
	o.bucket = "bkt";
	o.endpoint = "http://host";
	o.insecure_http = false;
	assert_int_equal(url_parse(&o, &u, &why), -EINVAL);
	assert_non_null(strstr(why, "insecure-http"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_encode),
	    cmocka_unit_test(test_long_key),
	    cmocka_unit_test(test_decode),
	    cmocka_unit_test(test_query),
	    cmocka_unit_test(test_bases),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
