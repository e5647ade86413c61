/* SPDX-License-Identifier: Apache-2.0
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge.h"
#include "sim.h"
#include "wire/decode.h"
#include "wire/encode.h"

#define PATIENCE_MS 12000
#define GOING_MAX   10 /* publishes under way: below every receive maximum */

void
client_init(struct client *c, unsigned n)
{
	*c = (struct client){ .n = n };
	snprintf(c->id, sizeof c->id, "client-%02u", n);
	act_draw(c);
}

void
client_fini(struct client *c)
{
	buf_fini(&c->in);
	buf_fini(&c->out);
}

void
client_forget(struct client *c)
{
	c->n_going = c->n_in2 = 0;
	c->subscribed = false;
}

/* The connection's end. */

void
client_lose(struct client *c)
{
	c->state = AWAY;
	c->conn = NULL;
	c->in.off = c->in.len = 0;
	c->out.off = c->out.len = 0;
	c->acks_n = 0;
	c->asked = 0;
	c->stalled_until = 0;
	memset(c->alias_in, 0, sizeof c->alias_in);
	memset(c->alias_out, 0, sizeof c->alias_out);
	c->next_call = sim->now +
	    (chance(&sim->plan, 700) ? pick(&sim->plan, 500)
				     : pick(&sim->plan, 20000));
}

static void
flush(struct client *c)
{
	struct slice s = buf_slice(&c->out);
	size_t n;

	if (!c->conn || s.n == 0)
		return;
	n = net_send(c->conn, s.p, s.n);
	buf_drain(&c->out, n);
	if (n > 0)
		c->last_tx = sim->now;
}

void
client_leave(struct client *c, bool orderly)
{
	struct nconn *conn = c->conn;

	if (!conn)
		return;
	flush(c);
	client_lose(c);
	net_hangup(conn, orderly);
}

bool
client_idle(const struct client *c)
{
	return c->state == HERE && c->n_going == 0 && c->n_in2 == 0 &&
	    c->acks_n == 0 && c->asked == 0 && buf_len(&c->out) == 0 &&
	    buf_len(&c->in) == 0;
}

void
client_describe(const struct client *c, char *dst, size_t size)
{
	snprintf(dst, size,
	    "%s: state %d, %u publishes, %u received (%u), %u acks, %u "
	    "requests, "
	    "%zu bytes in, %zu out",
	    c->id, (int)c->state, c->n_going, c->n_in2, c->in2[0], c->acks_n,
	    c->asked, buf_len(&c->in), buf_len(&c->out));
}

/* Sending. */

static uint16_t
new_pid(struct client *c)
{
	for (;;) {
		bool used = false;

		/* identifiers come round soon, so that they are used again */
		c->last_pid = (uint16_t)(c->last_pid % 100 + 1);
		for (unsigned i = 0; i < c->n_going; i++)
			used |= c->going[i].pid == c->last_pid;
		if (!used)
			return c->last_pid;
	}
}

static uint64_t
will_topic(bool retain)
{
	if (!retain)
		return pick(&sim->plan, RETAINED);
	if (chance(&sim->plan, 500))
		return RETAINED + pick(&sim->plan, N_RETAINED);
	return LAST_WORDS + pick(&sim->plan, TOPICS - LAST_WORDS);
}

static void
make_will(struct client *c, struct connect *k, struct buf *payload)
{
	uint32_t uid;

	k->has_will = true;
	k->will.retain = chance(&sim->plan, 400);
	k->will.topic = slice_str(topics[will_topic(k->will.retain)]);
	k->will.qos = (uint8_t)pick(&sim->plan, 3);
	uid = model_message(c, (const char *)k->will.topic.p, k->will.qos,
	    k->will.retain, true, 0, MQTT_EXPIRY_NEVER);
	if (c->version == MQTT5 && chance(&sim->plan, 600)) {
		k->will.props.seen = PROP_BIT(PROP_WILL_DELAY);
		k->will.props.will_delay = (uint32_t)pick(&sim->plan, 12);
	}
	if (payload_put(payload, uid, 0))
		abort();
	k->will.payload = buf_slice(payload);
}

static void
make_props(struct client *c, struct connect *k, uint32_t expiry_s)
{
	struct props *p = &k->props;

	if (expiry_s) {
		p->seen |= PROP_BIT(PROP_SESSION_EXPIRY);
		p->session_expiry = expiry_s;
	}
	if (c->receive_max) {
		p->seen |= PROP_BIT(PROP_RECEIVE_MAX);
		p->receive_max = c->receive_max;
	}
	if (c->alias_max) {
		p->seen |= PROP_BIT(PROP_TOPIC_ALIAS_MAX);
		p->topic_alias_max = c->alias_max;
	}
	if (c->max_packet) {
		p->seen |= PROP_BIT(PROP_MAX_PACKET_SIZE);
		p->max_packet_size = c->max_packet;
	}
}

