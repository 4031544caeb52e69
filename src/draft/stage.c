/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/io.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/num.h"
#include "draft/draft_priv.h"
#include "draft/staging.h"

static struct stage_file *
stage_take(struct draft *d, struct inode *i, bool *ret_exists)
{
	LOCK(&d->lock);
	*ret_exists = i->staged_file;
	if (i->stage != NULL)
		i->stage->refs++;
	return i->stage;
}

int
stage_get(struct draft *d, struct inode *i, uint64_t *room,
    struct stage_file **ret)
{
	struct stage_file *f, *other;
	uint64_t charge = 0;
	bool exists;
	int r;

	*ret = stage_take(d, i, &exists);
	if (*ret != NULL)
		return 0;
	if (!exists && room == NULL)
		return -ENOENT;
	if (!exists) {
		r = spill_exhume(d, i->ino);
		if (r < 0)
			return r;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ENOMEM;
	f->fd = staging_file(d->dir, i->ino, !exists);
	if (f->fd < 0) {
		r = f->fd;
		free(f);
		return r;
	}
	{
		LOCK(&d->lock);
		/* Two may have come here together. */
		if (!exists && !i->staged_file) {
			i->staged_file = true;
			charge = STAGING_FILE_COST;
		}
		other = i->stage;
		if (other == NULL)
			i->stage = f;
		else
			other->refs++;
		f->refs = 1;
	}
	if (charge > 0) {
		uint64_t have = MIN(*room, charge);

		*room -= have;
		staging_charge(d->all->staging, charge - have);
	}
	if (other != NULL) {
		close(f->fd);
		free(f);
	}
	*ret = other != NULL ? other : f;
	return 0;
}

int
stage_idle(struct inode *i)
{
	struct stage_file *f = i->stage;
	int fd;

	if (f == NULL || f->refs > 0)
		return -1;
	i->stage = NULL;
	fd = f->fd;
	free(f);
	return fd;
}

void
stage_put(struct draft *d, struct inode *i, struct stage_file *f)
{
	int fd = -1;

	if (f == NULL)
		return;
	{
		LOCK(&d->lock);
		f->refs--;
		if (f == i->stage) {
			if (i->nopen == 0)
				fd = stage_idle(i);
		} else if (f->refs == 0) {
			fd = f->fd;
			free(f);
		}
	}
	if (fd >= 0)
		close(fd);
}

void
stage_forget(struct inode *i)
{
	struct stage_file *f = i->stage;

	i->staged_file = false;
	i->stage = NULL;
	/* Whoever still reads from it closes it. */
	if (f != NULL && f->refs == 0) {
		close(f->fd);
		free(f);
	}
}

int
stage_pwrite(struct stage_file *f, const void *p, size_t len, uint64_t off)
{
	const uint8_t *b = p;
	ssize_t n;

	while (len > 0) {
		n = pwrite(f->fd, b, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		b += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}
