/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cm.h"

/* What went to stderr while fn ran. */
static const char *
captured(void (*fn)(void))
{
	static char text[8192];
	FILE *f = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	assert_non_null(f);
	fflush(stderr);
	dup2(fileno(f), STDERR_FILENO);
	fn();
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	return text;
}

static void
each_level(void)
{
	log_err("error %d", 1);
	log_warn("warning %d", 2);
	log_info("info %d", 3);
	log_debug("debug %d", 4);
}

static void
levels(void **state)
{
	(void)state;
	log_setup(LOG_TO_STDERR, LOG_LVL_INFO, "me");
	assert_int_equal(log_get_level(), LOG_LVL_INFO);
	assert_string_equal(captured(each_level),
	    "me: error 1\nme: warning: warning 2\nme: info 3\n");
	log_set_level(LOG_LVL_ERR);
	assert_string_equal(captured(each_level), "me: error 1\n");
	log_set_level(LOG_LVL_DEBUG);
	assert_string_equal(captured(each_level),
	    "me: error 1\nme: warning: warning 2\nme: info 3\n"
	    "me: debug: debug 4\n");
	log_set_level(LOG_LVL_INFO);
}

static void
odd_texts(void)
{
	char big[4000];

	log_err("first\nhint: second");
	log_info("\x1b[2J\r%s\x7f", "\a");
	/* C1 control characters, in UTF-8 and without; a second message. */
	log_info("\xc2\x9b" "2J\x9b" "3J gr\xc3\xbc\xc3\x9f \xc3");
	log_info("one\nme: error two\nhint: three");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	errno = EDOM;
	log_info("%s", big);
	assert_int_equal(errno, EDOM);
}

static void
hints_control_characters_and_length(void **state)
{
	const char *text = captured(odd_texts);

	(void)state;
	assert_memory_equal(text, "me: first\nme: hint: second\n", 27);
	text += 27;
	assert_memory_equal(text, "me: ?[2J???\n", 12);
	text += 12;
	assert_memory_equal(text, "me: ??2J?3J gr\xc3\xbc\xc3\x9f ?\n", 21);
	text += 21;
	assert_memory_equal(text, "me: one?me: error two\nme: hint: three\n", 38);
	text += 38;
	assert_memory_equal(text, "me: xxx", 7);
	assert_int_equal(strlen(text), 4 + 2047 + 1);
	assert_string_equal(text + strlen(text) - 6, "x ...\n");
}

static void
keep(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	char (*last)[64] = arg;

	assert_true(when > 1000000);
	assert_true(lvl <= LOG_LVL_WARN);
	snprintf(*last, sizeof(*last), "%s", text);
}

static void
count(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	(void)when;
	(void)lvl;
	(void)text;
	(*(int *)arg)++;
}

static void
many_warnings(void)
{
	for (int i = 0; i < 1000; i++)
		log_warn("warning number %d", i);
	log_info("not kept");
}

static void
remembers_the_last(void **state)
{
	char last[64] = "";
	int n = 0;

	(void)state;
	log_set_level(LOG_LVL_ERR);	/* kept although it is not shown */
	captured(many_warnings);
	log_recent(keep, &last);
	assert_string_equal(last, "warning number 999");
	log_recent(count, &n);
	assert_int_equal(n, 64);
	log_set_level(LOG_LVL_INFO);
}

static void
flood(void)
{
	for (int i = 0; i < 100; i++)
		log_limited(LOG_LVL_WARN, "again %d", i);
}

static void
repetition_is_limited(void **state)
{
	const char *text = captured(flood);
	struct log_limit l = {0};
	unsigned lines = 0, allowed = 0;

	(void)state;
	for (; *text != '\0'; text++)
		lines += *text == '\n';
	assert_int_equal(lines, 10);
	for (int i = 0; i < 100; i++)
		allowed += log_allowed(&l, "test");
	assert_int_equal(allowed, 10);
	assert_int_equal(l.suppressed, 90);
	/* A minute later. */
	l.window_start -= 60000;
	assert_true(log_allowed(&l, "test"));
	assert_int_equal(l.suppressed, 0);
}

static void *
chatter(void *arg)
{
	for (int i = 0; i < 500; i++)
		log_warn("line from %s", (const char *)arg);
	return NULL;
}

static void
chat(void)
{
	pthread_t a, b;

	pthread_create(&a, NULL, chatter, (char[]){"a"});
	pthread_create(&b, NULL, chatter, (char[]){"b"});
	pthread_join(a, NULL);
	pthread_join(b, NULL);
}

static void
threads_do_not_mix_lines(void **state)
{
	const char *text = captured(chat), *line;

	(void)state;
	for (line = text; strlen(line) >= 24; line = strchr(line, '\n') + 1)
		assert_memory_equal(line, "me: warning: line from ", 23);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(levels),
	    cmocka_unit_test(hints_control_characters_and_length),
	    cmocka_unit_test(remembers_the_last),
	    cmocka_unit_test(repetition_is_limited),
	    cmocka_unit_test(threads_do_not_mix_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
