/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/repo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "pbs/index.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "repo/chunks.h"
#include "repo/damage.h"
#include "repo/listing.h"
#include "repo/objects.h"
#include "repo/reader.h"
#include "repo/repo_priv.h"
#include "repo/tree.h"
#include "repo/tree_diff.h"
#include "store/store.h"

#define TIMEOUT_DEFAULT_MS 60000
/* A listing that never ends must not fill the memory: some 300 bytes each. */
#define OBJECTS_MAX ((size_t)1 << 24)

/* Where the objects of a listing go. */
struct lister {
	struct tree_builder *builder;
	struct listing *kept;		/* or NULL */
	size_t n;
};

static int
list_object(void *arg, const char *key, const struct store_object *o)
{
	struct lister *l = arg;
	int r;

	if (l->n++ == OBJECTS_MAX) {
		log_err("the listing of .cnt/ has more than %zu objects\n"
		    "hint: no datastore is that large; check the bucket",
		    OBJECTS_MAX);
		return -EOVERFLOW;
	}
	r = tree_builder_add(l->builder, key, o->size, o->mtime, o->etag);
	if (r == 0 && l->kept != NULL && store_key_is_valid(key))
		r = listing_add(l->kept, key, o);
	return r;
}

/* Names with "//" in them, folder markers of other programs and the like. */
static void
note_strange(void *arg, const char *name)
{
	struct repo *r = arg;
	LOCK(&r->lock);

	if (!str_starts(name, ".cnt/") || r->n_strange == TREE_IGNORED_MAX)
		return;
	for (size_t i = 0; i < r->n_strange; i++)
		if (streq(r->strange[i], name))
			return;
	r->strange[r->n_strange] = strdup(name);
	r->n_strange += r->strange[r->n_strange] != NULL;
}

static void
forget_strange(struct repo *r)
{
	LOCK(&r->lock);

	while (r->n_strange > 0)
		free(r->strange[--r->n_strange]);
}

static int
add_strange(struct repo *r, struct tree_builder *b)
{
	int err = 0;
	LOCK(&r->lock);

	for (size_t i = 0; err == 0 && i < r->n_strange; i++)
		err = tree_builder_ignore(b, r->strange[i], 1);
	return err;
}

static int
found_one(void *arg, const char *key, const struct store_object *o)
{
	(void)arg;
	(void)key;
	(void)o;
	return 1;
}

/* There is nothing in .cnt/: an empty datastore, or none?  A bucket that is in
 * use has a marker, all others have chunks or at least the place for them. */
static int
check_empty(struct repo *r)
{
	struct store_object o;
	int err;

	err = store_stat(r->store, ".in-use", deadline_in(r->timeout_ms), &o);
	if (err <= 0)
		return err;
	err = store_list(r->store, ".chunks/", NULL, found_one, NULL);
	if (err != 0)
		return err < 0 ? err : 0;
	err = store_stat(r->store, ".chunks", deadline_in(r->timeout_ms), &o);
	if (err <= 0)
		return err;
	log_err("%s: no datastore here: there are no groups, no chunks and no "
	    "marker\nhint: check the path, or the bucket and the name of the "
	    "datastore in it", r->name);
	return -ENOENT;
}

void
repo_keep_listing(struct repo *r, struct listing *l, int64_t listed_at)
{
	int err;

	err = listing_save(l, r->listing, listed_at);
	if (err < 0)
		log_warn("listing %s: cannot keep it: %s\nhint: a mount while "
		    "the store is away will show an older one or fail",
		    r->listing, strerror(-err));
}

/* The hierarchy as the store has it now. */
static int
list_tree(struct repo *r, struct tree **ret)
{
	struct lister l = {0};
	struct tree *t;
	int err;

	err = tree_builder_new(&l.builder);
	if (err < 0)
		return err;
	if (r->listing != NULL)
		err = listing_new(&l.kept);
	forget_strange(r);
	if (err == 0)
		err = store_list(r->store, ".cnt/", NULL, list_object, &l);
	if (err == 0 && l.n == 0)
		err = check_empty(r);
	if (err == 0)
		err = add_strange(r, l.builder);
	if (err != 0) {
		tree_builder_free(l.builder);
		goto out;
	}
	err = tree_builder_finish(l.builder, &t);
	if (err < 0)
		goto out;
	if (l.kept != NULL)
		repo_keep_listing(r, l.kept, t->listed_at);
	*ret = t;
out:
	listing_free(l.kept);
	return err;
}

bool
repo_is_outage(int err)
{
	switch (err) {
	case -EAGAIN:	/* throttled until the deadline was over */
	case -ECONNABORTED:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EHOSTDOWN:
	case -EHOSTUNREACH:
	case -ENETDOWN:
	case -ENETRESET:
	case -ENETUNREACH:
	case -ETIMEDOUT:
		return true;
	default:
		return false;
	}
}

