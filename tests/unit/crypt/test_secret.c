/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/secret.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../cm.h"

/* Sanitizers swallow mlock; gcc and clang tell of them in their own ways. */
#ifdef __has_feature
#define SANITIZED                                                              \
	(__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* The flags that /proc/self/smaps has of the page at p. */
static void
flags_of(const void *p, char out[256])
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[4096];
	unsigned long from, to;
	bool here = false;

	*out = '\0';
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(out, 256, "%.200s", line);
	}
	fclose(f);
}

static void
locked_and_not_dumped(void **state)
{
	struct secret *s;
	char flags[256];

	(void)state;
	assert_int_equal(secret_copy("topsecret", 9, &s), 0);
	assert_int_equal(s->len, 9);
	assert_string_equal((char *)s->p, "topsecret");
	flags_of(s->p, flags);
	if (*flags != '\0') {
		assert_non_null(strstr(flags, " dd"));
		if (!SANITIZED)
			assert_non_null(strstr(flags, " lo"));
	}
	secret_free(s);
	secret_free(NULL);
}

static void
sizes(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), i;
	struct secret *s;

	(void)state;
	for (i = 0; i < 3 * page; i += page / 2) {
		assert_int_equal(secret_new(i, &s), 0);
		memset(s->p, 'x', i);
		assert_int_equal(s->p[i], '\0');
		secret_free(s);
		assert_int_equal(secret_new(i + page - 1, &s), 0);
		assert_int_equal(s->p[i + page - 1], '\0');
		secret_free(s);
	}
	assert_true(secret_new(SIZE_MAX - 5, &s) < 0);
}

static void
compares_and_wipes(void **state)
{
	char a[] = "abcdef", b[] = "abcdeg";

	(void)state;
	assert_true(secret_equal(a, b, 5));
	assert_false(secret_equal(a, b, 6));
	assert_true(secret_equal(a, b, 0));
	secret_wipe(a, 3);
	assert_memory_equal(a, "\0\0\0def", 6);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(locked_and_not_dumped),
	    cmocka_unit_test(sizes),
	    cmocka_unit_test(compares_and_wipes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
