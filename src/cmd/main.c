/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>

int
main(void)
{
	fputs("pbs3fs: no command\n", stderr);
	return 2;
}
