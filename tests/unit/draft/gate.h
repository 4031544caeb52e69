/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_DRAFT_GATE_H
#define UNIT_DRAFT_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"

struct fixture;

/*
 * A store in memory, or in a directory, that outlives who uses it: each
 * gate_door is a store to be handed over, all of them lead to the same objects.
 * Counts what passes, and fails on order.
 */
enum gate_mode {
	GATE_FAIL,	/* nothing is done */
	GATE_LOST,	/* done, yet reported as failed */
	GATE_DEAD,	/* from that call on nothing works */
};

struct gate {
	struct store *store;	/* owned */
	pthread_mutex_t lock;	/* guards all below */
	uint64_t calls;
	uint64_t fail_at;	/* the call, from 1; 0: none */
	enum gate_mode mode;
	uint64_t chunk_puts, chunk_bytes, other_puts, chunk_gets, touches;
	bool block_puts;	/* puts of chunks wait until this ends */
	unsigned waiting;	/* that do */
	pthread_cond_t change;
};

struct gate *gate_new(const char *dir);		/* NULL: memory */
void gate_free(struct gate *g);
struct store *gate_door(struct gate *g);
/** gate_fill(g, f, top): everything of a fixture below top ("plain/"). */
void gate_fill(struct gate *g, const struct fixture *f, const char *top);
/** gate_reset(g): counts are 0, nothing fails. */
void gate_reset(struct gate *g);
void gate_block(struct gate *g, bool on);

#endif
