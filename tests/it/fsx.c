/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Random operations on one file, each compared with a copy in memory.
 *
 *     fsx FILE SHADOW MAX OPS SEED
 *
 * SHADOW is where the copy is kept between runs: what FILE must be at the
 * start, if it exists.  Ends with a message and status 1 at the first byte that
 * differs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"

static const char *path;
static uint8_t *copy, *seen;
static size_t size, max;
static uint64_t state;
static unsigned long op;
static int fd = -1;

static uint32_t
below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return n == 0 ? 0 : (uint32_t)(state >> 20) % n;
}

static void
bad(const char *what)
{
	fprintf(stderr, "fsx: %s: operation %lu: %s: %s\n", path, op, what,
	    strerror(errno));
	exit(1);
}

static void
compare(const char *what, size_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (seen[off + i] != copy[off + i]) {
			fprintf(stderr, "fsx: %s: operation %lu: %s: byte %zu "
			    "is %02x, not %02x; [%zu, %zu) of %zu\n", path, op,
			    what, off + i, seen[off + i], copy[off + i], off,
			    off + len, size);
			exit(1);
		}
}

static void
reopen(int flags)
{
	if (fd >= 0 && close(fd) < 0)
		bad("close");
	fd = open(path, O_RDWR | O_CREAT | flags, 0644);
	if (fd < 0)
		bad("open");
}

static void
check_size(void)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		bad("fstat");
	if ((size_t)st.st_size == size)
		return;
	fprintf(stderr, "fsx: %s: operation %lu: size is %zu, not %zu\n", path,
	    op, (size_t)st.st_size, size);
	exit(1);
}

static void
range(size_t within, size_t *off, size_t *len)
{
	*off = below((uint32_t)within);
	*len = 1 + below(below(4) == 0 ? 300000 : 9000);
	if (*len > within - *off)
		*len = within - *off;
}

static void
fill(size_t off, size_t len)
{
	uint8_t x = (uint8_t)below(256);

	for (size_t i = 0; i < len; i++)
		copy[off + i] = (uint8_t)(x + i * 7 + (i >> 8));
}

static void
do_write(void)
{
	size_t off, len;

	range(max, &off, &len);
	if (off > size)
		memset(copy + size, 0, off - size);
	fill(off, len);
	if (pwrite(fd, copy + off, len, (off_t)off) != (ssize_t)len)
		bad("write");
	if (off + len > size)
		size = off + len;
}

static void
do_read(void)
{
	size_t off, len;

	if (size == 0)
		return;
	range(size, &off, &len);
	if (pread(fd, seen + off, len, (off_t)off) != (ssize_t)len)
		bad("read");
	compare("read", off, len);
}

static void
do_truncate(void)
{
	size_t to = below(4) == 0 ? below((uint32_t)max) :
	    size - below((uint32_t)(size < 20000 ? size : 20000));

	if (ftruncate(fd, (off_t)to) < 0)
		bad("truncate");
	if (to > size)
		memset(copy + size, 0, to - size);
	size = to;
}

static void
do_map(int write)
{
	size_t off, len, page;
	uint8_t *p;

	if (size == 0)
		return;
	range(size, &off, &len);
	page = off & ~(size_t)4095;
	p = mmap(NULL, off + len - page, PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, (off_t)page);
	if (p == MAP_FAILED)
		bad("mmap");
	if (write) {
		fill(off, len);
		memcpy(p + (off - page), copy + off, len);
		/* What is left to the kernel is seen by all others as well. */
		if (below(2) == 0 && msync(p, off + len - page, MS_SYNC) < 0)
			bad("msync");
	} else {
		memcpy(seen + off, p + (off - page), len);
		compare("mapped read", off, len);
		/* Behind the end of the file the page is empty. */
		for (size_t i = off + len; i % 4096 != 0 && i >= size; i++)
			if (p[i - page] != 0)
				bad("bytes behind the end");
	}
	munmap(p, off + len - page);
}

static void
do_hole(int mode)
{
	size_t off, len;

	if (size == 0)
		return;
	range(size, &off, &len);
	if (fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)off,
	    (off_t)len) < 0)
		bad("fallocate");
	memset(copy + off, 0, len);
}

static void
do_extend(void)
{
	size_t off, len;

	range(max, &off, &len);
	if (fallocate(fd, 0, (off_t)off, (off_t)len) < 0)
		bad("fallocate");
	if (off + len > size) {
		memset(copy + size, 0, off + len - size);
		size = off + len;
	}
}

