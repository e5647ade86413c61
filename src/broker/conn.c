/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/conn.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "broker/memory.h"
#include "broker/route.h"
#include "broker/sessions.h"
#include "core/rc.h"
#include "net/listener.h"
#include "net/tls.h"
#include "wire/decode.h"
#include "wire/encode.h"

/* Last words have this long to leave, in ms; less when the broker stops. */
#define CLOSING_MS  2000
#define STOPPING_MS 500

static const struct link_ops link_ops;

static struct conn *
conn_of_link(struct link *l)
{
	return LIST_OWNER(l, struct conn, link);
}

static uint64_t
now_of(const struct conn *c)
{
	return c->shard->home.now_ms;
}

const char *
conn_name(const struct conn *c, char *dst, size_t size)
{
	if (c->session)
		return text_esc(dst, size, session_id(c->session));
	return c->peer;
}

/* Being born. */

static void
set_state(struct conn *c, enum conn_state st)
{
	bool pending =
	    st == CONN_HANDSHAKE || st == CONN_GREETING || st == CONN_LOGIN;

	if (pending && !c->pending)
		atomic_fetch_add(&c->shard->broker->pending, 1);
	if (!pending && c->pending)
		atomic_fetch_sub(&c->shard->broker->pending, 1);
	c->pending = pending;
	c->state = (uint8_t)st;
	c->since = now_of(c);
	conn_deadline(c);
}

void
conn_set_state(struct conn *c, enum conn_state st)
{
	set_state(c, st);
}

/* Whether the port, the broker and its waiting room have a place left. */
static const char *
refused_by(struct shard *sh, const struct port_opts *po, unsigned port)
{
	struct broker *b = sh->broker;
	const struct broker_limits *lim = &sh->limits;

	if (memory_full(b))
		return "memory_limit";
	if (po->max_connections &&
	    atomic_load(&b->port_conns[port]) >= po->max_connections)
		return "max_connections of its listener";
	if (lim->max_connections &&
	    atomic_load(&b->conns) >= lim->max_connections)
		return "global_max_connections";
	if (lim->max_pending && atomic_load(&b->pending) >= lim->max_pending)
		return "max_pending_connections";
	return NULL;
}

static void conn_ready(struct watch *w, unsigned ready);
static void on_deadline(struct timer *t, uint64_t now);

void
conn_accept(struct port *p, int fd, const char *peer)
{
	struct shard *sh = p->shard;
	struct port_opts *po = &sh->set->v[p->index];
	const char *limit = refused_by(sh, po, p->index);
	struct conn *c = NULL;
	enum nj_err e = NJ_NOMEM;

	if (limit) {
		nj_log(LOG_T_NOTICE,
		    "Connection from %s refused: %s is "
		    "reached.",
		    peer, limit);
		close(fd);
		return;
	}
	if (!(c = calloc(1, sizeof *c)))
		goto fail;
	c->shard = sh;
	c->port = (uint16_t)p->index;
	c->watch =
	    (struct watch){ .fd = fd, .fn = conn_ready, .want = LOOP_IN };
	c->link.ops = &link_ops;
	c->link.soft = sh->limits.out_soft;
	c->timer.fn = on_deadline;
	snprintf(c->peer, sizeof c->peer, "%s", peer);
	e = po->tls
	    ? tls_accept(po->tls, sh->home.shard, fd, sh->scratch, &c->stream)
	    : stream_tcp_new(fd, &c->stream);
	if (e || (e = loop_add(sh->loop, &c->watch)))
		goto fail;
	list_push(&sh->conns, &c->all);
	atomic_fetch_add(&sh->broker->conns, 1);
	atomic_fetch_add(&sh->broker->port_conns[c->port], 1);
	count_add(&sh->counts.sockets, 1);
	set_state(c, po->tls ? CONN_HANDSHAKE : CONN_GREETING);
	if (sh->limits.log_connections)
		nj_log(LOG_T_NOTICE, "New connection from %s on port %u.", peer,
		    (unsigned)po->listener->port);
	return;
fail:
	nj_log(LOG_T_ERROR, "Connection from %s refused: %s.", peer,
	    nj_strerror(e));
	if (c && c->stream)
		stream_free(c->stream);
	else
		close(fd);
	free(c);
}

/* Deadlines. */

