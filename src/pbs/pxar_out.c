/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_out.h"

#include <string.h>

#include "base/num.h"
#include "pbs/pxar_format.h"

void
pxar_out_flush(struct pxar_out *o)
{
	if (o->error == 0 && o->fill > 0)
		o->error = o->sink.write(o->sink.arg, o->buf, o->fill);
	o->fill = 0;
}

void
pxar_out_pass(struct pxar_out *o, const void *p, size_t len)
{
	pxar_out_flush(o);
	if (o->error == 0 && len > 0)
		o->error = o->sink.write(o->sink.arg, p, len);
	o->pos += len;
}

void
pxar_out_put(struct pxar_out *o, const void *p, size_t len)
{
	if (len > sizeof(o->buf) - o->fill)
		pxar_out_flush(o);
	if (len > sizeof(o->buf)) {
		pxar_out_pass(o, p, len);
		return;
	}
	if (len > 0)
		memcpy(o->buf + o->fill, p, len);
	o->fill += len;
	o->pos += len;
}

void
pxar_out_put32(struct pxar_out *o, uint32_t v)
{
	uint8_t b[4];

	put_le32(b, v);
	pxar_out_put(o, b, sizeof(b));
}

void
pxar_out_put64(struct pxar_out *o, uint64_t v)
{
	uint8_t b[8];

	put_le64(b, v);
	pxar_out_put(o, b, sizeof(b));
}

void
pxar_out_head(struct pxar_out *o, uint64_t type, uint64_t len)
{
	pxar_out_put64(o, type);
	pxar_out_put64(o, PXAR_HEADER_SIZE + len);
}

void
pxar_out_text(struct pxar_out *o, uint64_t type, const char *text, size_t len)
{
	pxar_out_head(o, type, len + 1);
	pxar_out_put(o, text, len);
	pxar_out_put(o, "", 1);
}
