/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include "s3/url.h"

static bool
is_plain(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

/* An address that was accepted is one: nothing of it can break a request. */
static void
check_endpoint(const char *text, unsigned bits)
{
	struct url_opts o = {
	    .endpoint = text,
	    .region = "eu-1",
	    .bucket = "bkt",
	    .port = bits & 1 ? 8080 : 0,
	    .path_style = (bits & 2) != 0,
	    .insecure_http = (bits & 4) != 0,
	};
	struct url_base u;
	const char *why;

	if (url_parse(&o, &u, &why) < 0) {
		FUZZ_CHECK(u.origin == NULL);
		return;
	}
	FUZZ_CHECK(is_plain(u.origin) && is_plain(u.host));
	FUZZ_CHECK(strpbrk(u.host, "/?#@%\\") == NULL && u.host[0] != '\0');
	FUZZ_CHECK(strncmp(u.origin, "https://", 8) == 0 || o.insecure_http);
	FUZZ_CHECK(strcmp(strstr(u.origin, "://") + 3, u.host) == 0);
	url_fini(&u);
}

static void
check_encoding(const char *text)
{
	struct str s = {0};

	url_encode(&s, text, true);
	FUZZ_CHECK(is_plain(str_get(&s)));
	FUZZ_CHECK(strpbrk(str_get(&s), "?#+:&=") == NULL);
	if (s.s != NULL) {
		FUZZ_CHECK(url_decode(s.s, true) == 0);
		FUZZ_CHECK(strcmp(s.s, text) == 0);
	}
	str_fini(&s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	char *text = malloc(len + 1);

	if (text == NULL)
		return 0;
	if (len > 0)
		memcpy(text, p, len);
	text[len] = '\0';
	check_endpoint(text, len > 0 ? p[len - 1] : 0);
	check_encoding(text);
	url_decode(text, len % 2 == 0);
	FUZZ_CHECK(strlen(text) <= len);
	free(text);
	return 0;
}
