/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/shard.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <urcu-qsbr.h>

#include "base/cpu.h"
#include "base/hash.h"
#include "base/log.h"
#include "broker/call.h"
#include "broker/conn.h"
#include "broker/control.h"
#include "broker/enroll.h"
#include "broker/est.h"
#include "broker/fence.h"
#include "broker/groups.h"
#include "broker/internal.h"
#include "broker/memory.h"
#include "broker/paging.h"
#include "broker/regroup.h"
#include "broker/reload.h"
#include "broker/retaining.h"
#include "broker/revoked.h"
#include "broker/rights.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "broker/systree.h"
#include "net/listener.h"

/* While another shard is behind, paused publishers are looked at this often, and
 * what found no memory. */
#define PAUSE_MS 1
/* After the process ran out of descriptors. */
#define ACCEPT_PAUSE_MS 250
/* While a reload is under way; a slow one holds nobody up for longer. */
#define RELOAD_LOOK_MS 2
#define RELOAD_HOLD_MS 1000
#define SWEEP_MS       1000
#define SWEEP_BUDGET   1000 /* some 2 ms; if there are more, so soon again: */
#define SWEEP_MORE_MS  100

unsigned
shard_of_id(const struct broker *b, struct slice client_id)
{
	return (unsigned)(hash_bytes(client_id) % b->n);
}

/* Accepting. */

static void
accepts_pause(struct shard *sh, uint64_t ms)
{
	for (unsigned i = 0; i < sh->n_ports; i++)
		if (loop_want(sh->crowd.loop, &sh->ports[i].watch, 0))
			nj_log(LOG_T_ERROR, "A listener cannot be paused");
	sh->accepts_paused = true;
	if (timer_set(
		&sh->home.timers, &sh->accept_timer, sh->home.now_ms + ms))
		nj_log(LOG_T_ERROR, "Out of memory: accepting stays paused");
}

static void
accepts_go_on(struct timer *t, uint64_t now)
{
	struct shard *sh = LIST_OWNER(t, struct shard, accept_timer);

	(void)now;
	sh->accepts_paused = false;
	for (unsigned i = 0; i < sh->n_ports; i++)
		if (loop_want(sh->crowd.loop, &sh->ports[i].watch, LOOP_IN))
			nj_log(LOG_T_ERROR, "A listener cannot be resumed");
}

/* Who connects after a SIGHUP is served by the new configuration. */
static bool
accepts_held(struct shard *sh)
{
	unsigned ended = atomic_load(&sh->broker->reloads);

	/* of one that has failed nothing is heard here, nor whether another shard
	 * has taken who was held */
	if (sh->accepts_held_for != ended && !walks_queue(sh))
		sh->accepts_held_until = 0;
	sh->accepts_held_for = ended;
	if (!reload_comes(sh->broker) && !walks_queue(sh)) {
		sh->accepts_held_until = 0;
		return false;
	}
	if (sh->accepts_held_until == 0)
		sh->accepts_held_until = sh->home.now_ms + RELOAD_HOLD_MS;
	if (sh->home.now_ms >= sh->accepts_held_until)
		return false;
	accepts_pause(sh, RELOAD_LOOK_MS);
	return true;
}

static bool
another_waits(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static void
on_acceptable(struct watch *w, unsigned ready)
{
	struct port *p = LIST_OWNER(w, struct port, watch);
	struct shard *sh = p->shard;
	char peer[PEER_NAME];
	enum nj_err e;
	int fd;

	(void)ready;
	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		/* who is accepted came first, and so before this was asked */
		if ((i > 0 && !another_waits(w->fd)) || accepts_held(sh))
			return;
		e = listener_accept(
		    w->fd, sh->limits.nodelay, &fd, peer, sizeof peer);
		if (e == NJ_AGAIN)
			return;
		if (e == NJ_FULL) {
			nj_log(LOG_T_ERROR,
			    "No more file descriptors: new "
			    "connections wait. Raise the limit of open files "
			    "(LimitNOFILE, ulimit -n).");
			accepts_pause(sh, ACCEPT_PAUSE_MS);
			return;
		}
		if (e == NJ_OK)
			conn_accept(p, fd, peer);
	}
}

