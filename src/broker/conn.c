/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/conn.h"
#include "broker/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/principal.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/est.h"
#include "broker/guard.h"
#include "broker/login.h"
#include "broker/memory.h"
#include "broker/mounted.h"
#include "broker/revoked.h"
#include "broker/route.h"
#include "net/listener.h"
#include "net/tls.h"
#include "net/wsstream.h"
#include "wire/ws.h"

/* Last words have this long to leave, in ms; less when the broker stops. */
#define CLOSING_MS  2000
#define STOPPING_MS 500
/* The same while some of them wait for the disk. */
#define PARTING_MS 30000

/* Of one write: payloads that are not copied, and what is between them. */
#define PIECES 64

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
	bool pending = st == CONN_PROXY || st == CONN_HANDSHAKE ||
	    st == CONN_GREETING || st == CONN_LOGIN || st == CONN_AUTH ||
	    st == CONN_SAVING || st == CONN_HTTP || st == CONN_SIGNER;

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

void
conn_set_state_within(struct conn *c, enum conn_state st)
{
	uint64_t since = c->since;

	set_state(c, st);
	c->since = since;
	conn_deadline(c);
}

/* Whether the port, the broker and its waiting room have a place left. */
static const char *
refused_by(struct shard *sh, const struct port_opts *po, unsigned port, int fd)
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
	/* who comes by a proxy is counted when it told who that is */
	if (!po->proxy && !guard_may_connect(sh, fd))
		return "connections_per_second of its address";
	return NULL;
}

/* A message may hold a packet of the greatest size and small ones with it. */
#define WS_SLACK (1024 * 1024)

static enum nj_err
make_stream(
    struct conn *c, const struct port_opts *po, int fd, struct stream **out)
{
	static const struct tls_psk_watch watch = { guard_psk_may,
		guard_psk_failed };
	struct shard *sh = c->shard;
	struct ws_opts o = { .origins = po->ws_origins,
		.mqtt_too = po->mqtt_too,
		.max_head = sh->limits.ws_head_max,
		.max_message = WS_SLACK +
		    (sh->limits.max_packet_size ? sh->limits.max_packet_size
						: MQTT_VARINT_MAX) };
	enum nj_err e = po->tls
	    ? tls_accept(po->tls, sh->home.shard, fd, sh->scratch, out)
	    : stream_tcp_new(fd, out);

	if (!e && po->tls)
		tls_psk_watch(*out, &watch, c);
	/* *out stays the inner one when there is no memory for another */
	return e || !po->websockets ? e : stream_ws_new(out, &o, out);
}

/* What a connection does first, its PROXY header apart. */
static enum conn_state
begins_with(const struct port_opts *po)
{
	return po->tls || po->websockets ? CONN_HANDSHAKE
	    : po->est			 ? CONN_HTTP
					 : CONN_GREETING;
}

/* "port 1883", "unix /run/x". */
const char *
port_name(const struct port_opts *po, char *dst, size_t size)
{
	if (po->listener->port)
		snprintf(dst, size, "port %u", (unsigned)po->listener->port);
	else
		snprintf(dst, size, "%s", po->listener->where);
	return dst;
}

/* Before there is a conn to tell of. */
static void
refused(struct shard *sh, const struct port_opts *po, const char *peer,
    const char *what, const char *tail)
{
	struct failure f = { .stage = FAILURE_CONNECTING };

	(void)snprintf(f.peer, sizeof f.peer, "%s", peer);
	(void)port_name(po, f.listener, sizeof f.listener);
	(void)snprintf(f.what, sizeof f.what, "%s%s", what, tail);
	failures_add(sh->broker->failures, &f, clock_wall(sh->broker->clock));
}

/*
 * While it comes, a connection is named by the loop once for what is new: it may
 * wait for its turn, and then need not be taken out of the loop and put there
 * again.  So each read of it has to take all there is, or conn_level() is called;
 * the end of the stream is read by itself.
 */
static unsigned
edge_of(const struct conn *c)
{
	const struct port_opts *po = conn_port(c);

	if (!c->crowded || c->leveled)
		return 0;
	return c->state == CONN_HANDSHAKE ||
		((c->state == CONN_GREETING || c->state == CONN_LIVE) &&
		    !po->websockets && !po->est)
	    ? LOOP_EDGE
	    : 0;
}

