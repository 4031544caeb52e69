/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "crypt/secret.h"
#include "pbs/enc_key.h"

/*
 * Format document section 5.1: only what Proxmox Backup knows, keys sorted, no
 * white space.  Names and ids hold no character that JSON would escape, or the
 * manifest would not have been parsed.
 */
static void
canonical(const struct manifest *m, struct str *out)
{
	char hex[DIGEST_HEX_LEN + 1];

	str_addf(out, "{\"backup-id\":\"%s\",\"backup-time\":%" PRId64
	    ",\"backup-type\":\"%s\",\"files\":[", m->id, m->time,
	    backup_type_name(m->type));
	for (size_t i = 0; i < m->n_files; i++) {
		const struct manifest_file *f = &m->files[i];

		str_addf(out, "%s{\"crypt-mode\":\"%s\",\"csum\":\"%s\","
		    "\"filename\":\"%s\",\"size\":%" PRIu64 "}",
		    i > 0 ? "," : "", crypt_mode_name(f->crypt),
		    digest_hex(&f->csum, hex), f->name, f->size);
	}
	str_add(out, "]}");
}

int
manifest_sign(const struct manifest *m, const struct enc_key *k,
    struct digest *ret)
{
	_cleanup_(str_fini) struct str text = {0};

	canonical(m, &text);
	if (str_error(&text) < 0)
		return -ENOMEM;
	*ret = enc_key_sign(k, str_get(&text), text.len);
	return 0;
}

int
manifest_verify(const struct manifest *m, const struct enc_key *k)
{
	char is[DIGEST_HEX_LEN + 1];
	struct digest d;
	int r;

	if (m->key_fingerprint != NULL &&
	    (fingerprint_parse(m->key_fingerprint, &d) < 0 ||
	    !digest_eq(&d, enc_key_fingerprint(k))))
		return -EKEYREJECTED;
	if (m->signature == NULL)
		return 1;
	r = manifest_sign(m, k, &d);
	if (r < 0)
		return r;
	digest_hex(&d, is);
	return strlen(m->signature) == DIGEST_HEX_LEN &&
	    secret_equal(m->signature, is, DIGEST_HEX_LEN) ? 0 : -EBADMSG;
}
