/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/manifest.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "pbs/blob.h"
#include "pbs/manifest_priv.h"

static const char *const mode_names[] = {
    [CRYPT_NONE] = "none",
    [CRYPT_SIGN] = "sign-only",
    [CRYPT_ENCRYPT] = "encrypt",
};

static const char no_memory[] = "out of memory";

const char *
crypt_mode_name(enum crypt_mode mode)
{
	return mode_names[mode];
}

/* The text of a string without NUL in it; NULL for anything else. */
static const char *
text_of(const json_t *v)
{
	const char *s = json_string_value(v);

	return s != NULL && strlen(s) == json_string_length(v) ? s : NULL;
}

static bool
is_absent(const json_t *v)
{
	return v == NULL || json_is_null(v);
}

/* The functions below return a static text if something is wrong, or NULL. */

static const char *
copy_text(const char *s, char **ret)
{
	*ret = strdup(s);
	return *ret == NULL ? no_memory : NULL;
}

/* Free-form: what is not as expected is as good as absent. */
static const char *
copy_optional(const json_t *v, char **ret)
{
	const char *s = text_of(v);

	return s == NULL ? NULL : copy_text(s, ret);
}

static const char *
read_mode(const json_t *v, enum crypt_mode *ret)
{
	const char *s = text_of(v);

	*ret = CRYPT_NONE;
	if (is_absent(v))
		return NULL;
	for (size_t i = 0; s != NULL && i < ARRAY_SIZE(mode_names); i++) {
		if (streq(s, mode_names[i])) {
			*ret = (enum crypt_mode)i;
			return NULL;
		}
	}
	return "crypt-mode of a file is unknown";
}

static const char *
read_file(const json_t *v, struct manifest_file *f)
{
	const char *name = text_of(json_object_get(v, "filename"));
	const char *csum = text_of(json_object_get(v, "csum"));
	const json_t *size = json_object_get(v, "size");
	enum archive_kind kind;

	if (name == NULL)
		return "a file has no name";
	kind = archive_kind(name);
	if (kind == ARCHIVE_OTHER || kind == ARCHIVE_MANIFEST)
		return "name of a file is not that of an archive";
	if (csum == NULL || digest_parse(csum, &f->csum) < 0)
		return "checksum of a file is none";
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return "size of a file is none";
	f->size = (uint64_t)json_integer_value(size);
	if (copy_text(name, &f->name) != NULL)
		return no_memory;
	return read_mode(json_object_get(v, "crypt-mode"), &f->crypt);
}

static int
cmp_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static const char *
check_unique(const struct manifest *m)
{
	const char *why = NULL;
	char **names;

	names = calloc(m->n_files + 1, sizeof(*names));
	if (names == NULL)
		return no_memory;
	for (size_t i = 0; i < m->n_files; i++)
		names[i] = m->files[i].name;
	qsort(names, m->n_files, sizeof(*names), cmp_names);
	for (size_t i = 1; i < m->n_files; i++)
		if (streq(names[i - 1], names[i]))
			why = "two files have the same name";
	free(names);
	return why;
}

static const char *
read_files(const json_t *v, struct manifest *m)
{
	const char *why;
	size_t n;

	if (!json_is_array(v))
		return "there is no list of files";
	n = json_array_size(v);
	m->files = calloc(n + 1, sizeof(*m->files));
	if (m->files == NULL)
		return no_memory;
	while (m->n_files < n) {
		why = read_file(json_array_get(v, m->n_files),
		    &m->files[m->n_files]);
		m->n_files++;
		if (why != NULL)
			return why;
	}
	return check_unique(m);
}

static const char *
read_unprotected(const json_t *v, struct manifest *m)
{
	const json_t *verify = json_object_get(v, "verify_state");
	const char *state = text_of(json_object_get(verify, "state"));
	const char *why;

	why = copy_optional(json_object_get(v, "notes"), &m->notes);
	if (why == NULL)
		why = copy_optional(json_object_get(v, "key-fingerprint"),
		    &m->key_fingerprint);
	if (why != NULL || state == NULL ||
	    (!streq(state, "ok") && !streq(state, "failed")))
		return why;
	why = copy_text(state, &m->verify_state);
	if (why == NULL)
		why = copy_optional(json_object_get(verify, "upid"),
		    &m->verify_upid);
	return why;
}

