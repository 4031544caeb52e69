/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef PBS_SIPHASH_H
#define PBS_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/** siphash_24(k0, k1, p, len): SipHash-2-4 with a 64-bit result. */
uint64_t siphash_24(uint64_t k0, uint64_t k1, const void *p, size_t len);

#endif
