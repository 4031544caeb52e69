/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/gc_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/num.h"
#include "base/str.h"
#include "cmd/option.h"
#include "cmd/stack.h"

#define CONFIG_FD 3
#define SECTION "mounted"
#define OUTPUT_MAX ((off_t)MIB)
/* linux/ioprio.h is younger than some systems. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE (3 << 13)

extern char **environ;

/* Those of the mount that say how the store is reached. */
static bool
is_passed_on(const struct options *o, const struct option_def *d)
{
	const unsigned no = OPTION_ARGV_ONLY | OPTION_FILE_ONLY |
	    OPTION_NO_FILE;

	return (d->commands & CMD_GC) != 0 && (d->flags & no) == 0 &&
	    d->offset != 0 && option_is_set(o, d->name) &&
	    !streq(d->name, "debug") && !streq(d->name, "verbose") &&
	    !streq(d->name, "quiet") && !streq(d->name, "keyfile") &&
	    !streq(d->name, "passphrase-file") && !streq(d->name, "fault");
}

static void
add_option(const struct options *o, const struct option_def *d,
    struct str *out)
{
	const void *p = (const char *)o + d->offset;
	uint64_t n = 0;
	double x = 0;
	bool on = false;
	char *text = NULL;

	switch (d->type) {
	case OPTION_FLAG:
		memcpy(&on, p, sizeof(on));
		str_addf(out, "%s = %s\n", d->name, on ? "yes" : "no");
		break;
	case OPTION_TEXT:
	case OPTION_PATHS:
		memcpy(&text, p, sizeof(text));
		if (text != NULL)
			str_addf(out, "%s = %s\n", d->name, text);
		break;
	case OPTION_NUMBER:
	case OPTION_SIZE:
		memcpy(&n, p, sizeof(n));
		str_addf(out, "%s = %" PRIu64 "\n", d->name, n);
		break;
	case OPTION_DURATION:
		memcpy(&n, p, sizeof(n));
		str_addf(out, "%s = %" PRIu64 "ms\n", d->name, n);
		break;
	case OPTION_RATE:
		memcpy(&x, p, sizeof(x));
		str_addf(out, "%s = %g\n", d->name, x);
		break;
	case OPTION_OCTAL:
	case OPTION_PRICE:
	case OPTION_LINKS:
	case OPTION_CHOICE:
	case OPTION_LIST:
	case OPTION_LINES:
		break;		/* none of these is for it */
	}
}

int
gc_helper_config(const struct stack *s, struct str *out)
{
	str_add(out, "[" SECTION "]\n");
	if (s->t.is_s3)
		str_addf(out, "backend = s3\nbucket = %s\ndatastore = %s\n",
		    s->t.bucket, s->t.datastore);
	else
		str_addf(out, "backend = dir\npath = %s\n", s->t.path);
	for (size_t i = 0; i < option_count; i++)
		if (is_passed_on(s->o, &option_table[i]))
			add_option(s->o, &option_table[i], out);
	/* A line of its own would be another option. */
	for (size_t i = 0; i < option_count; i++) {
		const char *text = NULL;

		if (!is_passed_on(s->o, &option_table[i]) ||
		    option_table[i].type != OPTION_TEXT)
			continue;
		memcpy(&text, (const char *)s->o + option_table[i].offset,
		    sizeof(text));
		if (text != NULL && strpbrk(text, "\r\n") != NULL)
			return -EINVAL;
	}
	return str_error(out);
}

static int
make_file(const char *name, const struct str *text, int *ret)
{
	int r;

	*ret = memfd_create(name, MFD_CLOEXEC);
	if (*ret < 0)
		return -errno;
	r = text == NULL ? 0 : io_write_full(*ret, text->s, text->len);
	if (r == 0 && lseek(*ret, 0, SEEK_SET) < 0)
		r = -errno;
	return r;
}

/* Ours, and keys that came from a backup server's configuration. */
static char **
make_environment(const struct stack *s, struct str extra[2])
{
	size_t n = 0, k = 0;
	char **env;

	while (environ[n] != NULL)
		n++;
	env = calloc(n + 3, sizeof(*env));
	if (env == NULL)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (s->t.access == NULL || !str_starts(environ[i], "AWS_"))
			env[k++] = environ[i];
	if (s->t.access != NULL && s->t.secret != NULL) {
		str_addf(&extra[0], "AWS_ACCESS_KEY_ID=%s", s->t.access);
		str_addf(&extra[1], "AWS_SECRET_ACCESS_KEY=%s", s->t.secret);
		env[k++] = extra[0].s;
		env[k++] = extra[1].s;
	}
	return env;
}

/* After a fork of a process with threads: nothing that may take a lock. */
static void
become_helper(const struct gc_helper *h, int config, pid_t parent, char **env)
{
	static char *const argv[] = {(char *)(uintptr_t)"pbs3fs",
	    (char *)(uintptr_t)"gc", (char *)(uintptr_t)"--json",
	    (char *)(uintptr_t)"--quiet",
	    (char *)(uintptr_t)"--config=/proc/self/fd/3",
	    (char *)(uintptr_t)SECTION, NULL};
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		(void)sigaction(sig, &dfl, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	(void)setpriority(PRIO_PROCESS, 0, 19);
	(void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
	if (dup2(h->out, 1) < 0 || dup2(h->err, 2) < 0 ||
	    (config == CONFIG_FD ? fcntl(config, F_SETFD, 0) :
	    dup2(config, CONFIG_FD)) < 0)
		_exit(127);
	(void)syscall(SYS_close_range, CONFIG_FD + 1, ~0U, 0);
	execve("/proc/self/exe", argv, env);
	_exit(127);
}

int
gc_helper_start(const struct stack *s, struct gc_helper *ret)
{
	_cleanup_(str_fini) struct str text = {0};
	struct str keys[2] = {{0}, {0}};
	_cleanup_free_ char **env = make_environment(s, keys);
	_cleanup_close_ int config = -1;
	const pid_t parent = getpid();
	int r;

	*ret = (struct gc_helper){.pid = -1, .out = -1, .err = -1};
	r = env == NULL || str_error(&keys[0]) < 0 || str_error(&keys[1]) < 0 ?
	    -ENOMEM : gc_helper_config(s, &text);
	if (r == 0)
		r = make_file("pbs3fs-config", &text, &config);
	if (r == 0)
		r = make_file("pbs3fs-out", NULL, &ret->out);
	if (r == 0)
		r = make_file("pbs3fs-err", NULL, &ret->err);
	if (r == 0) {
		ret->pid = fork();
		if (ret->pid == 0)
			become_helper(ret, config, parent, env);
		r = ret->pid < 0 ? -errno : 0;
	}
	str_fini(&keys[0]);
	str_fini(&keys[1]);
	if (r < 0)
		gc_helper_fini(ret);
	return r;
}

int
gc_helper_read(int fd, struct str *out)
{
	_cleanup_free_ char *p = NULL;
	struct stat st;
	size_t len;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	len = (size_t)MIN(st.st_size, OUTPUT_MAX);
	p = malloc(len + 1);
	if (p == NULL)
		return -ENOMEM;
	r = io_pread_full(fd, p, len, 0);
	if (r < 0)
		return r;
	str_addn(out, p, len);
	return str_error(out);
}

void
gc_helper_fini(struct gc_helper *h)
{
	if (h->out >= 0)
		close(h->out);
	if (h->err >= 0)
		close(h->err);
	h->out = h->err = -1;
	h->pid = -1;
}
