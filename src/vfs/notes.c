/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/notes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/num.h"
#include "repo/edit.h"
#include "repo/repo.h"
#include "vfs/current.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

struct notes {
	LIST_ENTRY(notes) link;
	struct vfs *v;		/* borrowed */
	uint64_t ino;
	struct group_name group;
	unsigned refs;		/* guarded by v->lock */
	pthread_mutex_t lock;	/* guards what follows */
	char *text;		/* owned; NULL while empty */
	size_t len;
	uint64_t version;	/* grows with each change */
	uint64_t stored;	/* the highest that is, or was, in the store */
};

static int
load(struct notes *t, const struct node *n, unsigned flags)
{
	struct buf *b;
	int r;

	if (n->file == NULL)
		return 0;
	r = repo_text(t->v->repo, n->file, flags & VFS_NOWAIT, &b);
	if (r < 0)
		return r;
	if (b->len > NOTES_LEN_MAX) {
		r = -EFBIG;
	} else if (b->len > 0) {
		t->text = malloc(b->len);
		r = t->text != NULL ? 0 : -ENOMEM;
		if (r == 0)
			memcpy(t->text, b->data, b->len);
		t->len = b->len;
	}
	buf_unref(b);
	return r;
}

/* A reference of those that are open already, or NULL. */
static struct notes *
find(struct vfs *v, uint64_t ino)
{
	struct notes *t;

	LIST_FOREACH(t, &v->notes, link)
		if (t->ino == ino) {
			t->refs++;
			return t;
		}
	return NULL;
}

static void
notes_free(struct notes *t)
{
	pthread_mutex_destroy(&t->lock);
	free(t->text);
	free(t);
}

static int
make(struct vfs *v, const struct node *n, bool truncate, unsigned flags,
    struct notes **ret)
{
	struct notes *t = calloc(1, sizeof(*t)), *other;
	int r;

	if (t == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&t->lock, NULL);
	if (r < 0) {
		free(t);
		return r;
	}
	t->v = v;
	t->ino = n->ino;
	t->refs = 1;
	r = current_group(n, &t->group);
	if (r == 0 && !truncate)
		r = load(t, n, flags);
	if (r < 0) {
		notes_free(t);
		return r;
	}
	{
		LOCK(&v->lock);
		other = find(v, n->ino);
		if (other == NULL)
			LIST_INSERT_HEAD(&v->notes, t, link);
	}
	if (other != NULL)
		notes_free(t);
	*ret = other != NULL ? other : t;
	return 0;
}

int
notes_open(struct vfs *v, const struct node *n, bool truncate, unsigned flags,
    struct notes **ret)
{
	int r = 0;

	{
		LOCK(&v->lock);
		*ret = find(v, n->ino);
	}
	if (*ret == NULL)
		r = make(v, n, truncate, flags, ret);
	if (r == 0 && truncate) {
		LOCK(&(*ret)->lock);
		(*ret)->len = 0;
		(*ret)->version++;
	}
	return r;
}

void
notes_close(struct notes *t)
{
	if (t == NULL)
		return;
	{
		LOCK(&t->v->lock);
		if (--t->refs > 0)
			return;
		LIST_REMOVE(t, link);
	}
	notes_free(t);
}

int
notes_read(struct notes *t, uint64_t off, size_t len, struct buf **ret)
{
	LOCK(&t->lock);

	if (off >= t->len)
		*ret = buf_new(0);
	else
		*ret = buf_copy(t->text + off, MIN(len, t->len - off));
	return *ret != NULL ? 0 : -ENOMEM;
}

/* With the lock held; what comes in between is zeros. */
static int
resize(struct notes *t, uint64_t size)
{
	char *p;

	if (size > NOTES_LEN_MAX)
		return -EFBIG;
	if (size > t->len) {
		p = realloc(t->text, size);
		if (p == NULL)
			return -ENOMEM;
		memset(p + t->len, 0, size - t->len);
		t->text = p;
	}
	t->len = size;
	return 0;
}

int
notes_write(struct notes *t, const void *p, size_t len, uint64_t off)
{
	uint64_t end;
	int r = 0;

	if (len == 0)
		return 0;
	if (__builtin_add_overflow(off, (uint64_t)len, &end))
		return -EFBIG;
	LOCK(&t->lock);
	if (end > t->len)
		r = resize(t, end);
	if (r == 0) {
		memcpy(t->text + off, p, len);
		t->version++;
	}
	return r;
}

int
notes_truncate(struct notes *t, uint64_t size)
{
	int r;

	LOCK(&t->lock);
	r = resize(t, size);
	if (r == 0)
		t->version++;
	return r;
}

int
notes_store(struct vfs *v, const struct node *n, const char *text, size_t len)
{
	struct group_name g;
	int r;

	r = current_group(n, &g);
	if (r == 0)
		r = repo_set_notes(v->repo, &g, text, len);
	return r == 0 ? vfs_show(v, false) : r;
}

/* What is to be stored; *ret_version 0 if that is nothing. */
static int
copy_changed(struct notes *t, char **ret, size_t *ret_len,
    uint64_t *ret_version)
{
	LOCK(&t->lock);

	*ret_version = 0;
	if (t->version == t->stored)
		return 0;
	*ret = malloc(t->len + 1);
	if (*ret == NULL)
		return -ENOMEM;
	if (t->len > 0)
		memcpy(*ret, t->text, t->len);
	*ret_len = t->len;
	*ret_version = t->version;
	return 0;
}

int
notes_flush(struct notes *t, unsigned flags)
{
	uint64_t version;
	bool overtaken;
	size_t len;
	int r;

	do {
		_cleanup_free_ char *text = NULL;

		r = copy_changed(t, &text, &len, &version);
		if (r < 0 || version == 0)
			return r;
		if ((flags & VFS_NOWAIT) != 0)
			return -EAGAIN;
		r = repo_set_notes(t->v->repo, &t->group, text, len);
		if (r < 0)
			return r;
		LOCK(&t->lock);
		/* Somebody stored a newer text, which this one has replaced. */
		overtaken = t->stored > version;
		t->stored = overtaken ? 0 : version;
	} while (overtaken);
	return vfs_show(t->v, false);
}

int
notes_size(struct vfs *v, uint64_t ino, uint64_t *ret)
{
	struct notes *t;

	{
		LOCK(&v->lock);
		t = find(v, ino);
	}
	if (t == NULL)
		return 0;
	{
		LOCK(&t->lock);
		*ret = t->len;
	}
	notes_close(t);
	return 1;
}
