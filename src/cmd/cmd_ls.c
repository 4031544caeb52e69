/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "cmd/stack.h"
#include "cmd/walk.h"
#include "vfs/vfs.h"

struct ls {
	struct stack s;
	struct options *o;
	bool any;		/* something was printed */
	int status;
};

static void
add_target(struct ls *ls, const struct vfs_attr *a, struct str *out)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;

	if (S_ISLNK(a->st.st_mode) &&
	    vfs_readlink(ls->s.vfs, a->st.st_ino, 0, &b) == 0)
		str_addn(out, (const char *)b->data, b->len);
}

static void
print_long(struct ls *ls, const char *path, const struct vfs_attr *a)
{
	_cleanup_(str_fini) struct str target = {0};
	char mode[11], when[SHOW_TIME_MAX];
	const struct stat *st = &a->st;

	printf("%s %3" PRIu64 " %5u %5u ", show_mode(st->st_mode, mode),
	    (uint64_t)st->st_nlink, st->st_uid, st->st_gid);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		printf("%8u,%4u", major(st->st_rdev), minor(st->st_rdev));
	else
		printf("%13" PRIu64, (uint64_t)st->st_size);
	printf(" %s ", show_time(st->st_mtim.tv_sec, when));
	show_name(stdout, path);
	add_target(ls, a, &target);
	if (target.len > 0) {
		fputs(" -> ", stdout);
		show_name(stdout, str_get(&target));
	}
	putchar('\n');
}

static const char *
type_name(mode_t mode)
{
	return S_ISREG(mode) ? "file" :
	    S_ISDIR(mode)    ? "dir" :
	    S_ISLNK(mode)    ? "symlink" :
	    S_ISCHR(mode)    ? "chardev" :
	    S_ISBLK(mode)    ? "blockdev" :
	    S_ISFIFO(mode)   ? "fifo" :
			       "socket";
}

static int
json_attr(struct ls *ls, json_t *obj, const struct vfs_attr *a)
{
	_cleanup_(str_fini) struct str target = {0};
	const struct stat *st = &a->st;
	char mode[16];

	snprintf(mode, sizeof(mode), "%06o", st->st_mode);
	json_object_set_new(obj, "mode", json_string(mode));
	json_object_set_new(obj, "uid", json_integer(st->st_uid));
	json_object_set_new(obj, "gid", json_integer(st->st_gid));
	json_object_set_new(obj, "links",
	    json_integer((json_int_t)st->st_nlink));
	json_object_set_new(obj, "size", json_integer(st->st_size));
	json_object_set_new(obj, "mtime", json_pack("[I,I]",
	    (json_int_t)st->st_mtim.tv_sec, (json_int_t)st->st_mtim.tv_nsec));
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
		json_object_set_new(obj, "dev", json_pack("[i,i]",
		    (int)major(st->st_rdev), (int)minor(st->st_rdev)));
	add_target(ls, a, &target);
	return S_ISLNK(st->st_mode) ?
	    show_json_name(obj, "target", str_get(&target)) : 0;
}

static int
print_json(struct ls *ls, const char *path, mode_t type,
    const struct vfs_attr *a)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *text = NULL;
	json_t *obj = json_object();
	int r;

	r = show_json_name(obj, "name", slash == NULL ? path : slash + 1);
	if (r == 0)
		r = show_json_name(obj, "path", path);
	json_object_set_new(obj, "type", json_string(type_name(type)));
	if (r == 0 && a != NULL)
		r = json_attr(ls, obj, a);
	if (r == 0)
		text = json_dumps(obj, JSON_COMPACT);
	json_decref(obj);
	if (text == NULL)
		return -ENOMEM;
	printf("%s\n%s", ls->any ? "," : "", text);
	return 0;
}

static int
print(struct ls *ls, const char *path, mode_t type, const struct vfs_attr *a)
{
	int r = 0;

	if (ls->o->json) {
		r = print_json(ls, path, type, a);
	} else if (ls->o->long_list && a != NULL) {
		print_long(ls, path, a);
	} else {
		show_name(stdout, path);
		putchar('\n');
	}
	ls->any = true;
	return r == 0 && ferror(stdout) ? -EPIPE : r;
}

static int
on_entry(void *arg, const char *path, uint64_t ino, mode_t type,
    const struct vfs_attr *a)
{
	struct ls *ls = arg;

	(void)ino;
	return print(ls, path, type, a);
}

static int
on_failure(void *arg, const char *path, int err)
{
	struct ls *ls = arg;

	if (err == -EDQUOT)
		return err;
	/* The others are still worth seeing. */
	ls->status = show_worst(ls->status,
	    show_fail(*path == '\0' ? "/" : path, err));
	return 0;
}

static void
finish_json(struct ls *ls)
{
	_cleanup_free_ char *text = NULL;
	struct store_counts c;
	json_t *cost;

	stack_counts(&ls->s, &c);
	cost = cost_json(ls->o, &c);
	text = json_dumps(cost, JSON_COMPACT);
	json_decref(cost);
	printf("\n],\"cost\":%s}\n", text == NULL ? "null" : text);
}

static int
list(struct ls *ls, const char *path)
{
	struct walk w = {
	    .want_attr = ls->o->long_list || ls->o->json,
	    .recursive = ls->o->recursive,
	    .entry = on_entry,
	    .failed = on_failure,
	    .arg = ls,
	};
	struct vfs_attr top;
	int r, status;

	status = show_resolve(&ls->s, path, &top);
	if (status != EXIT_OK)
		return status;
	w.vfs = ls->s.vfs;
	if (ls->o->json)
		fputs("{\"entries\":[", stdout);
	if (S_ISDIR(top.st.st_mode))
		r = walk_dir(&w, top.st.st_ino);
	else
		r = print(ls, path, top.st.st_mode, &top);
	if (ls->o->json)
		finish_json(ls);
	if (r < 0 && r != -EPIPE)
		ls->status = show_worst(ls->status, show_fail(path, r));
	return r < 0 ? show_worst(ls->status, EXIT_FAILED) : ls->status;
}

int
cmd_ls(struct options *o, char **args, int n)
{
	struct ls ls = {.o = o};
	int status;

	status = stack_open(&ls.s, o, args[0]);
	if (status == EXIT_OK)
		status = list(&ls, n > 1 ? args[1] : "");
	stack_close(&ls.s);
	cost_print(o, &ls.s.cost);
	return status;
}
