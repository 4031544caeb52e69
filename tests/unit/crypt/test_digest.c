/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"

static const char *
hex_of(struct digest d)
{
	static char b[DIGEST_HEX_LEN + 1];

	return digest_hex(&d, b);
}

/* FIPS 180-4 examples. */
static void
sha256(void **state)
{
	static const char two[] =
	    "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	(void)state;
	assert_string_equal(hex_of(digest_of("abc", 3)),
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_string_equal(hex_of(digest_of(two, strlen(two))),
	    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
	assert_string_equal(hex_of(digest_of(NULL, 0)),
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void
sha256_in_pieces(void **state)
{
	uint8_t *p = malloc(300000);
	struct digest_ctx *c = NULL;
	struct digest whole, parts;
	size_t step = 1;

	(void)state;
	for (size_t i = 0; i < 300000; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
	whole = digest_of(p, 300000);
	assert_int_equal(digest_begin(&c), 0);
	for (size_t at = 0; at < 300000;) {
		size_t n = 300000 - at < step ? 300000 - at : step;

		digest_add(c, p + at, n);
		at += n;
		step = step * 2 + 1;
	}
	digest_add(c, NULL, 0);
	parts = digest_end(c);
	assert_true(digest_eq(&whole, &parts));
	parts.b[31] ^= 1;
	assert_false(digest_eq(&whole, &parts));
	free(p);
	assert_int_equal(digest_begin(&c), 0);
	assert_string_equal(hex_of(digest_end(c)),
	    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void
parses_hex(void **state)
{
	static const char good[] =
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct digest d, before;
	char bad[70];

	(void)state;
	assert_int_equal(digest_parse(good, &d), 0);
	assert_string_equal(hex_of(d), good);
	before = d;
	strcpy(bad, good);
	bad[63] = '\0';
	assert_int_equal(digest_parse(bad, &d), -EINVAL);
	strcpy(bad, good);
	bad[0] = 'B';
	assert_int_equal(digest_parse(bad, &d), -EINVAL);
	strcpy(bad, good);
	strcat(bad, "0");
	assert_int_equal(digest_parse(bad, &d), -EINVAL);
	assert_true(digest_eq(&d, &before));
}

/* RFC 4231, cases 1, 2 and 6. */
static void
hmac(void **state)
{
	uint8_t key[131];

	(void)state;
	memset(key, 0x0b, 20);
	assert_string_equal(hex_of(hmac_sha256(key, 20, "Hi There", 8)),
	    "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	assert_string_equal(hex_of(hmac_sha256("Jefe", 4,
				"what do ya want for nothing?", 28)),
	    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, 131);
	assert_string_equal(
	    hex_of(hmac_sha256(key, 131,
		"Test Using Larger Than Block-Size Key - Hash Key First", 54)),
	    "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
	/* As printed by openssl for nothing at all. */
	assert_string_equal(hex_of(hmac_sha256(NULL, 0, NULL, 0)),
	    "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void
content_md5(void **state)
{
	char out[MD5_BASE64_LEN + 1];

	(void)state;
	md5_base64(NULL, 0, out);
	assert_string_equal(out, "1B2M2Y8AsgTpgAmY7PhCfg==");
	md5_base64("hello", 5, out);
	assert_string_equal(out, "XUFAKrxLKna5cZ2REBfFkg==");
}

static void
random_bytes_differ(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0}, none[32] = {0};

	(void)state;
	assert_int_equal(crypt_random(a, sizeof(a)), 0);
	assert_int_equal(crypt_random(b, sizeof(b)), 0);
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a, none, sizeof(a));
	assert_int_equal(crypt_random(a, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sha256),
	    cmocka_unit_test(sha256_in_pieces),
	    cmocka_unit_test(parses_hex),
	    cmocka_unit_test(hmac),
	    cmocka_unit_test(content_md5),
	    cmocka_unit_test(random_bytes_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
