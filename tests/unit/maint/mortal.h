/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_MAINT_MORTAL_H
#define UNIT_MAINT_MORTAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "crypt/digest.h"
#include "repo/edit.h"
#include "store/store.h"

/*
 * A datastore in memory that outlives the process that works on it.  A life is
 * all that a process has of it; it may end at any request, and the next one
 * finds the store, and the state directory as it was at that moment.
 */

/* A pseudo-random number below n; any thread. */
struct chance {
	pthread_mutex_t lock;
	uint64_t x;
};
unsigned chance_below(struct chance *c, unsigned n);
/** chance_is(c, percent) */
bool chance_is(struct chance *c, unsigned percent);

/* What stands before the store of a life. */
struct moody {
	struct store s;
	struct store *mem;	/* borrowed */
	struct mortal *w;
	pthread_mutex_t lock;	/* guards the following */
	pthread_cond_t change;
	bool dead;
	unsigned calls, die_at;	/* at that call, from 1; 0: never */
	unsigned moods;		/* percent of calls that fail, this one alone */
	/* Puts of chunks wait, in the order in which they came, until they are
	 * let go; unless somebody waits for all of them. */
	bool pausing;
	unsigned came, went, let;
	/* Called before and after a call, on whose thread it is, one at a
	 * time; what it calls itself is not disturbed.  doomed: the keys that
	 * are just being deleted. */
	void (*between)(struct mortal *w, const char *const *doomed,
	    size_t n);
	unsigned how_often;	/* percent */
	bool busy;		/* in between */
	pthread_t who;		/* then: the thread */
};

struct mortal {
	struct chance luck;
	struct store *mem;	/* owned */
	char top[64];		/* scratch directory */
	unsigned lives;
	char dir[96];		/* of this life, below top */
	void *arg;		/* of who uses it */
	/* How many have brought a chunk that is on its way already. */
	unsigned (*joined)(struct mortal *w);

	/* Of a life. */
	struct moody *m;	/* borrowed: in repo */
	struct repo *repo;
	struct known *known;
	struct guard *guard;
	struct uploads *uploads;
	struct drafts *drafts;	/* NULL: none */
	struct agent *agent;
};

#define MORTAL_IDENTITY "mem:"
#define MORTAL_PUTTERS 3

void mortal_open(struct mortal *w, uint64_t seed);
void mortal_close(struct mortal *w);
/** mortal_live(w, with_drafts): begins a life. */
void mortal_live(struct mortal *w, bool with_drafts);
/** mortal_die(w): ends it, if it has not come to its end. */
void mortal_die(struct mortal *w);
/** mortal_waiting(w): puts that wait.
 * mortal_let(w, n): so many of them go on.
 * mortal_let_all(w): all do, and none waits any more.
 * mortal_quiet(w): waits until nothing happens but puts that wait. */
unsigned mortal_waiting(struct mortal *w);
void mortal_let(struct mortal *w, unsigned n);
void mortal_let_all(struct mortal *w);
void mortal_quiet(struct mortal *w);
bool mortal_is_dead(struct mortal *w);

/** mortal_check(w, exact): asks the store itself whether all chunks that any
 * index or journal refers to are there and good; exact: and no others.  A text
 * if not, malloc'ed, else NULL. */
char *mortal_check(struct mortal *w, bool exact);
/** mortal_has_snap(w, g, time): a manifest. */
bool mortal_has_snap(struct mortal *w, const struct group_name *g,
    int64_t time);

#endif
