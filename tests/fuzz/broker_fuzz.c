/* SPDX-License-Identifier: Apache-2.0
 * broker_fuzz - some clients and a whole broker.  The input is a program: each
 *               step lets one client send something, be cut, wait, or lets time
 *               pass.  Whatever happens, what the broker says must be packets
 *               that a client can read and may be sent, and everything must be
 *               freed in the end.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../scenario/world.h"
#include "base/log.h"
#include "broker/broker.h"
#include "fuzz.h"
#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/frame.h"
#include "wire/topic.h"

#define PEERS	  6
#define STEPS_MAX 400
#define ALIASES	  10 /* the world's */

struct peer {
	int fd;
	enum mqtt_ver version; /* 0: nobody knows */
	bool began, greeted, method, stalled, acks, half_open, told;
	uint16_t window;
	uint32_t max_packet;
	bool alias[ALIASES + 1];
	uint16_t alias_max;
	struct buf in;
	struct buf late; /* packet half sent */
};

struct run {
	struct world w;
	struct peer peers[PEERS];
	struct slice left; /* of the input */
};

/* The input as choices. */

static uint8_t
pick(struct run *r)
{
	uint8_t v;

	if (r->left.n == 0)
		return 0;
	v = r->left.p[0];
	r->left = slice_of(r->left.p + 1, r->left.n - 1);
	return v;
}

static uint32_t
pick_u32(struct run *r)
{
	uint32_t v = pick(r);

	switch (v & 3) {
	case 0:
		return v >> 2;
	case 1:
		return (v >> 2) << 8 | pick(r);
	case 2:
		return UINT32_MAX - (v >> 2);
	default:
		v = v << 8 | pick(r);
		v = v << 8 | pick(r);
		return v << 8 | pick(r);
	}
}

static struct slice
pick_bytes(struct run *r)
{
	size_t n = pick(r);
	struct slice s;

	n = n < r->left.n ? n : r->left.n;
	s = slice_of(r->left.p, n);
	r->left = slice_of(r->left.p + n, r->left.n - n);
	return s;
}

/* Few, so that clients meet. */
static const char *const names[] = { "a", "a/b", "a/b/c", "b", "$SYS/x", "/",
	"a//c", "$share/g/a", "a/+", "#", "", "\xc3\xa4/\xe2\x82\xac" };
static const char *const filters[] = { "#", "a/#", "+/b", "a/b", "a", "+/+/c",
	"$SYS/#", "$share/g/#", "$share/g/a/+", "$share/h/a", "$share//a",
	"$share/g/", "a/#/b", "b", "/+", "\xc3\xa4/+" };
static const char *const ids[] = { "c0", "c1", "c2", "c3", "", "\x01\x1b[2J" };

#define ANY(r, table) \
	slice_str((table)[pick(r) % (sizeof(table) / sizeof *(table))])

static struct slice
pick_name(struct run *r)
{
	if (pick(r) % 16 == 0)
		return pick_bytes(r);
	return ANY(r, names);
}

static struct slice
pick_payload(struct run *r)
{
	static const uint8_t zeros[70000];
	uint8_t n = pick(r);

	if (n < 200)
		return slice_of(zeros, n % 64);
	return n < 240 ? slice_of(zeros, n * 4u) : slice_of(zeros, n * 270u);
}

/* What the broker says. */

static void
peer_cut(struct peer *p)
{
	if (p->fd >= 0)
		(void)close(p->fd);
	buf_fini(&p->in);
	buf_fini(&p->late);
	*p = (struct peer){ .fd = -1 };
}

static void send_bytes(struct run *r, struct peer *p, struct slice s);

static void
answer(struct run *r, struct peer *p, enum mqtt_type type, uint16_t id)
{
	struct buf b = { 0 };
	struct ack a = { .id = id };

	if (!p->acks)
		return;
	HOLDS(encode_ack(&b, type, p->version, &a) == NJ_OK);
	send_bytes(r, p, buf_slice(&b));
	buf_fini(&b);
}

static void
hear_publish(struct run *r, struct peer *p, const struct frame *f)
{
	struct publish m;

	HOLDS(decode_publish(f->flags, f->body, p->version, &m) == NJ_OK);
	HOLDS(m.topic.n == 0 || topic_name_ok(m.topic));
	HOLDS(!p->max_packet || f->size <= p->max_packet);
	if (props_has(&m.props, PROP_TOPIC_ALIAS)) {
		uint16_t alias = m.props.topic_alias;

		HOLDS(alias >= 1 && alias <= p->alias_max);
		HOLDS(m.topic.n > 0 || p->alias[alias]);
		p->alias[alias] = true;
	} else {
		HOLDS(m.topic.n > 0);
	}
	if (m.qos > 0)
		answer(r, p, m.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, m.id);
}

