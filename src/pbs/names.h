/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_NAMES_H
#define PBS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypt/digest.h"

/*
 * Names of the datastore hierarchy and the object keys made of them.  Format
 * document sections 1.2 and 9.2.
 */
enum backup_type { BACKUP_CT, BACKUP_HOST, BACKUP_VM, BACKUP_TYPES };

#define NS_DEPTH_MAX 7
#define NS_LEN_MAX 256
/* Room for any key below the datastore prefix. */
#define KEY_MAX 1024

const char *backup_type_name(enum backup_type t);
/** backup_type_parse(text, len, ret): 0 or -EINVAL. */
int backup_type_parse(const char *text, size_t len, enum backup_type *ret);

/** name_is_safe(text, len): [A-Za-z0-9_][A-Za-z0-9._-]*, the rule of ids,
 * namespace components and archive names, and no longer than the name of a file
 * may be. */
#define NAME_LEN_MAX 255
bool name_is_safe(const char *text, size_t len);

/** ns_is_valid(ns): "" or safe components joined by '/', within the limits. */
bool ns_is_valid(const char *ns);

enum archive_kind {
	ARCHIVE_FIXED,		/* NAME.fidx */
	ARCHIVE_DYNAMIC,	/* NAME.didx that is no pxar part */
	ARCHIVE_PXAR,		/* NAME.pxar.didx */
	ARCHIVE_MPXAR,		/* NAME.mpxar.didx, metadata of a split archive */
	ARCHIVE_PPXAR,		/* NAME.ppxar.didx, its payload */
	ARCHIVE_BLOB,		/* NAME.blob */
	ARCHIVE_MANIFEST,	/* index.json.blob */
	ARCHIVE_OTHER,		/* not a file of a snapshot */
};

/** archive_kind(server_name): by its suffix; ARCHIVE_OTHER if not a safe name. */
enum archive_kind archive_kind(const char *server_name);
/** archive_is_index(server_name): whether it refers to chunks. */
bool archive_is_index(const char *server_name);

/**
 * archive_shown_name(server_name, ret): without .fidx, .didx or .blob, and for
 * trees also without .pxar or .mpxar.  ret has room for strlen + 1.
 */
void archive_shown_name(const char *server_name, char *ret);

/** group_id_cmp(a, b): numeric ids first, as numbers; then bytes. */
int group_id_cmp(const char *a, const char *b);

/*
 * What an object key below the datastore prefix names.  Pointers are into the
 * key given to key_parse and are not terminated.
 */
enum key_kind {
	KEY_OTHER,	/* none of ours: reported, never touched */
	KEY_CHUNK,	/* digest valid */
	KEY_BAD_CHUNK,	/* digest valid */
	KEY_NAMESPACE,	/* .namespace marker; ns valid */
	KEY_OWNER,	/* ns, type, id valid */
	KEY_NOTES,
	KEY_FILE,	/* ns, type, id, time, file: also .protected */
	KEY_IN_USE,
};

struct key_parts {
	enum key_kind kind;
	char ns[NS_LEN_MAX + 1];	/* "a/b", without the "ns" parts */
	enum backup_type type;
	const char *id;
	size_t id_len;
	int64_t time;
	const char *file;
	size_t file_len;
	struct digest digest;
};

/** key_parse(key, ret): never fails; what it does not know is KEY_OTHER. */
void key_parse(const char *key, struct key_parts *ret);

/** key_chunk(d, out): ".chunks/abcd/<hex>". */
#define KEY_CHUNK_LEN (8 + 5 + DIGEST_HEX_LEN)
void key_chunk(const struct digest *d, char out[KEY_CHUNK_LEN + 1]);

/**
 * key_file(out, ns, type, id, time, file): the key of a snapshot's file.
 * key_group(out, ns, type, id, file): of owner or notes of a group.
 * key_ns(out, ns, file): of the marker of a namespace.
 * With file "" each is the prefix, with its slash, of all that is in there.
 * out has KEY_MAX + 1 bytes.  0, -ENAMETOOLONG, or -ERANGE for a time that has
 * no name.
 */
#define KEY_NS_MARKER ".namespace"
int key_ns(char out[KEY_MAX + 1], const char *ns, const char *file);
int key_file(char out[KEY_MAX + 1], const char *ns, enum backup_type type,
    const char *id, int64_t time, const char *file);
int key_group(char out[KEY_MAX + 1], const char *ns, enum backup_type type,
    const char *id, const char *file);

/** owner_parse(text, len, ret): the auth-id of an owner file, malloc'ed;
 * -EBADMSG if its first line is none. */
int owner_parse(const char *text, size_t len, char **ret);

#endif
