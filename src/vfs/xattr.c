/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "draft/draft.h"
#include "pbs/acl.h"
#include "pbs/manifest.h"
#include "pbs/pxar.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/archive.h"
#include "vfs/current.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

/*
 * Extended attributes: those of entries as they were stored, and our own on
 * snapshots and the files in them:
 *     user.pbs3fs.protected, .notes, .verify	of a snapshot
 *     user.pbs3fs.csum, .size			of an index or an archive
 * The latter are not listed, so that copying a tree or an image does not carry
 * them along.
 */
#define OWN "user.pbs3fs."

static int
text_buf(const char *text, struct buf **ret)
{
	*ret = buf_copy(text, strlen(text));
	return *ret != NULL ? 0 : -ENOMEM;
}

static int
get_snap(struct vfs *v, const struct node *n, const char *what,
    unsigned flags, struct buf **ret)
{
	const char *text = NULL;
	struct manifest *m;
	int r;

	if (streq(what, "protected"))
		return text_buf(n->snap->protected ? "1" : "0", ret);
	if (!streq(what, "notes") && !streq(what, "verify"))
		return -ENODATA;
	r = repo_manifest(v->repo, n->snap, flags, &m);
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;
	text = what[0] == 'n' ? m->notes : m->verify_state;
	r = text != NULL ? text_buf(text, ret) : -ENODATA;
	manifest_unref(m);
	return r;
}

static int
get_file(struct vfs *v, const struct node *n, const char *what,
    unsigned flags, struct buf **ret)
{
	char hex[DIGEST_HEX_LEN + 1];
	const struct manifest_file *f;
	struct str text = {0};
	struct manifest *m;
	int r;

	if (!streq(what, "csum") && !streq(what, "size"))
		return -ENODATA;
	r = repo_manifest(v->repo, n->file->snap, flags, &m);
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;
	f = manifest_find(m, n->file->name);
	if (f == NULL)
		r = -ENODATA;
	else if (what[0] == 'c')
		r = text_buf(digest_hex(&f->csum, hex), ret);
	else {
		str_addf(&text, "%llu", (unsigned long long)f->size);
		r = text_buf(str_get(&text), ret);
		str_fini(&text);
	}
	manifest_unref(m);
	return r;
}

/* An entry with what is attached to it; -ENODATA if that is known to be
 * nothing, without reading more. */
static int
read_meta(struct archive *a, uint64_t pos, unsigned flags,
    struct pxar_entry *ret)
{
	struct pxar *px = archive_pxar(a, flags);
	int r;

	r = pxar_stat(px, pos, 0, ret);
	if (r == 0 && !ret->has_meta) {
		pxar_entry_fini(ret);
		return -ENODATA;
	}
	if (r == 0) {
		pxar_entry_fini(ret);
		r = pxar_stat(px, pos, PXAR_META, ret);
	}
	if (r == -EBADMSG || r == -ENOENT)
		r = -ESTALE;
	return r;
}

static int
get_from(const struct pxar_entry *e, const char *name, struct buf **ret)
{
	const struct pxar_meta *m = e->meta;
	size_t i;
	int r;

	if (m == NULL)
		return -ENODATA;
	if (streq(name, "system.posix_acl_access") ||
	    streq(name, "system.posix_acl_default")) {
		r = streq(name, "system.posix_acl_access") ?
		    acl_access(e, ret) : acl_default(e, ret);
		return r == 1 ? -ENODATA : r;
	}
	if (streq(name, "security.capability") && m->fcaps != NULL) {
		*ret = buf_copy(m->fcaps, m->fcaps_len);
		return *ret != NULL ? 0 : -ENOMEM;
	}
	for (i = 0; i < m->n_xattrs; i++) {
		if (!streq(m->xattrs[i].name, name))
			continue;
		*ret = buf_copy(m->xattrs[i].value, m->xattrs[i].len);
		return *ret != NULL ? 0 : -ENOMEM;
	}
	return -ENODATA;
}

/* Whether asking is worth opening the archive: listing a snapshot asks for the
 * attributes of each root, and must not fetch them. */
static bool
root_has_meta(const struct node *n)
{
	const struct node_root_attr *root;

	if (!node_is_archive(n))
		return false;
	root = atomic_load(&n->archive->root);
	return root != NULL && root->has_meta;
}

