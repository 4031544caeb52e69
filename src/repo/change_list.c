/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/change_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"

#define WARN_MAX 20

void
change_list_add(void *arg, enum repo_change what, enum repo_change_kind kind,
    const char *path)
{
	struct change_list *l = arg;
	char *copy;

	if (l->v == NULL)
		l->v = calloc(CHANGE_LIST_MAX, sizeof(*l->v));
	copy = l->v != NULL && l->n < CHANGE_LIST_MAX ? strdup(path) : NULL;
	if (copy == NULL) {
		l->left_out++;
		return;
	}
	l->v[l->n++] = (struct change_item){
	    .what = what, .kind = kind, .path = copy};
}

int
change_list_copy(const struct change_list *l, struct change_list *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; i < l->n; i++)
		change_list_add(ret, l->v[i].what, l->v[i].kind,
		    l->v[i].path);
	if (ret->left_out > 0) {
		change_list_fini(ret);
		return -ENOMEM;
	}
	ret->left_out = l->left_out;
	return 0;
}

void
change_list_fini(struct change_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
	memset(l, 0, sizeof(*l));
}

void
change_list_warn(const struct change_list *l, const char *store)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++) {
		_cleanup_(str_fini) struct str s = {0};

		if (l->v[i].kind != REPO_IGNORED || ++n > WARN_MAX)
			continue;
		str_escape(&s, l->v[i].path, strlen(l->v[i].path));
		log_warn("%s: %s is nothing that a datastore has; it is left "
		    "alone", store, str_get(&s));
	}
	if (n > WARN_MAX)
		log_warn("%s: so are %zu more\nhint: pbs3fs refresh names them",
		    store, n - WARN_MAX);
}
