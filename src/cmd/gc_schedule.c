/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/gc_schedule.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/gc_helper.h"
#include "cmd/gc_when.h"
#include "cmd/option.h"
#include "cmd/stack.h"
#include "cmd/state_dir.h"

/* A clock may be set while we wait by it. */
#define LOOK_MS 30000
#define CHILD_MS 200
/* How long one that was told to end may take. */
#define END_MS 10000
#define LAST_MAX ((size_t)2 << 20)
/* A message of it in our log. */
#define SAID_MAX 1000

struct gc_schedule {
	const struct stack *s;	/* borrowed */
	struct gc_when when;
	char *path;		/* owned: of what the last one left */
	pthread_t thread;

	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t cond;
	bool stop, running;
	struct gc_schedule_stats stats;
	json_t *last;		/* owned; NULL: there was none */
};

/*
 * What the last one left.
 */
static void
read_last(struct gc_schedule *g)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	json_int_t started;
	json_t *j;

	if (io_read_file(AT_FDCWD, g->path, LAST_MAX, &b) < 0)
		return;
	j = json_loadb((const char *)b->data, b->len, JSON_REJECT_DUPLICATES,
	    NULL);
	started = json_integer_value(json_object_get(j, "started"));
	if (started <= 0) {
		json_decref(j);
		return;
	}
	g->stats.started = started;
	g->stats.status =
	    (int)json_integer_value(json_object_get(j, "status"));
	g->last = j;
}

static void
keep_last(struct gc_schedule *g, const json_t *last)
{
	_cleanup_free_ char *text = json_dumps(last, JSON_COMPACT);
	struct iovec iov = {.iov_base = text};
	int r = -ENOMEM;

	if (text != NULL) {
		iov.iov_len = strlen(text);
		r = io_replace(AT_FDCWD, g->path, &iov, 1, 0600, 0);
	}
	if (r < 0)
		log_warn("%s: cannot keep what came of garbage collection: %s",
		    g->path, strerror(-r));
}

/* What it said last is why. */
static void
say_failed(const struct gc_schedule *g, const struct gc_helper *h, int status)
{
	_cleanup_(str_fini) struct str all = {0}, said = {0};
	size_t from;

	if (gc_helper_read(h->err, &all) == 0 && all.len > 0) {
		while (all.len > 0 && all.s[all.len - 1] == '\n')
			all.s[--all.len] = '\0';
		from = all.len > SAID_MAX ? all.len - SAID_MAX : 0;
		for (const char *p = all.s + from; *p != '\0'; p++)
			str_addc(&said, *p == '\n' ? ';' : *p);
	}
	log_err("%s: garbage collection failed with status %d: %s",
	    g->s->t.name, status, str_get(&said));
}

static void
finish(struct gc_schedule *g, const struct gc_helper *h, int64_t started,
    int status)
{
	_cleanup_(str_fini) struct str out = {0};
	json_t *result = NULL, *last;

	if (status != 0)
		say_failed(g, h, status);
	if (gc_helper_read(h->out, &out) == 0)
		result = json_loads(str_get(&out), 0, NULL);
	last = json_pack("{s:I,s:I,s:i,s:o}", "started", (json_int_t)started,
	    "finished", (json_int_t)clock_real_s(), "status", status,
	    "result", result != NULL ? result : json_null());
	if (last != NULL)
		keep_last(g, last);
	LOCK(&g->lock);
	json_decref(g->last);
	g->last = last;
	g->stats.started = started;
	g->stats.status = status;
	g->stats.runs++;
	g->stats.failed += status != 0;
}

/* True: the mount ends. */
static bool
rest(struct gc_schedule *g, uint64_t ms)
{
	const deadline_t d = deadline_in(ms);
	LOCK(&g->lock);

	while (!g->stop)
		if (cond_wait_until(&g->cond, &g->lock, d) == -ETIMEDOUT)
			break;
	return g->stop;
}

