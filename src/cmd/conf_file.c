/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/conf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/option.h"

#define CONF_MAX ((size_t)1 << 20)
/* The parser cuts longer lines in two; 200 with line end and NUL. */
#define LINE_MAX_LEN 197

struct loading {
	struct options *o;
	const char *name;	/* of the file */
	const char *section;	/* wanted, or NULL */
	bool found;
	int err;
	struct options *scratch;	/* other sections are only checked */
};

const char *
conf_file_path(const struct options *o)
{
	const char *env = getenv(CONF_FILE_ENV);

	if (o->config != NULL)
		return o->config;
	return env != NULL && *env != '\0' ? env : CONF_FILE_DEFAULT;
}

static int
one_key(void *arg, const char *section, const char *key, const char *value)
{
	struct loading *l = arg;
	_cleanup_(str_fini) struct str where = {0};
	enum option_source by = OPTION_BY_SECTION;
	struct options *o = l->scratch;
	const struct option_def *d = option_find(key, strlen(key));

	if (l->err < 0)
		return 0;
	str_add(&where, l->name);
	if (*section == '\0') {
		by = OPTION_BY_CONFIG;
		o = l->o;
	} else {
		str_add(&where, ": [");
		str_escape(&where, section, strlen(section));
		str_add(&where, "]");
		if (l->section != NULL && streq(section, l->section)) {
			o = l->o;
			l->found = true;
		}
	}
	if (str_error(&where) < 0) {
		l->err = -ENOMEM;
		return 0;
	}
	if (*section == '\0' && d != NULL && !(d->flags & OPTION_INHERIT) &&
	    !(d->flags & OPTION_ARGV_ONLY)) {
		log_err("%s: %s belongs into the section of a store",
		    str_get(&where), d->name);
		l->err = -EINVAL;
		return 0;
	}
	l->err = option_set_named(o, key, value, by, str_get(&where));
	return l->err == 0;
}

/*
 * White space before a key would make it a part of the value above for the
 * parser; nobody who indents means that.  Also finds sections without keys.
 */
static int
straighten(const char *text, struct loading *l, struct str *out)
{
	unsigned number = 0;

	while (*text != '\0') {
		const char *end = strchrnul(text, '\n'), *p = text;
		size_t n;

		number++;
		while (p < end && (*p == ' ' || *p == '\t'))
			p++;
		n = (size_t)(end - p);
		if (n > LINE_MAX_LEN && *p != '#' && *p != ';') {
			log_err("%s: line %u is longer than %d characters",
			    l->name, number, LINE_MAX_LEN);
			return -EINVAL;
		}
		if (n > LINE_MAX_LEN)
			n = 0;
		if (n > 2 && *p == '[' && l->section != NULL &&
		    strlen(l->section) < n &&
		    memcmp(p + 1, l->section, strlen(l->section)) == 0 &&
		    p[1 + strlen(l->section)] == ']')
			l->found = true;
		str_addn(out, p, n);
		str_addc(out, '\n');
		text = *end == '\0' ? end : end + 1;
	}
	return str_error(out);
}

int
conf_file_parse(struct options *o, const char *text, const char *name,
    const char *section, bool *ret_found)
{
	_cleanup_(str_fini) struct str straight = {0};
	struct options scratch;
	struct loading l = {.o = o, .name = name, .section = section,
	    .scratch = &scratch};
	int r;

	r = options_init(&scratch);
	if (r < 0)
		return r;
	r = straighten(text, &l, &straight);
	if (r == 0) {
		r = ini_parse_string(str_get(&straight), one_key, &l);
		if (l.err < 0) {
			r = l.err;
		} else if (r > 0) {
			log_err("%s: line %d is neither [section] nor "
				"name = value",
			    name, r);
			r = -EINVAL;
		} else if (r < 0) {
			r = -ENOMEM;
		}
	}
	options_fini(&scratch);
	if (r == 0)
		*ret_found = l.found;
	return r;
}

/* Also one to a file that has no name. */
static int
read_link(const char *name, struct buf **ret)
{
	_cleanup_close_ int fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct buf *b;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > CONF_MAX)
		return -EFBIG;
	b = buf_new((size_t)st.st_size);
	if (b == NULL)
		return -ENOMEM;
	r = io_pread_full(fd, b->data, b->len, 0);
	if (r < 0) {
		buf_unref(b);
		return r;
	}
	*ret = b;
	return 0;
}

int
conf_file_load(struct options *o, const char *section, bool *ret_found)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	_cleanup_free_ char *text = NULL;
	const char *name = conf_file_path(o);
	int r;

	*ret_found = false;
	r = io_read_file(AT_FDCWD, name, CONF_MAX, &b);
	if (r == -ENOENT && streq(name, CONF_FILE_DEFAULT))
		return 0;
	/* A link is as good as a file here: whoever can put one there can
	 * put the file there. */
	if (r == -ELOOP)
		r = read_link(name, &b);
	if (r < 0) {
		log_err("%s: %s", name, exits_why(r));
		return r;
	}
	text = strndup((const char *)b->data, b->len);
	if (text == NULL)
		return -ENOMEM;
	if (strlen(text) != b->len) {
		log_err("%s: is not a text", name);
		return -EINVAL;
	}
	return conf_file_parse(o, text, name, section, ret_found);
}
