/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/gc_priv.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"
#include "maint/gc_report.h"
#include "pbs/names.h"
#include "store/store.h"

#define STATUS_NAME ".gc-status"
#define HOST_MAX 64

int
gc_dir_check_atime(struct gc *g)
{
	struct store_object before, after;
	char key[KEY_CHUNK_LEN + 1];
	struct digest zero;
	int r;

	r = digest_parse(GC_ZERO_CHUNK, &zero);
	if (r < 0)
		return r;
	key_chunk(&zero, key);
	r = store_stat(g->store, key, 0, &before);
	/* Whole seconds: one of just now cannot be told from the next. */
	if (r != 0 || before.atime >= clock_real_s() - 1)
		return r < 0 ? r : 0;
	r = store_touch(g->store, key);
	if (r == 0)
		r = store_stat(g->store, key, 0, &after);
	if (r != 0)
		return r < 0 ? r : 0;
	if (after.atime > before.atime)
		return 0;
	log_err("%s: the time of last access does not change when it is set; "
	    "nothing is deleted, for it says what is in use\n"
	    "hint: a file system of another kind, or mounted with other "
	    "options", g->base);
	return -EOPNOTSUPP;
}

/* What a server's task would be called.  Its worker's name has '-' escaped, as
 * systemd does. */
static void
make_upid(const struct gc *g, struct str *out)
{
	const char *name = strrchr(g->base, '/');
	char host[HOST_MAX + 1] = "localhost";

	if (gethostname(host, sizeof(host) - 1) < 0)
		host[0] = '\0';
	host[HOST_MAX] = '\0';
	host[strcspn(host, ".")] = '\0';
	str_addf(out, "UPID:%s:%08X:%08X:%08X:%08X:garbage_collection:",
	    host[0] != '\0' ? host : "localhost", (unsigned)getpid(), 0u, 0u,
	    (unsigned)g->res->started);
	for (name = name != NULL ? name + 1 : g->base; *name != '\0'; name++) {
		unsigned char c = (unsigned char)*name;

		if (isalnum(c) || c == '_' || c == '.')
			str_addc(out, *name);
		else
			str_addf(out, "\\x%02x", c);
	}
	str_add(out, ":root@pam:");
}

static int
write_status(const struct gc *g, char *text)
{
	const struct iovec iov = {text, strlen(text)};
	struct stat st;
	int r;

	r = io_replace(g->base_fd, STATUS_NAME, &iov, 1, 0644, 0);
	if (r < 0 || geteuid() != 0 || fstat(g->base_fd, &st) < 0)
		return r;
	/* It is the server's to replace. */
	return fchownat(g->base_fd, STATUS_NAME, st.st_uid, st.st_gid,
	    AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int
gc_dir_status(const struct gc *g)
{
	_cleanup_(str_fini) struct str upid = {0};
	char *text;
	json_t *j;
	int r = -ENOMEM;

	make_upid(g, &upid);
	j = gc_status_json(g->res, str_get(&upid));
	text = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	if (text != NULL)
		r = write_status(g, text);
	free(text);
	if (r < 0)
		log_warn("%s/" STATUS_NAME ": cannot write it: %s", g->base,
		    strerror(-r));
	/* Nobody relies on it. */
	return 0;
}
