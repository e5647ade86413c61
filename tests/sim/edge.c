/* SPDX-License-Identifier: Apache-2.0
 */
#include "edge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/conn.h"
#include "disk.h"
#include "sim.h"
#include "wire/decode.h"

struct edge *
edge_new(struct nconn *c)
{
	struct edge *e = calloc(1, sizeof *e);

	if (!e)
		abort();
	e->conn = c;
	e->client = c->client;
	e->refusals = seam_refused();
	return e;
}

void
edge_free(struct edge *e)
{
	if (!e)
		return;
	edge_over(e);
	buf_fini(&e->in);
	buf_fini(&e->out);
	free(e);
}

struct conn *
edge_peek(const struct edge *e)
{
	for (unsigned i = 0; sim->broker && i < sim->broker->n; i++) {
		struct list *all = &sim->broker->shards[i].conns;

		for (struct list *at = all->next; at != all; at = at->next) {
			struct conn *c = LIST_OWNER(at, struct conn, all);

			if (c->stream && stream_fd(c->stream) == e->conn->fd)
				return c;
		}
	}
	return NULL;
}

/* What was read now is handled now. */
bool
edge_surely(const struct edge *e)
{
	struct conn *c = edge_peek(e);

	return c && c->state == CONN_LIVE && !c->link.closing && !c->doomed &&
	    !c->saving;
}

bool
edge_waits(const struct edge *e)
{
	const struct conn *c = edge_peek(e);

	return c && (c->paused || c->saving || c->yields);
}

/* From the client. */

static void
edge_on_connect(struct edge *e, const struct frame *f)
{
	struct connect k;

	if (decode_connect(f->body, &k))
		return;
	e->called = true;
	e->called_ms = sim->now;
	e->called_seq = sim->seq;
	e->unwritten = power_ill();
	e->version = k.version;
	e->clean = k.clean_start;
	e->expiry_s = k.version == MQTT5
	    ? props_has(&k.props, PROP_SESSION_EXPIRY) ? k.props.session_expiry
						       : 0
	    : k.clean_start ? 0
			    : MQTT_EXPIRY_NEVER;
	e->receive_max = UINT16_MAX;
	if (k.version == MQTT5 && props_has(&k.props, PROP_RECEIVE_MAX))
		e->receive_max = k.props.receive_max;
	if (k.version == MQTT5 && props_has(&k.props, PROP_MAX_PACKET_SIZE))
		e->max_packet = k.props.max_packet_size;
	if (k.version == MQTT5 && props_has(&k.props, PROP_TOPIC_ALIAS_MAX))
		e->alias_max = k.props.topic_alias_max;
	if (k.has_will) {
		e->will_uid = payload_uid(k.will.payload);
		if (props_has(&k.will.props, PROP_WILL_DELAY))
			e->will_delay = k.will.props.will_delay;
	}
}

static void
await(struct edge *e, enum mqtt_type type, uint16_t pid, uint32_t uid)
{
	if (e->n_wait == EDGE_WAIT)
		abort();
	e->wait[e->n_wait++] = (struct wait){ (uint8_t)type, pid, uid };
}

static void
came(struct edge *e, struct mmsg *m)
{
	if (!m->held)
		m->times++;
	m->held = false;
	m->late = NEVER;
	if (!m->by)
		m->by = e->session;
	if (m->state != M_NEW)
		return;
	m->state = M_SEEN;
	m->from = sim->seq;
	m->at_ms = sim->now;
}

/* What is read before CONNACK is handled together with it, and may reach
 * others before CONNACK leaves. */
static void
look_ahead(const struct edge *e)
{
	struct slice in = buf_slice(&e->in);
	struct publish p;
	struct frame f;
	uint32_t uid;

	while (in.n > 0 && frame_take(&in, 0, &f) == NJ_OK) {
		if (f.type != MQTT_PUBLISH ||
		    decode_publish(f.flags, f.body, e->version, &p) ||
		    !(uid = payload_uid(p.payload)) ||
		    sim->model.msgs[uid].state != M_NEW)
			continue;
		sim->model.msgs[uid].state = M_SEEN;
		sim->model.msgs[uid].from = sim->seq;
		sim->model.msgs[uid].at_ms = sim->now;
		sim->model.msgs[uid].times = 1;
		sim->model.msgs[uid].held = true;
	}
}

