/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "repo/claim_lock.h"
#include "repo/claim_marker.h"
#include "repo/claim_state.h"

#define OWN_DIR ".pbs3fs"
#define OWN_LOCK "lock"
#define PBS_LOCK ".lock"

struct claim {
	char *name;		/* owned */
	char *marker;		/* owned: of which life our marker is */
	char *generation;	/* owned: that, and the state directory's */
	struct store *store;	/* borrowed; NULL: a directory */
	int run_fd;		/* owned: the lock of this host */
	int own_fd;		/* owned: that of the directory, or -1 */
	int pbs_fd;		/* owned: Proxmox Backup's, or -1 */
	int state_fd;		/* owned: that of the state directory, or -1 */

	pthread_mutex_t lock;	/* guards the rest */
	unsigned holders;
	bool collecting;	/* .lock is ours alone */
};

/* What we make in the directory belongs to whom the directory does. */
static int
give_to(int fd, const struct stat *base)
{
	return geteuid() != 0 || fchown(fd, base->st_uid, base->st_gid) == 0 ?
	    0 : -errno;
}

static int
open_own_dir(int base, const struct stat *st)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd, r;

	fd = openat(base, OWN_DIR, flags);
	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : -errno;
	if (mkdirat(base, OWN_DIR, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(base, OWN_DIR, flags);
	if (fd < 0)
		return -errno;
	r = give_to(fd, st);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* A file that is only there to be locked. */
static int
open_lock(int dir, const char *name, const struct stat *base)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	struct stat st;
	int fd, r = 0;

	fd = openat(dir, name, flags);
	if (fd < 0 && errno == ENOENT) {
		fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0644);
		if (fd >= 0 && (fchmod(fd, 0644) < 0 || give_to(fd, base) < 0))
			r = -errno;
		else if (fd < 0 && errno == EEXIST)
			fd = openat(dir, name, flags);
	}
	if (fd < 0)
		return -errno;
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0 && !S_ISREG(st.st_mode))
		r = -EINVAL;
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

/* What has failed, as a part of base; its path for the message. */
static int
failed(const char *base, const char *path, int err)
{
	log_err("%s/%s: cannot open it for writing: %s", base, path,
	    strerror(-err));
	return err;
}

/* Which state directory it is from now on. */
static int
tell_state(struct claim *c, struct store *s, int dir,
    const struct claim_opts *o)
{
	struct str text = {0};
	uint64_t number = 0;
	int r;

	str_add(&text, c->marker);
	if (o->state != NULL) {
		r = claim_state_lock(o, &c->state_fd);
		if (r == 0)
			r = claim_state_take(s, dir, o, &number);
		if (r < 0) {
			str_fini(&text);
			return r;
		}
		str_addf(&text, "-%ju", (uintmax_t)number);
	}
	c->generation = str_take(&text);
	return c->generation == NULL ? -ENOMEM : 0;
}

static int
claim_base(struct claim *c, const struct claim_opts *o)
{
	_cleanup_close_ int base = -1, dir = -1;
	struct stat st;
	int r;

	base = open(o->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0 || fstat(base, &st) < 0) {
		r = -errno;
		log_err("%s: %s", o->base, strerror(-r));
		return r;
	}
	dir = open_own_dir(base, &st);
	if (dir < 0)
		return failed(o->base, OWN_DIR, dir);
	c->own_fd = open_lock(dir, OWN_LOCK, &st);
	if (c->own_fd < 0)
		return failed(o->base, OWN_DIR "/" OWN_LOCK, c->own_fd);
	r = claim_lock_take(c->own_fd, c->name);
	if (r < 0)
		return r;
	c->pbs_fd = open_lock(base, PBS_LOCK, &st);
	if (c->pbs_fd < 0)
		return failed(o->base, PBS_LOCK, c->pbs_fd);
	c->marker = strdup("dir");
	if (c->marker == NULL)
		return -ENOMEM;
	r = tell_state(c, NULL, dir, o);
	return r < 0 && r != -EBUSY ? failed(o->base, OWN_DIR "/state", r) : r;
}

