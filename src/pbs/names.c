/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/names.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"

static const char *const type_names[BACKUP_TYPES] = {
    [BACKUP_CT] = "ct",
    [BACKUP_HOST] = "host",
    [BACKUP_VM] = "vm",
};

const char *
backup_type_name(enum backup_type t)
{
	return type_names[t];
}

int
backup_type_parse(const char *text, size_t len, enum backup_type *ret)
{
	for (int i = 0; i < BACKUP_TYPES; i++) {
		if (strlen(type_names[i]) == len &&
		    memcmp(type_names[i], text, len) == 0) {
			*ret = (enum backup_type)i;
			return 0;
		}
	}
	return -EINVAL;
}

static bool
is_first_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	    (c >= '0' && c <= '9') || c == '_';
}

bool
name_is_safe(const char *text, size_t len)
{
	if (len == 0 || len > NAME_LEN_MAX || !is_first_char(text[0]))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_first_char(text[i]) && text[i] != '.' && text[i] != '-')
			return false;
	return true;
}

bool
ns_is_valid(const char *ns)
{
	size_t depth = 0, n;

	if (ns[0] == '\0')
		return true;
	if (strlen(ns) > NS_LEN_MAX)
		return false;
	for (;;) {
		n = strcspn(ns, "/");
		if (!name_is_safe(ns, n) || ++depth > NS_DEPTH_MAX)
			return false;
		if (ns[n] == '\0')
			return true;
		ns += n + 1;
	}
}

enum archive_kind
archive_kind(const char *server_name)
{
	if (!name_is_safe(server_name, strlen(server_name)))
		return ARCHIVE_OTHER;
	if (streq(server_name, "index.json.blob"))
		return ARCHIVE_MANIFEST;
	if (str_ends(server_name, ".blob"))
		return ARCHIVE_BLOB;
	if (str_ends(server_name, ".fidx"))
		return ARCHIVE_FIXED;
	if (!str_ends(server_name, ".didx"))
		return ARCHIVE_OTHER;
	if (str_ends(server_name, ".pxar.didx"))
		return ARCHIVE_PXAR;
	if (str_ends(server_name, ".mpxar.didx"))
		return ARCHIVE_MPXAR;
	if (str_ends(server_name, ".ppxar.didx"))
		return ARCHIVE_PPXAR;
	return ARCHIVE_DYNAMIC;
}

bool
archive_is_index(const char *server_name)
{
	switch (archive_kind(server_name)) {
	case ARCHIVE_FIXED:
	case ARCHIVE_DYNAMIC:
	case ARCHIVE_PXAR:
	case ARCHIVE_MPXAR:
	case ARCHIVE_PPXAR:
		return true;
	case ARCHIVE_BLOB:
	case ARCHIVE_MANIFEST:
	case ARCHIVE_OTHER:
		break;
	}
	return false;
}

void
archive_shown_name(const char *server_name, char *ret)
{
	size_t cut = 0, len = strlen(server_name);

	switch (archive_kind(server_name)) {
	case ARCHIVE_FIXED:
	case ARCHIVE_DYNAMIC:
	case ARCHIVE_PPXAR:
	case ARCHIVE_BLOB:
	case ARCHIVE_MANIFEST:
		cut = strlen(".didx");	/* as long as the others */
		break;
	case ARCHIVE_PXAR:
		cut = strlen(".pxar.didx");
		break;
	case ARCHIVE_MPXAR:
		cut = strlen(".mpxar.didx");
		break;
	case ARCHIVE_OTHER:
		break;
	}
	memcpy(ret, server_name, len - cut);
	ret[len - cut] = '\0';
}

int
group_id_cmp(const char *a, const char *b)
{
	uint64_t na = 0, nb = 0;
	bool a_is_num = num_u64(a, &na) == 0;
	bool b_is_num = num_u64(b, &nb) == 0;

	if (a_is_num != b_is_num)
		return a_is_num ? -1 : 1;
	if (a_is_num && na != nb)
		return na < nb ? -1 : 1;
	return strcmp(a, b);
}
