/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "maint/control_frame.h"

#include <errno.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"
#include "pbs/names.h"

#define MESSAGES_MAX ((size_t)65536)
static const uint8_t magic[4] = {'p', '3', 'c', 't'};

/*
 * Out: what is too long for a frame is found out when all of it is there.
 */
static void
add_u32(struct str *out, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	str_addn(out, (const char *)b, sizeof(b));
}

static void
add_u64(struct str *out, uint64_t v)
{
	uint8_t b[8];

	put_le64(b, v);
	str_addn(out, (const char *)b, sizeof(b));
}

/* Length, text, NUL. */
static void
add_text(struct str *out, const char *text)
{
	size_t len = strlen(text);

	if (len > CONTROL_FRAME_MAX)
		len = CONTROL_FRAME_MAX;
	add_u32(out, (uint32_t)len);
	str_addn(out, text, len);
	str_addc(out, '\0');
}

static size_t
begin_frame(struct str *out, enum control_kind kind)
{
	size_t at = out->len;

	add_u32(out, 0);
	str_addc(out, (char)kind);
	return at;
}

static int
end_frame(struct str *out, size_t at)
{
	size_t len;

	if (str_error(out) < 0)
		return -ENOMEM;
	len = out->len - at - CONTROL_LENGTH;
	if (len > CONTROL_FRAME_MAX)
		return -EMSGSIZE;
	put_le32((uint8_t *)out->s + at, (uint32_t)len);
	return 0;
}

int
control_add_request(struct str *out, const struct control_request *q)
{
	size_t at;

	if (q->n > CONTROL_DIGESTS_MAX)
		return -EMSGSIZE;
	at = begin_frame(out, q->kind);
	str_addc(out, q->flag ? 1 : 0);
	str_addc(out, (char)q->group.type);
	add_u64(out, (uint64_t)q->time);
	add_text(out, q->group.ns);
	add_text(out, q->group.id);
	add_text(out, q->text != NULL ? q->text : "");
	add_u32(out, (uint32_t)q->n);
	if (q->n > 0)
		str_addn(out, (const char *)q->digests,
		    q->n * sizeof(*q->digests));
	return end_frame(out, at);
}

int
control_add_hello(struct str *out, const struct control_hello *h)
{
	size_t at = begin_frame(out, CONTROL_HELLO);

	str_addn(out, (const char *)magic, sizeof(magic));
	add_u32(out, CONTROL_VERSION);
	add_text(out, h->state != NULL ? h->state : "");
	add_text(out, h->identity != NULL ? h->identity : "");
	return end_frame(out, at);
}

int
control_add_reply(struct str *out, const struct control_reply *re)
{
	size_t at;

	if (re->n > CONTROL_DIGESTS_MAX || re->messages_len > MESSAGES_MAX)
		return -EMSGSIZE;
	at = begin_frame(out, CONTROL_REPLY);
	add_u32(out, (uint32_t)re->result);
	add_u32(out, (uint32_t)re->n);
	if (re->n > 0)
		str_addn(out, (const char *)re->spared, re->n);
	if (re->messages_len > 0)
		str_addn(out, (const char *)re->messages, re->messages_len);
	return end_frame(out, at);
}

void
control_add_message(struct str *out, enum log_level lvl, const char *text)
{
	/* Level, length, NUL. */
	if (strlen(text) > MESSAGES_MAX - 6 ||
	    out->len > MESSAGES_MAX - 6 - strlen(text))
		return;
	str_addc(out, (char)lvl);
	add_text(out, text);
}

/*
 * In.
 */
