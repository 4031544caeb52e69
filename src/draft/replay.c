/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/chunk_keys.h"
#include "draft/content.h"
#include "draft/draft_priv.h"
#include "draft/drafts.h"
#include "draft/xattrs.h"

/*
 * Nobody else knows the draft while its journal is read, so there is no lock.
 * Nothing in a journal is trusted: whatever would leave the tree in a state
 * that changes could not have led to is -EBADMSG.
 */
struct replay_archive {
	char *server;		/* owned */
	uint64_t first, span;
	struct digest csum;
};

struct replay {
	bool has_head, has_base, built;
	int64_t time;
	struct replay_archive *archives;	/* owned */
	size_t n_archives;
};

int
draft_replay_begin(struct draft *d)
{
	d->replay = calloc(1, sizeof(*d->replay));
	return d->replay != NULL ? 0 : -ENOMEM;
}

/*
 * Whose journal, and on which base.
 */

int
draft_parse_group(const char *text, struct group_name *ret)
{
	const char *colon = strrchr(text, ':'), *slash;

	memset(ret, 0, sizeof(*ret));
	if (colon == NULL || (size_t)(colon - text) > NS_LEN_MAX)
		return -EBADMSG;
	memcpy(ret->ns, text, (size_t)(colon - text));
	slash = strchr(colon + 1, '/');
	if (slash == NULL || !ns_is_valid(ret->ns) ||
	    backup_type_parse(colon + 1, (size_t)(slash - colon - 1),
	    &ret->type) < 0 || !name_is_safe(slash + 1, strlen(slash + 1)))
		return -EBADMSG;
	memcpy(ret->id, slash + 1, strlen(slash + 1) + 1);
	return 0;
}

static int
replay_head(struct draft *d, const struct record *rec)
{
	if (d->replay->has_head || rec->slot != d->slot)
		return -EBADMSG;
	if (!record_is_known(rec->version))
		return -EPROTONOSUPPORT;
	d->replay->has_head = true;
	return draft_parse_group(rec->name, &d->group);
}

static int
replay_base(struct draft *d, const struct record *rec)
{
	struct replay *rp = d->replay;

	if (!rp->has_head || rp->has_base)
		return -EBADMSG;
	rp->has_base = true;
	rp->time = rec->time;
	return 0;
}

static int
replay_archive(struct draft *d, const struct record *rec)
{
	struct replay *rp = d->replay;
	struct replay_archive *a;
	uint64_t end;

	if (!rp->has_base || rp->built || rp->time == 0 ||
	    rec->archive != rp->n_archives)
		return -EBADMSG;
	/* One after the other, so that no two own a number. */
	if (rec->span == 0 || rec->first < d->next_base ||
	    __builtin_add_overflow(rec->first, rec->span, &end) ||
	    end > DRAFT_INO_MASK)
		return -EBADMSG;
	a = reallocarray(rp->archives, rp->n_archives + 1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	rp->archives = a;
	a += rp->n_archives;
	a->server = strdup(rec->name);
	if (a->server == NULL)
		return -ENOMEM;
	a->first = rec->first;
	a->span = rec->span;
	a->csum = rec->digest;
	rp->n_archives++;
	d->next_base = end;
	return 0;
}

static bool
is_same(struct base *b, const struct replay *rp)
{
	size_t i;

	if (base_count(b) != rp->n_archives)
		return false;
	for (i = 0; i < rp->n_archives; i++)
		if (!streq(base_archive(b, i)->server, rp->archives[i].server))
			return false;
	return true;
}

static int
open_gone(struct draft *d, struct base **ret)
{
	struct replay *rp = d->replay;
	char **servers = calloc(MAX(rp->n_archives, 1), sizeof(*servers));
	size_t i;
	int r;

	if (servers == NULL)
		return -ENOMEM;
	for (i = 0; i < rp->n_archives; i++)
		servers[i] = rp->archives[i].server;
	log_warn("%s/%s: the snapshot that its open one is based on is not in "
	    "the store any more\nhint: what was not changed since cannot be "
	    "read", backup_type_name(d->group.type), d->group.id);
	r = base_open_gone(d->all->repo, &d->group, rp->time, servers,
	    rp->n_archives, ret);
	free(servers);
	if (r == 0 && !is_same(*ret, rp)) {
		base_unref(*ret);
		r = -EBADMSG;
	}
	return r;
}

static int
build_base(struct draft *d)
{
	struct replay *rp = d->replay;
	struct base_archive *a;
	struct base *b;
	size_t i;
	int r;

	rp->built = true;
	if (!rp->has_base || rp->time == 0)
		return rp->has_base ? 0 : -EBADMSG;
	r = draft_base_at(d->all, &d->group, rp->time, &b);
	if (r == 0 && !is_same(b, rp)) {
		base_unref(b);
		r = -ENOENT;
	}
	if (r == -ENOENT)
		r = open_gone(d, &b);
	if (r < 0)
		return r;
	for (i = 0; i < rp->n_archives; i++) {
		a = base_archive(b, i);
		a->first = DRAFT_INO | rp->archives[i].first |
		    (uint64_t)d->slot << DRAFT_SLOT_SHIFT;
		a->span = rp->archives[i].span;
		base_expect(a, &rp->archives[i].csum);
	}
	base_unref(d->base);
	d->base = b;
	return 0;
}

/*
 * Inodes.
 */

/* By number, borrowed. */
static struct inode *
find(struct draft *d, uint64_t ino)
{
	struct inode *i = inode_find(d, ino);

	if (i != NULL)
		i->refs--;
	return i;
}

static int
note_number(struct draft *d, uint64_t ino)
{
	uint64_t n = ino & DRAFT_INO_MASK;
	uint64_t *next = (ino & DRAFT_INO_NEW) != 0 ? &d->next_new :
	    &d->next_base;

	if ((ino & ~(DRAFT_INO_MASK | DRAFT_INO_NEW)) !=
	    (d->root->ino & ~DRAFT_INO_NEW) || n >= DRAFT_INO_MASK / 2)
		return -EBADMSG;
	*next = MAX(*next, n + 1);
	return 0;
}

static bool
type_is_known(uint32_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) ||
	    S_ISBLK(mode) || S_ISCHR(mode) || S_ISFIFO(mode) ||
	    S_ISSOCK(mode);
}

