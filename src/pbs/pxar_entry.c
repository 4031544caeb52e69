/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "pbs/pxar_priv.h"

#define NSEC_PER_SEC 1000000000

void
pxar_entry_fini(struct pxar_entry *e)
{
	free(e->target);
	pxar_meta_free(e->meta);
	memset(e, 0, sizeof(*e));
}

int
pxar_entry_name(struct pxar_win *w, char *name, size_t *ret_len)
{
	struct pxar_rec rec;
	size_t len;
	int r;

	r = pxar_win_record(w, &rec);
	if (r < 0)
		return r;
	if (rec.type != PXAR_FILENAME || rec.len < 2 ||
	    rec.len > PXAR_NAME_MAX + 1)
		return -EBADMSG;
	r = pxar_win_read(w, name, rec.len);
	if (r < 0)
		return r;
	len = rec.len - 1;
	if (name[len] != '\0' || !pxar_name_is_valid(name, len))
		return -EBADMSG;
	*ret_len = len;
	return 0;
}

static int
read_stat(struct pxar_win *w, struct pxar_entry *e)
{
	struct pxar_rec rec;
	uint8_t b[PXAR_ENTRY_SIZE];
	uint64_t ns;
	int r;

	r = pxar_win_record(w, &rec);
	if (r < 0)
		return r;
	if (!(rec.type == PXAR_ENTRY && rec.len == PXAR_ENTRY_SIZE) &&
	    !(rec.type == PXAR_ENTRY_V1 && rec.len == PXAR_ENTRY_V1_SIZE))
		return -EBADMSG;
	r = pxar_win_read(w, b, rec.len);
	if (r < 0)
		return r;
	e->mode = get_le64(b) & (S_IFMT | 07777);
	e->flags = get_le64(b + 8);
	e->uid = get_le32(b + 16);
	e->gid = get_le32(b + 20);
	if (rec.type == PXAR_ENTRY_V1) {
		ns = get_le64(b + 24);
		e->mtime_sec = (int64_t)(ns / NSEC_PER_SEC);
		e->mtime_nsec = ns % NSEC_PER_SEC;
	} else {
		e->mtime_sec = (int64_t)get_le64(b + 24);
		e->mtime_nsec = get_le32(b + 32);
	}
	return e->mtime_nsec < NSEC_PER_SEC ? 0 : -EBADMSG;
}

/* Attribute records in any order; *ret is the first other one, or of type 0
 * at the limit. */
static int
read_attributes(struct pxar_win *w, unsigned flags, struct pxar_entry *e,
    struct pxar_rec *ret)
{
	uint64_t begin = w->pos;
	int r;

	for (;;) {
		if (w->pos == w->limit) {
			*ret = (struct pxar_rec){
			    .begin = w->pos, .end = w->pos};
			return 0;
		}
		r = pxar_win_record(w, ret);
		if (r < 0)
			return r;
		if (!pxar_meta_is(ret->type))
			return 0;
		if (ret->end - begin > PXAR_META_MAX)
			return -EBADMSG;
		e->has_meta = true;
		if ((flags & PXAR_META) != 0) {
			if (e->meta == NULL)
				e->meta = calloc(1, sizeof(*e->meta));
			if (e->meta == NULL)
				return -ENOMEM;
			r = pxar_meta_add(e->meta, w, ret);
			if (r < 0)
				return r;
		}
		pxar_win_move(w, ret->end, w->limit);
	}
}

static int
read_payload(const struct pxar *a, struct pxar_win *w,
    const struct pxar_rec *rec, struct pxar_entry *e)
{
	uint64_t end;
	uint8_t b[16];
	int r;

	if (rec->type == PXAR_PAYLOAD) {
		e->content = w->pos;
		e->size = rec->len;
		return 0;
	}
	if (rec->type != PXAR_PAYLOAD_REF || a->version == 1 ||
	    rec->len != sizeof(b))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	e->is_ref = true;
	e->content = get_le64(b);
	e->size = get_le64(b + 8);
	if (__builtin_add_overflow(e->content, e->size, &end) ||
	    __builtin_add_overflow(end, PXAR_HEADER_SIZE, &end) ||
	    end > INT64_MAX)
		return -EBADMSG;
	return 0;
}

static int
read_symlink(struct pxar_win *w, const struct pxar_rec *rec,
    struct pxar_entry *e)
{
	int r;

	if (rec->type != PXAR_SYMLINK || rec->len < 2 ||
	    rec->len > PXAR_TARGET_MAX + 1)
		return -EBADMSG;
	e->target = malloc(rec->len);
	if (e->target == NULL)
		return -ENOMEM;
	r = pxar_win_read(w, e->target, rec->len);
	if (r < 0)
		return r;
	/* What stands in the place of the NUL is dropped, as others do. */
	e->size = rec->len - 1;
	e->target[e->size] = '\0';
	return strlen(e->target) == e->size ? 0 : -EBADMSG;
}

static int
read_device(struct pxar_win *w, const struct pxar_rec *rec,
    struct pxar_entry *e)
{
	uint8_t b[16];
	int r;

	if (rec->type != PXAR_DEVICE || rec->len != sizeof(b))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	e->dev_major = get_le64(b);
	e->dev_minor = get_le64(b + 8);
	return 0;
}

int
pxar_entry_body(const struct pxar *a, struct pxar_win *w, unsigned flags,
    struct pxar_entry *e)
{
	struct pxar_rec rec;
	int r;

