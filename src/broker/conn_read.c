/* SPDX-License-Identifier: Apache-2.0
 * conn_read - bytes and handshakes from a connection, as far as its packets.
 */
#include "broker/conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/text.h"
#include "broker/est.h"
#include "broker/fence.h"
#include "broker/guard.h"
#include "broker/login.h"
#include "broker/revoked.h"
#include "broker/route.h"
#include "core/rc.h"
#include "net/tls.h"
#include "wire/decode.h"
#include "wire/ws.h"

#define READ_TURNS 4
#define READ_WORK  (TURN_WORK / 2) /* nor is more read after so much */
/* Of who says much one read is taken in a turn, and of no more bytes, while there
 * are others who say little: those wait for all of it. */
#define READ_PART   (64 * 1024)
#define LITTLE	    256 /* bytes, or fewer, twice in a row */
#define ROOM_MIN    (32 * 1024)
#define ROOM_AHEAD  64
#define BEGAN_SHOWN 16 /* bytes of what is no MQTT */

static void
no_memory(struct conn *c)
{
	stream_end_code(c->stream, WS_CODE_INTERNAL);
	conn_drop(c, "out of memory");
}

/* Keeps bytes of an unfinished packet (or of a client that must wait). */
static bool
keep(struct conn *c, struct slice rest)
{
	if (rest.n == 0 || buf_put(&c->in, rest.p, rest.n) == NJ_OK)
		return true;
	no_memory(c);
	return false;
}

static uint32_t
max_packet(const struct conn *c)
{
	if (c->state == CONN_GREETING)
		return CONNECT_MAX;
	if (c->state == CONN_AUTH)
		return AUTH_MAX;
	return c->shard->limits.max_packet_size;
}

/* A packet that cannot be framed. */
static void
bad_frame(struct conn *c, enum nj_err e, const struct frame *f, struct slice in)
{
	char began[TEXT_ESC];

	if (c->state == CONN_GREETING && stream_looks_like_tls(in)) {
		if (stream_tls(c->stream))
			conn_drop(c,
			    "TLS inside of TLS: a tunnel or proxy in front "
			    "has added TLS to what had it already; use its TLS "
			    "or the client's, not both");
		else
			conn_drop(c,
			    "TLS to a plain port: connect to a port with "
			    "certfile and keyfile, or give this listener both");
		return;
	}
	if (c->state == CONN_GREETING && in.n >= 4 &&
	    (memcmp(in.p, "GET ", 4) == 0 || memcmp(in.p, "POST", 4) == 0)) {
		conn_drop(c, "HTTP or WebSocket to an MQTT port");
		return;
	}
	if (c->state == CONN_GREETING &&
	    (slice_has_prefix(in, LIT("PROXY")) ||
		slice_has_prefix(in, LIT("\r\n\r\n")))) {
		conn_drop(c,
		    "a PROXY header to a listener without "
		    "enable_proxy_protocol");
		return;
	}
	if (c->state == CONN_GREETING && e != NJ_TOOBIG &&
	    in.p[0] >> 4 != MQTT_CONNECT) {
		conn_drop(c, "not MQTT: the connection began with \"%s\"",
		    text_esc(began, sizeof began,
			slice_of(
			    in.p, in.n < BEGAN_SHOWN ? in.n : BEGAN_SHOWN)));
		return;
	}
	if (e == NJ_TOOBIG)
		conn_end(c, RC_PACKET_TOO_LARGE,
		    "packet of %u bytes is larger "
		    "than max_packet_size %u",
		    f->size, max_packet(c));
	else
		conn_end(c, rc_of(e), "bad fixed header 0x%02x", in.p[0]);
}

