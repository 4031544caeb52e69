/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
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

#define PEERS_MAX 16
/* For a frame that has begun, in either direction.  Between two requests a
 * collector may read indices for hours. */
#define FRAME_MS 60000

struct peer {
	int fd;			/* owned */
	uint8_t *in;		/* owned: a request so far */
	size_t have, room;
	struct str out;		/* what is to be sent, from sent on */
	size_t sent;
	deadline_t deadline;	/* of either; 0: none */
};

struct control {
	char *path;		/* owned */
	int listen;		/* owned */
	int wake;		/* owned: an eventfd */
	struct agent *local;	/* borrowed */
	pthread_t thread;
	atomic_bool stop;
	/* All below are the thread's. */
	struct peer *peers[PEERS_MAX];	/* owned; the first n */
	size_t n;
	const struct peer *collector;	/* whose collection is under way */
};

/*
 * What a peer asks for.
 */
static void
copy_message(void *arg, enum log_level lvl, const char *text)
{
	control_add_message(arg, lvl, text);
}

static int
begin_collection(struct control *c, const struct peer *p)
{
	int r = c->local->ops->gc_begin(c->local);

	if (r == 0)
		c->collector = p;
	return r;
}

static void
end_collection(struct control *c, const struct peer *p)
{
	if (c->collector != p)
		return;
	c->local->ops->gc_end(c->local);
	c->collector = NULL;
}

static int
carry_out_collection(struct control *c, const struct peer *p,
    const struct control_request *q, bool *spared)
{
	struct agent *a = c->local;

	if (q->kind == CONTROL_GC_BEGIN)
		return begin_collection(c, p);
	if (c->collector != p)
		return -EINVAL;
	switch (q->kind) {
	case CONTROL_GC_CONDEMN:
		return a->ops->gc_condemn(a, q->digests, q->n, spared);
	case CONTROL_GC_SETTLE:
		return a->ops->gc_settle(a, q->flag);
	default:
		end_collection(c, p);
		return 0;
	}
}

static int
carry_out(struct control *c, const struct peer *p,
    const struct control_request *q, bool *spared)
{
	struct agent *a = c->local;
	const struct group_name *g = &q->group;

	switch (q->kind) {
	case CONTROL_FORGET:
		return a->ops->forget(a, g, q->time);
	case CONTROL_FORGET_GROUP:
		return a->ops->forget_group(a, g);
	case CONTROL_REMOVE_NS:
		return a->ops->remove_ns(a, g->ns);
	case CONTROL_PROTECT:
		return a->ops->protect(a, g, q->time, q->flag);
	case CONTROL_NOTES:
		return a->ops->notes(a, g, q->time, q->text);
	case CONTROL_VERIFY:
		return a->ops->record_verify(a, g, q->time,
		    q->flag ? VERIFY_OK : VERIFY_FAILED, q->text);
	case CONTROL_DOUBT:
		return a->ops->doubt(a, q->digests, q->n);
	default:
		return carry_out_collection(c, p, q, spared);
	}
}

static int
answer(struct control *c, struct peer *p, const struct control_request *q)
{
	_cleanup_(str_fini) struct str messages = {0};
	bool spared[CONTROL_DIGESTS_MAX] = {false};
	uint8_t bytes[CONTROL_DIGESTS_MAX];
	struct control_reply re = {.spared = bytes};

	log_listen(copy_message, &messages);
	re.result = carry_out(c, p, q, spared);
	log_listen(NULL, NULL);
	if (q->kind == CONTROL_GC_CONDEMN && re.result == 0)
		re.n = q->n;
	for (size_t i = 0; i < re.n; i++)
		bytes[i] = spared[i] ? 1 : 0;
	/* Without memory for them they are in our own log. */
	if (str_error(&messages) == 0) {
		re.messages = (const uint8_t *)messages.s;
		re.messages_len = messages.len;
	}
	return control_add_reply(&p->out, &re);
}

/*
 * Peers.
 */
static void
peer_free(struct control *c, struct peer *p)
{
	if (c->collector == p)
		log_info("garbage collection ends: who did it has gone");
	end_collection(c, p);
	close(p->fd);
	free(p->in);
	str_fini(&p->out);
	free(p);
}

/* 0: goes on; -errno: it is over. */
static int
send_some(struct peer *p)
{
	ssize_t n = send(p->fd, p->out.s + p->sent, p->out.len - p->sent,
	    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	p->sent += (size_t)n;
	if (p->sent < p->out.len)
		return 0;
	str_fini(&p->out);
	p->sent = 0;
	p->deadline = 0;
	return 0;
}

static int
greet(struct control *c, struct peer *p)
{
	const struct control_hello h = {.state = c->local->state,
	    .identity = c->local->identity};
	int r;

	p->deadline = deadline_in(FRAME_MS);
	r = control_add_hello(&p->out, &h);
	return r == 0 ? send_some(p) : r;
}

/* Takes fd over. */
static void
add_peer(struct control *c, int fd)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (p == NULL || c->n == PEERS_MAX ||
	    control_socket_check_peer(fd) < 0) {
		close(fd);
		free(p);
		return;
	}
	p->fd = fd;
	if (greet(c, p) < 0)
		peer_free(c, p);
	else
		c->peers[c->n++] = p;
}

