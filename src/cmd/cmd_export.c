/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/copy.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/progress.h"
#include "cmd/show.h"
#include "cmd/stack.h"
#include "cmd/tar.h"
#include "vfs/vfs.h"

struct export {
	struct stack s;
	struct options *o;
	struct progress progress;
	const char *name;	/* of the output */
	int fd;
	bool sparse;		/* zeros may be left out */
	bool hole_at_end;
	int err;		/* of the output */
};

static int
open_output(struct export *x, const char *path)
{
	struct stat st;
	off_t at;

	x->name = path == NULL ? "standard output" : path;
	/* For the owner alone: it may be anybody's data. */
	x->fd = path == NULL ? STDOUT_FILENO :
	    open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (x->fd < 0 || fstat(x->fd, &st) < 0)
		return show_fail(x->name, -errno);
	if (path == NULL && isatty(x->fd)) {
		log_err("the terminal is no place for this\n"
			"hint: pbs3fs export STORE PATH FILE");
		return EXIT_USAGE;
	}
	/* Seeking leaves holes only behind the end of a file that is written
	 * where we think it is. */
	at = lseek(x->fd, 0, SEEK_CUR);
	x->sparse = S_ISREG(st.st_mode) && at >= 0 && at == st.st_size &&
	    !(fcntl(x->fd, F_GETFL) & O_APPEND);
	return EXIT_OK;
}

static int
write_out(void *arg, const void *p, size_t len)
{
	static const char zeros[65536];
	struct export *x = arg;

	if (p == NULL && x->sparse) {
		x->hole_at_end = true;
		x->err = lseek(x->fd, (off_t)len, SEEK_CUR) < 0 ? -errno : 0;
		return x->err;
	}
	x->hole_at_end = false;
	while (x->err == 0 && len > 0) {
		size_t n = p == NULL ? MIN(len, sizeof(zeros)) : len;

		x->err = io_write_full(x->fd, p == NULL ? zeros : p, n);
		len -= n;
	}
	return x->err;
}

static int
set_length(struct export *x)
{
	off_t at;

	if (!x->hole_at_end)
		return 0;
	at = lseek(x->fd, 0, SEEK_CUR);
	if (at < 0 || ftruncate(x->fd, at) < 0)
		x->err = -errno;
	return x->err;
}

static int
export_file(struct export *x, const char *path, uint64_t ino)
{
	struct copy c = {.path = path, .progress = &x->progress,
	    .write = write_out, .arg = x};
	int r;

	r = vfs_open(x->s.vfs, ino, O_RDONLY, 0, &c.f);
	if (r < 0)
		return show_fail(path, r);
	progress_begin(&x->progress, x->o, vfs_file_size(c.f));
	r = copy_file(&c);
	progress_end(&x->progress);
	vfs_close(c.f);
	if (r == 0)
		r = set_length(x);
	if (x->err < 0)
		return show_fail(x->name, x->err);
	if (r < 0)
		return exits_of(r);
	return c.damaged ? EXIT_DAMAGED : EXIT_OK;
}

static int
export_tree(struct export *x, uint64_t ino)
{
	struct tar t = {.vfs = x->s.vfs, .progress = &x->progress};
	int r, r2;

	/* For names: without it bytes above 127 are no characters. */
	setlocale(LC_CTYPE, "C.UTF-8");
	progress_begin(&x->progress, x->o, 0);
	r = tar_begin(&t, x->fd);
	if (r == 0)
		r = tar_tree(&t, ino);
	r2 = tar_end(&t);
	progress_end(&x->progress);
	if (r == 0)
		r = r2;
	if (r < 0) {
		log_err("%s: not complete: %s", x->name, exits_why(r));
		return show_worst(exits_of(r), t.status);
	}
	return t.status;
}

static int
export(struct export *x, const char *path)
{
	struct vfs_attr a;
	int status;

	status = show_resolve(&x->s, path, &a);
	if (status != EXIT_OK)
		return status;
	if (S_ISDIR(a.st.st_mode))
		status = export_tree(x, a.st.st_ino);
	else
		status = export_file(x, path, a.st.st_ino);
	if (x->fd != STDOUT_FILENO && fsync(x->fd) < 0 && errno != EINVAL &&
	    errno != EROFS)
		status = show_worst(status, show_fail(x->name, -errno));
	return status;
}

int
cmd_export(struct options *o, char **args, int n)
{
	const char *output = n > 2 ? args[2] : o->output;
	struct export x = {.o = o, .fd = -1};
	int status;

	/* Files with several names are only recognised where links are
	 * counted, and all the metadata is read anyhow. */
	if (!option_is_set(o, "hardlinks"))
		o->hardlinks = VFS_LINKS_SCAN;
	if (output != NULL && streq(output, "-"))
		output = NULL;
	status = stack_open(&x.s, o, args[0]);
	if (status == EXIT_OK)
		status = open_output(&x, output);
	if (status == EXIT_OK)
		status = export(&x, args[1]);
	if (x.fd >= 0 && x.fd != STDOUT_FILENO && close(x.fd) < 0)
		status = show_worst(status, show_fail(x.name, -errno));
	stack_close(&x.s);
	cost_print(o, &x.s.cost);
	return status;
}
