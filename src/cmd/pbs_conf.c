/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/pbs_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/target.h"
#include "pbs/names.h"

#define FILE_SIZE_MAX ((size_t)4 << 20)
#define LINE_LEN_MAX 4096
#define PBS_LOCKS "/run/proxmox-backup/locks"

static bool
is_section(const char *line, const char *type, const char *id)
{
	size_t n = strlen(type);

	if (strncmp(line, type, n) != 0 || line[n] != ':')
		return false;
	line += n + 1;
	line += strspn(line, " \t");
	n = strlen(id);
	return strncmp(line, id, n) == 0 &&
	    line[n + strspn(line + n, " \t\r")] == '\0';
}

int
pbs_conf_section(const char *text, const char *type, const char *id,
    pbs_conf_fn *fn, void *arg)
{
	char line[LINE_LEN_MAX];
	bool inside = false, found = false;
	int r;

	while (*text != '\0') {
		const char *end = strchrnul(text, '\n');
		size_t n = (size_t)(end - text);
		char *key, *value;

		if (n >= sizeof(line))
			return -EINVAL;
		memcpy(line, text, n);
		while (n > 0 && strchr(" \t\r", line[n - 1]) != NULL)
			n--;
		line[n] = '\0';
		text = *end == '\0' ? end : end + 1;
		if (n == 0 || *line == '#')
			continue;
		if (*line != ' ' && *line != '\t') {
			inside = is_section(line, type, id);
			found = found || inside;
			continue;
		}
		if (!inside)
			continue;
		key = line + strspn(line, " \t");
		value = key + strcspn(key, " \t");
		if (*value != '\0') {
			*value++ = '\0';
			value += strspn(value, " \t");
		}
		r = fn(arg, key, value);
		if (r != 0)
			return r;
	}
	return found ? 0 : 1;
}

/* Without the blanks around it and trailing slashes. */
static size_t
trimmed(const char **s, size_t len)
{
	while (len > 0 && strchr(" \t", **s) != NULL) {
		(*s)++;
		len--;
	}
	while (len > 1 && strchr(" \t\r/", (*s)[len - 1]) != NULL)
		len--;
	return len;
}

int
pbs_conf_at(const char *text, const char *path, char *out, size_t len)
{
	const char *name = NULL, *end;
	size_t name_len = 0, n;

	for (; *text != '\0'; text = *end == '\0' ? end : end + 1) {
		const char *line = text;

		end = strchrnul(text, '\n');
		n = (size_t)(end - text);
		if (n > 0 && strchr(" \t#\r", *line) == NULL) {
			name = NULL;
			if (!str_starts(line, "datastore:"))
				continue;
			name = line + strlen("datastore:");
			name_len = trimmed(&name, (size_t)(end - name));
			continue;
		}
		n = trimmed(&line, n);
		if (name == NULL || n < 6 || strncmp(line, "path", 4) != 0 ||
		    strchr(" \t", line[4]) == NULL)
			continue;
		line += 4;
		n = trimmed(&line, n - 4);
		if (n != strlen(path) || memcmp(line, path, n) != 0)
			continue;
		if (name_len >= len || !name_is_safe(name, name_len))
			return 1;
		memcpy(out, name, name_len);
		out[name_len] = '\0';
		return 0;
	}
	return 1;
}

int
pbs_conf_locks(const char *dir, const char *path, char **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	_cleanup_(str_fini) struct str file = {0};
	_cleanup_free_ char *text = NULL;
	struct str out = {0};
	char name[64];
	int r;

	str_addf(&file, "%s/datastore.cfg", dir);
	r = str_error(&file);
	if (r == 0)
		r = io_read_file(AT_FDCWD, str_get(&file), FILE_SIZE_MAX, &b);
	/* Without a server, or for who may not know of it. */
	if (r < 0)
		return r == -ENOMEM ? r : 1;
	text = strndup((const char *)b->data, b->len);
	if (text == NULL)
		return -ENOMEM;
	r = pbs_conf_at(text, path, name, sizeof(name));
	if (r != 0)
		return r;
	str_addf(&out, PBS_LOCKS "/%s", name);
	*ret = str_take(&out);
	if (*ret == NULL)
		return -ENOMEM;
	if (access(*ret, F_OK) == 0)
		return 0;
	free(steal(ret));	/* it has not run since the host has */
	return 1;
}

int
pbs_conf_property(const char *text, const char *key, const char *dflt,
    char *out, size_t len)
{
	size_t n = strlen(key);

	while (*text != '\0') {
		size_t part = strcspn(text, ","), eq = strcspn(text, "=,");
		const char *value = NULL;
		size_t skip = 0;

		if (eq < part && eq == n && strncmp(text, key, n) == 0) {
			skip = eq + 1;
			value = text + skip;
		} else if (eq == part && dflt != NULL && streq(key, dflt)) {
			value = text;
		}
		if (value != NULL) {
			if (part - skip >= len)
				return -ENAMETOOLONG;
			memcpy(out, value, part - skip);
			out[part - skip] = '\0';
			return 0;
		}
		text += part;
		text += *text == ',';
	}
	return 1;
}

static int
read_text(const char *dir, const char *name, char path[PATH_MAX], char **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	r = io_read_file(AT_FDCWD, path, FILE_SIZE_MAX, &b);
	if (r < 0) {
		log_err("%s: %s", path, exits_why(r));
		return r;
	}
	*ret = strndup((const char *)b->data, b->len);
	return *ret == NULL ? -ENOMEM : 0;
}