/* How much more the request needs that has begun; 0: it is there. */
static int
still_missing(struct peer *p, size_t *ret)
{
	ssize_t len = control_frame_len(p->in, p->have);
	uint8_t *in;

	if (len < 0)
		return (int)len;
	if (len == 0)
		len = CONTROL_LENGTH;
	if ((size_t)len > p->room) {
		in = realloc(p->in, (size_t)len);
		if (in == NULL)
			return -ENOMEM;
		p->in = in;
		p->room = (size_t)len;
	}
	*ret = (size_t)len - p->have;
	return 0;
}

static int
take_request(struct control *c, struct peer *p)
{
	struct control_request q;
	int r;

	r = control_parse_request(p->in + CONTROL_LENGTH,
	    p->have - CONTROL_LENGTH, &q);
	if (r == 0)
		r = answer(c, p, &q);
	free(p->in);
	p->in = NULL;
	p->have = p->room = 0;
	p->deadline = deadline_in(FRAME_MS);
	/* At once: what the next one asks for may take longer than that. */
	return r == 0 ? send_some(p) : r;
}

static int
receive_some(struct control *c, struct peer *p)
{
	size_t missing;
	ssize_t n;
	int r;

	r = still_missing(p, &missing);
	if (r < 0)
		return r;
	n = recv(p->fd, p->in + p->have, missing, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	if (p->have == 0)
		p->deadline = deadline_in(FRAME_MS);
	p->have += (size_t)n;
	r = still_missing(p, &missing);
	return r < 0 || missing > 0 ? r : take_request(c, p);
}

static bool
is_sending(const struct peer *p)
{
	return p->out.len > 0;
}

/* events: of poll; 0: goes on.  Who could not be served while somebody else was
 * is not late. */
static int
serve_peer(struct control *c, struct peer *p, short events)
{
	if (events == 0 && p->deadline != 0 && deadline_left(p->deadline) == 0) {
		log_warn("a command that asked this mount for something has "
		    "stopped in the middle of it");
		return -ETIMEDOUT;
	}
	if (is_sending(p))
		return (events & (POLLOUT | POLLERR | POLLHUP)) != 0 ?
		    send_some(p) : 0;
	return events != 0 ? receive_some(c, p) : 0;
}

static void
serve_peers(struct control *c, const struct pollfd *fds)
{
	size_t n = c->n, kept = 0;
	int r;

	for (size_t i = 0; i < n; i++) {
		r = atomic_load(&c->stop) ? -ESHUTDOWN :
		    serve_peer(c, c->peers[i], fds[i].revents);
		if (r == 0) {
			c->peers[kept++] = c->peers[i];
			continue;
		}
		if (r == -EBADMSG)
			log_warn("what a command asked of this mount makes no "
			    "sense");
		peer_free(c, c->peers[i]);
	}
	c->n = kept;
}

/* The deadline that comes first, for poll. */
static int
next_timeout(const struct control *c)
{
	uint64_t left = UINT64_MAX;

	for (size_t i = 0; i < c->n; i++)
		left = MIN(left, deadline_left(c->peers[i]->deadline));
	return left > FRAME_MS ? -1 : (int)left + 1;
}

static void *
run(void *arg)
{
	struct control *c = arg;
	struct pollfd fds[PEERS_MAX + 2];
	size_t n;
	int fd;

	while (!atomic_load(&c->stop)) {
		n = c->n;
		for (size_t i = 0; i < n; i++)
			fds[i] = (struct pollfd){.fd = c->peers[i]->fd,
			    .events = is_sending(c->peers[i]) ? POLLOUT :
			    POLLIN};
		fds[n] = (struct pollfd){.fd = c->wake, .events = POLLIN};
		/* While there are too many the next one waits. */
		fds[n + 1] = (struct pollfd){.fd = c->listen,
		    .events = n < PEERS_MAX ? POLLIN : 0};
		if (poll(fds, n + 2, next_timeout(c)) < 0 && errno != EINTR) {
			log_err("control socket: %m");
			break;
		}
		serve_peers(c, fds);
		fd = fds[n + 1].revents == 0 ? -1 : accept4(c->listen, NULL,
		    NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			add_peer(c, fd);
	}
	while (c->n > 0)
		peer_free(c, c->peers[--c->n]);
	return NULL;
}

int
control_new(const char *path, struct agent *local, struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	c->local = local;
	c->listen = c->wake = -1;
	c->path = strdup(path);
	r = c->path == NULL ? -ENOMEM : control_socket_listen(path,
	    &c->listen);
	if (r < 0)
		goto err;
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = c->wake < 0 ? -errno : -pthread_create(&c->thread, NULL, run, c);
	if (r < 0) {
		control_socket_remove(path);
		goto err;
	}
	*ret = c;
	return 0;

err:
	if (c->wake >= 0)
		close(c->wake);
	if (c->listen >= 0)
		close(c->listen);
	free(c->path);
	free(c);
	return r;
}

void
control_free(struct control *c)
{
	const uint64_t one = 1;

	if (c == NULL)
		return;
	control_socket_remove(c->path);
	atomic_store(&c->stop, true);
	if (write(c->wake, &one, sizeof(one)) < 0)
		log_err("control socket: cannot wake its thread: %m");
	pthread_join(c->thread, NULL);
	close(c->wake);
	close(c->listen);
	free(c->path);
	free(c);
}
