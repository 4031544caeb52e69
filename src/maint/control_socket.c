/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#define BACKLOG 16

/* By way of its directory, *ret_dir, which the caller closes. */
static int
make_address(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
	_cleanup_(str_fini) struct str dir = {0};
	const char *slash = strrchr(path, '/');
	int n;

	if (slash == NULL || slash == path)
		return -EINVAL;
	str_addn(&dir, path, (size_t)(slash - path));
	if (str_error(&dir) < 0)
		return -ENOMEM;
	*ret_dir = open(str_get(&dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir < 0)
		return -errno;
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	n = snprintf(ret->sun_path, sizeof(ret->sun_path),
	    "/proc/self/fd/%d%s", *ret_dir, slash);
	return n < (int)sizeof(ret->sun_path) ? 0 : -ENAMETOOLONG;
}

static int
make_socket(int *ret)
{
	*ret = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return *ret < 0 ? -errno : 0;
}

/* Nobody connects before it listens. */
static int
bind_and_listen(int fd, const struct sockaddr_un *a)
{
	if (unlink(a->sun_path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 ||
	    chmod(a->sun_path, 0600) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int
control_socket_listen(const char *path, int *ret)
{
	_cleanup_close_ int dir = -1, fd = -1;
	struct sockaddr_un a;
	int r;

	r = make_address(path, &a, &dir);
	if (r == 0)
		r = make_socket(&fd);
	if (r == 0)
		r = bind_and_listen(fd, &a);
	if (r < 0)
		return r;
	*ret = fd;
	fd = -1;
	return 0;
}

int
control_socket_connect(const char *path, int *ret)
{
	_cleanup_close_ int dir = -1, fd = -1;
	struct sockaddr_un a;
	int r;

	r = make_address(path, &a, &dir);
	if (r == 0)
		r = make_socket(&fd);
	if (r == 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0)
		r = -errno;
	if (r == 0)
		r = control_socket_check_peer(fd);
	if (r < 0)
		return r;
	*ret = fd;
	fd = -1;
	return 0;
}

int
control_socket_check_peer(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) < 0)
		return -errno;
	return u.uid == 0 || u.uid == geteuid() ? 0 : -EPERM;
}

void
control_socket_remove(const char *path)
{
	if (unlink(path) < 0 && errno != ENOENT)
		log_warn("control socket %s: cannot remove it: %m", path);
}
