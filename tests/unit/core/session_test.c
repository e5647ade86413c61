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

/* What waited for a session that has ended goes in pieces: millions at once
 * would hold up the shard. */
static void
long_queue_goes_in_pieces(void **state)
{
	struct index *ix = NULL;
	struct session *s = NULL;
	struct msg *m = NULL;
	struct publish p = { .qos = 1 };
	struct home h;
	unsigned turns = 0;

	(void)state;
	assert_int_equal(
	    index_new(&(struct index_opts){ .shards = 1 }, &ix), NJ_OK);
	home_init(&h, 0, ix);
	assert_int_equal(msg_new(&p, slice_str("a"), 0, &m), NJ_OK);
	assert_int_equal(session_new(&h, slice_str("c"), &s), NJ_OK);
	for (unsigned i = 0; i < TURNS * A_TURN + 1; i++) {
		struct delivery d = { .msg = msg_ref(m), .qos = 1 };

		assert_int_equal(session_requeue(s, &d), NJ_OK);
	}
	session_free(s);
	assert_int_equal(h.counts.queued, 0);
	assert_int_equal(h.counts.queued_bytes, 0);
	assert_null(session_find(&h, slice_str("c")));
	assert_int_equal(atomic_load(&m->refs), 1 + (TURNS - 1) * A_TURN + 1);
	for (; h.ending; turns++)
		home_end_some(&h, false);
	assert_int_equal(turns, TURNS);
	assert_int_equal(atomic_load(&m->refs), 1);
	msg_unref(m);
	home_fini(&h);
	index_free(ix);
}

/* A short one does at once. */
static void
short_queue_goes_at_once(void **state)
{
	struct index *ix = NULL;
	struct session *s = NULL;
	struct msg *m = NULL;
	struct publish p = { .qos = 1 };
	struct delivery d;
	struct home h;

	(void)state;
	assert_int_equal(
	    index_new(&(struct index_opts){ .shards = 1 }, &ix), NJ_OK);
	home_init(&h, 0, ix);
	assert_int_equal(msg_new(&p, slice_str("a"), 0, &m), NJ_OK);
	assert_int_equal(session_new(&h, slice_str("c"), &s), NJ_OK);
	d = (struct delivery){ .msg = m, .qos = 1 };
	assert_int_equal(session_requeue(s, &d), NJ_OK);
	session_free(s);
	assert_null(h.ending);
	home_fini(&h);
	index_free(ix);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_queue_goes_in_pieces),
		cmocka_unit_test(short_queue_goes_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
