/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cost.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/option.h"
#include "cmd/price.h"
#include "cmd/show.h"
#include "store/store.h"

/* Objects in one multi-delete. */
#define DELETE_MAX 1000

static void
add_counts(const struct store_counts *c, struct str *out)
{
	char size[NUM_SIZE_MAX];
	size_t begin = out->len;

	for (int v = 0; v < STORE_VERBS; v++) {
		if (c->requests[v] == 0)
			continue;
		str_addf(out, "%s%" PRIu64 " ", out->len > begin ? ", " : "",
		    c->requests[v]);
		for (const char *n = store_verb_name((enum store_verb)v);
		     *n != '\0'; n++)
			str_addc(out, (char)toupper((unsigned char)*n));
	}
	if (out->len == begin)
		str_add(out, "no requests");
	if (c->bytes_read > 0)
		str_addf(out, ", %s read",
		    num_format_size(size, c->bytes_read));
	if (c->bytes_written > 0)
		str_addf(out, ", %s written",
		    num_format_size(size, c->bytes_written));
	if (c->retries > 0)
		str_addf(out, ", %" PRIu64 " retries", c->retries);
}

static void
add_price(const char *amount, const char *currency, struct str *out)
{
	str_addf(out, ", %s", amount);
	if (*currency != '\0') {
		str_addc(out, ' ');
		str_add(out, currency);
	}
}

bool
cost_has_prices(const struct options *o)
{
	const struct prices *p = &o->price;

	return o->currency != NULL || p->list != 0 || p->get != 0 ||
	    p->put != 0 || p->del != 0 || p->out != 0 || p->in != 0;
}

/* What somebody typed need not be UTF-8. */
static void
add_currency(const struct options *o, struct str *out)
{
	if (o->currency != NULL)
		str_escape(out, o->currency, strlen(o->currency));
}

void
cost_text(const struct options *o, const struct store_counts *c,
    struct str *out)
{
	_cleanup_(str_fini) struct str in = {0};
	char amount[PRICE_TEXT_MAX];

	add_counts(c, out);
	if (!cost_has_prices(o))
		return;
	add_currency(o, &in);
	add_price(price_short(amount, price_of(&o->price, c)), str_get(&in),
	    out);
}

/* Takes price over. */
static json_t *
counts_json(const struct store_counts *c, json_t *price)
{
	json_t *requests = json_object();

	for (int v = 0; v < STORE_VERBS; v++)
		json_object_set_new(requests,
		    store_verb_name((enum store_verb)v),
		    json_integer((json_int_t)c->requests[v]));
	return json_pack("{s:o,s:I,s:I,s:I,s:o}", "requests", requests,
	    "retries", (json_int_t)c->retries,
	    "bytes_read", (json_int_t)c->bytes_read,
	    "bytes_written", (json_int_t)c->bytes_written, "price", price);
}

static json_t *
price_json(uint64_t amount, const char *currency)
{
	char text[PRICE_TEXT_MAX];

	return json_pack("{s:s,s:s}", "amount", price_exact(text, amount),
	    "currency", currency);
}

json_t *
cost_json(const struct options *o, const struct store_counts *c)
{
	_cleanup_(str_fini) struct str in = {0};

	if (!cost_has_prices(o))
		return counts_json(c, json_null());
	add_currency(o, &in);
	return counts_json(c, price_json(price_of(&o->price, c),
	    str_get(&in)));
}

static uint64_t
number(const json_t *j, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(j, key));

	return v < 0 ? 0 : (uint64_t)v;
}

static void
counts_of_json(const json_t *j, struct store_counts *ret)
{
	const json_t *requests = json_object_get(j, "requests");

	*ret = (struct store_counts){
	    .retries = number(j, "retries"),
	    .bytes_read = number(j, "bytes_read"),
	    .bytes_written = number(j, "bytes_written"),
	};
	for (int v = 0; v < STORE_VERBS; v++)
		ret->requests[v] = number(requests,
		    store_verb_name((enum store_verb)v));
}

