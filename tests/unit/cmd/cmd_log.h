/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_CMD_LOG_H
#define UNIT_CMD_LOG_H

#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* What was said last, without showing it. */
static char cmd_log_text[1024];

static void
cmd_log_keep(void *arg, int64_t when, enum log_level lvl, const char *text)
{
	(void)arg;
	(void)when;
	(void)lvl;
	snprintf(cmd_log_text, sizeof(cmd_log_text), "%s", text);
}

static inline const char *
cmd_log_last(void)
{
	cmd_log_text[0] = '\0';
	log_recent(cmd_log_keep, NULL);
	return cmd_log_text;
}

static inline void
assert_said(const char *what)
{
	if (strstr(cmd_log_last(), what) == NULL)
		fail_msg("'%s' is not in '%s'", what, cmd_log_text);
}

#endif
