/* SPDX-License-Identifier: Apache-2.0
 * deliver - the model's view of messages on their way to a session: whether
 *           they may go there, and the packet identifiers that carry them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"
#include "sim.h"
#include "wire/decode.h"

static struct flight *
flight_find(struct msession *s, uint16_t pid)
{
	for (unsigned i = 0; i < s->n_flight; i++)
		if (s->flight[i].pid == pid)
			return &s->flight[i];
	return NULL;
}

static void
flight_del(struct msession *s, struct flight *f)
{
	*f = s->flight[--s->n_flight];
}

/* The answer was read by a connection that lives, and so it counts. */
static bool
heard(const struct edge *e)
{
	return !e->over && e->session && e->session->edge == e &&
	    edge_surely(e);
}

/* A client's PUBACK, PUBREC or PUBCOMP. */
void
edge_answer(struct edge *e, uint8_t type, uint16_t pid, uint8_t code)
{
	struct msession *s = e->session;
	struct flight *f = s ? flight_find(s, pid) : NULL;

	if (!f)
		return;
	trace("  m%u, pid %u: answer %u (0x%02x)%s", f->uid, pid, type, code,
	    heard(e) ? "" : ", perhaps not heard");
	if (!heard(e)) {
		f->maybe_on = true;
		return;
	}
	if (f->conn == e->conn->id && (type != MQTT_PUBREC || code >= 0x80) &&
	    e->window > 0)
		e->window--;
	if (type == MQTT_PUBREC && code < 0x80)
		f->state = F_RELEASED;
	else
		flight_del(s, f);
}

void
edge_pubrel(struct edge *e, uint16_t pid)
{
	struct msession *s = e->session;
	struct flight *f = s ? flight_find(s, pid) : NULL;

	trace("  PUBREL %u", pid);
	if (!f)
		return;
	f->pubrel = true;
	if (e->over || s->blurred || s->vague)
		return;
	f->conn = e->conn->id;
	if (f->qos != 2)
		sim_fail("%s gets PUBREL for packet %u of QoS %u",
		    e->client->id, pid, f->qos);
	else if (f->state != F_RELEASED && !f->maybe_on)
		sim_fail("%s gets PUBREL for packet %u before its PUBREC",
		    e->client->id, pid);
}

/* What is sent again keeps its identifier [MQTT-4.3.2-1], [MQTT-4.3.3-1]. */
static void
check_other(struct edge *e, uint32_t uid, uint16_t pid)
{
	const struct msession *s = e->session;

	for (unsigned i = 0; i < s->n_flight; i++)
		if (s->flight[i].uid == uid && !s->flight[i].maybe_on)
			sim_fail("%s: m%u was packet %u, and is sent again "
				 "as %u",
			    e->client->id, uid, s->flight[i].pid, pid);
}

/* Packet identifiers, DUP and the window (2.2.1, 3.3.1.1, 4.4, 4.9). */
static void
check_flight(struct edge *e, const struct publish *p, uint32_t uid)
{
	struct msession *s = e->session;
	struct flight *f = flight_find(s, p->id);
	const struct mmsg *m = &sim->model.msgs[uid];
	struct got *g = model_got(s, uid);

	if (f && f->maybe_on && f->uid != uid) {
		flight_del(s, f);
		f = NULL;
	}
	if (f && f->uid != uid && !s->blurred)
		sim_fail("%s: packet %u is m%u and m%u at a time",
		    e->client->id, p->id, f->uid, uid);
	/* what was sent while the disk took nothing is not known to have been */
	if (f && !p->dup && !s->blurred && !f->maybe_on &&
	    (sim->ills == 0 || sim->cuts == 0 || p->qos == 2))
		sim_fail(
		    "%s: m%u is sent again without DUP", e->client->id, uid);
	if (f && f->state == F_RELEASED && !f->maybe_on && !s->blurred)
		sim_fail(
		    "%s: m%u is sent again after PUBREC", e->client->id, uid);
	if (f && f->conn == e->conn->id && !s->blurred && !f->maybe_on)
		sim_fail("%s: m%u is sent twice on a connection", e->client->id,
		    uid);
	if (!f && p->dup && !m->retain && m->times == 1 && !s->blurred)
		check_other(e, uid, p->id);
	if (!f && p->dup && s->conns < 2)
		sim_fail("%s: m%u has DUP the first time", e->client->id, uid);
	/* a group's may have come from another member, and does again */
	if (!p->dup && (sim->ills == 0 || sim->cuts == 0 || p->qos == 2) &&
	    !m->retain && !s->blurred &&
	    (sim->cuts == 0 || s->client->role != ROLE_WORKER) &&
	    ++g->fresh > (m->times ? m->times : 1))
		sim_fail("%s: m%u is sent %u times as a new one", e->client->id,
		    uid, g->fresh);
	if (!f) {
		if (s->n_flight == FLIGHTS)
			abort();
		f = &s->flight[s->n_flight++];
		*f = (struct flight){ .pid = p->id };
	}
	f->uid = uid;
	f->qos = p->qos;
	f->state = F_SENT;
	f->pubrel = false;
	f->conn = e->conn->id;
	f->maybe_on = false;
	if (++e->window > e->receive_max) /* [MQTT-3.3.4-9] */
		sim_fail("%s: %u messages under way, receive maximum %u",
		    e->client->id, e->window, e->receive_max);
}