/* Its exit status. */
static int
await(struct gc_schedule *g, pid_t pid)
{
	deadline_t kill_at = 0;
	int st;
	pid_t p;

	while ((p = waitpid(pid, &st, WNOHANG)) == 0 ||
	    (p < 0 && errno == EINTR)) {
		if (!rest(g, CHILD_MS))
			continue;
		if (kill_at == 0) {
			(void)kill(pid, SIGTERM);
			kill_at = deadline_in(END_MS);
		} else if (deadline_left(kill_at) == 0) {
			(void)kill(pid, SIGKILL);
		}
		(void)poll(NULL, 0, 20);
	}
	if (p < 0)
		return 127;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static void
set_running(struct gc_schedule *g, bool on)
{
	LOCK(&g->lock);
	g->running = on;
}

static void
collect(struct gc_schedule *g)
{
	const int64_t started = clock_real_s();
	struct gc_helper h;
	int r, status;

	r = gc_helper_start(g->s, &h);
	if (r < 0) {
		log_err("%s: cannot start garbage collection: %s",
		    g->s->t.name, strerror(-r));
		LOCK(&g->lock);
		g->stats.failed++;
		return;
	}
	set_running(g, true);
	status = await(g, h.pid);
	/* One that ends with the mount was missed: the next makes up for it. */
	if (status == 0 || !rest(g, 0))
		finish(g, &h, started, status);
	set_running(g, false);
	gc_helper_fini(&h);
}

static void *
run(void *arg)
{
	struct gc_schedule *g = arg;
	int64_t now = clock_real_s(), next, last;

	{
		LOCK(&g->lock);
		last = g->stats.started;
	}
	for (;;) {
		next = gc_when_next(&g->when, last, now);
		{
			LOCK(&g->lock);
			g->stats.next = next;
		}
		while ((now = clock_real_s()) < next)
			if (rest(g, MIN((uint64_t)(next - now) * 1000,
			    LOOK_MS)))
				return NULL;
		if (rest(g, 0))
			return NULL;
		collect(g);
		/* Also of one that failed: not at once again. */
		last = now;
		now = clock_real_s();
	}
}

int
gc_schedule_start(const struct stack *s, const char *dir,
    struct gc_schedule **ret)
{
	struct gc_schedule *g;
	int r;

	*ret = NULL;
	if (s->o->gc_schedule == NULL)
		return 0;
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return -ENOMEM;
	g->s = s;
	r = gc_when_parse(s->o->gc_schedule, &g->when);
	if (r == 0)
		r = state_dir_path(dir, STATE_DIR_GC, &g->path);
	if (r == 0)
		r = -pthread_mutex_init(&g->lock, NULL);
	if (r < 0)
		goto err_free;
	r = cond_init(&g->cond);
	if (r < 0)
		goto err_lock;
	read_last(g);
	r = -pthread_create(&g->thread, NULL, run, g);
	if (r < 0)
		goto err_cond;
	*ret = g;
	return 0;

err_cond:
	json_decref(g->last);
	pthread_cond_destroy(&g->cond);
err_lock:
	pthread_mutex_destroy(&g->lock);
err_free:
	free(g->path);
	free(g);
	return r;
}

void
gc_schedule_stop(struct gc_schedule *g)
{
	if (g == NULL)
		return;
	{
		LOCK(&g->lock);
		g->stop = true;
		pthread_cond_broadcast(&g->cond);
	}
	pthread_join(g->thread, NULL);
	json_decref(g->last);
	pthread_cond_destroy(&g->cond);
	pthread_mutex_destroy(&g->lock);
	free(g->path);
	free(g);
}

void
gc_schedule_stats(struct gc_schedule *g, struct gc_schedule_stats *ret)
{
	LOCK(&g->lock);
	*ret = g->stats;
}

json_t *
gc_schedule_json(struct gc_schedule *g)
{
	char next[CLOCK_UTC_LEN + 1];
	LOCK(&g->lock);

	if (g->stats.next == 0 || clock_format_utc(next, g->stats.next) < 0)
		next[0] = '\0';
	return json_pack("{s:s,s:b,s:s,s:I,s:I,s:O}", "schedule",
	    g->s->o->gc_schedule, "running", (int)g->running, "next", next,
	    "runs", (json_int_t)g->stats.runs, "failed",
	    (json_int_t)g->stats.failed, "last",
	    g->last != NULL ? g->last : json_null());
}
