/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues on a disk that takes nothing for a while: who can be read is, and who
 * cannot costs nothing until the disk takes something again.  The store is the
 * test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/durable.h"
#include "broker/handover.h"
#include "broker/internal.h"
#include "broker/paging.h"
#include "broker/sessions.h"
#include "broker/shard.h"
#include "core/tail.h"
#include "lone.h"
#include "wire/topic.h"

#define SESSIONS (3 * PAGES_MAX)

static struct shard *sh;
static struct link away;
static struct session *sessions[SESSIONS];
static struct store_read *asked[SESSIONS];
static unsigned n_asked, failed;

void __wrap_store_read(struct store *s, struct store_read *r);

void
__wrap_store_read(struct store *s, struct store_read *r)
{
	assert_ptr_equal(s, lone.store);
	assert_true(n_asked < SESSIONS);
	asked[n_asked++] = r;
}

static void
on_fail(struct link *l)
{
	failed++;
}

static const struct link_ops ops = { .fail = on_fail };

/* SESSIONS of them with something on disk, whose clients are there, and would
 * rather not take any of it. */
static int
begin(void **st)
{
	(void)st;
	if (lone_begin(1))
		return -1;
	sh = lone.shard;
	n_asked = failed = 0;
	away = (struct link){ .ops = &ops };
	for (unsigned i = 0; i < SESSIONS; i++) {
		struct session *s;
		char id[12];

		snprintf(id, sizeof id, "%u", i);
		if (lone_kept(id, &s))
			return -1;
		*s->kept = (struct kept){ .session = s,
			.id = i + 1,
			.next_key = 100,
			.tail_n = 1,
			.tail_from = 50 };
		s->link = &away;
		sessions[i] = s;
	}
	return 0;
}

static int
end(void **st)
{
	(void)st;
	for (unsigned i = 0; i < SESSIONS; i++) {
		sessions[i]->link = NULL;
		sessions[i]->kept->tail_n = 0;
		session_free(sessions[i]);
	}
	lone_end();
	return 0;
}

static void
answer_all(enum nj_err e)
{
	unsigned n = n_asked;

	n_asked = 0;
	for (unsigned i = 0; i < n; i++) {
		asked[i]->result = e;
		paging_come(sh, &asked[i]->letter);
	}
}

static unsigned
length(const struct list *all)
{
	unsigned n = 0;

	for (const struct list *at = all->next; at != all; at = at->next)
		n++;
	return n;
}

static void
want(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		tail_ask(sessions[i]);
}

static void
test_parked(void **st)
{
	(void)st;
	lone.state = STORE_FULL;
	want(0, 2 * PAGES_MAX);
	lone_turn(0);
	assert_int_equal(n_asked, PAGES_MAX);
	answer_all(NJ_AGAIN);
	lone_turn(0);
	assert_int_equal(n_asked, PAGES_MAX);
	answer_all(NJ_AGAIN);
	/* all of them wait, and none is looked at */
	for (unsigned i = 0; i < 10; i++)
		lone_turn(100);
	assert_int_equal(n_asked, 0);
	assert_true(list_empty(&sh->durable.keep.pages));
	assert_int_equal(length(&sh->durable.keep.parked), 2 * PAGES_MAX);
	/* another one is asked for at once */
	want(2 * PAGES_MAX, 2 * PAGES_MAX + 1);
	lone_turn(0);
	assert_int_equal(n_asked, 1);
	assert_int_equal(asked[0]->session, sessions[2 * PAGES_MAX]->kept->id);
	answer_all(NJ_AGAIN);
	lone.state = STORE_OK;
	lone_turn(0);
	assert_int_equal(n_asked, PAGES_MAX);
	assert_true(list_empty(&sh->durable.keep.parked));
	answer_all(NJ_OK);
	assert_int_equal(failed, 0);
}

/* What the batch changes that is gathered now is known without a look at it. */
static void
test_still_here(void **st)
{
	const struct keep *keep = &sh->durable.keep;

	(void)st;
	lone.state = STORE_FULL;
	kept_touch(sessions[0]->kept, keep, 50);
	kept_touch(sessions[0]->kept, keep, 70);
	kept_touch(sessions[1]->kept, keep, 60);
	/* what its client has acknowledged is before the tail */
	kept_touch(sessions[2]->kept, keep, 20);
	/* or was, until all of a queue went there */
	kept_touch(sessions[3]->kept, keep, 20);
	sessions[3]->kept->tail_from = 20;
	/* it may be any */
	kept_touch(sessions[4]->kept, keep, 0);
	want(0, 6);
	lone_turn(0);
	assert_int_equal(n_asked, 3);
	assert_int_equal(asked[0]->session, sessions[1]->kept->id);
	assert_int_equal(asked[0]->until, 60);
	assert_int_equal(asked[1]->session, sessions[2]->kept->id);
	assert_int_equal(asked[1]->until, 100);
	assert_int_equal(asked[2]->session, sessions[5]->kept->id);
	assert_int_equal(length(&keep->parked), 3);
	answer_all(NJ_AGAIN);
	/* with the store now, which knows */
	sh->durable.keep.ticket++;
	lone.state = STORE_OK;
	lone_turn(0);
	assert_int_equal(n_asked, 6);
	answer_all(NJ_OK);
}

/* What goes with another shard's is known by no key: the batch that has it now is
 * looked through. */
