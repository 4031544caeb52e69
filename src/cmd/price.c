/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/price.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "store/store.h"

#define DIGITS 9	/* of PRICE_UNIT */

int
price_parse(const char *text, uint64_t *ret)
{
	size_t whole = strspn(text, "0123456789"), part = 0;
	uint64_t v = 0;

	if (text[whole] == '.')
		part = strspn(text + whole + 1, "0123456789");
	if (whole == 0 || text[whole + (text[whole] == '.') + part] != '\0' ||
	    (text[whole] == '.' && part == 0))
		return -EINVAL;
	if (part > DIGITS)
		return -ERANGE;
	for (size_t i = 0; i < whole; i++) {
		v = v * 10 + (uint64_t)(text[i] - '0');
		if (v > PRICE_MAX / PRICE_UNIT)
			return -ERANGE;
	}
	for (size_t i = 0; i < DIGITS; i++)
		v = v * 10 +
		    (i < part ? (uint64_t)(text[whole + 1 + i] - '0') : 0);
	if (v > PRICE_MAX)
		return -ERANGE;
	*ret = v;
	return 0;
}

static void
add(uint64_t *sum, uint64_t v)
{
	if (__builtin_add_overflow(*sum, v, sum))
		*sum = UINT64_MAX;
}

/* a * b, or as much as there can be. */
static uint64_t
times(uint64_t a, uint64_t b)
{
	uint64_t v;

	return __builtin_mul_overflow(a, b, &v) ? UINT64_MAX : v;
}

static void
add_requests(uint64_t *sum, uint64_t n, uint64_t price)
{
	add(sum, times(n / 1000, price));
	add(sum, (n % 1000 * price + 500) / 1000);
}

/* In two steps, since a part of a GiB times a price may have 80 bits. */
static void
add_bytes(uint64_t *sum, uint64_t bytes, uint64_t price)
{
	uint64_t rest = bytes % GIB;

	add(sum, times(bytes / GIB, price));
	add(sum, rest * (price / GIB));
	add(sum, (rest * (price % GIB) + GIB / 2) / GIB);
}

uint64_t
price_of(const struct prices *p, const struct store_counts *c)
{
	uint64_t sum = 0;

	add_requests(&sum, c->requests[STORE_LIST], p->list);
	add_requests(&sum, c->requests[STORE_GET] + c->requests[STORE_STAT],
	    p->get);
	add_requests(&sum, c->requests[STORE_PUT] + c->requests[STORE_COPY],
	    p->put);
	add_requests(&sum, c->requests[STORE_DELETE], p->del);
	add_bytes(&sum, c->bytes_read, p->out);
	add_bytes(&sum, c->bytes_written, p->in);
	return sum;
}

const char *
price_exact(char buf[PRICE_TEXT_MAX], uint64_t amount)
{
	int n = snprintf(buf, PRICE_TEXT_MAX, "%" PRIu64 ".%09" PRIu64,
	    amount / PRICE_UNIT, amount % PRICE_UNIT);

	while (n > 0 && buf[n - 1] == '0' && buf[n - 2] != '.')
		buf[--n] = '\0';
	return buf;
}

const char *
price_short(char buf[PRICE_TEXT_MAX], uint64_t amount)
{
	uint64_t step = PRICE_UNIT / 100;	/* of the last digit shown */
	int n, shown = 2;

	if (amount > 0 && amount < PRICE_UNIT)
		do {
			shown++;
			step /= 10;
		} while (shown < DIGITS && amount < step * 100);
	if (amount <= UINT64_MAX - step / 2)
		amount += step / 2;
	n = snprintf(buf, PRICE_TEXT_MAX, "%" PRIu64 ".%09" PRIu64,
	    amount / PRICE_UNIT, amount % PRICE_UNIT);
	buf[n - DIGITS + shown] = '\0';
	return buf;
}
