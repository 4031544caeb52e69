/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "cmd/option.h"

#define FIRST_MS 1000
#define EVERY_MS 200
#define BAR 30

void
progress_begin(struct progress *p, const struct options *o, uint64_t total)
{
	const char *term = getenv("TERM");

	*p = (struct progress){.total = total, .begin = clock_mono_ms()};
	/* Debug lines and a bar would overwrite each other. */
	p->on = !o->quiet && !o->debug && isatty(STDERR_FILENO) &&
	    (term == NULL || strcmp(term, "dumb") != 0);
	p->last = p->begin + FIRST_MS - EVERY_MS;
}

static void
format(const struct progress *p, char out[NUM_SIZE_MAX], uint64_t n)
{
	if (p->unit == NULL)
		num_format_size(out, n);
	else
		snprintf(out, NUM_SIZE_MAX, "%" PRIu64 " %s", n, p->unit);
}

static void
show(struct progress *p, uint64_t now)
{
	char done[NUM_SIZE_MAX], rate[NUM_SIZE_MAX], bar[BAR + 1];
	uint64_t ms = now - p->begin;
	double part;

	format(p, done, p->done);
	format(p, rate, ms == 0 ? 0 :
	    (uint64_t)((double)p->done * 1000 / (double)ms));
	if (p->total == 0) {
		fprintf(stderr, "\r\033[K%s, %s/s", done, rate);
	} else {
		part = (double)MIN(p->done, p->total) / (double)p->total;
		memset(bar, '.', BAR);
		memset(bar, '#', (size_t)(part * BAR));
		bar[BAR] = '\0';
		fprintf(stderr, "\r\033[K[%s] %3d%% %s, %s/s", bar,
		    (int)(part * 100), done, rate);
	}
	fflush(stderr);
	p->shown = true;
	p->last = now;
}

void
progress_add(struct progress *p, uint64_t bytes)
{
	uint64_t now;

	p->done += bytes;
	if (!p->on)
		return;
	now = clock_mono_ms();
	if (now >= p->last + EVERY_MS)
		show(p, now);
}

void
progress_end(struct progress *p)
{
	if (!p->shown)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	p->shown = false;
}
