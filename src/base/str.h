/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * A growing text buffer, always NUL-terminated.  Zero-initialised is empty.
 * A failed allocation sticks: later calls do nothing and str_error() says so,
 * so a caller checks once, at the end.
 */
struct str {
	char *s;	/* owned; NULL while empty */
	size_t len;
	size_t size;
	bool failed;
};

void str_fini(struct str *s);
void str_reset(struct str *s);
void str_add(struct str *s, const char *text);
void str_addn(struct str *s, const char *text, size_t len);
void str_addc(struct str *s, char c);
void str_addf(struct str *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void str_addv(struct str *s, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/** str_error(s): 0 or -ENOMEM. */
int str_error(const struct str *s);

/** str_get(s): the text, "" while empty; valid until the next change. */
const char *str_get(const struct str *s);

/** str_take(s): hands the malloc'ed text over, leaves s empty; NULL if it
 * failed. */
char *str_take(struct str *s);

/** streq(a, b), str_starts(s, prefix): comparisons that read as what they
 * mean. */
bool streq(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/** str_utf8(text, len): length of the UTF-8 character that len > 0 bytes begin
 * with; 0 if they do not begin with one.
 * str_printable(text, len): the same, but 0 also for a control character. */
size_t str_utf8(const char *text, size_t len);
size_t str_printable(const char *text, size_t len);

/**
 * str_escape(out, bytes, len):
 * Append bytes so that one line of a terminal or a log shows them and nothing
 * is executed by a terminal: control characters, backslash and bytes that are
 * not valid UTF-8 become \xNN.
 */
void str_escape(struct str *out, const char *bytes, size_t len);

#endif
