/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "cmd/stack.h"
#include "repo/claim.h"

static int
create(struct stack *s)
{
	_cleanup_free_ char *identity = NULL;
	struct claim_opts co = {
	    .name = s->t.name,
	    .takeover = s->o->takeover,
	};
	int r, status;

	/* What fails has said why. */
	if (!s->t.is_s3)
		return exits_of(datastore_create_dir(s->t.path));
	s->write = true;
	status = stack_open_store(s);
	if (status != EXIT_OK)
		return status;
	r = stack_identity(s, &identity);
	co.identity = identity;
	if (r == 0)
		r = datastore_create_bucket(s->store, &co);
	return exits_of(r);
}

static void
report(const struct options *o, const struct stack *s)
{
	struct store_counts c;
	json_t *j;

	if (!o->json) {
		if (!o->quiet)
			printf("%s was created\n", s->t.name);
		return;
	}
	stack_counts(s, &c);
	j = json_pack("{s:s,s:b,s:o}", "store", s->t.name, "created", 1,
	    "cost", cost_json(o, &c));
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

int
cmd_create(struct options *o, char **args, int n)
{
	struct stack s;
	int status;

	(void)n;
	status = stack_name(&s, o, args[0]);
	if (status == EXIT_OK)
		status = create(&s);
	if (status == EXIT_OK)
		report(o, &s);
	stack_close(&s);
	cost_print(o, &s.cost);
	return status;
}
