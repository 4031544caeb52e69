/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/draft_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/chunk_keys.h"
#include "draft/journal.h"

int
draft_log(struct draft *d, const struct str *txn, uint64_t *ret_seq)
{
	int r;

	*ret_seq = 0;
	r = str_error(txn);
	if (r < 0 || txn->len == 0)
		return r;
	r = journal_add(d->journal, txn->s, txn->len, ret_seq);
	if (r < 0)
		return r;
	d->unsynced = *ret_seq;
	d->touched_ms = clock_mono_ms();
	if (!d->changed) {
		d->changed = true;
		d->changed_at = clock_real_s();
	}
	return 0;
}

static int
log_base(struct base *b, unsigned flags, struct str *txn)
{
	struct record rec = {.kind = REC_BASE, .time = base_time(b)};
	struct base_archive *a;
	size_t i;
	int r;

	r = record_add(txn, &rec);
	for (i = 0; r == 0 && i < base_count(b); i++) {
		a = base_archive(b, i);
		rec = (struct record){
		    .kind = REC_ARCHIVE,
		    .archive = a->ordinal,
		    .first = a->first & DRAFT_INO_MASK,
		    .span = a->span,
		    .name = a->server,
		    .name_len = strlen(a->server),
		};
		r = base_csum(a, flags, &rec.digest);
		if (r == 0)
			r = record_add(txn, &rec);
	}
	return r;
}

int
log_head(struct draft *d, struct base *b, unsigned flags, struct str *txn)
{
	_cleanup_(str_fini) struct str name = {0};
	struct record rec = {
	    .kind = REC_HEAD,
	    .version = chunk_keys_any(d->all->keys) ? RECORD_VERSION :
	        RECORD_VERSION_PLAIN,
	    .slot = d->slot,
	};
	int r;

	str_addf(&name, "%s:%s/%s", d->group.ns,
	    backup_type_name(d->group.type), d->group.id);
	r = str_error(&name);
	if (r < 0)
		return r;
	rec.name = str_get(&name);
	rec.name_len = name.len;
	r = record_add(txn, &rec);
	if (r < 0)
		return r;
	return log_base(b, flags, txn);
}

static void
record_of(const struct inode *i, struct record *ret)
{
	*ret = (struct record){
	    .kind = REC_INODE,
	    .ino = i->ino,
	    .flags = REC_INODE_ATTR,
	    .mode = i->mode,
	    .uid = i->uid,
	    .gid = i->gid,
	    .nlink = i->nlink,
	    .rdev = i->rdev,
	    .pxar_flags = i->pxar_flags,
	    .mtime_sec = i->mtime.tv_sec,
	    .mtime_nsec = (uint32_t)i->mtime.tv_nsec,
	    .ctime_sec = i->ctime.tv_sec,
	    .ctime_nsec = (uint32_t)i->ctime.tv_nsec,
	};
	if (i->archive != NULL) {
		ret->flags |= REC_INODE_BASE;
		ret->archive = i->archive->ordinal;
		ret->pos = i->pos;
	} else if (i->target != NULL) {
		ret->name = i->target;
		ret->name_len = strlen(i->target);
	}
	if (i->nlink_known)
		ret->flags |= REC_INODE_NLINK;
}

int
log_attr(struct draft *d, const struct inode *i, struct str *txn)
{
	struct record rec;

	(void)d;
	if (i->nlink == 0)
		return 0;
	record_of(i, &rec);
	return record_add(txn, &rec);
}

static int
log_meta(const struct inode *i, struct str *txn)
{
	_cleanup_(str_fini) struct str data = {0};
	struct record rec = {.kind = REC_META, .ino = i->ino};
	uint8_t len[4];
	size_t n;
	int r;

	for (n = 0; n < i->n_xattrs; n++) {
		str_addn(&data, i->xattrs[n].name,
		    strlen(i->xattrs[n].name) + 1);
		put_le32(len, (uint32_t)i->xattrs[n].len);
		str_addn(&data, (const char *)len, sizeof(len));
		str_addn(&data, (const char *)i->xattrs[n].value,
		    i->xattrs[n].len);
	}
	r = str_error(&data);
	if (r < 0)
		return r;
	rec.data = str_get(&data);
	rec.data_len = data.len;
	return record_add(txn, &rec);
}

int
log_inode(struct draft *d, const struct inode *i, struct str *txn)
{
	int r;

	if (i->nlink == 0)
		return 0;
	r = log_attr(d, i, txn);
	return r == 0 && i->own_meta ? log_meta(i, txn) : r;
}

int
log_touch(struct draft *d, const struct inode *dir,
    const struct timespec *now, struct str *txn)
{
	struct record rec;

	(void)d;
	record_of(dir, &rec);
	rec.mtime_sec = rec.ctime_sec = now->tv_sec;
	rec.mtime_nsec = rec.ctime_nsec = (uint32_t)now->tv_nsec;
	return record_add(txn, &rec);
}

int
log_chunk(const struct draft *d, uint64_t ino, const struct piece *p,
    struct str *txn)
{
	struct record rec = {.kind = REC_CHUNK, .ino = ino, .chunk = *p};

	if (p->key != CHUNK_KEYS_PLAIN) {
		rec.sealed = true;
		rec.key = *chunk_keys_fingerprint(d->all->keys, p->key);
	}
	return record_add(txn, &rec);
}

int
log_drop(const struct inode *i, struct str *txn)
{
	const struct record rec = {.kind = REC_DROP, .ino = i->ino};

	return i->logged ? record_add(txn, &rec) : 0;
}

int
log_name(const struct inode *dir, const char *name, size_t len,
    const struct inode *child, bool hides, struct str *txn)
{
	const struct record rec = {
	    .kind = child != NULL ? REC_NAME : REC_NO_NAME,
	    .parent = dir->ino,
	    .ino = child != NULL ? child->ino : 0,
	    .name = name,
	    .name_len = len,
	    .flags = hides ? REC_NAME_HIDES : 0,
	};

	return record_add(txn, &rec);
}
