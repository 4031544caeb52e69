/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>

#include "s3/xml.h"

static void
count(void *arg, const char *key, const char *code, const char *message)
{
	FUZZ_CHECK(key != NULL && code != NULL && message != NULL);
	++*(size_t *)arg;
}

static void
check_list(const uint8_t *p, size_t len)
{
	struct xml_page page;
	struct xml_error e;
	size_t i;
	int r = xml_list(p, len, &page, &e);

	FUZZ_CHECK(r == 0 || page.entries == NULL);
	if (r != 0)
		return;
	for (i = 0; i < page.n; i++) {
		const struct xml_entry *x = &page.entries[i];

		FUZZ_CHECK(memchr(x->o.etag, '\0', sizeof(x->o.etag)) != NULL);
		/* Each entry takes its place in the document. */
		FUZZ_CHECK(x->key == NULL || strlen(x->key) <= len);
	}
	FUZZ_CHECK(page.n <= len / strlen("<Contents/>"));
	xml_page_fini(&page);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct xml_error e;
	size_t told = 0;
	int error, r;

	check_list(p, len);
	error = xml_error(p, len, &e);
	r = xml_deleted(p, len, count, &told, &e);
	FUZZ_CHECK(r == 0 || told == 0);
	FUZZ_CHECK(r != 1 || error == 0);
	r = xml_copied(p, len, &e);
	FUZZ_CHECK(r != 1 || error == 0);
	FUZZ_CHECK(r != 0 || error != 0);
	return 0;
}
