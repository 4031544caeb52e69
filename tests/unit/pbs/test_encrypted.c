/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/blob.h"

#include "data.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "base/num.h"
#include "base/str.h"
#include "pbs/enc_key.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "pbs/manifest_writer.h"

#define NONE "b958685c915e0a706186bc718864d25c09e34f5b5f26e4ad0f6867ef1fc29538"
#define PBKDF2 "6d76488554d03798927a5978ff06fbe285fb36bd74951033cd7bc8969fb9872f"
#define SCRYPT "fbea250b805350734f468e4ed891ac66c6db21738d081a7307ddf3fe778652b8"

static struct enc_key *none, *pbkdf2, *scrypt, *example;

static struct enc_key *
key_of(const char *hex)
{
	uint8_t raw[ENC_KEY_LEN];
	struct enc_key *k;

	assert_int_equal(hex_decode(raw, sizeof(raw), hex), 0);
	assert_int_equal(enc_key_new(raw, &k), 0);
	return k;
}

static int
set_up(void **state)
{
	(void)state;
	none = key_of(NONE);
	pbkdf2 = key_of(PBKDF2);
	scrypt = key_of(SCRYPT);
	example = key_of("000102030405060708090a0b0c0d0e0f"
			 "101112131415161718191a1b1c1d1e1f");
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	enc_key_unref(none);
	enc_key_unref(pbkdf2);
	enc_key_unref(scrypt);
	enc_key_unref(example);
	return 0;
}

static void
fingerprints(void **state)
{
	char text[FINGERPRINT_LEN + 1], brief[FINGERPRINT_SHORT_LEN + 1];
	struct digest d;

	(void)state;
	/* Section 8.3. */
	fingerprint_format(enc_key_fingerprint(example), text);
	assert_string_equal(text, "0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:"
	    "78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b");
	fingerprint_short(enc_key_fingerprint(example), brief);
	assert_string_equal(brief, "0e:ab:d4:46:0b:6e:b9:ca");
	assert_int_equal(fingerprint_parse(text, &d), 0);
	assert_true(digest_eq(&d, enc_key_fingerprint(example)));
	for (size_t i = 0; i < FINGERPRINT_LEN; i++) {
		char bad[FINGERPRINT_LEN + 1];

		memcpy(bad, text, sizeof(bad));
		bad[i] = 'g';
		assert_int_equal(fingerprint_parse(bad, &d), -EINVAL);
		bad[i] = '\0';
		assert_int_equal(fingerprint_parse(bad, &d), -EINVAL);
	}
	assert_int_equal(fingerprint_parse(brief, &d), -EINVAL);
	fingerprint_format(enc_key_fingerprint(none), text);
	assert_int_equal(memcmp(text, "fe:ba:6c:44", 11), 0);
}

/* Section 2.6. */
static const uint8_t hello[] = "\x7b\x67\x85\xbe\x22\x2d\x4c\xf0"
    "\xc6\xd2\x87\xbe\xa0\xa1\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xab"
    "\xac\xad\xae\xaf\xbb\x08\xda\x3d\x8e\x1e\xad\xcf\x85\x83\x37\xa6"
    "\x45\xd9\xd0\x77\x42\xc6\x4f\xd0\x77\xc7";
#define HELLO "20bbd199c52e00417a79467b7d5af398d1f57bc44a8818d78d94c5cdebeec614"

static void
example_of_the_format(void **state)
{
	const size_t len = sizeof(hello) - 1;
	struct digest d = data_digest(HELLO);
	struct buf *b;

	(void)state;
	assert_int_equal(blob_decode_with(hello, len, 6, example, &b), 0);
	assert_int_equal(b->len, 6);
	assert_memory_equal(b->data, "hello\n", 6);
	buf_unref(b);
	assert_int_equal(chunk_decode_with(hello, len, &d, 6, example, &b), 0);
	assert_memory_equal(b->data, "hello\n", 6);
	buf_unref(b);
	assert_int_equal(blob_decode_with(hello, len, 5, example, &b),
	    -EBADMSG);
	assert_int_equal(chunk_decode_with(hello, len, &d, 5, example, &b),
	    -EBADMSG);
	assert_int_equal(blob_decode_with(hello, len, 6, NULL, &b), -ENOKEY);
	assert_int_equal(chunk_decode_with(hello, len, &d, 6, NULL, &b),
	    -ENOKEY);
	assert_int_equal(blob_decode_with(hello, len, 6, none, &b), -EBADMSG);
	/* The plain digest is not its name. */
	d = digest_of("hello\n", 6);
	assert_int_equal(chunk_decode_with(hello, len, &d, 6, example, &b),
	    -EBADMSG);
}