static uint64_t
amount_of_json(const json_t *j)
{
	const char *amount = json_string_value(json_object_get(
	    json_object_get(j, "price"), "amount"));
	uint64_t v;

	return amount != NULL && price_parse(amount, &v) == 0 ? v : 0;
}

/* What of a mount's cost came after before. */
static void
part_of_json(const json_t *before, const json_t *after,
    struct store_counts *ret, uint64_t *ret_amount)
{
	uint64_t had = amount_of_json(before), has = amount_of_json(after);
	struct store_counts c;

	counts_of_json(before, &c);
	counts_of_json(after, ret);
	cost_sub(ret, &c);
	*ret_amount = has > had ? has - had : 0;
}

/* NULL if there are no prices. */
static const char *
currency_of_json(const json_t *j)
{
	const json_t *price = json_object_get(j, "price");
	const char *in = json_string_value(json_object_get(price, "currency"));

	return in == NULL && json_is_object(price) ? "" : in;
}

void
cost_text_json(const json_t *before, const json_t *after, struct str *out)
{
	const char *in = currency_of_json(after);
	char text[PRICE_TEXT_MAX];
	struct store_counts c;
	uint64_t amount;

	part_of_json(before, after, &c, &amount);
	add_counts(&c, out);
	if (in != NULL)
		add_price(price_short(text, amount), in, out);
}

json_t *
cost_json_mount(const json_t *before, const json_t *after)
{
	const json_t *has = json_object_get(after, "cost");
	const char *in = currency_of_json(has);
	struct store_counts c;
	uint64_t amount;

	if (!json_is_object(has))
		return json_null();
	part_of_json(json_object_get(before, "cost"), has, &c, &amount);
	return counts_json(&c, in != NULL ? price_json(amount, in) :
					    json_null());
}

void
cost_add(struct store_counts *sum, const struct store_counts *c)
{
	for (int v = 0; v < STORE_VERBS; v++) {
		sum->requests[v] += c->requests[v];
		sum->failed[v] += c->failed[v];
	}
	sum->retries += c->retries;
	sum->bytes_read += c->bytes_read;
	sum->bytes_written += c->bytes_written;
}

/* Both were counted at about the same time: not below nothing. */
static void
take(uint64_t *sum, uint64_t v)
{
	*sum -= MIN(*sum, v);
}

void
cost_sub(struct store_counts *sum, const struct store_counts *c)
{
	for (int v = 0; v < STORE_VERBS; v++) {
		take(&sum->requests[v], c->requests[v]);
		take(&sum->failed[v], c->failed[v]);
	}
	take(&sum->retries, c->retries);
	take(&sum->bytes_read, c->bytes_read);
	take(&sum->bytes_written, c->bytes_written);
}

static void
print(const struct options *o, const char *what, const struct store_counts *c)
{
	_cleanup_(str_fini) struct str s = {0};

	if (o->quiet)
		return;
	cost_text(o, c, &s);
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", what, str_get(&s));
}

void
cost_print(const struct options *o, const struct store_counts *c)
{
	print(o, "cost", c);
}

void
cost_print_mount(const struct options *o, const json_t *before,
    const json_t *after)
{
	const json_t *c = json_object_get(after, "cost");
	_cleanup_(str_fini) struct str s = {0};

	if (o->quiet || !json_is_object(c))
		return;
	cost_text_json(json_object_get(before, "cost"), c, &s);
	fflush(stdout);
	fputs("cost: ", stderr);
	show_name(stderr, str_get(&s));
	fputc('\n', stderr);
}

void
cost_estimate(const struct options *o, const struct store_counts *would)
{
	print(o, "it would cost", would);
}

uint64_t
cost_deletes(const struct options *o, uint64_t n)
{
	return o->no_multi_delete ? n :
	    n / DELETE_MAX + (n % DELETE_MAX != 0);
}
