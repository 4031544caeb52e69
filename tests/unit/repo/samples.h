/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_REPO_SAMPLES_H
#define UNIT_REPO_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "repo/chunks.h"

struct repo;
struct slow_store;
struct tree;
struct tree_file;
struct tree_snap;

/* Fills p with bytes that depend on the seed and compress by about half. */
void sample_bytes(void *p, size_t len, uint32_t seed);

/* Puts a chunk of such bytes into the store and says what it is called. */
struct chunk_id sample_chunk(struct slow_store *s, size_t len, uint32_t seed);

/*
 * Puts snapshot host/h1 of that time into the store, with chunks, a fixed
 * index "disk.img.fidx" of n_chunks chunks of 64 KiB, the last one half as
 * long, a blob "a.conf.blob" that says "conf\n", an owner and a manifest.
 */
#define SAMPLE_CHUNK (64 * 1024)
void sample_snapshot(struct slow_store *s, int64_t time, unsigned n_chunks);

/* The same chunks of any sizes as a dynamic index. */
struct index *sample_index(struct slow_store *s, const uint32_t *sizes,
    size_t n);

/*
 * A store with that snapshot of four chunks, and a repository over it that
 * waits for five seconds; keep is where the listing goes, or NULL.
 */
#define SAMPLE_T1 1704067200	/* 2024-01-01T00:00:00Z */
#define SAMPLE_DIR ".cnt/host/h1/2024-01-01T00:00:00Z/"
struct slow_store *sample_store(void);
int sample_open(struct slow_store *s, const char *keep, struct repo **ret);

/* The one snapshot and its files, as long as t is held. */
const struct tree_snap *sample_snap(struct tree *t);
const struct tree_file *sample_file(struct tree *t, const char *name);

#endif
