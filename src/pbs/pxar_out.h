/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_PXAR_OUT_H
#define PBS_PXAR_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "pbs/pxar_writer.h"

/*
 * Bytes on their way to the sink, gathered so that it gets few calls.  The
 * first error stays; what is written after it goes nowhere.
 */
#define PXAR_OUT_SIZE 8192
struct pxar_out {
	struct pxar_sink sink;	/* its arg is borrowed */
	int error;
	uint64_t pos;		/* of the next byte in the stream */
	size_t fill;		/* bytes of buf */
	uint8_t buf[PXAR_OUT_SIZE];
};

void pxar_out_put(struct pxar_out *o, const void *p, size_t len);
void pxar_out_put32(struct pxar_out *o, uint32_t v);
void pxar_out_put64(struct pxar_out *o, uint64_t v);
/** pxar_out_head(o, type, len): the header of a record with that content. */
void pxar_out_head(struct pxar_out *o, uint64_t type, uint64_t len);
/** pxar_out_text(o, type, text, len): a record of a text and its NUL. */
void pxar_out_text(struct pxar_out *o, uint64_t type, const char *text,
    size_t len);
/** pxar_out_flush(o): gives everything to the sink. */
void pxar_out_flush(struct pxar_out *o);
/** pxar_out_pass(o, p, len): flushes, and gives these bytes uncopied. */
void pxar_out_pass(struct pxar_out *o, const void *p, size_t len);

#endif