/* The home shard of a CONNECT's client, if it is another one. */
static bool
must_move(struct conn *c, const struct frame *f, unsigned *to)
{
	struct connect k;
	struct slice id;

	if (f->type != MQTT_CONNECT || c->shard->broker->n == 1 ||
	    decode_connect(f->body, &k))
		return false;
	id = login_client_id(c, &k);
	*to = shard_of_id(c->shard->broker, id);
	return id.n > 0 && *to != c->shard->home.shard;
}

/* unpause() looks when it may go on. */
static void
pause_it(struct conn *c)
{
	list_remove(&c->work);
	list_push(&c->shard->paused, &c->work);
	c->paused = true;
	conn_update_wants(c);
}

static void
yield(struct conn *c)
{
	c->yields = true;
	list_remove(&c->work);
	if (conn_may_ask(c))
		list_push(&c->shard->again, &c->work);
}

/* Whether c has had its share of the turn.  It then goes on when the others had
 * theirs, or when it has taken what was written to it.  A SUBSCRIBE half done
 * waits for whom it gives work, too. */
static bool
must_yield(struct conn *c)
{
	struct shard *sh = c->shard;

	if (c->state != CONN_LIVE || c->link.closing || c->saving ||
	    (sh->work < TURN_WORK && !c->subscribing))
		return false;
	if (c->subscribing && conn_must_wait(c)) {
		pause_it(c);
		return true;
	}
	yield(c);
	return true;
}

/* The SUBSCRIBE or UNSUBSCRIBE that was interrupted; whether it is done. */
static bool
go_on(struct conn *c)
{
	enum nj_err e = subscribe_go_on(c);

	if (e)
		conn_end(c, rc_of(e), "%s in a SUBSCRIBE or UNSUBSCRIBE packet",
		    nj_strerror(e));
	return !must_yield(c) && c->state == CONN_LIVE && !c->link.closing;
}

/* Whether c waits, having sent f: another shard is behind, or the disk is. */
static bool
must_pause(struct conn *c, const struct frame *f)
{
	const struct shard *sh = c->shard;

	if (c->state != CONN_LIVE || c->link.closing)
		return false;
	if (durable_crowded(&sh->durable, &c->link))
		return true;
	if (f->type == MQTT_PUBLISH) {
		/* QoS 1 and 2, and what is retained */
		c->pause_disk = (f->flags & 7) != 0;
		if ((f->flags & 1) && fence_waits(sh) > SEEN_HIGH)
			return true;
	} else if (f->type == MQTT_SUBSCRIBE || f->type == MQTT_UNSUBSCRIBE) {
		c->pause_disk = c->session->kept != NULL;
	} else {
		return false;
	}
	return (sh->broker->n > 1 && route_congested(sh)) ||
	    (c->pause_disk && durable_congested(sh));
}

bool
conn_must_wait(const struct conn *c)
{
	const struct shard *sh = c->shard;

	return route_congested(sh) || fence_waits(sh) > SEEN_HIGH ||
	    durable_crowded(&sh->durable, &c->link) ||
	    (c->pause_disk && durable_congested(sh));
}

/* What it acknowledged may have made room. */
static void
unpark(struct conn *c)
{
	if (!c->parked || c->state != CONN_LIVE || c->link.closing ||
	    c->subscribing || c->saving || c->paused || c->yields || c->leaves)
		return;
	c->pause_disk = c->session->kept != NULL;
	if (conn_must_wait(c))
		pause_it(c);
	else if (subscribe_unpark(c))
		yield(c);
}

/* Keeps the packet that has begun.  A large PUBLISH has the room for all of it,
 * once there is as much as shows that it comes: the rest is read to its place. */
static bool
keep_begun(struct conn *c, struct slice rest, const struct frame *f)
{
	struct buf room;

	if (c->state != CONN_LIVE || f->type != MQTT_PUBLISH ||
	    f->size < ROOM_MIN || rest.n < f->size / ROOM_AHEAD ||
	    !msg_room(rest, f, c->version, &room))
		return keep(c, rest);
	memcpy(room.p + room.off, rest.p, rest.n);
	buf_commit(&room, rest.n);
	buf_fini(&c->in);
	c->in = room;
	c->roomy = true;
	return true;
}

