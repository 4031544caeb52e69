/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "writing.h"

#include <stdlib.h>

struct mk_bytes out;

int
gather(void *arg, const void *p, size_t len)
{
	mk_put(arg, p, len);
	return 0;
}

struct pxar_writer *
begin(int version)
{
	struct pxar_sink sink = {gather, &out};
	struct pxar_writer *w;

	free(out.p);
	memset(&out, 0, sizeof(out));
	assert_int_equal(pxar_writer_new(version, &sink, &w), 0);
	assert_int_equal(pxar_writer_size(w), 0);
	assert_int_equal(pxar_writer_root(w, DIR), 0);
	return w;
}

int
tear_down(void **state)
{
	(void)state;
	free(out.p);
	memset(&out, 0, sizeof(out));
	return 0;
}
