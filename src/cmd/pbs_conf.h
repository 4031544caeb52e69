/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_PBS_CONF_H
#define CMD_PBS_CONF_H

#include <stddef.h>

struct options;
struct target;

/**
 * pbs_conf_load(dir, datastore, o, t):
 * Look up a datastore in the backup server's own datastore.cfg and, if it is
 * in S3, its endpoint in s3.cfg, which must not be readable for everybody.
 * Format document section 9.1.
 * Sets options in o as a section of our own file would, and t.  -ENOENT if
 * there is no such datastore; all errors with a message.
 */
int pbs_conf_load(const char *dir, const char *datastore, struct options *o,
    struct target *t);

/* Where a server has its configuration. */
#define PBS_CONF_DIR "/etc/proxmox-backup"

/** pbs_conf_at(text, path, out, len): of datastore.cfg, the name of the
 * datastore in that directory.  0, 1 if there is none. */
int pbs_conf_at(const char *text, const char *path, char *out, size_t len);
/** pbs_conf_locks(dir, path, ret): where a server on this host, with its
 * configuration in dir, has the locks of the datastore in that directory:
 * malloc'ed.  0, 1 if there is none. */
int pbs_conf_locks(const char *dir, const char *path, char **ret);

/*
 * The file format: "TYPE: ID" at the begin of a line, then indented lines
 * "KEY VALUE".
 */
typedef int pbs_conf_fn(void *arg, const char *key, const char *value);
/** pbs_conf_section(text, type, id, fn, arg): 0; 1 if there is no such
 * section; what fn returns if that is not 0. */
int pbs_conf_section(const char *text, const char *type, const char *id,
    pbs_conf_fn *fn, void *arg);
/** pbs_conf_property(text, key, dflt, out, len): a value of "a=b,c=d"; dflt
 * is the key that may be left out.  0, 1 if absent, -ENAMETOOLONG. */
int pbs_conf_property(const char *text, const char *key, const char *dflt,
    char *out, size_t len);

#endif
