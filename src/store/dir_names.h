/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef STORE_DIR_NAMES_H
#define STORE_DIR_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "pbs/names.h"

/*
 * Which key is which file of a datastore directory.  The rule is told once, as
 * places in the tree of keys and what each may hold; looking up one key and
 * listing all of them both go by it, so they cannot disagree.
 */
enum dir_place {
	DIR_NOWHERE,   /* left out: no key leads there */
	DIR_ROOT,      /* of all keys */
	DIR_CHUNKS,    /* .chunks */
	DIR_CHUNK_SUB, /* .chunks/abcd */
	DIR_CNT,       /* .cnt: the datastore's own directory */
	DIR_NS_LIST,   /* "ns": its directories are namespaces */
	DIR_NS,        /* a namespace */
	DIR_BELOW,     /* a backup type and all below it */
	DIR_OBJECTS,   /* below .pbs3fs/objects */
};

#define DIR_OBJECTS_PATH ".pbs3fs/objects"
#define DIR_NAMESPACE ".namespace"
/* Room for any path below base. */
#define DIR_PATH_MAX (KEY_MAX + sizeof(DIR_OBJECTS_PATH))

/** dir_names_sub(place, name, len): where the subdirectory name leads. */
enum dir_place
dir_names_sub(enum dir_place place, const char *name, size_t len);

/** dir_names_file(place, name): whether a file of that name is an object. */
bool dir_names_file(enum dir_place place, const char *name);

/** dir_names_is_unfinished(name): of a file that is being written, or was, by
 * Proxmox Backup or by us. */
bool dir_names_is_unfinished(const char *name);

struct dir_name {
	char path[DIR_PATH_MAX + 1]; /* relative to base */
	enum dir_place place;        /* that the object is in */
	bool is_mark; /* .namespace: path is the directory itself */
	size_t keep;  /* bytes of path of the directories that stay
		       * when they become empty */
};

/** dir_names_of_key(key, ret): key is valid.  0, or 1 if a directory
 * datastore has no place for such an object. */
int dir_names_of_key(const char *key, struct dir_name *ret);

/** dir_names_of_prefix(prefix, ret): of the directory behind "" or "a/b/":
 * path and place.  0, or 1. */
int dir_names_of_prefix(const char *prefix, struct dir_name *ret);

#endif
