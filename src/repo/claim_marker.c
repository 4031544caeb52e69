/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/claim_marker.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "store/store.h"

#define MARKER ".in-use"
#define MARKER_MAX 65536
#define HOST_MAX 255
#define TIMEOUT_MS 60000

static bool
host_is_valid(const char *s, size_t len)
{
	if (len == 0 || len > HOST_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\')
			return false;
	return true;
}

int
claim_marker_parse(const void *p, size_t len, char **ret)
{
	json_t *j = json_loadb(p, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *host = json_object_get(j, "hostname");
	int r = -EBADMSG;

	if (json_is_string(host) && host_is_valid(json_string_value(host),
	    json_string_length(host))) {
		*ret = strdup(json_string_value(host));
		r = *ret == NULL ? -ENOMEM : 0;
	}
	json_decref(j);
	return r;
}

bool
claim_marker_same_host(const char *a, const char *b)
{
	size_t na = strcspn(a, "."), nb = strcspn(b, ".");

	if (a[na] == '\0' || b[nb] == '\0')
		return na == nb && strncasecmp(a, b, na) == 0;
	return strcasecmp(a, b) == 0;
}

/* As Proxmox Backup calls a host: without its domain. */
static int
own_name(char out[HOST_MAX + 1], bool full)
{
	if (gethostname(out, HOST_MAX) < 0)
		return -errno;
	out[HOST_MAX] = '\0';
	if (!full)
		out[strcspn(out, ".")] = '\0';
	if (host_is_valid(out, strlen(out)))
		return 0;
	log_err("this host has no name that can mark a datastore\n"
		"hint: hostname(1) sets one");
	return -EINVAL;
}

struct marker {
	char *host;		/* owned; NULL: it says none */
	struct store_object o;
};

/* 0; 1 if there is none. */
static int
read_marker(struct store *s, struct marker *ret)
{
	const struct store_get how = {
	    .max = MARKER_MAX,
	    .flags = STORE_FRESH,
	    .deadline = deadline_in(TIMEOUT_MS),
	};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = store_get(s, MARKER, &how, &b, &ret->o);
	if (r == -EFBIG)
		return 0;
	if (r == 0)
		r = claim_marker_parse(b->data, b->len, &ret->host);
	return r == -EBADMSG ? 0 : r;
}

/* 0; 1 if if_absent and somebody was faster. */
static int
write_marker(struct store *s, bool if_absent)
{
	const struct store_put how = {
	    .if_absent = if_absent,
	    .deadline = deadline_in(TIMEOUT_MS),
	};
	char host[HOST_MAX + 1], text[HOST_MAX + 32];
	int r, n;

	r = own_name(host, false);
	if (r < 0)
		return r;
	n = snprintf(text, sizeof(text), "{\"hostname\":\"%s\"}", host);
	return store_put(s, MARKER, text, (size_t)n, &how, NULL);
}

/* 0 if it is ours; -EUSERS, unless it is taken over: 1. */
static int
judge(const struct marker *m, const char *name, bool takeover)
{
	char own[HOST_MAX + 1];
	int r;

	r = own_name(own, true);
	if (r < 0)
		return r;
	if (m->host != NULL && claim_marker_same_host(m->host, own))
		return 0;
	if (takeover) {
		log_warn("%s: taken over from host %s", name,
		    m->host != NULL ? m->host : "(its name cannot be read)");
		return 1;
	}
	log_err("%s: host %s writes into it\n"
		"hint: -o ro only reads; --takeover if nothing on that host "
		"writes any more",
	    name, m->host != NULL ? m->host : "(its name cannot be read)");
	return -EUSERS;
}

/* Our marker, and since when; its content alone is always the same. */
static int
tell_generation(const struct store_object *o, char **ret)
{
	_cleanup_(str_fini) struct str s = {0};

	str_addf(&s, "%lld-%s", (long long)o->mtime, o->etag);
	*ret = str_take(&s);
	return *ret == NULL ? -ENOMEM : 0;
}

int
claim_marker_take(struct store *s, const char *name, bool takeover,
    char **ret_generation)
{
	struct marker m;
	int r, tries;

	for (tries = 0; tries < 2; tries++) {
		r = read_marker(s, &m);
		if (r < 0)
			return r;
		if (r == 0) {
			r = judge(&m, name, takeover);
			free(m.host);
			if (r < 0)
				return r;
			if (r == 0)
				return tell_generation(&m.o, ret_generation);
			r = write_marker(s, false);
		} else {
			r = write_marker(s, true);
		}
		if (r < 0)
			return r;
		/* It may be another's by now; only reading it tells. */
	}
	r = read_marker(s, &m);
	if (r == 0)
		r = judge(&m, name, false);
	if (r == 0)
		r = tell_generation(&m.o, ret_generation);
	free(m.host);
	return r > 0 ? -EAGAIN : r;
}

static int
find_content(void *arg, const char *key, const struct store_object *o)
{
	char *first = arg;

	(void)o;
	if (streq(key, MARKER))
		return 0;
	snprintf(first, PATH_MAX, "%s", key);
	return 1;
}

int
claim_marker_create(struct store *s, const char *name, bool takeover)
{
	char first[PATH_MAX];
	struct marker m;
	int r, there;

	there = read_marker(s, &m);
	if (there < 0)
		return there;
	if (there == 0) {
		r = judge(&m, name, takeover);
		free(m.host);
		if (r < 0)
			return r;
		if (r == 0) {
			log_err("%s: it is there already, and this host's",
			    name);
			return -EEXIST;
		}
	}
	r = store_list(s, "", NULL, find_content, first);
	if (r < 0)
		return r;
	if (r > 0) {
		log_err("%s: there is something already: %s\n"
			"hint: mount it, or take another name", name, first);
		return -EEXIST;
	}
	r = write_marker(s, there == 1);
	if (r == 1) {
		log_err("%s: somebody else has created it this moment", name);
		r = -EEXIST;
	}
	return r;
}
