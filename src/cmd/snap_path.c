/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/snap_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Below ".cnt/" keys are what paths are; file makes it one of an object. */
static int
parse(const char *path, const char *file, char key[KEY_MAX + 1],
    struct key_parts *ret)
{
	size_t len;
	int n;

	path += strspn(path, "/");
	len = strlen(path);
	while (len > 0 && path[len - 1] == '/')
		len--;
	if (len > KEY_MAX)
		return -EINVAL;
	n = snprintf(key, KEY_MAX + 1, ".cnt/%.*s/%s", (int)len, path, file);
	if (n > KEY_MAX)
		return -EINVAL;
	key_parse(key, ret);
	return 0;
}

static void
take_group(const struct key_parts *k, struct group_name *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->ns, k->ns, strlen(k->ns));
	ret->type = k->type;
	memcpy(ret->id, k->id, k->id_len);
}

int
snap_path_group(const char *path, struct group_name *ret)
{
	char key[KEY_MAX + 1];
	struct key_parts k;

	if (parse(path, "owner", key, &k) < 0 || k.kind != KEY_OWNER)
		return -EINVAL;
	take_group(&k, ret);
	return 0;
}

int
snap_path_snap(const char *path, struct group_name *ret, int64_t *ret_time)
{
	char key[KEY_MAX + 1];
	struct key_parts k;

	if (parse(path, "index.json.blob", key, &k) < 0 || k.kind != KEY_FILE)
		return -EINVAL;
	take_group(&k, ret);
	*ret_time = k.time;
	return 0;
}
