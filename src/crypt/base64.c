/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/base64.h"

#include <errno.h>
#include <string.h>

static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			      "abcdefghijklmnopqrstuvwxyz0123456789+/";

void
base64_encode(char *out, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16;

		if (n > 1)
			v |= (uint32_t)p[i + 1] << 8;
		if (n > 2)
			v |= p[i + 2];
		*out++ = letters[v >> 18 & 63];
		*out++ = letters[v >> 12 & 63];
		*out++ = n > 1 ? letters[v >> 6 & 63] : '=';
		*out++ = n > 2 ? letters[v & 63] : '=';
	}
	*out = '\0';
}

static int
value(char c)
{
	const char *p = c == '\0' ? NULL : strchr(letters, c);

	return p == NULL ? -1 : (int)(p - letters);
}

int
base64_decode(uint8_t *out, size_t max, const char *text, size_t *ret_len)
{
	size_t len = strlen(text), pad = 0, n = 0;

	if (len % 4 != 0)
		return -EINVAL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	if (len / 4 * 3 - pad > max)
		return -ERANGE;
	for (size_t i = 0; i < len; i += 4) {
		size_t have = i + 4 < len ? 4 : 4 - pad;
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			int d = k < have ? value(text[i + k]) : 0;

			if (d < 0)
				return -EINVAL;
			v = v << 6 | (uint32_t)d;
		}
		for (size_t k = 0; k + 1 < have; k++)
			out[n++] = (uint8_t)(v >> (16 - 8 * k));
		if (have < 4 && (v & ((1u << (8 * (4 - have))) - 1)) != 0)
			return -EINVAL;
	}
	*ret_len = n;
	return 0;
}
