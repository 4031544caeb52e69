/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/copy.h"
#include "cmd/exits.h"
#include "cmd/show.h"
#include "cmd/tar_acl.h"
#include "cmd/walk.h"
#include "vfs/vfs.h"

#define BLOCK (512 * 1024)

static int
broken(struct tar *t)
{
	int e = archive_errno(t->a);

	/* Its own codes are negative or above those of the system. */
	if (e > 0 && e < 4096)
		return -e;
	log_err("tar: %s", archive_error_string(t->a));
	return -EIO;
}

int
tar_begin(struct tar *t, int fd)
{
	t->a = archive_write_new();
	if (t->a == NULL)
		return -ENOMEM;
	if (archive_write_set_format_pax(t->a) != ARCHIVE_OK ||
	    archive_write_set_bytes_per_block(t->a, BLOCK) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(t->a, 10240) != ARCHIVE_OK ||
	    archive_write_open_fd(t->a, fd) != ARCHIVE_OK)
		return broken(t);
	return 0;
}

static int
not_all(struct tar *t, const char *path, const char *what, int err)
{
	_cleanup_(str_fini) struct str s = {0};

	str_escape(&s, path, strlen(path));
	log_err("%s: %s: %s", str_get(&s), what, exits_why(err));
	t->status = show_worst(t->status, exits_of(err));
	/* Without the store it would go on like that for hours. */
	return exits_of(err) == EXIT_UNREACHABLE ||
	    exits_of(err) == EXIT_LIMIT ? err : 0;
}

static int
one_xattr(struct tar *t, struct archive_entry *e, const char *path,
    uint64_t ino, const char *name)
{
	_cleanup_(buf_unrefp) struct buf *v = NULL;
	int r;

	/* Made up by the mount, not in the archive. */
	if (str_starts(name, "user.pbs3fs."))
		return 0;
	r = vfs_xattr_get(t->vfs, ino, name, 0, &v);
	if (r < 0)
		return not_all(t, path, name, r);
	if (tar_acl_is_name(name)) {
		r = tar_acl_add(e, name, v->data, v->len);
		return r == -EINVAL ? not_all(t, path, name, -EBADMSG) : r;
	}
	archive_entry_xattr_add_entry(e, name, v->data, v->len);
	return 0;
}

static int
xattrs(struct tar *t, struct archive_entry *e, const char *path, uint64_t ino)
{
	_cleanup_(buf_unrefp) struct buf *list = NULL;
	int r;

	r = vfs_xattr_list(t->vfs, ino, 0, &list);
	if (r < 0)
		return not_all(t, path, "extended attributes", r);
	for (size_t at = 0; r == 0 && at < list->len;) {
		const char *name = (const char *)list->data + at;
		size_t n = strnlen(name, list->len - at);

		if (n == list->len - at)
			break;
		r = one_xattr(t, e, path, ino, name);
		at += n + 1;
	}
	return r;
}

static int
write_header(struct tar *t, struct archive_entry *e, const char *path)
{
	_cleanup_(str_fini) struct str s = {0};
	int r = archive_write_header(t->a, e);

	if (r == ARCHIVE_OK)
		return 0;
	str_escape(&s, path, strlen(path));
	/* Names that are not UTF-8 are written as bytes, which is what we
	 * want, and warned of. */
	if (r == ARCHIVE_WARN) {
		log_debug("%s: %s", str_get(&s),
		    archive_error_string(t->a));
		return 0;
	}
	if (r == ARCHIVE_FATAL)
		return broken(t);
	log_err("%s: %s", str_get(&s), archive_error_string(t->a));
	t->status = show_worst(t->status, EXIT_FAILED);
	return 1;
}

struct content {
	struct tar *t;
	int err;
};

static int
to_tar(void *arg, const void *p, size_t len)
{
	static const char zeros[65536];
	struct content *c = arg;

	while (len > 0) {
		size_t n = p == NULL ? MIN(len, sizeof(zeros)) : len;
		la_ssize_t done = archive_write_data(c->t->a,
		    p == NULL ? zeros : p, n);

		if (done <= 0) {
			c->err = broken(c->t);
			return c->err;
		}
		if (p != NULL)
			p = (const char *)p + done;
		len -= (size_t)done;
	}
	return 0;
}

static int
content(struct tar *t, const char *path, struct vfs_file *f)
{
	struct content out = {.t = t};
	struct copy c = {.f = f, .path = path, .progress = t->progress,
	    .write = to_tar, .arg = &out};
	int r = copy_file(&c);

	if (c.damaged)
		t->status = show_worst(t->status, EXIT_DAMAGED);
	/* What cannot be read ends it: the header has promised its length. */
	return r;
}