static void
hear_ack(struct run *r, struct peer *p, const struct frame *f)
{
	struct ack a;

	HOLDS(decode_ack((enum mqtt_type)f->type, f->body, p->version, &a) ==
	    NJ_OK);
	if (f->type == MQTT_PUBREC && a.code < RC_UNSPECIFIED)
		answer(r, p, MQTT_PUBREL, a.id);
	if (f->type == MQTT_PUBREL)
		answer(r, p, MQTT_PUBCOMP, a.id);
}

static void
hear(struct run *r, struct peer *p, const struct frame *f)
{
	struct connack k;
	struct suback s;
	struct disconnect d;

	HOLDS(!p->told); /* DISCONNECT was the last word */
	/* [MQTT-3.2.0-1] */
	if (f->type != MQTT_AUTH) {
		HOLDS(p->greeted == (f->type != MQTT_CONNACK));
		p->greeted = true;
	}
	if (!p->version)
		return;
	switch ((enum mqtt_type)f->type) {
	case MQTT_CONNACK:
		HOLDS(decode_connack(f->body, p->version, &k) == NJ_OK);
		HOLDS(!k.session_present || k.code == 0);
		break;
	case MQTT_PUBLISH:
		hear_publish(r, p, f);
		break;
	case MQTT_PUBACK:
	case MQTT_PUBREC:
	case MQTT_PUBREL:
	case MQTT_PUBCOMP:
		hear_ack(r, p, f);
		break;
	case MQTT_SUBACK:
		HOLDS(decode_suback(f->body, p->version, &s) == NJ_OK);
		break;
	case MQTT_UNSUBACK:
		HOLDS(decode_unsuback(f->body, p->version, &s) == NJ_OK);
		break;
	case MQTT_PINGRESP:
		HOLDS(decode_empty(f->body) == NJ_OK);
		break;
	case MQTT_DISCONNECT:
		HOLDS(p->version == MQTT5); /* 3.14 of 3.1.1 */
		HOLDS(decode_disconnect(f->body, p->version, &d) == NJ_OK);
		p->told = true;
		break;
	case MQTT_AUTH:
		/* [MQTT-4.12.0-6] */
		HOLDS(p->version == MQTT5 && p->method);
		HOLDS(decode_auth(f->body, &d) == NJ_OK);
		HOLDS(d.code == (p->greeted ? d.code : RC_CONTINUE_AUTH));
		HOLDS(slice_is(d.props.auth_method, "steps"));
		HOLDS(!p->max_packet || f->size <= p->max_packet);
		break;
	default:
		HOLDS(!"a packet for clients");
	}
}

static void
hear_all(struct run *r, struct peer *p)
{
	struct slice in;
	struct frame f;
	enum nj_err e = NJ_OK;
	struct buf had = p->in;

	p->in = (struct buf){ 0 };
	in = buf_slice(&had);
	while (p->fd >= 0 && in.n > 0 && (e = frame_take(&in, 0, &f)) == NJ_OK)
		hear(r, p, &f);
	HOLDS(e == NJ_OK || e == NJ_AGAIN);
	if (p->fd >= 0)
		HOLDS(buf_put_slice(&p->in, in) == NJ_OK);
	buf_fini(&had);
}

static void
listen_to(struct run *r, struct peer *p)
{
	static uint8_t chunk[65536];
	ssize_t n = 0;

	if (p->fd < 0 || p->stalled)
		return;
	while ((n = recv(p->fd, chunk, sizeof chunk, 0)) > 0)
		HOLDS(buf_put(&p->in, chunk, (size_t)n) == NJ_OK);
	hear_all(r, p);
	if (n == 0 && p->fd >= 0)
		peer_cut(p);
}

static void
turn(struct run *r)
{
	world_turn(&r->w);
	for (unsigned i = 0; i < PEERS; i++)
		listen_to(r, &r->peers[i]);
}

/* What clients say.  What the broker does not take is lost, which makes another
 * kind of garbage. */
static void
send_bytes(struct run *r, struct peer *p, struct slice s)
{
	(void)r;
	if (p->fd < 0 || p->half_open || s.n == 0)
		return;
	p->began = true;
	if (send(p->fd, s.p, s.n, MSG_NOSIGNAL) != (ssize_t)s.n)
		p->half_open = true;
}