	r = read_stat(w, e);
	if (r < 0)
		return r;
	r = read_attributes(w, flags, e, &rec);
	if (r < 0)
		return r;
	e->end = rec.end;
	switch (e->mode & S_IFMT) {
	case S_IFREG:
		return read_payload(a, w, &rec, e);
	case S_IFLNK:
		return read_symlink(w, &rec, e);
	case S_IFBLK:
	case S_IFCHR:
		return read_device(w, &rec, e);
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
		/* Nothing of its own: the next entry, or the table of the
		 * directory, ends it. */
		e->end = rec.begin;
		if (rec.type != 0 && rec.type != PXAR_FILENAME &&
		    rec.type != PXAR_GOODBYE)
			return -EBADMSG;
		return 0;
	default:
		return -EBADMSG;
	}
}

/* A file and nothing else, and of the name that the link knows it by. */
static int
read_target(const struct pxar *a, uint64_t pos, uint64_t limit,
    const char *path, unsigned flags, struct pxar_entry *e)
{
	char name[PXAR_NAME_MAX + 1];
	const char *base;
	struct pxar_win w;
	size_t len;
	int r;

	pxar_win_init(&w, &a->src, pos, limit);
	r = pxar_entry_name(&w, name, &len);
	if (r < 0)
		return r;
	base = strrchr(path, '/');
	base = base != NULL ? base + 1 : path;
	if (strcmp(base, name) != 0)
		return -EBADMSG;
	r = pxar_entry_body(a, &w, flags, e);
	if (r < 0)
		return r;
	e->pos = pos;
	e->begin = pos;
	return S_ISREG(e->mode) ? 0 : -EBADMSG;
}

int
pxar_entry_link(const struct pxar *a, struct pxar_win *w, uint64_t link,
    unsigned flags, struct pxar_entry *e)
{
	char path[PXAR_TARGET_MAX + 1];
	struct pxar_rec rec;
	uint8_t b[8];
	uint64_t back;
	size_t len;
	int r;

	r = pxar_win_record(w, &rec);
	if (r < 0)
		return r;
	if (rec.type != PXAR_HARDLINK || rec.len < sizeof(b) + 2 ||
	    rec.len > sizeof(b) + sizeof(path))
		return -EBADMSG;
	r = pxar_win_read(w, b, sizeof(b));
	if (r < 0)
		return r;
	len = rec.len - sizeof(b) - 1;
	r = pxar_win_read(w, path, len + 1);
	if (r < 0)
		return r;
	back = get_le64(b);
	if (path[len] != '\0' || !pxar_name_path_is_valid(path, len) ||
	    back >= link - a->entry)
		return -EBADMSG;
	return read_target(a, link - back, link, path, flags, e);
}

static int
stat_dir(const struct pxar *a, struct pxar_win *w, unsigned flags,
    struct pxar_entry *e)
{
	struct pxar_goodbye g;
	int r;

	r = pxar_goodbye_at(a, w, &g);
	if (r < 0)
		return r;
	pxar_win_move(w, g.entry, g.pos);
	r = pxar_entry_body(a, w, flags, e);
	if (r < 0)
		return r;
	e->pos = g.pos;
	e->begin = g.entry;
	e->end = g.end;
	return S_ISDIR(e->mode) ? 0 : -EBADMSG;
}

static int
stat_file(const struct pxar *a, struct pxar_win *w, unsigned flags,
    struct pxar_entry *e)
{
	char name[PXAR_NAME_MAX + 1];
	uint64_t pos = w->pos;
	const uint8_t *b;
	size_t len;
	int r;

	r = pxar_entry_name(w, name, &len);
	if (r < 0)
		return r;
	r = pxar_win_peek(w, 8, &b);
	if (r < 0)
		return r;
	if (get_le64(b) == PXAR_HARDLINK)
		return pxar_entry_link(a, w, pos, flags, e);
	r = pxar_entry_body(a, w, flags, e);
	if (r < 0)
		return r;
	e->pos = pos;
	e->begin = pos;
	/* The position of a directory is its table. */
	return S_ISDIR(e->mode) ? -ENOENT : 0;
}

int
pxar_stat(struct pxar *a, uint64_t pos, unsigned flags, struct pxar_entry *ret)
{
	struct pxar_win w;
	const uint8_t *b;
	uint64_t type;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (pos <= a->entry || pos > a->root)
		return -ENOENT;
	pxar_win_init(&w, &a->src, pos, UINT64_MAX);
	r = pxar_win_peek(&w, 8, &b);
	if (r < 0)
		return r;
	type = get_le64(b);
	if (type == PXAR_GOODBYE) {
		r = stat_dir(a, &w, flags, ret);
	} else if (type == PXAR_FILENAME) {
		/* Whatever it is, it ends before the root's table. */
		pxar_win_move(&w, pos, a->root);
		r = stat_file(a, &w, flags, ret);
	} else {
		r = -ENOENT;
	}
	if (r < 0)
		pxar_entry_fini(ret);
	return r;
}

int
pxar_check_payload(const struct pxar_source *src, const struct pxar_entry *e,
    uint64_t *ret_content)
{
	uint8_t b[PXAR_HEADER_SIZE];
	uint64_t full, end;
	int r;

	if (!e->is_ref ||
	    __builtin_add_overflow(e->size, PXAR_HEADER_SIZE, &full) ||
	    __builtin_add_overflow(e->content, full, &end) || end > src->size)
		return -EBADMSG;
	r = src->pread(src->arg, b, sizeof(b), e->content);
	if (r < 0)
		return r;
	if (get_le64(b) != PXAR_PAYLOAD || get_le64(b + 8) != full)
		return -EBADMSG;
	*ret_content = e->content + PXAR_HEADER_SIZE;
	return 0;
}
