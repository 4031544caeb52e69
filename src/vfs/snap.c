/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "repo/damage.h"
#include "repo/objects.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

/* What a snapshot's manifest and blobs tell of the files in it. */

int
snap_no_key(struct vfs *v, const struct node *n)
{
	const struct tree_snap *s = node_snap(n);
	struct str path = {0}, which = {0};
	struct manifest *m;

	node_path(n, &path);
	if (s != NULL && repo_manifest(v->repo, s, REPO_NOWAIT, &m) == 0) {
		if (m->key_fingerprint != NULL) {
			str_add(&which, " of the fingerprint ");
			str_escape(&which, m->key_fingerprint,
			    strlen(m->key_fingerprint));
		}
		manifest_unref(m);
	}
	log_limited(LOG_LVL_ERR, "%s: encrypted, and %s key%s%s\nhint: "
	    "keyfile=FILE gives one", str_get(&path),
	    keyring_count(repo_keys(v->repo)) == 0 ? "there is no" :
	    "none of those given is the", str_get(&which),
	    which.len > 0 ? "" : " for it");
	str_fini(&path);
	str_fini(&which);
	return -ENOKEY;
}

/* Files that the manifest promises and the store does not have. */
static void
report_missing(struct vfs *v, const struct manifest *m, struct node *snap)
{
	const char *why = "the manifest lists it, but the store has no such "
	    "object";
	const struct tree_snap *s = snap->snap;
	char key[KEY_MAX + 1];
	size_t i;

	/* Of a snapshot the size means: this has been done. */
	if (atomic_exchange(&snap->size, 0) != NODE_SIZE_UNKNOWN)
		return;
	for (i = 0; i < m->n_files; i++) {
		if (tree_find_file(s, m->files[i].name) != NULL ||
		    key_file(key, s->group->ns->path, s->group->type,
		    s->group->id, s->time, m->files[i].name) < 0)
			continue;
		damage_object(repo_damage(v->repo), key, why);
	}
}

static void
learn_from_manifest(struct vfs *v, const struct manifest *m,
    struct node *snap)
{
	const struct manifest_file *f;
	struct node *n;
	uint32_t i;

	for (i = 0; i < snap->n_children; i++) {
		n = &snap->children[i];
		if (n->archive_kind == ARCHIVE_MANIFEST) {
			atomic_store(&n->size, m->json->len);
			continue;
		}
		f = manifest_find(m, n->file->name);
		/* A blob's own header says whether it is encrypted. */
		if (f == NULL || n->archive_kind == ARCHIVE_BLOB)
			continue;
		atomic_store(&n->secret, f->crypt == CRYPT_ENCRYPT &&
		    m->key == NULL);
		atomic_store(&n->size, f->size);
	}
	report_missing(v, m, snap);
}

/* 1 if the manifest is of no use, so that files must speak for themselves. */
static int
read_manifest(struct vfs *v, struct node *snap, unsigned flags)
{
	struct manifest *m;
	int r;

	if (!snap->snap->finished)
		return 1;
	r = repo_manifest(v->repo, snap->snap, flags, &m);
	if (r == -EBADMSG || r == -ENOENT || r == -OBJECT_EFORGED)
		return 1;
	if (r < 0)
		return r;
	learn_from_manifest(v, m, snap);
	manifest_unref(m);
	return 0;
}

static int
learn_index(struct vfs *v, struct node *n, unsigned flags)
{
	struct index *x;
	int r;

	r = repo_index(v->repo, n->file, flags, &x);
	if (r == -EBADMSG || r == -ENOENT || r == -OBJECT_EFORGED) {
		/* It shows in listings; opening it says what is wrong. */
		atomic_store(&n->size, 0);
		return 0;
	}
	if (r < 0)
		return r;
	atomic_store(&n->size, index_size(x));
	index_unref(x);
	return 0;
}

static int
learn_blob(struct vfs *v, struct node *n, unsigned flags)
{
	uint64_t stored = n->file->size;
	struct buf *b;
	int r;

	r = repo_blob(v->repo, n->file, flags, &b);
	switch (r) {
	case 0:
		atomic_store(&n->size, b->len);
		buf_unref(b);
		return 0;
	case -ENOKEY:
		atomic_store(&n->secret, true);
		atomic_store(&n->size, stored > BLOB_HEADER_ENC ?
		    stored - BLOB_HEADER_ENC : 0);
		return 0;
	case -EBADMSG:
	case -ENOENT:
	case -OBJECT_EFORGED:
		atomic_store(&n->size, stored > BLOB_HEADER_PLAIN ?
		    stored - BLOB_HEADER_PLAIN : 0);
		return 0;
	default:
		return r;
	}
}

int
snap_learn(struct vfs *v, struct node *n, unsigned flags)
{
	int r;

	if (atomic_load(&n->size) != NODE_SIZE_UNKNOWN)
		return 0;
	if (n->archive_kind == ARCHIVE_BLOB)
		return learn_blob(v, n, flags);
	r = read_manifest(v, n->parent, flags);
	if (r < 0 || atomic_load(&n->size) != NODE_SIZE_UNKNOWN)
		return r;
	if (n->archive_kind == ARCHIVE_MANIFEST) {
		atomic_store(&n->size, n->file->size > BLOB_HEADER_PLAIN ?
		    n->file->size - BLOB_HEADER_PLAIN : 0);
		return 0;
	}
	/* A directory's size says nothing. */
	if (node_is_archive(n)) {
		atomic_store(&n->size, 0);
		return 0;
	}
	return learn_index(v, n, flags);
}

int
snap_enter(struct vfs *v, struct node *snap, unsigned flags)
{
	bool archives = false, all = true;
	struct node *n;
	uint32_t i;
	int r;

	for (i = 0; i < snap->n_children; i++) {
		n = &snap->children[i];
		if (atomic_load(&n->size) != NODE_SIZE_UNKNOWN)
			continue;
		all = false;
		archives = archives || node_is_archive(n);
	}
	if (all)
		return 0;
	repo_prefetch_snap(v->repo, snap->snap);
	if (!archives)
		return 0;
	/* Whether an archive can be entered decides what it is shown as. */
	for (i = 0; i < snap->n_children; i++) {
		n = &snap->children[i];
		if (!node_is_archive(n))
			continue;
		r = snap_learn(v, n, flags);
		if (r < 0)
			return r;
	}
	return 0;
}