void
client_call(struct client *c, bool clean, uint32_t expiry_s)
{
	struct connect k = {
		.version = c->version,
		.clean_start = clean,
		.keep_alive = c->keep_alive,
		.client_id = slice_str(c->id),
	};
	struct buf payload = { 0 };

	if (!(c->conn = net_dial(c)))
		return;
	if (c->login) {
		k.has_username = true;
		k.username = LIT("someone");
	}
	if (c->version == MQTT5)
		make_props(c, &k, expiry_s);
	if (!sim->draining && chance(&sim->plan, 400))
		make_will(c, &k, &payload);
	trace("%s calls on conn %u: v%d clean %d expiry %u keep alive %u%s",
	    c->id, c->conn->id, (int)c->version, clean, expiry_s, c->keep_alive,
	    !k.has_will		? ""
		: k.will.retain ? ", with a retained will"
				: ", with a will");
	if (encode_connect(&c->out, &k))
		abort();
	buf_fini(&payload);
	c->state = CALLING;
	c->hurried = false;
	c->called_at = c->last_tx = c->last_rx = sim->now;
	flush(c);
}

static uint16_t
alias_for(struct client *c, unsigned topic, bool *known)
{
	uint16_t a;

	*known = false;
	if (c->version != MQTT5 || c->server_aliases == 0 || c->state != HERE ||
	    chance(&sim->plan, 500))
		return 0;
	a = (uint16_t)(1 +
	    pick(&sim->plan,
		c->server_aliases < CLIENT_ALIASES ? c->server_aliases
						   : CLIENT_ALIASES));
	*known = c->alias_out[a] == topic + 1;
	c->alias_out[a] = (uint16_t)(topic + 1);
	return a;
}

static void
put_publish(struct client *c, struct publish *p)
{
	if (encode_publish(&c->out, c->version, p))
		abort();
}

void
client_publish(struct client *c, unsigned topic, uint8_t qos, bool retain)
{
	struct publish p = { .qos = qos, .retain = retain };
	struct buf b = { 0 };
	uint32_t len = chance(&sim->plan, 30)
	    ? (uint32_t)pick(&sim->plan, 20000)
	    : (uint32_t)pick(&sim->plan, 60);
	uint32_t expiry = MQTT_EXPIRY_NEVER, uid;
	bool known;

	if (qos > 0 && c->n_going >= GOING_MAX)
		return;
	if (c->version == MQTT5 && chance(&sim->plan, 100)) {
		expiry = 1 + (uint32_t)pick(&sim->plan, 20);
		p.props.seen |= PROP_BIT(PROP_MESSAGE_EXPIRY);
		p.props.message_expiry = expiry;
	}
	uid = model_message(c, topics[topic], qos, retain, false, len, expiry);
	if (!uid)
		return;
	if (payload_put(&b, uid, len))
		abort();
	p.payload = buf_slice(&b);
	p.topic = slice_str(topics[topic]);
	p.props.topic_alias = alias_for(c, topic, &known);
	if (p.props.topic_alias)
		p.props.seen |= PROP_BIT(PROP_TOPIC_ALIAS);
	if (known)
		p.topic = SLICE_NONE;
	if (qos > 0) {
		p.id = new_pid(c);
		c->going[c->n_going++] =
		    (struct going){ .uid = uid, .pid = p.id, .qos = qos };
	}
	trace("%s publishes m%u to %s qos %u%s pid %u", c->id, uid,
	    topics[topic], qos, retain ? " retained" : "", p.id);
	put_publish(c, &p);
	buf_fini(&b);
}

void
client_clear(struct client *c, const char *topic)
{
	struct publish p = {
		.retain = true,
		.topic = slice_str(topic),
	};

	put_publish(c, &p);
}