static int
place(struct draft *d, struct inode *i, const struct record *rec)
{
	struct base_archive *a;
	struct inode *other;

	if (rec->archive >= base_count(d->base))
		return -EBADMSG;
	a = base_archive(d->base, rec->archive);
	if (!base_is_tree(a) && (rec->pos != 0 || !S_ISREG(rec->mode)))
		return -EBADMSG;
	other = inode_at(d, a, rec->pos);
	if (other != NULL) {
		inode_unref(d, other);
		return -EBADMSG;
	}
	inode_place(d, i, a, rec->pos);
	return 0;
}

static int
make(struct draft *d, const struct record *rec, struct inode **ret)
{
	struct inode *i;
	int r;

	r = note_number(d, rec->ino);
	if (r == 0)
		r = inode_new(d, rec->ino, &i);
	if (r < 0)
		return r;
	if ((rec->flags & REC_INODE_BASE) != 0)
		r = place(d, i, rec);
	else
		i->loaded = i->meta_known = true;
	if (r == 0 && S_ISLNK(rec->mode) && i->archive == NULL) {
		i->target = rec->name_len > 0 ? strdup(rec->name) : NULL;
		i->size = rec->name_len;
		r = i->target != NULL ? 0 : -EBADMSG;
	}
	if (r < 0) {
		inode_unref(d, i);
		return r;
	}
	i->mode = rec->mode;
	i->nlink = 1;
	inode_keep(d, i);
	i->refs--;
	*ret = i;
	return 0;
}

static bool
is_that(const struct inode *i, const struct record *rec)
{
	if ((i->mode & S_IFMT) != (rec->mode & S_IFMT))
		return false;
	if ((rec->flags & REC_INODE_BASE) == 0)
		return i->archive == NULL;
	return i->archive != NULL && i->archive->ordinal == rec->archive &&
	    i->pos == rec->pos;
}