static int
open_meta(struct vfs *v, const struct place *p, unsigned flags,
    struct pxar_entry *ret)
{
	struct archive *a;
	int r;

	if (p->pos == 0 && !root_has_meta(p->node))
		return -ENODATA;
	r = archive_get(v, p->node, flags, &a);
	if (r < 0)
		return r;
	r = read_meta(a, p->pos != 0 ? p->pos :
	    pxar_root(archive_pxar(a, flags)), flags, ret);
	archive_unref(a);
	return r;
}

int
vfs_xattr_get(struct vfs *v, uint64_t ino, const char *name, unsigned flags,
    struct buf **ret)
{
	struct pxar_entry e;
	struct current c;
	struct place p;
	int r;

	r = current_find(v, ino, &c);
	if (r != 0)
		return r < 0 ? r : draft_xattr_get(c.draft, c.ino, name,
		    flags & VFS_NOWAIT, ret);
	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	if (p.pos == 0 && str_starts(name, OWN)) {
		name += strlen(OWN);
		r = -ENODATA;
		if (p.node->kind == NODE_SNAP)
			r = get_snap(v, p.node, name, flags, ret);
		else if (p.node->kind == NODE_FILE)
			r = get_file(v, p.node, name, flags, ret);
	} else {
		r = open_meta(v, &p, flags, &e);
		if (r == 0) {
			r = get_from(&e, name, ret);
			pxar_entry_fini(&e);
		}
	}
	place_fini(&p);
	return r;
}

static void
list_from(const struct pxar_entry *e, struct str *out)
{
	const struct pxar_meta *m = e->meta;
	struct buf *acl;
	size_t i;

	if (m == NULL)
		return;
	for (i = 0; i < m->n_xattrs; i++)
		str_addn(out, m->xattrs[i].name,
		    strlen(m->xattrs[i].name) + 1);
	if (m->fcaps != NULL)
		str_addn(out, "security.capability",
		    sizeof("security.capability"));
	if (acl_access(e, &acl) == 0) {
		str_addn(out, "system.posix_acl_access",
		    sizeof("system.posix_acl_access"));
		buf_unref(acl);
	}
	if (acl_default(e, &acl) == 0) {
		str_addn(out, "system.posix_acl_default",
		    sizeof("system.posix_acl_default"));
		buf_unref(acl);
	}
}

/* The state of a verification and notes only where there are some, as far as
 * the manifest is at hand: ls asks this of every snapshot that it lists, and
 * listing costs no request. */
static void
list_snap(struct vfs *v, const struct node *n, struct str *out)
{
	struct manifest *m;

	str_addn(out, OWN "protected", sizeof(OWN "protected"));
	if (!n->snap->finished ||
	    repo_manifest(v->repo, n->snap, REPO_NOWAIT, &m) < 0)
		return;
	if (m->notes != NULL)
		str_addn(out, OWN "notes", sizeof(OWN "notes"));
	if (m->verify_state != NULL)
		str_addn(out, OWN "verify", sizeof(OWN "verify"));
	manifest_unref(m);
}

int
vfs_xattr_list(struct vfs *v, uint64_t ino, unsigned flags, struct buf **ret)
{
	struct str out = {0};
	struct pxar_entry e;
	struct current c;
	struct place p;
	int r;

	r = current_find(v, ino, &c);
	if (r != 0)
		return r < 0 ? r : draft_xattr_list(c.draft, c.ino,
		    flags & VFS_NOWAIT, ret);
	r = place_find(v, ino, &p);
	if (r < 0)
		return r;
	if (p.pos == 0 && p.node->kind == NODE_SNAP) {
		list_snap(v, p.node, &out);
	} else {
		r = open_meta(v, &p, flags, &e);
		if (r == 0) {
			list_from(&e, &out);
			pxar_entry_fini(&e);
		} else if (r == -ENODATA) {
			r = 0;
		}
	}
	place_fini(&p);
	if (r == 0)
		r = str_error(&out);
	if (r == 0) {
		*ret = buf_copy(str_get(&out), out.len);
		r = *ret != NULL ? 0 : -ENOMEM;
	}
	str_fini(&out);
	return r;
}
