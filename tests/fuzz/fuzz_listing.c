/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <string.h>
#include <xxhash.h>

#include "base/num.h"
#include "repo/listing.h"
#include "repo/tree.h"

static void
check_file(const struct tree_file *f, const struct tree_group *g,
    const struct tree_snap *s)
{
	char key[KEY_MAX + 1];
	struct key_parts k;

	FUZZ_CHECK(f->group == g && f->snap == s);
	/* Names may be as long as keys allow, and then the key just fits. */
	FUZZ_CHECK(tree_file_key(f, key) == 0);
	key_parse(key, &k);
	FUZZ_CHECK(strcmp(k.ns, g->ns->path) == 0);
	FUZZ_CHECK(k.type == g->type && strlen(g->id) == k.id_len &&
	    strncmp(g->id, k.id, k.id_len) == 0);
	if (s != NULL)
		FUZZ_CHECK(k.kind == KEY_FILE && k.time == s->time &&
		    strcmp(k.file, f->name) == 0 &&
		    tree_find_file(s, f->name) == f);
	else
		FUZZ_CHECK(k.kind == KEY_OWNER || k.kind == KEY_NOTES);
}

static void
check_group(const struct tree_group *g, const struct tree_ns *ns)
{
	const struct tree_snap *s;
	size_t i, k;

	FUZZ_CHECK(g->ns == ns);
	FUZZ_CHECK(g->owner != NULL || g->n_snaps > 0);
	FUZZ_CHECK(tree_find_group(ns, g->type, g->id) == g);
	if (g->owner != NULL)
		check_file(g->owner, g, NULL);
	if (g->notes != NULL)
		check_file(g->notes, g, NULL);
	for (i = 0; i < g->n_snaps; i++) {
		s = &g->snaps[i];
		FUZZ_CHECK(s->group == g && tree_find_snap(g, s->time) == s);
		FUZZ_CHECK(i == 0 || s[-1].time < s->time);
		FUZZ_CHECK(s->finished ==
		    (tree_find_file(s, "index.json.blob") != NULL));
		for (k = 0; k < s->n_files; k++)
			check_file(&s->files[k], g, s);
	}
}

/* Everything is where its key says, sorted, and found again. */
static void
check_tree(const struct tree *t)
{
	const struct tree_ns *ns;
	size_t i, k;

	FUZZ_CHECK(t->n_ns > 0 && t->root == t->all_ns);
	for (i = 0; i < t->n_ns; i++) {
		ns = &t->all_ns[i];
		FUZZ_CHECK(ns_is_valid(ns->path));
		FUZZ_CHECK(tree_find_ns(t, ns->path) == ns);
		FUZZ_CHECK((ns->parent == NULL) == (ns == t->root));
		for (k = 0; k < ns->n_children; k++)
			FUZZ_CHECK(ns->children[k]->parent == ns &&
			    (k == 0 || strcmp(ns->children[k - 1]->name,
			    ns->children[k]->name) < 0));
		for (k = 0; k < ns->n_groups; k++)
			check_group(&ns->groups[k], ns);
	}
}

static int
add(void *arg, const char *key, const struct store_object *o)
{
	return tree_builder_add(arg, key, o->size, o->mtime, o->etag);
}

static void
add_lines(struct tree_builder *b, const uint8_t *p, size_t len)
{
	char *text = malloc(len + 1), *line, *save = NULL;

	if (text == NULL)
		return;
	memcpy(text, p, len);
	text[len] = '\0';
	for (line = strtok_r(text, "\n", &save); line != NULL;
	    line = strtok_r(NULL, "\n", &save))
		if (tree_builder_add(b, line, len, 1, "x") < 0)
			break;
	free(text);
}

/* A kept listing, which gets a right checksum, or keys, one a line. */
int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	struct tree_builder *b;
	uint8_t *copy;
	struct tree *t;
	int64_t at;

	if (len < 8 || tree_builder_new(&b) < 0)
		return 0;
	if (memcmp(p, "p3list", 6) != 0) {
		add_lines(b, p, len);
	} else {
		copy = malloc(len);
		if (copy != NULL) {
			memcpy(copy, p, len);
			put_le64(copy + len - 8, XXH3_64bits(copy, len - 8));
			(void)listing_parse(copy, len, add, b, &at);
			free(copy);
		}
	}
	if (tree_builder_finish(b, &t) < 0)
		return 0;
	check_tree(t);
	tree_unref(t);
	return 0;
}