/* Handles whole packets; false when c must not be touched any more.  What is
 * left of in is kept. */
static bool
handle(struct conn *c, struct slice in)
{
	struct shard *sh = c->shard;
	struct frame f;
	enum nj_err e = NJ_OK;
	unsigned to;

	if (c->state == CONN_HTTP)
		return est_handle(c, in) && keep(c, in);
	if (c->subscribing && (c->link.closing || c->saving || !go_on(c)))
		return c->state == CONN_DEAD ? false : keep(c, in);
	assert(in.p || in.n == 0);
	while (in.n > 0 && !c->link.closing && conn_hears(c) && !c->control) {
		struct slice packet = in;

		if (in.p[0] == MQTT_PUBACK << 4 && on_puback_row(c, &in)) {
			if (must_yield(c))
				break;
			continue;
		}
		e = c->version == MQTT31 ? frame_take_31(&in, max_packet(c), &f)
					 : frame_take(&in, max_packet(c), &f);
		/* who begins with something else need not go on */
		if (e == NJ_AGAIN && c->state == CONN_GREETING &&
		    in.p[0] >> 4 != MQTT_CONNECT)
			e = NJ_PROTOCOL;
		if (e == NJ_AGAIN)
			break;
		if (e) {
			bad_frame(c, e, &f, in);
			return c->state != CONN_DEAD;
		}
		if (c->state == CONN_GREETING && must_move(c, &f, &to)) {
			if (keep(c, packet))
				conn_move(c, to);
			return false;
		}
		c->last_rx = c->shard->home.now_ms;
		c->rx_part = 0;
		count_add(&sh->counts.packets_in, 1);
		sh->work++;
		dispatch(c, &f);
		if (must_pause(c, &f)) {
			pause_it(c);
			break;
		}
		if (must_yield(c))
			break;
	}
	if (c->state == CONN_DEAD)
		return false;
	if (c->state == CONN_CLOSING)
		return true;
	unpark(c);
	return e == NJ_AGAIN ? keep_begun(c, in, &f) : keep(c, in);
}

/* What it said last has been read, and not been handled. */
static bool
is_unheard(const struct conn *c)
{
	return c->state == CONN_LIVE && !c->link.closing &&
	    (c->saving || c->paused || c->yields);
}

void
conn_hear_rest(struct conn *c)
{
	if (!is_unheard(c))
		return;
	/* nothing is promised to who goes: while the disk hangs, promises to
	 * those who come and go would be without number */
	c->leaves = true;
	c->link.held++;
	while (is_unheard(c)) {
		if (c->subscribing && !subscribe_is_done(c))
			break; /* a large one, half done */
		if (c->yields)
			subscribe_abandon(c);
		c->saving = false;
		list_remove(&c->work);
		conn_resume(c);
	}
	c->link.held--;
}

/* The stream's failure in words. */
static void
read_failed(struct conn *c, enum nj_err e)
{
	conn_hear_rest(c);
	if (e == NJ_EOF) {
		c->said_all = true;
		conn_part(c, "closed its connection");
	} else if (e == NJ_NOMEM)
		no_memory(c);
	else {
		c->said_all = e == NJ_IO; /* reset */
		conn_drop(c, "%s", stream_why(c->stream)->what);
	}
}

/* Whether c->in begins with a whole packet, or with what is none. */
static bool
has_packet(const struct conn *c)
{
	struct slice in = buf_slice(&c->in);
	struct frame f;

	return frame_take(&in, max_packet(c), &f) != NJ_AGAIN;
}

/* [MQTT-3.1.2-22] asks for whole packets; see ALIVE_BYTES. */
static void
note_bytes(struct conn *c, size_t n)
{
	c->rx_part += (uint32_t)n;
	if (c->rx_part < ALIVE_BYTES)
		return;
	c->rx_part = 0;
	c->last_rx = c->shard->home.now_ms;
}

