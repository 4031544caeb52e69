/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/control.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/agent.h"
#include "maint/control_frame.h"
#include "maint/control_socket.h"

/* It says hello at once, unless it works for somebody else: one change. */
#define HELLO_MS 60000
/* A change that asks the store, with all its retries; others may come first. */
#define REPLY_MS (4 * 3600 * 1000)

/* Who changes the store is a daemon. */
struct remote {
	struct agent a;
	int fd;			/* owned; -1: it has gone */
	uint8_t *in;		/* owned: the last frame */
};

static struct remote *
remote_of(struct agent *a)
{
	return (struct remote *)a;
}

static int
await(int fd, short events, deadline_t d)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t left;
	int n;

	do {
		left = deadline_left(d);
		n = poll(&p, 1, (int)MIN(left, INT32_MAX));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n > 0 ? 0 : -ETIMEDOUT;
}

static int
receive(int fd, uint8_t *p, size_t len, deadline_t d)
{
	ssize_t n;
	int r;

	while (len > 0) {
		r = await(fd, POLLIN, d);
		if (r < 0)
			return r;
		n = recv(fd, p, len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ECONNRESET;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A whole one, in rm->in, without its length. */
static int
receive_frame(struct remote *rm, deadline_t d, size_t *ret_len)
{
	uint8_t head[CONTROL_LENGTH];
	ssize_t len;
	int r;

	free(rm->in);
	rm->in = NULL;
	r = receive(rm->fd, head, sizeof(head), d);
	if (r < 0)
		return r;
	len = control_frame_len(head, sizeof(head));
	if (len < 0)
		return (int)len;
	*ret_len = (size_t)len - CONTROL_LENGTH;
	rm->in = malloc(*ret_len);
	return rm->in == NULL ? -ENOMEM :
	    receive(rm->fd, rm->in, *ret_len, d);
}

static int
send_all(int fd, const char *p, size_t len, deadline_t d)
{
	ssize_t n;
	int r;

	while (len > 0) {
		r = await(fd, POLLOUT, d);
		if (r < 0)
			return r;
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* What it has done of what was asked for is not known. */
static int
gone(struct remote *rm, int err)
{
	log_err("the mount that has the store %s", err == -ETIMEDOUT ?
	    "does not answer" : err == -EBADMSG ? "answers nonsense" :
	    "has ended");
	close(rm->fd);
	rm->fd = -1;
	return -ECONNRESET;
}

/* What the daemon has said is what a local agent would have. */
static int
repeat(struct control_reply *re)
{
	enum log_level lvl;
	const char *text;
	int r;

	for (;;) {
		r = control_next_message(re, &lvl, &text);
		if (r != 0)
			return r < 0 ? r : 0;
		log_msg(lvl, "%s", text);
	}
}

static int
ask(struct remote *rm, const struct control_request *q, bool *spared)
{
	_cleanup_(str_fini) struct str out = {0};
	const deadline_t d = deadline_in(REPLY_MS);
	struct control_reply re;
	size_t len;
	int r;

	if (rm->fd < 0)
		return -ECONNRESET;
	r = control_add_request(&out, q);
	if (r < 0)
		return r;
	r = send_all(rm->fd, out.s, out.len, d);
	if (r == 0)
		r = receive_frame(rm, d, &len);
	if (r == 0)
		r = control_parse_reply(rm->in, len, &re);
	if (r == 0 && re.n != (spared != NULL && re.result == 0 ? q->n : 0))
		r = -EBADMSG;
	if (r == 0)
		r = repeat(&re);
	if (r < 0)
		return gone(rm, r);
	for (size_t i = 0; i < re.n; i++)
		spared[i] = re.spared[i] != 0;
	return re.result;
}

static int
ask_of(struct agent *a, enum control_kind kind, const struct group_name *g,
    int64_t time, bool flag, const char *text)
{
	const struct control_request q = {
	    .kind = kind,
	    .group = *g,
	    .time = time,
	    .flag = flag,
	    .text = text,
	};

	/* The same that it would say, but it would also hang up. */
	if (!ns_is_valid(g->ns) || (unsigned)g->type >= BACKUP_TYPES ||
	    !name_is_safe(g->id, strlen(g->id)))
		return -EINVAL;
	return ask(remote_of(a), &q, NULL);
}

static int
remote_forget(struct agent *a, const struct group_name *g, int64_t time)
{
	return ask_of(a, CONTROL_FORGET, g, time, false, NULL);
}

static int
remote_forget_group(struct agent *a, const struct group_name *g)
{
	return ask_of(a, CONTROL_FORGET_GROUP, g, 0, false, NULL);
}

static int
remote_remove_ns(struct agent *a, const char *path)
{
	struct control_request q = {.kind = CONTROL_REMOVE_NS};

	if (!ns_is_valid(path))
		return -EINVAL;
	memcpy(q.group.ns, path, strlen(path) + 1);
	return ask(remote_of(a), &q, NULL);
}

static int
remote_protect(struct agent *a, const struct group_name *g, int64_t time,
    bool on)
{
	return ask_of(a, CONTROL_PROTECT, g, time, on, NULL);
}

static int
remote_notes(struct agent *a, const struct group_name *g, int64_t time,
    const char *text)
{
	return ask_of(a, CONTROL_NOTES, g, time, false, text);
}

static int
remote_record_verify(struct agent *a, const struct group_name *g, int64_t time,
    enum verify_verdict v, const char *upid)
{
	return ask_of(a, CONTROL_VERIFY, g, time, v == VERIFY_OK, upid);
}

static int
remote_doubt(struct agent *a, const struct digest *d, size_t n)
{
	struct control_request q = {.kind = CONTROL_DOUBT};
	int r = 0;

	for (; r == 0 && n > 0; d += q.n, n -= q.n) {
		q.digests = d;
		q.n = MIN(n, CONTROL_DIGESTS_MAX);
		r = ask(remote_of(a), &q, NULL);
	}
	return r;
}

static int
remote_gc_begin(struct agent *a)
{
	const struct control_request q = {.kind = CONTROL_GC_BEGIN};

	return ask(remote_of(a), &q, NULL);
}

static int
remote_gc_condemn(struct agent *a, const struct digest *d, size_t n,
    bool *spared)
{
	const struct control_request q = {.kind = CONTROL_GC_CONDEMN,
	    .digests = d, .n = n};

	return n > CONTROL_DIGESTS_MAX ? -EINVAL :
	    ask(remote_of(a), &q, spared);
}

static int
remote_gc_settle(struct agent *a, bool answered)
{
	const struct control_request q = {.kind = CONTROL_GC_SETTLE,
	    .flag = answered};

	return ask(remote_of(a), &q, NULL);
}

static void
remote_gc_end(struct agent *a)
{
	const struct control_request q = {.kind = CONTROL_GC_END};

	(void)ask(remote_of(a), &q, NULL);
}

static void
remote_free(struct agent *a)
{
	struct remote *rm = remote_of(a);

	if (rm->fd >= 0)
		close(rm->fd);
	free(rm->in);
	free(rm);
}

static int
hear_hello(struct remote *rm)
{
	struct control_hello h;
	size_t len;
	int r;

	r = receive_frame(rm, deadline_in(HELLO_MS), &len);
	if (r == 0)
		r = control_parse_hello(rm->in, len, &h);
	if (r == -EPROTONOSUPPORT)
		log_err("the mount that has the store is of another version\n"
		    "hint: mount it again");
	else if (r < 0)
		log_err("the mount that has the store does not answer");
	if (r < 0)
		return r;
	if ((h.state != NULL && (rm->a.state = strdup(h.state)) == NULL) ||
	    (h.identity != NULL &&
		(rm->a.identity = strdup(h.identity)) == NULL))
		return -ENOMEM;
	return 0;
}

int
control_connect(const char *path, struct agent **ret)
{
	static const struct agent_ops ops = {
	    .forget = remote_forget,
	    .forget_group = remote_forget_group,
	    .remove_ns = remote_remove_ns,
	    .protect = remote_protect,
	    .notes = remote_notes,
	    .record_verify = remote_record_verify,
	    .doubt = remote_doubt,
	    .gc_begin = remote_gc_begin,
	    .gc_condemn = remote_gc_condemn,
	    .gc_settle = remote_gc_settle,
	    .gc_end = remote_gc_end,
	    .free = remote_free,
	};
	struct remote *rm = calloc(1, sizeof(*rm));
	int r;

	if (rm == NULL)
		return -ENOMEM;
	rm->a.ops = &ops;
	rm->a.remote = true;
	rm->fd = -1;
	r = control_socket_connect(path, &rm->fd);
	if (r == 0)
		r = hear_hello(rm);
	if (r < 0) {
		agent_free(&rm->a);
		return r;
	}
	*ret = &rm->a;
	return 0;
}
