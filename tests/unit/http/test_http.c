/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../cm.h"
#include "../s3/script.h"
#include "base/buf.h"
#include "http/http.h"

static struct script script;
static char url[256];

static struct http *
client(const struct http_opts *o)
{
	static const struct http_opts none = {.proxy = ""};
	struct http *h = NULL;

	script_clear(&script);
	assert_int_equal(http_new(o != NULL ? o : &none, &h), 0);
	return h;
}

static const char *
at(const char *path)
{
	snprintf(url, sizeof(url), "%s%s", script.url, path);
	return url;
}

static enum http_error
get(struct http *h, const char *path, size_t max, uint64_t ms,
    struct http_response *r)
{
	struct http_request q = {
	    .method = "GET",
	    .url = at(path),
	    .max_body = max,
	    .deadline = deadline_in(ms),
	};

	assert_int_equal(http_perform(h, &q, r), 0);
	return r->error;
}

static int
put(struct http *h, const char *path, const void *p, size_t len)
{
	struct http_request q = {
	    .method = "PUT",
	    .url = at(path),
	    .body = p,
	    .body_len = len,
	    .max_body = 1000,
	    .deadline = deadline_in(20000),
	};
	struct http_response r;
	int status;

	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_OK);
	assert_int_equal(r.bytes_sent, len);
	status = r.status;
	http_response_fini(&r);
	return status;
}

static void
test_bodies(void **state)
{
	static const size_t sizes[] = {0, 1, 65536, 65537, 3000001};
	struct http *h = client(NULL);
	uint8_t *p = malloc(3000001);
	struct http_response r;
	size_t i, k;

	(void)state;
	for (k = 0; k < 3000001; k++)
		p[k] = (uint8_t)(k * 31 >> 3);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(put(h, "/b/x", p, sizes[i]), 200);
		assert_int_equal(
		    get(h, "/b/x", 3000001, 20000, &r), HTTP_OK);
		assert_int_equal(r.status, 200);
		assert_int_equal(r.body->len, sizes[i]);
		assert_memory_equal(r.body->data, p, sizes[i]);
		assert_int_equal(r.bytes_received, sizes[i]);
		assert_non_null(http_response_header(&r, "etag"));
		assert_null(http_response_header(&r, "no-such"));
		http_response_fini(&r);
	}
	/* All of it over one connection. */
	assert_int_equal(script_count(&script, "PUT"), 5);
	assert_int_equal(get(h, "/_counts", 10000, 20000, &r), HTTP_OK);
	assert_non_null(strstr((char *)r.body->data, "\"total\": 10"));
	http_response_fini(&r);
	free(p);
	http_free(h);
}

static void
test_no_length(void **state)
{
	struct http *h = client(NULL);
	struct http_response r;
	char *p = calloc(1, 500000);

	(void)state;
	assert_int_equal(put(h, "/b/x", p, 500000), 200);
	script_rules(&script, "[{\"omit\": [\"Content-Length\"]}]");
	assert_int_equal(get(h, "/b/x", 500000, 20000, &r), HTTP_OK);
	assert_int_equal(r.body->len, 500000);
	http_response_fini(&r);
	assert_int_equal(get(h, "/b/x", 499999, 20000, &r), HTTP_E_TOO_LARGE);
	http_response_fini(&r);
	free(p);
	http_free(h);
}

static void
test_headers(void **state)
{
	static const struct http_header hs[] = {
	    {"X-Empty", ""}, {"X-Text", "a b"}};
	static const struct http_header bad[] = {{"X-Text", "a\r\nX-Evil: 1"}};
	struct http *h = client(NULL);
	struct http_request q = {
	    .method = "DELETE",
	    .url = at("/b/x//../y%2F"),
	    .headers = hs,
	    .n_headers = 2,
	    .max_body = 1000,
	    .deadline = deadline_in(20000),
	};
	struct http_response r;
	char log[8192];

	(void)state;
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.status, 204);
	assert_int_equal(r.body->len, 0);
	http_response_fini(&r);
	script_call(&script, "GET", "/_log", "", log, sizeof(log));
	assert_non_null(strstr(log, "\"path\": \"/b/x//../y%2F\""));
	assert_non_null(strstr(log, "\"x-empty\": \"\""));
	assert_non_null(strstr(log, "\"x-text\": \"a b\""));
	assert_null(strstr(strstr(log, "DELETE"), "accept"));
	q.headers = bad;
	q.n_headers = 1;
	assert_int_equal(http_perform(h, &q, &r), -EINVAL);
	http_response_fini(&r);
	http_free(h);
}

