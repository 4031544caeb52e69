/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* Little-endian numbers at any alignment. */
static inline uint32_t
get_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t
get_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void
put_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void
put_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/**
 * num_size(text, ret): bytes from "512", "64K", "1.5G", "2TiB"; powers of 1024.
 * num_duration(text, ret_ms): milliseconds from "30" (s), "500ms", "5m", "24h",
 * "1d", "24h5m".  num_u64(text, ret): decimal only.  num_bool: 1/0, yes/no,
 * on/off, true/false.
 * Return 0, -EINVAL for anything else (also trailing text), -ERANGE.
 */
int num_size(const char *text, uint64_t *ret);
int num_duration(const char *text, uint64_t *ret_ms);
int num_u64(const char *text, uint64_t *ret);
int num_bool(const char *text, bool *ret);

/** num_format_size(buf, bytes): "1.5 GiB"; buf has NUM_SIZE_MAX bytes. */
#define NUM_SIZE_MAX 32
const char *num_format_size(char buf[NUM_SIZE_MAX], uint64_t bytes);

/**
 * hex_encode(out, bytes, len): lower case, 2*len + 1 bytes with the NUL.
 * hex_decode(out, len, text): exactly 2*len lower-case digits and then the
 * end of text; 0 or -EINVAL.
 */
void hex_encode(char *out, const void *bytes, size_t len);
int hex_decode(void *out, size_t len, const char *text);

#endif
