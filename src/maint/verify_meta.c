/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "repo/repo.h"
#include "store/store.h"

#define MANIFEST_NAME "index.json.blob"
#define LOG_NAME "client.log.blob"
#define MANIFEST_STORED_MAX (16 * MIB + 4096)
/* A verification that begins later than that has not been. */
#define SKEW_S 86400

struct check {
	struct verify_one *one;
	struct verify_obj *obj;
};

static int
wrong(struct verify_obj *obj, const char *why)
{
	snprintf(obj->why, sizeof(obj->why), "%s", why);
	return -EBADMSG;
}

static int
check_manifest(void *arg, struct buf *b)
{
	struct check *c = arg;
	const char *why = "is damaged";
	struct manifest *m;
	int r;

	if (b == NULL)
		return wrong(c->obj, "is larger than it may be");
	r = manifest_parse(b->data, b->len, &m, &why);
	if (r < 0)
		return r == -EBADMSG ? wrong(c->obj, why) : r;
	r = keyring_check(repo_keys(c->one->v->o->repo), m, &m->key);
	if (r < 0) {
		manifest_unref(m);
		return r == -EBADMSG ? wrong(c->obj, "its signature is wrong: "
		    "it was not signed with the key that it names, or changed "
		    "since") : r;
	}
	manifest_unref(c->one->m);
	c->one->m = m;
	return 0;
}

/* 0 or -EBADMSG, of what the manifest says. */
static int
compare(struct verify_obj *obj, uint64_t size, const struct digest *csum)
{
	if (obj->mf == NULL)
		return 0;
	if (obj->mf->size != size) {
		snprintf(obj->why, sizeof(obj->why), "its size is %" PRIu64
		    ", the manifest says %" PRIu64, size, obj->mf->size);
		return -EBADMSG;
	}
	return digest_eq(&obj->mf->csum, csum) ? 0 :
	    wrong(obj, "its checksum is not what the manifest says");
}

/* One that can be parsed is of use even if it is wrong: each chunk proves
 * itself. */
static int
check_index(void *arg, struct buf *b)
{
	struct check *c = arg;
	const char *why = "is damaged";
	enum index_kind want = archive_kind(c->obj->name) == ARCHIVE_FIXED ?
	    INDEX_FIXED : INDEX_DYNAMIC;
	struct digest csum;
	struct index *x;
	int r;

	if (b == NULL)
		return wrong(c->obj, "is larger than it may be");
	r = index_open(b, &x, &why);
	if (r < 0)
		return r == -EBADMSG ? wrong(c->obj, why) : r;
	if (index_kind(x) != want) {
		index_unref(x);
		return wrong(c->obj, "is an index of another kind");
	}
	index_unref(c->obj->x);
	c->obj->x = x;
	csum = index_csum(x);
	r = compare(c->obj, index_size(x), &csum);
	if (r == 0 && !index_is_intact(x))
		r = wrong(c->obj, "checksum of the table differs from the "
		    "header's");
	return r;
}

static int
unpack(struct verify_obj *obj, const struct buf *b)
{
	_cleanup_(buf_unrefp) struct buf *plain = NULL;
	int r;

	r = blob_decode_with(b->data, b->len, BLOB_CONTENT_MAX, obj->key,
	    &plain);
	if (r == -ENOKEY)
		return 0;	/* its checksums are right */
	if (r != -EBADMSG)
		return r;
	return wrong(obj, blob_check(b->data, b->len) < 0 ?
	    "header or crc is wrong" : obj->key != NULL ?
	    "content is not authentic or cannot be unpacked" :
	    "content cannot be unpacked");
}

static int
check_blob(void *arg, struct buf *b)
{
	struct check *c = arg;
	struct verify *v = c->one->v;
	struct digest csum;
	int r;

	if (b == NULL)
		return wrong(c->obj, "is larger than it may be");
	csum = digest_of(b->data, b->len);
	r = compare(c->obj, b->len, &csum);
	if (r < 0)
		return r;
	/* What it unpacks to may be large, whatever its size. */
	LOCK(&v->unpack);
	return unpack(c->obj, b);
}

static void
look_at(struct verify_one *one, struct verify_obj *obj)
{
	struct verify *v = one->v;
	struct check c = {one, obj};
	char key[KEY_MAX + 1];
	struct look l = {
	    .key = key,
	    .etag = obj->f != NULL ? obj->f->etag : NULL,
	    .cached = v->o->cached || v->o->level < VERIFY_SAMPLE,
	    .arg = &c,
	};
	int err;

	switch (archive_kind(obj->name)) {
	case ARCHIVE_MANIFEST:
		l.max = MANIFEST_STORED_MAX;
		l.check = check_manifest;
		break;
	case ARCHIVE_FIXED:
	case ARCHIVE_DYNAMIC:
	case ARCHIVE_PXAR:
	case ARCHIVE_MPXAR:
	case ARCHIVE_PPXAR:
		l.max = INDEX_FILE_MAX;
		l.check = check_index;
		break;
	case ARCHIVE_BLOB:
	case ARCHIVE_OTHER:
		l.max = BLOB_STORED_MAX;
		l.check = check_blob;
		break;
	}
	err = key_file(key, one->group.ns, one->group.type, one->group.id,
	    one->s->time, obj->name);
	if (err < 0) {
		obj->verdict = VERDICT_UNKNOWN;
	} else {
		obj->verdict = verify_look(v, &l, &err);
	}
	if (obj->verdict == VERDICT_UNKNOWN)
		snprintf(obj->why, sizeof(obj->why), "%s",
		    verify_error_text(err));
	if (obj->verdict == VERDICT_MISSING)
		snprintf(obj->why, sizeof(obj->why), "is not in the store");
}

