/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_SHOW_H
#define CMD_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct stack;
struct vfs_attr;

/*
 * Names and numbers on their way to people and programs.
 */

/** show_line(f, name): escaped, so that a line of a report stays one, whoever
 * reads it. */
void show_line(FILE *f, const char *name);
/** show_name(f, name): escaped if f is a terminal, else as it is. */
void show_name(FILE *f, const char *name);

/** show_json_name(obj, key, name): JSON has no bytes that are not UTF-8; such
 * a name is escaped and comes a second time in hex, as KEY_hex. */
int show_json_name(json_t *obj, const char *key, const char *name);

/** show_mode(mode, out): "drwxr-xr-x". */
const char *show_mode(unsigned mode, char out[11]);

/** show_time(t, out): local time, "2026-01-31 12:00:00". */
#define SHOW_TIME_MAX 40
const char *show_time(long long t, char out[SHOW_TIME_MAX]);

/** show_fail(path, err): logs it; the exit status. */
int show_fail(const char *path, int err);
/** show_worst(a, b): of two exit statuses the one to report. */
int show_worst(int a, int b);

/** show_resolve(s, path, ret): vfs_resolve; an exit status. */
int show_resolve(struct stack *s, const char *path, struct vfs_attr *ret);

#endif