static const struct golden {
	const char *name;
	struct enc_key **key;
	size_t content;
	const char *sha256;
	const char *digest;
} golden[] = {
    {"chunk/enc-start", &pbkdf2, 16,
	"c3aef320d932bc67b7e919943a7ecac2c743d1af285f1d912d6f3f4a647f60a5",
	"cb0623399ebbb4ecd958d9eb09c24266662e1cc8fe600c5c0e0757ce7a662a70"},
    {"chunk/enc-zstd", &pbkdf2, 5380,
	"0d991453c28c30edc2ed36bfd0ec72b6aff2036954275a16c3ff5b0a40d5c512",
	"3274829fbcac3a35d88d3b9d123f40f5989e9cffb56f33aa785065ee191b9ae6"},
    {"blob/enc-empty.blob", &none, 0,
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	"4950e6a11c8eb0ddf51234efce90140f059a6046731b7a8a94c60b6c1fd284af"},
    {"blob/enc-random.blob", &none, 5000,
	"2dceb12ecf724da7257e42696b00dfcde97c398feaeb1c690087a70d376b6b93",
	"e137733cf9897da75b88b79fcb73c3ad3f4487f93dda4f86f4da168956f7d3bf"},
    {"blob/enc-zstd-big.blob", &none, 300000,
	"88c8463eb93640508570cffb7f32423348e2a3336f1e8c0721965ef825d87f07",
	"760627dd1cb54626a0a1fdb6e3c3db8381e26cf8cfffc6d7414b7b84a620b8e0"},
};

static void
real_ones_decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		const struct golden *g = &golden[i];
		struct buf *b = data_load(g->name), *c;
		struct digest d = data_digest(g->digest);

		print_message("# %s\n", g->name);
		assert_int_equal(blob_decode_with(b->data, b->len,
		    BLOB_CONTENT_MAX, *g->key, &c), 0);
		assert_int_equal(c->len, g->content);
		assert_digest(c->data, c->len, g->sha256);
		buf_unref(c);
		assert_int_equal(chunk_decode_with(b->data, b->len, &d,
		    g->content, *g->key, &c), 0);
		assert_digest(c->data, c->len, g->sha256);
		buf_unref(c);
		assert_int_equal(chunk_decode_with(b->data, b->len, &d,
		    g->content + 1, *g->key, &c), -EBADMSG);
		assert_int_equal(blob_decode_with(b->data, b->len,
		    BLOB_CONTENT_MAX, scrypt, &c), -EBADMSG);
		if (g->content > 0)
			assert_int_equal(blob_decode_with(b->data, b->len,
			    g->content - 1, *g->key, &c), -EBADMSG);
		buf_unref(b);
	}
}

/* Makes the CRC of a changed blob right again: it is no protection. */
static void
fix_crc(struct buf *b)
{
	struct buf *plain;

	assert_int_equal(blob_encode(b->data + BLOB_HEADER_ENC,
	    b->len - BLOB_HEADER_ENC, false, &plain), 0);
	memcpy(b->data + 8, plain->data + 8, 4);
	buf_unref(plain);
}

static void
every_flipped_bit_is_noticed(void **state)
{
	static const char *const names[] = {"chunk/enc-start",
	    "chunk/enc-zstd"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct buf *b = data_load(names[i]), *c;
		struct digest d = data_digest(golden[i].digest);
		size_t bits = 8 * b->len;

		for (size_t bit = 0; bit < 2 * bits; bit++) {
			struct buf *bad = buf_copy(b->data, b->len);

			bad->data[bit % bits / 8] ^= (uint8_t)(1 << bit % 8);
			/* The second time with a CRC that is right; the
			 * first 12 bytes are magic and CRC. */
			if (bit >= bits && bit - bits >= 12 * 8)
				fix_crc(bad);
			assert_int_equal(blob_decode_with(bad->data, bad->len,
			    CHUNK_CONTENT_MAX, pbkdf2, &c), -EBADMSG);
			assert_int_equal(chunk_decode_with(bad->data, bad->len,
			    &d, golden[i].content, pbkdf2, &c), -EBADMSG);
			buf_unref(bad);
		}
		for (size_t len = 0; len < b->len; len++)
			assert_int_equal(blob_decode_with(b->data, len,
			    CHUNK_CONTENT_MAX, pbkdf2, &c), -EBADMSG);
		buf_unref(b);
	}
}

