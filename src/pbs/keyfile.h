/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_KEYFILE_H
#define PBS_KEYFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

struct enc_key;
struct secret;

/*
 * The file that holds a key, as Proxmox Backup writes it: format document
 * section 8.1.  With a passphrase the key in it is encrypted.
 */
#define KEYFILE_MAX 65536		/* bytes of a file */
#define KEYFILE_PASSPHRASE_MIN 5
#define KEYFILE_DATA_MAX 64

enum keyfile_kdf { KEYFILE_NONE, KEYFILE_SCRYPT, KEYFILE_PBKDF2 };

struct keyfile {
	enum keyfile_kdf kdf;
	uint64_t n, r, p;		/* scrypt */
	uint64_t iter;			/* pbkdf2 */
	uint8_t salt[64];
	size_t salt_len;
	char *created, *modified;	/* owned; as they are written */
	struct secret *data;		/* owned: the key, or IV, tag and key */
	bool has_fingerprint;
	struct digest fingerprint;
	char *hint;			/* owned, or NULL */
};

/** keyfile_parse(p, len, ret, ret_why): 0; -EBADMSG with a static text;
 * -ENOMEM. */
int keyfile_parse(const void *p, size_t len, struct keyfile **ret,
    const char **ret_why);
void keyfile_free(struct keyfile *f);
void keyfile_freep(struct keyfile **f);

/**
 * keyfile_open(f, pass, passlen, ret):
 * The key; pass is not looked at for KEYFILE_NONE.  0; -EKEYREJECTED wrong
 * passphrase; -EBADMSG the key is not that of the fingerprint in the file, or
 * what is inside is none; -ERANGE the parameters are beyond reason; -ENOTSUP
 * they are not supported; -ENOMEM.
 */
int keyfile_open(const struct keyfile *f, const void *pass, size_t passlen,
    struct enc_key **ret);

/**
 * keyfile_lock(k, kdf, pass, passlen, hint, ret):
 * A file for that key with a fresh salt, created now.  hint may be NULL.
 * -EINVAL the passphrase is shorter than KEYFILE_PASSPHRASE_MIN; -EIO there is
 * no randomness; -ENOMEM.
 */
int keyfile_lock(const struct enc_key *k, enum keyfile_kdf kdf,
    const void *pass, size_t passlen, const char *hint, struct keyfile **ret);

/** keyfile_write(f, pretty, ret): the text, without a line end; it holds the
 * key itself if there is no passphrase. */
int keyfile_write(const struct keyfile *f, bool pretty, struct secret **ret);

const char *keyfile_kdf_name(enum keyfile_kdf kdf);
/** keyfile_kdf_parse(name, ret): "none", "scrypt", "pbkdf2"; 0 or -EINVAL. */
int keyfile_kdf_parse(const char *name, enum keyfile_kdf *ret);

#endif
