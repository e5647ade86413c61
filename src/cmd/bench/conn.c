/* SPDX-License-Identifier: Apache-2.0
 * The generator's own lean connection: opens without blocking, reads into one
 * buffer that all share, and gathers what it writes until the end of a turn.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/rand.h"
#include "cmd/bench/impl.h"
#include "net/wsclient.h"
#include "wire/decode.h"
#include "wire/encode.h"

uint64_t
bench_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void
conn_fail(struct conn *c, enum nj_err e, const char *fmt, ...)
{
	struct bench *b = c->b;
	char text[256];
	va_list ap;

	if (c->state == CONN_DEAD)
		return;
	if (b->failed++ == 0) {
		va_start(ap, fmt);
		(void)vsnprintf(text, sizeof text, fmt, ap);
		va_end(ap);
		if (c->stream && stream_why(c->stream)->what[0])
			b->why = *stream_why(c->stream);
		else
			why_set(&b->why, "%s", nj_strerror(e));
		why_prefix(&b->why, "%s", text);
	}
	conn_stop(c, false);
	c->state = CONN_DEAD;
	c->ops->dead(c);
}

static void
set_want(struct conn *c, unsigned want)
{
	if (loop_want(c->b->loop, &c->w, want))
		conn_fail(c, NJ_IO, "epoll");
}

void
conn_dirty(struct conn *c)
{
	struct bench *b = c->b;

	/* bench_open made room for every connection. */
	if (!c->dirty && b->n_dirty < b->dirty_cap) {
		c->dirty = true;
		b->dirty[b->n_dirty++] = c;
	}
}

static void
flush_one(struct conn *c)
{
	enum nj_err e = NJ_OK;

	while (!e && buf_len(&c->out) > 0) {
		struct slice s = buf_slice(&c->out);
		size_t n = 0;

		if (!(e = stream_write(c->stream, s.p, s.n, &n)))
			buf_drain(&c->out, n);
	}
	if (!e)
		e = stream_flush(c->stream);
	if (e && e != NJ_AGAIN) {
		conn_fail(c, e, "sending");
		return;
	}
	set_want(c, LOOP_IN | (e == NJ_AGAIN ? LOOP_OUT : 0u));
}

void
bench_flush(struct bench *b)
{
	for (size_t i = 0; i < b->n_dirty; i++) {
		struct conn *c = b->dirty[i];

		c->dirty = false;
		if (c->state == CONN_CONNACK || c->state == CONN_UP)
			flush_one(c);
	}
	b->n_dirty = 0;
}

static bool
take_connack(struct conn *c, const struct frame *f)
{
	struct connack k;
	enum nj_err e;

	if (f->type != MQTT_CONNACK ||
	    (e = decode_connack(f->body, c->b->o.ver, &k))) {
		conn_fail(c, NJ_PROTOCOL, "no CONNACK");
		return false;
	}
	if (k.code != 0) {
		conn_fail(c, NJ_DENIED, "CONNACK %u", k.code);
		return false;
	}
	c->receive_max = props_has(&k.props, PROP_RECEIVE_MAX)
	    ? k.props.receive_max
	    : UINT16_MAX;
	c->state = CONN_UP;
	c->ops->up(c);
	return c->state == CONN_UP;
}

/* Handles the packets in s; the rest stays in it.  False: the connection has
 * ended. */
static bool
take_packets(struct conn *c, struct slice *s)
{
	struct frame f;
	enum nj_err e;

	while ((e = frame_take(s, 0, &f)) == NJ_OK) {
		if (c->state == CONN_CONNACK ? !take_connack(c, &f)
					     : !c->ops->packet(c, &f))
			return false;
	}
	if (e != NJ_AGAIN) {
		conn_fail(c, e, "not MQTT");
		return false;
	}
	return true;
}

/* One read, behind what is left of the last.  NJ_AGAIN: nothing more now. */
static enum nj_err
read_once(struct conn *c)
{
	struct bench *b = c->b;
	struct slice s = buf_slice(&c->in);
	size_t had = s.n, n = 0, room;
	uint8_t *rx;
	enum nj_err e;

	buf_truncate(&b->rx, 0);
	if ((e = buf_reserve(&b->rx, had + RX_MIN, &rx)))
		return e;
	if (had > 0 && s.p)
		memcpy(rx, s.p, had);
	room = b->rx.cap - had;
	if ((e = stream_read(c->stream, rx + had, room, &n)))
		return e;
	b->now = bench_now();
	s = slice_of(rx, had + n);
	if (!take_packets(c, &s))
		return NJ_EOF;
	if (s.n != had || had > 0) {
		buf_drain(&c->in, had);
		if ((e = buf_put_slice(&c->in, s)))
			return e;
	}
	if (c->ops->idle)
		c->ops->idle(c);
	if (c->state == CONN_DEAD || !c->stream)
		return NJ_EOF;
	return n < room && !stream_pending(c->stream) ? NJ_AGAIN : NJ_OK;
}

