/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "core/queue.h"

#define MOST   5000u /* more than several of the largest blocks */
#define ROUNDS 400u

struct model {
	struct queue q;
	struct rng rng;
	struct msg *msg;  /* all have this one */
	uint64_t in, out; /* keys are those from out + 1 to in */
};

static int
set_up(void **state)
{
	static struct model t;
	struct publish p = { .qos = 1 };

	t = (struct model){ .in = 0 };
	rng_seed(&t.rng, 7);
	*state = &t;
	return msg_new(&p, slice_str("a"), 0, &t.msg) == NJ_OK ? 0 : -1;
}

static int
tear_down(void **state)
{
	struct model *t = *state;

	queue_clear(&t->q);
	assert_null(t->q.first);
	msg_unref(t->msg);
	return 0;
}

static uint64_t
below(struct model *t, uint64_t n)
{
	return rng_next(&t->rng) % n;
}

static uint8_t
qos_of(uint64_t key)
{
	return key % 3 == 0 ? 0 : 1;
}

static void
check(const struct model *t)
{
	uint32_t n0 = 0;

	for (uint64_t k = t->out + 1; k <= t->in; k++)
		n0 += qos_of(k) == 0;
	assert_int_equal(t->q.n, t->in - t->out);
	assert_int_equal(t->q.n0, n0);
	if (t->q.n > 0)
		assert_int_equal(queue_first(&t->q)->key, t->out + 1);
	else
		assert_null(queue_first(&t->q));
}

static void
push(struct model *t)
{
	struct delivery d = { .msg = msg_ref(t->msg),
		.key = ++t->in,
		.qos = qos_of(t->in),
		.share = (uint8_t)(t->in % 5) };

	assert_int_equal(queue_push(&t->q, &d), NJ_OK);
}

static void
pop(struct model *t)
{
	struct delivery d;
	bool some = t->in > t->out;

	assert_int_equal(queue_pop(&t->q, &d), some);
	if (!some)
		return;
	assert_int_equal(d.key, ++t->out);
	delivery_fini(&d);
}

/* What comes leaves in order, however the queue grows and shrinks. */
static void
in_order(void **state)
{
	struct model *t = *state;

	for (unsigned round = 0; round < ROUNDS; round++) {
		/* small ones as often as large ones */
		uint64_t most = 1 + below(t, 1 + MOST / (1 + round % 97));

		for (uint64_t n = below(t, most); n > 0; n--)
			if (t->in - t->out < MOST)
				push(t);
		check(t);
		for (uint64_t n = below(t, most + 1); n > 0; n--)
			pop(t);
		check(t);
	}
	while (t->in > t->out)
		pop(t);
	check(t);
}

/* One comes, one goes: that takes no more than one block ever. */
static void
one_at_a_time(void **state)
{
	struct model *t = *state;

	push(t);
	for (unsigned i = 0; i < 3 * MOST; i++) {
		push(t);
		assert_ptr_equal(t->q.first, t->q.last);
		pop(t);
	}
	check(t);
}

static void
share_forgotten(void **state)
{
	struct model *t = *state;
	struct delivery d;

	for (unsigned i = 0; i < MOST; i++)
		push(t);
	for (unsigned i = 0; i < 100; i++)
		pop(t);
	queue_forget_share(&t->q, 3);
	while (queue_pop(&t->q, &d)) {
		unsigned was = (unsigned)(d.key % 5);

		assert_int_equal(d.share, was == 3 ? 0 : was);
		delivery_fini(&d);
	}
}

static uint64_t *taken;
static unsigned n_taken, most_taken;

/* Of each five the first few. */
static bool
takes(void *arg, struct delivery *d)
{
	const uint64_t *few = arg;

	if (d->key % 5 >= *few)
		return false;
	assert_true(n_taken < most_taken);
	taken[n_taken++] = d->key;
	delivery_fini(d);
	return true;
}