static void conn_ready(struct watch *w, unsigned ready);
static void on_deadline(struct timer *t, uint64_t now);

void
conn_accept(struct port *p, int fd, const char *peer)
{
	struct shard *sh = p->shard;
	struct port_opts *po = &sh->set->v[p->index];
	const char *limit = refused_by(sh, po, p->index, fd);
	char where[PEER_NAME];
	struct conn *c = NULL;
	enum nj_err e;

	if (limit) {
		if (guard_may_log(sh, &sh->rejections, GUARD_LINES)) {
			refused(sh, po, peer, limit, " is reached");
			nj_log(LOG_T_NOTICE,
			    "Connection from %s refused: %s is reached.", peer,
			    limit);
		}
		close(fd);
		return;
	}
	if (po->proxy && (e = conn_proxy_trust(po, fd))) {
		if (e != NJ_EOF &&
		    guard_may_log(sh, &sh->rejections, GUARD_LINES)) {
			refused(
			    sh, po, peer, "it may not speak for others", "");
			nj_log(LOG_T_NOTICE,
			    "Connection from %s refused: it may not speak "
			    "for others.  If it is your proxy: "
			    "proxy_protocol_from ADDRESS",
			    peer);
		}
		close(fd);
		return;
	}
	e = NJ_NOMEM;
	if (!(c = calloc(1, sizeof *c)))
		goto fail;
	c->shard = sh;
	c->port = (uint16_t)p->index;
	c->proxy = po->proxy;
	c->crowded = true;
	c->state = (uint8_t)(po->proxy ? CONN_PROXY : begins_with(po));
	c->watch = (struct watch){
		.fd = fd, .fn = conn_ready, .want = LOOP_IN | edge_of(c)
	};
	c->link.ops = &link_ops;
	/* a WebSocket frame ends where a piece does */
	c->link.gathers = !po->websockets;
	c->link.soft = sh->limits.out_soft;
	c->timer.fn = on_deadline;
	snprintf(c->peer, sizeof c->peer, "%s", peer);
	if ((e = po->proxy ? stream_tcp_new(fd, &c->stream)
			   : make_stream(c, po, fd, &c->stream)) ||
	    (e = loop_add(conn_loop(c), &c->watch)))
		goto fail;
	walk_add(sh, c);
	if (atomic_fetch_add(&sh->broker->conns, 1) >=
	    atomic_load(&sh->broker->most_conns))
		atomic_fetch_add(&sh->broker->most_conns, 1);
	atomic_fetch_add(&sh->broker->port_conns[c->port], 1);
	count_add(&sh->counts.sockets, 1);
	count_add(&sh->counts.opened, 1);
	set_state(c, (enum conn_state)c->state);
	if (!po->proxy && sh->limits.log_connections &&
	    guard_may_log(sh, &sh->comings, GUARD_LINES))
		nj_log(LOG_T_NOTICE, "New connection from %s on %s.", peer,
		    port_name(po, where, sizeof where));
	return;
fail:
	if (guard_may_log(sh, &sh->rejections, GUARD_LINES))
		nj_log(LOG_T_ERROR, "Connection from %s refused: %s.", peer,
		    nj_strerror(e));
	if (c && c->stream)
		stream_free(c->stream);
	else
		close(fd);
	free(c);
}

