/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/copy.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/progress.h"
#include "vfs/vfs.h"

#define PIECE ((size_t)1 << 20)

static int
fail(const struct copy *c, uint64_t off, uint64_t end, int err,
    const char *then)
{
	_cleanup_(str_fini) struct str s = {0};

	str_escape(&s, c->path, strlen(c->path));
	log_err("%s: bytes %" PRIu64 "-%" PRIu64 ": %s%s", str_get(&s), off,
	    end, err == -ENOENT ? "missing in the store" : exits_why(err),
	    then);
	return err;
}

/* Only what is certain: that a store fails says nothing of the data. */
static bool
is_damage(ssize_t n)
{
	return n == -EBADMSG || n == -ENOENT;
}

static int
deliver(struct copy *c, const void *p, uint64_t len)
{
	while (len > 0) {
		size_t n = (size_t)MIN(len, (uint64_t)PIECE);
		int r = c->write(c->arg, p, n);

		if (r < 0)
			return r;
		if (c->progress != NULL)
			progress_add(c->progress, n);
		len -= n;
		if (p != NULL)
			p = (const char *)p + n;
	}
	return 0;
}

int
copy_file(struct copy *c)
{
	_cleanup_free_ char *p = malloc(PIECE);
	uint64_t size = vfs_file_size(c->f), off = 0, data;
	ssize_t n;
	int r;

	if (p == NULL)
		return fail(c, 0, size, -ENOMEM, "");
	while (off < size) {
		/* Zeros that are known as such need not be made. */
		r = vfs_seek(c->f, off, SEEK_DATA, &data);
		if (r < 0)
			data = r == -ENXIO ? size : off;
		if (data > off) {
			r = deliver(c, NULL, data - off);
			if (r < 0)
				return r;
			off = data;
			continue;
		}
		n = vfs_read_wait(c->f, p, PIECE, off);
		if (is_damage(n)) {
			uint64_t end = vfs_piece_end(c->f, off);

			c->damaged = true;
			fail(c, off, end, (int)n,
			    c->stop_at_damage ? "" : "; zeros instead");
			if (c->stop_at_damage)
				return -EBADMSG;
			r = deliver(c, NULL, end - off);
			off = end;
		} else if (n <= 0) {
			return fail(c, off, size, n < 0 ? (int)n : -EIO, "");
		} else {
			r = deliver(c, p, (uint64_t)n);
			off += (uint64_t)n;
		}
		if (r < 0)
			return r;
	}
	return 0;
}
