/* SPDX-License-Identifier: Apache-2.0
 *
 * A client that comes and goes while nothing can be written leaves one record of its
 * session, and of how far it knows its messages, in the shard's batch: the last.
 * What goes to the disk with another shard's is not overtaken by that.  The store is
 * the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "broker/internal.h"
#include "broker/retaining.h"
#include "broker/sessions.h"
#include "broker/shard.h"
#include "core/keep.h"
#include "lone.h"

static struct shard *sh;
static struct session *s, *other;

static int
begin(void **state)
{
	(void)state;
	if (lone_begin(2) || lone_kept("a", &s) || lone_kept("b", &other))
		return -1;
	sh = lone.shard;
	s->kept->id = 5;
	s->kept->next_key = 8;
	other->kept->id = 6;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	session_free(s);
	session_free(other);
	lone_end();
	return 0;
}

static void
record(struct session *of, uint32_t expiry_s)
{
	of->expiry_s = expiry_s;
	sessions_keep_who(sh, of);
	assert_false(sh->durable.keep.failed);
	assert_true(sh->durable.keep.dirty);
	sh->durable.keep.dirty = false;
}

static void
holds(uint32_t at, uint64_t session, uint32_t expiry_s)
{
	const struct store_batch *open = sh->durable.open;

	assert_true(at < open->n);
	assert_int_equal(open->v[at].kind, REC_SESSION);
	assert_int_equal(open->v[at].session, session);
	assert_int_equal(open->v[at].expiry_s, expiry_s);
}

static void
answer(void)
{
	assert_int_equal(lone.n_given, 1);
	lone_stored();
}

static void
one_of_each(void **state)
{
	const struct store_batch *open = sh->durable.open;

	(void)state;
	for (uint32_t i = 1; i <= 100; i++) {
		record(s, i);
		record(other, 1000 + i);
		s->kept->last = 7;
		s->kept->sent = 600;
		keep_left(s);
	}
	assert_int_equal(open->n, 3);
	assert_int_equal(open->live, 3);
	holds(0, 5, 100);
	holds(1, 6, 1100);
	assert_int_equal(open->v[2].kind, REC_SENT);
	assert_int_equal(open->v[2].seq, 7);
	/* the next batch has its own, though places of the last are known */
	durable_turn(sh);
	assert_ptr_equal(lone.given[0], open);
	record(other, 3);
	record(s, 4);
	assert_int_equal(sh->durable.open->n, 2);
	holds(0, 6, 3);
	holds(1, 5, 4);
	assert_int_equal(open->v[0].expiry_s, 100);
	answer();
	durable_turn(sh);
	answer();
}

/* What was recorded with another shard's comes to the disk behind what the batch had
 * by then: what comes later is behind that. */
static void
with_another_shards(void **state)
{
	struct durable *d = &sh->durable;
	unsigned spare = d->n_spare;

	(void)state;
	d->n_spare = 0; /* nothing can be written */
	record(s, 1);
	assert_true(together_begin(sh));
	record(s, 2);
	together_end(sh);
	assert_int_equal(d->open->n, 1);
	/* while that is waited for */
	record(s, 3);
	record(s, 4);
	holds(0, 5, 1);
	durable_turn(sh);
	assert_int_equal(d->open->n, 4);
	holds(3, 5, 2);
	record(s, 5);
	record(s, 6);
	assert_int_equal(d->open->n, 5);
	holds(3, 5, 2);
	holds(4, 5, 6);
	d->n_spare = spare;
	durable_turn(sh);
	answer();
}

/* A will waits for room: nothing else may wake the shard when there is some. */
static void
looks_for_room(void **state)
{
	struct durable *d = &sh->durable;
	struct list will;

	(void)state;
	lone_turn(0);
	assert_int_equal(d->look.at, 0);
	lone.state = STORE_FULL;
	list_push(&d->wills, &will);
	lone_turn(0);
	assert_int_not_equal(d->look.at, 0);
	list_remove(&will);
}

/* Of 10,000 topics the last change is there once, whatever its length; what that takes
 * counts, and goes when there is room. */
static void
one_of_each_topic(void **state)
{
	static char topic[UINT16_MAX + 1];
	struct durable *d = &sh->durable;

	(void)state;
	lone_turn(0);
	lone.state = STORE_FULL;
	lone_turn(0);
	memset(topic, 't', UINT16_MAX);
	for (uint64_t order = 1; order <= 40000; order++) {
		unsigned n = (unsigned)(order % 10000);

		(void)snprintf(topic, 6, "%05u", n);
		topic[5] = 't';
		retaining_keep(sh, order,
		    slice_of(
			topic, n % 100 ? 5 + n % 70 : UINT16_MAX - n / 100),
		    NULL);
		assert_false(d->keep.failed);
	}
	assert_int_equal(d->open->n, 10000);
	for (uint32_t i = 0; i < 10000; i++)
		assert_int_equal(d->open->v[i].seq, 30001 + i);
	assert_true(d->places_bytes > 100 * UINT16_MAX);
	d->keep.dirty = false;
	lone.state = STORE_OK;
	lone_turn(0);
	assert_int_equal(d->places_bytes, 0);
	assert_null(d->places);
	assert_int_equal(d->retained.n, 0);
	lone_stored();
}

static struct msg *
message(const char *topic, uint32_t n)
{
	const struct publish p = { .payload = slice_of("0123456789", n),
		.retain = true };
	struct msg *m;

	assert_int_equal(msg_new(&p, slice_str(topic), 0, &m), NJ_OK);
	return m;
}

static void
disk_is_full(void)
{
	lone.state = STORE_FULL;
	lone_turn(0);
	assert_true(sh->durable.keep.stuck);
}

