/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_PXAR_FORMAT_H
#define PBS_PXAR_FORMAT_H

#include <stdint.h>

/*
 * Records of a pxar stream: type u64, size u64 with these 16 bytes, content.
 * Little endian, not aligned.  Format document section 7.1.
 */
#define PXAR_HEADER_SIZE 16

#define PXAR_FORMAT_VERSION 0x730f6c75df16a40d
#define PXAR_PRELUDE 0xe309d79d9f7b771b
#define PXAR_ENTRY 0xd5956474e588acef
#define PXAR_ENTRY_V1 0x11da850a1c1cceff
#define PXAR_FILENAME 0x16701121063917b3
#define PXAR_SYMLINK 0x27f971e7dbf5dc5f
#define PXAR_DEVICE 0x9fc9e906586d5ce9
#define PXAR_XATTR 0x0dab0229b57dcd03
#define PXAR_ACL_USER 0x2ce8540a457d55b8
#define PXAR_ACL_GROUP 0x136e3eceb04c03ab
#define PXAR_ACL_GROUP_OBJ 0x10868031e9582876
#define PXAR_ACL_DEFAULT 0xbbbb13415a6896f5
#define PXAR_ACL_DEFAULT_USER 0xc89357b40532cd1f
#define PXAR_ACL_DEFAULT_GROUP 0xf90a8a5816038ffe
#define PXAR_FCAPS 0x2da9dd9db5f7fb67
#define PXAR_QUOTA_PROJID 0xe07540e82f7d1cbb
#define PXAR_HARDLINK 0x51269c8422bd7275
#define PXAR_PAYLOAD 0x28147a1b0b7c1a25
#define PXAR_PAYLOAD_REF 0x419d3d6bc4ba977e
#define PXAR_GOODBYE 0x2fec4fa642d5731d
#define PXAR_PAYLOAD_START 0x834c68c2194a4ed2
#define PXAR_PAYLOAD_TAIL 0x6c72b78b984c81b5

/* Content of the records of one size. */
#define PXAR_ENTRY_SIZE 40
#define PXAR_ENTRY_V1_SIZE 32

/* Items of a GOODBYE record: hash u64, offset u64, size u64.  The last one is
 * the tail, with this hash. */
#define PXAR_ITEM_SIZE 24
#define PXAR_TAIL_HASH 0xef5eed5b753e1555

/* The least that an entry of a directory takes: a FILENAME of one letter and
 * a HARDLINK to a path of one letter. */
#define PXAR_CHILD_MIN (PXAR_HEADER_SIZE + 2 + PXAR_HEADER_SIZE + 8 + 2)

/* Of an ACL entry: read, write, execute. */
#define PXAR_PERM_MAX 7

/* Names are hashed by SipHash-2-4 with these keys. */
#define PXAR_HASH_K0 0x83ac3f1cfbb450db
#define PXAR_HASH_K1 0xaa4f1b6879369fbd

#endif
