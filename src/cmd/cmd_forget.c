/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include "cmd/change.h"
#include "repo/edit.h"

int
cmd_forget(struct options *o, char **args, int n)
{
	static const struct change c = {
	    .fn = repo_forget,
	    .done = "forgotten",
	    .in_mount = "rmdir",
	};

	return change_run(o, &c, args[0], args + 1, n - 1);
}