static void
edge_on_publish(struct edge *e, const struct frame *f)
{
	struct model *md = &sim->model;
	struct publish p;
	uint32_t uid;

	if (decode_publish(f->flags, f->body, e->version, &p))
		return;
	if (p.payload.n == 0) {
		for (unsigned i = 0; i < TOPICS; i++)
			if (slice_is(p.topic, topics[i])) {
				uid = model_message(e->client, topics[i], 0,
				    true, false, 0, MQTT_EXPIRY_NEVER);
				md->msgs[uid].clear = true;
				goto known;
			}
		return;
	}
	uid = payload_uid(p.payload);
known:
	if (uid == 0 || uid >= md->n_msgs) {
		sim_fail("the network has changed a message");
		return;
	}
	came(e, &md->msgs[uid]);
	if (p.qos > 0)
		await(e, p.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, p.id, uid);
	else if (e->n_early < 64)
		e->early[e->n_early++] = uid;
	else
		md->msgs[uid].state = M_MAYBE;
}

/* When it may have been handled first. */
static uint64_t
since(const struct edge *e)
{
	return e->replays ? e->called_seq : sim->seq;
}

static struct msub *
sub_add(struct msession *s, uint64_t asked)
{
	if (s->n_subs == s->cap_subs) {
		s->cap_subs = s->cap_subs ? s->cap_subs * 2 : 16;
		s->subs = realloc(s->subs, s->cap_subs * sizeof *s->subs);
		if (!s->subs)
			abort();
	}
	s->subs[s->n_subs] = (struct msub){
		.asked = asked, .granted = NEVER, .undone = NEVER, .gone = NEVER
	};
	return &s->subs[s->n_subs++];
}

static void
sub_undo(struct msession *s, const char *filter, uint64_t at)
{
	for (unsigned i = 0; i < s->n_subs; i++)
		if (s->subs[i].undone == NEVER &&
		    strcmp(s->subs[i].filter, filter) == 0)
			s->subs[i].undone = at;
}

static void
edge_on_subscribe(struct edge *e, const struct frame *f)
{
	struct msession *s = e->session;
	struct subscribe k;
	struct subscription one;
	char filter[FILTER_MAX];

	if (!s || decode_subscribe(f->body, e->version, &k))
		return;
	while (next_subscription(&k.list, e->version, &one)) {
		struct msub *u;

		snprintf(filter, sizeof filter, "%.*s", (int)one.filter.n,
		    (const char *)one.filter.p);
		sub_undo(s, filter, since(e));
		u = sub_add(s, since(e));
		memcpy(u->filter, filter, sizeof filter);
		u->shared = strncmp(filter, "$share/", 7) == 0;
		u->qos = one.qos;
		u->handling = one.retain_handling;
		u->no_local = one.no_local;
		u->rap = one.retain_as_published;
		u->pid = k.id;
		u->conn = e->conn->id;
		if (props_has(&k.props, PROP_SUBSCRIPTION_ID))
			u->id = k.props.subscription_id;
		trace("  %s asks for %s qos %u id %u%s", e->client->id, filter,
		    u->qos, u->id, u->no_local ? " no local" : "");
	}
	await(e, MQTT_SUBACK, k.id, 0);
}

static void
edge_on_unsubscribe(struct edge *e, const struct frame *f)
{
	struct msession *s = e->session;
	struct subscribe k;
	struct slice one;
	char filter[FILTER_MAX];

	if (!s || decode_unsubscribe(f->body, e->version, &k))
		return;
	while (next_unsubscription(&k.list, &one)) {
		snprintf(filter, sizeof filter, "%.*s", (int)one.n,
		    (const char *)one.p);
		for (unsigned i = 0; i < s->n_subs; i++)
			if (s->subs[i].undone == NEVER &&
			    strcmp(s->subs[i].filter, filter) == 0) {
				s->subs[i].undo_pid = k.id;
				s->subs[i].undo_conn = e->conn->id;
			}
		sub_undo(s, filter, since(e));
		trace("  %s wants no more of %s", e->client->id, filter);
	}
	await(e, MQTT_UNSUBACK, k.id, 0);
}

