/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "s3/error.h"
#include "s3/xml.h"

/* A server may send pages without entries, but not for ever. */
#define EMPTY_PAGES_MAX 100

/* Where a listing is. */
struct cursor {
	const char *prefix;
	struct xml_page page;	/* the last one */
	char *token;		/* owned: of the next page, NULL: none */
	char *after;		/* owned: last key seen, or where to start */
	unsigned empty;		/* pages without entries in a row */
};

static int
refuse(struct s3_error *e, const char *why)
{
	e->cause = S3_CAUSE_PROTOCOL;
	snprintf(e->message, sizeof(e->message), "%s", why);
	return -EPROTO;
}

/*
 * A page is looked at as a whole before an entry of it is told: an answer that
 * was cut off is asked for again.
 */
static int
check_page(void *arg, const struct http_response *r, struct s3_error *e)
{
	struct cursor *u = arg;
	struct xml_error x;
	size_t i;
	int err;

	xml_page_fini(&u->page);
	err = xml_list(r->body->data, r->body->len, &u->page, &x);
	if (err == -ENOMEM)
		return err;
	if (err < 0)
		return refuse(e, "the listing is no complete document");
	if (err > 0) {
		error_from_body(&x, e);
		return -EIO;
	}
	for (i = 0; i < u->page.n; i++) {
		const struct xml_entry *x1 = &u->page.entries[i];

		if (x1->key == NULL || !x1->has_size)
			return refuse(e, "an entry without a key or size");
		if (!str_starts(x1->key, u->prefix))
			return refuse(e, "an entry outside of the prefix");
	}
	return 0;
}

static int
fetch_page(struct s3 *c, struct cursor *u, struct req *q, struct s3_error *e)
{
	struct str query = {0};
	struct http_response r;
	int err;

	if (u->token != NULL)
		url_add_query(&query, "continuation-token", u->token);
	/* A key may have a character that no XML can hold: that must not hide
	 * all others. */
	url_add_query(&query, "encoding-type", "url");
	url_add_query(&query, "list-type", "2");
	if (u->prefix[0] != '\0')
		url_add_query(&query, "prefix", u->prefix);
	if (u->token == NULL && u->after != NULL)
		url_add_query(&query, "start-after", u->after);
	err = str_error(&query);
	if (err == 0) {
		q->query = str_get(&query);
		err = req_run(c, q, &r, e);
		if (err >= 0)
			http_response_fini(&r);
	}
	str_fini(&query);
	q->query = NULL;
	return err > 0 ? -EPROTO : err;
}

static int
stuck(struct s3 *c, const struct req *q)
{
	struct s3_error e = {.status = 200};

	return req_fail(c, q, &e, refuse(&e, "the listing does not get on"));
}

/*
 * Keys come in byte order.  A page that does not begin after the one before is
 * that one again, from a server that ignores where to start.
 */
static int
check_progress(struct s3 *c, struct cursor *u, const struct req *q)
{
	struct xml_page *p = &u->page;

	u->empty = p->n == 0 ? u->empty + 1 : 0;
	if (u->empty > EMPTY_PAGES_MAX)
		return stuck(c, q);
	if (p->n > 0 && u->after != NULL &&
	    (strcmp(p->entries[0].key, u->after) <= 0 ||
	    strcmp(p->entries[p->n - 1].key, u->after) <= 0))
		return stuck(c, q);
	if (p->truncated && p->token == NULL && p->n == 0)
		return stuck(c, q);
	return 0;
}

/* On to the next page.  1 if there is none. */
static int
advance(struct cursor *u)
{
	struct xml_page *p = &u->page;

	if (!p->truncated)
		return 1;
	free(u->token);
	u->token = steal(&p->token);
	if (p->n == 0)
		return 0;
	free(u->after);
	u->after = steal(&p->entries[p->n - 1].key);
	return 0;
}

static int
tell(const struct cursor *u, s3_list_fn *fn, void *arg)
{
	size_t i;
	int r;

	for (i = 0; i < u->page.n; i++) {
		r = fn(arg, u->page.entries[i].key, &u->page.entries[i].o);
		if (r != 0)
			return r;
	}
	return 0;
}

int
s3_list(struct s3 *c, const char *prefix, const char *start_after,
    s3_list_fn *fn, void *arg, unsigned page_timeout_ms)
{
	struct cursor u = {.prefix = prefix};
	struct req q = {
	    .verb = S3_VERB_LIST,
	    .what = "list",
	    .method = "GET",
	    .max_body = XML_SIZE_MAX,
	    .timeout_ms = page_timeout_ms,
	    .check = check_page,
	    .arg = &u,
	};
	unsigned page_ms = page_timeout_ms != 0 ? page_timeout_ms :
						  c->o.list_timeout_ms;
	struct s3_error e;
	int r = 0;

	if (start_after != NULL && start_after[0] != '\0') {
		u.after = strdup(start_after);
		if (u.after == NULL)
			return -ENOMEM;
	}
	while (r == 0) {
		if (page_ms != 0)
			q.deadline = deadline_in(page_ms);
		r = fetch_page(c, &u, &q, &e);
		if (r == 0)
			r = check_progress(c, &u, &q);
		if (r == 0)
			r = tell(&u, fn, arg);
		if (r != 0)
			break;
		r = advance(&u);
		if (r == 1) {
			r = 0;
			break;
		}
	}
	xml_page_fini(&u.page);
	free(u.token);
	free(u.after);
	return r;
}
