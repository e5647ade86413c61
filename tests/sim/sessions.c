/* SPDX-License-Identifier: Apache-2.0
 * sessions - the model's view of sessions and wills: which live, since when,
 *            and whether they may have ended (3.1.2.4, 3.1.2.5, 3.1.2.11.2).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn.h"
#include "edge.h"
#include "sim.h"

static uint64_t
after(uint64_t ms, uint32_t seconds)
{
	return seconds == MQTT_EXPIRY_NEVER ? NEVER : ms + seconds * 1000ull;
}

/* A shard may not have had a turn for so long. */
static uint64_t
slack(void)
{
	return sim->starve_max + 4000 + 2ull * sim->is.tick_ms;
}

/* Wills. */

static void
will_routed(uint32_t uid, uint64_t from)
{
	struct mmsg *m = &sim->model.msgs[uid];

	trace("  will m%u must have been sent", uid);
	if (m->from == NEVER)
		m->from = from;
	m->times += m->times == 0;
	m->sent_ms = sim->now;
	m->state = seam_refused() ? M_MAYBE : M_TAKEN;
	/* to other shards it goes when the turn ends */
	if (sim->model.n_routed == MODEL_ROUTED)
		abort();
	sim->model.routed[sim->model.n_routed++] = uid;
}

static void
will_maybe(uint32_t uid, uint64_t from)
{
	struct mmsg *m = &sim->model.msgs[uid];

	if (!uid)
		return;
	if (m->from == NEVER)
		m->from = from;
	m->times += m->times == 0;
	m->sent_ms = sim->now;
	m->state = M_MAYBE;
}

static void
will_never(uint32_t uid)
{
	trace("  will m%u is forgotten", uid);
	sim->model.msgs[uid].state = M_NEVER;
	sim->model.msgs[uid].sent_ms = sim->now;
}

/* Its connection has ended. */
static void
will_left(struct edge *e)
{
	uint32_t uid = e->will_uid, delay = e->will_delay;
	struct msession *s = e->session;
	struct mwill *w = &sim->model.wills[e->client->n];
	uint32_t lo = s->expiry_lo < delay ? s->expiry_lo : delay;
	uint32_t hi = s->expiry_hi < delay ? s->expiry_hi : delay;

	if (!uid)
		return;
	if (e->unwritten)
		sim->model.msgs[uid].came_ms = e->live_ms;
	if (e->goodbye == GOES && !e->shut && !e->paused &&
	    e->refusals == seam_refused()) {
		will_never(uid);
		return;
	}
	if (e->goodbye != STAYS) {
		will_maybe(uid, e->live_seq);
		return;
	}
	if (hi == 0) {
		will_routed(uid, e->live_seq);
		return;
	}
	sim->model.msgs[uid].from = e->live_seq;
	sim->model.msgs[uid].not_before = after(s->off_lo, lo);
	trace("  will m%u is due in %u to %u s", uid, lo, hi);
	*w = (struct mwill){ .uid = uid,
		.lo = after(s->off_lo, lo),
		.hi = after(s->off_hi, hi),
		.delay = hi,
		.left_ms = sim->now };
}

/* A CONNECT that may have ended its session, and is not answered yet. */
static bool
calling(unsigned client)
{
	for (unsigned i = 0; i < sim->net.n; i++) {
		const struct edge *e = sim->net.v[i]->edge;

		if (e->client->n == client && e->called && !e->live && !e->over)
			return true;
	}
	return false;
}

void
model_turn(void)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		struct mwill *w = &sim->model.wills[i];

		if (w->uid && w->early && !sim->model.unsure[i] && !calling(i))
			sim_fail("will m%u was sent before its delay was over",
			    w->uid);
		w->early = false;
	}
	for (unsigned i = 0; i < sim->model.n_routed; i++) {
		struct mmsg *m = &sim->model.msgs[sim->model.routed[i]];

		m->upto = m->late = sim->seq;
	}
	sim->model.n_routed = 0;
}

void
model_tick(void)
{
	struct model *md = &sim->model;

	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		struct mwill *w = &md->wills[i];

		/* one whose client is calling may have been forgotten */
		if (w->uid && w->hi != NEVER && !calling(i) &&
		    sim->now > w->hi + slack()) {
			will_routed(w->uid, md->msgs[w->uid].from);
			w->uid = 0;
		}
	}
}

