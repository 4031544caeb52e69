/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "draft/draft.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "pbs/pxar.h"
#include "repo/chunks.h"
#include "repo/reader.h"
#include "repo/repo.h"
#include "vfs/archive.h"
#include "vfs/current.h"
#include "vfs/gen.h"
#include "vfs/node.h"
#include "vfs/notes.h"
#include "vfs/outage.h"
#include "vfs/report.h"
#include "vfs/vfs_priv.h"

#define PAYLOAD_HEADER_LEN 16
#define OUTAGE_CHUNKS 16

_Static_assert(READER_IOV_MAX <= VFS_IOV_MAX, "pieces are passed on");

/*
 * Open files: a range of a stream, bytes that are all here, or somebody else's.
 */
struct vfs_file {
	unsigned refs;			/* atomic */
	struct vfs *v;			/* borrowed */
	uint64_t ino;
	struct reader *reader;		/* shared; NULL: content */
	uint64_t begin;			/* in the stream */
	uint64_t size;
	struct buf *content;		/* shared; NULL: reader */
	bool generated;
	struct draft_file *draft;	/* owned; NULL: finished */
	struct notes *notes;		/* owned reference, or NULL */
	pthread_mutex_t lock;		/* guards ahead */
	struct readahead ahead;
};

static int
open_stream(struct vfs_file *f, const struct node *n, unsigned flags)
{
	int r;

	r = repo_reader(f->v->repo, n->file, flags, &f->reader);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	f->size = reader_size(f->reader);
	return 0;
}

static int
open_manifest(struct vfs_file *f, const struct node *n, unsigned flags)
{
	struct manifest *m;
	int r;

	r = repo_manifest(f->v->repo, n->parent->snap, flags, &m);
	if (r < 0)
		return r;
	f->content = buf_ref(m->json);
	manifest_unref(m);
	return 0;
}

static int
open_node(struct vfs_file *f, struct node *n, unsigned flags)
{
	int r;

	switch (n->kind) {
	case NODE_OWNER:
	case NODE_NOTES:
		r = repo_text(f->v->repo, n->file, flags, &f->content);
		break;
	case NODE_CTL_FILE:
		f->generated = true;
		r = gen_make(f->v, n, &f->content);
		break;
	case NODE_FILE:
		r = snap_learn(f->v, n, flags);
		if (r < 0)
			return r;
		if (atomic_load(&n->secret))
			return snap_no_key(f->v, n);
		if (node_is_archive(n))
			return -EISDIR;
		if (n->archive_kind == ARCHIVE_MANIFEST)
			r = open_manifest(f, n, flags);
		else if (n->archive_kind == ARCHIVE_BLOB)
			r = repo_blob(f->v->repo, n->file, flags, &f->content);
		else
			r = open_stream(f, n, flags);
		if (r == -ENOKEY)
			return snap_no_key(f->v, n);
		break;
	case NODE_LATEST:
		return -ELOOP;
	default:
		return -EISDIR;
	}
	if (f->content != NULL)
		f->size = f->content->len;
	return r == -ENOENT ? -EIO : r;
}

/* Reads the header that stands before a file in a payload stream. */
struct payload {
	struct vfs_file *f;
	unsigned flags;
};

static int
payload_pread(void *arg, void *p, size_t len, uint64_t off)
{
	struct payload *s = arg;
	struct reader *rd = s->f->reader;
	uint64_t size = reader_size(rd);
	int r;

	if (off > size || len > size - off)
		return -EBADMSG;
	r = reader_pread(rd, p, len, off, s->flags);
	return r == -EBADMSG || r == -ENOENT ? -VFS_EDAMAGED : r;
}

