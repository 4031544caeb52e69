/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/copy_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/pick.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "store/store.h"

#define MANIFEST "index.json.blob"
/* As Proxmox Backup accepts it. */
#define MANIFEST_STORED_MAX (MANIFEST_CONTENT_MAX + 4096)
#define TIMEOUT_MS 60000

static int
complain(const struct copy_snap *x, const char *name, const char *why,
    int err)
{
	_cleanup_(str_fini) struct str t = {0};

	pick_path(x->s, name, &t);
	log_err("%s: %s", str_get(&t), why);
	return err;
}

static int
get(const struct copy_snap *x, const struct tree_file *f, size_t max,
    unsigned flags, struct buf **ret)
{
	const struct copy_opts *o = x->c->o;
	const struct store_get how = {
	    .max = max,
	    .flags = flags,
	    .etag = f->etag[0] != '\0' ? f->etag : NULL,
	    .deadline = deadline_in(o->timeout_ms != 0 ? o->timeout_ms :
		TIMEOUT_MS),
	};
	char key[KEY_MAX + 1];
	int r;

	r = tree_file_key(f, key);
	if (r < 0)
		return r;
	r = store_get(repo_store(o->from), key, &how, ret, NULL);
	return r == 1 ? -ENOENT : r == -EFBIG ? -EBADMSG : r;
}

/* Fetched, and once more past all caches if it is no good. */
struct fetch {
	size_t max;
	/* -EBADMSG with *why. */
	int (*check)(struct copy_snap *x, struct buf *b, void *arg,
	    const char **why);
	void *arg;
};

static int
fetch(struct copy_snap *x, const struct tree_file *f, const struct fetch *how,
    struct buf **ret)
{
	const char *why = "is larger than it may be";
	struct buf *b = NULL;
	int r = 0;

	for (unsigned i = 0; i < 2; i++) {
		r = get(x, f, how->max, i == 0 ? 0 : STORE_FRESH, &b);
		if (r == 0)
			r = how->check(x, b, how->arg, &why);
		if (r == 0) {
			*ret = b;
			return 0;
		}
		buf_unref(steal(&b));
		if (r != -EBADMSG && r != -EBADE)
			break;
	}
	if (r == -ENOENT)
		why = "is missing";
	else if (r != -EBADMSG && r != -EBADE)
		return r;
	return complain(x, f->name, why, r);
}

static int
check_manifest(struct copy_snap *x, struct buf *b, void *arg,
    const char **why)
{
	const struct tree_group *g = x->s->group;
	_cleanup_(manifest_unrefp) struct manifest *m = NULL;
	int r;

	(void)arg;
	r = manifest_parse(b->data, b->len, &m, why);
	if (r < 0)
		return r;
	r = keyring_check(repo_keys(x->c->o->from), m, &m->key);
	if (r == -EBADMSG) {
		*why = "its signature is wrong";
		return -EBADE;
	}
	if (r < 0)
		return r;
	if (m->type != g->type || !streq(m->id, g->id) ||
	    m->time != x->s->time) {
		*why = "it is the manifest of another snapshot";
		return -EBADMSG;
	}
	x->m = steal(&m);
	return 0;
}

static int
check_index(struct copy_snap *x, struct buf *b, void *arg, const char **why)
{
	const struct manifest_file *mf = arg;
	struct each_file *e = &x->indices[x->n_indices];
	struct digest csum;
	struct index *i;
	int r;

	r = index_open(b, &i, why);
	if (r < 0)
		return r;
	csum = index_csum(i);
	if (index_size(i) != mf->size || !digest_eq(&csum, &mf->csum) ||
	    !index_is_intact(i)) {
		index_unref(i);
		*why = "is not what the manifest says";
		return -EBADMSG;
	}
	e->name = mf->name;
	e->index = i;
	e->encrypted = mf->crypt == CRYPT_ENCRYPT;
	e->key = e->encrypted ? x->m->key : NULL;
	x->n_indices++;
	return 0;
}

