/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "repo/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "repo/claim_marker.h"
#include "store/backends.h"
#include "store/filters.h"
#include "store/store.h"

#include "../cm.h"

static char dir[128];

static int
setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/claim-XXXXXX",
	    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	return io_remove_tree(AT_FDCWD, dir);
}

static struct store *
bucket(void)
{
	struct store *s, *counted;

	assert_int_equal(store_mem_new(&s), 0);
	assert_int_equal(store_count_new(s, &counted), 0);
	return counted;
}

static struct claim_opts
opts(void)
{
	struct claim_opts o = {.name = "store", .identity = "s3://b/d",
	    .run_dir = dir};

	return o;
}

static void
put_marker(struct store *s, const char *text)
{
	assert_int_equal(store_put(s->below, ".in-use", text, strlen(text),
	    NULL, NULL), 0);
}

static void
marker_is(struct store *s, const char *host)
{
	const struct store_get how = {.max = 4096};
	char text[512];
	struct buf *b;

	snprintf(text, sizeof(text), "{\"hostname\":\"%s\"}", host);
	assert_int_equal(store_get(s->below, ".in-use", &how, &b, NULL), 0);
	assert_int_equal(b->len, strlen(text));
	assert_memory_equal(b->data, text, b->len);
	buf_unref(b);
}

static void
short_name(char out[256])
{
	assert_int_equal(gethostname(out, 256), 0);
	out[strcspn(out, ".")] = '\0';
}

static uint64_t
requests(struct store *s, enum store_verb v)
{
	struct store_counts c;

	store_counts(s, &c);
	return c.requests[v];
}

static void
a_bucket_gets_a_marker(void **state)
{
	const struct claim_opts o = opts();
	struct store *s = bucket();
	struct claim *c;
	char host[256], gen[128];

	(void)state;
	short_name(host);
	assert_int_equal(claim_take(s, &o, &c), 0);
	marker_is(s, host);
	assert_int_equal(requests(s, STORE_PUT), 1);
	assert_int_equal(requests(s, STORE_GET), 2);
	snprintf(gen, sizeof(gen), "%s", claim_generation(c));
	assert_true(strlen(gen) > 0);
	/* Nothing to lock. */
	assert_int_equal(claim_hold(c), 0);
	claim_drop(c);
	claim_free(c);
	/* Again: it is ours, and since then. */
	assert_int_equal(claim_take(s, &o, &c), 0);
	assert_int_equal(requests(s, STORE_PUT), 1);
	assert_int_equal(requests(s, STORE_GET), 3);
	assert_string_equal(claim_generation(c), gen);
	claim_free(c);
	store_free(s);
}

static void
another_hosts_marker_is_refused(void **state)
{
	static const char *const theirs[] = {
	    "{\"hostname\":\"other-host\"}", "{}", "{\"hostname\":null}", "",
	    "[]", "{\"hostname\":\"\"}", "{\"hostname\":\"a\\u0000b\"}",
	    "{\"hostname\":\"a\",\"hostname\":\"b\"}", "\xff\xff",
	    "{\"hostname\":{}}", "{\"hostname\":\"a\\nb\"}"};
	struct claim_opts o = opts();
	struct store *s = bucket();
	struct claim *c = NULL;
	char host[256];

	(void)state;
	short_name(host);
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++) {
		o.takeover = false;
		put_marker(s, theirs[i]);
		assert_int_equal(claim_take(s, &o, &c), -EUSERS);
		o.takeover = true;
		assert_int_equal(claim_take(s, &o, &c), 0);
		marker_is(s, host);
		claim_free(c);
	}
	store_free(s);
}

static void
a_large_marker_is_nobodys(void **state)
{
	struct claim_opts o = opts();
	struct store *s = bucket();
	struct claim *c = NULL;
	char *text = malloc(100001);

	(void)state;
	assert_non_null(text);
	memset(text, '[', 100000);
	text[100000] = '\0';
	put_marker(s, text);
	assert_int_equal(claim_take(s, &o, &c), -EUSERS);
	text[60000] = '\0';
	put_marker(s, text);
	assert_int_equal(claim_take(s, &o, &c), -EUSERS);
	free(text);
	store_free(s);
}