struct input {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static const uint8_t *
take(struct input *in, size_t n)
{
	const uint8_t *p = in->p;

	if (in->bad || n > in->left) {
		in->bad = true;
		return NULL;
	}
	in->p += n;
	in->left -= n;
	return p;
}

static uint8_t
take_u8(struct input *in)
{
	const uint8_t *p = take(in, 1);

	return p != NULL ? *p : 0;
}

static uint32_t
take_u32(struct input *in)
{
	const uint8_t *p = take(in, 4);

	return p != NULL ? get_le32(p) : 0;
}

static uint64_t
take_u64(struct input *in)
{
	const uint8_t *p = take(in, 8);

	return p != NULL ? get_le64(p) : 0;
}

static const char *
take_text(struct input *in)
{
	size_t len = take_u32(in);
	const uint8_t *p;

	if (len >= in->left)
		in->bad = true;
	p = in->bad ? NULL : take(in, len + 1);
	if (p == NULL || p[len] != '\0' || memchr(p, '\0', len) != NULL) {
		in->bad = true;
		return "";
	}
	return (const char *)p;
}

/* A name in a place for one; one too long leaves it as it was. */
static void
take_name(struct input *in, char *out, size_t size)
{
	const char *text = take_text(in);
	size_t len = strlen(text);

	if (len >= size) {
		in->bad = true;
		return;
	}
	memcpy(out, text, len + 1);
}

ssize_t
control_frame_len(const void *p, size_t have)
{
	uint32_t len;

	if (have < CONTROL_LENGTH)
		return 0;
	len = get_le32(p);
	if (len == 0 || len > CONTROL_FRAME_MAX)
		return -EBADMSG;
	return (ssize_t)len + CONTROL_LENGTH;
}

static bool
needs_group(enum control_kind kind)
{
	return kind == CONTROL_FORGET || kind == CONTROL_FORGET_GROUP ||
	    kind == CONTROL_PROTECT || kind == CONTROL_NOTES ||
	    kind == CONTROL_VERIFY;
}

static bool
names_are_valid(const struct control_request *q)
{
	const struct group_name *g = &q->group;

	if (needs_group(q->kind))
		return ns_is_valid(g->ns) && (unsigned)g->type < BACKUP_TYPES &&
		    name_is_safe(g->id, strlen(g->id));
	if (g->id[0] != '\0' || (unsigned)g->type != 0)
		return false;
	return q->kind == CONTROL_REMOVE_NS ? ns_is_valid(g->ns) :
	    g->ns[0] == '\0';
}

int
control_parse_request(const void *p, size_t len, struct control_request *ret)
{
	struct input in = {.p = p, .left = len};
	unsigned kind, flag;

	memset(ret, 0, sizeof(*ret));
	kind = take_u8(&in);
	flag = take_u8(&in);
	if (kind == 0 || kind >= CONTROL_KINDS || flag > 1)
		return -EBADMSG;
	ret->kind = (enum control_kind)kind;
	ret->flag = flag == 1;
	ret->group.type = (enum backup_type)take_u8(&in);
	ret->time = (int64_t)take_u64(&in);
	take_name(&in, ret->group.ns, sizeof(ret->group.ns));
	take_name(&in, ret->group.id, sizeof(ret->group.id));
	ret->text = take_text(&in);
	ret->n = take_u32(&in);
	if (in.bad || ret->n > CONTROL_DIGESTS_MAX ||
	    in.left != ret->n * sizeof(struct digest) ||
	    !names_are_valid(ret))
		return -EBADMSG;
	ret->digests = (const struct digest *)in.p;
	return 0;
}

int
control_parse_hello(const void *p, size_t len, struct control_hello *ret)
{
	struct input in = {.p = p, .left = len};
	const uint8_t *m;

	memset(ret, 0, sizeof(*ret));
	if (take_u8(&in) != CONTROL_HELLO)
		return -EBADMSG;
	m = take(&in, sizeof(magic));
	if (m == NULL || memcmp(m, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	if (take_u32(&in) != CONTROL_VERSION)
		return in.bad ? -EBADMSG : -EPROTONOSUPPORT;
	ret->state = take_text(&in);
	ret->identity = take_text(&in);
	if (in.bad || in.left > 0)
		return -EBADMSG;
	if (*ret->state == '\0')
		ret->state = NULL;
	if (*ret->identity == '\0')
		ret->identity = NULL;
	return 0;
}

int
control_parse_reply(const void *p, size_t len, struct control_reply *ret)
{
	struct input in = {.p = p, .left = len};
	const uint8_t *spared;

	memset(ret, 0, sizeof(*ret));
	if (take_u8(&in) != CONTROL_REPLY)
		return -EBADMSG;
	ret->result = (int)take_u32(&in);
	ret->n = take_u32(&in);
	spared = ret->n > CONTROL_DIGESTS_MAX ? NULL : take(&in, ret->n);
	if (in.bad || spared == NULL || in.left > MESSAGES_MAX ||
	    ret->result < -4095 || ret->result > 4095)
		return -EBADMSG;
	for (size_t i = 0; i < ret->n; i++)
		if (spared[i] > 1)
			return -EBADMSG;
	ret->spared = spared;
	ret->messages = in.p;
	ret->messages_len = in.left;
	return 0;
}

int
control_next_message(struct control_reply *re, enum log_level *ret_lvl,
    const char **ret_text)
{
	struct input in = {.p = re->messages, .left = re->messages_len};
	unsigned lvl;

	if (in.left == 0)
		return 1;
	lvl = take_u8(&in);
	*ret_text = take_text(&in);
	if (in.bad || lvl > LOG_LVL_DEBUG)
		return -EBADMSG;
	*ret_lvl = (enum log_level)lvl;
	re->messages = in.p;
	re->messages_len = in.left;
	return 0;
}
