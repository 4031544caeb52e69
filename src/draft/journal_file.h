/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_JOURNAL_FILE_H
#define DRAFT_JOURNAL_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "draft/journal.h"

/*
 * The bytes of a journal.  A header, which says how much of the file was
 * durable before it got its name; then frames.  Each frame says how much of the
 * file was durable when it was appended.  So what a crash of the host may have
 * taken, in any order, is told from damage to what it cannot have touched.
 * doc/STATE.md has the layout.
 */
#define JOURNAL_HEADER_LEN 40
#define JOURNAL_FRAME_LEN 24	/* before the payload */
#define JOURNAL_VERSION 1

/** journal_header(b, salt, durable): salt is random, so that blocks of other
 * journals that a file system shows after a crash are never taken for ours. */
void journal_header(uint8_t b[JOURNAL_HEADER_LEN], uint64_t salt,
    uint64_t durable);
/** journal_frame(b, len, salt, pos, durable): fills in the frame before a
 * payload of len bytes, which is at b + JOURNAL_FRAME_LEN already. */
void journal_frame(uint8_t *b, size_t len, uint64_t salt, uint64_t pos,
    uint64_t durable);

struct journal_scan {
	uint64_t salt;
	uint64_t end;	/* after the last frame */
	uint64_t durable;	/* at least */
	uint64_t size;	/* of the file; more than end: a torn tail */
	const char *why;	/* of -EBADMSG and -EPROTONOSUPPORT; NULL if fn
				 * said so */
};

/** journal_scan(fd, fn, arg, ret): -EBADMSG for damage, at ret->end;
 * -EPROTONOSUPPORT for a later version; what fn returned. */
int journal_scan(int fd, journal_replay_fn *fn, void *arg,
    struct journal_scan *ret);

#endif
