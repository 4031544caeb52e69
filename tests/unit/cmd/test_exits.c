/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/exits.h"

#include <errno.h>

#include "base/num.h"
#include "repo/repo.h"

#include "../cm.h"

static void
a_store_that_does_not_answer(void **state)
{
	static const int errs[] = {
	    EAGAIN, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH,
	    ENETDOWN, ENETUNREACH, ETIMEDOUT,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		assert_true(repo_is_outage(-errs[i]));
		assert_int_equal(exits_of(-errs[i]), EXIT_UNREACHABLE);
	}
}

/* Somebody answered: what is kept from an earlier time must not stand in. */
static void
a_store_that_answers_otherwise(void **state)
{
	static const struct {
		int err, status;
	} errs[] = {
	    {0, EXIT_OK}, {EACCES, EXIT_DENIED}, {EBADE, EXIT_DAMAGED},
	    {EBADMSG, EXIT_DAMAGED}, {EDQUOT, EXIT_LIMIT}, {EIO, EXIT_FAILED},
	    {EKEYREJECTED, EXIT_UNREACHABLE}, {ENOENT, EXIT_FAILED},
	    {ENOKEY, EXIT_DENIED}, {EPERM, EXIT_DENIED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		assert_false(repo_is_outage(-errs[i].err));
		assert_int_equal(exits_of(-errs[i].err), errs[i].status);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_store_that_does_not_answer),
	    cmocka_unit_test(a_store_that_answers_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
