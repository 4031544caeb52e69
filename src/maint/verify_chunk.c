/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "store/store.h"

struct chunk_job {
	struct work work;
	struct verify *v;		/* borrowed */
	struct set_key k;
	struct digest digest;
	const struct enc_key *key;	/* borrowed */
	bool encrypted;
	bool read;			/* or else: is it there */
	uint32_t size;			/* as the index has it */
	uint64_t cost;
	/* What the last look has found. */
	uint32_t actual;		/* plain bytes; 0: not known */
	enum chunk_fault fault;
};

const char *
chunk_fault_text(enum chunk_fault f)
{
	switch (f) {
	case FAULT_EMPTY:
		return "is empty";
	case FAULT_TOO_LARGE:
		return "is larger than any chunk";
	case FAULT_HEADER:
		return "has no valid header";
	case FAULT_CRC:
		return "crc is wrong";
	case FAULT_CONTENT:
		return "content is not what its name says";
	case FAULT_UNPACK:
		return "cannot be unpacked";
	case FAULT_NOT_ENCRYPTED:
		return "is not encrypted, but its archive is";
	case FAULT_ENCRYPTED:
		return "is encrypted, but its archive is not";
	case FAULT_AUTHENTIC:
		return "is not authentic, or not what its name says";
	case FAULT_UNSAID:
		break;
	}
	return "is damaged";
}

struct set_key
verify_chunk_key(const struct verify *v, const struct verify_obj *obj,
    const struct digest *d)
{
	static const uint8_t no_key[DIGEST_LEN];

	/* A listing knows digests alone. */
	if (!obj->encrypted || v->o->level < VERIFY_SAMPLE)
		return verify_set_key(&v->set, d, NULL, 0);
	return verify_set_key(&v->set, d, obj->key == NULL ? no_key :
	    enc_key_fingerprint(obj->key)->b, DIGEST_LEN);
}

/* Whether its content has that name; its length is its own. */
static int
check_content(struct chunk_job *j, const struct buf *raw,
    const struct enc_key *key)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct digest d;
	int r;

	/* An index that is right about the length saves memory and time. */
	r = chunk_decode_with(raw->data, raw->len, &j->digest, j->size, key, &b);
	if (r == 0) {
		j->actual = j->size;
		return 0;
	}
	if (r != -EBADMSG)
		return r;
	r = blob_decode_with(raw->data, raw->len, CHUNK_CONTENT_MAX, key, &b);
	if (r == -EBADMSG)
		j->fault = key != NULL ? FAULT_AUTHENTIC : FAULT_UNPACK;
	if (r < 0)
		return r;
	if (key != NULL)
		r = enc_key_digest(key, b->data, b->len, &d);
	else
		d = digest_of(b->data, b->len);
	if (r < 0)
		return r;
	if (!digest_eq(&d, &j->digest)) {
		j->fault = key != NULL ? FAULT_AUTHENTIC : FAULT_CONTENT;
		return -EBADMSG;
	}
	j->actual = (uint32_t)b->len;
	return 0;
}

static enum chunk_fault
fault_of(const struct buf *b)
{
	enum blob_kind kind;

	if (b == NULL)
		return FAULT_TOO_LARGE;
	if (b->len == 0)
		return FAULT_EMPTY;
	if (blob_kind(b->data, b->len, &kind) < 0)
		return FAULT_HEADER;
	return blob_check(b->data, b->len) < 0 ? FAULT_CRC : FAULT_UNSAID;
}

