/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Messages for people: lower case, no full stop, what + which object + why,
 * and a line "hint: ..." where one helps.  Never a secret.  Any thread.
 */
enum log_level { LOG_LVL_ERR, LOG_LVL_WARN, LOG_LVL_INFO, LOG_LVL_DEBUG };

enum log_target {
	LOG_TO_STDERR,
	LOG_TO_SYSLOG,	/* what a daemon does after it left its terminal */
};

void log_setup(enum log_target target, enum log_level max, const char *ident);
enum log_level log_get_level(void);
void log_set_level(enum log_level max);

void log_msg(enum log_level lvl, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
#define log_err(...) log_msg(LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LVL_DEBUG, __VA_ARGS__)

/*
 * For messages that can repeat: at most burst messages per interval of a
 * place in the code, and then a line that says how many were left out.
 */
struct log_limit {
	uint64_t window_start;
	unsigned count;
	unsigned suppressed;
};
bool log_allowed(struct log_limit *l, const char *what);
#define log_limited(lvl, ...)                                                  \
	do {                                                                   \
		static struct log_limit log_limit_;                            \
		if (log_allowed(&log_limit_, __FILE__))                        \
			log_msg(lvl, __VA_ARGS__);                             \
	} while (0)

/** log_listen(fn, arg): what this thread logs from now on goes to fn, too, which
 * must not log; NULL: no more. */
typedef void log_listen_fn(void *arg, enum log_level lvl, const char *text);
void log_listen(log_listen_fn *fn, void *arg);

/**
 * log_recent(fn, arg): the last errors and warnings, oldest first, for
 * `status`.  fn runs under the logger's lock and must not log.
 */
typedef void log_recent_fn(void *arg, int64_t when, enum log_level lvl,
    const char *text);
void log_recent(log_recent_fn *fn, void *arg);

#endif
