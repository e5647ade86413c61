/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "base/workers.h"

#define JOBS 2000

static atomic_uint ran;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void
count(struct job *j)
{
	(void)j;
	atomic_fetch_add(&ran, 1);
}

static void
wait_for_gate(struct job *j)
{
	(void)pthread_mutex_lock(&gate);
	(void)pthread_mutex_unlock(&gate);
	count(j);
}

static void
count_and_free(struct job *j)
{
	count(j);
	free(j);
}

/* Ending runs what is queued. */
static void
workers_run_all(void **state)
{
	struct workers *w = NULL;

	(void)state;
	atomic_store(&ran, 0);
	assert_int_equal(workers_new(0, 1, &w), NJ_INVALID);
	assert_int_equal(workers_new(3, JOBS, &w), NJ_OK);
	for (unsigned i = 0; i < JOBS; i++) {
		struct job *j = calloc(1, sizeof *j);

		assert_non_null(j);
		j->run = count_and_free;
		assert_int_equal(workers_submit(w, j), NJ_OK);
	}
	workers_free(w);
	workers_free(NULL);
	assert_int_equal(atomic_load(&ran), JOBS);
}

static void
workers_bound_the_queue(void **state)
{
	struct job held = { .run = wait_for_gate }, jobs[3];
	struct workers *w = NULL;
	unsigned full = 0;

	(void)state;
	atomic_store(&ran, 0);
	assert_int_equal(workers_new(1, 2, &w), NJ_OK);
	(void)pthread_mutex_lock(&gate);
	assert_int_equal(workers_submit(w, &held), NJ_OK);
	for (unsigned i = 0; i < 3; i++) {
		jobs[i].run = count;
		full += workers_submit(w, &jobs[i]) == NJ_FULL;
	}
	/* the held one may or may not have left the queue yet */
	assert_in_range(full, 1, 2);
	(void)pthread_mutex_unlock(&gate);
	workers_free(w);
	assert_int_equal(atomic_load(&ran), 4 - full);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_run_all),
		cmocka_unit_test(workers_bound_the_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
