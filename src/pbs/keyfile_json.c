/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/keyfile.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "crypt/aead.h"
#include "crypt/base64.h"
#include "crypt/secret.h"
#include "pbs/enc_key.h"

/*
 * The text form of key files.  Jansson has copies of what it parses in memory
 * of its own, so the value of "data" is taken out of the text before it gets
 * there, and is written without its help.
 */

#define TIME_MAX 64
#define HINT_MAX 1024
#define DATA_TEXT_MAX BASE64_LEN(KEYFILE_DATA_MAX)

static const char no_memory[] = "out of memory";

/* The functions below return a static text if something is wrong, or NULL. */

static const char *
text_of(const json_t *v)
{
	const char *s = json_string_value(v);

	return s != NULL && strlen(s) == json_string_length(v) ? s : NULL;
}

static bool
number_of(const json_t *obj, const char *name, uint64_t *ret)
{
	const json_t *v = json_object_get(obj, name);

	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static const char *
read_salt(const json_t *params, struct keyfile *f)
{
	const char *s = text_of(json_object_get(params, "salt"));

	if (s == NULL || base64_decode(f->salt, sizeof(f->salt), s,
	    &f->salt_len) < 0)
		return "its salt is none";
	return NULL;
}

static const char *
read_kdf(const json_t *v, struct keyfile *f)
{
	const json_t *params;

	/* A missing one is none, too. */
	if (v == NULL || json_is_null(v))
		return NULL;
	if (!json_is_object(v) || json_object_size(v) != 1)
		return "its kdf is unknown";
	params = json_object_get(v, "Scrypt");
	if (params != NULL) {
		f->kdf = KEYFILE_SCRYPT;
		if (!number_of(params, "n", &f->n) ||
		    !number_of(params, "r", &f->r) ||
		    !number_of(params, "p", &f->p))
			return "a parameter of scrypt is missing";
		return read_salt(params, f);
	}
	params = json_object_get(v, "PBKDF2");
	if (params == NULL)
		return "its kdf is unknown";
	f->kdf = KEYFILE_PBKDF2;
	if (!number_of(params, "iter", &f->iter))
		return "a parameter of pbkdf2 is missing";
	return read_salt(params, f);
}

static const char *
read_time(const json_t *v, char **ret)
{
	const char *s = text_of(v);

	if (s == NULL || strlen(s) > TIME_MAX ||
	    s[strspn(s, "0123456789-+:.TZtz ")] != '\0')
		return "its dates are none";
	*ret = strdup(s);
	return *ret == NULL ? no_memory : NULL;
}

static const char *
read_rest(const json_t *v, struct keyfile *f)
{
	const json_t *fp = json_object_get(v, "fingerprint");
	const json_t *hint = json_object_get(v, "hint");
	const char *why;

	if (!json_is_object(v))
		return "it is not a JSON object";
	why = read_kdf(json_object_get(v, "kdf"), f);
	if (why == NULL)
		why = read_time(json_object_get(v, "created"), &f->created);
	if (why == NULL)
		why = read_time(json_object_get(v, "modified"), &f->modified);
	if (why != NULL)
		return why;
	if (fp != NULL && !json_is_null(fp)) {
		f->has_fingerprint = true;
		if (text_of(fp) == NULL ||
		    fingerprint_parse(text_of(fp), &f->fingerprint) < 0)
			return "its fingerprint is none";
	}
	if (hint == NULL || json_is_null(hint))
		return NULL;
	if (text_of(hint) == NULL || strlen(text_of(hint)) > HINT_MAX)
		return "its hint is none";
	f->hint = strdup(text_of(hint));
	return f->hint == NULL ? no_memory : NULL;
}

/*
 * Finds the value of the key "data" and replaces its characters by "A".  Only
 * a quoted word with a colon after it is a key; inside of other strings quotes
 * are escaped, so that "data" there has a backslash before its last quote.
 */
static const char *
take_data(char *text, struct keyfile *f)
{
	static const char key[] = "\"data\"";
	char *p = text, *end;
	char held;
	size_t len;

	for (;; p++) {
		p = strstr(p, key);
		if (p == NULL)
			return "there is no key in it";
		end = p + strlen(key);
		end += strspn(end, " \t\r\n");
		if (*end == ':')
			break;
	}
	p = end + 1;
	p += strspn(p, " \t\r\n");
	if (*p++ != '"')
		return "its key is not base64";
	end = strchr(p, '"');
	if (end == NULL || end - p > DATA_TEXT_MAX)
		return "its key has the wrong length";
	if (secret_new(KEYFILE_DATA_MAX, &f->data) < 0)
		return no_memory;
	held = *end;
	*end = '\0';
	len = 0;
	if (base64_decode(f->data->p, KEYFILE_DATA_MAX, p, &len) < 0)
		return "its key is not base64";
	*end = held;
	f->data->len = len;
	memset(p, 'A', (size_t)(end - p));
	return NULL;
}

static const char *
parse(char *text, struct keyfile *f)
{
	json_auto_t *root = NULL;
	json_error_t e;
	const char *why;

	why = take_data(text, f);
	if (why != NULL)
		return why;
	root = json_loads(text, JSON_REJECT_DUPLICATES, &e);
	if (root == NULL)
		return json_error_code(&e) == json_error_out_of_memory ?
		    no_memory : "it is not JSON";
	/* What was taken is what the parser sees there. */
	why = text_of(json_object_get(root, "data"));
	if (why == NULL || strspn(why, "A") != strlen(why) ||
	    strlen(why) != BASE64_LEN(f->data->len))
		return "its key is not base64";
	why = read_rest(root, f);
	if (why != NULL)
		return why;
	if (f->data->len != (f->kdf == KEYFILE_NONE ? ENC_KEY_LEN :
	    AEAD_IV_LEN + AEAD_TAG_LEN + ENC_KEY_LEN))
		return "its key has the wrong length";
	return NULL;
}

int
keyfile_parse(const void *p, size_t len, struct keyfile **ret,
    const char **ret_why)
{
	_cleanup_(keyfile_freep) struct keyfile *f = calloc(1, sizeof(*f));
	_cleanup_(secret_freep) struct secret *text = NULL;

	*ret_why = no_memory;
	if (f == NULL)
		return -ENOMEM;
	if (len > KEYFILE_MAX) {
		*ret_why = "it is too large";
		return -EBADMSG;
	}
	if (secret_copy(p, len, &text) < 0)
		return -ENOMEM;
	*ret_why = strlen((char *)text->p) != len ? "it is no text" :
	    parse((char *)text->p, f);
	if (*ret_why != NULL)
		return *ret_why == no_memory ? -ENOMEM : -EBADMSG;
	*ret = steal(&f);
	return 0;
}

static void
add_kdf(struct str *s, const struct keyfile *f, const char *line,
    const char *space)
{
	char salt[BASE64_LEN(sizeof(f->salt)) + 1];

	base64_encode(salt, f->salt, f->salt_len);
	str_addf(s, "\"kdf\":%s", space);
	if (f->kdf == KEYFILE_NONE) {
		str_add(s, "null");
		return;
	}
	/* line is the line end with one step of indentation, if any */
	str_addf(s, "{%s%.*s\"%s\":%s{", line, *line != '\0' ? 2 : 0, "  ",
	    f->kdf == KEYFILE_SCRYPT ? "Scrypt" : "PBKDF2", space);
	if (f->kdf == KEYFILE_SCRYPT)
		str_addf(s, "%s%.*s\"n\":%s%" PRIu64 ",%s%.*s\"r\":%s%" PRIu64
		    ",%s%.*s\"p\":%s%" PRIu64 ",", line,
		    *line != '\0' ? 4 : 0, "    ", space, f->n, line,
		    *line != '\0' ? 4 : 0, "    ", space, f->r, line,
		    *line != '\0' ? 4 : 0, "    ", space, f->p);
	else
		str_addf(s, "%s%.*s\"iter\":%s%" PRIu64 ",", line,
		    *line != '\0' ? 4 : 0, "    ", space, f->iter);
	str_addf(s, "%s%.*s\"salt\":%s\"%s\"%s%.*s}%s}", line,
	    *line != '\0' ? 4 : 0, "    ", space, salt, line,
	    *line != '\0' ? 2 : 0, "  ", line);
}

static int
add_hint(struct str *s, const struct keyfile *f, const char *line,
    const char *space)
{
	_cleanup_free_ char *text = NULL;
	json_t *v;

	if (f->hint == NULL)
		return 0;
	v = json_string(f->hint);
	text = v != NULL ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
	json_decref(v);
	/* Only UTF-8 can be written. */
	if (text == NULL)
		return -EINVAL;
	str_addf(s, ",%s\"hint\":%s%s", line, space, text);
	return 0;
}

/* In the order in which Proxmox Backup has it. */
int
keyfile_write(const struct keyfile *f, bool pretty, struct secret **ret)
{
	_cleanup_(str_fini) struct str head = {0}, tail = {0};
	const char *line = pretty ? "\n  " : "", *space = pretty ? " " : "";
	char fp[FINGERPRINT_LEN + 1];
	size_t data = BASE64_LEN(f->data->len);
	struct secret *s;
	int r;

	str_addf(&head, "{%s", line);
	add_kdf(&head, f, line, space);
	str_addf(&head, ",%s\"created\":%s\"%s\",%s\"modified\":%s\"%s\",%s"
	    "\"data\":%s\"", line, space, f->created, line, space,
	    f->modified, line, space);
	str_addc(&tail, '"');
	if (f->has_fingerprint) {
		fingerprint_format(&f->fingerprint, fp);
		str_addf(&tail, ",%s\"fingerprint\":%s\"%s\"", line, space,
		    fp);
	}
	r = add_hint(&tail, f, line, space);
	if (r < 0)
		return r;
	str_add(&tail, pretty ? "\n}" : "}");
	if (str_error(&head) < 0 || str_error(&tail) < 0)
		return -ENOMEM;
	r = secret_new(head.len + data + tail.len, &s);
	if (r < 0)
		return r;
	memcpy(s->p, str_get(&head), head.len);
	base64_encode((char *)s->p + head.len, f->data->p, f->data->len);
	memcpy(s->p + head.len + data, str_get(&tail), tail.len);
	*ret = s;
	return 0;
}
