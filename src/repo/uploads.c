/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/uploads.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/lock.h"
#include "base/num.h"
#include "base/workq.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/names.h"
#include "repo/chunk_map.h"
#include "repo/chunks.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "store/store.h"

#define MEMORY_DEFAULT (128 * MIB)
#define PUTTERS_DEFAULT 8
#define TIMEOUT_DEFAULT_MS (10 * 60 * 1000)
/* Of an upload beside its bytes, so that tiny ones count too. */
#define OVERHEAD 512
/* How long room is kept for who tried in vain, and is to try again. */
#define TRIER_MS 100

/*
 * What is under way for one digest, once that is known; before, for one upload.
 * It belongs to the thread that works on it, but for what the lock guards.
 */
struct flight {
	struct chunk_node node;	/* first; in the map once it has a digest */
	struct work work;
	struct uploads *u;	/* borrowed */
	struct buf *plain;	/* owned; until it is encoded */
	struct buf *encoded;	/* owned */
	const struct enc_key *key;	/* borrowed */
	uint32_t size;		/* of plain */
	/* Guarded by the lock: */
	bool mapped;
	uint64_t room;		/* bytes set aside */
	struct upload *first, **last;	/* who waits for it */
};

struct uploads {
	struct store *store;		/* borrowed */
	struct known *known;		/* borrowed; its lock comes after ours */
	struct chunks *chunks;		/* borrowed, or NULL */
	struct guard *guard;		/* borrowed, or NULL; waits without our
					 * lock */
	struct workq *pack, *put;	/* owned */
	uint64_t limit;
	unsigned timeout_ms;
	bool compress;

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t turn;		/* of who waits for room */
	uint64_t used;
	uint64_t waiting, served;	/* tickets: drawn, and done with */
	/* Who only tries has no ticket, but a turn after each who waits. */
	uint64_t tried_at;	/* served, when one went before a ticket */
	deadline_t trier_until;	/* one is to try again before that; 0 */
	bool shutdown;
	struct chunk_map flights;	/* by digest alone */
	struct uploads_stats stats;
};

static struct flight *
flight_of_work(struct work *w)
{
	return (struct flight *)((char *)w - offsetof(struct flight, work));
}

/* Before their room is given to others. */
static void
drop_bytes(struct flight *f)
{
	buf_unref(steal(&f->plain));
	buf_unref(steal(&f->encoded));
}

/* With the lock. */
static void
release(struct uploads *u, uint64_t room)
{
	assert(u->used >= room);
	u->used -= room;
	pthread_cond_broadcast(&u->turn);
}

static bool
is_shut_down(struct uploads *u)
{
	LOCK(&u->lock);
	return u->shutdown;
}

/* Tell them without the lock; after that they belong to their owners. */
static void
tell(struct upload *up, int err)
{
	struct upload *next;

	for (; up != NULL; up = next) {
		next = up->next;
		up->done(up, err);
	}
}

/* The flight is over for all who joined it.  sent: bytes, or 0. */
static void
land(struct flight *f, int err, uint32_t sent)
{
	struct uploads *u = f->u;
	struct upload *up;

	drop_bytes(f);
	pthread_mutex_lock(&u->lock);
	if (f->mapped)
		chunk_map_remove(&u->flights, &f->node);
	release(u, f->room);
	for (up = f->first; up != NULL; up = up->next) {
		up->digest = f->node.id.digest;
		/* One of them has sent it. */
		up->duplicate = err == 0 && (up != f->first || sent == 0);
		up->stored = up == f->first ? sent : 0;
		u->stats.in_flight--;
		u->stats.failed += err < 0;
		u->stats.duplicates += up->duplicate;
	}
	if (sent > 0) {
		u->stats.puts++;
		u->stats.put_bytes += sent;
	}
	pthread_mutex_unlock(&u->lock);
	up = f->first;
	free(f);
	tell(up, err);
}

static void
put_run(struct work *w)
{
	struct flight *f = flight_of_work(w);
	struct uploads *u = f->u;
	const struct store_put how = {
	    /* What is there and damaged is not as good. */
	    .if_absent = !known_in_doubt(u->known, &f->node.id.digest),
	    .lazy = true,
	    .deadline = deadline_in(u->timeout_ms),
	};
	char key[KEY_CHUNK_LEN + 1];
	uint32_t len = (uint32_t)f->encoded->len;
	int r;

	if (is_shut_down(u)) {
		land(f, -ESHUTDOWN, 0);
		return;
	}
	key_chunk(&f->node.id.digest, key);
	r = store_put(u->store, key, f->encoded->data, len, &how, NULL);
	/* Throttled to the end, and not "ask again, and wait". */
	if (r == -EAGAIN)
		r = -ETIMEDOUT;
	if (r < 0) {
		land(f, r, 0);
		return;
	}
	/* First known, then no longer under way: nobody may find neither. */
	known_add(u->known, &f->node.id.digest);
	if (u->chunks != NULL)
		chunks_back(u->chunks, &(struct chunk_id){
		    .digest = f->node.id.digest,
		    .size = f->size,
		    .key = f->key,
		});
	/* Only what the store has from us is what it would give us. */
	if (r == 0)
		store_verdict(u->store, key, f->encoded, true);
	land(f, 0, r == 0 ? len : 0);
}

