/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/dir_names.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

static bool
is(const char *name, size_t len, const char *text)
{
	return strlen(text) == len && memcmp(name, text, len) == 0;
}

/*
 * What is being written, by Proxmox Backup or by us, has an extension "tmp",
 * "tmp_XXXXXX", "tmp_fidx" or "tmp_didx"; crashes leave such files behind.
 */
bool
dir_names_is_unfinished(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot != NULL && (streq(dot, ".tmp") || str_starts(dot, ".tmp_"));
}

static bool
is_chunk_sub(const char *name, size_t len)
{
	if (len != 4)
		return false;
	for (size_t i = 0; i < len; i++)
		if (strchr("0123456789abcdef", name[i]) == NULL)
			return false;
	return true;
}

enum dir_place
dir_names_sub(enum dir_place place, const char *name, size_t len)
{
	switch (place) {
	case DIR_ROOT:
		if (is(name, len, ".cnt"))
			return DIR_CNT;
		if (is(name, len, ".chunks"))
			return DIR_CHUNKS;
		return DIR_OBJECTS;
	case DIR_CHUNKS:
		return is_chunk_sub(name, len) ? DIR_CHUNK_SUB : DIR_NOWHERE;
	case DIR_CNT:
	case DIR_NS:
		if (is(name, len, "ns"))
			return DIR_NS_LIST;
		if (is(name, len, "ct") || is(name, len, "host") ||
		    is(name, len, "vm"))
			return DIR_BELOW;
		return DIR_NOWHERE;
	case DIR_NS_LIST:
		return name[0] != '.' ? DIR_NS : DIR_NOWHERE;
	case DIR_BELOW:
		return name[0] != '.' ? DIR_BELOW : DIR_NOWHERE;
	case DIR_OBJECTS:
		return DIR_OBJECTS;
	case DIR_NOWHERE:
	case DIR_CHUNK_SUB:
		break;
	}
	return DIR_NOWHERE;
}

bool
dir_names_file(enum dir_place place, const char *name)
{
	switch (place) {
	case DIR_ROOT:
		return !dir_names_is_unfinished(name) && !streq(name, ".cnt") &&
		       !streq(name, ".chunks");
	case DIR_OBJECTS:
		return !dir_names_is_unfinished(name);
	case DIR_CHUNK_SUB:
		return name[0] != '.' && !dir_names_is_unfinished(name);
	case DIR_BELOW:
		return streq(name, ".protected") ||
		       (name[0] != '.' && !dir_names_is_unfinished(name));
	case DIR_NS:
		return streq(name, DIR_NAMESPACE);
	case DIR_NOWHERE:
	case DIR_CHUNKS:
	case DIR_CNT:
	case DIR_NS_LIST:
		break;
	}
	return false;
}

/*
 * Follow the directories of key.  dirs is how many bytes of it they are, with
 * the last '/', and name what comes after.
 */
struct walk {
	enum dir_place place;
	size_t skip; /* bytes of key that are not in the path */
	size_t kept; /* bytes of key of directories that stay when empty */
	size_t dirs;
};

static int
walk(const char *key, struct walk *w)
{
	enum dir_place place = DIR_ROOT;
	const char *slash, *p = key;

	memset(w, 0, sizeof(*w));
	for (; (slash = strchr(p, '/')) != NULL; p = slash + 1) {
		enum dir_place up = place;

		place = dir_names_sub(up, p, (size_t)(slash - p));
		if (place == DIR_NOWHERE)
			return 1;
		if (place == DIR_CNT)
			w->skip = (size_t)(slash + 1 - key);
		/* Groups and snapshots go with their last file, types stay. */
		if (place != DIR_OBJECTS && (place != DIR_BELOW || up != place))
			w->kept = (size_t)(slash - key);
	}
	w->place = place;
	w->dirs = (size_t)(p - key);
	return 0;
}

static void
set_path(
    struct dir_name *ret, const struct walk *w, const char *key, size_t len)
{
	const char *rel = key + w->skip;
	const char *above = "";

	ret->place = w->place;
	ret->keep = w->kept > w->skip ? w->kept - w->skip : 0;
	len -= w->skip;
	if (w->place == DIR_ROOT || w->place == DIR_OBJECTS) {
		above = len > 0 ? DIR_OBJECTS_PATH "/" : DIR_OBJECTS_PATH;
		ret->keep = strlen(DIR_OBJECTS_PATH);
	} else if (len == 0) {
		above = ".";
	}
	snprintf(ret->path, sizeof(ret->path), "%s%.*s", above, (int)len, rel);
}

int
dir_names_of_key(const char *key, struct dir_name *ret)
{
	struct walk w;

	memset(ret, 0, sizeof(*ret));
	if (walk(key, &w) != 0 || !dir_names_file(w.place, key + w.dirs))
		return 1;
	ret->is_mark = w.place == DIR_NS;
	set_path(ret, &w, key, ret->is_mark ? w.dirs - 1 : strlen(key));
	return 0;
}

int
dir_names_of_prefix(const char *prefix, struct dir_name *ret)
{
	struct walk w;

	memset(ret, 0, sizeof(*ret));
	if (walk(prefix, &w) != 0)
		return 1;
	set_path(ret, &w, prefix,
	    w.dirs > 0 && w.dirs > w.skip ? w.dirs - 1 : w.dirs);
	return 0;
}
