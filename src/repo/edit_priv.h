/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef REPO_EDIT_PRIV_H
#define REPO_EDIT_PRIV_H

#include "repo/edit.h"
#include "repo/repo.h"
#include "store/store.h"

struct edit_lock;

/* Shared by the files that change a datastore. */

#define EDIT_MANIFEST "index.json.blob"
/* One put with all its retries. */
#define EDIT_TIMEOUT_MS 600000

/** edit_check_group(g): 0 or -EINVAL, with a message. */
int edit_check_group(const struct group_name *g);

/** edit_lock_snap(r, g, time, l): takes the lock of the group if it has such a
 * snapshot; 0, -ENOENT, -EINVAL. */
int edit_lock_snap(struct repo *r, const struct group_name *g, int64_t time,
    struct edit_lock *l);
/** edit_check_text(text, len): whether that can be notes: -EINVAL, -EFBIG. */
int edit_check_text(const char *text, size_t len);

/** edit_put(r, key, p, len, if_absent, ret): store_put, and what is to be told
 * of the object; ret may be NULL. */
int edit_put(struct repo *r, const char *key, const void *p, size_t len,
    bool if_absent, struct store_object *ret);
int edit_delete(struct repo *r, const char *const *keys, size_t n);

/** edit_show(r, e, n): repo_apply; what cannot be shown is in the store all the
 * same, so that is a warning. */
void edit_show(struct repo *r, const struct repo_edit *e, size_t n);

/* What a listing has told. */
struct edit_list {
	struct edit_listed {
		char *key;	/* owned */
		struct store_object o;
	} *v;			/* owned */
	size_t n, room;
};
int edit_list(struct repo *r, const char *prefix, struct edit_list *ret);
void edit_list_fini(struct edit_list *l);
/** edit_list_find(l, prefix, file): whether prefix + file is in it. */
bool edit_list_find(const struct edit_list *l, const char *prefix,
    const char *file);
/** edit_list_delete(r, l): all of them. */
int edit_list_delete(struct repo *r, const struct edit_list *l);
/** edit_show_snap(r, g, time, l): the snapshot as that listing has it. */
int edit_show_snap(struct repo *r, const struct group_name *g, int64_t time,
    const struct edit_list *l);
/** edit_show_group(r, g, l): all of the group as that listing, in the order of
 * keys, has it. */
int edit_show_group(struct repo *r, const struct group_name *g,
    const struct edit_list *l);

#endif