static const char *
read_manifest(const json_t *v, struct manifest *m)
{
	const char *type = text_of(json_object_get(v, "backup-type"));
	const char *id = text_of(json_object_get(v, "backup-id"));
	const json_t *when = json_object_get(v, "backup-time");
	const json_t *signature = json_object_get(v, "signature");
	char utc[CLOCK_UTC_LEN + 1];
	const char *why;

	if (!json_is_object(v))
		return "not a JSON object";
	if (type == NULL || backup_type_parse(type, strlen(type), &m->type) < 0)
		return "backup-type is none";
	if (id == NULL || !name_is_safe(id, strlen(id)))
		return "backup-id is none";
	if (!json_is_integer(when))
		return "backup-time is no integer";
	m->time = json_integer_value(when);
	if (m->time < 0 || clock_format_utc(utc, m->time) < 0)
		return "backup-time is out of range";
	if (copy_text(id, &m->id) != NULL)
		return no_memory;
	if (!is_absent(signature)) {
		if (text_of(signature) == NULL)
			return "signature is no text";
		if (copy_text(text_of(signature), &m->signature) != NULL)
			return no_memory;
	}
	why = read_files(json_object_get(v, "files"), m);
	if (why != NULL)
		return why;
	return read_unprotected(json_object_get(v, "unprotected"), m);
}

bool
manifest_text_is_simple(const char *text, size_t len)
{
	bool quoted = false;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c == '"')
			quoted = !quoted;
		else if (c == '\\' && quoted)
			i++;
		else if (!quoted && (c == ',' || c == '[' || c == '{'))
			n++;
	}
	return n <= MANIFEST_VALUES_MAX;
}

int
manifest_text_parse(const struct buf *text, json_t **ret, const char **ret_why)
{
	json_error_t e = {0};

	*ret_why = "too many values";
	if (!manifest_text_is_simple((const char *)text->data, text->len))
		return -EBADMSG;
	/* A NUL is allowed here so that one in the notes does no harm. */
	*ret = json_loadb((const char *)text->data, text->len,
	    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
	if (*ret != NULL)
		return 0;
	/* Not for every lack of memory there is a code. */
	if (json_error_code(&e) == json_error_out_of_memory ||
	    json_error_code(&e) == json_error_unknown) {
		*ret_why = no_memory;
		return -ENOMEM;
	}
	*ret_why = "not valid JSON";
	return -EBADMSG;
}

int
manifest_parse(const void *blob, size_t len, struct manifest **ret,
    const char **ret_why)
{
	json_auto_t *root = NULL;
	_cleanup_(manifest_unrefp) struct manifest *m = NULL;
	const char *why;
	int r;

	*ret_why = no_memory;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return -ENOMEM;
	m->refs = 1;
	r = blob_decode(blob, len, MANIFEST_CONTENT_MAX, &m->json);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		*ret_why = r == -ENOKEY ? "encrypted" : "damaged blob";
		return -EBADMSG;
	}
	r = manifest_text_parse(m->json, &root, ret_why);
	if (r < 0)
		return r;
	why = read_manifest(root, m);
	*ret_why = why;
	if (why != NULL)
		return why == no_memory ? -ENOMEM : -EBADMSG;
	*ret = steal(&m);
	return 0;
}

struct manifest *
manifest_ref(struct manifest *m)
{
	__atomic_add_fetch(&m->refs, 1, __ATOMIC_RELAXED);
	return m;
}

void
manifest_unref(struct manifest *m)
{
	if (m == NULL || __atomic_sub_fetch(&m->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (size_t i = 0; i < m->n_files; i++)
		free(m->files[i].name);
	free(m->files);
	free(m->id);
	free(m->notes);
	free(m->key_fingerprint);
	free(m->verify_state);
	free(m->verify_upid);
	free(m->signature);
	buf_unref(m->json);
	free(m);
}

void
manifest_unrefp(struct manifest **m)
{
	manifest_unref(*m);
}

const struct manifest_file *
manifest_find(const struct manifest *m, const char *name)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (streq(m->files[i].name, name))
			return &m->files[i];
	return NULL;
}
