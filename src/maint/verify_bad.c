/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "maint/agent.h"
#include "pbs/blob.h"
#include "store/store.h"

#define BAD_NUMBERS 10
#define BAD_KEY_LEN (KEY_CHUNK_LEN + 20)

/* The next free ".N.bad"; the last is used again, as Proxmox Backup does. */
static int
free_name(struct verify *v, const char *key, char out[BAD_KEY_LEN + 1])
{
	struct store_object o;
	int r;

	for (int i = 0; i < BAD_NUMBERS; i++) {
		snprintf(out, BAD_KEY_LEN + 1, "%s.%d.bad", key, i);
		r = store_stat(v->store, out, deadline_in(v->timeout_ms), &o);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return 0;
}

/* Somebody may have put a good one in its place meanwhile. */
static int
check_still(void *arg, struct buf *b)
{
	const struct digest *d = arg;
	_cleanup_(buf_unrefp) struct buf *plain = NULL;
	struct digest is;
	int r;

	if (b == NULL)
		return -EBADMSG;
	r = blob_decode(b->data, b->len, CHUNK_CONTENT_MAX, &plain);
	if (r == -ENOKEY)
		return 0;
	if (r < 0)
		return r;
	is = digest_of(plain->data, plain->len);
	return digest_eq(&is, d) ? 0 : -EBADMSG;
}

static void
not_deleted(void *arg, const char *key, const char *why)
{
	(void)arg;
	log_warn("%s: cannot be deleted: %s", key, why);
}

static int
quarantine(struct verify *v, struct digest *d)
{
	char key[KEY_CHUNK_LEN + 1], bad[BAD_KEY_LEN + 1];
	const struct look l = {
	    .key = key,
	    .max = CHUNK_STORED_MAX,
	    .check = check_still,
	    .arg = d,
	};
	const char *keys[] = {key};
	int err, r;

	key_chunk(d, key);
	r = free_name(v, key, bad);
	if (r == 0)
		r = store_copy(v->store, key, bad, deadline_in(v->timeout_ms));
	if (r == 1)
		return -ENOENT;
	if (r < 0)
		return r;
	if (verify_look(v, &l, &err) != VERDICT_DAMAGED) {
		log_warn("%s: has changed meanwhile and stays", key);
		return -EAGAIN;
	}
	r = store_delete(v->store, keys, 1, not_deleted, NULL,
	    deadline_in(v->timeout_ms));
	if (r == 0)
		log_info("%s: moved to %s", key, bad);
	return r;
}

void
verify_bad_chunks(struct verify *v)
{
	struct agent *a = v->o->agent;
	_cleanup_free_ struct digest *all = NULL;
	int r = 0;

	if (v->n_bad == 0 || a == NULL)
		goto end;
	for (size_t i = 0; v->o->quarantine && i < v->n_bad; i++) {
		if (!v->bad[i].quarantine)
			continue;
		r = quarantine(v, &v->bad[i].digest);
		if (r == 0)
			v->res->quarantined++;
		else if (r != -EAGAIN)
			log_warn("a damaged chunk was not put into quarantine: "
			    "%s", strerror(-r));
	}
	/* Who has it will bring it again. */
	all = calloc(v->n_bad, sizeof(*all));
	r = all == NULL ? -ENOMEM : 0;
	for (size_t i = 0; r == 0 && i < v->n_bad; i++)
		all[i] = v->bad[i].digest;
	if (r == 0)
		r = a->ops->doubt(a, all, v->n_bad);
	if (r < 0)
		log_warn("the writer does not know of damaged chunks: %s",
		    strerror(-r));
end:
	v->n_bad = 0;
}
