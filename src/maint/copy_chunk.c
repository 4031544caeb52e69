/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/copy_priv.h"

#include <errno.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "pbs/blob.h"
#include "pbs/names.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "store/store.h"

#define TIMEOUT_MS 60000
/* Of a put or a copy with all retries. */
#define PUT_TIMEOUT_MS 600000

/* Whether the target has it: 0, 1 if not, -errno. */
static int
is_there(struct copier *c, const struct digest *d, const char *key)
{
	int r;

	if (known_in_doubt(c->known, d))
		return 1;
	if (!c->touches)
		return known_has(c->known, d) ? 0 : 1;
	r = store_touch(repo_store(c->o->to), key);
	if (r == 1)
		known_remove(c->known, d);
	return r;
}

/* 0; 1 if the source has none; -EOPNOTSUPP: not that way. */
static int
by_server(struct copy_snap *x, const char *key)
{
	struct copier *c = x->c;
	int r;

	if (x->read_all || atomic_load(&c->no_server))
		return -EOPNOTSUPP;
	r = store_copy_from(repo_store(c->o->to), repo_store(c->o->from), key,
	    deadline_in(PUT_TIMEOUT_MS));
	if (r == -EOPNOTSUPP && !atomic_exchange(&c->no_server, true))
		log_debug("chunks pass through here: the server does not copy "
		    "between the two");
	return r;
}

static int
damaged(struct copier *c, const struct digest *d, const char *why, int err)
{
	char hex[DIGEST_HEX_LEN + 1];

	copier_event(c, COPY_CHUNK, digest_hex(d, hex), why);
	return err;
}

/* A good one, or one of which nobody can tell more (*ret_unproven). */
static int
fetch(struct copier *c, const struct chunk_want *w, const char *key,
    struct buf **ret, bool *ret_unproven)
{
	struct store *s = repo_store(c->o->from);
	const char *why = "";
	int r = 0;

	for (unsigned i = 0; i < 2; i++) {
		const struct store_get how = {
		    .max = CHUNK_STORED_MAX,
		    .flags = i == 0 ? 0 : STORE_FRESH,
		    .deadline = deadline_in(c->o->timeout_ms != 0 ?
			c->o->timeout_ms : TIMEOUT_MS),
		};
		struct buf *b = NULL;

		r = store_get(s, key, &how, &b, NULL);
		if (r == 1)
			return damaged(c, &w->digest, "is missing", -ENOENT);
		if (r == -EFBIG)
			why = "is larger than any chunk";
		if (r == -EFBIG)
			continue;
		if (r < 0)
			return r;
		r = chunk_check(w, b->data, b->len, &why);
		if (r >= 0) {
			*ret_unproven = r == 1;
			*ret = b;
			return 0;
		}
		if (r == -EBADMSG)
			store_verdict(s, key, b, false);
		buf_unref(b);
		if (r != -EBADMSG)
			return r;
	}
	return damaged(c, &w->digest, why, -EBADMSG);
}

/* 0, 1 if it was there after all. */
static int
put(struct copier *c, const struct digest *d, const char *key,
    const struct buf *b)
{
	const struct store_put how = {
	    /* What is there and damaged is not as good. */
	    .if_absent = !known_in_doubt(c->known, d),
	    .lazy = true,
	    .deadline = deadline_in(PUT_TIMEOUT_MS),
	};

	return store_put(repo_store(c->o->to), key, b->data, b->len, &how,
	    NULL);
}

static int
through_here(struct copier *c, const struct chunk_want *w, const char *key)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	bool unproven = false;
	int r;

	r = fetch(c, w, key, &b, &unproven);
	if (r == 0)
		r = put(c, &w->digest, key, b);
	if (r < 0)
		return r;
	LOCK(&c->lock);
	if (r == 1) {
		c->res->chunks_there++;
		return 0;
	}
	c->res->sent++;
	c->res->sent_bytes += b->len;
	c->res->unproven += unproven;
	return 0;
}

static int
send(struct copy_snap *x, const struct chunk_want *w, const char *key)
{
	struct copier *c = x->c;
	int r;

	r = by_server(x, key);
	if (r == 1)
		return damaged(c, &w->digest, "is missing", -ENOENT);
	if (r == -EOPNOTSUPP)
		r = through_here(c, w, key);
	else if (r == 0) {
		LOCK(&c->lock);
		c->res->by_server++;
		c->res->by_server_bytes += w->size;
	}
	if (r == 0)
		known_add(c->known, &w->digest);
	return r;
}

/* What would be done.  One that is counted is not counted again. */
static int
count(struct copier *c, const struct chunk_want *w)
{
	bool there = known_has(c->known, &w->digest);
	LOCK(&c->lock);

	c->res->chunks++;
	if (there) {
		c->res->chunks_there++;
		return 0;
	}
	known_add(c->known, &w->digest);
	c->res->sent++;
	c->res->sent_bytes += w->size;
	return 0;
}

int
copy_chunk(void *arg, const struct each_chunk *e)
{
	struct copy_snap *x = arg;
	struct copier *c = x->c;
	const struct chunk_want *w = &e->want;
	char key[KEY_CHUNK_LEN + 1];
	int r;

	if (c->o->dry_run)
		return count(c, w);
	/* First marked, then looked for: see repo/guard.h. */
	r = guard_mark(c->o->guard, &w->digest);
	if (r < 0)
		return r;
	key_chunk(&w->digest, key);
	r = is_there(c, &w->digest, key);
	if (r < 0)
		return r;
	{
		LOCK(&c->lock);
		c->res->chunks++;
		c->res->chunks_there += r == 0;
		if (c->o->progress != NULL)
			c->o->progress(c->o->arg, w->size);
	}
	return r == 1 ? send(x, w, key) : 0;
}
