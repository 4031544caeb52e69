/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/claim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/str.h"

/*
 * Proxmox Backup takes a datastore over only if owner and modes are exactly
 * these: format document section 1.4.
 */
#define CHUNKS ".chunks"
#define CHUNKS_TEMP ".chunks.tmp"
#define LOCK_FILE ".lock"
#define SERVER_USER "backup"
#define MODE_BASE 0755
#define MODE_CHUNKS 0750
#define MODE_LOCK 0644
#define N_CHUNK_DIRS 65536

struct making {
	const char *base;
	int fd;			/* of base */
	bool give;		/* to the server's user */
	uid_t uid;
	gid_t gid;
};

static int
failed(const struct making *m, const char *path, int err)
{
	log_err("%s/%s: cannot make it: %s", m->base, path, strerror(-err));
	return err;
}

/* Root makes it for the server; anybody else for himself. */
static int
find_owner(struct making *m)
{
	char text[4096];
	struct passwd pw, *found = NULL;

	if (geteuid() != 0)
		return 0;
	if (getpwnam_r(SERVER_USER, &pw, text, sizeof(text), &found) != 0 ||
	    found == NULL) {
		log_warn("%s: there is no user " SERVER_USER ": it stays "
		    "root's\nhint: chown -R backup:backup before a backup "
		    "server uses it", m->base);
		return 0;
	}
	m->give = true;
	m->uid = pw.pw_uid;
	m->gid = pw.pw_gid;
	return 0;
}

static int
set_exact(const struct making *m, int fd, mode_t mode)
{
	if ((m->give && fchown(fd, m->uid, m->gid) < 0) ||
	    fchmod(fd, mode) < 0)
		return -errno;
	return 0;
}

static int
check_name(void *arg, int dir, const struct dirent *e)
{
	const struct making *m = arg;
	const char *name = e->d_name;
	_cleanup_(str_fini) struct str s = {0};

	(void)dir;
	if (streq(name, CHUNKS)) {
		log_err("%s: there is a datastore already", m->base);
		return -EEXIST;
	}
	if (name[0] == '.' || streq(name, "lost+found"))
		return 0;
	str_escape(&s, name, strlen(name));
	log_err("%s: not empty: there is %s in it", m->base, str_get(&s));
	return -ENOTEMPTY;
}

static int
check_empty(struct making *m)
{
	int fd = openat(m->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : io_read_dir(fd, check_name, m);
}

/* The path of what there is of base, without links, and a name behind it in the
 * place of what there is not. */
static int
real_path(const char *base, struct str *out)
{
	_cleanup_free_ char *part = strdup(base), *path = NULL;
	bool cut = false;
	char *slash;

	while (part != NULL && path == NULL) {
		path = realpath(*part != '\0' ? part : "/", NULL);
		slash = strrchr(part, '/');
		if (path == NULL && ((errno != ENOENT && errno != ENOTDIR) ||
		    slash == NULL))
			return -errno;
		if (path == NULL) {
			*slash = '\0';
			cut = true;
		}
	}
	if (part == NULL)
		return -ENOMEM;
	str_addf(out, "%s%s", path, cut ? "/new" : "");
	return str_error(out);
}

/* A server refuses what lies in another datastore.  Before anything of it is
 * made. */
static int
check_not_nested(const char *base)
{
	_cleanup_(str_fini) struct str path = {0};
	char *slash;
	int r;

	r = real_path(base, &path);
	if (r < 0)
		return r;
	while ((slash = strrchr(path.s, '/')) != NULL) {
		_cleanup_(str_fini) struct str chunks = {0};

		*slash = '\0';
		str_addf(&chunks, "%s/" CHUNKS "/0000", path.s);
		if (str_error(&chunks) < 0)
			return -ENOMEM;
		if (access(str_get(&chunks), F_OK) == 0) {
			log_err("%s: lies in another datastore, %s", base,
			    path.s);
			return -EEXIST;
		}
	}
	return 0;
}

/* fix: the mode has to be set.  The umask, a set-group-ID bit above or a
 * default ACL do the same to all of them, so the first one tells. */
static int
make_sub(const struct making *m, int dir, const char *name, bool *fix)
{
	struct stat st;

	if (mkdirat(dir, name, MODE_CHUNKS) < 0)
		return -errno;
	if (m->give && fchownat(dir, name, m->uid, m->gid,
	    AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (streq(name, "0000")) {
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -errno;
		*fix = (st.st_mode & 07777) != MODE_CHUNKS;
	}
	return *fix && fchmodat(dir, name, MODE_CHUNKS, 0) < 0 ? -errno : 0;
}

/* Under another name until it is whole, so that an interrupted attempt leaves
 * no datastore that lacks something. */
static int
make_chunks(const struct making *m)
{
	_cleanup_close_ int dir = -1;
	bool fix = false;
	char name[8];
	int r;

	r = io_remove_tree(m->fd, CHUNKS_TEMP);
	if (r < 0)
		return r;
	if (mkdirat(m->fd, CHUNKS_TEMP, 0700) < 0)
		return -errno;
	dir = openat(m->fd, CHUNKS_TEMP,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	for (unsigned i = 0; r == 0 && i < N_CHUNK_DIRS; i++) {
		snprintf(name, sizeof(name), "%04x", i);
		r = make_sub(m, dir, name, &fix);
	}
	return r < 0 ? r : set_exact(m, dir, MODE_CHUNKS);
}

static int
make_lock(const struct making *m)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = openat(m->fd, LOCK_FILE,
	    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, MODE_LOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? set_exact(m, fd, MODE_LOCK) : -EEXIST;
}

static int
make_all(const struct making *m)
{
	int r;

	r = make_chunks(m);
	if (r < 0)
		return failed(m, CHUNKS, r);
	r = make_lock(m);
	if (r < 0)
		return failed(m, LOCK_FILE, r);
	r = set_exact(m, m->fd, MODE_BASE);
	if (r == 0 && syncfs(m->fd) < 0)
		r = -errno;
	if (r == 0 && renameat(m->fd, CHUNKS_TEMP, m->fd, CHUNKS) < 0)
		r = -errno;
	if (r == 0 && fsync(m->fd) < 0)
		r = -errno;
	return r < 0 ? failed(m, CHUNKS, r) : 0;
}

int
datastore_create_dir(const char *base)
{
	struct making m = {.base = base, .fd = -1};
	_cleanup_close_ int fd = -1;
	int r;

	if (base[0] != '/') {
		log_err("%s: not an absolute path", base);
		return -EINVAL;
	}
	r = check_not_nested(base);
	if (r == -EEXIST)
		return r;
	if (r == 0)
		r = io_mkdirs(AT_FDCWD, base, MODE_BASE);
	if (r == 0) {
		fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		r = fd < 0 ? -errno : 0;
	}
	if (r < 0) {
		log_err("%s: %s", base, strerror(-r));
		return r;
	}
	m.fd = fd;
	r = check_empty(&m);
	if (r == 0)
		r = find_owner(&m);
	return r < 0 ? r : make_all(&m);
}
