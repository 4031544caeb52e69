/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/cred_source.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

static int
set_one(char *out, size_t size, const char *text, bool required)
{
	size_t len = text != NULL ? strlen(text) : 0, i;

	if ((required && len == 0) || len >= size)
		return -EINVAL;
	/* They go into headers. */
	for (i = 0; i < len; i++)
		if ((unsigned char)text[i] <= 0x20 ||
		    (unsigned char)text[i] >= 0x7f)
			return -EINVAL;
	memcpy(out, text != NULL ? text : "", len + 1);
	return 0;
}

int
cred_set(struct s3_keys *k, const char *access, const char *secret,
    const char *token)
{
	int r;

	memset(k, 0, sizeof(*k));
	r = set_one(k->access, sizeof(k->access), access, true);
	if (r == 0)
		r = set_one(k->secret, sizeof(k->secret), secret, true);
	if (r == 0)
		r = set_one(k->token, sizeof(k->token), token, false);
	if (r < 0)
		explicit_bzero(k, sizeof(*k));
	return r;
}

/* Without blanks at both ends; in place. */
static char *
trim(char *s)
{
	size_t len;

	s += strspn(s, " \t\r");
	len = strlen(s);
	while (len > 0 && strchr(" \t\r", s[len - 1]) != NULL)
		s[--len] = '\0';
	return s;
}

/* "name = value" -> both, trimmed; false if there is no '='. */
static bool
split_setting(char *line, char **name, char **value)
{
	char *eq = strchr(line, '=');

	if (eq == NULL)
		return false;
	*eq = '\0';
	*name = trim(line);
	*value = trim(eq + 1);
	return true;
}

static bool
is_name(const char *text, const char *a, const char *b)
{
	return streq(text, a) || streq(text, b);
}

int
cred_parse_file(char *text, struct s3_keys *ret)
{
	char *access = NULL, *secret = NULL, *token = NULL;
	char *line, *name, *value, *colon;

	while ((line = strsep(&text, "\n")) != NULL) {
		line = trim(line);
		if (line[0] == '\0' || line[0] == '#' || line[0] == '[')
			continue;
		/* A secret may have '=' in it, a name has no ':'. */
		colon = strchr(line, ':');
		if (colon != NULL &&
		    (size_t)(colon - line) < strcspn(line, "=")) {
			if (access != NULL || secret != NULL)
				return -EINVAL;
			*colon = '\0';
			access = trim(line);
			secret = trim(colon + 1);
			continue;
		}
		if (!split_setting(line, &name, &value))
			return -EINVAL;
		if (is_name(name, "access-key", "aws_access_key_id"))
			access = value;
		else if (is_name(name, "secret-key", "aws_secret_access_key"))
			secret = value;
		else if (is_name(name, "session-token", "aws_session_token"))
			token = value;
		else
			return -EINVAL;
	}
	return cred_set(ret, access, secret, token);
}

static void
take(const char **slot, const char *value)
{
	if (*slot == NULL && value[0] != '\0')
		*slot = value;
}

void
cred_parse_profile(char *text, const char *section, struct cred_profile *ret)
{
	char *line, *end, *name, *value;
	bool inside = false;

	while ((line = strsep(&text, "\n")) != NULL) {
		bool nested = line[0] == ' ' || line[0] == '\t';

		line = trim(line);
		if (line[0] == '\0' || line[0] == '#' || line[0] == ';')
			continue;
		if (line[0] == '[' && (end = strchr(line, ']')) != NULL) {
			*end = '\0';
			inside = streq(trim(line + 1), section);
			ret->found |= inside;
			continue;
		}
		/* Indented lines belong to a setting of no interest here. */
		if (!inside || nested || !split_setting(line, &name, &value))
			continue;
		if (streq(name, "aws_access_key_id"))
			take(&ret->access, value);
		else if (streq(name, "aws_secret_access_key"))
			take(&ret->secret, value);
		else if (streq(name, "aws_session_token"))
			take(&ret->token, value);
		else if (streq(name, "credential_process"))
			take(&ret->process, value);
	}
}

int
cred_split_command(char *text, char **argv, size_t max)
{
	char *out = text, quote = '\0';
	size_t n = 0;
	bool in_word = false;

	for (; *text != '\0'; text++) {
		char c = *text;

		if (quote == '\0' && (c == ' ' || c == '\t')) {
			if (in_word)
				*out++ = '\0';
			in_word = false;
			continue;
		}
		if (!in_word) {
			if (n + 1 >= max)
				return -E2BIG;
			argv[n++] = out;
			in_word = true;
		}
		if (quote == '\0' && (c == '"' || c == '\'')) {
			quote = c;
		} else if (quote != '\0' && c == quote) {
			quote = '\0';
		} else if (c == '\\' && quote != '\'' && text[1] != '\0') {
			*out++ = *++text;
		} else {
			*out++ = c;
		}
	}
	if (quote != '\0')
		return -EINVAL;
	*out = '\0';
	argv[n] = NULL;
	return (int)n;
}

int
cred_parse_json(const char *text, size_t len, struct cred_answer *ret)
{
	const char *access = NULL, *secret = NULL, *token = NULL;
	const char *expires = NULL;
	json_t *root = json_loadb(text, len, 0, NULL);
	int version = 0, r = -EINVAL;

	memset(ret, 0, sizeof(*ret));
	if (root == NULL)
		return -EINVAL;
	if (json_unpack(root, "{s:i, s:s, s:s, s?s, s?s}", "Version", &version,
		"AccessKeyId", &access, "SecretAccessKey", &secret,
		"SessionToken", &token, "Expiration", &expires) == 0 &&
	    version == 1)
		r = cred_set(&ret->keys, access, secret, token);
	if (r == 0 && expires != NULL &&
	    clock_parse_iso(expires, &ret->expires) < 0)
		r = -EINVAL;
	json_decref(root);
	return r;
}
