/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/archive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "pbs/pxar.h"
#include "repo/damage.h"
#include "repo/reader.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/links.h"
#include "vfs/node.h"
#include "vfs/report.h"
#include "vfs/vfs_priv.h"

#define BUCKETS 256

struct source {
	struct archive *a;
	unsigned flags;
};

struct archive {
	unsigned refs;			/* guarded by archives.lock */
	struct archives *cache;		/* borrowed */
	struct vfs *v;			/* borrowed */
	uint64_t id, base, span;
	char *path, *key, *etag;	/* owned */
	uint64_t index_size;
	int64_t index_mtime;
	struct node_root_attr root;
	struct reader *meta;		/* shared */
	struct source source[2];	/* waits, does not */
	struct pxar *px[2];		/* owned */
	struct links *links;		/* owned */
	pthread_mutex_t lock;		/* guards payload */
	struct reader *payload;		/* shared; NULL until needed */
	LIST_ENTRY(archive) hash;
	TAILQ_ENTRY(archive) idle;	/* while refs is 0 */
	size_t idle_bytes;		/* likewise: of links */
};

struct archives {
	pthread_mutex_t lock;		/* guards all below */
	uint64_t next_id;
	unsigned n_idle;
	size_t idle_bytes;		/* of all in idle */
	TAILQ_HEAD(idle, archive) idle;	/* last used first */
	LIST_HEAD(bucket, archive) buckets[BUCKETS];
};

int
archives_new(struct archives **ret)
{
	struct archives *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&c->lock, NULL);
	if (r < 0) {
		free(c);
		return r;
	}
	TAILQ_INIT(&c->idle);
	*ret = c;
	return 0;
}

static void
archive_free(struct archive *a)
{
	if (a == NULL)
		return;
	links_free(a->links);
	pxar_close(a->px[0]);
	pxar_close(a->px[1]);
	reader_unref(a->meta);
	reader_unref(a->payload);
	pthread_mutex_destroy(&a->lock);
	free(a->path);
	free(a->key);
	free(a->etag);
	free(a);
}