static int
check_chunk(void *arg, struct buf *b)
{
	struct chunk_job *j = arg;
	enum blob_kind kind;
	int r;

	j->actual = 0;
	j->fault = fault_of(b);
	if (j->fault != FAULT_UNSAID ||
	    blob_kind(b->data, b->len, &kind) < 0)
		return -EBADMSG;
	if (blob_is_encrypted(kind) && !j->encrypted) {
		j->fault = FAULT_ENCRYPTED;
		return -EBADMSG;
	}
	if (blob_is_encrypted(kind) && j->key == NULL) {
		if (kind == BLOB_ENC)
			j->actual = (uint32_t)(b->len - BLOB_HEADER_ENC);
		return 0;
	}
	if (!blob_is_encrypted(kind) && j->encrypted) {
		/* Perhaps it is a good one of another archive. */
		r = check_content(j, b, NULL);
		if (r == 0)
			j->fault = FAULT_NOT_ENCRYPTED;
		return r < 0 ? r : -EBADMSG;
	}
	return check_content(j, b, j->key);
}

static int
add_bad(struct verify *v, const struct chunk_job *j, enum verdict verdict)
{
	struct bad_chunk *p;
	size_t size;

	if (v->n_bad == v->bad_size) {
		size = v->bad_size == 0 ? 64 : 2 * v->bad_size;
		p = reallocarray(v->bad, size, sizeof(*p));
		if (p == NULL)
			return -ENOMEM;
		v->bad = p;
		v->bad_size = size;
	}
	v->bad[v->n_bad++] = (struct bad_chunk){
	    .digest = j->digest,
	    .damaged = verdict == VERDICT_DAMAGED,
	    .quarantine = verdict == VERDICT_DAMAGED &&
		j->fault < FAULT_NOT_ENCRYPTED,
	};
	return 0;
}

/* With the lock. */
static int
settle(struct verify *v, const struct chunk_job *j, enum verdict verdict,
    int err)
{
	struct verify_result *res = v->res;

	res->chunks++;
	switch (verdict) {
	case VERDICT_GOOD:
		res->bytes += j->actual;
		return verify_set_put(&v->set, &j->k, SET_GOOD, j->actual);
	case VERDICT_UNKNOWN:
		res->unknown_chunks++;
		return verify_set_put(&v->set, &j->k, SET_UNKNOWN,
		    (uint32_t)-err);
	case VERDICT_MISSING:
		res->missing++;
		break;
	case VERDICT_DAMAGED:
		res->damaged++;
		break;
	}
	err = verify_set_put(&v->set, &j->k, verdict == VERDICT_MISSING ?
	    SET_MISSING : SET_DAMAGED, j->fault);
	return err < 0 ? err : add_bad(v, j, verdict);
}

static void
run_chunk(struct work *w)
{
	struct chunk_job *j = (struct chunk_job *)w;
	struct verify *v = j->v;
	char key[KEY_CHUNK_LEN + 1];
	const struct look l = {
	    .key = key,
	    .max = CHUNK_STORED_MAX,
	    .cached = v->o->cached,
	    .check = check_chunk,
	    .arg = j,
	};
	enum verdict verdict;
	int err = 0, r;

	key_chunk(&j->digest, key);
	verdict = j->read ? verify_look(v, &l, &err) :
	    verify_exists(v, key, &err);
	{
		LOCK(&v->lock);

		r = settle(v, j, verdict, err);
		if (r < 0 && v->fatal == 0)
			v->fatal = r;
		v->progress += j->size;
	}
	verify_done(v, j->cost);
	free(j);
}

int
verify_chunk_start(struct verify *v, const struct verify_obj *obj,
    const struct digest *d, uint32_t size, bool read)
{
	struct chunk_job *j = calloc(1, sizeof(*j));
	int r;

	if (j == NULL)
		return -ENOMEM;
	j->work.fn = run_chunk;
	j->v = v;
	j->k = verify_chunk_key(v, obj, d);
	j->digest = *d;
	j->key = obj->key;
	j->encrypted = obj->encrypted;
	j->read = read;
	j->size = size;
	/* As stored, and unpacked; decrypted in between. */
	j->cost = read ? (uint64_t)size * (obj->key != NULL ? 3 : 2) : 0;
	{
		LOCK(&v->lock);

		r = verify_set_put(&v->set, &j->k, SET_PENDING, 0);
	}
	if (r == 0)
		r = verify_start(v, &j->work, j->cost);
	if (r < 0)
		free(j);
	return r;
}
