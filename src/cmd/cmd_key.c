/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/keys.h"
#include "cmd/master.h"
#include "cmd/option.h"
#include "cmd/passphrase.h"
#include "cmd/show.h"
#include "crypt/secret.h"
#include "pbs/enc_key.h"
#include "pbs/keyfile.h"

static int
write_out(const struct keyfile *f, const char *path, bool replace)
{
	_cleanup_(secret_freep) struct secret *text = NULL;
	struct iovec iov;
	int r;

	r = keyfile_write(f, false, &text);
	if (r == 0) {
		iov.iov_base = text->p;
		iov.iov_len = text->len;
		r = io_replace(AT_FDCWD, path, &iov, 1, 0600,
		    IO_SYNC | (replace ? 0 : IO_NOREPLACE));
	}
	if (r < 0)
		log_err("key file %s: %s", path, r == -EINVAL ?
		    "its hint is not UTF-8" : exits_why(r));
	return exits_of(r);
}

/* The key as a file with the kdf and the passphrase that are asked for. */
static int
lock(const struct options *o, const struct enc_key *k, bool no_old,
    const char *hint, struct keyfile **ret)
{
	_cleanup_(secret_freep) struct secret *pass = NULL;
	const char *p = NULL;
	size_t pos = 0, len = 0;
	enum keyfile_kdf kdf;
	int r, status;

	status = keys_kdf(o, &kdf);
	if (status == EXIT_OK && kdf != KEYFILE_NONE)
		status = keys_new_passphrase(o, no_old, &pass);
	if (status != EXIT_OK)
		return status;
	if (pass != NULL)
		passphrase_next(pass, &pos, &p, &len);
	r = keyfile_lock(k, kdf, p, len, hint, ret);
	if (r == -EINVAL) {
		log_err("the passphrase is too short: at least %d characters",
		    KEYFILE_PASSPHRASE_MIN);
		return EXIT_USAGE;
	}
	if (r < 0)
		log_err("cannot make a key: %s", exits_why(r));
	return exits_of(r);
}

static void
tell(const struct options *o, const struct enc_key *k, const char *path)
{
	char fp[FINGERPRINT_LEN + 1];

	if (o->quiet)
		return;
	fingerprint_format(enc_key_fingerprint(k), fp);
	log_info("%s: key %s", path, fp);
}

static int
create(const struct options *o, char **args, int n)
{
	_cleanup_(secret_freep) struct secret *raw = NULL;
	_cleanup_(enc_key_unrefp) struct enc_key *k = NULL;
	_cleanup_(keyfile_freep) struct keyfile *f = NULL;
	int r, status;

	(void)n;
	r = secret_new(ENC_KEY_LEN, &raw);
	if (r == 0)
		r = crypt_random(raw->p, ENC_KEY_LEN);
	if (r == 0)
		r = enc_key_new(raw->p, &k);
	if (r < 0) {
		log_err("cannot make a key: %s", exits_why(r));
		return exits_of(r);
	}
	status = lock(o, k, true, o->hint, &f);
	if (status == EXIT_OK)
		status = write_out(f, args[0], false);
	if (status == EXIT_OK)
		tell(o, k, args[0]);
	return status;
}

/* Without a passphrase where the file tells its fingerprint. */
static int
fingerprint(const struct options *o, const char *path,
    const struct keyfile *f, struct digest *ret)
{
	_cleanup_(secret_freep) struct secret *given = NULL;
	_cleanup_(enc_key_unrefp) struct enc_key *k = NULL;
	int status;

	if (f->has_fingerprint && f->kdf != KEYFILE_NONE) {
		*ret = f->fingerprint;
		return EXIT_OK;
	}
	if (f->kdf != KEYFILE_NONE && passphrase_load(o, &given) < 0)
		return EXIT_DENIED;
	status = keys_open(path, f, given, &k);
	if (status == EXIT_OK)
		*ret = *enc_key_fingerprint(k);
	return status;
}

static int
show(const struct options *o, char **args, int n)
{
	_cleanup_(keyfile_freep) struct keyfile *f = NULL;
	char fp[FINGERPRINT_LEN + 1], brief[FINGERPRINT_SHORT_LEN + 1];
	struct digest d;
	json_t *j;
	int status;

	(void)n;
	status = keys_read(args[0], &f);
	if (status == EXIT_OK)
		status = fingerprint(o, args[0], f, &d);
	if (status != EXIT_OK)
		return status;
	fingerprint_format(&d, fp);
	fingerprint_short(&d, brief);
	if (o->json) {
		j = json_pack("{s:s,s:s,s:s,s:s,s:s?}", "kdf",
		    keyfile_kdf_name(f->kdf), "created", f->created,
		    "modified", f->modified, "fingerprint", fp, "hint",
		    f->hint);
		if (j != NULL && show_json_name(j, "path", args[0]) == 0)
			json_dumpf(j, stdout, JSON_INDENT(2));
		json_decref(j);
		putchar('\n');
		return EXIT_OK;
	}
	printf("path         ");
	show_name(stdout, args[0]);
	printf("\nkdf          %s\ncreated      %s\nmodified     %s\n"
	       "fingerprint  %s\nshort        %s\n",
	    keyfile_kdf_name(f->kdf), f->created, f->modified, fp, brief);
	if (f->hint != NULL) {
		printf("hint         ");
		show_name(stdout, f->hint);
		putchar('\n');
	}
	return EXIT_OK;
}

