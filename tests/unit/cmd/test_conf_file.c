/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/conf_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "cmd/option.h"

#include "../cm.h"
#include "cmd_log.h"

static int
setup(void **state)
{
	struct options *o = malloc(sizeof(*o));

	*state = o;
	return o == NULL ? -1 : options_init(o);
}

static int
teardown(void **state)
{
	options_fini(*state);
	free(*state);
	return 0;
}

static const char text[] =
    "# comment\n"
    "timeout = 30s\n"
    "cache_size = 1G ; remark\n"
    "\n"
    "[one]\n"
    "  backend = s3\n"
    "\tbucket = b1\n"
    "  endpoint = https://{{bucket}}.example.com\n"
    "path-style = yes\n"
    "cache-size = 2G\n"
    "[empty]\n"
    "[two]\n"
    "backend=dir\n"
    "path = /srv/a b\n";

static void
sections(void **state)
{
	struct options *o = *state;
	bool found = false;

	assert_int_equal(conf_file_parse(o, text, "f", "one", &found), 0);
	assert_true(found);
	assert_string_equal(o->backend, "s3");
	assert_string_equal(o->bucket, "b1");
	assert_string_equal(o->endpoint, "https://{{bucket}}.example.com");
	assert_true(o->path_style);
	assert_int_equal(o->cache_size, 2 * GIB);
	assert_int_equal(o->timeout, 30000);
	assert_null(o->path);
}

static void
no_section(void **state)
{
	struct options *o = *state;
	bool found = true;

	assert_int_equal(conf_file_parse(o, text, "f", "three", &found), 0);
	assert_false(found);
	assert_int_equal(o->cache_size, GIB);
	assert_null(o->bucket);
	assert_int_equal(conf_file_parse(o, text, "f", NULL, &found), 0);
	assert_false(found);
	assert_int_equal(conf_file_parse(o, text, "f", "empty", &found), 0);
	assert_true(found);
	assert_int_equal(conf_file_parse(o, "", "f", "x", &found), 0);
	assert_false(found);
}

static void
user_goes_first(void **state)
{
	struct options *o = *state;
	bool found;

	assert_int_equal(option_parse_list(o, "cache-size=3G,timeout=9", 0), 0);
	assert_int_equal(conf_file_parse(o, text, "f", "one", &found), 0);
	assert_int_equal(o->cache_size, 3 * GIB);
	assert_int_equal(o->timeout, 9000);
}

static void
bad_files(void **state)
{
	static const struct {
		const char *text, *said;
	} t[] = {
	    {"[a]\ncache-sise = 1\n", "cache-size"},
	    {"[a]\ncache-size = many\n", "cache-size"},
	    {"[a]\nwhat is this\n", "line 2"},
	    {"[a\n", "line 1"},
	    {"nosuchthing = 1\n", "nosuchthing"},
	    {"subdir = x\n", "section"},
	    {"bucket = x\n", "section"},
	    {"json = yes\n", "json"},
	    {"[a]\nconfig = x\n", "config"},
	    /* Sections of other stores are checked, too. */
	    {"[a]\nro = yes\n[b]\nport = 99999\n", "[b]"},
	};
	char long_line[300];
	bool found;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		if (conf_file_parse(*state, t[i].text, "file", "a", &found) !=
		    -EINVAL)
			fail_msg("accepted: %s", t[i].text);
		assert_said(t[i].said);
		assert_said("file");
	}
	memset(long_line, 'x', sizeof(long_line) - 1);
	long_line[sizeof(long_line) - 1] = '\0';
	assert_int_equal(conf_file_parse(*state, long_line, "file", "a",
	    &found), -EINVAL);
	assert_said("longer");
	long_line[0] = '#';
	assert_int_equal(conf_file_parse(*state, long_line, "file", "a",
	    &found), 0);
}

static void
files(void **state)
{
	struct options *o = *state;
	bool found;

	setenv(CONF_FILE_ENV, "/nonexistent/by-env", 1);
	assert_string_equal(conf_file_path(o), "/nonexistent/by-env");
	/* Asked for and not there: that is an error. */
	assert_int_equal(conf_file_load(o, "a", &found), -ENOENT);
	o->config = strdup("/nonexistent/by-option");
	assert_string_equal(conf_file_path(o), "/nonexistent/by-option");
	unsetenv(CONF_FILE_ENV);
	assert_int_equal(conf_file_load(o, "a", &found), -ENOENT);
	assert_said("/nonexistent/by-option");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(sections),
	    T(no_section),
	    T(user_goes_first),
	    T(bad_files),
	    T(files),
	};

	log_setup(LOG_TO_STDERR, LOG_LVL_ERR, "test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
