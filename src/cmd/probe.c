/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/probe.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/stack.h"
#include "crypt/digest.h"
#include "pbs/names.h"
#include "s3/s3.h"

/* Servers refuse requests whose time differs by 15 minutes. */
#define SKEW_BAD 900
#define SKEW_ODD 60
#define CONTENT "pbs3fs check: this object may be deleted\n"
#define CONTENT_LEN (sizeof(CONTENT) - 1)
#define OBJECTS 3

static const struct {
	const char *name;
	bool read, write;	/* needed for it */
} probes[PROBES] = {
    [PROBE_CONNECT] = {"connect", true, true},
    [PROBE_TLS] = {"tls", false, false},
    [PROBE_CLOCK] = {"clock", true, true},
    [PROBE_LIST] = {"list", true, true},
    [PROBE_DATASTORE] = {"datastore", false, false},
    [PROBE_GET] = {"get", true, true},
    [PROBE_RANGE] = {"range get", false, false},
    [PROBE_PUT] = {"put", false, true},
    [PROBE_STAT] = {"head", false, true},
    [PROBE_CONDITIONAL] = {"conditional put", false, false},
    [PROBE_COPY] = {"copy", false, false},
    [PROBE_DELETE] = {"delete", false, true},
    [PROBE_MULTI_DELETE] = {"multi-delete", false, true},
};

const char *
probe_name(enum probe_id id)
{
	return probes[id].name;
}

bool
probe_is_needed(enum probe_id id, bool write)
{
	return write ? probes[id].write : probes[id].read;
}

__attribute__((format(printf, 3, 4))) static void
set(struct probe *p, enum probe_result result, const char *fmt, ...)
{
	va_list ap;

	p->result = result;
	va_start(ap, fmt);
	vsnprintf(p->detail, sizeof(p->detail), fmt, ap);
	va_end(ap);
}

static void
fail(struct probe *p, int err)
{
	bool cannot = err == -EOPNOTSUPP || err == -EACCES || err == -EROFS;

	p->err = err;
	set(p, cannot ? PROBE_NO : PROBE_FAILED, "%s", exits_why(err));
}

static void
connect_s3(struct stack *s, struct probe p[PROBES])
{
	const char *endpoint = s->o->endpoint;
	int64_t skew;
	int r;

	r = s3_head_bucket(s->s3, deadline_in(s->o->timeout));
	if (r < 0)
		fail(&p[PROBE_CONNECT], r);
	else
		set(&p[PROBE_CONNECT], PROBE_YES, "bucket %.64s",
		    s->t.bucket);
	if (s3_clock_skew(s->s3, &skew) == 0)
		set(&p[PROBE_CLOCK],
		    llabs(skew) < SKEW_BAD ? PROBE_YES : PROBE_NO,
		    "%" PRId64 " s %s%s", (int64_t)llabs(skew),
		    skew < 0 ? "ahead of the server" : "behind the server",
		    llabs(skew) < SKEW_ODD ? "" : ", set it");
	if (str_starts(endpoint, "http://"))
		set(&p[PROBE_TLS], PROBE_NO, "plain http: the secret key is "
		    "not sent, but a session token and all data can be read "
		    "on the way");
	else if (r == -EKEYREJECTED)
		fail(&p[PROBE_TLS], r);
	else if (p[PROBE_CLOCK].result != PROBE_SKIPPED)	/* an answer */
		set(&p[PROBE_TLS], PROBE_YES, "%s",
		    s->o->fingerprint != NULL ? "by fingerprint" :
		    s->o->ca != NULL	      ? "by the given authority" :
						"by a known authority");
}

struct first {
	char key[KEY_MAX + 1];
	uint64_t size;
};

/* Any object that has a byte to be read. */
static int
take_first(void *arg, const char *key, const struct store_object *o)
{
	struct first *f = arg;

	snprintf(f->key, sizeof(f->key), "%s", key);
	f->size = o->size;
	return o->size > 0;
}

