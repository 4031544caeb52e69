/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/record.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/str.h"

/*
 * A record is its length and kind, the fields of its kind in the order of the
 * table below, all little-endian without padding, and what of variable length
 * it has.  doc/STATE.md shows the same to people.  There is one encoding of
 * each record: what was decoded encodes to the same bytes.
 */
#define HEADER_LEN 8
#define FIELDS_MAX 14
#define FIXED_MAX 128
#define GROUP_MAX 1024
#define XATTR_NAME_LEN_MAX 255
#define NSEC_PER_SEC 1000000000
/* A chunk that is encrypted: REC_CHUNK to the caller. */
#define KIND_SEALED ((uint32_t)REC_NOT_PUBLISHED + 1)
#define INODE_FLAGS \
	((unsigned)(REC_INODE_BASE | REC_INODE_ATTR | REC_INODE_NLINK))

enum field_type { END, U32, U64, DIGEST };

enum tail {
	TAIL_NONE,
	TAIL_NAME,	/* of a file: and a NUL */
	TAIL_TEXT,	/* anything without NUL, and a NUL */
	TAIL_DATA,
};

struct layout {
	struct field {
		enum field_type type;
		size_t at;
	} fields[FIELDS_MAX + 1];
	enum tail tail;
	size_t tail_max;
};

#define F32(member) {U32, offsetof(struct record, member)}
#define F64(member) {U64, offsetof(struct record, member)}
#define FDIGEST(member) {DIGEST, offsetof(struct record, member)}

static const struct layout layouts[] = {
    [REC_HEAD] = {{F32(version), F32(slot)}, TAIL_TEXT, GROUP_MAX},
    [REC_BASE] = {{F64(time)}, TAIL_NONE, 0},
    [REC_ARCHIVE] = {{F32(archive), F64(first), F64(span), FDIGEST(digest)},
        TAIL_NAME, RECORD_NAME_MAX},
    [REC_INODE] = {{F64(ino), F32(flags), F32(archive), F64(pos), F32(mode),
        F32(uid), F32(gid), F32(nlink), F64(rdev), F64(pxar_flags),
        F64(mtime_sec), F32(mtime_nsec), F64(ctime_sec), F32(ctime_nsec)},
        TAIL_TEXT, RECORD_TARGET_MAX},
    [REC_META] = {{F64(ino)}, TAIL_DATA, RECORD_XATTRS_MAX},
    [REC_NAME] = {{F64(parent), F64(ino), F32(flags)}, TAIL_NAME,
	RECORD_NAME_MAX},
    [REC_NO_NAME] = {{F64(parent), F32(flags)}, TAIL_NAME, RECORD_NAME_MAX},
    [REC_OWN] = {{F64(ino), F64(len)}, TAIL_NONE, 0},
    [REC_STAGED] = {{F64(ino), F64(off), F64(len), F64(mtime_sec),
        F32(mtime_nsec)}, TAIL_NONE, 0},
    [REC_LOST] = {{F64(ino), F64(off), F64(len), F64(mtime_sec),
        F32(mtime_nsec)}, TAIL_NONE, 0},
    [REC_PUNCH] = {{F64(ino), F64(off), F64(len), F64(mtime_sec),
        F32(mtime_nsec)}, TAIL_NONE, 0},
    [REC_SIZE] = {{F64(ino), F64(len), F64(mtime_sec), F32(mtime_nsec)},
        TAIL_NONE, 0},
    [REC_CHUNK] = {{F64(ino), F64(chunk.off), F64(chunk.len),
        FDIGEST(chunk.digest), F32(chunk.chunk_size), F32(chunk.skip),
        F32(chunk.flags)}, TAIL_NONE, 0},
    [KIND_SEALED] = {{F64(ino), F64(chunk.off), F64(chunk.len),
        FDIGEST(chunk.digest), F32(chunk.chunk_size), F32(chunk.skip),
        F32(chunk.flags), FDIGEST(key)}, TAIL_NONE, 0},
    [REC_DROP] = {{F64(ino)}, TAIL_NONE, 0},
    [REC_PUBLISHING] = {{F64(time), FDIGEST(digest)}, TAIL_NONE, 0},
    [REC_NOT_PUBLISHED] = {{{END, 0}}, TAIL_NONE, 0},
};

