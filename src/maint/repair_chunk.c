/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/repair_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "maint/pick.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/names.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"
#include "store/store.h"

#define TIMEOUT_MS 60000
#define PUT_TIMEOUT_MS 600000
/* Chunks in trouble that are kept in mind. */
#define TROUBLES_MAX ((size_t)1 << 20)

/* How a chunk is where somebody has it, or may have. */
enum state { GOOD, UNPROVEN, MISSING, DAMAGED };

/* *ret is set for the first two.  -errno: nobody can tell. */
static int
look(const struct repairer *r, struct store *s, const struct chunk_want *w,
    struct buf **ret, enum state *ret_state)
{
	const unsigned ms = r->o->timeout_ms != 0 ? r->o->timeout_ms :
	    TIMEOUT_MS;
	const struct store_get how = {
	    .max = CHUNK_STORED_MAX,
	    .flags = STORE_FRESH,
	    .deadline = deadline_in(ms),
	};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	char key[KEY_CHUNK_LEN + 1];
	const char *why;
	int err;

	key_chunk(&w->digest, key);
	err = store_get(s, key, &how, &b, NULL);
	*ret_state = err == 1 ? MISSING : DAMAGED;
	if (err == 1 || err == -EFBIG)
		return 0;
	if (err == 0)
		err = chunk_check(w, b->data, b->len, &why);
	if (err == -EBADMSG)
		return 0;
	if (err < 0)
		return err;
	*ret_state = err == 1 ? UNPROVEN : GOOD;
	*ret = steal(&b);
	return 0;
}

/* Twice, before it is called damaged: what comes over a network is wrong now
 * and then. */
static int
look_twice(const struct repairer *r, struct store *s,
    const struct chunk_want *w, struct buf **ret, enum state *ret_state)
{
	int err = look(r, s, w, ret, ret_state);

	return err == 0 && *ret_state == DAMAGED ?
	    look(r, s, w, ret, ret_state) : err;
}

/* 0 if it is a chunk of zeros, encoded. */
static int
make_zeros(const struct chunk_want *w, struct buf **ret)
{
	_cleanup_free_ void *zeros = NULL;
	struct digest d;
	int r = 0;

	if (w->size == 0 || (w->encrypted && w->key == NULL))
		return -ENOENT;
	zeros = calloc(1, w->size);
	if (zeros == NULL)
		return -ENOMEM;
	if (w->encrypted)
		r = enc_key_digest(w->key, zeros, w->size, &d);
	else
		d = digest_of(zeros, w->size);
	if (r < 0)
		return r;
	return digest_eq(&d, &w->digest) ?
	    chunk_encode(zeros, w->size, w->key, true, ret) : -ENOENT;
}

static int
put(const struct repairer *r, const struct chunk_want *w, const struct buf *b,
    enum state was)
{
	const struct store_put how = {
	    .if_absent = was == MISSING,
	    .deadline = deadline_in(PUT_TIMEOUT_MS),
	};
	char key[KEY_CHUNK_LEN + 1];
	int err;

	if (r->o->dry_run)
		return 0;
	key_chunk(&w->digest, key);
	err = store_put(repo_store(r->o->repo), key, b->data, b->len, &how,
	    NULL);
	if (err >= 0 && r->o->known != NULL)
		known_add(r->o->known, &w->digest);
	return err < 0 ? err : 0;
}

/* What is told of a chunk, until all of it is. */
struct finding {
	enum repair_event outcome;
	char text[80];
	bool made;
	uint64_t bytes;
};

static void
say(struct finding *f, enum repair_event outcome, const char *text)
{
	f->outcome = outcome;
	snprintf(f->text, sizeof(f->text), "%s", text);
}

/* From the first who has a good one; one that is not proven only if nobody has
 * a better. */
static struct buf *
find(const struct repairer *r, const struct chunk_want *w, struct finding *f)
{
	struct buf *spare = NULL;
	const char *asked = NULL, *had = NULL;

	for (size_t i = 0; i < r->o->n_sources; i++) {
		const struct repair_source *s = &r->o->sources[i];
		struct buf *b = NULL;
		enum state state;

		if (look_twice(r, s->store, w, &b, &state) < 0) {
			asked = s->name;
			continue;
		}
		if (state == GOOD) {
			buf_unref(spare);
			say(f, REPAIR_HEALED, s->name);
			return b;
		}
		if (state == UNPROVEN && spare == NULL) {
			spare = steal(&b);
			had = s->name;
		}
		buf_unref(b);
	}
	if (spare != NULL)
		say(f, REPAIR_UNPROVEN, had);
	else if (asked != NULL)
		snprintf(f->text, sizeof(f->text), "%.40s does not tell",
		    asked);
	return spare;
}

