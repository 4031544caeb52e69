/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "listing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "pbs/pxar.h"

static void
add_text(struct str *out, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	for (; *p != '\0'; p++) {
		if (*p > ' ' && *p < 0x7f && *p != '\\')
			str_addc(out, (char)*p);
		else
			str_addf(out, "\\x%02x", *p);
	}
}

static void
add_hex(struct str *out, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		str_addf(out, "%02x", p[i]);
}

static void
add_ids(struct str *out, const char *key, const struct pxar_acl_id *ids,
    size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		str_addf(out, "\t%s:%u:%u", key, ids[i].id, ids[i].perm);
}

static void
add_default(struct str *out, uint64_t perm)
{
	if (perm == PXAR_ACL_UNSET)
		str_add(out, ":-");
	else
		str_addf(out, ":%" PRIu64, perm);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct pxar_xattr *)a)->name,
	    ((const struct pxar_xattr *)b)->name);
}

static void
add_meta(struct str *out, struct pxar_meta *m)
{
	size_t i;

	if (m->n_xattrs > 0)
		qsort(m->xattrs, m->n_xattrs, sizeof(*m->xattrs), by_name);
	for (i = 0; i < m->n_xattrs; i++) {
		str_add(out, "\txattr:");
		add_text(out, m->xattrs[i].name);
		str_addc(out, '=');
		add_hex(out, m->xattrs[i].value, m->xattrs[i].len);
	}
	add_ids(out, "user", m->acl_users, m->n_acl_users);
	add_ids(out, "group", m->acl_groups, m->n_acl_groups);
	if (m->has_group_obj)
		str_addf(out, "\tgroup_obj:%u", m->group_obj);
	if (m->has_default) {
		str_add(out, "\tdefault");
		add_default(out, m->def_user_obj);
		add_default(out, m->def_group_obj);
		add_default(out, m->def_other);
		add_default(out, m->def_mask);
	}
	add_ids(out, "default_user", m->def_users, m->n_def_users);
	add_ids(out, "default_group", m->def_groups, m->n_def_groups);
	if (m->fcaps != NULL) {
		str_add(out, "\tfcaps:");
		add_hex(out, m->fcaps, m->fcaps_len);
	}
	if (m->has_projid)
		str_addf(out, "\tprojid:%" PRIu64, m->projid);
}

static void
add_entry(struct str *out, const struct pxar_entry *e)
{
	str_addf(out, "\t%o\t%u:%u\t%" PRId64 ".%09u", e->mode, e->uid, e->gid,
	    e->mtime_sec, e->mtime_nsec);
	if (e->flags != 0)
		str_addf(out, "\tflags:%" PRIx64, e->flags);
	if (S_ISREG(e->mode))
		str_addf(out, "\t%" PRIu64, e->size);
	if (S_ISREG(e->mode) && !e->is_ref)
		str_addf(out, "@%" PRIu64, e->content);
	if (S_ISLNK(e->mode)) {
		str_add(out, "\t-> ");
		add_text(out, e->target);
	}
	if (S_ISBLK(e->mode) || S_ISCHR(e->mode))
		str_addf(out, "\t%" PRIu64 ":%" PRIu64, e->dev_major,
		    e->dev_minor);
	if (e->meta != NULL)
		add_meta(out, e->meta);
	str_addc(out, '\n');
}

struct frame {
	struct pxar_dir *dir;
	size_t next;
	size_t path_len;
};

static int
push(struct pxar *a, uint64_t pos, size_t path_len, struct frame **frames,
    size_t *n)
{
	struct frame *p;
	int r;

	p = realloc(*frames, (*n + 1) * sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	*frames = p;
	r = pxar_dir_open(a, pos, &p[*n].dir);
	if (r < 0)
		return r;
	p[*n].next = 0;
	p[*n].path_len = path_len;
	(*n)++;
	return 0;
}

static int
add_link(struct pxar *a, struct str *out, const struct pxar_entry *e)
{
	_cleanup_free_ char *target = NULL;
	int r;

	r = pxar_path(a, e->pos, &target);
	if (r < 0)
		return r;
	str_addf(out, "\tlink\t%" PRIu64 "\t/", e->size);
	add_text(out, target);
	str_addc(out, '\n');
	return 0;
}

int
listing_write(struct pxar *a, struct str *out)
{
	char name[PXAR_NAME_MAX + 1], path[65536] = "";
	struct frame *frames = NULL, *f;
	struct pxar_entry e;
	size_t n = 0, i;
	uint64_t link;
	int r;

	r = pxar_stat(a, pxar_root(a), PXAR_META, &e);
	if (r < 0)
		return r;
	str_add(out, "/");
	add_entry(out, &e);
	pxar_entry_fini(&e);
	r = push(a, pxar_root(a), 0, &frames, &n);
	while (r == 0 && n > 0) {
		f = &frames[n - 1];
		i = f->next++;
		path[f->path_len] = '\0';
		if (i == pxar_dir_count(f->dir)) {
			pxar_dir_unref(f->dir);
			n--;
			continue;
		}
		r = pxar_dir_entry(a, f->dir, i, PXAR_META, name, &e, &link);
		if (r == -EBADMSG) {
			str_add(out, "!");
			add_text(out, path);
			str_addf(out, "\t%zu\n", i);
			r = 0;
			continue;
		}
		if (r < 0)
			break;
		if (f->path_len + strlen(name) + 2 > sizeof(path)) {
			pxar_entry_fini(&e);
			r = -ENAMETOOLONG;
			break;
		}
		path[f->path_len] = '/';
		memcpy(path + f->path_len + 1, name, strlen(name) + 1);
		add_text(out, path);
		if (link != 0)
			r = add_link(a, out, &e);
		else
			add_entry(out, &e);
		if (r == 0 && S_ISDIR(e.mode))
			r = push(a, e.pos, strlen(path), &frames, &n);
		pxar_entry_fini(&e);
	}
	while (n > 0)
		pxar_dir_unref(frames[--n].dir);
	free(frames);
	return r < 0 ? r : str_error(out);
}
