/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pub_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "../pbs/fixture.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/num.h"
#include "crypt/digest.h"
#include "pbs/names.h"
#include "pbs/pxar.h"
#include "repo/reader.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/vfs.h"

#include "../cm.h"

/* A tree that is shown by either. */
struct view {
	struct rig *g;
	struct vfs *vfs;	/* NULL: the draft */
	struct str out;
};

struct names {
	char **v;
	size_t n;
};

static int
add_name(struct names *l, const char *name)
{
	l->v = reallocarray(l->v, l->n + 1, sizeof(*l->v));
	assert_non_null(l->v);
	l->v[l->n++] = strdup(name);
	return 0;
}

static int
vfs_name(void *arg, const struct vfs_dirent *e)
{
	return add_name(arg, e->name);
}

static int
draft_name(void *arg, const struct draft_dirent *e)
{
	return add_name(arg, e->name);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
ok(int r, const char *path)
{
	if (r < 0)
		fail_msg("%s: %s", path, strerror(-r));
}

static void
list(struct view *v, uint64_t ino, const char *path, struct names *l)
{
	struct draft_dir *dd;
	struct vfs_dir *vd;

	if (v->vfs != NULL) {
		ok(vfs_opendir(v->vfs, ino, 0, &vd), path);
		ok(vfs_readdir(vd, 0, false, 0, vfs_name, l), path);
		vfs_closedir(vd);
	} else {
		ok(draft_opendir(v->g->d, ino, 0, &dd), path);
		ok(draft_readdir(dd, 0, 0, draft_name, l), path);
		draft_closedir(dd);
	}
	if (l->n > 0)
		qsort(l->v, l->n, sizeof(*l->v), by_name);
}

static void
look(struct view *v, uint64_t dir, const char *name, const char *path,
    struct stat *st)
{
	struct vfs_attr a;

	if (v->vfs != NULL) {
		ok(vfs_lookup(v->vfs, dir, name, 0, &a), path);
		*st = a.st;
	} else {
		ok(draft_lookup(v->g->d, dir, name, 0, st), path);
	}
}

static void
add_content(struct view *v, uint64_t ino, const char *path, uint64_t size)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct vfs_file *f;
	struct digest d;
	uint8_t *p;
	size_t n;

	if (v->vfs != NULL) {
		p = malloc(size + 1);
		assert_non_null(p);
		ok(vfs_open(v->vfs, ino, O_RDONLY, 0, &f), path);
		n = 0;
		while (n < size) {
			ssize_t k = vfs_read_wait(f, p + n,
			    MIN(size - n, 4 * MIB), n);

			ok((int)k, path);
			assert_true(k > 0);
			n += (size_t)k;
		}
		vfs_close(f);
	} else {
		p = fs_read(v->g, path, &n);
	}
	assert_int_equal(n, size);
	d = digest_of(p, n);
	str_addf(&v->out, " sha=%s", digest_hex(&d, hex));
	free(p);
}

static void
add_xattrs(struct view *v, uint64_t ino, const char *path)
{
	struct names l = {0};
	struct buf *b, *val;
	struct digest d;
	char hex[DIGEST_HEX_LEN + 1];
	int r;

	r = v->vfs != NULL ? vfs_xattr_list(v->vfs, ino, 0, &b) :
	    draft_xattr_list(v->g->d, ino, 0, &b);
	ok(r, path);
	for (size_t i = 0; i < b->len; i += strlen((char *)b->data + i) + 1)
		if (!str_starts((char *)b->data + i, "user.pbs3fs."))
			add_name(&l, (char *)b->data + i);
	buf_unref(b);
	if (l.n > 0)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	for (size_t i = 0; i < l.n; i++) {
		r = v->vfs != NULL ?
		    vfs_xattr_get(v->vfs, ino, l.v[i], 0, &val) :
		    draft_xattr_get(v->g->d, ino, l.v[i], 0, &val);
		ok(r, path);
		d = digest_of(val->data, val->len);
		str_addf(&v->out, " %s=%zu:%.8s", l.v[i], val->len,
		    digest_hex(&d, hex));
		buf_unref(val);
		free(l.v[i]);
	}
	free(l.v);
}

