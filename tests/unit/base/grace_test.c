/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/grace.h"
#include "base/rand.h"

static unsigned freed;

static void
count(void *p)
{
	assert_null(p);
	freed++;
}

static struct grace *
make(unsigned seats)
{
	struct grace *g = NULL;

	freed = 0;
	assert_int_equal(grace_new(seats, &g), NJ_OK);
	return g;
}

static void
retire(struct grace *g, unsigned seat, unsigned n)
{
	while (n-- > 0)
		assert_true(grace_retire(g, seat, count, NULL, 10));
}

static void
grace_alone(void **state)
{
	struct grace *g = make(1);

	(void)state;
	grace_enter(g, 0);
	retire(g, 0, 100);
	assert_int_equal(freed, 0);
	assert_int_equal(grace_waits(g, 0), 0);
	grace_turn(g, 0);
	assert_int_equal(freed, 100);
	assert_int_equal(grace_waits(g, 0), 0);
	grace_free(g);
}

/* Whoever sat when the turn ended has to end his own. */
static void
grace_waits_for_readers(void **state)
{
	struct grace *g = make(4);

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		grace_enter(g, i);
	retire(g, 0, 40);
	grace_turn(g, 0);
	grace_turn(g, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, 0);
	assert_int_equal(grace_waits(g, 0), 400);
	retire(g, 0, 1); /* of a later epoch */
	grace_turn(g, 0);
	assert_int_equal(grace_waits(g, 0), 410);
	grace_turn(g, 2);
	assert_int_equal(freed, 0);
	grace_turn(g, 0);
	assert_int_equal(freed, 40);
	assert_int_equal(grace_waits(g, 0), 10);
	grace_turn(g, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, 41);
	grace_free(g);
}

static void
grace_waits_for_nobody_who_is_away(void **state)
{
	struct grace *g = make(2);

	(void)state;
	grace_enter(g, 0);
	retire(g, 0, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, 1);
	grace_enter(g, 1);
	retire(g, 0, 1);
	grace_leave(g, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, 2);
	/* sits before the turn ends: may have seen it */
	retire(g, 0, 1);
	grace_enter(g, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, 2);
	grace_enter(g, 1); /* sits already */
	grace_turn(g, 0);
	assert_int_equal(freed, 2);
	grace_leave(g, 1);
	grace_enter(g, 1); /* has come to that epoch */
	grace_turn(g, 0);
	assert_int_equal(freed, 3);
	grace_free(g);
}

/* Neither a pause when much can be freed at once, nor a heap that grows. */
static void
grace_frees_in_portions(void **state)
{
	struct grace *g = make(2);

	(void)state;
	grace_enter(g, 0);
	grace_enter(g, 1);
	for (unsigned i = 0; i < 3; i++) {
		retire(g, 0, GRACE_FREES);
		grace_turn(g, 0);
	}
	assert_int_equal(freed, 0);
	grace_turn(g, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, GRACE_FREES);
	retire(g, 0, 1000);
	grace_turn(g, 0);
	assert_int_equal(freed, 2 * GRACE_FREES + 1000);
	grace_turn(g, 1);
	grace_turn(g, 0);
	assert_int_equal(freed, 3 * GRACE_FREES + 1000);
	assert_int_equal(grace_waits(g, 0), 0);
	grace_free(g);
}

static void
grace_frees_what_is_left(void **state)
{
	struct grace *g = make(2);

	(void)state;
	grace_enter(g, 0);
	grace_enter(g, 1);
	retire(g, 0, 70);
	grace_turn(g, 0);
	retire(g, 0, 7);
	retire(g, 1, 5);
	grace_free(g);
	assert_int_equal(freed, 82);
	grace_free(NULL);
}

/* Threads that read what others replace.  Nothing but the epochs orders a read
 * and the end of what was read. */
#define READERS 4
#define SLOTS	8
#define TURNS	20000
#define LIVES	0x600dbeefu

struct thing {
	unsigned lives;
};

struct reader {
	struct grace *g;
	unsigned seat;
	pthread_t thread;
};

static _Atomic(struct thing *) slots[SLOTS];
static atomic_uint things;

static struct thing *
thing_new(void)
{
	struct thing *t = malloc(sizeof *t);

	assert_non_null(t);
	t->lives = LIVES;
	atomic_fetch_add_explicit(&things, 1, memory_order_relaxed);
	return t;
}

static void
thing_free(void *p)
{
	struct thing *t = p;

	assert_int_equal(t->lives, LIVES);
	t->lives = 0;
	free(t);
	atomic_fetch_sub_explicit(&things, 1, memory_order_relaxed);
}

static void *
read_and_replace(void *arg)
{
	struct reader *r = arg;
	struct rng rng;

	rng_seed(&rng, r->seat);
	for (unsigned i = 0; i < TURNS; i++) {
		struct thing *seen[SLOTS];

		grace_enter(r->g, r->seat);
		for (unsigned k = 0; k < SLOTS; k++)
			seen[k] = atomic_load_explicit(
			    &slots[k], memory_order_acquire);
		for (unsigned k = rng_next(&rng) % 3; k > 0; k--)
			assert_true(grace_retire(r->g, r->seat, thing_free,
			    atomic_exchange_explicit(
				&slots[rng_next(&rng) % SLOTS], thing_new(),
				memory_order_release),
			    sizeof(struct thing)));
		for (unsigned k = 0; k < SLOTS; k++)
			assert_int_equal(seen[k]->lives, LIVES);
		grace_turn(r->g, r->seat);
		if (rng_next(&rng) % 4 == 0)
			grace_leave(r->g, r->seat);
	}
	grace_leave(r->g, r->seat);
	return NULL;
}

static void
grace_among_threads(void **state)
{
	static struct reader readers[READERS];
	struct grace *g = make(READERS);

	(void)state;
	for (unsigned i = 0; i < SLOTS; i++)
		atomic_init(&slots[i], thing_new());
	for (unsigned i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .g = g, .seat = i };
		assert_int_equal(pthread_create(&readers[i].thread, NULL,
				     read_and_replace, &readers[i]),
		    0);
	}
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
	grace_free(g);
	for (unsigned i = 0; i < SLOTS; i++)
		thing_free(atomic_load(&slots[i]));
	assert_int_equal(atomic_load(&things), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grace_alone),
		cmocka_unit_test(grace_waits_for_readers),
		cmocka_unit_test(grace_waits_for_nobody_who_is_away),
		cmocka_unit_test(grace_frees_in_portions),
		cmocka_unit_test(grace_frees_what_is_left),
		cmocka_unit_test(grace_among_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
