/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/journal_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/io.h"
#include "base/num.h"

static const uint8_t magic[8] = {'p', '3', 'f', 's', 'J', 'r', 'n', '\n'};
#define FRAME_MAGIC 0x4d524650	/* "PFRM" */

/* What is read at once. */
#define WINDOW MIB
/* Hashed at most in search of frames behind a broken one: a file that has more
 * of what looks like frames was not left so by a crash. */
#define SEARCH_MAX (256 * MIB)

/* Header: magic, u32 version, u32 0, u64 salt, u64 durable, u64 sum. */
#define HEADER_SUM (JOURNAL_HEADER_LEN - 8)

void
journal_header(uint8_t b[JOURNAL_HEADER_LEN], uint64_t salt, uint64_t durable)
{
	memcpy(b, magic, sizeof(magic));
	put_le32(b + 8, JOURNAL_VERSION);
	put_le32(b + 12, 0);
	put_le64(b + 16, salt);
	put_le64(b + 24, durable);
	put_le64(b + HEADER_SUM, XXH3_64bits(b, HEADER_SUM));
}

/* Frame: u64 sum of all that follows, u64 durable, u32 magic, u32 length. */
static uint64_t
frame_sum(const uint8_t *b, size_t len, uint64_t salt, uint64_t pos)
{
	return XXH3_64bits_withSeed(b + 8, JOURNAL_FRAME_LEN - 8 + len,
	    salt + pos);
}

void
journal_frame(uint8_t *b, size_t len, uint64_t salt, uint64_t pos,
    uint64_t durable)
{
	put_le64(b + 8, durable);
	put_le32(b + 16, FRAME_MAGIC);
	put_le32(b + 20, (uint32_t)len);
	put_le64(b, frame_sum(b, len, salt, pos));
}

/* The part of the file that is in memory. */
struct window {
	int fd;
	uint64_t size;	/* of the file */
	uint8_t *p;	/* owned */
	size_t room, have;
	uint64_t at;
};

/* [pos, pos + n), which is within the file; until the next call. */
static int
look(struct window *w, uint64_t pos, size_t n, const uint8_t **ret)
{
	size_t want;
	uint8_t *p;
	int r;

	if (pos < w->at || pos + n > w->at + w->have) {
		want = (size_t)MIN(MAX(n, WINDOW), w->size - pos);
		if (want > w->room) {
			p = realloc(w->p, want);
			if (p == NULL)
				return -ENOMEM;
			w->p = p;
			w->room = want;
		}
		w->have = 0;
		r = io_pread_full(w->fd, w->p, want, (off_t)pos);
		if (r < 0)
			return r == -ENODATA ? -EIO : r;
		w->at = pos;
		w->have = want;
	}
	*ret = w->p + (pos - w->at);
	return 0;
}

struct frame {
	const uint8_t *payload;
	size_t len;
	uint64_t durable;
};

/* 1: a sound frame; 0: none; hashed is added to. */
static int
frame_at(struct window *w, uint64_t salt, uint64_t pos, uint64_t *hashed,
    struct frame *ret)
{
	const uint8_t *b;
	int r;

	if (w->size - pos < JOURNAL_FRAME_LEN)
		return 0;
	r = look(w, pos, JOURNAL_FRAME_LEN, &b);
	if (r < 0)
		return r;
	ret->durable = get_le64(b + 8);
	ret->len = get_le32(b + 20);
	if (get_le32(b + 16) != FRAME_MAGIC || ret->durable > pos ||
	    ret->len == 0 || ret->len > JOURNAL_FRAME_MAX ||
	    w->size - pos - JOURNAL_FRAME_LEN < ret->len)
		return 0;
	r = look(w, pos, JOURNAL_FRAME_LEN + ret->len, &b);
	if (r < 0)
		return r;
	*hashed += ret->len;
	ret->payload = b + JOURNAL_FRAME_LEN;
	return get_le64(b) == frame_sum(b, ret->len, salt, pos);
}

/*
 * Whether something behind a broken frame says that it had been durable: 1 or
 * 0.  What does not say so was written by the same host in the same moments,
 * and its crash may have kept the later and lost the earlier.
 */
static int
was_durable(struct window *w, uint64_t salt, uint64_t broken)
{
	uint64_t pos = broken + 1, hashed = 0;
	const uint8_t *b;
	struct frame f;
	int r;

	while (w->size - pos >= JOURNAL_FRAME_LEN) {
		r = look(w, pos, JOURNAL_FRAME_LEN, &b);
		if (r < 0)
			return r;
		if (get_le32(b + 16) != FRAME_MAGIC) {
			pos++;
			continue;
		}
		r = frame_at(w, salt, pos, &hashed, &f);
		if (r < 0)
			return r;
		if ((r > 0 && f.durable > broken) || hashed > SEARCH_MAX)
			return 1;
		pos += r > 0 ? JOURNAL_FRAME_LEN + f.len : 1;
	}
	return 0;
}

static int
scan_header(struct window *w, struct journal_scan *s)
{
	const uint8_t *b;
	int r;

	s->why = "it has no header";
	if (w->size < JOURNAL_HEADER_LEN)
		return -EBADMSG;
	r = look(w, 0, JOURNAL_HEADER_LEN, &b);
	if (r < 0)
		return r;
	if (memcmp(b, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	s->why = "its header is damaged";
	if (get_le64(b + HEADER_SUM) != XXH3_64bits(b, HEADER_SUM))
		return -EBADMSG;
	s->why = "a later version of the program wrote it";
	if (get_le32(b + 8) != JOURNAL_VERSION)
		return -EPROTONOSUPPORT;
	s->salt = get_le64(b + 16);
	s->durable = get_le64(b + 24);
	s->end = JOURNAL_HEADER_LEN;
	return 0;
}

static int
scan_frames(struct window *w, journal_replay_fn *fn, void *arg,
    struct journal_scan *s)
{
	uint64_t hashed = 0;
	struct frame f;
	int r;

	for (;;) {
		r = frame_at(w, s->salt, s->end, &hashed, &f);
		if (r < 0)
			return r;
		if (r == 0)
			break;
		s->durable = MAX(s->durable, f.durable);
		r = fn(arg, f.payload, f.len);
		if (r != 0)
			return r;
		s->end += JOURNAL_FRAME_LEN + f.len;
	}
	s->why = "a frame is damaged that was safely on disk";
	if (s->end < s->durable)
		return -EBADMSG;
	if (s->end == w->size)
		return 0;
	r = was_durable(w, s->salt, s->end);
	return r > 0 ? -EBADMSG : r;
}

int
journal_scan(int fd, journal_replay_fn *fn, void *arg,
    struct journal_scan *ret)
{
	struct window w = {.fd = fd};
	struct stat st;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (fstat(fd, &st) < 0)
		return -errno;
	ret->size = w.size = (uint64_t)st.st_size;
	r = scan_header(&w, ret);
	if (r == 0) {
		ret->why = NULL;
		r = scan_frames(&w, fn, arg, ret);
	}
	free(w.p);
	return r;
}