/* The client is back, in its old session or in a new one. */
static void
will_back(struct edge *e, bool resumed, bool unsure)
{
	struct mwill *w = &sim->model.wills[e->client->n];

	if (!w->uid)
		return;
	if (unsure ||
	    (resumed && (w->again || sim->now >= w->lo) &&
		!(w->lost && w->delay == 0))) {
		sim->model.msgs[w->uid].not_before = 0;
		will_maybe(w->uid, 0);
	} else if (resumed && !(w->lost && w->delay == 0)) {
		will_never(w->uid);
		/* not to be sent, power cuts or not: CONNACK was */
		sim->model.msgs[w->uid].sent_ms = 0;
	} else {
		/* [MQTT-3.1.2-8]: its session has ended */
		sim->model.msgs[w->uid].not_before = 0;
		will_routed(w->uid, sim->model.msgs[w->uid].from);
	}
	w->uid = 0;
}

/* Sessions. */

static void
subs_gone(struct msession *s)
{
	for (unsigned i = 0; i < s->n_subs; i++)
		if (s->subs[i].gone == NEVER) {
			if (s->subs[i].undone == NEVER)
				s->subs[i].undone = sim->seq;
			s->subs[i].gone = sim->seq;
		}
}

/* told: by a CONNACK, or it need not be. */
static void
end(unsigned n, bool told)
{
	struct msession *s = sim->model.now[n];

	if (!s)
		return;
	trace("  session of %s has ended", s->client->id);
	s->ended = sim->seq;
	s->ended_ms = sim->now;
	s->told = told;
	subs_gone(s);
	sim->model.now[n] = NULL;
}

/* told: what was before is over for good. */
static struct msession *
begin(struct edge *e, bool vague, bool told)
{
	struct model *md = &sim->model;
	struct msession *s = calloc(1, sizeof *s);

	if (!s || md->n_sessions == MODEL_SESSNS)
		abort();
	s->client = e->client;
	s->born = sim->seq;
	s->ended = NEVER;
	s->vague = vague;
	/* by now its client knows that what was before has ended */
	for (unsigned i = 0; told && i < md->n_sessions; i++)
		md->sessions[i]->told |= md->sessions[i]->client == e->client;
	md->sessions[md->n_sessions++] = s;
	md->now[e->client->n] = s;
	trace("  %s session of %s", vague ? "vague" : "new", e->client->id);
	client_forget(e->client);
	return s;
}

/* It had not expired, whatever happened. */
static bool
surely_lives(const struct msession *s)
{
	return s && after(s->off_lo, s->expiry_lo) > sim->now;
}

bool
model_lives(const struct msession *s)
{
	unsigned n = s->client->n;

	if (s->ended != NEVER || s->vague || sim->model.unsure[n] ||
	    (s->edge ? !edge_surely(s->edge) : !surely_lives(s)))
		return false;
	for (unsigned i = 0; i < sim->net.n; i++) {
		const struct edge *e = sim->net.v[i]->edge;

		if (e->client == s->client && e->called && !e->live && !e->over)
			return false;
	}
	return true;
}

static bool
surely_dead(const struct edge *e, const struct msession *s)
{
	return after(s->off_hi, s->expiry_hi) != NEVER &&
	    after(s->off_hi, s->expiry_hi) + slack() < e->called_ms;
}

/* What CONNACK says about the session, against what can be true. */
static void
check_present(struct edge *e, bool present, bool unsure)
{
	struct msession *s = sim->model.now[e->client->n];

	if (present && e->clean) /* [MQTT-3.2.2-2] */
		sim_fail("%s: clean start, and session present", e->client->id);
	else if (!present && !e->clean && !unsure && surely_lives(s))
		sim_fail("%s: its session was lost", e->client->id);
	else if (present && !unsure && !s)
		sim_fail("%s: a session present that ended", e->client->id);
	else if (present && !unsure && surely_dead(e, s))
		sim_fail("%s: its session should have expired", e->client->id);
}