static int
open_content(struct vfs_file *f, struct archive *a, const struct node *n,
    const struct pxar_entry *e, unsigned flags)
{
	struct payload p = {.f = f, .flags = flags};
	struct pxar_source src = {.pread = payload_pread, .arg = &p};
	int r;

	f->size = e->size;
	if (f->size == 0) {
		f->content = buf_new(0);
		return f->content != NULL ? 0 : -ENOMEM;
	}
	if (e->is_ref) {
		r = archive_payload(f->v, a, n, flags, &f->reader);
		if (r < 0)
			return r;
		src.size = reader_size(f->reader);
		r = pxar_check_payload(&src, e, &f->begin);
		/* Only the header's chunk is bad: the content after it may be
		 * in a good one, and if not, reading tells. */
		if (r == -VFS_EDAMAGED)
			f->begin = e->content + PAYLOAD_HEADER_LEN;
		else if (r < 0)
			return archive_error(a, r);
	} else {
		f->reader = reader_ref(archive_reader(a));
		f->begin = e->content;
	}
	if (f->begin > reader_size(f->reader) ||
	    f->size > reader_size(f->reader) - f->begin)
		return archive_error(a, -EBADMSG);
	return 0;
}

static int
open_entry(struct vfs_file *f, const struct place *p, unsigned flags)
{
	struct pxar_entry e;
	struct archive *a;
	int r;

	r = archive_get(f->v, p->node, flags, &a);
	if (r < 0)
		return r;
	r = pxar_stat(archive_pxar(a, flags), p->pos, 0, &e);
	if (r < 0) {
		r = r == -EBADMSG || r == -ENOENT ? -ESTALE : r;
		goto out;
	}
	if (S_ISREG(e.mode))
		r = open_content(f, a, p->node, &e, flags);
	else
		r = S_ISDIR(e.mode) ? -EISDIR : S_ISLNK(e.mode) ? -ELOOP :
		    -ENXIO;
	pxar_entry_fini(&e);
out:
	archive_unref(a);
	return r;
}

static int
open_place(struct vfs_file *f, const struct place *p, int oflags,
    unsigned flags)
{
	bool writes = (oflags & O_ACCMODE) != O_RDONLY ||
	    (oflags & O_TRUNC) != 0;

	if (p->pos == 0 && p->node->kind == NODE_NOTES && f->v->drafts != NULL)
		return notes_open(f->v, p->node, (oflags & O_TRUNC) != 0,
		    flags, &f->notes);
	if (writes)
		return f->v->drafts != NULL ? edit_refused(p) : -EROFS;
	return p->pos != 0 ? open_entry(f, p, flags) :
	    open_node(f, p->node, flags);
}

int
vfs_open(struct vfs *v, uint64_t ino, int oflags, unsigned flags,
    struct vfs_file **ret)
{
	struct vfs_file *f = calloc(1, sizeof(*f));
	struct current c;
	struct place p;
	int r;

	if (f == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&f->lock, NULL);
	if (r < 0) {
		free(f);
		return r;
	}
	f->refs = 1;
	f->v = v;
	f->ino = ino;
	r = current_find(v, ino, &c);
	if (r == 1) {
		r = draft_open(c.draft, c.ino, oflags, flags & VFS_NOWAIT,
		    &f->draft);
	} else if (r == 0) {
		r = place_find(v, ino, &p);
		if (r == 0) {
			r = open_place(f, &p, oflags, flags);
			place_fini(&p);
		}
	}
	if (r < 0) {
		vfs_close(f);
		return r;
	}
	readahead_init(&f->ahead, f->begin, f->begin + f->size);
	*ret = f;
	return 0;
}