/* Whole, in two parts, or damaged. */
static void
send_packet(struct run *r, struct peer *p, struct buf *b)
{
	uint8_t how = pick(r);
	struct slice s = buf_slice(b);
	size_t at;

	if (s.n == 0)
		return;
	if (buf_len(&p->late)) { /* finishes what was begun */
		send_bytes(r, p, buf_slice(&p->late));
		buf_fini(&p->late);
	}
	at = pick(r) % s.n;
	if (how >= 240) {
		b->p[b->off + at] ^= pick(r);
		p->version = 0; /* who knows what it says now */
	} else if (how >= 220 && at > 0) {
		HOLDS(buf_put(&p->late, s.p + at, s.n - at) == NJ_OK);
		s.n = at;
	}
	send_bytes(r, p, s);
}

static void
auth_props(struct run *r, struct props *q)
{
	static const char *const data[] = { "", "u:p", "more", "v:p" };
	uint8_t how = pick(r);

	q->seen |= PROP_BIT(PROP_AUTH_METHOD);
	q->auth_method = slice_str(how & 64 ? "x" : "steps");
	if (how & 128)
		return;
	q->seen |= PROP_BIT(PROP_AUTH_DATA);
	q->auth_data = slice_str(data[how % 4]);
}

static void
connect_props(struct run *r, struct peer *p, struct props *q)
{
	uint8_t has = pick(r);

	if (has & 1) {
		q->seen |= PROP_BIT(PROP_SESSION_EXPIRY);
		q->session_expiry = pick_u32(r);
	}
	if (has & 2) {
		q->seen |= PROP_BIT(PROP_RECEIVE_MAX);
		p->window = q->receive_max = 1 + pick(r) % 8;
	}
	if (has & 4) {
		q->seen |= PROP_BIT(PROP_MAX_PACKET_SIZE);
		p->max_packet = q->max_packet_size = 20 + pick_u32(r) % 4096;
	}
	if (has & 8) {
		q->seen |= PROP_BIT(PROP_TOPIC_ALIAS_MAX);
		q->topic_alias_max = (uint16_t)pick_u32(r);
		p->alias_max =
		    q->topic_alias_max < ALIASES ? q->topic_alias_max : ALIASES;
	}
	if (has & 16) {
		q->seen |= PROP_BIT(PROP_REQUEST_PROBLEM);
		q->request_problem = pick(r) & 1;
	}
	if (has & 128) {
		auth_props(r, q);
	}
}

static void
publish_props(struct run *r, struct props *q, struct buf *extra)
{
	uint8_t has = pick(r);

	if (has & 1) {
		q->seen |= PROP_BIT(PROP_MESSAGE_EXPIRY);
		q->message_expiry = pick_u32(r);
	}
	if (has & 2) {
		q->seen |= PROP_BIT(PROP_RESPONSE_TOPIC);
		q->response_topic = ANY(r, names);
	}
	if (has & 4) {
		q->seen |= PROP_BIT(PROP_CORRELATION_DATA);
		q->correlation_data = slice_str("cd");
	}
	if (has & 8)
		HOLDS(props_put_user(extra, slice_str("k"), slice_str("v")) ==
		    NJ_OK);
	q->extra = buf_slice(extra);
}

static void
do_connect(struct run *r, struct peer *p)
{
	static const enum mqtt_ver versions[] = { MQTT5, MQTT311, MQTT5,
		MQTT31 };
	uint8_t flags = pick(r);
	struct buf b = { 0 }, extra = { 0 };
	struct connect c = {
		.version = versions[flags & 3],
		.clean_start = flags & 4,
		.has_will = flags & 8,
		.has_username = flags & 16,
		.has_password = flags & 32,
		.keep_alive = flags & 64 ? pick(r) : 0,
		.client_id = ANY(r, ids),
		.username = slice_str("u"),
		.password = slice_str("p"),
	};

	if (p->began) /* a second one */
		c.version = p->version ? p->version : MQTT5;
	if (c.version == MQTT5 && !p->began)
		connect_props(r, p, &c.props);
	if (c.has_will) {
		uint8_t how = pick(r);

		c.will.qos = how % 3;
		c.will.retain = how & 16;
		c.will.topic = pick_name(r);
		c.will.payload = pick_payload(r);
		publish_props(r, &c.will.props, &extra);
		if (how & 32) {
			c.will.props.seen |= PROP_BIT(PROP_WILL_DELAY);
			c.will.props.will_delay = pick_u32(r);
		}
	}
	if (!p->began)
		p->version = c.version;
	p->method |= props_has(&c.props, PROP_AUTH_METHOD);
	if (encode_connect(&b, &c) == NJ_OK)
		send_packet(r, p, &b);
	buf_fini(&b);
	buf_fini(&extra);
}

