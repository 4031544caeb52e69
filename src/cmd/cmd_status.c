/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/live.h"
#include "cmd/option.h"
#include "cmd/show.h"

static uint64_t
number(const json_t *j, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(j, key));

	return v < 0 ? 0 : (uint64_t)v;
}

static void
text(const char *label, const json_t *j, const char *key)
{
	const char *v = json_string_value(json_object_get(j, key));

	if (v == NULL)
		return;
	printf("%-10s ", label);
	show_name(stdout, v);
	putchar('\n');
}

static void
requests(const json_t *j)
{
	char size[NUM_SIZE_MAX];
	json_t *verbs = json_object_get(j, "requests"), *v;
	json_t *failed = json_object_get(j, "failed");
	const char *name, *sep = "";

	printf("%-10s ", "requests");
	json_object_foreach(verbs, name, v) {
		uint64_t bad = number(failed, name);

		if (json_integer_value(v) <= 0)
			continue;
		printf("%s%" PRIu64 " ", sep,
		    (uint64_t)json_integer_value(v));
		show_name(stdout, name);
		if (bad > 0)
			printf(" (%" PRIu64 " failed)", bad);
		sep = ", ";
	}
	printf("%s%s read, %" PRIu64 " retries\n", sep,
	    num_format_size(size, number(j, "bytes_read")),
	    number(j, "retries"));
}

/* All it has cost, in one line that is like that of a command. */
static void
cost(const json_t *j)
{
	_cleanup_(str_fini) struct str s = {0};
	const json_t *c = json_object_get(j, "cost");

	if (!json_is_object(c))
		return;
	cost_text_json(NULL, c, &s);
	printf("%-10s ", "cost");
	show_name(stdout, str_get(&s));
	putchar('\n');
}

static void
cache(const json_t *j)
{
	char used[NUM_SIZE_MAX], limit[NUM_SIZE_MAX];
	const json_t *c = json_object_get(j, "cache");
	const json_t *m = json_object_get(j, "memory");

	if (json_is_object(c)) {
		text("cache", c, "dir");
		printf("%-10s %s of %s, %" PRIu64 " hits, %" PRIu64
		       " misses%s\n",
		    "", num_format_size(used, number(c, "used")),
		    num_format_size(limit, number(c, "limit")),
		    number(c, "hits"), number(c, "misses"),
		    json_is_true(json_object_get(c, "degraded")) ?
		    ", not writing" : "");
	}
	printf("%-10s %s of %s\n", "memory",
	    num_format_size(used, number(m, "used")),
	    num_format_size(limit, number(m, "limit")));
}

static void
writing(const json_t *j)
{
	char a[NUM_SIZE_MAX], b[NUM_SIZE_MAX], c[NUM_SIZE_MAX];
	const json_t *w = json_object_get(j, "writing"), *g;
	const json_t *groups = json_object_get(w, "groups");
	size_t i;

	if (!json_is_object(w))
		return;
	text("state", w, "state");
	printf("%-10s %s of %s staged, %s not in the store, %" PRIu64
	       " writers wait\n", "writing",
	    num_format_size(a, number(w, "staged")),
	    num_format_size(b, number(w, "limit")),
	    num_format_size(c, number(w, "unsent")),
	    number(w, "waiting"));
	json_array_foreach(groups, i, g) {
		const char *name =
		    json_string_value(json_object_get(g, "group"));
		const char *since =
		    json_string_value(json_object_get(g, "since"));

		if (name == NULL || since == NULL)
			continue;
		printf("%-10s ", i == 0 ? "changed" : "");
		show_name(stdout, name);
		printf(", %s staged", num_format_size(a, number(g, "staged")));
		if (*since != '\0') {
			fputs(", since ", stdout);
			show_name(stdout, since);
		}
		if (json_is_true(json_object_get(g, "publishing")))
			printf(", publishing: %s of %s",
			    num_format_size(a, number(g, "done")),
			    num_format_size(b, number(g, "total")));
		putchar('\n');
	}
}

/* A hint stands on a line of its own. */
static void
print_lines(const char *text)
{
	for (;; text++) {
		_cleanup_(str_fini) struct str line = {0};
		size_t n = strcspn(text, "\n");

		str_addn(&line, text, n);
		show_name(stdout, str_get(&line));
		putchar('\n');
		text += n;
		if (*text == '\0')
			return;
		fputs("    ", stdout);
	}
}

static void
messages(const json_t *j)
{
	const json_t *list = json_object_get(j, "messages"), *m;
	size_t i;

	json_array_foreach(list, i, m) {
		const char *when =
		    json_string_value(json_object_get(m, "time"));
		const char *line =
		    json_string_value(json_object_get(m, "text"));

		if (when == NULL || line == NULL)
			continue;
		fputs("  ", stdout);
		show_name(stdout, when);
		putchar(' ');
		print_lines(line);
	}
}

static void
print(const json_t *j)
{
	const json_t *tree = json_object_get(j, "tree");

	text("store", j, "store");
	text("mount", j, "mountpoint");
	printf("%-10s %" PRIu64 "\n", "process", number(j, "pid"));
	text("version", j, "version");
	text("mounted", j, "mounted");
	text("listed", tree, "listed");
	printf("%-10s %" PRIu64 " groups, %" PRIu64 " snapshots, %" PRIu64
	       " objects\n",
	    "content", number(tree, "groups"), number(tree, "snapshots"),
	    number(tree, "objects"));
	requests(j);
	cost(j);
	cache(j);
	writing(j);
	printf("%-10s %" PRIu64 "\n", "damaged", number(j, "damaged"));
	if (json_is_true(json_object_get(j, "offline")))
		puts("the store cannot be reached; this is what was seen last");
	if (json_array_size(json_object_get(j, "messages")) > 0)
		puts("messages");
	messages(j);
}

/* For a monitor: what it should wake somebody for. */
static int
verdict(const json_t *j)
{
	if (json_is_true(json_object_get(j, "offline")))
		return EXIT_UNREACHABLE;
	return number(j, "damaged") > 0 ? EXIT_DAMAGED : EXIT_OK;
}

int
cmd_status(struct options *o, char **args, int n)
{
	json_t *j = NULL;
	int r, status;

	(void)n;
	if (!live_is_mount(args[0])) {
		log_err("%s: nothing of pbs3fs is mounted there", args[0]);
		return EXIT_FAILED;
	}
	r = live_status(args[0], &j);
	if (r < 0) {
		json_decref(j);
		return show_fail(args[0], r);
	}
	if (o->json) {
		json_dumpf(j, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print(j);
	}
	status = verdict(j);
	json_decref(j);
	return status;
}
