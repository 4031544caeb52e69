/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "../pxar/mkpxar.h"
#include "../repo/samples.h"
#include "../repo/slow_store.h"
#include "base/buf.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "repo/repo.h"

#include "../cm.h"

void
snap_begin(struct snap_maker *m, struct slow_store *s, const char *ns,
    enum backup_type type, const char *id, int64_t time)
{
	char key[KEY_MAX + 1];

	*m = (struct snap_maker){
	    .s = s, .ns = ns, .type = type, .id = id, .time = time};
	assert_int_equal(key_group(key, ns, type, id, "owner"), 0);
	slow_store_put(s, key, "root@pam\n", 9);
}

void
snap_put(struct snap_maker *m, const char *name, const void *p, size_t len)
{
	char key[KEY_MAX + 1];

	assert_int_equal(key_file(key, m->ns, m->type, m->id, m->time, name),
	    0);
	slow_store_put(m->s, key, p, len);
}

static void
add(struct snap_maker *m, const char *name, uint64_t size,
    const struct digest *csum)
{
	char hex[DIGEST_HEX_LEN + 1];

	str_addf(&m->files, "%s{\"filename\":\"%s\",\"size\":%llu,"
	    "\"csum\":\"%s\",\"crypt-mode\":\"%s\"}",
	    m->files.len > 0 ? "," : "", name, (unsigned long long)size,
	    digest_hex(csum, hex), m->crypt != NULL ? m->crypt : "none");
}

void
world_chunk(const void *p, size_t len, char key[KEY_MAX + 1])
{
	struct digest d = digest_of(p, len);

	key_chunk(&d, key);
}

static void
put_index(struct snap_maker *m, const char *name, struct index_writer *w,
    const uint8_t *p, size_t len)
{
	const uint8_t uuid[16] = {1};
	char key[KEY_MAX + 1];
	struct digest d;
	struct buf *b;
	size_t chunk = m->chunk != 0 ? m->chunk : WORLD_CHUNK;
	size_t all = len, n;

	for (; len > 0; p += n, len -= n) {
		n = MIN(len, chunk);
		d = digest_of(p, n);
		assert_int_equal(blob_encode(p, n, true, &b), 0);
		key_chunk(&d, key);
		slow_store_put(m->s, key, b->data, b->len);
		buf_unref(b);
		assert_int_equal(index_writer_add(w, n, &d), 0);
	}
	assert_int_equal(index_writer_finish(w, uuid, 1, &b), 0);
	index_writer_free(w);
	snap_put(m, name, b->data, b->len);
	d = digest_of(b->data + INDEX_HEADER_LEN, b->len - INDEX_HEADER_LEN);
	add(m, name, all, &d);
	buf_unref(b);
}

void
snap_dynamic(struct snap_maker *m, const char *name, const void *p, size_t len)
{
	struct index_writer *w;

	assert_int_equal(index_writer_dynamic(&w), 0);
	put_index(m, name, w, p, len);
}

void
snap_fixed(struct snap_maker *m, const char *name, const void *p, size_t len)
{
	struct index_writer *w;

	assert_int_equal(index_writer_fixed(len, m->chunk != 0 ? m->chunk :
	    WORLD_CHUNK, &w), 0);
	put_index(m, name, w, p, len);
}

void
snap_blob(struct snap_maker *m, const char *name, const void *p, size_t len)
{
	struct digest d;
	struct buf *b;

	assert_int_equal(blob_encode(p, len, true, &b), 0);
	snap_put(m, name, b->data, b->len);
	d = digest_of(b->data, b->len);
	add(m, name, b->len, &d);
	buf_unref(b);
}

void
snap_pxar(struct snap_maker *m, const char *name, struct mk *mk)
{
	struct str file = {0};

	str_addf(&file, "%s.%s.didx", name, mk->version == 1 ? "pxar" :
	    "mpxar");
	snap_dynamic(m, str_get(&file), mk->main.p, mk->main.len);
	str_reset(&file);
	if (mk->version == 2) {
		str_addf(&file, "%s.ppxar.didx", name);
		snap_dynamic(m, str_get(&file), mk->payload.p,
		    mk->payload.len);
	}
	str_fini(&file);
}

void
snap_finish(struct snap_maker *m, const char *unprotected)
{
	struct str json = {0};
	struct buf *b;

	str_addf(&json, "{\"backup-type\":\"%s\",\"backup-id\":\"%s\","
	    "\"backup-time\":%lld,\"files\":[%s],\"unprotected\":%s,"
	    "\"signature\":null}", backup_type_name(m->type), m->id,
	    (long long)m->time, str_get(&m->files),
	    unprotected != NULL ? unprotected : "{}");
	assert_int_equal(blob_encode(json.s, json.len, true, &b), 0);
	snap_put(m, "index.json.blob", b->data, b->len);
	buf_unref(b);
	str_fini(&json);
	str_fini(&m->files);
}

void
snap_abandon(struct snap_maker *m)
{
	str_fini(&m->files);
}

uint8_t world_big[WORLD_BIG];