/* What the last connection left unfinished, in its order [MQTT-4.4.0-1]. */
static void
send_again(struct client *c)
{
	for (unsigned i = 0; i < c->n_going; i++) {
		struct going *g = &c->going[i];
		const struct mmsg *m = &sim->model.msgs[g->uid];
		struct publish p = { .dup = true,
			.qos = g->qos,
			.id = g->pid,
			.retain = m->retain,
			.topic = slice_str(m->topic) };
		struct ack a = { .id = g->pid };
		struct buf b = { 0 };

		trace("%s sends m%u again (pid %u%s)", c->id, g->uid, g->pid,
		    g->released ? ", PUBREL" : "");
		if (g->released) {
			if (encode_ack(&c->out, MQTT_PUBREL, c->version, &a))
				abort();
			continue;
		}
		if (m->expiry_s != MQTT_EXPIRY_NEVER) {
			p.props.seen = PROP_BIT(PROP_MESSAGE_EXPIRY);
			p.props.message_expiry = m->expiry_s;
		}
		if (payload_put(&b, g->uid, m->len))
			abort();
		p.payload = buf_slice(&b);
		put_publish(c, &p);
		buf_fini(&b);
	}
}

void
client_subscribe(
    struct client *c, const struct subscription *s, size_t n, uint32_t id)
{
	struct props p = { 0 };

	if (id && c->version == MQTT5) {
		p.seen = PROP_BIT(PROP_SUBSCRIPTION_ID);
		p.subscription_id = id;
	}
	if (encode_subscribe(&c->out, c->version, new_pid(c), &p, s, n))
		abort();
	c->asked++;
}

void
client_unsubscribe(struct client *c, const char *filter)
{
	struct slice f = slice_str(filter);

	if (encode_unsubscribe(&c->out, c->version, new_pid(c), NULL, &f, 1))
		abort();
	c->asked++;
}

void
client_disconnect(struct client *c, uint8_t code, bool expire)
{
	struct disconnect d = { .code = c->version == MQTT5 ? code : 0 };

	if (expire && c->version == MQTT5) {
		d.props.seen = PROP_BIT(PROP_SESSION_EXPIRY);
		d.props.session_expiry = 0;
	}
	trace("%s says goodbye (0x%02x%s)", c->id, d.code,
	    expire ? ", and ends its session" : "");
	if (encode_disconnect(&c->out, c->version, &d))
		abort();
}

void
client_ping(struct client *c)
{
	if (encode_ping(&c->out, MQTT_PINGREQ))
		abort();
}

/* Acknowledgements leave in the order of what they are for [MQTT-4.6.0-2]. */
static void
ack_later(struct client *c, enum mqtt_type type, uint16_t pid, uint8_t code)
{
	uint64_t at = sim->now + pick(&sim->plan, c->ack_ms + 1);
	unsigned last = (c->acks_at + c->acks_n - 1) % CLIENT_ACKS;

	if (c->acks_n == CLIENT_ACKS)
		abort();
	if (c->acks_n > 0 && at < c->acks[last].at)
		at = c->acks[last].at;
	c->acks[(c->acks_at + c->acks_n++) % CLIENT_ACKS] =
	    (struct ack_due){ at, (uint8_t)type, code, pid };
}

static void
send_acks(struct client *c)
{
	while (c->acks_n > 0 && c->acks[c->acks_at].at <= sim->now) {
		struct ack_due *d = &c->acks[c->acks_at];
		struct ack a = { .id = d->pid, .code = d->code };

		if (encode_ack(
			&c->out, (enum mqtt_type)d->type, c->version, &a))
			abort();
		c->acks_at = (c->acks_at + 1) % CLIENT_ACKS;
		c->acks_n--;
	}
}

/* Receiving. */

static void
on_connack(struct client *c, const struct frame *f)
{
	struct connack k;

	if (decode_connack(f->body, c->version, &k)) {
		sim_fail("%s: a CONNACK that cannot be read", c->id);
		return;
	}
	if (k.code != 0)
		return;
	c->state = HERE;
	c->here_at = sim->now;
	c->server_aliases = props_has(&k.props, PROP_TOPIC_ALIAS_MAX)
	    ? k.props.topic_alias_max
	    : 0;
	send_again(c);
}

static bool
seen2(struct client *c, uint16_t pid)
{
	for (unsigned i = 0; i < c->n_in2; i++)
		if (c->in2[i] == pid)
			return true;
	return false;
}

static bool
topic_of(struct client *c, const struct publish *p, char *dst, size_t size)
{
	uint16_t a = p->props.topic_alias;
	bool has =
	    c->version == MQTT5 && props_has(&p->props, PROP_TOPIC_ALIAS);

	if (p->topic.n)
		snprintf(dst, size, "%.*s", (int)p->topic.n,
		    (const char *)p->topic.p);
	if (!has)
		return p->topic.n > 0;
	if (a == 0 || a > c->alias_max || a > CLIENT_ALIASES) {
		sim_fail("%s: topic alias %u of %u", c->id, a, c->alias_max);
		return false;
	}
	if (p->topic.n) /* [MQTT-3.3.2-8] */
		snprintf(c->alias_in[a], sizeof c->alias_in[a], "%s", dst);
	else
		snprintf(dst, size, "%s", c->alias_in[a]);
	return dst[0] != '\0';
}