static void
test_head(void **state)
{
	struct http *h = client(NULL);
	struct http_request q = {
	    .method = "HEAD", .url = url, .deadline = deadline_in(20000)};
	struct http_response r;
	char data[5000] = "";

	(void)state;
	assert_int_equal(put(h, "/b/x", data, sizeof(data)), 200);
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_OK);
	assert_int_equal(r.body->len, 0);
	assert_string_equal(
	    http_response_header(&r, "content-length"), "5000");
	http_response_fini(&r);
	http_free(h);
}

/* A rule and what becomes of a GET of 100000 bytes. */
static const struct {
	const char *rule;
	uint64_t ms;
	enum http_error want;
} failures[] = {
    {"[{\"drop\": \"before\"}]", 20000, HTTP_E_BROKEN},
    {"[{\"drop\": \"headers\"}]", 20000, HTTP_E_BROKEN},
    {"[{\"truncate\": 0}]", 20000, HTTP_E_BROKEN},
    {"[{\"truncate\": 99999}]", 20000, HTTP_E_BROKEN},
    {"[{\"delay\": 5}]", 300, HTTP_E_TIMEOUT},
    {"[{\"slow\": 50000}]", 300, HTTP_E_TIMEOUT},
    {"[{\"delay\": 5}]", 20000, HTTP_E_TIMEOUT},	/* stall */
};

static void
test_failures(void **state)
{
	struct http_opts o = {.proxy = "", .stall_timeout_ms = 1000};
	struct http *h = client(&o);
	char *p = calloc(1, 100000);
	struct http_response r;
	size_t i;

	(void)state;
	assert_int_equal(put(h, "/b/x", p, 100000), 200);
	for (i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		uint64_t start = clock_mono_ms();

		script_rules(&script, failures[i].rule);
		assert_int_equal(
		    get(h, "/b/x", 100000, failures[i].ms, &r),
		    failures[i].want);
		assert_null(r.body);
		assert_int_equal(r.status, 0);
		assert_true(r.detail[0] != '\0');
		assert_true(clock_mono_ms() - start < 3000);
		http_response_fini(&r);
	}
	script_clear(&script);
	assert_int_equal(get(h, "/b/x", 100000, 20000, &r), HTTP_OK);
	http_response_fini(&r);
	assert_int_equal(get(h, "/b/x", 99999, 20000, &r), HTTP_E_TOO_LARGE);
	http_response_fini(&r);
	/* A deadline that has passed sends nothing. */
	script_clear(&script);
	struct http_request q = {.method = "GET", .url = url, .deadline = 1};
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_E_TIMEOUT);
	http_response_fini(&r);
	assert_int_equal(script_count(&script, "total"), 0);
	free(p);
	http_free(h);
}

static void
test_endless_headers(void **state)
{
	struct http *h = client(NULL);
	struct http_response r;
	static char rule[210000];
	size_t n = 0, i;

	(void)state;
	n += (size_t)snprintf(rule, sizeof(rule),
	    "[{\"headers\": {\"X\": \"\"");
	for (i = 0; i < 10; i++)
		n += (size_t)snprintf(rule + n, sizeof(rule) - n,
		    ", \"X-%zu\": \"%020000d\"", i, 0);
	snprintf(rule + n, sizeof(rule) - n, "}}]");
	script_rules(&script, rule);
	assert_int_equal(get(h, "/b/x", 1000, 20000, &r), HTTP_E_TOO_LARGE);
	http_response_fini(&r);
	http_free(h);
}

static void
test_unreachable(void **state)
{
	struct http *h = client(NULL);
	struct http_request q = {
	    .method = "GET", .deadline = deadline_in(5000)};
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	struct http_response r;
	char text[64];
	int fd;

	(void)state;
	/* A port that is taken but not listened on refuses connections. */
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(text, sizeof(text), "http://127.0.0.1:%u/",
	    ntohs(a.sin_port));
	q.url = text;
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_E_CONNECT);
	http_response_fini(&r);
	q.url = "http://host.invalid/";
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_E_DNS);
	http_response_fini(&r);
	q.url = "ftp://127.0.0.1/";
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_true(r.error != HTTP_OK);
	http_response_fini(&r);
	close(fd);
	http_free(h);
}

static void
test_proxy(void **state)
{
	struct http_opts o = {.proxy = script.url};
	struct http *h = client(&o);
	struct http_request q = {
	    .method = "GET",
	    .url = "http://s3/b/x",
	    .max_body = 100000,
	    .deadline = deadline_in(10000),
	};
	struct http_response r;

	(void)state;
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_OK);
	assert_int_equal(r.status, 200);
	http_response_fini(&r);
	q.url = "https://s3.invalid/b/x";
	script_rules(&script, "[{\"verb\": \"CONNECT\", \"status\": 403}]");
	assert_int_equal(http_perform(h, &q, &r), 0);
	assert_int_equal(r.error, HTTP_E_PROXY);
	http_response_fini(&r);
	http_free(h);
}