static void
plain_ones_beside_a_key(void **state)
{
	struct buf *b = data_load("blob/plain-rsa-key.blob"), *c;
	struct digest d;

	(void)state;
	/* A blob is what it says, whatever the manifest does. */
	assert_int_equal(blob_decode_with(b->data, b->len, 4096, scrypt, &c),
	    0);
	assert_int_equal(c->len, 512);
	d = digest_of(c->data, c->len);
	buf_unref(c);
	/* A plain chunk in an encrypted archive is not, by any name. */
	assert_int_equal(chunk_decode(b->data, b->len, &d, 512, &c), 0);
	buf_unref(c);
	assert_int_equal(chunk_decode_with(b->data, b->len, &d, 512, scrypt,
	    &c), -EBADMSG);
	assert_int_equal(enc_key_digest(scrypt, b->data + 12, 512, &d), 0);
	assert_int_equal(chunk_decode_with(b->data, b->len, &d, 512, scrypt,
	    &c), -EBADMSG);
	buf_unref(b);
}

/* What was encrypted, again: of the same kind and length, and it comes back. */
static void
encoding_is_the_servers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(golden); i++) {
		const struct golden *g = &golden[i];
		struct buf *b = data_load(g->name), *content, *again, *back;
		struct digest d = data_digest(g->digest);
		enum blob_kind kind, kind_again;

		print_message("# %s\n", g->name);
		assert_int_equal(blob_decode_with(b->data, b->len,
		    BLOB_CONTENT_MAX, *g->key, &content), 0);
		assert_int_equal(blob_encode_with(content->data, content->len,
		    true, *g->key, &again), 0);
		assert_int_equal(blob_kind(b->data, b->len, &kind), 0);
		assert_int_equal(blob_kind(again->data, again->len,
		    &kind_again), 0);
		assert_int_equal(kind_again, kind);
		if (ZSTD_versionNumber() == 10504 ||
		    ZSTD_versionNumber() == 10507)
			assert_int_equal(again->len, b->len);
		assert_int_equal(blob_decode_with(again->data, again->len,
		    content->len, *g->key, &back), 0);
		assert_int_equal(back->len, content->len);
		assert_memory_equal(back->data, content->data, back->len);
		buf_unref(back);
		if (content->len > 0) {
			assert_int_equal(chunk_decode_with(again->data,
			    again->len, &d, content->len, *g->key, &back), 0);
			buf_unref(back);
			assert_int_equal(chunk_decode_with(again->data,
			    again->len, &d, content->len, example, &back),
			    -EBADMSG);
		}
		buf_unref(again);
		buf_unref(content);
		buf_unref(b);
	}
}

static void
no_two_are_alike(void **state)
{
	struct digest d = data_digest(HELLO);
	struct buf *a, *b, *back;
	char zeros[4096] = {0};
	enum blob_kind kind;

	(void)state;
	assert_int_equal(chunk_encode("hello\n", 6, example, true, &a), 0);
	assert_int_equal(chunk_encode("hello\n", 6, example, true, &b), 0);
	assert_int_equal(a->len, sizeof(hello) - 1);
	assert_int_equal(b->len, a->len);
	/* The same magic; another IV, tag and content. */
	assert_memory_equal(a->data, hello, 8);
	assert_memory_equal(b->data, hello, 8);
	assert_memory_not_equal(a->data + 12, b->data + 12, 16);
	assert_memory_not_equal(a->data + 28, b->data + 28, 16);
	assert_memory_not_equal(a->data + 44, b->data + 44, 6);
	assert_int_equal(chunk_decode_with(a->data, a->len, &d, 6, example,
	    &back), 0);
	assert_memory_equal(back->data, "hello\n", 6);
	buf_unref(back);
	buf_unref(b);
	buf_unref(a);
	assert_int_equal(chunk_encode(zeros, sizeof(zeros), example, true, &a),
	    0);
	assert_int_equal(blob_kind(a->data, a->len, &kind), 0);
	assert_int_equal(kind, BLOB_ENC_ZSTD);
	buf_unref(a);
	assert_int_equal(chunk_encode(zeros, sizeof(zeros), example, false,
	    &a), 0);
	assert_int_equal(blob_kind(a->data, a->len, &kind), 0);
	assert_int_equal(kind, BLOB_ENC);
	buf_unref(a);
	/* Without a key as ever. */
	assert_int_equal(chunk_encode("hello\n", 6, NULL, true, &a), 0);
	assert_int_equal(blob_encode("hello\n", 6, true, &b), 0);
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->data, b->data, a->len);
	buf_unref(b);
	buf_unref(a);
	assert_int_equal(chunk_encode("", 0, NULL, true, &a), -EINVAL);
	assert_int_equal(chunk_encode(zeros, CHUNK_CONTENT_MAX + 1, NULL, true,
	    &a), -EFBIG);
}

