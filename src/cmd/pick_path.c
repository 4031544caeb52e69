/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/pick_path.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/snap_path.h"
#include "maint/pick.h"

int
pick_path_parse(const char *path, struct pick *ret)
{
	_cleanup_(str_fini) struct str s = {0};

	memset(ret, 0, sizeof(*ret));
	ret->kind = PICK_SNAP;
	if (snap_path_snap(path, &ret->group, &ret->time) == 0)
		return 0;
	ret->kind = PICK_GROUP;
	if (snap_path_group(path, &ret->group) == 0)
		return 0;
	ret->kind = PICK_NS;
	if (path[strspn(path, "/")] == '\0' ||
	    snap_path_ns(path, ret->group.ns) == 0)
		return 0;
	str_escape(&s, path, strlen(path));
	log_err("%s: not the path of a namespace, a group or a snapshot\n"
		"hint: as ns/offsite, host/web1 or "
		"host/web1/2026-01-31T12:00:00Z",
	    str_get(&s));
	return -EINVAL;
}
