/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/lock.h"

#include "../cm.h"

struct shared {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int value;
};

static void *
add_many(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < 20000; i++) {
		LOCK(&s->lock);
		s->value++;
	}
	return NULL;
}

static void
scope_lock_excludes(void **state)
{
	struct shared s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t t[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, add_many, &s), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(s.value, 80000);
	assert_int_equal(pthread_mutex_trylock(&s.lock), 0);
	pthread_mutex_unlock(&s.lock);
}

static void *
set_later(void *arg)
{
	struct shared *s = arg;

	usleep(20000);
	LOCK(&s->lock);
	s->value = 1;
	pthread_cond_signal(&s->wake);
	return NULL;
}

static void
waits_end(void **state)
{
	struct shared s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	uint64_t begin = clock_mono_ms();
	pthread_t t;

	(void)state;
	assert_int_equal(cond_init(&s.wake), 0);
	pthread_mutex_lock(&s.lock);
	assert_int_equal(cond_wait_until(&s.wake, &s.lock, deadline_in(50)),
	    -ETIMEDOUT);
	assert_in_range(clock_mono_ms() - begin, 49, 20000);
	assert_int_equal(cond_wait_until(&s.wake, &s.lock, 1), -ETIMEDOUT);

	assert_int_equal(pthread_create(&t, NULL, set_later, &s), 0);
	while (s.value == 0)
		assert_int_equal(cond_wait_until(&s.wake, &s.lock,
		    deadline_in(30000)), 0);
	pthread_mutex_unlock(&s.lock);
	pthread_join(t, NULL);

	s.value = 0;
	assert_int_equal(pthread_create(&t, NULL, set_later, &s), 0);
	pthread_mutex_lock(&s.lock);
	while (s.value == 0)
		assert_int_equal(cond_wait_until(&s.wake, &s.lock, 0), 0);
	pthread_mutex_unlock(&s.lock);
	pthread_join(t, NULL);
	pthread_cond_destroy(&s.wake);
}

static void
cleanup_disarms(void **state)
{
	_cleanup_free_ char *a = malloc(3);
	char *b = steal(&a);

	(void)state;
	assert_null(a);
	assert_non_null(b);
	free(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(scope_lock_excludes),
	    cmocka_unit_test(waits_end),
	    cmocka_unit_test(cleanup_disarms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
