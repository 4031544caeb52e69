/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_PASSPHRASE_H
#define CMD_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>

struct options;
struct secret;
struct stat;

/*
 * Passphrases and files with keys, from where people keep them, never from
 * the command line.
 */
#define PASSPHRASE_MAX 4096

/** passphrase_read_file(path, max, ret, ret_st): any file that can be read to
 * its end, not only a regular one; ret_st may be NULL.  0; -EFBIG; or -errno,
 * without a message. */
int passphrase_read_file(const char *path, size_t max, struct secret **ret,
    struct stat *ret_st);

/**
 * passphrase_load(o, ret):
 * From the first that is set: passphrase-file, passphrase-fd,
 * PBS3FS_PASSPHRASE, PBS_ENCRYPTION_PASSWORD, PBS_ENCRYPTION_PASSWORD_FILE,
 * systemd's credential pbs3fs.passphrase.  0; 1 none is set; or -errno, with a
 * message.  There may be several, one a line.
 */
int passphrase_load(const struct options *o, struct secret **ret);
/** passphrase_load_file(path, ret): from that file, which only its owner may
 * be able to read.  0 or -errno, with a message. */
int passphrase_load_file(const char *path, struct secret **ret);

/** passphrase_next(s, pos, ret, ret_len): the next line that is not empty,
 * from *pos on, which is 0 at first; false at the end.  The first line always
 * is one. */
bool passphrase_next(const struct secret *s, size_t *pos, const char **ret,
    size_t *ret_len);

/** passphrase_ask(prompt, ret): a line from the terminal, which does not show
 * it.  0; -ENOTTY there is no terminal; -ECANCELED nothing was typed. */
int passphrase_ask(const char *prompt, struct secret **ret);

#endif