static enum mqtt_ver
version_of(const struct peer *p)
{
	return p->version ? p->version : MQTT5;
}

static void
do_publish(struct run *r, struct peer *p)
{
	uint8_t flags = pick(r);
	struct buf b = { 0 }, extra = { 0 };
	struct publish m = {
		.qos = flags % 3,
		.dup = (flags & 64) && flags % 3,
		.retain = flags & 128,
		.id = 0,
		.topic = pick_name(r),
	};

	if (m.qos)
		m.id = 1 + pick(r) % 40;
	m.payload = pick_payload(r);
	publish_props(r, &m.props, &extra);
	if (flags & 32) {
		m.props.seen |= PROP_BIT(PROP_TOPIC_ALIAS);
		m.props.topic_alias = pick(r) % (ALIASES + 3);
	}
	if (encode_publish(&b, version_of(p), &m) == NJ_OK)
		send_packet(r, p, &b);
	buf_fini(&b);
	buf_fini(&extra);
}

static void
do_subscribe(struct run *r, struct peer *p, bool undo)
{
	struct subscription v[4] = { { .qos = 0 } };
	struct slice list[4];
	struct props q = { 0 };
	struct buf b = { 0 };
	uint16_t id = 1 + pick(r) % 8;
	size_t n = 1 + pick(r) % 4;
	enum nj_err e;

	for (size_t i = 0; i < n; i++) {
		uint8_t o = pick(r);

		v[i] = (struct subscription){
			.filter = ANY(r, filters),
			.qos = o % 3,
			.no_local = o & 16,
			.retain_as_published = o & 32,
			.retain_handling = (o >> 6) % 3,
		};
		list[i] = v[i].filter;
	}
	if (!undo && pick(r) & 1) {
		q.seen = PROP_BIT(PROP_SUBSCRIPTION_ID);
		q.subscription_id = 1 + pick_u32(r) % MQTT_VARINT_MAX;
	}
	e = undo ? encode_unsubscribe(&b, version_of(p), id, &q, list, n)
		 : encode_subscribe(&b, version_of(p), id, &q, v, n);
	if (e == NJ_OK)
		send_packet(r, p, &b);
	buf_fini(&b);
}

static void
do_ack(struct run *r, struct peer *p)
{
	static const uint8_t codes[] = { 0, 0, 0x10, 0x80, 0x92, 0x97 };
	enum mqtt_type type = (enum mqtt_type)(MQTT_PUBACK + pick(r) % 4);
	struct ack a = { .id = 1 + pick(r) % 40,
		.code = codes[pick(r) % sizeof codes] };
	struct buf b = { 0 };

	if (encode_ack(&b, type, version_of(p), &a) == NJ_OK)
		send_packet(r, p, &b);
	buf_fini(&b);
}

static void
do_disconnect(struct run *r, struct peer *p)
{
	uint8_t how = pick(r);
	struct disconnect d = { .code = how & 1 ? RC_DISCONNECT_WITH_WILL : 0 };
	struct buf b = { 0 };

	if (how & 2) {
		d.props.seen = PROP_BIT(PROP_SESSION_EXPIRY);
		d.props.session_expiry = pick_u32(r);
	}
	if ((how & 12) == 12) {
		static const uint8_t codes[] = { RC_CONTINUE_AUTH, RC_SUCCESS,
			RC_CONTINUE_AUTH, RC_REAUTHENTICATE };

		d = (struct disconnect){ .code = codes[how >> 6] };
		if (how & 16)
			auth_props(r, &d.props);
	}
	if ((how & 12) == 12
		? encode_auth(&b, &d) == NJ_OK
		: encode_disconnect(&b, version_of(p), &d) == NJ_OK)
		send_packet(r, p, &b);
	buf_fini(&b);
}

static void
do_ping(struct run *r, struct peer *p)
{
	struct buf b = { 0 };

	HOLDS(encode_ping(&b, MQTT_PINGREQ) == NJ_OK);
	send_packet(r, p, &b);
	buf_fini(&b);
}

