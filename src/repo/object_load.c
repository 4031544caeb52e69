/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/object_load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/num.h"
#include "pbs/blob.h"
#include "pbs/index.h"
#include "pbs/keyring.h"
#include "pbs/manifest.h"
#include "repo/damage.h"
#include "store/store.h"

#define TEXT_MAX MIB
/* Proxmox Backup accepts no larger blob. */
#define MANIFEST_MAX (16 * MIB + 4096)
#define WHY_MAX 320

void *
object_ref(enum object_kind kind, void *value)
{
	switch (kind) {
	case OBJECT_MANIFEST:
		return manifest_ref(value);
	case OBJECT_INDEX:
		return index_ref(value);
	case OBJECT_BLOB:
	case OBJECT_TEXT:
		break;
	}
	return buf_ref(value);
}

void
object_unref(enum object_kind kind, void *value)
{
	switch (kind) {
	case OBJECT_MANIFEST:
		manifest_unref(value);
		return;
	case OBJECT_INDEX:
		index_unref(value);
		return;
	case OBJECT_BLOB:
	case OBJECT_TEXT:
		break;
	}
	buf_unref(value);
}

void
object_expect_from(const struct manifest *m, const char *name,
    struct object_expect *ret)
{
	const struct manifest_file *f = manifest_find(m, name);

	memset(ret, 0, sizeof(*ret));
	ret->key = m->key;
	if (f == NULL)
		return;
	ret->known = true;
	ret->size = f->size;
	ret->csum = f->csum;
}

/* Of an index: to be reported, and used. */
#define SUSPECT 1

static size_t
max_of(enum object_kind kind)
{
	switch (kind) {
	case OBJECT_MANIFEST:
		return MANIFEST_MAX;
	case OBJECT_INDEX:
		return INDEX_FILE_MAX;
	case OBJECT_BLOB:
		return BLOB_STORED_MAX;
	case OBJECT_TEXT:
		break;
	}
	return TEXT_MAX;
}

static int
expected(const struct object_load *l, struct object_expect *ret)
{
	memset(ret, 0, sizeof(*ret));
	return l->expect != NULL ? l->expect(l->arg, ret) : 0;
}

/* -EBADMSG if the manifest tells otherwise. */
static int
compare(const struct object_expect *x, uint64_t size,
    const struct digest *csum, char why[WHY_MAX])
{
	char is[DIGEST_HEX_LEN + 1], should[DIGEST_HEX_LEN + 1];

	if (!x->known || (x->size == size && digest_eq(&x->csum, csum)))
		return 0;
	snprintf(why, WHY_MAX, "size %" PRIu64 " and checksum %s, but the "
	    "manifest says size %" PRIu64 " and checksum %s",
	    size, digest_hex(csum, is), x->size, digest_hex(&x->csum, should));
	return -EBADMSG;
}

static int
parse_manifest(const struct object_load *l, const struct buf *raw, void **ret,
    uint64_t *ret_cost, char why[WHY_MAX])
{
	const char *text = "damaged";
	struct manifest *m;
	int r;

	r = manifest_parse(raw->data, raw->len, &m, &text);
	if (r == -EBADMSG)
		snprintf(why, WHY_MAX, "%s", text);
	if (r < 0)
		return r;
	r = keyring_check(l->keys, m, &m->key);
	if (r == -EBADMSG) {
		snprintf(why, WHY_MAX, "its signature is wrong: it was not "
		    "signed with the key that it names, or changed since");
		r = -OBJECT_EFORGED;
	}
	if (r < 0) {
		manifest_unref(m);
		return r;
	}
	*ret = m;
	*ret_cost = 4 * (uint64_t)m->json->len;
	return 0;
}

/*
 * A wrong checksum means that some entry of the table is wrong; which one
 * shows when its chunk is read, for a chunk proves itself.  So the rest stays
 * readable: SUSPECT, with why.  Of a wrong size nothing can be said; and with a
 * key nobody but its owner may decide which chunks make an archive.
 */
