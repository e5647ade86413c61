/* SPDX-License-Identifier: Apache-2.0
 * The connection: opening it, moving bytes, keeping it alive, losing it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/impl.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/wsclient.h"
#include "wire/encode.h"

#define LINGER_MS 500

uint64_t
client_now(void)
{
	return clock_mono(&clock_system);
}

void
client_close(struct client *c)
{
	stream_free(c->stream);
	c->stream = NULL;
	buf_fini(&c->in);
	buf_fini(&c->out);
	buf_fini(&c->bye);
	client_aliases_free(c);
	c->n_requests = 0;
	c->ping_sent = 0;
	c->spoken = false;
	c->state = LINK_DOWN;
}

/* The transport failed: its own words where it has some. */
static enum nj_err
why_transport(struct client *c, enum nj_err e, const char *doing)
{
	const struct nj_why *w = stream_why(c->stream);

	if (e == NJ_TLS) {
		c->why = *w;
		if (!w->what[0])
			why_set(&c->why, "TLS with %s failed", c->where);
	} else if (e != NJ_EOF) {
		why_set(&c->why, "connection to %s lost while %s%s%s", c->where,
		    doing, w->what[0] ? ": " : "", w->what);
	} else if (c->state == LINK_UP || c->state == LINK_CLOSING) {
		why_set(&c->why, "connection lost: %s closed it", c->where);
		why_mend(&c->why,
		    "the broker's log says why; another client "
		    "with the same id is a common cause");
	} else if (c->tls) {
		why_set(&c->why,
		    "%s closed the connection before it answered "
		    "CONNECT",
		    c->where);
		why_mend(&c->why,
		    "the broker's log says why; perhaps it wants "
		    "a client certificate: --cert and --key");
	} else {
		why_set(&c->why,
		    "%s closed the connection before it answered "
		    "CONNECT",
		    c->where);
		why_mend(&c->why,
		    "if this port speaks TLS, give --cafile; "
		    "else the broker's log says why");
	}
	return e;
}

/* A TLS server answers CONNECT with an alert. */
static bool
answers_with_tls(const struct client *c)
{
	struct slice s = buf_slice(&c->in);

	return !c->tls && c->state == LINK_OPENING && s.p && s.n >= 2 &&
	    s.p[0] == 0x15 && s.p[1] == 0x03;
}

int
client_left(uint64_t deadline)
{
	uint64_t now = client_now();

	if (deadline <= now)
		return 0;
	return deadline - now > INT_MAX ? INT_MAX : (int)(deadline - now);
}

static enum nj_err
why_timeout(struct client *c, const char *doing)
{
	why_set(&c->why, "%s: no answer in time while %s", c->where, doing);
	why_mend(&c->why, "check the port, and what the broker's log says");
	return NJ_TIMEOUT;
}

static enum nj_err
handshake_failed(struct client *c, enum nj_err e)
{
	const struct nj_why *w = stream_why(c->stream);

	if (w->mend[0]) { /* the transport knows what mends it */
		c->why = *w;
		return c->tls && !c->websocket ? NJ_TLS : e;
	}
	(void)why_transport(c, e, "connecting");
	if (e == NJ_TLS)
		return e;
	why_set(&c->why, "%s ended the connection during the %s handshake",
	    c->where, c->websocket ? "WebSocket" : "TLS");
	why_mend(&c->why,
	    "look whether this port speaks %s; the broker's log "
	    "says more",
	    c->websocket ? "WebSocket" : "TLS");
	return c->websocket ? NJ_EOF : NJ_TLS;
}

static enum nj_err
handshake(struct client *c, uint64_t deadline)
{
	enum nj_err e;

	while ((e = stream_handshake(c->stream)) == NJ_AGAIN) {
		unsigned want = stream_wants(c->stream);
		struct pollfd p = { .fd = stream_fd(c->stream) };
		int left = client_left(deadline);

		p.events = (want & LOOP_OUT) ? POLLOUT : POLLIN;
		if (left == 0)
			return why_timeout(c,
			    c->websocket ? "doing the WebSocket handshake"
					 : "doing the TLS handshake");
		if (poll(&p, 1, left) < 0 && errno != EINTR)
			return NJ_IO;
	}
	return e ? handshake_failed(c, e) : NJ_OK;
}

