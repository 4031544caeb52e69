/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/fault_script.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/num.h"
#include "base/str.h"

struct rule {
	unsigned verbs; /* bits */
	char *glob;     /* owned */
	struct fault_order order;
	uint64_t count; /* 0: always */
	uint64_t after;
	unsigned percent;
	uint64_t random;
	uint64_t seen, fired;
};

struct fault_script {
	struct rule *v; /* owned */
	size_t n;
};

#define BIT(verb) (1u << (verb))
#define ALL_VERBS (BIT(STORE_VERBS) - 1)

static const struct {
	const char *name;
	int error;
} errors[] = {
    {"EACCES", EACCES},
    {"EAGAIN", EAGAIN},
    {"EBADMSG", EBADMSG},
    {"EBUSY", EBUSY},
    {"ECONNRESET", ECONNRESET},
    {"EDQUOT", EDQUOT},
    {"EFBIG", EFBIG},
    {"EHOSTDOWN", EHOSTDOWN},
    {"EIO", EIO},
    {"EKEYREJECTED", EKEYREJECTED},
    {"ENODATA", ENODATA},
    {"ENOENT", ENOENT},
    {"ENOMEM", ENOMEM},
    {"ENOSPC", ENOSPC},
    {"EOPNOTSUPP", EOPNOTSUPP},
    {"EPERM", EPERM},
    {"EPROTO", EPROTO},
    {"EROFS", EROFS},
    {"ETIMEDOUT", ETIMEDOUT},
};

static const struct {
	const char *name;
	enum fault_action action;
	bool has_arg;
	unsigned verbs; /* that it has a meaning for */
} actions[] = {
    {"error", FAULT_ERROR, true, ALL_VERBS},
    {"delay", FAULT_DELAY, true, ALL_VERBS},
    {"hang", FAULT_HANG, false, ALL_VERBS},
    {"truncate", FAULT_TRUNCATE, true, BIT(STORE_GET) | BIT(STORE_PUT)},
    {"flip", FAULT_FLIP, true, BIT(STORE_GET) | BIT(STORE_PUT)},
    {"absent", FAULT_ABSENT, false,
	BIT(STORE_GET) | BIT(STORE_STAT) | BIT(STORE_LIST) | BIT(STORE_COPY) |
	    BIT(STORE_TOUCH)},
    {"lost", FAULT_LOST, false,
	BIT(STORE_PUT) | BIT(STORE_DELETE) | BIT(STORE_COPY) |
	    BIT(STORE_TOUCH) | BIT(STORE_SYNC)},
    {"kill", FAULT_KILL, false, ALL_VERBS},
    {"kill-after", FAULT_KILL_AFTER, false, ALL_VERBS},
};

/* The next word of *line, ended with a NUL, or NULL. */
static char *
next_word(char **line)
{
	char *word = *line + strspn(*line, " \t\r");
	size_t len = strcspn(word, " \t\r");

	if (len == 0)
		return NULL;
	*line = word + len;
	if (**line != '\0')
		*(*line)++ = '\0';
	return word;
}

static int
parse_verb(const char *word, unsigned *ret)
{
	if (streq(word, "*")) {
		*ret = ALL_VERBS;
		return 0;
	}
	for (int v = 0; v < STORE_VERBS; v++)
		if (streq(word, store_verb_name((enum store_verb)v))) {
			*ret = BIT(v);
			return 0;
		}
	return -EINVAL;
}

static int
parse_errno(const char *name, int *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (streq(name, errors[i].name)) {
			*ret = -errors[i].error;
			return 0;
		}
	return -EINVAL;
}

static int
parse_action(char *word, struct rule *rule)
{
	char *arg = strchr(word, '=');

	if (arg != NULL)
		*arg++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!streq(word, actions[i].name))
			continue;
		if ((arg != NULL) != actions[i].has_arg)
			return -EINVAL;
		/* "*" means all that it can be done to. */
		rule->verbs &= actions[i].verbs;
		if (rule->verbs == 0)
			return -EINVAL;
		rule->order.action = actions[i].action;
		if (rule->order.action == FAULT_ERROR)
			return parse_errno(arg, &rule->order.error);
		return arg != NULL ? num_u64(arg, &rule->order.arg) : 0;
	}
	return -EINVAL;
}

