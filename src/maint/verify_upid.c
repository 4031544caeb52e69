/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/verify.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

/* UPID:node:pid:pstart:task:start:type:id:authid: */
#define START_FIELD 5
#define START_TICKS_FIELD 22	/* of /proc/PID/stat */

/* When this process began, in ticks: with the pid it is one of a kind. */
static unsigned long long
process_start(void)
{
	char text[1024], *p;
	FILE *f = fopen("/proc/self/stat", "re");
	size_t n = f != NULL ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f != NULL)
		fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')');	/* a name may hold anything */
	for (int i = 2; p != NULL && i < START_TICKS_FIELD; i++)
		p = strchr(p + 1, ' ');
	return p != NULL ? strtoull(p, NULL, 10) : 0;
}

static void
node_name(char out[64])
{
	size_t n = 0;

	if (gethostname(out, 64) < 0)
		out[0] = '\0';
	out[63] = '\0';
	while (isalnum((unsigned char)out[n]) || (n > 0 && out[n] == '-'))
		n++;
	while (n > 0 && out[n - 1] == '-')
		n--;
	out[n] = '\0';
	if (n == 0)
		snprintf(out, 64, "localhost");
}

/* As systemd escapes names, which is what the server does. */
static void
add_id(struct str *out, const char *store)
{
	size_t len = strlen(store);

	while (len > 1 && store[len - 1] == '/')
		len--;
	for (size_t i = 0; i < len && out->len < VERIFY_UPID_MAX / 2; i++) {
		unsigned char c = (unsigned char)store[i];

		if (c == '/')
			str_addc(out, '-');
		else if (isalnum(c) || c == '_' || (c == '.' && i > 0))
			str_addc(out, (char)c);
		else
			str_addf(out, "\\x%02x", c);
	}
}

void
verify_upid(char out[VERIFY_UPID_MAX], const char *store, int64_t start)
{
	_cleanup_(str_fini) struct str id = {0};
	char node[64];

	node_name(node);
	add_id(&id, store);
	snprintf(out, VERIFY_UPID_MAX,
	    "UPID:%s:%08lX:%08llX:%08X:%08lX:verify:%s:root@pam:", node,
	    (unsigned long)getpid() & 0xffffffff,
	    process_start() & 0xfffffffff, 0u,
	    (unsigned long)start & 0xffffffff, str_get(&id));
}

int
verify_upid_start(const char *upid, int64_t *ret)
{
	char *end;
	unsigned long long n;

	if (!str_starts(upid, "UPID:"))
		return -EINVAL;
	for (int i = 0; i < START_FIELD; i++) {
		upid = strchr(upid, ':');
		if (upid == NULL)
			return -EINVAL;
		upid++;
	}
	if (strspn(upid, "0123456789abcdefABCDEF") != 8 || upid[8] != ':')
		return -EINVAL;
	n = strtoull(upid, &end, 16);
	*ret = (int64_t)n;
	return end == upid + 8 ? 0 : -EINVAL;
}
