/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/io.h"
#include "base/num.h"
#include "cmd/copy.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/progress.h"
#include "cmd/show.h"
#include "cmd/stack.h"
#include "vfs/vfs.h"

struct out {
	int err;
};

static int
to_stdout(void *arg, const void *p, size_t len)
{
	static const char zeros[65536];
	struct out *out = arg;

	if (p != NULL) {
		out->err = io_write_full(STDOUT_FILENO, p, len);
		return out->err;
	}
	while (out->err == 0 && len > 0) {
		size_t n = MIN(len, sizeof(zeros));

		out->err = io_write_full(STDOUT_FILENO, zeros, n);
		len -= n;
	}
	return out->err;
}

static int
cat(struct stack *s, const char *path)
{
	struct progress progress;
	struct out out = {0};
	struct copy c = {.path = path, .stop_at_damage = true,
	    .progress = &progress, .write = to_stdout, .arg = &out};
	struct vfs_attr a;
	int r, status;

	status = show_resolve(s, path, &a);
	if (status != EXIT_OK)
		return status;
	r = vfs_open(s->vfs, a.st.st_ino, O_RDONLY, 0, &c.f);
	if (r < 0)
		return show_fail(path, r);
	progress_begin(&progress, s->o, vfs_file_size(c.f));
	/* The terminal would show both on one line. */
	progress.on = progress.on && !isatty(STDOUT_FILENO);
	r = copy_file(&c);
	progress_end(&progress);
	vfs_close(c.f);
	if (out.err == -EPIPE)
		return EXIT_FAILED;	/* who reads has had enough */
	if (out.err < 0)
		return show_fail("standard output", out.err);
	return exits_of(r);
}

int
cmd_cat(struct options *o, char **args, int n)
{
	struct stack s;
	int status;

	status = stack_open(&s, o, args[0]);
	if (status == EXIT_OK)
		for (int i = 1; i < n && status != EXIT_LIMIT; i++)
			status = show_worst(status, cat(&s, args[i]));
	stack_close(&s);
	cost_print(o, &s.cost);
	return status;
}
