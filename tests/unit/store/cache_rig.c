/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache_rig.h"

#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/num.h"
#include "scratch.h"
#include "store/backends.h"
#include "store/cache.h"

#include "../cm.h"

struct rig
rig_open(const char *scratch, uint64_t limit, uint64_t floor)
{
	struct rig g = {.dir = ""};
	const struct store_cache_opts o = {
	    .dir = g.dir, .limit = limit, .floor = floor};

	snprintf(g.dir, sizeof(g.dir), "%s/cache", scratch);
	assert_int_equal(store_mem_new(&g.mem), 0);
	assert_int_equal(store_count_new(g.mem, &g.count), 0);
	assert_int_equal(store_cache_new(g.count, &o, &g.s), 0);
	return g;
}

uint64_t
rig_gets(const struct rig *g)
{
	struct store_counts c;

	store_counts(g->count, &c);
	return c.requests[STORE_GET];
}

struct store_cache_stats
rig_stats(const struct rig *g)
{
	struct store_cache_stats st;

	assert_int_equal(store_cache_stats(g->s, &st), 0);
	return st;
}

const char *
rig_key(unsigned n, char out[80])
{
	char hex[65];
	uint8_t b[32] = {0};

	put_le32(b, n * 2654435761u);
	put_le32(b + 4, n);
	hex_encode(hex, b, sizeof(b));
	snprintf(out, 80, ".chunks/%.4s/%s", hex, hex);
	return out;
}

struct buf *
rig_content(unsigned n, size_t len)
{
	struct buf *b = buf_new(len);

	for (size_t i = 0; i < len; i++)
		b->data[i] = (uint8_t)(n + i * 7);
	return b;
}

void
rig_keep(const struct rig *g, unsigned n, size_t len)
{
	struct buf *b = rig_content(n, len);
	char key[80];

	store_verdict(g->s, rig_key(n, key), b, true);
	buf_unref(b);
}

bool
rig_has(const struct rig *g, unsigned n, size_t len)
{
	const struct store_get how = {.max = GIB};
	struct buf *b = NULL, *want;
	char key[80];
	int r;

	r = store_get(g->s, rig_key(n, key), &how, &b, NULL);
	if (r == 1)
		return false;
	assert_int_equal(r, 0);
	want = rig_content(n, len);
	assert_int_equal(b->len, len);
	assert_memory_equal(b->data, want->data, len);
	buf_unref(want);
	buf_unref(b);
	return true;
}

void
rig_in_limit(const struct rig *g)
{
	struct store_cache_stats st = rig_stats(g);

	assert_true(scratch_blocks(g->dir) <= st.limit);
	assert_true(st.used <= st.limit);
	assert_true(scratch_blocks(g->dir) <= st.used);
}

void
rig_settle(const struct rig *g)
{
	struct cache *c = (struct cache *)g->s;

	for (int i = 0; i < 1000; i++) {
		bool done;

		pthread_mutex_lock(&c->lock);
		done = c->inserting;
		pthread_mutex_unlock(&c->lock);
		if (done)
			return;
		usleep(10000);
	}
	fail_msg("the cache does not settle");
}

const char *
rig_file(const char *dir, unsigned n)
{
	char key[80];

	return scratch_path(dir, rig_key(n, key));
}

uint64_t
rig_count_chunks(const char *dir)
{
	return scratch_files(scratch_path(dir, ".chunks"));
}
