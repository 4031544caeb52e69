/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "gc_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/agent.h"
#include "pbs/index.h"
#include "repo/guard.h"
#include "repo/repo.h"
#include "store/backends.h"

#include "../cm.h"

static struct gc_filter *
filter(struct store *s)
{
	return (struct gc_filter *)s;
}

static int
f_get(struct store *s, const char *key, const struct store_get *how,
    struct buf **ret, struct store_object *ret_obj)
{
	struct gc_filter *f = filter(s);

	__atomic_fetch_add(&f->n[STORE_GET], 1, __ATOMIC_RELAXED);
	if (f->gone != NULL && streq(f->gone, key))
		return 1;
	if (f->vanish != NULL && streq(f->vanish, key)) {
		assert_int_equal(store_delete(s->below, &key, 1, NULL, NULL,
		    0), 0);
		return 1;
	}
	if (f->fail_get < 0)
		return f->fail_get;
	return store_get(s->below, key, how, ret, ret_obj);
}

static int
f_put(struct store *s, const char *key, const void *p, size_t len,
    const struct store_put *how, struct store_object *ret_obj)
{
	filter(s)->n[STORE_PUT]++;
	return store_put(s->below, key, p, len, how, ret_obj);
}

static int
f_stat(struct store *s, const char *key, deadline_t deadline,
    struct store_object *ret)
{
	filter(s)->n[STORE_STAT]++;
	return store_stat(s->below, key, deadline, ret);
}

struct listing {
	struct gc_filter *f;
	bool chunks;
	store_list_fn *fn;
	void *arg;
	uint64_t n;
};

static int
f_object(void *arg, const char *key, const struct store_object *o)
{
	struct listing *l = arg;
	struct store_object x = *o;

	if (l->n > 0 && l->n % GC_PAGE == 0)
		l->f->n[STORE_LIST]++;
	l->n++;
	if (l->chunks && l->f->fail_list < 0 && l->n == l->f->fail_list_at)
		return l->f->fail_list;
	if (l->chunks) {
		x.mtime -= l->f->age;
		if (x.atime != 0)
			x.atime -= l->f->age;
	}
	return l->fn(l->arg, key, &x);
}

static int
f_list(struct store *s, const char *prefix, const char *start_after,
    store_list_fn *fn, void *arg)
{
	struct listing l = {filter(s), str_starts(prefix, ".chunks/"), fn, arg,
	    0};

	filter(s)->n[STORE_LIST]++;
	return store_list(s->below, prefix, start_after, f_object, &l);
}

static int
f_del(struct store *s, const char *const *keys, size_t n, store_delete_fn *fn,
    void *arg, deadline_t deadline)
{
	struct gc_filter *f = filter(s);
	int r = 0;

	assert_in_range(n, 1, GC_PAGE);
	assert_in_range(deadline_left(deadline), 1, GUARD_DELETE_MS);
	f->n[STORE_DELETE]++;
	for (size_t i = 0; i < n; i++) {
		if (f->refuse != NULL && str_ends(keys[i], f->refuse)) {
			fn(arg, keys[i], "AccessDenied");
			r = -EIO;
		} else {
			assert_int_equal(store_delete(s->below, &keys[i], 1,
			    NULL, NULL, deadline), 0);
			if (f->fail_delete < 0)
				fn(arg, keys[i], "broken pipe");
		}
	}
	if (f->stop_at_delete != NULL)
		atomic_store(f->stop_at_delete, true);
	return f->fail_delete < 0 ? f->fail_delete : r;
}

static int
f_touch(struct store *s, const char *key)
{
	filter(s)->n[STORE_TOUCH]++;
	return store_touch(s->below, key);
}

static void
f_counts(struct store *s, struct store_counts *ret)
{
	ret->retries = filter(s)->retries;
}

static int
f_skew(struct store *s, int64_t *ret)
{
	*ret = filter(s)->skew;
	return 0;
}

static void
f_free(struct store *s)
{
	free(s);
}

static struct gc_filter *
filter_new(struct store *below)
{
	static const struct store_ops ops = {
	    .get = f_get,
	    .put = f_put,
	    .stat = f_stat,
	    .list = f_list,
	    .del = f_del,
	    .touch = f_touch,
	    .counts = f_counts,
	    .skew = f_skew,
	    .free = f_free,
	};
	struct gc_filter *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->s.ops = &ops;
	f->s.below = below;
	f->s.name = "gc-test";
	return f;
}

static void
on_event(void *arg, enum gc_event e, const char *key, const char *text)
{
	struct gc_world *w = arg;
	struct gc_told *t = &w->told[w->n_told];

	w->count[e]++;
	if (w->n_told == EVENTS_MAX)
		return;
	t->e = e;
	snprintf(t->key, sizeof(t->key), "%s", key);
	snprintf(t->text, sizeof(t->text), "%s", text);
	w->n_told++;
}