/*
 * libarchive writes seconds, a point and nanoseconds; before 1970 that reads
 * as another time for those who take it as the decimal number it is by POSIX,
 * as GNU tar does.  Within the second before 1970 there is no way to write the
 * sign: the fraction goes.
 */
static void
set_mtime(struct archive_entry *e, const struct timespec *when)
{
	time_t sec = when->tv_sec;
	long ns = when->tv_nsec;

	if (sec < 0 && ns > 0) {
		sec++;
		ns = sec == 0 ? 0 : 1000000000 - ns;
	}
	archive_entry_set_mtime(e, sec, ns);
}

/* 1: it is left out. */
static int
fill(struct tar *t, struct archive_entry *e, const char *path,
    const struct vfs_attr *a)
{
	_cleanup_(buf_unrefp) struct buf *target = NULL;
	_cleanup_free_ char *text = NULL;
	const char *first;
	int r;

	archive_entry_copy_pathname(e, path);
	archive_entry_copy_stat(e, &a->st);
	set_mtime(e, &a->st.st_mtim);
	/* They are not in the archive; what is there is made up. */
	archive_entry_unset_atime(e);
	archive_entry_unset_ctime(e);
	archive_entry_unset_birthtime(e);
	if (S_ISLNK(a->st.st_mode)) {
		r = vfs_readlink(t->vfs, a->st.st_ino, 0, &target);
		if (r < 0) {
			r = not_all(t, path, "target", r);
			return r < 0 ? r : 1;
		}
		text = strndup((const char *)target->data, target->len);
		if (text == NULL)
			return -ENOMEM;
		archive_entry_copy_symlink(e, text);
		archive_entry_set_size(e, 0);
	} else if (!S_ISREG(a->st.st_mode)) {
		archive_entry_set_size(e, 0);
	} else if (a->st.st_nlink > 1) {
		r = linkmap_put(&t->links, a->st.st_ino, path, &first);
		if (r < 0)
			return r;
		if (r == 1) {
			archive_entry_copy_hardlink(e, first);
			archive_entry_set_size(e, 0);
			return 0;
		}
	}
	return xattrs(t, e, path, a->st.st_ino);
}

static int
add(struct tar *t, const char *path, const struct vfs_attr *a)
{
	struct archive_entry *e = archive_entry_new2(t->a);
	struct vfs_file *f = NULL;
	bool has_data = false;
	int r;

	if (e == NULL)
		return -ENOMEM;
	r = fill(t, e, path, a);
	has_data = r == 0 && S_ISREG(a->st.st_mode) &&
	    archive_entry_hardlink(e) == NULL && a->st.st_size > 0;
	/* Opened before the header promises anything. */
	if (has_data) {
		r = vfs_open(t->vfs, a->st.st_ino, O_RDONLY, 0, &f);
		if (r < 0) {
			r = not_all(t, path, "left out", r);
			r = r < 0 ? r : 1;
		} else {
			archive_entry_set_size(e, (la_int64_t)vfs_file_size(f));
		}
	}
	if (r == 0)
		r = write_header(t, e, path);
	archive_entry_free(e);
	if (r == 0 && has_data)
		r = content(t, path, f);
	vfs_close(f);
	return r < 0 ? r : 0;
}

static int
on_entry(void *arg, const char *path, uint64_t ino, mode_t type,
    const struct vfs_attr *a)
{
	struct tar *t = arg;
	_cleanup_(str_fini) struct str s = {0}, below = {0};

	(void)ino;
	if (S_ISSOCK(type)) {
		str_escape(&s, path, strlen(path));
		log_warn("%s: left out, there are no sockets in tar",
		    str_get(&s));
		t->left_out++;
		return 0;
	}
	str_addf(&below, "./%s%s", path, S_ISDIR(type) ? "/" : "");
	if (str_error(&below) < 0)
		return -ENOMEM;
	return add(t, str_get(&below), a);
}

static int
on_failure(void *arg, const char *path, int err)
{
	return not_all(arg, *path == '\0' ? "." : path, "left out", err);
}

int
tar_tree(struct tar *t, uint64_t ino)
{
	struct walk w = {
	    .vfs = t->vfs,
	    .want_attr = true,
	    .recursive = true,
	    .entry = on_entry,
	    .failed = on_failure,
	    .arg = t,
	};
	struct vfs_attr top;
	int r;

	r = vfs_getattr(t->vfs, ino, 0, &top);
	if (r == 0)
		r = add(t, "./", &top);
	return r == 0 ? walk_dir(&w, ino) : r;
}

int
tar_end(struct tar *t)
{
	int r = 0;

	if (t->a != NULL && archive_write_close(t->a) != ARCHIVE_OK)
		r = broken(t);
	archive_write_free(t->a);
	t->a = NULL;
	linkmap_fini(&t->links);
	return r;
}
