/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"

/* Those who write may be held up by the local disk. */
#define LOOP_THREADS 8
#define LOOP_THREADS_WRITABLE 32
#define READ_AHEAD_KB "4096"
#define KICK_MS 100
#define STUCK_MS 2000

extern char **environ;

struct run {
	struct fuse_mount *m;
	void (*ready)(void *arg);
	void *arg;
	pthread_t loop, control, refresher;
	bool asked;		/* to end; of the control thread until joined */
	bool forced;		/* unmounted, but not given up by its users */
	int failed;		/* of the refresher until joined: no answer */
	/* Guarded by m->lock. */
	bool over;		/* the loop has returned */
	bool refresher_over;
};

/*
 * Unmounting, so that the loop ends by itself when the last user has gone.
 */
static int
fusermount(const char *mountpoint, bool lazy)
{
	const char *argv[] = {"fusermount3", "-q", lazy ? "-uz" : "-u", "--",
	    mountpoint, NULL};
	int r, status;
	pid_t pid;

	r = posix_spawnp(&pid, argv[0], NULL, NULL,
	    (char *const *)(uintptr_t)argv, environ);
	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

static int
detach(const char *mountpoint, bool lazy)
{
	if (umount2(mountpoint, (lazy ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return errno == EPERM ? fusermount(mountpoint, lazy) : -errno;
}

/*
 * The refresher may be waiting in the kernel for this very mount, where nothing
 * but an answer of the loop lets it go.
 */
static void
end_refresher(struct run *x)
{
	struct fuse_mount *m = x->m;

	vfs_shutdown(m->v);
	LOCK(&m->lock);
	m->ending = true;
	pthread_cond_broadcast(&m->changed);
	while (!x->refresher_over && !x->over)
		pthread_cond_wait(&m->changed, &m->lock);
	notify_end(m, &x->over);
}

static void
end_now(struct run *x)
{
	struct timespec pause = {.tv_nsec = KICK_MS * 1000000L};
	bool over = false;

	end_refresher(x);
	fuse_session_exit(x->m->se);
	/* The loop looks only when a wait is interrupted, and may just be
	 * about to wait. */
	while (!over) {
		pthread_kill(x->loop, SIGUSR2);
		nanosleep(&pause, NULL);
		LOCK(&x->m->lock);
		over = x->over;
	}
}

static void
end_gently(struct run *x)
{
	int r;

	r = detach(x->m->mountpoint, false);
	if (r == -EBUSY) {
		r = detach(x->m->mountpoint, true);
		if (r == 0)
			log_warn("%s is in use: it is unmounted and ends when "
			    "the last user has gone\nhint: another signal ends "
			    "it now", x->m->mountpoint);
	}
	if (r < 0) {
		log_err("cannot unmount %s: %s", x->m->mountpoint,
		    strerror(-r));
		end_now(x);
	}
}

/* What was answered, or UINT64_MAX if nobody waits. */
static uint64_t
answered(struct fuse_mount *m)
{
	LOCK(&m->lock);

	return m->reads + m->waiting > 0 ? m->answered : UINT64_MAX;
}

/* 1 if there is a signal, 0 if not for that long. */
static int
next_signal(struct run *x, int timeout_ms, unsigned char *ret)
{
	struct pollfd p = {.fd = x->m->signals.pipe[0], .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0 && read(p.fd, ret, 1) == 1 ? 1 : 0;
}

static void *
control_main(void *arg)
{
	uint64_t before = UINT64_MAX, now;
	struct run *x = arg;
	unsigned char sig;

	for (;;) {
		if (next_signal(x, x->asked ? STUCK_MS : -1, &sig) == 0) {
			/* Those who still use it, and wait for a store that
			 * says nothing, are told so.  A snapshot that is being
			 * published says nothing for long, too. */
			now = x->m->opts.writable ? UINT64_MAX :
			    answered(x->m);
			if (now == before && now != UINT64_MAX)
				vfs_shutdown(x->m->v);
			before = now;
		} else if (sig == 0) {
			break;
		} else if (sig == SIGHUP) {
			LOCK(&x->m->lock);
			x->m->refresh = true;
			pthread_cond_broadcast(&x->m->changed);
		} else if (x->asked) {
			x->forced = true;
			end_now(x);
		} else {
			x->asked = true;
			end_gently(x);
		}
	}
	return NULL;
}

/* The kernel's own readahead is small for what a chunk costs to fetch. */
static void
raise_read_ahead(const struct stat *st)
{
	_cleanup_close_ int fd = -1;
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb",
	    major(st->st_dev), minor(st->st_dev));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || io_write_full(fd, READ_AHEAD_KB,
	    strlen(READ_AHEAD_KB)) < 0)
		log_debug("%s cannot be set, readahead of the kernel stays as "
		    "it is", path);
}

/* True when a refresh is due, false when all ends. */
static bool
wait_for_refresh(struct fuse_mount *m)
{
	deadline_t due = m->opts.refresh_s > 0 ?
	    deadline_in((uint64_t)m->opts.refresh_s * 1000) : 0;
	int r = 0;

	LOCK(&m->lock);
	while (!m->ending && !m->refresh && r != -ETIMEDOUT) {
		if (due != 0)
			r = cond_wait_until(&m->changed, &m->lock, due);
		else
			pthread_cond_wait(&m->changed, &m->lock);
	}
	m->refresh = false;
	return !m->ending;
}

/* A thread that serves no request: what it tells the kernel may make that ask
 * for something first. */
static void
refresher_work(struct run *x)
{
	struct stat st;
	int r;

	/* That this is answered shows that requests are. */
	if (stat(x->m->mountpoint, &st) == 0) {
		if (x->ready != NULL)
			x->ready(x->arg);
		raise_read_ahead(&st);
	} else {
		x->failed = -errno;
		log_err("%s does not answer: %s", x->m->mountpoint,
		    strerror(-x->failed));
		signals_raise(&x->m->signals, SIGTERM);
		return;
	}
	while (wait_for_refresh(x->m)) {
		r = vfs_refresh(x->m->v);
		if (r < 0)
			log_warn("cannot refresh the listing: %s",
			    strerror(-r));
	}
}

static void *
refresher_main(void *arg)
{
	struct run *x = arg;

	{
		LOCK(&x->m->lock);
		x->m->refresher = pthread_self();
		x->m->has_refresher = true;
	}
	refresher_work(x);
	LOCK(&x->m->lock);
	x->m->has_refresher = false;
	x->refresher_over = true;
	pthread_cond_broadcast(&x->m->changed);
	return NULL;
}

static int
loop(struct run *x)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r;

	if (config == NULL)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, x->m->opts.writable ?
	    LOOP_THREADS_WRITABLE : LOOP_THREADS);
	r = fuse_session_loop_mt(x->m->se, config);
	fuse_loop_cfg_destroy(config);
	/* Nobody is left to wait for an answer. */
	if (!x->m->opts.writable)
		vfs_shutdown(x->m->v);
	return r > 0 || r == -ENODEV ? 0 : r;
}

static void
tell_over(struct run *x)
{
	{
		LOCK(&x->m->lock);
		x->over = true;
		x->m->ending = true;
		pthread_cond_broadcast(&x->m->changed);
	}
	signals_raise(&x->m->signals, 0);
}

int
fuse_mount_run(struct fuse_mount *m, void (*ready)(void *arg), void *arg)
{
	struct run x = {
	    .m = m,
	    .ready = ready,
	    .arg = arg,
	    .loop = pthread_self(),
	};
	int r;

	r = -pthread_create(&x.control, NULL, control_main, &x);
	if (r < 0)
		return r;
	r = -pthread_create(&x.refresher, NULL, refresher_main, &x);
	if (r < 0) {
		tell_over(&x);
		pthread_join(x.control, NULL);
		return r;
	}
	r = loop(&x);
	tell_over(&x);
	/* Nobody answers the refresher if no loop could be had at all. */
	if (r < 0) {
		fuse_session_unmount(m->se);
		m->mounted = false;
	}
	pthread_join(x.control, NULL);
	pthread_join(x.refresher, NULL);
	/* The library sees for itself when a mount is gone, but not that what
	 * is mounted there now may not be ours. */
	if (x.forced)
		m->mounted = false;
	return r < 0 ? r : x.failed;
}
