/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/keys.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/passphrase.h"
#include "crypt/secret.h"
#include "pbs/enc_key.h"
#include "pbs/keyfile.h"
#include "pbs/keyring.h"

#define ATTEMPTS 3	/* at the terminal */

static void
warn_if_open(const char *path, const struct stat *st, const struct keyfile *f)
{
	if (S_ISREG(st->st_mode) && (st->st_mode & (S_IRWXG | S_IRWXO)) != 0)
		log_warn("key file %s: others can read it%s\nhint: chmod 600 "
		    "%s", path, f->kdf == KEYFILE_NONE ?
		    ", and it has no passphrase" : "", path);
}

int
keys_read(const char *path, struct keyfile **ret)
{
	_cleanup_(secret_freep) struct secret *text = NULL;
	const char *why;
	struct stat st;
	int r;

	r = passphrase_read_file(path, KEYFILE_MAX, &text, &st);
	if (r < 0) {
		log_err("key file %s: %s", path, exits_why(r));
		return exits_of(r);
	}
	r = keyfile_parse(text->p, text->len, ret, &why);
	if (r == -EBADMSG) {
		log_err("key file %s: it is damaged or none: %s", path, why);
		return EXIT_DAMAGED;
	}
	if (r < 0) {
		log_err("key file %s: %s", path, exits_why(r));
		return exits_of(r);
	}
	warn_if_open(path, &st, *ret);
	return EXIT_OK;
}

static int
try_all(const struct keyfile *f, const struct secret *given,
    struct enc_key **ret)
{
	int r = -EKEYREJECTED;
	const char *p;
	size_t pos = 0, len;

	while (r == -EKEYREJECTED && passphrase_next(given, &pos, &p, &len))
		r = keyfile_open(f, p, len, ret);
	return r;
}

static int
ask(const char *path, const struct keyfile *f, struct enc_key **ret)
{
	_cleanup_(str_fini) struct str prompt = {0};
	int r = -EKEYREJECTED;

	str_add(&prompt, "passphrase of ");
	str_escape(&prompt, path, strlen(path));
	if (f->hint != NULL) {
		str_add(&prompt, " (hint: ");
		str_escape(&prompt, f->hint, strlen(f->hint));
		str_add(&prompt, ")");
	}
	str_add(&prompt, ": ");
	if (str_error(&prompt) < 0)
		return -ENOMEM;
	for (int i = 0; r == -EKEYREJECTED && i < ATTEMPTS; i++) {
		_cleanup_(secret_freep) struct secret *s = NULL;

		if (i > 0)
			log_warn("key file %s: wrong passphrase", path);
		r = passphrase_ask(str_get(&prompt), &s);
		if (r == 0)
			r = keyfile_open(f, s->p, s->len, ret);
	}
	return r;
}

static int
explain(const char *path, const struct keyfile *f, int r)
{
	_cleanup_(str_fini) struct str hint = {0};

	switch (r) {
	case -EKEYREJECTED:
		if (f->hint != NULL) {
			str_add(&hint, "\nhint: the file says: ");
			str_escape(&hint, f->hint, strlen(f->hint));
		}
		log_err("key file %s: wrong passphrase%s", path,
		    str_get(&hint));
		return EXIT_DENIED;
	case -EBADMSG:
		log_err("key file %s: it is damaged: the key in it has "
		    "another fingerprint than it says", path);
		return EXIT_DAMAGED;
	case -ERANGE:
	case -ENOTSUP:
		log_err("key file %s: the parameters of its passphrase are %s",
		    path, r == -ERANGE ? "beyond reason" :
		    "not supported: scrypt's r is not 8");
		return EXIT_FAILED;
	case -ENOTTY:
		log_err("key file %s: it needs a passphrase, and there is no "
		    "terminal to ask for it\nhint: passphrase-file=FILE, or "
		    "PBS3FS_PASSPHRASE in the environment", path);
		return EXIT_DENIED;
	case -ECANCELED:
		log_err("key file %s: no passphrase was given", path);
		return EXIT_DENIED;
	default:
		log_err("key file %s: %s", path, exits_why(r));
		return exits_of(r);
	}
}

int
keys_open(const char *path, const struct keyfile *f,
    const struct secret *given, struct enc_key **ret)
{
	int r;

	if (f->kdf == KEYFILE_NONE)
		r = keyfile_open(f, NULL, 0, ret);
	else if (given != NULL)
		r = try_all(f, given, ret);
	else
		r = ask(path, f, ret);
	return r == 0 ? EXIT_OK : explain(path, f, r);
}

