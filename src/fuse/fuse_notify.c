/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuse/fuse_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"

/*
 * Telling the kernel of a name takes the lock of its directory, which the
 * kernel may hold until we answer a request.  So it is never done by a thread
 * that has such a request to answer, but by the refresher, or a thread for
 * nothing else; and not while a request for that directory takes its time.  A
 * process that is killed while it waits for such a lock, in the kernel, never
 * ends: neither does who holds the lock then, and the mount hangs.
 */
struct notice {
	struct work work;
	struct fuse_mount *m;
	uint64_t ino;
	bool is_entry;
	char name[];
};

static void
tell(struct fuse_mount *m, uint64_t ino, const char *name)
{
	int r;

	if (name != NULL)
		r = fuse_lowlevel_notify_inval_entry(m->se, ino, name,
		    strlen(name));
	else
		r = fuse_lowlevel_notify_inval_inode(m->se, ino, 0, 0);
	if (r < 0 && r != -ENOENT)
		log_debug("the kernel cannot forget %s of inode %#llx: %s",
		    name != NULL ? name : "what it has",
		    (unsigned long long)ino, strerror(-r));
}

/* When nobody is in the way; false if the mount ends before. */
static bool
wait_turn(struct fuse_mount *m, uint64_t ino, bool is_entry)
{
	LOCK(&m->lock);

	while (is_entry && !m->ending && call_holds(m, ino))
		pthread_cond_wait(&m->changed, &m->lock);
	return !m->ending;
}

static void
notice_run(struct work *w)
{
	struct notice *n = (struct notice *)w;
	struct fuse_mount *m = n->m;

	if (wait_turn(m, n->ino, n->is_entry))
		tell(m, n->ino, n->is_entry ? n->name : NULL);
	free(n);
	LOCK(&m->lock);
	if (--m->telling == 0)
		pthread_cond_broadcast(&m->changed);
}

static bool
is_refresher(struct fuse_mount *m)
{
	LOCK(&m->lock);

	return m->has_refresher && pthread_equal(m->refresher, pthread_self());
}

static void
notify(struct fuse_mount *m, uint64_t ino, const char *name)
{
	size_t len = name != NULL ? strlen(name) : 0;
	struct notice *n;

	if (is_refresher(m)) {
		if (wait_turn(m, ino, name != NULL))
			tell(m, ino, name);
		return;
	}
	n = malloc(sizeof(*n) + len + 1);
	if (n == NULL) {
		log_warn("the kernel is not told of a change: %s",
		    strerror(ENOMEM));
		return;
	}
	n->work.fn = notice_run;
	n->m = m;
	n->ino = ino;
	n->is_entry = name != NULL;
	memcpy(n->name, name != NULL ? name : "", len + 1);
	{
		LOCK(&m->lock);
		m->telling++;
	}
	if (workq_add(m->notifier, &n->work) == 0)
		return;
	free(n);
	LOCK(&m->lock);
	m->telling--;
}

void
notify_entry(void *arg, uint64_t parent, const char *name)
{
	notify(arg, parent, name);
}

void
notify_inode(void *arg, uint64_t ino)
{
	notify(arg, ino, NULL);
}

void
notify_end(struct fuse_mount *m, const bool *over)
{
	m->ending = true;
	pthread_cond_broadcast(&m->changed);
	while (m->telling > 0 && !*over)
		pthread_cond_wait(&m->changed, &m->lock);
}
