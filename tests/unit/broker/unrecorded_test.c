/* SPDX-License-Identifier: Apache-2.0
 *
 * What there is no memory to record is not sent, nor answered, as if it was on disk;
 * and what nobody waits to be told of is recorded when there is some.  The store is the
 * test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/conn.h"
#include "broker/durable.h"
#include "broker/internal.h"
#include "broker/quota.h"
#include "broker/sessions.h"
#include "core/tail.h"
#include "lone.h"

#define WALL 1700000000000

static struct shard *sh;
static struct session *s;
static struct conn client;
static struct msg *m;
static unsigned failed, later; /* what the link was asked for */
static uint16_t later_pid;
static unsigned refusals; /* records from now on that find no memory */

enum nj_err
__real_batch_new(const struct store_msg_ops *ops, struct store_batch **out);
enum nj_err
__wrap_batch_new(const struct store_msg_ops *ops, struct store_batch **out);
enum nj_err __real_batch_queue(
    struct store_batch *b, const struct store_entry *e, uint32_t *at);
enum nj_err __wrap_batch_queue(
    struct store_batch *b, const struct store_entry *e, uint32_t *at);
enum nj_err
__real_batch_queue_end(struct store_batch *b, uint64_t session, uint64_t seq);
enum nj_err
__wrap_batch_queue_end(struct store_batch *b, uint64_t session, uint64_t seq);
enum nj_err __real_batch_queue_state(struct store_batch *b, uint64_t session,
    uint64_t seq, uint16_t pid, uint8_t state, uint32_t *at);
enum nj_err __wrap_batch_queue_state(struct store_batch *b, uint64_t session,
    uint64_t seq, uint16_t pid, uint8_t state, uint32_t *at);
enum nj_err __real_batch_sent_at(
    struct store_batch *b, uint64_t session, uint64_t seq, uint32_t *at);
enum nj_err __wrap_batch_sent_at(
    struct store_batch *b, uint64_t session, uint64_t seq, uint32_t *at);
enum nj_err __real_batch_session_at(
    struct store_batch *b, const struct store_session *x, uint32_t *at);
enum nj_err __wrap_batch_session_at(
    struct store_batch *b, const struct store_session *x, uint32_t *at);

static bool
refuse(void)
{
	if (refusals == 0)
		return false;
	refusals--;
	return true;
}

enum nj_err
__wrap_batch_new(const struct store_msg_ops *ops, struct store_batch **out)
{
	return refuse() ? NJ_NOMEM : __real_batch_new(ops, out);
}

enum nj_err
__wrap_batch_queue(
    struct store_batch *b, const struct store_entry *e, uint32_t *at)
{
	if (!refuse())
		return __real_batch_queue(b, e, at);
	b->unref(e->msg);
	return NJ_NOMEM;
}

enum nj_err
__wrap_batch_queue_state(struct store_batch *b, uint64_t session, uint64_t seq,
    uint16_t pid, uint8_t state, uint32_t *at)
{
	return refuse()
	    ? NJ_NOMEM
	    : __real_batch_queue_state(b, session, seq, pid, state, at);
}

enum nj_err
__wrap_batch_queue_end(struct store_batch *b, uint64_t session, uint64_t seq)
{
	return refuse() ? NJ_NOMEM : __real_batch_queue_end(b, session, seq);
}

enum nj_err
__wrap_batch_sent_at(
    struct store_batch *b, uint64_t session, uint64_t seq, uint32_t *at)
{
	return refuse() ? NJ_NOMEM : __real_batch_sent_at(b, session, seq, at);
}

enum nj_err
__wrap_batch_session_at(
    struct store_batch *b, const struct store_session *x, uint32_t *at)
{
	return refuse() ? NJ_NOMEM : __real_batch_session_at(b, x, at);
}

/* Its client. */

static void
on_fail(struct link *l)
{
	failed++;
	l->closing = true;
}

static void
on_later(struct link *l, enum mqtt_type type, uint16_t id, enum mqtt_rc code)
{
	(void)l;
	(void)code;
	later = type;
	later_pid = id;
}

