/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/aead.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"

static uint8_t key[AEAD_KEY_LEN], iv[AEAD_IV_LEN];

/* The example of section 2.6. */
static const uint8_t cipher[6] = {0x42, 0xc6, 0x4f, 0xd0, 0x77, 0xc7};
static const uint8_t mac[AEAD_TAG_LEN] = {0xbb, 0x08, 0xda, 0x3d, 0x8e, 0x1e,
    0xad, 0xcf, 0x85, 0x83, 0x37, 0xa6, 0x45, 0xd9, 0xd0, 0x77};

static int
set_up(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(iv); i++)
		iv[i] = (uint8_t)(0xa0 + i);
	return 0;
}

static void
example_of_the_format(void **state)
{
	uint8_t out[6], tag[AEAD_TAG_LEN];

	(void)state;
	assert_int_equal(aead_encrypt(key, iv, "hello\n", 6, out, tag), 0);
	assert_memory_equal(out, cipher, 6);
	assert_memory_equal(tag, mac, AEAD_TAG_LEN);
	assert_int_equal(aead_decrypt(key, iv, mac, cipher, 6, out), 0);
	assert_memory_equal(out, "hello\n", 6);
}

static void
works_in_place_and_on_nothing(void **state)
{
	uint8_t b[1000], tag[AEAD_TAG_LEN];

	(void)state;
	for (size_t len = 0; len <= sizeof(b); len += 333) {
		memset(b, 7, sizeof(b));
		assert_int_equal(aead_encrypt(key, iv, b, len, b, tag), 0);
		assert_true(len == 0 || b[0] != 7 || b[1] != 7);
		assert_int_equal(aead_decrypt(key, iv, tag, b, len, b), 0);
		for (size_t i = 0; i < sizeof(b); i++)
			assert_int_equal(b[i], 7);
	}
}

static void
every_bit_matters(void **state)
{
	uint8_t in[6], t[AEAD_TAG_LEN], v[AEAD_IV_LEN], out[6];
	static const uint8_t zeros[6];

	(void)state;
	for (size_t bit = 0; bit < 8 * (6 + 16 + 16); bit++) {
		uint8_t *p = in;
		size_t at = bit / 8;

		memcpy(in, cipher, 6);
		memcpy(t, mac, sizeof(t));
		memcpy(v, iv, sizeof(v));
		if (at >= 6 + 16) {
			p = v;
			at -= 6 + 16;
		} else if (at >= 6) {
			p = t;
			at -= 6;
		}
		p[at] ^= (uint8_t)(1 << bit % 8);
		memset(out, 1, sizeof(out));
		assert_int_equal(aead_decrypt(key, v, t, in, 6, out),
		    -EBADMSG);
		/* Nobody sees what was not authentic. */
		assert_memory_equal(out, zeros, 6);
	}
	key[31] ^= 0x80;
	assert_int_equal(aead_decrypt(key, iv, mac, cipher, 6, out), -EBADMSG);
	key[31] ^= 0x80;
}

static void *
hammer(void *arg)
{
	static const size_t len = 70000;
	uint8_t *b = malloc(len), tag[AEAD_TAG_LEN], v[AEAD_IV_LEN];
	uint8_t fill = *(uint8_t *)arg;
	int bad = 0;

	memcpy(v, iv, sizeof(v));
	for (int i = 0; i < 50; i++) {
		v[0] = (uint8_t)i;
		memset(b, fill, len);
		bad |= aead_encrypt(key, v, b, len, b, tag);
		bad |= aead_decrypt(key, v, tag, b, len, b);
		for (size_t k = 0; k < len; k++)
			bad |= b[k] != fill;
	}
	free(b);
	return bad != 0 ? arg : NULL;
}

/* More at once than the pool of expanded keys has room for at first. */
static void
many_threads(void **state)
{
	pthread_t t[64];
	uint8_t fill[64];
	void *bad;

	(void)state;
	for (size_t i = 0; i < 64; i++) {
		fill[i] = (uint8_t)i;
		assert_int_equal(pthread_create(&t[i], NULL, hammer, &fill[i]),
		    0);
	}
	for (size_t i = 0; i < 64; i++) {
		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(example_of_the_format, set_up),
	    cmocka_unit_test_setup(works_in_place_and_on_nothing, set_up),
	    cmocka_unit_test_setup(every_bit_matters, set_up),
	    cmocka_unit_test_setup(many_threads, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