/* Another CONNECT of this client has been heard, and not been answered. */
static bool
unanswered(const struct edge *e, bool *clean)
{
	bool any = false;

	for (unsigned i = 0; i < sim->net.n; i++) {
		struct edge *o = sim->net.v[i]->edge;
		struct conn *c;

		if (o == e || o->client != e->client || !o->called || o->live ||
		    o->over || ((c = edge_peek(o)) && c->state < CONN_SAVING))
			continue;
		any = true;
		*clean |= o->clean || buf_len(&o->in) > 0;
	}
	return any;
}

void
model_begin(struct edge *e, bool present)
{
	struct model *md = &sim->model;
	unsigned n = e->client->n;
	struct msession *s = md->now[n];
	bool unsure = md->unsure[n], vague = false, undead;

	e->live = true;
	unsure |= unanswered(e, &md->unsure_clean[n]);
	/* [MQTT-3.1.4-3]: whoever had it is taken over from */
	if (s && s->edge && s->edge != e)
		edge_over(s->edge);
	s = md->now[n];
	if (e->version == MQTT31) { /* has no session present flag */
		present = !e->clean && s;
		vague = unsure && !e->clean;
	} else {
		check_present(e, present, unsure);
	}
	if (present && unsure && md->unsure_clean[n])
		vague = true;
	if (present && unsure && (!s || !surely_lives(s)))
		vague = true;
	e->unwritten |= power_ill();
	undead = present && s && s->undead;
	will_back(e, present && !vague, unsure || e->unwritten || undead);
	vague |= undead; /* what came after its end it need not have */
	if (unsure && e->unwritten)
		md->unsure_ms[n] = e->live_ms;
	else if (!e->unwritten)
		md->unsure_ms[n] = 0;
	md->unsure[n] = md->unsure_clean[n] = false;
	if (md->ghosts[n]) {
		subs_gone(md->ghosts[n]);
		md->ghosts[n] = NULL;
	}
	if (!present || vague || !s) {
		/* one that had expired by itself ended without a word, and who
		 * needs nothing kept does not wait for that */
		bool told = !s || e->expiry_s > 0 || surely_lives(s);

		told &= !e->unwritten;
		end(n, told);
		s = begin(e, vague, told);
	}
	if (e->unwritten && !s->unwritten) {
		s->was_off = s->off_lo;
		s->was_lo = s->expiry_lo;
		s->was_hi = s->expiry_hi;
	}
	s->unwritten = e->unwritten;
	s->unnoted = false;
	s->edge = e;
	s->kept |= e->expiry_s > 0;
	s->conns++;
	s->expiry_lo = s->expiry_hi = e->expiry_s;
	e->session = s;
	if (e->will_uid)
		md->msgs[e->will_uid].by = s;
}

/* Its CONNECT was not answered, and may have been heard. */
static void
will_unsure(struct edge *e)
{
	struct mwill *w = &sim->model.wills[e->client->n];

	/* let in, and gone, within one turn: anywhere in it */
	will_maybe(e->will_uid, e->called_seq);
	if (w->uid) {
		sim->model.msgs[w->uid].not_before = 0;
		will_maybe(w->uid, sim->seq);
	}
	w->uid = 0;
}

void
model_left(struct edge *e)
{
	struct model *md = &sim->model;
	struct msession *s = e->session;
	unsigned n = e->client->n;

	if (!e->live) {
		/* the session may have been taken up, and left again */
		md->unsure[n] = true;
		/* what it said after CONNECT may have been heard, too */
		md->unsure_clean[n] |= e->clean || buf_len(&e->in) > 0;
		will_unsure(e);
		if ((s = md->now[n])) {
			s->blurred = true;
			if (e->expiry_s < s->expiry_lo)
				s->expiry_lo = e->expiry_s;
			if (e->expiry_s > s->expiry_hi)
				s->expiry_hi = e->expiry_s;
			s->off_hi = sim->now;
		}
		return;
	}
	if (s->edge != e)
		return;
	trace("  %s has left its session", e->client->id);
	s->edge = NULL;
	s->off_lo = e->live_ms;
	s->off_hi = sim->now;
	if (edge_waits(e) ||
	    (sim->is.shards > 1 && e->publish_turn == sim->turns))
		e->paused = true;
	/* its last answers may have come too late, and so may its last wish */
	if (e->paused || e->refusals != seam_refused()) {
		s->blurred = true;
		s->expiry_hi = e->expiry_s;
	}
	will_left(e);
	if (s->expiry_hi == 0)
		end(n, !s->kept);
}

/* Power cuts. */

