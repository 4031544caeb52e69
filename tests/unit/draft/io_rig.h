/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_DRAFT_IO_RIG_H
#define UNIT_DRAFT_IO_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "draft/draft.h"
#include "store/store.h"

/*
 * An open snapshot of group host/web1 over a store in memory or in a directory,
 * which outlives it, counts, and fails on order.  What goes wrong unasked ends
 * the test.
 */
struct io_store {
	struct store *store;	/* owned */
	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t cond;
	int put_error, get_error;	/* of chunks; 0: none */
	int sync_error;
	bool hold_puts;		/* those of chunks wait */
	unsigned puts, gets;	/* of chunks */
	unsigned unsynced;	/* chunks that were put since the last sync */
	uint64_t put_bytes;
};

struct io_rig {
	char dir[128];		/* scratch */
	struct io_store st;
	struct drafts_opts o;	/* may be changed before io_rig_open */
	uint64_t memory;	/* of decoded chunks; 0: next to nothing */
	char base[160];		/* of a directory; "": memory */
	struct claim *claim;
	struct group_name group;
	struct repo *repo;
	struct known *known;
	struct uploads *up;
	struct drafts *ds;
	struct draft *d;
};

#define IO_RIG_T 1800000000

void io_rig_begin(struct io_rig *g);
/** io_rig_begin_dir(g): over a directory, with a claim on it. */
void io_rig_begin_dir(struct io_rig *g);
void io_rig_open(struct io_rig *g);
void io_rig_close(struct io_rig *g);
void io_rig_end(struct io_rig *g);
void io_rig_fail(struct io_rig *g, int put_error, int get_error);
void io_rig_hold(struct io_rig *g, bool on);
unsigned io_rig_puts(struct io_rig *g);
unsigned io_rig_gets(struct io_rig *g);
/** io_rig_drop_chunks(g): the store has none any more. */
void io_rig_drop_chunks(struct io_rig *g);
/** io_rig_staged(g): what the staging area holds. */
uint64_t io_rig_staged(struct io_rig *g);

/* By path: a file at the top, or in a directory there, which is made. */
uint64_t io_lookup(struct io_rig *g, const char *path);
void io_forget(struct io_rig *g, uint64_t ino);
struct draft_file *io_open(struct io_rig *g, const char *path, int oflags,
    uint64_t *ret_ino);
void io_close(struct io_rig *g, struct draft_file *f, uint64_t ino);
void io_unlink(struct io_rig *g, const char *path);
/** io_read_at(f, p, off, len, ret): waits. */
int io_read_at(struct draft_file *f, void *p, uint64_t off, size_t len,
    size_t *ret);
/** io_expect(f, p, off, len): that these bytes are there. */
void io_expect(struct draft_file *f, const void *p, uint64_t off, size_t len);
void io_write_all(struct draft_file *f, const void *p, uint64_t off,
    size_t len);

/** io_noise(p, len, seed): bytes that do not compress and have cuts. */
void io_noise(void *p, size_t len, uint64_t seed);
/* Closes it, mounts anew, and opens it again. */
void io_reopen(struct io_rig *g, struct draft_file **f, uint64_t *ino,
    const char *path);

#endif
