/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/headers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADERS_MAX ((size_t)128 * 1024)

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int
headers_add(struct headers *h, const char *line, size_t len)
{
	size_t name, i;

	if (len >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
		str_reset(&h->lines);
		h->n = 0;
		h->complete = false;
		return 0;
	}
	for (; len > 0 && is_blank(line[len - 1]); len--)
		;
	if (len == 0) {
		h->complete = true;
		return 0;
	}
	if (memchr(line, '\0', len) != NULL)
		return -EBADMSG;
	for (name = 0; name < len && line[name] != ':'; name++)
		;
	if (name == len || name == 0)
		return 0;	/* nonsense that is of no use to anybody */
	for (i = 0; i < name; i++)
		str_addc(&h->lines, line[i] >= 'A' && line[i] <= 'Z' ?
		    (char)(line[i] + 32) : line[i]);
	str_addn(&h->lines, "", 1);
	for (i = name + 1; i < len && is_blank(line[i]); i++)
		;
	str_addn(&h->lines, line + i, len - i);
	str_addn(&h->lines, "", 1);
	h->n++;
	if (h->lines.len > HEADERS_MAX)
		return -EFBIG;
	return str_error(&h->lines);
}

void
headers_fini(struct headers *h)
{
	str_fini(&h->lines);
}

int
headers_take(struct headers *h, struct http_header **ret, size_t *ret_n)
{
	struct http_header *a;
	size_t i, head = h->n * sizeof(*a);
	char *text;

	*ret = NULL;
	*ret_n = 0;
	if (h->n == 0)
		return 0;
	a = malloc(head + h->lines.len);
	if (a == NULL)
		return -ENOMEM;
	text = (char *)a + head;
	memcpy(text, h->lines.s, h->lines.len);
	for (i = 0; i < h->n; i++) {
		a[i].name = text;
		text += strlen(text) + 1;
		a[i].value = text;
		text += strlen(text) + 1;
	}
	*ret = a;
	*ret_n = h->n;
	return 0;
}
