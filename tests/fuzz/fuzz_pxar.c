/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/num.h"
#include "pbs/acl.h"
#include "pbs/pxar.h"
#include "pbs/pxar_format.h"

/* The stream; the bytes serve as payload stream too. */
struct input {
	const uint8_t *p;	/* borrowed */
	size_t len;
	size_t reads;
	struct pxar *a;		/* owned */
	uint64_t *todo;		/* owned; directories to walk */
	size_t n_todo, size_todo;
	size_t n_entries;
};

static int
read_input(void *arg, void *p, size_t len, uint64_t off)
{
	struct input *in = arg;

	FUZZ_CHECK(off <= in->len && len <= in->len - off);
	memcpy(p, in->p + off, len);
	in->reads++;
	return 0;
}

static int
checked(int r)
{
	FUZZ_CHECK(r == 0 || r == -EBADMSG || r == -ENOENT);
	return r;
}

static void
look_at(struct input *in, const struct pxar_entry *e)
{
	struct pxar_source src = {read_input, in, in->len};
	struct buf *b;
	uint64_t off;

	FUZZ_CHECK(e->begin <= e->end && e->end <= in->len);
	FUZZ_CHECK(e->mtime_nsec < 1000000000);
	FUZZ_CHECK(S_ISLNK(e->mode) == (e->target != NULL));
	if (S_ISLNK(e->mode))
		FUZZ_CHECK(strlen(e->target) == e->size);
	if (S_ISREG(e->mode) && !e->is_ref)
		FUZZ_CHECK(e->content + e->size <= in->len);
	if (e->is_ref && checked(pxar_check_payload(&src, e, &off)) == 0)
		FUZZ_CHECK(off + e->size <= in->len);
	if (acl_access(e, &b) == 0)
		buf_unref(b);
	if (acl_default(e, &b) == 0)
		buf_unref(b);
}

/* What a directory lists is what its name and its position lead to. */
static void
look_again(struct input *in, struct pxar_dir *d, const char *name,
    const struct pxar_entry *e)
{
	struct pxar_entry f;
	char *path;

	if (checked(pxar_dir_find(in->a, d, name, strlen(name), 0, &f)) == 0)
		look_at(in, &f);
	pxar_entry_fini(&f);
	if (checked(pxar_stat(in->a, e->pos, PXAR_META, &f)) == 0) {
		FUZZ_CHECK(f.pos == e->pos && f.mode == e->mode);
		FUZZ_CHECK(f.size == e->size && f.content == e->content);
		look_at(in, &f);
	}
	pxar_entry_fini(&f);
	if (checked(pxar_path(in->a, e->pos, &path)) == 0)
		free(path);
}

static void
list(struct input *in, uint64_t pos)
{
	char name[PXAR_NAME_MAX + 1];
	struct pxar_entry e;
	struct pxar_dir *d;
	uint64_t link;
	size_t i;
	int r;

	if (checked(pxar_dir_open(in->a, pos, &d)) != 0)
		return;
	FUZZ_CHECK(pxar_dir_memory(d) <= 4096 + 2 * in->len);
	for (i = 0; i < pxar_dir_count(d); i++) {
		in->n_entries++;
		r = pxar_dir_entry(in->a, d, i, PXAR_META, name, &e, &link);
		if (checked(r) != 0)
			continue;
		FUZZ_CHECK(name[0] != '\0' && strchr(name, '/') == NULL);
		FUZZ_CHECK(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
		look_at(in, &e);
		if (i < 256)
			look_again(in, d, name, &e);
		if (S_ISDIR(e.mode)) {
			FUZZ_CHECK(e.pos < pos && in->n_todo < in->size_todo);
			in->todo[in->n_todo++] = e.pos;
		}
		pxar_entry_fini(&e);
	}
	pxar_dir_unref(d);
}

static int
note(void *arg, uint64_t pos)
{
	size_t *n = arg;

	(void)pos;
	++*n;
	return 0;
}

/* Inode numbers come from outside: any position may be asked for. */
static void
look_everywhere(struct input *in)
{
	size_t i, step = MAX(in->len / 512, 1);
	struct pxar_entry e;
	struct pxar_dir *d;
	uint64_t type;
	char *path;

	for (i = 0; i + 8 <= in->len; i++) {
		type = get_le64(in->p + i);
		if (type != PXAR_FILENAME && type != PXAR_GOODBYE &&
		    i % step != 0)
			continue;
		if (checked(pxar_stat(in->a, i, PXAR_META, &e)) == 0)
			look_at(in, &e);
		pxar_entry_fini(&e);
		if (checked(pxar_dir_open(in->a, i, &d)) == 0)
			pxar_dir_unref(d);
		if (i % step == 0 &&
		    checked(pxar_path(in->a, i, &path)) == 0)
			free(path);
	}
}

static void
run(const uint8_t *p, size_t len)
{
	struct input in = {.p = p, .len = len};
	struct pxar_source src = {read_input, &in, len};
	size_t n_links = 0;

	if (checked(pxar_open(&src, &in.a)) != 0)
		return;
	/* Tables are disjoint, so no walk meets more entries than this. */
	in.size_todo = len / PXAR_ITEM_SIZE + 1;
	in.todo = calloc(in.size_todo, sizeof(*in.todo));
	if (in.todo == NULL)
		abort();
	in.todo[in.n_todo++] = pxar_root(in.a);
	while (in.n_todo > 0)
		list(&in, in.todo[--in.n_todo]);
	FUZZ_CHECK(in.n_entries <= len / PXAR_ITEM_SIZE);
	in.reads = 0;
	FUZZ_CHECK(pxar_links(in.a, note, &n_links) == 0);
	FUZZ_CHECK(n_links <= in.n_entries);
	FUZZ_CHECK(in.reads <= 16 * in.n_entries + len / 256 + 16);
	look_everywhere(&in);
	free(in.todo);
	pxar_close(in.a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	uint64_t table;
	uint8_t *q;

	run(p, len);
	/* Once more with an end that fits the length: a byte more or less
	 * anywhere would otherwise end it all. */
	if (len < PXAR_HEADER_SIZE + PXAR_ITEM_SIZE)
		return 0;
	table = get_le64(p + len - 8);
	if (table > len)
		return 0;
	q = malloc(len);
	if (q == NULL)
		return 0;
	memcpy(q, p, len);
	put_le64(q + len - PXAR_ITEM_SIZE, PXAR_TAIL_HASH);
	put_le64(q + len - 16, len - table);
	run(q, len);
	free(q);
	return 0;
}
