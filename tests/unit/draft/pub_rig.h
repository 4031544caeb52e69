/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_DRAFT_PUB_RIG_H
#define UNIT_DRAFT_PUB_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "draft/draft.h"
#include "gate.h"
#include "pbs/index.h"

struct keyring;
struct tree;
struct tree_snap;

/*
 * An open snapshot over a store, used by path as programs would.  What goes
 * wrong ends the test.
 */
struct rig {
	struct gate *gate;	/* owned */
	char dir[64];		/* scratch: state/, and store/ of a directory */
	struct drafts_opts o;
	struct keyring *keys;	/* NULL: fixture_keys() */
	struct group_name group;
	struct repo *repo;
	struct known *known;
	struct guard *guard;
	struct uploads *up;
	struct drafts *ds;
	struct draft *d;
	unsigned published;
	void *told;	/* the test's own */
	bool is_dir;
};

#define RIG_T 1800000000	/* later than any fixture */

/** rig_begin(g, is_dir): a store with an empty group host/web1; o may be
 * changed before rig_open. */
void rig_begin(struct rig *g, bool is_dir);
/** rig_fixture(g, name, top, type, id): with a fixture, and a group of it. */
void rig_fixture(struct rig *g, const char *name, const char *top,
    enum backup_type type, const char *id);
void rig_open(struct rig *g);
void rig_close(struct rig *g);
void rig_end(struct rig *g);	/* closes too */
static inline void
rig_restart(struct rig *g)
{
	rig_close(g);
	rig_open(g);
}
/** rig_lose_state(g): closed: the state directory is gone. */
void rig_lose_state(struct rig *g);

/* In the draft. */
uint64_t fs_ino(struct rig *g, const char *path, struct stat *st);
void fs_mkdir(struct rig *g, const char *path);
void fs_write(struct rig *g, const char *path, const void *p, size_t len);
void fs_text(struct rig *g, const char *path, const char *text);
void fs_pwrite(struct rig *g, const char *path, const void *p, size_t len,
    uint64_t off);
void fs_truncate(struct rig *g, const char *path, uint64_t size);
void fs_mknod(struct rig *g, const char *path, mode_t mode, dev_t rdev,
    const char *target);
void fs_link(struct rig *g, const char *from, const char *to);
void fs_unlink(struct rig *g, const char *path);
void fs_rmdir(struct rig *g, const char *path);
void fs_rename(struct rig *g, const char *from, const char *to);
void fs_chmod(struct rig *g, const char *path, mode_t mode);
void fs_xattr(struct rig *g, const char *path, const char *name,
    const void *p, size_t len);
/** fs_read(g, path, ret_len): malloc'ed. */
uint8_t *fs_read(struct rig *g, const char *path, size_t *ret_len);
/** fs_try_read(f, off, len): 0 or -errno. */
int fs_try_read(struct draft_file *f, uint64_t off, size_t len);
struct draft_file *fs_open(struct rig *g, const char *path, int oflags,
    uint64_t *ret_ino);
/** fs_forget(g, ino): one lookup. */
void fs_forget(struct rig *g, uint64_t ino);

/** dump_draft(g): a line for each entry with all that an archive holds of it,
 * content as a digest; malloc'ed.
 * dump_snap(g, time): the same of a finished snapshot, read by a repository of
 * its own; asserts that references into payload streams increase. */
char *dump_draft(struct rig *g);
char *dump_snap(struct rig *g, int64_t time);
/** dump_equal(a, b): asserts it and shows the first line that differs. */
void dump_equal(const char *a, const char *b);

/** rig_index(g, time, name): of a snapshot. */
const struct tree_snap *rig_snap(struct rig *g, struct tree *t, int64_t time);
struct index *rig_index(struct rig *g, int64_t time, const char *name);
bool rig_has(struct rig *g, int64_t time, const char *name);

/** rig_noise(p, len, seed): bytes that do not compress and have cuts. */
void rig_noise(void *p, size_t len, uint64_t seed);

#endif
