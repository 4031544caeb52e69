/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../cm.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/num.h"
#include "s3/cred.h"
#include "s3/cred_source.h"

static char dir[] = "/tmp/test_cred.XXXXXX";
static char path[64], path2[64];

static void
put(const char *name, const char *text, mode_t mode)
{
	FILE *f;

	unlink(name);
	f = fopen(name, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(name, mode), 0);
}

static void
expect(struct s3_cred *c, const char *access, const char *secret,
    const char *token)
{
	struct s3_keys k;

	assert_int_equal(s3_cred_get(c, &k), 0);
	assert_string_equal(k.access, access);
	assert_string_equal(k.secret, secret);
	assert_string_equal(k.token, token);
}

static void
test_static(void **state)
{
	struct s3_cred *c;

	(void)state;
	assert_int_equal(s3_cred_static("a", "s", "t", &c), 0);
	expect(c, "a", "s", "t");
	assert_false(s3_cred_refused(c));
	s3_cred_free(c);
	assert_int_equal(s3_cred_static("a", "", NULL, &c), -EINVAL);
	assert_int_equal(s3_cred_static("a\n", "s", NULL, &c), -EINVAL);
	assert_int_equal(s3_cred_static(NULL, "s", NULL, &c), -EINVAL);
}

static const struct {
	const char *text;
	int want;
	const char *access, *secret, *token;
} files[] = {
    {"access-key=AK\nsecret-key=SK\n", 0, "AK", "SK", ""},
    {"# x\n\n access-key = AK \r\n secret-key = S=K:x== ", 0, "AK", "S=K:x==",
	""},
    {"access-key=AK\nsecret-key=S:K\nsession-token=T\n", 0, "AK", "S:K", "T"},
    {"AK:SK/=+\n", 0, "AK", "SK/=+", ""},
    {"AK:S=K", 0, "AK", "S=K", ""},
    {"[default]\naws_access_key_id=AK\naws_secret_access_key=SK\n", 0, "AK",
	"SK", ""},
    {"", -EINVAL, NULL, NULL, NULL},
    {"access-key=AK\n", -EINVAL, NULL, NULL, NULL},
    {"access-key=AK\nsecret-key=\n", -EINVAL, NULL, NULL, NULL},
    {"nonsense\n", -EINVAL, NULL, NULL, NULL},
    {"acces-key=AK\nsecret-key=SK\n", -EINVAL, NULL, NULL, NULL},
    {"AK:SK\nAK2:SK2\n", -EINVAL, NULL, NULL, NULL},
    {"access-key=A K\nsecret-key=SK\n", -EINVAL, NULL, NULL, NULL},
};

static void
test_files(void **state)
{
	struct s3_cred *c;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		put(path, files[i].text, 0600);
		assert_int_equal(s3_cred_file(path, &c), files[i].want);
		if (files[i].want != 0)
			continue;
		expect(c, files[i].access, files[i].secret, files[i].token);
		s3_cred_free(c);
	}
	assert_int_equal(s3_cred_file("/nonexistent", &c), -ENOENT);
	assert_int_equal(s3_cred_file("/dev/null", &c), -EINVAL);
}

static void
test_modes(void **state)
{
	static const mode_t bad[] = {0640, 0604, 0620, 0602, 0644, 0777};
	struct s3_cred *c;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put(path, "AK:SK\n", bad[i]);
		assert_int_equal(s3_cred_file(path, &c), -EPERM);
	}
	put(path, "AK:SK\n", 0400);
	assert_int_equal(s3_cred_file(path, &c), 0);
	s3_cred_free(c);
}

static void
test_changed_file(void **state)
{
	struct s3_cred *c;

	(void)state;
	put(path, "AK:SK\n", 0600);
	assert_int_equal(s3_cred_file(path, &c), 0);
	put(path, "AK2:SK2\n", 0600);
	expect(c, "AK", "SK", "");
	assert_true(s3_cred_refused(c));
	expect(c, "AK2", "SK2", "");
	/* A source that has become bad leaves the old keys. */
	unlink(path);
	assert_true(s3_cred_refused(c));
	expect(c, "AK2", "SK2", "");
	s3_cred_free(c);
}