/* Subscription identifiers (3.3.4): of each subscription that matched, and of
 * no other. */
static void
check_ids(
    struct edge *e, const struct publish *p, const struct mmsg *m, uint32_t uid)
{
	struct msession *s = e->session;
	struct slice raw = p->props.raw;
	uint32_t ids[64], id;
	unsigned n = 0;

	while (n < 64 && props_next_id(&raw, &id) == NJ_OK)
		ids[n++] = id;
	for (unsigned i = 0; i < n; i++) {
		bool known = false;

		for (unsigned k = 0; k < s->n_subs; k++)
			known |= s->subs[k].id == ids[i] &&
			    model_matches(s->subs[k].shared
				    ? strchr(strchr(s->subs[k].filter, '/') + 1,
					  '/') +
					1
				    : s->subs[k].filter,
				m->topic);
		if (!known && !s->vague)
			sim_fail("%s: m%u names subscription %u", e->client->id,
			    uid, ids[i]);
	}
	for (unsigned k = 0; k < s->n_subs; k++) {
		const struct msub *u = &s->subs[k];
		bool named = u->id == 0;

		if (u->shared || p->retain || m->times > 1 ||
		    !model_sure(u, m) || model_is_own(s, u, m) ||
		    (m->will && u->no_local && m->client == s->client->n))
			continue;
		for (unsigned i = 0; i < n; i++)
			named |= ids[i] == u->id;
		if (!named && !s->vague && seam_refused() == 0 && !m->retain)
			sim_fail("%s: m%u does not name subscription %u (%s)",
			    e->client->id, uid, u->id, u->filter);
	}
}

/* For whoever reads the trace of a failure. */
static void
explain(const struct msession *s, const struct mmsg *m)
{
	trace("  m%u: qos %u, from #%" PRIu64 " to #%" PRIu64 " (#%" PRIu64
	      "), read %u times",
	    (unsigned)(m - sim->model.msgs), m->qos, m->from, m->upto, m->late,
	    m->times);
	for (unsigned i = 0; i < s->n_subs; i++) {
		const struct msub *u = &s->subs[i];

		if (model_maybe(u, m))
			trace("  %s qos %u id %u%s: asked #%" PRIu64
			      " granted #%" PRIu64 " undone #%" PRIu64
			      " gone #%" PRIu64,
			    u->filter, u->qos, u->id,
			    u->no_local ? " no local" : "", u->asked,
			    u->granted, u->undone, u->gone);
	}
}

/* Whether this session may get it, and how. */
static void
check_due(struct edge *e, const struct publish *p, struct mmsg *m, uint32_t uid)
{
	struct msession *s = e->session;
	struct due d = model_due(s, m), g = model_shared(s, m, NULL);
	uint8_t hi = d.hi > g.hi ? d.hi : g.hi;

	if (s->vague || m->retain)
		return; /* retained ones come by SUBSCRIBE as well */
	if (p->retain || p->qos > hi || (!d.maybe && !g.maybe))
		explain(s, m);
	if (p->retain)
		sim_fail("%s: m%u was not retained, and comes so",
		    e->client->id, uid);
	if (!d.maybe && !g.maybe) {
		sim_fail("%s: m%u to %s, which it does not subscribe to",
		    e->client->id, uid, m->topic);
		return;
	}
	if (p->qos > hi)
		sim_fail("%s: m%u at QoS %u, %u at most", e->client->id, uid,
		    p->qos, hi);
	if (!g.maybe && m->times == 1 && !m->will && d.n_sure == d.n_maybe &&
	    p->qos != d.hi)
		sim_fail("%s: m%u at QoS %u, not %u", e->client->id, uid,
		    p->qos, d.hi);
}