static void
test_parted(void **st)
{
	struct durable *d = &sh->durable;
	struct keep_part part = { .batch = NULL };
	const unsigned spares = d->n_spare;

	(void)st;
	lone.state = STORE_FULL;
	d->keep.part = &part;
	for (unsigned i = 0; i < 5; i++)
		kept_touch(sessions[i]->kept, &d->keep, 60);
	d->keep.part = NULL;
	/* the first of its tail, one behind it, one before it, any */
	assert_int_equal(
	    batch_queue_end(d->open, sessions[0]->kept->id, 50), NJ_OK);
	assert_int_equal(
	    batch_queue_end(d->open, sessions[1]->kept->id, 60), NJ_OK);
	assert_int_equal(
	    batch_queue_end(d->open, sessions[2]->kept->id, 20), NJ_OK);
	assert_int_equal(
	    batch_queue_shift(d->open, sessions[3]->kept->id, 0), NJ_OK);
	/* of session 4 an earlier batch had it */
	d->open->companions = calloc(1, 16);
	assert_non_null(d->open->companions);
	/* all others are with the store */
	d->n_spare = 0;
	want(0, 6);
	lone_turn(0);
	assert_int_equal(n_asked, 4);
	assert_int_equal(asked[0]->session, sessions[1]->kept->id);
	assert_int_equal(asked[0]->until, 60);
	assert_int_equal(asked[1]->session, sessions[2]->kept->id);
	assert_int_equal(asked[1]->until, 100);
	assert_int_equal(asked[2]->session, sessions[4]->kept->id);
	assert_int_equal(asked[2]->until, 100);
	assert_int_equal(asked[3]->session, sessions[5]->kept->id);
	assert_int_equal(length(&d->keep.parked), 2);
	answer_all(NJ_AGAIN);
	free(d->open->companions);
	d->open->companions = NULL;
	d->n_spare = spares;
}

/* A disk that cannot be read is asked again after a while. */
static void
test_read_later(void **st)
{
	(void)st;
	want(0, 3);
	lone_turn(0);
	assert_int_equal(n_asked, 3);
	answer_all(NJ_IO);
	lone_turn(REREAD_MS - 1);
	assert_int_equal(n_asked, 0);
	lone_turn(1);
	assert_int_equal(n_asked, 3);
	assert_int_equal(failed, 0);
	/* what is damaged stays so */
	answer_all(NJ_MALFORMED);
	assert_int_equal(failed, 3);
	lone_turn(REREAD_MS);
	assert_int_equal(n_asked, 0);
}

/* A page for the others of a group, which comes when the broker ends: by then they
 * may be gone, so all of it stays with the session, and in the store. */
static void
test_handover_ends(void **st)
{
	struct session *s = sessions[0];
	struct targets t = { .shard = 0 };
	struct shared_sub *x = calloc(1, sizeof *x);
	struct publish p = { .qos = 1 };
	struct msg *m;

	(void)st;
	assert_non_null(x);
	x->targets = &t;
	x->number = 1;
	s->shared = x;
	s->link = NULL;
	for (unsigned stops = 0; stops < 2; stops++) {
		s->kept->tail_n = 1;
		handover_recall(sh, s, 1);
		lone_turn(0);
		assert_int_equal(n_asked, 1);
		assert_non_null(asked[0]->v = calloc(1, sizeof *asked[0]->v));
		assert_int_equal(msg_new(&p, slice_str("t"), 0, &m), NJ_OK);
		asked[0]->v[0] = (struct store_entry){
			.seq = 50, .qos = 1, .share = 1, .msg = m
		};
		asked[0]->n = 1;
		sh->stopping = stops;
		answer_all(NJ_OK);
		assert_null(s->kept->handover);
		/* its end is recorded, and it goes, or it stays */
		assert_int_equal(sh->durable.open->live, stops ? 0 : 1);
		assert_int_equal(s->kept->tail_n, stops);
		batch_clear(sh->durable.open);
	}
	sh->stopping = false;
	s->shared = NULL;
	free(x);
}

static uint8_t
join(struct session *s, const char *whole)
{
	struct slice all = slice_str(whole), group, filter;
	bool existed;

	assert_int_equal(topic_share(all, &group, &filter), NJ_OK);
	assert_int_equal(
	    sessions_join(sh, s, all, group, filter, 1, 0, &existed), NJ_OK);
	assert_false(existed);
	return sessions_share(s, all);
}

/* What was on its way by a subscription that has ended is not another's. */
static void
test_numbers(void **st)
{
	struct session *s = sessions[0];
	uint8_t was;

	(void)st;
	groups_init(&sh->groups);
	was = join(s, "$share/g/a");
	assert_int_equal(
	    sessions_unjoin(sh, s, slice_str("$share/g/a")), NJ_OK);
	for (unsigned i = 0; i < 254; i++) {
		uint8_t n = join(s, "$share/g/b");

		assert_int_not_equal(n, 0);
		assert_int_not_equal(n, was);
		assert_int_equal(
		    sessions_unjoin(sh, s, slice_str("$share/g/b")), NJ_OK);
	}
	assert_int_equal(join(s, "$share/g/b"), was);
	assert_int_equal(
	    sessions_unjoin(sh, s, slice_str("$share/g/b")), NJ_OK);
	batch_clear(sh->durable.open);
	groups_fini(&sh->groups);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_parked, begin, end),
		cmocka_unit_test_setup_teardown(test_still_here, begin, end),
		cmocka_unit_test_setup_teardown(test_parted, begin, end),
		cmocka_unit_test_setup_teardown(test_read_later, begin, end),
		cmocka_unit_test_setup_teardown(test_handover_ends, begin, end),
		cmocka_unit_test_setup_teardown(test_numbers, begin, end),
	};

	return cmocka_run_group_tests_name("broker paging", tests, NULL, NULL);
}
