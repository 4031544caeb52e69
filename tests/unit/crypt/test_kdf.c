/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/kdf.h"

#include <errno.h>
#include <string.h>

#include "../cm.h"
#include "base/num.h"

static void
assert_hex(const void *p, size_t len, const char *hex)
{
	char have[2 * 64 + 1];

	hex_encode(have, p, len);
	assert_string_equal(have, hex);
}

static void
pbkdf2(void **state)
{
	uint8_t out[64], key[32];

	(void)state;
	/* RFC 7914, section 11. */
	assert_int_equal(kdf_pbkdf2("passwd", 6, "salt", 4, 1, out, 64), 0);
	assert_hex(out, 64,
	    "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"
	    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783");
	/* Section 8.3 of the format. */
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	assert_int_equal(kdf_pbkdf2(key, 32, "_id_key", 7, 10, out, 32), 0);
	assert_hex(out, 32,
	    "7c2c013efd07f3b25717a485263343cd4d292a4b65c200bb3b18ea227abe225c");
	assert_int_equal(kdf_pbkdf2("a", 1, "b", 1, 0, out, 32), -ERANGE);
	assert_int_equal(kdf_pbkdf2("a", 1, "b", 1, KDF_PBKDF2_ITER_MAX + 1,
	    out, 32), -ERANGE);
}

static void
scrypt(void **state)
{
	uint8_t out[64];

	(void)state;
	/* RFC 7914, section 12. */
	assert_int_equal(kdf_scrypt("pleaseletmein", 13, "SodiumChloride", 14,
	    16384, 8, 1, out, 64), 0);
	assert_hex(out, 64,
	    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
	    "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887");
	assert_int_equal(kdf_scrypt("password", 8, "NaCl", 4, 1024, 8, 16, out,
	    64), 0);
	assert_hex(out, 64,
	    "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
	    "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
	/* Section 5.1 of the format. */
	assert_int_equal(kdf_scrypt("test", 4, "", 0, 65536, 8, 1, out, 32), 0);
	assert_hex(out, 32,
	    "28cdb1a3bef39396c3860e00d448fe7a0efd8244486ab6feb30457681d31597e");
}

static void
hostile_parameters(void **state)
{
	static const struct {
		uint64_t n, r, p;
		int err;
	} bad[] = {
	    {0, 8, 1, -EINVAL},
	    {1, 8, 1, -EINVAL},
	    {65535, 8, 1, -EINVAL},
	    {1 << 21, 8, 1, -ERANGE},
	    {(uint64_t)1 << 63, 8, 1, -ERANGE},
	    {65536, 8, 0, -ERANGE},
	    {65536, 8, 17, -ERANGE},
	    {65536, 8, UINT64_MAX, -ERANGE},
	    {65536, 0, 1, -ENOTSUP},
	    {65536, UINT64_MAX, 1, -ENOTSUP},
	};
	uint8_t out[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(kdf_scrypt("a", 1, "b", 1, bad[i].n, bad[i].r,
		    bad[i].p, out, 32), bad[i].err);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pbkdf2),
	    cmocka_unit_test(scrypt),
	    cmocka_unit_test(hostile_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
