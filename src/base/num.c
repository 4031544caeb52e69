/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

/* Digits at *p; 0, -EINVAL if there are none, -ERANGE. */
static int
digits(const char **p, uint64_t *ret)
{
	const char *s = *p;
	uint64_t v = 0;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	*p = s;
	*ret = v;
	return 0;
}

int
num_u64(const char *text, uint64_t *ret)
{
	uint64_t v;
	int r = digits(&text, &v);

	if (r < 0)
		return r;
	if (*text != '\0')
		return -EINVAL;
	*ret = v;
	return 0;
}

/* "", "B", "K", "KB", "KiB" and so on: how far to shift, or -EINVAL. */
static int
size_unit(const char *s)
{
	static const char letters[] = "KMGTPE";
	const char *l;
	int shift = 0;

	if (*s != '\0' && strchr("bB", *s) == NULL) {
		l = strchr(letters, toupper((unsigned char)*s));
		if (l == NULL)
			return -EINVAL;
		shift = 10 * (int)(l - letters + 1);
		s++;
		if (strcasecmp(s, "ib") == 0)
			return shift;
	}
	if (*s == '\0' || strcasecmp(s, "b") == 0)
		return shift;
	return -EINVAL;
}

int
num_size(const char *text, uint64_t *ret)
{
	unsigned __int128 v;
	uint64_t whole, frac = 0, scale = 1;
	int r, shift;

	r = digits(&text, &whole);
	if (r < 0)
		return r;
	if (*text == '.') {
		text++;
		if (!isdigit((unsigned char)*text))
			return -EINVAL;
		/* What lies below a billionth of the unit is cut off. */
		for (; isdigit((unsigned char)*text); text++) {
			if (scale >= 1000000000)
				continue;
			frac = frac * 10 + (uint64_t)(*text - '0');
			scale *= 10;
		}
	}
	shift = size_unit(text);
	if (shift < 0 || (shift == 0 && scale > 1))
		return -EINVAL;
	v = ((unsigned __int128)whole << shift) +
	    ((unsigned __int128)frac << shift) / scale;
	if (v > UINT64_MAX)
		return -ERANGE;
	*ret = (uint64_t)v;
	return 0;
}

int
num_duration(const char *text, uint64_t *ret_ms)
{
	static const struct {
		char name[3];
		uint64_t ms;
	} units[] = {
	    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000},
	    {"ms", 1},
	};
	uint64_t total = 0, v;
	size_t next = 0;
	int r;

	do {
		size_t n, u;

		r = digits(&text, &v);
		if (r < 0)
			return r;
		n = strspn(text, "dhms");
		if (*text == '\0' && next == 0) {	/* just seconds */
			u = 3;
		} else {
			for (u = next; u < ARRAY_SIZE(units); u++)
				if (strlen(units[u].name) == n &&
				    memcmp(units[u].name, text, n) == 0)
					break;
			if (u == ARRAY_SIZE(units))
				return -EINVAL;
		}
		if (__builtin_mul_overflow(v, units[u].ms, &v) ||
		    __builtin_add_overflow(total, v, &total))
			return -ERANGE;
		text += n;
		next = u + 1;
	} while (*text != '\0');
	*ret_ms = total;
	return 0;
}

int
num_bool(const char *text, bool *ret)
{
	static const char *const words[] = {
	    "0", "1", "no", "yes", "off", "on", "false", "true"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*ret = i % 2 == 1;
			return 0;
		}
	return -EINVAL;
}

const char *
num_format_size(char buf[NUM_SIZE_MAX], uint64_t bytes)
{
	static const char *const units[] = {
	    "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)bytes;
	size_t u = 0;

	if (bytes < KIB) {
		snprintf(buf, NUM_SIZE_MAX, "%u B", (unsigned)bytes);
		return buf;
	}
	/* 1023.95 would be printed as 1024.0. */
	for (v /= 1024; v >= 1023.95 && u + 1 < ARRAY_SIZE(units); u++)
		v /= 1024;
	snprintf(buf, NUM_SIZE_MAX, "%.1f %s", v, units[u]);
	return buf;
}
