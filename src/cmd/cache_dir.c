/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cache_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/option.h"
#include "cmd/target.h"
#include "crypt/digest.h"

/* Says which store a cache belongs to, and half of what was free before it
 * was filled: later the cache itself would be in the way of asking. */
#define ABOUT "about"
#define ABOUT_MAX 8192

int
cache_dir_default(const struct options *o, const struct target *t, char **ret)
{
	_cleanup_(str_fini) struct str where = {0}, dir = {0};
	const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char hex[DIGEST_HEX_LEN + 1];
	struct digest d;

	if (geteuid() == 0)
		str_add(&dir, PBS3FS_LOCALSTATEDIR "/cache");
	else if (base != NULL && base[0] == '/')
		str_add(&dir, base);
	else if (home != NULL && home[0] == '/')
		str_addf(&dir, "%s/.cache", home);
	else
		return 1;
	/* Another server may have a bucket of the same name. */
	str_addf(&where, "%s|%" PRIu64 "|%s/%s",
	    o->endpoint == NULL ? "" : o->endpoint, o->port, t->bucket,
	    t->datastore);
	if (str_error(&where) < 0)
		return -ENOMEM;
	d = digest_of(str_get(&where), where.len);
	digest_hex(&d, hex);
	str_addf(&dir, "/pbs3fs/%s-%.12s", t->datastore, hex);
	*ret = str_take(&dir);
	return *ret == NULL ? -ENOMEM : 0;
}

/* 1 and half of what was free then, if the file is there and ours. */
static int
read_about(const char *dir, const char *id, uint64_t *ret_half)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *eol;
	int r;

	if (snprintf(path, sizeof(path), "%s/" ABOUT, dir) >= PATH_MAX)
		return -ENAMETOOLONG;
	r = io_read_file(AT_FDCWD, path, ABOUT_MAX, &b);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	text = strndup((const char *)b->data, b->len);
	if (text == NULL)
		return -ENOMEM;
	eol = strchr(text, '\n');
	if (eol == NULL)
		return 0;	/* cut off by a crash: write it again */
	*eol = '\0';
	if (!streq(text, id)) {
		log_err("cache %s: belongs to another store\n"
			"hint: give each store a cache directory of its own",
		    dir);
		return -EEXIST;
	}
	return num_u64(eol + 1, ret_half) == 0 ? 1 : 0;
}

static int
write_about(const char *dir, const char *id, uint64_t half)
{
	_cleanup_(str_fini) struct str text = {0};
	struct iovec iov;
	char path[PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/" ABOUT, dir) >= PATH_MAX)
		return -ENAMETOOLONG;
	str_addf(&text, "%s\n%" PRIu64, id, half);
	r = str_error(&text);
	if (r < 0)
		return r;
	iov = (struct iovec){text.s, text.len};
	return io_replace(AT_FDCWD, path, &iov, 1, 0600, 0);
}

static int
half_of_free(const char *dir, uint64_t *ret)
{
	struct statvfs v;

	if (statvfs(dir, &v) < 0)
		return -errno;
	*ret = (uint64_t)v.f_bavail * v.f_frsize / 2;
	return 0;
}

/*
 * What has to stay free beside the data: the note, directories, the listing
 * and its successor while that is written.  Before there is a listing its size
 * can only be guessed.
 */
static uint64_t
reserve(const char *dir, uint64_t limit)
{
	char path[PATH_MAX];
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/" CACHE_DIR_LISTING, dir) <
		PATH_MAX && stat(path, &st) == 0)
		return 2 * (uint64_t)st.st_blocks * 512 + 64 * KIB;
	return MAX(64 * KIB, MIN(limit / 16, 64 * MIB));
}

/* Who else can write there can make us write and remove files anywhere, and say
 * what is in the datastore. */
static int
check_private(const char *dir)
{
	_cleanup_close_ int fd =
	    open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : io_check_private(fd);

	if (r == -EPERM)
		log_err("cache %s: others can write there\n"
			"hint: a cache needs a directory of its own, chmod 700",
		    dir);
	return r;
}

int
cache_dir_prepare(const char *dir, const struct options *o,
    const struct target *t, uint64_t *ret_limit)
{
	_cleanup_(str_fini) struct str id = {0};
	uint64_t half = 0, limit, less;
	int r, known;

	/* Without the endpoint, which has many spellings: who gives the
	 * directory knows the server. */
	str_addf(&id, "s3://%s/%s", t->bucket, t->datastore);
	r = str_error(&id);
	if (r == 0)
		r = io_mkdirs(AT_FDCWD, dir, 0700);
	if (r < 0)
		goto fail;
	r = check_private(dir);
	if (r == -EPERM)
		return r;
	if (r < 0)
		goto fail;
	known = read_about(dir, str_get(&id), &half);
	if (known == -EEXIST)
		return known;
	if (known < 0) {
		r = known;
		goto fail;
	}
	if (!known) {
		r = half_of_free(dir, &half);
		if (r < 0)
			goto fail;
		/* On a disk that cannot be written an old cache still helps. */
		r = write_about(dir, str_get(&id), half);
		if (r < 0 && r != -EROFS && r != -ENOSPC && r != -EDQUOT)
			goto fail;
	}
	limit = option_is_set(o, "cache-size") ? o->cache_size :
						 MIN(half, o->cache_size);
	less = reserve(dir, limit);
	*ret_limit = limit > less ? limit - less : 0;
	return 0;
fail:
	log_err("cache %s: %s", dir, strerror(-r));
	return r;
}
