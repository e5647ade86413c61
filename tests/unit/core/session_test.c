/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/session.h"

#define A_TURN (FORGET_TURN * FORGET_QUEUED)
#define TURNS  3u

static bool no_memory;

void *__real_malloc(size_t n);
void *__wrap_malloc(size_t n);

void *
__wrap_malloc(size_t n)
{
	return no_memory ? NULL : __real_malloc(n);
}

/* A session, and a message for it. */
struct place {
	struct index *ix;
	struct home h;
	struct session *s;
	struct msg *m;
};

static void
begin(struct place *x)
{
	const struct publish p = { .qos = 1 };

	*x = (struct place){ 0 };
	assert_int_equal(
	    index_new(&(struct index_opts){ .shards = 1 }, &x->ix), NJ_OK);
	home_init(&x->h, 0, x->ix);
	assert_int_equal(msg_new(&p, slice_str("a"), 0, &x->m), NJ_OK);
	assert_int_equal(session_new(&x->h, slice_str("c"), &x->s), NJ_OK);
}

static void
queue(struct place *x)
{
	struct delivery d = { .msg = msg_ref(x->m), .qos = 1 };

	assert_int_equal(session_requeue(x->s, &d), NJ_OK);
}

static void
finish(struct place *x)
{
	assert_int_equal(atomic_load(&x->m->refs), 1);
	msg_unref(x->m);
	home_fini(&x->h);
	index_free(x->ix);
}

/* What waited for a session that has ended goes in pieces: millions at once
 * would hold up the shard. */
static void
long_queue_goes_in_pieces(void **state)
{
	struct place x;
	unsigned turns = 0;

	(void)state;
	begin(&x);
	for (unsigned i = 0; i < TURNS * A_TURN + 1; i++)
		queue(&x);
	session_free(x.s);
	assert_int_equal(x.h.counts.queued, 0);
	assert_int_equal(x.h.counts.queued_bytes, 0);
	assert_null(session_find(&x.h, slice_str("c")));
	assert_int_equal(atomic_load(&x.m->refs), 1 + (TURNS - 1) * A_TURN + 1);
	for (; x.h.ending; turns++)
		home_end_some(&x.h, false);
	assert_int_equal(turns, TURNS);
	finish(&x);
}

/* A short one does at once. */
static void
short_queue_goes_at_once(void **state)
{
	struct place x;

	(void)state;
	begin(&x);
	queue(&x);
	session_free(x.s);
	assert_null(x.h.ending);
	finish(&x);
}

/* Nor does a client that comes back to millions of expired messages, or to some
 * that it does not take. */
static void
kick(struct link *l)
{
	l->kicked = true;
}

static void
no_flush(struct link *l)
{
	(void)l;
}

static const struct link_ops ops = { .kick = kick, .flush = no_flush };

static unsigned
pump_all(struct place *x, struct link *l)
{
	unsigned turns = 0;

	l->ops = &ops;
	l->version = MQTT5;
	l->window = 10;
	l->soft = 1 << 20;
	assert_int_equal(session_attach(x->s, l), NJ_OK);
	session_pump(x->s);
	/* more of it in the same turn changes nothing */
	session_pump(x->s);
	for (; x->s->queue.n > 0; turns++) {
		assert_int_equal(x->h.overdue.n, 1);
		assert_in_range(turns, 0, TURNS);
		home_end_some(&x->h, false);
		overdue_retry(&x->h);
	}
	assert_int_equal(x->h.overdue.n, 0);
	session_detach(x->s);
	session_free(x->s);
	link_fini(l);
	return turns;
}

static void
expired_queue_goes_in_pieces(void **state)
{
	struct link l = { 0 };
	struct place x;

	(void)state;
	begin(&x);
	x.m->expires_at = 1;
	for (unsigned i = 0; i < TURNS * SKIP_TURN - 1; i++)
		queue(&x);
	x.h.now_ms = 2;
	assert_int_equal(pump_all(&x, &l), TURNS - 1);
	assert_int_equal(x.h.counts.expired, TURNS * SKIP_TURN - 1);
	assert_int_equal(x.h.counts.queued, 0);
	finish(&x);
}

static void
too_large_queue_goes_in_pieces(void **state)
{
	struct link l = { .max_packet = 2 };
	struct place x;

	(void)state;
	begin(&x);
	for (unsigned i = 0; i < TURNS * SKIP_TURN - 1; i++)
		queue(&x);
	assert_int_equal(pump_all(&x, &l), TURNS - 1);
	assert_int_equal(x.h.counts.dropped, TURNS * SKIP_TURN - 1);
	finish(&x);
}

#define MIXED 24 /* which fill their blocks */

static void
put(void *arg, struct delivery *d)
{
	uint64_t *to = arg;

	to[to[0]++] = d->key;
	delivery_fini(d);
}

/* What stays keeps its place in the queue, and needs no memory to do so; before, it was
 * put behind what came next. */
static void
what_came_by_a_group_is_taken(void **state)
{
	uint64_t taken[MIXED + 1] = { 1 }, left[MIXED + 1] = { 1 };
	struct delivery d;
	struct place x;
	uint64_t bytes;

	(void)state;
	begin(&x);
	for (uint64_t i = 1; i <= MIXED; i++) {
		d = (struct delivery){ .msg = msg_ref(x.m),
			.key = i,
			.qos = 1,
			.share = (uint8_t)(i % 3) };
		assert_int_equal(session_requeue(x.s, &d), NJ_OK);
	}
	bytes = x.s->queue.bytes;
	no_memory = true;
	session_take_shared(x.s, 1, false, put, taken);
	no_memory = false;
	assert_int_equal(x.h.overdue.n, 0);
	assert_int_equal(x.h.counts.queued, MIXED - MIXED / 3);
	assert_int_equal(x.h.counts.queued_bytes, bytes - bytes / 3);
	while (session_dequeue(x.s, &d))
		put(left, &d);
	assert_int_equal(taken[0], 1 + MIXED / 3);
	assert_int_equal(left[0], 1 + MIXED - MIXED / 3);
	for (unsigned i = 0; i < MIXED / 3; i++) {
		assert_int_equal(taken[1 + i], 3 * i + 1);
		assert_int_equal(left[1 + 2 * i], 3 * i + 2);
		assert_int_equal(left[2 + 2 * i], 3 * i + 3);
	}
	assert_int_equal(x.h.counts.queued, 0);
	assert_int_equal(x.h.counts.queued_bytes, 0);
	session_free(x.s);
	finish(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_queue_goes_in_pieces),
		cmocka_unit_test(short_queue_goes_at_once),
		cmocka_unit_test(expired_queue_goes_in_pieces),
		cmocka_unit_test(too_large_queue_goes_in_pieces),
		cmocka_unit_test(what_came_by_a_group_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
