/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "io_rig.h"

#include "../cm.h"

static void
test_arguments(void **state)
{
	struct draft_file *f, *ro;
	struct io_rig g;
	uint64_t ino, pos;
	uint8_t b = 1;
	size_t n;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_WRONLY | O_CREAT, &ino);
	ro = io_open(&g, "tree/a", O_RDONLY, &ino);
	assert_int_equal(io_read_at(f, &b, 0, 1, &n), -EBADF);
	assert_int_equal(draft_write(ro, &b, 1, 0, 0), -EBADF);
	assert_int_equal(draft_fallocate(ro, 0, 0, 1, 0), -EBADF);
	assert_int_equal(draft_write(f, &b, 1, (uint64_t)INT64_MAX, 0),
	    -EFBIG);
	assert_int_equal(draft_write(f, &b, 0, 5, 0), 0);
	assert_int_equal(draft_fallocate(f, 0, INT64_MAX, 1, 0), -EFBIG);
	assert_int_equal(draft_fallocate(f, 0, 0, 0, 0), -EINVAL);
	assert_int_equal(draft_fallocate(f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096,
	    0), -EOPNOTSUPP);
	assert_int_equal(draft_flush(f), 0);
	assert_int_equal(draft_seek(f, 0, SEEK_DATA, &pos), -ENXIO);
	assert_int_equal(draft_seek(f, 0, SEEK_CUR, &pos), -EINVAL);
	assert_int_equal(draft_write(f, &b, 1, 100000, 0), 0);
	assert_int_equal(draft_seek(f, 0, SEEK_DATA, &pos), 0);
	assert_int_equal(pos, 100000);
	assert_int_equal(draft_seek(f, 100000, SEEK_HOLE, &pos), 0);
	assert_int_equal(pos, 100001);
	assert_int_equal(draft_seek(f, 100001, SEEK_HOLE, &pos), -ENXIO);
	assert_int_equal(io_read_at(ro, &b, 100001, 1, &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(draft_fsync(g.d, 12345), -ESTALE);
	io_close(&g, f, ino);
	io_close(&g, ro, ino);
	f = io_open(&g, "tree/a", O_RDWR | O_TRUNC, &ino);
	assert_int_equal(io_read_at(f, &b, 0, 1, &n), 0);
	assert_int_equal(n, 0);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

static void
test_set_id_bits_go(void **state)
{
	const struct draft_change c = {.set = DRAFT_SET_MODE, .mode = 06755};
	struct draft_file *f;
	struct io_rig g;
	struct stat st;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	assert_int_equal(draft_setattr(g.d, ino, &c, 0, &st), 0);
	assert_int_equal(st.st_mode & 07777, 06755);
	io_write_all(f, "x", 0, 1);
	assert_int_equal(draft_getattr(g.d, ino, 0, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	io_reopen(&g, &f, &ino, "tree/a");
	assert_int_equal(draft_getattr(g.d, ino, 0, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

/* Time and size survive with one record for each write. */
static void
test_times_survive(void **state)
{
	struct draft_file *f;
	struct stat a, b;
	struct io_rig g;
	uint64_t ino;

	(void)state;
	io_rig_begin(&g);
	io_rig_open(&g);
	f = io_open(&g, "tree/a", O_RDWR | O_CREAT, &ino);
	io_write_all(f, "abc", 0, 3);
	usleep(2000);
	io_write_all(f, "abc", 30, 3);
	assert_int_equal(draft_getattr(g.d, ino, 0, &a), 0);
	io_reopen(&g, &f, &ino, "tree/a");
	assert_int_equal(draft_getattr(g.d, ino, 0, &b), 0);
	assert_int_equal(a.st_size, b.st_size);
	assert_int_equal(a.st_mtim.tv_sec, b.st_mtim.tv_sec);
	assert_int_equal(a.st_mtim.tv_nsec, b.st_mtim.tv_nsec);
	assert_int_equal(a.st_ctim.tv_nsec, b.st_ctim.tv_nsec);
	io_close(&g, f, ino);
	io_rig_end(&g);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_set_id_bits_go),
		cmocka_unit_test(test_times_survive),
	};

	log_set_level(getenv("VERBOSE") != NULL ? LOG_LVL_DEBUG : LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