/* It holds keys.  The backup server's own is root:backup 0640. */
static int
check_secret(const char *path)
{
	struct stat st;
	struct group *g;

	if (stat(path, &st) < 0)
		return -errno;
	if (st.st_mode & 0007) {
		log_err("%s: holds keys and others can read it\n"
			"hint: chmod o= %s",
		    path, path);
		return -EPERM;
	}
	if (!(st.st_mode & 0070) || st.st_gid == 0)
		return 0;
	g = getgrnam("backup");
	if (g != NULL && g->gr_gid == st.st_gid)
		return 0;
	log_err("%s: holds keys and its group can read it\n"
		"hint: chmod g= %s",
	    path, path);
	return -EPERM;
}

struct datastore {
	char *path;
	char backend[16], client[64], bucket[64];
};

static int
datastore_key(void *arg, const char *key, const char *value)
{
	struct datastore *d = arg;

	if (streq(key, "path")) {
		free(d->path);
		d->path = strdup(value);
		return d->path == NULL ? -ENOMEM : 0;
	}
	if (!streq(key, "backend"))
		return 0;
	if (pbs_conf_property(value, "type", "type", d->backend,
		sizeof(d->backend)) < 0 ||
	    pbs_conf_property(value, "client", NULL, d->client,
		sizeof(d->client)) < 0 ||
	    pbs_conf_property(value, "bucket", NULL, d->bucket,
		sizeof(d->bucket)) < 0)
		return -EINVAL;
	return 0;
}

struct endpoint {
	struct options *o;
	struct target *t;
	const char *where;
};

static int
set_secret(char **p, const char *value)
{
	free(*p);
	*p = strdup(value);
	return *p == NULL ? -ENOMEM : 0;
}

/* "10 MiB" is how the server writes sizes. */
static int
set_rate(struct endpoint *e, const char *key, const char *value)
{
	char packed[64];
	size_t n = 0;

	for (; *value != '\0' && n + 1 < sizeof(packed); value++)
		if (*value != ' ')
			packed[n++] = *value;
	packed[n] = '\0';
	return option_set_named(e->o, key, packed, OPTION_BY_SECTION, e->where);
}

static int
endpoint_key(void *arg, const char *key, const char *value)
{
	static const char *const same[] = {
	    "endpoint", "port", "region", "path-style", "fingerprint"};
	static const char *const quirks[][2] = {
	    {"skip-if-none-match-header", "skip-if-none-match"},
	    {"delete-objects-via-delete-object", "no-multi-delete"},
	};
	struct endpoint *e = arg;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		if (streq(key, same[i]))
			return option_set_named(e->o, key, value,
			    OPTION_BY_SECTION, e->where);
	if (streq(key, "access-key"))
		return set_secret(&e->t->access, value);
	if (streq(key, "secret-key"))
		return set_secret(&e->t->secret, value);
	if (streq(key, "rate-in") || streq(key, "rate-out"))
		return set_rate(e, key, value);
	if (!streq(key, "provider-quirks"))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(quirks) && r == 0; i++)
		if (strstr(value, quirks[i][0]) != NULL)
			r = option_set_named(e->o, quirks[i][1], NULL,
			    OPTION_BY_SECTION, e->where);
	return r;
}

static int
load_endpoint(const char *dir, const char *client, struct options *o,
    struct target *t)
{
	struct endpoint e = {.o = o, .t = t};
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	int r;

	r = read_text(dir, "s3.cfg", path, &text);
	if (r == 0)
		r = check_secret(path);
	if (r < 0)
		return r;
	e.where = path;
	/* What the server takes where its file says nothing. */
	r = option_set_named(o, "region", "us-west-1", OPTION_BY_CONFIG, path);
	if (r == 0)
		r = pbs_conf_section(text, "s3-endpoint", client,
		    endpoint_key, &e);
	if (r == 1) {
		log_err("%s: there is no s3-endpoint %s", path, client);
		return -ENOENT;
	}
	return r;
}

int
pbs_conf_load(const char *dir, const char *datastore, struct options *o,
    struct target *t)
{
	struct datastore d = {.backend = "filesystem"};
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	int r;

	r = read_text(dir, "datastore.cfg", path, &text);
	if (r < 0)
		return r;
	r = pbs_conf_section(text, "datastore", datastore, datastore_key, &d);
	if (r == 1) {
		log_err("%s: there is no datastore %s", path, datastore);
		r = -ENOENT;
	} else if (r == -EINVAL) {
		log_err("%s: datastore %s: this cannot be understood", path,
		    datastore);
	} else if (r == 0 && streq(d.backend, "s3")) {
		t->is_s3 = true;
		t->bucket = strdup(d.bucket);
		t->datastore = strdup(datastore);
		r = t->bucket == NULL || t->datastore == NULL ? -ENOMEM :
		    load_endpoint(dir, d.client, o, t);
	} else if (r == 0 && d.path != NULL) {
		t->is_s3 = false;
		t->path = steal(&d.path);
	} else if (r == 0) {
		log_err("%s: datastore %s has no path", path, datastore);
		r = -EINVAL;
	}
	free(d.path);
	return r;
}