static enum nj_err
ports_init(struct shard *sh)
{
	struct broker *b = sh->broker;
	unsigned n = 0, k = 0;
	enum nj_err e;

	for (size_t i = 0; i < sh->set->n; i++)
		n += sh->set->v[i].listener->n;
	if (!(sh->ports = calloc(n ? n : 1, sizeof *sh->ports)))
		return NJ_NOMEM;
	for (size_t i = 0; i < sh->set->n; i++) {
		struct listener *l = sh->set->v[i].listener;

		for (unsigned j = 0; j < l->n; j++, k++) {
			struct port *p = &sh->ports[k];

			p->shard = sh;
			p->index = (unsigned)i;
			p->watch = (struct watch){
				.fd = l->fds[j * b->n + sh->home.shard],
				.fn = on_acceptable,
				.want = LOOP_IN,
			};
			/* of a Unix socket each shard has a duplicate */
			if (p->watch.fd >= 0 &&
			    (e = loop_add(sh->crowd.loop, &p->watch)))
				return e;
		}
	}
	sh->n_ports = k;
	return NJ_OK;
}

/* Mail. */

/* Being woken is all: mailbox_awake reads the descriptor. */
static void
on_mail(struct watch *w, unsigned ready)
{
	(void)w;
	(void)ready;
}

static void
stop(struct shard *sh)
{
	struct list *at, *next;

	sh->stopping = true;
	for (unsigned i = 0; i < sh->n_ports; i++)
		loop_del(sh->crowd.loop, &sh->ports[i].watch);
	timer_stop(&sh->home.timers, &sh->accept_timer);
	timer_stop(&sh->home.timers, &sh->sys_timer);
	timer_stop(&sh->home.timers, &sh->sweep_timer);
	timer_stop(&sh->home.timers, &sh->giveback_timer);
	for (at = sh->conns.next; at != &sh->conns; at = next) {
		struct conn *c = LIST_OWNER(at, struct conn, all);

		next = at->next;
		conn_end(
		    c, RC_SERVER_SHUTTING_DOWN, "the broker is shutting down");
		conn_deadline(c); /* of one that closes already */
	}
}

static void
give_back(struct timer *t, uint64_t now)
{
	struct shard *sh = LIST_OWNER(t, struct shard, giveback_timer);

	/* they come back themselves */
	if (atomic_load(&sh->broker->conns) >
		sh->giveback_conns + GIVEBACK_CONNS ||
	    !giveback_step(&sh->giveback) ||
	    timer_set(&sh->home.timers, t, now + GIVEBACK_STEP_MS))
		giveback_end(&sh->giveback);
}

/* Some time later, since they may come back at once.  Without memory for the
 * timer the next time serves. */
static void
give_back_later(struct shard *sh)
{
	atomic_store(&sh->giveback_posted, false);
	tables_fini(&sh->home.tables);
	sh->giveback_conns = atomic_load(&sh->broker->conns);
	sh->giveback_timer.fn = give_back;
	if (!sh->stopping && !sh->giveback_timer.at)
		(void)!timer_set(&sh->home.timers, &sh->giveback_timer,
		    sh->home.now_ms + GIVEBACK_AFTER_MS);
}

