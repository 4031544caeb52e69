/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/num.h"
#include "cmd/option.h"
#include "cmd/pbs_conf.h"

#include "../cm.h"
#include "cmd_log.h"

struct fixture {
	struct options o;
	char dir[64];
};

static void
put(struct fixture *f, const char *name, const char *text, mode_t mode)
{
	struct iovec iov = {.iov_base = strdup(text), .iov_len = strlen(text)};
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(io_replace(AT_FDCWD, path, &iov, 1, mode, 0), 0);
	free(iov.iov_base);
}

static const char conf[] =
    "region = eu\n"
    "[one]\nbackend = s3\nbucket = bucket-1\nendpoint = https://h\n"
    "[two]\nbackend = dir\npath = /srv/two\n"
    "[three]\nbucket = bucket-3\ndatastore = other\n"
    "[four]\nbackend = tape\n"
    "[five]\nbackend = s3\n"
    "[six]\nbackend = dir\npath = relative\n";

/* In the form of the backup server's own files. */
static const char datastore_cfg[] =
    "datastore: local\n"
    "\tcomment some text\n"
    "\tpath /srv/local\n"
    "\n"
    "datastore: remote\n"
    "\tbackend type=s3,client=ep1,bucket=pbs-bucket\n"
    "\tpath /srv/cache\n"
    "\ttuning gc-atime-cutoff=1\n"
    "\n"
    "datastore: lost\n"
    "\tbackend s3,client=ep9,bucket=pbs-bucket\n";

static const char s3_cfg[] =
    "s3-endpoint: ep1\n"
    "\taccess-key AKID\n"
    "\tendpoint {{bucket}}.s3.{{region}}.example.com\n"
    "\tfingerprint 24:de\n"
    "\tpath-style true\n"
    "\tport 7543\n"
    "\tprovider-quirks skip-if-none-match-header,"
    "delete-objects-via-delete-object\n"
    "\trate-in 10 MiB\n"
    "\tsome-future-key value\n"
    "\tsecret-key SECRET\n";

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	*state = f;
	strcpy(f->dir, "/tmp/pbs3fs-target-XXXXXX");
	if (mkdtemp(f->dir) == NULL || options_init(&f->o) < 0)
		return -1;
	put(f, "conf", conf, 0644);
	put(f, "datastore.cfg", datastore_cfg, 0644);
	put(f, "s3.cfg", s3_cfg, 0600);
	snprintf(path, sizeof(path), "%s/conf", f->dir);
	f->o.config = strdup(path);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;
	int r = io_remove_tree(AT_FDCWD, f->dir);

	options_fini(&f->o);
	free(f);
	return r;
}

static void
urls_and_paths(void **state)
{
	struct fixture *f = *state;
	struct target t;

	assert_int_equal(target_parse("s3://my-bucket/store1/", &f->o, &t), 0);
	assert_true(t.is_s3);
	assert_string_equal(t.bucket, "my-bucket");
	assert_string_equal(t.datastore, "store1");
	assert_string_equal(f->o.region, "eu");
	target_fini(&t);
	assert_int_equal(target_parse("s3://Old_Bucket.A/store1", &f->o, &t),
	    0);
	assert_string_equal(t.bucket, "Old_Bucket.A");
	target_fini(&t);
	assert_int_equal(target_parse("/srv/any where", &f->o, &t), 0);
	assert_false(t.is_s3);
	assert_string_equal(t.path, "/srv/any where");
	target_fini(&t);
	target_fini(&t);
}

static void
what_is_no_store(void **state)
{
	static const char *const bad[] = {
	    "", "s3://", "s3://bucket", "s3://bucket/", "s3:///store",
	    "s3://ab/store", "s3://bucket/a/b", "s3://bucket/..",
	    "s3://bucket/a b", "s3://bu cket/store", "s3://bucket/-x",
	    "s3://bucket-/store", "s3://bucket./store", "s3://bucket_/store",
	    "relative/path", "unknown", "[one]",
	};
	struct fixture *f = *state;
	struct target t;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (target_parse(bad[i], &f->o, &t) >= 0)
			fail_msg("'%s' was accepted", bad[i]);
}

