/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/manifest_writer.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/manifest_priv.h"

/* Proxmox Backup writes control characters with small letters. */
static void
lower_escapes(char *text, size_t len)
{
	size_t i, k;

	for (i = 0; i + 1 < len; i++) {
		if (text[i] != '\\')
			continue;
		i++;
		for (k = 1; text[i] == 'u' && k <= 4; k++)
			text[i + k] = (char)tolower((unsigned char)text[i + k]);
	}
}

#define FORMAT (JSON_INDENT(2) | JSON_SORT_KEYS)

/*
 * The blob of a manifest.  json_dumps drops parts of names without an error
 * when memory runs out; json_dumpb asks for none to hold the text.
 */
static int
encode(const json_t *root, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	size_t len;
	char *text;

	len = json_dumpb(root, NULL, 0, FORMAT);
	if (len == 0)
		return -ENOMEM;
	/* Nothing that would not be read again. */
	if (len > MANIFEST_CONTENT_MAX)
		return -EFBIG;
	b = buf_new(len);
	if (b == NULL)
		return -ENOMEM;
	text = (char *)b->data;
	if (json_dumpb(root, text, len, FORMAT) != len)
		return -ENOMEM;
	if (!manifest_text_is_simple(text, len))
		return -EFBIG;
	lower_escapes(text, len);
	return blob_encode(text, len, true, ret);
}

static bool
is_utf8(const char *s)
{
	size_t left = strlen(s), n;

	for (; left > 0; s += n, left -= n) {
		n = str_utf8(s, left);
		if (n == 0)
			return false;
	}
	return true;
}

/* Takes value, which is NULL if there was no memory for it. */
static int
set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

static int
set_text(json_t *object, const char *key, const char *text)
{
	return set(object, key, json_string(text));
}

static int
set_number(json_t *object, const char *key, uint64_t v)
{
	if (v > INT64_MAX)
		return -EINVAL;
	return set(object, key, json_integer((json_int_t)v));
}

static int
set_notes(json_t *unprotected, const char *notes)
{
	if (!is_utf8(notes))
		return -EINVAL;
	return set_text(unprotected, "notes", notes);
}