static void
add_target(struct view *v, uint64_t ino, const char *path)
{
	struct buf *b;
	int r;

	r = v->vfs != NULL ? vfs_readlink(v->vfs, ino, 0, &b) :
	    draft_readlink(v->g->d, ino, 0, &b);
	ok(r, path);
	str_addf(&v->out, " -> %.*s", (int)b->len, (char *)b->data);
	buf_unref(b);
}

static void
add_entry(struct view *v, const char *path, unsigned depth,
    const struct stat *st)
{
	str_addf(&v->out, "%s %o", path, st->st_mode & S_IFMT);
	/* Of a file at the top the format holds the bytes alone. */
	if (depth > 1 || S_ISDIR(st->st_mode))
		str_addf(&v->out, " %o %u:%u %lld.%09ld",
		    st->st_mode & 07777, st->st_uid, st->st_gid,
		    (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	if (S_ISREG(st->st_mode)) {
		str_addf(&v->out, " n=%u %lld",
		    depth > 1 ? (unsigned)st->st_nlink : 1,
		    (long long)st->st_size);
		add_content(v, st->st_ino, path, (uint64_t)st->st_size);
	}
	if (S_ISLNK(st->st_mode))
		add_target(v, st->st_ino, path);
	if (S_ISBLK(st->st_mode) || S_ISCHR(st->st_mode))
		str_addf(&v->out, " dev=%u:%u", major(st->st_rdev),
		    minor(st->st_rdev));
	if (depth > 1 || S_ISDIR(st->st_mode))
		add_xattrs(v, st->st_ino, path);
	str_addc(&v->out, '\n');
}

static void
add_dir(struct view *v, uint64_t ino, const char *path, unsigned depth)
{
	struct names l = {0};
	struct str sub = {0};
	struct stat st;

	list(v, ino, path, &l);
	for (size_t i = 0; i < l.n; i++) {
		str_reset(&sub);
		str_addf(&sub, "%s%s%s", path, *path != '\0' ? "/" : "",
		    l.v[i]);
		/* What belongs to the snapshot and not to its content. */
		if (depth == 1 && v->vfs != NULL &&
		    (streq(l.v[i], "index.json") ||
		        streq(l.v[i], "catalog.pcat1") ||
		        streq(l.v[i], "client.log") ||
		        streq(l.v[i], "rsa-encrypted.key")))
			continue;
		look(v, ino, l.v[i], str_get(&sub), &st);
		add_entry(v, str_get(&sub), depth, &st);
		if (S_ISDIR(st.st_mode))
			add_dir(v, st.st_ino, str_get(&sub), depth + 1);
		if (v->vfs == NULL)
			fs_forget(v->g, st.st_ino);
	}
	for (size_t i = 0; i < l.n; i++)
		free(l.v[i]);
	free(l.v);
	str_fini(&sub);
}

char *
dump_draft(struct rig *g)
{
	struct view v = {.g = g};

	add_dir(&v, draft_root(g->d), "", 1);
	return v.out.s != NULL ? str_take(&v.out) : strdup("");
}

/*
 * References into a payload stream increase in the order of the archive, and
 * lead to headers.
 */
struct refs {
	struct reader *meta, *payload;
	struct pxar_source payload_src;
	struct pxar *px;
	uint64_t last;
	const char *name;
};

static int
pread_meta(void *arg, void *p, size_t len, uint64_t off)
{
	struct refs *f = arg;

	return reader_pread(f->meta, p, len, off, 0);
}

static int
pread_payload(void *arg, void *p, size_t len, uint64_t off)
{
	struct refs *f = arg;

	return reader_pread(f->payload, p, len, off, 0);
}

static void
check_dir(struct refs *f, uint64_t pos)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_dir *dir;
	struct pxar_entry e;
	uint64_t link, content;

	ok(pxar_dir_open(f->px, pos, &dir), f->name);
	for (size_t i = 0; i < pxar_dir_count(dir); i++) {
		ok(pxar_dir_entry(f->px, dir, i, 0, name, &e, &link), name);
		if (S_ISREG(e.mode) && link == 0) {
			assert_true(e.is_ref);
			assert_true(e.content > f->last);
			f->last = e.content;
			ok(pxar_check_payload(&f->payload_src, &e, &content),
			    name);
		}
		if (S_ISDIR(e.mode))
			check_dir(f, e.pos);
		pxar_entry_fini(&e);
	}
	pxar_dir_unref(dir);
}

static void
check_refs(struct repo *repo, const struct tree_snap *s,
    const struct tree_file *file)
{
	struct refs f = {.name = file->name};
	struct pxar_source src = {.pread = pread_meta, .arg = &f};
	char name[NAME_LEN_MAX + 1];

	snprintf(name, sizeof(name), "%s", file->name);
	name[strlen(name) - strlen("mpxar.didx")] = 'p';
	ok(repo_reader(repo, file, 0, &f.meta), file->name);
	ok(repo_reader(repo, tree_find_file(s, name), 0, &f.payload), name);
	src.size = reader_size(f.meta);
	f.payload_src = (struct pxar_source){.pread = pread_payload,
	    .arg = &f, .size = reader_size(f.payload)};
	ok(pxar_open(&src, &f.px), file->name);
	assert_int_equal(pxar_version(f.px), 2);
	check_dir(&f, pxar_root(f.px));
	pxar_close(f.px);
	reader_unref(f.meta);
	reader_unref(f.payload);
}

static void
check_snap(struct rig *g, struct repo *repo, int64_t time)
{
	struct tree *t = repo_tree(repo);
	const struct tree_snap *s = rig_snap(g, t, time);

	assert_true(s->finished);
	for (size_t i = 0; i < s->n_files; i++)
		/* Those of Proxmox Backup are in any order. */
		if (time >= RIG_T &&
		    archive_kind(s->files[i].name) == ARCHIVE_MPXAR)
			check_refs(repo, s, &s->files[i]);
	tree_unref(t);
}

char *
dump_snap(struct rig *g, int64_t time)
{
	const struct repo_opts ro = {
	    .name = "test", .timeout_ms = 5000, .keys = fixture_keys()};
	const struct vfs_opts vo = {.links = VFS_LINKS_SCAN};
	struct view v = {.g = g};
	char name[CLOCK_UTC_LEN + 1];
	struct vfs_attr a;
	struct repo *repo;

	assert_int_equal(clock_format_utc(name, time), 0);
	for (const char *p = g->group.ns; *p != '\0'; p += strcspn(p, "/")) {
		p += *p == '/';
		str_addf(&v.out, "ns/%.*s/", (int)strcspn(p, "/"), p);
	}
	str_addf(&v.out, "%s/%s/%s", backup_type_name(g->group.type),
	    g->group.id, name);
	assert_int_equal(repo_open(gate_door(g->gate), &ro, &repo), 0);
	assert_int_equal(vfs_new(repo, &vo, &v.vfs), 0);
	ok(vfs_resolve(v.vfs, str_get(&v.out), 0, &a), str_get(&v.out));
	str_reset(&v.out);
	/* Who only asks for attributes of an archive that is not open yet gets
	 * made-up ones if opening it takes long. */
	add_dir(&v, a.st.st_ino, "", 1);
	str_reset(&v.out);
	add_dir(&v, a.st.st_ino, "", 1);
	check_snap(g, repo, time);
	vfs_free(v.vfs);
	repo_free(repo);
	return str_take(&v.out);
}

void
dump_equal(const char *a, const char *b)
{
	size_t n = 0, line = 0;

	while (a[n] != '\0' && a[n] == b[n]) {
		if (a[n] == '\n')
			line = n + 1;
		n++;
	}
	if (a[n] != b[n])
		fail_msg("differ:\n%.*s\n%.*s",
		    (int)strcspn(a + line, "\n"), a + line,
		    (int)strcspn(b + line, "\n"), b + line);
}