static const struct layout *
layout_of(uint32_t kind)
{
	return kind >= REC_HEAD && kind < ARRAY_SIZE(layouts) ? &layouts[kind]
	                                                      : NULL;
}

static size_t
field_len(enum field_type t)
{
	switch (t) {
	case U32:
		return 4;
	case U64:
		return 8;
	case DIGEST:
		return DIGEST_LEN;
	case END:
		break;
	}
	return 0;
}

static size_t
fixed_len(const struct layout *l)
{
	size_t n = HEADER_LEN;

	for (const struct field *f = l->fields; f->type != END; f++)
		n += field_len(f->type);
	return n;
}

static void
put_field(uint8_t *to, const struct record *r, const struct field *f)
{
	const char *from = (const char *)r + f->at;
	uint32_t u32;
	uint64_t u64;

	switch (f->type) {
	case U32:
		memcpy(&u32, from, sizeof(u32));
		put_le32(to, u32);
		break;
	case U64:
		memcpy(&u64, from, sizeof(u64));
		put_le64(to, u64);
		break;
	case DIGEST:
		memcpy(to, from, DIGEST_LEN);
		break;
	case END:
		break;
	}
}

static void
get_field(const uint8_t *from, struct record *r, const struct field *f)
{
	char *to = (char *)r + f->at;
	uint32_t u32;
	uint64_t u64;

	switch (f->type) {
	case U32:
		u32 = get_le32(from);
		memcpy(to, &u32, sizeof(u32));
		break;
	case U64:
		u64 = get_le64(from);
		memcpy(to, &u64, sizeof(u64));
		break;
	case DIGEST:
		memcpy(to, from, DIGEST_LEN);
		break;
	case END:
		break;
	}
}

static bool
is_range(uint64_t off, uint64_t len)
{
	uint64_t end;

	return !__builtin_add_overflow(off, len, &end) && end <= INT64_MAX;
}

static bool
is_text(const struct record *r, size_t max)
{
	return r->name_len <= max &&
	    (r->name_len == 0 || memchr(r->name, '\0', r->name_len) == NULL);
}

static bool
is_name(const struct record *r, size_t max)
{
	if (r->name_len == 0 || !is_text(r, max) ||
	    memchr(r->name, '/', r->name_len) != NULL)
		return false;
	return r->name[0] != '.' || (r->name_len > 1 &&
	    (r->name_len > 2 || r->name[1] != '.'));
}

static bool
is_xattrs(const void *data, size_t len, size_t max)
{
	const char *p = data;

	if (len > max)
		return false;
	while (len > 0) {
		const char *nul = memchr(p, '\0', len);
		size_t n;

		if (nul == NULL || nul == p || nul - p > XATTR_NAME_LEN_MAX)
			return false;
		n = (size_t)(nul - p) + 1;
		if (len - n < 4 || get_le32(p + n) > len - n - 4)
			return false;
		n += 4 + get_le32(p + n);
		p += n;
		len -= n;
	}
	return true;
}

static bool
is_tail(const struct record *r, const struct layout *l)
{
	switch (l->tail) {
	case TAIL_NONE:
		return true;
	case TAIL_NAME:
		return is_name(r, l->tail_max);
	case TAIL_TEXT:
		return is_text(r, l->tail_max);
	case TAIL_DATA:
		return is_xattrs(r->data, r->data_len, l->tail_max);
	}
	return false;
}

static bool
is_inode(const struct record *r)
{
	return (r->mode & ~(uint32_t)(S_IFMT | 07777)) == 0 &&
	    (r->flags & ~INODE_FLAGS) == 0;
}

static bool
is_chunk(const struct piece *p)
{
	return is_range(p->off, p->len) && p->len > 0 &&
	    p->skip <= p->chunk_size && p->len <= p->chunk_size - p->skip &&
	    (p->flags & ~(unsigned)(PIECE_NATURAL | PIECE_PACKED)) == 0;
}

