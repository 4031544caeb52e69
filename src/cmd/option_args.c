/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/option.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/nearest.h"

/* What stands in fstab for mount(8), systemd and the kernel's generic part.
 * A mount is always nodev, nosuid and noatime, so asking for it changes
 * nothing, and asking for the opposite has no effect. */
static const char *const ignored[] = {
    "_netdev", "async", "atime", "auto", "defaults", "dev", "diratime",
    "exec", "group", "iversion", "lazytime", "loud", "mand", "noatime",
    "noauto", "nodev", "nodiratime", "nofail", "nogroup", "noiversion",
    "nolazytime", "nomand", "noowner", "norelatime", "nostrictatime",
    "nosuid", "nouser", "nousers", "owner", "relatime", "silent",
    "strictatime", "suid", "sync", "user", "users",
};

static bool
is_ignored(const char *name)
{
	if (str_starts(name, "x-") || str_starts(name, "X-") ||
	    streq(name, "comment"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		if (streq(name, ignored[i]))
			return true;
	return false;
}

static int
list_item(struct options *o, char *item, unsigned flags)
{
	char *value = strchr(item, '=');
	const struct option_def *d;

	if (value != NULL)
		*value++ = '\0';
	/* "owner" is mount(8)'s, "owner=..." is ours. */
	if (is_ignored(item) &&
	    (value == NULL || option_find(item, strlen(item)) == NULL))
		return 0;
	if ((flags & OPTION_LIST_MOUNT) && streq(item, "rw"))
		return 0;
	if ((flags & OPTION_LIST_SLOPPY) &&
	    option_find(item, strlen(item)) == NULL)
		return 0;
	d = option_find_source(item, strlen(item));
	if (d != NULL)
		return option_set_source(o, d, value, "-o");
	return option_set_named(o, item, value, OPTION_BY_USER, "-o");
}

int
option_parse_list(struct options *o, const char *text, unsigned flags)
{
	_cleanup_free_ char *item = malloc(strlen(text) + 1);
	int r;

	if (item == NULL)
		return -ENOMEM;
	while (*text != '\0') {
		size_t n = 0;

		for (; *text != '\0' && *text != ','; text++) {
			if (*text == '\\' && text[1] != '\0')
				text++;
			item[n++] = *text;
		}
		item[n] = '\0';
		if (*text == ',')
			text++;
		r = n == 0 ? 0 : list_item(o, item, flags);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One for getopt, and the letters; both end where the table does.  Commands
 * with two stores have some a second time. */
#define NAME_ROOM 40
struct parser {
	struct option longs[2 * OPTION_MAX + 1];
	char letters[2 * OPTION_MAX + 2];
	char names[OPTION_MAX][NAME_ROOM];
};

/* What getopt says: a letter, or from here on an entry of the table. */
#define VAL 256
#define VAL_SOURCE (VAL + OPTION_MAX)

static size_t
add_source(struct parser *p, size_t n)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
		char *name = p->names[i];

		snprintf(name, NAME_ROOM, OPTION_SOURCE "%s", d->name);
		if (option_find_source(name, strlen(name)) != d)
			continue;
		p->longs[n++] = (struct option){
		    .name = name,
		    .has_arg = d->type == OPTION_FLAG ? optional_argument :
							required_argument,
		    .val = VAL_SOURCE + (int)i,
		};
	}
	return n;
}

static void
parser_init(struct parser *p, unsigned commands)
{
	size_t n = 0, l = 0;

	p->letters[l++] = ':';	/* tells a missing value from an unknown one */
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];

		if (!(d->commands & commands) || (d->flags & OPTION_FILE_ONLY))
			continue;
		p->longs[n++] = (struct option){
		    .name = d->name,
		    .has_arg = d->type == OPTION_FLAG ? optional_argument :
							required_argument,
		    .val = VAL + (int)i,
		};
		if (d->letter != 0) {
			p->letters[l++] = d->letter;
			if (d->type != OPTION_FLAG)
				p->letters[l++] = ':';
		}
	}
	if (commands & CMD_TWO_STORES && !(commands & ~CMD_TWO_STORES))
		n = add_source(p, n);
	p->longs[n] = (struct option){0};
	p->letters[l] = '\0';
}