static void
on_readable(struct conn *c)
{
	for (unsigned i = 0; i < READS_TURN; i++) {
		enum nj_err e = read_once(c);

		if (e == NJ_AGAIN || c->state == CONN_DEAD || !c->stream)
			return;
		if (e) {
			conn_fail(c, e, "receiving");
			return;
		}
	}
	/* Level triggered, but the transport may hold bytes of its own. */
	while (
	    c->state != CONN_DEAD && c->stream && stream_pending(c->stream)) {
		enum nj_err e = read_once(c);

		if (e == NJ_AGAIN)
			return;
		if (e && c->stream)
			conn_fail(c, e, "receiving");
	}
}

static void
send_connect(struct conn *c)
{
	struct opts *o = &c->b->o;
	char id[64];
	struct connect k = {
		.version = o->ver,
		.clean_start = true,
		.has_username = o->user != NULL,
		.has_password = c->b->password != NULL,
	};

	(void)snprintf(
	    id, sizeof id, "%s%x-%u", o->id_prefix, c->b->run, c->index);
	k.client_id = slice_str(id);
	if (o->session_expiry > 0) {
		k.props.seen = PROP_BIT(PROP_SESSION_EXPIRY);
		k.props.session_expiry = (uint32_t)o->session_expiry;
	}
	if (o->user)
		k.username = slice_str(o->user);
	if (c->b->password)
		k.password = secret_bytes(c->b->password);
	c->state = CONN_CONNACK;
	if (encode_connect(&c->out, &k)) {
		conn_fail(c, NJ_NOMEM, "CONNECT");
		return;
	}
	conn_dirty(c);
	set_want(c, LOOP_IN);
}

static void
on_handshake(struct conn *c)
{
	enum nj_err e = stream_handshake(c->stream);
	const struct tls_peer *peer;

	if (e == NJ_AGAIN) {
		unsigned want = stream_wants(c->stream);

		set_want(c, want ? want : LOOP_IN);
		return;
	}
	if (e) {
		conn_fail(c, e, "handshake");
		return;
	}
	peer = stream_tls(c->stream);
	if (peer && peer->resumed)
		c->b->resumed++;
	send_connect(c);
}

static void
on_connected(struct conn *c)
{
	struct bench *b = c->b;
	int err = 0, fd = c->w.fd;
	socklen_t n = sizeof err;
	enum nj_err e;

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n) != 0)
		err = errno;
	if (err) {
		conn_fail(c, NJ_IO, "connect: %s", strerror(err));
		return;
	}
	e = b->tls ? tls_connect(b->tls, fd, b->o.host, b->o.resume, b->scratch,
			 &c->stream)
		   : stream_tcp_new(fd, &c->stream);
	if (!e && b->o.websockets)
		e = stream_wsc_new(&c->stream, b->o.host, &c->stream);
	if (e) {
		conn_fail(c, e, "stream");
		return;
	}
	c->state = CONN_HANDSHAKE;
	on_handshake(c);
}

static void
on_ready(struct watch *w, unsigned ready)
{
	struct conn *c = conn_of(w);

	switch (c->state) {
	case CONN_CONNECTING:
		on_connected(c);
		break;
	case CONN_HANDSHAKE:
		on_handshake(c);
		break;
	case CONN_CONNACK:
	case CONN_UP:
		if (ready & LOOP_OUT)
			conn_dirty(c);
		if (ready & (LOOP_IN | LOOP_HUP))
			on_readable(c);
		break;
	default:
		break;
	}
}

void
conn_init(struct conn *c, struct bench *b, const struct conn_ops *ops,
    void *arg, uint32_t index)
{
	*c = (struct conn){ .w = { .fd = -1, .fn = on_ready },
		.b = b,
		.ops = ops,
		.arg = arg,
		.index = index };
}

/* More connections than one address has ports come from several: any of
 * 127.0.0.0/8 is ours. */