/* Handles what a large packet's buffer holds.  While the packet is not whole
 * nothing is moved, or each byte of a slow one would cost all before it. */
static bool
handle_large(struct conn *c)
{
	struct shard *sh = c->shard; /* c may be another's afterwards */
	struct buf in = c->in;
	bool ok;

	if (!has_packet(c))
		return true;
	sh->packet = c->roomy ? &in : NULL;
	c->in = (struct buf){ 0 };
	c->roomy = false;
	ok = handle(c, buf_slice(&in));
	sh->packet = NULL;
	buf_fini(&in);
	return ok;
}

/*
 * A client that leaves Nagle's algorithm on sends its next PUBLISH only when
 * its PUBACK was acknowledged by TCP.  When nothing goes back that could carry
 * that, TCP would wait for 40 ms.
 */
static void
ack_now(struct conn *c)
{
	c->ack_now = false;
	if (c->state == CONN_LIVE && !c->link.kicked)
		stream_ack_now(c->stream);
}

/* What is to be read of the packet in c->in, at once. */
static size_t
missing(const struct conn *c)
{
	struct slice in = buf_slice(&c->in);
	struct frame f;
	enum nj_err e = frame_take(&in, max_packet(c), &f);

	/* a reload may have made it too large, which handle() finds */
	if (e != NJ_AGAIN || f.size - in.n > RX_SIZE)
		return e == NJ_AGAIN ? RX_SIZE : 1;
	return f.size - in.n;
}

static void
note_little(struct conn *c, size_t n)
{
	bool little = n <= LITTLE;

	if (little && c->little)
		shard_heard_little(c->shard);
	c->little = little;
}

/* Of who has gone all is read that may be. */
static bool
in_parts(const struct conn *c)
{
	return !c->gone && c->shard->home.now_ms < c->shard->little_until;
}

/* One read; an unfinished packet goes in front of what comes.  False: nothing
 * more to do now. */
static bool
read_once(struct conn *c)
{
	struct shard *sh = c->shard;
	size_t had = buf_len(&c->in), n = 0, cap;
	uint8_t *at;
	bool direct = c->roomy || had > RX_SIZE / 2;
	enum nj_err e;

	if (direct) {
		cap = c->roomy ? missing(c) : 64 * 1024;
		if (buf_reserve(&c->in, cap, &at)) {
			no_memory(c);
			return false;
		}
	} else {
		if (had)
			memcpy(sh->rx, c->in.p + c->in.off, had);
		at = sh->rx + had;
		cap = RX_SIZE - had;
		if (cap > READ_PART && in_parts(c))
			cap = READ_PART;
	}
	if ((e = stream_read(c->stream, at, cap, &n))) {
		if (e != NJ_AGAIN) {
			read_failed(c, e);
			return false;
		}
		if (stream_pending(c->stream))
			conn_level(c);
		conn_update_wants(c);
		return false;
	}
	count_add(&sh->counts.bytes_in, n);
	note_bytes(c, n);
	note_little(c, n);
	if (direct) {
		buf_commit(&c->in, n);
		if (!handle_large(c))
			return false;
	} else {
		buf_fini(&c->in);
		if (!handle(c, slice_of(sh->rx, had + n)))
			return false;
	}
	if (c->ack_now)
		ack_now(c);
	if (c->watch.fd < 0) /* crowd_takes() took it, and it is there still */
		conn_update_wants(c);
	if (n < cap && !stream_pending(c->stream))
		return false;
	if (conn_hears(c) && !list_linked(&c->work))
		return true;
	conn_level(c);
	return false;
}

/* Who does not take his answers may not ask for more, and who waits for
 * another shard may not be heard yet. */
bool
conn_may_ask(const struct conn *c)
{
	return !c->paused && !c->saving && !c->control &&
	    (!c->link.blocked || link_unsent(&c->link) <= c->link.soft);
}

