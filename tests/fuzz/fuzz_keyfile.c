/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fuzz.h"

#include <errno.h>
#include <string.h>

#include "crypt/secret.h"
#include "pbs/enc_key.h"
#include "pbs/keyfile.h"

/* Written and read again it is the same. */
static void
again(const struct keyfile *f, bool pretty)
{
	struct secret *text, *twice;
	const char *why;
	struct keyfile *g;

	FUZZ_CHECK(keyfile_write(f, pretty, &text) == 0);
	FUZZ_CHECK(keyfile_parse(text->p, text->len, &g, &why) == 0);
	FUZZ_CHECK(g->kdf == f->kdf && g->data->len == f->data->len);
	FUZZ_CHECK(memcmp(g->data->p, f->data->p, f->data->len) == 0);
	FUZZ_CHECK(keyfile_write(g, pretty, &twice) == 0);
	FUZZ_CHECK(twice->len == text->len &&
	    memcmp(twice->p, text->p, text->len) == 0);
	secret_free(twice);
	secret_free(text);
	keyfile_free(g);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
	const char *why = NULL;
	struct enc_key *k;
	struct keyfile *f;
	int r;

	r = keyfile_parse(p, len, &f, &why);
	FUZZ_CHECK(r == 0 || (r == -EBADMSG && why != NULL));
	if (r != 0)
		return 0;
	FUZZ_CHECK(f->data->len == (f->kdf == KEYFILE_NONE ? 32 : 64));
	FUZZ_CHECK(f->salt_len <= sizeof(f->salt));
	again(f, false);
	again(f, true);
	/* The others take their time by design. */
	if (f->kdf == KEYFILE_NONE) {
		r = keyfile_open(f, NULL, 0, &k);
		FUZZ_CHECK(r == 0 || r == -EBADMSG);
		if (r == 0)
			enc_key_unref(k);
	}
	keyfile_free(f);
	return 0;
}
