/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../draft/scratch_dir.h"
#include "../repo/edit_world.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/agent.h"
#include "maint/control_frame.h"
#include "maint/control_socket.h"
#include "repo/guard.h"
#include "repo/known.h"

#include "../cm.h"

#define UPID \
	"UPID:host:0000002F:000618C8:00000014:6B01A9EB:verify:store:root@pam:"

/* A daemon with a store in memory, and what a command has. */
struct setting {
	struct world w;
	struct known *known;
	struct guard *guard;
	struct agent *local, *a;
	struct control *c;
	struct scratch_dir dir;
	char path[160];
};

static void
begin(struct setting *s)
{
	struct agent_local o = {.identity = "mem:", .state = "/nowhere"};

	memset(s, 0, sizeof(*s));
	world_open(&s->w, false);
	scratch_begin(&s->dir);
	snprintf(s->path, sizeof(s->path), "%s/sock", s->dir.path);
	assert_int_equal(known_new(NULL, "1", 0, &s->known), 0);
	assert_int_equal(guard_new(NULL, s->known, &s->guard), 0);
	o.repo = s->w.repo;
	o.known = s->known;
	o.guard = s->guard;
	assert_int_equal(agent_local_new(&o, &s->local), 0);
	assert_int_equal(control_new(s->path, s->local, &s->c), 0);
	assert_int_equal(control_connect(s->path, &s->a), 0);
}

static void
end(struct setting *s)
{
	agent_free(s->a);
	control_free(s->c);
	agent_free(s->local);
	guard_shutdown(s->guard);
	guard_free(s->guard);
	known_free(s->known);
	world_close(&s->w);
	scratch_end(&s->dir);
}

static void
await_no_collection(struct setting *s)
{
	for (int ms = 0; guard_is_collecting(s->guard); ms++) {
		assert_true(ms < 10000);
		usleep(1000);
	}
}

static void
it_does_what_the_local_one_does(void **state)
{
	struct picture before, after;
	struct setting s;

	(void)state;
	begin(&s);
	assert_true(s.a->remote);
	assert_string_equal(s.a->state, "/nowhere");
	assert_string_equal(s.a->identity, "mem:");
	picture_take(&s.w, &before);
	assert_int_equal(s.a->ops->notes(s.a, &w_group, W_TIME, "n"), 0);
	assert_int_equal(s.a->ops->notes(s.a, &w_group, 0, "of all"), 0);
	assert_int_equal(s.a->ops->record_verify(s.a, &w_group, W_TIME,
	    VERIFY_OK, UPID), 0);
	assert_int_equal(s.a->ops->protect(s.a, &w_group, W_TIME, true), 0);
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME), -EPERM);
	assert_int_equal(s.a->ops->protect(s.a, &w_group, W_TIME, false), 0);
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME), 0);
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME), -ENOENT);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_group), -EPERM);
	assert_int_equal(s.a->ops->protect(s.a, &w_group, W_TIME + 3600,
	    false), 0);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_group), 0);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a/b"), -ENOTEMPTY);
	assert_int_equal(s.a->ops->forget_group(s.a, &w_inner), 0);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a/b"), 0);
	picture_take(&s.w, &after);
	assert_true(after.n < before.n);
	assert_false(picture_has(&after, ".cnt/host/web1/owner"));
	assert_true(picture_has(&after, ".cnt/host/web10/owner"));
	assert_true(picture_has(&after, ".cnt/ns/a/host/web1/owner"));
	assert_false(picture_has(&after, ".cnt/ns/a/ns/b/.namespace"));
	picture_free(&before);
	picture_free(&after);
	world_shows_all(&s.w);
	end(&s);
}

static void
bad_names_are_not_even_sent(void **state)
{
	const struct group_name bad = {"", BACKUP_HOST, "../x"};
	struct setting s;

	(void)state;
	begin(&s);
	assert_int_equal(s.a->ops->forget(s.a, &bad, W_TIME), -EINVAL);
	assert_int_equal(s.a->ops->remove_ns(s.a, "a//b"), -EINVAL);
	assert_int_equal(s.a->ops->notes(s.a, &w_group, 0, "still there"), 0);
	end(&s);
}

static void
keep_text(void *arg, enum log_level lvl, const char *text)
{
	if (lvl == LOG_LVL_ERR)
		str_add(arg, text);
}

