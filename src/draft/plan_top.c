/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"

static const struct {
	const char *suffix;
	enum archive_kind kind;
} kinds[] = {
	{".img", ARCHIVE_FIXED},
	{".conf", ARCHIVE_BLOB},
	{".log", ARCHIVE_BLOB},
	{".json", ARCHIVE_BLOB},
	{".key", ARCHIVE_BLOB},
};

/* What Proxmox Backup calls its own files. */
static const char *const reserved[] = {
	"index.json",
	"catalog.pcat1",
	"client.log",
	"rsa-encrypted.key",
};

static enum archive_kind
kind_of_file(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (str_ends(name, kinds[i].suffix))
			return kinds[i].kind;
	return ARCHIVE_DYNAMIC;
}

static const char *
suffix_of(enum archive_kind kind)
{
	switch (kind) {
	case ARCHIVE_FIXED:
		return ".fidx";
	case ARCHIVE_BLOB:
		return ".blob";
	case ARCHIVE_PXAR:
		return ".pxar.didx";
	case ARCHIVE_MPXAR:
		return ".mpxar.didx";
	case ARCHIVE_DYNAMIC:
	case ARCHIVE_PPXAR:
	case ARCHIVE_MANIFEST:
	case ARCHIVE_OTHER:
		break;
	}
	return ".didx";
}

static int
refuse(const char **ret_why, const char *why)
{
	*ret_why = why;
	return -EILSEQ;
}

static int
check_reserved(const char *name, const char **ret_why)
{
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (streq(name, reserved[i]))
			return refuse(ret_why, "Proxmox Backup has a file of "
			    "its own by that name");
	return 0;
}

int
plan_top_of(const struct draft *d, const char *name, uint32_t mode,
    struct plan_top *ret, const char **ret_why)
{
	const struct base_archive *a = base_find(d->base, name);
	const char *suffix;
	int r;

	*ret_why = NULL;
	if (!S_ISDIR(mode) && !S_ISREG(mode))
		return refuse(ret_why, "only directories and files can be at "
		    "the top");
	if (S_ISDIR(mode)) {
		ret->kind = d->all->opts.archive == 1 ? ARCHIVE_PXAR :
		    ARCHIVE_MPXAR;
	} else {
		/* A file that is there again has the form that it had. */
		ret->kind = a != NULL && !base_is_tree(a) ? a->kind :
		    kind_of_file(name);
		r = check_reserved(name, ret_why);
		if (r < 0)
			return r;
	}
	suffix = suffix_of(ret->kind);
	/* The other half of a split archive has a name as long. */
	if (strlen(name) + strlen(suffix) > NAME_LEN_MAX)
		return refuse(ret_why, "the name is too long to be at the "
		    "top");
	if (!name_is_safe(name, strlen(name)))
		return refuse(ret_why, "at the top a name has letters, "
		    "digits, '_', '.' and '-' alone, and begins with neither "
		    "of the last two");
	snprintf(ret->server, sizeof(ret->server), "%s%s", name, suffix);
	if (archive_kind(ret->server) != ret->kind)
		return refuse(ret_why, "a file whose name ends like that "
		    "would be taken for an archive");
	return 0;
}
