/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"
#include "draft/journal_file.h"

struct seen {
	size_t n;
	uint64_t bytes;
	uint64_t hash;
};

static int
see(void *arg, const void *p, size_t len)
{
	struct seen *s = arg;

	FUZZ_CHECK(len > 0 && len <= JOURNAL_FRAME_MAX);
	s->n++;
	s->bytes += JOURNAL_FRAME_LEN + len;
	s->hash = XXH3_64bits_withSeed(p, len, s->hash);
	return 0;
}

static int
scan(const uint8_t *p, size_t len, struct seen *seen, struct journal_scan *s)
{
	_cleanup_close_ int fd = memfd_create("journal", MFD_CLOEXEC);

	memset(seen, 0, sizeof(*seen));
	if (fd < 0 || io_write_full(fd, p, len) < 0)
		return -ENOMEM;
	return journal_scan(fd, see, seen, s);
}

/* What is kept when a tail is cut off is a journal of the same frames. */
static void
check(const uint8_t *p, size_t len)
{
	struct seen seen, again;
	struct journal_scan s, t;
	int r;

	r = scan(p, len, &seen, &s);
	if (r == -ENOMEM)
		return;
	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
	if (r != 0) {
		FUZZ_CHECK(s.why != NULL);
		return;
	}
	FUZZ_CHECK(s.size == len && s.end <= len && s.durable <= s.end);
	FUZZ_CHECK(s.end == JOURNAL_HEADER_LEN + seen.bytes);
	r = scan(p, (size_t)s.end, &again, &t);
	if (r == -ENOMEM)
		return;
	FUZZ_CHECK(r == 0 && t.end == s.end && t.size == s.end);
	FUZZ_CHECK(again.n == seen.n && again.hash == seen.hash);
}

/* With the sums right, which chance does not find, as far as frames go. */
static void
mend(uint8_t *b, size_t len)
{
	uint64_t salt = get_le64(b + 16);
	size_t pos = JOURNAL_HEADER_LEN;

	journal_header(b, salt, get_le64(b + 24));
	while (len - pos >= JOURNAL_FRAME_LEN) {
		size_t n = get_le32(b + pos + 20);

		if (n > len - pos - JOURNAL_FRAME_LEN)
			return;
		journal_frame(b + pos, n, salt, pos, get_le64(b + pos + 8));
		pos += JOURNAL_FRAME_LEN + n;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	uint8_t *b;

	check(p, len);
	if (len < JOURNAL_HEADER_LEN)
		return 0;
	b = malloc(len);
	if (b == NULL)
		return 0;
	memcpy(b, p, len);
	mend(b, len);
	check(b, len);
	free(b);
	return 0;
}
