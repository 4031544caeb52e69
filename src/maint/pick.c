/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/pick.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool
ns_has(const char *ns, const char *path)
{
	size_t len = strlen(ns);

	return len == 0 || (strncmp(ns, path, len) == 0 &&
	    (path[len] == '\0' || path[len] == '/'));
}

static bool
is_group(const struct pick *p, const struct tree_group *g)
{
	return streq(p->group.ns, g->ns->path) && p->group.type == g->type &&
	    streq(p->group.id, g->id);
}

bool
pick_has_ns(const struct pick *p, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].kind == PICK_NS && ns_has(p[i].group.ns, path))
			return true;
	return n == 0;
}

bool
pick_has_group(const struct pick *p, size_t n, const struct tree_group *g)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].kind == PICK_GROUP && is_group(&p[i], g))
			return true;
	return pick_has_ns(p, n, g->ns->path);
}

bool
pick_has_snap(const struct pick *p, size_t n, const struct tree_snap *s)
{
	for (size_t i = 0; i < n; i++)
		if (p[i].kind == PICK_SNAP && p[i].time == s->time &&
		    is_group(&p[i], s->group))
			return true;
	return pick_has_group(p, n, s->group);
}

bool
pick_is_there(const struct pick *p, const struct tree *t)
{
	switch (p->kind) {
	case PICK_NS:
		return tree_find_ns(t, p->group.ns) != NULL;
	case PICK_GROUP:
		return edit_find_group(t, &p->group) != NULL;
	case PICK_SNAP:
		break;
	}
	return edit_find_snap(t, &p->group, p->time) != NULL;
}

void
pick_path(const struct tree_snap *s, const char *file, struct str *out)
{
	const char *ns = s->group->ns->path;

	for (const char *end; *ns != '\0'; ns = *end == '/' ? end + 1 : end) {
		end = strchrnul(ns, '/');
		str_add(out, "ns/");
		str_addn(out, ns, (size_t)(end - ns));
		str_addc(out, '/');
	}
	str_addf(out, "%s/%s/%s", backup_type_name(s->group->type),
	    s->group->id, s->name);
	if (file != NULL)
		str_addf(out, "/%s", file);
}

void
pick_group_name(const struct tree_group *g, struct group_name *ret)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->ns, sizeof(ret->ns), "%s", g->ns->path);
	ret->type = g->type;
	snprintf(ret->id, sizeof(ret->id), "%s", g->id);
}
