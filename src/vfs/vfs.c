/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/vfs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "draft/draft.h"
#include "repo/repo.h"
#include "repo/tree.h"
#include "vfs/archive.h"
#include "vfs/current.h"
#include "vfs/dircache.h"
#include "vfs/ino.h"
#include "vfs/node.h"
#include "vfs/outage.h"
#include "vfs/report.h"
#include "vfs/root.h"
#include "vfs/vfs_priv.h"

_Static_assert((int)VFS_NOWAIT == (int)REPO_NOWAIT, "flags are passed down");

#define OWNER_DEFAULT "root@pam"
/* What a bucket is said to have room for, so that nobody thinks it is full. */
#define ENDLESS ((uint64_t)1 << 50)
#define FILES_FREE ((uint64_t)1 << 30)

struct nodes *
vfs_nodes(struct vfs *v)
{
	LOCK(&v->lock);

	return nodes_ref(v->nodes);
}

uint64_t
vfs_number(const struct vfs *v, uint64_t ino)
{
	return ino == v->root ? VFS_ROOT : ino;
}

int
place_find(struct vfs *v, uint64_t ino, struct place *ret)
{
	struct node_archive *a;

	if (ino == VFS_ROOT)
		ino = v->root;
	ret->nodes = vfs_nodes(v);
	ret->node = NULL;
	ret->pos = 0;
	if (ino_is_hier(ino)) {
		ret->node = nodes_find(ret->nodes, ino);
	} else {
		a = nodes_archive(ret->nodes, ino);
		if (a != NULL && ino > a->base) {
			ret->node = a->node;
			ret->pos = ino - a->base;
		}
	}
	if (ret->node == NULL) {
		place_fini(ret);
		return -ESTALE;
	}
	return 0;
}

void
place_fini(struct place *p)
{
	nodes_unref(p->nodes);
	p->nodes = NULL;
}

/* A directory of an open snapshot is held open, so that the snapshot does not
 * become a view of another one under it.  Its path is not needed: that is for
 * messages about archives. */
static int
hold_root(struct vfs *v, uint64_t ino)
{
	struct current c;
	int r;

	r = current_find(v, ino, &c);
	return r == 1 ? draft_opendir(c.draft, c.ino, 0, &v->held) : r;
}

/* Everything is mounted for the moment that it takes to find the subdir. */
static int
find_root(struct vfs *v, const char *subdir)
{
	struct vfs_attr attr;
	char *path;
	int r;

	v->root = v->nodes->root->ino;
	v->root_path = strdup("");
	if (v->root_path == NULL)
		return -ENOMEM;
	if (subdir == NULL)
		return 0;
	r = vfs_resolve(v, subdir, 0, &attr);
	if (r == 0 && !S_ISDIR(attr.st.st_mode))
		r = -ENOTDIR;
	if (r < 0) {
		log_err("cannot mount subdir %s: %s", subdir, strerror(-r));
		return r;
	}
	if (attr.st.st_ino == VFS_ROOT)
		return 0;
	if (ino_is_draft(attr.st.st_ino)) {
		r = hold_root(v, attr.st.st_ino);
		if (r < 0)
			return r;
	} else {
		r = vfs_path(v, attr.st.st_ino, &path);
		if (r < 0)
			return r;
		free(v->root_path);
		v->root_path = path;
	}
	v->root = attr.st.st_ino;
	return 0;
}

