/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/workq.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"

struct workq {
	char name[16];		/* what the kernel shows, with the NUL */
	unsigned max;
	pthread_t *threads;	/* owned; max of them */

	pthread_mutex_t lock;	/* guards all below and threads[] */
	pthread_cond_t wake;	/* a job came, or stopping */
	pthread_cond_t ended;	/* joining is over */
	TAILQ_HEAD(, work) jobs;
	unsigned waiting;	/* jobs */
	unsigned running;	/* threads that were started */
	unsigned idle;		/* of them: in wait */
	bool stopping;
	bool joining;
};

static void *
worker(void *arg)
{
	struct workq *q = arg;

	pthread_setname_np(pthread_self(), q->name);
	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct work *w = TAILQ_FIRST(&q->jobs);

		if (w != NULL) {
			TAILQ_REMOVE(&q->jobs, w, link);
			q->waiting--;
			pthread_mutex_unlock(&q->lock);
			w->fn(w);	/* w may be gone after this */
			pthread_mutex_lock(&q->lock);
		} else if (q->stopping) {
			break;
		} else {
			q->idle++;
			pthread_cond_wait(&q->wake, &q->lock);
			q->idle--;
		}
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int
workq_new(const char *name, unsigned max_threads, struct workq **ret)
{
	struct workq *q;
	int r = -ENOMEM;

	if (max_threads == 0)
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return r;
	q->threads = calloc(max_threads, sizeof(*q->threads));
	if (q->threads == NULL)
		goto err_q;
	r = cond_init(&q->wake);
	if (r < 0)
		goto err_threads;
	r = cond_init(&q->ended);
	if (r < 0)
		goto err_wake;
	pthread_mutex_init(&q->lock, NULL);
	snprintf(q->name, sizeof(q->name), "%s", name);
	q->max = max_threads;
	TAILQ_INIT(&q->jobs);
	*ret = q;
	return 0;
err_wake:
	pthread_cond_destroy(&q->wake);
err_threads:
	free(q->threads);
err_q:
	free(q);
	return r;
}

/* Signals are the business of the threads that ask for them, not of workers. */
static int
start_thread(struct workq *q)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&q->threads[q->running], NULL, worker, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		q->running++;
	return -r;
}

int
workq_add(struct workq *q, struct work *w)
{
	int r;

	LOCK(&q->lock);
	if (q->stopping)
		return -ESHUTDOWN;
	/* Idle threads that were woken for earlier jobs still count as idle. */
	if (q->waiting >= q->idle && q->running < q->max) {
		r = start_thread(q);
		/* Fewer threads than wanted will do; none will not. */
		if (r < 0 && q->running == 0)
			return r;
	}
	TAILQ_INSERT_TAIL(&q->jobs, w, link);
	q->waiting++;
	pthread_cond_signal(&q->wake);
	return 0;
}

unsigned
workq_waiting(struct workq *q)
{
	LOCK(&q->lock);
	return q->waiting;
}

void
workq_stop(struct workq *q)
{
	unsigned n;

	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_broadcast(&q->wake);
	while (q->joining)
		pthread_cond_wait(&q->ended, &q->lock);
	/* No thread starts any more, so threads[] holds still. */
	n = q->running;
	q->joining = true;
	pthread_mutex_unlock(&q->lock);

	for (unsigned i = 0; i < n; i++)
		pthread_join(q->threads[i], NULL);

	pthread_mutex_lock(&q->lock);
	q->running = 0;
	q->joining = false;
	pthread_cond_broadcast(&q->ended);
	pthread_mutex_unlock(&q->lock);
}

void
workq_free(struct workq *q)
{
	if (q == NULL)
		return;
	workq_stop(q);
	pthread_cond_destroy(&q->ended);
	pthread_cond_destroy(&q->wake);
	pthread_mutex_destroy(&q->lock);
	free(q->threads);
	free(q);
}
