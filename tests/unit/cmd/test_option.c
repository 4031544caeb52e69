/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"

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

static int
parse(struct options *o, unsigned commands, char ***args, int *n, ...)
{
	static char words[16][64];
	static char *argv[17];
	va_list ap;
	int argc = 0;

	va_start(ap, n);
	for (const char *w; (w = va_arg(ap, const char *)) != NULL; argc++) {
		snprintf(words[argc], sizeof(words[argc]), "%s", w);
		argv[argc] = words[argc];
	}
	va_end(ap);
	argv[argc] = NULL;
	return option_parse_argv(o, commands, argc, argv, args, n);
}

static void
defaults(void **state)
{
	struct options *o = *state;

	assert_int_equal(o->timeout, 60000);
	assert_int_equal(o->cache_size, 8 * GIB);
	assert_int_equal(o->cache_floor, 256 * MIB);
	assert_int_equal(o->memory, 256 * MIB);
	assert_int_equal(o->retries, 4);
	assert_int_equal(o->fetchers, 16);
	assert_int_equal(o->hardlinks, VFS_LINKS_AUTO);
	assert_false(option_is_set(o, "timeout"));
	assert_null(o->endpoint);
}

static void
table_is_sound(void **state)
{
	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];

		assert_ptr_equal(option_find(d->name, strlen(d->name)), d);
		assert_true(d->type == OPTION_FLAG ? d->arg == NULL :
						     d->arg != NULL);
		assert_non_null(d->help);
		assert_true(strspn(d->name, "abcdefghijklmnopqrstuvwxyz-") ==
		    strlen(d->name));
		/* Two letters of one command would be one too many. */
		for (size_t j = 0; j < i; j++)
			assert_false(d->letter != 0 &&
			    d->letter == option_table[j].letter &&
			    (d->commands & option_table[j].commands));
	}
}

