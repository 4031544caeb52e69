/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_TARGET_H
#define CMD_TARGET_H

#include <stdbool.h>

struct options;

/*
 * What STORE on the command line names.
 */
struct target {
	bool is_s3;
	char *name;		/* as it was written, for messages */
	char *path;		/* of a directory */
	char *bucket, *datastore;
	char *access, *secret;	/* from s3.cfg, else NULL */
};

/**
 * target_parse(store, o, ret):
 * "s3://BUCKET/DATASTORE", an absolute path, a section of the configuration
 * file, or with pbs-config a datastore of datastore.cfg.  Options that the
 * section gives are set in o, below what the user set.  The file's options
 * for all stores are applied in any case.  0 or -errno, with a message.
 */
int target_parse(const char *store, struct options *o, struct target *ret);
void target_fini(struct target *t);

#endif
