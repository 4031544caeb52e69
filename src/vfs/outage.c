/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/outage.h"

#include <errno.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/num.h"
#include "store/store.h"

#define SLOTS 256
#define LASTS_MS 1000

struct outage {
	struct digest digest;
	deadline_t until;
	uint64_t heard;		/* bytes from the store until then */
	int err;
};

struct outages {
	struct store *store;	/* borrowed */
	pthread_mutex_t lock;	/* guards slots */
	struct outage slots[SLOTS];
};

int
outages_new(struct store *s, struct outages **ret)
{
	struct outages *o = calloc(1, sizeof(*o));
	int r;

	if (o == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&o->lock, NULL);
	if (r < 0) {
		free(o);
		return r;
	}
	o->store = s;
	*ret = o;
	return 0;
}

void
outages_free(struct outages *o)
{
	if (o == NULL)
		return;
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static uint64_t
heard(struct outages *o)
{
	struct store_counts c;

	store_counts(o->store, &c);
	return c.bytes_read;
}

/* Another chunk in the same place is forgotten: that costs time, no more. */
static struct outage *
slot_of(struct outages *o, const struct digest *d)
{
	return &o->slots[get_le32(d->b) % SLOTS];
}

void
outage_note(struct outages *o, const struct digest *d, int err)
{
	uint64_t now = heard(o);
	struct outage *s;

	LOCK(&o->lock);
	s = slot_of(o, d);
	s->heard = now;
	s->digest = *d;
	s->until = deadline_in(LASTS_MS);
	s->err = err;
}

int
outage_of(struct outages *o, const struct digest *d)
{
	struct outage found;

	{
		LOCK(&o->lock);
		found = *slot_of(o, d);
	}
	if (found.err == 0 || !digest_eq(&found.digest, d) ||
	    deadline_left(found.until) == 0 || found.heard != heard(o))
		return 0;
	return found.err;
}
