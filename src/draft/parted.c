/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "base/log.h"
#include "draft/draft_priv.h"

/*
 * Names of one file that the format has as several: of something that is no
 * regular file, or in different archives after a directory was moved.  One of
 * them keeps the number, and whoever has remembered it for another name would
 * change the wrong file.
 */

int
parted_add(struct draft *d, const struct inode *i, const char *path)
{
	const size_t len = strlen(path) + 1;
	struct parted *p = malloc(sizeof(*p) + len);

	if (p == NULL)
		return -ENOMEM;
	p->ino = i->ino;
	memcpy(p->path, path, len);
	STAILQ_INSERT_TAIL(&d->parted, p, link);
	return 0;
}

void
parted_clear(struct draft *d)
{
	struct parted *p;

	while ((p = STAILQ_FIRST(&d->parted)) != NULL) {
		STAILQ_REMOVE_HEAD(&d->parted, link);
		free(p);
	}
}

static struct parted *
take(struct draft *d)
{
	struct parted *p = NULL;
	LOCK(&d->lock);

	if (!d->unsettled)
		p = STAILQ_FIRST(&d->parted);
	if (p != NULL)
		STAILQ_REMOVE_HEAD(&d->parted, link);
	return p;
}

/* The directory that the path is in, with a reference for draft_forget. */
static int
find_dir(struct draft *d, char *path, char **ret_name, uint64_t *ret)
{
	uint64_t ino = draft_root(d);
	char *name = path, *slash;
	struct stat st;
	int r;

	*ret = 0;
	while ((slash = strchr(name, '/')) != NULL) {
		*slash = '\0';
		r = draft_lookup(d, ino, name, 0, &st);
		if (*ret != 0)
			draft_forget(d, *ret, 1);
		*ret = 0;
		if (r < 0)
			return r;
		*ret = ino = st.st_ino;
		name = slash + 1;
	}
	*ret_name = name;
	/* Nothing at the top has other names. */
	return *ret != 0 ? 0 : -ENOENT;
}

void
parted_tell(struct draft *d)
{
	const struct drafts_opts *o = &d->all->opts;
	struct parted *p;
	uint64_t dir;
	char *name;
	int r;

	while ((p = take(d)) != NULL) {
		r = o->parted != NULL ? find_dir(d, p->path, &name, &dir) :
		    -ENOENT;
		if (r == 0) {
			o->parted(o->arg, dir, name, p->ino);
			draft_forget(d, dir, 1);
		} else if (r != -ENOENT) {
			log_warn("a name below %s is not told apart from "
			    "others: %s", p->path, strerror(-r));
		}
		free(p);
	}
}
