/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/edit_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "base/workq.h"
#include "pbs/manifest.h"
#include "repo/edit_lock.h"
#include "repo/repo_priv.h"

#define PUTTERS 8
#define PROTECTED ".protected"

/* An object of the snapshot on its way. */
struct put {
	struct work work;
	struct publish *p;	/* borrowed */
	const struct buf *data;	/* borrowed; NULL: nothing is in it */
	struct store_object o;
	bool tried;		/* it may be there */
	char key[KEY_MAX + 1];
};

struct publish {
	struct repo *r;			/* borrowed */
	const struct snapshot_new *s;	/* borrowed */
	struct put *puts;		/* owned: files, the mark of protection
					 * if any, then the manifest */
	size_t n_files;			/* all but the manifest */
	char prefix[KEY_MAX + 1];

	pthread_mutex_t lock;		/* guards the rest */
	int err;			/* the first */
};

static int
refuse(const struct snapshot_new *s, const char *name, const char *why)
{
	_cleanup_(str_fini) struct str t = {0};

	str_escape(&t, name, strlen(name));
	log_err("%s/%s: cannot publish %s: %s",
	    backup_type_name(s->group.type), s->group.id, str_get(&t), why);
	return -EINVAL;
}

static int
check_files(const struct snapshot_new *s)
{
	for (size_t i = 0; i < s->n_files; i++) {
		const char *name = s->files[i].name;
		enum archive_kind kind = archive_kind(name);

		if (kind == ARCHIVE_OTHER || kind == ARCHIVE_MANIFEST)
			return refuse(s, name, "not a name of an archive");
		for (size_t j = 0; j < i; j++)
			if (streq(name, s->files[j].name))
				return refuse(s, name, "there are two");
	}
	return 0;
}

static int
check_new(const struct snapshot_new *s)
{
	int r = edit_check_group(&s->group);

	if (r < 0)
		return r;
	if (s->time < 1)
		return refuse(s, "it", "not a time that a snapshot can have");
	return check_files(s);
}

static int
prepare(struct publish *p)
{
	const struct snapshot_new *s = p->s;
	const struct group_name *g = &s->group;
	int r;

	r = key_file(p->prefix, g->ns, g->type, g->id, s->time, "");
	if (r < 0)
		return r;
	p->n_files = s->n_files + s->protect;
	p->puts = calloc(p->n_files + 1, sizeof(*p->puts));
	if (p->puts == NULL)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i <= p->n_files; i++) {
		struct put *u = &p->puts[i];
		const char *name = PROTECTED;

		u->p = p;
		if (i < s->n_files) {
			u->data = s->files[i].data;
			name = s->files[i].name;
		} else if (i == p->n_files) {
			u->data = s->manifest;
			name = EDIT_MANIFEST;
		}
		r = key_file(u->key, g->ns, g->type, g->id, s->time, name);
	}
	return r;
}

/* What an attempt that nobody finished has left would become part of the
 * snapshot. */
static int
clear(struct publish *p)
{
	struct edit_list l;
	int err;

	err = edit_list(p->r, p->prefix, &l);
	if (err < 0)
		return err;
	if (edit_list_find(&l, p->prefix, EDIT_MANIFEST))
		err = -EEXIST;
	else
		err = edit_list_delete(p->r, &l);
	if (err == 0)
		edit_list_fini(&l);
	if (err == 0 || err == -EEXIST)
		(void)edit_show_snap(p->r, &p->s->group, p->s->time, &l);
	edit_list_fini(&l);
	return err;
}

static int
check_room(struct publish *p)
{
	const struct snapshot_new *s = p->s;
	const struct tree_group *g;
	const struct tree_snap *snap;
	struct tree *t = repo_tree(p->r);
	bool leftovers = false;
	int err = 0;

	g = edit_find_group(t, &s->group);
	snap = g == NULL ? NULL : tree_find_snap(g, s->time);
	if (g == NULL)
		err = -ENOENT;
	else if (snap != NULL && snap->finished)
		err = -EEXIST;
	else if (snap != NULL)
		leftovers = true;
	if (err == 0 && g->owner == NULL)
		log_warn("%s: group %s/%s has no owner: Proxmox Backup shows "
		    "none of its snapshots", p->r->name,
		    backup_type_name(g->type), g->id);
	tree_unref(t);
	return leftovers ? clear(p) : err;
}

