/* SPDX-License-Identifier: Apache-2.0
 *
 * What is sent again after a start: in the order in which an earlier life of the broker
 * sent it [MQTT-4.6.0-1], also where the identifier of one is not its own, so that it is
 * in memory already and what was sent before it is read from the disk only now.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/keep.h"
#include "core/session.h"
#include "core/tail.h"
#include "lone.h"

#define OTHER 16389 /* the identifier of entry 6 */

static struct session *s;
static struct link client;
static struct msg *m;
static uint16_t sent[16]; /* identifiers */
static uint8_t first[16]; /* bytes of them */
static unsigned n_sent;

static void
on_fail(struct link *l)
{
	(void)l;
	fail_msg("there is memory");
}

/* All that is recorded is on disk at once. */
static void
on_later(struct link *l, enum mqtt_type type, uint16_t id, enum mqtt_rc code)
{
	(void)l;
	(void)type;
	(void)code;
	s->home->keep->busy = false;
	session_send_held(s, id);
}

static const struct link_ops ops = { .kick = lone_on_kick,
	.flush = lone_on_flush,
	.fail = on_fail,
	.later = on_later };

/* PUBLISH to "t", empty, in MQTT 3.1.1, or PUBREL. */
static void
look(void)
{
	struct slice out = buf_slice(&client.out);

	while (out.p && out.n > 0) {
		size_t at = out.p[0] >> 4 == MQTT_PUBLISH ? 5 : 2;

		assert_true(n_sent < 16);
		first[n_sent] = out.p[0];
		sent[n_sent++] = (uint16_t)(out.p[at] << 8 | out.p[at + 1]);
		assert_true(out.n >= 2u + out.p[1]);
		out = slice_of(out.p + 2 + out.p[1], out.n - 2 - out.p[1]);
	}
	buf_truncate(&client.out, 0);
}

static void
in_flight(uint64_t key, uint16_t pid, enum delivery_state state)
{
	struct delivery d = { .key = key,
		.pid = pid,
		.qos = 2,
		.rec = UINT32_MAX,
		.state = state & 3 };

	if (state != DELIVERY_WAIT_PUBCOMP)
		d.msg = msg_ref(m);
	assert_int_equal(inflight_restore(&s->out, &d), NJ_OK);
}

/* The page that the store would bring. */
static void
page(uint64_t from, uint64_t upto)
{
	struct delivery v[16];
	uint32_t n = 0;

	for (uint64_t key = from; key < upto; key++)
		if (key != 6)
			v[n++] = (struct delivery){ .msg = msg_ref(m),
				.key = key,
				.qos = 2,
				.rec = UINT32_MAX };
	s->kept->reading = true;
	tail_page(s, v, n, from, upto);
}

/* An earlier life sent entries 4 to 7, of which 6 has another identifier than its
 * own, and had PUBREC for entry 3. */
static int
begin(void **state)
{
	(void)state;
	if (lone_begin_with(1, &s, &m))
		return -1;
	*s->kept = (struct kept){ .session = s,
		.id = 5,
		.next_key = 10,
		.sent = 600,
		.sent_before = 600,
		.known = 7,
		.tail_n = 5,
		.tail_bytes = 5,
		.tail_from = 4 };
	in_flight(3, 3, DELIVERY_WAIT_PUBCOMP);
	in_flight(6, OTHER, DELIVERY_WAIT_PUBREC);
	client = (struct link){ .ops = &ops, .window = 16, .version = MQTT311 };
	n_sent = 0;
	return session_attach(s, &client);
}

static int
end(void **state)
{
	(void)state;
	session_detach(s);
	session_free(s);
	link_fini(&client);
	batch_clear(lone.shard->durable.open);
	lone_end();
	assert_int_equal(atomic_load(&m->refs), 1);
	msg_unref(m);
	return 0;
}

static void
check(const uint16_t *pids, unsigned n)
{
	look();
	assert_int_equal(n_sent, n);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(sent[i], pids[i]);
}

static void
in_order(void **state)
{
	static const uint16_t pids[] = { 3, 4, 5, OTHER, 7, 8, 9 };

	(void)state;
	session_pump(s);
	check(pids, 1);
	assert_int_equal(first[0] >> 4, MQTT_PUBREL);
	page(4, 5);
	check(pids, 2);
	page(5, 10);
	check(pids, 7);
	/* those that may have been sent have DUP, and no others */
	for (unsigned i = 1; i < 7; i++)
		assert_int_equal(first[i], i < 5 ? 0x3c : 0x34);
}

/* Nothing overtakes what waits for the window. */
static void
in_order_of_the_window(void **state)
{
	static const uint16_t pids[] = { 3, 4, 5, OTHER, 7, 8, 9 };

	(void)state;
	client.window = 1;
	session_pump(s);
	page(4, 10);
	for (unsigned i = 0; i < 7; i++) {
		check(pids, i + 1);
		if (i > 0)
			(void)session_pubrec(s, pids[i], 0);
		session_pubcomp(s, pids[i]);
	}
}

/* What was to be read before it has expired, or is not there any more. */
static void
nothing_is_before_it(void **state)
{
	static const uint16_t pids[] = { 3, OTHER };

	(void)state;
	s->kept->tail_n = 2;
	session_pump(s);
	check(pids, 1);
	s->kept->reading = true;
	tail_page(s, NULL, 0, 4, 10);
	check(pids, 2);
}

/* The client goes and comes again. */
static void
back(void)
{
	look();
	session_detach(s);
	n_sent = 0;
	assert_int_equal(session_attach(s, &client), NJ_OK);
	session_pump(s);
}

/* On the next connection all of it is in flight, and in that order still, */
static void
once_more(void **state)
{
	static const uint16_t pids[] = { 3, 4, 5, OTHER, 7, 8, 9 };

	(void)state;
	session_pump(s);
	page(4, 10);
	back();
	check(pids, 7);
}

/* or some of it, which came into memory behind what was sent later. */
static void
once_more_of_some(void **state)
{
	static const uint16_t pids[] = { 3, 4, 5, OTHER, 7, 8, 9 };

	(void)state;
	session_pump(s);
	page(4, 5);
	back();
	check(pids, 2);
	page(5, 10);
	check(pids, 7);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_order, begin, end),
		cmocka_unit_test_setup_teardown(
		    in_order_of_the_window, begin, end),
		cmocka_unit_test_setup_teardown(
		    nothing_is_before_it, begin, end),
		cmocka_unit_test_setup_teardown(once_more, begin, end),
		cmocka_unit_test_setup_teardown(once_more_of_some, begin, end),
	};

	return cmocka_run_group_tests_name("broker again", tests, NULL, NULL);
}