static int
parse_option(char *word, struct rule *rule)
{
	char *arg = strchr(word, '=');
	uint64_t n;

	if (arg == NULL)
		return -EINVAL;
	*arg++ = '\0';
	if (streq(word, "rate")) {
		size_t len = strlen(arg);

		if (len == 0 || arg[len - 1] != '%')
			return -EINVAL;
		arg[len - 1] = '\0';
	}
	if (num_u64(arg, &n) < 0)
		return -EINVAL;
	if (streq(word, "count") && n > 0)
		rule->count = n;
	else if (streq(word, "after"))
		rule->after = n;
	else if (streq(word, "seed"))
		rule->random = n;
	else if (streq(word, "rate") && n <= 100)
		rule->percent = (unsigned)n;
	else
		return -EINVAL;
	return 0;
}

/* What is wrong with the line, or NULL.  An empty one has no glob. */
static const char *
parse_line(char *line, struct rule *rule)
{
	char *word, *comment = strchr(line, '#');

	memset(rule, 0, sizeof(*rule));
	rule->percent = 100;
	if (comment != NULL)
		*comment = '\0';
	word = next_word(&line);
	if (word == NULL)
		return NULL;
	if (parse_verb(word, &rule->verbs) < 0)
		return "unknown verb";
	word = next_word(&line);
	if (word == NULL)
		return "no pattern of keys";
	rule->glob = strdup(word);
	if (rule->glob == NULL)
		return "out of memory";
	word = next_word(&line);
	if (word == NULL)
		return "no action";
	if (parse_action(word, rule) < 0)
		return "unknown action, or not one for this verb";
	while ((word = next_word(&line)) != NULL)
		if (parse_option(word, rule) < 0)
			return "unknown option";
	return NULL;
}

static int
add_rule(struct fault_script *f, const struct rule *rule)
{
	struct rule *v = reallocarray(f->v, f->n + 1, sizeof(*v));

	if (v == NULL)
		return -ENOMEM;
	f->v = v;
	f->v[f->n++] = *rule;
	return 0;
}

int
fault_script_parse(
    const char *text, const char *name, struct fault_script **ret)
{
	_cleanup_free_ char *copy = strdup(text);
	struct fault_script *f = calloc(1, sizeof(*f));
	char *line = copy, *next;
	unsigned n = 1;

	if (copy == NULL || f == NULL) {
		free(f);
		return -ENOMEM;
	}
	for (; line != NULL; line = next, n++) {
		const char *wrong;
		struct rule rule;

		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		wrong = parse_line(line, &rule);
		if (wrong != NULL) {
			log_err("%s: line %u: %s\n"
				"hint: a rule is VERB KEY-GLOB ACTION "
				"[count=N] [after=N] [rate=P%%] [seed=N]",
			    name, n, wrong);
			free(rule.glob);
			fault_script_free(f);
			return -EINVAL;
		}
		if (rule.glob != NULL && add_rule(f, &rule) < 0) {
			free(rule.glob);
			fault_script_free(f);
			return -ENOMEM;
		}
	}
	*ret = f;
	return 0;
}

void
fault_script_free(struct fault_script *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i].glob);
	free(f->v);
	free(f);
}

static bool
is_about(const struct rule *r, enum store_verb verb, const char *key)
{
	return (r->verbs & BIT(verb)) != 0 &&
	       (r->count == 0 || r->fired < r->count) &&
	       fnmatch(r->glob, key, 0) == 0;
}

/* Whether the rule applies this time. */
static bool
fires(struct rule *r)
{
	if (r->seen++ < r->after)
		return false;
	if (r->percent < 100) {
		r->random =
		    r->random * 6364136223846793005ULL + 1442695040888963407ULL;
		if ((r->random >> 33) % 100 >= r->percent)
			return false;
	}
	r->fired++;
	return true;
}

int
fault_script_next(struct fault_script *f, enum store_verb verb, const char *key,
    struct fault_order *ret)
{
	for (size_t i = 0; i < f->n; i++)
		if (is_about(&f->v[i], verb, key) && fires(&f->v[i])) {
			*ret = f->v[i].order;
			return 0;
		}
	return 1;
}

bool
fault_script_has(
    const struct fault_script *f, enum store_verb verb, const char *key)
{
	for (size_t i = 0; i < f->n; i++)
		if (is_about(&f->v[i], verb, key))
			return true;
	return false;
}
