/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/chunk_pool.h"

#include <errno.h>
#include <stdlib.h>

#include "base/workq.h"

/* A unit of work: "take the next flight".  Flights can so change places, or
 * leave, while they wait. */
struct token {
	struct work work;		/* first */
	struct chunk_pool *pool;	/* borrowed */
};

int
chunk_pool_init(struct chunk_pool *p, const char *name, unsigned threads,
    pthread_mutex_t *lock)
{
	p->lock = lock;
	TAILQ_INIT(&p->wanted);
	TAILQ_INIT(&p->ahead);
	return workq_new(name, threads, &p->q);
}

void
chunk_pool_fini(struct chunk_pool *p)
{
	workq_free(p->q);
}

static struct chunk_entries *
queue_of(struct chunk_entry *e)
{
	return e->prefetch ? &e->pool->ahead : &e->pool->wanted;
}

void
chunk_pool_remove(struct chunk_entry *e)
{
	TAILQ_REMOVE(queue_of(e), e, link);
}

/* There are at least as many tokens as flights in the queues, so one that finds
 * them empty belonged to a flight that nobody wanted any longer. */
static void
token_run(struct work *w)
{
	struct token *t = (struct token *)w;
	struct chunk_pool *p = t->pool;
	struct chunk_entry *e;
	deadline_t deadline = 0;

	free(t);
	pthread_mutex_lock(p->lock);
	e = TAILQ_FIRST(&p->wanted);
	if (e == NULL)
		e = TAILQ_FIRST(&p->ahead);
	if (e != NULL) {
		chunk_pool_remove(e);
		e->state = CHUNK_RUNNING;
		deadline = e->deadline;
	}
	pthread_mutex_unlock(p->lock);
	if (e != NULL)
		p->run(p->arg, e, deadline);
}

int
chunk_pool_add(struct chunk_pool *p, struct chunk_entry *e)
{
	struct token *t;
	int r;

	t = malloc(sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->work.fn = token_run;
	t->pool = p;
	r = workq_add(p->q, &t->work);
	if (r < 0) {
		free(t);
		return r;
	}
	e->state = CHUNK_QUEUED;
	e->pool = p;
	TAILQ_INSERT_TAIL(queue_of(e), e, link);
	return 0;
}

void
chunk_pool_promote(struct chunk_entry *e)
{
	chunk_pool_remove(e);
	e->prefetch = false;
	TAILQ_INSERT_TAIL(queue_of(e), e, link);
}
