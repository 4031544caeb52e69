/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/pxar.h"
#include "vfs/archive.h"
#include "vfs/current.h"
#include "vfs/gen.h"
#include "vfs/links.h"
#include "vfs/node.h"
#include "vfs/notes.h"
#include "vfs/root.h"
#include "vfs/vfs_priv.h"

/* What programs should read and copy in. */
#define BLKSIZE (1 << 20)

static void
finish(struct vfs *v, struct stat *st)
{
	if (v->opts.set_uid)
		st->st_uid = v->opts.uid;
	if (v->opts.set_gid)
		st->st_gid = v->opts.gid;
	/* Links have no permissions to take away. */
	if (!S_ISLNK(st->st_mode))
		st->st_mode &= ~(v->opts.umask & 07777);
	st->st_ino = vfs_number(v, st->st_ino);
	st->st_blksize = S_ISREG(st->st_mode) ? BLKSIZE : 4096;
	st->st_blocks = st->st_size / 512 + (st->st_size % 512 != 0);
	st->st_atim = st->st_mtim;
	st->st_ctim = st->st_mtim;
}

/* A listing or a manifest may claim more than a file can have. */
static off_t
size_of(uint64_t claimed)
{
	return (off_t)MIN(claimed, (uint64_t)INT64_MAX);
}

mode_t
attr_type(const struct node *n)
{
	if (node_is_dir(n))
		return S_IFDIR;
	return n->kind == NODE_LATEST ? S_IFLNK : S_IFREG;
}

static int
fill_root(struct vfs *v, struct nodes *t, struct node *n, unsigned flags,
    struct vfs_attr *ret)
{
	const struct node_root_attr *root = atomic_load(&n->archive->root);

	if (root == NULL && (flags & VFS_PROVISIONAL) == 0) {
		if ((flags & VFS_NOWAIT) != 0)
			return -EAGAIN;
		root_learn(v->roots, t, n);
		root = atomic_load(&n->archive->root);
	}
	if (root == NULL) {
		ret->st.st_mode = S_IFDIR | 0755;
		ret->st.st_uid = 0;
		ret->st.st_gid = 0;
		ret->stable = false;
		return 0;
	}
	ret->st.st_mode = root->mode;
	ret->st.st_uid = root->uid;
	ret->st.st_gid = root->gid;
	ret->st.st_mtim.tv_sec = root->mtime_sec;
	ret->st.st_mtim.tv_nsec = root->mtime_nsec;
	return 0;
}

static int
fill_generated(struct vfs *v, const struct node *n, struct vfs_attr *ret)
{
	struct buf *b;
	int r;

	r = gen_make(v, n, &b);
	if (r < 0)
		return r;
	ret->st.st_size = (off_t)b->len;
	buf_unref(b);
	clock_gettime(CLOCK_REALTIME, &ret->st.st_mtim);
	ret->stable = false;
	return 0;
}

static mode_t
mode_of_dir(const struct nodes *t, const struct node *n)
{
	if (!t->writable)
		return S_IFDIR | 0555;
	switch (n->kind) {
	case NODE_NS_DIR:
	case NODE_TYPE:
	case NODE_GROUP:
	case NODE_SNAP:		/* its xattrs */
		return S_IFDIR | 0755;
	default:
		return S_IFDIR | 0555;
	}
}

static void
fill_notes(struct vfs *v, const struct node *n, struct vfs_attr *ret)
{
	uint64_t size;

	ret->st.st_mode = S_IFREG | 0644;
	ret->stable = false;
	if (notes_size(v, n->ino, &size) == 1)
		ret->st.st_size = (off_t)size;
}

/* What may change while the kernel waits for the answer to something else. */
static bool
is_lasting(const struct nodes *t, const struct node *n)
{
	return !t->writable || (n->kind != NODE_LATEST &&
	    n->kind != NODE_NOTES && (n->kind != NODE_FILE ||
	    n->archive_kind != ARCHIVE_MANIFEST));
}

static int
getattr_current(struct vfs *v, const struct node *n, unsigned flags,
    struct vfs_attr *ret)
{
	struct current c;
	int r;

	r = current_of(v, n, &c);
	return r < 0 ? r : current_getattr(v, &c, flags, ret);
}

int
attr_node(struct vfs *v, struct nodes *t, struct node *n, unsigned flags,
    struct vfs_attr *ret)
{
	uint64_t size;
	int r;

