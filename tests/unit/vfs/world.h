/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_VFS_WORLD_H
#define UNIT_VFS_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "pbs/names.h"
#include "vfs/vfs.h"

struct mk;
struct slow_store;

/*
 * Datastores for the tests of the tree: snapshots put together file by file,
 * in a store that counts what is fetched.
 */
#define T1 1704067200		/* 2024-01-01T00:00:00Z */
#define T2 (T1 + 86400)
#define T3 (T2 + 86400)
#define WORLD_CHUNK (64 * 1024)

struct snap_maker {
	struct slow_store *s;
	const char *ns;
	enum backup_type type;
	const char *id;
	int64_t time;
	const char *crypt;	/* crypt-mode of what is added; NULL: none */
	size_t chunk;		/* of what is added; 0: WORLD_CHUNK */
	struct str files;
};

void snap_begin(struct snap_maker *m, struct slow_store *s, const char *ns,
    enum backup_type type, const char *id, int64_t time);
/** snap_dynamic, snap_fixed: a stream, cut every m->chunk bytes. */
void snap_dynamic(struct snap_maker *m, const char *name, const void *p,
    size_t len);
void snap_fixed(struct snap_maker *m, const char *name, const void *p,
    size_t len);
void snap_blob(struct snap_maker *m, const char *name, const void *p,
    size_t len);
/** snap_put(m, name, p, len): any object, not in the manifest. */
void snap_put(struct snap_maker *m, const char *name, const void *p,
    size_t len);
/** snap_pxar(m, name, mk): NAME.pxar.didx, or both halves of a split one. */
void snap_pxar(struct snap_maker *m, const char *name, struct mk *mk);
/** snap_finish(m, unprotected): the manifest; unprotected is JSON or NULL. */
void snap_finish(struct snap_maker *m, const char *unprotected);
/** snap_abandon(m): no manifest. */
void snap_abandon(struct snap_maker *m);

/** world_chunk(p, len, key): the key of the chunk that holds these bytes. */
void world_chunk(const void *p, size_t len, char key[KEY_MAX + 1]);

/**
 * world_store(version): S1 with "root", an archive that has one of everything,
 * "disk.img" and "big" in the archive with the bytes of world_big, "stream",
 * "a.conf", and "first" as notes.
 */
#define S1 "host/h1/2024-01-01T00:00:00Z"
#define WORLD_BIG (5 * WORLD_CHUNK / 2)
#define FILE_ MK(S_IFREG | 0640)
#define DIR_ MK(S_IFDIR | 0750)
extern uint8_t world_big[WORLD_BIG];
struct slow_store *world_store(int version);

/* A mounted tree over such a store. */
struct world {
	struct slow_store *s;
	struct repo *repo;
	struct vfs *vfs;
};
void world_open(struct world *w, struct slow_store *s,
    const struct vfs_opts *o);
void world_close(struct world *w);

/** world_at(w, path): attributes of what is there; fails if nothing is. */
struct vfs_attr world_at(struct world *w, const char *path);
/** world_ino(w, path): its number. */
uint64_t world_ino(struct world *w, const char *path);
/** world_list(w, path): its names, sorted, each with a space after; malloc'ed. */
char *world_list(struct world *w, const char *path);
/** world_read(w, path): its content, with a NUL; malloc'ed. */
char *world_read(struct world *w, const char *path, size_t *ret_len);
/** world_xattr(w, path, name): as text, malloc'ed; NULL if there is none. */
char *world_xattr(struct world *w, const char *path, const char *name);

#endif
