/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/http.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rate.h"
#include "base/str.h"
#include "http/tls.h"
#include "http/xfer.h"

#define CONNECT_TIMEOUT_MS 10000
#define STALL_TIMEOUT_MS 60000
#define CONNECTIONS 64
#define IDLE_HANDLES 64
#define POLL_MAX_MS 1000

/* A transfer and the thread that waits for it; on that thread's stack. */
struct job {
	struct xfer x;
	TAILQ_ENTRY(job) link;
	pthread_cond_t cond;
	bool done;
};

TAILQ_HEAD(jobs, job);

struct http {
	struct xfer_env env;
	char *ca_file, *proxy;	/* owned; env.o points to them */
	CURLM *multi;		/* owned; the I/O thread's once it runs */
	pthread_t thread;
	struct jobs running;	/* the I/O thread's */
	unsigned n_running;	/* the I/O thread's */

	pthread_mutex_t lock;	/* guards all below and job.done */
	struct jobs waiting;	/* not yet seen by the I/O thread */
	bool stop;
	CURL *idle[IDLE_HANDLES];	/* owned; for the next request */
	unsigned n_idle;
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void
global_init(void)
{
	global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Called without the lock: the outcome is in the response. */
static void
wake_caller(struct http *h, struct job *j)
{
	LOCK(&h->lock);
	j->done = true;
	pthread_cond_signal(&j->cond);
}

static void
end_job(struct http *h, struct job *j)
{
	TAILQ_REMOVE(&h->running, j, link);
	h->n_running--;
	curl_multi_remove_handle(h->multi, j->x.easy);
	wake_caller(h, j);
}

static void
fail_running(struct http *h, enum http_error error, const char *detail)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&h->running)) != NULL) {
		xfer_fail(&j->x, error, detail);
		end_job(h, j);
	}
}

/*
 * The next waiting job that has to be dealt with: one that can start, or one
 * whose time is over.  NULL if there is none; then *ret_poll says how long that
 * holds.
 */
static struct job *
next_waiting(struct http *h, int *ret_poll, bool *ret_stop)
{
	struct job *j;

	LOCK(&h->lock);
	*ret_stop = h->stop;
	*ret_poll = POLL_MAX_MS;
	TAILQ_FOREACH(j, &h->waiting, link) {
		uint64_t left = deadline_left(j->x.req->deadline);

		if (h->stop || left == 0 ||
		    h->n_running < h->env.o.max_connections) {
			TAILQ_REMOVE(&h->waiting, j, link);
			return j;
		}
		if (left < (uint64_t)*ret_poll)
			*ret_poll = (int)left;
	}
	return NULL;
}

static void
start_job(struct http *h, struct job *j)
{
	int r = xfer_start(&j->x);

	if (r == 0 &&
	    curl_multi_add_handle(h->multi, j->x.easy) == CURLM_OK) {
		TAILQ_INSERT_TAIL(&h->running, j, link);
		h->n_running++;
		return;
	}
	if (r == -ETIMEDOUT)
		xfer_fail(&j->x, HTTP_E_TIMEOUT,
		    "the deadline passed before a connection was free");
	else
		xfer_fail(&j->x, HTTP_E_MEMORY, "cannot start the transfer");
	wake_caller(h, j);
}

/* Start what waits.  Returns how long to poll at most, 0 if it started
 * something, -1 to end. */
static int
admit(struct http *h)
{
	struct job *j;
	bool stop, started = false;
	int poll_ms;

	while ((j = next_waiting(h, &poll_ms, &stop)) != NULL) {
		if (stop) {
			xfer_fail(&j->x, HTTP_E_ABORTED, "shutting down");
			wake_caller(h, j);
			continue;
		}
		start_job(h, j);
		started = true;
	}
	if (stop)
		return -1;
	return started ? 0 : poll_ms;
}

static void
reap(struct http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct job *j = NULL;
		CURLcode rc = m->data.result;

		if (m->msg != CURLMSG_DONE ||
		    curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &j) !=
			CURLE_OK || j == NULL)
			continue;
		xfer_finish(&j->x, rc);
		end_job(h, j);
	}
}

/* Let paused transfers go on; lowers *poll_ms to when the next one may. */
static void
resume_paused(struct http *h, int *poll_ms)
{
	struct job *j;
	uint64_t now, at;

	if (h->env.in.rate == NULL && h->env.out.rate == NULL)
		return;
	TAILQ_FOREACH(j, &h->running, link) {
		if (!j->x.paused)
			continue;
		now = clock_mono_ms();
		at = xfer_resume_at(&j->x);
		if (at <= now) {
			xfer_resume(&j->x);
			*poll_ms = 0;
		} else if (at - now < (uint64_t)*poll_ms) {
			*poll_ms = (int)(at - now);
		}
	}
}

static void *
io_main(void *arg)
{
	struct http *h = arg;
	CURLMcode mc;
	int active, poll_ms;

	for (;;) {
		mc = curl_multi_perform(h->multi, &active);
		reap(h);
		if (mc != CURLM_OK) {
			log_limited(LOG_LVL_ERR, "http: %s",
			    curl_multi_strerror(mc));
			fail_running(h, HTTP_E_OTHER, curl_multi_strerror(mc));
		}
		poll_ms = admit(h);
		if (poll_ms < 0)
			break;
		resume_paused(h, &poll_ms);
		mc = curl_multi_poll(h->multi, NULL, 0, poll_ms, NULL);
		if (mc != CURLM_OK)
			usleep(10000);	/* out of memory: do not spin */
	}
	fail_running(h, HTTP_E_ABORTED, "shutting down");
	return NULL;
}

