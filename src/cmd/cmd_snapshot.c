/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/live.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "cmd/snap_path.h"

/* Somebody else may publish in the same second. */
#define TRIES 5

static const char *
why(int err)
{
	switch (-err) {
	case EEXIST:
		return "there is a snapshot of that time already";
	case EBUSY:
		return "it is being published already";
	case EINVAL:
		return "the time is not after the latest snapshot\n"
		       "hint: without --time it is now";
	case ENODATA:
		return "there is nothing in current to publish";
	case EILSEQ:
		return "current has something that a snapshot cannot hold";
	case EROFS:
		return "the mount is read-only\nhint: mount it with -o rw";
	default:
		return exits_why(err);
	}
}

/* A message of that time or later, or NULL. */
static const char *
message_since(const json_t *m, int64_t since)
{
	const char *when = json_string_value(json_object_get(m, "time"));
	int64_t t;

	if (when == NULL || clock_parse_utc(when, &t) < 0 || t < since)
		return NULL;
	return json_string_value(json_object_get(m, "text"));
}

static bool
was_said(const json_t *list, size_t n, int64_t since, const char *text)
{
	const char *before;

	for (size_t i = 0; i < n; i++) {
		before = message_since(json_array_get(list, i), since);
		if (before != NULL && streq(before, text))
			return true;
	}
	return false;
}

/* What the daemon said while it tried; it knows the names.  Times are whole
 * seconds, so that something older may come with it, but nothing twice.  The
 * log keeps out of it what drives a terminal. */
static void
show_messages(const char *where, int64_t since)
{
	const json_t *list, *m;
	json_t *status = NULL;
	const char *text;
	size_t i;

	if (live_status(where, &status) != 0)
		goto out;
	list = json_object_get(status, "messages");
	json_array_foreach(list, i, m) {
		text = message_since(m, since);
		if (text != NULL && !was_said(list, i, since, text))
			log_info("the mount says: %s", text);
	}
out:
	json_decref(status);
}

static void
report(const struct options *o, const char *path, const char *group,
    const char *name, json_t *cost)
{
	json_t *j;

	if (!o->json) {
		json_decref(cost);
		show_name(stdout, path);
		putchar('\n');
		return;
	}
	j = json_object();
	show_json_name(j, "path", path);
	show_json_name(j, "group", group);
	json_object_set_new(j, "time", json_string(name));
	json_object_set_new(j, "cost", cost);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

/* At time, or (0) now, and then a moment later if need be. */
static int
publish(const char *group, int64_t time, char path[PATH_MAX],
    char name[CLOCK_UTC_LEN + 1])
{
	int64_t t = time;
	int r = -EEXIST;

	for (int i = 0; r == -EEXIST && i < TRIES; i++) {
		if (time == 0)
			t = clock_real_s();
		r = clock_format_utc(name, t);
		if (r < 0)
			return r;
		if (snprintf(path, PATH_MAX, "%s/%s", group, name) >= PATH_MAX)
			return -ENAMETOOLONG;
		r = mkdir(path, 0755) == 0 ? 0 : -errno;
		if (time != 0)
			break;
		if (r == -EEXIST)
			sleep(1);
	}
	return r;
}

/* NULL if the daemon does not say. */
static json_t *
status_of(const char *where)
{
	json_t *j = NULL;

	if (live_status(where, &j) == 0)
		return j;
	json_decref(j);
	return NULL;
}

static int
snapshot(const struct options *o, const char *where, const char *group,
    int64_t time)
{
	char path[PATH_MAX], name[CLOCK_UTC_LEN + 1];
	const char *in_mount = group + strlen(where);
	_cleanup_(str_fini) struct str s = {0};
	int64_t since = clock_real_s();
	json_t *before, *after;
	struct group_name g;
	int r;

	str_escape(&s, group, strlen(group));
	if (snap_path_group(in_mount, &g) < 0) {
		log_err("%s: not a group\n"
			"hint: as MOUNTPOINT/host/web1; a mount with subdir "
			"cannot publish",
		    str_get(&s));
		return EXIT_USAGE;
	}
	before = status_of(where);
	r = publish(group, time, path, name);
	after = status_of(where);
	if (r == 0) {
		report(o, path, in_mount + 1, name,
		    cost_json_mount(before, after));
	} else {
		show_messages(where, since);
		log_err("%s: no snapshot: %s", str_get(&s), why(r));
	}
	cost_print_mount(o, before, after);
	json_decref(before);
	json_decref(after);
	return exits_of(r);
}

int
cmd_snapshot(struct options *o, char **args, int n)
{
	_cleanup_free_ char *group = NULL, *where = NULL;
	int64_t time = 0;
	int r;

	(void)n;
	if (o->time != NULL && (clock_parse_utc(o->time, &time) < 0 ||
	    time <= 0)) {
		log_err("time: not a time that a snapshot can have\n"
			"hint: as 2026-01-31T12:00:00Z, in UTC");
		return EXIT_USAGE;
	}
	group = realpath(args[0], NULL);
	if (group == NULL)
		return show_fail(args[0], -errno);
	r = live_find(group, &where);
	if (r == -ENOENT) {
		_cleanup_(str_fini) struct str s = {0};

		str_escape(&s, args[0], strlen(args[0]));
		log_err("%s: not in a mount of pbs3fs", str_get(&s));
		return EXIT_USAGE;
	}
	if (r < 0)
		return show_fail(args[0], r);
	return snapshot(o, where, group, time);
}