static void
get_something(struct stack *s, const struct first *f, struct probe p[PROBES])
{
	struct store_get how = {.max = (size_t)16 << 20,
	    .deadline = deadline_in(s->o->timeout)};
	struct buf *b = NULL;
	int r;

	r = store_get(s->store, f->key, &how, &b, NULL);
	if (r == 0 && b->len == f->size)
		set(&p[PROBE_GET], PROBE_YES, "%" PRIu64 " bytes", f->size);
	else if (r == 0)
		set(&p[PROBE_GET], PROBE_NO, "%zu bytes instead of %" PRIu64,
		    b->len, f->size);
	else
		fail(&p[PROBE_GET], r == 1 ? -ENOENT : r);
	buf_unref(b);
	b = NULL;
	how.off = f->size - 1;
	how.len = 1;
	r = store_get(s->store, f->key, &how, &b, NULL);
	if (r == 0)
		set(&p[PROBE_RANGE], b->len == 1 ? PROBE_YES : PROBE_NO, "%s",
		    b->len == 1 ? "" : "the range is not kept");
	else
		fail(&p[PROBE_RANGE], r == 1 ? -ENOENT : r);
	buf_unref(b);
}

void
probe_read(struct stack *s, struct probe p[PROBES])
{
	struct first *f;
	int r;

	if (s->s3 != NULL)
		connect_s3(s, p);
	else
		set(&p[PROBE_CONNECT], PROBE_YES, "directory");
	/* What failed here would fail with every other request. */
	if (p[PROBE_CONNECT].result == PROBE_FAILED)
		return;
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return;
	r = store_list(s->store, ".cnt/", NULL, take_first, f);
	if (r < 0) {
		fail(&p[PROBE_LIST], r);
	} else {
		set(&p[PROBE_LIST], PROBE_YES, "%s", "");
		set(&p[PROBE_DATASTORE], f->size > 0 ? PROBE_YES : PROBE_NO,
		    "%s", f->size > 0 ? "" : "there are no snapshots");
	}
	if (f->size > 0)
		get_something(s, f, p);
	free(f);
}

/*
 * Objects of our own.
 */
struct own {
	struct stack *s;
	char key[OBJECTS][64];
};

static int
put(struct own *w, int i, bool if_absent)
{
	struct store_put how = {.if_absent = if_absent,
	    .deadline = deadline_in(w->s->o->timeout)};

	return store_put(w->s->store, w->key[i], CONTENT, CONTENT_LEN, &how,
	    NULL);
}

static int
is_there(struct own *w, int i)
{
	struct store_object o;
	int r = store_stat(w->s->store, w->key[i],
	    deadline_in(w->s->o->timeout), &o);

	if (r == 0)
		return o.size == CONTENT_LEN ? 1 : -EBADMSG;
	return r == 1 ? 0 : r;
}

static void
probe_get_own(struct own *w, struct probe p[PROBES])
{
	struct store_get how = {.max = 4096, .off = 7, .len = 5,
	    .deadline = deadline_in(w->s->o->timeout)};
	struct buf *b = NULL;
	int r;

	r = store_get(w->s->store, w->key[0], &how, &b, NULL);
	if (r == 0)
		set(&p[PROBE_RANGE], b->len == 5 &&
		    memcmp(b->data, &CONTENT[7], 5) == 0 ? PROBE_YES :
		    PROBE_NO, "%s", "");
	else
		fail(&p[PROBE_RANGE], r == 1 ? -ENOENT : r);
	buf_unref(b);
	b = NULL;
	how.off = how.len = 0;
	r = store_get(w->s->store, w->key[0], &how, &b, NULL);
	if (r == 0)
		set(&p[PROBE_GET], b->len == CONTENT_LEN &&
		    memcmp(b->data, CONTENT, CONTENT_LEN) == 0 ? PROBE_YES :
		    PROBE_NO, "%s", "");
	else
		fail(&p[PROBE_GET], r == 1 ? -ENOENT : r);
	buf_unref(b);
}