static int
parse_index(const struct object_load *l, struct buf *raw, void **ret,
    uint64_t *ret_cost, char why[WHY_MAX])
{
	const char *text = "damaged";
	struct object_expect e;
	struct digest csum;
	struct index *x;
	int r;

	r = index_open(raw, &x, &text);
	if (r == -EBADMSG)
		snprintf(why, WHY_MAX, "%s", text);
	if (r < 0)
		return r;
	csum = index_csum(x);
	r = expected(l, &e);
	if (r < 0) {
		index_unref(x);
		return r;
	}
	r = compare(&e, index_size(x), &csum, why);
	if (r == 0 && !index_is_intact(x)) {
		snprintf(why, WHY_MAX,
		    "checksum of the table differs from the header's");
		r = -EBADMSG;
	}
	if (r < 0 && ((e.known && e.size != index_size(x)) ||
	    e.key != NULL)) {
		index_unref(x);
		return r;
	}
	*ret = x;
	*ret_cost = raw->len;
	return r < 0 ? SUSPECT : 0;
}

static int
parse_blob(const struct object_load *l, const struct buf *raw, void **ret,
    uint64_t *ret_cost, char why[WHY_MAX])
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct object_expect e;
	struct digest csum;
	int r, decoded;

	r = expected(l, &e);
	if (r < 0)
		return r;
	decoded = blob_decode_with(raw->data, raw->len, BLOB_CONTENT_MAX,
	    e.key, &b);
	if (decoded == -EBADMSG)
		snprintf(why, WHY_MAX, "%s", blob_check(raw->data,
		    raw->len) < 0 ? "header or crc is wrong" :
		    e.key != NULL ? "content is not authentic or cannot be "
		    "unpacked" : "content cannot be unpacked");
	if (decoded < 0 && decoded != -ENOKEY)
		return decoded;
	/* One that is encrypted can still be damaged. */
	if (e.known) {
		csum = digest_of(raw->data, raw->len);
		r = compare(&e, raw->len, &csum, why);
		if (r < 0)
			return r;
	}
	if (decoded < 0)
		return decoded;
	*ret_cost = b->len;
	*ret = steal(&b);
	return 0;
}

static int
attempt(const struct object_load *l, unsigned flags, void **ret,
    uint64_t *ret_cost, char why[WHY_MAX])
{
	const struct store_get how = {
	    .max = max_of(l->id->kind),
	    .flags = flags,
	    .deadline = l->deadline,
	    .etag = l->id->etag[0] != '\0' ? l->id->etag : NULL,
	};
	_cleanup_(buf_unrefp) struct buf *raw = NULL;
	int r;

	r = store_get(l->store, l->id->key, &how, &raw, NULL);
	if (r == 1)
		return -ENOENT;
	if (r == -EFBIG) {
		snprintf(why, WHY_MAX, "larger than it may be");
		return -EBADMSG;
	}
	/* Throttled, and not "ask again without STORE_LOCAL". */
	if (r == -EAGAIN && !(flags & STORE_LOCAL))
		return -EIO;
	if (r < 0)
		return r;
	switch (l->id->kind) {
	case OBJECT_MANIFEST:
		return parse_manifest(l, raw, ret, ret_cost, why);
	case OBJECT_INDEX:
		return parse_index(l, raw, ret, ret_cost, why);
	case OBJECT_BLOB:
		return parse_blob(l, raw, ret, ret_cost, why);
	case OBJECT_TEXT:
		break;
	}
	*ret_cost = raw->len;
	*ret = steal(&raw);
	return 0;
}

/* What depends on a forged manifest is not damaged itself. */
static bool
is_damage(const struct object_load *l, int r)
{
	return r == -EBADMSG ||
	    (r == -OBJECT_EFORGED && l->id->kind == OBJECT_MANIFEST);
}

int
object_load(const struct object_load *l, void **ret, uint64_t *ret_cost)
{
	char why[WHY_MAX] = "damaged";
	int r;

	r = attempt(l, l->local ? STORE_LOCAL : 0, ret, ret_cost, why);
	if (!is_damage(l, r) && r != SUSPECT)
		return r;
	if (r == SUSPECT)
		index_unref(steal(ret));
	/* Another look at it takes the store. */
	if (l->local)
		return -EAGAIN;
	r = attempt(l, STORE_FRESH, ret, ret_cost, why);
	if (is_damage(l, r) || r == SUSPECT)
		damage_object(l->damage, l->id->key, why);
	return r == SUSPECT ? 0 : r;
}
