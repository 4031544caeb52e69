/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef S3_XML_H
#define S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#include "s3/s3.h"

/*
 * The documents of S3.  Pure; the only place that knows libxml2.  Document
 * type declarations and entities beyond the five of XML are refused, nothing is
 * ever fetched, size and depth are bounded, unknown elements are skipped.
 *
 * All return 0, -EPROTO for what is not a complete document of that kind (which
 * a second try may cure), -ENOMEM.
 */
#define XML_SIZE_MAX (16u << 20)

struct xml_error {
	char code[64];
	char message[256];
	char request_id[80];
	char region[64];
};

/** xml_error(p, len, ret): an <Error> document; missing parts are "". */
int xml_error(const void *p, size_t len, struct xml_error *ret);

struct xml_entry {
	char *key;		/* owned; decoded; NULL if there was none */
	struct s3_object o;
	bool has_size;
};

struct xml_page {
	struct xml_entry *entries;	/* owned */
	size_t n;
	char *token;		/* owned: NextContinuationToken, or NULL */
	bool truncated;		/* IsTruncated, or a token if it is absent */
};

/** xml_list(p, len, ret): a <ListBucketResult>; 1 and err for an <Error>. */
int xml_list(const void *p, size_t len, struct xml_page *ret,
    struct xml_error *err);
void xml_page_fini(struct xml_page *p);

/** xml_deleted(p, len, fn, arg, err): a <DeleteResult>; fn for each <Error> in
 * it; 1 and err if the document is an <Error>.  The same document may be read
 * twice: nothing is told before it is known to be complete. */
typedef void xml_deleted_fn(void *arg, const char *key, const char *code,
    const char *message);
int xml_deleted(const void *p, size_t len, xml_deleted_fn *fn, void *arg,
    struct xml_error *err);

/** xml_copied(p, len, err): a <CopyObjectResult>; 1 and err for an <Error>. */
int xml_copied(const void *p, size_t len, struct xml_error *err);

#endif