static void
probe_conditional(struct own *w, struct probe *p)
{
	int r;

	if (w->s->o->skip_if_none_match) {
		set(p, PROBE_SKIPPED, "off: skip-if-none-match");
		return;
	}
	r = put(w, 1, true);
	if (r == 0)
		r = put(w, 1, true);
	if (r == 1)
		set(p, PROBE_YES, "%s", "");
	else if (r == 0)
		set(p, PROBE_NO, "ignored: the last writer wins");
	else
		fail(p, r);
	if (r == -EOPNOTSUPP)
		set(p, PROBE_NO, "refused: use skip-if-none-match");
}

static void
probe_stat(struct own *w, struct probe *p)
{
	int r = is_there(w, 0);

	if (r == 1)
		set(p, PROBE_YES, "%s", "");
	else
		fail(p, r == 0 ? -ENOENT : r);
}

static void
probe_copy(struct own *w, struct probe *p)
{
	int r = store_copy(w->s->store, w->key[0], w->key[2],
	    deadline_in(w->s->o->timeout));

	if (r == 0)
		r = is_there(w, 2);
	if (r == 1)
		set(p, PROBE_YES, "%s", "");
	else
		fail(p, r == 0 ? -ENOENT : r);
}

static void
ignore(void *arg, const char *key, const char *why)
{
	(void)arg;
	(void)key;
	(void)why;
}

static void
probe_delete(struct own *w, struct probe *p, int first, int n)
{
	const char *keys[OBJECTS];
	int r;

	for (int i = 0; i < n; i++)
		keys[i] = w->key[first + i];
	r = store_delete(w->s->store, keys, (size_t)n, ignore, NULL,
	    deadline_in(w->s->o->timeout));
	for (int i = 0; r == 0 && i < n; i++)
		if (is_there(w, first + i) == 1)
			r = -EEXIST;
	if (r == 0)
		set(p, PROBE_YES, "%s", "");
	else if (r == -EEXIST)
		set(p, PROBE_NO, "the object is still there");
	else
		fail(p, r);
	if (r == -EOPNOTSUPP && n > 1)
		set(p, PROBE_NO, "refused: use no-multi-delete");
}

static int
clean_up(struct own *w)
{
	int worst = 0;

	for (int i = 0; i < OBJECTS; i++) {
		const char *key = w->key[i];
		int r = is_there(w, i);

		if (r == 0)
			continue;
		r = store_delete(w->s->store, &key, 1, ignore, NULL,
		    deadline_in(w->s->o->timeout));
		if (r < 0) {
			log_err("%s: cannot be deleted again: %s", key,
			    exits_why(r));
			worst = r;
		}
	}
	return worst;
}

int
probe_write(struct stack *s, struct probe p[PROBES])
{
	struct own w = {.s = s};
	uint8_t rnd[8];
	char hex[2 * sizeof(rnd) + 1];
	int r;

	r = crypt_random(rnd, sizeof(rnd));
	if (r < 0) {
		fail(&p[PROBE_PUT], r);
		return 0;
	}
	hex_encode(hex, rnd, sizeof(rnd));
	for (int i = 0; i < OBJECTS; i++)
		snprintf(w.key[i], sizeof(w.key[i]),
		    ".pbs3fs/check-%s/%d", hex, i);
	r = put(&w, 0, false);
	if (r < 0) {
		/* It may be there although nobody said so. */
		fail(&p[PROBE_PUT], r);
		return exits_of(r) == EXIT_DENIED ? 0 : clean_up(&w);
	}
	set(&p[PROBE_PUT], PROBE_YES, "%s", "");
	probe_get_own(&w, p);
	probe_stat(&w, &p[PROBE_STAT]);
	probe_conditional(&w, &p[PROBE_CONDITIONAL]);
	probe_copy(&w, &p[PROBE_COPY]);
	probe_delete(&w, &p[PROBE_DELETE], 0, 1);
	/* Two that are there, whatever copy and conditional put can do. */
	put(&w, 1, false);
	put(&w, 2, false);
	probe_delete(&w, &p[PROBE_MULTI_DELETE], 1, 2);
	return clean_up(&w);
}