/* When something must have happened, on the shard's clock. */
static uint64_t
deadline_of(const struct conn *c)
{
	const struct broker_limits *lim = &c->shard->limits;
	uint64_t due = UINT64_MAX, d;

	switch ((enum conn_state)c->state) {
	case CONN_HANDSHAKE:
		return c->since + lim->handshake_timeout_ms;
	case CONN_GREETING:
	case CONN_LOGIN:
		return c->since + lim->connect_timeout_ms;
	case CONN_CLOSING:
		return c->since +
		    (c->shard->stopping ? STOPPING_MS : CLOSING_MS);
	case CONN_DEAD:
		return UINT64_MAX;
	case CONN_LIVE:
		break;
	}
	if (c->keep_alive) /* [MQTT-3.1.2-22]: one and a half times */
		due = c->last_rx + c->keep_alive * 1500ull;
	if (c->stalled_since) {
		d = c->stalled_since + lim->write_timeout_ms;
		due = d < due ? d : due;
	}
	return due;
}

void
conn_deadline(struct conn *c)
{
	struct timers *ts = &c->shard->home.timers;
	uint64_t due = deadline_of(c);

	if (due == UINT64_MAX)
		timer_stop(ts, &c->timer);
	else if ((!c->timer.at || due < c->timer.due) &&
	    timer_set(ts, &c->timer, due))
		conn_doom(c, "out of memory");
	/* a later deadline is found when the timer fires */
}

