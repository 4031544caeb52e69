/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "draft/journal.h"

static bool
is_stopped(const struct draft *d)
{
	return __atomic_load_n(&d->all->stop, __ATOMIC_ACQUIRE);
}

/* All journals were replayed when the drafts were opened. */
static int
refuse(void *arg, const void *p, size_t len)
{
	const struct draft *d = arg;

	(void)p;
	(void)len;
	log_err("state directory: open/%05x: a journal appeared while it was "
	    "in use", d->slot);
	return -EBUSY;
}

/* Without the lock; nobody else is at it. */
static int
make_journal(struct draft *d, unsigned flags)
{
	_cleanup_(str_fini) struct str txn = {0};
	struct journal *j;
	char path[32];
	uint64_t seq;
	int r;

	/* It stays while somebody is inside. */
	r = log_head(d, d->base, flags, &txn);
	if (r < 0)
		return r;
	if (d->dir < 0) {
		(void)snprintf(path, sizeof(path), "open/%05x", d->slot);
		r = io_mkdirs(d->all->dir, path, 0700);
		if (r == 0)
			r = io_fsync_dir(d->all->dir, "open");
		if (r == 0) {
			d->dir = openat(d->all->dir, path,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
			r = d->dir >= 0 ? 0 : -errno;
		}
		if (r < 0) {
			log_limited(LOG_LVL_ERR, "state directory: %s: %m",
			    path);
			return r;
		}
	}
	r = journal_open(d->dir, "journal", refuse, d, &j);
	if (r < 0)
		return r;
	r = journal_add(j, txn.s, txn.len, &seq);
	if (r == 0)
		r = journal_commit(j, seq);
	if (r < 0) {
		journal_close(j);
		(void)unlinkat(d->dir, "journal", 0);
		return r;
	}
	LOCK(&d->lock);
	d->journal = j;
	d->compact_at = JOURNAL_COMPACT_MIN;
	return 0;
}

/* What has to be done before anything may change: by one, while others wait. */
static int
get_ready(struct draft *d, unsigned flags)
{
	bool settle = d->unsettled;
	int r;

	if (settle && (flags & DRAFT_NOWAIT) != 0)
		return -EAGAIN;
	d->making = true;
	/* Settling may give the draft another base, which is done while nobody
	 * is inside. */
	d->inside += !settle;
	pthread_mutex_unlock(&d->lock);
	r = settle ? publish_settle(d) : make_journal(d, flags);
	if (settle && r < 0)
		r = -EIO;
	pthread_mutex_lock(&d->lock);
	d->inside -= !settle;
	d->making = false;
	pthread_cond_broadcast(&d->cond);
	return r;
}

int
draft_enter(struct draft *d, unsigned flags)
{
	int r;
	LOCK(&d->lock);

	for (;;) {
		if (is_stopped(d))
			return -ESHUTDOWN;
		if (d->removed)
			return -ESTALE;
		if (d->frozen > 0 || d->making) {
			if ((flags & DRAFT_NOWAIT) != 0)
				return -EAGAIN;
			pthread_cond_wait(&d->cond, &d->lock);
			continue;
		}
		if (d->journal != NULL && !d->unsettled)
			break;
		r = get_ready(d, flags);
		if (r < 0)
			return r;
	}
	d->inside++;
	return 0;
}

int
draft_try_settle(struct draft *d)
{
	LOCK(&d->lock);

	if (!d->unsettled || d->removed || d->frozen > 0 || d->making ||
	    is_stopped(d))
		return 0;
	return get_ready(d, 0);
}

void
draft_leave(struct draft *d)
{
	bool grown;

	{
		LOCK(&d->lock);
		if (--d->inside == 0)
			pthread_cond_broadcast(&d->cond);
		grown = journal_size(d->journal) > d->compact_at;
	}
	inode_reap(d);
	if (grown)
		(void)draft_compact(d);
}

void
draft_freeze(struct draft *d)
{
	LOCK(&d->lock);

	d->frozen++;
	while (d->inside > 0 || d->compacting)
		pthread_cond_wait(&d->cond, &d->lock);
}

void
draft_thaw(struct draft *d)
{
	LOCK(&d->lock);

	if (--d->frozen == 0)
		pthread_cond_broadcast(&d->cond);
}
