/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/keyfile.h"

#include "data.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "crypt/aead.h"
#include "crypt/base64.h"
#include "crypt/secret.h"
#include "pbs/enc_key.h"

static const struct real {
	const char *name;
	enum keyfile_kdf kdf;
	const char *pass, *hint, *key;
} real[] = {
    {"key-none", KEYFILE_NONE, "", NULL,
	"b958685c915e0a706186bc718864d25c09e34f5b5f26e4ad0f6867ef1fc29538"},
    {"key-s3", KEYFILE_NONE, "", NULL,
	"82c742c855d25e89e8a5d711f49561560a4af44d5778fc49587086681346ad7e"},
    {"key-scrypt", KEYFILE_SCRYPT, "scrypt-pass", "the hint",
	"fbea250b805350734f468e4ed891ac66c6db21738d081a7307ddf3fe778652b8"},
    {"key-pbkdf2", KEYFILE_PBKDF2, "pbkdf2-pass", NULL,
	"6d76488554d03798927a5978ff06fbe285fb36bd74951033cd7bc8969fb9872f"},
};

static struct buf *
load(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "../keys/%s.json", name);
	return data_load(path);
}

static struct keyfile *
parse(const void *p, size_t len)
{
	struct keyfile *f = NULL;
	const char *why = "not set";

	if (keyfile_parse(p, len, &f, &why) != 0)
		fail_msg("%s", why);
	assert_null(why);
	return f;
}

static void
assert_key(const struct enc_key *k, const char *hex)
{
	char have[2 * ENC_KEY_LEN + 1];

	hex_encode(have, enc_key_raw(k), ENC_KEY_LEN);
	assert_string_equal(have, hex);
}

static void
real_ones_open(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(real); i++) {
		const struct real *x = &real[i];
		struct buf *b = load(x->name);
		struct keyfile *f = parse(b->data, b->len);
		struct enc_key *k;
		struct secret *text;

		print_message("# %s\n", x->name);
		assert_int_equal(f->kdf, x->kdf);
		assert_true(f->has_fingerprint);
		assert_true(x->hint == NULL ? f->hint == NULL :
		    strcmp(f->hint, x->hint) == 0);
		assert_int_equal(keyfile_open(f, x->pass, strlen(x->pass),
		    &k), 0);
		assert_key(k, x->key);
		assert_true(digest_eq(&f->fingerprint,
		    enc_key_fingerprint(k)));
		enc_key_unref(k);
		if (x->kdf != KEYFILE_NONE) {
			assert_int_equal(keyfile_open(f, "wrong", 5, &k),
			    -EKEYREJECTED);
			assert_int_equal(keyfile_open(f, "", 0, &k),
			    -EKEYREJECTED);
		}
		/* Ours is byte for byte what was read. */
		assert_int_equal(keyfile_write(f, false, &text), 0);
		assert_int_equal(text->len, b->len);
		assert_memory_equal(text->p, b->data, b->len);
		secret_free(text);
		keyfile_free(f);
		buf_unref(b);
	}
}

static void
made_ones_open(void **state)
{
	static const enum keyfile_kdf kdfs[] = {KEYFILE_NONE, KEYFILE_SCRYPT,
	    KEYFILE_PBKDF2};
	uint8_t raw[ENC_KEY_LEN] = {1, 2, 3};
	struct keyfile *f, *back, *other;
	struct enc_key *k, *again;
	struct secret *text;

	(void)state;
	assert_int_equal(enc_key_new(raw, &k), 0);
	for (size_t i = 0; i < ARRAY_SIZE(kdfs); i++)
		for (int pretty = 0; pretty < 2; pretty++) {
			assert_int_equal(keyfile_lock(k, kdfs[i], "12345", 5,
			    "a \"hint\"\n\xc3\xa4", &f), 0);
			assert_int_equal(keyfile_write(f, pretty != 0, &text),
			    0);
			back = parse(text->p, text->len);
			assert_string_equal(back->hint, f->hint);
			assert_string_equal(back->created, f->created);
			assert_int_equal(keyfile_open(back, "12345", 5,
			    &again), 0);
			assert_memory_equal(enc_key_raw(again), raw,
			    sizeof(raw));
			enc_key_unref(again);
			secret_free(text);
			keyfile_free(back);
			/* Salt and IV are fresh each time. */
			assert_int_equal(keyfile_lock(k, kdfs[i], "12345", 5,
			    NULL, &other), 0);
			assert_int_equal(memcmp(f->data->p, other->data->p,
			    16) == 0, kdfs[i] == KEYFILE_NONE);
			assert_int_equal(memcmp(f->salt, other->salt,
			    32) == 0, kdfs[i] == KEYFILE_NONE);
			keyfile_free(other);
			keyfile_free(f);
		}
	assert_int_equal(keyfile_lock(k, KEYFILE_SCRYPT, "1234", 4, NULL, &f),
	    -EINVAL);
	enc_key_unref(k);
}

