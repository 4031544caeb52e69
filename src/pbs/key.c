/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/names.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"

#define CHUNK_DIR ".chunks/"
#define CONTENT_DIR ".cnt/"
#define CHUNK_PREFIX_LEN 4	/* hex digits that name the subdirectory */

/* A part of a key, up to the next '/' or the end. */
struct part {
	const char *s;
	size_t len;
	bool last;
};

static struct part
part_next(const char **key)
{
	struct part p = {.s = *key, .len = strcspn(*key, "/")};

	p.last = p.s[p.len] == '\0';
	*key = p.s + p.len + (p.last ? 0 : 1);
	return p;
}

static bool
part_is(const struct part *p, const char *text)
{
	return p->len == strlen(text) && memcmp(p->s, text, p->len) == 0;
}

/* "abcd/<64 hex>" and for one set aside ".<digit>.bad". */
static void
parse_chunk(const char *key, struct key_parts *ret)
{
	const size_t head = CHUNK_PREFIX_LEN + 1;
	char hex[DIGEST_HEX_LEN + 1];
	const char *tail;

	if (strlen(key) < head + DIGEST_HEX_LEN || key[head - 1] != '/' ||
	    memcmp(key, key + head, CHUNK_PREFIX_LEN) != 0)
		return;
	memcpy(hex, key + head, DIGEST_HEX_LEN);
	hex[DIGEST_HEX_LEN] = '\0';
	if (digest_parse(hex, &ret->digest) < 0)
		return;
	tail = key + head + DIGEST_HEX_LEN;
	if (*tail == '\0')
		ret->kind = KEY_CHUNK;
	else if (tail[0] == '.' && tail[1] >= '0' && tail[1] <= '9' &&
	    streq(tail + 2, ".bad"))
		ret->kind = KEY_BAD_CHUNK;
}

static int
parse_time(const struct part *p, int64_t *ret)
{
	char text[CLOCK_UTC_LEN + 1];

	if (p->len != CLOCK_UTC_LEN)
		return -EINVAL;
	memcpy(text, p->s, CLOCK_UTC_LEN);
	text[CLOCK_UTC_LEN] = '\0';
	return clock_parse_utc(text, ret);
}

static int
ns_push(struct key_parts *k, const struct part *p, size_t *len, size_t *depth)
{
	size_t n = p->len + (*len > 0 ? 1 : 0);

	if (!name_is_safe(p->s, p->len) || *depth == NS_DEPTH_MAX ||
	    n > NS_LEN_MAX - *len)
		return -EINVAL;
	if (*len > 0)
		k->ns[(*len)++] = '/';
	memcpy(k->ns + *len, p->s, p->len);
	*len += p->len;
	k->ns[*len] = '\0';
	(*depth)++;
	return 0;
}

/* What follows "<type>/<id>/". */
static void
parse_in_group(const char *key, struct key_parts *ret)
{
	struct part p = part_next(&key);

	if (p.last) {
		if (part_is(&p, "owner"))
			ret->kind = KEY_OWNER;
		else if (part_is(&p, "notes"))
			ret->kind = KEY_NOTES;
		return;
	}
	if (parse_time(&p, &ret->time) < 0)
		return;
	/* The last part: names with a '/' in them are no archives. */
	if (!streq(key, ".protected") && archive_kind(key) == ARCHIVE_OTHER)
		return;
	ret->file = key;
	ret->file_len = strlen(key);
	ret->kind = KEY_FILE;
}

static void
parse_content(const char *key, struct key_parts *ret)
{
	size_t ns_len = 0, depth = 0;
	struct part p;

	for (;;) {
		p = part_next(&key);
		if (!part_is(&p, "ns") || p.last)
			break;
		p = part_next(&key);
		if (p.last || ns_push(ret, &p, &ns_len, &depth) < 0)
			return;
	}
	if (p.last) {
		if (depth > 0 && part_is(&p, ".namespace"))
			ret->kind = KEY_NAMESPACE;
		return;
	}
	if (backup_type_parse(p.s, p.len, &ret->type) < 0)
		return;
	p = part_next(&key);
	if (p.last || !name_is_safe(p.s, p.len))
		return;
	ret->id = p.s;
	ret->id_len = p.len;
	parse_in_group(key, ret);
}

void
key_parse(const char *key, struct key_parts *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = KEY_OTHER;
	if (strnlen(key, KEY_MAX + 1) > KEY_MAX)
		return;
	if (streq(key, ".in-use"))
		ret->kind = KEY_IN_USE;
	else if (str_starts(key, CHUNK_DIR))
		parse_chunk(key + strlen(CHUNK_DIR), ret);
	else if (str_starts(key, CONTENT_DIR))
		parse_content(key + strlen(CONTENT_DIR), ret);
}

void
key_chunk(const struct digest *d, char out[KEY_CHUNK_LEN + 1])
{
	char *hex = out + strlen(CHUNK_DIR) + CHUNK_PREFIX_LEN + 1;

	digest_hex(d, hex);
	memcpy(out, CHUNK_DIR, strlen(CHUNK_DIR));
	memcpy(out + strlen(CHUNK_DIR), hex, CHUNK_PREFIX_LEN);
	hex[-1] = '/';
}

struct key_out {
	char *s;	/* borrowed; KEY_MAX + 1 bytes */
	size_t len;
	bool full;
};

static void __attribute__((format(printf, 2, 3)))
put(struct key_out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (o->full)
		return;
	va_start(ap, fmt);
	n = vsnprintf(o->s + o->len, KEY_MAX + 1 - o->len, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n > KEY_MAX - o->len)
		o->full = true;
	else
		o->len += (size_t)n;
}

static void
put_ns(struct key_out *o, const char *ns)
{
	size_t n;

	put(o, "%s", CONTENT_DIR);
	for (; *ns != '\0' && !o->full; ns += n + (ns[n] == '/')) {
		n = strcspn(ns, "/");
		put(o, "ns/%.*s/", (int)MIN(n, (size_t)KEY_MAX + 1), ns);
	}
}

int
key_ns(char out[KEY_MAX + 1], const char *ns, const char *file)
{
	struct key_out o = {.s = out};

	put_ns(&o, ns);
	put(&o, "%s", file);
	return o.full ? -ENAMETOOLONG : 0;
}

static void
put_group(struct key_out *o, const char *ns, enum backup_type type,
    const char *id)
{
	put_ns(o, ns);
	put(o, "%s/%s/", backup_type_name(type), id);
}

int
key_group(char out[KEY_MAX + 1], const char *ns, enum backup_type type,
    const char *id, const char *file)
{
	struct key_out o = {.s = out};

	put_group(&o, ns, type, id);
	put(&o, "%s", file);
	return o.full ? -ENAMETOOLONG : 0;
}

int
key_file(char out[KEY_MAX + 1], const char *ns, enum backup_type type,
    const char *id, int64_t time, const char *file)
{
	struct key_out o = {.s = out};
	char text[CLOCK_UTC_LEN + 1];
	int r;

	r = clock_format_utc(text, time);
	if (r < 0)
		return r;
	put_group(&o, ns, type, id);
	put(&o, "%s/%s", text, file);
	return o.full ? -ENAMETOOLONG : 0;
}
