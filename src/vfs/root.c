/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/root.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/workq.h"
#include "vfs/archive.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

#define THREADS 8
#define WAITING_MAX 64
#define PATIENCE_MS 750
/* After waiting in vain, nobody waits for that long. */
#define PAUSE_MS 10000

struct roots {
	struct vfs *v;		/* borrowed */
	struct workq *q;	/* owned */
	pthread_mutex_t lock;	/* guards pause_until, and done of openings */
	pthread_cond_t changed;
	deadline_t pause_until;	/* 0: no pause */
};

struct opening {
	struct work work;
	struct roots *q;	/* borrowed */
	struct nodes *nodes;	/* shared: keeps node alive */
	struct node *node;
	unsigned refs;		/* guarded by q->lock */
	bool done;
};

int
roots_new(struct vfs *v, struct roots **ret)
{
	struct roots *q = calloc(1, sizeof(*q));
	int r;

	if (q == NULL)
		return -ENOMEM;
	q->v = v;
	r = -pthread_mutex_init(&q->lock, NULL);
	if (r < 0)
		goto err;
	r = cond_init(&q->changed);
	if (r < 0)
		goto err_lock;
	r = workq_new("root", THREADS, &q->q);
	if (r < 0)
		goto err_cond;
	*ret = q;
	return 0;

err_cond:
	pthread_cond_destroy(&q->changed);
err_lock:
	pthread_mutex_destroy(&q->lock);
err:
	free(q);
	return r;
}

void
roots_free(struct roots *q)
{
	if (q == NULL)
		return;
	workq_free(q->q);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static void
opening_unref(struct opening *o)
{
	{
		LOCK(&o->q->lock);
		if (--o->refs > 0)
			return;
	}
	nodes_unref(o->nodes);
	free(o);
}

static void
opening_run(struct work *w)
{
	struct opening *o = (struct opening *)w;
	struct archive *a = NULL;

	/* That it cannot be opened is told to who enters it. */
	if (archive_get(o->q->v, o->node, 0, &a) == 0)
		archive_unref(a);
	{
		LOCK(&o->q->lock);
		o->done = true;
		pthread_cond_broadcast(&o->q->changed);
	}
	opening_unref(o);
}

static bool
pausing(struct roots *q)
{
	LOCK(&q->lock);

	if (q->pause_until == 0 || deadline_left(q->pause_until) > 0)
		return q->pause_until != 0;
	q->pause_until = 0;
	return false;
}

void
root_learn(struct roots *q, struct nodes *t, struct node *n)
{
	deadline_t patience = deadline_in(PATIENCE_MS);
	struct opening *o;

	if (pausing(q) || workq_waiting(q->q) >= WAITING_MAX)
		return;
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return;
	o->work.fn = opening_run;
	o->q = q;
	o->nodes = nodes_ref(t);
	o->node = n;
	o->refs = 2;
	if (workq_add(q->q, &o->work) < 0) {
		nodes_unref(t);
		free(o);
		return;
	}
	{
		LOCK(&q->lock);
		while (!o->done && cond_wait_until(&q->changed, &q->lock,
		    patience) == 0)
			;
		if (!o->done)
			q->pause_until = deadline_in(PAUSE_MS);
	}
	opening_unref(o);
}
