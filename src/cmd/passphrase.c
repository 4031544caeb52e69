/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "crypt/secret.h"

#define CREDENTIAL "pbs3fs.passphrase"

/* Until its end; no copy stays in a buffer of stdio. */
static int
read_fd(int fd, size_t max, struct secret **ret)
{
	_cleanup_(secret_freep) struct secret *s = NULL;
	size_t len = 0;
	ssize_t n;
	int r;

	r = secret_new(max + 1, &s);
	if (r < 0)
		return r;
	while (len <= max) {
		n = read(fd, s->p + len, max + 1 - len);
		if (n == 0)
			break;
		if (n < 0 && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
	}
	if (len > max)
		return -EFBIG;
	s->p[len] = '\0';
	s->len = len;
	*ret = steal(&s);
	return 0;
}

int
passphrase_read_file(const char *path, size_t max, struct secret **ret,
    struct stat *ret_st)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (ret_st != NULL)
		*ret_st = st;
	return read_fd(fd, max, ret);
}

static int
fail(const char *what, int r)
{
	log_err("passphrase from %s: %s", what, exits_why(r));
	return r;
}

int
passphrase_load_file(const char *path, struct secret **ret)
{
	struct stat st;
	int r;

	r = passphrase_read_file(path, PASSPHRASE_MAX, ret, &st);
	if (r < 0)
		return fail(path, r);
	if (S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
		secret_free(steal(ret));
		log_err("passphrase from %s: others can read the file\n"
		    "hint: chmod 600 %s", path, path);
		return -EACCES;
	}
	return 0;
}

static int
from_env(const char *name, struct secret **ret)
{
	const char *s = getenv(name);
	int r;

	if (s == NULL)
		return 1;
	r = strlen(s) > PASSPHRASE_MAX ? -EFBIG :
	    secret_copy(s, strlen(s), ret);
	return r < 0 ? fail(name, r) : 0;
}

/* systemd sees to it that nobody else can read it. */
static int
from_credential(struct secret **ret)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_MAX];
	int r;

	if (dir == NULL || snprintf(path, sizeof(path), "%s/" CREDENTIAL,
	    dir) >= PATH_MAX)
		return 1;
	r = passphrase_read_file(path, PASSPHRASE_MAX, ret, NULL);
	if (r == -ENOENT)
		return 1;
	return r < 0 ? fail(path, r) : 0;
}

int
passphrase_load(const struct options *o, struct secret **ret)
{
	const char *file;
	int r;

	if (o->passphrase_file != NULL)
		return passphrase_load_file(o->passphrase_file, ret);
	if (option_is_set(o, "passphrase-fd")) {
		r = read_fd((int)o->passphrase_fd, PASSPHRASE_MAX, ret);
		return r < 0 ? fail("passphrase-fd", r) : 0;
	}
	r = from_env("PBS3FS_PASSPHRASE", ret);
	if (r == 1)
		r = from_env("PBS_ENCRYPTION_PASSWORD", ret);
	file = getenv("PBS_ENCRYPTION_PASSWORD_FILE");
	if (r == 1 && file != NULL)
		return passphrase_load_file(file, ret);
	return r == 1 ? from_credential(ret) : r;
}

bool
passphrase_next(const struct secret *s, size_t *pos, const char **ret,
    size_t *ret_len)
{
	const char *p, *end;
	size_t len;

	while (*pos == 0 || *pos < s->len) {
		p = (const char *)s->p + *pos;
		end = memchr(p, '\n', s->len - *pos);
		len = end != NULL ? (size_t)(end - p) : s->len - *pos;
		*pos += len + 1;
		if (len > 0 && p[len - 1] == '\r')
			len--;
		if (len > 0 || p == (const char *)s->p) {
			*ret = p;
			*ret_len = len;
			return true;
		}
	}
	return false;
}

/* One line, of which the terminal's driver makes one read. */
static int
read_line(int tty, struct secret **ret)
{
	_cleanup_(secret_freep) struct secret *s = NULL;
	ssize_t n;
	int r;

	r = secret_new(PASSPHRASE_MAX, &s);
	if (r < 0)
		return r;
	do
		n = read(tty, s->p, PASSPHRASE_MAX);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	s->len = (size_t)n;
	if (n > 0 && s->p[n - 1] == '\n')
		s->p[--s->len] = '\0';
	/* Ctrl-C is a character here, so that the echo comes back after it. */
	if (s->len == 0 || memchr(s->p, 3, s->len) != NULL)
		return -ECANCELED;
	*ret = steal(&s);
	return 0;
}

int
passphrase_ask(const char *prompt, struct secret **ret)
{
	_cleanup_close_ int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
	struct termios was, quiet;
	int r;

	if (tty < 0 || tcgetattr(tty, &was) < 0)
		return -ENOTTY;
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	quiet.c_lflag |= ICANON | ECHONL;
	/* First, because it drops what was typed before. */
	if (tcsetattr(tty, TCSAFLUSH, &quiet) < 0)
		return -errno;
	r = io_write_full(tty, prompt, strlen(prompt));
	if (r == 0)
		r = read_line(tty, ret);
	(void)tcsetattr(tty, TCSAFLUSH, &was);
	return r;
}
