/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "draft/publish.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "draft/draft_priv.h"
#include "pbs/enc_key.h"

enum crypt_mode
publish_mode(const struct draft *d)
{
	const struct drafts_opts *o = &d->all->opts;

	if (o->key == NULL)
		return CRYPT_NONE;
	return o->sign_only ? CRYPT_SIGN : CRYPT_ENCRYPT;
}

static bool
is_encrypted(const struct manifest *m)
{
	for (size_t i = 0; i < m->n_files; i++)
		if (m->files[i].crypt == CRYPT_ENCRYPT)
			return true;
	return false;
}

static bool
is_same_key(const struct manifest *m, const struct enc_key *k)
{
	char text[FINGERPRINT_LEN + 1];

	fingerprint_format(enc_key_fingerprint(k), text);
	return m->key_fingerprint == NULL || streq(m->key_fingerprint, text);
}

void
publish_tell_crypt(const struct draft *d)
{
	_cleanup_(manifest_unrefp) struct manifest *m = NULL;
	_cleanup_(str_fini) struct str title = {0};
	const enum crypt_mode mode = publish_mode(d);
	bool was;

	/* Who cannot tell what was cannot tell what changes. */
	if (base_time(d->base) == 0 || base_manifest(d->base, 0, &m) < 0)
		return;
	was = is_encrypted(m);
	publish_title(d, &title);
	if (was && mode != CRYPT_ENCRYPT)
		log_warn("%s: the new snapshot is not encrypted, the one "
		    "before it is\nhint: crypt=encrypt", str_get(&title));
	else if (!was && mode == CRYPT_ENCRYPT)
		log_info("%s: encrypted from now on: what is in the store is "
		    "read, encrypted, and uploaded anew", str_get(&title));
	else if (was && !is_same_key(m, d->all->opts.key))
		log_info("%s: encrypted with another key from now on: what is "
		    "in the store is read, encrypted, and uploaded anew",
		    str_get(&title));
}