static size_t
size_of(const struct put *u)
{
	return u->data != NULL ? u->data->len : 0;
}

static void
put_one(struct put *u)
{
	struct publish *p = u->p;
	int err;

	u->tried = true;
	err = edit_put(p->r, u->key, u->data != NULL ?
	    (const void *)u->data->data : "",
	    size_of(u), false, &u->o);
	if (err < 0) {
		LOCK(&p->lock);
		if (p->err == 0)
			p->err = err;
	}
}

static bool
has_failed(struct publish *p)
{
	LOCK(&p->lock);
	return p->err < 0;
}

static void
put_work(struct work *w)
{
	struct put *u = (struct put *)w;

	if (!has_failed(u->p))
		put_one(u);
}

static int
put_files(struct publish *p)
{
	size_t n = p->n_files;
	struct workq *q;
	int err;

	if (n == 0)
		return 0;
	err = workq_new("publish", (unsigned)MIN(n, (size_t)PUTTERS), &q);
	if (err < 0)
		return err;
	for (size_t i = 0; err == 0 && i < n; i++) {
		p->puts[i].work.fn = put_work;
		err = workq_add(q, &p->puts[i].work);
	}
	workq_free(q);	/* waits for all of them */
	return err < 0 ? err : p->err;
}

/* 1 if those bytes are what the store has; 0 if it has none; -EEXIST if they
 * are somebody else's. */
static int
ask_manifest(struct repo *r, const char *key, const struct digest *want,
    struct store_object *ret)
{
	const struct store_get how = {
	    .max = MANIFEST_CONTENT_MAX + 4096,
	    .flags = STORE_FRESH,
	    .deadline = deadline_in(r->timeout_ms),
	};
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	struct digest is;
	int err;

	err = store_get(r->store, key, &how, &b, ret);
	if (err != 0)
		return err > 0 ? 0 : err == -EFBIG ? -EEXIST : err;
	is = digest_of(b->data, b->len);
	return digest_eq(&is, want) ? 1 : -EEXIST;
}

/* 0, or why it is not there for certain; *ret_unknown if not even that. */
static int
put_manifest(struct publish *p, bool *ret_unknown)
{
	struct put *u = &p->puts[p->n_files];
	struct digest want;
	int there;

	put_one(u);
	if (p->err == 0)
		return 0;
	want = digest_of(u->data->data, u->data->len);
	there = ask_manifest(p->r, u->key, &want, &u->o);
	if (there == 1)
		return 0;	/* only the answer was lost */
	if (there == 0)
		return p->err;
	if (there == -EEXIST)
		log_err("%s: %s: somebody else has written it", p->r->name,
		    u->key);
	else
		*ret_unknown = true;
	return there == -EEXIST ? -EEXIST : p->err;
}

/* Best effort; the manifest first, should it have arrived after all. */
static void
take_back(struct publish *p)
{
	size_t n = p->n_files, n_keys = 0;
	struct put *m = &p->puts[n];
	_cleanup_free_ const char **keys = calloc(n + 1, sizeof(*keys));
	struct store_object o;
	int err = 0;

	if (keys == NULL)
		return;
	keys[0] = m->key;
	if (m->tried)
		err = edit_delete(p->r, keys, 1);
	for (size_t i = 0; i < n; i++)
		if (p->puts[i].tried)
			keys[n_keys++] = p->puts[i].key;
	if (err == 0)
		err = edit_delete(p->r, keys, n_keys);
	if (err == 0 && m->tried && store_stat(p->r->store, m->key,
	    deadline_in(p->r->timeout_ms), &o) == 0) {
		keys[0] = m->key;
		err = edit_delete(p->r, keys, 1);
	}
	if (err < 0)
		log_warn("%s: %s: what was written of it stays, without a "
		    "manifest: %s", p->r->name, p->prefix, strerror(-err));
}

