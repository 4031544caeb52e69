/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/change.h"
#include "cmd/exits.h"
#include "repo/edit.h"

static int
protect(struct repo *r, const struct group_name *g, int64_t time)
{
	return repo_protect(r, g, time, true);
}

static int
unprotect(struct repo *r, const struct group_name *g, int64_t time)
{
	return repo_protect(r, g, time, false);
}

int
cmd_protect(struct options *o, char **args, int n)
{
	static const struct change on = {
	    .fn = protect,
	    .done = "protected",
	    .in_mount = "setfattr -n user.pbs3fs.protected -v 1",
	};
	static const struct change off = {
	    .fn = unprotect,
	    .done = "unprotected",
	    .in_mount = "setfattr -n user.pbs3fs.protected -v 0",
	};
	_cleanup_(str_fini) struct str s = {0};
	bool is_on;

	if (num_bool(args[1], &is_on) < 0) {
		str_escape(&s, args[1], strlen(args[1]));
		log_err("%s: neither on nor off\n"
			"hint: pbs3fs protect STORE on|off PATH...",
		    str_get(&s));
		return EXIT_USAGE;
	}
	return change_run(o, is_on ? &on : &off, args[0], args + 2, n - 2);
}
