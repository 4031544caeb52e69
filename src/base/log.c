/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/str.h"

#define LOG_TEXT_MAX 2048
#define RECENT_MAX 64
#define RECENT_TEXT_MAX 512
#define LIMIT_BURST 10
#define LIMIT_WINDOW_MS 60000

struct recent {
	int64_t when;
	enum log_level lvl;
	char text[RECENT_TEXT_MAX];
};

/* The one global of the program: everybody logs. */
static struct {
	pthread_mutex_t lock;	/* guards all but level, and what limits hold */
	enum log_target target;
	int level;		/* atomic */
	char ident[32];
	struct recent recent[RECENT_MAX];
	unsigned n_recent, next_recent;
} logger = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .target = LOG_TO_STDERR,
    .level = LOG_LVL_INFO,
    .ident = "pbs3fs",
};

static _Thread_local struct {
	log_listen_fn *fn;
	void *arg;
} copy;

void
log_listen(log_listen_fn *fn, void *arg)
{
	copy.fn = fn;
	copy.arg = arg;
}

void
log_setup(enum log_target target, enum log_level max, const char *ident)
{
	log_set_level(max);
	LOCK(&logger.lock);
	snprintf(logger.ident, sizeof(logger.ident), "%s", ident);
	if (logger.target == LOG_TO_SYSLOG)
		closelog();
	if (target == LOG_TO_SYSLOG)
		openlog(logger.ident, LOG_PID, LOG_DAEMON);
	logger.target = target;
}

enum log_level
log_get_level(void)
{
	return (enum log_level)__atomic_load_n(&logger.level, __ATOMIC_RELAXED);
}

void
log_set_level(enum log_level max)
{
	__atomic_store_n(&logger.level, (int)max, __ATOMIC_RELAXED);
}

/* What comes from a server must not drive a terminal, nor pass for another
 * message: the only second line is a hint. */
static void
disarm(char *text)
{
	static const char hint[] = "\nhint: ";
	size_t left = strlen(text), n;

	for (; left > 0; text += n, left -= n) {
		n = str_printable(text, left);
		if (n == 0 && strncmp(text, hint, strlen(hint)) != 0)
			*text = '?';
		n = n > 0 ? n : 1;
	}
}

static void
emit_line(enum log_level lvl, const char *line, int len, bool first)
{
	static const int prio[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	static const char *const tag[] = {"", "warning: ", "", "debug: "};

	if (logger.target == LOG_TO_SYSLOG)
		syslog(prio[lvl], "%.*s", len, line);
	else
		fprintf(stderr, "%s: %s%.*s\n", logger.ident,
		    first ? tag[lvl] : "", len, line);
}

/* With the lock: lines of one message stay together. */
static void
emit(enum log_level lvl, const char *text)
{
	bool first = true;

	for (;;) {
		const char *end = strchrnul(text, '\n');

		emit_line(lvl, text, (int)(end - text), first);
		first = false;
		if (*end == '\0')
			break;
		text = end + 1;
	}
}

static void
remember(enum log_level lvl, const char *text)
{
	struct recent *m = &logger.recent[logger.next_recent];
	size_t n = strnlen(text, RECENT_TEXT_MAX - 1);

	m->when = clock_real_s();
	m->lvl = lvl;
	memcpy(m->text, text, n);
	m->text[n] = '\0';
	logger.next_recent = (logger.next_recent + 1) % RECENT_MAX;
	if (logger.n_recent < RECENT_MAX)
		logger.n_recent++;
}

void
log_msg(enum log_level lvl, const char *fmt, ...)
{
	static const char cut[] = " ...";
	char text[LOG_TEXT_MAX];
	int saved = errno, n;
	va_list ap;

	if (lvl > log_get_level() && lvl > LOG_LVL_WARN)
		return;
	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		snprintf(text, sizeof(text), "unprintable message: %s", fmt);
	else if ((size_t)n >= sizeof(text))
		memcpy(text + sizeof(text) - sizeof(cut), cut, sizeof(cut));
	disarm(text);

	pthread_mutex_lock(&logger.lock);
	if (lvl <= LOG_LVL_WARN)
		remember(lvl, text);
	if (lvl <= log_get_level())
		emit(lvl, text);
	pthread_mutex_unlock(&logger.lock);
	if (copy.fn != NULL)
		copy.fn(copy.arg, lvl, text);
	errno = saved;
}

bool
log_allowed(struct log_limit *l, const char *what)
{
	unsigned left_out = 0;
	uint64_t now = clock_mono_ms();
	bool allowed;

	pthread_mutex_lock(&logger.lock);
	if (l->count == 0 || now - l->window_start >= LIMIT_WINDOW_MS) {
		left_out = l->suppressed;
		l->window_start = now;
		l->count = 0;
		l->suppressed = 0;
	}
	allowed = l->count < LIMIT_BURST;
	if (allowed)
		l->count++;
	else
		l->suppressed++;
	pthread_mutex_unlock(&logger.lock);
	if (left_out > 0)
		log_info("%s: left out %u messages like the next one", what,
		    left_out);
	return allowed;
}

void
log_recent(log_recent_fn *fn, void *arg)
{
	LOCK(&logger.lock);
	for (unsigned i = 0; i < logger.n_recent; i++) {
		const struct recent *m = &logger.recent[(logger.next_recent +
		    RECENT_MAX - logger.n_recent + i) % RECENT_MAX];

		fn(arg, m->when, m->lvl, m->text);
	}
}