static void
test_environment(void **state)
{
	struct s3_cred *c;

	(void)state;
	unsetenv("AWS_ACCESS_KEY_ID");
	assert_int_equal(s3_cred_env(&c), 1);
	setenv("AWS_ACCESS_KEY_ID", "AK", 1);
	unsetenv("AWS_SECRET_ACCESS_KEY");
	assert_int_equal(s3_cred_env(&c), -EINVAL);
	setenv("AWS_SECRET_ACCESS_KEY", "SK", 1);
	setenv("AWS_SESSION_TOKEN", "T", 1);
	assert_int_equal(s3_cred_env(&c), 0);
	expect(c, "AK", "SK", "T");
	s3_cred_free(c);
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
}

static void
test_profiles(void **state)
{
	struct s3_cred *c;
	char token[2048], text[4096];

	(void)state;
	memset(token, 'x', 2047);
	token[2047] = '\0';
	snprintf(text, sizeof(text),
	    "[default]\naws_access_key_id = AK1\naws_secret_access_key=SK1\n"
	    "# comment\n[ second ]\naws_access_key_id=AK2\n"
	    "aws_secret_access_key=SK2\naws_session_token=%s\n[empty]\n"
	    "[half]\naws_access_key_id=AK3\n", token);
	put(path, text, 0600);
	put(path2, "[default]\nregion=x\ns3 =\n  aws_access_key_id = NO\n"
	    "[profile third]\naws_access_key_id=AK3\n"
	    "aws_secret_access_key=SK3\n[profile second]\n"
	    "aws_access_key_id=NO\naws_secret_access_key=NO\n", 0644);
	assert_int_equal(s3_cred_profile("default", &c), 0);
	expect(c, "AK1", "SK1", "");
	s3_cred_free(c);
	assert_int_equal(s3_cred_profile("second", &c), 0);
	expect(c, "AK2", "SK2", token);
	s3_cred_free(c);
	assert_int_equal(s3_cred_profile("third", &c), 0);
	expect(c, "AK3", "SK3", "");
	s3_cred_free(c);
	assert_int_equal(s3_cred_profile("fourth", &c), 1);
	assert_int_equal(s3_cred_profile("empty", &c), -EINVAL);
	assert_int_equal(s3_cred_profile("half", &c), -EINVAL);
	unlink(path);
	unlink(path2);
	assert_int_equal(s3_cred_profile("default", &c), 1);
}

/* A profile whose process is a script with this text. */
static void
put_process(const char *script)
{
	char text[512], prog[64];

	snprintf(prog, sizeof(prog), "%s/prog", dir);
	put(prog, script, 0700);
	snprintf(text, sizeof(text),
	    "[profile p]\ncredential_process = '%s' \"a b\" c\\ d '$HOME'\n",
	    prog);
	put(path2, text, 0600);
	unlink(path);
}

#define JSON(exp)                                                              \
	"{\"Version\": 1, \"AccessKeyId\": \"AK$n\", \"SecretAccessKey\": "    \
	"\"SK\", \"SessionToken\": \"T\"" exp "}"

static void
test_process(void **state)
{
	struct s3_cred *c;

	(void)state;
	put_process("#!/bin/sh\n"
		    "[ $# = 3 -a \"$1\" = 'a b' -a \"$2\" = 'c d' -a "
		    "\"$3\" = '$HOME' ] || exit 1\n"
		    "cat\nn=1\ncat <<X\n" JSON("") "\nX\n");
	assert_int_equal(s3_cred_profile("p", &c), 0);
	expect(c, "AK1", "SK", "T");
	s3_cred_free(c);
	put_process("#!/bin/sh\nexit 3\n");
	assert_int_equal(s3_cred_profile("p", &c), -EIO);
	put_process("#!/bin/sh\necho no\n");
	assert_int_equal(s3_cred_profile("p", &c), -EINVAL);
	put_process("#!/bin/sh\nyes\n");
	assert_int_equal(s3_cred_profile("p", &c), -EFBIG);
	put(path2, "[profile p]\ncredential_process = /nonexistent/prog\n",
	    0600);
	assert_int_equal(s3_cred_profile("p", &c), -ENOENT);
}