/* Both ways: nothing is written that would be refused when it is read. */
static bool
is_sound(const struct record *r, const struct layout *l)
{
	if (!is_tail(r, l) || r->mtime_nsec >= NSEC_PER_SEC ||
	    r->ctime_nsec >= NSEC_PER_SEC)
		return false;
	switch (r->kind) {
	case REC_HEAD:
		return r->name_len > 0;
	case REC_ARCHIVE:
		return is_range(r->first, r->span);
	case REC_INODE:
		return is_inode(r);
	case REC_STAGED:
	case REC_LOST:
	case REC_PUNCH:
		return is_range(r->off, r->len);
	case REC_OWN:
	case REC_SIZE:
		return is_range(0, r->len);
	case REC_NAME:
	case REC_NO_NAME:
		return (r->flags & ~(unsigned)REC_NAME_HIDES) == 0;
	case REC_CHUNK:
		return is_chunk(&r->chunk);
	case REC_BASE:
	case REC_META:
	case REC_DROP:
	case REC_PUBLISHING:
	case REC_NOT_PUBLISHED:
		break;
	}
	return true;
}

static size_t
tail_len(const struct record *r, const struct layout *l)
{
	switch (l->tail) {
	case TAIL_NAME:
	case TAIL_TEXT:
		return r->name_len + 1;
	case TAIL_DATA:
		return r->data_len;
	case TAIL_NONE:
		break;
	}
	return 0;
}

/* How it is written. */
static uint32_t
kind_of(const struct record *r)
{
	return r->kind == REC_CHUNK && r->sealed ? KIND_SEALED : r->kind;
}

int
record_add(struct str *out, const struct record *r)
{
	const struct layout *l = r->kind <= REC_NOT_PUBLISHED ?
	    layout_of(kind_of(r)) : NULL;
	uint8_t b[FIXED_MAX];
	size_t n = HEADER_LEN;

	if (l == NULL || !is_sound(r, l))
		return -EINVAL;
	for (const struct field *f = l->fields; f->type != END; f++) {
		put_field(b + n, r, f);
		n += field_len(f->type);
	}
	put_le32(b, (uint32_t)(n + tail_len(r, l)));
	put_le32(b + 4, kind_of(r));
	str_addn(out, (const char *)b, n);
	if (l->tail == TAIL_DATA) {
		str_addn(out, r->data, r->data_len);
	} else if (l->tail != TAIL_NONE) {
		str_addn(out, r->name, r->name_len);
		str_addc(out, '\0');
	}
	return str_error(out);
}

static bool
get_tail(const uint8_t *p, size_t len, struct record *r,
    const struct layout *l)
{
	switch (l->tail) {
	case TAIL_NONE:
		return len == 0;
	case TAIL_NAME:
	case TAIL_TEXT:
		if (len == 0 || p[len - 1] != '\0')
			return false;
		r->name = (const char *)p;
		r->name_len = len - 1;
		return true;
	case TAIL_DATA:
		r->data = p;
		r->data_len = len;
		return true;
	}
	return false;
}

int
record_next(const void *p, size_t len, struct record *ret)
{
	const struct layout *l;
	const uint8_t *b = p;
	size_t n = HEADER_LEN, all;

	memset(ret, 0, sizeof(*ret));
	if (len < HEADER_LEN)
		return -EBADMSG;
	all = get_le32(b);
	l = layout_of(get_le32(b + 4));
	if (l == NULL || all > len || all > INT32_MAX || all < fixed_len(l))
		return -EBADMSG;
	ret->sealed = get_le32(b + 4) == KIND_SEALED;
	ret->kind = ret->sealed ? REC_CHUNK : get_le32(b + 4);
	if (ret->kind == REC_CHUNK)
		ret->chunk.kind = PIECE_CHUNK;
	for (const struct field *f = l->fields; f->type != END; f++) {
		get_field(b + n, ret, f);
		n += field_len(f->type);
	}
	if (!get_tail(b + n, all - n, ret, l) || !is_sound(ret, l))
		return -EBADMSG;
	return (int)all;
}
