/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/change.h"
#include "cmd/exits.h"
#include "maint/agent.h"

static int
protect(struct agent *a, const struct group_name *g, int64_t time)
{
	return a->ops->protect(a, g, time, true);
}

static int
unprotect(struct agent *a, const struct group_name *g, int64_t time)
{
	return a->ops->protect(a, g, time, false);
}

int
cmd_protect(struct options *o, char **args, int n)
{
	static const struct change on = {
	    .snap = protect,
	    .done = "protected",
	};
	static const struct change off = {
	    .snap = unprotect,
	    .done = "unprotected",
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
