/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/snap_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

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
snap_path_ns(const char *path, char *out)
{
	char key[KEY_MAX + 1];
	struct key_parts k;

	if (parse(path, KEY_NS_MARKER, key, &k) < 0 || k.kind != KEY_NAMESPACE)
		return -EINVAL;
	memcpy(out, k.ns, strlen(k.ns) + 1);
	return 0;
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

int
snap_path_any(const char *path, struct snap_path *ret)
{
	char key[KEY_MAX + 1];
	struct key_parts k;

	memset(ret, 0, sizeof(*ret));
	if (path[strspn(path, "/")] == '\0') {
		ret->kind = SNAP_PATH_NS;
		return 0;
	}
	if (snap_path_snap(path, &ret->group, &ret->time) == 0) {
		ret->kind = SNAP_PATH_SNAP;
		return 0;
	}
	if (snap_path_group(path, &ret->group) == 0) {
		ret->kind = SNAP_PATH_GROUP;
		return 0;
	}
	if (parse(path, KEY_NS_MARKER, key, &k) < 0 ||
	    k.kind != KEY_NAMESPACE)
		return -EINVAL;
	ret->kind = SNAP_PATH_NS;
	memcpy(ret->group.ns, k.ns, strlen(k.ns) + 1);
	return 0;
}

int
snap_path_text(const struct snap_path *p, struct str *out)
{
	const struct group_name *g = &p->group;
	char key[KEY_MAX + 1];
	const char *text = key + strlen(".cnt/");
	int r = -EINVAL;

	switch (p->kind) {
	case SNAP_PATH_NS:
		r = key_ns(key, g->ns, "");
		break;
	case SNAP_PATH_GROUP:
		r = key_group(key, g->ns, g->type, g->id, "");
		break;
	case SNAP_PATH_SNAP:
		r = key_file(key, g->ns, g->type, g->id, p->time, "");
		break;
	}
	if (r < 0)
		return r;
	if (*text == '\0')
		str_addc(out, '/');
	else
		str_addn(out, text, strlen(text) - 1);
	return str_error(out);
}

bool
snap_path_is_below(const char *path, const char *ns)
{
	size_t n = strlen(ns);

	return n == 0 || (str_starts(path, ns) &&
	    (path[n] == '\0' || path[n] == '/'));
}