void
vfs_close(struct vfs_file *f)
{
	if (f == NULL || __atomic_sub_fetch(&f->refs, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	if (f->draft != NULL)
		draft_close(f->draft);
	notes_close(f->notes);
	reader_unref(f->reader);
	buf_unref(f->content);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

uint64_t
vfs_file_size(struct vfs_file *f)
{
	struct vfs_attr a;

	if (f->draft == NULL && f->notes == NULL)
		return f->size;
	return vfs_getattr(f->v, f->ino, 0, &a) == 0 ?
	    (uint64_t)a.st.st_size : 0;
}

bool
vfs_file_is_generated(struct vfs_file *f)
{
	return f->generated;
}

enum vfs_caching
vfs_file_caching(struct vfs_file *f)
{
	if (f->generated || f->notes != NULL)
		return VFS_CACHE_NOT;
	return f->draft != NULL && atomic_load(&f->v->replaced) ?
	    VFS_CACHE_OPEN : VFS_CACHE_KEEP;
}

static struct vfs_file *
file_ref(struct vfs_file *f)
{
	__atomic_add_fetch(&f->refs, 1, __ATOMIC_RELAXED);
	return f;
}

/* A read under way; keeps its file open. */
struct read {
	struct vfs_file *f;
	uint64_t off;
	size_t len;
	vfs_read_fn *fn;
	void *arg;
};

/*
 * The chunks of a range that are not in memory: note that they could not be
 * had (err), or find that one of them could not be a moment ago (err is 0).
 */
static int
range_outage(struct vfs_file *f, uint64_t off, size_t len, int err)
{
	struct index *x = reader_index(f->reader);
	size_t i = index_find(x, f->begin + off);
	size_t last = index_find(x, f->begin + off + len - 1);
	struct index_chunk c;
	struct chunk_id id;
	struct buf *b;
	int r = 0;

	/* Tiny chunks are no case worth the time. */
	last = MIN(last, i + OUTAGE_CHUNKS);
	for (; r == 0 && i <= last; i++) {
		c = index_chunk(x, i);
		if (err == 0 && outage_of(f->v->outages, &c.digest) == 0)
			continue;
		id = reader_chunk_id(f->reader, &c);
		if (chunks_try(repo_chunks(f->v->repo), &id, &b) == 0)
			buf_unref(b);
		else if (err != 0)
			outage_note(f->v->outages, &c.digest, err);
		else
			r = outage_of(f->v->outages, &c.digest);
	}
	return r;
}

static void
read_done(void *arg, int err, const struct iovec *iov, int n)
{
	struct read *rd = arg;
	struct vfs_file *f = rd->f;

	if (err == -EBADMSG || err == -ENOENT)
		report_file(f->v->reports, f->ino, f->reader, f->begin,
		    f->size, rd->off, rd->len);
	else if (err < 0 && err != -ENOKEY && err != -ENOMEM)
		range_outage(f, rd->off, rd->len, err);
	rd->fn(rd->arg, err, iov, n);
	vfs_close(f);
	free(rd);
}

static void
read_content(struct vfs_file *f, uint64_t off, size_t len, vfs_read_fn *fn,
    void *arg)
{
	/* Whoever is told may close the file before fn returns. */
	struct buf *content = buf_ref(f->content);
	struct iovec iov = {
	    .iov_base = content->data + off,
	    .iov_len = len,
	};

	fn(arg, 0, &iov, 1);
	buf_unref(content);
}

static void
read_notes(struct vfs_file *f, uint64_t off, size_t len, vfs_read_fn *fn,
    void *arg)
{
	struct iovec iov;
	struct buf *b;
	int r;

	r = notes_read(f->notes, off, len, &b);
	if (r < 0) {
		fn(arg, r, NULL, 0);
		return;
	}
	iov = (struct iovec){b->data, b->len};
	fn(arg, 0, &iov, b->len > 0);
	buf_unref(b);
}

void
vfs_read(struct vfs_file *f, uint64_t off, size_t len, vfs_read_fn *fn,
    void *arg)
{
	struct read *rd;
	int r;

	if (f->draft != NULL) {
		draft_read(f->draft, off, len, fn, arg);
		return;
	}
	if (f->notes != NULL) {
		read_notes(f, off, len, fn, arg);
		return;
	}
	if (off >= f->size || len == 0) {
		fn(arg, 0, NULL, 0);
		return;
	}
	len = (size_t)MIN((uint64_t)len, f->size - off);
	if (f->reader == NULL) {
		read_content(f, off, len, fn, arg);
		return;
	}
	r = range_outage(f, off, len, 0);
	if (r < 0) {
		fn(arg, r, NULL, 0);
		return;
	}
	rd = malloc(sizeof(*rd));
	if (rd == NULL) {
		fn(arg, -ENOMEM, NULL, 0);
		return;
	}
	rd->f = file_ref(f);
	rd->off = off;
	rd->len = len;
	rd->fn = fn;
	rd->arg = arg;
	{
		LOCK(&f->lock);
		readahead_update(&f->ahead, f->reader, f->begin + off, len);
	}
	reader_read(f->reader, f->begin + off, len, read_done, rd);
}

/* Waiting for a read. */
struct waiter {
	pthread_mutex_t lock;	/* guards done, result */
	pthread_cond_t woken;
	bool done;
	ssize_t result;
	char *p;
};

static void
wake(void *arg, int err, const struct iovec *iov, int n)
{
	struct waiter *w = arg;
	size_t len = 0;
	int i;

	for (i = 0; i < n; i++) {
		memcpy(w->p + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	LOCK(&w->lock);
	w->result = err < 0 ? err : (ssize_t)len;
	w->done = true;
	pthread_cond_signal(&w->woken);
}

static ssize_t
read_wait(struct vfs_file *f, void *p, size_t len, uint64_t off)
{
	struct waiter w = {.p = p};
	ssize_t n;
	int r;

	r = -pthread_mutex_init(&w.lock, NULL);
	if (r < 0)
		return r;
	r = cond_init(&w.woken);
	if (r < 0) {
		pthread_mutex_destroy(&w.lock);
		return r;
	}
	vfs_read(f, off, len, wake, &w);
	{
		/* The repository's deadline ends every read. */
		LOCK(&w.lock);
		while (!w.done)
			pthread_cond_wait(&w.woken, &w.lock);
		n = w.result;
	}
	pthread_cond_destroy(&w.woken);
	pthread_mutex_destroy(&w.lock);
	return n;
}

uint64_t
vfs_piece_end(struct vfs_file *f, uint64_t off)
{
	struct index_chunk c;
	struct index *x;

	if (f->reader == NULL || off >= f->size)
		return f->size;
	x = reader_index(f->reader);
	c = index_chunk(x, index_find(x, f->begin + off));
	return MIN(c.end - f->begin, f->size);
}

ssize_t
vfs_read_wait(struct vfs_file *f, void *p, size_t len, uint64_t off)
{
	uint64_t end;
	ssize_t n;

	n = read_wait(f, p, len, off);
	if ((n != -EBADMSG && n != -ENOENT) || f->reader == NULL)
		return n;
	/* One bad chunk fails all of the read; what lies before it is good. */
	end = vfs_piece_end(f, off);
	if (end - off >= len)
		return n;
	return vfs_read_wait(f, p, (size_t)(end - off), off);
}

int
vfs_seek(struct vfs_file *f, uint64_t off, int whence, uint64_t *ret)
{
	uint64_t end, size;
	int r;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return -EINVAL;
	if (f->draft != NULL)
		return draft_seek(f->draft, off, whence, ret);
	size = vfs_file_size(f);
	if (off >= size)
		return -ENXIO;
	while (off < size && f->reader != NULL) {
		/* Where it ends may be a million chunks away. */
		r = reader_hole(f->reader, f->begin + off, NULL);
		if (r >= 0 && (r == 1) == (whence == SEEK_HOLE)) {
			*ret = off;
			return 0;
		}
		if (r >= 0)
			r = reader_hole(f->reader, f->begin + off, &end);
		if (r < 0)
			return r;
		off = end - f->begin;
	}
	if (whence == SEEK_DATA && f->reader != NULL)
		return -ENXIO;
	/* There is a hole after the end of every file. */
	*ret = whence == SEEK_DATA ? off : size;
	return 0;
}

int
vfs_write(struct vfs_file *f, const void *p, size_t len, uint64_t off,
    unsigned flags)
{
	if (f->draft != NULL)
		return draft_write(f->draft, p, len, off, flags & VFS_NOWAIT);
	return f->notes != NULL ? notes_write(f->notes, p, len, off) : -EBADF;
}

int
vfs_flush(struct vfs_file *f, unsigned flags)
{
	if (f->draft != NULL)
		return draft_flush(f->draft);
	return f->notes != NULL ? notes_flush(f->notes, flags) : 0;
}

int
vfs_fallocate(struct vfs_file *f, int mode, uint64_t off, uint64_t len,
    unsigned flags)
{
	if (f->draft != NULL)
		return draft_fallocate(f->draft, mode, off, len,
		    flags & VFS_NOWAIT);
	return f->notes != NULL ? -EOPNOTSUPP : -EBADF;
}
