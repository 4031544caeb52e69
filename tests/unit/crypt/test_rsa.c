/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/rsa.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"
#include "crypt/secret.h"

#include "../cm.h"

#define MODULUS 512

static struct buf *
load(const char *name)
{
	char path[4096];
	struct buf *b;

	snprintf(path, sizeof(path), "%s/keys/%s", getenv("TEST_DATA"), name);
	assert_int_equal(io_read_file(AT_FDCWD, path, 1 << 20, &b), 0);
	return b;
}

static void
there_and_back(void **state)
{
	struct buf *private = load("master-private.pem");
	struct buf *public = load("master-public.pem"), *one, *two;
	/* What PKCS#1 v1.5 has room for. */
	char text[MODULUS - 11];
	struct secret *s;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t len = 0; len <= sizeof(text); len += 167) {
		assert_int_equal(rsa_encrypt(public->data, public->len, text,
		    len, &one), 0);
		assert_int_equal(one->len, MODULUS);
		assert_int_equal(rsa_encrypt(public->data, public->len, text,
		    len, &two), 0);
		assert_memory_not_equal(one->data, two->data, MODULUS);
		assert_int_equal(rsa_decrypt(private->data, private->len, NULL,
		    two->data, two->len, &s), 0);
		assert_int_equal(s->len, len);
		assert_memory_equal(s->p, text, len);
		secret_free(s);
		/* Most of its bytes; a padding that is right by chance has
		 * another content. */
		for (size_t i = 0; i < MODULUS; i += 61) {
			one->data[i] ^= 1;
			if (rsa_decrypt(private->data, private->len, NULL,
			    one->data, one->len, &s) == 0) {
				assert_true(s->len != len ||
				    memcmp(s->p, text, len) != 0);
				secret_free(s);
			}
			one->data[i] ^= 1;
		}
		buf_unref(one);
		buf_unref(two);
	}
	assert_int_equal(rsa_encrypt(public->data, public->len, text,
	    sizeof(text) + 1, &one), -EFBIG);
	buf_unref(private);
	buf_unref(public);
}

static void
no_public_keys(void **state)
{
	struct buf *private = load("master-private.pem"), *out;
	struct buf *public = load("master-public.pem");

	(void)state;
	assert_int_equal(rsa_encrypt("", 0, "x", 1, &out), -EINVAL);
	assert_int_equal(rsa_encrypt("nothing", 7, "x", 1, &out), -EINVAL);
	assert_int_equal(rsa_encrypt(private->data, private->len, "x", 1,
	    &out), -EINVAL);
	assert_int_equal(rsa_encrypt(public->data, public->len / 2, "x", 1,
	    &out), -EINVAL);
	buf_unref(private);
	buf_unref(public);
}

static void
a_new_one(void **state)
{
	static const char *const passes[] = {NULL, "a passphrase"};
	struct secret *private, *s;
	struct buf *public, *out;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(rsa_generate(2048, passes[i], &private,
		    &public), 0);
		assert_non_null(memmem(public->data, public->len,
		    "-----BEGIN PUBLIC KEY-----", 26));
		assert_int_equal(memmem(private->p, private->len, "ENCRYPTED",
		    9) != NULL, i == 1);
		assert_int_equal(rsa_encrypt(public->data, public->len,
		    "hello", 5, &out), 0);
		assert_int_equal(out->len, 256);
		assert_int_equal(rsa_decrypt(private->p, private->len,
		    passes[i], out->data, out->len, &s), 0);
		assert_int_equal(s->len, 5);
		assert_memory_equal(s->p, "hello", 5);
		secret_free(s);
		if (i == 1) {
			assert_int_equal(rsa_decrypt(private->p, private->len,
			    NULL, out->data, out->len, &s), -ENOKEY);
			assert_int_equal(rsa_decrypt(private->p, private->len,
			    "another", out->data, out->len, &s), -ENOKEY);
		}
		buf_unref(out);
		buf_unref(public);
		secret_free(private);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(there_and_back),
	    cmocka_unit_test(no_public_keys),
	    cmocka_unit_test(a_new_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
