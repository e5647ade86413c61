/* SPDX-License-Identifier: Apache-2.0
 *
 * What one commit leaves behind: acknowledgements of kept_turn messages a turn, in
 * their order, what is promised meanwhile behind them; and as many records are
 * forgotten.  The store is the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/conn.h"
#include "broker/durable.h"
#include "broker/shard.h"
#include "lone.h"
#include "store/batch.h"

#define EACH 4096u /* a turn */
#define MORE 10u   /* than a turn has room for */

static struct shard *sh;
static struct conn *c;
static uint64_t key;
static uint32_t promised;

static const struct link_ops ops = { .kick = lone_on_kick };

static int
begin(void **state)
{
	(void)state;
	key = promised = 0;
	if (lone_begin(1) || !(c = calloc(1, sizeof *c)))
		return -1;
	sh = lone.shard;
	c->shard = sh;
	c->state = CONN_LIVE;
	c->link.ops = &ops;
	c->link.version = MQTT311;
	assert_int_equal(sh->durable.kept_turn, KEPT_TURN);
	sh->durable.kept_turn = EACH;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	buf_fini(&c->link.out);
	free(c);
	lone_end();
	return 0;
}

/* n messages, each with its acknowledgement. */
static void
publish(uint32_t n)
{
	while (n-- > 0) {
		uint32_t at = UINT32_MAX;

		assert_int_equal(batch_queue(sh->durable.open,
				     &(struct store_entry){
					 .session = 1, .seq = ++key, .qos = 1 },
				     &at),
		    NJ_OK);
		durable_promise(
		    c, MQTT_PUBACK, (uint16_t)(promised++ % 65535 + 1), 0);
	}
}

/* All that has left, from the first. */
static uint32_t
sent(void)
{
	struct slice out = buf_slice(&c->link.out);

	assert_int_equal(out.n % 4, 0);
	for (size_t i = 0; out.p && i < out.n / 4; i++) {
		const uint8_t *p = out.p + i * 4;

		assert_int_equal(p[0], 0x40);
		assert_int_equal(p[2] << 8 | p[3], i % 65535 + 1);
	}
	return (uint32_t)(out.n / 4);
}

static void
next_turn(void)
{
	durable_turn_begins(sh);
	durable_turn(sh);
}

static void
test_in_portions(void **state)
{
	struct durable *d = &sh->durable;
	struct store_batch *b;

	(void)state;
	publish(2 * EACH + MORE);
	next_turn();
	assert_int_equal(lone.n_given, 1);
	b = lone.given[0];
	assert_int_equal(sent(), 0);
	assert_false(durable_goes_on(d));
	durable_turn_begins(sh);
	lone_stored();
	/* they are not had twice in a turn */
	durable_turn(sh);
	assert_int_equal(sent(), EACH);
	assert_int_equal(b->n, EACH + MORE);
	assert_true(d->under_way > 0);
	assert_true(durable_goes_on(d));
	/* the store need not wait for that */
	assert_int_equal(d->n_spare, BATCHES_OUT);
	/* some more wait behind those that are there, though they are on disk */
	publish(HOPE_RECS + 1);
	next_turn();
	assert_int_equal(sent(), 2 * EACH);
	assert_int_equal(b->n, MORE);
	assert_int_equal(lone.n_given, 1);
	durable_turn_begins(sh);
	lone_stored();
	durable_turn(sh);
	assert_int_equal(sent(), 2 * EACH + MORE + HOPE_RECS + 1);
	assert_null(d->written);
	assert_int_equal(d->under_way, 0);
	assert_int_equal(d->n_spare, BATCHES_OUT);
	assert_int_equal(c->link.held, 0);
	assert_false(durable_goes_on(d));
}

/* However many are on disk and not forgotten, what is new goes to the store. */
static void
test_store_goes_on(void **state)
{
	struct durable *d = &sh->durable;
	unsigned waiting = 0;

	(void)state;
	d->kept_turn = 1;
	for (unsigned i = 0; i < 2 * BATCHES_OUT; i++) {
		publish(HOPE_RECS + 1);
		next_turn();
		assert_int_equal(lone.n_given, 1);
		durable_turn_begins(sh);
		lone_stored();
	}
	for (struct store_batch *b = d->written; b; b = b->next)
		waiting++;
	assert_true(waiting > BATCHES_OUT);
	d->kept_turn = EACH;
	next_turn();
	assert_null(d->written);
	assert_int_equal(d->under_way, 0);
	assert_int_equal(d->n_spare, BATCHES_OUT);
	assert_int_equal(sent(), promised);
}

/* While the broker stops there may be no other turn. */
static void
test_all_at_the_end(void **state)
{
	(void)state;
	publish(EACH + MORE);
	sh->stopping = true;
	next_turn();
	assert_int_equal(lone.n_given, 1);
	lone_stored();
	assert_int_equal(sent(), EACH + MORE);
	assert_null(sh->durable.written);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_in_portions, begin, end),
		cmocka_unit_test_setup_teardown(test_store_goes_on, begin, end),
		cmocka_unit_test_setup_teardown(
		    test_all_at_the_end, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
