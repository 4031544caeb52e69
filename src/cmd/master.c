/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/master.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "cmd/exits.h"
#include "cmd/keys.h"
#include "cmd/option.h"
#include "cmd/passphrase.h"
#include "crypt/rsa.h"
#include "crypt/secret.h"
#include "pbs/blob.h"
#include "pbs/enc_key.h"
#include "pbs/keyfile.h"

#define PEM_MAX 65536
#define BITS 4096

static int
write_pem(const char *path, const void *p, size_t len, mode_t mode)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = len};
	int r;

	r = io_replace(AT_FDCWD, path, &iov, 1, mode, IO_SYNC | IO_NOREPLACE);
	if (r < 0)
		log_err("%s: %s", path, exits_why(r));
	return exits_of(r);
}

int
master_create(const struct options *o, const char *private,
    const char *public)
{
	_cleanup_(secret_freep) struct secret *given = NULL, *pem = NULL;
	_cleanup_(buf_unrefp) struct buf *pub = NULL;
	const char *pass = NULL;
	enum keyfile_kdf kdf;
	size_t pos = 0, len = 0;
	int r, status;

	status = keys_kdf(o, &kdf);
	if (status == EXIT_OK && kdf != KEYFILE_NONE)
		status = keys_new_passphrase(o, true, &given);
	if (status != EXIT_OK)
		return status;
	if (given != NULL) {
		passphrase_next(given, &pos, &pass, &len);
		if (len < KEYFILE_PASSPHRASE_MIN) {
			log_err("the passphrase is too short: at least %d "
			    "characters", KEYFILE_PASSPHRASE_MIN);
			return EXIT_USAGE;
		}
		given->p[len] = '\0';
	}
	r = rsa_generate(BITS, pass, &pem, &pub);
	if (r < 0) {
		log_err("cannot make a master key: %s", exits_why(r));
		return exits_of(r);
	}
	status = write_pem(private, pem->p, pem->len, 0600);
	if (status != EXIT_OK)
		return status;
	status = write_pem(public, pub->data, pub->len, 0644);
	/* One without the other would stand in the way of the next try. */
	if (status != EXIT_OK)
		(void)unlink(private);
	return status;
}

/* Without a passphrase, as it is behind RSA. */
static int
key_text(const struct enc_key *k, struct secret **ret)
{
	_cleanup_(keyfile_freep) struct keyfile *f = NULL;
	char *created;
	int r;

	r = keyfile_lock(k, KEYFILE_NONE, NULL, 0, NULL, &f);
	if (r < 0)
		return r;
	if (enc_key_created(k) != NULL) {
		created = strdup(enc_key_created(k));
		if (created == NULL)
			return -ENOMEM;
		free(f->created);
		f->created = created;
	}
	return keyfile_write(f, false, ret);
}

int
master_seal(const char *path, const struct enc_key *k, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *pem = NULL;
	_cleanup_(secret_freep) struct secret *text = NULL;
	int r;

	r = io_read_file(AT_FDCWD, path, PEM_MAX, &pem);
	if (r < 0) {
		log_err("master key %s: %s", path, exits_why(r));
		return exits_of(r);
	}
	r = key_text(k, &text);
	if (r == 0)
		r = rsa_encrypt(pem->data, pem->len, text->p, text->len, ret);
	switch (r) {
	case 0:
		return EXIT_OK;
	case -EINVAL:
		log_err("master key %s: it is no RSA public key in PEM", path);
		return EXIT_USAGE;
	case -EFBIG:
		log_err("master key %s: it is too short for a key\nhint: one "
		    "of %d bits is long enough", path, BITS);
		return EXIT_USAGE;
	default:
		log_err("master key %s: %s", path, exits_why(r));
		return exits_of(r);
	}
}

/* The encrypted key: a blob as the store has it, or its content. */
static int
read_blob(const char *path, struct buf **ret)
{
	_cleanup_(buf_unrefp) struct buf *raw = NULL;
	enum blob_kind kind;
	int r;

	r = io_read_file(AT_FDCWD, path, KEYFILE_MAX, &raw);
	if (r == 0 && blob_kind(raw->data, raw->len, &kind) == 0)
		r = blob_decode(raw->data, raw->len, KEYFILE_MAX, ret);
	else if (r == 0)
		*ret = steal(&raw);
	if (r < 0)
		log_err("%s: %s", path, exits_why(r));
	return exits_of(r);
}

static int
decrypt(const struct options *o, const char *pem_path, const struct buf *blob,
    struct secret **ret)
{
	_cleanup_(secret_freep) struct secret *pem = NULL, *given = NULL;
	const char *pass = NULL;
	size_t pos = 0, len;
	int r;

	r = passphrase_read_file(pem_path, PEM_MAX, &pem, NULL);
	if (r < 0) {
		log_err("master key %s: %s", pem_path, exits_why(r));
		return exits_of(r);
	}
	r = rsa_decrypt(pem->p, pem->len, NULL, blob->data, blob->len, ret);
	if (r == -ENOKEY) {
		r = passphrase_load(o, &given);
		if (r == 1)
			r = passphrase_ask("passphrase of the master key: ",
			    &given);
		if (r < 0) {
			log_err("master key %s: it needs a passphrase",
			    pem_path);
			return EXIT_DENIED;
		}
		passphrase_next(given, &pos, &pass, &len);
		given->p[len] = '\0';
		r = rsa_decrypt(pem->p, pem->len, pass, blob->data, blob->len,
		    ret);
	}
	switch (r) {
	case 0:
		return EXIT_OK;
	case -ENOKEY:
		log_err("master key %s: wrong passphrase", pem_path);
		return EXIT_DENIED;
	case -EINVAL:
		log_err("master key %s: it is no RSA private key in PEM",
		    pem_path);
		return EXIT_USAGE;
	case -EBADMSG:
		log_err("master key %s: the backup's key was not encrypted "
		    "for it, or is damaged", pem_path);
		return EXIT_DENIED;
	default:
		log_err("master key %s: %s", pem_path, exits_why(r));
		return exits_of(r);
	}
}

int
master_open(const struct options *o, const char *pem, const char *blob,
    struct secret **ret)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int status;

	status = read_blob(blob, &b);
	return status == EXIT_OK ? decrypt(o, pem, b, ret) : status;
}
