/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_ENDING_H
#define CMD_ENDING_H

#include <jansson.h>

struct ending;
struct writing;

/*
 * After it was unmounted a daemon may still have data to send, and there is no
 * .pbs3fs/status.json any more to say how far it is: a file in the state
 * directory does.
 */

/** ending_begin(w): writes it from time to time, on a thread of its own; NULL
 * if that cannot be had. */
struct ending *ending_begin(struct writing *w);
/** ending_end(e): once more, and no more. */
void ending_end(struct ending *e);

/** ending_read(dir, ret): 0 or -errno; the caller owns a reference. */
int ending_read(const char *dir, json_t **ret);
/** ending_clear(dir): that of an earlier mount. */
void ending_clear(const char *dir);

#endif
