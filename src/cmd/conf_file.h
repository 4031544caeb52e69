/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_CONF_FILE_H
#define CMD_CONF_FILE_H

#include <stdbool.h>

struct options;

#define CONF_FILE_DEFAULT PBS3FS_SYSCONFDIR "/pbs3fs.conf"
#define CONF_FILE_ENV "PBS3FS_CONFIG"

/**
 * conf_file_load(o, section, ret_found):
 * Read the configuration file (o->config, else PBS3FS_CONFIG, else the
 * default one, which may be absent), set what stands before the first section
 * and, if section is not NULL, what stands in it.  The whole file is checked.
 * 0 or -errno, with a message.
 */
int conf_file_load(struct options *o, const char *section, bool *ret_found);

/** conf_file_parse(o, text, name, section, ret_found): the same of a text. */
int conf_file_parse(struct options *o, const char *text, const char *name,
    const char *section, bool *ret_found);

/** conf_file_path(o): which file it is. */
const char *conf_file_path(const struct options *o);

#endif