/* The hierarchy as it was when the store could last be reached. */
static int
load_kept(struct repo *r, struct tree **ret)
{
	struct lister l = {0};
	struct tree *t;
	int64_t at = 0;
	int err;

	err = tree_builder_new(&l.builder);
	if (err < 0)
		return err;
	err = listing_load(r->listing, list_object, &l, &at);
	if (err < 0) {
		tree_builder_free(l.builder);
		if (err != -ENOENT)
			log_warn("listing %s: cannot use it: %s", r->listing,
			    err == -EBADMSG ? "it is damaged" : strerror(-err));
		return err;
	}
	err = tree_builder_finish(l.builder, &t);
	if (err < 0)
		return err;
	t->listed_at = at;
	*ret = t;
	return 0;
}

static int
open_tree(struct repo *r, bool kept_first)
{
	char when[CLOCK_UTC_LEN + 1] = "an unknown time";
	int err;

	if (kept_first && r->listing != NULL && load_kept(r, &r->tree) == 0)
		return 0;
	err = list_tree(r, &r->tree);
	/* A disk that fails, an answer that makes no sense: neither says
	 * that anything is gone. */
	if (err == 0 || (!repo_is_outage(err) && err != -EIO) ||
	    r->listing == NULL)
		return err;
	if (load_kept(r, &r->tree) < 0)
		return err;
	clock_format_utc(when, r->tree->listed_at);
	log_warn("%s cannot be reached (%s): showing what was in it at %s\n"
	    "hint: what is not in the cache cannot be read now; refresh when "
	    "the store is back", r->name, strerror(-err), when);
	r->offline = true;
	return 0;
}

int
repo_open(struct store *s, const struct repo_opts *o, struct repo **ret)
{
	const struct chunks_opts chunks = {
	    .memory = o->memory,
	    .fetchers = o->fetchers,
	    .decoders = o->decoders,
	    .timeout_ms = o->timeout_ms,
	};
	struct repo *r;
	int err;

	r = calloc(1, sizeof(*r));
	if (r == NULL)
		goto err_store;
	r->store = s;
	r->keys = o->keys != NULL ? keyring_ref(o->keys) : NULL;
	r->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms :
	    TIMEOUT_DEFAULT_MS;
	pthread_mutex_init(&r->lock, NULL);
	err = cond_init(&r->changed);
	if (err < 0)
		goto err_lock;
	r->name = strdup(o->name != NULL ? o->name : "the store");
	err = r->name == NULL ? -ENOMEM : 0;
	store_on_strange(s, note_strange, r);
	if (err == 0 && o->listing != NULL) {
		r->listing = strdup(o->listing);
		err = r->listing == NULL ? -ENOMEM : 0;
	}
	if (err == 0 && o->lock_dir != NULL) {
		r->lock_dir = strdup(o->lock_dir);
		err = r->lock_dir == NULL ? -ENOMEM : 0;
	}
	if (err == 0)
		err = damage_new(&r->damage);
	if (err == 0)
		err = open_tree(r, o->kept_first);
	if (err == 0)
		err = objects_new(s, r->damage, r->keys, r->timeout_ms,
		    &r->objects);
	if (err == 0)
		err = chunks_new(s, r->damage, &chunks, &r->chunks);
	if (err < 0) {
		repo_free(r);
		return err;
	}
	*ret = r;
	return 0;

err_lock:
	keyring_unref(r->keys);
	pthread_mutex_destroy(&r->lock);
	free(r);
	store_free(s);
	return err;
err_store:
	store_free(s);
	return -ENOMEM;
}

void
repo_shutdown(struct repo *r)
{
	store_shutdown(r->store);
	if (r->chunks != NULL)
		chunks_shutdown(r->chunks);
	if (r->objects != NULL)
		objects_shutdown(r->objects);
}

