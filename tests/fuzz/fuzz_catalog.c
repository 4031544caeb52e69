/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "pbs/catalog.h"

#define MAX_TABLES 1000
#define MAX_DIRS 1000

struct walk {
	const uint8_t *p;
	size_t len;
	uint64_t pos;
	uint64_t todo[MAX_DIRS];
	size_t n;
	struct catalog_writer *w;
};

static int
see(void *arg, const struct catalog_entry *e)
{
	const char *p, *end;
	struct walk *x = arg;

	p = (const char *)x->p;
	end = p + x->len;
	FUZZ_CHECK(e->name >= p && e->name < end);
	FUZZ_CHECK(e->name_len > 0 &&
	    e->name_len <= (size_t)(end - e->name));
	FUZZ_CHECK(memchr(e->name, '/', e->name_len) == NULL);
	if (e->type == CATALOG_DIR) {
		FUZZ_CHECK(e->dir < x->pos);
		if (x->n < MAX_DIRS)
			x->todo[x->n++] = e->dir;
		return 0;
	}
	/* What can be read can be written. */
	FUZZ_CHECK(catalog_writer_add(x->w, e) == 0);
	return 0;
}

static int
count(void *arg, const struct catalog_entry *e)
{
	FUZZ_CHECK(e->type == CATALOG_DIR && e->name_len == 1);
	(*(size_t *)arg)++;
	return 0;
}

static void
check_written(struct catalog_writer *w, size_t dirs)
{
	struct buf *b;
	uint64_t root;
	size_t n = 0;

	FUZZ_CHECK(catalog_writer_finish(w, &b) == 0);
	FUZZ_CHECK(catalog_root(b->data, b->len, &root) == 0);
	FUZZ_CHECK(catalog_table(b->data, b->len, root, count, &n) == 0);
	FUZZ_CHECK(n == dirs);
	buf_unref(b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct walk x = {.p = p, .len = len};
	size_t tables = 0;
	int r;

	if (catalog_root(p, len, &x.todo[0]) < 0)
		return 0;
	if (catalog_writer_new(&x.w) < 0)
		return 0;
	x.n = 1;
	while (x.n > 0 && tables < MAX_TABLES) {
		x.pos = x.todo[--x.n];
		FUZZ_CHECK(catalog_writer_open(x.w, "x", 1) == 0);
		r = catalog_table(p, len, x.pos, see, &x);
		FUZZ_CHECK(r == 0 || r == -EBADMSG);
		FUZZ_CHECK(catalog_writer_close(x.w) == 0);
		tables++;
	}
	check_written(x.w, tables);
	catalog_writer_free(x.w);
	return 0;
}
