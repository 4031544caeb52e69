/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/conf_file.h"
#include "cmd/option.h"
#include "cmd/pbs_conf.h"

#define S3_SCHEME "s3://"

static bool
is_bucket(const char *s)
{
	size_t n = strlen(s);

	/* Old buckets have dots and even upper case and underscores. */
	return n >= 3 && n <= 255 &&
	    strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		      "0123456789.-_") == n &&
	    strchr(".-_", s[n - 1]) == NULL;
}

static bool
is_datastore(const char *s)
{
	size_t n = strlen(s);

	return n >= 1 && n <= 255 && s[0] != '-' && s[0] != '.' &&
	    strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		      "0123456789._-") == n;
}

/* The names in it can be what they are. */
static int
check_names(const struct target *t)
{
	_cleanup_(str_fini) struct str shown = {0};
	const char *what = NULL, *bad = NULL;

	if (t->is_s3 && !is_bucket(t->bucket)) {
		what = "name of a bucket";
		bad = t->bucket;
	} else if (t->is_s3 && !is_datastore(t->datastore)) {
		what = "name of a datastore";
		bad = t->datastore;
	} else if (!t->is_s3 && t->path[0] != '/') {
		what = "absolute path";
		bad = t->path;
	}
	if (bad == NULL)
		return 0;
	str_escape(&shown, bad, strlen(bad));
	log_err("%s: '%s' is no %s", t->name, str_get(&shown), what);
	return -EINVAL;
}

static int
parse_url(const char *rest, struct target *t)
{
	const char *slash = strchr(rest, '/');
	size_t n;

	/* Not shown: who writes keys into the URL must not find them here. */
	if (strchr(rest, '@') != NULL) {
		log_err("a store is s3://BUCKET/DATASTORE, without keys\n"
			"hint: keys go into a file, -o credentials=FILE");
		return -EINVAL;
	}
	if (slash == NULL || slash[1] == '\0') {
		log_err("%s: a store is s3://BUCKET/DATASTORE\n"
			"hint: DATASTORE is the name that the backup server "
			"knows it by",
		    t->name);
		return -EINVAL;
	}
	t->is_s3 = true;
	t->bucket = strndup(rest, (size_t)(slash - rest));
	n = strlen(slash + 1);
	if (slash[n] == '/')
		n--;
	t->datastore = strndup(slash + 1, n);
	return t->bucket == NULL || t->datastore == NULL ? -ENOMEM : 0;
}

static int
missing(const struct target *t, const char *key)
{
	log_err("%s: its section in the configuration has no %s", t->name, key);
	return -EINVAL;
}

/* From what the section said. */
static int
from_section(const struct options *o, struct target *t)
{
	if (o->backend != NULL && streq(o->backend, "s3"))
		t->is_s3 = true;
	else if (o->backend == NULL)
		t->is_s3 = o->bucket != NULL;
	else if (!streq(o->backend, "dir")) {
		log_err("%s: backend is s3 or dir, not '%s'", t->name,
		    o->backend);
		return -EINVAL;
	}
	if (!t->is_s3) {
		if (o->path == NULL)
			return missing(t, "path");
		t->path = strdup(o->path);
		return t->path == NULL ? -ENOMEM : 0;
	}
	if (o->bucket == NULL)
		return missing(t, "bucket");
	t->bucket = strdup(o->bucket);
	t->datastore = strdup(o->datastore != NULL ? o->datastore : t->name);
	return t->bucket == NULL || t->datastore == NULL ? -ENOMEM : 0;
}

static int
parse_name(const char *store, struct options *o, struct target *t)
{
	bool found = false;
	int r;

	r = conf_file_load(o, o->pbs_config == NULL ? store : NULL, &found);
	if (r < 0)
		return r;
	if (o->pbs_config != NULL)
		return pbs_conf_load(o->pbs_config, store, o, t);
	if (found)
		return from_section(o, t);
	log_err("%s: there is no such section in %s\n"
		"hint: a store is also an absolute path or "
		"s3://BUCKET/DATASTORE",
	    t->name, conf_file_path(o));
	return -ENOENT;
}

int
target_parse(const char *store, struct options *o, struct target *ret)
{
	_cleanup_(str_fini) struct str shown = {0};
	struct target t = {0};
	bool found;
	int r;

	str_escape(&shown, store, strlen(store));
	t.name = str_take(&shown);
	if (t.name == NULL)
		return -ENOMEM;
	if (*store == '\0') {
		log_err("the store has no name");
		r = -EINVAL;
	} else if (str_starts(store, S3_SCHEME) || *store == '/') {
		r = conf_file_load(o, NULL, &found);
		if (r == 0 && *store == '/') {
			t.path = strdup(store);
			r = t.path == NULL ? -ENOMEM : 0;
		} else if (r == 0) {
			r = parse_url(store + strlen(S3_SCHEME), &t);
		}
	} else {
		r = parse_name(store, o, &t);
	}
	if (r == 0)
		r = check_names(&t);
	if (r < 0) {
		target_fini(&t);
		return r;
	}
	*ret = t;
	return 0;
}

void
target_fini(struct target *t)
{
	free(t->name);
	free(t->path);
	free(t->bucket);
	free(t->datastore);
	free(t->access);
	if (t->secret != NULL)
		explicit_bzero(t->secret, strlen(t->secret));
	free(t->secret);
	*t = (struct target){0};
}