static void
take_letter(struct shard *sh, struct letter *l)
{
	switch ((enum letter_kind)l->kind) {
	case LETTER_PARCEL:
		route_parcel(sh, l);
		break;
	case LETTER_MOVE:
		conn_arrive(sh, l);
		break;
	case LETTER_LOGIN:
		on_login(sh, l);
		break;
	case LETTER_GROUP:
		groups_take(sh, l);
		break;
	case LETTER_RECALL:
		groups_recalled(sh, l);
		break;
	case LETTER_MOVED:
		groups_moved(sh, l);
		break;
	case LETTER_STORED:
		durable_stored(sh, l);
		break;
	case LETTER_PLEDGE:
		pledge_home(sh, l);
		break;
	case LETTER_PART:
		pledge_part(sh, l);
		break;
	case LETTER_PAGE:
		paging_come(sh, l);
		break;
	case LETTER_FENCE:
		fence_passed(l);
		break;
	case LETTER_RELOAD:
		reload_take(sh, l);
		break;
	case LETTER_EST:
		est_answered(sh, l);
		break;
	case LETTER_ENROLL:
		enroll_answered(sh, l);
		break;
	case LETTER_ROLES:
		rights_take(sh, l);
		break;
	case LETTER_CONTROL:
		control_answered(sh, l);
		break;
	case LETTER_RECHECK:
		atomic_store(&sh->recheck_posted, false);
		walk_start(sh, &sh->recheck);
		break;
	case LETTER_TROUBLE:
		atomic_store(&sh->trouble_posted, false);
		break; /* publish_turn sees it */
	case LETTER_GIVEBACK:
		give_back_later(sh);
		break;
	case LETTER_LOG:
		systree_log(sh, l);
		break;
	case LETTER_CALL:
		call_take(sh, l);
		break;
	case LETTER_STOP:
		stop(sh);
		break;
	}
}

/* A sender that was interrupted between the two steps of posting hides the
 * letters behind its own; it is waited for this many looks. */
#define MAIL_LOOKS 1000

static struct letter *
next_letter(struct shard *sh)
{
	struct letter *l;

	for (int i = 0; i < MAIL_LOOKS; i++)
		if ((l = mailbox_take(&sh->mail)) ||
		    mailbox_depth(&sh->mail) == 0)
			return l;
	return NULL;
}

static void
take_mail(struct shard *sh)
{
	unsigned fences = 0;
	struct letter *l;

	for (int i = 0; i < LETTERS_A_TURN && fences < FENCES_A_TURN; i++) {
		if (!(l = next_letter(sh)))
			return;
		fences += l->kind == LETTER_FENCE;
		take_letter(sh, l);
	}
}

/* The turn. */

static bool
must_not_wait(const struct shard *sh)
{
	return !list_empty(&sh->again) || !list_empty(&sh->handshakes) ||
	    !list_empty(&sh->begun) || !list_empty(&sh->calls) ||
	    !list_empty(&sh->walks) || !list_empty(&sh->late) ||
	    crowd_waits(sh) || sh->home.ending || durable_goes_on(&sh->durable);
}

static void
wait(struct shard *sh, int max_wait_ms)
{
	int ms = timers_wait_ms(&sh->home.timers, clock_mono(sh->clock));

	if (ms < 0 || (max_wait_ms >= 0 && ms > max_wait_ms))
		ms = max_wait_ms;
	if ((!list_empty(&sh->paused) || !list_empty(&sh->held) ||
		sh->durable.together_stuck || sh->durable.n_owed > 0 ||
		sh->n_unsent > 0 || sh->home.overdue.n > 0 ||
		fence_waits(sh) > SEEN_IDLE) &&
	    (ms < 0 || ms > PAUSE_MS))
		ms = PAUSE_MS;
	if (must_not_wait(sh))
		ms = 0;
	if (ms != 0 && !mailbox_sleep(&sh->mail))
		ms = 0;
	if (ms != 0)
		fence_sleep(sh);
	if (loop_wait(sh->loop, ms) < LOOP_EVENTS)
		sh->full_turns = 0;
	else
		sh->full_turns++;
	if (ms != 0) {
		fence_awake(sh);
		mailbox_awake(&sh->mail);
	}
}

/*
 * Deadlines.  While there is more to read than a turn has room for they wait,
 * so that after a stall (a machine that slept, a storm) nobody is thrown out
 * for silence who has spoken; but not for long.
 */
static void
run_timers(struct shard *sh)
{
	if (sh->full_turns % FULL_TURNS_MAX == 0)
		timers_run(&sh->home.timers, sh->home.now_ms, TIMERS_A_TURN);
}

/* Connections that had more than their share of an earlier turn. */
static void
read_again(struct shard *sh)
{
	struct list todo, *at;

	list_init(&todo);
	list_splice(&todo, &sh->again);
	while ((at = list_pop(&todo))) {
		struct conn *c = LIST_OWNER(at, struct conn, work);

		if (c->yields)
			conn_resume(c);
		else
			conn_read(c);
	}
}

