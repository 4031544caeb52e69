/* SPDX-License-Identifier: GPL-3.0-or-later */

/* The option table and the manual pages name the same options. */
#include "cmd/option.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"

#include "../cm.h"

static const struct {
	const char *name;
	unsigned commands;	/* whose options may stand there */
} pages[] = {
    {"pbs3fs.8", CMD_ALL},
    {"pbs3fs-mount.8", CMD_MOUNT},
    {"pbs3fs-umount.8", CMD_UMOUNT},
    {"pbs3fs-ls.8", CMD_LS},
    {"pbs3fs-cat.8", CMD_CAT},
    {"pbs3fs-export.8", CMD_EXPORT},
    {"pbs3fs-check.8", CMD_CHECK},
    {"pbs3fs-refresh.8", CMD_REFRESH},
    {"pbs3fs-status.8", CMD_STATUS},
    {"pbs3fs-create.8", CMD_CREATE},
    {"pbs3fs-snapshot.8", CMD_SNAPSHOT},
    {"pbs3fs-forget.8", CMD_FORGET},
    {"pbs3fs-protect.8", CMD_PROTECT},
    {"pbs3fs-prune.8", CMD_PRUNE},
    {"pbs3fs-verify.8", CMD_VERIFY},
    {"pbs3fs-gc.8", CMD_GC},
    {"pbs3fs-copy.8", CMD_COPY},
    {"pbs3fs-repair.8", CMD_REPAIR},
};

static char *
page(const char *name)
{
	struct buf *b = NULL;
	struct str path = {0};
	char *text;

	str_addf(&path, "%s/doc/%s", getenv("TOP_SRCDIR"), name);
	if (io_read_file(AT_FDCWD, str_get(&path), MIB, &b) < 0)
		fail_msg("%s cannot be read", str_get(&path));
	text = strndup((const char *)b->data, b->len);
	buf_unref(b);
	str_fini(&path);
	return text;
}

static bool
names(const char *text, const char *option)
{
	size_t n = strlen(option);

	for (const char *p = text; (p = strstr(p, "Fl -")) != NULL; p++)
		if (strncmp(p + 4, option, n) == 0 &&
		    !isalpha((unsigned char)p[4 + n]) && p[4 + n] != '-')
			return true;
	return false;
}

/* In the page of a command, the overview, or with the mount's. */
static void
options_are_documented(void **state)
{
	char *overview = page("pbs3fs.8"), *mount = page("pbs3fs-mount.8");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		char *own = page(pages[i].name);

		for (size_t j = 0; j < option_count; j++) {
			const struct option_def *d = &option_table[j];

			if (!(d->commands & pages[i].commands) ||
			    (d->flags & OPTION_FILE_ONLY) || i == 0)
				continue;
			if (!names(own, d->name) &&
			    !names(overview, d->name) &&
			    !names(mount, d->name))
				fail_msg("--%s is not in %s", d->name,
				    pages[i].name);
		}
		free(own);
	}
	free(overview);
	free(mount);
}

static void
documented_options_exist(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		char *text = page(pages[i].name), *p = text;

		for (; (p = strstr(p, "Fl -")) != NULL; p += 4) {
			size_t n = strspn(p + 4,
			    "abcdefghijklmnopqrstuvwxyz-");
			const struct option_def *d = option_find(p + 4, n);

			if (n == 4 && strncmp(p + 4, "name", 4) == 0)
				continue;	/* "--name=value" */
			if (n == 7 && strncmp(p + 4, "version", 7) == 0)
				continue;
			if (d == NULL)
				fail_msg("%s: there is no --%.*s",
				    pages[i].name, (int)n, p + 4);
			if (!(d->commands & pages[i].commands))
				fail_msg("%s: --%s is not its option",
				    pages[i].name, d->name);
		}
		free(text);
	}
}

/* Those that only the configuration file has. */
static void
file_options_are_documented(void **state)
{
	char *text = page("pbs3fs.conf.5");

	(void)state;
	for (size_t i = 0; i < option_count; i++) {
		char want[64];

		if (!(option_table[i].flags & OPTION_FILE_ONLY))
			continue;
		snprintf(want, sizeof(want), ".It Cm %s Ns",
		    option_table[i].name);
		if (strstr(text, want) == NULL)
			fail_msg("%s is not in pbs3fs.conf.5",
			    option_table[i].name);
	}
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(options_are_documented),
	    cmocka_unit_test(documented_options_exist),
	    cmocka_unit_test(file_options_are_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