/* Another host takes it over while this one goes on. */
static void
who_was_taken_over_learns_it(void **state)
{
	struct claim_opts o = opts();
	struct store *s = bucket();
	struct claim *c, *again;

	(void)state;
	assert_int_equal(claim_take(s, &o, &c), 0);
	assert_int_equal(claim_check(c), 0);
	put_marker(s, "{\"hostname\":\"other-host\"}");
	assert_int_equal(claim_check(c), -EUSERS);
	/* It comes back, and nobody knows what was done meanwhile. */
	sleep(1);	/* a store's clock counts seconds */
	o.takeover = true;
	o.identity = "s3://b/d on another host";
	assert_int_equal(claim_take(s, &o, &again), 0);
	assert_int_equal(claim_check(again), 0);
	assert_int_equal(claim_check(c), -EUSERS);
	claim_free(again);
	claim_free(c);
	store_free(s);
}

static void
the_generation_tells_of_another_owner(void **state)
{
	struct claim_opts o = opts();
	struct store *s = bucket();
	struct claim *c;
	char gen[128];

	(void)state;
	assert_int_equal(claim_take(s, &o, &c), 0);
	snprintf(gen, sizeof(gen), "%s", claim_generation(c));
	claim_free(c);
	put_marker(s, "{\"hostname\":\"other-host\"}");
	sleep(1);	/* a store's clock counts seconds */
	o.takeover = true;
	assert_int_equal(claim_take(s, &o, &c), 0);
	assert_string_not_equal(claim_generation(c), gen);
	claim_free(c);
	store_free(s);
}

static void
hosts_are_the_same_by_short_name(void **state)
{
	(void)state;
	assert_true(claim_marker_same_host("web", "web"));
	assert_true(claim_marker_same_host("web", "WEB"));
	assert_true(claim_marker_same_host("web", "web.example.com"));
	assert_true(claim_marker_same_host("web.example.com", "web"));
	assert_true(claim_marker_same_host("web.example.com",
	    "web.example.com"));
	assert_false(claim_marker_same_host("web.example.com",
	    "web.example.org"));
	assert_false(claim_marker_same_host("web", "web1"));
	assert_false(claim_marker_same_host("web1", "web"));
	assert_false(claim_marker_same_host("we", "web.example.com"));
}

