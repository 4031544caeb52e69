/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/changes.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "repo/change_list.h"
#include "repo/tree.h"

#define IGNORED_MAX 100

/* JSON has no bytes that are not UTF-8. */
static json_t *
text_json(const char *text)
{
	_cleanup_(str_fini) struct str s = {0};
	json_t *j = json_string(text);

	if (j != NULL)
		return j;
	str_escape(&s, text, strlen(text));
	return str_error(&s) < 0 ? NULL : json_string(str_get(&s));
}

json_t *
changes_json(const struct change_list *l)
{
	json_t *j = json_array();

	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].kind != REPO_IGNORED)
			json_array_append_new(j, json_pack("{s:s,s:s,s:o}",
			    "what", repo_change_name(l->v[i].what), "kind",
			    repo_change_kind_name(l->v[i].kind), "path",
			    text_json(l->v[i].path)));
	return j;
}

json_t *
changes_ignored_json(const struct tree *t)
{
	json_t *j = json_array();

	for (size_t i = 0; i < t->n_ignored_keys && i < IGNORED_MAX; i++)
		json_array_append_new(j, text_json(t->ignored[i]));
	return j;
}

static const char *
text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s != NULL ? s : "?";
}

static void
print_list(const struct changes_report *r)
{
	const json_t *c;
	size_t i;

	json_array_foreach(r->list, i, c) {
		printf("%s %s ", text_of(c, "what"), text_of(c, "kind"));
		show_line(stdout, text_of(c, "path"));
		putchar('\n');
	}
	if (r->left_out > 0)
		printf("and %" JSON_INTEGER_FORMAT " more\n", r->left_out);
	json_array_foreach(r->ignored, i, c) {
		fputs("ignored ", stdout);
		show_line(stdout, json_string_value(c) != NULL ?
		    json_string_value(c) : "?");
		putchar('\n');
	}
}

void
changes_print(const struct options *o, const struct changes_report *r,
    json_t *cost)
{
	json_t *j;

	if (o->json) {
		j = json_pack("{s:I,s:I,s:I,s:O?,s:I,s:I,s:O?,s:o?}",
		    "snapshots_added", r->snaps_added, "snapshots_removed",
		    r->snaps_removed, "objects_changed", r->objects_changed,
		    "changes", r->list, "changes_left_out", r->left_out,
		    "ignored", r->n_ignored, "ignored_keys", r->ignored,
		    "cost", cost);
		json_dumpf(j, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(j);
		return;
	}
	print_list(r);
	printf("%" JSON_INTEGER_FORMAT " snapshots added, "
	       "%" JSON_INTEGER_FORMAT " removed, "
	       "%" JSON_INTEGER_FORMAT " objects changed",
	    r->snaps_added, r->snaps_removed, r->objects_changed);
	if (r->n_ignored > 0)
		printf(", %" JSON_INTEGER_FORMAT " ignored", r->n_ignored);
	putchar('\n');
	json_decref(cost);
}
