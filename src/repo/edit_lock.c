/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_lock.h"

#include <string.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/repo_priv.h"
#include "repo/server_lock.h"

/* Whether path is ns or below it. */
static bool
is_in(const char *path, const char *ns)
{
	size_t n = strlen(ns);

	return n == 0 ||
	    (str_starts(path, ns) && (path[n] == '\0' || path[n] == '/'));
}

static bool
conflict(const struct edit_lock *a, const struct edit_lock *b)
{
	const struct group_name *ga = &a->group, *gb = &b->group;

	if (!a->is_ns && !b->is_ns)
		return ga->type == gb->type && streq(ga->id, gb->id) &&
		    streq(ga->ns, gb->ns);
	return (a->is_ns && is_in(gb->ns, ga->ns)) ||
	    (b->is_ns && is_in(ga->ns, gb->ns));
}

static void
take(struct repo *r, struct edit_lock *l)
{
	LOCK(&r->lock);
	struct edit_lock *other;

again:
	LIST_FOREACH(other, &r->edits, link) {
		if (conflict(l, other)) {
			pthread_cond_wait(&r->changed, &r->lock);
			goto again;
		}
	}
	LIST_INSERT_HEAD(&r->edits, l, link);
}

static void
init(struct edit_lock *l)
{
	memset(l, 0, sizeof(*l));
	l->server[0] = l->server[1] = -1;
}

void
edit_lock_group(struct repo *r, const struct group_name *g,
    struct edit_lock *l)
{
	init(l);
	l->group = *g;
	take(r, l);
}

void
edit_lock_ns(struct repo *r, const char *path, struct edit_lock *l)
{
	init(l);
	memcpy(l->group.ns, path, strlen(path) + 1);
	l->is_ns = true;
	take(r, l);
}

int
edit_lock_server(struct repo *r, struct edit_lock *l)
{
	return r->lock_dir == NULL ? 0 :
	    server_lock_group(r->lock_dir, &l->group, &l->server[0]);
}

int
edit_lock_server_snap(struct repo *r, struct edit_lock *l, int64_t time)
{
	return r->lock_dir == NULL ? 0 :
	    server_lock_snap(r->lock_dir, &l->group, time, &l->server[1]);
}

void
edit_unlock(struct repo *r, struct edit_lock *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(l->server); i++)
		if (l->server[i] >= 0)
			close(l->server[i]);
	LOCK(&r->lock);

	LIST_REMOVE(l, link);
	pthread_cond_broadcast(&r->changed);
}
