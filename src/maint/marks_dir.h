/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef MAINT_MARKS_DIR_H
#define MAINT_MARKS_DIR_H

#include <stddef.h>

#include "crypt/digest.h"
#include "maint/marks_run.h"

/*
 * The directory of runs: one process at a time, files of names of its own;
 * others are left alone.  What was being written when a process died is
 * removed.  Messages name the directory.
 */
struct marks_dir {
	char *path;	/* owned; for messages */
	int fd;		/* owned; -1: none */
	int lock;	/* owned */
};

/** marks_dir_open(d, path): makes it if it is missing.  -EBUSY if another
 * process has it, -EPERM if others could put files there. */
int marks_dir_open(struct marks_dir *d, const char *path);
void marks_dir_close(struct marks_dir *d);

/** marks_dir_load(d, sources, n, fn, arg): calls fn for each run that is sound
 * and has no sources but these, sorted; the others are removed.  fn takes the
 * run over, also on error. */
typedef int marks_dir_fn(void *arg, struct marks_run *run);
int marks_dir_load(struct marks_dir *d, const struct digest *sources, size_t n,
    marks_dir_fn *fn, void *arg);

/** marks_dir_temp(d, w): for a run without a name, that goes with its
 * descriptor; for marks_writer_finish. */
int marks_dir_temp(struct marks_dir *d, struct marks_writer *w);
/** marks_dir_begin(d, w), marks_dir_commit(d, w, ret): one that stays. */
int marks_dir_begin(struct marks_dir *d, struct marks_writer *w);
int marks_dir_commit(struct marks_dir *d, struct marks_writer *w,
    struct marks_run *ret);
/** marks_dir_remove(d, run): its file goes; the run stays open. */
void marks_dir_remove(struct marks_dir *d, const struct marks_run *run);

#endif