static int
add_file(json_t *files, const struct manifest_file *f)
{
	char hex[DIGEST_HEX_LEN + 1];
	json_t *o = json_object();
	int r;

	if (o == NULL || json_array_append_new(files, o) < 0)
		return -ENOMEM;
	r = set_text(o, "crypt-mode", crypt_mode_name(f->crypt));
	if (r == 0)
		r = set_text(o, "csum", digest_hex(&f->csum, hex));
	if (r == 0)
		r = set_text(o, "filename", f->name);
	if (r == 0)
		r = set_number(o, "size", f->size);
	return r;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
check_names(const struct manifest *m)
{
	_cleanup_free_ const char **names = NULL;
	enum archive_kind kind;
	size_t i;

	names = calloc(m->n_files + 1, sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	for (i = 0; i < m->n_files; i++) {
		names[i] = m->files[i].name;
		kind = archive_kind(names[i]);
		if (kind == ARCHIVE_OTHER || kind == ARCHIVE_MANIFEST)
			return -EINVAL;
	}
	qsort(names, m->n_files, sizeof(*names), by_text);
	for (i = 1; i < m->n_files; i++)
		if (streq(names[i - 1], names[i]))
			return -EINVAL;
	return 0;
}

static int
set_files(json_t *root, const struct manifest *m)
{
	json_t *files = json_array();
	size_t i;
	int r;

	r = set(root, "files", files);
	for (i = 0; r == 0 && i < m->n_files; i++)
		r = add_file(files, &m->files[i]);
	return r;
}

static int
set_stats(json_t *unprotected, const struct manifest_upload_stats *s)
{
	json_t *o = json_object();
	int r;

	r = set(unprotected, "chunk_upload_stats", o);
	if (r == 0)
		r = set_number(o, "count", s->count);
	if (r == 0)
		r = set_number(o, "size", s->size);
	if (r == 0)
		r = set_number(o, "compressed_size", s->compressed_size);
	if (r == 0)
		r = set_number(o, "duplicates", s->duplicates);
	return r;
}

static int
set_signature(json_t *root, json_t *unprotected, const struct manifest *m,
    const struct enc_key *key)
{
	char fingerprint[FINGERPRINT_LEN + 1], hex[DIGEST_HEX_LEN + 1];
	struct digest d;
	int r;

	if (key == NULL)
		return set(root, "signature", json_null());
	r = manifest_sign(m, key, &d);
	if (r == 0)
		r = set_text(root, "signature", digest_hex(&d, hex));
	fingerprint_format(enc_key_fingerprint(key), fingerprint);
	if (r == 0)
		r = set_text(unprotected, "key-fingerprint", fingerprint);
	return r;
}

int
manifest_make(const struct manifest *m, const struct enc_key *key,
    const struct manifest_upload_stats *stats, struct buf **ret)
{
	json_auto_t *root = json_object();
	char utc[CLOCK_UTC_LEN + 1];
	json_t *unprotected;
	int r;

	if (!name_is_safe(m->id, strlen(m->id)) || m->time < 0 ||
	    clock_format_utc(utc, m->time) < 0)
		return -EINVAL;
	r = check_names(m);
	if (r < 0)
		return r;
	unprotected = json_object();
	r = set(root, "unprotected", unprotected);
	if (r == 0)
		r = set_text(root, "backup-id", m->id);
	if (r == 0)
		r = set_number(root, "backup-time", (uint64_t)m->time);
	if (r == 0)
		r = set_text(root, "backup-type", backup_type_name(m->type));
	if (r == 0)
		r = set_files(root, m);
	if (r == 0)
		r = set_signature(root, unprotected, m, key);
	if (r == 0 && m->notes != NULL)
		r = set_notes(unprotected, m->notes);
	if (r == 0 && stats != NULL)
		r = set_stats(unprotected, stats);
	return r < 0 ? r : encode(root, ret);
}

/*
 * UPID:node:pid:pstart:task:start:type:id:owner: - what Proxmox Backup would
 * not take as one hides the verify state from it.
 */
static bool
upid_is_valid(const char *upid)
{
	static const struct {
		unsigned min, max;	/* hexadecimal digits; 0: any text */
		bool empty;
	} field[] = {
	    {0, 0, false},	/* node */
	    {8, 8, false},
	    {8, 9, false},
	    {8, 16, false},
	    {8, 8, false},
	    {0, 0, false},	/* type */
	    {0, 0, true},	/* id */
	    {0, 0, false},	/* owner */
	};
	size_t i, len;

	if (!is_utf8(upid) || !str_starts(upid, "UPID:"))
		return false;
	upid += strlen("UPID:");
	for (i = 0; i < ARRAY_SIZE(field); i++) {
		len = strcspn(upid, ":");
		if (upid[len] != ':' || (len == 0 && !field[i].empty))
			return false;
		if (field[i].max > 0 ? len < field[i].min ||
		    len > field[i].max ||
		    strspn(upid, "0123456789abcdefABCDEF") != len :
		    strcspn(upid, " \t\r\n\f\v") < len)
			return false;
		upid += len + 1;
	}
	return *upid == '\0';
}

static int
set_verify(json_t *unprotected, const char *state, const char *upid)
{
	json_t *o;
	int r;

	if (upid == NULL || (!streq(state, "ok") && !streq(state, "failed")) ||
	    !upid_is_valid(upid))
		return -EINVAL;
	o = json_object();
	r = set(unprotected, "verify_state", o);
	if (r == 0)
		r = set_text(o, "state", state);
	if (r == 0)
		r = set_text(o, "upid", upid);
	return r;
}

static int
find_unprotected(json_t *root, json_t **ret)
{
	*ret = json_object_get(root, "unprotected");
	if (*ret != NULL && !json_is_null(*ret))
		return json_is_object(*ret) ? 0 : -EINVAL;
	*ret = json_object();
	return set(root, "unprotected", *ret);
}

int
manifest_edit(const struct manifest *m, const struct manifest_change *c,
    struct buf **ret)
{
	json_auto_t *root = NULL;
	json_t *unprotected;
	const char *why;
	int r;

	/* It has been parsed before, and the parser does not always say that it
	 * was memory that it lacked. */
	if (manifest_text_parse(m->json, &root, &why) < 0)
		return -ENOMEM;
	r = find_unprotected(root, &unprotected);
	if (r < 0)
		return r;
	if (c->notes != NULL && *c->notes == '\0')
		/* That there are none is no error. */
		(void)json_object_del(unprotected, "notes");
	else if (c->notes != NULL)
		r = set_notes(unprotected, c->notes);
	if (r == 0 && c->verify_state != NULL)
		r = set_verify(unprotected, c->verify_state, c->verify_upid);
	else if (r == 0 && c->verify_upid != NULL)
		r = -EINVAL;
	return r < 0 ? r : encode(root, ret);
}