/* What is left, and what comes behind it, leaves in order, as does what is taken. */
static void
sift(struct model *t, unsigned n, uint64_t few)
{
	uint64_t first = t->out + 1, key = first;
	uint32_t n0 = 0, left = 0, i = 0;
	struct delivery d;

	for (unsigned k = 0; k < n; k++)
		push(t);
	n_taken = 0;
	most_taken = t->q.n;
	taken = calloc(most_taken + 1, sizeof *taken);
	assert_non_null(taken);
	queue_sift(&t->q, takes, &few);
	for (; key <= t->in; key++)
		if (key % 5 < few) {
			assert_true(i < n_taken);
			assert_int_equal(taken[i++], key);
		} else {
			left++;
			n0 += qos_of(key) == 0;
		}
	assert_int_equal(i, n_taken);
	assert_int_equal(t->q.n, left);
	assert_int_equal(t->q.n0, n0);
	assert_int_equal(t->q.bytes,
	    left * delivery_size(&(struct delivery){ .msg = t->msg }));
	free(taken);
	for (unsigned k = 0; k < n; k++)
		push(t);
	for (key = first; key <= t->in; key++)
		if (key > t->in - n || key % 5 >= few) {
			assert_true(queue_pop(&t->q, &d));
			assert_int_equal(d.key, key);
			delivery_fini(&d);
		}
	t->out = t->in;
	check(t);
}

static void
sifted(void **state)
{
	struct model *t = *state;

	for (unsigned n = 0; n < 100; n++)
		for (uint64_t few = 0; few <= 5; few++) {
			/* from the midst of a block, too */
			for (unsigned k = 0; k < n % 7; k++)
				push(t);
			for (unsigned k = 0; k < n % 6; k++)
				pop(t);
			sift(t, n, few);
		}
	for (uint64_t few = 0; few <= 5; few++)
		sift(t, MOST, few);
	/* of a large block with nothing in it nothing stays */
	for (unsigned k = 0; k < MOST; k++)
		push(t);
	for (unsigned k = 1; k < MOST; k++)
		pop(t);
	assert_non_null(t->q.first);
	sift(t, 0, 5);
	assert_null(t->q.first);
}

/* The oldest behind those up to a key leaves; those and what is behind stay in order. */
static void
popped_above(void **state)
{
	struct model *t = *state;
	struct delivery d = { .msg = t->msg };
	uint64_t size = delivery_size(&d), n, key;

	for (unsigned k = 0; k < 5; k++)
		push(t);
	for (unsigned k = 0; k < 5; k++)
		pop(t);
	assert_null(queue_above(&t->q, 0));
	assert_false(queue_pop_above(&t->q, 0, &d));
	for (unsigned round = 0; round < 60; round++) {
		uint64_t known = t->out + round;

		for (n = 0; n < 50; n++)
			push(t);
		for (key = known + 1; key <= t->in; key++) {
			assert_int_equal(queue_above(&t->q, known)->key, key);
			assert_true(queue_pop_above(&t->q, known, &d));
			assert_int_equal(d.key, key);
			delivery_fini(&d);
			assert_int_equal(t->q.bytes, t->q.n * size);
			assert_int_equal(queue_first(&t->q) != NULL,
			    round + t->in - key > 0);
		}
		assert_false(queue_pop_above(&t->q, known, &d));
		/* what is left are those before it */
		n = t->in;
		t->in = known < n ? known : n;
		check(t);
		while (t->out < t->in)
			pop(t);
		assert_int_equal(t->q.n, 0);
		t->in = t->out = n;
	}
	/* one without a key is not among those */
	push(t);
	push(t);
	queue_first(&t->q)->key = 0;
	assert_true(queue_pop_above(&t->q, t->in, &d));
	assert_int_equal(d.key, 0);
	delivery_fini(&d);
	assert_null(queue_above(&t->q, t->in));
	t->out++;
	pop(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(in_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    one_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    share_forgotten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(sifted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
		    popped_above, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
