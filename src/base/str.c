/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/str.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STR_FIRST 64

void
str_fini(struct str *s)
{
	free(s->s);
	memset(s, 0, sizeof(*s));
}

void
str_reset(struct str *s)
{
	s->len = 0;
	s->failed = false;
	if (s->s != NULL)
		s->s[0] = '\0';
}

/* Room for more bytes and the NUL. */
static bool
reserve(struct str *s, size_t more)
{
	size_t need, size = s->size < STR_FIRST ? STR_FIRST : s->size;
	char *p;

	if (s->failed)
		return false;
	if (__builtin_add_overflow(s->len, more, &need) ||
	    __builtin_add_overflow(need, (size_t)1, &need))
		goto fail;
	if (need <= s->size)
		return true;
	while (size < need)
		if (__builtin_mul_overflow(size, (size_t)2, &size))
			size = need;
	p = realloc(s->s, size);
	if (p == NULL)
		goto fail;
	s->s = p;
	s->size = size;
	return true;
fail:
	s->failed = true;
	return false;
}

void
str_addn(struct str *s, const char *text, size_t len)
{
	if (!reserve(s, len))
		return;
	if (len > 0)
		memcpy(s->s + s->len, text, len);
	s->len += len;
	s->s[s->len] = '\0';
}

void
str_add(struct str *s, const char *text)
{
	str_addn(s, text, strlen(text));
}

void
str_addc(struct str *s, char c)
{
	str_addn(s, &c, 1);
}

void
str_addv(struct str *s, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	if (!reserve(s, 0))
		return;
	va_copy(again, ap);
	n = vsnprintf(s->s + s->len, s->size - s->len, fmt, ap);
	if (n < 0) {
		s->failed = true;
	} else if ((size_t)n >= s->size - s->len) {
		if (reserve(s, (size_t)n))
			vsnprintf(s->s + s->len, s->size - s->len, fmt, again);
	}
	va_end(again);
	if (s->failed)
		s->s[s->len] = '\0';
	else
		s->len += (size_t)n;
}

void
str_addf(struct str *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	str_addv(s, fmt, ap);
	va_end(ap);
}

int
str_error(const struct str *s)
{
	return s->failed ? -ENOMEM : 0;
}

const char *
str_get(const struct str *s)
{
	return s->s == NULL ? "" : s->s;
}

char *
str_take(struct str *s)
{
	char *p;

	if (!reserve(s, 0)) {
		str_fini(s);
		return NULL;
	}
	p = s->s;
	p[s->len] = '\0';
	memset(s, 0, sizeof(*s));
	return p;
}

bool
streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

bool
str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool
str_ends(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

size_t
str_utf8(const char *text, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const uint8_t *p = (const uint8_t *)text;
	uint32_t c = p[0];
	size_t n;

	if (c < 0x80)
		return 1;
	n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	if (c < 0xc2 || c > 0xf4 || n > len)
		return 0;
	c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	/* Overlong forms and surrogates. */
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

size_t
str_printable(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t n = str_utf8(text, len);

	if (n == 1 && (p[0] < 0x20 || p[0] == 0x7f))
		return 0;
	/* U+0080 to U+009f control a terminal, too. */
	if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0)
		return 0;
	return n;
}

void
str_escape(struct str *out, const char *bytes, size_t len)
{
	const uint8_t *p = (const uint8_t *)bytes;

	while (len > 0) {
		size_t n = *p == '\\' ? 0 : str_printable((const char *)p, len);

		if (n > 0) {
			str_addn(out, (const char *)p, n);
		} else {
			n = 1;
			str_addf(out, "\\x%02x", *p);
		}
		p += n;
		len -= n;
	}
}
