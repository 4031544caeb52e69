/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/nearest.h"

#include <string.h>

#include "base/num.h"

#define NAME_MAX_LEN 40

unsigned
nearest_distance(const char *a, const char *b)
{
	/* Optimal string alignment: this row of the table and two above. */
	unsigned rows[3][NAME_MAX_LEN + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > NAME_MAX_LEN || m > NAME_MAX_LEN)
		return n == m && strcmp(a, b) == 0 ? 0 : NAME_MAX_LEN;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *row = rows[i % 3];
		const unsigned *up = rows[(i + 2) % 3];
		const unsigned *up2 = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned d = up[j - 1] + (a[i - 1] != b[j - 1]);

			d = MIN(d, up[j] + 1);
			d = MIN(d, row[j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				d = MIN(d, up2[j - 2] + 1);
			row[j] = d;
		}
	}
	return rows[n % 3][m];
}

void
nearest_init(struct nearest *n, const char *wanted)
{
	size_t len = strlen(wanted);

	n->wanted = wanted;
	n->best = NULL;
	/* The first distance that is too far: a third of the word is wrong. */
	n->distance = (unsigned)MIN(len, (size_t)12) / 3 + 2;
}

void
nearest_offer(struct nearest *n, const char *name)
{
	unsigned d = nearest_distance(n->wanted, name);

	/* A word that was only begun is near, too. */
	if (strlen(n->wanted) >= 3 &&
	    strncmp(n->wanted, name, strlen(n->wanted)) == 0)
		d = MIN(d, 1);
	if (d < n->distance) {
		n->distance = d;
		n->best = name;
	}
}