/* Discards what a client says that was told to go. */
static void
read_closing(struct conn *c)
{
	size_t n;
	enum nj_err e;

	for (int i = 0; i < READ_TURNS; i++) {
		e = stream_read(c->stream, c->shard->rx, RX_SIZE, &n);
		if (e == NJ_AGAIN)
			return;
		if (e == NJ_EOF && !c->said_all &&
		    (c->parting || link_unsent(&c->link) > 0)) {
			c->said_all = true; /* it may listen still */
			conn_update_wants(c);
			return;
		}
		if (e) {
			conn_drop(c, NULL);
			return;
		}
	}
}

void
conn_read(struct conn *c)
{
	int reads = in_parts(c) ? 1 : READ_TURNS;

	if (c->state == CONN_CLOSING) {
		read_closing(c);
		return;
	}
	c->shard->work = 0;
	for (int i = 0; i < reads && c->shard->work < READ_WORK; i++) {
		if (!read_once(c))
			return;
		if (!conn_may_ask(c)) {
			conn_update_wants(c);
			return; /* conn_flush goes on */
		}
	}
	/* others first */
	list_push(&c->shard->again, &c->work);
}

/* Apart from the turn's buffer: the CONNECT that takes its place is in there. */
void
conn_hear_out(struct conn *c)
{
	bool more = true;

	conn_hear_rest(c);
	for (int i = 0; i < READ_TURNS && more; i++) {
		struct buf in = c->in;
		bool quiet = c->leaves; /* nor is anything answered */
		size_t n = 0;
		uint8_t *at;
		enum nj_err e;

		if (c->state != CONN_LIVE || c->link.closing || is_unheard(c) ||
		    !conn_may_ask(c) || buf_reserve(&in, RX_SIZE, &at))
			return;
		c->roomy = false;
		if ((e = stream_read(c->stream, at, RX_SIZE, &n))) {
			c->in = in;
			if (e != NJ_AGAIN)
				read_failed(c, e);
			return;
		}
		buf_commit(&in, n);
		count_add(&c->shard->counts.bytes_in, n);
		c->in = (struct buf){ 0 };
		c->shard->work = 0;
		c->link.held += quiet;
		more = handle(c, buf_slice(&in)) &&
		    (n == RX_SIZE || stream_pending(c->stream));
		c->link.held -= quiet;
		buf_fini(&in);
		conn_hear_rest(c);
	}
}

void
conn_resume(struct conn *c)
{
	struct buf in = c->in;

	c->paused = c->yields = c->roomy = false;
	c->in = (struct buf){ 0 };
	c->shard->work = 0;
	if (handle(c, buf_slice(&in)) && c->state != CONN_DEAD) {
		conn_update_wants(c);
		/* who is not heard now is resumed again */
		if (stream_pending(c->stream) && conn_hears(c) &&
		    conn_may_ask(c) && !list_linked(&c->work))
			list_push(&c->shard->again, &c->work);
	}
	buf_fini(&in);
}

/* The handshake that is on is WebSocket's; TLS has none, or ended its own. */
static bool
in_upgrade(const struct conn *c)
{
	const struct port_opts *po = conn_port(c);

	return po->websockets && (!po->tls || stream_tls(c->stream));
}

static const char *
step_name(const struct conn *c)
{
	if (!in_upgrade(c))
		return "TLS handshake";
	return conn_port(c)->mqtt_too ? "CONNECT or WebSocket upgrade"
				      : "WebSocket upgrade";
}

void
conn_handshake_gone(struct conn *c)
{
	static const char what[] =
	    "the client closed the connection before its turn came";

	if (!in_upgrade(c))
		count_add(&c->shard->counts.handshakes_failed, 1);
	c->said_all = true;
	conn_failed(
	    c, in_upgrade(c) ? FAILURE_WEBSOCKET : FAILURE_TLS, true, what, "");
	conn_drop(c, "%s failed: %s", step_name(c), what);
}

