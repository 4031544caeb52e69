/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The examples of the format document, byte for byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "crypt/digest.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"
#include "pbs/siphash.h"

#include "../cm.h"
#include "mkpxar.h"

static void
assert_bytes(const struct mk_bytes *b, size_t len, const char *sha256)
{
	struct digest d = digest_of(b->p, b->len);
	char hex[DIGEST_HEX_LEN + 1];

	assert_int_equal(b->len, len);
	assert_string_equal(digest_hex(&d, hex), sha256);
}

static void
hash_of_reference(void **state)
{
	uint8_t in[15];
	uint64_t k0, k1;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	k0 = 0x0706050403020100;
	k1 = 0x0f0e0d0c0b0a0908;
	assert_true(siphash_24(k0, k1, in, 15) == 0xa129ca6149be45e5);
	assert_true(siphash_24(k0, k1, in, 0) == 0x726fdb47dd0e0e31);
	assert_true(siphash_24(k0, k1, in, 8) == 0x93f5f5799a932462);
}

static void
hash_of_names(void **state)
{
	(void)state;
	assert_true(siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, "a.txt", 5) ==
	    0xdc392d66b611aa72);
	assert_true(siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, "link", 4) ==
	    0x04fe0b2ecf0fc0ef);
}

static void
one_stream(void **state)
{
	struct pxar_source src;
	struct pxar_entry e;
	struct pxar_dir *d;
	char name[PXAR_NAME_MAX + 1];
	struct pxar *a;
	uint64_t link;
	struct mk m;

	(void)state;
	mk_init(&m, 1);
	mk_root(&m, MK(S_IFDIR | 0755));
	mk_file(&m, "a.txt", MK(S_IFREG | 0644), "hi\n", 3);
	mk_symlink(&m, "link", MK(S_IFLNK | 0777), "a.txt");
	mk_finish(&m);
	assert_bytes(&m.main, 340,
	    "cef5d51f612b807f52c4362e6fe0e86fa6f77c88dbcd5fed762233eadc9bee11");

	src = mk_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_version(a), 1);
	assert_int_equal(pxar_root(a), 0xfc);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_count(d), 2);
	assert_int_equal(pxar_dir_entry(a, d, 0, 0, name, &e, &link), 0);
	assert_string_equal(name, "a.txt");
	assert_int_equal(e.pos, 0x38);
	assert_int_equal(e.begin, 0x38);
	assert_int_equal(e.end, 0x99);
	assert_int_equal(e.mode, S_IFREG | 0644);
	assert_int_equal(e.content, 0x96);
	assert_int_equal(e.size, 3);
	assert_false(e.is_ref);
	assert_false(e.has_meta);
	assert_int_equal(link, 0);
	pxar_entry_fini(&e);
	assert_int_equal(pxar_dir_entry(a, d, 1, 0, name, &e, &link), 0);
	assert_string_equal(name, "link");
	assert_string_equal(e.target, "a.txt");
	assert_int_equal(e.size, 5);
	pxar_entry_fini(&e);
	assert_int_equal(pxar_dir_entry(a, d, 2, 0, name, &e, &link), -ENOENT);
	pxar_dir_unref(d);
	pxar_close(a);
	mk_fini(&m);
}

static void
split(void **state)
{
	struct pxar_source src, payload;
	struct pxar_entry e;
	struct pxar_dir *d;
	struct pxar *a;
	uint64_t off, len;
	struct mk m;

	(void)state;
	mk_init(&m, 2);
	mk_root(&m, MK(S_IFDIR | 0755));
	mk_file(&m, "a.txt", MK(S_IFREG | 0644), "hi\n", 3);
	mk_finish(&m);
	assert_bytes(&m.main, 254,
	    "5d08e4ce818b5874f9ecdca00b396ef25c8c39b1e0d736fa8f98a48dc8c36a8e");
	assert_bytes(&m.payload, 51,
	    "e31941be90b3b19c67f991e933d9199f88e3a00be041137dfe21fbdcd5089db2");

	src = mk_source(&m);
	payload = mk_payload_source(&m);
	assert_int_equal(pxar_open(&src, &a), 0);
	assert_int_equal(pxar_version(a), 2);
	assert_int_equal(pxar_root(a), 0xbe);
	pxar_prelude(a, &off, &len);
	assert_int_equal(len, 0);
	assert_int_equal(pxar_stat(a, pxar_root(a), 0, &e), 0);
	assert_int_equal(e.begin, 0x18);
	assert_int_equal(e.end, 254);
	assert_int_equal(e.mode, S_IFDIR | 0755);
	pxar_entry_fini(&e);
	assert_int_equal(pxar_dir_open(a, pxar_root(a), &d), 0);
	assert_int_equal(pxar_dir_find(a, d, "a.txt", 5, 0, &e), 0);
	assert_true(e.is_ref);
	assert_int_equal(e.content, 16);
	assert_int_equal(e.size, 3);
	assert_int_equal(pxar_check_payload(&payload, &e, &off), 0);
	assert_int_equal(off, 32);
	pxar_entry_fini(&e);
	pxar_dir_unref(d);
	pxar_close(a);
	mk_fini(&m);
}

/* The order of the table, as the document gives it for 5 and 8 entries. */
static void
order_of_the_table(void **state)
{
	const int want5[] = {3, 1, 4, 0, 2}, want8[] = {4, 2, 6, 1, 3, 5, 7, 0};
	uint64_t sorted[8], h;
	const uint8_t *item;
	char name[2] = "a";
	struct mk m;
	int n, i, k;

	(void)state;
	for (n = 5; n <= 8; n += 3) {
		mk_init(&m, 1);
		mk_root(&m, MK(S_IFDIR | 0755));
		for (i = 0; i < n; i++) {
			name[0] = (char)('a' + i);
			mk_special(&m, name, MK(S_IFIFO | 0600));
			h = siphash_24(PXAR_HASH_K0, PXAR_HASH_K1, name, 1);
			for (k = i; k > 0 && sorted[k - 1] > h; k--)
				sorted[k] = sorted[k - 1];
			sorted[k] = h;
		}
		mk_finish(&m);
		for (i = 0; i < n; i++) {
			item = m.main.p + m.last_goodbye + PXAR_HEADER_SIZE +
			    (size_t)i * PXAR_ITEM_SIZE;
			k = n == 5 ? want5[i] : want8[i];
			assert_true(get_le64(item) == sorted[k]);
		}
		mk_fini(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hash_of_reference),
	    cmocka_unit_test(hash_of_names),
	    cmocka_unit_test(one_stream),
	    cmocka_unit_test(split),
	    cmocka_unit_test(order_of_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