/*
 * Handshakes.  New clients get a bounded part of each turn, so that a storm of
 * reconnects does not keep those waiting who are connected.  But they do get a
 * part: where messages make the turns long, they have as much as
 * HANDSHAKE_SHARE says.
 *
 * One that was begun and a new one take turns.  Were there one queue, the second
 * step of each would wait for the first of all, and when there are more than can
 * be served before their deadline, nobody would get in; were those begun always
 * first, whoever sends a byte at a time would keep the new ones out.
 */
#define HANDSHAKE_SHARE 4

static struct conn *
next_handshake(struct shard *sh)
{
	struct list *at = NULL;

	if (!sh->begun_last)
		at = list_pop(&sh->begun);
	sh->begun_last = at != NULL;
	if (!at && !(at = list_pop(&sh->handshakes))) {
		at = list_pop(&sh->begun);
		sh->begun_last = at != NULL;
	}
	return at ? LIST_OWNER(at, struct conn, work) : NULL;
}

/* A new one that has to wait, and whose client has gone, need not be served. */
static void
forget_gone(struct shard *sh)
{
	struct list *at = sh->handshakes.prev, *before;

	for (; at != &sh->handshakes; at = before) {
		struct conn *c = LIST_OWNER(at, struct conn, work);

		before = at->prev;
		if (c->waits)
			return; /* those in front have waited longer */
		c->waits = true;
		if (c->went)
			conn_handshake_gone(c);
	}
}

static void
shake_hands(struct shard *sh)
{
	uint64_t from, others;
	struct conn *c;

	if (list_empty(&sh->begun) && list_empty(&sh->handshakes))
		return;
	from = clock_mono_us(sh->clock);
	others = from - sh->began_ms * 1000;
	for (uint32_t i = 0; i < sh->limits.handshake_budget ||
	     (others > 0 &&
		 (clock_mono_us(sh->clock) - from) * HANDSHAKE_SHARE < others);
	     i++) {
		if (!(c = next_handshake(sh)))
			return;
		conn_handshake(c);
	}
	forget_gone(sh);
}

static void
unpause(struct shard *sh)
{
	struct list todo, *at;

	if (list_empty(&sh->paused))
		return;
	list_init(&todo);
	list_splice(&todo, &sh->paused);
	while ((at = list_pop(&todo))) {
		struct conn *c = LIST_OWNER(at, struct conn, work);

		if (conn_must_wait(c))
			list_push(&sh->paused, &c->work);
		else
			conn_resume(c);
	}
}

/* A client that went away may have said more before it did: acknowledgements,
 * a DISCONNECT that forgets its will.  Answers to that go nowhere. */
static void
drop_doomed(struct conn *c)
{
	const char *what = stream_why(c->stream)->what;

	if (c->state == CONN_LIVE && c->gone) {
		c->link.closing = false;
		conn_hear_rest(c);
		if (c->state == CONN_LIVE)
			conn_read(c);
	}
	conn_drop(c, "%s%s%s", c->doomed, *what ? ": " : "", what);
}

/* At most *left of them. */
static void
flush_some(struct list *v, unsigned *left)
{
	struct list *at;

	for (; *left > 0 && (at = list_pop(v)); --*left)
		conn_flush(LIST_OWNER(at, struct conn, kicked));
}

/* Writes what the turn has gathered.  What a failing connection causes (a
 * will) may give others something to write, hence the loop. */
static void
write_out(struct shard *sh)
{
	unsigned new = sh->flush_turn, late = new;
	struct list *at;

	do {
		durable_turn(sh);
		/* before an acknowledgement leaves, what it acknowledges is
		 * with the shards it is for */
		route_post(sh);
		flush_some(&sh->kicked, &new);
		flush_some(&sh->late, &late);
		list_splice(&sh->late, &sh->kicked);
		while ((at = list_pop(&sh->doomed)))
			drop_doomed(LIST_OWNER(at, struct conn, work));
		/* which may have caused more that is to be on disk */
		durable_turn(sh);
	} while (!list_empty(&sh->kicked) || !list_empty(&sh->doomed));
	route_post(sh);
}