static void
edge_on_disconnect(struct edge *e, const struct frame *f)
{
	struct disconnect d;

	if (decode_disconnect(f->body, e->version, &d))
		return;
	if (d.code == RC_SUCCESS)
		e->goodbye = edge_surely(e) ? GOES : MAYBE_GOES;
	if (!e->session || !props_has(&d.props, PROP_SESSION_EXPIRY))
		return;
	e->session->expiry_lo = 0;
	if (edge_surely(e))
		e->session->expiry_hi = 0;
}

static void
packet_in(struct edge *e, const struct frame *f)
{
	struct ack a;

	sim->seq++;
	if (e->version || f->type == MQTT_CONNECT)
		trace("conn %u > %u (%u bytes)", e->conn->id, f->type, f->size);
	switch ((enum mqtt_type)f->type) {
	case MQTT_CONNECT:
		edge_on_connect(e, f);
		break;
	case MQTT_PUBLISH:
		e->publish_turn = sim->turns;
		edge_on_publish(e, f);
		break;
	case MQTT_SUBSCRIBE:
		edge_on_subscribe(e, f);
		break;
	case MQTT_UNSUBSCRIBE:
		edge_on_unsubscribe(e, f);
		break;
	case MQTT_DISCONNECT:
		edge_on_disconnect(e, f);
		break;
	case MQTT_PINGREQ:
		await(e, MQTT_PINGRESP, 0, 0);
		break;
	case MQTT_PUBREL:
		if (decode_ack(MQTT_PUBREL, f->body, e->version, &a) == NJ_OK)
			await(e, MQTT_PUBCOMP, a.id, 0);
		break;
	default:
		if (decode_ack((enum mqtt_type)f->type, f->body, e->version,
			&a) == NJ_OK)
			edge_answer(e, f->type, a.id, a.code);
		break;
	}
	if (edge_surely(e)) {
		e->live_ms = sim->now;
		e->live_seq = sim->seq;
	}
}

/* To the client. */

/* Answers of one kind come in the order of what they answer [MQTT-4.6.0-2 to
 * -4]. */
static uint32_t
answered(struct edge *e, uint8_t type, uint16_t pid)
{
	for (unsigned i = 0; i < e->n_wait; i++) {
		uint32_t uid = e->wait[i].uid;

		if (e->wait[i].type != type)
			continue;
		if (e->wait[i].pid != pid)
			sim_fail("conn %u: answer %u to packet %u, while %u "
				 "waits for its own",
			    e->conn->id, type, pid, e->wait[i].pid);
		memmove(&e->wait[i], &e->wait[i + 1],
		    (--e->n_wait - i) * sizeof e->wait[0]);
		return uid;
	}
	sim_fail("conn %u: answer %u to packet %u, which was not asked",
	    e->conn->id, type, pid);
	return 0;
}

static void
edge_on_connack(struct edge *e, const struct frame *f)
{
	struct connack k;

	if (decode_connack(f->body, e->version ? e->version : MQTT311, &k)) {
		sim_fail("conn %u: CONNACK is not well formed", e->conn->id);
		return;
	}
	trace("  %s: CONNACK 0x%02x present %d", e->client->id, k.code,
	    k.session_present);
	if (e->live)
		sim_fail("conn %u: a second CONNACK", e->conn->id);
	if (k.code != 0) {
		e->refused = true;
		if (k.session_present) /* [MQTT-3.2.2-6] */
			sim_fail("session present with code %u", k.code);
		return;
	}
	e->live_ms = sim->now;
	e->live_seq = sim->seq;
	model_begin(e, k.session_present);
	e->replays = true;
	edge_in(e, NULL, 0); /* what came before it */
	e->replays = false;
}

/* A turn is one step here, and what happens within it nobody can see from
 * outside; so this looks inside: what is acknowledged has been posted to the
 * shards it is for. */
static void
check_posted(const struct edge *e, uint32_t uid)
{
	const struct conn *c = edge_peek(e);

	for (unsigned i = 0; c && i < sim->broker->n; i++)
		if (c->shard->parcels[i])
			sim_fail(
			    "m%u is acknowledged, and not posted yet", uid);
}

