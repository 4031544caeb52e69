/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3/xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/str.h"
#include "s3/etag.h"
#include "s3/url.h"

#define DEPTH_MAX 16
#define NAME_MAX_LEN 40
#define TEXT_MAX 8192
/* From '<' to '>'.  Keys are no attributes; the longest tag has a namespace. */
#define TAG_MAX 4096
/* The server's default and maximum is 1000. */
#define ENTRIES_MAX 100000

struct doc;

/*
 * What a kind of document does with its elements.  path is the element's place
 * below the root, "Contents/Key"; text is its own text.
 */
struct kind {
	const char *root;
	void (*end)(struct doc *d, const char *path, const char *text);
};

struct doc {
	xmlParserCtxtPtr ctxt;		/* owned */
	const struct kind *kind;	/* by the root element; NULL before */
	const struct kind *kinds;	/* allowed; the last has no root */
	void *arg;			/* of the kind's functions */
	struct xml_error *err;
	struct str path;
	struct str text;		/* of the innermost element */
	size_t starts[DEPTH_MAX];	/* length of path before each level */
	unsigned depth;
	bool complete;			/* the root element was closed */
	int error;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
stop(struct doc *d, int error)
{
	if (d->error == 0)
		d->error = error;
	xmlStopParser(d->ctxt);
}

static void
on_root(struct doc *d, const char *name)
{
	const struct kind *k;

	for (k = d->kinds; k->root != NULL; k++) {
		if (streq(k->root, name)) {
			d->kind = k;
			return;
		}
	}
	stop(d, -EPROTO);
}

static void
on_start(void *arg, const xmlChar *local, const xmlChar *prefix,
    const xmlChar *uri, int n_ns, const xmlChar **ns, int n_attrs,
    int n_defaulted, const xmlChar **attrs)
{
	struct doc *d = arg;
	const char *name = (const char *)local;

	(void)prefix;
	(void)uri;
	(void)n_ns;
	(void)ns;
	(void)n_attrs;
	(void)n_defaulted;
	(void)attrs;
	if (d->error != 0)
		return;
	if (d->depth == DEPTH_MAX) {
		stop(d, -EPROTO);
		return;
	}
	str_reset(&d->text);
	d->starts[d->depth] = d->path.len;
	if (d->depth == 0) {
		on_root(d, name);
	} else {
		if (d->depth > 1)
			str_addc(&d->path, '/');
		str_addf(&d->path, "%.*s", NAME_MAX_LEN, name);
	}
	d->depth++;
	if (str_error(&d->path) < 0)
		stop(d, -ENOMEM);
}

static void
on_end(void *arg, const xmlChar *local, const xmlChar *prefix,
    const xmlChar *uri)
{
	struct doc *d = arg;

	(void)local;
	(void)prefix;
	(void)uri;
	if (d->error != 0 || d->depth == 0)
		return;
	d->depth--;
	if (d->depth == 0) {
		d->complete = true;
		return;
	}
	if (str_error(&d->text) < 0) {
		stop(d, -ENOMEM);
		return;
	}
	d->kind->end(d, str_get(&d->path), str_get(&d->text));
	str_reset(&d->text);
	d->path.len = d->starts[d->depth];
	if (d->path.s != NULL)
		d->path.s[d->path.len] = '\0';
}

static void
on_text(void *arg, const xmlChar *text, int len)
{
	struct doc *d = arg;

	if (d->error != 0 || len <= 0)
		return;
	if (d->text.len + (size_t)len > TEXT_MAX) {
		stop(d, -EPROTO);
		return;
	}
	str_addn(&d->text, (const char *)text, (size_t)len);
}

static void
on_doctype(void *arg, const xmlChar *name, const xmlChar *external,
    const xmlChar *system)
{
	(void)name;
	(void)external;
	(void)system;
	stop(arg, -EPROTO);
}

static xmlEntityPtr
on_entity(void *arg, const xmlChar *name)
{
	xmlEntityPtr e = xmlGetPredefinedEntity(name);

	if (e == NULL)
		stop(arg, -EPROTO);
	return e;
}

static void
quiet(void *arg, const char *fmt, ...)
{
	(void)arg;
	(void)fmt;
}

/* Behind the first stop in [p, end), or NULL. */
static const char *
skip_to(const char *p, const char *end, const char *stop)
{
	const char *at = memmem(p, (size_t)(end - p), stop, strlen(stop));

	return at != NULL ? at + strlen(stop) : NULL;
}

/* Behind the tag that begins at p, or NULL if it is long or has no end. */
static const char *
skip_tag(const char *p, const char *end)
{
	char quote = '\0';

	for (end = p + MIN((size_t)(end - p), (size_t)TAG_MAX); p < end; p++) {
		if (quote != '\0')
			quote = *p == quote ? '\0' : quote;
		else if (*p == '"' || *p == '\'')
			quote = *p;
		else if (*p == '>')
			return p + 1;
	}
	return NULL;
}

static bool
begins(const char *p, const char *end, const char *text)
{
	return (size_t)(end - p) >= strlen(text) &&
	    memcmp(p, text, strlen(text)) == 0;
}

/*
 * libxml2 compares each attribute of an element with all others of it (before
 * version 2.12), so an element of some megabytes takes hours.
 */
static bool
tags_are_short(const char *p, size_t len)
{
	const char *end = p + len;

	while ((p = memchr(p, '<', (size_t)(end - p))) != NULL) {
		if (begins(p, end, "<![CDATA["))
			p = skip_to(p, end, "]]>");
		else if (begins(p, end, "<!--"))
			p = skip_to(p, end, "-->");
		else if (begins(p, end, "<?"))
			p = skip_to(p, end, "?>");
		else
			p = skip_tag(p, end);
		if (p == NULL)
			return false;
	}
	return true;
}

static int
parse(struct doc *d, const void *p, size_t len)
{
	const char *text = p;
	xmlSAXHandler sax;
	int rc;

	pthread_once(&once, xmlInitParser);
	/* Servers send blanks to keep a connection alive while they work. */
	for (; len > 0 && strchr(" \t\r\n", *text) != NULL && *text != '\0';
	     len--)
		text++;
	if (len == 0 || len > XML_SIZE_MAX || !tags_are_short(text, len))
		return -EPROTO;
	memset(&sax, 0, sizeof(sax));
	sax.initialized = XML_SAX2_MAGIC;
	sax.startElementNs = on_start;
	sax.endElementNs = on_end;
	sax.characters = on_text;
	sax.ignorableWhitespace = on_text;
	sax.cdataBlock = on_text;
	sax.internalSubset = on_doctype;
	sax.getEntity = on_entity;
	sax.warning = quiet;
	sax.error = quiet;
	d->ctxt = xmlCreatePushParserCtxt(&sax, d, NULL, 0, NULL);
	if (d->ctxt == NULL)
		return -ENOMEM;
	xmlCtxtUseOptions(d->ctxt, XML_PARSE_NONET | XML_PARSE_NOERROR |
	    XML_PARSE_NOWARNING | XML_PARSE_NOCDATA);
	rc = xmlParseChunk(d->ctxt, text, (int)len, 1);
	if (d->error == 0 && rc == XML_ERR_NO_MEMORY)
		d->error = -ENOMEM;
	if (d->error == 0 && (rc != 0 || !d->ctxt->wellFormed || !d->complete))
		d->error = -EPROTO;
	if (d->ctxt->myDoc != NULL)
		xmlFreeDoc(d->ctxt->myDoc);
	d->ctxt->myDoc = NULL;
	xmlFreeParserCtxt(d->ctxt);
	str_fini(&d->path);
	str_fini(&d->text);
	return d->error;
}

static void
copy(char *out, size_t size, const char *text)
{
	snprintf(out, size, "%s", text);
}

static void
error_end(struct doc *d, const char *path, const char *text)
{
	struct xml_error *e = d->err;

	if (streq(path, "Code"))
		copy(e->code, sizeof(e->code), text);
	else if (streq(path, "Message"))
		copy(e->message, sizeof(e->message), text);
	else if (streq(path, "RequestId"))
		copy(e->request_id, sizeof(e->request_id), text);
	else if (streq(path, "Region"))
		copy(e->region, sizeof(e->region), text);
}

#define ERROR_KIND {"Error", error_end}
#define END_KIND {NULL, NULL}

int
xml_error(const void *p, size_t len, struct xml_error *ret)
{
	static const struct kind kinds[] = {ERROR_KIND, END_KIND};
	struct doc d = {.kinds = kinds, .err = ret};

	memset(ret, 0, sizeof(*ret));
	return parse(&d, p, len);
}

/* State of a listing while it is read. */
struct listing {
	struct xml_page *page;
	struct xml_entry now;
	size_t size;		/* of page->entries */
	bool url_encoded;
	bool said_truncated;
};

static int
add_entry(struct listing *l)
{
	struct xml_page *p = l->page;
	struct xml_entry *grown;
	size_t size;

	if (p->n == ENTRIES_MAX)
		return -EPROTO;
	if (p->n == l->size) {
		size = MAX((size_t)64, l->size * 2);
		grown = reallocarray(p->entries, size, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		p->entries = grown;
		l->size = size;
	}
	p->entries[p->n++] = l->now;
	memset(&l->now, 0, sizeof(l->now));
	return 0;
}

static int
set_text(char **out, const char *text)
{
	free(*out);
	*out = strdup(text);
	return *out != NULL ? 0 : -ENOMEM;
}

static int
entry_end(struct listing *l, const char *name, const char *text)
{
	struct s3_object *o = &l->now.o;

	if (streq(name, "Key"))
		return set_text(&l->now.key, text);
	if (streq(name, "Size")) {
		l->now.has_size = num_u64(text, &o->size) == 0;
		return l->now.has_size ? 0 : -EPROTO;
	}
	if (streq(name, "LastModified") && clock_parse_iso(text, &o->mtime) < 0)
		o->mtime = 0;
	else if (streq(name, "ETag"))
		etag_set(o->etag, sizeof(o->etag), text);
	else if (streq(name, "StorageClass") && !streq(text, "STANDARD"))
		copy(o->storage_class, sizeof(o->storage_class), text);
	return 0;
}

static void
list_end(struct doc *d, const char *path, const char *text)
{
	struct listing *l = d->arg;
	int r = 0;

	if (str_starts(path, "Contents/")) {
		r = entry_end(l, path + strlen("Contents/"), text);
	} else if (streq(path, "Contents")) {
		r = add_entry(l);
	} else if (streq(path, "IsTruncated")) {
		l->said_truncated = true;
		l->page->truncated = streq(text, "true");
	} else if (streq(path, "NextContinuationToken") && text[0] != '\0') {
		r = set_text(&l->page->token, text);
	} else if (streq(path, "EncodingType")) {
		l->url_encoded = streq(text, "url");
	}
	if (r < 0)
		stop(d, r);
}

void
xml_page_fini(struct xml_page *p)
{
	size_t i;

	for (i = 0; i < p->n; i++)
		free(p->entries[i].key);
	free(p->entries);
	free(p->token);
	memset(p, 0, sizeof(*p));
}

static int
finish_list(struct listing *l)
{
	struct xml_page *p = l->page;
	size_t i;

	if (!l->said_truncated)
		p->truncated = p->token != NULL;
	if (!l->url_encoded)
		return 0;
	for (i = 0; i < p->n; i++)
		if (p->entries[i].key != NULL &&
		    url_decode(p->entries[i].key, true) < 0)
			return -EPROTO;
	return 0;
}

int
xml_list(const void *p, size_t len, struct xml_page *ret,
    struct xml_error *err)
{
	static const struct kind kinds[] = {
	    {"ListBucketResult", list_end}, ERROR_KIND, END_KIND};
	struct listing l = {.page = ret};
	struct doc d = {.kinds = kinds, .arg = &l, .err = err};
	int r;

	memset(ret, 0, sizeof(*ret));
	memset(err, 0, sizeof(*err));
	r = parse(&d, p, len);
	free(l.now.key);
	if (r == 0)
		r = d.kind == &kinds[0] ? finish_list(&l) : 1;
	if (r != 0)
		xml_page_fini(ret);
	return r;
}

struct deletion {
	xml_deleted_fn *fn;	/* NULL while the document is only checked */
	void *arg;
	struct str key, code, message;
};

static void
deleted_end(struct doc *d, const char *path, const char *text)
{
	struct deletion *x = d->arg;
	struct str *s = NULL;

	if (streq(path, "Error/Key"))
		s = &x->key;
	else if (streq(path, "Error/Code"))
		s = &x->code;
	else if (streq(path, "Error/Message"))
		s = &x->message;
	if (s != NULL) {
		str_reset(s);
		str_add(s, text);
		if (str_error(s) < 0)
			stop(d, -ENOMEM);
	} else if (streq(path, "Error")) {
		if (x->fn != NULL)
			x->fn(x->arg, str_get(&x->key), str_get(&x->code),
			    str_get(&x->message));
		str_reset(&x->key);
		str_reset(&x->code);
		str_reset(&x->message);
	}
}

int
xml_deleted(const void *p, size_t len, xml_deleted_fn *fn, void *arg,
    struct xml_error *err)
{
	static const struct kind kinds[] = {
	    {"DeleteResult", deleted_end}, ERROR_KIND, END_KIND};
	struct deletion x = {.fn = NULL, .arg = arg};
	struct doc d = {.kinds = kinds, .arg = &x, .err = err};
	bool is_error;
	int r;

	memset(err, 0, sizeof(*err));
	r = parse(&d, p, len);
	is_error = r == 0 && d.kind != &kinds[0];
	if (r == 0 && !is_error) {
		x.fn = fn;
		d = (struct doc){.kinds = kinds, .arg = &x, .err = err};
		r = parse(&d, p, len);
	}
	str_fini(&x.key);
	str_fini(&x.code);
	str_fini(&x.message);
	return is_error ? 1 : r;
}

static void
copied_end(struct doc *d, const char *path, const char *text)
{
	(void)d;
	(void)path;
	(void)text;
}

int
xml_copied(const void *p, size_t len, struct xml_error *err)
{
	static const struct kind kinds[] = {
	    {"CopyObjectResult", copied_end}, ERROR_KIND, END_KIND};
	struct doc d = {.kinds = kinds, .err = err};
	int r;

	memset(err, 0, sizeof(*err));
	r = parse(&d, p, len);
	if (r == 0 && d.kind != &kinds[0])
		return 1;
	return r;
}
