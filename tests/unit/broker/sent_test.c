/* SPDX-License-Identifier: Apache-2.0
 *
 * How far a client may know its entries goes to the disk in the order in which it was
 * recorded, also where it goes beside what waits for another shard: else the client
 * would be sent QoS 2 once more as new after a crash [MQTT-4.3.3-2].  The store is
 * the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "broker/internal.h"
#include "broker/shard.h"
#include "core/keep.h"
#include "lone.h"

static struct shard *sh;
static struct session *s;

static int
begin(void **state)
{
	(void)state;
	if (lone_begin(2) || lone_kept("a", &s))
		return -1;
	sh = lone.shard;
	*s->kept = (struct kept){
		.session = s, .id = 5, .next_key = 8, .last = 7, .sent = 600
	};
	return 0;
}

static int
end(void **state)
{
	(void)state;
	session_free(s);
	lone_end();
	return 0;
}

static void
its_client_goes_while_another_shard_is_waited_for(void **state)
{
	const struct store_batch *open = sh->durable.open;

	(void)state;
	assert_true(together_begin(sh));
	keep_left(s);
	/* not behind what its next connection records */
	assert_int_equal(sh->durable.keep.part->batch->n, 0);
	assert_int_equal(open->n, 1);
	assert_int_equal(open->v[0].kind, REC_SENT);
	assert_int_equal(open->v[0].session, 5);
	assert_int_equal(open->v[0].seq, 7);
	together_end(sh);
	assert_int_equal(s->kept->sent, 7);
	assert_int_equal(s->kept->sent_ticket, sh->durable.keep.ticket);
	durable_turn(sh);
	assert_int_equal(lone.n_given, 1);
	assert_ptr_equal(lone.given[0], open);
	lone_stored();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    its_client_goes_while_another_shard_is_waited_for, begin,
		    end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
