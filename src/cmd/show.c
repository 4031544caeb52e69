/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/show.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/exits.h"
#include "cmd/stack.h"
#include "vfs/vfs.h"

void
show_line(FILE *f, const char *name)
{
	_cleanup_(str_fini) struct str s = {0};

	str_escape(&s, name, strlen(name));
	fputs(str_get(&s), f);
}

void
show_name(FILE *f, const char *name)
{
	if (isatty(fileno(f)))
		show_line(f, name);
	else
		fputs(name, f);
}

int
show_json_name(json_t *obj, const char *key, const char *name)
{
	_cleanup_(str_fini) struct str s = {0}, hex_key = {0};
	_cleanup_free_ char *hex = NULL;
	json_t *v = json_string(name);

	if (v != NULL)
		return json_object_set_new(obj, key, v) < 0 ? -ENOMEM : 0;
	str_escape(&s, name, strlen(name));
	str_addf(&hex_key, "%s_hex", key);
	hex = malloc(2 * strlen(name) + 1);
	if (hex == NULL || str_error(&s) < 0 || str_error(&hex_key) < 0)
		return -ENOMEM;
	hex_encode(hex, name, strlen(name));
	if (json_object_set_new(obj, key, json_string(str_get(&s))) < 0 ||
	    json_object_set_new(obj, str_get(&hex_key), json_string(hex)) < 0)
		return -ENOMEM;
	return 0;
}

const char *
show_mode(unsigned mode, char out[11])
{
	static const char bits[] = "rwxrwxrwx";

	out[0] = S_ISDIR(mode) ? 'd' :
	    S_ISLNK(mode)      ? 'l' :
	    S_ISCHR(mode)      ? 'c' :
	    S_ISBLK(mode)      ? 'b' :
	    S_ISFIFO(mode)     ? 'p' :
	    S_ISSOCK(mode)     ? 's' :
				 '-';
	for (int i = 0; i < 9; i++)
		out[1 + i] = mode & (0400u >> i) ? bits[i] : '-';
	if (mode & S_ISUID)
		out[3] = out[3] == 'x' ? 's' : 'S';
	if (mode & S_ISGID)
		out[6] = out[6] == 'x' ? 's' : 'S';
	if (mode & S_ISVTX)
		out[9] = out[9] == 'x' ? 't' : 'T';
	out[10] = '\0';
	return out;
}

const char *
show_time(long long t, char out[SHOW_TIME_MAX])
{
	time_t tt = (time_t)t;
	struct tm tm;

	if (localtime_r(&tt, &tm) == NULL ||
	    strftime(out, SHOW_TIME_MAX, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, SHOW_TIME_MAX, "@%lld", t);
	return out;
}

int
show_fail(const char *path, int err)
{
	_cleanup_(str_fini) struct str s = {0};

	str_escape(&s, path, strlen(path));
	log_err("%s: %s", str_get(&s), exits_why(err));
	return exits_of(err);
}

int
show_worst(int a, int b)
{
	/* Not by number: that nobody was allowed to look says more than that
	 * something is damaged, and both say more than "failed". */
	static const unsigned char rank[] = {
	    [EXIT_OK] = 0, [EXIT_FAILED] = 1, [EXIT_DAMAGED] = 2,
	    [EXIT_UNREACHABLE] = 3, [EXIT_DENIED] = 4, [EXIT_LIMIT] = 5,
	    [EXIT_USAGE] = 6,
	};

	return rank[a] >= rank[b] ? a : b;
}

int
show_resolve(struct stack *s, const char *path, struct vfs_attr *ret)
{
	int r = vfs_resolve(s->vfs, path, 0, ret);

	return r < 0 ? show_fail(path, r) : EXIT_OK;
}
