/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRAFT_BASE_PRIV_H
#define DRAFT_BASE_PRIV_H

#include <pthread.h>
#include <sys/queue.h>

#include "draft/base.h"
#include "repo/tree.h"

/* What an archive is once its index has been fetched; never changes. */
struct opened {
	struct reader *stream;	/* owned reference; NULL: a blob */
	struct buf *blob;	/* owned reference; of a blob */
	struct opened_source {
		struct base_archive *a;
		struct reader *stream;
		unsigned flags;
	} source[2];		/* waits, does not */
	struct pxar *px[2];	/* owned; of a tree */
};

enum links_state { LINKS_UNKNOWN, LINKS_COUNTING, LINKS_KNOWN };

struct file_links {
	uint64_t pos;
	uint64_t n;		/* links besides the file itself */
};

struct base_archive_data {
	const struct tree_file *file;	/* in the base's copy */
	const struct tree_file *payload;	/* or NULL */
	pthread_mutex_t lock;	/* guards all below; not held in I/O */
	pthread_cond_t cond;
	struct opened *opened;	/* owned; once it is there it stays */
	struct reader *payload_stream;	/* owned reference */
	struct digest expect;	/* of the index */
	bool has_expect;
	enum links_state links_state;
	bool many_links;	/* of who counts: they cost much to count */
	struct file_links *links;	/* owned; sorted by pos */
	size_t n_links;
};

struct base_dir_slot {
	TAILQ_ENTRY(base_dir_slot) lru;
	const struct base_archive *a;
	uint64_t pos;
	struct pxar_dir *dir;	/* shared */
};
TAILQ_HEAD(base_dir_slots, base_dir_slot);

struct base {
	unsigned refs;		/* atomic */
	struct repo *repo;	/* borrowed */
	/* A copy of what the listing said, as repo functions take it. */
	struct tree_ns ns;
	struct tree_group group;
	struct tree_snap snap;
	char *strings;		/* owned: all texts of these */
	struct base_archive *archives;	/* owned */
	size_t n_archives;
	bool gone;		/* the store has no such snapshot any more */
	pthread_mutex_t lock;	/* guards dirs */
	struct base_dir_slots dirs;	/* last used first */
	size_t dirs_bytes;
};

/** base_opened(a, flags, ret): fetches what a begins with. */
int base_opened(struct base_archive *a, unsigned flags, struct opened **ret);
void base_opened_free(struct opened *o);
void base_dirs_free(struct base *b);
void base_links_free(struct base_archive *a);

#endif
