/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "cmd/changes.h"
#include "cmd/cost.h"
#include "cmd/exits.h"
#include "cmd/live.h"
#include "cmd/option.h"
#include "cmd/show.h"
#include "cmd/stack.h"
#include "repo/change_list.h"
#include "repo/repo.h"
#include "repo/tree.h"

#define POLL_US 50000

static json_int_t
number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

/* Until the count of one of both outcomes is another one. */
static int
wait_for(const char *where, const json_t *before, uint64_t timeout_ms,
    json_t **ret)
{
	deadline_t d = deadline_in(timeout_ms);
	int r;

	for (;;) {
		json_t *now = NULL;

		usleep(POLL_US);
		r = live_status(where, &now);
		if (r < 0) {
			json_decref(now);
			return r;
		}
		if (number(now, "refreshes") != number(before, "refreshes") ||
		    number(now, "failed_refreshes") !=
			number(before, "failed_refreshes")) {
			*ret = now;
			return 0;
		}
		json_decref(now);
		if (deadline_left(d) == 0)
			return -ETIMEDOUT;
	}
}

static int
tell_daemon(const char *where, const json_t *status)
{
	_cleanup_close_ int fd = -1;
	pid_t pid;

	fd = live_open_daemon(status, &pid);
	if (fd < 0)
		return fd;
	if (syscall(SYS_pidfd_send_signal, fd, SIGHUP, NULL, 0) < 0)
		return -errno;
	log_debug("%s: process %ld was told", where, (long)pid);
	return 0;
}

static int
refresh_mount(struct options *o, const char *where)
{
	json_t *before = NULL, *after = NULL;
	int r, status = EXIT_OK;

	r = live_status(where, &before);
	if (r == 0)
		r = tell_daemon(where, before);
	if (r == 0)
		r = wait_for(where, before, o->timeout * 2, &after);
	if (r < 0) {
		status = show_fail(where, r);
	} else if (number(after, "refreshes") == number(before, "refreshes")) {
		log_err("%s: the store cannot be listed; what was known stays\n"
			"hint: pbs3fs status tells why",
		    where);
		status = EXIT_UNREACHABLE;
	} else {
		const json_t *tree = json_object_get(after, "tree");
		const struct changes_report c = {
		    .snaps_added = number(after, "snapshots_added"),
		    .snaps_removed = number(after, "snapshots_removed"),
		    .objects_changed = number(after, "changed"),
		    .list = json_object_get(after, "changes"),
		    .left_out = number(after, "changes_left_out"),
		    .n_ignored = number(tree, "ignored"),
		    .ignored = json_object_get(tree, "ignored_keys"),
		};

		changes_print(o, &c, cost_json_mount(before, after));
	}
	cost_print_mount(o, before, after);
	json_decref(before);
	json_decref(after);
	return status;
}

/* Against what was listed last time; without that all of it is new. */
static int
compare(struct stack *s, bool kept, struct repo_changes *ret,
    struct change_list *list)
{
	if (kept)
		return repo_refresh_tell(s->repo, ret, change_list_add, list);
	if (s->cache_dir == NULL)
		return 0;	/* a directory: nothing of it is kept here */
	return repo_tell_all(s->repo, ret, change_list_add, list);
}

static void
report(const struct options *o, struct stack *s, const struct repo_changes *ch,
    const struct change_list *list)
{
	json_t *changes = changes_json(list), *ignored;
	struct tree *t = repo_tree(s->repo);
	struct changes_report c = {
	    .snaps_added = (json_int_t)ch->snaps_added,
	    .snaps_removed = (json_int_t)ch->snaps_removed,
	    .objects_changed = (json_int_t)ch->changed,
	    .list = changes,
	    .left_out = (json_int_t)list->left_out,
	    .n_ignored = (json_int_t)t->n_ignored,
	};
	struct store_counts counts;

	c.ignored = ignored = changes_ignored_json(t);
	tree_unref(t);
	stack_counts(s, &counts);
	changes_print(o, &c, cost_json(o, &counts));
	json_decref(changes);
	json_decref(ignored);
}

static int
refresh_store(struct options *o, const char *store)
{
	struct change_list list = {0};
	struct repo_changes ch = {0};
	struct store_counts c;
	struct stack s;
	bool kept = false;
	int r, status;

	status = stack_name(&s, o, store);
	if (status == EXIT_OK)
		status = stack_open_store(&s);
	if (status == EXIT_OK)
		status = stack_open_repo(&s, true);
	if (status == EXIT_OK) {
		stack_counts(&s, &c);
		kept = c.requests[STORE_LIST] == 0;
		r = compare(&s, kept, &ch, &list);
		if (r == 0)
			report(o, &s, &ch, &list);
		status = r < 0 ? show_fail(store, r) : EXIT_OK;
	}
	change_list_fini(&list);
	stack_close(&s);
	cost_print(o, &s.cost);
	return status;
}

int
cmd_refresh(struct options *o, char **args, int n)
{
	(void)n;
	if (live_is_mount(args[0]))
		return refresh_mount(o, args[0]);
	return refresh_store(o, args[0]);
}