/* Passphrases are looked for once, and only if some file needs one. */
static int
load_one(const struct options *o, const char *path, struct secret **given,
    bool *looked, struct keyring *ring)
{
	_cleanup_(keyfile_freep) struct keyfile *f = NULL;
	_cleanup_(enc_key_unrefp) struct enc_key *k = NULL;
	int status;

	status = keys_read(path, &f);
	if (status == EXIT_OK && f->kdf != KEYFILE_NONE && !*looked) {
		*looked = true;
		if (passphrase_load(o, given) < 0)
			return EXIT_DENIED;
	}
	if (status == EXIT_OK)
		status = keys_open(path, f, *given, &k);
	if (status == EXIT_OK)
		status = exits_of(keyring_add(ring, k));
	return status;
}

int
keys_load(const struct options *o, struct keyring **ret)
{
	_cleanup_(secret_freep) struct secret *given = NULL;
	_cleanup_free_ char *list = NULL;
	int status = EXIT_OK;
	bool looked = false;
	char *path, *rest;

	*ret = NULL;
	if (o->keyfile == NULL)
		return EXIT_OK;
	/* What is read with them is not in locked memory.  A core would hold
	 * it, and others of the same user could look into it. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		log_warn("a core dump may hold what was encrypted: %s",
		    strerror(errno));
	list = strdup(o->keyfile);
	if (list == NULL || keyring_new(ret) < 0) {
		log_err("%s", exits_why(-ENOMEM));
		return EXIT_FAILED;
	}
	rest = list;
	while (status == EXIT_OK && (path = strsep(&rest, ":")) != NULL)
		if (*path != '\0')
			status = load_one(o, path, &given, &looked, *ret);
	if (status != EXIT_OK) {
		keyring_unref(*ret);
		*ret = NULL;
	}
	return status;
}

int
keys_kdf(const struct options *o, enum keyfile_kdf *ret)
{
	*ret = KEYFILE_SCRYPT;
	if (o->kdf == NULL || keyfile_kdf_parse(o->kdf, ret) == 0)
		return EXIT_OK;
	log_err("kdf: there is no '%s'\nhint: scrypt, pbkdf2 or none", o->kdf);
	return EXIT_USAGE;
}

int
keys_new_passphrase(const struct options *o, bool no_old, struct secret **ret)
{
	_cleanup_(secret_freep) struct secret *again = NULL;
	int r;

	if (o->new_passphrase_file != NULL)
		return passphrase_load_file(o->new_passphrase_file, ret) < 0 ?
		    EXIT_DENIED : EXIT_OK;
	r = no_old ? passphrase_load(o, ret) : 1;
	if (r <= 0)
		return r < 0 ? EXIT_DENIED : EXIT_OK;
	r = passphrase_ask("new passphrase: ", ret);
	if (r == 0)
		r = passphrase_ask("once more: ", &again);
	if (r < 0) {
		log_err("a passphrase is needed%s", r == -ENOTTY ?
		    ", and there is no terminal to ask for it\nhint: "
		    "new-passphrase-file=FILE, or kdf=none for a key without "
		    "one" : "");
		return EXIT_DENIED;
	}
	if (again->len == (*ret)->len &&
	    secret_equal(again->p, (*ret)->p, again->len))
		return EXIT_OK;
	log_err("the passphrases differ");
	return EXIT_USAGE;
}

/* In either form that people see. */
static bool
is_called(const struct enc_key *k, const char *name)
{
	char text[FINGERPRINT_LEN + 1], brief[FINGERPRINT_SHORT_LEN + 1];

	fingerprint_format(enc_key_fingerprint(k), text);
	fingerprint_short(enc_key_fingerprint(k), brief);
	return strcasecmp(name, text) == 0 || strcasecmp(name, brief) == 0;
}

int
keys_choose(const struct options *o, const struct keyring *ring,
    const struct enc_key **ret)
{
	*ret = NULL;
	if (o->crypt == OPTION_CRYPT_NONE)
		return EXIT_OK;
	if (keyring_count(ring) == 0) {
		log_err("crypt=%s: there is no key\nhint: keyfile=FILE; "
		    "pbs3fs key create makes one",
		    o->crypt == OPTION_CRYPT_ENCRYPT ? "encrypt" :
		    "sign-only");
		return EXIT_USAGE;
	}
	if (o->crypt_key == NULL) {
		*ret = keyring_at(ring, 0);
		return EXIT_OK;
	}
	for (size_t i = 0; i < keyring_count(ring); i++)
		if (is_called(keyring_at(ring, i), o->crypt_key)) {
			*ret = keyring_at(ring, i);
			return EXIT_OK;
		}
	log_err("crypt-key=%s: no key file has that key\nhint: pbs3fs key "
	    "show FILE tells the fingerprint", o->crypt_key);
	return EXIT_USAGE;
}
