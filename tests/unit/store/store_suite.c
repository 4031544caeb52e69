/* SPDX-License-Identifier: GPL-3.0-or-later */

/*
 * Runs the checks of suite.c over memory, directory and filters; or, as
 *     store_suite s3 ENDPOINT BUCKET PREFIX
 * with keys from the environment, over a bucket.
 */
#include "suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "s3/cred.h"
#include "s3/s3.h"
#include "store/backends.h"
#include "store/filters.h"

#include "../cm.h"

static struct {
	const char *endpoint, *bucket, *prefix;
	struct s3_cred *cred;
	char temp[64];
	unsigned n;
} env;

static struct store *
new_mem(void)
{
	struct store *s;

	assert_int_equal(store_mem_new(&s), 0);
	return s;
}

static const char *
new_temp(char out[96])
{
	snprintf(out, 96, "%s/%u", env.temp, env.n++);
	assert_int_equal(io_mkdirs(AT_FDCWD, out, 0755), 0);
	return out;
}

static struct store *
new_dir(void)
{
	char path[96];
	struct store *s;

	assert_int_equal(store_dir_new(new_temp(path), &s), 0);
	return s;
}

static struct store *
new_count(void)
{
	struct store *s;

	assert_int_equal(store_count_new(new_mem(), &s), 0);
	return s;
}

static struct store *
new_limit(void)
{
	struct store *s;

	assert_int_equal(store_limit_new(new_mem(), 1 << 20, GIB, &s), 0);
	return s;
}

static struct store *
new_log(void)
{
	struct store *s;

	assert_int_equal(store_log_new(new_mem(), &s), 0);
	return s;
}

/* A script whose rules are about none of the keys. */
static struct store *
new_fault(struct store *below)
{
	static const char text[] = "* nothing/like/it error=EIO\n";
	const struct iovec v = {(void *)(uintptr_t)text, sizeof(text) - 1};
	char path[96], script[128];
	struct store *s;

	snprintf(script, sizeof(script), "%s/script", new_temp(path));
	assert_int_equal(io_replace(AT_FDCWD, script, &v, 1, 0600, 0), 0);
	assert_int_equal(store_fault_new(below, script, &s), 0);
	return s;
}

static struct store *
new_fault_mem(void)
{
	return new_fault(new_mem());
}

static struct store *
new_cache(struct store *below)
{
	char path[96];
	const struct store_cache_opts o = {
	    .dir = new_temp(path), .limit = 8 * MIB};
	struct store *s;

	assert_int_equal(store_cache_new(below, &o, &s), 0);
	return s;
}

static struct store *
new_cache_mem(void)
{
	return new_cache(new_mem());
}

static struct store *
new_cache_dir(void)
{
	return new_cache(new_dir());
}

static struct store *
new_stack(void)
{
	struct store *s = new_fault(new_count());

	assert_int_equal(store_limit_new(s, 0, 0, &s), 0);
	assert_int_equal(store_log_new(new_cache(s), &s), 0);
	return s;
}

static struct store *
new_s3(void)
{
	const struct s3_opts o = {
	    .endpoint = env.endpoint,
	    .bucket = env.bucket,
	    .path_style = true,
	    .insecure_http = true,
	    .cred = env.cred,
	};
	char prefix[128];
	struct store *s;
	struct s3 *c;

	snprintf(prefix, sizeof(prefix), "%s/%u", env.prefix, env.n++);
	assert_int_equal(s3_new(&o, &c), 0);
	assert_int_equal(store_s3_new(c, prefix, &s), 0);
	return s;
}

struct kind {
	const char *name;
	struct store *(*make)(void);
};

struct run {
	const struct suite_check *check;
	const struct kind *kind;
	char name[128];
};

static void
run_one(void **state)
{
	const struct run *r = *state;
	struct store *s = r->kind->make();

	r->check->fn(s);
	store_free(s);
}

static int
run_all(const struct kind *kinds, size_t n_kinds)
{
	size_t n = 0, max = n_kinds * suite_n_checks;
	struct run *runs = calloc(max, sizeof(*runs));
	struct CMUnitTest *tests = calloc(max, sizeof(*tests));
	int r;

	if (runs == NULL || tests == NULL)
		return 1;
	for (size_t k = 0; k < n_kinds; k++)
		for (size_t i = 0; i < suite_n_checks; i++, n++) {
			runs[n].check = &suite_checks[i];
			runs[n].kind = &kinds[k];
			snprintf(runs[n].name, sizeof(runs[n].name), "%s: %s",
			    kinds[k].name, suite_checks[i].name);
			tests[n] = (struct CMUnitTest){.name = runs[n].name,
			    .test_func = run_one,
			    .initial_state = &runs[n]};
		}
	r = _cmocka_run_group_tests("suite", tests, n, NULL, NULL);
	free(tests);
	free(runs);
	return r;
}

static int
run_s3(char **argv)
{
	static const struct kind kinds[] = {{"s3", new_s3}};
	int r;

	env.endpoint = argv[0];
	env.bucket = argv[1];
	env.prefix = argv[2];
	if (s3_cred_env(&env.cred) != 0) {
		fprintf(stderr, "no keys in the environment\n");
		return 77;
	}
	r = run_all(kinds, ARRAY_SIZE(kinds));
	s3_cred_free(env.cred);
	return r;
}

int
main(int argc, char **argv)
{
	static const struct kind kinds[] = {
	    {"mem", new_mem},
	    {"dir", new_dir},
	    {"count", new_count},
	    {"limit", new_limit},
	    {"log", new_log},
	    {"fault", new_fault_mem},
	    {"cache over mem", new_cache_mem},
	    {"cache over dir", new_cache_dir},
	    {"log, cache, limit, fault, count", new_stack},
	};
	const char *tmp = getenv("TMPDIR");
	int r;

	if (argc == 5 && streq(argv[1], "s3"))
		return run_s3(argv + 2);
	if (argc != 1) {
		fprintf(
		    stderr, "usage: %s [s3 ENDPOINT BUCKET PREFIX]\n", argv[0]);
		return 2;
	}
	snprintf(env.temp, sizeof(env.temp), "%s/store-suite-XXXXXX",
	    tmp != NULL && strlen(tmp) < 32 ? tmp : "/tmp");
	if (mkdtemp(env.temp) == NULL)
		return 1;
	r = run_all(kinds, ARRAY_SIZE(kinds));
	if (io_remove_tree(AT_FDCWD, env.temp) < 0)
		return 1;
	return r;
}