static int
replay_inode(struct draft *d, const struct record *rec)
{
	struct inode *i = find(d, rec->ino);
	int r;

	if (!type_is_known(rec->mode) || rec->nlink == 0 ||
	    (S_ISDIR(rec->mode) && rec->nlink != 1) ||
	    (i != NULL && !is_that(i, rec)))
		return -EBADMSG;
	if (i == NULL) {
		r = make(d, rec, &i);
		if (r < 0)
			return r;
	}
	inode_keep(d, i);
	i->own_attr = (rec->flags & REC_INODE_ATTR) != 0 || i->archive == NULL;
	i->mode = rec->mode;
	i->uid = rec->uid;
	i->gid = rec->gid;
	i->rdev = rec->rdev;
	i->pxar_flags = rec->pxar_flags;
	i->mtime.tv_sec = rec->mtime_sec;
	i->mtime.tv_nsec = rec->mtime_nsec;
	i->ctime.tv_sec = rec->ctime_sec;
	i->ctime.tv_nsec = rec->ctime_nsec;
	i->nlink = rec->nlink;
	i->nlink_known = (rec->flags & REC_INODE_NLINK) != 0 ||
	    i->archive == NULL;
	return 0;
}

/* record_next has checked how it is made up. */
static int
replay_meta(struct draft *d, const struct record *rec)
{
	struct inode *i = find(d, rec->ino);
	const char *p = rec->data;
	size_t left = rec->data_len, n, len;
	int r = 0;

	if (i == NULL)
		return -EBADMSG;
	xattrs_clear(i);
	while (r == 0 && left > 0) {
		n = strlen(p) + 1;
		len = get_le32(p + n);
		r = xattrs_set(i, p, p + n + 4, len);
		p += n + 4 + len;
		left -= n + 4 + len;
	}
	i->own_meta = i->meta_known = true;
	return r;
}

/*
 * Names.
 */

/* Whether dir is i or below it.  There are no cycles yet. */
static bool
is_below(const struct inode *dir, const struct inode *i)
{
	while (dir != NULL && dir != i)
		dir = dir->parent;
	return dir != NULL;
}

static int
set_name(struct draft *d, struct inode *dir, const struct record *rec,
    struct inode *child)
{
	struct dentry *e = dentry_find(dir, rec->name, rec->name_len);

	if (e != NULL && e->child != NULL && e->child != child &&
	    S_ISDIR(e->child->mode))
		inode_set_parent(d, e->child, NULL);
	e = dentry_new(rec->name, rec->name_len);
	if (e == NULL)
		return -ENOMEM;
	dentry_set(d, dir, &e, child, (rec->flags & REC_NAME_HIDES) != 0);
	return 0;
}

static int
replay_name(struct draft *d, const struct record *rec)
{
	struct inode *dir = find(d, rec->parent), *i = find(d, rec->ino);
	const struct dentry *e;

	if (dir == NULL || !S_ISDIR(dir->mode) || i == NULL || i == d->root)
		return -EBADMSG;
	e = dentry_find(dir, rec->name, rec->name_len);
	if (S_ISDIR(i->mode) && (e == NULL || e->child != i) &&
	    (i->parent != NULL || is_below(dir, i)))
		return -EBADMSG;
	inode_set_parent(d, i, dir);
	return set_name(d, dir, rec, i);
}

static int
replay_no_name(struct draft *d, const struct record *rec)
{
	struct inode *dir = find(d, rec->parent);

	if (dir == NULL || !S_ISDIR(dir->mode))
		return -EBADMSG;
	return set_name(d, dir, rec, NULL);
}

/* Its last name has gone in the same transaction. */
static int
replay_drop(struct draft *d, const struct record *rec)
{
	struct inode *i = find(d, rec->ino);

	if (i == NULL || i == d->root || i->n_children > 0)
		return -EBADMSG;
	if (S_ISDIR(i->mode) ? i->parent != NULL : i->refs > 1)
		return -EBADMSG;
	inode_nameless(d, i);
	return 0;
}

/*
 * Content.
 */

static int
replay_own(struct draft *d, const struct record *rec)
{
	struct inode *i = find(d, rec->ino);
	int r;

	if (i == NULL || !S_ISREG(i->mode) ||
	    (i->archive == NULL && rec->len > 0))
		return -EBADMSG;
	if (i->content != NULL)
		return 0;
	r = content_new(&i->content);
	return r == 0 ? content_set_base(i->content, rec->len) : r;
}

static int
settle(struct draft *d, struct inode *i, const struct record *rec)
{
	struct piece p = rec->chunk;
	int r = 0;

	if (rec->sealed)
		r = chunk_keys_add(d->all->keys, &rec->key, &p.key);
	return r < 0 ? r : content_settle(i->content, &p, UINT64_MAX);
}