	if (n->kind == NODE_CURRENT)
		return getattr_current(v, n, flags, ret);
	memset(ret, 0, sizeof(*ret));
	ret->stable = true;
	ret->lasting = is_lasting(t, n);
	ret->st.st_ino = n->ino;
	ret->st.st_nlink = 1;
	ret->st.st_uid = v->uid;
	ret->st.st_gid = v->gid;
	ret->st.st_mtim.tv_sec = n->mtime;
	if (n->kind == NODE_FILE) {
		r = snap_learn(v, n, flags & VFS_NOWAIT);
		if (r < 0)
			return r;
	}
	switch (attr_type(n)) {
	case S_IFDIR:
		ret->st.st_mode = mode_of_dir(t, n);
		r = node_is_archive(n) ? fill_root(v, t, n, flags, ret) : 0;
		if (r < 0)
			return r;
		break;
	case S_IFLNK:
		ret->st.st_mode = S_IFLNK | 0777;
		ret->st.st_size = (off_t)atomic_load(&n->size);
		break;
	default:
		ret->st.st_mode = S_IFREG | 0444;
		size = atomic_load(&n->size);
		ret->st.st_size = size != NODE_SIZE_UNKNOWN ? size_of(size) : 0;
		break;
	}
	if (n->kind == NODE_NOTES && t->writable)
		fill_notes(v, n, ret);
	if (n->kind == NODE_CTL_FILE) {
		r = fill_generated(v, n, ret);
		if (r < 0)
			return r;
	}
	finish(v, &ret->st);
	/* A block less than it takes makes cp and tar ask for the holes, which
	 * are known no earlier than when the image is opened. */
	if (n->kind == NODE_FILE && n->archive_kind == ARCHIVE_FIXED &&
	    ret->st.st_blocks > 1)
		ret->st.st_blocks--;
	return 0;
}

int
attr_entry(struct vfs *v, struct archive *a, const struct node *n,
    const struct pxar_entry *e, unsigned flags, struct vfs_attr *ret)
{
	struct stat *st = &ret->st;
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->stable = true;
	ret->lasting = true;
	if (!archive_has(a, e->pos))
		return archive_error(a, -EBADMSG);
	st->st_ino = archive_base(a) + e->pos;
	st->st_mode = e->mode;
	st->st_uid = e->uid;
	st->st_gid = e->gid;
	st->st_mtim.tv_sec = e->mtime_sec;
	st->st_mtim.tv_nsec = e->mtime_nsec;
	/* For a directory 1 means "not counted", as it does on btrfs. */
	st->st_nlink = 1;
	if (S_ISREG(st->st_mode)) {
		r = links_prepare(v, a, n, flags);
		if (r < 0)
			return r;
		st->st_nlink = links_count(archive_links(a), e->pos,
		    &ret->stable);
	}
	if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode))
		st->st_size = size_of(e->size);
	if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode))
		st->st_rdev = makedev((unsigned)e->dev_major,
		    (unsigned)e->dev_minor);
	finish(v, st);
	return 0;
}

static int
getattr_entry(struct vfs *v, const struct place *p, unsigned flags,
    struct vfs_attr *ret)
{
	struct pxar_entry e;
	struct archive *a;
	int r;

	r = archive_get(v, p->node, flags, &a);
	if (r < 0)
		return r;
	r = pxar_stat(archive_pxar(a, flags), p->pos, 0, &e);
	if (r == 0) {
		r = attr_entry(v, a, p->node, &e, flags, ret);
		pxar_entry_fini(&e);
	} else if (r == -EBADMSG || r == -ENOENT) {
		/* Numbers may come from outside and name nothing. */
		r = -ESTALE;
	}
	archive_unref(a);
	return r;
}

int
vfs_getattr(struct vfs *v, uint64_t ino, unsigned flags, struct vfs_attr *ret)
{
	struct current c;
	struct place p;
	int r;

	r = current_find(v, ino, &c);
	if (r != 0)
		return r < 0 ? r : current_getattr(v, &c, flags, ret);
	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	r = p.pos != 0 ? getattr_entry(v, &p, flags & VFS_NOWAIT, ret) :
	    attr_node(v, p.nodes, p.node, flags, ret);
	place_fini(&p);
	return r;
}
