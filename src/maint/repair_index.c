/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/repair_priv.h"

#include <errno.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/str.h"
#include "maint/pick.h"
#include "pbs/index.h"
#include "pbs/manifest.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "store/store.h"

#define TIMEOUT_MS 60000
#define PUT_TIMEOUT_MS 600000

static bool
is_right(const struct index *x, const struct manifest_file *mf)
{
	struct digest csum = index_csum(x);

	return index_is_intact(x) && index_size(x) == mf->size &&
	    digest_eq(&csum, &mf->csum);
}

/* What a source has under that key, if the manifest says that it is it. */
static bool
take(const struct repairer *r, struct store *s, const char *key,
    const struct manifest_file *mf, struct buf **ret, struct index **ret_index)
{
	const struct store_get how = {
	    .max = INDEX_FILE_MAX,
	    .flags = STORE_FRESH,
	    .deadline = deadline_in(r->o->timeout_ms != 0 ?
		r->o->timeout_ms : TIMEOUT_MS),
	};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct index *x;
	const char *why;

	if (store_get(s, key, &how, &b, NULL) != 0 ||
	    index_open(b, &x, &why) < 0)
		return false;
	if (!is_right(x, mf)) {
		index_unref(x);
		return false;
	}
	*ret = steal(&b);
	*ret_index = x;
	return true;
}

static int
put(const struct repairer *r, const char *key, const struct buf *b)
{
	const struct store_put how = {.deadline = deadline_in(PUT_TIMEOUT_MS)};
	int err;

	if (r->o->dry_run)
		return 0;
	err = store_put(repo_store(r->o->repo), key, b->data, b->len, &how,
	    NULL);
	return err < 0 ? err : 0;
}

/* From the first source that has it: 0; 1 if none has. */
static int
heal(struct repairer *r, const struct tree_file *f,
    const struct manifest_file *mf, struct index **ret)
{
	_cleanup_(str_fini) struct str path = {0};
	char key[KEY_MAX + 1];
	int err;

	err = tree_file_key(f, key);
	pick_path(f->snap, f->name, &path);
	for (size_t i = 0; err == 0 && i < r->o->n_sources; i++) {
		const struct repair_source *s = &r->o->sources[i];
		_cleanup_(buf_unrefp) struct buf *b = NULL;
		struct index *x;

		if (!take(r, s->store, key, mf, &b, &x))
			continue;
		err = put(r, key, b);
		if (err < 0) {
			index_unref(x);
			return err;
		}
		*ret = x;
		LOCK(&r->lock);
		r->res->objects_healed++;
		repair_event(r, REPAIR_OBJECT_HEALED, key, str_get(&path),
		    s->name);
		return 0;
	}
	return err < 0 ? err : 1;
}

int
repair_index(struct repairer *r, const struct tree_file *f,
    const struct manifest_file *mf, struct index **ret)
{
	struct index *better = NULL;
	int err, r2;

	err = repo_index(r->o->repo, f, 0, ret);
	if (mf == NULL || (err == 0 && is_right(*ret, mf)) ||
	    (err < 0 && err != -EBADMSG && err != -ENOENT))
		return err;
	r2 = heal(r, f, mf, &better);
	if (r2 < 0) {
		if (err == 0)
			index_unref(*ret);
		return r2;
	}
	if (r2 == 0) {
		if (err == 0)
			index_unref(*ret);
		*ret = better;
		return 0;
	}
	/* What is right of it can be used all the same. */
	return err == 0 ? 1 : err;
}
