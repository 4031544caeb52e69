/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include "cmd/change.h"
#include "maint/agent.h"

static int
forget(struct agent *a, const struct group_name *g, int64_t time)
{
	return a->ops->forget(a, g, time);
}

static int
forget_group(struct agent *a, const struct group_name *g)
{
	return a->ops->forget_group(a, g);
}

static int
remove_ns(struct agent *a, const char *path)
{
	return a->ops->remove_ns(a, path);
}

int
cmd_forget(struct options *o, char **args, int n)
{
	static const struct change c = {
	    .snap = forget,
	    .group = forget_group,
	    .ns = remove_ns,
	    .done = "forgotten",
	};

	return change_run(o, &c, args[0], args + 1, n - 1);
}