static void
test_rates(void **state)
{
	struct http_opts o = {
	    .proxy = "", .rate_in = 400000, .rate_out = 400000};
	struct http *h = client(&o);
	char *p = calloc(1, 400000);
	struct http_response r;
	uint64_t start;

	(void)state;
	start = clock_mono_ms();
	assert_int_equal(put(h, "/b/x", p, 400000), 200);
	assert_true(clock_mono_ms() - start > 200);
	start = clock_mono_ms();
	assert_int_equal(get(h, "/b/x", 400000, 20000, &r), HTTP_OK);
	http_response_fini(&r);
	assert_int_equal(get(h, "/b/x", 400000, 20000, &r), HTTP_OK);
	http_response_fini(&r);
	/* 800000 bytes less the burst and the last block. */
	assert_true(clock_mono_ms() - start > 1000);
	assert_true(clock_mono_ms() - start < 6000);
	free(p);
	http_free(h);
}

struct runner {
	pthread_t thread;
	struct http *h;
	char url[sizeof(url)];
	int n;
	enum http_error last;
};

static void *
runner_main(void *arg)
{
	struct runner *x = arg;
	struct http_request q = {
	    .method = "GET", .url = x->url, .max_body = 100000};
	struct http_response r;

	for (; x->n > 0; x->n--) {
		q.deadline = deadline_in(20000);
		if (http_perform(x->h, &q, &r) != 0)
			abort();
		x->last = r.error;
		if (r.error != HTTP_OK)
			x->n = 1;
		http_response_fini(&r);
	}
	return NULL;
}

static void
start(struct runner *x, struct http *h, int n)
{
	x->h = h;
	x->n = n;
	snprintf(x->url, sizeof(x->url), "%s", at("/b/x"));
	assert_int_equal(
	    pthread_create(&x->thread, NULL, runner_main, x), 0);
}

static void
test_many_threads(void **state)
{
	struct http_opts o = {.proxy = "", .max_connections = 4};
	struct http *h = client(&o);
	struct runner x[16];
	size_t i;

	(void)state;
	assert_int_equal(put(h, "/b/x", "hello", 5), 200);
	script_clear(&script);
	for (i = 0; i < 16; i++)
		start(&x[i], h, 20);
	for (i = 0; i < 16; i++) {
		pthread_join(x[i].thread, NULL);
		assert_int_equal(x[i].last, HTTP_OK);
	}
	assert_int_equal(script_count(&script, "GET"), 320);
	/* The control requests make connections too. */
	assert_true(script_count(&script, "connections") <= 4 + 4);
	http_free(h);
}

static void
test_shutdown(void **state)
{
	struct http_opts o = {.proxy = "", .max_connections = 2};
	struct http *h = client(&o);
	struct runner x[4];
	struct http_response r;
	uint64_t begin;
	size_t i;

	(void)state;
	script_rules(&script, "[{\"delay\": 5}]");
	for (i = 0; i < 4; i++)
		start(&x[i], h, 1);
	while (script_count(&script, "GET") < 2)
		usleep(10000);
	begin = clock_mono_ms();
	http_shutdown(h);
	for (i = 0; i < 4; i++) {
		pthread_join(x[i].thread, NULL);
		assert_int_equal(x[i].last, HTTP_E_ABORTED);
	}
	assert_true(clock_mono_ms() - begin < 2000);
	assert_int_equal(get(h, "/b/x", 10, 1000, &r), HTTP_E_ABORTED);
	http_response_fini(&r);
	http_free(h);
}

/* While all connections are busy, a waiting request keeps its deadline. */
static void
test_queue_deadline(void **state)
{
	struct http_opts o = {.proxy = "", .max_connections = 1};
	struct http *h = client(&o);
	struct http_response r;
	struct runner x;
	uint64_t begin;

	(void)state;
	script_rules(&script, "[{\"delay\": 2}]");
	start(&x, h, 1);
	while (script_count(&script, "GET") < 1)
		usleep(10000);
	begin = clock_mono_ms();
	assert_int_equal(get(h, "/b/x", 10, 300, &r), HTTP_E_TIMEOUT);
	assert_true(clock_mono_ms() - begin < 1500);
	http_response_fini(&r);
	pthread_join(x.thread, NULL);
	assert_int_equal(x.last, HTTP_OK);
	http_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bodies),
	    cmocka_unit_test(test_no_length),
	    cmocka_unit_test(test_headers),
	    cmocka_unit_test(test_head),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_endless_headers),
	    cmocka_unit_test(test_unreachable),
	    cmocka_unit_test(test_proxy),
	    cmocka_unit_test(test_rates),
	    cmocka_unit_test(test_many_threads),
	    cmocka_unit_test(test_shutdown),
	    cmocka_unit_test(test_queue_deadline),
	};
	int r;

	if (!script_start(&script, NULL, false))
		return script_skip();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	script_stop(&script);
	return r;
}
