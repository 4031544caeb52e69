/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_KEYS_H
#define CMD_KEYS_H

struct enc_key;
struct keyfile;
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

/** keys_load(o, ret): those of keyfile; NULL if there are none. */
int keys_load(const struct options *o, struct keyring **ret);

#endif