/* What the listing says of a blob. */
static void
look_at_listing(struct verify_one *one, struct verify_obj *obj)
{
	if (obj->f != NULL && (one->v->o->level == VERIFY_EXISTS ||
	    obj->mf == NULL || obj->f->size == obj->mf->size))
		return;
	look_at(one, obj);	/* before it is called wrong */
}

static void
check_obj(struct verify_one *one, struct verify_obj *obj)
{
	if (archive_kind(obj->name) == ARCHIVE_BLOB &&
	    one->v->o->level < VERIFY_SAMPLE)
		look_at_listing(one, obj);
	else
		look_at(one, obj);
}

static void
name_obj(struct verify_one *one, struct verify_obj *obj, const char *name,
    const struct manifest_file *mf)
{
	snprintf(obj->name, sizeof(obj->name), "%s", name);
	obj->f = tree_find_file(one->s, name);
	obj->mf = mf;
	if (mf != NULL && mf->crypt == CRYPT_ENCRYPT) {
		obj->encrypted = true;
		obj->key = one->m->key;
	}
}

/* What the manifest names, and the log, which it does not. */
static int
list_objs(struct verify_one *one)
{
	struct verify_obj *p;
	size_t n = 1;

	p = reallocarray(one->objs, one->m->n_files + 2, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	one->objs = p;
	memset(p + 1, 0, (one->m->n_files + 1) * sizeof(*p));
	for (size_t i = 0; i < one->m->n_files; i++) {
		const struct manifest_file *mf = &one->m->files[i];

		if (streq(mf->name, MANIFEST_NAME))
			continue;
		name_obj(one, &p[n++], mf->name, mf);
	}
	if (tree_find_file(one->s, LOG_NAME) != NULL &&
	    manifest_find(one->m, LOG_NAME) == NULL)
		name_obj(one, &p[n++], LOG_NAME, NULL);
	one->n_objs = n;
	return 0;
}

/* As far as its manifest tells, which the cache may know. */
static bool
is_recent(struct verify_one *one)
{
	struct verify *v = one->v;
	const int64_t now = clock_real_s();
	struct manifest *m;
	int64_t start;
	bool recent;

	if (v->o->since <= 0 ||
	    repo_manifest(v->o->repo, one->s, 0, &m) < 0)
		return false;
	recent = m->verify_state != NULL && streq(m->verify_state, "ok") &&
	    m->verify_upid != NULL &&
	    verify_upid_start(m->verify_upid, &start) == 0 &&
	    start > now - v->o->since && start < now + SKEW_S;
	manifest_unref(m);
	return recent;
}

static int
load(struct verify_one *one)
{
	int r;

	if (!one->told && one->wanted && is_recent(one)) {
		one->skipped = true;
		return 0;
	}
	one->objs = calloc(1, sizeof(*one->objs));
	if (one->objs == NULL)
		return -ENOMEM;
	one->n_objs = 1;
	name_obj(one, one->objs, MANIFEST_NAME, NULL);
	look_at(one, one->objs);
	/* Listed, and gone now: it was forgotten. */
	if (one->objs->verdict == VERDICT_MISSING)
		one->vanished = true;
	if (one->objs->verdict != VERDICT_GOOD)
		return 0;
	r = list_objs(one);
	for (size_t i = 1; r == 0 && i < one->n_objs; i++)
		if (one->wanted ||
		    archive_kind(one->objs[i].name) != ARCHIVE_BLOB)
			check_obj(one, &one->objs[i]);
	return r;
}

static void
run_load(struct work *w)
{
	struct verify_one *one = (struct verify_one *)w;
	struct verify *v = one->v;

	one->err = load(one);
	verify_done(v, 0);
}

void
verify_unload(struct verify_one *one)
{
	for (size_t i = 0; i < one->n_objs; i++)
		index_unref(one->objs[i].x);
	free(steal(&one->objs));
	one->n_objs = 0;
	manifest_unref(steal(&one->m));
	one->loaded = false;
}

int
verify_load(struct verify *v, struct verify_one *ones, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		struct verify_one *one = &ones[i];

		if (one->loaded || one->vanished || one->skipped)
			continue;
		one->loaded = true;
		one->work.fn = run_load;
		r = verify_start(v, &one->work, 0);
	}
	verify_wait(v);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = ones[i].err;
	return r < 0 ? r : verify_ended(v);
}
