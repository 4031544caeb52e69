/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_MASTER_H
#define CMD_MASTER_H

struct buf;
struct enc_key;
struct options;
struct secret;

/*
 * The RSA master key: with its public part each backup takes its own key along
 * as rsa-encrypted.key, with the private part that is opened.  Format document
 * section 8.2.  All return an exit status, after a message.
 */

/** master_create(o, private, public): a new one, as two files in PEM that must
 * not exist. */
int master_create(const struct options *o, const char *private,
    const char *public);
/** master_seal(path, k, ret): the content of rsa-encrypted.key for the public
 * key in that file. */
int master_seal(const char *path, const struct enc_key *k, struct buf **ret);
/** master_open(o, pem, blob, ret): the key file in one, with the private key in
 * the file pem; blob is a file, as a store or as a mount has it. */
int master_open(const struct options *o, const char *pem, const char *blob,
    struct secret **ret);

#endif
