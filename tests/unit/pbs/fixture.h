/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_PBS_FIXTURE_H
#define UNIT_PBS_FIXTURE_H

#include <stddef.h>

struct buf;
struct keyring;
struct manifest;

/*
 * A datastore or bucket of tests/data in memory.  What is wrong ends the test.
 */
struct fixture;

/** fixture_load(name): "plain", "encrypted" or "s3-bucket". */
struct fixture *fixture_load(const char *name);
void fixture_free(struct fixture *f);

/** fixture_next(f, i, suffix): the path of the first file from *i on whose name
 * ends so, sorted by path; NULL at the end.  *i is behind it. */
const char *fixture_next(const struct fixture *f, size_t *i,
    const char *suffix);
/** fixture_file(f, path): borrowed. */
struct buf *fixture_file(const struct fixture *f, const char *path);

/** fixture_keys(): all keys of tests/data/keys; shared, freed at exit. */
struct keyring *fixture_keys(void);
/** fixture_manifest(f, path): that of the snapshot which the file at path
 * belongs to, with its key. */
struct manifest *fixture_manifest(const struct fixture *f, const char *path);
/** fixture_stream(f, path): what the index at path stands for. */
struct buf *fixture_stream(const struct fixture *f, const char *path);

#endif
