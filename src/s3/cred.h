/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_CRED_H
#define S3_CRED_H

#include <stdbool.h>

/*
 * Where keys come from.  They are read again before they expire.  Any thread.
 */
struct s3_cred;

struct s3_keys {
	char access[128];
	char secret[256];
	char token[2048];	/* "" if none */
};

/**
 * Sources.  A file has lines access-key=..., secret-key=... and perhaps
 * session-token=... (also ACCESS:SECRET on one line, as s3fs has it); it is
 * refused with -EPERM if group or others can read it.  A profile is a section
 * of the AWS files (~/.aws/credentials and config, or
 * AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE) with keys or
 * credential_process.
 */
int s3_cred_static(const char *access, const char *secret, const char *token,
    struct s3_cred **ret);
int s3_cred_file(const char *path, struct s3_cred **ret);
int s3_cred_env(struct s3_cred **ret);	/* 1 if AWS_ACCESS_KEY_ID is not set */
int s3_cred_profile(const char *profile, struct s3_cred **ret); /* 1: absent */
void s3_cred_free(struct s3_cred *c);

/** s3_cred_get(c, ret): the keys as they are now. */
int s3_cred_get(struct s3_cred *c, struct s3_keys *ret);
/** s3_cred_refused(c): the server calls the keys expired: s3_cred_get reads
 * the source again.  False if that cannot make a difference. */
bool s3_cred_refused(struct s3_cred *c);

#endif
