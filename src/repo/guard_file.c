/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/guard_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"

static const char magic[16] = "pbs3fs doomed 1";

int
guard_file_write(const char *path, const struct digest *v, size_t n)
{
	const size_t len = sizeof(magic) + n * DIGEST_LEN;
	_cleanup_free_ uint8_t *p = malloc(len + DIGEST_LEN);
	struct digest sum;

	if (p == NULL)
		return -ENOMEM;
	memcpy(p, magic, sizeof(magic));
	if (n > 0)
		memcpy(p + sizeof(magic), v, n * DIGEST_LEN);
	sum = digest_of(p, len);
	memcpy(p + len, sum.b, DIGEST_LEN);
	return io_replace(AT_FDCWD, path,
	    &(struct iovec){p, len + DIGEST_LEN}, 1, 0600, IO_SYNC);
}

int
guard_file_read(const char *path, size_t max, struct digest **ret,
    size_t *ret_n)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	const size_t frame = sizeof(magic) + DIGEST_LEN;
	struct digest sum;
	size_t n;
	int r;

	r = io_read_file(AT_FDCWD, path, frame + max * DIGEST_LEN, &b);
	if (r == -ENOENT)
		return 1;
	if (r == -EFBIG)
		return -EBADMSG;
	if (r < 0)
		return r;
	if (b->len < frame || (b->len - frame) % DIGEST_LEN != 0 ||
	    memcmp(b->data, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	n = (b->len - frame) / DIGEST_LEN;
	sum = digest_of(b->data, b->len - DIGEST_LEN);
	if (memcmp(b->data + b->len - DIGEST_LEN, sum.b, DIGEST_LEN) != 0)
		return -EBADMSG;
	*ret = calloc(n + 1, sizeof(**ret));
	if (*ret == NULL)
		return -ENOMEM;
	memcpy(*ret, b->data + sizeof(magic), n * DIGEST_LEN);
	*ret_n = n;
	return 0;
}