/* Every bit of the key, of the fingerprint and of the salt. */
static void
flipped_bits_are_noticed(void **state)
{
	uint8_t raw[ENC_KEY_LEN] = {7};
	struct keyfile *f;
	struct enc_key *k;
	struct buf *b;

	(void)state;
	assert_int_equal(enc_key_new(raw, &k), 0);
	assert_int_equal(keyfile_lock(k, KEYFILE_PBKDF2, "12345", 5, NULL, &f),
	    0);
	enc_key_unref(k);
	for (size_t bit = 0; bit < 8 * 64; bit += 7) {
		f->data->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(keyfile_open(f, "12345", 5, &k),
		    -EKEYREJECTED);
		f->data->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t bit = 0; bit < 8 * 32; bit += 7) {
		f->salt[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(keyfile_open(f, "12345", 5, &k),
		    -EKEYREJECTED);
		f->salt[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(keyfile_open(f, "12345", 5, &k), 0);
	enc_key_unref(k);
	f->fingerprint.b[31] ^= 1;
	assert_int_equal(keyfile_open(f, "12345", 5, &k), -EBADMSG);
	/* It is optional. */
	f->has_fingerprint = false;
	assert_int_equal(keyfile_open(f, "12345", 5, &k), 0);
	enc_key_unref(k);
	keyfile_free(f);

	b = load("key-none");
	f = parse(b->data, b->len);
	for (size_t bit = 0; bit < 8 * 32; bit++) {
		f->data->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(keyfile_open(f, NULL, 0, &k), -EBADMSG);
		f->data->p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	keyfile_free(f);
	buf_unref(b);
}

#define T "\"created\":\"2024-01-01T00:00:00Z\",\"modified\":" \
    "\"2024-01-01T00:00:00Z\""
#define A32 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void
odd_ones(void **state)
{
	static const struct {
		const char *text, *why;
	} bad[] = {
	    {"", "there is no key in it"},
	    {"{\"data\" \"x\"}", "there is no key in it"},
	    {"{\"data\":7}", "its key is not base64"},
	    {"{\"data\":\"AAA\"}", "its key is not base64"},
	    {"{\"data\":\"A\"", "its key is not base64"},
	    {"{\"data\":\"" A32, "its key has the wrong length"},
	    {"{\"kdf\":null," T ",\"data\":\"" A32 "\"", "it is not JSON"},
	    {"{\"kdf\":null," T ",\"data\":\"AAAA\"}",
		"its key has the wrong length"},
	    {"{\"kdf\":null," T ",\"data\":\"" A32 "\",\"data\":\"" A32 "\"}",
		"it is not JSON"},
	    {"{\"x\":{\"data\":\"" A32 "\"}," T "}", "its key is not base64"},
	    {"{\"kdf\":7," T ",\"data\":\"" A32 "\"}", "its kdf is unknown"},
	    {"{\"kdf\":{\"Argon2\":{}}," T ",\"data\":\"" A32 "\"}",
		"its kdf is unknown"},
	    {"{\"kdf\":{\"Scrypt\":{\"n\":65536,\"r\":8,\"salt\":\"AAAA\"}}," T
	     ",\"data\":\"" A32 "\"}", "a parameter of scrypt is missing"},
	    {"{\"kdf\":{\"Scrypt\":{\"n\":-1,\"r\":8,\"p\":1,"
	     "\"salt\":\"AAAA\"}}," T ",\"data\":\"" A32 "\"}",
		"a parameter of scrypt is missing"},
	    {"{\"kdf\":{\"PBKDF2\":{\"iter\":1,\"salt\":\"A A=\"}}," T
	     ",\"data\":\"" A32 "\"}", "its salt is none"},
	    {"{\"kdf\":{\"PBKDF2\":{\"iter\":1,\"salt\":\"AAAA\"}}," T
	     ",\"data\":\"" A32 "\"}", "its key has the wrong length"},
	    {"{\"kdf\":null,\"data\":\"" A32 "\"}", "its dates are none"},
	    {"{\"kdf\":null," T ",\"data\":\"" A32 "\",\"fingerprint\":\"aa\"}",
		"its fingerprint is none"},
	    {"{\"kdf\":null," T ",\"data\":\"" A32 "\",\"hint\":1}",
		"its hint is none"},
	};
	static const char good[] = "{ \"hint\" : \"\\\"data\\\"\", " T
	    ", \"data\" :\n\"" A32 "\", \"fingerprint\":null, \"x\":[]}";
	const char *why;
	struct keyfile *f;
	struct enc_key *k;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(keyfile_parse(bad[i].text,
		    strlen(bad[i].text), &f, &why), -EBADMSG);
		assert_string_equal(why, bad[i].why);
	}
	f = parse(good, strlen(good));
	assert_string_equal(f->hint, "\"data\"");
	assert_int_equal(keyfile_open(f, NULL, 0, &k), 0);
	enc_key_unref(k);
	keyfile_free(f);
	assert_int_equal(keyfile_parse("{\0}", 3, &f, &why), -EBADMSG);
}

static void
hostile_parameters(void **state)
{
	struct buf *b = load("key-scrypt");
	struct keyfile *f = parse(b->data, b->len);
	struct enc_key *k;

	(void)state;
	f->n = (uint64_t)1 << 40;
	assert_int_equal(keyfile_open(f, "x", 1, &k), -ERANGE);
	f->n = 65535;
	assert_int_equal(keyfile_open(f, "x", 1, &k), -EBADMSG);
	f->n = 65536;
	f->r = 1;
	assert_int_equal(keyfile_open(f, "x", 1, &k), -ENOTSUP);
	f->kdf = KEYFILE_PBKDF2;
	f->iter = UINT64_MAX;
	assert_int_equal(keyfile_open(f, "x", 1, &k), -ERANGE);
	keyfile_free(f);
	buf_unref(b);
}

static void
base64(void **state)
{
	static const struct {
		const char *text, *plain;
	} ok[] = {{"", ""}, {"Zg==", "f"}, {"Zm8=", "fo"}, {"Zm9v", "foo"},
	    {"Zm9vYg==", "foob"}, {"Zm9vYmE=", "fooba"},
	    {"Zm9vYmFy", "foobar"}};
	static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "Zh==",
	    "Zm9=", "Zm9v\n", " Zm9", "Z=9v", "====", "Zg==Zg==", "Zm-_"};
	uint8_t out[8];
	char text[16];
	size_t n;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ok); i++) {
		size_t len = strlen(ok[i].plain);

		base64_encode(text, (const uint8_t *)ok[i].plain, len);
		assert_string_equal(text, ok[i].text);
		assert_int_equal(base64_decode(out, len, text, &n), 0);
		assert_int_equal(n, len);
		assert_memory_equal(out, ok[i].plain, len);
		if (len > 0)
			assert_int_equal(base64_decode(out, len - 1, text,
			    &n), -ERANGE);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(base64_decode(out, 8, bad[i], &n), -EINVAL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(real_ones_open),
	    cmocka_unit_test(made_ones_open),
	    cmocka_unit_test(flipped_bits_are_noticed),
	    cmocka_unit_test(odd_ones),
	    cmocka_unit_test(hostile_parameters),
	    cmocka_unit_test(base64),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
