/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/daemon.h"
#include "cmd/exits.h"
#include "cmd/live.h"
#include "cmd/mounted.h"
#include "cmd/notify.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "fuse/fuse_mount.h"
#include "repo/change_list.h"
#include "repo/tree.h"

struct mounting {
	struct mounted m;
	struct daemon daemon;
};

/* A second mount would hide the first, and so would one over a dead one. */
static int
check_free(const char *path)
{
	struct statfs fs;

	if (!live_is_mount(path))
		return 0;
	/* Not stat: what that tells is still in the kernel's cache. */
	if (statfs(path, &fs) < 0 && errno == ENOTCONN)
		log_err("mount point %s: an old mount is dead there\n"
			"hint: pbs3fs umount %s takes it away",
		    path, path);
	else
		log_err("mount point %s: pbs3fs is mounted there already",
		    path);
	return -EBUSY;
}

static int
find_mountpoint(const char *path, char **ret)
{
	struct stat st;
	int r;

	r = check_free(path);
	if (r < 0)
		return r;
	*ret = realpath(path, NULL);
	if (*ret == NULL || stat(*ret, &st) < 0) {
		r = -errno;
		log_err("mount point %s: %s%s", path, exits_why(r),
		    r == -ENOTCONN ? "\nhint: a file system died there, "
		    "umount -l takes it away" : "");
		return r;
	}
	if (S_ISDIR(st.st_mode))
		return 0;
	log_err("mount point %s: %s", path, exits_why(-ENOTDIR));
	return -ENOTDIR;
}

static void
ready(void *arg)
{
	struct mounting *mt = arg;
	_cleanup_(str_fini) struct str s = {0};

	str_addf(&s, "READY=1\nSTATUS=%s on %s", mt->m.s.t.name, mt->m.where);
	notify_send(str_get(&s));
	log_debug("%s is mounted on %s", mt->m.s.t.name, mt->m.where);
	daemon_ready(&mt->daemon);
}

/* Who may only read is not told so by an error, unless it is all they want. */
static int
begin_writing(struct mounting *mt)
{
	struct stack *s = &mt->m.s;
	int r;

	r = stack_claim(s);
	if (r < 0 && stack_cannot_write(r) && !s->o->rw) {
		log_warn("%s: mounting read-only, because nothing can be "
		    "written there\nhint: -o ro says that this is meant",
		    s->t.name);
		return EXIT_OK;
	}
	return r < 0 ? exits_of(r) : writing_open(&mt->m.w, s);
}

static int
serve_fuse(struct mounting *mt)
{
	const struct options *o = mt->m.s.o;
	struct fuse_mount_opts mount_opts = {
	    .writable = mt->m.s.drafts != NULL,
	    .source = mt->m.s.t.name,
	    .fsname = o->fsname,
	    .allow_other = o->allow_other,
	    .allow_root = o->allow_root,
	    .default_permissions = o->default_permissions,
	    .noexec = o->noexec,
	    .debug = o->debug,
	    .refresh_s = (unsigned)((o->refresh + 999) / 1000),
	};
	int r;

	mt->m.since = clock_real_s();
	r = mounted_generate(&mt->m);
	if (r == 0)
		r = fuse_mount_new(mt->m.s.vfs, mt->m.where, &mount_opts,
		    &mt->m.fuse);
	if (r == 0) {
		r = fuse_mount_run(mt->m.fuse, ready, mt);
		notify_send("STOPPING=1");
		writing_unmounted(&mt->m.w);
		fuse_mount_free(mt->m.fuse);
	}
	return exits_of(r);
}

/* Later ones are told of when a refresh finds them. */
static void
warn_of_strangers(struct stack *s)
{
	struct change_list l = {0};
	struct tree *t = repo_tree(s->repo);

	for (size_t i = 0; i < t->n_ignored_keys; i++)
		change_list_add(&l, REPO_ADDED, REPO_IGNORED, t->ignored[i]);
	change_list_warn(&l, s->t.name);
	change_list_fini(&l);
	tree_unref(t);
}

static int
serve(struct mounting *mt)
{
	struct stack *s = &mt->m.s;
	int status, finished;

	s->write = !s->o->ro;
	status = stack_open_keys(s);
	if (status == EXIT_OK && s->write)
		status = stack_open_key(s);
	if (status == EXIT_OK)
		status = stack_open_store(s);
	if (status == EXIT_OK)
		status = stack_open_repo(s, false);
	if (status == EXIT_OK)
		warn_of_strangers(s);
	if (status == EXIT_OK && s->write)
		status = begin_writing(mt);
	if (status == EXIT_OK)
		status = stack_open_vfs(s, true);
	if (status == EXIT_OK) {
		if (mt->m.w.s != NULL)
			writing_show(&mt->m.w);
		status = serve_fuse(mt);
		finished = writing_finish(&mt->m.w);
		status = show_worst(status, finished);
	}
	writing_close(&mt->m.w);
	return status;
}

/* A daemon works in "/": what is opened later must be found from there. */
static int
make_absolute(struct options *o)
{
	char **path[] = {&o->cache, &o->ca, &o->credentials, &o->fault,
	    &o->state};
	_cleanup_free_ char *here = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(path); i++) {
		struct str s = {0};

		if (*path[i] == NULL || **path[i] == '/')
			continue;
		if (here == NULL)
			here = getcwd(NULL, 0);
		if (here == NULL)
			return -errno;
		str_addf(&s, "%s/%s", here, *path[i]);
		free(*path[i]);
		*path[i] = str_take(&s);
		if (*path[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

static int
mount_it(struct mounting *mt, char **args)
{
	struct options *o = mt->m.s.o;
	int r, status;

	r = find_mountpoint(args[1], &mt->m.where);
	if (r < 0)
		return exits_of(r);
	status = stack_name(&mt->m.s, o, args[0]);
	if (status != EXIT_OK || o->fake)
		return status;
	r = make_absolute(o);
	if (r < 0)
		return show_fail("working directory", r);
	mt->daemon.fd = -1;
	/* Threads do not survive a fork, so it comes before all of them. */
	if (!o->foreground && !o->debug) {
		r = daemon_fork(&mt->daemon, &status);
		if (r < 0) {
			log_err("cannot go into the background: %s",
			    strerror(-r));
			return EXIT_FAILED;
		}
		if (r == 1)
			return status;
	}
	status = serve(mt);
	stack_close(&mt->m.s);
	/* In the background there is nobody left to read it. */
	if (o->foreground || o->debug)
		cost_print(o, &mt->m.s.cost);
	return status;
}

int
cmd_mount(struct options *o, char **args, int n)
{
	struct mounting mt = {.m.s.o = o};
	int status;

	(void)n;
	if (o->rw && o->ro) {
		log_err("rw and ro exclude each other");
		return EXIT_USAGE;
	}
	status = mount_it(&mt, args);
	stack_close(&mt.m.s);
	free(mt.m.where);
	return status;
}
