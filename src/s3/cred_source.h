/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_CRED_SOURCE_H
#define S3_CRED_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "s3/cred.h"

/*
 * Private to s3/: how keys are read from where they are.
 */
struct cred_answer {
	struct s3_keys keys;
	int64_t expires;	/* epoch seconds; 0: never */
};

/** cred_set(k, access, secret, token): bounded copies; -EINVAL for an empty or
 * too long one, or characters that cannot be in a header. */
int cred_set(struct s3_keys *k, const char *access, const char *secret,
    const char *token);

/** cred_parse_file(text, ret): "access-key=..." lines or ACCESS:SECRET.
 * Changes text.  -EINVAL. */
int cred_parse_file(char *text, struct s3_keys *ret);

/* What a profile says; pointers into the parsed text, NULL if not there. */
struct cred_profile {
	bool found;
	const char *access, *secret, *token, *process;
};

/** cred_parse_profile(text, section, ret): the settings of [section] that are
 * not in *ret yet.  Changes text. */
void cred_parse_profile(char *text, const char *section,
    struct cred_profile *ret);

/** cred_split_command(text, argv, max): words of a command line with quotes and
 * backslashes, no variables, no shell; in place.  The number of words, argv is
 * NULL-terminated; -EINVAL, -E2BIG. */
int cred_split_command(char *text, char **argv, size_t max);

/** cred_run(command, timeout_ms, ret): run a credential_process and parse what
 * it prints.  -ETIMEDOUT, -EINVAL, -EIO with a message logged. */
int cred_run(const char *command, unsigned timeout_ms,
    struct cred_answer *ret);

/** cred_parse_json(text, len, ret): what a credential_process prints. */
int cred_parse_json(const char *text, size_t len, struct cred_answer *ret);

#endif