static int
change(struct draft *d, struct inode *i, const struct record *rec)
{
	struct content *c = i->content;

	switch (rec->kind) {
	case REC_STAGED:
		return content_write(c, rec->off, rec->len, ++d->seq);
	case REC_LOST:
		return content_lose(c, rec->off, rec->len, ++d->seq);
	case REC_PUNCH:
		return content_punch(c, rec->off, rec->len, ++d->seq);
	case REC_SIZE:
		return content_truncate(c, rec->len, ++d->seq);
	default:
		return settle(d, i, rec);
	}
}

static int
replay_content(struct draft *d, const struct record *rec)
{
	struct inode *i = find(d, rec->ino);
	int r;

	if (i == NULL || i->content == NULL)
		return -EBADMSG;
	if ((rec->kind == REC_STAGED || rec->kind == REC_LOST ||
	    rec->kind == REC_PUNCH) && rec->len == 0)
		return -EBADMSG;
	r = change(d, i, rec);
	if (r < 0)
		return r == -ENOMEM ? r : -EBADMSG;
	if (rec->kind != REC_CHUNK) {
		i->mtime.tv_sec = i->ctime.tv_sec = rec->mtime_sec;
		i->mtime.tv_nsec = i->ctime.tv_nsec = rec->mtime_nsec;
	}
	return 0;
}

static int
replay_record(struct draft *d, const struct record *rec)
{
	switch (rec->kind) {
	case REC_HEAD:
		return replay_head(d, rec);
	case REC_BASE:
		return replay_base(d, rec);
	case REC_ARCHIVE:
		return replay_archive(d, rec);
	case REC_PUBLISHING:
		d->unsettled = true;
		d->unsettled_time = rec->time;
		d->unsettled_manifest = rec->digest;
		return 0;
	case REC_NOT_PUBLISHED:
		d->unsettled = false;
		return 0;
	case REC_INODE:
		return replay_inode(d, rec);
	case REC_META:
		return replay_meta(d, rec);
	case REC_NAME:
		return replay_name(d, rec);
	case REC_NO_NAME:
		return replay_no_name(d, rec);
	case REC_DROP:
		return replay_drop(d, rec);
	case REC_OWN:
		return replay_own(d, rec);
	case REC_STAGED:
	case REC_LOST:
	case REC_PUNCH:
	case REC_SIZE:
	case REC_CHUNK:
		return replay_content(d, rec);
	}
	return -EBADMSG;
}

static bool
is_head(enum record_kind kind)
{
	return kind == REC_HEAD || kind == REC_BASE || kind == REC_ARCHIVE;
}

int
draft_replay(void *arg, const void *p, size_t len)
{
	struct draft *d = arg;
	const uint8_t *b = p;
	struct record rec;
	int r, n;

	while (len > 0) {
		n = record_next(b, len, &rec);
		if (n < 0)
			return n;
		if (!is_head(rec.kind)) {
			r = d->replay->built ? 0 : build_base(d);
			if (r < 0)
				return r;
			if (rec.kind != REC_PUBLISHING &&
			    rec.kind != REC_NOT_PUBLISHED)
				d->changed = true;
		}
		r = replay_record(d, &rec);
		if (r < 0) {
			log_err("journal of an open snapshot: a record of kind "
			    "%d of inode %llu: %s", (int)rec.kind,
			    (unsigned long long)rec.ino, strerror(-r));
			return r;
		}
		b += n;
		len -= (size_t)n;
	}
	return 0;
}

int
draft_replay_end(struct draft *d, int err)
{
	struct replay *rp = d->replay;
	const int64_t now = clock_real_s();
	struct inode *i;
	size_t n;

	d->replay = NULL;
	/* Staging files of what is not there any more are swept away. */
	draft_forget_graves(d);
	for (n = 0; n < rp->n_archives; n++)
		free(rp->archives[n].server);
	free(rp->archives);
	free(rp);
	/* Each change left its time somewhere. */
	d->changed_at = now;
	RB_FOREACH(i, inodes_by_ino, &d->inos)
		if (i->logged && i->ctime.tv_sec < d->changed_at &&
		    i->ctime.tv_sec > 0)
			d->changed_at = i->ctime.tv_sec;
	d->touched_ms = clock_mono_ms();
	return err;
}