void
conn_begin(struct conn *c)
{
	const struct port_opts *po = conn_port(c);
	struct stream *s = NULL;
	enum nj_err e = make_stream(c, po, c->watch.fd, &s);

	if (e) {
		stream_leave(s);
		conn_drop(c, "%s", nj_strerror(e));
		return;
	}
	stream_leave(c->stream);
	c->stream = s;
	set_state(c, begins_with(po));
	conn_update_wants(c);
	conn_ready(&c->watch, LOOP_IN);
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
		return c->since + lim->handshake_timeout_ms +
		    (c->late ? CROWD_GRACE_MS : 0);
	case CONN_PROXY:
	case CONN_GREETING:
	case CONN_LOGIN:
	case CONN_AUTH:
	case CONN_SAVING:
	case CONN_HTTP:
		return c->since + lim->connect_timeout_ms +
		    (c->late ? CROWD_GRACE_MS : 0);
	case CONN_SIGNER:
		return c->since + QUESTION_PATIENCE_MS;
	case CONN_CLOSING:
		return c->since +
		    (c->shard->stopping	 ? STOPPING_MS
			    : c->parting ? PARTING_MS
					 : CLOSING_MS);
	case CONN_DEAD:
		return UINT64_MAX;
	case CONN_LIVE:
		break;
	}
	if (c->keep_alive &&
	    !c->saving) /* [MQTT-3.1.2-22]: one and a half times */
		due = c->last_rx + c->keep_alive * 1500ull +
		    (c->crowded && c->late ? CROWD_GRACE_MS : 0);
	if (c->stalled_since) {
		d = c->stalled_since + lim->write_timeout_ms;
		due = d < due ? d : due;
	}
	if (c->login) {
		d = c->login->since + lim->connect_timeout_ms;
		due = d < due ? d : due;
	}
	if (c->expires_at && c->expires_at < due)
		due = c->expires_at;
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

	if (c->crowded && !c->late && crowd_waits(c->shard))
		c->late = true; /* it may have spoken, and not been heard */
	if (deadline_of(c) > now) {
		conn_deadline(c);
		return;
	}
	switch ((enum conn_state)c->state) {
	case CONN_PROXY:
		conn_drop(c, "no PROXY header within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_HANDSHAKE:
		conn_handshake_late(c);
		break;
	case CONN_GREETING:
		stream_end_code(c->stream, WS_CODE_POLICY);
		conn_drop(c, "no CONNECT within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_HTTP:
		conn_drop(c, "no HTTP request within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_SIGNER:
		conn_drop(c, "no answer of the signer");
		break;
	case CONN_LOGIN:
		conn_drop(c, "no decision about its login within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_AUTH:
		login_late(c);
		break;
	case CONN_SAVING:
		conn_drop(c, "its session was not on disk within %u ms",
		    c->shard->limits.connect_timeout_ms);
		break;
	case CONN_LIVE:
		if (c->expires_at && now >= c->expires_at) {
			conn_end_openly(c, RC_NOT_AUTHORIZED,
			    c->session &&
				    c->session->who->right > ENROLLING_BESIDES
				? "its time for enrolment is over"
				: "its token has expired");
		} else if (c->login &&
		    now - c->login->since >=
			c->shard->limits.connect_timeout_ms) {
			login_late(c);
		} else if (c->stalled_since &&
		    now - c->stalled_since >=
			c->shard->limits.write_timeout_ms) {
			count_add(&c->shard->counts.slow_dropped, 1);
			conn_drop(c,
			    "it has read nothing for %u ms and %zu "
			    "bytes wait for it (slow_reader_timeout)",
			    c->shard->limits.write_timeout_ms,
			    link_unsent(&c->link));
		} else if (!conn_may_ask(c)) {
			/* it is we who do not listen; who takes none of his
			 * answers has a deadline of his own */
			c->last_rx = now;
			conn_deadline(c);
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

/* What the loop should watch for, from the state of both directions. */
void
conn_update_wants(struct conn *c)
{
	unsigned want = (stream_wants(c->stream) & LOOP_OUT) | edge_of(c);

	switch ((enum conn_state)c->state) {
	case CONN_PROXY:
	case CONN_HANDSHAKE:
	case CONN_GREETING:
	case CONN_AUTH:
	case CONN_HTTP:
		want |= LOOP_IN;
		break;
	case CONN_CLOSING:
		if (!c->said_all)
			want |= LOOP_IN;
		break;
	case CONN_LIVE:
		if (conn_may_ask(c))
			want |= LOOP_IN;
		break;
	case CONN_LOGIN:
	case CONN_SAVING:
	case CONN_SIGNER:
	case CONN_DEAD:
		break;
	}
	if (c->link.blocked)
		want |= LOOP_OUT;
	if (want == c->watch.want)
		return;
	if (c->watch.fd < 0)
		crowd_again(c, want);
	else if (c->crowded && c->state == CONN_LIVE)
		crowd_part(c, want);
	else if (loop_want(conn_loop(c), &c->watch, want))
		conn_doom(c, "the event loop refused it");
}

void
conn_level(struct conn *c)
{
	if (c->watch.fd < 0 || !(c->watch.want & LOOP_EDGE))
		return; /* or it is told anew when it is back in a loop */
	c->leveled = true;
	if (loop_want(
		conn_loop(c), &c->watch, c->watch.want & ~(unsigned)LOOP_EDGE))
		conn_doom(c, "the event loop refused it");
}

/* Steps of handshakes have queues of their own. */
static void
handshake_ready(struct conn *c, unsigned ready)
{
	if (!c->begun && (ready & (LOOP_GONE | LOOP_HUP)))
		c->went = true;
	if (!list_linked(&c->work)) /* its turn comes */
		list_push(c->begun ? &c->shard->begun : &c->shard->handshakes,
		    &c->work);
	else if (c->went && c->waits)
		conn_handshake_gone(c);
}

/* The first that it says once it is in; or that it goes, as many do. */
static void
first_words(struct conn *c, unsigned ready)
{
	if (list_linked(&c->work) || !(ready & (LOOP_IN | LOOP_HUP))) {
		crowd_part(c, c->watch.want & ~(unsigned)LOOP_EDGE);
		return;
	}
	conn_read(c);
	if (c->state == CONN_LIVE && c->crowded)
		crowd_part(c, c->watch.want & ~(unsigned)LOOP_EDGE);
}

static void
conn_ready(struct watch *w, unsigned ready)
{
	struct conn *c = LIST_OWNER(w, struct conn, watch);

	if (c->state != CONN_LIVE && (ready & (LOOP_GONE | LOOP_HUP)))
		conn_level(c); /* the end is behind what is read now */
	switch ((enum conn_state)c->state) {
	case CONN_DEAD:
		return;
	case CONN_PROXY:
		conn_proxy(c);
		return;
	case CONN_HANDSHAKE:
		handshake_ready(c, ready);
		return;
	case CONN_LIVE:
		if (!c->crowded)
			break;
		first_words(c, ready);
		return;
	default:
		break;
	}
	if ((ready & (LOOP_GONE | LOOP_HUP)) && crowd_takes(c))
		return;
	if ((ready & LOOP_OUT) &&
	    (c->link.blocked || (stream_wants(c->stream) & LOOP_OUT)))
		conn_flush_now(c);
	if (c->state == CONN_DEAD || list_linked(&c->work))
		return;
	if ((c->state == CONN_LOGIN || c->state == CONN_SAVING ||
		c->state == CONN_SIGNER) &&
	    (ready & LOOP_HUP)) {
		c->said_all = true;
		conn_drop(c, "closed its connection during login");
	} else if (ready & (LOOP_IN | LOOP_HUP))
		conn_read(c);
}

/* Writing. */

void
conn_doom(struct conn *c, const char *why)
{
	if (c->state == CONN_DEAD)
		return;
	c->doomed = why;
	stream_end_code(c->stream, WS_CODE_INTERNAL);
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
	if (c->state != CONN_CLOSING || c->parting)
		return;
	/* WebSocket's Close and TLS's close_notify go first */
	stream_shutdown(c->stream);
	if (c->said_all)
		conn_drop(c, NULL);
}

/* Buffered bytes and the payloads between them, with one system call. */
static enum nj_err
write_pieces(struct conn *c, size_t *n)
{
	struct link *l = &c->link;
	struct iovec v[PIECES];
	int cnt = loans_pieces(l->loans, &l->out, v, PIECES);
	enum nj_err e = stream_writev(c->stream, v, cnt, n);

	if (!e)
		loans_sent(&l->loans, &l->out, *n);
	return e;
}

static enum nj_err
write_some(struct conn *c, size_t *n)
{
	struct link *l = &c->link;
	struct slice s = buf_slice(&l->out);
	enum nj_err e;

	if (l->loans)
		return write_pieces(c, n);
	if (!(e = stream_write(c->stream, s.p, s.n, n)))
		buf_drain(&l->out, *n);
	return e;
}

void
conn_flush(struct conn *c)
{
	struct link *l = &c->link;
	enum nj_err e = NJ_OK;
	size_t n, done = 0;

	l->kicked = false;
	list_remove(&c->kicked);
	while (link_unsent(l) > 0 && !(e = write_some(c, &n)))
		done += n;
	if (e == NJ_OK)
		e = stream_flush(c->stream);
	count_add(&c->shard->counts.bytes_out, done);
	count_add(&c->shard->counts.packets_out, l->packets);
	l->packets = 0;
	if (e != NJ_OK && e != NJ_AGAIN) {
		c->gone = true;
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
	if (c->state == CONN_LIVE && conn_may_ask(c) &&
	    !list_linked(&c->work) && (c->yields || stream_pending(c->stream)))
		list_push(&c->shard->again, &c->work);
}

/* Acknowledgements may be in it: what they acknowledge goes first. */
void
conn_flush_now(struct conn *c)
{
	route_post(c->shard);
	conn_flush(c);
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
	conn_flush_now(conn_of_link(l));
}

static void
link_on_later(
    struct link *l, enum mqtt_type type, uint16_t id, enum mqtt_rc code)
{
	durable_promise(conn_of_link(l), type, id, (uint8_t)code);
}

static void
link_on_fail(struct link *l)
{
	conn_doom(conn_of_link(l), "out of memory");
}

static bool
link_on_sees(struct link *l, struct slice topic)
{
	const struct conn *c = conn_of_link(l);

	return c->session && mounted_sees(c->session, topic);
}

static const struct link_ops link_ops = {
	.kick = link_on_kick,
	.flush = link_on_flush,
	.fail = link_on_fail,
	.later = link_on_later,
	.sees = link_on_sees,
};

/* It is in, and was not heard until now. */
static void
saved(struct conn *c)
{
	/* its time began anew */
	c->last_rx = now_of(c);
	conn_deadline(c);
	if (!c->paused)
		conn_resume(c);
}

void
conn_saved(struct conn *c)
{
	c->saving = false;
	if (c->state == CONN_SAVING && !list_linked(&c->work)) /* or it ends */
		crowd_push(c);
	if (c->state == CONN_LIVE)
		saved(c);
}

void
conn_its_turn(struct conn *c)
{
	if (c->state == CONN_LOGIN) {
		login_go_on(c->login);
	} else if (c->state == CONN_SAVING) {
		connect_go_on(c);
		if (c->state == CONN_LIVE)
			saved(c);
	} else if (c->state == CONN_GREETING) {
		conn_resume(c);
	} else { /* its client has gone */
		conn_read(c);
		if (c->state != CONN_DEAD)
			conn_update_wants(c);
	}
}

/* Moving. */

/* Takes it out of everything that belongs to its shard. */
void
conn_unhook(struct conn *c)
{
	loop_del(conn_loop(c), &c->watch);
	timer_stop(&c->shard->home.timers, &c->timer);
	list_remove(&c->all);
	list_remove(&c->kicked);
	list_remove(&c->work);
	list_remove(&c->untaken);
}

void
conn_move(struct conn *c, unsigned to)
{
	struct shard *dst = &c->shard->broker->shards[to];

	conn_unhook(c);
	c->letter.kind = LETTER_MOVE;
	shard_post(dst, &c->letter);
}

void
conn_arrive(struct shard *sh, struct letter *l)
{
	struct conn *c = LIST_OWNER(l, struct conn, letter);

	c->shard = sh;
	stream_move(c->stream, sh->scratch);
	walk_add(sh, c);
	c->watch.fd = stream_fd(c->stream); /* loop_del took it out */
	c->watch.want = 0;
	if (loop_add(conn_loop(c), &c->watch)) {
		conn_drop(c, "the event loop refused it");
		return;
	}
	conn_deadline(c);
	if (sh->stopped) /* no turn comes in which it could be told */
		conn_drop(c, "the broker is stopping");
	else if (sh->stopping)
		conn_end(c, RC_SERVER_SHUTTING_DOWN, "the broker is stopping");
	else if (!revoked_end(c) && !c->doomed) {
		/* (It may have been revoked on its way.)  It goes on after the
		 * mail that came with it: it may take a connection over, which
		 * is then heard out. */
		c->yields = true;
		crowd_push(c);
	}
}
