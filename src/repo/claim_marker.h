/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_CLAIM_MARKER_H
#define REPO_CLAIM_MARKER_H

#include <stdbool.h>
#include <stddef.h>

struct store;

/*
 * ".in-use": which host writes into a bucket's datastore.  Format document
 * section 9.2.
 */

/** claim_marker_take(s, name, takeover, ret): makes the marker ours, or
 * -EUSERS; *ret is the generation, malloc'ed.  1 GET if it is ours already. */
int claim_marker_take(struct store *s, const char *name, bool takeover,
    char **ret_generation);
/** claim_marker_create(s, name, takeover): of a datastore that is not there
 * yet: -EEXIST, -EUSERS. */
int claim_marker_create(struct store *s, const char *name, bool takeover);

/** claim_marker_parse(p, len, ret): the host's name, malloc'ed; -EBADMSG. */
int claim_marker_parse(const void *p, size_t len, char **ret);
/** claim_marker_same_host(a, b): a short name is that of any domain. */
bool claim_marker_same_host(const char *a, const char *b);

#endif