/* Who asked is told why not. */
static void
it_says_what_the_daemon_said(void **state)
{
	_cleanup_(str_fini) struct str said = {0};
	struct setting s;

	(void)state;
	begin(&s);
	log_listen(keep_text, &said);
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME + 3600),
	    -EPERM);
	log_listen(NULL, NULL);
	assert_non_null(strstr(str_get(&said), "is protected"));
	assert_non_null(strstr(str_get(&said), "\nhint: "));
	end(&s);
}

static void
doubts_come_in_any_number(void **state)
{
	struct digest *d = calloc(2500, sizeof(*d));
	struct setting s;

	(void)state;
	assert_non_null(d);
	begin(&s);
	for (size_t i = 0; i < 2500; i++) {
		d[i] = digest_of(&i, sizeof(i));
		known_add(s.known, &d[i]);
	}
	assert_int_equal(s.a->ops->doubt(s.a, d, 0), 0);
	assert_int_equal(s.a->ops->doubt(s.a, d, 2499), 0);
	assert_int_equal(known_count(s.known), 1);
	assert_true(known_has(s.known, &d[2499]));
	free(d);
	end(&s);
}

static void
one_collects_at_a_time(void **state)
{
	struct digest d[CONTROL_DIGESTS_MAX];
	bool spared[CONTROL_DIGESTS_MAX];
	struct setting s;
	struct agent *b;
	uint64_t hold;

	(void)state;
	begin(&s);
	for (size_t i = 0; i < ARRAY_SIZE(d); i++)
		d[i] = digest_of(&i, sizeof(i));
	assert_int_equal(control_connect(s.path, &b), 0);
	assert_int_equal(s.a->ops->gc_condemn(s.a, d, 1, spared), -EINVAL);
	assert_int_equal(s.a->ops->gc_begin(s.a), 0);
	assert_int_equal(s.a->ops->gc_begin(s.a), -EBUSY);
	assert_int_equal(b->ops->gc_begin(b), -EBUSY);
	assert_int_equal(b->ops->gc_condemn(b, d, 1, spared), -EINVAL);
	assert_int_equal(b->ops->gc_settle(b, true), -EINVAL);
	b->ops->gc_end(b);
	agent_free(b);
	assert_true(guard_is_collecting(s.guard));
	hold = guard_hold(s.guard);
	assert_int_equal(guard_mark(s.guard, &d[7]), 0);
	assert_int_equal(s.a->ops->gc_condemn(s.a, d, ARRAY_SIZE(d), spared),
	    0);
	for (size_t i = 0; i < ARRAY_SIZE(d); i++)
		assert_int_equal(spared[i], i == 7);
	assert_int_equal(s.a->ops->gc_settle(s.a, true), 0);
	s.a->ops->gc_end(s.a);
	assert_false(guard_is_collecting(s.guard));
	guard_release(s.guard, hold);
	assert_int_equal(s.a->ops->gc_begin(s.a), 0);
	s.a->ops->gc_end(s.a);
	end(&s);
}

/* What it was deleting may still be deleted: nobody gets it for a while. */
static void
a_collection_ends_with_who_does_it(void **state)
{
	const struct digest d[] = {digest_of("a", 1)};
	bool spared[1];
	struct setting s;

	(void)state;
	begin(&s);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(s.a->ops->gc_begin(s.a), 0);
		if (i == 1)
			assert_int_equal(s.a->ops->gc_condemn(s.a, d, 1,
			    spared), 0);
		agent_free(s.a);
		await_no_collection(&s);
		assert_int_equal(control_connect(s.path, &s.a), 0);
	}
	assert_int_equal(s.a->ops->gc_begin(s.a), 0);
	s.a->ops->gc_end(s.a);
	end(&s);
}

static void
a_collection_ends_with_the_daemon(void **state)
{
	const struct digest d[] = {digest_of("a", 1)};
	bool spared[1];
	struct setting s;

	(void)state;
	begin(&s);
	assert_int_equal(s.a->ops->gc_begin(s.a), 0);
	control_free(s.c);
	s.c = NULL;
	assert_false(guard_is_collecting(s.guard));
	assert_int_equal(s.a->ops->gc_condemn(s.a, d, 1, spared), -ECONNRESET);
	assert_int_equal(s.a->ops->gc_settle(s.a, true), -ECONNRESET);
	s.a->ops->gc_end(s.a);
	assert_int_equal(control_connect(s.path, &s.a), -ENOENT);
	end(&s);
}

