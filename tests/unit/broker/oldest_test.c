/* SPDX-License-Identifier: Apache-2.0
 *
 * The oldest of a queue that is on disk only makes place for what goes to the disk
 * with another shard's: that it does is recorded with the shard's own, in whose order
 * the queue is read, and what is not on disk yet is not the oldest.  The store is the
 * test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "broker/internal.h"
#include "core/tail.h"
#include "lone.h"

#define FIRST 50u /* key of the queue's */

static struct shard *sh;
static struct session *s;
static struct msg *m;

/* A client that is away, for which n wait, of which an earlier life may have sent it so
 * many; as many as the limit, besides those. */
static void
queue(uint64_t n, uint64_t known)
{
	*s->kept = (struct kept){ .session = s,
		.id = 5,
		.next_key = FIRST + n,
		.known = known ? FIRST + known - 1 : 0,
		.known_n = known,
		.tail_n = n,
		.tail_bytes = n * delivery_size(&(struct delivery){ .msg = m }),
		.tail_from = FIRST };
	sh->home.limits.max_queued = n - known;
}

static int
begin(void **state)
{
	(void)state;
	if (lone_begin_with(2, &s, &m))
		return -1;
	sh = lone.shard;
	sh->home.limits.drop_policy = DROP_OLDEST;
	return 0;
}

static int
end(void **state)
{
	(void)state;
	s->kept->tail_n = 0;
	session_free(s);
	lone_end();
	msg_unref(m);
	return 0;
}

static void
deliver(void)
{
	session_deliver(s, &(struct delivery){ .msg = m, .qos = 2 });
}

static void
all_is_on_disk(void)
{
	durable_turn(sh);
	assert_int_equal(lone.n_given, 1);
	lone_stored();
	assert_int_equal(s->kept->n_unsure, 0);
}

/* The shard's own records are so many that the oldest from there on goes. */
static void
dropped(unsigned n, uint64_t from)
{
	const struct store_batch *own = sh->durable.open;

	assert_int_equal(own->n, n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(own->v[i].kind, REC_QUEUE_SHIFT);
		assert_int_equal(own->v[i].session, 5);
		assert_int_equal(own->v[i].seq, from);
	}
	assert_int_equal(sh->home.counts.dropped, n);
}

static void
goes_with_the_shards_own(void **state)
{
	const struct keep *keep = &sh->durable.keep;

	(void)state;
	queue(2, 0);
	assert_true(together_begin(sh));
	deliver();
	assert_int_equal(keep->part->batch->n, 1);
	assert_int_equal(keep->part->batch->v[0].kind, REC_QUEUE);
	dropped(1, FIRST);
	/* it is any of them, so none is read before that is on its way */
	assert_int_equal(kept_still_below(s->kept, keep), 0);
	assert_false(s->kept->parted);
	deliver();
	assert_int_equal(keep->part->batch->n, 2);
	dropped(2, FIRST);
	assert_int_equal(s->kept->tail_n, 2);
	together_end(sh);
	all_is_on_disk();
}

/* All that is left waits for another shard, or was sent by an earlier life: when this
 * comes to the disk, that is there, and the oldest. */
static void
none_is_left(uint64_t known)
{
	const struct keep_part *part;

	queue(1 + known, known);
	assert_true(together_begin(sh));
	part = sh->durable.keep.part;
	deliver();
	assert_int_equal(part->batch->n, 1);
	dropped(1, FIRST + known);
	deliver();
	assert_int_equal(part->batch->n, 1);
	assert_int_equal(sh->durable.open->n, 1);
	assert_int_equal(sh->home.counts.dropped, 2);
	assert_int_equal(s->kept->tail_n, 1 + known);
	together_end(sh);
	all_is_on_disk();
	/* now it is there */
	assert_true(together_begin(sh));
	deliver();
	assert_int_equal(sh->durable.open->n, 1);
	assert_int_equal(sh->durable.open->v[0].seq, FIRST + 1);
	together_end(sh);
	all_is_on_disk();
}

static void
not_what_is_not_there(void **state)
{
	(void)state;
	none_is_left(0);
}

static void
nor_what_was_sent(void **state)
{
	(void)state;
	none_is_left(1);
}

/* What has to be on disk in the same moment as its next place goes there with that; what
 * is done with does not wait, as who counts what is on disk takes it for gone. But the end
 * of what waits for another shard waits, too. */
static void
ends_with_the_shards_own(void **state)
{
	const struct store_batch *own = sh->durable.open, *part;
	struct delivery d = { .key = FIRST, .rec = UINT32_MAX };

	(void)state;
	queue(2, 0);
	assert_true(together_begin(sh));
	part = sh->durable.keep.part->batch;
	keep_end(s, &d);
	assert_int_equal(d.key, 0);
	assert_int_equal(part->n, 0);
	assert_int_equal(own->n, 1);
	assert_int_equal(own->v[0].kind, REC_QUEUE_END);
	assert_int_equal(own->v[0].seq, FIRST);
	assert_int_equal(kept_still_below(s->kept, &sh->durable.keep), FIRST);
	d.key = FIRST + 1;
	keep_moved(s, &d);
	assert_int_equal(part->n, 1);
	assert_int_equal(part->v[0].kind, REC_QUEUE_END);
	assert_int_equal(part->v[0].seq, FIRST + 1);
	sh->home.limits.max_queued = 3;
	deliver();
	assert_int_equal(part->n, 2);
	d.key = kept_sure_below(s->kept);
	keep_end(s, &d);
	assert_int_equal(own->n, 1);
	assert_int_equal(part->n, 3);
	together_end(sh);
	all_is_on_disk();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    goes_with_the_shards_own, begin, end),
		cmocka_unit_test_setup_teardown(
		    not_what_is_not_there, begin, end),
		cmocka_unit_test_setup_teardown(nor_what_was_sent, begin, end),
		cmocka_unit_test_setup_teardown(
		    ends_with_the_shards_own, begin, end),
	};

	return cmocka_run_group_tests_name("broker oldest", tests, NULL, NULL);
}
