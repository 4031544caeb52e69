/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "maint/control_frame.h"
#include "pbs/names.h"

/* What is understood encodes to the same bytes. */
static void
compare(const struct str *again, const uint8_t *p, size_t len)
{
	FUZZ_CHECK(again->len == len + CONTROL_LENGTH);
	FUZZ_CHECK(memcmp(again->s + CONTROL_LENGTH, p, len) == 0);
	FUZZ_CHECK(control_frame_len(again->s, again->len) ==
	    (ssize_t)again->len);
}

static void
request(const uint8_t *p, size_t len)
{
	struct control_request q;
	struct str again = {0};
	int r = control_parse_request(p, len, &q);

	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	FUZZ_CHECK(ns_is_valid(q.group.ns));
	FUZZ_CHECK(strlen(q.text) < len);
	FUZZ_CHECK(control_add_request(&again, &q) == 0);
	compare(&again, p, len);
	str_fini(&again);
}

static void
hello(const uint8_t *p, size_t len)
{
	struct control_hello h;
	struct str again = {0};
	int r = control_parse_hello(p, len, &h);

	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
	if (r < 0)
		return;
	FUZZ_CHECK(control_add_hello(&again, &h) == 0);
	compare(&again, p, len);
	str_fini(&again);
}

static void
reply(const uint8_t *p, size_t len)
{
	struct control_reply re, rest;
	struct str again = {0};
	enum log_level lvl;
	const char *text;
	int r = control_parse_reply(p, len, &re);

	FUZZ_CHECK(r == 0 || r == -EBADMSG);
	if (r < 0)
		return;
	FUZZ_CHECK(control_add_reply(&again, &re) == 0);
	compare(&again, p, len);
	str_fini(&again);
	rest = re;
	while (control_next_message(&rest, &lvl, &text) == 0)
		FUZZ_CHECK(strlen(text) < len && lvl <= LOG_LVL_DEBUG);
}

/* A frame without its length; and the length of one. */
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	ssize_t n = control_frame_len(p, len);

	FUZZ_CHECK(n == -EBADMSG || (n == 0 && len < CONTROL_LENGTH) ||
	    (n > CONTROL_LENGTH &&
		n <= (ssize_t)(CONTROL_FRAME_MAX + CONTROL_LENGTH)));
	request(p, len);
	hello(p, len);
	reply(p, len);
	return 0;
}
