/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vfs/gen.h"

#include <errno.h>

#include "base/buf.h"
#include "base/str.h"
#include "repo/damage.h"
#include "repo/repo.h"
#include "vfs/node.h"
#include "vfs/vfs_priv.h"

const char *const gen_names[GEN_NAMES] = {"errors", "metrics", "status.json"};

static int
gen_index(const char *name)
{
	int i;

	for (i = 0; i < GEN_NAMES; i++)
		if (streq(gen_names[i], name))
			return i;
	return -ENOENT;
}

int
vfs_generate(struct vfs *v, const char *name, vfs_generate_fn *fn, void *arg)
{
	int i = gen_index(name);

	if (i < 0)
		return i;
	v->gens[i].fn = fn;
	v->gens[i].arg = arg;
	return 0;
}

int
gen_make(struct vfs *v, const struct node *n, struct buf **ret)
{
	struct str text = {0};
	int i = gen_index(n->name), r;

	if (i < 0)
		return i;
	if (v->gens[i].fn != NULL)
		v->gens[i].fn(v->gens[i].arg, &text);
	else if (streq(n->name, "errors"))
		damage_text(repo_damage(v->repo), &text);
	r = str_error(&text);
	if (r == 0) {
		*ret = buf_copy(str_get(&text), text.len);
		r = *ret != NULL ? 0 : -ENOMEM;
	}
	str_fini(&text);
	return r;
}
