/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/option.h"
#include "cmd/stack.h"
#include "crypt/digest.h"
#include "draft/scan.h"

/* The store remembers it, so it must mean the same from anywhere. */
static int
add_absolute(const char *path, struct str *out)
{
	_cleanup_free_ char *here = path[0] == '/' ? NULL : getcwd(NULL, 0);

	if (path[0] != '/') {
		if (here == NULL)
			return -errno;
		str_addf(out, "%s/", here);
	}
	str_add(out, path);
	while (out->len > 1 && out->s[out->len - 1] == '/')
		out->s[--out->len] = '\0';
	return str_error(out);
}

/* 1 if there is none. */
static int
find_base(const struct options *o, struct str *out)
{
	const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (o->state != NULL)
		return add_absolute(o->state, out);
	if (geteuid() == 0)
		str_add(out, PBS3FS_LOCALSTATEDIR "/lib/pbs3fs");
	else if (base != NULL && base[0] == '/')
		str_addf(out, "%s/pbs3fs", base);
	else if (home != NULL && home[0] == '/')
		str_addf(out, "%s/.local/state/pbs3fs", home);
	else
		return 1;
	return str_error(out);
}

/* Readable where possible, and different for each store. */
static int
add_store(const struct stack *s, struct str *out)
{
	_cleanup_free_ char *identity = NULL;
	char hex[DIGEST_HEX_LEN + 1];
	const char *name, *slash;
	struct digest d;
	int r;

	r = stack_identity(s, &identity);
	if (r < 0)
		return r;
	name = s->t.is_s3 ? s->t.datastore : identity;
	slash = strrchr(name, '/');
	d = digest_of(identity, strlen(identity));
	str_addf(out, "/%.64s-%.12s", slash != NULL ? slash + 1 : name,
	    digest_hex(&d, hex));
	return str_error(out);
}

/* Who else can write there can put data into snapshots. */
static int
check_private(const char *dir)
{
	_cleanup_close_ int fd =
	    open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : io_check_private(fd);
}

int
state_dir_prepare(const struct stack *s, char **ret)
{
	_cleanup_(str_fini) struct str dir = {0};
	int r;

	r = find_base(s->o, &dir);
	if (r == 1) {
		log_err("%s: there is no place for what is being written\n"
			"hint: -o state=DIR, or -o ro", s->t.name);
		return -ENOENT;
	}
	if (r == 0)
		r = add_store(s, &dir);
	if (r == 0)
		r = io_mkdirs(AT_FDCWD, str_get(&dir), 0700);
	if (r == 0)
		r = check_private(str_get(&dir));
	if (r < 0) {
		log_err("state %s: %s\nhint: -o state=DIR names another "
			"place, -o ro needs none", str_get(&dir),
		    r == -EPERM ? "others can write there" : strerror(-r));
		return r;
	}
	*ret = str_take(&dir);
	return *ret == NULL ? -ENOMEM : 0;
}

int
state_dir_look(const struct stack *s, char **ret)
{
	_cleanup_(str_fini) struct str dir = {0};
	int r;

	r = find_base(s->o, &dir);
	if (r == 0)
		r = add_store(s, &dir);
	if (r == 0)
		r = check_private(str_get(&dir));
	if (r != 0)
		return r > 0 ? -ENOENT : r;
	*ret = str_take(&dir);
	return *ret == NULL ? -ENOMEM : 0;
}

int
state_dir_drafts(const struct stack *s, char **ret)
{
	_cleanup_(str_fini) struct str dir = {0};
	int r;

	*ret = NULL;
	r = find_base(s->o, &dir);
	if (r == 1)
		return 0;
	if (r == 0)
		r = add_store(s, &dir);
	str_add(&dir, "/" STATE_DIR_DRAFTS);
	if (r < 0)
		return r;
	*ret = str_take(&dir);
	return *ret == NULL ? -ENOMEM : 0;
}

static int
find_changed(void *arg, const struct group_name *g, int64_t time,
    bool changed)
{
	(void)arg;
	(void)g;
	(void)time;
	return changed ? 1 : 0;
}

int
state_dir_has_open(const char *state, const char *identity)
{
	const struct draft_scan fns = {.base = find_changed};

	return draft_scan(state, identity, &fns);
}

int
state_dir_path(const char *dir, const char *name, char **ret)
{
	struct str s = {0};

	str_addf(&s, "%s/%s", dir, name);
	*ret = str_take(&s);
	return *ret == NULL ? -ENOMEM : 0;
}