static void
check_expiry(
    struct edge *e, const struct publish *p, const struct mmsg *m, uint32_t uid)
{
	uint64_t age = sim->now - m->at_ms;

	if (m->expiry_s == MQTT_EXPIRY_NEVER || e->version != MQTT5)
		return;
	if (!props_has(&p->props, PROP_MESSAGE_EXPIRY)) {
		sim_fail("%s: m%u without its expiry", e->client->id, uid);
		return;
	}
	/* [MQTT-3.3.2-6]; it may have waited in a buffer since */
	if (p->props.message_expiry > m->expiry_s ||
	    (m->times == 1 &&
		(m->expiry_s - p->props.message_expiry) * 1000ull > age + 999))
		sim_fail("%s: m%u expires in %u s; it was %u, %u ms ago",
		    e->client->id, uid, p->props.message_expiry, m->expiry_s,
		    (unsigned)age);
	/* [MQTT-3.3.2-5] */
	if (!p->dup && m->times == 1 && p->props.message_expiry == 0 &&
	    age > m->expiry_s * 1000ull + sim->starve_max + 40000)
		sim_fail("%s: m%u is long expired", e->client->id, uid);
}

/* Its client's end is seen when the turn ends. */
static void
will_ahead(struct mmsg *m, uint32_t uid)
{
	for (unsigned i = 0; i < sim->net.n; i++) {
		struct edge *e = sim->net.v[i]->edge;

		if (e->will_uid == uid && !e->over) {
			m->from = e->live_seq;
			m->times = 1;
			e->will_seen = true;
		}
	}
}

static void
check_will(struct edge *e, struct mmsg *m, uint32_t uid)
{
	if (!m->will)
		return;
	if (m->from == NEVER)
		will_ahead(m, uid);
	if (m->state == M_NEVER)
		sim_fail("%s gets will m%u, which was forgotten", e->client->id,
		    uid);
	else if (m->from == NEVER)
		sim_fail("%s gets will m%u of a client that is here",
		    e->client->id, uid);
	else if (sim->now < m->not_before)
		/* its session must have ended, in this turn */
		sim->model.wills[m->client].early = true;
}

static bool
is_sys(struct edge *e, const struct publish *p)
{
	uint16_t a = p->props.topic_alias;
	char *known = a && a <= CLIENT_ALIASES ? e->alias[a] : NULL;
	char topic[64];

	snprintf(topic, sizeof topic, "%.*s", (int)p->topic.n,
	    (const char *)p->topic.p);
	if (known && p->topic.n)
		snprintf(known, sizeof e->alias[0], "%s", topic);
	return strncmp(known ? known : topic, "$SYS/", 5) == 0;
}

/* A PUBLISH to a client. */
void
edge_publish(struct edge *e, const struct frame *f, size_t size)
{
	struct msession *s = e->session;
	struct publish p;
	struct mmsg *m;
	uint32_t uid;

	if (!s || decode_publish(f->flags, f->body, e->version, &p)) {
		sim_fail("conn %u: PUBLISH is not well formed", e->conn->id);
		return;
	}
	if (is_sys(e, &p) || p.payload.n == 0)
		return;
	uid = payload_uid(p.payload);
	if (uid == 0 || uid >= sim->model.n_msgs) {
		sim_fail("conn %u: a message that nobody sent", e->conn->id);
		return;
	}
	m = &sim->model.msgs[uid];
	trace("  m%u to %s qos %u pid %u%s%s", uid, e->client->id, p.qos, p.id,
	    p.dup ? " dup" : "", p.retain ? " retained" : "");
	if (m->state == M_NEW && !m->will)
		sim_fail("m%u was never read by the broker", uid);
	check_will(e, m, uid);
	check_due(e, &p, m, uid);
	check_expiry(e, &p, m, uid);
	check_ids(e, &p, m, uid);
	if (p.qos == 0 && p.dup) /* [MQTT-3.3.1-2] */
		sim_fail("%s: m%u has QoS 0 and DUP", e->client->id, uid);
	if (p.qos > 0 && !e->over && !s->vague)
		check_flight(e, &p, uid);
}
