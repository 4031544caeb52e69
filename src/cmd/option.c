/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/option.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/nearest.h"

static void *
field(struct options *o, const struct option_def *d)
{
	return (char *)o + d->offset;
}

static bool
same_name(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((a[i] == '_' ? '-' : a[i]) != b[i])
			return false;
	return b[len] == '\0';
}

const struct option_def *
option_find(const char *name, size_t len)
{
	for (size_t i = 0; i < option_count; i++)
		if (strnlen(option_table[i].name, len + 1) == len &&
		    same_name(name, option_table[i].name, len))
			return &option_table[i];
	return NULL;
}

enum option_source
option_by(const struct options *o, const char *name)
{
	const struct option_def *d = option_find(name, strlen(name));

	return d == NULL ? OPTION_BY_DEFAULT :
	    (enum option_source)o->source[d - option_table];
}

bool
option_is_set(const struct options *o, const char *name)
{
	return option_by(o, name) != OPTION_BY_DEFAULT;
}

static int
parse_octal(const char *text, uint64_t *ret)
{
	uint64_t v = 0;

	if (*text == '\0' || strlen(text) > 5)
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '7')
			return -EINVAL;
		v = v * 8 + (uint64_t)(*text - '0');
	}
	*ret = v;
	return 0;
}

static int
parse_rate(const char *text, double *ret)
{
	char *end;
	double v;

	/* Only "12" and "0.5": no sign, exponent, "inf" or "nan". */
	if (text[strspn(text, "0123456789.")] != '\0' || *text == '\0')
		return -EINVAL;
	v = strtod(text, &end);
	if (*end != '\0' || !isfinite(v))
		return -EINVAL;
	*ret = v;
	return 0;
}

static int
parse_links(const char *text, enum vfs_links *ret)
{
	static const char *const names[] = {
	    [VFS_LINKS_AUTO] = "auto",
	    [VFS_LINKS_SCAN] = "scan",
	    [VFS_LINKS_SEEN] = "seen",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(text, names[i])) {
			*ret = (enum vfs_links)i;
			return 0;
		}
	return -EINVAL;
}

static int
parse_choice(const char *text, const char *choices, uint64_t *ret)
{
	size_t len = strlen(text), n;

	for (*ret = 0; len > 0; (*ret)++) {
		n = strcspn(choices, "|");
		if (n == len && memcmp(choices, text, n) == 0)
			return 0;
		if (choices[n] == '\0')
			break;
		choices += n + 1;
	}
	return -EINVAL;
}

static const char *
form_of(const struct option_def *d)
{
	switch (d->type) {
	case OPTION_FLAG:
		return "yes or no";
	case OPTION_SIZE:
		return "a size as 512, 64K, 1.5G";
	case OPTION_DURATION:
		return "a time as 30, 500ms, 5m, 24h";
	case OPTION_OCTAL:
		return "octal digits as 022";
	case OPTION_RATE:
		return "a number as 10 or 0.5";
	case OPTION_PRICE:
		return "a price as 5 or 0.0004, of a million at most";
	case OPTION_LINKS:
		return "auto, scan or seen";
	case OPTION_CHOICE:
		return d->arg;
	default:
		return "a number";
	}
}

static int
add_to(char **list, const char *between, const char *value)
{
	char *both;

	if (asprintf(&both, "%s%s%s", *list != NULL ? *list : "",
	    *list != NULL ? between : "", value) < 0)
		return -ENOMEM;
	free(*list);
	*list = both;
	return 0;
}

/* Into *n for numbers, else into the field itself. */
static int
parse(struct options *o, const struct option_def *d, const char *value,
    uint64_t *n)
{
	void *p = field(o, d);
	char *copy;

	switch (d->type) {
	case OPTION_FLAG:
		return num_bool(value, p);
	case OPTION_TEXT:
		copy = strdup(value);
		if (copy == NULL)
			return -ENOMEM;
		free(*(char **)p);
		*(char **)p = copy;
		return 0;
	case OPTION_PATHS:
		return add_to(p, ":", value);
	case OPTION_LINES:
		return add_to(p, "\n", value);
	case OPTION_SIZE:
		return num_size(value, n);
	case OPTION_DURATION:
		return num_duration(value, n);
	case OPTION_NUMBER:
		return num_u64(value, n);
	case OPTION_OCTAL:
		return parse_octal(value, n);
	case OPTION_RATE:
		return parse_rate(value, p);
	case OPTION_PRICE:
		return price_parse(value, p);
	case OPTION_LINKS:
		return parse_links(value, p);
	case OPTION_CHOICE:
		return parse_choice(value, d->arg, n);
	case OPTION_LIST:
		break;
	}
	return -EINVAL;
}