static const struct link_ops ops = { .kick = lone_on_kick,
	.flush = lone_on_flush,
	.fail = on_fail,
	.later = on_later };

static void
comes(void)
{
	if (s->link)
		session_detach(s);
	failed = later = 0;
	buf_truncate(&client.link.out, 0);
	client.link.closing = client.link.kicked = false;
	assert_int_equal(session_attach(s, &client.link), NJ_OK);
	session_pump(s);
}

/* The store has all that was recorded, and says that it is on disk. */
static void
written(void)
{
	durable_flush(sh);
	lone_stored();
}

static int
begin(void **state)
{
	(void)state;
	if (lone_begin_with(2, &s, &m))
		return -1;
	sh = lone.shard;
	sh->wall_ms = WALL;
	sh->limits.client_expiration_s = MQTT_EXPIRY_NEVER;
	quota_init(&sh->quota);
	s->expiry_s = 1000;
	*s->kept = (struct kept){ .session = s, .id = 5, .next_key = 1 };
	client = (struct conn){ .shard = sh,
		.session = s,
		.state = CONN_LIVE,
		.link = { .ops = &ops, .window = 10, .version = MQTT5 } };
	refusals = 0;
	comes();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	refusals = 0;
	if (s->link)
		session_detach(s);
	if (s->user)
		quota_back(sh, s);
	quota_fini(&sh->quota);
	session_free(s);
	written();
	batch_clear(sh->durable.open);
	link_fini(&client.link);
	lone_end();
	assert_int_equal(atomic_load(&m->refs), 1);
	msg_unref(m);
	return 0;
}

static void
deliver(uint8_t qos)
{
	session_deliver(s, &(struct delivery){ .msg = m, .qos = qos });
}

/* How many records of a kind wait for the store. */
static unsigned
recorded(enum store_kind kind)
{
	const struct store_batch *b = sh->durable.open;
	unsigned n = 0;

	for (uint32_t i = 0; i < b->n; i++)
		n += b->v[i].kind == kind;
	return n;
}

/* After a crash its client would know an identifier that the broker does not. */
static void
an_entry(void **state)
{
	(void)state;
	for (uint8_t qos = 1; qos <= 2; qos++) {
		refusals = 2;
		deliver(qos);
		assert_true(sh->durable.keep.failed);
		assert_int_equal(link_unsent(&client.link), 0);
		assert_int_equal(s->out.n, 0);
		assert_int_equal(later, 0);
		assert_int_equal(session_queued(s), 0);
	}
	/* it is tried once more, for the queue */
	refusals = 1;
	deliver(2);
	assert_int_equal(link_unsent(&client.link), 0);
	assert_int_equal(s->queue.n, 1);
	session_pump(s);
	assert_int_equal(later, MQTT_PUBLISH);
	assert_int_equal(s->out.n, 1);
}

/* [MQTT-4.3.3-2]: after a crash it would be sent as a new one. */
static void
that_it_is_sent(void **state)
{
	(void)state;
	s->kept->sent = 0;
	refusals = 0;
	deliver(2);
	assert_int_equal(recorded(REC_SENT), 1);
	assert_int_equal(later, MQTT_PUBLISH);
	written();
	/* now the same, without memory for it */
	s->kept->sent = s->kept->sent_before = 1;
	s->kept->sent_ticket = 0;
	later = 0;
	deliver(2);
	assert_int_equal(later_pid, 2);
	batch_clear(sh->durable.open);
	s->kept->sent = s->kept->sent_before = 1;
	s->kept->sent_ticket = 0;
	session_send_held(s, 2);
	assert_int_equal(link_unsent(&client.link), 0);
	assert_int_equal(failed, 1);
	assert_int_equal(s->kept->sent, 1);
	/* its client is back, and there is memory */
	comes();
	assert_int_equal(failed, 0);
	assert_int_equal(recorded(REC_SENT), 1);
	assert_true(s->kept->sent >= 2);
	later = 0;
	session_send_held(s, 2);
	written();
	assert_true(link_unsent(&client.link) > 0);
}

