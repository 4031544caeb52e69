/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "pbs/names.h"

/* A key that was understood is the key that its parts make. */
static void
check_key(const char *key)
{
	struct key_parts k;
	char out[KEY_MAX + 1];
	char id[KEY_MAX + 1];

	key_parse(key, &k);
	FUZZ_CHECK(ns_is_valid(k.ns));
	if (k.id != NULL) {
		FUZZ_CHECK(k.id >= key && k.id + k.id_len <= key + strlen(key));
		FUZZ_CHECK(name_is_safe(k.id, k.id_len));
		memcpy(id, k.id, k.id_len);
		id[k.id_len] = '\0';
	}
	switch (k.kind) {
	case KEY_CHUNK:
	case KEY_BAD_CHUNK:
		key_chunk(&k.digest, out);
		FUZZ_CHECK(strncmp(out, key, KEY_CHUNK_LEN) == 0);
		FUZZ_CHECK((key[KEY_CHUNK_LEN] == '\0') ==
		    (k.kind == KEY_CHUNK));
		break;
	case KEY_OWNER:
	case KEY_NOTES:
		FUZZ_CHECK(key_group(out, k.ns, k.type, id,
		    k.kind == KEY_OWNER ? "owner" : "notes") == 0);
		FUZZ_CHECK(strcmp(out, key) == 0);
		break;
	case KEY_FILE:
		FUZZ_CHECK(k.file[k.file_len] == '\0');
		FUZZ_CHECK(key_file(out, k.ns, k.type, id, k.time, k.file) ==
		    0);
		FUZZ_CHECK(strcmp(out, key) == 0);
		break;
	case KEY_NAMESPACE:
		FUZZ_CHECK(k.ns[0] != '\0');
		break;
	case KEY_IN_USE:
	case KEY_OTHER:
		break;
	}
}

static void
check_names(const char *s, size_t len)
{
	_cleanup_free_ char *shown = malloc(len + 1);
	const char *slash = memchr(s, '/', len);

	if (shown == NULL)
		return;
	archive_shown_name(s, shown);
	FUZZ_CHECK(shown[0] != '\0' || s[0] == '\0');
	FUZZ_CHECK(!name_is_safe(s, len) || slash == NULL);
	FUZZ_CHECK(group_id_cmp(s, s) == 0);
	FUZZ_CHECK(
	    (group_id_cmp(s, shown) < 0) == (group_id_cmp(shown, s) > 0));
	if (ns_is_valid(s))
		FUZZ_CHECK(len <= NS_LEN_MAX);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	char *owner;
	char *s;

	s = malloc(len + 1);
	if (s == NULL)
		return 0;
	if (len > 0)
		memcpy(s, p, len);
	s[len] = '\0';
	check_key(s);
	check_names(s, strlen(s));
	if (owner_parse((const char *)p, len, &owner) == 0) {
		FUZZ_CHECK(strchr(owner, '@') != NULL);
		FUZZ_CHECK(strpbrk(owner, " \n\t:/") == NULL);
		free(owner);
	}
	free(s);
	return 0;
}
