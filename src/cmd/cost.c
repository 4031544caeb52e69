/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cost.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/option.h"
#include "store/store.h"

void
cost_text(const struct store_counts *c, struct str *out)
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

json_t *
cost_json(const struct store_counts *c)
{
	json_t *requests = json_object();

	for (int v = 0; v < STORE_VERBS; v++)
		json_object_set_new(requests,
		    store_verb_name((enum store_verb)v),
		    json_integer((json_int_t)c->requests[v]));
	return json_pack("{s:o,s:I,s:I,s:I}", "requests", requests,
	    "retries", (json_int_t)c->retries,
	    "bytes_read", (json_int_t)c->bytes_read,
	    "bytes_written", (json_int_t)c->bytes_written);
}

void
cost_print(const struct options *o, const struct store_counts *c)
{
	_cleanup_(str_fini) struct str s = {0};

	if (o->quiet)
		return;
	cost_text(c, &s);
	fflush(stdout);
	fprintf(stderr, "cost: %s\n", str_get(&s));
}