void
conn_handshake_late(struct conn *c)
{
	char what[96];

	if (!in_upgrade(c))
		count_add(&c->shard->counts.handshakes_failed, 1);
	(void)snprintf(what, sizeof what, "no %s within %u ms", step_name(c),
	    c->shard->limits.handshake_timeout_ms);
	conn_failed(
	    c, in_upgrade(c) ? FAILURE_WEBSOCKET : FAILURE_TLS, true, what, "");
	conn_drop(c, "%s", what);
}

static void
handshake_failed(struct conn *c, enum nj_err e)
{
	const struct nj_why *why = stream_why(c->stream);
	bool gone = e == NJ_EOF && !why->what[0];
	const char *what =
	    gone ? "the client closed the connection" : why->what;

	c->said_all = e == NJ_EOF || e == NJ_IO;
	if (!in_upgrade(c))
		count_add(&c->shard->counts.handshakes_failed, 1);
	conn_failed(c, in_upgrade(c) ? FAILURE_WEBSOCKET : FAILURE_TLS,
	    gone || why->by_peer, what, why->mend);
	conn_drop(c, "%s failed: %s%s%s",
	    in_upgrade(c) && e == NJ_PROTOCOL ? "WebSocket upgrade"
					      : step_name(c),
	    what, why->mend[0] ? ".  To mend it: " : "", why->mend);
}

static void
tls_is_done(struct conn *c, const struct tls_peer *peer)
{
	struct shard *sh = c->shard;

	count_add(&sh->counts.handshakes, 1);
	if (peer->resumed)
		count_add(&sh->counts.resumed, 1);
	if (*peer->psk)
		guard_psk_came(c, slice_str(peer->psk));
	nj_log(LOG_T_DEBUG, "TLS with %s: %s, %s%s%s%s", c->peer, peer->version,
	    peer->cipher, peer->resumed ? ", resumed" : "",
	    peer->has_cert ? ", certificate of " : "", peer->subject);
}

static void
shake_hands(struct conn *c)
{
	bool had_tls = stream_tls(c->stream) != NULL;
	enum nj_err e = stream_handshake(c->stream);
	const struct tls_peer *peer = stream_tls(c->stream);

	if (peer && !had_tls && (!e || in_upgrade(c)))
		tls_is_done(c, peer);
	if (e == NJ_AGAIN) {
		if (stream_pending(c->stream))
			conn_level(c);
		conn_update_wants(c);
		return;
	}
	if (e) {
		handshake_failed(c, e);
		return;
	}
	if (revoked_end(c)) /* while they shook hands */
		return;
	conn_set_state(c, conn_port(c)->est ? CONN_HTTP : CONN_GREETING);
	conn_update_wants(c);
	if (stream_pending(c->stream))
		conn_read(c); /* CONNECT came with the handshake's end */
}

/* The list of revoked certificates and the CA's own have to be had without TLS
 * (RFC 5280 4.2.1.13: who is about to check a certificate fetches it), also
 * where the rest is HTTPS.  Only the very first byte tells. */
static bool
is_plain_http(struct conn *c)
{
	struct stream *plain = NULL;
	char first;

	if (!conn_port(c)->est || !conn_port(c)->tls || c->looked)
		return false;
	if (recv(stream_fd(c->stream), &first, 1, MSG_PEEK) != 1)
		return false;
	c->looked = true;
	if (first != 'G' || stream_tcp_new(stream_fd(c->stream), &plain))
		return false;
	stream_leave(c->stream);
	c->stream = plain;
	return true;
}

void
conn_handshake(struct conn *c)
{
	c->begun = true;
	if (is_plain_http(c)) {
		conn_set_state(c, CONN_HTTP);
		conn_update_wants(c);
		conn_read(c);
		return;
	}
	shake_hands(c);
}