static void
keys_in_urls_are_not_repeated(void **state)
{
	struct fixture *f = *state;
	struct target t;

	assert_int_equal(target_parse("s3://KEY:SECRET@bucket/store", &f->o,
	    &t), -EINVAL);
	assert_null(strstr(cmd_log_last(), "SECRET"));
	assert_said("credentials");
}

static void
sections(void **state)
{
	struct fixture *f = *state;
	struct target t;

	assert_int_equal(target_parse("one", &f->o, &t), 0);
	assert_true(t.is_s3);
	assert_string_equal(t.bucket, "bucket-1");
	assert_string_equal(t.datastore, "one");
	assert_string_equal(f->o.endpoint, "https://h");
	target_fini(&t);
}

static void
other_sections(void **state)
{
	struct fixture *f = *state;
	struct target t;

	assert_int_equal(target_parse("two", &f->o, &t), 0);
	assert_false(t.is_s3);
	assert_string_equal(t.path, "/srv/two");
	target_fini(&t);
}

static void
defaults_of_sections(void **state)
{
	struct fixture *f = *state;
	struct target t;

	assert_int_equal(target_parse("three", &f->o, &t), 0);
	assert_true(t.is_s3);
	assert_string_equal(t.datastore, "other");
	target_fini(&t);
}

static void
bad_sections(void **state)
{
	static const char *const bad[][2] = {
	    {"four", "tape"}, {"five", "bucket"}, {"six", "absolute"}};
	struct target t;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fixture *f = *state;

		options_fini(&f->o);
		assert_int_equal(options_init(&f->o), 0);
		f->o.config = malloc(128);
		snprintf(f->o.config, 128, "%s/conf", f->dir);
		assert_true(target_parse(bad[i][0], &f->o, &t) < 0);
		assert_said(bad[i][1]);
	}
}

static void
server_files(void **state)
{
	struct fixture *f = *state;
	struct target t;

	f->o.pbs_config = strdup(f->dir);
	assert_int_equal(target_parse("remote", &f->o, &t), 0);
	assert_true(t.is_s3);
	assert_string_equal(t.bucket, "pbs-bucket");
	assert_string_equal(t.datastore, "remote");
	assert_string_equal(t.access, "AKID");
	assert_string_equal(t.secret, "SECRET");
	assert_string_equal(f->o.endpoint,
	    "{{bucket}}.s3.{{region}}.example.com");
	/* Ours, for all stores, does not hold for a store of theirs. */
	assert_int_equal(f->o.port, 7543);
	assert_true(f->o.path_style);
	assert_true(f->o.skip_if_none_match);
	assert_true(f->o.no_multi_delete);
	assert_int_equal(f->o.rate_in, 10 * MIB);
	target_fini(&t);
	assert_int_equal(target_parse("local", &f->o, &t), 0);
	assert_false(t.is_s3);
	assert_string_equal(t.path, "/srv/local");
	target_fini(&t);
	assert_int_equal(target_parse("none", &f->o, &t), -ENOENT);
	assert_int_equal(target_parse("lost", &f->o, &t), -ENOENT);
	assert_said("ep9");
}

static void
open_server_files(void **state)
{
	struct fixture *f = *state;
	struct target t;
	char path[128];

	f->o.pbs_config = strdup(f->dir);
	snprintf(path, sizeof(path), "%s/s3.cfg", f->dir);
	chmod(path, 0604);
	assert_int_equal(target_parse("remote", &f->o, &t), -EPERM);
	assert_said("chmod");
	/* Of a group, only that of the server or root may read it. */
	if (chown(path, (uid_t)-1, 12345) == 0) {
		chmod(path, 0640);
		assert_int_equal(target_parse("remote", &f->o, &t), -EPERM);
		if (chown(path, (uid_t)-1, 34) == 0) {
			assert_int_equal(target_parse("remote", &f->o, &t), 0);
			target_fini(&t);
		}
	}
}