/* root: a directory with one of everything. */
static void
make_tree(struct mk *m, int version)
{
	const struct mk_attr root = {.mode = S_IFDIR | 0711, .uid = 7,
	    .gid = 8, .sec = -2, .nsec = 500000000};
	uint64_t f;

	mk_init(m, version);
	mk_root(m, &root);
	f = mk_file(m, "big", FILE_, world_big, WORLD_BIG);
	mk_device(m, "dev", MK(S_IFBLK | 0600), 8, 17);
	mk_dir(m, "dir", DIR_);
	mk_dir(m, "below", DIR_);
	mk_file(m, "deep", FILE_, "deep\n", 5);
	mk_up(m);
	mk_link(m, "link", f, "big");
	mk_up(m);
	mk_file(m, "empty", FILE_, "", 0);
	mk_special(m, "fifo", MK(S_IFIFO | 0644));
	mk_link(m, "hard", f, "big");
	mk_symlink(m, "sym", MK(S_IFLNK | 0777), "../target");
	mk_xattr(m, "user.colour", "blue", 4);
	mk_file(m, "tagged", FILE_, "t", 1);
	mk_finish(m);
}

struct slow_store *
world_store(int version)
{
	struct slow_store *s = slow_store_new();
	struct snap_maker m;
	struct mk *mk = malloc(sizeof(*mk));

	assert_non_null(mk);
	sample_bytes(world_big, WORLD_BIG, 42);
	make_tree(mk, version);
	snap_begin(&m, s, "", BACKUP_HOST, "h1", T1);
	snap_pxar(&m, "root", mk);
	snap_fixed(&m, "disk.img.fidx", world_big, WORLD_BIG);
	snap_dynamic(&m, "stream.didx", "raw stream", 10);
	snap_blob(&m, "a.conf.blob", "conf\n", 5);
	snap_finish(&m, "{\"notes\":\"first\"}");
	mk_fini(mk);
	free(mk);
	return s;
}

void
world_open(struct world *w, struct slow_store *s, const struct vfs_opts *o)
{
	const struct vfs_opts plain = {0};
	const struct repo_opts ro = {.timeout_ms = 5000};

	w->s = s;
	assert_int_equal(repo_open(&s->s, &ro, &w->repo), 0);
	assert_int_equal(vfs_new(w->repo, o != NULL ? o : &plain, &w->vfs), 0);
}

void
world_close(struct world *w)
{
	vfs_free(w->vfs);
	repo_free(w->repo);
}

struct vfs_attr
world_at(struct world *w, const char *path)
{
	struct vfs_attr a;
	int r = vfs_resolve(w->vfs, path, 0, &a);

	if (r < 0)
		fail_msg("%s: %s", path, strerror(-r));
	return a;
}

uint64_t
world_ino(struct world *w, const char *path)
{
	return world_at(w, path).st.st_ino;
}

struct names {
	char *v[1024];
	size_t n;
};

static int
add_name(void *arg, const struct vfs_dirent *e)
{
	struct names *l = arg;

	assert_true(l->n < ARRAY_SIZE(l->v));
	l->v[l->n++] = strdup(e->name);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

char *
world_list(struct world *w, const char *path)
{
	struct names l = {0};
	struct str all = {0};
	struct vfs_dir *d;
	size_t i;

	assert_int_equal(vfs_opendir(w->vfs, world_ino(w, path), 0, &d), 0);
	assert_int_equal(vfs_readdir(d, 0, false, 0, add_name, &l), 0);
	vfs_closedir(d);
	qsort(l.v, l.n, sizeof(l.v[0]), by_name);
	str_add(&all, "");
	for (i = 0; i < l.n; i++) {
		str_addf(&all, "%s ", l.v[i]);
		free(l.v[i]);
	}
	return all.s != NULL ? str_take(&all) : strdup("");
}

char *
world_read(struct world *w, const char *path, size_t *ret_len)
{
	struct vfs_file *f;
	uint64_t size;
	ssize_t n;
	char *p;
	int r;

	r = vfs_open(w->vfs, world_ino(w, path), O_RDONLY, 0, &f);
	if (r < 0)
		fail_msg("open %s: %s", path, strerror(-r));
	size = vfs_file_size(f);
	p = malloc(size + 1);
	assert_non_null(p);
	/* More than there is: reading ends at the end. */
	n = vfs_read_wait(f, p, size, 0);
	assert_int_equal(n, size);
	assert_int_equal(vfs_read_wait(f, p + size, 1, size), 0);
	p[size] = '\0';
	vfs_close(f);
	if (ret_len != NULL)
		*ret_len = size;
	return p;
}

char *
world_xattr(struct world *w, const char *path, const char *name)
{
	struct buf *b;
	char *text;
	int r;

	r = vfs_xattr_get(w->vfs, world_ino(w, path), name, 0, &b);
	if (r == -ENODATA)
		return NULL;
	assert_int_equal(r, 0);
	text = strndup((const char *)b->data, b->len);
	buf_unref(b);
	return text;
}