static int
bind_source(const struct conn *c, int fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	uint32_t which = c->index / PORTS_ADDRESS;
	int on = 1;

	if (!c->b->loopback || which == 0)
		return 0;
	a.sin_addr.s_addr =
	    htonl(0x7f000001u + which % 200 + (which / 200 % 200) * 256);
	(void)setsockopt(
	    fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	return bind(fd, (struct sockaddr *)&a, sizeof a);
}

void
conn_start(struct conn *c)
{
	struct bench *b = c->b;
	int on = 1, fd;

	c->started = bench_now();
	c->state = CONN_CONNECTING;
	fd = socket(
	    b->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		conn_fail(c, NJ_IO, "socket: %s", strerror(errno));
		return;
	}
	if (b->addr.ss_family != AF_UNIX)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->w.fd = fd;
	c->w.want = LOOP_OUT;
	if (bind_source(c, fd) != 0 ||
	    (connect(fd, (struct sockaddr *)&b->addr, b->addr_len) != 0 &&
		errno != EINPROGRESS)) {
		int err = errno;

		(void)close(fd);
		c->w.fd = -1;
		conn_fail(c, NJ_IO, "connect: %s", strerror(err));
		return;
	}
	if (loop_add(b->loop, &c->w)) {
		(void)close(fd);
		c->w.fd = -1;
		conn_fail(c, NJ_IO, "epoll");
	}
}

void
conn_stop(struct conn *c, bool goodbye)
{
	struct disconnect d = { .code = RC_SUCCESS };
	int fd = c->w.fd;

	if (goodbye && c->state == CONN_UP && c->stream &&
	    encode_disconnect(&c->out, c->b->o.ver, &d) == NJ_OK) {
		struct slice s = buf_slice(&c->out);
		size_t n;

		(void)!stream_write(c->stream, s.p, s.n, &n);
		stream_shutdown(c->stream);
	}
	loop_del(c->b->loop, &c->w);
	if (c->stream)
		stream_free(c->stream);
	else if (fd >= 0)
		(void)close(fd);
	c->stream = NULL;
	buf_fini(&c->in);
	buf_fini(&c->out);
	c->state = CONN_IDLE;
}

static enum nj_err
find_address(struct bench *b)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *a = NULL;
	struct sockaddr_un *un = (struct sockaddr_un *)&b->addr;
	char port[8];
	int r;

	if (b->o.unix_path) {
		un->sun_family = AF_UNIX;
		if (strlen(b->o.unix_path) >= sizeof un->sun_path) {
			why_set(&b->why, "--unix: the path is too long");
			return NJ_INVALID;
		}
		(void)snprintf(
		    un->sun_path, sizeof un->sun_path, "%s", b->o.unix_path);
		b->addr_len = sizeof *un;
		return NJ_OK;
	}
	(void)snprintf(port, sizeof port, "%ld", b->o.port);
	if ((r = getaddrinfo(b->o.host, port, &hints, &a)) != 0) {
		why_set(&b->why, "%s: %s", b->o.host, gai_strerror(r));
		return NJ_NOTFOUND;
	}
	memcpy(&b->addr, a->ai_addr, a->ai_addrlen);
	b->addr_len = a->ai_addrlen;
	freeaddrinfo(a);
	if (b->addr.ss_family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&b->addr;

		b->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	return NJ_OK;
}

static enum nj_err
open_tls(struct bench *b)
{
	const struct opts *o = &b->o;
	struct tls_client_opts t = {
		.cafile = o->cafile,
		.os_certs = o->os_certs,
		.certfile = o->certfile,
		.keyfile = o->keyfile,
		.insecure = o->insecure,
		.ciphers = o->ciphers,
	};

	if (o->tls_min && strcmp(o->tls_min, "1.2") == 0)
		t.min = t.max = TLS_MIN_12;
	else if (o->tls_min)
		t.min = t.max = TLS_MIN_13;
	if (!o->cafile && !o->os_certs)
		return NJ_OK;
	return tls_client_new(&t, &b->tls, &b->why);
}

enum nj_err
bench_open(struct bench *b)
{
	enum nj_err e;

	rand_bytes(&b->run, sizeof b->run);
	b->dirty_cap = (size_t)(b->o.pubs + b->o.subs + b->o.connections +
			   b->o.concurrency) +
	    others_clients(&b->o);
	if (!(b->dirty = calloc(b->dirty_cap, sizeof(struct conn *))))
		return NJ_NOMEM;
	if (b->o.password_file &&
	    (e = secret_from_file(b->o.password_file, &b->password, &b->why)))
		return e;
	if ((e = loop_new(&b->loop)) || (e = stream_scratch_new(&b->scratch)) ||
	    (e = find_address(b)))
		return e;
	return open_tls(b);
}

void
bench_close(struct bench *b)
{
	tls_client_free(b->tls);
	stream_scratch_free(b->scratch);
	loop_free(b->loop);
	secret_free(b->password);
	free(b->dirty);
	buf_fini(&b->rx);
}
