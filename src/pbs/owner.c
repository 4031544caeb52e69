/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

/* Anything but white space, control characters, ':' and '/'. */
static bool
user_is_valid(const char *s, size_t len)
{
	size_t n;

	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i += n) {
		n = str_utf8(s + i, len - i);
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