static void
one_writes_at_a_time(void **state)
{
	struct claim_opts o = opts();
	struct store *s = bucket();
	struct claim *c, *d = NULL;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(claim_take(s, &o, &c), 0);
	assert_int_equal(claim_take(s, &o, &d), -EBUSY);
	pid = fork();
	if (pid == 0)
		_exit(claim_take(s, &o, &d) == -EBUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* Another store is another matter. */
	o.identity = "s3://b/other";
	assert_int_equal(claim_take(s, &o, &d), 0);
	claim_free(d);
	o = opts();
	claim_free(c);
	assert_int_equal(claim_take(s, &o, &c), 0);
	claim_free(c);
	store_free(s);
}

static bool
can_lock(const char *base, short type)
{
	char path[256];
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/.lock", base);
	pid = fork();
	if (pid == 0) {
		struct flock l = {.l_type = type, .l_whence = SEEK_SET};
		int fd = open(path, O_RDWR);

		_exit(fd >= 0 && fcntl(fd, F_SETLK, &l) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

/* Whether a process like a server's garbage collection gets its lock. */
static bool
gc_can_start(const char *base)
{
	return can_lock(base, F_WRLCK);
}

/* Whether a server beside us could write. */
static bool
server_can_write(const char *base)
{
	return can_lock(base, F_RDLCK);
}

static struct store *
directory(char base[192])
{
	char path[256];
	struct store *s;

	snprintf(base, 192, "%s/ds", dir);
	snprintf(path, sizeof(path), "%s/.chunks", base);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0755), 0);
	assert_int_equal(store_dir_new(base, &s), 0);
	return s;
}

static void
a_directory_is_locked_against_collection(void **state)
{
	/* Static, so that a child has not lost them when it exits. */
	static struct store *s;
	static struct claim *c;
	struct claim_opts o = opts();
	struct claim *d = NULL;
	char base[192], path[256];
	int fd;

	(void)state;
	s = directory(base);
	o.base = base;
	assert_int_equal(claim_take(s, &o, &c), 0);
	assert_string_equal(claim_generation(c), "dir");
	/* Also by another name of it. */
	o.identity = "other";
	assert_int_equal(claim_take(s, &o, &d), -EBUSY);
	assert_true(gc_can_start(base));
	assert_int_equal(claim_hold(c), 0);
	assert_false(gc_can_start(base));
	assert_int_equal(claim_hold(c), 0);
	claim_drop(c);
	/* A lock of the process would go with this. */
	snprintf(path, sizeof(path), "%s/.lock", base);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	close(fd);
	assert_false(gc_can_start(base));
	claim_drop(c);
	assert_true(gc_can_start(base));
	assert_int_equal(claim_hold(c), 0);
	claim_free(c);
	assert_true(gc_can_start(base));
	store_free(s);
}

/*
 * The state directory that the store names.
 */
static const char *open_in;	/* of which there are changes */
static int open_error;

static int
has_open(const char *state, const char *identity)
{
	assert_string_equal(identity, "s3://b/d");
	if (open_error != 0)
		return open_error;
	return open_in != NULL && streq(state, open_in) ? 1 : 0;
}

/* Both kinds of stores: what a claim with that directory says. */
static int
claim_with(struct store *s, const char *base, const char *state, bool takeover,
    char gen[128])
{
	struct claim_opts o = opts();
	struct claim *c;
	int r;

	o.base = base;
	o.state = state;
	o.has_open = has_open;
	o.takeover = takeover;
	r = claim_take(s, &o, &c);
	if (r < 0)
		return r;
	snprintf(gen, 128, "%s", claim_generation(c));
	/* Of a marker that is still ours. */
	assert_int_equal(claim_check(c), 0);
	claim_free(c);
	return 0;
}

static void
put_state(struct store *s, const char *base, const char *text)
{
	char path[256];
	FILE *f;

	if (base == NULL) {
		assert_int_equal(store_put(s->below, ".pbs3fs/state", text,
		    strlen(text), NULL, NULL), 0);
		return;
	}
	snprintf(path, sizeof(path), "%s/.pbs3fs/state", base);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
check_state(struct store *s, const char *base)
{
	static const char *const odd[] = {"", "{}", "[]", "{\"host\":1}",
	    "{\"host\":\"a\",\"state\":\"relative\",\"number\":1}",
	    "{\"host\":\"a\",\"state\":\"/x\",\"number\":0}",
	    "{\"host\":\"other\",\"state\":\"/x\",\"number\":7}",
	    ("{\"host\":\"other\",\"state\":\"/x\","
	     "\"number\":9223372036854775807}")};
	char one[128], two[128], again[128], path[192], other[192];
	char a[192], b[192], moved[192];

	snprintf(a, sizeof(a), "%s/a/drafts", dir);
	snprintf(b, sizeof(b), "%s/b/drafts", dir);
	snprintf(moved, sizeof(moved), "%s/moved", dir);
	open_in = NULL;
	open_error = 0;
	assert_int_equal(claim_with(s, base, a, false, one), 0);
	assert_int_equal(claim_with(s, base, a, false, again), 0);
	assert_string_equal(one, again);
	/* Another one: what the first knows may not be so any more. */
	assert_int_equal(claim_with(s, base, b, false, two), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(claim_with(s, base, a, false, again), 0);
	assert_string_not_equal(one, again);
	assert_string_not_equal(two, again);
	/* Who needs what is in it keeps others out. */
	open_in = a;
	assert_int_equal(claim_with(s, base, b, false, two), -EBUSY);
	assert_int_equal(claim_with(s, base, a, false, one), 0);
	assert_string_equal(one, again);
	assert_int_equal(claim_with(s, base, b, true, two), 0);
	open_in = b;
	assert_int_equal(claim_with(s, base, a, false, one), -EBUSY);
	open_error = -EACCES;
	assert_int_equal(claim_with(s, base, a, false, one), -EBUSY);
	open_in = NULL;
	open_error = 0;
	/* The same one by another name, and what says nothing. */
	snprintf(path, sizeof(path), "%s/state", dir);
	snprintf(other, sizeof(other), "%s/./state", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(claim_with(s, base, path, false, one), 0);
	open_in = path;
	assert_int_equal(claim_with(s, base, other, false, two), 0);
	assert_string_equal(one, two);
	/* What it knows ends with it, also if it comes back. */
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(claim_with(s, base, path, false, two), 0);
	assert_string_not_equal(one, two);
	assert_int_equal(io_remove_tree(AT_FDCWD, path), 0);
	assert_int_equal(rename(moved, path), 0);
	assert_int_equal(claim_with(s, base, path, false, again), 0);
	assert_string_not_equal(one, again);
	assert_string_not_equal(two, again);
	assert_int_equal(io_remove_tree(AT_FDCWD, path), 0);
	for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
		put_state(s, base, odd[i]);
		assert_int_equal(claim_with(s, base, a, false, two),
		    0);
		assert_string_not_equal(one, two);
		/* What was written then says something. */
		assert_int_equal(claim_with(s, base, a, false, again), 0);
		assert_string_equal(two, again);
	}
}

static void
the_state_directory_is_named(void **state)
{
	struct store *s = bucket();
	char base[192], gen[128], a[192];

	(void)state;
	snprintf(a, sizeof(a), "%s/a/drafts", dir);
	check_state(s, NULL);
	/* Nothing more than one look. */
	store_free(s);
	s = bucket();
	assert_int_equal(claim_with(s, NULL, a, false, gen), 0);
	{
		uint64_t gets = requests(s, STORE_GET);
		uint64_t puts = requests(s, STORE_PUT);

		assert_int_equal(puts, 2);
		assert_int_equal(claim_with(s, NULL, a, false, gen),
		    0);
		assert_int_equal(requests(s, STORE_GET), gets + 3);
		assert_int_equal(requests(s, STORE_PUT), puts);
		assert_int_equal(requests(s, STORE_LIST), 0);
	}
	store_free(s);
	s = directory(base);
	check_state(s, base);
	store_free(s);
}

/* Locks and names of a store may differ from one program to the next: with the
 * place of cron's, say, or another spelling of the server. */
static void
a_state_directory_is_one_programs(void **state)
{
	struct store *s = bucket();
	struct claim_opts o = opts();
	char a[192], b[192], run[192], gen[128];
	struct claim *c, *other;

	(void)state;
	open_in = NULL;
	open_error = 0;
	snprintf(a, sizeof(a), "%s/one/drafts", dir);
	snprintf(b, sizeof(b), "%s/two/drafts", dir);
	snprintf(run, sizeof(run), "%s/other-run", dir);
	o.state = a;
	o.has_open = has_open;
	assert_int_equal(claim_take(s, &o, &c), 0);
	o.run_dir = run;
	assert_int_equal(claim_take(s, &o, &other), -EBUSY);
	o.state = b;
	assert_int_equal(claim_take(s, &o, &other), -EBUSY);
	/* He lives: there is nothing to be taken over. */
	o.takeover = true;
	o.identity = "s3://b/d by another name";
	assert_int_equal(claim_take(s, &o, &other), -EBUSY);
	claim_free(c);
	/* What he has is still asked for by the name that he knew. */
	open_in = a;
	o.takeover = false;
	assert_int_equal(claim_take(s, &o, &other), -EBUSY);
	open_in = NULL;
	assert_int_equal(claim_with(s, NULL, a, false, gen), 0);
	assert_int_equal(claim_take(s, &o, &other), 0);
	claim_free(other);
	store_free(s);
}

static void
a_collection_has_the_directory_alone(void **state)
{
	/* Static, so that a child has not lost them when it exits. */
	static struct store *s;
	static struct claim *c;
	struct claim_opts o = opts();
	char base[192], path[256];
	struct flock l = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
	int fd;

	(void)state;
	s = directory(base);
	o.base = base;
	assert_int_equal(claim_take(s, &o, &c), 0);
	/* Those of ours go on, whenever they began. */
	assert_int_equal(claim_hold(c), 0);
	assert_int_equal(claim_collect(c), 0);
	assert_false(server_can_write(base));
	claim_drop(c);
	assert_false(server_can_write(base));
	assert_int_equal(claim_hold(c), 0);
	claim_collected(c);
	assert_true(server_can_write(base));
	assert_false(gc_can_start(base));
	claim_drop(c);
	assert_true(gc_can_start(base));
	claim_collected(c);
	/* A server that writes keeps it out, and nothing has changed. */
	assert_int_equal(claim_hold(c), 0);
	snprintf(path, sizeof(path), "%s/.lock", base);
	fd = open(path, O_RDWR);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(claim_collect(c), -EAGAIN);
	close(fd);
	assert_true(server_can_write(base));
	assert_false(gc_can_start(base));
	claim_drop(c);
	assert_true(gc_can_start(base));
	claim_free(c);
	store_free(s);
}

static void
collection_is_waited_for(void **state)
{
	/* Static, so that the child has not lost them when it exits. */
	static struct store *s;
	static struct claim *c;
	struct claim_opts o = opts();
	char base[192], path[256], ready;
	int in[2], out[2], status;
	pid_t pid;

	(void)state;
	s = directory(base);
	o.base = base;
	assert_int_equal(claim_take(s, &o, &c), 0);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	snprintf(path, sizeof(path), "%s/.lock", base);
	pid = fork();
	if (pid == 0) {
		struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		int fd = open(path, O_RDWR);

		if (fcntl(fd, F_SETLK, &l) < 0 || write(out[1], "x", 1) != 1)
			_exit(1);
		_exit(read(in[0], &ready, 1) == 1 ? 0 : 1);
	}
	assert_int_equal(read(out[0], &ready, 1), 1);
	assert_int_equal(claim_hold(c), -EAGAIN);
	assert_int_equal(write(in[1], "x", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(claim_hold(c), 0);
	claim_drop(c);
	claim_free(c);
	close(in[0]);
	close(in[1]);
	close(out[0]);
	close(out[1]);
	store_free(s);
}

static void
links_in_the_way_are_not_followed(void **state)
{
	struct claim_opts o = opts();
	char base[192], path[256], victim[192];
	struct store *s = directory(base);
	struct claim *c = NULL;

	(void)state;
	o.base = base;
	snprintf(victim, sizeof(victim), "%s/victim", dir);
	snprintf(path, sizeof(path), "%s/.lock", base);
	assert_int_equal(symlink(victim, path), 0);
	assert_int_equal(claim_take(s, &o, &c), -ELOOP);
	assert_int_equal(access(victim, F_OK), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(claim_take(s, &o, &c), 0);
	claim_free(c);
	/* Others must not be able to put names next to our lock. */
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(claim_take(s, &o, &c), -EPERM);
	assert_int_equal(chmod(dir, 0700), 0);
	store_free(s);
}

static void
a_bucket_is_created_once(void **state)
{
	struct claim_opts o = opts();
	struct store *s = bucket();
	char host[256];

	(void)state;
	short_name(host);
	assert_int_equal(datastore_create_bucket(s, &o), 0);
	marker_is(s, host);
	assert_int_equal(requests(s, STORE_GET), 1);
	assert_int_equal(requests(s, STORE_LIST), 1);
	assert_int_equal(requests(s, STORE_PUT), 1);
	assert_int_equal(datastore_create_bucket(s, &o), -EEXIST);
	put_marker(s, "{\"hostname\":\"other-host\"}");
	assert_int_equal(datastore_create_bucket(s, &o), -EUSERS);
	o.takeover = true;
	assert_int_equal(datastore_create_bucket(s, &o), 0);
	marker_is(s, host);
	store_free(s);

	s = bucket();
	assert_int_equal(store_put(s, ".cnt/host/a/owner", "x", 1, NULL, NULL),
	    0);
	assert_int_equal(datastore_create_bucket(s, &o), -EEXIST);
	store_free(s);
}

static void
is_exactly(const char *base, const char *name, mode_t mode)
{
	const struct passwd *pw = getpwnam("backup");
	bool give = geteuid() == 0 && pw != NULL;
	char path[256];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", base, name);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, give ? pw->pw_uid : geteuid());
	assert_int_equal(st.st_gid, give ? pw->pw_gid : getegid());
}

static void
a_directory_is_as_a_server_insists(void **state)
{
	mode_t old = umask(077);
	char base[192], path[256], name[32];

	(void)state;
	snprintf(base, sizeof(base), "%s/x/new", dir);
	assert_int_equal(io_mkdirs(AT_FDCWD, base, 0700), 0);
	/* What a crash has left. */
	snprintf(path, sizeof(path), "%s/.chunks.tmp/0000/x", base);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0700), 0);
	assert_int_equal(datastore_create_dir(base), 0);
	umask(old);
	is_exactly(base, ".", 0755);
	is_exactly(base, ".lock", 0644);
	is_exactly(base, ".chunks", 0750);
	for (unsigned i = 0; i < 65536; i += i < 65520 ? 16 : 1) {
		snprintf(name, sizeof(name), ".chunks/%04x", i);
		is_exactly(base, name, 0750);
	}
	snprintf(path, sizeof(path), "%s/.chunks.tmp", base);
	assert_int_equal(access(path, F_OK), -1);
	/* Once, and nothing in it. */
	assert_int_equal(datastore_create_dir(base), -EEXIST);
	snprintf(path, sizeof(path), "%s/below/it", base);
	assert_int_equal(datastore_create_dir(path), -EEXIST);
	*strrchr(path, '/') = '\0';
	assert_int_equal(access(path, F_OK), -1);
	/* Faster than without knowing that they are empty. */
	for (unsigned i = 0; i < 65536; i++) {
		snprintf(path, sizeof(path), "%s/.chunks/%04x", base, i);
		assert_int_equal(rmdir(path), 0);
	}
}

static void
a_directory_with_content_is_refused(void **state)
{
	char base[192], path[256];

	(void)state;
	assert_int_equal(datastore_create_dir("relative"), -EINVAL);
	snprintf(base, sizeof(base), "%s/full", dir);
	snprintf(path, sizeof(path), "%s/home", base);
	assert_int_equal(io_mkdirs(AT_FDCWD, path, 0700), 0);
	assert_int_equal(datastore_create_dir(base), -ENOTEMPTY);
	snprintf(path, sizeof(path), "%s/.lock", base);
	assert_int_equal(access(path, F_OK), -1);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_bucket_gets_a_marker),
	    TEST(another_hosts_marker_is_refused),
	    TEST(a_large_marker_is_nobodys),
	    TEST(who_was_taken_over_learns_it),
	    TEST(the_generation_tells_of_another_owner),
	    TEST(hosts_are_the_same_by_short_name),
	    TEST(one_writes_at_a_time),
	    TEST(a_directory_is_locked_against_collection),
	    TEST(the_state_directory_is_named),
	    TEST(a_state_directory_is_one_programs),
	    TEST(a_collection_has_the_directory_alone),
	    TEST(collection_is_waited_for),
	    TEST(links_in_the_way_are_not_followed),
	    TEST(a_bucket_is_created_once),
	    TEST(a_directory_is_as_a_server_insists),
	    TEST(a_directory_with_content_is_refused),
	};

	log_set_level(LOG_LVL_ERR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
