/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/base.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "draft/base_priv.h"
#include "pbs/blob.h"
#include "pbs/manifest.h"
#include "repo/reader.h"
#include "repo/repo.h"

/* Positions lie no closer than the table of an empty directory takes, 40 bytes,
 * which the next name may follow: so that each has a number of its own when
 * they are divided. */
#define POS_SHIFT 5
#define SPAN_MAX ((uint64_t)1 << 42)

/*
 * The copy of the listing.
 */

static size_t
strings_of(const struct tree_snap *s)
{
	size_t i, n;

	n = strlen(s->group->ns->path) + 1 + strlen(s->group->id) + 1;
	for (i = 0; i < s->n_files; i++)
		n += strlen(s->files[i].name) + 1 +
		    strlen(s->files[i].etag) + 1;
	return n;
}

static const char *
put_string(char **p, const char *text)
{
	size_t n = strlen(text) + 1;
	char *at = *p;

	memcpy(at, text, n);
	*p += n;
	return at;
}

static int
copy_snap(struct base *b, const struct tree_snap *s)
{
	struct tree_file *f;
	char *p;
	size_t i;

	b->strings = p = malloc(strings_of(s));
	b->snap.files = calloc(MAX(s->n_files, 1), sizeof(*b->snap.files));
	if (b->strings == NULL || b->snap.files == NULL)
		return -ENOMEM;
	b->ns.name = "";
	b->ns.path = put_string(&p, s->group->ns->path);
	b->group.type = s->group->type;
	b->group.id = put_string(&p, s->group->id);
	b->group.ns = &b->ns;
	b->snap.time = s->time;
	memcpy(b->snap.name, s->name, sizeof(b->snap.name));
	b->snap.finished = s->finished;
	b->snap.protected = s->protected;
	b->snap.group = &b->group;
	for (i = 0; i < s->n_files; i++) {
		f = &b->snap.files[b->snap.n_files++];
		f->name = put_string(&p, s->files[i].name);
		f->etag = put_string(&p, s->files[i].etag);
		f->size = s->files[i].size;
		f->mtime = s->files[i].mtime;
		f->snap = &b->snap;
		f->group = &b->group;
	}
	return 0;
}

/*
 * Archives.
 */

static bool
is_shown(const char *server)
{
	switch (archive_kind(server)) {
	case ARCHIVE_FIXED:
	case ARCHIVE_PXAR:
	case ARCHIVE_MPXAR:
		return true;
	case ARCHIVE_DYNAMIC:
		return !streq(server, "catalog.pcat1.didx");
	case ARCHIVE_BLOB:
		return !streq(server, "client.log.blob") &&
		    !streq(server, "rsa-encrypted.key.blob");
	case ARCHIVE_PPXAR:
	case ARCHIVE_MANIFEST:
	case ARCHIVE_OTHER:
		break;
	}
	return false;
}

static const struct tree_file *
payload_of(const struct base *b, const char *server)
{
	char name[NAME_LEN_MAX + 1];
	size_t len = strlen(server);
	const size_t tail = strlen(".mpxar.didx");

	if (len < tail || len > NAME_LEN_MAX)
		return NULL;
	memcpy(name, server, len + 1);
	name[len - tail + 1] = 'p';
	return tree_find_file(&b->snap, name);
}

static int
archive_init(struct base *b, struct base_archive *a,
    const struct tree_file *f)
{
	int r;

	a->base = b;
	a->kind = archive_kind(f->name);
	a->server = strdup(f->name);
	a->shown = malloc(strlen(f->name) + 1);
	a->data = calloc(1, sizeof(*a->data));
	if (a->server == NULL || a->shown == NULL || a->data == NULL)
		goto err;
	archive_shown_name(f->name, a->shown);
	a->data->file = f;
	if (a->kind == ARCHIVE_MPXAR)
		a->data->payload = payload_of(b, f->name);
	r = cond_init(&a->data->cond);
	if (r < 0)
		goto err_init;
	r = -pthread_mutex_init(&a->data->lock, NULL);
	if (r < 0) {
		pthread_cond_destroy(&a->data->cond);
		goto err_init;
	}
	return 0;

err:
	r = -ENOMEM;
err_init:
	free(a->server);
	free(a->shown);
	free(a->data);
	return r;
}

static void
archive_fini(struct base_archive *a)
{
	struct base_archive_data *x = a->data;

	base_links_free(a);
	base_opened_free(x->opened);
	reader_unref(x->payload_stream);
	pthread_cond_destroy(&x->cond);
	pthread_mutex_destroy(&x->lock);
	free(x);
	free(a->server);
	free(a->shown);
}

static int
by_shown(const void *pa, const void *pb)
{
	const struct base_archive *a = pa, *b = pb;
	int c = strcmp(a->shown, b->shown);

	return c != 0 ? c : strcmp(a->server, b->server);
}

/* Of files that would be shown alike only one can be; which one, is the same
 * whenever the base is opened. */
static void
drop_doubles(struct base *b)
{
	struct base_archive *a = b->archives;
	size_t i, n = 0;

	for (i = 0; i < b->n_archives; i++) {
		if (n > 0 && streq(a[n - 1].shown, a[i].shown)) {
			log_warn("%s/%s/%s: %s is not in the open snapshot, "
			    "%s has its name", backup_type_name(b->group.type),
			    b->group.id, b->snap.name, a[i].server,
			    a[n - 1].server);
			archive_fini(&a[i]);
			continue;
		}
		a[n++] = a[i];
	}
	b->n_archives = n;
	for (i = 0; i < n; i++)
		a[i].ordinal = (uint32_t)i;
}