/* When many connections have gone, so does their memory.  It is in the heaps of
 * those who took them in: each gives back of its own. */
static void
ask_for_memory(struct broker *b)
{
	unsigned now = atomic_load(&b->conns),
		 most = atomic_load(&b->most_conns);

	if (most < now + GIVEBACK_CONNS || now > most / 4 * 3 ||
	    !atomic_compare_exchange_strong(&b->most_conns, &most, now))
		return;
	for (unsigned i = 0; i < b->n; i++) {
		struct shard *to = &b->shards[i];

		if (!atomic_exchange(&to->giveback_posted, true))
			shard_post(to, &to->giveback_letter);
	}
}

static void
bury(struct shard *sh)
{
	struct list *at;

	if (list_empty(&sh->grave))
		return;
	while ((at = list_pop(&sh->grave)))
		conn_bury(LIST_OWNER(at, struct conn, work));
	ask_for_memory(sh->broker);
}

static void
update_clock(struct shard *sh)
{
	sh->home.now_ms = sh->began_ms = clock_mono(sh->clock);
	sh->wall_ms = clock_wall(sh->clock);
}

void
shard_turn(struct shard *sh, int max_wait_ms)
{
	wait(sh, max_wait_ms);
	fence_turn_begins(sh);
	update_clock(sh);
	durable_turn_begins(sh);
	sh->deaths = 0;
	/* Mail first: what another shard acknowledged to its client it posted
	 * before, so it is here before anything the client caused since. */
	take_mail(sh);
	read_again(sh);
	loop_dispatch(sh->loop);
	crowd_serve(sh);
	shake_hands(sh);
	run_timers(sh);
	overdue_retry(&sh->home);
	route_retry(sh);
	(void)groups_held(sh);
	unpause(sh);
	connect_turn(sh);
	publish_turn(sh);
	calls_step(sh);
	walks_step(sh);
	home_end_some(&sh->home, false);
	write_out(sh);
	bury(sh);
	if (sh->stopping && list_empty(&sh->conns) && list_empty(&sh->walks) &&
	    !sh->stopped) {
		/* its sessions stay: what the last connections of others
		 * caused is still to come, and is for them */
		route_post(sh);
		sh->stopped = true;
	}
	fence_turn_ends(sh);
}

void *
shard_main(void *arg)
{
	struct shard *sh = arg;

	cpu_stretch(CPU_SHORT_US);
	rcu_register_thread();
	/* what the start has left to do waits for nothing that would wake it */
	if (!sh->stopped)
		shard_turn(sh, 0);
	while (!sh->stopped)
		shard_turn(sh, -1);
	fence_sleep(sh);
	rcu_unregister_thread();
	return NULL;
}

/* Housekeeping. */

static void
forget_retained(void *arg, const struct msg *m, uint64_t order)
{
	retaining_keep(arg, order, msg_topic(m), NULL);
}

static void
sweep(struct timer *t, uint64_t now)
{
	struct shard *sh = LIST_OWNER(t, struct shard, sweep_timer);
	size_t n = retain_sweep(sh->broker->retain, now, SWEEP_BUDGET,
	    sh->durable.store ? forget_retained : NULL, sh);

	memory_check(sh->broker, sh->limits.memory);
	if (timer_set(&sh->home.timers, t,
		now + (n < SWEEP_BUDGET ? SWEEP_MS : SWEEP_MORE_MS)))
		nj_log(LOG_T_ERROR,
		    "Out of memory: expired retained messages "
		    "are not swept any more");
}

/* Certificates were revoked, or devices have other groups. */

static void
recheck_conn(struct shard *sh, struct walk *w, struct conn *c)
{
	(void)revoked_end(c);
}

static void
recheck_session(struct shard *sh, struct walk *w, struct session *s)
{
	regroup(sh, w, s);
}

static const struct walk_ops recheck_ops = {
	.conn = recheck_conn,
	.session = recheck_session,
};

