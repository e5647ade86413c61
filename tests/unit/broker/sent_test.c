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
#include <stdlib.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "broker/internal.h"
#include "broker/shard.h"
#include "core/keep.h"

static struct broker broker;
static struct shard *sh;
static struct index *ix;
static struct session *s;
static struct store_batch *given;
static char store;

void __wrap_store_submit(struct store *st, struct store_batch *b);
enum store_state __wrap_store_state(const struct store *st);

void
__wrap_store_submit(struct store *st, struct store_batch *b)
{
	assert_ptr_equal(st, &store);
	assert_null(given);
	given = b;
}

enum store_state
__wrap_store_state(const struct store *st)
{
	(void)st;
	return STORE_OK;
}

static int
begin(void **state)
{
	(void)state;
	if (!(sh = calloc(1, sizeof *sh)) ||
	    index_new(&(struct index_opts){ .shards = 2 }, &ix))
		return -1;
	broker = (struct broker){ .n = 2, .shards = sh };
	sh->broker = &broker;
	home_init(&sh->home, 0, ix);
	sh->home.now_ms = 1000;
	if (durable_init(sh, (struct store *)&store) ||
	    session_new(&sh->home, slice_str("a"), &s) ||
	    !(s->kept = calloc(1, sizeof *s->kept)))
		return -1;
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
	durable_fini(sh);
	timers_fini(&sh->home.timers);
	home_fini(&sh->home);
	index_free(ix);
	free(sh);
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
	assert_ptr_equal(given, open);
	durable_stored(sh, &given->letter);
	given = NULL;
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