static void
taken(struct edge *e, uint32_t uid, uint8_t code)
{
	struct mmsg *m = &sim->model.msgs[uid];

	if (!uid)
		return;
	check_posted(e, uid);
	m->late = sim->seq;
	if (m->state == M_TAKEN)
		return;
	m->state = code < 0x80 ? M_TAKEN : M_REFUSED;
	m->upto = sim->seq;
	trace("  m%u of %s: %s (0x%02x)", uid, e->client->id,
	    code < 0x80 ? "taken" : "refused", code);
	if (code >= 0x80 && seam_refused() == 0 && !sim->is.lossy &&
	    (sim->ills == 0 || code != RC_QUOTA_EXCEEDED))
		sim_fail("m%u was refused with 0x%02x", uid, code);
	if (code != RC_NO_MATCHING_SUBSCRIBERS)
		return;
	for (unsigned i = 0; i < sim->model.n_sessions; i++) {
		struct msession *s = sim->model.sessions[i];

		if (model_lives(s) && model_due(s, m).sure)
			sim_fail("m%u: no matching subscribers, but %s is one",
			    uid, s->client->id);
	}
}

static void
edge_on_suback(struct edge *e, const struct frame *f)
{
	struct msession *s = e->session;
	struct suback k;
	size_t at = 0;

	if (decode_suback(f->body, e->version, &k)) {
		sim_fail("conn %u: SUBACK is not well formed", e->conn->id);
		return;
	}
	answered(e, MQTT_SUBACK, k.id);
	for (unsigned i = 0; i < s->n_subs; i++) {
		struct msub *u = &s->subs[i];
		uint8_t code;

		if (u->pid != k.id || u->conn != e->conn->id)
			continue;
		if (at >= k.codes.n) {
			sim_fail("SUBACK of %s is too short", e->client->id);
			return;
		}
		code = k.codes.p[at++];
		u->pid = 0;
		if (u->gone != NEVER) /* replaced on another connection */
			continue;
		if (code >= 0x80) {
			/* the power may have failed while it started */
			if (seam_refused() == 0 && !disk_is_off() &&
			    sim->ills == 0)
				sim_fail("%s is refused %s with 0x%02x",
				    e->client->id, u->filter, code);
			u->undone = u->asked;
			u->gone = sim->seq;
			continue;
		}
		if (code != u->qos)
			sim_fail("%s got QoS %u for %s", e->client->id, code,
			    u->filter);
		u->granted = sim->seq;
		for (unsigned j = 0; j < i; j++)
			if (strcmp(s->subs[j].filter, u->filter) == 0 &&
			    s->subs[j].gone == NEVER)
				s->subs[j].gone = sim->seq;
	}
}

static void
edge_on_unsuback(struct edge *e, const struct frame *f)
{
	struct msession *s = e->session;
	struct suback k;
	bool sure = false;

	if (decode_unsuback(f->body, e->version, &k)) {
		sim_fail("conn %u: UNSUBACK is not well formed", e->conn->id);
		return;
	}
	answered(e, MQTT_UNSUBACK, k.id);
	for (unsigned i = 0; i < s->n_subs; i++) {
		struct msub *u = &s->subs[i];

		if (u->undo_pid != k.id || u->undo_conn != e->conn->id ||
		    u->undone == NEVER || u->gone != NEVER)
			continue;
		sure |= u->granted != NEVER;
		u->gone = sim->seq;
	}
	if (sure && e->version == MQTT5 && k.codes.p[0] != RC_SUCCESS &&
	    !s->vague)
		sim_fail("%s was subscribed, but UNSUBACK says 0x%02x",
		    e->client->id, k.codes.p[0]);
}

static void
packet_out(struct edge *e, const struct frame *f)
{
	struct ack a;

	sim->seq++;
	trace("conn %u < %u (%u bytes)", e->conn->id, f->type, f->size);
	if (e->max_packet && f->size > e->max_packet) /* [MQTT-3.1.2-24] */
		sim_fail("%s gets %u bytes and takes %u", e->client->id,
		    f->size, e->max_packet);
	if (f->type != MQTT_CONNACK && !e->live) /* [MQTT-3.2.0-1] */
		sim_fail(
		    "conn %u: packet %u before CONNACK", e->conn->id, f->type);
	switch ((enum mqtt_type)f->type) {
	case MQTT_CONNACK:
		edge_on_connack(e, f);
		return;
	case MQTT_PUBLISH:
		edge_publish(e, f, f->size);
		return;
	case MQTT_SUBACK:
		edge_on_suback(e, f);
		return;
	case MQTT_UNSUBACK:
		edge_on_unsuback(e, f);
		return;
	case MQTT_PINGRESP:
		answered(e, MQTT_PINGRESP, 0);
		return;
	case MQTT_DISCONNECT:
		e->shut = true;
		if (e->version != MQTT5) /* [MQTT-3.14.0-1] */
			sim_fail("DISCONNECT to a client of version %d",
			    (int)e->version);
		return;
	default:
		break;
	}
	if (decode_ack((enum mqtt_type)f->type, f->body, e->version, &a)) {
		sim_fail(
		    "conn %u: %u is not well formed", e->conn->id, f->type);
		return;
	}
	if (f->type == MQTT_PUBREL)
		edge_pubrel(e, a.id);
	else
		taken(e, answered(e, f->type, a.id), a.code);
}

