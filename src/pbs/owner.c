/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Length of the valid UTF-8 character at p, or 0. */
static size_t
char_len(const uint8_t *p, size_t len)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
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
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

/* Anything but white space, control characters, ':' and '/'. */
static bool
user_is_valid(const char *s, size_t len)
{
	size_t n;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i += n) {
		n = char_len((const uint8_t *)s + i, len - i);
		if (n == 0)
			return false;
		if (n == 1 && ((uint8_t)s[i] <= ' ' || s[i] == 0x7f ||
		        s[i] == ':' || s[i] == '/'))
			return false;
	}
	return true;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* "user@realm" or "user@realm!token"; the user may hold an '@' itself. */
static bool
auth_id_is_valid(const char *s, size_t len)
{
	const char *at = memrchr(s, '@', len);
	const char *realm, *bang;
	size_t rest;

	if (at == NULL || !user_is_valid(s, (size_t)(at - s)))
		return false;
	realm = at + 1;
	rest = len - (size_t)(realm - s);
	bang = memchr(realm, '!', rest);
	if (bang == NULL)
		return name_is_safe(realm, rest);
	return name_is_safe(realm, (size_t)(bang - realm)) &&
	    name_is_safe(bang + 1, rest - (size_t)(bang - realm) - 1);
}

int
owner_parse(const char *text, size_t len, char **ret)
{
	const char *end;

	end = len == 0 ? NULL : memchr(text, '\n', len);
	if (end != NULL)
		len = (size_t)(end - text);
	while (len > 0 && is_space(text[0])) {
		text++;
		len--;
	}
	while (len > 0 && is_space(text[len - 1]))
		len--;
	if (len == 0 || !auth_id_is_valid(text, len))
		return -EBADMSG;
	*ret = strndup(text, len);
	return *ret == NULL ? -ENOMEM : 0;
}