static enum nj_err
timers_start(struct shard *sh)
{
	sh->accept_timer.fn = accepts_go_on;
	if (sh->home.shard != 0)
		return NJ_OK;
	sh->sweep_timer.fn = sweep;
	return timer_set(
	    &sh->home.timers, &sh->sweep_timer, sh->home.now_ms + SWEEP_MS);
}

enum nj_err
shard_init(struct shard *sh, struct broker *b, unsigned number)
{
	enum nj_err e;

	*sh = (struct shard){
		.broker = b,
		.clock = b->clock,
		.limits = b->opts.limits,
		.set = b->set,
		.walk_turn = WALK_TURN,
		.flush_turn = FLUSHES_A_TURN,
	};
	atomic_fetch_add(&b->set->refs, 1);
	home_init(&sh->home, number, b->index);
	sh->home.may_read = sessions_may_read;
	sh->home.limits = b->opts.limits.session;
	snprintf(sh->tag, sizeof sh->tag, "shard %u", number);
	sh->recheck_letter.kind = LETTER_RECHECK;
	sh->giveback_letter.kind = LETTER_GIVEBACK;
	sh->trouble_letter.kind = LETTER_TROUBLE;
	groups_init(&sh->groups);
	quota_init(&sh->quota);
	if ((e = durable_init(sh, b->store)))
		return e;
	list_init(&sh->conns);
	list_init(&sh->kicked);
	list_init(&sh->late);
	list_init(&sh->again);
	list_init(&sh->handshakes);
	list_init(&sh->begun);
	list_init(&sh->paused);
	list_init(&sh->doomed);
	list_init(&sh->grave);
	list_init(&sh->calls);
	list_init(&sh->held);
	list_init(&sh->walks);
	sh->recheck.ops = &recheck_ops;
	update_clock(sh);
	if ((e = loop_new(&sh->loop)) || (e = crowd_init(sh)) ||
	    (e = mailbox_init(&sh->mail)) ||
	    (e = stream_scratch_new(&sh->scratch)))
		return e;
	if ((e = route_init(sh)))
		return e;
	if (!(sh->rx = malloc(RX_SIZE)) ||
	    !(sh->parcels = calloc(b->n, sizeof(*sh->parcels))))
		return NJ_NOMEM;
	sh->mail_watch =
	    (struct watch){ .fd = sh->mail.fd, .fn = on_mail, .want = LOOP_IN };
	if ((e = loop_add(sh->loop, &sh->mail_watch)) || (e = ports_init(sh)))
		return e;
	return timers_start(sh);
}

size_t
shard_drain(struct shard *sh, bool last)
{
	struct letter *l;
	size_t n = 0;

	sh->stopping = true;
	durable_turn_begins(sh);
	for (; (l = mailbox_take(&sh->mail)); n++)
		take_letter(sh, l);
	n += groups_held(sh);
	calls_fini(sh);
	if (last) {
		/* what their ends cause is taken in another round */
		n += sh->home.numbers.n + (sh->home.ending != NULL);
		sessions_end_all(sh);
	}
	write_out(sh);
	bury(sh);
	return n;
}

void
shard_fini(struct shard *sh)
{
	assert(list_empty(&sh->conns));
	if (sh->walks.next)
		walks_fini(sh);
	for (unsigned i = 0; i < sh->n_spare; i++)
		buf_fini(&sh->spare[i]);
	match_fini(&sh->match);
	fanout_fini(&sh->fan);
	route_fini(sh);
	groups_fini(&sh->groups);
	quota_fini(&sh->quota);
	buf_fini(&sh->source);
	buf_fini(&sh->retainer.text);
	giveback_end(&sh->giveback);
	durable_fini(sh);
	home_fini(&sh->home);
	for (unsigned i = 0; sh->parcels && i < sh->broker->n; i++)
		assert(!sh->parcels[i]);
	free(sh->parcels);
	free(sh->ports);
	free(sh->rx);
	port_set_unref(sh->set);
	stream_scratch_free(sh->scratch);
	if (sh->mail.tail)
		mailbox_fini(&sh->mail);
	crowd_fini(sh);
	loop_free(sh->loop);
}