static int
add_archives(struct base *b)
{
	size_t i;
	int r;

	if (b->snap.n_files == 0)
		return 0;
	b->archives = calloc(b->snap.n_files, sizeof(*b->archives));
	if (b->archives == NULL)
		return -ENOMEM;
	for (i = 0; i < b->snap.n_files; i++) {
		if (!is_shown(b->snap.files[i].name))
			continue;
		r = archive_init(b, &b->archives[b->n_archives],
		    &b->snap.files[i]);
		if (r < 0)
			return r;
		b->n_archives++;
	}
	if (b->n_archives > 0)
		qsort(b->archives, b->n_archives, sizeof(*b->archives),
		    by_shown);
	drop_doubles(b);
	return 0;
}

int
base_open(struct repo *repo, const struct tree_snap *s, struct base **ret)
{
	struct base *b = calloc(1, sizeof(*b));
	int r;

	if (b == NULL)
		return -ENOMEM;
	r = -pthread_mutex_init(&b->lock, NULL);
	if (r < 0) {
		free(b);
		return r;
	}
	b->refs = 1;
	b->repo = repo;
	TAILQ_INIT(&b->dirs);
	r = s != NULL ? copy_snap(b, s) : 0;
	if (r == 0)
		r = add_archives(b);
	if (r < 0) {
		base_unref(b);
		return r;
	}
	*ret = b;
	return 0;
}

int
base_open_gone(struct repo *repo, const struct group_name *g, int64_t time,
    char *const *servers, size_t n, struct base **ret)
{
	struct tree_ns ns = {.name = "", .path = g->ns};
	struct tree_group group = {.type = g->type, .id = g->id, .ns = &ns};
	struct tree_snap snap = {.time = time, .group = &group};
	size_t i;
	int r;

	if (clock_format_utc(snap.name, time) < 0)
		return -EBADMSG;
	snap.files = calloc(MAX(n, 1), sizeof(*snap.files));
	if (snap.files == NULL)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		snap.files[i].name = servers[i];
		snap.files[i].etag = "";
	}
	snap.n_files = n;
	r = base_open(repo, &snap, ret);
	if (r == 0)
		(*ret)->gone = true;
	free(snap.files);
	return r;
}

struct base *
base_ref(struct base *b)
{
	__atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED);
	return b;
}

void
base_unref(struct base *b)
{
	size_t i;

	if (b == NULL ||
	    __atomic_fetch_sub(&b->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	base_dirs_free(b);
	for (i = 0; i < b->n_archives; i++)
		archive_fini(&b->archives[i]);
	free(b->archives);
	free(b->snap.files);
	free(b->strings);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

int64_t
base_time(const struct base *b)
{
	return b->snap.time;
}

size_t
base_count(const struct base *b)
{
	return b->n_archives;
}

struct base_archive *
base_archive(struct base *b, size_t i)
{
	return &b->archives[i];
}

struct base_archive *
base_find(struct base *b, const char *shown)
{
	size_t low = 0, high = b->n_archives, mid;
	int c;

	while (low < high) {
		mid = low + (high - low) / 2;
		c = strcmp(b->archives[mid].shown, shown);
		if (c == 0)
			return &b->archives[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

int
base_manifest(struct base *b, unsigned flags, struct manifest **ret)
{
	return b->gone ? -ENOENT :
	    repo_manifest(b->repo, &b->snap, flags, ret);
}

int
base_csum(struct base_archive *a, unsigned flags, struct digest *ret)
{
	const struct manifest_file *f;
	struct manifest *m;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (a->data->has_expect) {
		*ret = a->data->expect;
		return 0;
	}
	r = repo_manifest(a->base->repo, &a->base->snap, flags, &m);
	if (r == -EAGAIN || repo_is_outage(r))
		return r;
	if (r < 0)
		return 0;
	f = manifest_find(m, a->server);
	if (f != NULL)
		*ret = f->csum;
	manifest_unref(m);
	return 0;
}

void
base_expect(struct base_archive *a, const struct digest *csum)
{
	const struct digest none = {{0}};

	a->data->expect = *csum;
	a->data->has_expect = !digest_eq(csum, &none);
}

/*
 * Numbers.
 */

bool
base_is_tree(const struct base_archive *a)
{
	return a->kind == ARCHIVE_PXAR || a->kind == ARCHIVE_MPXAR;
}

uint64_t
base_span(const struct base_archive *a)
{
	/* Of a fixed index an entry is a digest, of a dynamic one more. */
	uint64_t chunks = a->data->file->size / DIGEST_LEN + 1, span;

	if (!base_is_tree(a))
		return 1;
	if (__builtin_mul_overflow(chunks, (uint64_t)CHUNK_CONTENT_MAX, &span))
		return SPAN_MAX;
	return MIN(2 + (span >> POS_SHIFT), SPAN_MAX);
}

uint64_t
base_number(const struct base_archive *a, uint64_t pos)
{
	struct base_archive_data *x = a->data;
	struct opened *o;

	if (!base_is_tree(a))
		return a->first;
	{
		LOCK(&x->lock);
		o = x->opened;
	}
	if (o != NULL && pos == pxar_root(o->px[0]))
		return a->first;
	return a->first + 1 + (pos >> POS_SHIFT);
}