/* What is held is sent, as when all that was recorded is on disk; the identifiers of
 * all that was, from the first byte on: PUBLISH to "t", empty. */
static unsigned
go(const uint16_t *pids, unsigned n, uint16_t *out)
{
	struct slice left;
	unsigned got = 0;

	written();
	for (unsigned i = 0; i < n; i++)
		session_send_held(s, pids[i]);
	left = buf_slice(&client.link.out);
	for (; left.p && left.n > 0; left = slice_of(left.p + 8, left.n - 8)) {
		assert_true(left.n >= 8 && left.p[0] >> 4 == MQTT_PUBLISH);
		assert_int_equal(left.p[1], 6);
		out[got++] = (uint16_t)(left.p[5] << 8 | left.p[6]);
	}
	return got;
}

/* [MQTT-4.6.0-1]: nothing overtakes what found no memory, though there is some by
 * then. */
static void
in_order(void **state)
{
	static const uint16_t pids[] = { 1, 16385, 2 };
	uint16_t out[4];

	(void)state;
	deliver(2);
	/* the next has that identifier, too, and another is recorded */
	s->kept->next_key = KEPT_PIDS + 1;
	client.link.window = 1;
	deliver(2);
	deliver(2);
	client.link.window = 10;
	refusals = 1;
	session_pump(s);
	assert_int_equal(refusals, 0);
	assert_int_equal(s->out.n, 3);
	assert_int_equal(recorded(REC_QUEUE_STATE), 0);
	assert_int_equal(go(pids, 3, out), 1);
	assert_int_equal(out[0], 1);
	assert_int_equal(failed, 1);
	comes();
	assert_int_equal(recorded(REC_QUEUE_STATE), 1);
	assert_int_equal(go(pids, 3, out), 3);
	assert_memory_equal(out, pids, sizeof pids);
	assert_int_equal(failed, 0);
}

/* Nor is it sent before how far its client may know it is on disk. */
static void
in_order_behind_how_far(void **state)
{
	static const uint16_t pids[] = { 1, 2 };
	uint16_t out[4];

	(void)state;
	client.link.window = 0;
	deliver(2);
	deliver(2);
	client.link.window = 10;
	refusals = 2;
	session_pump(s);
	assert_int_equal(refusals, 0);
	assert_int_equal(s->kept->sent, 0);
	assert_int_equal(go(pids, 2, out), 0);
	assert_true(failed > 0);
	comes();
	assert_int_equal(recorded(REC_SENT), 1);
	assert_int_equal(go(pids, 2, out), 2);
	assert_memory_equal(out, pids, sizeof pids);
}

/* [MQTT-4.3.3-2]: PUBREL is sent when a crash cannot undo PUBREC. */
static void
a_pubrec(void **state)
{
	(void)state;
	deliver(2);
	written();
	session_send_held(s, 1);
	assert_true(link_unsent(&client.link) > 0);
	refusals = 1;
	(void)session_pubrec(s, 1, 0);
	assert_true(sh->durable.keep.failed);
	/* nor is it when it is told once more, or when its client is back */
	refusals = 2;
	sh->durable.keep.failed = false;
	(void)session_pubrec(s, 1, 0);
	assert_true(sh->durable.keep.failed);
	comes();
	assert_int_equal(failed, 1);
	assert_int_equal(later, 0);
	assert_int_equal(link_unsent(&client.link), 0);
	assert_int_equal(recorded(REC_QUEUE_STATE), 0);
	comes();
	assert_int_equal(failed, 0);
	assert_int_equal(link_unsent(&client.link), 0);
	assert_int_equal(recorded(REC_QUEUE_STATE), 1);
	assert_int_equal(later, MQTT_PUBREL);
}

/* What found no memory is not answered with the bytes that leave before the connection
 * ends. */
