/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/claim_state.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/claim_marker.h"
#include "store/store.h"

#define KEY ".pbs3fs/state"
#define FILE_NAME "state"
#define NUMBER_NAME "number"	/* in the state directory itself */
#define NUMBER_TEXT_MAX 32
#define TEXT_MAX 16384
#define TIMEOUT_MS 60000
#define HOST_MAX 255
/* It begins as a time and is counted up: far from what JSON can say. */
#define NUMBER_MAX ((json_int_t)1 << 60)

void
claim_state_fini(struct claim_state *s)
{
	free(s->host);
	free(s->path);
	free(s->identity);
	memset(s, 0, sizeof(*s));
}

/* A path may hold any byte; those that are not text are refused. */
int
claim_state_parse(const void *p, size_t len, struct claim_state *ret)
{
	json_auto_t *j = json_loadb(p, len, JSON_REJECT_DUPLICATES, NULL);
	const char *host, *path, *identity;
	json_int_t number;

	memset(ret, 0, sizeof(*ret));
	host = json_string_value(json_object_get(j, "host"));
	path = json_string_value(json_object_get(j, "state"));
	number = json_integer_value(json_object_get(j, "number"));
	identity = json_string_value(json_object_get(j, "identity"));
	if (host == NULL || strlen(host) == 0 || strlen(host) > HOST_MAX ||
	    path == NULL || path[0] != '/' || number <= 0 ||
	    number > NUMBER_MAX)
		return -EBADMSG;
	ret->host = strdup(host);
	ret->path = strdup(path);
	ret->number = (uint64_t)number;
	if (identity != NULL)
		ret->identity = strdup(identity);
	if (ret->host != NULL && ret->path != NULL &&
	    (identity == NULL || ret->identity != NULL))
		return 0;
	claim_state_fini(ret);
	return -ENOMEM;
}

static int
read_text(struct store *s, int dir, struct buf **ret)
{
	const struct store_get how = {
	    .max = TEXT_MAX,
	    .flags = STORE_FRESH,
	    .deadline = deadline_in(TIMEOUT_MS),
	};
	int r;

	r = dir >= 0 ? io_read_file(dir, FILE_NAME, TEXT_MAX, ret) :
	    store_get(s, KEY, &how, ret, NULL);
	return r == -ENOENT || r == -EFBIG ? 1 : r;
}

/* What cannot be understood says nothing. */
static int
read_state(struct store *s, int dir, struct claim_state *ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = read_text(s, dir, &b);
	if (r == 0)
		r = claim_state_parse(b->data, b->len, ret);
	return r > 0 || r == -EBADMSG ? 0 : r;
}

static int
write_state(struct store *s, int dir, const char *host,
    const struct claim_opts *o, uint64_t number)
{
	const struct store_put how = {.deadline = deadline_in(TIMEOUT_MS)};
	json_auto_t *j = json_pack("{s:s,s:s,s:I,s:s}", "host", host,
	    "state", o->state, "number", (json_int_t)number, "identity",
	    o->identity);
	_cleanup_free_ char *text = j == NULL ? NULL :
	    json_dumps(j, JSON_COMPACT);
	struct iovec iov = {.iov_base = text};
	int r;

	if (text == NULL)
		return -ENOMEM;
	iov.iov_len = strlen(text);
	if (dir >= 0)
		return io_replace(dir, FILE_NAME, &iov, 1, 0644, IO_SYNC);
	r = store_put(s, KEY, text, iov.iov_len, &how, NULL);
	return r > 0 ? 0 : r;
}

/* -EBUSY if somebody works with it.  One that is not there, or cannot be opened,
 * is for others to judge. */
static int
lock_dir(const char *path, int *ret)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret < 0 || flock(*ret, LOCK_EX | LOCK_NB) == 0 ||
	    errno != EWOULDBLOCK)
		return 0;
	close(*ret);
	*ret = -1;
	return -EBUSY;
}

int
claim_state_lock(const struct claim_opts *o, int *ret)
{
	int r;

	*ret = -1;
	/* Who needs it and has no place for it is told so. */
	if (io_mkdirs(AT_FDCWD, o->state, 0700) < 0)
		return 0;
	r = lock_dir(o->state, ret);
	if (r < 0)
		log_err("%s: another program on this host writes into it, and "
			"uses %s\n"
			"hint: one writes at a time; others may read, with "
			"-o ro", o->name, o->state);
	return r;
}