static int
count_keys(void *arg, const char *key, const char *value)
{
	(void)key;
	(void)value;
	(*(int *)arg)++;
	return 0;
}

static void
section_format(void **state)
{
	int n = 0;

	(void)state;
	assert_int_equal(pbs_conf_section(datastore_cfg, "datastore",
	    "remote", count_keys, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(pbs_conf_section("a:  b \r\n x 1\r\n\n# no\n y\n", "a",
	    "b", count_keys, &n), 0);
	assert_int_equal(n, 5);
	assert_int_equal(pbs_conf_section("a: bc\n x 1\n", "a", "b",
	    count_keys, &n), 1);
	assert_int_equal(pbs_conf_section("aa: b\n x 1\n", "a", "b",
	    count_keys, &n), 1);
	assert_int_equal(n, 5);
}

static void
properties(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(pbs_conf_property("type=s3,client=c", "client", NULL,
	    out, sizeof(out)), 0);
	assert_string_equal(out, "c");
	assert_int_equal(pbs_conf_property("s3,client=c", "type", "type", out,
	    sizeof(out)), 0);
	assert_string_equal(out, "s3");
	assert_int_equal(pbs_conf_property("client=c,s3", "type", "type", out,
	    sizeof(out)), 0);
	assert_string_equal(out, "s3");
	assert_int_equal(pbs_conf_property("a=1,b=2", "c", "a", out,
	    sizeof(out)), 1);
	assert_int_equal(pbs_conf_property("", "c", "c", out, sizeof(out)), 1);
	assert_int_equal(pbs_conf_property("a=", "a", NULL, out, sizeof(out)),
	    0);
	assert_string_equal(out, "");
	assert_int_equal(pbs_conf_property("a=12345678", "a", NULL, out,
	    sizeof(out)), -ENAMETOOLONG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void
a_directory_is_found_in_the_servers_file(void **state)
{
	static const char cfg[] = "# x\ndatastore: one\n\tcomment /srv/b\n"
	    "\tpath /srv/a\n\nother: two\n\tpath /srv/b\n\n"
	    "datastore:  three \n  path   /srv/c/ \n"
	    "datastore: ../x\n\tpath /srv/d\n"
	    "datastore: five\n\tpathx /srv/e\n\tpath /srv/e";
	char name[8];

	(void)state;
	assert_int_equal(pbs_conf_at(cfg, "/srv/a", name, sizeof(name)), 0);
	assert_string_equal(name, "one");
	assert_int_equal(pbs_conf_at(cfg, "/srv/b", name, sizeof(name)), 1);
	assert_int_equal(pbs_conf_at(cfg, "/srv/c", name, sizeof(name)), 0);
	assert_string_equal(name, "three");
	assert_int_equal(pbs_conf_at(cfg, "/srv/d", name, sizeof(name)), 1);
	assert_int_equal(pbs_conf_at(cfg, "/srv/e", name, sizeof(name)), 0);
	assert_string_equal(name, "five");
	assert_int_equal(pbs_conf_at(cfg, "/srv", name, sizeof(name)), 1);
	assert_int_equal(pbs_conf_at(cfg, "/srv/c", name, 5), 1);
	assert_int_equal(pbs_conf_at("", "/srv", name, sizeof(name)), 1);
	assert_int_equal(pbs_conf_at("datastore:", "", name, sizeof(name)), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(urls_and_paths),
	    T(what_is_no_store),
	    T(keys_in_urls_are_not_repeated),
	    T(sections),
	    T(other_sections),
	    T(defaults_of_sections),
	    T(bad_sections),
	    T(server_files),
	    T(open_server_files),
	    cmocka_unit_test(section_format),
	    cmocka_unit_test(properties),
	    cmocka_unit_test(a_directory_is_found_in_the_servers_file),
	};

	log_setup(LOG_TO_STDERR, LOG_LVL_ERR, "test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
