/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "s3/cred_source.h"

static void
check_keys(const struct s3_keys *k)
{
	FUZZ_CHECK(k->access[0] != '\0' && k->secret[0] != '\0');
	FUZZ_CHECK(strlen(k->access) < sizeof(k->access));
	FUZZ_CHECK(strlen(k->secret) < sizeof(k->secret));
	FUZZ_CHECK(strlen(k->token) < sizeof(k->token));
	/* Nothing that could start another header. */
	FUZZ_CHECK(strpbrk(k->access, "\r\n ") == NULL);
	FUZZ_CHECK(strpbrk(k->token, "\r\n ") == NULL);
}

static void
check_text(const uint8_t *p, size_t len, unsigned kind)
{
	char *text = malloc(len + 1), *argv[8];
	struct cred_profile profile = {.found = false};
	struct s3_keys keys;
	int n;

	if (text == NULL)
		return;
	if (len > 0)
		memcpy(text, p, len);
	text[len] = '\0';
	if (kind == 0) {
		if (cred_parse_file(text, &keys) == 0)
			check_keys(&keys);
	} else if (kind == 1) {
		cred_parse_profile(text, "default", &profile);
		FUZZ_CHECK(profile.found || profile.access == NULL);
		FUZZ_CHECK(profile.process == NULL ||
		    profile.process[0] != '\0');
	} else {
		n = cred_split_command(text, argv, 8);
		FUZZ_CHECK(n < 8);
		while (n > 0)
			FUZZ_CHECK(strlen(argv[--n]) <= len);
	}
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct cred_answer a;
	unsigned kind;

	for (kind = 0; kind < 3; kind++)
		check_text(p, len, kind);
	if (cred_parse_json((const char *)p, len, &a) == 0)
		check_keys(&a.keys);
	return 0;
}
