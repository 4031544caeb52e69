/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VFS_REPORT_H
#define VFS_REPORT_H

#include <stddef.h>
#include <stdint.h>

struct reader;
struct vfs;

/*
 * Tells the damage list which files need a damaged chunk.  Finding the path of
 * a file may read, so it happens on a thread of its own; once for each file
 * and chunk.
 */
struct reports;

int reports_new(struct vfs *v, struct reports **ret);
/** reports_free(q): waits for those under way. */
void reports_free(struct reports *q);

/**
 * report_file(q, ino, r, begin, size, off, len):
 * Reading [off, off + len) of the file at ino failed, which is [begin, begin +
 * size) of the stream.  Never blocks.
 */
void report_file(struct reports *q, uint64_t ino, struct reader *r,
    uint64_t begin, uint64_t size, uint64_t off, uint64_t len);
/** report_stream(q, path, r, off, len): the same for the structure of an
 * archive. */
void report_stream(struct reports *q, const char *path, struct reader *r,
    uint64_t off, uint64_t len);

#endif
