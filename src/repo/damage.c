/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/damage.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"

struct place {
	char *path;		/* owned */
	uint64_t off, len;
};

struct finding {
	char *key;		/* owned; NULL: a chunk */
	struct digest digest;
	char *why;		/* owned */
	struct place *places;	/* owned */
	size_t n_places;
	size_t n_more;		/* places that were not kept */
};

struct damage {
	pthread_mutex_t lock;	/* guards all below */
	struct finding *list;	/* owned; in the order they were found */
	size_t n;
	size_t n_more;		/* findings that were not kept */
	size_t bytes;		/* of all that is kept */
	damage_chunk_fn *fn;
	void *arg;		/* borrowed */
	unsigned telling;	/* calls of fn that have not returned */
	pthread_cond_t told;
};

int
damage_new(struct damage **ret)
{
	struct damage *d;
	int r;

	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return -ENOMEM;
	r = cond_init(&d->told);
	if (r < 0) {
		free(d);
		return r;
	}
	pthread_mutex_init(&d->lock, NULL);
	*ret = d;
	return 0;
}

void
damage_free(struct damage *d)
{
	size_t i, k;

	if (d == NULL)
		return;
	for (i = 0; i < d->n; i++) {
		for (k = 0; k < d->list[i].n_places; k++)
			free(d->list[i].places[k].path);
		free(d->list[i].places);
		free(d->list[i].key);
		free(d->list[i].why);
	}
	free(d->list);
	pthread_cond_destroy(&d->told);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* Findings are few and looked up only when something fails. */
static struct finding *
find(struct damage *d, const struct digest *digest, const char *key)
{
	size_t i;

	for (i = 0; i < d->n; i++) {
		if (key != NULL) {
			if (d->list[i].key != NULL &&
			    streq(d->list[i].key, key))
				return &d->list[i];
		} else if (d->list[i].key == NULL &&
		    digest_eq(&d->list[i].digest, digest)) {
			return &d->list[i];
		}
	}
	return NULL;
}

/* Whether n more bytes may be kept; they count from then on. */
static bool
reserve(struct damage *d, size_t n)
{
	if (n > DAMAGE_BYTES_MAX - d->bytes)
		return false;
	d->bytes += n;
	return true;
}

static void
set_why(struct damage *d, struct finding *f, const char *why)
{
	size_t old = strlen(f->why), len = strlen(why);
	char *copy;

	if (streq(f->why, why) || !reserve(d, len))
		return;
	copy = strdup(why);
	if (copy == NULL) {
		d->bytes -= len;
		return;
	}
	free(f->why);
	f->why = copy;
	d->bytes -= old;
}

/* True if this was not known before. */
static bool
record(struct damage *d, const struct digest *digest, const char *key,
    const char *why)
{
	struct finding *f, *p;
	size_t bytes = sizeof(*f) + strlen(why) + 1;

	LOCK(&d->lock);
	f = find(d, digest, key);
	if (f != NULL) {
		set_why(d, f, why);
		return false;
	}
	if (key != NULL)
		bytes += strlen(key) + 1;
	if (d->n >= DAMAGE_MAX || !reserve(d, bytes)) {
		d->n_more++;
		return true;
	}
	/* Out of memory: the finding is still counted. */
	p = reallocarray(d->list, d->n + 1, sizeof(*p));
	if (p == NULL) {
		d->bytes -= bytes;
		d->n_more++;
		return true;
	}
	d->list = p;
	f = &p[d->n];
	memset(f, 0, sizeof(*f));
	f->why = strdup(why);
	if (key != NULL)
		f->key = strdup(key);
	else
		f->digest = *digest;
	if (f->why == NULL || (key != NULL && f->key == NULL)) {
		free(f->why);
		free(f->key);
		d->bytes -= bytes;
		d->n_more++;
		return true;
	}
	d->n++;
	return true;
}

static void
tell(struct damage *d, const struct digest *digest)
{
	damage_chunk_fn *fn;
	void *arg;

	{
		LOCK(&d->lock);
		fn = d->fn;
		arg = d->arg;
		if (fn == NULL)
			return;
		d->telling++;
	}
	fn(arg, digest);
	LOCK(&d->lock);
	d->telling--;
	pthread_cond_broadcast(&d->told);
}

void
damage_listen(struct damage *d, damage_chunk_fn *fn, void *arg)
{
	LOCK(&d->lock);

	d->fn = fn;
	d->arg = arg;
	while (fn == NULL && d->telling > 0)
		pthread_cond_wait(&d->told, &d->lock);
}

void
damage_chunk(struct damage *d, const struct digest *digest, const char *why)
{
	char hex[DIGEST_HEX_LEN + 1];

	tell(d, digest);
	if (record(d, digest, NULL, why))
		log_limited(LOG_LVL_ERR, "chunk %s: %s",
		    digest_hex(digest, hex), why);
}

void
damage_chunk_path(struct damage *d, const struct digest *digest,
    const char *path, uint64_t off, uint64_t len)
{
	struct place *p;
	struct finding *f;
	size_t i, bytes = sizeof(*p) + strnlen(path, DAMAGE_PATH_LEN) + 1;

	LOCK(&d->lock);
	f = find(d, digest, NULL);
	if (f == NULL)
		return;
	for (i = 0; i < f->n_places; i++)
		if (f->places[i].off == off && f->places[i].len == len &&
		    strncmp(f->places[i].path, path, DAMAGE_PATH_LEN) == 0)
			return;
	if (f->n_places >= DAMAGE_PATHS_MAX || !reserve(d, bytes)) {
		f->n_more++;
		return;
	}
	p = reallocarray(f->places, f->n_places + 1, sizeof(*p));
	if (p == NULL) {
		d->bytes -= bytes;
		f->n_more++;
		return;
	}
	f->places = p;
	p += f->n_places;
	p->path = strndup(path, DAMAGE_PATH_LEN);
	p->off = off;
	p->len = len;
	if (p->path == NULL) {
		d->bytes -= bytes;
		f->n_more++;
	} else {
		f->n_places++;
	}
}

bool
damage_has_chunk(struct damage *d, const struct digest *digest)
{
	LOCK(&d->lock);
	return find(d, digest, NULL) != NULL;
}

void
damage_object(struct damage *d, const char *key, const char *why)
{
	struct str name = {0};

	if (!record(d, NULL, key, why))
		return;
	str_escape(&name, key, strlen(key));
	log_limited(LOG_LVL_ERR, "object %s: %s", str_get(&name), why);
	str_fini(&name);
}

size_t
damage_count(struct damage *d)
{
	LOCK(&d->lock);
	return d->n + d->n_more;
}

static void
finding_text(const struct finding *f, struct str *out)
{
	char hex[DIGEST_HEX_LEN + 1];
	const struct place *p;
	uint64_t end;
	size_t i;

	if (f->key == NULL) {
		str_addf(out, "chunk %s ", digest_hex(&f->digest, hex));
	} else {
		str_add(out, "object ");
		str_escape(out, f->key, strlen(f->key));
		str_addc(out, ' ');
	}
	str_escape(out, f->why, strlen(f->why));
	str_addc(out, '\n');
	for (i = 0; i < f->n_places; i++) {
		p = &f->places[i];
		if (__builtin_add_overflow(p->off, p->len, &end))
			end = UINT64_MAX;
		str_add(out, "    ");
		str_escape(out, p->path, strlen(p->path));
		str_addf(out, " bytes %" PRIu64 "-%" PRIu64 "\n", p->off, end);
	}
	if (f->n_more > 0)
		str_addf(out, "    (%zu more)\n", f->n_more);
}

void
damage_text(struct damage *d, struct str *out)
{
	size_t i;

	LOCK(&d->lock);
	for (i = 0; i < d->n; i++)
		finding_text(&d->list[i], out);
	if (d->n_more > 0)
		str_addf(out, "(%zu more)\n", d->n_more);
}
