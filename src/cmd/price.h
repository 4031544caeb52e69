/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_PRICE_H
#define CMD_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_counts;

/*
 * What requests and traffic cost in money.  Amounts are whole numbers of 1e-9
 * of the currency, and every product is rounded once, to the nearest: sums are
 * exact in that unit.  What would be too much for it stays at its largest.
 */
#define PRICE_UNIT ((uint64_t)1000000000)
/* A price is at most a million of the currency: no product of a part of a
 * thousand, or of a GiB, with it overflows. */
#define PRICE_MAX (1000000 * PRICE_UNIT)

struct prices {
	/* For 1000 requests.  A look at an object's head is as a GET, a copy
	 * as a PUT, as all providers have it. */
	uint64_t list, get, put, del;
	/* For each GiB received from the store, and sent to it. */
	uint64_t out, in;
};

/** price_parse(text, ret): "0.005", "12": digits, at most nine of them behind
 * the point.  0, -EINVAL, -ERANGE. */
int price_parse(const char *text, uint64_t *ret);

/** price_of(p, c): what these requests cost. */
uint64_t price_of(const struct prices *p, const struct store_counts *c);

#define PRICE_TEXT_MAX 32
/** price_exact(buf, amount): "0.0000199": all digits but zeros at the end.
 * price_short(buf, amount): for people: two digits behind the point, and below
 * 1 three that are no leading zeros. */
const char *price_exact(char buf[PRICE_TEXT_MAX], uint64_t amount);
const char *price_short(char buf[PRICE_TEXT_MAX], uint64_t amount);

#endif
