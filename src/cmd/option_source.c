/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

/* What every command with a store has, and no other, says how a store is
 * reached. */
static bool
is_of_store(const struct option_def *d)
{
	return (d->commands & CMD_STORE) == CMD_STORE &&
	    !(d->commands & CMD_UMOUNT) &&
	    !(d->flags & (OPTION_ARGV_ONLY | OPTION_FILE_ONLY));
}

const struct option_def *
option_find_source(const char *name, size_t len)
{
	const size_t n = strlen(OPTION_SOURCE);
	const struct option_def *d;

	if (len <= n || memcmp(name, OPTION_SOURCE, n - 1) != 0 ||
	    (name[n - 1] != '-' && name[n - 1] != '_'))
		return NULL;
	d = option_find(name + n, len - n);
	return d != NULL && is_of_store(d) ? d : NULL;
}

int
option_set_source(struct options *o, const struct option_def *d,
    const char *value, const char *where)
{
	int r;

	if (o->source_only == NULL) {
		_cleanup_free_ struct options *s = calloc(1, sizeof(*s));

		if (s == NULL)
			return -ENOMEM;
		r = options_init(s);
		if (r < 0)
			return r;
		o->source_only = steal(&s);
	}
	return option_set(o->source_only, d, value, OPTION_BY_USER, where);
}

/* A directory for what is kept of a store, and the like: no two share it. */
static bool
is_of_one_store(const struct option_def *d)
{
	return is_of_store(d) && d->type == OPTION_TEXT &&
	    !(d->flags & (OPTION_INHERIT | OPTION_NO_FILE));
}

static size_t
size_of(const struct option_def *d)
{
	switch (d->type) {
	case OPTION_FLAG:
		return sizeof(bool);
	case OPTION_RATE:
		return sizeof(double);
	case OPTION_LINKS:
		return sizeof(enum vfs_links);
	case OPTION_LIST:
		return 0;
	case OPTION_TEXT:
	case OPTION_PATHS:
	case OPTION_LINES:
		return sizeof(char *);
	case OPTION_PRICE:
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_NUMBER:
	case OPTION_OCTAL:
	case OPTION_CHOICE:
		break;
	}
	return sizeof(uint64_t);
}

static int
take(struct options *to, const struct options *from, size_t i)
{
	const struct option_def *d = &option_table[i];
	void *p = (char *)to + d->offset;
	const void *q = (const char *)from + d->offset;
	char *text;

	to->source[i] = from->source[i];
	if (d->type != OPTION_TEXT && d->type != OPTION_PATHS &&
	    d->type != OPTION_LINES) {
		memcpy(p, q, size_of(d));
		return 0;
	}
	memcpy(&text, q, sizeof(text));
	if (text != NULL) {
		text = strdup(text);
		if (text == NULL)
			return -ENOMEM;
	}
	free(*(char **)p);
	*(char **)p = text;
	return 0;
}

int
options_for_source(const struct options *o, struct options *ret)
{
	const struct options *s = o->source_only;
	int r;

	r = options_init(ret);
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < option_count; i++)
		if (s != NULL && s->source[i] == OPTION_BY_USER)
			r = take(ret, s, i);
		else if (!is_of_one_store(&option_table[i]))
			r = take(ret, o, i);
	if (r < 0)
		options_fini(ret);
	return r;
}