void
repo_free(struct repo *r)
{
	if (r == NULL)
		return;
	repo_shutdown(r);
	chunks_free(r->chunks);
	objects_free(r->objects);
	tree_unref(r->tree);
	forget_strange(r);
	damage_free(r->damage);
	keyring_unref(r->keys);
	store_free(r->store);
	free(r->listing);
	free(r->lock_dir);
	free(r->name);
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

struct store *
repo_store(struct repo *r)
{
	return r->store;
}

struct chunks *
repo_chunks(struct repo *r)
{
	return r->chunks;
}

struct damage *
repo_damage(struct repo *r)
{
	return r->damage;
}

struct tree *
repo_tree(struct repo *r)
{
	LOCK(&r->lock);
	return tree_ref(r->tree);
}

bool
repo_is_offline(struct repo *r)
{
	LOCK(&r->lock);
	return r->offline;
}

void
repo_begin_tree(struct repo *r)
{
	LOCK(&r->lock);

	while (r->refreshing)
		pthread_cond_wait(&r->changed, &r->lock);
	r->refreshing = true;
}

void
repo_end_tree(struct repo *r)
{
	LOCK(&r->lock);

	r->refreshing = false;
	pthread_cond_broadcast(&r->changed);
}

struct tree *
repo_swap_tree(struct repo *r, struct tree *new, bool listed)
{
	LOCK(&r->lock);
	struct tree *old = r->tree;

	r->tree = new;
	if (listed)
		r->offline = false;
	return old;
}

int
repo_refresh(struct repo *r, struct repo_changes *ret)
{
	return repo_refresh_tell(r, ret, NULL, NULL);
}

int
repo_refresh_tell(struct repo *r, struct repo_changes *ret,
    repo_change_fn *fn, void *arg)
{
	struct tree *new, *old = NULL;
	int err;

	repo_begin_tree(r);
	err = list_tree(r, &new);
	if (err == 0)
		old = repo_swap_tree(r, tree_ref(new), true);
	repo_end_tree(r);
	if (err < 0)
		return err;
	if (ret != NULL)
		tree_diff_tell(old, new, ret, fn, arg);
	tree_unref(old);
	tree_unref(new);
	return 0;
}

static int
get_object(struct repo *r, enum object_kind kind, const struct tree_file *f,
    unsigned flags, void **ret)
{
	struct object_want w;
	int err;

	err = object_want_file(&w, kind, f);
	if (err < 0)
		return err;
	return objects_get(r->objects, &w, flags, ret);
}

int
repo_manifest(struct repo *r, const struct tree_snap *s, unsigned flags,
    struct manifest **ret)
{
	const struct tree_file *f = tree_find_file(s, "index.json.blob");
	void *value;
	int err;

	if (f == NULL)
		return -ENOENT;
	err = get_object(r, OBJECT_MANIFEST, f, flags, &value);
	if (err == 0)
		*ret = value;
	return err;
}

int
repo_index(struct repo *r, const struct tree_file *f, unsigned flags,
    struct index **ret)
{
	void *value;
	int err;

	err = get_object(r, OBJECT_INDEX, f, flags, &value);
	if (err == 0)
		*ret = value;
	return err;
}

int
repo_blob(struct repo *r, const struct tree_file *f, unsigned flags,
    struct buf **ret)
{
	void *value;
	int err;

	err = get_object(r, OBJECT_BLOB, f, flags, &value);
	if (err == 0)
		*ret = value;
	return err;
}

const struct keyring *
repo_keys(struct repo *r)
{
	return r->keys;
}

/* The key of an encrypted archive, NULL for any other. */
static int
key_of(struct repo *r, const struct tree_file *f, unsigned flags,
    const struct enc_key **ret)
{
	const struct manifest_file *mf;
	struct manifest *m = NULL;
	int err;

	*ret = NULL;
	if (f->snap == NULL)
		return 0;
	err = repo_manifest(r, f->snap, flags, &m);
	if (err == -EBADMSG || err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	mf = manifest_find(m, f->name);
	if (mf != NULL && mf->crypt == CRYPT_ENCRYPT) {
		*ret = m->key;
		err = m->key == NULL ? -ENOKEY : 0;
	}
	manifest_unref(m);
	return err;
}

int
repo_reader(struct repo *r, const struct tree_file *f, unsigned flags,
    struct reader **ret)
{
	const struct enc_key *key;
	struct index *x = NULL;
	int err;

	err = key_of(r, f, flags, &key);
	if (err == 0)
		err = repo_index(r, f, flags, &x);
	if (err < 0)
		return err;
	err = reader_new_with(r->chunks, x, key, ret);
	index_unref(x);
	return err;
}

int
repo_text(struct repo *r, const struct tree_file *f, unsigned flags,
    struct buf **ret)
{
	void *value;
	int err;

	err = get_object(r, OBJECT_TEXT, f, flags, &value);
	if (err == 0)
		*ret = value;
	return err;
}

void
repo_prefetch_snap(struct repo *r, const struct tree_snap *s)
{
	const struct tree_file *f;
	struct object_want w;
	enum archive_kind kind;
	size_t i;

	/* The manifest goes first: the blobs are checked against it. */
	f = tree_find_file(s, "index.json.blob");
	if (f != NULL && object_want_file(&w, OBJECT_MANIFEST, f) == 0)
		objects_prefetch(r->objects, &w);
	for (i = 0; i < s->n_files; i++) {
		kind = archive_kind(s->files[i].name);
		if (kind == ARCHIVE_BLOB &&
		    object_want_file(&w, OBJECT_BLOB, &s->files[i]) == 0)
			objects_prefetch(r->objects, &w);
	}
}