static void
a_socket_that_nobody_listens_at_is_replaced(void **state)
{
	struct setting s;
	struct agent *b;
	struct stat st;
	int fd;

	(void)state;
	begin(&s);
	assert_int_equal(stat(s.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	control_free(s.c);
	assert_int_equal(control_socket_listen(s.path, &fd), 0);
	close(fd);
	assert_int_equal(control_connect(s.path, &b), -ECONNREFUSED);
	assert_int_equal(control_new(s.path, s.local, &s.c), 0);
	assert_int_equal(control_connect(s.path, &b), 0);
	assert_int_equal(b->ops->protect(b, &w_group, W_TIME, true), 0);
	agent_free(b);
	end(&s);
}

static void
a_path_may_be_long(void **state)
{
	struct scratch_dir dir;
	struct control *c;
	struct agent *a;
	char path[400];
	size_t len;

	(void)state;
	scratch_begin(&dir);
	len = (size_t)snprintf(path, sizeof(path), "%s/", dir.path);
	memset(path + len, 'x', 200);
	path[len + 200] = '\0';
	assert_int_equal(mkdir(path, 0700), 0);
	memcpy(path + len + 200, "/sock", 6);
	assert_int_equal(control_connect(path, &a), -ENOENT);
	{
		struct agent nobody = {.remote = false};

		assert_int_equal(control_new(path, &nobody, &c), 0);
		assert_int_equal(control_connect(path, &a), 0);
		assert_null(a->state);
		assert_null(a->identity);
		agent_free(a);
		control_free(c);
	}
	scratch_end(&dir);
}

/*
 * Peers that misbehave.
 */
static int
raw_connect(struct setting *s)
{
	struct timeval tv = {.tv_sec = 10};
	uint8_t hello[4096];
	int fd;

	assert_int_equal(control_socket_connect(s->path, &fd), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv,
	    sizeof(tv)), 0);
	assert_true(recv(fd, hello, sizeof(hello), 0) > 4);
	return fd;
}

static void
raw_send(int fd, const void *p, size_t len)
{
	assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), len);
}

/* Hung up on, and nothing was said. */
static void
assert_over(int fd)
{
	uint8_t b;
	ssize_t n = recv(fd, &b, 1, 0);

	assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
	close(fd);
}

static void
nonsense_ends_a_peer_and_no_other(void **state)
{
	static const struct {
		const char *p;
		size_t len;
	} bad[] = {
	    {"\0\0\0\0", 4},
	    {"\xff\xff\xff\xff", 4},
	    {"\x01\0\0\0\x01", 5},
	    {"\x01\0\0\0\xff", 5},
	    {"GET / HTTP/1.0\r\n\r\n", 18},
	};
	struct picture before, after;
	struct setting s;
	int fd;

	(void)state;
	begin(&s);
	picture_take(&s.w, &before);
	assert_int_equal(s.a->ops->gc_begin(s.a), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = raw_connect(&s);
		raw_send(fd, bad[i].p, bad[i].len);
		assert_over(fd);
	}
	/* Every beginning of a request, and then nobody. */
	{
		_cleanup_(str_fini) struct str q = {0};
		const struct control_request forget = {.kind = CONTROL_FORGET,
		    .group = w_group, .time = W_TIME};

		assert_int_equal(control_add_request(&q, &forget), 0);
		for (size_t n = 0; n < q.len; n++) {
			fd = raw_connect(&s);
			raw_send(fd, q.s, n);
			close(fd);
		}
	}
	assert_true(guard_is_collecting(s.guard));
	s.a->ops->gc_end(s.a);
	picture_take(&s.w, &after);
	picture_compare(&before, &after, NULL);
	picture_free(&before);
	picture_free(&after);
	end(&s);
}

static void
who_is_slow_keeps_nobody(void **state)
{
	_cleanup_(str_fini) struct str q = {0};
	const struct control_request forget = {.kind = CONTROL_FORGET,
	    .group = w_group, .time = W_TIME};
	struct control_reply re;
	uint8_t in[4096];
	struct setting s;
	ssize_t n;
	int fd;

	(void)state;
	begin(&s);
	fd = raw_connect(&s);
	assert_int_equal(control_add_request(&q, &forget), 0);
	for (size_t i = 0; i < q.len; i++) {
		raw_send(fd, q.s + i, 1);
		if (i % 16 == 0)
			assert_int_equal(s.a->ops->protect(s.a, &w_prefix,
			    W_TIME, i % 32 == 0), 0);
	}
	n = recv(fd, in, sizeof(in), 0);
	assert_true(n > CONTROL_LENGTH);
	assert_int_equal(control_frame_len(in, (size_t)n), n);
	assert_int_equal(control_parse_reply(in + CONTROL_LENGTH,
	    (size_t)n - CONTROL_LENGTH, &re), 0);
	assert_int_equal(re.result, 0);
	close(fd);
	assert_int_equal(s.a->ops->forget(s.a, &w_group, W_TIME), -ENOENT);
	end(&s);
}