static void
on_publish(struct client *c, const struct frame *f)
{
	struct publish p;
	char topic[256] = "";
	bool again;

	if (decode_publish(f->flags, f->body, c->version, &p) ||
	    !topic_of(c, &p, topic, sizeof topic)) {
		sim_fail("%s: a PUBLISH that cannot be read", c->id);
		return;
	}
	again = p.qos == 2 && seen2(c, p.id);
	if (!again)
		model_received(c, topic, &p);
	/* what comes late of a session that has ended will not be released */
	if (p.qos == 2 && !again &&
	    c->conn->edge->session == sim->model.now[c->n]) {
		if (c->n_in2 == CLIENT_IN2)
			abort();
		c->in2[c->n_in2++] = p.id;
	}
	if (p.qos)
		ack_later(c, p.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, p.id,
		    RC_SUCCESS);
}

static void
on_pubrel(struct client *c, uint16_t pid)
{
	unsigned i = 0;

	while (i < c->n_in2 && c->in2[i] != pid)
		i++;
	if (i < c->n_in2)
		c->in2[i] = c->in2[--c->n_in2];
	ack_later(c, MQTT_PUBCOMP, pid, RC_SUCCESS);
}

static struct going *
going_find(struct client *c, uint16_t pid)
{
	for (unsigned i = 0; i < c->n_going; i++)
		if (c->going[i].pid == pid)
			return &c->going[i];
	return NULL;
}

static void
going_done(struct client *c, struct going *g)
{
	if (!g)
		return;
	memmove(g, g + 1, (size_t)(c->going + --c->n_going - g) * sizeof *g);
}

static void
on_ack(struct client *c, const struct frame *f)
{
	struct ack a;
	struct going *g;

	if (decode_ack((enum mqtt_type)f->type, f->body, c->version, &a)) {
		sim_fail("%s: an acknowledgement that cannot be read", c->id);
		return;
	}
	if (f->type == MQTT_PUBREL) {
		on_pubrel(c, a.id);
		return;
	}
	g = going_find(c, a.id);
	if (f->type == MQTT_PUBREC && a.code < 0x80) {
		if (g)
			g->released = true;
		ack_later(c, MQTT_PUBREL, a.id, RC_SUCCESS);
		return;
	}
	going_done(c, g);
}

/* False: the connection is no more. */
static bool
on_packet(struct client *c, const struct frame *f)
{
	switch ((enum mqtt_type)f->type) {
	case MQTT_CONNACK:
		on_connack(c, f);
		return c->state == HERE;
	case MQTT_PUBLISH:
		on_publish(c, f);
		return true;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		on_ack(c, f);
		return true;
	case MQTT_SUBACK:
	case MQTT_UNSUBACK:
		c->asked--;
		c->subscribed = true;
		return true;
	case MQTT_PINGRESP:
		return true;
	case MQTT_DISCONNECT:
		return false;
	default:
		sim_fail("%s: packet of type %u", c->id, f->type);
		return false;
	}
}

static bool
receive(struct client *c)
{
	bool alive = net_recv(c->conn, &c->in);
	struct slice in = buf_slice(&c->in);
	struct frame f;
	enum nj_err e;
	size_t used = 0;

	while (in.n > 0) {
		struct slice before = in;

		if ((e = frame_take(&in, 0, &f))) {
			if (e != NJ_AGAIN)
				sim_fail("%s: bytes that are no packet", c->id);
			break;
		}
		c->last_rx = sim->now;
		used += before.n - in.n;
		if (!on_packet(c, &f)) {
			alive = false;
			break;
		}
	}
	buf_drain(&c->in, used);
	return alive;
}

static void
keep_alive(struct client *c)
{
	if (c->keep_alive && c->state == HERE &&
	    (!c->forgets || sim->draining) && buf_len(&c->out) == 0 &&
	    sim->now - c->last_tx > c->keep_alive * 500ull)
		client_ping(c);
}

void
client_step(struct client *c)
{
	if (c->conn && sim->now >= c->stalled_until && !receive(c)) {
		client_leave(c, chance(&sim->plan, 800));
		return;
	}
	if (c->conn && !sim->draining && c->state == CALLING &&
	    sim->now - c->called_at > PATIENCE_MS) {
		client_leave(c, false);
		return;
	}
	if (c->state == HERE && sim->now >= c->stalled_until) {
		send_acks(c);
		keep_alive(c);
	}
	act(c);
	flush(c);
}