static int
change_passphrase(const struct options *o, char **args, int n)
{
	_cleanup_(keyfile_freep) struct keyfile *old = NULL, *new = NULL;
	_cleanup_(secret_freep) struct secret *given = NULL;
	_cleanup_(enc_key_unrefp) struct enc_key *k = NULL;
	int status;

	(void)n;
	status = keys_read(args[0], &old);
	if (status != EXIT_OK)
		return status;
	if (old->kdf != KEYFILE_NONE && passphrase_load(o, &given) < 0)
		return EXIT_DENIED;
	status = keys_open(args[0], old, given, &k);
	/* The old hint would be one at the old passphrase. */
	if (status == EXIT_OK)
		status = lock(o, k, old->kdf == KEYFILE_NONE, o->hint, &new);
	if (status != EXIT_OK)
		return status;
	free(new->created);
	new->created = steal(&old->created);
	status = write_out(new, args[0], true);
	if (status == EXIT_OK)
		tell(o, k, args[0]);
	return status;
}

/* For a printer: what Proxmox Backup's tool prints, but for the picture. */
static int
export_paper(const struct options *o, char **args, int n)
{
	_cleanup_(keyfile_freep) struct keyfile *f = NULL;
	_cleanup_(secret_freep) struct secret *text = NULL;
	int r, status;

	(void)o;
	(void)n;
	status = keys_read(args[0], &f);
	if (status != EXIT_OK)
		return status;
	r = keyfile_write(f, true, &text);
	if (r < 0)
		return show_fail(args[0], r);
	printf("-----BEGIN PROXMOX BACKUP KEY-----\n");
	fwrite(text->p, 1, text->len, stdout);
	printf("\n-----END PROXMOX BACKUP KEY-----\n");
	return EXIT_OK;
}

static int
recover(const struct options *o, char **args, int n)
{
	_cleanup_(secret_freep) struct secret *text = NULL;
	_cleanup_(keyfile_freep) struct keyfile *in = NULL, *out = NULL;
	_cleanup_(enc_key_unrefp) struct enc_key *k = NULL;
	const char *why = NULL;
	int r, status;

	(void)n;
	status = master_open(o, args[0], args[1], &text);
	if (status != EXIT_OK)
		return status;
	r = keyfile_parse(text->p, text->len, &in, &why);
	if (r == 0 && in->kdf == KEYFILE_NONE)
		r = keyfile_open(in, NULL, 0, &k);
	else if (r == 0)
		r = -EBADMSG;
	if (r < 0) {
		log_err("%s: there is no key in it", args[1]);
		return exits_of(r);
	}
	status = lock(o, k, false, o->hint, &out);
	if (status == EXIT_OK) {
		free(out->created);
		out->created = steal(&in->created);
		status = write_out(out, args[2], false);
	}
	if (status == EXIT_OK)
		tell(o, k, args[2]);
	return status;
}

static int
create_master_key(const struct options *o, char **args, int n)
{
	(void)n;
	return master_create(o, args[0], args[1]);
}

static const struct verb {
	const char *name;
	int n_args;
	const char *args;
	int (*run)(const struct options *o, char **args, int n);
} verbs[] = {
    {"create", 1, "FILE", create},
    {"show", 1, "FILE", show},
    {"change-passphrase", 1, "FILE", change_passphrase},
    {"export-paper", 1, "FILE", export_paper},
    {"create-master-key", 2, "PRIVATE.pem PUBLIC.pem", create_master_key},
    {"recover", 3, "MASTER.pem BLOB FILE", recover},
};

int
cmd_key(struct options *o, char **args, int n)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (!streq(args[0], verbs[i].name))
			continue;
		if (n - 1 == verbs[i].n_args)
			return verbs[i].run(o, args + 1, n - 1);
		log_err("key %s: %s\nhint: pbs3fs key %s %s", args[0],
		    n - 1 < verbs[i].n_args ? "something is missing" :
		    "too many arguments", args[0], verbs[i].args);
		return EXIT_USAGE;
	}
	log_err("key: there is no action '%s'\nhint: create, show, "
	    "change-passphrase, export-paper, create-master-key or recover",
	    args[0]);
	return EXIT_USAGE;
}