/* Bytes to packets. */

static void
gather(struct edge *e, struct buf *b, const uint8_t *p, size_t n,
    void (*fn)(struct edge *, const struct frame *))
{
	struct slice in;
	struct frame f;
	size_t used = 0, before;

	if (n > 0 && buf_put(b, p, n))
		abort();
	in = buf_slice(b);
	for (before = in.n; in.n > 0; before = in.n) {
		enum nj_err err;

		/* what comes before CONNACK waits for it */
		if (b == &e->in && e->called && !e->live)
			break;
		if ((err = frame_take(&in, 0, &f)) == NJ_AGAIN)
			break;
		if (err) {
			sim_fail(
			    "conn %u: bytes that are no packet", e->conn->id);
			break;
		}
		used += before - in.n;
		fn(e, &f);
	}
	buf_drain(b, used);
}

void
edge_in(struct edge *e, const uint8_t *p, size_t n)
{
	gather(e, &e->in, p, n, packet_in);
	if (e->called && !e->live)
		look_ahead(e);
}

void
edge_out(struct edge *e, const uint8_t *p, size_t n)
{
	gather(e, &e->out, p, n, packet_out);
}

/* Ends. */

void
edge_over(struct edge *e)
{
	if (e->over)
		return;
	sim->seq++;
	e->over = true;
	if (e->called)
		model_left(e);
}

/* Messages at QoS 0 that were read have been handled, now that the turn is
 * over, unless the connection was told to wait. */
static void
settle(struct edge *e)
{
	struct conn *c = edge_peek(e);

	/* what it has not heard when it ends, it never will */
	if (!c || c->state == CONN_LIVE)
		e->paused = false;
	e->paused |= edge_waits(e);
	/* it does not wait for the disk any more, which takes nothing */
	if (c && c->state == CONN_SAVING && !c->saving)
		e->unwritten |= power_ill();
	/* what came behind the packet that found no memory was not heard, nor
	 * behind one that could not be kept, and whose sender cannot be told */
	if (c && c->state != CONN_LIVE && e->session &&
	    (e->refusals != seam_refused() ||
		(power_ill() && e->version != MQTT5))) {
		e->session->blurred = true;
		e->session->expiry_hi = e->expiry_s;
		if (e->goodbye == GOES)
			e->goodbye = MAYBE_GOES;
	}
	if (e->n_early == 0 || (!e->over && (!e->live || !c || e->paused)))
		return;
	for (unsigned i = 0; i < e->n_early; i++) {
		struct mmsg *m = &sim->model.msgs[e->early[i]];

		/* one that found no memory is not answered either */
		m->state = c && c->state == CONN_LIVE && !c->link.closing &&
			e->refusals == seam_refused()
		    ? M_TAKEN
		    : M_MAYBE;
		m->upto = m->late = m->state == M_TAKEN ? sim->seq : NEVER;
	}
	e->n_early = 0;
}

/* A will that was seen before its client's end was: that end must have come
 * in the same turn. */
static void
check_early_will(struct edge *e)
{
	struct conn *c;

	if (!e->will_seen || e->over)
		return;
	e->will_seen = false;
	if ((c = edge_peek(e)) && c->state == CONN_LIVE && !c->link.closing)
		sim_fail("will m%u was sent, but %s is here", e->will_uid,
		    e->client->id);
}

void
edge_turn(void)
{
	struct net *net = &sim->net;

	sim->seq++;
	for (unsigned i = 0; i < net->n; i++) {
		check_early_will(net->v[i]->edge);
		settle(net->v[i]->edge);
		net->v[i]->edge->refusals = seam_refused();
	}
	model_turn();
}