static int
copy_opts(struct http *h, const struct http_opts *o)
{
	h->env.o = *o;
	h->env.o.fingerprint = NULL;
	h->ca_file = o->ca_file != NULL ? strdup(o->ca_file) : NULL;
	h->proxy = o->proxy != NULL ? strdup(o->proxy) : NULL;
	if ((o->ca_file != NULL && h->ca_file == NULL) ||
	    (o->proxy != NULL && h->proxy == NULL))
		return -ENOMEM;
	h->env.o.ca_file = h->ca_file;
	h->env.o.proxy = h->proxy;
	if (o->connect_timeout_ms == 0)
		h->env.o.connect_timeout_ms = CONNECT_TIMEOUT_MS;
	if (o->max_connections == 0)
		h->env.o.max_connections = CONNECTIONS;
	if (o->stall_timeout_ms == 0)
		h->env.o.stall_timeout_ms = STALL_TIMEOUT_MS;
	return 0;
}

static int
new_limit(uint64_t per_second, struct xfer_limit *ret)
{
	if (per_second == 0)
		return 0;
	return rate_new((double)per_second, (double)per_second / 8, &ret->rate);
}

/* All but the thread, which must be gone. */
static void
destroy(struct http *h)
{
	while (h->n_idle > 0)
		curl_easy_cleanup(h->idle[--h->n_idle]);
	if (h->multi != NULL)
		curl_multi_cleanup(h->multi);
	rate_free(h->env.in.rate);
	rate_free(h->env.out.rate);
	tls_pin_free(h->env.pin);
	free(h->ca_file);
	free(h->proxy);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int
http_new(const struct http_opts *o, struct http **ret)
{
	struct http *h;
	int r;

	pthread_once(&global_once, global_init);
	if (global_result != CURLE_OK)
		return -ENOMEM;
	if (o->ca_file != NULL && access(o->ca_file, R_OK) < 0)
		return -errno;
	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return -ENOMEM;
	TAILQ_INIT(&h->running);
	TAILQ_INIT(&h->waiting);
	pthread_mutex_init(&h->lock, NULL);
	r = copy_opts(h, o);
	if (r == 0 && o->fingerprint != NULL)
		r = tls_pin_new(o->ca_file, o->fingerprint, &h->env.pin);
	if (r == 0)
		r = new_limit(o->rate_in, &h->env.in);
	if (r == 0)
		r = new_limit(o->rate_out, &h->env.out);
	if (r < 0)
		goto err;
	r = -ENOMEM;
	h->multi = curl_multi_init();
	if (h->multi == NULL ||
	    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS,
		(long)h->env.o.max_connections) != CURLM_OK)
		goto err;
	r = -pthread_create(&h->thread, NULL, io_main, h);
	if (r < 0)
		goto err;
	*ret = h;
	return 0;
err:
	destroy(h);
	return r;
}

void
http_shutdown(struct http *h)
{
	LOCK(&h->lock);
	h->stop = true;
	curl_multi_wakeup(h->multi);
}

void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	http_shutdown(h);
	pthread_join(h->thread, NULL);
	destroy(h);
}

static CURL *
take_handle(struct http *h)
{
	{
		LOCK(&h->lock);
		if (h->n_idle > 0)
			return h->idle[--h->n_idle];
	}
	return curl_easy_init();
}

/*
 * Handles are kept because TLS sessions are remembered with them.  One that
 * failed may be left in a state where options are refused.
 */
static void
put_handle(struct http *h, CURL *e, bool reusable)
{
	if (reusable) {
		curl_easy_reset(e);
		LOCK(&h->lock);
		if (h->n_idle < IDLE_HANDLES) {
			h->idle[h->n_idle++] = e;
			return;
		}
	}
	curl_easy_cleanup(e);
}

/* Hand over to the I/O thread and wait until it is through. */
static void
run(struct http *h, struct job *j)
{
	LOCK(&h->lock);
	if (h->stop) {
		xfer_fail(&j->x, HTTP_E_ABORTED, "shutting down");
		return;
	}
	TAILQ_INSERT_TAIL(&h->waiting, j, link);
	curl_multi_wakeup(h->multi);
	while (!j->done)
		pthread_cond_wait(&j->cond, &h->lock);
}

int
http_perform(struct http *h, const struct http_request *req,
    struct http_response *ret)
{
	struct job j;
	CURL *e;
	int r;

	memset(ret, 0, sizeof(*ret));
	memset(&j, 0, sizeof(j));
	e = take_handle(h);
	if (e == NULL)
		return -ENOMEM;
	r = cond_init(&j.cond);
	if (r < 0) {
		put_handle(h, e, true);
		return r;
	}
	r = xfer_init(&j.x, &h->env, e, req, ret);
	if (r == 0) {
		run(h, &j);
		put_handle(h, steal(&j.x.easy), ret->error == HTTP_OK);
	}
	xfer_fini(&j.x);
	pthread_cond_destroy(&j.cond);
	return r;
}

void
http_response_fini(struct http_response *r)
{
	buf_unref(r->body);
	free(r->headers);
	memset(r, 0, sizeof(*r));
}

const char *
http_response_header(const struct http_response *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->n_headers; i++)
		if (streq(r->headers[i].name, name))
			return r->headers[i].value;
	return NULL;
}