static void
do_raw(struct run *r, struct peer *p)
{
	send_bytes(r, p, pick_bytes(r));
	p->version = 0;
}

static void
do_time(struct run *r)
{
	static const uint32_t ms[] = { 1, 100, 1000, 1500, 10000, 30001, 100000,
		86400000 };

	r->w.now += ms[pick(r) % 8];
	turn(r);
}

static void
do_reload(struct run *r)
{
	uint8_t o = pick(r);

	r->w.opts.limits.session.max_inflight = o & 1 ? 3 : 20;
	r->w.opts.limits.message_size_limit = o & 2 ? 500 : 0;
	r->w.opts.limits.max_packet_size = o & 4 ? 600 : 0;
	r->w.opts.limits.retain_available = !(o & 8);
	r->w.anonymous = !(o & 16);
	r->w.port.max_qos = o & 32 ? 1 : 2;
	r->w.port.max_topic_alias = o & 64 ? 3 : ALIASES;
	(void)world_set(&r->w, "mount_point", o & 128 ? "a/" : "none");
	HOLDS(world_reload(&r->w) == NJ_OK);
}

static void
meet(struct run *r, struct peer *p, uint8_t how)
{
	peer_cut(p);
	p->fd = world_connect(&r->w, how & 8 ? 4096 : 0);
	HOLDS(p->fd >= 0);
	p->acks = how & 16;
}

static void
step(struct run *r)
{
	uint8_t op = pick(r), how = pick(r);
	struct peer *p = &r->peers[how % PEERS];

	if (p->fd < 0)
		meet(r, p, how);
	switch (op % 20) {
	case 0:
	case 1:
		do_connect(r, p);
		break;
	case 2:
	case 3:
		do_subscribe(r, p, false);
		break;
	case 4:
		do_subscribe(r, p, true);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		do_publish(r, p);
		break;
	case 9:
	case 10:
		do_ack(r, p);
		break;
	case 11:
		do_ping(r, p);
		break;
	case 12:
		do_disconnect(r, p);
		break;
	case 13:
		do_raw(r, p);
		break;
	case 14:
		peer_cut(p);
		break;
	case 15:
		do_time(r);
		break;
	case 16:
		p->stalled = how & 32;
		break;
	case 17:
		(void)shutdown(p->fd, SHUT_WR);
		p->half_open = true;
		break;
	case 18:
		if (how & 32)
			do_reload(r);
		else
			(void)world_answer(&r->w,
			    how & 128	   ? AUTH_CONTINUE
				: how & 64 ? AUTH_ALLOW
					   : AUTH_DENY);
		break;
	default:
		break;
	}
	if (op < 200)
		turn(r);
}

static void
begin(struct run *r)
{
	uint8_t o = pick(r);

	world_init(&r->w, o & 1 ? 2 : 1);
	r->w.port.max_topic_alias_broker = ALIASES;
	if (o & 2) {
		r->w.opts.limits.session.max_queued = 5;
		r->w.opts.limits.session.max_subscriptions = 3;
		r->w.opts.limits.max_sessions = 3;
		r->w.opts.max_retained = 3;
		r->w.opts.limits.out_soft = 2048;
		r->w.opts.limits.receive_max = 3;
		r->w.opts.limits.max_keepalive = 60;
	}
	if (o & 4) {
		r->w.opts.limits.session.queue_qos0 = true;
		r->w.opts.limits.session.upgrade_qos = true;
		r->w.opts.limits.sys_interval_s = 10;
	}
	if (o & 8)
		r->w.later = true;
	if (o & 16)
		(void)world_set(&r->w, "user", "u:p");
	if (o & 32)
		(void)world_set(&r->w, "mount_point", "a/");
	HOLDS(world_start(&r->w) == NJ_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	static struct run r;

	if (!quiet)
		__atomic_store_n(&log_types_on, 0, __ATOMIC_RELAXED);
	quiet = true;
	r = (struct run){ .left = slice_of(data, size) };
	for (unsigned i = 0; i < PEERS; i++)
		r.peers[i].fd = -1;
	begin(&r);
	for (unsigned i = 0; r.left.n > 0 && i < STEPS_MAX; i++)
		step(&r);
	for (unsigned i = 0; i < 4; i++)
		turn(&r);
	for (unsigned i = 0; i < PEERS; i++)
		peer_cut(&r.peers[i]);
	world_turn(&r.w);
	world_fini(&r.w);
	return 0;
}
