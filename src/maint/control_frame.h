/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_CONTROL_FRAME_H
#define MAINT_CONTROL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "crypt/digest.h"
#include "repo/edit.h"

struct str;

/*
 * What goes over a control socket: frames of a u32 length and that many bytes,
 * the first of them says what it is.  Little endian, though both ends are on
 * one host.  The daemon says hello; then a peer asks, one request at a time,
 * and is answered.
 */
#define CONTROL_VERSION 1
#define CONTROL_FRAME_MAX ((size_t)(1 << 20) + 65536)
#define CONTROL_DIGESTS_MAX 1000
#define CONTROL_LENGTH 4	/* bytes before a frame */

enum control_kind {
	CONTROL_FORGET = 1,
	CONTROL_FORGET_GROUP,
	CONTROL_REMOVE_NS,	/* group.ns */
	CONTROL_PROTECT,	/* flag: on */
	CONTROL_NOTES,		/* text */
	CONTROL_VERIFY,		/* flag: ok; text: upid */
	CONTROL_DOUBT,		/* digests */
	CONTROL_GC_BEGIN,
	CONTROL_GC_CONDEMN,	/* digests */
	CONTROL_GC_SETTLE,	/* flag: answered */
	CONTROL_GC_END,
	CONTROL_KINDS,
	CONTROL_HELLO = 64,
	CONTROL_REPLY,
};

struct control_request {
	enum control_kind kind;
	struct group_name group;
	int64_t time;
	bool flag;
	const char *text;	/* terminated; borrowed; NULL: "" */
	const struct digest *digests;	/* borrowed */
	size_t n;
};

struct control_hello {
	const char *state, *identity;	/* NULL: none; borrowed */
};

struct control_reply {
	int result;
	const uint8_t *spared;	/* one byte for each digest; borrowed */
	size_t n;
	const uint8_t *messages;	/* see control_next_message */
	size_t messages_len;
};

/** control_frame_len(p, have): of the frame that p begins with, CONTROL_LENGTH
 * included; 0: more is needed to tell; -EBADMSG for one that is too long or
 * empty. */
ssize_t control_frame_len(const void *p, size_t have);

/** control_add_*(out, x): appends a whole frame.  -EMSGSIZE, -ENOMEM. */
int control_add_request(struct str *out, const struct control_request *q);
int control_add_hello(struct str *out, const struct control_hello *h);
int control_add_reply(struct str *out, const struct control_reply *re);
/** control_add_message(out, lvl, text): to what becomes a reply's messages;
 * what is too much is left out. */
void control_add_message(struct str *out, enum log_level lvl,
    const char *text);

/** control_parse_*(p, len, ret): a frame without its length.  -EBADMSG;
 * -EPROTONOSUPPORT: a hello of another version.  What was parsed refers to p.
 * The names in a request are valid ones. */
int control_parse_request(const void *p, size_t len,
    struct control_request *ret);
int control_parse_hello(const void *p, size_t len, struct control_hello *ret);
int control_parse_reply(const void *p, size_t len, struct control_reply *ret);
/** control_next_message(re, ret_lvl, ret_text): the first, which is taken off;
 * 1 if there is none any more; -EBADMSG. */
int control_next_message(struct control_reply *re, enum log_level *ret_lvl,
    const char **ret_text);

#endif