void
archives_free(struct archives *c)
{
	struct archive *a;

	if (c == NULL)
		return;
	while ((a = TAILQ_FIRST(&c->idle)) != NULL) {
		TAILQ_REMOVE(&c->idle, a, idle);
		archive_free(a);
	}
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* With the lock. */
static void
idle_remove(struct archives *c, struct archive *a)
{
	TAILQ_REMOVE(&c->idle, a, idle);
	c->n_idle--;
	c->idle_bytes -= a->idle_bytes;
}

void
archive_unref(struct archive *a)
{
	struct idle gone = TAILQ_HEAD_INITIALIZER(gone);
	struct archives *c;

	if (a == NULL)
		return;
	c = a->cache;
	{
		LOCK(&c->lock);
		if (--a->refs > 0)
			return;
		TAILQ_INSERT_HEAD(&c->idle, a, idle);
		c->n_idle++;
		a->idle_bytes = links_memory(a->links);
		c->idle_bytes += a->idle_bytes;
		while (c->n_idle > ARCHIVES_IDLE ||
		    c->idle_bytes > ARCHIVES_IDLE_BYTES) {
			a = TAILQ_LAST(&c->idle, idle);
			idle_remove(c, a);
			LIST_REMOVE(a, hash);
			TAILQ_INSERT_TAIL(&gone, a, idle);
		}
	}
	while ((a = TAILQ_FIRST(&gone)) != NULL) {
		TAILQ_REMOVE(&gone, a, idle);
		archive_free(a);
	}
}

uint64_t
archive_id(const struct archive *a)
{
	return a->id;
}

uint64_t
archive_base(const struct archive *a)
{
	return a->base;
}

bool
archive_has(const struct archive *a, uint64_t pos)
{
	return pos > 0 && pos < a->span;
}

struct pxar *
archive_pxar(struct archive *a, unsigned flags)
{
	return a->px[(flags & VFS_NOWAIT) != 0];
}

struct reader *
archive_reader(struct archive *a)
{
	return a->meta;
}

struct links *
archive_links(struct archive *a)
{
	return a->links;
}

int
archive_error(struct archive *a, int r)
{
	if (r == -EBADMSG) {
		log_limited(LOG_LVL_ERR, "%s: the archive's structure is "
		    "damaged", a->path);
		damage_object(repo_damage(a->v->repo), a->key,
		    "the archive's structure is damaged");
	}
	return r;
}

static int
source_pread(void *arg, void *p, size_t len, uint64_t off)
{
	struct source *s = arg;
	struct archive *a = s->a;
	uint64_t size = reader_size(a->meta);
	int r;

	/* Past the end is the structure's fault, not that of a chunk. */
	if (off > size || len > size - off)
		return -EBADMSG;
	r = reader_pread(a->meta, p, len, off, s->flags);
	if (r == -EBADMSG || r == -ENOENT) {
		report_stream(a->v->reports, a->path, a->meta, off, len);
		return -VFS_EDAMAGED;
	}
	return r;
}

static int
open_parser(struct archive *a, unsigned flags)
{
	struct pxar_source src = {
	    .pread = source_pread,
	    .size = reader_size(a->meta),
	};
	int i, first = (flags & VFS_NOWAIT) != 0, r;

	for (i = 0; i < 2; i++) {
		a->source[i].a = a;
		a->source[i].flags = i == 1 ? REPO_NOWAIT : 0;
	}
	src.arg = &a->source[first];
	r = pxar_open(&src, &a->px[first]);
	if (r < 0)
		return archive_error(a, r);
	src.arg = &a->source[!first];
	return pxar_with_source(a->px[first], &src, &a->px[!first]);
}

static int
read_root(struct archive *a, unsigned flags)
{
	struct pxar *px = archive_pxar(a, flags);
	struct pxar_entry e;
	int r;

	r = pxar_stat(px, pxar_root(px), 0, &e);
	if (r < 0)
		return archive_error(a, r);
	a->root.mode = e.mode;
	a->root.uid = e.uid;
	a->root.gid = e.gid;
	a->root.mtime_sec = e.mtime_sec;
	a->root.mtime_nsec = e.mtime_nsec;
	a->root.has_meta = e.has_meta;
	pxar_entry_fini(&e);
	return 0;
}

static int
name_archive(struct archive *a, const struct node *n)
{
	struct str path = {0};
	char key[KEY_MAX + 1];
	int r;

	r = tree_file_key(n->file, key);
	if (r < 0)
		return r;
	node_path(n, &path);
	a->path = str_take(&path);
	a->key = strdup(key);
	a->etag = strdup(n->file->etag);
	if (a->path == NULL || a->key == NULL || a->etag == NULL)
		return -ENOMEM;
	a->base = n->archive->base;
	a->span = n->archive->span;
	a->index_size = n->file->size;
	a->index_mtime = n->file->mtime;
	return 0;
}

static int
archive_open(struct vfs *v, const struct node *n, unsigned flags,
    struct archive **ret)
{
	struct archive *a;
	int r;

	a = calloc(1, sizeof(*a));
	if (a == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&a->lock, NULL);
	if (r < 0) {
		free(a);
		return r;
	}
	a->refs = 1;
	a->v = v;
	a->cache = v->archives;
	r = name_archive(a, n);
	if (r < 0)
		goto err;
	r = repo_reader(v->repo, n->file, flags, &a->meta);
	if (r < 0) {
		r = r == -ENOENT ? -EIO : r;
		goto err;
	}
	r = open_parser(a, flags);
	if (r < 0)
		goto err;
	r = read_root(a, flags);
	if (r < 0)
		goto err;
	r = links_new(&a->links);
	if (r < 0)
		goto err;
	*ret = a;
	return 0;

err:
	archive_free(a);
	return r;
}

static struct bucket *
bucket_of(struct archives *c, uint64_t base)
{
	return &c->buckets[(size_t)(base / 4096) % BUCKETS];
}

/* The number and the version must agree: after a refresh another archive may
 * stand where this one was. */
static struct archive *
find(struct archives *c, const struct node *n)
{
	struct archive *a;

	LIST_FOREACH(a, bucket_of(c, n->archive->base), hash) {
		if (a->base != n->archive->base ||
		    a->index_size != n->file->size ||
		    a->index_mtime != n->file->mtime ||
		    !streq(a->etag, n->file->etag))
			continue;
		if (a->refs++ == 0)
			idle_remove(c, a);
		return a;
	}
	return NULL;
}

static void
publish_root(const struct archive *a, struct node_archive *na)
{
	struct node_root_attr *root, *none = NULL;

	if (atomic_load(&na->root) != NULL)
		return;
	root = malloc(sizeof(*root));
	if (root == NULL)
		return;
	*root = a->root;
	if (!atomic_compare_exchange_strong(&na->root, &none, root))
		free(root);
}

int
archive_get(struct vfs *v, const struct node *n, unsigned flags,
    struct archive **ret)
{
	struct archives *c = v->archives;
	struct archive *a, *mine = NULL;
	int r;

	if (atomic_load(&n->secret))
		return snap_no_key(v, n);
	{
		LOCK(&c->lock);
		a = find(c, n);
	}
	if (a == NULL) {
		r = archive_open(v, n, flags, &mine);
		if (r == -ENOKEY)
			return snap_no_key(v, n);
		if (r < 0)
			return r;
		LOCK(&c->lock);
		a = find(c, n);
		if (a == NULL) {
			a = mine;
			mine = NULL;
			a->id = ++c->next_id;
			LIST_INSERT_HEAD(bucket_of(c, a->base), a, hash);
		}
	}
	archive_free(mine);
	publish_root(a, n->archive);
	*ret = a;
	return 0;
}

static int
no_payload(struct archive *a)
{
	const char *meta = strstr(a->key, ".mpxar.didx");
	struct str key = {0};

	log_limited(LOG_LVL_ERR, "%s: the payload of the archive is missing",
	    a->path);
	str_addn(&key, a->key, meta != NULL ? (size_t)(meta - a->key) :
	    strlen(a->key));
	str_add(&key, ".ppxar.didx");
	damage_object(repo_damage(a->v->repo), str_get(&key),
	    "the payload of the archive is missing");
	str_fini(&key);
	return -EIO;
}

int
archive_payload(struct vfs *v, struct archive *a, const struct node *n,
    unsigned flags, struct reader **ret)
{
	const struct tree_file *f = n->archive->payload;
	struct reader *fresh;
	int r;

	{
		LOCK(&a->lock);
		if (a->payload != NULL) {
			*ret = reader_ref(a->payload);
			return 0;
		}
	}
	if (f == NULL)
		return no_payload(a);
	r = repo_reader(v->repo, f, flags, &fresh);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	LOCK(&a->lock);
	if (a->payload == NULL)
		a->payload = reader_ref(fresh);
	*ret = fresh;
	return 0;
}
