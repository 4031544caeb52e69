/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What prune_compute does with lists from standard input, one a line, for
 * comparison with another implementation of the same rules:
 *     TZ LAST HOURLY DAILY WEEKLY MONTHLY YEARLY [TIME:FLAGS]...
 * with "f" (finished) and "p" (protected) in FLAGS.  For each line one comes
 * back: TIME:MARK:RULE..., the newest first.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "maint/prune.h"

static const char *const marks[] = {
    [PRUNE_REMOVE] = "remove",
    [PRUNE_KEEP] = "keep",
    [PRUNE_KEEP_PARTIAL] = "keep-partial",
    [PRUNE_REMOVE_PARTIAL] = "remove-partial",
    [PRUNE_PROTECTED] = "protected",
};

static int
one(char *line)
{
	struct prune_keep k = {0};
	uint64_t *counts[] = {&k.last, &k.hourly, &k.daily, &k.weekly,
	    &k.monthly, &k.yearly};
	struct prune_snap *v;
	size_t n = 0, max = strlen(line) / 2 + 1;
	char *save, *word = strtok_r(line, " \n", &save);
	int r;

	if (word == NULL || setenv("TZ", word, 1) < 0)
		return -EINVAL;
	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		word = strtok_r(NULL, " \n", &save);
		if (word == NULL)
			return -EINVAL;
		*counts[i] = strtoull(word, NULL, 10);
	}
	v = calloc(max, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	while ((word = strtok_r(NULL, " \n", &save)) != NULL) {
		v[n].time = strtoll(word, NULL, 10);
		v[n].finished = strchr(word, 'f') != NULL;
		v[n++].protected = strchr(word, 'p') != NULL;
	}
	r = prune_compute(v, n, &k);
	for (size_t i = 0; r == 0 && i < n; i++)
		printf("%s%" PRId64 ":%s:%s", i > 0 ? " " : "", v[i].time,
		    marks[v[i].mark], v[i].rule);
	putchar('\n');
	free(v);
	return r;
}

int
main(void)
{
	char *line = NULL;
	size_t room = 0;
	int r = 0;

	while (r == 0 && getline(&line, &room, stdin) > 0)
		r = one(line);
	free(line);
	if (r < 0)
		fprintf(stderr, "prune_lists: %s\n", strerror(-r));
	return r < 0;
}
