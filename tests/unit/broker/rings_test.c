/* SPDX-License-Identifier: Apache-2.0
 *
 * What waited for one commit is many, and then few again: the rings that were for
 * them go back to the system.  The store is the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/conn.h"
#include "broker/durable.h"
#include "broker/shard.h"
#include "core/keep.h"
#include "lone.h"

#define MANY 60000u

static struct shard *sh;
static struct session *s;
static struct conn *c;

static const struct link_ops ops = { .kick = lone_on_kick };

static int
begin(void **state)
{
	(void)state;
	if (lone_begin(1) || lone_kept("c", &s) || !(c = calloc(1, sizeof *c)))
		return -1;
	sh = lone.shard;
	c->shard = sh;
	c->state = CONN_LIVE;
	c->link.ops = &ops;
	c->link.version = MQTT5;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	session_free(s);
	lone_end();
	buf_fini(&c->link.out);
	free(c);
	return 0;
}

/* One commit of so many QoS 2 messages, and the turn after it. */
static void
commit(uint16_t n)
{
	uint64_t gate;

	durable_turn_begins(sh);
	for (uint16_t pid = 1; pid <= n; pid++) {
		received_keep(sh, s, pid);
		durable_promise(c, MQTT_PUBREC, pid, 0);
	}
	durable_turn(sh);
	assert_int_equal(lone.n_given, 1);
	assert_true(received_waits(sh, s, n, &gate));
	assert_int_equal(sh->durable.n, n);
	for (; lone.n_given > 0; durable_turn_begins(sh)) {
		lone_stored();
		durable_turn(sh);
	}
	while (durable_goes_on(&sh->durable)) {
		durable_turn_begins(sh);
		durable_turn(sh);
	}
	assert_false(received_waits(sh, s, n, &gate));
	assert_int_equal(sh->durable.n, 0);
}

static void
test_many(void **state)
{
	(void)state;
	commit(MANY);
	assert_null(sh->durable.v);
	assert_null(sh->durable.fresh);
	assert_int_equal(buf_len(&c->link.out), 4 * MANY);
	commit(3);
	assert_int_equal(buf_len(&c->link.out), 4 * (MANY + 3));
}

/* A turn each, while the disk hangs. */
static void
test_many_turns(void **state)
{
	(void)state;
	received_keep(sh, s, 1);
	for (uint32_t i = 0; i < MANY; i++) {
		durable_turn_begins(sh);
		durable_promise(c, MQTT_PUBREC, 1, 0);
		durable_turn(sh);
	}
	assert_int_equal(sh->durable.gate_n, MANY);
	lone_stored();
	do {
		durable_turn_begins(sh);
		durable_turn(sh);
	} while (durable_goes_on(&sh->durable));
	assert_int_equal(buf_len(&c->link.out), 4 * MANY);
	assert_null(sh->durable.gates);
	commit(3);
	assert_int_equal(buf_len(&c->link.out), 4 * (MANY + 3));
}

/* They would be had again at once. */
static void
test_few(void **state)
{
	(void)state;
	commit(1000);
	assert_non_null(sh->durable.v);
	assert_non_null(sh->durable.fresh);
}

/* To look at many is work. */
static void
test_looked(void **state)
{
	uint64_t gate;
	uint32_t had = sh->work;

	(void)state;
	for (uint16_t pid = 1; pid <= MANY; pid++)
		received_keep(sh, s, pid);
	assert_true(received_waits(sh, s, MANY, &gate));
	assert_int_equal(sh->work, had);
	assert_false(received_waits(sh, s, MANY + 1, &gate));
	assert_true(sh->work > had + 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_many, begin, end),
		cmocka_unit_test_setup_teardown(test_many_turns, begin, end),
		cmocka_unit_test_setup_teardown(test_few, begin, end),
		cmocka_unit_test_setup_teardown(test_looked, begin, end),
	};

	return cmocka_run_group_tests_name("rings", tests, NULL, NULL);
}
