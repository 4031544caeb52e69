/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/cred.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/str.h"
#include "s3/cred_source.h"

#define FILE_SIZE_MAX (256 * 1024L)
#define PROCESS_TIMEOUT_MS 60000
/* Keys are read again this long before they expire. */
#define EARLY_S 300
/* And after an attempt to do so failed, not before this has passed. */
#define AGAIN_MS 10000

struct s3_cred {
	/* Read the source; NULL: the keys never change.  Any thread. */
	int (*load)(const struct s3_cred *c, struct cred_answer *ret);
	char *path;	/* owned: file */
	char *profile;	/* owned: profile */

	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t loaded;
	struct cred_answer now;
	bool loading;		/* one thread is at it, without the lock */
	bool refused;		/* the server does not like what we have */
	int error;		/* of the last load */
	deadline_t not_before;	/* of the next load after a failed one */
};

static int
new_cred(int (*load)(const struct s3_cred *, struct cred_answer *),
    struct s3_cred **ret)
{
	struct s3_cred *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return -ENOMEM;
	c->load = load;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->loaded, NULL);
	*ret = c;
	return 0;
}

void
s3_cred_free(struct s3_cred *c)
{
	if (c == NULL)
		return;
	explicit_bzero(&c->now, sizeof(c->now));
	free(c->path);
	free(c->profile);
	pthread_cond_destroy(&c->loaded);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

int
s3_cred_static(const char *access, const char *secret, const char *token,
    struct s3_cred **ret)
{
	struct s3_keys keys = {0};
	struct s3_cred *c;
	int r = cred_set(&keys, access, secret, token);

	if (r < 0) {
		log_err("credentials: access key, secret key or token is "
			"empty, too long or not plain text");
		goto out;
	}
	r = new_cred(NULL, &c);
	if (r < 0)
		goto out;
	c->now.keys = keys;
	*ret = c;
out:
	explicit_bzero(&keys, sizeof(keys));
	return r;
}

int
s3_cred_env(struct s3_cred **ret)
{
	const char *access = getenv("AWS_ACCESS_KEY_ID");
	const char *secret = getenv("AWS_SECRET_ACCESS_KEY");

	if (access == NULL || access[0] == '\0')
		return 1;
	if (secret == NULL || secret[0] == '\0') {
		log_err("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is "
			"not");
		return -EINVAL;
	}
	return s3_cred_static(access, secret, getenv("AWS_SESSION_TOKEN"), ret);
}

/* The whole file as text, to be freed with free_secret; 1 if absent. */
static int
read_secret(const char *path, bool private, char **ret)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	char *text;
	int r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 1 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* /dev/null is how one says that there shall be no such file. */
	if (!private && S_ISCHR(st.st_mode))
		return 1;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (private && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return -EPERM;
	if (st.st_size > FILE_SIZE_MAX)
		return -EFBIG;
	text = calloc(1, (size_t)st.st_size + 1);
	if (text == NULL)
		return -ENOMEM;
	r = io_read_full(fd, text, (size_t)st.st_size);
	if (r < 0) {
		free(text);
		return r;
	}
	/* A NUL would hide what follows it. */
	if (memchr(text, '\0', (size_t)st.st_size) != NULL) {
		free(text);
		return -EINVAL;
	}
	*ret = text;
	return 0;
}

static void
free_secret(char **text, size_t len)
{
	if (*text != NULL)
		explicit_bzero(*text, len);
	free(*text);
	*text = NULL;
}

static int
load_file(const struct s3_cred *c, struct cred_answer *ret)
{
	char *text = NULL;
	size_t len;
	int r = read_secret(c->path, true, &text);

	memset(ret, 0, sizeof(*ret));
	if (r == 0) {
		len = strlen(text);
		r = cred_parse_file(text, &ret->keys);
		free_secret(&text, len);
	}
	if (r > 0)
		r = -ENOENT;
	if (r == -EPERM)
		log_err("credentials file %s: others can read it\nhint: chmod "
			"600 %s", c->path, c->path);
	else if (r == -EINVAL)
		log_err("credentials file %s: not as expected\nhint: it has "
			"the lines access-key=... and secret-key=...", c->path);
	else if (r < 0)
		log_err("credentials file %s: %s", c->path, strerror(-r));
	return r;
}

int
s3_cred_file(const char *path, struct s3_cred **ret)
{
	struct s3_cred *c;
	int r = new_cred(load_file, &c);

	if (r < 0)
		return r;
	c->path = strdup(path);
	r = c->path != NULL ? load_file(c, &c->now) : -ENOMEM;
	if (r < 0) {
		s3_cred_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

/* $env, or ~/.aws/NAME.  1 if there is no home. */
static int
aws_file(const char *env, const char *name, char **ret)
{
	const char *path = getenv(env), *home = getenv("HOME");
	struct str s = {0};

	if (path != NULL && path[0] != '\0')
		str_add(&s, path);
	else if (home != NULL && home[0] != '\0')
		str_addf(&s, "%s/.aws/%s", home, name);
	else
		return 1;
	*ret = str_take(&s);
	return *ret != NULL ? 0 : -ENOMEM;
}

/* Read one of the two files and take what the profile has in it. */
static int
read_profile(const char *env, const char *name, const char *section,
    char **ret_text, size_t *ret_len, struct cred_profile *p)
{
	_cleanup_free_ char *path = NULL;
	int r = aws_file(env, name, &path);

	if (r == 0)
		r = read_secret(path, false, ret_text);
	if (r < 0)
		log_err("%s: %s", path != NULL ? path : name, strerror(-r));
	if (r != 0)
		return r < 0 ? r : 0;
	*ret_len = strlen(*ret_text);
	cred_parse_profile(*ret_text, section, p);
	return 0;
}

static int
answer_profile(const char *name, const struct cred_profile *p,
    struct cred_answer *ret)
{
	int r;

	if (!p->found)
		return 1;
	if (p->access != NULL || p->secret != NULL) {
		r = cred_set(&ret->keys, p->access, p->secret, p->token);
		if (r < 0)
			log_err("profile %s: access key or secret key is "
				"missing or malformed", name);
		return r;
	}
	if (p->process != NULL)
		return cred_run(p->process, PROCESS_TIMEOUT_MS, ret);
	log_err("profile %s: has neither keys nor credential_process", name);
	return -EINVAL;
}

/* 1 if there is no such profile. */
static int
load_profile(const struct s3_cred *c, struct cred_answer *ret)
{
	struct cred_profile p = {.found = false};
	char *text[2] = {NULL, NULL};
	size_t len[2] = {0, 0};
	struct str section = {0};
	int r;

	memset(ret, 0, sizeof(*ret));
	/* The two files spell the section differently. */
	if (!streq(c->profile, "default"))
		str_add(&section, "profile ");
	str_add(&section, c->profile);
	r = str_error(&section);
	if (r == 0)
		r = read_profile("AWS_SHARED_CREDENTIALS_FILE", "credentials",
		    c->profile, &text[0], &len[0], &p);
	if (r == 0)
		r = read_profile("AWS_CONFIG_FILE", "config",
		    str_get(&section), &text[1], &len[1], &p);
	if (r == 0)
		r = answer_profile(c->profile, &p, ret);
	str_fini(&section);
	free_secret(&text[0], len[0]);
	free_secret(&text[1], len[1]);
	return r;
}

int
s3_cred_profile(const char *profile, struct s3_cred **ret)
{
	struct s3_cred *c;
	int r = new_cred(load_profile, &c);

	if (r < 0)
		return r;
	c->profile = strdup(profile);
	r = c->profile != NULL ? load_profile(c, &c->now) : -ENOMEM;
	if (r != 0) {
		s3_cred_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

static bool
expires_within(const struct s3_cred *c, int64_t seconds)
{
	return c->now.expires != 0 &&
	    clock_real_s() >= c->now.expires - seconds;
}

/* Called with the lock; gives it up while it reads. */
static void
load_now(struct s3_cred *c)
{
	struct cred_answer fresh;
	int r;

	c->loading = true;
	pthread_mutex_unlock(&c->lock);
	r = c->load(c, &fresh);
	pthread_mutex_lock(&c->lock);
	c->error = r > 0 ? -ENOENT : r;
	if (r == 0) {
		c->now = fresh;
		c->not_before = 0;
	} else {
		c->not_before = deadline_in(AGAIN_MS);
	}
	explicit_bzero(&fresh, sizeof(fresh));
	c->refused = false;
	c->loading = false;
	pthread_cond_broadcast(&c->loaded);
}

int
s3_cred_get(struct s3_cred *c, struct s3_keys *ret)
{
	LOCK(&c->lock);
	if (c->load != NULL) {
		/* Old keys do while somebody fetches new ones. */
		while (c->loading && expires_within(c, 0))
			pthread_cond_wait(&c->loaded, &c->lock);
		if (!c->loading && (c->refused || expires_within(c, EARLY_S)) &&
		    (c->not_before == 0 || deadline_left(c->not_before) == 0))
			load_now(c);
		if (expires_within(c, 0))
			return c->error < 0 ? c->error : -EKEYEXPIRED;
	}
	*ret = c->now.keys;
	return 0;
}

bool
s3_cred_refused(struct s3_cred *c)
{
	LOCK(&c->lock);
	c->refused = true;
	return c->load != NULL;
}