static void
on_deadline(struct timer *t, uint64_t now)
{
	struct conn *c = LIST_OWNER(t, struct conn, timer);

	if (deadline_of(c) > now) {
		conn_deadline(c);
		return;
	}
	switch ((enum conn_state)c->state) {
	case CONN_HANDSHAKE:
		count_add(&c->shard->counts.handshakes_failed, 1);
		conn_drop(c, "no TLS handshake within %u ms",
		    c->shard->limits.handshake_timeout_ms);
		break;
	case CONN_GREETING:
		conn_drop(c, "no CONNECT within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_LOGIN:
		conn_drop(c, "no decision about its login within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_LIVE:
		if (c->stalled_since &&
		    now - c->stalled_since >=
			c->shard->limits.write_timeout_ms) {
			count_add(&c->shard->counts.slow_dropped, 1);
			conn_drop(c,
			    "it has read nothing for %u ms and %zu "
			    "bytes wait for it (slow_reader_timeout)",
			    c->shard->limits.write_timeout_ms,
			    buf_len(&c->link.out));
		} else {
			conn_end(c, RC_KEEP_ALIVE_TIMEOUT,
			    "exceeded its keep alive of %u s", c->keep_alive);
		}
		break;
	case CONN_CLOSING:
		conn_drop(c, NULL);
		break;
	case CONN_DEAD:
		break;
	}
}

/* Reading. */

#define READ_TURNS 4

/* Keeps bytes of an unfinished packet (or of a client that must wait). */
static bool
keep(struct conn *c, struct slice rest)
{
	if (rest.n == 0 || buf_put(&c->in, rest.p, rest.n) == NJ_OK)
		return true;
	conn_drop(c, "out of memory");
	return false;
}

static uint32_t
max_packet(const struct conn *c)
{
	if (c->state == CONN_GREETING)
		return CONNECT_MAX;
	return c->shard->limits.max_packet_size;
}

/* A packet that cannot be framed. */
static void
bad_frame(struct conn *c, enum nj_err e, const struct frame *f, struct slice in)
{
	if (c->state == CONN_GREETING && stream_looks_like_tls(in)) {
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

	if (c->state != CONN_GREETING || f->type != MQTT_CONNECT ||
	    c->shard->broker->n == 1 || decode_connect(f->body, &k))
		return false;
	id = conn_port(c)->use_username_as_clientid ? k.username : k.client_id;
	*to = shard_of_id(c->shard->broker, id);
	return id.n > 0 && *to != c->shard->home.shard;
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

	while (in.n > 0 && !c->link.closing &&
	    (c->state == CONN_GREETING || c->state == CONN_LIVE)) {
		struct slice packet = in;

		e = c->version == MQTT31 ? frame_take_31(&in, max_packet(c), &f)
					 : frame_take(&in, max_packet(c), &f);
		if (e == NJ_AGAIN)
			break;
		if (e) {
			bad_frame(c, e, &f, in);
			return c->state != CONN_DEAD;
		}
		if (must_move(c, &f, &to)) {
			if (keep(c, packet))
				conn_move(c, to);
			return false;
		}
		c->last_rx = now_of(c);
		count_add(&sh->counts.packets_in, 1);
		dispatch(c, &f);
		if (f.type == MQTT_PUBLISH && sh->broker->n > 1 &&
		    c->state == CONN_LIVE && !c->link.closing &&
		    route_congested(sh)) {
			list_remove(&c->work);
			list_push(&sh->paused, &c->work);
			c->paused = true;
			conn_update_wants(c);
			break;
		}
	}
	if (c->state == CONN_DEAD)
		return false;
	if (c->state == CONN_CLOSING)
		return true;
	return keep(c, in);
}

/* The stream's failure in words. */
static void
read_failed(struct conn *c, enum nj_err e)
{
	if (e == NJ_EOF)
		conn_drop(c, "closed its connection");
	else
		conn_drop(c, "%s", stream_why(c->stream)->what);
}

/* Whether c->in begins with a whole packet, or with what is none. */
static bool
has_packet(const struct conn *c)
{
	struct slice in = buf_slice(&c->in);
	struct frame f;

	return frame_take(&in, max_packet(c), &f) != NJ_AGAIN;
}

/* Handles what a large packet's buffer holds.  While the packet is not whole
 * nothing is moved, or each byte of a slow one would cost all before it. */
static bool
handle_large(struct conn *c)
{
	struct buf in = c->in;
	bool ok;

	if (!has_packet(c))
		return true;
	c->in = (struct buf){ 0 };
	ok = handle(c, buf_slice(&in));
	buf_fini(&in);
	return ok;
}

/* One read; an unfinished packet goes in front of what comes.  False: nothing
 * more to do now. */
static bool
read_once(struct conn *c)
{
	struct shard *sh = c->shard;
	size_t had = buf_len(&c->in), n = 0, cap;
	uint8_t *at;
	bool direct = had > RX_SIZE / 2;
	enum nj_err e;

	if (direct) {
		cap = 64 * 1024;
		if (buf_reserve(&c->in, cap, &at)) {
			conn_drop(c, "out of memory");
			return false;
		}
	} else {
		if (had)
			memcpy(sh->rx, c->in.p + c->in.off, had);
		at = sh->rx + had;
		cap = RX_SIZE - had;
	}
	if ((e = stream_read(c->stream, at, cap, &n))) {
		if (e != NJ_AGAIN)
			read_failed(c, e);
		else
			conn_update_wants(c);
		return false;
	}
	count_add(&sh->counts.bytes_in, n);
	if (direct) {
		buf_commit(&c->in, n);
		if (!handle_large(c))
			return false;
	} else {
		buf_fini(&c->in);
		if (!handle(c, slice_of(sh->rx, had + n)))
			return false;
	}
	return (n == cap || stream_pending(c->stream)) &&
	    (c->state == CONN_GREETING || c->state == CONN_LIVE) &&
	    !list_linked(&c->work);
}

/* Who does not take his answers may not ask for more, and who waits for
 * another shard may not be heard yet. */
static bool
may_ask(const struct conn *c)
{
	return !c->paused &&
	    (!c->link.blocked || buf_len(&c->link.out) <= c->link.soft);
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
		if (e) {
			conn_drop(c, NULL);
			return;
		}
	}
}

void
conn_read(struct conn *c)
{
	if (c->state == CONN_CLOSING) {
		read_closing(c);
		return;
	}
	for (int i = 0; i < READ_TURNS; i++) {
		if (!read_once(c))
			return;
		if (!may_ask(c)) {
			conn_update_wants(c);
			return; /* conn_flush goes on */
		}
	}
	/* others first */
	list_push(&c->shard->again, &c->work);
}

void
conn_resume(struct conn *c)
{
	struct buf in = c->in;

	c->paused = false;
	c->in = (struct buf){ 0 };
	if (handle(c, buf_slice(&in)) && c->state != CONN_DEAD) {
		conn_update_wants(c);
		if (stream_pending(c->stream) && !list_linked(&c->work))
			list_push(&c->shard->again, &c->work);
	}
	buf_fini(&in);
}

void
conn_handshake(struct conn *c)
{
	struct shard *sh = c->shard;
	enum nj_err e = stream_handshake(c->stream);
	const struct nj_why *why;

	if (e == NJ_AGAIN) {
		conn_update_wants(c);
		return;
	}
	if (e) {
		why = stream_why(c->stream);
		count_add(&sh->counts.handshakes_failed, 1);
		conn_drop(c, "TLS handshake failed: %s%s%s",
		    e == NJ_EOF && !why->what[0]
			? "the client closed the connection"
			: why->what,
		    why->mend[0] ? ".  To mend it: " : "", why->mend);
		return;
	}
	count_add(&sh->counts.handshakes, 1);
	if (stream_tls(c->stream)->resumed)
		count_add(&sh->counts.resumed, 1);
	nj_log(LOG_T_DEBUG, "TLS with %s: %s, %s%s%s%s", c->peer,
	    stream_tls(c->stream)->version, stream_tls(c->stream)->cipher,
	    stream_tls(c->stream)->resumed ? ", resumed" : "",
	    stream_tls(c->stream)->has_cert ? ", certificate of " : "",
	    stream_tls(c->stream)->subject);
	set_state(c, CONN_GREETING);
	conn_update_wants(c);
	if (stream_pending(c->stream))
		conn_read(c); /* CONNECT came with the handshake's end */
}

/* What the loop should watch for, from the state of both directions. */
void
conn_update_wants(struct conn *c)
{
	unsigned want = stream_wants(c->stream) & LOOP_OUT;

	switch ((enum conn_state)c->state) {
	case CONN_HANDSHAKE:
	case CONN_GREETING:
	case CONN_CLOSING:
		want |= LOOP_IN;
		break;
	case CONN_LIVE:
		if (may_ask(c))
			want |= LOOP_IN;
		break;
	case CONN_LOGIN:
	case CONN_DEAD:
		break;
	}
	if (c->link.blocked)
		want |= LOOP_OUT;
	if (loop_want(c->shard->loop, &c->watch, want))
		conn_doom(c, "the event loop refused it");
}

static void
conn_ready(struct watch *w, unsigned ready)
{
	struct conn *c = LIST_OWNER(w, struct conn, watch);

	switch ((enum conn_state)c->state) {
	case CONN_DEAD:
		return;
	case CONN_HANDSHAKE:
		if (!list_linked(&c->work)) {
			list_push(&c->shard->handshakes, &c->work);
			/* its turn comes; until then no events */
			if (loop_want(c->shard->loop, w, 0))
				conn_drop(c, "the event loop refused it");
		}
		return;
	default:
		break;
	}
	if ((ready & LOOP_OUT) && c->link.blocked)
		conn_flush(c);
	if (c->state == CONN_DEAD || list_linked(&c->work))
		return;
	if (c->state == CONN_LOGIN && (ready & LOOP_HUP))
		conn_drop(c, "closed its connection during login");
	else if (ready & (LOOP_IN | LOOP_HUP))
		conn_read(c);
}

/* Writing. */

void
conn_doom(struct conn *c, const char *why)
{
	if (c->state == CONN_DEAD)
		return;
	c->doomed = why;
	c->link.closing = true;
	list_remove(&c->work);
	list_push(&c->shard->doomed, &c->work);
}

static void
written_all(struct conn *c)
{
	shard_give_back(c->shard, &c->link.out);
	c->stalled_since = 0;
	if (c->link.blocked) {
		c->link.blocked = false;
		if (c->session)
			session_pump(c->session);
	}
	if (c->state == CONN_CLOSING)
		shutdown(stream_fd(c->stream), SHUT_WR);
}

void
conn_flush(struct conn *c)
{
	struct link *l = &c->link;
	enum nj_err e = NJ_OK;
	size_t n, done = 0;

	l->kicked = false;
	list_remove(&c->kicked);
	while (buf_len(&l->out) > 0) {
		struct slice s = buf_slice(&l->out);

		if ((e = stream_write(c->stream, s.p, s.n, &n)))
			break;
		buf_drain(&l->out, n);
		done += n;
	}
	if (e == NJ_OK)
		e = stream_flush(c->stream);
	count_add(&c->shard->counts.bytes_out, done);
	if (e != NJ_OK && e != NJ_AGAIN) {
		conn_doom(c, "writing to it failed");
		return;
	}
	if (e == NJ_OK) {
		written_all(c);
	} else {
		if (done || !c->stalled_since)
			c->stalled_since = now_of(c);
		l->blocked = true;
	}
	if (c->state == CONN_DEAD)
		return;
	conn_update_wants(c);
	if (l->blocked)
		conn_deadline(c);
	/* what was not asked for while it was blocked */
	if (c->state == CONN_LIVE && may_ask(c) && !list_linked(&c->work) &&
	    stream_pending(c->stream))
		list_push(&c->shard->again, &c->work);
}

static void
link_on_kick(struct link *l)
{
	struct conn *c = conn_of_link(l);

	l->kicked = true;
	if (!l->out.p)
		shard_lend(c->shard, &l->out);
	if (!l->blocked)
		list_push(&c->shard->kicked, &c->kicked);
}

static void
link_on_flush(struct link *l)
{
	conn_flush(conn_of_link(l));
}

static void
link_on_fail(struct link *l)
{
	conn_doom(conn_of_link(l), "out of memory");
}

static const struct link_ops link_ops = {
	.kick = link_on_kick,
	.flush = link_on_flush,
	.fail = link_on_fail,
};

/* Moving. */

/* Takes it out of everything that belongs to its shard. */
static void
unhook(struct conn *c)
{
	loop_del(c->shard->loop, &c->watch);
	timer_stop(&c->shard->home.timers, &c->timer);
	list_remove(&c->all);
	list_remove(&c->kicked);
	list_remove(&c->work);
}

void
conn_move(struct conn *c, unsigned to)
{
	struct shard *dst = &c->shard->broker->shards[to];

	unhook(c);
	c->letter.kind = LETTER_MOVE;
	shard_post(dst, &c->letter);
}

void
conn_arrive(struct shard *sh, struct letter *l)
{
	struct conn *c = LIST_OWNER(l, struct conn, letter);

	c->shard = sh;
	stream_move(c->stream, sh->scratch);
	list_push(&sh->conns, &c->all);
	c->watch.fd = stream_fd(c->stream); /* loop_del took it out */
	c->watch.want = 0;
	if (loop_add(sh->loop, &c->watch)) {
		conn_drop(c, "the event loop refused it");
		return;
	}
	conn_deadline(c);
	if (sh->stopping)
		conn_drop(c, "the broker is stopping");
	else
		conn_resume(c);
}

/* Ending. */

static void
log_end(struct conn *c, const char *why)
{
	char name[TEXT_ESC];
	const char *stop;

	if (!why || !c->shard->limits.log_connections)
		return;
	stop = *why && why[strlen(why) - 1] == '.' ? "" : ".";
	if (c->session)
		nj_log(LOG_T_NOTICE, "Client %s disconnected: %s%s",
		    conn_name(c, name, sizeof name), why, stop);
	else
		nj_log(LOG_T_NOTICE, "Connection from %s closed: %s%s", c->peer,
		    why, stop);
}

/* Nothing of it stays but its memory, until the turn ends. */
static void
die(struct conn *c)
{
	struct shard *sh = c->shard;

	if (c->state == CONN_DEAD)
		return;
	login_abandon(c);
	sessions_leave(c);
	set_state(c, CONN_DEAD);
	unhook(c);
	c->link.closing = true;
	atomic_fetch_sub(&sh->broker->conns, 1);
	atomic_fetch_sub(&sh->broker->port_conns[c->port], 1);
	count_add(&sh->counts.sockets, (uint64_t)-1);
	list_push(&sh->grave, &c->work);
}

void
conn_drop(struct conn *c, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	if (c->state == CONN_DEAD)
		return;
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(why, sizeof why, fmt, ap);
		va_end(ap);
		if (c->state != CONN_CLOSING)
			log_end(c, why);
	}
	die(c);
}

void
conn_close_gently(struct conn *c)
{
	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	login_abandon(c);
	sessions_leave(c);
	c->link.closing = true;
	list_remove(&c->work);
	set_state(c, CONN_CLOSING);
	conn_flush(c);
}

/* Codes that do not say by themselves what was wrong with the client's packet.
 * For the others a reason would add nothing, or tell of other clients. */
static bool
explains(enum mqtt_rc rc)
{
	return rc == RC_MALFORMED_PACKET || rc == RC_PROTOCOL_ERROR ||
	    rc == RC_IMPLEMENTATION_SPECIFIC || rc == RC_TOPIC_NAME_INVALID ||
	    rc == RC_PACKET_TOO_LARGE || rc == RC_QUOTA_EXCEEDED;
}

/* [MQTT-3.14.0-1]: a server sends DISCONNECT only after CONNACK. */
static void
say_disconnect(struct conn *c, enum mqtt_rc rc, const char *why)
{
	struct disconnect d = { .code = (uint8_t)rc };

	if (c->state != CONN_LIVE || c->version != MQTT5)
		return;
	if (c->problem_info && explains(rc)) {
		d.props.seen = PROP_BIT(PROP_REASON_STRING);
		d.props.reason_string = slice_str(why);
	}
	link_kick(&c->link);
	if (encode_disconnect(&c->link.out, MQTT5, &d))
		nj_log(LOG_T_DEBUG, "No memory to say goodbye to %s", c->peer);
}

void
conn_end(struct conn *c, enum mqtt_rc rc, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	log_end(c, why);
	say_disconnect(c, rc, why);
	conn_close_gently(c);
}

void
conn_bury(struct conn *c)
{
	assert(c->state == CONN_DEAD);
	stream_shutdown(c->stream);
	stream_free(c->stream);
	shard_give_back(c->shard, &c->link.out);
	link_fini(&c->link);
	buf_fini(&c->in);
	if (c->aliases)
		for (unsigned i = 0; i < c->alias_max; i++)
			free((void *)(uintptr_t)c->aliases[i].p);
	free(c->aliases);
	free(c);
}