/* Non-blocking, and without Nagle's delay: what is written is gathered. */
static void
set_socket(const struct client *c, int fd)
{
	int flags = fcntl(fd, F_GETFL), on = 1;

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	if (!c->unix_path)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static enum nj_err
make_stream(struct client *c, int fd, uint64_t deadline)
{
	struct stream *inner = NULL;
	enum nj_err e;

	if (fd < 0 && (e = client_dial(c, deadline, &fd)))
		return e;
	set_socket(c, fd);
	e = c->tls ? tls_connect(c->tls, fd, c->host, true, c->scratch, &inner)
		   : stream_tcp_new(fd, &inner);
	if (e) {
		(void)close(fd);
		return e;
	}
	if (c->websocket &&
	    (e = stream_wsc_new(
		 &inner, c->unix_path ? "localhost" : c->where, &c->stream))) {
		stream_free(inner);
		why_set(&c->why, "%s cannot be named in HTTP", c->where);
		return e;
	}
	if (inner)
		c->stream = inner;
	return NJ_OK;
}

enum nj_err
client_open(struct client *c, int fd, uint64_t deadline)
{
	enum nj_err e;

	if ((e = make_stream(c, fd, deadline)) ||
	    (e = handshake(c, deadline)) ||
	    (c->auth && (e = client_auth_renew(c))) ||
	    (e = buf_put_slice(&c->out, buf_slice(&c->connect))))
		return e;
	client_trace(c, "sending CONNECT");
	c->state = LINK_OPENING;
	c->last_sent = client_now();
	while (c->state == LINK_OPENING) {
		int left = client_left(deadline);

		if (left == 0)
			return why_timeout(c, "waiting for CONNACK");
		if ((e = client_turn(c, left, -1, NULL)))
			return e;
	}
	return NJ_OK;
}

/* Sends until the socket takes no more; that is no error. */
static enum nj_err
send_out(struct client *c)
{
	enum nj_err e = NJ_OK;

	if (c->state == LINK_CLOSING && buf_len(&c->bye) > 0) {
		if ((e = buf_put_slice(&c->out, buf_slice(&c->bye))))
			return e;
		buf_fini(&c->bye);
	}
	while (buf_len(&c->out) > 0) {
		struct slice s = buf_slice(&c->out);
		size_t n = 0;

		if ((e = stream_write(c->stream, s.p, s.n, &n)))
			break;
		buf_drain(&c->out, n);
		c->last_sent = client_now();
	}
	if (!e)
		e = stream_flush(c->stream);
	return e && e != NJ_AGAIN ? why_transport(c, e, "sending") : NJ_OK;
}

/* A broker that sends without reading gets no more answers queued. */
static bool
congested(const struct client *c)
{
	return buf_len(&c->out) > CLIENT_UNSENT_MAX;
}

/* Handles the whole packets that have arrived. */
static enum nj_err
take_packets(struct client *c)
{
	while (
	    buf_len(&c->in) > 0 && c->state != LINK_CLOSING && !congested(c)) {
		struct slice in = buf_slice(&c->in);
		size_t had = in.n;
		struct frame f;
		enum nj_err e = c->ver == MQTT31
		    ? frame_take_31(&in, c->max_packet, &f)
		    : frame_take(&in, c->max_packet, &f);

		if (e == NJ_AGAIN)
			return NJ_OK;
		if (e && answers_with_tls(c)) {
			why_set(&c->why, "%s answers with TLS", c->where);
			why_mend(&c->why,
			    "give --cafile with the CA of the "
			    "broker, or another port");
			return NJ_TLS;
		}
		if (e == NJ_TOOBIG)
			return client_blame(c, e,
			    "a packet of more than %u "
			    "bytes",
			    c->max_packet);
		if (e)
			return client_blame(c, e, "no MQTT packet");
		if ((e = client_receive(c, &f)))
			return e;
		buf_drain(&c->in, had - in.n);
	}
	return NJ_OK;
}

/* Reads until nothing waits.  What stood before the end of the stream counts:
 * a DISCONNECT of the broker's says more than the end itself. */
static enum nj_err
read_in(struct client *c)
{
	for (unsigned i = 0; i < CLIENT_READS_STEP; i++) {
		uint8_t *at;
		size_t n = 0;
		enum nj_err e;

		if (c->state == LINK_CLOSING || congested(c))
			return NJ_OK;
		if ((e = buf_reserve(&c->in, CLIENT_READ_CHUNK, &at)))
			return e;
		e = stream_read(c->stream, at, CLIENT_READ_CHUNK, &n);
		if (e == NJ_AGAIN)
			return NJ_OK;
		if (e)
			return why_transport(c, e, "receiving");
		buf_commit(&c->in, n);
		c->spoken = true;
		if ((e = take_packets(c)))
			return e;
		if (n < CLIENT_READ_CHUNK && !stream_pending(c->stream))
			return NJ_OK;
	}
	return NJ_OK;
}

/* MQTT 5.0 3.1.2.10: pings; a broker that answers none within another interval
 * is gone. */
static enum nj_err
keep_alive(struct client *c)
{
	uint64_t now = client_now(), interval = c->ping_after * UINT64_C(1000);

	if (interval == 0 || c->state != LINK_UP)
		return NJ_OK;
	if (c->ping_sent && now - c->ping_sent >= interval) {
		why_set(&c->why,
		    "connection lost: %s did not answer a ping "
		    "within %u s",
		    c->where, c->ping_after);
		why_mend(&c->why, "check the network; a longer -k allows more");
		return NJ_TIMEOUT;
	}
	if (c->ping_sent || now - c->last_sent < interval)
		return NJ_OK;
	client_trace(c, "sending PINGREQ");
	c->ping_sent = now;
	return encode_ping(&c->out, MQTT_PINGREQ);
}

/* At most timeout_ms, or until the keep alive wants something. */
static int
wait_ms(const struct client *c, int timeout_ms)
{
	uint64_t from = c->ping_sent ? c->ping_sent : c->last_sent;
	int64_t again = client_auth_wait(c);
	int left;

	if (stream_pending(c->stream) && !congested(c))
		return 0;
	if (again >= 0 && (timeout_ms < 0 || again < timeout_ms))
		timeout_ms = again > INT_MAX ? INT_MAX : (int)again;
	if (c->ping_after == 0 || c->state != LINK_UP)
		return timeout_ms;
	left = client_left(from + c->ping_after * UINT64_C(1000));
	return timeout_ms < 0 || left < timeout_ms ? left : timeout_ms;
}

static enum nj_err
wait_ready(struct client *c, int timeout_ms, int other_fd, bool *readable)
{
	struct pollfd p[2] = { { .fd = stream_fd(c->stream) },
		{ .fd = other_fd, .events = POLLIN } };
	unsigned want = stream_wants(c->stream);

	if ((want & LOOP_IN) || (c->state != LINK_CLOSING && !congested(c)))
		p[0].events |= POLLIN;
	if ((want & LOOP_OUT) || buf_len(&c->out) > 0)
		p[0].events |= POLLOUT;
	if (poll(p, 2, wait_ms(c, timeout_ms)) < 0 && errno != EINTR) {
		why_set(&c->why, "poll: %s", strerror(errno));
		return NJ_IO;
	}
	if (readable)
		*readable = p[1].revents != 0;
	return NJ_OK;
}

/*
 * After DISCONNECT: waits a little for the broker to close.  Closing a socket
 * with unread bytes resets the connection, and a reset may overtake what the
 * broker has not read yet.
 */
static void
linger(struct client *c)
{
	uint64_t deadline = client_now() + LINGER_MS;
	struct pollfd p = { .fd = stream_fd(c->stream), .events = POLLIN };
	uint8_t rest[4096];

	stream_shutdown(c->stream);
	do {
		int left = client_left(deadline);

		if (left == 0 || poll(&p, 1, left) <= 0)
			return;
	} while (recv(p.fd, rest, sizeof rest, MSG_DONTWAIT) > 0);
}

enum nj_err
client_turn(struct client *c, int timeout_ms, int other_fd, bool *readable)
{
	bool had = buf_len(&c->out) > 0;
	enum nj_err e;

	if ((e = take_packets(c)) || (e = send_out(c)))
		return e;
	if (c->state == LINK_CLOSING && buf_len(&c->out) == 0 &&
	    stream_flush(c->stream) == NJ_OK) {
		linger(c);
		return NJ_EOF;
	}
	if (had && buf_len(&c->out) == 0)
		timeout_ms = 0; /* that is news, too */
	if ((e = wait_ready(c, timeout_ms, other_fd, readable)) ||
	    (e = read_in(c)) || (e = client_auth_again(c)) ||
	    (e = keep_alive(c)))
		return e;
	return send_out(c);
}