/* The lock of this host alone; the rest is what the store has. */
static int
claim_new(const struct claim_opts *o, struct claim **ret)
{
	struct claim *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&c->lock, NULL);
	if (r < 0) {
		free(c);
		return r;
	}
	c->run_fd = c->own_fd = c->pbs_fd = c->state_fd = -1;
	c->name = strdup(o->name);
	r = c->name == NULL ? -ENOMEM :
	    claim_lock_open(o->run_dir, o->identity, &c->run_fd);
	if (r == 0)
		r = claim_lock_take(c->run_fd, c->name);
	if (r < 0) {
		claim_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

int
claim_take(struct store *s, const struct claim_opts *o, struct claim **ret)
{
	struct claim *c;
	int r;

	r = claim_new(o, &c);
	if (r < 0)
		return r;
	if (o->base != NULL)
		r = claim_base(c, o);
	else
		r = claim_marker_take(s, o->name, o->takeover, &c->marker);
	if (r == 0 && o->base == NULL)
		r = tell_state(c, s, -1, o);
	if (r < 0) {
		claim_free(c);
		return r;
	}
	c->store = o->base == NULL ? s : NULL;
	*ret = c;
	return 0;
}

int
claim_check(struct claim *c)
{
	_cleanup_free_ char *now = NULL;
	int r;

	if (c->store == NULL)
		return 0;
	r = claim_marker_take(c->store, c->name, false, &now);
	if (r < 0 || streq(now, c->marker))
		return r;
	log_err("%s: somebody else has had it since it was mounted\n"
		"hint: mount it again", c->name);
	return -EUSERS;
}

const char *
claim_generation(const struct claim *c)
{
	return c->generation;
}

/*
 * A lock of the open file, not of the process: it conflicts with the server's
 * all the same, and does not go when some other descriptor of the file is
 * closed.
 */
static int
lock_pbs(int fd, short type)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &l) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

/* With the lock: as those who hold and collect want it now. */
static int
lock_as_needed(struct claim *c)
{
	short type = F_UNLCK;

	if (c->pbs_fd < 0)
		return 0;
	if (c->collecting)
		type = F_WRLCK;
	else if (c->holders > 0)
		type = F_RDLCK;
	return lock_pbs(c->pbs_fd, type);
}

static void
unlock_failed(const struct claim *c, int err)
{
	if (err < 0)
		log_warn("%s: cannot unlock " PBS_LOCK ": %s", c->name,
		    strerror(-err));
}

int
claim_hold(struct claim *c)
{
	LOCK(&c->lock);
	int r;

	c->holders++;
	r = c->holders == 1 ? lock_as_needed(c) : 0;
	if (r == -EAGAIN)
		log_err("%s: garbage collection of a backup server is running\n"
			"hint: try again when it has finished",
		    c->name);
	else if (r < 0)
		log_err("%s: cannot lock " PBS_LOCK ": %s", c->name,
		    strerror(-r));
	if (r < 0)
		c->holders--;
	return r;
}

void
claim_drop(struct claim *c)
{
	LOCK(&c->lock);

	if (--c->holders == 0)
		unlock_failed(c, lock_as_needed(c));
}

int
claim_collect(struct claim *c)
{
	if (c->store != NULL)
		return claim_check(c);
	LOCK(&c->lock);
	int r;

	c->collecting = true;
	r = lock_as_needed(c);
	if (r == -EAGAIN)
		log_err("%s: a backup server is writing or collecting garbage\n"
			"hint: try again when it has finished",
		    c->name);
	else if (r < 0)
		log_err("%s: cannot lock " PBS_LOCK ": %s", c->name,
		    strerror(-r));
	if (r < 0)
		c->collecting = false;
	return r;
}

void
claim_collected(struct claim *c)
{
	LOCK(&c->lock);

	if (!c->collecting)
		return;
	c->collecting = false;
	unlock_failed(c, lock_as_needed(c));
}

void
claim_free(struct claim *c)
{
	if (c == NULL)
		return;
	/* Closing them ends the locks; the files stay, or somebody could lock
	 * one that has no name any more. */
	if (c->state_fd >= 0)
		close(c->state_fd);
	if (c->pbs_fd >= 0)
		close(c->pbs_fd);
	if (c->own_fd >= 0)
		close(c->own_fd);
	if (c->run_fd >= 0)
		close(c->run_fd);
	pthread_mutex_destroy(&c->lock);
	free(c->marker);
	free(c->generation);
	free(c->name);
	free(c);
}

int
datastore_create_bucket(struct store *s, const struct claim_opts *o)
{
	struct claim *c;
	int r;

	r = claim_new(o, &c);
	if (r < 0)
		return r;
	r = claim_marker_create(s, o->name, o->takeover);
	claim_free(c);
	return r;
}