static struct manifest *
manifest(const char *name)
{
	struct buf *b = data_load(name);
	const char *why = "";
	struct manifest *m;

	if (manifest_parse(b->data, b->len, &m, &why) != 0)
		fail_msg("%s: %s", name, why);
	buf_unref(b);
	return m;
}

static void
signatures(void **state)
{
	static const struct {
		const char *name;
		struct enc_key **key;
		int r;
	} cases[] = {
	    {"manifest/enc-ok", &none, 0},
	    {"manifest/enc-ok", &scrypt, -EKEYREJECTED},
	    {"manifest/signed", &none, 0},
	    {"manifest/enc-ct200", &scrypt, 0},
	    {"manifest/enc-ct200", &none, -EKEYREJECTED},
	    {"manifest/enc-signature", &none, -EBADMSG},
	    {"manifest/enc-fingerprint", &none, -EKEYREJECTED},
	    {"manifest/vm100", &none, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct manifest *m = manifest(cases[i].name);

		print_message("# %s\n", cases[i].name);
		assert_int_equal(manifest_verify(m, *cases[i].key),
		    cases[i].r);
		manifest_unref(m);
	}
}

/* Section 5.1. */
static void
signature_of_the_format(void **state)
{
	static const char json[] =
	    "{\"backup-type\": \"host\", \"backup-id\": \"elsa\", "
	    "\"backup-time\": 1593179765, \"files\": ["
	    "{\"filename\": \"test1.img.fidx\", \"size\": 200, "
	    "\"crypt-mode\": \"encrypt\", \"unknown\": true, \"csum\": \""
	    "01010101010101010101010101010101010101010101010101010101010101"
	    "01\"}, {\"filename\": \"abc.blob\", \"size\": 200, \"csum\": \""
	    "02020202020202020202020202020202020202020202020202020202020202"
	    "02\"}], \"unprotected\": {\"notes\": \"x\"}, \"signature\": \""
	    "d7b446fb7db081662081d4b40fedd858a1d6307a5aff4ecff7d5bf4fd35679"
	    "e9\"}";
	struct enc_key *k = key_of(
	    "28cdb1a3bef39396c3860e00d448fe7a0efd8244486ab6feb30457681d31597e");
	const char *why;
	struct manifest *m;
	struct buf *b;

	(void)state;
	assert_int_equal(blob_encode(json, sizeof(json) - 1, true, &b), 0);
	assert_int_equal(manifest_parse(b->data, b->len, &m, &why), 0);
	buf_unref(b);
	assert_int_equal(manifest_verify(m, k), 0);
	assert_int_equal(manifest_verify(m, none), -EBADMSG);
	m->signature[63] ^= 1;
	assert_int_equal(manifest_verify(m, k), -EBADMSG);
	m->signature[63] = '\0';
	assert_int_equal(manifest_verify(m, k), -EBADMSG);
	manifest_unref(m);
	enc_key_unref(k);
}

/* Of a manifest that is not packed, so that each bit means something. */
static struct buf *
written(const struct enc_key *k)
{
	struct manifest_file files[] = {
	    {.name = (char *)(uintptr_t)"a.img.fidx", .crypt = CRYPT_ENCRYPT,
	        .size = 4194304, .csum = {{1, 2, 3}}},
	    {.name = (char *)(uintptr_t)"b.conf.blob", .crypt = CRYPT_ENCRYPT,
	        .size = 77, .csum = {{4}}},
	};
	const struct manifest m = {.type = BACKUP_HOST,
	    .id = (char *)(uintptr_t)"web1", .time = 1700000000,
	    .files = files, .n_files = 2};
	struct buf *packed, *text, *b;

	assert_int_equal(manifest_make(&m, k, NULL, &packed), 0);
	assert_int_equal(blob_decode(packed->data, packed->len, 65536, &text),
	    0);
	assert_int_equal(blob_encode(text->data, text->len, false, &b), 0);
	buf_unref(text);
	buf_unref(packed);
	return b;
}

static bool
says_the_same(const struct manifest *a, const struct manifest *b)
{
	bool same = a->type == b->type && streq(a->id, b->id) &&
	    a->time == b->time && a->n_files == b->n_files;

	for (size_t i = 0; same && i < a->n_files; i++)
		same = streq(a->files[i].name, b->files[i].name) &&
		    a->files[i].crypt == b->files[i].crypt &&
		    a->files[i].size == b->files[i].size &&
		    digest_eq(&a->files[i].csum, &b->files[i].csum);
	return same;
}

/* By its CRC; where that is made right again, by the signature, unless it is
 * of no account or takes the signature away. */
static void
every_flipped_bit_of_a_manifest(void **state)
{
	struct buf *b = written(scrypt), *plain;
	struct manifest *m, *good;
	size_t n_signed = 0;
	const char *why;
	int r;

	(void)state;
	assert_int_equal(manifest_parse(b->data, b->len, &good, &why), 0);
	assert_int_equal(manifest_verify(good, scrypt), 0);
	for (size_t bit = 0; bit < 8 * b->len; bit++) {
		b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(manifest_parse(b->data, b->len, &m, &why),
		    -EBADMSG);
		if (bit < 12 * 8) {
			b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			continue;
		}
		assert_int_equal(blob_encode(b->data + 12, b->len - 12, false,
		    &plain), 0);
		b->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (manifest_parse(plain->data, plain->len, &m, &why) == 0) {
			r = manifest_verify(m, scrypt);
			assert_true(r == 0 || r == 1 || r == -EBADMSG ||
			    r == -EKEYREJECTED);
			if (r == 0)
				assert_true(says_the_same(m, good));
			if (r == 1)
				assert_null(m->signature);
			n_signed += r == -EBADMSG;
			manifest_unref(m);
		}
		buf_unref(plain);
	}
	/* Those that the signature alone has found. */
	assert_true(n_signed > 200);
	manifest_unref(good);
	buf_unref(b);
}

static void
the_ring_finds_the_key(void **state)
{
	struct manifest *m = manifest("manifest/enc-ct200");
	const struct enc_key *k;
	struct keyring *r;

	(void)state;
	assert_int_equal(keyring_new(&r), 0);
	assert_int_equal(keyring_check(NULL, m, &k), 0);
	assert_null(k);
	assert_int_equal(keyring_add(r, none), 0);
	assert_int_equal(keyring_check(r, m, &k), 0);
	assert_null(k);
	assert_int_equal(keyring_add(r, scrypt), 0);
	assert_int_equal(keyring_add(r, none), 0);
	assert_int_equal(keyring_count(r), 2);
	assert_int_equal(keyring_check(r, m, &k), 0);
	assert_ptr_equal(k, scrypt);
	/* Without a fingerprint the signature tells. */
	free(m->key_fingerprint);
	m->key_fingerprint = NULL;
	assert_int_equal(keyring_check(r, m, &k), 0);
	assert_ptr_equal(k, scrypt);
	/* Signed by somebody unknown, or not at all and two to choose from. */
	m->signature[0] = m->signature[0] == '0' ? '1' : '0';
	assert_int_equal(keyring_check(r, m, &k), 0);
	assert_null(k);
	free(m->signature);
	m->signature = NULL;
	assert_int_equal(keyring_check(r, m, &k), 0);
	assert_null(k);
	keyring_unref(r);
	assert_int_equal(keyring_new(&r), 0);
	assert_int_equal(keyring_add(r, none), 0);
	assert_int_equal(keyring_check(r, m, &k), 0);
	assert_ptr_equal(k, none);
	manifest_unref(m);
	m = manifest("manifest/enc-signature");
	assert_int_equal(keyring_check(r, m, &k), -EBADMSG);
	manifest_unref(m);
	keyring_unref(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(fingerprints),
	    cmocka_unit_test(example_of_the_format),
	    cmocka_unit_test(real_ones_decode),
	    cmocka_unit_test(every_flipped_bit_is_noticed),
	    cmocka_unit_test(plain_ones_beside_a_key),
	    cmocka_unit_test(encoding_is_the_servers),
	    cmocka_unit_test(no_two_are_alike),
	    cmocka_unit_test(signatures),
	    cmocka_unit_test(signature_of_the_format),
	    cmocka_unit_test(every_flipped_bit_of_a_manifest),
	    cmocka_unit_test(the_ring_finds_the_key),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