/* Old enough to be on disk. */
static bool
is_old(uint64_t ms)
{
	return ms + IDLE_MS < power_sure();
}

/* It comes when the power is back, if it was to be sent. */
static void
will_lost(struct edge *e)
{
	struct msession *s = e->session;
	uint32_t uid = e->will_uid, delay = e->will_delay;
	uint32_t lo = s->expiry_lo < delay ? s->expiry_lo : delay;
	uint32_t hi = s->expiry_hi < delay ? s->expiry_hi : delay;

	if (!uid)
		return;
	if (e->goodbye != STAYS || !edge_surely(e) || e->unwritten) {
		will_maybe(uid, e->live_seq);
		sim->model.msgs[uid].times = 2;
		return;
	}
	trace("  will m%u is due when the power is back", uid);
	sim->model.msgs[uid].from = e->live_seq;
	sim->model.msgs[uid].not_before = after(e->live_ms, lo);
	sim->model.wills[e->client->n] = (struct mwill){ .uid = uid,
		.lo = after(e->live_ms, lo),
		.hi = NEVER,
		.delay = hi,
		.left_ms = sim->now,
		.lost = true };
}

/* A connection that was there to the end.  stopped: of a broker that says so. */
static void
conn_lost(struct edge *e, bool stopped)
{
	struct model *md = &sim->model;
	unsigned n = e->client->n;
	struct msession *s = e->live ? e->session : md->now[n];
	bool surely = edge_surely(e);

	if (e->over)
		return;
	if (e->called && !e->live) {
		md->unsure[n] = true;
		md->unsure_clean[n] |= e->clean || buf_len(&e->in) > 0;
		will_unsure(e);
		if (s && e->expiry_s < s->expiry_lo)
			s->expiry_lo = e->expiry_s;
		if (s && e->expiry_s > s->expiry_hi)
			s->expiry_hi = e->expiry_s;
		if (s && !s->edge)
			s->lost = true;
	} else if (e->live && s->edge == e) {
		trace("  %s has lost its connection", e->client->id);
		will_lost(e);
		s->edge = NULL;
		s->off_lo = stopped && surely ? sim->now : e->live_ms;
		s->lost = true;
		s->sure = surely && !stopped;
		if (edge_waits(e))
			s->expiry_hi = e->expiry_s;
		/* by DISCONNECT, perhaps, which is told to nobody */
		if (s->expiry_hi == 0)
			end(n, !s->kept);
	}
	e->over = true;
}

/* Where it stands, as far as it must be on disk.  What was published again is
 * taken as another, and the one that is under way may not be there. */
static void
flights_lost(struct msession *s)
{
	for (unsigned i = 0; i < s->n_flight; i++) {
		struct flight *f = &s->flight[i];
		const struct mmsg *m = &sim->model.msgs[f->uid];

		if (f->state == F_RELEASED ? !f->pubrel
					   : f->qos == 1 &&
			    (m->state != M_TAKEN || m->times > 1 || m->retain ||
				m->will || s->client->role == ROLE_WORKER))
			f->maybe_on = true;
	}
}

/* Its client came when that could not be recorded, and perhaps never was. */
static void
as_it_was(struct msession *s)
{
	s->off_lo = s->was_off;
	s->sure = false;
	if (s->was_lo < s->expiry_lo)
		s->expiry_lo = s->was_lo;
	if (s->was_hi > s->expiry_hi)
		s->expiry_hi = s->was_hi;
}

/* Its end was told to nobody: it may be back. */
static void
session_lost(struct msession *s)
{
	struct model *md = &sim->model;
	unsigned n = s->client->n;

	if (md->now[n] == s) {
		uint64_t end_ms = after(s->off_hi, s->expiry_hi);

		flights_lost(s);
		s->undead |= !s->edge && !surely_lives(s) &&
		    !is_old(end_ms < sim->now ? end_ms : sim->now);
		if (s->unwritten)
			as_it_was(s);
		s->lost |= !s->edge && (s->unnoted || !is_old(s->off_hi));
		return;
	}
	if (md->now[n] || s->told || is_old(s->ended_ms))
		return;
	trace("  the session of %s may be back", s->client->id);
	md->unsure[n] = md->unsure_clean[n] = true;
	md->ghosts[n] = s;
	for (unsigned i = 0; i < s->n_subs; i++)
		if (s->subs[i].gone == s->ended)
			s->subs[i].gone = NEVER;
}

