/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef UNIT_S3_SCRIPT_H
#define UNIT_S3_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * tests/lib/s3script.py as a child of a test.  It ends with the test, also if
 * that crashes: its standard input is closed then.
 */
struct script {
	pid_t pid;
	int in;		/* its standard input */
	unsigned port, control;
	char url[64];	/* http://127.0.0.1:PORT or https:// */
};

/** script_start(s, args, tls): args is NULL-terminated and may be NULL.
 * False if there is no python3.  tls: args have the certificate. */
bool script_start(struct script *s, const char *const *args, bool tls);
void script_stop(struct script *s);

/** script_skip(): what main returns if script_start says false. */
int script_skip(void);

void script_rules(const struct script *s, const char *json);
void script_clear(const struct script *s);
/** script_count(s, verb): requests since the start or script_clear. */
unsigned script_count(const struct script *s, const char *verb);
/** script_call(s, method, path, body, out, size): any control request. */
void script_call(const struct script *s, const char *method, const char *path,
    const char *body, char *out, size_t size);

#endif