static int
name(struct flight *f)
{
	if (f->key != NULL)
		return enc_key_digest(f->key, f->plain->data, f->plain->len,
		    &f->node.id.digest);
	f->node.id.digest = digest_of(f->plain->data, f->plain->len);
	return 0;
}

/* Whether somebody is at it already, who then has our upload as well.
 * Otherwise ours is the one, and *ret_known says whether it is needed. */
static bool
join(struct flight *f, bool *ret_known)
{
	struct uploads *u = f->u;
	LOCK(&u->lock);
	struct flight *other =
	    (struct flight *)chunk_map_find(&u->flights, &f->node.id);

	if (other == NULL) {
		chunk_map_add(&u->flights, &f->node);
		f->mapped = true;
		*ret_known = known_has(u->known, &f->node.id.digest);
		return false;
	}
	*other->last = f->first;
	other->last = f->last;
	return true;
}

/* What is left of a flight that has joined another one. */
static void
leave(struct flight *f)
{
	struct uploads *u = f->u;

	drop_bytes(f);
	{
		LOCK(&u->lock);
		release(u, f->room);
	}
	free(f);
}

/* Whether it needs no upload. */
static bool
is_there(struct uploads *u, const struct digest *d)
{
	char key[KEY_CHUNK_LEN + 1];
	int r;

	key_chunk(d, key);
	r = store_touch(u->store, key);
	if (r == 1)
		known_remove(u->known, d);
	/* After a failure the upload finds out. */
	return r == 0 || r == -EOPNOTSUPP;
}

static int
encode(struct flight *f)
{
	struct uploads *u = f->u;
	uint64_t room;
	int r;

	r = chunk_encode(f->plain->data, f->plain->len, f->key, u->compress,
	    &f->encoded);
	if (r < 0)
		return r;
	buf_unref(steal(&f->plain));
	room = buf_room(f->encoded) + OVERHEAD;
	LOCK(&u->lock);
	release(u, f->room - room);
	f->room = room;
	return 0;
}

static void
pack_run(struct work *w)
{
	struct flight *f = flight_of_work(w);
	struct uploads *u = f->u;
	bool known;
	int r;

	r = is_shut_down(u) ? -ESHUTDOWN : name(f);
	/* Before it is asked whether the chunk is known. */
	if (r == 0)
		r = guard_mark(u->guard, &f->node.id.digest);
	if (r < 0) {
		land(f, r, 0);
		return;
	}
	if (join(f, &known)) {
		leave(f);
		return;
	}
	if (known && is_there(u, &f->node.id.digest)) {
		land(f, 0, 0);
		return;
	}
	r = encode(f);
	f->work.fn = put_run;
	if (r == 0)
		r = workq_add(u->put, &f->work);
	if (r < 0)
		land(f, r, 0);
}

static bool
fits(const struct uploads *u, uint64_t room)
{
	return u->used == 0 || (u->used <= u->limit &&
	    room <= u->limit - u->used);
}

/* With the lock. */
static void
use(struct uploads *u, uint64_t room)
{
	u->used += room;
	pthread_cond_broadcast(&u->turn);
}

static bool
has_turn(const struct uploads *u)
{
	return u->served == u->waiting || u->served != u->tried_at;
}

/* Without waiting; with the lock. */
static int
try_room(struct uploads *u, uint64_t room)
{
	if (u->shutdown)
		return -ESHUTDOWN;
	if (!has_turn(u) || !fits(u, room)) {
		u->trier_until = deadline_in(TRIER_MS);
		return -EAGAIN;
	}
	u->trier_until = 0;
	if (u->served != u->waiting)
		u->tried_at = u->served;
	use(u, room);
	return 0;
}

static bool
is_triers_turn(const struct uploads *u)
{
	return u->trier_until != 0 && has_turn(u) &&
	    deadline_left(u->trier_until) > 0;
}

/* In the order in which they came, so that a large one has its turn.  With the
 * lock. */
static int
take_room(struct uploads *u, uint64_t room)
{
	uint64_t ticket = u->waiting++;

	while (!u->shutdown) {
		if (u->served != ticket || !fits(u, room))
			pthread_cond_wait(&u->turn, &u->lock);
		else if (is_triers_turn(u))
			cond_wait_until(&u->turn, &u->lock, u->trier_until);
		else
			break;
	}
	if (u->shutdown)
		return -ESHUTDOWN;
	u->served++;
	use(u, room);
	return 0;
}

