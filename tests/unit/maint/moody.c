/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "mortal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/num.h"
#include "base/str.h"
#include "moody.h"

#include "../cm.h"

unsigned
chance_below(struct chance *c, unsigned n)
{
	LOCK(&c->lock);
	/* xorshift64*: good enough, and the same everywhere. */
	c->x ^= c->x >> 12;
	c->x ^= c->x << 25;
	c->x ^= c->x >> 27;
	return (unsigned)((c->x * 0x2545f4914f6cdd1dULL >> 33) % n);
}

bool
chance_is(struct chance *c, unsigned percent)
{
	return chance_below(c, 100) < percent;
}

enum mood { MOOD_GOOD, MOOD_REFUSE, MOOD_LOSE };

static void
between(struct moody *m, const char *const *doomed, size_t n)
{
	{
		LOCK(&m->lock);
		if (m->dead || m->busy || m->between == NULL ||
		    !chance_is(&m->w->luck, m->how_often))
			return;
		m->busy = true;
		m->who = pthread_self();
	}
	m->between(m->w, doomed, n);
	LOCK(&m->lock);
	m->busy = false;
}

/* What becomes of a call. */
static enum mood
mood(struct moody *m)
{
	LOCK(&m->lock);
	if (m->dead)
		return MOOD_REFUSE;
	if (++m->calls == m->die_at) {
		m->dead = true;
		pthread_cond_broadcast(&m->change);
		mortal_save(m->w);
		return chance_is(&m->w->luck, 50) ? MOOD_REFUSE : MOOD_LOSE;
	}
	if (!chance_is(&m->w->luck, m->moods))
		return MOOD_GOOD;
	return chance_is(&m->w->luck, 50) ? MOOD_REFUSE : MOOD_LOSE;
}

static int
moody_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *o)
{
	struct moody *m = (struct moody *)s;
	int r;

	between(m, NULL, 0);
	r = mood(m) != MOOD_GOOD ? -EIO : store_get(m->mem, key, how, ret, o);
	between(m, NULL, 0);
	return r;
}

/* Until it is let go, or there is nobody left to do so. */
static void
pause_put(struct moody *m)
{
	unsigned mine;
	LOCK(&m->lock);

	mine = m->came++;
	while (!m->dead && m->pausing && m->let <= mine)
		pthread_cond_wait(&m->change, &m->lock);
	m->went++;
	if (m->let < m->went)
		m->let = m->went;
}

static int
moody_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *o)
{
	struct moody *m = (struct moody *)s;
	enum mood mo;
	int r = -EIO;

	between(m, NULL, 0);
	if (str_starts(key, ".chunks/"))
		pause_put(m);
	mo = mood(m);
	if (mo != MOOD_REFUSE)
		r = store_put(m->mem, key, p, len, how, o);
	between(m, NULL, 0);
	return mo == MOOD_LOSE ? -EIO : r;
}

static int
moody_stat(struct store *s, const char *key, deadline_t d,
    struct store_object *ret)
{
	struct moody *m = (struct moody *)s;

	return mood(m) != MOOD_GOOD ? -EIO : store_stat(m->mem, key, d, ret);
}

struct listing {
	struct moody *m;
	store_list_fn *fn;
	void *arg;
};

/* Ages are of days, and do not depend on the clock. */
static int
list_one(void *arg, const char *key, const struct store_object *o)
{
	struct listing *l = arg;
	struct store_object older = *o;
	unsigned h = 0;

	between(l->m, NULL, 0);
	for (const char *k = key; *k != '\0'; k++)
		h = h * 31 + (unsigned char)*k;
	older.mtime -= (int64_t)(h % 72) * 3600;
	if (mortal_is_dead(l->m->w))
		return -EIO;
	return l->fn(l->arg, key, &older);
}

static int
moody_list(struct store *s, const char *prefix, const char *after,
    store_list_fn *fn, void *arg)
{
	struct listing l = {(struct moody *)s, fn, arg};

	if (mood(l.m) != MOOD_GOOD)
		return -EIO;
	return store_list(l.m->mem, prefix, after, list_one, &l);
}

static int
moody_del(struct store *s, const char *const *keys, size_t n,
    store_delete_fn *fn, void *arg, deadline_t d)
{
	struct moody *m = (struct moody *)s;
	enum mood mo;
	int r = -EIO;

	between(m, keys, n);
	mo = mood(m);
	if (mo != MOOD_REFUSE)
		r = store_delete(m->mem, keys, n, fn, arg, d);
	between(m, keys, n);
	if (r == 0 && mo == MOOD_LOSE)
		r = -EIO;
	for (size_t i = 0; r < 0 && fn != NULL && i < n; i++)
		fn(arg, keys[i], "no answer");
	return r;
}

static int
moody_copy(struct store *s, const char *from, const char *to, deadline_t d)
{
	struct moody *m = (struct moody *)s;

	return mood(m) != MOOD_GOOD ? -EIO : store_copy(m->mem, from, to, d);
}

static void
moody_free(struct store *s)
{
	struct moody *m = (struct moody *)s;

	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->change);
	free(m);
}

struct moody *
moody_new(struct mortal *w)
{
	static const struct store_ops ops = {
	    .get = moody_get,
	    .put = moody_put,
	    .stat = moody_stat,
	    .list = moody_list,
	    .del = moody_del,
	    .copy = moody_copy,
	    .free = moody_free,
	};
	struct moody *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->s.ops = &ops;
	m->s.name = "moody";
	m->mem = w->mem;
	m->w = w;
	pthread_mutex_init(&m->lock, NULL);
	assert_int_equal(cond_init(&m->change), 0);
	return m;
}