static int
check_blob(struct copy_snap *x, struct buf *b, void *arg, const char **why)
{
	const struct manifest_file *mf = arg;
	struct digest csum;

	(void)x;
	if (blob_check(b->data, b->len) < 0) {
		*why = "header or crc is wrong";
		return -EBADMSG;
	}
	if (mf == NULL)
		return 0;
	csum = digest_of(b->data, b->len);
	if (mf->size == b->len && digest_eq(&csum, &mf->csum))
		return 0;
	*why = "is not what the manifest says";
	return -EBADMSG;
}

static struct snapshot_file *
add_file(struct copy_snap *x, const char *name)
{
	struct snapshot_file *f = &x->files[x->n_files++];

	snprintf(f->name, sizeof(f->name), "%s", name);
	return f;
}

static int
load_listed(struct copy_snap *x, struct manifest_file *mf)
{
	const struct tree_file *f = tree_find_file(x->s, mf->name);
	enum archive_kind kind = archive_kind(mf->name);
	const struct fetch how = {
	    .max = kind == ARCHIVE_BLOB ? BLOB_STORED_MAX : INDEX_FILE_MAX,
	    .check = kind == ARCHIVE_BLOB ? check_blob : check_index,
	    .arg = mf,
	};
	struct snapshot_file *sf;

	if (kind == ARCHIVE_OTHER || kind == ARCHIVE_MANIFEST)
		return complain(x, mf->name, "is no name of an archive",
		    -EBADMSG);
	if (f == NULL)
		return complain(x, mf->name, "is missing", -ENOENT);
	sf = add_file(x, mf->name);
	sf->size = mf->size;
	sf->csum = mf->csum;
	return fetch(x, f, &how, &sf->data);
}

/* A client's log comes after the manifest was written. */
static int
load_unlisted(struct copy_snap *x, const struct tree_file *f)
{
	static const struct fetch how = {
	    .max = BLOB_STORED_MAX,
	    .check = check_blob,
	};
	_cleanup_(str_fini) struct str t = {0};

	if (archive_kind(f->name) == ARCHIVE_BLOB)
		return fetch(x, f, &how, &add_file(x, f->name)->data);
	pick_path(x->s, f->name, &t);
	copier_event(x->c, COPY_LEFT, str_get(&t), "");
	return 0;
}

static int
load_files(struct copy_snap *x)
{
	const struct tree_snap *s = x->s;
	int r = 0;

	x->files = calloc(x->m->n_files + s->n_files, sizeof(*x->files));
	x->indices = calloc(x->m->n_files + 1, sizeof(*x->indices));
	if (x->files == NULL || x->indices == NULL)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < x->m->n_files; i++)
		r = load_listed(x, &x->m->files[i]);
	for (size_t i = 0; r == 0 && i < s->n_files; i++)
		if (!streq(s->files[i].name, MANIFEST) &&
		    manifest_find(x->m, s->files[i].name) == NULL)
			r = load_unlisted(x, &s->files[i]);
	return r;
}

int
copy_load(struct copy_snap *x)
{
	static const struct fetch how = {
	    .max = MANIFEST_STORED_MAX,
	    .check = check_manifest,
	};
	const struct tree_file *f = tree_find_file(x->s, MANIFEST);
	int r;

	if (f == NULL)
		return complain(x, MANIFEST, "is missing", -ENOENT);
	r = fetch(x, f, &how, &x->manifest);
	return r < 0 ? r : load_files(x);
}

void
copy_unload(struct copy_snap *x)
{
	for (size_t i = 0; i < x->n_files; i++)
		buf_unref(x->files[i].data);
	for (size_t i = 0; i < x->n_indices; i++)
		index_unref(x->indices[i].index);
	free(x->files);
	free(x->indices);
	manifest_unref(x->m);
	buf_unref(x->manifest);
}
