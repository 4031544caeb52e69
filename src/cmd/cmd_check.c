/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <stdio.h>

#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/probe.h"
#include "cmd/show.h"
#include "cmd/stack.h"

static const char *const results[] = {
    [PROBE_SKIPPED] = "-",
    [PROBE_YES] = "yes",
    [PROBE_NO] = "no",
    [PROBE_FAILED] = "failed",
};

static void
print(const struct probe p[PROBES])
{
	for (int i = 0; i < PROBES; i++) {
		printf("%-16s %-7s", probe_name((enum probe_id)i),
		    results[p[i].result]);
		show_name(stdout, p[i].detail);
		putchar('\n');
	}
}

static void
print_json(const struct stack *s, const struct probe p[PROBES], bool ok,
    bool write)
{
	json_t *list = json_array(), *j;
	struct store_counts c;

	for (int i = 0; i < PROBES; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:b,s:s}",
		    "name", probe_name((enum probe_id)i), "result",
		    p[i].result == PROBE_SKIPPED ? "skipped" :
						   results[p[i].result],
		    "needed",
		    (int)probe_is_needed((enum probe_id)i, write), "detail",
		    p[i].detail));
	stack_counts(s, &c);
	j = json_pack("{s:s,s:b,s:b,s:o,s:o}", "store", s->t.name, "ok",
	    (int)ok, "write", (int)write, "capabilities", list, "cost",
	    cost_json(s->o, &c));
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}

/* The first of what is needed that is not there tells why. */
static int
verdict(const struct probe p[PROBES], bool write)
{
	int status = EXIT_OK;

	for (int i = 0; i < PROBES; i++) {
		if (!probe_is_needed((enum probe_id)i, write) ||
		    p[i].result == PROBE_YES || p[i].result == PROBE_SKIPPED)
			continue;
		status = show_worst(status,
		    p[i].err < 0 ? exits_of(p[i].err) : EXIT_FAILED);
	}
	return status;
}

int
cmd_check(struct options *o, char **args, int n)
{
	struct probe p[PROBES] = {0};
	struct stack s;
	int status;

	(void)n;
	status = stack_name(&s, o, args[0]);
	if (status == EXIT_OK)
		status = stack_open_store(&s);
	if (status == EXIT_OK) {
		probe_read(&s, p);
		if (o->write && p[PROBE_CONNECT].result != PROBE_FAILED &&
		    probe_write(&s, p) < 0)
			status = EXIT_FAILED;
		status = show_worst(status, verdict(p, o->write));
		if (o->json)
			print_json(&s, p, status == EXIT_OK, o->write);
		else
			print(p);
	}
	stack_close(&s);
	cost_print(o, &s.cost);
	return status;
}