/* Neither it nor what came of it need be on disk. */
static bool
was_unwritten(const struct mmsg *m)
{
	return m->came_ms && !is_old(m->came_ms);
}

static void
message_lost(struct mmsg *m, uint32_t uid)
{
	struct mwill *w = &sim->model.wills[m->client];

	/* nobody waits for it; of a will it is on disk with its end, see below */
	if (m->retain && (m->qos == 0 || m->will) && m->state == M_TAKEN &&
	    (sim->is.memory || (!m->will && !is_old(m->at_ms))))
		m->state = M_MAYBE;
	/* its time had come: it may have been sent, and is again */
	if (m->will && w->uid == uid && sim->now >= w->lo)
		m->times = 2;
	if (m->will && w->uid == uid && was_unwritten(m)) {
		m->not_before = 0;
		will_maybe(uid, m->from);
		m->times = 2;
		w->uid = 0;
		return;
	}
	/* where there was no memory to record its end, that waits for what was begun
	 * before, and of that for all promises, of which few are kept in a turn */
	if (!m->will || m->sent_ms == 0 || w->uid == uid ||
	    (is_old(m->sent_ms) && !(sim->is.memory && m->state == M_MAYBE)))
		return;
	if (m->state == M_NEVER) {
		will_maybe(uid, sim->seq);
		m->times = 2;
	} else if (m->state == M_TAKEN) {
		/* it is sent again, or need not be */
		m->times = 2;
		m->upto = m->late = NEVER;
		m->not_before = 0;
		m->state = M_MAYBE;
		if (!w->uid && !was_unwritten(m))
			*w = (struct mwill){ .uid = uid,
				.hi = NEVER,
				.left_ms = sim->now,
				.again = true };
	} else if (m->state == M_MAYBE) {
		/* the same, be it that it was sent and nobody knows to whom */
		m->times = 2;
		m->upto = m->late = NEVER;
		m->not_before = 0;
	}
}

void
model_power_lost(bool stopped)
{
	struct model *md = &sim->model;

	sim->seq++;
	model_turn();
	for (unsigned i = 0; i < sim->net.n; i++)
		conn_lost(sim->net.v[i]->edge, stopped);
	for (unsigned i = 0; i < md->n_sessions; i++)
		session_lost(md->sessions[i]);
	for (uint32_t uid = 1; uid < md->n_msgs; uid++)
		message_lost(&md->msgs[uid], uid);
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		if (md->wills[i].uid && !is_old(md->wills[i].left_ms))
			md->wills[i].hi = NEVER;
		/* the disk has what it had before */
		if (md->unsure_ms[i] && !is_old(md->unsure_ms[i]))
			md->unsure[i] = md->unsure_clean[i] = true;
	}
}

/* What has expired meanwhile was not taken up.  At QoS 1 its identifier is free: its
 * client does not remember it. */
static void
flights_back(struct msession *s)
{
	for (unsigned i = 0; i < s->n_flight; i++) {
		struct flight *f = &s->flight[i];
		const struct mmsg *m = &sim->model.msgs[f->uid];

		if (f->qos == 1 && after(m->at_ms, m->expiry_s) <= sim->now)
			f->maybe_on = true;
	}
}

/* It may have written down who is away, and since when. */
void
model_power_tried(void)
{
	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		struct msession *s = sim->model.now[i];

		if (s && s->lost && s->sure) {
			s->off_lo = sim->now;
			s->sure = false;
		}
	}
}

void
model_power_back(void)
{
	struct model *md = &sim->model;

	for (unsigned i = 0; i < SIM_CLIENTS; i++) {
		struct msession *s = md->now[i];
		struct mwill *w = &md->wills[i];

		if (s)
			flights_back(s);
		if (s && s->lost)
			s->off_hi = sim->now;
		if (s && s->lost && s->sure)
			s->off_lo = sim->now;
		if (s && s->lost)
			s->unnoted = sim->started_ill;
		if (s)
			s->lost = s->sure = false;
		if (w->uid && w->hi == NEVER)
			w->hi = after(sim->now, w->delay);
		else if (w->uid && w->hi < sim->now)
			w->hi = sim->now;
	}
}
