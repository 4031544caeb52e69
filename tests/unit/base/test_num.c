/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/num.h"

#include "../cm.h"

static void
little_endian_at_any_alignment(void **state)
{
	uint8_t b[9] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

	(void)state;
	assert_int_equal(get_le32(b + 1), 0x04030201);
	assert_int_equal(get_le64(b + 1), 0x0807060504030201ULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(little_endian_at_any_alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
