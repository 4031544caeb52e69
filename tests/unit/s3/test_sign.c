/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"
#include "base/num.h"
#include "crypt/digest.h"
#include "s3/sign.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define AWS_HOST "examplebucket.s3.amazonaws.com"
#define AWS_DATE "20130524T000000Z"

struct vector {
	const char *name;
	const char *method, *path, *query;
	struct http_header headers[8];
	size_t n;
	const char *hash;
	const char *signed_headers, *signature;
};

/* The examples of Amazon's documentation of the S3 API. */
static const struct vector vectors[] = {
    {
	"get object", "GET", "/test.txt", "",
	{{"x-amz-date", AWS_DATE}, {"x-amz-content-sha256", EMPTY},
	    {"range", "bytes=0-9"}, {"host", AWS_HOST}}, 4, EMPTY,
	"host;range;x-amz-content-sha256;x-amz-date",
	"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    {
	"put object", "PUT", "/test%24file.text", "",
	{{"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"host", AWS_HOST},
	    {"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbb"
				     "a87d2b6b4b4e99e42034a8b803f8b072"},
	    {"x-amz-date", AWS_DATE},
	    {"x-amz-storage-class", "REDUCED_REDUNDANCY"}}, 5,
	"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
	"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
	"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    {
	"get lifecycle", "GET", "/", "lifecycle=",
	{{"host", AWS_HOST}, {"x-amz-content-sha256", EMPTY},
	    {"x-amz-date", AWS_DATE}}, 3, EMPTY,
	"host;x-amz-content-sha256;x-amz-date",
	"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    {
	"list objects", "GET", "/", "max-keys=2&prefix=J",
	{{"host", "  " AWS_HOST " "}, {"x-amz-content-sha256", EMPTY},
	    {"x-amz-date", AWS_DATE}}, 3, EMPTY,
	"host;x-amz-content-sha256;x-amz-date",
	"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
};

static void
test_vectors(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(vectors); i++) {
		const struct vector *v = &vectors[i];
		struct sign_input in = {
		    .method = v->method,
		    .path = v->path,
		    .query = v->query,
		    .headers = v->headers,
		    .n_headers = v->n,
		    .payload_hash = v->hash,
		    .date = AWS_DATE,
		    .region = "us-east-1",
		    .access = "AKIAIOSFODNN7EXAMPLE",
		    .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		};
		char want[512], *got;

		snprintf(want, sizeof(want),
		    "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
		    "us-east-1/s3/aws4_request,SignedHeaders=%s,Signature=%s",
		    v->signed_headers, v->signature);
		assert_int_equal(sign_request(&in, &got), 0);
		assert_string_equal(got, want);
		free(got);
	}
}

/* The upload of a chunk as the format document has it, section 9.4. */
static void
test_chunk(void **state)
{
	static const struct http_header headers[] = {
	    {"content-length", "18"},
	    {"content-md5", "1JoFMk/HL4/1RA8gtVG4MA=="},
	    {"content-type", "application/octet-stream"},
	    {"host", "pbs-bucket.s3.eu-central-1.example.com"},
	    {"if-none-match", "*"},
	    {"x-amz-content-sha256", NULL},
	    {"x-amz-date", "20250714T142002Z"},
	};
	/* Magic, checksum and data of an uncompressed blob of "hello\n". */
	static const uint8_t blob[] = {
	    0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1, 0x20,
	    0x30, 0x3a, 0x36, 0x68, 0x65, 0x6c, 0x6c, 0x6f, 0x0a};
	struct http_header h[ARRAY_SIZE(headers)];
	struct sign_input in = {
	    .method = "PUT",
	    .path = "/store1/.chunks/5891/"
		    "5891b5b522d5df086d0ff0b110fbd9d2"
		    "1bb4fc7163af34d08286a2e846f6be03",
	    .query = "",
	    .headers = h,
	    .n_headers = ARRAY_SIZE(headers),
	    .date = "20250714T142002Z",
	    .region = "eu-central-1",
	    .access = "AKIDEXAMPLE",
	    .secret = "secretEXAMPLE",
	};
	struct digest d = digest_of(blob, sizeof(blob));
	char hex[DIGEST_HEX_LEN + 1], hex2[DIGEST_HEX_LEN + 1];
	char md5[MD5_BASE64_LEN + 1], *text;

	(void)state;
	digest_hex(&d, hex);
	assert_string_equal(hex,
	    "11e0bdf37f6d60e94cfacbd68ee5503796104cb1498fd8fde54d1527d08e14b0");
	memcpy(h, headers, sizeof(h));
	h[5].value = hex;
	md5_base64(blob, sizeof(blob), md5);
	assert_string_equal(md5, h[1].value);
	in.payload_hash = hex;
	assert_int_equal(sign_canonical(&in, &text), 0);
	d = digest_of(text, strlen(text));
	free(text);
	assert_string_equal(digest_hex(&d, hex2),
	    "c437ea7f26ae1b39e42e629d5892a7a1560088e1129829299c15fb0b05b458e0");
	assert_int_equal(sign_request(&in, &text), 0);
	assert_non_null(strstr(text, ",Signature=32cc8d9ac5fb0b8fdea0664365e7"
				     "a88168216d330966b6579c53102a34d50c30"));
	free(text);
}

static void
test_limits(void **state)
{
	struct http_header h[SIGN_HEADERS_MAX + 1];
	struct sign_input in = {.method = "GET", .path = "/", .query = "",
	    .headers = h, .n_headers = SIGN_HEADERS_MAX + 1,
	    .payload_hash = EMPTY, .date = AWS_DATE, .region = "r",
	    .access = "a", .secret = "s"};
	char date[SIGN_DATE_LEN + 1], *text;
	size_t i;

	(void)state;
	for (i = 0; i <= SIGN_HEADERS_MAX; i++)
		h[i] = (struct http_header){"x", "y"};
	assert_int_equal(sign_request(&in, &text), -E2BIG);
	in.n_headers--;
	assert_int_equal(sign_request(&in, &text), 0);
	free(text);
	assert_int_equal(sign_date(1752502802, date), 0);
	assert_string_equal(date, "20250714T142002Z");
	assert_int_equal(sign_date(INT64_MAX, date), -ERANGE);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_chunk),
	    cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
