/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/scan.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "draft/drafts.h"
#include "draft/journal_file.h"
#include "draft/record.h"
#include "repo/edit.h"

/* Its owner may be writing the header of a journal at this moment. */
#define TRIES 3

struct scanning {
	const struct draft_scan *fns;
	const char *state;	/* for messages */
	/* Of the journal that is being read: */
	uint32_t slot;
	struct group_name group;
	bool has_head, changed, unsettled;
	int64_t base;
	bool told;		/* a function of fns has ended it */
};

static int
scan_head(struct scanning *s, const struct record *rec)
{
	if (s->has_head || rec->slot != s->slot)
		return -EBADMSG;
	if (!record_is_known(rec->version))
		return -EPROTONOSUPPORT;
	s->has_head = true;
	return draft_parse_group(rec->name, &s->group);
}

static int
scan_record(struct scanning *s, const struct record *rec)
{
	int r;

	if (rec->kind == REC_HEAD)
		return scan_head(s, rec);
	if (!s->has_head)
		return -EBADMSG;
	switch (rec->kind) {
	case REC_BASE:
		s->base = rec->time;
		return 0;
	case REC_ARCHIVE:
		return 0;
	case REC_PUBLISHING:
		s->unsettled = true;
		return 0;
	case REC_NOT_PUBLISHED:
		s->unsettled = false;
		return 0;
	case REC_CHUNK:
		s->changed = true;
		r = s->fns->chunk == NULL ? 0 :
		    s->fns->chunk(s->fns->arg, &s->group, &rec->chunk.digest);
		s->told = r != 0;
		return r;
	default:
		s->changed = true;
		return 0;
	}
}

static int
scan_transaction(void *arg, const void *p, size_t len)
{
	struct scanning *s = arg;
	const uint8_t *b = p;
	struct record rec;
	int r, n;

	while (len > 0) {
		n = record_next(b, len, &rec);
		if (n < 0)
			return n;
		r = scan_record(s, &rec);
		if (r != 0)
			return r;
		b += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
failed(const struct scanning *s, const char *why, int err)
{
	if (s->told)
		return err;
	if (why == NULL)
		why = err == -EBADMSG ? "a record makes no sense" :
		    err == -EPROTONOSUPPORT ?
		    "a later version of the program wrote it" : strerror(-err);
	log_err("state directory %s: open/%05x/journal: what it refers to is "
	    "not known: %s\n"
	    "hint: a mount that can be written to says what to do", s->state,
	    s->slot, why);
	return err;
}

/* One that goes meanwhile had nothing in it. */
static int
open_journal(int dir, uint32_t slot, int *ret)
{
	const int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "%05x/journal", slot);
	*ret = openat(dir, path, flags);
	if (*ret < 0)
		return errno == ENOENT ? 1 : -errno;
	if (fstat(*ret, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? 0 : -EBADMSG;
}

/* Whatever is renamed over it meanwhile says the same and, of what came after,
 * what its writer has marked. */
static int
scan_journal(struct scanning *s, int dir, const char **ret_why)
{
	_cleanup_close_ int fd = -1;
	struct journal_scan js;
	int r;

	*ret_why = NULL;
	s->has_head = s->changed = s->unsettled = s->told = false;
	s->base = 0;
	r = open_journal(dir, s->slot, &fd);
	if (r != 0)
		return r < 0 ? r : 0;
	r = journal_scan(fd, scan_transaction, s, &js);
	*ret_why = js.why;
	return r;
}

static int
scan_slot(void *arg, int dir, const struct dirent *e)
{
	struct scanning *s = arg;
	const char *why = NULL;
	int r = -EBADMSG;

	if (!state_parse_slot(e->d_name, &s->slot))
		return 0;
	for (int i = 0; r == -EBADMSG && !s->told && i < TRIES; i++)
		r = scan_journal(s, dir, &why);
	if (r != 0)
		return failed(s, why, r);
	if (!s->has_head || s->fns->base == NULL)
		return 0;
	r = s->fns->base(s->fns->arg, &s->group, s->base,
	    s->changed || s->unsettled);
	s->told = r != 0;
	return r;
}

/* Another store's journals would tell nothing of this one. */
static int
check_store(int dir, const char *identity)
{
	_cleanup_(buf_unrefp) struct buf *b = NULL;
	int r;

	r = io_read_file(dir, "store", STATE_STORE_MAX, &b);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return b->len == strlen(identity) &&
	    memcmp(b->data, identity, b->len) == 0 ? 0 : -EEXIST;
}

static int
open_dir(int at, const char *path, int *ret)
{
	*ret = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret >= 0 ? 0 : -errno;
}

int
draft_scan(const char *state, const char *identity,
    const struct draft_scan *fns)
{
	struct scanning s = {.fns = fns, .state = state};
	char name[STATE_NAME_LEN + 1];
	_cleanup_close_ int top = -1;
	_cleanup_close_ int dir = -1;
	int list = -1, r;

	state_name(identity, name);
	r = open_dir(AT_FDCWD, state, &top);
	if (r == 0)
		r = open_dir(top, name, &dir);
	if (r == 0)
		r = check_store(dir, identity);
	if (r == 0)
		r = open_dir(dir, "open", &list);
	if (r == -ENOENT)
		return 0;
	if (r < 0) {
		log_err("state directory %s/%s: %s", state, name,
		    r == -EEXIST ? "another store's" : strerror(-r));
		return r;
	}
	return io_read_dir(list, scan_slot, &s);
}
