/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_MANIFEST_H
#define PBS_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "pbs/names.h"

struct buf;
struct enc_key;

/*
 * index.json.blob, decoded.  Format document section 5.  Immutable after
 * parsing; any thread may read it.
 */

/* As much as the server lets a client upload; decoded, in memory, JSON takes
 * many times its size. */
#define MANIFEST_CONTENT_MAX (16u << 20)
/* As many it can list at most, if their names leave room. */
#define MANIFEST_FILES_MAX 52000

enum crypt_mode { CRYPT_NONE, CRYPT_SIGN, CRYPT_ENCRYPT };

struct manifest_file {
	char *name;		/* server name with suffix; a valid archive name */
	enum crypt_mode crypt;
	uint64_t size;		/* stream size of an index, file size of a blob */
	struct digest csum;	/* index_csum, or sha256 of the blob file */
};

struct manifest {
	unsigned refs;		/* private: atomic */
	enum backup_type type;
	char *id;
	int64_t time;		/* epoch seconds */
	struct manifest_file *files;	/* in the order of the manifest */
	size_t n_files;
	char *notes;		/* unprotected.notes, or NULL */
	char *key_fingerprint;	/* unprotected.key-fingerprint, or NULL */
	char *verify_state;	/* "ok", "failed", or NULL */
	char *verify_upid;	/* or NULL */
	char *signature;	/* or NULL */
	struct buf *json;	/* the text as it was stored: what index.json shows */
	/* The key that it was made with, if that is at hand; borrowed.  Whoever
	 * parses may set it before others see the manifest. */
	const struct enc_key *key;
};

/**
 * manifest_parse(blob, len, ret, ret_why):
 * From the bytes of the blob file, decoded at most MANIFEST_CONTENT_MAX, and
 * with a bounded number of values in it.
 * Unknown fields are ignored; a missing crypt-mode, unprotected or signature,
 * and null for them, are allowed.  Entries whose file name is not a valid
 * archive name are an error, as are two entries of one name.  -EBADMSG with a
 * static text, -ENOMEM.
 */
int manifest_parse(const void *blob, size_t len, struct manifest **ret,
    const char **ret_why);
struct manifest *manifest_ref(struct manifest *m);
void manifest_unref(struct manifest *m);
void manifest_unrefp(struct manifest **m);

/** manifest_find(m, name): the entry of that server name, or NULL. */
const struct manifest_file *manifest_find(const struct manifest *m,
    const char *name);

/**
 * manifest_sign(m, k, ret): its signature with that key.  0, -ENOMEM.
 * manifest_verify(m, k): 0 signed with k; 1 not signed; -EKEYREJECTED it names
 * the fingerprint of another key; -EBADMSG the signature is not that of this
 * manifest with k; -ENOMEM.
 */
int manifest_sign(const struct manifest *m, const struct enc_key *k,
    struct digest *ret);
int manifest_verify(const struct manifest *m, const struct enc_key *k);

const char *crypt_mode_name(enum crypt_mode mode);

#endif
