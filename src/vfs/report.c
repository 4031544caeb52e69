/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/workq.h"
#include "pbs/index.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/reader.h"
#include "repo/repo.h"
#include "vfs/u64map.h"
#include "vfs/vfs.h"
#include "vfs/vfs_priv.h"

/* Beyond these, only the damage list's own count grows. */
#define KNOWN_MAX ((size_t)1 << 16)
#define WAITING_MAX 1024

struct reports {
	struct vfs *v;		/* borrowed */
	struct workq *q;	/* owned */
	pthread_mutex_t lock;	/* guards known */
	struct u64map known;	/* hash of file and chunk */
};

struct report {
	struct work work;
	struct reports *q;	/* borrowed */
	struct reader *reader;	/* shared */
	uint64_t ino;
	char *path;		/* owned; NULL: that of ino */
	uint64_t begin, size;	/* of the file in the stream */
	uint64_t off, len;	/* in the stream */
};

int
reports_new(struct vfs *v, struct reports **ret)
{
	struct reports *q = calloc(1, sizeof(*q));
	int r;

	if (q == NULL)
		return -ENOMEM;
	q->v = v;
	r = -pthread_mutex_init(&q->lock, NULL);
	if (r < 0)
		goto err;
	r = workq_new("report", 1, &q->q);
	if (r < 0) {
		pthread_mutex_destroy(&q->lock);
		goto err;
	}
	*ret = q;
	return 0;

err:
	free(q);
	return r;
}

void
reports_free(struct reports *q)
{
	if (q == NULL)
		return;
	workq_free(q->q);
	u64map_fini(&q->known);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static bool
first_time(struct reports *q, const struct report *p, uint64_t start)
{
	uint64_t key, *known;
	size_t i;

	key = p->ino * 31 + start + 1;
	for (i = 0; p->path != NULL && p->path[i] != '\0'; i++)
		key = key * 1099511628211u + (uint8_t)p->path[i];
	if (key == 0)
		key = 1;
	LOCK(&q->lock);
	if (q->known.n >= KNOWN_MAX)
		return false;
	known = u64map_at(&q->known, key);
	if (known == NULL || *known != 0)
		return false;
	*known = 1;
	return true;
}

static bool
is_damaged(const struct report *p, const struct index_chunk *c)
{
	struct chunk_id id = reader_chunk_id(p->reader, c);
	struct buf *b = NULL;
	int r;

	r = chunks_get(repo_chunks(p->q->v->repo), &id, &b);
	if (r == 0)
		buf_unref(b);
	return r == -EBADMSG || r == -ENOENT;
}

static void
report_chunk(struct report *p, const struct index_chunk *c)
{
	uint64_t from = MAX(c->start, p->begin);
	uint64_t to = MIN(c->end, p->begin + p->size);
	char *path = NULL;

	if (p->path == NULL && vfs_path(p->q->v, p->ino, &path) < 0)
		return;
	damage_chunk_path(repo_damage(p->q->v->repo), &c->digest,
	    p->path != NULL ? p->path : path, from - p->begin, to - from);
	free(path);
}

static void
report_free(struct report *p)
{
	reader_unref(p->reader);
	free(p->path);
	free(p);
}

static void
report_run(struct work *w)
{
	struct report *p = (struct report *)w;
	struct index *x = reader_index(p->reader);
	size_t i = index_find(x, p->off);
	size_t last = index_find(x, p->off + p->len - 1);
	size_t first = i;

	for (; i <= last; i++) {
		struct index_chunk c = index_chunk(x, i);

		/* Of several chunks it is not known yet which. */
		if (first != last && !is_damaged(p, &c))
			continue;
		if (first_time(p->q, p, c.start))
			report_chunk(p, &c);
	}
	report_free(p);
}

static void
report_add(struct reports *q, const struct report *what, const char *path)
{
	struct report *p;

	if (what->len == 0 || workq_waiting(q->q) >= WAITING_MAX)
		return;
	p = malloc(sizeof(*p));
	if (p == NULL)
		return;
	*p = *what;
	p->work.fn = report_run;
	p->q = q;
	p->reader = reader_ref(what->reader);
	p->path = path != NULL ? strdup(path) : NULL;
	if ((path != NULL && p->path == NULL) || workq_add(q->q, &p->work) < 0)
		report_free(p);
}

void
report_file(struct reports *q, uint64_t ino, struct reader *r, uint64_t begin,
    uint64_t size, uint64_t off, uint64_t len)
{
	struct report p = {
	    .reader = r,
	    .ino = ino,
	    .begin = begin,
	    .size = size,
	    .off = begin + off,
	    .len = len,
	};

	report_add(q, &p, NULL);
}

void
report_stream(struct reports *q, const char *path, struct reader *r,
    uint64_t off, uint64_t len)
{
	struct report p = {
	    .reader = r,
	    .size = reader_size(r),
	    .off = off,
	    .len = len,
	};

	report_add(q, &p, path);
}
