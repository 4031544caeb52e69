/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"

/* Requests that wait for the store at the same time. */
#define POOL_THREADS 256

__attribute__((format(printf, 2, 0))) static void
lib_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[1024];
	size_t n;

	if (vsnprintf(text, sizeof(text), fmt, ap) < 0)
		return;
	n = strlen(text);
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	if (n == 0)
		return;
	log_msg(level <= FUSE_LOG_ERR ? LOG_LVL_ERR :
	    level == FUSE_LOG_WARNING ? LOG_LVL_WARN :
	    level <= FUSE_LOG_INFO ? LOG_LVL_INFO : LOG_LVL_DEBUG, "%s", text);
}

static int
make_args(const struct fuse_mount_opts *o, struct fuse_args *args)
{
	_cleanup_free_ char *name = NULL;
	char *opts = NULL;
	int bad;

	if (asprintf(&name, "fsname=%s",
	    o->fsname != NULL ? o->fsname : o->source) < 0) {
		name = NULL;
		return -ENOMEM;
	}
	bad = fuse_opt_add_opt(&opts, o->writable ? "rw" : "ro") |
	    fuse_opt_add_opt(&opts, "subtype=pbs3fs") |
	    fuse_opt_add_opt_escaped(&opts, name);
	if (o->allow_other)
		bad |= fuse_opt_add_opt(&opts, "allow_other");
	else if (o->allow_root)
		bad |= fuse_opt_add_opt(&opts, "allow_root");
	if (o->default_permissions)
		bad |= fuse_opt_add_opt(&opts, "default_permissions");
	if (o->noexec)
		bad |= fuse_opt_add_opt(&opts, "noexec");
	if (o->debug)
		bad |= fuse_opt_add_opt(&opts, "debug");
	if (bad == 0)
		bad = fuse_opt_add_arg(args, "pbs3fs") |
		    fuse_opt_add_arg(args, "-o") |
		    fuse_opt_add_arg(args, opts);
	free(opts);
	return bad == 0 ? 0 : -ENOMEM;
}

static int
init_locks(struct fuse_mount *m)
{
	int r;

	r = -pthread_mutex_init(&m->lock, NULL);
	if (r < 0)
		return r;
	r = cond_init(&m->changed);
	if (r < 0)
		pthread_mutex_destroy(&m->lock);
	return r;
}

int
fuse_mount_new(struct vfs *v, const char *mountpoint,
    const struct fuse_mount_opts *o, struct fuse_mount **ret)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_mount *m = calloc(1, sizeof(*m));
	int r;

	if (m == NULL)
		return -ENOMEM;
	r = init_locks(m);
	if (r < 0) {
		free(m);
		return r;
	}
	m->v = v;
	m->opts = *o;
	/* Who may write is for the kernel to decide. */
	if (o->writable)
		m->opts.default_permissions = true;
	LIST_INIT(&m->handles);
	LIST_INIT(&m->calls);
	fuse_set_log_func(lib_log);
	m->mountpoint = strdup(mountpoint);
	if (m->mountpoint == NULL) {
		r = -ENOMEM;
		goto err;
	}
	r = make_args(&m->opts, &args);
	if (r < 0)
		goto err;
	r = workq_new("fuse", POOL_THREADS, &m->pool);
	if (r == 0)
		r = workq_new("write", POOL_THREADS, &m->writers);
	if (r == 0)
		r = workq_new("notify", 1, &m->notifier);
	if (r < 0)
		goto err;
	r = signals_begin(&m->signals);
	if (r < 0)
		goto err;
	m->se = fuse_session_new(&args, &fuse_ll_ops, sizeof(fuse_ll_ops), m);
	if (m->se == NULL) {
		log_err("cannot start a FUSE session");
		r = -EIO;
		goto err;
	}
	if (fuse_session_mount(m->se, m->mountpoint) != 0) {
		log_err("cannot mount on %s%s", m->mountpoint, o->allow_other ||
		    o->allow_root ? "\nhint: a normal user needs "
		    "user_allow_other in /etc/fuse.conf for allow_other and "
		    "allow_root" : "");
		r = -EIO;
		goto err;
	}
	m->mounted = true;
	vfs_listen(v, &(struct vfs_listener){
	    .entry = notify_entry, .inode = notify_inode, .arg = m});
	fuse_opt_free_args(&args);
	*ret = m;
	return 0;

err:
	fuse_opt_free_args(&args);
	fuse_mount_free(m);
	return r;
}

void
fuse_mount_free(struct fuse_mount *m)
{
	if (m == NULL)
		return;
	if (m->mounted)
		fuse_session_unmount(m->se);
	workq_free(m->pool);
	workq_free(m->writers);
	data_end(m);
	if (m->se != NULL)
		vfs_listen(m->v, &(struct vfs_listener){0});
	workq_free(m->notifier);
	if (m->se != NULL)
		fuse_session_destroy(m->se);
	signals_end(&m->signals);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m->mountpoint);
	free(m);
}
