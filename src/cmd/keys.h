/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_KEYS_H
#define CMD_KEYS_H

#include <stdbool.h>

#include "pbs/keyfile.h"

struct enc_key;
struct keyring;
struct options;
struct secret;

/*
 * Key files, opened with the passphrases that the options tell of or the
 * terminal is asked for.  All return an exit status, after a message.
 */

/** keys_read(path, ret): the file, still locked. */
int keys_read(const char *path, struct keyfile **ret);

/** keys_open(path, f, given, ret): given, if not NULL, are passphrases to
 * be tried, and the terminal is not asked. */
int keys_open(const char *path, const struct keyfile *f,
    const struct secret *given, struct enc_key **ret);

/** keys_load(o, ret): those of keyfile; NULL if there are none.  From then on
 * this process leaves no core. */
int keys_load(const struct options *o, struct keyring **ret);

/** keys_choose(o, ring, ret): that of crypt, borrowed from ring, which may be
 * NULL; NULL: crypt=none. */
int keys_choose(const struct options *o, const struct keyring *ring,
    const struct enc_key **ret);

/** keys_kdf(o, ret): that of kdf. */
int keys_kdf(const struct options *o, enum keyfile_kdf *ret);
/** keys_new_passphrase(o, no_old, ret): of a file that is written: from
 * new-passphrase-file; else, where there is no old one to be asked for, from
 * where passphrases are; else from the terminal, twice. */
int keys_new_passphrase(const struct options *o, bool no_old,
    struct secret **ret);

#endif