/* Keys that expire soon are fetched again before every use. */
static void
test_expiry(void **state)
{
	char text[1024];
	struct s3_cred *c;

	(void)state;
	snprintf(text, sizeof(text),
	    "#!/bin/sh\nn=$(cat %s/n 2>/dev/null)\nn=$((n + 1))\n"
	    "echo $n >%s/n\n"
	    "exp=$(date -u -d '+60 seconds' +%%Y-%%m-%%dT%%H:%%M:%%SZ)\n"
	    "[ $n -ge 4 ] && exp=$(date -u -d '+1 day' "
	    "+%%Y-%%m-%%dT%%H:%%M:%%SZ)\n"
	    "cat <<X\n" JSON(", \"Expiration\": \"$exp\"") "\nX\n", dir, dir);
	put_process(text);
	assert_int_equal(s3_cred_profile("p", &c), 0);
	expect(c, "AK2", "SK", "T");
	expect(c, "AK3", "SK", "T");
	expect(c, "AK4", "SK", "T");
	expect(c, "AK4", "SK", "T");
	s3_cred_free(c);
}

static void
test_hanging_process(void **state)
{
	struct cred_answer a;
	uint64_t start = clock_mono_ms();
	char prog[64];

	(void)state;
	snprintf(prog, sizeof(prog), "%s/prog", dir);
	/* Also what it started itself must go, or the pipe stays open. */
	put(prog, "#!/bin/sh\nsleep 30 &\nsleep 30\n", 0700);
	assert_int_equal(cred_run(prog, 300, &a), -ETIMEDOUT);
	put(prog, "#!/bin/sh\nexec >&-\nsleep 30\n", 0700);
	assert_int_equal(cred_run(prog, 300, &a), -ETIMEDOUT);
	assert_true(clock_mono_ms() - start < 5000);
}

static void
test_json(void **state)
{
	static const char *const bad[] = {
	    "", "[]", "{}", "{\"Version\": 1}",
	    "{\"Version\": 2, \"AccessKeyId\": \"a\", \"SecretAccessKey\": "
	    "\"b\"}",
	    "{\"Version\": 1, \"AccessKeyId\": \"\", \"SecretAccessKey\": "
	    "\"b\"}",
	    "{\"Version\": 1, \"AccessKeyId\": 7, \"SecretAccessKey\": \"b\"}",
	    "{\"Version\": 1, \"AccessKeyId\": \"a\", \"SecretAccessKey\": "
	    "\"b\", \"Expiration\": \"tomorrow\"}",
	};
	struct cred_answer a;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(
		    cred_parse_json(bad[i], strlen(bad[i]), &a), -EINVAL);
}

static void
test_commands(void **state)
{
	char text[64], *argv[4];

	(void)state;
	snprintf(text, sizeof(text), "  a 'b \"c' \"d\\\"e\"x\\ y ");
	assert_int_equal(cred_split_command(text, argv, 4), 3);
	assert_string_equal(argv[0], "a");
	assert_string_equal(argv[1], "b \"c");
	assert_string_equal(argv[2], "d\"ex y");
	assert_null(argv[3]);
	snprintf(text, sizeof(text), "a b c d");
	assert_int_equal(cred_split_command(text, argv, 4), -E2BIG);
	snprintf(text, sizeof(text), "a 'b");
	assert_int_equal(cred_split_command(text, argv, 4), -EINVAL);
	snprintf(text, sizeof(text), "a ''");
	assert_int_equal(cred_split_command(text, argv, 4), 2);
	assert_string_equal(argv[1], "");
	snprintf(text, sizeof(text), " ");
	assert_int_equal(cred_split_command(text, argv, 4), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_static),
	    cmocka_unit_test(test_files),
	    cmocka_unit_test(test_modes),
	    cmocka_unit_test(test_changed_file),
	    cmocka_unit_test(test_environment),
	    cmocka_unit_test(test_profiles),
	    cmocka_unit_test(test_process),
	    cmocka_unit_test(test_expiry),
	    cmocka_unit_test(test_hanging_process),
	    cmocka_unit_test(test_json),
	    cmocka_unit_test(test_commands),
	};
	int r;

	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/cred", dir);
	snprintf(path2, sizeof(path2), "%s/config", dir);
	setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
	setenv("AWS_CONFIG_FILE", path2, 1);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	io_remove_tree(AT_FDCWD, dir);
	return r;
}