void
gc_world_open(struct gc_world *w, bool is_dir)
{
	struct repo_opts ro = {.name = "test"};
	struct agent_local al = {0};
	struct store *s;

	memset(w, 0, sizeof(*w));
	snprintf(w->dir, sizeof(w->dir), "/tmp/test-gc-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->base, sizeof(w->base), "%s/store", w->dir);
	snprintf(w->work, sizeof(w->work), "%s/work", w->dir);
	if (is_dir) {
		char chunks[96];

		/* The others of the 65536 are made when they are needed. */
		snprintf(chunks, sizeof(chunks), "%s/.chunks", w->base);
		assert_int_equal(io_mkdirs(AT_FDCWD, chunks, 0755), 0);
		assert_int_equal(store_dir_new(w->base, &s), 0);
	} else {
		static const struct store_put how;

		assert_int_equal(store_mem_new(&s), 0);
		assert_int_equal(store_put(s, ".in-use", "{}", 2, &how, NULL),
		    0);
	}
	w->f = filter_new(s);
	assert_int_equal(repo_open(&w->f->s, &ro, &w->repo), 0);
	assert_int_equal(guard_new(NULL, NULL, &w->guard), 0);
	guard_set_grace(w->guard, 1);
	al.repo = w->repo;
	al.guard = w->guard;
	assert_int_equal(agent_local_new(&al, &w->agent), 0);
	w->o.repo = w->repo;
	w->o.agent = w->agent;
	w->o.work = w->work;
	w->o.cutoff = -1;
	w->o.event = on_event;
	w->o.arg = w;
}

void
gc_world_close(struct gc_world *w)
{
	agent_free(w->agent);
	guard_shutdown(w->guard);
	guard_free(w->guard);
	repo_free(w->repo);
	assert_int_equal(io_remove_tree(AT_FDCWD, w->dir), 0);
}

int
gc_world_run(struct gc_world *w)
{
	w->n_told = 0;
	memset(w->count, 0, sizeof(w->count));
	memset(w->f->n, 0, sizeof(w->f->n));
	return gc_run(&w->o, &w->res);
}

struct digest
gc_digest(uint64_t n)
{
	uint8_t b[8];

	put_le64(b, n);
	return digest_of(b, sizeof(b));
}

const char *
gc_key(uint64_t n)
{
	static char key[KEY_CHUNK_LEN + 1];
	struct digest d = gc_digest(n);

	key_chunk(&d, key);
	return key;
}

void
gc_put(struct gc_world *w, const char *key, const char *content)
{
	static const struct store_put how;

	assert_int_equal(store_put(w->f->s.below, key, content,
	    strlen(content), &how, NULL), 0);
}

void
gc_put_chunk(struct gc_world *w, uint64_t n)
{
	gc_put(w, gc_key(n), "ten bytes.");
}

bool
gc_has(struct gc_world *w, const char *key)
{
	struct store_object o;
	int r = store_stat(w->f->s.below, key, 0, &o);

	assert_in_range(r, 0, 1);
	return r == 0;
}

bool
gc_has_chunk(struct gc_world *w, uint64_t n)
{
	return gc_has(w, gc_key(n));
}

void
gc_remove(struct gc_world *w, const char *key)
{
	assert_int_equal(store_delete(w->f->s.below, &key, 1, NULL, NULL, 0),
	    0);
}

void *
gc_index_file(uint64_t from, uint64_t to, int64_t ctime, size_t *ret_len)
{
	static const uint8_t uuid[16];
	struct index_writer *x;
	struct buf *b;
	void *p;

	assert_int_equal(index_writer_dynamic(&x), 0);
	for (uint64_t i = from; i < to; i++) {
		struct digest d = gc_digest(i);

		assert_int_equal(index_writer_add(x, 100, &d), 0);
	}
	assert_int_equal(index_writer_finish(x, uuid, ctime, &b), 0);
	index_writer_free(x);
	p = malloc(b->len);
	assert_non_null(p);
	memcpy(p, b->data, b->len);
	*ret_len = b->len;
	buf_unref(b);
	return p;
}

void
gc_put_index(struct gc_world *w, const char *key, uint64_t from, uint64_t to)
{
	static const struct store_put how;
	static int64_t ctime;
	size_t len;
	void *p = gc_index_file(from, to, ++ctime, &len);

	assert_int_equal(store_put(w->f->s.below, key, p, len, &how, NULL), 0);
	free(p);
}

const struct gc_told *
gc_told(const struct gc_world *w, enum gc_event e, const char *key)
{
	for (size_t i = 0; i < w->n_told; i++)
		if (w->told[i].e == e && streq(w->told[i].key, key))
			return &w->told[i];
	return NULL;
}
