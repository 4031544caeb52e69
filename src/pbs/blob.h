/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_BLOB_H
#define PBS_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct digest;
struct enc_key;

/*
 * DataBlob, the form of every chunk and every *.blob file: magic, CRC-32,
 * (IV, tag,) payload.  Format document section 2.
 */
enum blob_kind {
	BLOB_PLAIN,
	BLOB_ZSTD,
	BLOB_ENC,	/* AES-256-GCM */
	BLOB_ENC_ZSTD,
};

#define BLOB_HEADER_PLAIN 12
#define BLOB_HEADER_ENC 44
#define BLOB_CONTENT_MAX (128u << 20)	/* decoded, *.blob files */
#define CHUNK_CONTENT_MAX (16u << 20)	/* decoded, chunks */
/* As stored: zstd never grows data by more than this. */
#define CHUNK_STORED_MAX (CHUNK_CONTENT_MAX + (1u << 20))
#define BLOB_STORED_MAX (BLOB_CONTENT_MAX + (1u << 20))

/**
 * blob_kind(p, len, ret): looks at magic and minimum length only.
 * 0, or -EBADMSG.
 */
int blob_kind(const void *p, size_t len, enum blob_kind *ret);
bool blob_is_encrypted(enum blob_kind kind);

/** blob_check(p, len): magic, length and CRC.  0 or -EBADMSG. */
int blob_check(const void *p, size_t len);

/**
 * blob_decode(p, len, max, ret):
 * Check and unpack at most max bytes; memory used stays within max plus a
 * constant whatever the header claims.  Accepts every valid zstd stream:
 * unknown content size, several frames, checksums.  0 and *ret owned by the
 * caller; -EBADMSG for damage, also for content over max; -ENOKEY if
 * encrypted; -ENOMEM.
 */
int blob_decode(const void *p, size_t len, size_t max, struct buf **ret);

/**
 * chunk_decode(p, len, digest, size, ret):
 * As blob_decode for a chunk whose name and plain length are known; both are
 * checked.  -EBADMSG if anything differs, -ENOKEY if encrypted (its CRC is
 * right then).
 */
int chunk_decode(const void *p, size_t len, const struct digest *digest,
    size_t size, struct buf **ret);

/**
 * blob_decode_with(p, len, max, key, ret), chunk_decode_with(...):
 * The same with the key of an encrypted archive, or NULL.  The tag is checked
 * before anything is unpacked.  A blob says itself whether it is encrypted, so
 * a plain one is fine; a chunk that is not encrypted in an archive that is, is
 * damage.  -EBADMSG also for a tag that is wrong.
 */
int blob_decode_with(const void *p, size_t len, size_t max,
    const struct enc_key *key, struct buf **ret);
int chunk_decode_with(const void *p, size_t len, const struct digest *digest,
    size_t size, const struct enc_key *key, struct buf **ret);

/**
 * blob_encode(p, len, compress, ret):
 * The bytes Proxmox Backup would write: zstd level 1 with content size if that
 * is not longer than the data, otherwise plain.  -EFBIG over BLOB_CONTENT_MAX.
 */
int blob_encode(const void *p, size_t len, bool compress, struct buf **ret);

/**
 * blob_encode_with(p, len, compress, key, ret):
 * The same, then encrypted if key is not NULL, with a new random IV: no two
 * are alike.  -EIO if there are no random bytes, -ENOSYS.
 * chunk_encode(p, len, key, compress, ret): of a chunk; what it is called says
 * enc_key_digest or digest_of.  -EFBIG over CHUNK_CONTENT_MAX, -EINVAL for
 * none.
 */
int blob_encode_with(const void *p, size_t len, bool compress,
    const struct enc_key *key, struct buf **ret);
int chunk_encode(const void *p, size_t len, const struct enc_key *key,
    bool compress, struct buf **ret);

#endif