static void
show(struct publish *p)
{
	size_t n = p->n_files + 1;
	_cleanup_free_ struct repo_edit *e = calloc(n, sizeof(*e));

	if (e == NULL) {
		log_warn("%s: %s is published, but not shown: out of memory",
		    p->r->name, p->prefix);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		e[i].key = p->puts[i].key;
		e[i].size = size_of(&p->puts[i]);
		e[i].mtime = p->puts[i].o.mtime;
		e[i].etag = p->puts[i].o.etag;
	}
	edit_show(p->r, e, n);
}

static int
publish(struct publish *p, bool *ret_unknown)
{
	int err;

	err = check_room(p);
	if (err < 0)
		return err;
	/* Chunks first: an index must not refer to what a crash can lose. */
	err = store_sync(p->r->store);
	if (err < 0)
		return err;
	err = put_files(p);
	if (err == 0)
		err = put_manifest(p, ret_unknown);
	if (err == 0)
		show(p);
	/* Another's manifest may need files of these names. */
	else if (!*ret_unknown && err != -EEXIST)
		take_back(p);
	return err;
}

int
repo_publish(struct repo *r, const struct snapshot_new *s, bool *ret_unknown)
{
	struct publish p = {.r = r, .s = s};
	struct edit_lock l;
	int err;

	*ret_unknown = false;
	err = check_new(s);
	if (err == 0)
		err = prepare(&p);
	if (err == 0) {
		pthread_mutex_init(&p.lock, NULL);
		edit_lock_group(r, &s->group, &l);
		err = edit_lock_server(r, &l);
		if (err == 0)
			err = publish(&p, ret_unknown);
		edit_unlock(r, &l);
		pthread_mutex_destroy(&p.lock);
	}
	free(p.puts);
	return err;
}

/* There is no such snapshot: then there shall be nothing of it.  A directory
 * may also have it empty; deleting what is not there takes that away. */
static int
clear_leftovers(struct repo *r, struct edit_list *l, const char *manifest)
{
	const char *keys[] = {manifest};
	int err;

	err = edit_list_delete(r, l);
	if (err == 0)
		err = edit_delete(r, keys, 1);
	if (err == 0)
		edit_list_fini(l);
	return err;
}

static int
outcome(struct repo *r, const struct group_name *g, int64_t time,
    const struct digest *manifest)
{
	char prefix[KEY_MAX + 1], key[KEY_MAX + 1];
	struct edit_list l;
	int err, there;

	err = key_file(prefix, g->ns, g->type, g->id, time, "");
	if (err == 0)
		err = key_file(key, g->ns, g->type, g->id, time, EDIT_MANIFEST);
	if (err < 0)
		return err;
	there = ask_manifest(r, key, manifest, NULL);
	if (there < 0 && there != -EEXIST)
		return there;
	err = edit_list(r, prefix, &l);
	if (err < 0)
		return err;
	if (there == 0 && edit_list_find(&l, prefix, EDIT_MANIFEST))
		err = -EAGAIN;		/* it came this moment */
	else if (there == 0)
		err = clear_leftovers(r, &l, key);
	if (err == 0)
		err = edit_show_snap(r, g, time, &l);
	edit_list_fini(&l);
	return err < 0 ? err : there == 1;
}

int
repo_publish_outcome(struct repo *r, const struct group_name *g, int64_t time,
    const struct digest *manifest)
{
	struct edit_lock l;
	int err;

	err = edit_check_group(g);
	if (err < 0)
		return err;
	edit_lock_group(r, g, &l);
	err = outcome(r, g, time, manifest);
	edit_unlock(r, &l);
	return err;
}
