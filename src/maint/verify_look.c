/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "repo/repo.h"
#include "store/store.h"

/* Two of them have to agree that something is wrong. */
#define ATTEMPTS 4
#define AGREE 2
/* So many requests in a row without an answer, each tried again by the store
 * itself: there is no use in asking for millions more. */
#define OUTAGES_MAX 32

/* What an answer says of the store, not of the object. */
static void
note(struct verify *v, int r)
{
	LOCK(&v->lock);

	if (r >= 0)
		v->outages = 0;
	else if (repo_is_outage(r) && ++v->outages >= OUTAGES_MAX)
		v->fatal = v->fatal < 0 ? v->fatal : r;
	if (r == -EDQUOT || r == -ENOMEM || r == -ESHUTDOWN)
		v->fatal = v->fatal < 0 ? v->fatal : r;
}

/* 0 good; 1 absent; -EBADMSG; or an error that says nothing. */
static int
attempt(struct verify *v, const struct look *l, bool cached)
{
	const struct store_get how = {
	    .max = l->max,
	    .flags = cached ? 0 : STORE_FRESH,
	    .deadline = deadline_in(v->timeout_ms),
	    .etag = l->etag != NULL && l->etag[0] != '\0' ? l->etag : NULL,
	};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	r = store_get(v->store, l->key, &how, &b, NULL);
	if (r == -EFBIG) {
		note(v, 0);
		return l->check(l->arg, NULL);
	}
	/* Damage is what a check finds, not what a store says. */
	if (r == -EBADMSG)
		r = -EIO;
	note(v, r);
	if (r != 0)
		return r;
	r = l->check(l->arg, b);
	if (r == -EBADMSG && cached)
		store_verdict(v->store, l->key, b, false);
	if (r == -ENOMEM)
		note(v, r);
	return r;
}

enum verdict
verify_look(struct verify *v, const struct look *l, int *ret_err)
{
	unsigned bad = 0, absent = 0;
	int r;

	*ret_err = -EIO;
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		r = verify_ended(v);
		if (r < 0) {
			*ret_err = r;
			return VERDICT_UNKNOWN;
		}
		r = attempt(v, l, l->cached && i == 0);
		if (r == 0)
			return VERDICT_GOOD;
		if (r == -EBADMSG && ++bad == AGREE)
			return VERDICT_DAMAGED;
		if (r == 1 && ++absent == AGREE)
			return VERDICT_MISSING;
		if (r < 0 && r != -EBADMSG)
			*ret_err = r;
	}
	return VERDICT_UNKNOWN;
}

enum verdict
verify_exists(struct verify *v, const char *key, int *ret_err)
{
	struct store_object o;
	unsigned absent = 0;
	int r;

	*ret_err = -EIO;
	for (unsigned i = 0; i < ATTEMPTS; i++) {
		r = verify_ended(v);
		if (r < 0) {
			*ret_err = r;
			return VERDICT_UNKNOWN;
		}
		r = store_stat(v->store, key, deadline_in(v->timeout_ms), &o);
		note(v, r);
		if (r == 0)
			return VERDICT_GOOD;
		if (r == 1 && ++absent == AGREE)
			return VERDICT_MISSING;
		if (r < 0)
			*ret_err = r;
	}
	return VERDICT_UNKNOWN;
}

const char *
verify_error_text(int err)
{
	switch (-err) {
	case ETIMEDOUT:
		return "not known: no answer in time";
	case EHOSTDOWN:
		return "not known: the store cannot be reached";
	case EACCES:
		return "not known: reading is not allowed";
	case ECANCELED:
	case ESHUTDOWN:
		return "not known: interrupted";
	case EDQUOT:
		return "not known: a limit was reached";
	default:
		return "not known: the store failed, or contradicts itself";
	}
}