static void
command_line(void **state)
{
	struct options *o = *state;
	char **args;
	int n;

	assert_int_equal(parse(o, CMD_MOUNT, &args, &n, "mount", "-f",
	    "--cache_size=1G", "/store", "--timeout", "5m", "/mnt",
	    "-oro,allow_other", "--umask=027", "--request-rate=0.5",
	    "--hardlinks=seen", "--default-permissions=no", NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(args[0], "/store");
	assert_string_equal(args[1], "/mnt");
	assert_true(o->foreground);
	assert_true(o->ro);
	assert_true(o->allow_other);
	assert_false(o->default_permissions);
	assert_int_equal(o->cache_size, GIB);
	assert_int_equal(o->timeout, 300000);
	assert_int_equal(o->umask, 027);
	assert_true(o->request_rate > 0.49 && o->request_rate < 0.51);
	assert_int_equal(o->hardlinks, VFS_LINKS_SEEN);
	assert_true(option_is_set(o, "cache-size"));
}

static void
choices(void **state)
{
	struct options *o = *state;

	assert_int_equal(o->fsync, OPTION_FSYNC_LOCAL);
	assert_int_equal(o->archive, OPTION_ARCHIVE_SPLIT);
	assert_string_equal(o->owner, "root@pam");
	assert_int_equal(option_parse_list(o, "fsync=s3,archive=pxar", 0), 0);
	assert_int_equal(o->fsync, OPTION_FSYNC_S3);
	assert_int_equal(o->archive, OPTION_ARCHIVE_PXAR);
	assert_int_equal(option_parse_list(o, "fsync=local", 0), 0);
	assert_int_equal(o->fsync, OPTION_FSYNC_LOCAL);
	assert_int_equal(option_parse_list(o, "archive=zip", 0), -EINVAL);
	assert_said("split|pxar");
}

/* mount(8) has an option of that name, but without a value. */
static void
two_owners(void **state)
{
	struct options *o = *state;

	assert_int_equal(option_parse_list(o, "owner,noowner", 0), 0);
	assert_string_equal(o->owner, "root@pam");
	assert_int_equal(option_parse_list(o, "owner=me@pbs", 0), 0);
	assert_string_equal(o->owner, "me@pbs");
}

static void
dashes_end_options(void **state)
{
	char **args;
	int n;

	assert_int_equal(parse(*state, CMD_CAT, &args, &n, "cat", "/s", "--",
	    "--with_dashes", NULL), 0);
	assert_int_equal(n, 2);
	assert_string_equal(args[1], "--with_dashes");
}

static void
unknown_ones(void **state)
{
	struct options *o = *state;
	char **args;
	int n;

	assert_int_equal(parse(o, CMD_LS, &args, &n, "ls", "--jsn", NULL),
	    -EINVAL);
	assert_said("--json");
	assert_int_equal(parse(o, CMD_LS, &args, &n, "ls", "-Z", NULL),
	    -EINVAL);
	assert_said("-Z");
	assert_int_equal(parse(o, CMD_LS, &args, &n, "ls", "--allow-other",
	    NULL), -EINVAL);
	assert_said("not an option of this command");
	assert_int_equal(parse(o, CMD_LS, &args, &n, "ls", "--bucket=x",
	    NULL), -EINVAL);
	assert_said("configuration");
	assert_int_equal(parse(o, CMD_LS, &args, &n, "ls", "--cache", NULL),
	    -EINVAL);
	assert_said("needs a value");
	assert_int_equal(option_parse_list(o, "ro,cache_sise=1G", 0), -EINVAL);
	assert_said("cache-size");
	assert_int_equal(option_parse_list(o, "cache-size", 0), -EINVAL);
	assert_said("needs a value");
	assert_int_equal(option_parse_list(o, "bucket=x", 0), -EINVAL);
	assert_int_equal(option_parse_list(o, "json", 0), -EINVAL);
	assert_int_equal(option_parse_list(o, "\x1b[2J", 0), -EINVAL);
	assert_said("\\x1b");
}

static void
bad_values(void **state)
{
	static const char *const bad[] = {
	    "cache-size=many", "timeout=1x", "timeout=0", "port=0",
	    "port=65536", "port=-1", "umask=8", "umask=1777", "umask=",
	    "request-rate=-1", "request-rate=nan", "request-rate=1e9",
	    "request-rate=.", "hardlinks=all", "ro=maybe", "memory=1M",
	    "fetchers=0", "fetchers=257", "uid=-1", "uid=4294967295",
	    "retries=18446744073709551616", "fsync=", "fsync=s", "fsync=s3|",
	    "fsync=local|s3", "archive=tar", "staging-size=1K",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (option_parse_list(*state, bad[i], 0) != -EINVAL)
			fail_msg("%s was accepted", bad[i]);
	assert_int_equal(((struct options *)*state)->timeout, 60000);
}

static void
lists(void **state)
{
	struct options *o = *state;

	assert_int_equal(option_parse_list(o, "", 0), 0);
	assert_int_equal(option_parse_list(o,
	    ",ro,,subdir=a\\,b\\\\c,fsname=x=y,", 0), 0);
	assert_true(o->ro);
	assert_string_equal(o->subdir, "a,b\\c");
	assert_string_equal(o->fsname, "x=y");
	/* The last one counts. */
	assert_int_equal(option_parse_list(o, "ro=no,fsname=z", 0), 0);
	assert_false(o->ro);
	assert_string_equal(o->fsname, "z");
}

static void
fstab_options(void **state)
{
	struct options *o = *state;

	assert_int_equal(option_parse_list(o, "_netdev,nofail,noauto,user,"
	    "x-systemd.automount,x-systemd.mount-timeout=60,X-mount.mkdir,auto,"
	    "dev,suid,exec,noatime,comment=hello,defaults", 0), 0);
	assert_int_equal(option_parse_list(o, "rw", OPTION_LIST_MOUNT), 0);
	assert_false(o->rw);
	assert_int_equal(option_parse_list(o, "rw", 0), 0);
	assert_true(o->rw);
	assert_int_equal(option_parse_list(o, "wrong",
	    OPTION_LIST_SLOPPY), 0);
	assert_int_equal(option_parse_list(o, "port=x", OPTION_LIST_SLOPPY),
	    -EINVAL);
	assert_false(o->noexec);
	assert_int_equal(option_parse_list(o, "noexec", 0), 0);
	assert_true(o->noexec);
}

static void
precedence(void **state)
{
	struct options *o = *state;

	assert_int_equal(option_set_named(o, "region", "user",
	    OPTION_BY_USER, "t"), 0);
	assert_int_equal(option_set_named(o, "region", "section",
	    OPTION_BY_SECTION, "t"), 0);
	assert_string_equal(o->region, "user");
	assert_int_equal(option_set_named(o, "ca", "section",
	    OPTION_BY_SECTION, "t"), 0);
	assert_int_equal(option_set_named(o, "ca", "config",
	    OPTION_BY_CONFIG, "t"), 0);
	assert_string_equal(o->ca, "section");
}

static void
help_names_all(void **state)
{
	static char text[65536];
	FILE *f = tmpfile();
	size_t n;

	(void)state;
	option_help(f, CMD_ALL);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
		char want[64];

		snprintf(want, sizeof(want), "--%s%s", d->name,
		    d->arg != NULL ? "=" : " ");
		assert_int_equal(strstr(text, want) == NULL,
		    (d->flags & OPTION_FILE_ONLY) != 0);
	}
}

/* What is said of the source alone is not said of the target, and the other
 * way round only what two stores can share. */
static void
of_the_source(void **state)
{
	struct options o, s;
	char **args;
	int n;

	(void)state;
	assert_int_equal(options_init(&o), 0);
	assert_int_equal(parse(&o, CMD_COPY, &args, &n, "copy",
	    "--from-region=there", "--region=here", "-o",
	    "cache=/c,from_port=81,retries=7", "--from-path-style", "a", "b",
	    NULL), 0);
	assert_int_equal(n, 2);
	assert_int_equal(options_for_source(&o, &s), 0);
	assert_string_equal(o.region, "here");
	assert_string_equal(s.region, "there");
	assert_int_equal(o.port, 0);
	assert_int_equal(s.port, 81);
	assert_false(o.path_style);
	assert_true(s.path_style);
	assert_int_equal(o.retries, 7);
	assert_int_equal(s.retries, 7);
	assert_string_equal(o.cache, "/c");
	assert_null(s.cache);
	assert_true(option_is_set(&s, "port"));
	assert_false(option_is_set(&o, "port"));
	options_fini(&s);
	options_fini(&o);
	assert_int_equal(options_init(&o), 0);
	assert_int_equal(parse(&o, CMD_COPY, &args, &n, "copy",
	    "--from-takeover", "a", "b", NULL), -EINVAL);
	options_fini(&o);
	assert_null(option_find_source("from-output", 11));
	assert_null(option_find_source("from-", 5));
	assert_null(option_find_source("fromregion", 10));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    T(defaults),
	    T(table_is_sound),
	    T(command_line),
	    T(choices),
	    T(two_owners),
	    T(dashes_end_options),
	    T(unknown_ones),
	    T(bad_values),
	    T(lists),
	    T(fstab_options),
	    T(precedence),
	    T(help_names_all),
	    T(of_the_source),
	};

	log_setup(LOG_TO_STDERR, LOG_LVL_ERR, "test");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