static void
heal(const struct repairer *r, const struct chunk_want *w, enum state was,
    struct finding *f)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int err;

	say(f, REPAIR_LOST, was == MISSING ? "missing" : "damaged");
	err = make_zeros(w, &b);
	if (err == 0) {
		f->made = true;
		say(f, REPAIR_HEALED, "zeros");
	} else {
		b = find(r, w, f);
	}
	if (b == NULL)
		return;
	f->bytes = b->len;
	err = put(r, w, b, was);
	if (err < 0)
		say(f, REPAIR_UNKNOWN, strerror(-err));
}

static void
account(struct repairer *r, const struct finding *f, enum state was)
{
	struct repair_result *res = r->res;

	res->missing += was == MISSING;
	res->damaged += was == DAMAGED;
	res->unknown += f->outcome == REPAIR_UNKNOWN;
	res->lost += f->outcome == REPAIR_LOST;
	if (f->outcome != REPAIR_HEALED && f->outcome != REPAIR_UNPROVEN)
		return;
	res->healed++;
	res->healed_bytes += f->bytes;
	res->made += f->made;
	res->unproven += f->outcome == REPAIR_UNPROVEN;
}

static void
tell(struct repairer *r, const struct tree_snap *s, const struct each_chunk *e,
    enum repair_event outcome, const char *text)
{
	_cleanup_(str_fini) struct str path = {0};
	char hex[DIGEST_HEX_LEN + 1];

	pick_path(s, e->file->name, &path);
	repair_event(r, outcome, digest_hex(&e->want.digest, hex),
	    str_get(&path), text);
}

static int
remember(struct repairer *r, uint64_t file, const struct chunk_want *w,
    const struct finding *f)
{
	struct trouble *t;

	if (r->troubles.n == TROUBLES_MAX) {
		log_err("more than %zu chunks are damaged or missing\n"
		    "hint: run it again for the rest", TROUBLES_MAX);
		return -E2BIG;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return -ENOMEM;
	t->node.id = (struct chunk_id){w->digest, w->size, w->key};
	t->file = file;
	t->outcome = f->outcome;
	memcpy(t->text, f->text, sizeof(t->text));
	chunk_map_add(&r->troubles, &t->node);
	return 0;
}

static int
examine(const struct repair_snap *x, const struct each_chunk *e)
{
	struct repairer *r = x->r;
	const struct chunk_want *w = &e->want;
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct finding f = {.outcome = REPAIR_UNKNOWN};
	enum state was = GOOD;
	int err;

	err = look_twice(r, repo_store(r->o->repo), w, &b, &was);
	if (err == -ESHUTDOWN || err == -ENOMEM || err == -EDQUOT)
		return err;
	if (err < 0)
		say(&f, REPAIR_UNKNOWN, strerror(-err));
	else if (was == MISSING || was == DAMAGED)
		heal(r, w, was, &f);
	if (err == 0 && (was == GOOD || was == UNPROVEN ||
	    f.outcome == REPAIR_HEALED))
		known_add(r->good, &w->digest);
	LOCK(&r->lock);
	r->res->read++;
	if (err == 0 && (was == GOOD || was == UNPROVEN)) {
		r->res->good++;
		return 0;
	}
	account(r, &f, err < 0 ? GOOD : was);
	tell(r, x->s, e, f.outcome, f.text);
	return remember(r, x->file, w, &f);
}

/* Whether it was asked for. */
static bool
is_asked(struct repairer *r, const struct digest *d)
{
	const struct digest *v = r->o->chunks, *hit;

	hit = r->o->n_chunks == 0 ? NULL :
	    bsearch(d, v, r->o->n_chunks, sizeof(*v), digest_cmp);
	if (hit == NULL)
		return false;
	LOCK(&r->lock);
	r->used[hit - v] = true;
	return true;
}

/* It was in trouble already: perhaps another file that needs it. */
static bool
is_told(const struct repair_snap *x, const struct each_chunk *e)
{
	struct repairer *r = x->r;
	const struct chunk_want *w = &e->want;
	const struct chunk_id id = {w->digest, w->size, w->key};
	struct trouble *t;
	LOCK(&r->lock);

	t = (struct trouble *)chunk_map_find(&r->troubles, &id);
	if (t != NULL && t->file != x->file) {
		t->file = x->file;
		tell(r, x->s, e, t->outcome, t->text);
	}
	return t != NULL;
}

int
repair_chunk(void *arg, const struct each_chunk *e)
{
	struct repair_snap *x = arg;
	struct repairer *r = x->r;
	const struct chunk_want *w = &e->want;
	bool asked = is_asked(r, &w->digest);
	int err;

	if (r->o->progress != NULL) {
		LOCK(&r->lock);
		r->o->progress(r->o->arg, w->size);
	}
	if (is_told(x, e) || known_has(r->good, &w->digest))
		return 0;
	if (!x->all && !asked &&
	    (r->present == NULL || known_has(r->present, &w->digest)))
		return 0;
	/* Whoever collects garbage meanwhile may have looked before that index
	 * was there. */
	err = guard_mark(r->o->guard, &w->digest);
	return err < 0 ? err : examine(x, e);
}