static bool
is_number(const struct option_def *d)
{
	return d->type == OPTION_SIZE || d->type == OPTION_DURATION ||
	    d->type == OPTION_NUMBER || d->type == OPTION_OCTAL ||
	    d->type == OPTION_CHOICE;
}

int
option_set(struct options *o, const struct option_def *d, const char *value,
    enum option_source by, const char *where)
{
	unsigned char *source = &o->source[d - option_table];
	uint64_t n = 0;
	int r;

	if (value == NULL && d->type != OPTION_FLAG) {
		log_err("%s: %s needs a value: %s=%s", where, d->name, d->name,
		    d->arg);
		return -EINVAL;
	}
	if (by < *source)
		return 0;
	/* What a higher source says replaces all of a lower one. */
	if ((d->type == OPTION_PATHS || d->type == OPTION_LINES) &&
	    by > *source)
		free(steal((char **)field(o, d)));
	r = parse(o, d, value == NULL ? "yes" : value, &n);
	if (r == 0 && is_number(d)) {
		if (n < d->min || (d->max != 0 && n > d->max))
			r = -ERANGE;
		else
			*(uint64_t *)field(o, d) = n;
	}
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		_cleanup_(str_fini) struct str shown = {0};

		str_escape(&shown, value, strlen(value));
		log_err("%s: %s: '%s' %s %s", where, d->name, str_get(&shown),
		    r == -ERANGE ? "is out of range:" : "is not",
		    form_of(d));
		return -EINVAL;
	}
	*source = (unsigned char)by;
	return 0;
}

static int
unknown(const char *name, size_t len, unsigned skip, const char *where)
{
	_cleanup_(str_fini) struct str shown = {0};
	char word[64];
	struct nearest n;

	snprintf(word, sizeof(word), "%.*s", (int)MIN(len, sizeof(word) - 1),
	    name);
	for (char *p = word; *p != '\0'; p++)
		if (*p == '_')
			*p = '-';
	nearest_init(&n, word);
	for (size_t i = 0; i < option_count; i++)
		if (!(option_table[i].flags & skip))
			nearest_offer(&n, option_table[i].name);
	str_escape(&shown, name, len);
	if (n.best != NULL)
		log_err("%s: unknown option %s\nhint: did you mean %s?", where,
		    str_get(&shown), n.best);
	else
		log_err("%s: unknown option %s", where, str_get(&shown));
	return -EINVAL;
}

int
option_set_named(struct options *o, const char *name, const char *value,
    enum option_source by, const char *where)
{
	unsigned skip = OPTION_ARGV_ONLY |
	    (by == OPTION_BY_USER ? OPTION_FILE_ONLY : OPTION_NO_FILE);
	const struct option_def *d = option_find(name, strlen(name));

	if (d == NULL || (d->flags & skip))
		return unknown(name, strlen(name), skip, where);
	return option_set(o, d, value, by, where);
}

int
options_init(struct options *o)
{
	memset(o, 0, sizeof(*o));
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
		int r = d->def == NULL ? 0 :
		    option_set(o, d, d->def, OPTION_BY_DEFAULT, "default");

		if (r < 0) {
			options_fini(o);
			return r;
		}
	}
	return 0;
}

static bool
is_owned(const struct option_def *d)
{
	return d->type == OPTION_TEXT || d->type == OPTION_PATHS ||
	    d->type == OPTION_LINES;
}

void
options_fini(struct options *o)
{
	for (size_t i = 0; i < option_count; i++)
		if (is_owned(&option_table[i])) {
			char **p = field(o, &option_table[i]);

			free(*p);
			*p = NULL;
		}
	if (o->source_only != NULL)
		options_fini(o->source_only);
	free(steal(&o->source_only));
}