static const struct option_def *
by_letter(int c, unsigned commands)
{
	for (size_t i = 0; i < option_count; i++)
		if (option_table[i].letter == c &&
		    (option_table[i].commands & commands))
			return &option_table[i];
	return NULL;
}

static int
refuse(int c, const char *arg, const struct parser *p, const char *command)
{
	_cleanup_(str_fini) struct str shown = {0};
	const struct option_def *d;
	struct nearest n;
	size_t len;

	if (c == ':') {
		log_err("%s: %s needs a value", command, arg);
		return -EINVAL;
	}
	str_escape(&shown, arg, strlen(arg));
	if (!str_starts(arg, "--")) {
		log_err("%s: unknown option -%c", command,
		    optopt >= ' ' && optopt < 127 ? optopt : '?');
		return -EINVAL;
	}
	len = strcspn(arg + 2, "=");
	d = option_find(arg + 2, len);
	if (d != NULL && (d->flags & OPTION_FILE_ONLY)) {
		log_err("%s: %s belongs into the configuration file", command,
		    d->name);
		return -EINVAL;
	}
	if (d != NULL) {
		log_err("%s: %s is not an option of this command", command,
		    str_get(&shown));
		return -EINVAL;
	}
	nearest_init(&n, arg + 2);
	for (const struct option *o = p->longs; o->name != NULL; o++)
		nearest_offer(&n, o->name);
	if (n.best != NULL)
		log_err("%s: unknown option %s\nhint: did you mean --%s?",
		    command, str_get(&shown), n.best);
	else
		log_err("%s: unknown option %s", command, str_get(&shown));
	return -EINVAL;
}

/* "--cache_size=1G" is "--cache-size=1G"; argv is ours to write in. */
static void
normalise(int argc, char **argv)
{
	for (int i = 1; i < argc && !streq(argv[i], "--"); i++)
		if (str_starts(argv[i], "--"))
			for (char *p = argv[i]; *p != '\0' && *p != '='; p++)
				if (*p == '_')
					*p = '-';
}

int
option_parse_argv(struct options *o, unsigned commands, int argc, char **argv,
    char ***ret_args, int *ret_n)
{
	struct parser p;
	int c, r;

	parser_init(&p, commands);
	normalise(argc, argv);
	opterr = 0;
	optind = 0;	/* GNU: start afresh */
	while ((c = getopt_long(argc, argv, p.letters, p.longs, NULL)) != -1) {
		const struct option_def *d = c >= VAL_SOURCE ?
		    &option_table[c - VAL_SOURCE] : c >= VAL ?
		    &option_table[c - VAL] : by_letter(c, commands);

		if (c == '?' || c == ':' || d == NULL)
			return refuse(c, argv[optind - 1], &p, argv[0]);
		if (d->type == OPTION_LIST)
			r = option_parse_list(o, optarg, 0);
		else if (c >= VAL_SOURCE)
			r = option_set_source(o, d, optarg, argv[0]);
		else
			r = option_set(o, d, optarg, OPTION_BY_USER, argv[0]);
		if (r < 0)
			return r;
	}
	*ret_args = argv + optind;
	*ret_n = argc - optind;
	return 0;
}

void
option_help(FILE *out, unsigned commands)
{
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
		char left[64], letter[5] = "    ";

		if (!(d->commands & commands) || (d->flags & OPTION_FILE_ONLY))
			continue;
		if (d->letter != 0)
			snprintf(letter, sizeof(letter), "-%c, ", d->letter);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, d->name,
		    d->arg == NULL ? "" : "=", d->arg == NULL ? "" : d->arg);
		fprintf(out, "  %-32s %s%s%s%s\n", left, d->help,
		    d->def == NULL ? "" : " (", d->def == NULL ? "" : d->def,
		    d->def == NULL ? "" : ")");
	}
	if (commands & CMD_TWO_STORES)
		fputs("      --" OPTION_SOURCE "NAME=VALUE        for the source "
		      "alone: any option of how a store is reached\n", out);
}
