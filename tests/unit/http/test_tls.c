/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cm.h"
#include "../s3/script.h"
#include "base/buf.h"
#include "base/num.h"
#include "http/http.h"

/* Servers with a good certificate, one for another name, and an expired one. */
enum { GOOD, NAME, OLD, SERVERS };
static const char *const names[SERVERS] = {"good", "name", "old"};
static const char *const pins[SERVERS] = {
    "ca2e0576db0f6e7060a7ea61f264f2f5"
    "b4150c179376e4d2a0afe34257d7e11c",
    "dd4f1a8bb73f179f95c565ed090d688c"
    "8b6bd596e08d4bf281097d31ee5bbb95",
    "ed909bd848496a8055e772bed2659510"
    "aca30cd5b869362ffe349053558bce64",
};
static struct script servers[SERVERS];
static char ca[4096];

static bool
start_all(void)
{
	char cert[4096], key[4096];
	const char *args[] = {"--tls", cert, key, NULL};
	int i;

	snprintf(ca, sizeof(ca), "%s/tls/ca.pem", getenv("TEST_DATA"));
	for (i = 0; i < SERVERS; i++) {
		snprintf(cert, sizeof(cert), "%s/tls/%s.pem",
		    getenv("TEST_DATA"), names[i]);
		snprintf(key, sizeof(key), "%s/tls/%s.key",
		    getenv("TEST_DATA"), names[i]);
		if (!script_start(&servers[i], args, true))
			return false;
	}
	return true;
}

static struct http *
client(const char *ca_file, const char *pin)
{
	uint8_t fingerprint[32];
	struct http_opts o = {.proxy = "", .ca_file = ca_file};
	struct http *h = NULL;

	if (pin != NULL) {
		assert_int_equal(hex_decode(fingerprint, 32, pin), 0);
		o.fingerprint = fingerprint;
	}
	assert_int_equal(http_new(&o, &h), 0);
	return h;
}

static enum http_error
ask(struct http *h, const struct script *s, const char *host)
{
	static const struct http_header secret[] = {
	    {"Authorization", "very secret"}};
	struct http_request q = {
	    .method = "PUT",
	    .headers = secret,
	    .n_headers = 1,
	    .body = "secret too",
	    .body_len = 10,
	    .max_body = 1000,
	    .deadline = deadline_in(20000),
	};
	struct http_response r;
	char url[128];
	enum http_error e;

	snprintf(url, sizeof(url), "https://%s:%u/b/x", host, s->port);
	q.url = url;
	assert_int_equal(http_perform(h, &q, &r), 0);
	e = r.error;
	if (e != HTTP_OK)
		assert_true(r.detail[0] != '\0');
	http_response_fini(&r);
	return e;
}

/* Nobody but the verified server gets a byte of the request. */
static void
expect(const char *ca_file, const char *pin, int server, const char *host,
    enum http_error want)
{
	const struct script *s = &servers[server];
	struct http *h = client(ca_file, pin);
	unsigned n = want == HTTP_OK ? 3 : 0;
	int i;

	script_clear(s);
	for (i = 0; i < 3; i++)
		assert_int_equal(ask(h, s, host), want);
	assert_int_equal(script_count(s, "begun"), n);
	http_free(h);
}

#define IP "127.0.0.1"

static void
test_without_pin(void **state)
{
	(void)state;
	expect(ca, NULL, GOOD, IP, HTTP_OK);
	expect(ca, NULL, GOOD, "localhost", HTTP_OK);
	expect(NULL, NULL, GOOD, IP, HTTP_E_TLS);
	expect(ca, NULL, NAME, IP, HTTP_E_TLS);
	expect(ca, NULL, OLD, IP, HTTP_E_TLS);
}

static void
test_right_pin(void **state)
{
	(void)state;
	expect(NULL, pins[GOOD], GOOD, IP, HTTP_OK);
	expect(ca, pins[GOOD], GOOD, IP, HTTP_OK);
	/* The pin is about the certificate and nothing else. */
	expect(NULL, pins[NAME], NAME, IP, HTTP_OK);
	expect(NULL, pins[OLD], OLD, IP, HTTP_OK);
}

static void
test_wrong_pin(void **state)
{
	(void)state;
	expect(NULL, pins[NAME], GOOD, IP, HTTP_E_TLS);
	/* A valid chain does without the pin. */
	expect(ca, pins[NAME], GOOD, IP, HTTP_OK);
	expect(ca, pins[NAME], GOOD, "localhost", HTTP_OK);
	/* These chains are not valid. */
	expect(ca, pins[GOOD], NAME, IP, HTTP_E_TLS);
	expect(ca, pins[GOOD], OLD, IP, HTTP_E_TLS);
}

static void
test_connection_is_kept(void **state)
{
	struct http *h = client(NULL, pins[GOOD]);
	int i;

	(void)state;
	script_clear(&servers[GOOD]);
	for (i = 0; i < 10; i++)
		assert_int_equal(ask(h, &servers[GOOD], IP), HTTP_OK);
	/* One for the requests, one for the control request that asks. */
	assert_int_equal(script_count(&servers[GOOD], "connections"), 2);
	http_free(h);
}

static void
test_no_tls_there(void **state)
{
	struct script plain = servers[GOOD];
	struct http *h = client(NULL, pins[GOOD]);

	(void)state;
	plain.port = plain.control;
	assert_int_not_equal(ask(h, &plain, IP), HTTP_OK);
	http_free(h);
	h = client(ca, NULL);
	assert_int_equal(ask(h, &plain, IP), HTTP_E_TLS);
	http_free(h);
}

/* Through a proxy's tunnel, the server behind it is the one to verify. */
static void
test_tunnel(void **state)
{
	uint8_t fingerprint[32];
	char proxy[64];
	struct http_opts o = {.proxy = proxy, .fingerprint = fingerprint};
	struct http *h;

	(void)state;
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u",
	    servers[GOOD].control);
	assert_int_equal(hex_decode(fingerprint, 32, pins[GOOD]), 0);
	assert_int_equal(http_new(&o, &h), 0);
	script_clear(&servers[GOOD]);
	assert_int_equal(ask(h, &servers[GOOD], "s3.invalid"), HTTP_OK);
	assert_int_equal(script_count(&servers[GOOD], "CONNECT"), 1);
	script_clear(&servers[NAME]);
	assert_int_equal(ask(h, &servers[NAME], "s3.invalid"), HTTP_E_TLS);
	assert_int_equal(script_count(&servers[NAME], "begun"), 0);
	http_free(h);
}

static void
test_bad_options(void **state)
{
	uint8_t fingerprint[32] = {0};
	struct http_opts o = {.ca_file = "/nonexistent/ca.pem"};
	struct http *h;
	char readme[4096];

	(void)state;
	assert_int_equal(http_new(&o, &h), -ENOENT);
	snprintf(readme, sizeof(readme), "%s/tls/README", getenv("TEST_DATA"));
	o.ca_file = readme;
	o.fingerprint = fingerprint;
	assert_int_equal(http_new(&o, &h), -EBADMSG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_pin),
	    cmocka_unit_test(test_right_pin),
	    cmocka_unit_test(test_wrong_pin),
	    cmocka_unit_test(test_connection_is_kept),
	    cmocka_unit_test(test_no_tls_there),
	    cmocka_unit_test(test_tunnel),
	    cmocka_unit_test(test_bad_options),
	};
	int r, i;

	if (!start_all())
		return script_skip();
	r = cmocka_run_group_tests(tests, NULL, NULL);
	for (i = 0; i < SERVERS; i++)
		script_stop(&servers[i]);
	return r;
}