/* He lives, by another name of the store, or as another user. */
static int
check_unused(const struct claim_state *old, const struct claim_opts *o)
{
	_cleanup_close_ int fd = -1;
	int r = lock_dir(old->path, &fd);

	if (r < 0)
		log_err("%s: another program on this host writes into it, and "
			"uses %s\n"
			"hint: one writes at a time; others may read, with "
			"-o ro", o->name, old->path);
	return r;
}

/* Whether what is written there would be lost. */
static int
check_other(const struct claim_state *old, const struct claim_opts *o)
{
	int r;

	r = check_unused(old, o);
	if (r < 0 || o->has_open == NULL)
		return r;
	r = o->has_open(old->path, old->identity != NULL ? old->identity :
	    o->identity);
	if (r == 0)
		return 0;
	if (o->takeover) {
		log_warn("%s: what was written to it and is still in %s is "
		    "given up", o->name, old->path);
		return 0;
	}
	log_err("%s: what was written to it and is in no snapshot yet %s "
		"%s\nhint: -o state=DIR as it was then; --takeover if that is "
		"to be given up", o->name,
	    r > 0 ? "is in" : "may be in", old->path);
	return -EBUSY;
}

static int
own_host(char out[HOST_MAX + 1])
{
	if (gethostname(out, HOST_MAX) < 0)
		return -errno;
	out[HOST_MAX] = '\0';
	return 0;
}

/*
 * The number is in the directory as well.  One that lacks it is not what it
 * was: it was removed, or its file system is not there.  If that comes back,
 * its list of chunks must not count, for meanwhile some may have been deleted.
 */
static bool
has_number(const char *path, uint64_t number)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	char text[NUMBER_TEXT_MAX];
	int n = snprintf(text, sizeof(text), "%llu\n",
	    (unsigned long long)number);

	return fd >= 0 &&
	    io_read_file(fd, NUMBER_NAME, NUMBER_TEXT_MAX, &b) == 0 &&
	    b->len == (size_t)n && memcmp(b->data, text, b->len) == 0;
}

static int
write_number(const char *path, uint64_t number)
{
	_cleanup_close_ int fd = -1;
	char text[NUMBER_TEXT_MAX];
	struct iovec iov = {.iov_base = text};
	int r;

	iov.iov_len = (size_t)snprintf(text, sizeof(text), "%llu\n",
	    (unsigned long long)number);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno :
	    io_replace(fd, NUMBER_NAME, &iov, 1, 0600, IO_SYNC);
	/* Who needs the directory and has no place for it is told so. */
	return r == -ENOENT || r == -ENOTDIR ? 0 : r;
}

static int
renumber(struct store *s, int dir, const struct claim_opts *o,
    const struct claim_state *old, const char *host, uint64_t *ret_number)
{
	uint64_t number = (uint64_t)MAX(clock_real_s(), 1);
	int r;

	*ret_number = MAX(number, old->number + 1);
	r = write_state(s, dir, host, o, *ret_number);
	if (r < 0)
		return r;
	r = write_number(o->state, *ret_number);
	if (r < 0)
		log_err("%s: cannot write into state directory %s: %s",
		    o->name, o->state, strerror(-r));
	return r;
}

static int
replace(struct store *s, int dir, const struct claim_opts *o,
    const struct claim_state *old, const char *host, uint64_t *ret_number)
{
	int r = 0;

	/* Of another host's nothing can be known here; whether that may write
	 * is for the marker to say. */
	if (old->host != NULL && claim_marker_same_host(old->host, host))
		r = check_other(old, o);
	return r < 0 ? r : renumber(s, dir, o, old, host, ret_number);
}

/* By whatever name, also if it is not there yet. */
static bool
is_same_dir(const char *a, const char *b)
{
	struct stat sa, sb;

	if (streq(a, b))
		return true;
	return stat(a, &sa) == 0 && stat(b, &sb) == 0 &&
	    sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int
claim_state_take(struct store *s, int dir, const struct claim_opts *o,
    uint64_t *ret_number)
{
	char host[HOST_MAX + 1];
	struct claim_state old;
	int r;

	r = own_host(host);
	if (r == 0)
		r = read_state(s, dir, &old);
	if (r < 0)
		return r;
	*ret_number = old.number;
	if (old.host == NULL || !claim_marker_same_host(old.host, host) ||
	    !is_same_dir(old.path, o->state))
		r = replace(s, dir, o, &old, host, ret_number);
	else if (!has_number(o->state, old.number))
		r = renumber(s, dir, o, &old, host, ret_number);
	claim_state_fini(&old);
	return r;
}