int
vfs_new(struct repo *r, const struct vfs_opts *o, struct vfs **ret)
{
	struct vfs *v = calloc(1, sizeof(*v));
	struct tree *tree;
	int e;

	if (v == NULL)
		return -ENOMEM;
	v->repo = r;
	v->opts = *o;
	v->opts.subdir = v->opts.owner = v->opts.disk = NULL;
	v->drafts = o->drafts;
	LIST_INIT(&v->notes);
	v->uid = o->set_uid ? o->uid : geteuid();
	v->gid = o->set_gid ? o->gid : getegid();
	e = -pthread_mutex_init(&v->lock, NULL);
	if (e < 0)
		goto err_v;
	e = cond_init(&v->told);
	if (e < 0)
		goto err_lock;
	e = -pthread_mutex_init(&v->renew, NULL);
	if (e < 0)
		goto err_told;
	e = -pthread_mutex_init(&v->refresh, NULL);
	if (e < 0)
		goto err_renew;
	e = -ENOMEM;
	v->owner = strdup(o->owner != NULL ? o->owner : OWNER_DEFAULT);
	v->disk = o->disk != NULL ? strdup(o->disk) : NULL;
	if (v->owner == NULL || (o->disk != NULL && v->disk == NULL))
		goto err_refresh;
	e = archives_new(&v->archives);
	if (e < 0)
		goto err_refresh;
	e = dircache_new(DIRCACHE_BYTES, DIRCACHE_LINGER_MS, &v->dirs);
	if (e < 0)
		goto err_archives;
	e = reports_new(v, &v->reports);
	if (e < 0)
		goto err_dirs;
	e = roots_new(v, &v->roots);
	if (e < 0)
		goto err_reports;
	e = outages_new(repo_store(r), &v->outages);
	if (e < 0)
		goto err_roots;
	vfs_keep_groups(v);
	tree = repo_tree(r);
	e = nodes_build(tree, (o->all ? NODES_ALL : 0) |
	    (o->drafts != NULL ? NODES_WRITABLE : 0), NULL, &v->nodes);
	tree_unref(tree);
	if (e < 0)
		goto err_outages;
	e = find_root(v, o->subdir);
	if (e < 0) {
		vfs_free(v);
		return e;
	}
	*ret = v;
	return 0;

err_outages:
	outages_free(v->outages);
err_roots:
	roots_free(v->roots);
err_reports:
	reports_free(v->reports);
err_dirs:
	dircache_free(v->dirs);
err_archives:
	archives_free(v->archives);
err_refresh:
	pthread_mutex_destroy(&v->refresh);
err_renew:
	pthread_mutex_destroy(&v->renew);
err_told:
	pthread_cond_destroy(&v->told);
err_lock:
	pthread_mutex_destroy(&v->lock);
err_v:
	free(v->owner);
	free(v->disk);
	free(v);
	return e;
}

void
vfs_shutdown(struct vfs *v)
{
	repo_shutdown(v->repo);
	if (v->drafts != NULL)
		drafts_shutdown(v->drafts);
}

void
vfs_let_go(struct vfs *v)
{
	if (v->held != NULL)
		draft_closedir(v->held);
	v->held = NULL;
}

void
vfs_free(struct vfs *v)
{
	if (v == NULL)
		return;
	vfs_let_go(v);
	/* What these still do looks at everything else. */
	roots_free(v->roots);
	reports_free(v->reports);
	outages_free(v->outages);
	dircache_free(v->dirs);
	archives_free(v->archives);
	nodes_unref(v->nodes);
	pthread_mutex_destroy(&v->refresh);
	pthread_mutex_destroy(&v->renew);
	pthread_cond_destroy(&v->told);
	pthread_mutex_destroy(&v->lock);
	change_list_fini(&v->changes);
	free(v->owner);
	free(v->disk);
	free(v->root_path);
	free(v);
}

/* What is written goes on to the store while it comes, so the local disk is no
 * limit to it. */
static uint64_t
bytes_free(const struct vfs *v)
{
	struct statvfs st;

	if (v->disk == NULL)
		return ENDLESS;
	if (statvfs(v->disk, &st) < 0)
		return 0;
	return MIN((uint64_t)st.f_bavail * st.f_frsize, ENDLESS);
}

void
vfs_statfs(struct vfs *v, struct vfs_statfs *ret)
{
	struct nodes *t = vfs_nodes(v);

	memset(ret, 0, sizeof(*ret));
	ret->read_only = v->drafts == NULL;
	if (!ret->read_only) {
		ret->bytes_free = bytes_free(v);
		ret->files_free = FILES_FREE;
	}
	ret->bytes_total = MIN(t->bytes, ENDLESS) + ret->bytes_free;
	ret->files = t->n_nodes + ret->files_free;
	nodes_unref(t);
}

void
vfs_listen(struct vfs *v, const struct vfs_listener *l)
{
	LOCK(&v->lock);

	v->listener = *l;
	while (v->telling > 0)
		pthread_cond_wait(&v->told, &v->lock);
}
