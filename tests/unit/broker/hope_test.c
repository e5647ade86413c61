/* SPDX-License-Identifier: Apache-2.0
 *
 * What is kept back for a moment, as its receivers may acknowledge it first, and
 * how seldom that is tried where it is in vain.  The clock is the test's, and the
 * store.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "broker/shard.h"
#include "lone.h"
#include "store/batch.h"

static struct shard *sh;
static uint64_t key;

static int
begin(void **state)
{
	(void)state;
	key = 0;
	if (lone_begin(1))
		return -1;
	sh = lone.shard;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	lone_stored();
	lone_end();
	return 0;
}

/* A message comes; its place in the batch. */
static uint32_t
come(uint8_t qos)
{
	uint32_t at = UINT32_MAX;

	assert_int_equal(
	    batch_queue(sh->durable.open,
		&(struct store_entry){ .session = 1, .seq = ++key, .qos = qos },
		&at),
	    NJ_OK);
	return at;
}

/* The last one is acknowledged. */
static void
acknowledge(uint32_t at)
{
	assert_int_equal(
	    batch_cancel(sh->durable.open, at, 1, key), BATCH_HAD_ENTRY);
}

static void
test_acknowledged_in_time(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		uint64_t ticket = sh->durable.keep.ticket;
		uint32_t at = come(1);

		lone_turn(0);
		lone_turn(HOPE_MS - 1);
		assert_int_equal(lone.n_given, 0);
		assert_true(sh->durable.keep.done < ticket);
		acknowledge(at);
		lone_turn(0);
		/* nothing is left to be written: who waits for it goes on */
		assert_true(sh->durable.keep.done >= ticket);
		lone_turn(HOPE_MS);
		assert_int_equal(lone.n_given, 0);
	}
}

static void
test_in_vain(void **state)
{
	uint64_t tried = 0, messages = 0;

	(void)state;
	/* which is found out with ever fewer of them */
	while (messages < 4 * (1u << HOPE_LOST)) {
		(void)come(1);
		messages++;
		lone_turn(0);
		if (lone.n_given == 0) {
			tried++;
			lone_turn(HOPE_MS - 1);
			assert_int_equal(lone.n_given, 0);
			lone_turn(1);
		}
		assert_int_equal(lone.n_given, 1);
		lone_stored();
		lone_turn(1);
	}
	/* 4, 16, 64, 256, and 1,024 between two */
	assert_int_equal(tried, 1 + HOPE_LOST / 2 + 2);
	/* each that is not in vain makes up for a half of one that was */
	sh->durable.skips = 0;
	for (unsigned i = 0; i < HOPE_LOST; i++) {
		uint32_t at = come(1);

		lone_turn(0);
		acknowledge(at);
		lone_turn(0);
	}
	assert_int_equal(sh->durable.lost, 0);
}

static void
fill(const char *what)
{
	uint32_t at = UINT32_MAX;

	if (strcmp(what, "QoS 2") == 0)
		(void)come(2);
	else if (strcmp(what, "many") == 0)
		for (unsigned i = 0; i <= HOPE_RECS; i++)
			(void)come(1);
	else if (strcmp(what, "state") == 0)
		assert_int_equal(
		    batch_queue_state(sh->durable.open, 1, 1, 7, 1, &at),
		    NJ_OK);
	else
		assert_int_equal(
		    batch_sub_end(sh->durable.open, 1, slice_str("a")), NJ_OK);
}

static void
test_not_at_all(void **state)
{
	static const char *const rows[] = { "QoS 2", "many", "state",
		"subscription" };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		fill(rows[i]);
		lone_turn(0);
		assert_int_equal(lone.n_given, 1);
		lone_stored();
		lone_turn(1);
	}
	/* the next commit waits for that of what is with the store */
	fill("QoS 2");
	lone_turn(0);
	(void)come(1);
	lone_turn(0);
	assert_int_equal(lone.n_given, 2);
	lone_stored();
	/* nor at the end */
	sh->stopping = true;
	(void)come(1);
	lone_turn(0);
	assert_int_equal(lone.n_given, 1);
}

/* What comes meanwhile and cannot vanish takes the rest along. */
static void
test_ends_early(void **state)
{
	(void)state;
	(void)come(1);
	lone_turn(0);
	assert_int_equal(lone.n_given, 0);
	fill("subscription");
	lone_turn(0);
	assert_int_equal(lone.n_given, 1);
	assert_int_equal(lone.given[0]->live, 2);
	assert_int_equal(sh->durable.lost, 2);
	lone_stored();
	/* and the moment is over with it */
	assert_int_equal(timers_wait_ms(&sh->home.timers, sh->home.now_ms), -1);
}

/* While the store has something the places of what was acknowledged stay: they are no
 * more than there is memory for. */
static void
test_places(void **state)
{
	const uint64_t most = KEEP_BYTES / sizeof(struct store_rec);
	uint64_t n;

	(void)state;
	(void)come(2);
	lone_turn(0);
	assert_int_equal(lone.n_given, 1);
	for (n = 0; n < most; n++) {
		assert_false(durable_behind(sh));
		acknowledge(come(1));
	}
	assert_true(durable_behind(sh));
	lone_turn(IDLE_MS);
	assert_true(durable_behind(sh));
	assert_int_equal(lone.n_given, 1);
	lone_stored();
	lone_turn(0);
	assert_false(durable_behind(sh));
	assert_int_equal(lone.n_given, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_acknowledged_in_time, begin, end),
		cmocka_unit_test_setup_teardown(test_in_vain, begin, end),
		cmocka_unit_test_setup_teardown(test_not_at_all, begin, end),
		cmocka_unit_test_setup_teardown(test_ends_early, begin, end),
		cmocka_unit_test_setup_teardown(test_places, begin, end),
	};

	return cmocka_run_group_tests_name("broker hope", tests, NULL, NULL);
}
