/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/ending.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "cmd/cost.h"
#include "cmd/stack.h"
#include "cmd/state_dir.h"
#include "cmd/writing.h"

#define EVERY_MS 300
#define FILE_MAX ((size_t)4 << 20)

struct ending {
	struct writing *w;	/* borrowed */
	pthread_t thread;
	pthread_mutex_t lock;	/* guards over */
	pthread_cond_t changed;
	bool over;
};

static int
path_of(const char *dir, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/" STATE_DIR_ENDING, dir) >=
	    PATH_MAX ? -ENAMETOOLONG : 0;
}

static void
save(struct writing *w)
{
	_cleanup_free_ char *text = NULL;
	json_t *j = writing_json(w);
	struct store_counts c;
	char path[PATH_MAX];
	struct iovec iov;
	int r;

	stack_counts(w->s, &c);
	if (j != NULL)
		json_object_set_new(j, "cost", cost_json(w->s->o, &c));
	if (j != NULL)
		text = json_dumps(j, 0);
	json_decref(j);
	r = text == NULL ? -ENOMEM : path_of(w->dir, path);
	if (r == 0) {
		iov = (struct iovec){text, strlen(text)};
		r = io_replace(AT_FDCWD, path, &iov, 1, 0600, 0);
	}
	if (r < 0)
		log_debug(STATE_DIR_ENDING ": %s", strerror(-r));
}

static void *
ending_main(void *arg)
{
	struct ending *e = arg;
	bool over = false;

	while (!over) {
		save(e->w);
		LOCK(&e->lock);
		if (!e->over)
			(void)cond_wait_until(&e->changed, &e->lock,
			    deadline_in(EVERY_MS));
		over = e->over;
	}
	save(e->w);
	return NULL;
}

struct ending *
ending_begin(struct writing *w)
{
	struct ending *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->w = w;
	if (pthread_mutex_init(&e->lock, NULL) != 0)
		goto err;
	if (cond_init(&e->changed) < 0)
		goto err_lock;
	if (pthread_create(&e->thread, NULL, ending_main, e) == 0)
		return e;
	pthread_cond_destroy(&e->changed);
err_lock:
	pthread_mutex_destroy(&e->lock);
err:
	free(e);
	return NULL;
}

void
ending_end(struct ending *e)
{
	if (e == NULL)
		return;
	{
		LOCK(&e->lock);
		e->over = true;
		pthread_cond_signal(&e->changed);
	}
	pthread_join(e->thread, NULL);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

int
ending_read(const char *dir, json_t **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	char path[PATH_MAX];
	int r;

	r = path_of(dir, path);
	if (r == 0)
		r = io_read_file(AT_FDCWD, path, FILE_MAX, &b);
	if (r < 0)
		return r;
	*ret = json_loadb((const char *)b->data, b->len, 0, NULL);
	if (json_is_object(*ret))
		return 0;
	json_decref(*ret);
	*ret = NULL;
	return -EPROTO;
}

void
ending_clear(const char *dir)
{
	char path[PATH_MAX];

	if (path_of(dir, path) == 0)
		(void)unlink(path);
}
