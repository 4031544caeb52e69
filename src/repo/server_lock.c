/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/server_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "crypt/digest.h"
#include "repo/edit.h"

#define MODE_LOCK 0660
#define ESCAPED_MAX 254
#define KEPT 80		/* bytes of both ends of a name that is too long */
/* A server removes the file of what it has removed. */
#define TRIES 10

/* As systemd escapes the names of units. */
static void
escape(struct str *out, const char *path)
{
	for (const char *p = path; *p != '\0'; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') ||
		    (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		    *p == '_' || (*p == '.' && p != path);

		if (*p == '/')
			str_addc(out, '-');
		else if (plain)
			str_addc(out, *p);
		else
			str_addf(out, "\\x%02x", (unsigned char)*p);
	}
}

int
server_lock_path(const char *ns, const char *path, struct str *out)
{
	_cleanup_(str_fini) struct str name = {0};
	char hex[DIGEST_HEX_LEN + 1];
	struct digest d;

	for (; *ns != '\0'; ns++)
		str_addc(out, *ns == '/' ? ':' : *ns);
	if (out->len > 0)
		str_addc(out, '/');
	escape(&name, path);
	if (str_error(&name) < 0)
		return -ENOMEM;
	if (name.len <= ESCAPED_MAX) {
		str_add(out, str_get(&name));
		return str_error(out);
	}
	d = digest_of(path, strlen(path));
	str_addf(out, "hashed/%.*s...%s-%s", KEPT, name.s,
	    name.s + name.len - KEPT, digest_hex(&d, hex));
	return str_error(out);
}

/* What is new belongs to whom the directory of all of them does: the server
 * has to be able to use it. */
static int
make_parents(int dir, const char *path, const struct stat *owner)
{
	_cleanup_free_ char *part = strdup(path);
	char *slash;

	if (part == NULL)
		return -ENOMEM;
	for (slash = part; (slash = strchr(slash, '/')) != NULL; slash++) {
		*slash = '\0';
		if (mkdirat(dir, part, 0755) == 0) {
			if (geteuid() == 0 && fchownat(dir, part,
			    owner->st_uid, owner->st_gid,
			    AT_SYMLINK_NOFOLLOW) < 0)
				return -errno;
		} else if (errno != EEXIST) {
			return -errno;
		}
		*slash = '/';
	}
	return 0;
}

static int
open_file(int dir, const char *path)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	struct stat st;
	int fd, r;

	if (fstat(dir, &st) < 0)
		return -errno;
	r = make_parents(dir, path, &st);
	if (r < 0)
		return r;
	fd = openat(dir, path, flags | O_CREAT | O_EXCL, MODE_LOCK);
	if (fd < 0 && errno == EEXIST)
		fd = openat(dir, path, flags | O_CREAT, MODE_LOCK);
	else if (fd >= 0 && (fchmod(fd, MODE_LOCK) < 0 || (geteuid() == 0 &&
	    fchown(fd, st.st_uid, st.st_gid) < 0)))
		r = -errno;
	if (fd < 0)
		return -errno;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

static bool
is_same(int dir, const char *path, int fd)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 &&
	    fstatat(dir, path, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int
take(int dir, const char *path, int *ret_fd)
{
	for (int i = 0; i < TRIES; i++) {
		int fd = open_file(dir, path), r = 0;

		if (fd < 0)
			return fd;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			r = errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (r == 0 && is_same(dir, path, fd)) {
			*ret_fd = fd;
			return 0;
		}
		close(fd);
		if (r < 0)
			return r;
	}
	return -EBUSY;
}

static int
lock(const char *dir, const char *ns, const char *what, int *ret_fd)
{
	_cleanup_(str_fini) struct str path = {0};
	_cleanup_close_ int fd = -1;
	int r;

	r = server_lock_path(ns, what, &path);
	if (r < 0)
		return r;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : take(fd, str_get(&path), ret_fd);
	if (r == -EBUSY)
		log_err("%s: a backup server is at work on it\n"
			"hint: try again when it has finished", what);
	else if (r < 0)
		log_err("%s/%s: cannot take the backup server's lock: %s", dir,
		    str_get(&path), strerror(-r));
	return r;
}

int
server_lock_group(const char *dir, const struct group_name *g, int *ret_fd)
{
	_cleanup_(str_fini) struct str what = {0};

	str_addf(&what, "%s/%s", backup_type_name(g->type), g->id);
	if (str_error(&what) < 0)
		return -ENOMEM;
	return lock(dir, g->ns, str_get(&what), ret_fd);
}

int
server_lock_snap(const char *dir, const struct group_name *g, int64_t time,
    int *ret_fd)
{
	_cleanup_(str_fini) struct str what = {0};
	char text[CLOCK_UTC_LEN + 1];
	int r;

	r = clock_format_utc(text, time);
	if (r < 0)
		return r;
	str_addf(&what, "%s/%s/%s", backup_type_name(g->type), g->id, text);
	if (str_error(&what) < 0)
		return -ENOMEM;
	return lock(dir, g->ns, str_get(&what), ret_fd);
}
