/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

/*
 * main() of a fuzz target that is built without a fuzzer: runs it once on each
 * file of its corpus, or on the files given, and speaks TAP.
 */
static int
run_file(const char *path)
{
	_cleanup_free_ uint8_t *p = NULL;
	FILE *f;
	long n;

	f = fopen(path, "rb");
	if (f == NULL)
		return -errno;
	if (fseek(f, 0, SEEK_END) != 0 || (n = ftell(f)) < 0 ||
	    fseek(f, 0, SEEK_SET) != 0) {
		fclose(f);
		return -EIO;
	}
	/* Exactly the bytes, so that a sanitizer sees the first one beyond. */
	p = malloc(n > 0 ? (size_t)n : 1);
	if (p == NULL || fread(p, 1, (size_t)n, f) != (size_t)n) {
		fclose(f);
		return -EIO;
	}
	fclose(f);
	LLVMFuzzerTestOneInput(p, (size_t)n);
	return 0;
}

static int
is_input(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static int
run(unsigned number, const char *path, const char *name)
{
	int r;

	/* Said before, as a crash says nothing. */
	printf("# %s\n", name);
	fflush(stdout);
	r = run_file(path);
	printf("%s %u - %s\n", r == 0 ? "ok" : "not ok", number, name);
	return r;
}

static int
run_corpus(const char *dir)
{
	struct dirent **e;
	int n, bad = 0;

	n = scandir(dir, &e, is_input, alphasort);
	if (n <= 0) {
		printf("1..1\nnot ok 1 - no corpus in %s\n", dir);
		return 1;
	}
	printf("1..%d\n", n);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", dir, e[i]->d_name) < 0 ||
		    run((unsigned)i + 1, path, e[i]->d_name) != 0)
			bad = 1;
		free(e[i]);
	}
	free(e);
	return bad;
}

int
main(int argc, char **argv)
{
	const char *top = getenv("TOP_SRCDIR");
	const char *name = strstr(argv[0], "fuzz_");
	_cleanup_free_ char *dir = NULL;
	int bad = 0;

	if (argc > 1) {
		printf("1..%d\n", argc - 1);
		for (int i = 1; i < argc; i++)
			bad |= run((unsigned)i, argv[i], argv[i]) != 0;
		return bad;
	}
	while (name != NULL && strstr(name + 1, "fuzz_") != NULL)
		name = strstr(name + 1, "fuzz_");
	if (name == NULL || asprintf(&dir, "%s/tests/fuzz/corpus/%s",
	        top == NULL ? "." : top, name + strlen("fuzz_")) < 0)
		return 1;
	return run_corpus(dir);
}