static void
an_answer(void **state)
{
	(void)state;
	sh->durable.keep.dirty = false;
	sh->durable.keep.failed = true;
	assert_int_equal(
	    durable_ack(&client, MQTT_PUBACK, 7, RC_SUCCESS), NJ_OK);
	assert_int_equal(link_unsent(&client.link), 0);
	assert_int_equal(client.link.held, 1);
}

/* A record that goes with another shard's goes nowhere else. */
static void
a_part(void **state)
{
	struct durable *d = &sh->durable;

	(void)state;
	refusals = 1;
	assert_true(together_begin(sh));
	assert_non_null(d->keep.part);
	assert_ptr_not_equal(d->keep.into, d->open);
	/* an entry that is not there is not waited for either: its key is that of
	 * the next, which may be in another part */
	refusals = 1;
	deliver(2);
	assert_int_equal(refusals, 0);
	assert_int_equal(d->keep.part->n, 0);
	assert_int_equal(s->kept->n_unsure, 0);
	deliver(2);
	assert_int_equal(d->keep.part->n, 1);
	assert_int_equal(s->kept->n_unsure, 1);
	together_end(sh);
	durable_turn(sh);
}

/* An entry that came to the disk behind the end of its session does not stay. */
static void
that_it_came_too_late(void **state)
{
	(void)state;
	session_detach(s);
	assert_true(together_begin(sh));
	deliver(2);
	together_end(sh);
	session_free(s);
	durable_turn(sh);
	assert_int_equal(lone.n_given, 1);
	refusals = 1;
	written();
	assert_int_equal(refusals, 0);
	assert_int_equal(recorded(REC_QUEUE_END), 0);
	durable_turn(sh);
	assert_int_equal(lone.n_given, 1);
	assert_int_equal(lone.given[0]->v[0].kind, REC_SESSION_END);
	assert_int_equal(lone.given[0]->v[0].session, 5);
	written();
	assert_int_equal(lone_kept("a", &s), NJ_OK);
}

/* Else it would be said to have been here until a crash, and its session's time to
 * begin then. */
static void
that_its_client_left(void **state)
{
	const struct store_rec *r;

	(void)state;
	refusals = 1;
	sessions_leave(&client);
	assert_int_equal(recorded(REC_SESSION), 0);
	sh->wall_ms += 500;
	lone_turn(500);
	assert_int_equal(lone.n_given + recorded(REC_SESSION), 1);
	r = lone.n_given ? &lone.given[0]->v[0] : &sh->durable.open->v[0];
	assert_int_equal(r->kind, REC_SESSION);
	assert_int_equal(r->session, 5);
	assert_true(r->at_ms == WALL);
	assert_int_equal(sh->durable.n_owed, 0);
}

/* It is back by then: that is what is on disk. */
static void
that_it_left_and_is_back(void **state)
{
	(void)state;
	refusals = 1;
	sessions_leave(&client);
	client.session = s;
	quota_back(sh, s);
	comes();
	lone_turn(500);
	assert_int_equal(recorded(REC_SESSION), 0);
	assert_int_equal(lone.n_given, 0);
	assert_int_equal(sh->durable.n_owed, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_entry, begin, end),
		cmocka_unit_test_setup_teardown(that_it_is_sent, begin, end),
		cmocka_unit_test_setup_teardown(in_order, begin, end),
		cmocka_unit_test_setup_teardown(
		    in_order_behind_how_far, begin, end),
		cmocka_unit_test_setup_teardown(a_pubrec, begin, end),
		cmocka_unit_test_setup_teardown(an_answer, begin, end),
		cmocka_unit_test_setup_teardown(a_part, begin, end),
		cmocka_unit_test_setup_teardown(
		    that_it_came_too_late, begin, end),
		cmocka_unit_test_setup_teardown(
		    that_its_client_left, begin, end),
		cmocka_unit_test_setup_teardown(
		    that_it_left_and_is_back, begin, end),
	};

	return cmocka_run_group_tests_name(
	    "broker unrecorded", tests, NULL, NULL);
}