static void
there_are_not_too_many(void **state)
{
	struct pollfd p = {.events = POLLIN};
	int fd[16], n;
	uint8_t b[256];
	struct setting s;

	(void)state;
	begin(&s);
	/* With the agent of the setting that is one too many. */
	for (n = 0; n < 16; n++) {
		assert_int_equal(control_socket_connect(s.path, &fd[n]), 0);
		if (n < 15)
			assert_true(recv(fd[n], b, sizeof(b), 0) > 0);
	}
	p.fd = fd[15];
	assert_int_equal(poll(&p, 1, 200), 0);
	assert_int_equal(s.a->ops->protect(s.a, &w_group, W_TIME, true), 0);
	/* Its turn comes. */
	close(fd[3]);
	assert_true(recv(fd[15], b, sizeof(b), 0) > 0);
	for (n = 0; n < 16; n++)
		if (n != 3)
			close(fd[n]);
	end(&s);
}

/* A daemon that hangs up, or answers what nobody asked for. */
static void *
answer_badly(void *arg)
{
	const struct control_hello h = {.state = "s"};
	const uint8_t spared[3] = {1, 1, 1};
	/* Of another number than was asked for. */
	const struct control_reply wrong = {.spared = spared, .n = 3};
	_cleanup_(str_fini) struct str out = {0};
	char in[4096];
	int listen = *(int *)arg, fd;

	assert_int_equal(control_add_hello(&out, &h), 0);
	for (int i = 0; i < 5; i++) {
		fd = accept(listen, NULL, NULL);
		if (fd < 0)
			return NULL;
		if (i == 0) {
			raw_send(fd, "\x05\0\0\0\0hell", 9);
			close(fd);
			continue;
		}
		raw_send(fd, out.s, out.len);
		assert_true(recv(fd, in, sizeof(in), 0) > 0);
		if (i == 2)
			raw_send(fd, "\xff\xff\xff\xff", 4);
		if (i == 3)
			raw_send(fd, "\x03\0\0\0abc", 7);
		if (i == 4) {
			str_reset(&out);
			assert_int_equal(control_add_reply(&out, &wrong), 0);
			raw_send(fd, out.s, out.len);
		}
		close(fd);
	}
	return NULL;
}

static void
a_bad_daemon_is_gone(void **state)
{
	const struct digest d[] = {digest_of("a", 1)};
	struct scratch_dir dir;
	struct agent *a;
	char path[160];
	bool spared[1];
	pthread_t t;
	int fd;

	(void)state;
	scratch_begin(&dir);
	snprintf(path, sizeof(path), "%s/sock", dir.path);
	assert_int_equal(control_socket_listen(path, &fd), 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	assert_int_equal(pthread_create(&t, NULL, answer_badly, &fd), 0);
	assert_true(control_connect(path, &a) < 0);
	for (int i = 1; i < 5; i++) {
		assert_int_equal(control_connect(path, &a), 0);
		assert_int_equal(a->ops->gc_condemn(a, d, 1, spared),
		    -ECONNRESET);
		assert_int_equal(a->ops->gc_condemn(a, d, 1, spared),
		    -ECONNRESET);
		agent_free(a);
	}
	pthread_join(t, NULL);
	close(fd);
	scratch_end(&dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_does_what_the_local_one_does),
	    cmocka_unit_test(bad_names_are_not_even_sent),
	    cmocka_unit_test(it_says_what_the_daemon_said),
	    cmocka_unit_test(doubts_come_in_any_number),
	    cmocka_unit_test(one_collects_at_a_time),
	    cmocka_unit_test(a_collection_ends_with_who_does_it),
	    cmocka_unit_test(a_collection_ends_with_the_daemon),
	    cmocka_unit_test(a_socket_that_nobody_listens_at_is_replaced),
	    cmocka_unit_test(a_path_may_be_long),
	    cmocka_unit_test(nonsense_ends_a_peer_and_no_other),
	    cmocka_unit_test(who_is_slow_keeps_nobody),
	    cmocka_unit_test(there_are_not_too_many),
	    cmocka_unit_test(a_bad_daemon_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