/* A message in the place of another, of the end of one, and the end of one: each counts
 * as long as it is the last, and has its own place among all changes. */
static void
the_last_of_a_topic(void **state)
{
	struct durable *d = &sh->durable;
	const struct store_batch *open = d->open;

	(void)state;
	disk_is_full();
	for (uint64_t order = 1; order <= 30; order++) {
		struct msg *m = order % 3 ? message("t", 1 + order % 7) : NULL;

		retaining_keep(sh, order, slice_str("t"), m);
		assert_int_equal(open->n, 1);
		assert_int_equal(
		    open->v[0].kind, m ? REC_RETAIN : REC_RETAIN_END);
		assert_ptr_equal(open->v[0].msg, m);
		assert_int_equal(open->v[0].seq, order);
		assert_int_equal(open->bytes, sizeof open->v[0] + (m ? 0 : 1));
		assert_int_equal(d->keep.bytes, m ? msg_size(m) : 0);
		if (m)
			msg_unref(m);
	}
	/* there is room: others are behind it */
	lone.state = STORE_OK;
	d->n_spare = 0;
	lone_turn(0);
	retaining_keep(sh, 31, slice_str("t"), NULL);
	retaining_keep(sh, 32, slice_str("t"), NULL);
	assert_int_equal(open->n, 3);
	d->n_spare = BATCHES_OUT;
	d->keep.dirty = false;
	lone_turn(0);
	answer();
}

/* What goes with another shard's takes no place of the shard's own changes, nor has one
 * there. */
static void
a_topic_with_another_shards(void **state)
{
	static const char *const topics[] = { "a", "b", "b", "a", "b" };
	struct durable *d = &sh->durable;
	const struct store_batch *part;

	(void)state;
	disk_is_full();
	for (unsigned i = 0; i < 5; i++) {
		struct msg *m = message(topics[i], 1);

		if (i == 2)
			assert_true(together_begin(sh));
		retaining_keep(sh, i + 1, slice_str(topics[i]), m);
		if (i == 3) {
			part = d->keep.part->batch;
			assert_int_equal(part->n, 2);
			for (unsigned k = 0; k < 2; k++)
				assert_int_equal(part->v[k].seq, 3 + k);
			assert_int_equal(d->keep.part->bytes, 2 * msg_size(m));
			together_end(sh);
		}
		msg_unref(m);
	}
	assert_int_equal(d->open->n, 2);
	assert_int_equal(d->open->v[0].seq, 1);
	assert_int_equal(d->open->v[1].seq, 5);
	d->keep.dirty = false;
	lone.state = STORE_OK;
	lone_turn(0);
	answer();
}

/* Nor has one a place where it stood in another batch. */
static void
a_topic_with_the_next_batch(void **state)
{
	struct durable *d = &sh->durable;

	(void)state;
	disk_is_full();
	retaining_keep(sh, 1, slice_str("a"), NULL);
	retaining_keep(sh, 2, slice_str("b"), NULL);
	lone_turn(0);
	assert_int_equal(lone.n_given, 1);
	retaining_keep(sh, 3, slice_str("b"), NULL);
	retaining_keep(sh, 4, slice_str("a"), NULL);
	retaining_keep(sh, 5, slice_str("b"), NULL);
	assert_int_equal(lone.given[0]->n, 2);
	assert_int_equal(d->open->n, 2);
	assert_int_equal(d->open->v[0].seq, 5);
	assert_int_equal(d->open->v[1].seq, 4);
	lone_stored();
	lone_turn(0);
	answer();
}

#define WILLS 2500

/* When there is room, some are recorded in a turn; the next follows at once. */
static void
wills_in_portions(void **state)
{
	static struct session *has[WILLS];
	struct durable *d = &sh->durable;
	struct msg *m = message("w", 1);
	unsigned turns = 0;
	char id[8];

	(void)state;
	for (unsigned i = 0; i < WILLS; i++) {
		struct session_will *w = calloc(1, sizeof *w);

		assert_non_null(w);
		(void)snprintf(id, sizeof id, "w%u", i);
		assert_int_equal(
		    session_new(&sh->home, slice_str(id), &has[i]), NJ_OK);
		w->session = has[i];
		w->msg = msg_ref(m);
		has[i]->will = w;
		list_push(&d->wills, &w->unkept);
	}
	disk_is_full();
	assert_false(durable_goes_on(d));
	lone.state = STORE_OK;
	do {
		uint64_t had = d->keep.messages;

		durable_turn_begins(sh);
		lone_turn(0);
		assert_true(d->keep.messages > had);
		turns++;
	} while (durable_goes_on(d));
	assert_int_equal(d->keep.messages, WILLS);
	assert_true(turns > 1);
	assert_true(list_empty(&d->wills));
	lone_stored();
	durable_turn(sh);
	lone_stored();
	for (unsigned i = 0; i < WILLS; i++)
		session_free(has[i]);
	msg_unref(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_of_each, begin, end),
		cmocka_unit_test_setup_teardown(looks_for_room, begin, end),
		cmocka_unit_test_setup_teardown(one_of_each_topic, begin, end),
		cmocka_unit_test_setup_teardown(
		    the_last_of_a_topic, begin, end),
		cmocka_unit_test_setup_teardown(
		    a_topic_with_another_shards, begin, end),
		cmocka_unit_test_setup_teardown(
		    a_topic_with_the_next_batch, begin, end),
		cmocka_unit_test_setup_teardown(wills_in_portions, begin, end),
		cmocka_unit_test_setup_teardown(
		    with_another_shards, begin, end),
	};

	return cmocka_run_group_tests_name("broker comings", tests, NULL, NULL);
}
