/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "store/dir_path.h"

/* ".tmp_<16 hex digits>": store/dir_write.c.  A server's have the chunk's name
 * before that, and fewer letters behind. */
#define TEMP ".tmp_"
#define TEMP_HEX 16
/* No write takes so long. */
#define AGE_S 86400

struct tidy {
	struct gc *g;
};

static bool
is_ours(const char *name)
{
	uint8_t b[TEMP_HEX / 2];

	return str_starts(name, TEMP) &&
	    hex_decode(b, sizeof(b), name + strlen(TEMP)) == 0;
}

static int
on_file(void *arg, int dir, const struct dirent *e)
{
	struct stat st;

	(void)arg;
	if (!is_ours(e->d_name) ||
	    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) || st.st_mtim.tv_sec > clock_real_s() - AGE_S)
		return 0;
	return unlinkat(dir, e->d_name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int
on_sub(void *arg, int dir, const struct dirent *e)
{
	const struct tidy *t = arg;
	uint8_t b[2];
	int fd, r = gc_stopped(t->g);

	if (r < 0 || hex_decode(b, sizeof(b), e->d_name) < 0)
		return r;
	fd = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	if (fd < 0)
		return dir_path_is_absent(-errno) ? 0 : -errno;
	return io_read_dir(fd, on_file, NULL);
}

int
gc_dir_tidy(struct gc *g)
{
	struct tidy t = {.g = g};
	int fd, r;

	fd = dir_path_open(g->base_fd, ".chunks", O_RDONLY | O_DIRECTORY);
	r = fd < 0 ? fd : io_read_dir(fd, on_sub, &t);
	if (r == 0 || r == -ECANCELED || dir_path_is_absent(r))
		return r == -ECANCELED ? r : 0;
	log_warn("%s/.chunks: cannot remove what was not finished: %s", g->base,
	    strerror(-r));
	return 0;
}
