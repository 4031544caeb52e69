/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "cmd/exits.h"
#include "cmd/option.h"
#include "cmd/state_dir.h"
#include "maint/agent.h"
#include "maint/control.h"
#include "repo/claim.h"
#include "repo/guard.h"
#include "repo/known.h"
#include "repo/repo.h"

static int
failed(const struct upkeep *u, int err)
{
	log_err("%s: %s", u->s.t.name, exits_why(err));
	return err;
}

/* What this process needs to change the store itself. */
static int
open_local(struct upkeep *u, const char *dir, const char *identity)
{
	_cleanup_free_ char *known = NULL, *guard = NULL, *drafts = NULL;
	struct agent_local al = {
	    .repo = u->s.repo,
	    .claim = u->s.claim,
	    .identity = identity,
	};
	int r;

	r = state_dir_path(dir, STATE_DIR_KNOWN, &known);
	if (r == 0)
		r = state_dir_path(dir, STATE_DIR_GUARD, &guard);
	if (r == 0)
		r = state_dir_path(dir, STATE_DIR_DRAFTS, &drafts);
	if (r == 0)
		r = known_new(known, claim_generation(u->s.claim),
		    KNOWN_MAX_DEFAULT, &u->known);
	if (r == 0)
		r = guard_new(guard, u->known, &u->guard);
	if (r < 0)
		return failed(u, r);
	al.known = u->known;
	al.guard = u->guard;
	al.state = drafts;
	r = agent_local_new(&al, &u->agent);
	return r < 0 ? failed(u, r) : 0;
}

/* 1 if no mount of this host has the store. */
static int
ask_mount(struct upkeep *u, const char *identity)
{
	_cleanup_free_ char *path = NULL;
	int r;

	r = claim_socket(NULL, identity, &path);
	if (r < 0)
		return r;
	r = control_connect(path, &u->agent);
	return r == -ENOENT || r == -ECONNREFUSED ? 1 : r;
}

static int
find_agent(struct upkeep *u, const char *dir)
{
	_cleanup_free_ char *identity = NULL;
	int r;

	r = stack_identity(&u->s, &identity);
	if (r < 0)
		return failed(u, r);
	r = ask_mount(u, identity);
	if (r <= 0)
		return r;
	r = stack_claim(&u->s);
	return r < 0 ? r : open_local(u, dir, identity);
}

static int
make_work(struct upkeep *u, const char *dir)
{
	int r;

	r = state_dir_path(dir, STATE_DIR_WORK, &u->work);
	if (r == 0)
		r = io_mkdirs(AT_FDCWD, u->work, 0700);
	return r < 0 ? failed(u, r) : 0;
}

/* Who only looks needs no state directory, but uses what is there. */
static int
find_state(struct upkeep *u, bool change, char **ret_dir)
{
	int r;

	r = change ? state_dir_prepare(&u->s, ret_dir) :
	    state_dir_look(&u->s, ret_dir);
	if (r < 0)
		return change ? r : 0;
	r = state_dir_path(*ret_dir, STATE_DIR_DRAFTS, &u->drafts);
	if (r == 0)
		r = stack_identity(&u->s, &u->identity);
	return r < 0 ? failed(u, r) : make_work(u, *ret_dir);
}

/* Not a kept listing. */
static bool
was_listed(const struct upkeep *u)
{
	struct store_counts c;

	stack_counts(&u->s, &c);
	return c.requests[STORE_LIST] > 0;
}

int
upkeep_open(struct upkeep *u, struct options *o, const char *store,
    bool change)
{
	_cleanup_free_ char *dir = NULL;
	int status, r;

	status = stack_name(&u->s, o, store);
	u->s.write = change;
	if (status == EXIT_OK && u->keys)
		status = stack_open_keys(&u->s);
	if (status == EXIT_OK)
		status = stack_open_store(&u->s);
	if (status == EXIT_OK)
		status = stack_open_repo(&u->s, true);
	if (status != EXIT_OK)
		return status;
	r = find_state(u, change, &dir);
	if (r == 0 && change)
		r = find_agent(u, dir);
	if (r == 0 && !u->kept && (change || !was_listed(u)))
		r = repo_refresh(u->s.repo, NULL);
	return exits_of(r);
}

void
upkeep_close(struct upkeep *u)
{
	if (u->s.o == NULL)
		return;
	agent_free(u->agent);
	u->agent = NULL;
	if (u->guard != NULL)
		guard_shutdown(u->guard);
	guard_free(u->guard);
	u->guard = NULL;
	known_free(u->known);
	u->known = NULL;
	stack_close(&u->s);
	free(u->work);
	u->work = NULL;
	free(steal(&u->drafts));
	free(steal(&u->identity));
}