static void
do_append(void)
{
	size_t len = 1 + below(5000);

	if (size + len > max)
		return;
	reopen(O_APPEND);
	fill(size, len);
	if (write(fd, copy + size, len) != (ssize_t)len)
		bad("append");
	size += len;
	reopen(0);
}

/* Beside the file that is open already. */
static int
open_direct(void)
{
	int direct = open(path, O_RDWR | O_DIRECT);

	if (direct < 0)
		bad("open for direct access");
	return direct;
}

static void
do_direct_read(void)
{
	static uint8_t block[65536] __attribute__((aligned(4096)));
	size_t off = (size_t)below((uint32_t)(size / 4096 + 1)) * 4096;
	size_t want = off < size ? size - off : 0;
	int direct = open_direct();

	want = want < sizeof(block) ? want : sizeof(block);
	if (pread(direct, block, sizeof(block), (off_t)off) != (ssize_t)want)
		bad("direct read");
	memcpy(seen + off, block, want);
	compare("direct read", off, want);
	close(direct);
}

static void
do_direct(void)
{
	static uint8_t block[65536] __attribute__((aligned(4096)));
	size_t off = (size_t)below((uint32_t)(max / 4096)) * 4096;
	size_t len = 4096 * (1 + (size_t)below(16));
	int direct;

	if (off + len > max)
		return;
	if (off > size)
		memset(copy + size, 0, off - size);
	fill(off, len);
	memcpy(block, copy + off, len);
	direct = open_direct();
	if (pwrite(direct, block, len, (off_t)off) != (ssize_t)len)
		bad("direct write");
	if (off + len > size)
		size = off + len;
	close(direct);
}

/* A hole has no bytes but zeros, and data is found. */
static void
do_seek(void)
{
	size_t at = below((uint32_t)size + 1), i;
	off_t data = lseek(fd, (off_t)at, SEEK_DATA);
	off_t hole = lseek(fd, (off_t)at, SEEK_HOLE);

	if (data < 0 && errno != ENXIO)
		bad("seek for data");
	if (at < size && (hole < (off_t)at || hole > (off_t)size))
		bad("seek for a hole");
	for (i = at; i < size && (data < 0 || i < (size_t)data); i++)
		if (copy[i] != 0)
			bad("data in a hole");
}

static void
step(void)
{
	switch (below(100)) {
	case 0 ... 34: do_write(); break;
	case 35 ... 69: do_read(); break;
	case 70 ... 76: do_truncate(); break;
	case 77 ... 82: do_map(1); break;
	case 83 ... 88: do_map(0); break;
	case 89 ... 91: do_hole(FALLOC_FL_PUNCH_HOLE); break;
	case 92 ... 93: do_hole(FALLOC_FL_ZERO_RANGE); break;
	case 94: do_extend(); break;
	case 95 ... 96: do_append(); break;
	case 97: below(2) == 0 ? do_direct() : do_direct_read(); break;
	case 98: below(2) == 0 ? reopen(0) : do_seek(); break;
	default:
		if (below(50) == 0 && fsync(fd) < 0)
			bad("fsync");
	}
	check_size();
}

static void
load(const char *shadow)
{
	struct stat st;
	int s = open(shadow, O_RDONLY);

	if (s < 0)
		return;
	if (fstat(s, &st) < 0 || (size_t)st.st_size > max ||
	    io_read_full(s, copy, (size_t)st.st_size) < 0)
		bad(shadow);
	size = (size_t)st.st_size;
	close(s);
}

static void
save(const char *shadow)
{
	int s = open(shadow, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (s < 0 || io_write_full(s, copy, size) < 0)
		bad(shadow);
	close(s);
}

int
main(int argc, char **argv)
{
	unsigned long ops;

	if (argc != 6) {
		fprintf(stderr, "usage: fsx FILE SHADOW MAX OPS SEED\n");
		return 2;
	}
	path = argv[1];
	max = strtoul(argv[3], NULL, 10);
	ops = strtoul(argv[4], NULL, 10);
	state = strtoul(argv[5], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
	copy = calloc(1, max + 1);
	seen = calloc(1, max + 1);
	if (copy == NULL || seen == NULL)
		bad("memory");
	load(argv[2]);
	reopen(0);
	for (op = 1; op <= ops; op++)
		step();
	if (size > 0 && pread(fd, seen, size, 0) != (ssize_t)size)
		bad("read");
	compare("at the end", 0, size);
	reopen(0);
	save(argv[2]);
	return 0;
}