static int
reserve(struct uploads *u, const struct buf *plain, uint64_t room, bool wait)
{
	LOCK(&u->lock);
	int r = wait ? take_room(u, room) : try_room(u, room);

	if (r < 0)
		return r;
	u->stats.chunks++;
	u->stats.bytes += plain->len;
	u->stats.in_flight++;
	return 0;
}

static void
unreserve(struct uploads *u, const struct buf *plain, uint64_t room)
{
	LOCK(&u->lock);

	release(u, room);
	u->stats.chunks--;
	u->stats.bytes -= plain->len;
	u->stats.in_flight--;
}

static int
add(struct uploads *u, struct buf *plain, const struct enc_key *key,
    struct upload *up, bool wait)
{
	struct flight *f;
	int r;

	if (plain->len == 0 || plain->len > CHUNK_CONTENT_MAX)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return -ENOMEM;
	/* The bytes, and what they may become. */
	f->room = buf_room(plain) + OVERHEAD +
	    buf_room_for(plain->len + BLOB_HEADER_ENC);
	r = reserve(u, plain, f->room, wait);
	if (r < 0) {
		free(f);
		return r;
	}
	up->next = NULL;
	f->u = u;
	f->key = key;
	f->plain = buf_ref(plain);
	f->size = (uint32_t)plain->len;
	f->first = up;
	f->last = &up->next;
	f->work.fn = pack_run;
	r = workq_add(u->pack, &f->work);
	if (r < 0) {
		drop_bytes(f);
		unreserve(u, plain, f->room);
		free(f);
	}
	return r;
}

int
uploads_add(struct uploads *u, struct buf *plain, const struct enc_key *key,
    struct upload *up)
{
	return add(u, plain, key, up, true);
}

int
uploads_try(struct uploads *u, struct buf *plain, const struct enc_key *key,
    struct upload *up)
{
	return add(u, plain, key, up, false);
}

int
uploads_renew(struct uploads *u, const struct digest *digest)
{
	char key[KEY_CHUNK_LEN + 1];
	int r;

	if (known_in_doubt(u->known, digest))
		return 1;
	key_chunk(digest, key);
	r = store_touch(u->store, key);
	if (r == -EOPNOTSUPP)
		return known_has(u->known, digest) ? 0 : 1;
	if (r == 1)
		known_remove(u->known, digest);
	return r;
}

int
uploads_touch(struct uploads *u, const struct digest *digest)
{
	int r = guard_mark(u->guard, digest);

	return r < 0 ? r : uploads_renew(u, digest);
}

int
uploads_new(struct store *s, struct known *known,
    const struct uploads_opts *o, struct uploads **ret)
{
	static const struct uploads_opts none = {0};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned packers;
	struct uploads *u;
	int r;

	if (o == NULL)
		o = &none;
	packers = o->packers != 0 ? o->packers : cpus > 0 ? (unsigned)cpus : 1;
	u = calloc(1, sizeof(*u));
	if (u == NULL)
		return -ENOMEM;
	u->store = s;
	u->known = known;
	u->limit = o->memory != 0 ? o->memory : MEMORY_DEFAULT;
	u->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms :
	    TIMEOUT_DEFAULT_MS;
	u->compress = !o->no_compress;
	u->chunks = o->chunks;
	u->guard = o->guard;
	u->tried_at = UINT64_MAX;
	pthread_mutex_init(&u->lock, NULL);
	r = cond_init(&u->turn);
	if (r < 0)
		goto err_lock;
	r = chunk_map_init(&u->flights);
	if (r < 0)
		goto err_cond;
	r = workq_new("pack", packers, &u->pack);
	if (r < 0)
		goto err_map;
	r = workq_new("put", o->putters != 0 ? o->putters : PUTTERS_DEFAULT,
	    &u->put);
	if (r < 0)
		goto err_pack;
	*ret = u;
	return 0;

err_pack:
	workq_free(u->pack);
err_map:
	chunk_map_fini(&u->flights);
err_cond:
	pthread_cond_destroy(&u->turn);
err_lock:
	pthread_mutex_destroy(&u->lock);
	free(u);
	return r;
}

void
uploads_shutdown(struct uploads *u)
{
	LOCK(&u->lock);

	u->shutdown = true;
	pthread_cond_broadcast(&u->turn);
}

void
uploads_free(struct uploads *u)
{
	if (u == NULL)
		return;
	uploads_shutdown(u);
	/* The packers feed the putters. */
	workq_free(u->pack);
	workq_free(u->put);
	assert(u->used == 0 && u->flights.n == 0);
	chunk_map_fini(&u->flights);
	pthread_cond_destroy(&u->turn);
	pthread_mutex_destroy(&u->lock);
	free(u);
}

struct known *
uploads_known(struct uploads *u)
{
	return u->known;
}

struct guard *
uploads_guard(struct uploads *u)
{
	return u->guard;
}

void
uploads_stats(struct uploads *u, struct uploads_stats *ret)
{
	LOCK(&u->lock);
	*ret = u->stats;
	ret->memory = u->used;
	ret->memory_limit = u->limit;
}
