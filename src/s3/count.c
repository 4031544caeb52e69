/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/client.h"

/* Each number is right for itself; no more is promised. */
static void
add(uint64_t *n, uint64_t by)
{
	__atomic_add_fetch(n, by, __ATOMIC_RELAXED);
}

static uint64_t
load(const uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

void
count_request(struct s3 *c, enum s3_verb v, enum s3_outcome o)
{
	add(&c->counts.requests[v][o], 1);
}

void
count_bytes(struct s3 *c, uint64_t sent, uint64_t received)
{
	add(&c->counts.bytes_sent, sent);
	add(&c->counts.bytes_received, received);
}

void
count_retry(struct s3 *c)
{
	add(&c->counts.retries, 1);
}

void
s3_counts(struct s3 *c, struct s3_counts *ret)
{
	unsigned v, o;

	for (v = 0; v < S3_VERBS; v++)
		for (o = 0; o < S3_OUTCOMES; o++)
			ret->requests[v][o] = load(&c->counts.requests[v][o]);
	ret->bytes_sent = load(&c->counts.bytes_sent);
	ret->bytes_received = load(&c->counts.bytes_received);
	ret->retries = load(&c->counts.retries);
}

const char *
s3_verb_name(enum s3_verb v)
{
	static const char *const names[] = {
	    [S3_VERB_GET] = "GET",
	    [S3_VERB_HEAD] = "HEAD",
	    [S3_VERB_PUT] = "PUT",
	    [S3_VERB_POST] = "POST",
	    [S3_VERB_DELETE] = "DELETE",
	    [S3_VERB_LIST] = "LIST",
	    [S3_VERB_COPY] = "COPY",
	};

	return (unsigned)v < S3_VERBS ? names[v] : "?";
}
