/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "pbs/manifest.h"
#include "pbs/manifest_writer.h"
#include "repo/edit_lock.h"
#include "repo/repo_priv.h"

/* The manifest as the store has it now. */
static int
fetch_manifest(struct repo *r, const char *key, struct manifest **ret)
{
	const struct store_get how = {
	    .max = MANIFEST_CONTENT_MAX + 4096,
	    .flags = STORE_FRESH,
	    .deadline = deadline_in(r->timeout_ms),
	};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	const char *why = "damaged";
	int err;

	err = store_get(r->store, key, &how, &b, NULL);
	if (err != 0)
		return err > 0 ? -ENOENT : err;
	err = manifest_parse(b->data, b->len, ret, &why);
	if (err == -EBADMSG)
		log_err("%s: %s: %s; it is left as it is", r->name, key, why);
	return err;
}

static int
edit_manifest(struct repo *r, const char *key,
    const struct manifest_change *c)
{
	_cleanup_(manifest_unrefp) struct manifest *m = NULL;
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct repo_edit e = {.key = key};
	struct store_object o;
	int err;

	err = fetch_manifest(r, key, &m);
	if (err == 0)
		err = manifest_edit(m, c, &b);
	if (err == 0)
		err = edit_put(r, key, b->data, b->len, false, &o);
	if (err < 0)
		return err;
	e.size = o.size;
	e.mtime = o.mtime;
	e.etag = o.etag;
	edit_show(r, &e, 1);
	return 0;
}

static int
change_snap(struct repo *r, const struct group_name *g, int64_t time,
    const struct manifest_change *c)
{
	char key[KEY_MAX + 1];
	struct edit_lock l;
	int err;

	err = edit_lock_snap(r, g, time, &l);
	if (err < 0)
		return err;
	err = key_file(key, g->ns, g->type, g->id, time, EDIT_MANIFEST);
	if (err == 0)
		err = edit_manifest(r, key, c);
	edit_unlock(r, &l);
	return err;
}

int
repo_set_snap_notes(struct repo *r, const struct group_name *g, int64_t time,
    const char *text)
{
	const struct manifest_change c = {.notes = text};
	int err = edit_check_text(text, strlen(text));

	return err < 0 ? err : change_snap(r, g, time, &c);
}

int
repo_set_verify(struct repo *r, const struct group_name *g, int64_t time,
    const char *upid, const char *state)
{
	const struct manifest_change c = {.verify_state = state,
	    .verify_upid = upid};

	return change_snap(r, g, time, &c);
}
