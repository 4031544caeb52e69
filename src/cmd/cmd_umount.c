/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/command.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/cost.h"
#include "cmd/ending.h"
#include "cmd/exits.h"
#include "cmd/live.h"
#include "cmd/option.h"
#include "cmd/progress.h"

/* A daemon that has nothing to send only has to end its threads. */
#define WAIT_MS 30000
#define LOOK_MS 300

static int
by_helper(const char *where, bool lazy)
{
	pid_t pid = fork();
	int st;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		execlp("fusermount3", "fusermount3", lazy ? "-uz" : "-u", "--",
		    where, (char *)NULL);
		log_err("fusermount3: %s", strerror(errno));
		_exit(EXIT_FAILED);
	}
	while (waitpid(pid, &st, 0) < 0)
		if (errno != EINTR)
			return -errno;
	/* It has said why. */
	return WIFEXITED(st) && WEXITSTATUS(st) == 0 ? 0 : -EIO;
}

static int
take_away(const char *where, bool lazy)
{
	int r;

	if (geteuid() != 0)
		return by_helper(where, lazy);
	if (umount2(where, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	r = -errno;
	log_err("%s: %s%s", where, strerror(-r), r == -EBUSY ?
	    "\nhint: fuser -vm shows who uses it; --lazy does not wait" : "");
	return r;
}

static bool
has_ended(int pidfd, int timeout_ms)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n > 0;
}

static uint64_t
number(const json_t *j, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(j, key));

	return v < 0 ? 0 : (uint64_t)v;
}

/* How far it is with what it publishes or sends. */
static void
show(const json_t *j, struct progress *p)
{
	const json_t *groups = json_object_get(j, "groups"), *g;
	uint64_t done = 0, total = 0;
	size_t i;

	json_array_foreach(groups, i, g) {
		done += number(g, "done");
		total += number(g, "total");
	}
	p->total = total;
	p->done = 0;
	progress_add(p, MIN(done, total));
}

/* As long as it has something to send it takes the time that takes. */
static int
wait_for_end(const struct options *o, int pidfd, const char *state)
{
	deadline_t end = deadline_in(WAIT_MS);
	struct progress p;
	json_t *j;
	int r = 0;

	progress_begin(&p, o, 0);
	while (r == 0 && !has_ended(pidfd, LOOK_MS)) {
		j = NULL;
		if (state != NULL && ending_read(state, &j) == 0)
			show(j, &p);
		else if (deadline_left(end) == 0)
			r = -ETIMEDOUT;
		json_decref(j);
	}
	progress_end(&p);
	return r;
}

/* The last that it has told of itself. */
static void
tell_cost(const struct options *o, const json_t *status, const char *state)
{
	json_t *j = NULL;

	if (state != NULL && ending_read(state, &j) == 0)
		cost_print_mount(o, NULL, j);
	else
		cost_print_mount(o, NULL, status);
	json_decref(j);
}

static void
tell_rest(const char *state)
{
	char size[NUM_SIZE_MAX];
	json_t *j = NULL;

	if (ending_read(state, &j) == 0 && number(j, "changed") > 0)
		log_info("%" PRIu64 " open snapshots with changes stay in %s, "
		    "%s of them not in the store; the next mount goes on with "
		    "them", number(j, "changed"), state,
		    num_format_size(size, number(j, "unsent")));
	json_decref(j);
}

static char *
state_of(const json_t *status)
{
	const char *dir = json_string_value(json_object_get(
	    json_object_get(status, "writing"), "state"));

	return dir != NULL ? strdup(dir) : NULL;
}

static int
unmount(struct options *o, const char *where, const json_t *status)
{
	_cleanup_close_ int pidfd = -1;
	_cleanup_free_ char *state = NULL;
	pid_t pid;
	int r;

	/* A dead daemon cannot say who it was; then there is none to wait
	 * for. */
	if (status != NULL) {
		pidfd = live_open_daemon(status, &pid);
		state = state_of(status);
	}
	r = take_away(where, o->lazy);
	if (r < 0)
		return exits_of(r);
	if (pidfd < 0 || o->lazy)
		return EXIT_OK;
	r = wait_for_end(o, pidfd, state);
	if (r < 0)
		log_err("%s: unmounted, but process %ld does not end", where,
		    (long)pid);
	else if (state != NULL)
		tell_rest(state);
	tell_cost(o, status, state);
	return r < 0 ? EXIT_FAILED : EXIT_OK;
}

int
cmd_umount(struct options *o, char **args, int n)
{
	json_t *j = NULL;
	int status;

	(void)n;
	if (!live_is_mount(args[0])) {
		log_err("%s: nothing of pbs3fs is mounted there", args[0]);
		return EXIT_FAILED;
	}
	if (live_status(args[0], &j) < 0) {
		json_decref(j);
		j = NULL;
	}
	status = unmount(o, args[0], j);
	json_decref(j);
	return status;
}
