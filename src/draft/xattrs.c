/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/xattrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "draft/draft_priv.h"

/* Where the name is or would be. */
static size_t
place_of(const struct inode *i, const char *name, bool *ret_there)
{
	size_t low = 0, high = i->n_xattrs, mid;
	int c;

	*ret_there = false;
	while (low < high) {
		mid = low + (high - low) / 2;
		c = strcmp(i->xattrs[mid].name, name);
		if (c == 0) {
			*ret_there = true;
			return mid;
		}
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct inode_xattr *
xattrs_find(const struct inode *i, const char *name)
{
	bool there;
	size_t at = place_of(i, name, &there);

	return there ? &i->xattrs[at] : NULL;
}

int
xattrs_set(struct inode *i, const char *name, const void *value, size_t len)
{
	struct inode_xattr *x;
	uint8_t *copy;
	char *own;
	bool there;
	size_t at = place_of(i, name, &there);

	copy = malloc(MAX(len, 1));
	if (copy == NULL)
		return -ENOMEM;
	if (len > 0)
		memcpy(copy, value, len);
	if (there) {
		free(i->xattrs[at].value);
		i->xattrs[at].value = copy;
		i->xattrs[at].len = len;
		return 0;
	}
	own = strdup(name);
	x = reallocarray(i->xattrs, i->n_xattrs + 1, sizeof(*x));
	if (x != NULL)
		i->xattrs = x;
	if (own == NULL || x == NULL) {
		free(own);
		free(copy);
		return -ENOMEM;
	}
	memmove(x + at + 1, x + at, (i->n_xattrs - at) * sizeof(*x));
	x[at] = (struct inode_xattr){.name = own, .value = copy, .len = len};
	i->n_xattrs++;
	return 0;
}

void
xattrs_drop(struct inode *i, const char *name)
{
	bool there;
	size_t at = place_of(i, name, &there);

	if (!there)
		return;
	free(i->xattrs[at].name);
	free(i->xattrs[at].value);
	i->n_xattrs--;
	memmove(i->xattrs + at, i->xattrs + at + 1,
	    (i->n_xattrs - at) * sizeof(*i->xattrs));
}

void
xattrs_clear(struct inode *i)
{
	size_t n;

	for (n = 0; n < i->n_xattrs; n++) {
		free(i->xattrs[n].name);
		free(i->xattrs[n].value);
	}
	free(i->xattrs);
	i->xattrs = NULL;
	i->n_xattrs = 0;
}

size_t
xattrs_size(const struct inode *i)
{
	size_t n, bytes = 0;

	for (n = 0; n < i->n_xattrs; n++)
		bytes += strlen(i->xattrs[n].name) + 1 + 4 + i->xattrs[n].len;
	return bytes;
}

int
xattrs_copy(const struct inode *from, struct inode *to)
{
	size_t n;
	int r = 0;

	to->xattrs = NULL;
	to->n_xattrs = 0;
	for (n = 0; r == 0 && n < from->n_xattrs; n++)
		r = xattrs_set(to, from->xattrs[n].name,
		    from->xattrs[n].value, from->xattrs[n].len);
	if (r < 0)
		xattrs_clear(to);
	return r;
}
