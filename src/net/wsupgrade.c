/* SPDX-License-Identifier: Apache-2.0
 * wsupgrade - how a WebSocket begins: the request, the answer, and where both
 *             are served, whether it is MQTT without any of that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "net/tls.h"
#include "net/wskey.h"
#include "net/wsstream_impl.h"
#include "wire/http.h"

#define HEAD_STEP 1024
#define CONNECT	  0x10 /* the first byte of every MQTT client */

/* -- MQTT without WebSocket ------------------------------------------------ */

static enum nj_err
bare_nothing(struct stream *base)
{
	return NJ_OK;
}

static enum nj_err
bare_read(struct stream *base, uint8_t *dst, size_t cap, size_t *n)
{
	return ws_receive(ws_of(base), dst, cap, n);
}

static enum nj_err
bare_write(struct stream *base, const uint8_t *src, size_t len, size_t *n)
{
	struct ws_stream *s = ws_of(base);

	return ws_inner_failed(s, stream_write(s->inner, src, len, n));
}

static enum nj_err
bare_writev(struct stream *base, const struct iovec *iov, int cnt, size_t *n)
{
	struct ws_stream *s = ws_of(base);

	return ws_inner_failed(s, stream_writev(s->inner, iov, cnt, n));
}

static enum nj_err
bare_flush(struct stream *base)
{
	struct ws_stream *s = ws_of(base);

	return ws_inner_failed(s, stream_flush(s->inner));
}

static bool
bare_pending(const struct stream *base)
{
	const struct ws_stream *s = cws_of(base);

	return buf_len(&s->in) > 0 || stream_pending(s->inner);
}

static unsigned
bare_wants(const struct stream *base)
{
	return stream_wants(cws_of(base)->inner);
}

static void
bare_shutdown(struct stream *base)
{
	stream_shutdown(ws_of(base)->inner);
}

static void
bare_move(struct stream *base, struct stream_scratch *scratch)
{
	stream_move(ws_of(base)->inner, scratch);
}

static const struct tls_peer *
bare_tls(const struct stream *base)
{
	return stream_tls(cws_of(base)->inner);
}

static const struct stream_ops bare_ops = {
	.handshake = bare_nothing,
	.read = bare_read,
	.write = bare_write,
	.writev = bare_writev,
	.flush = bare_flush,
	.pending = bare_pending,
	.wants = bare_wants,
	.shutdown = bare_shutdown,
	.move = bare_move,
	.tls = bare_tls,
	.free = ws_free,
};

/* From now on the inner stream is the whole of it.  What its bytes look like
 * when they are no MQTT either, MQTT's side explains. */
static enum nj_err
go_bare(struct ws_stream *s)
{
	s->base.ops = &bare_ops;
	free(s->origins);
	s->origins = NULL;
	return NJ_OK;
}

/* -- refusals -------------------------------------------------------------- */

/* Answers and ends. */
static enum nj_err
refuse(struct ws_stream *s, unsigned status, const char *what)
{
	s->phase = WS_FAILED;
	s->closing = true; /* there are no frames to end */
	if (status != 0 &&
	    buf_printf(&s->out,
		"HTTP/1.1 %u %s\r\n"
		"Content-Type: text/plain; charset=utf-8\r\n"
		"%s%s"
		"Content-Length: %zu\r\n"
		"Connection: close\r\n\r\n%s\n",
		status, http_phrase(status),
		status == 426 ? "Upgrade: websocket\r\n"
				"Sec-WebSocket-Version: 13\r\n"
			      : "",
		status == 405 ? "Allow: GET\r\n" : "", strlen(what) + 1,
		what) == NJ_OK)
		(void)!stream_flush(&s->base);
	ws_drain(s);
	return NJ_PROTOCOL;
}

/* Bytes that are no HTTP: what else they look like. */
static enum nj_err
refuse_stranger(struct ws_stream *s)
{
	struct slice in = buf_slice(&s->in);
	struct nj_why *w = stream_why_new(&s->base);
	uint8_t first = in.p && in.n > 0 ? in.p[0] : 0;

	if (stream_looks_like_tls(in)) {
		why_set(w, "TLS to a plain WebSocket port");
		why_mend(w,
		    "connect with ws:// instead of wss://, or give this "
		    "listener certfile and keyfile");
	} else if (first == CONNECT && s->mqtt_too) {
		why_set(w,
		    "MQTT without WebSocket from a client that agreed "
		    "on http/1.1 by ALPN");
		why_mend(w, "let the client offer mqtt by ALPN, or nothing");
	} else if (first == CONNECT) {
		why_set(w, "MQTT without WebSocket to a WebSocket port");
		why_mend(w,
		    "connect to a listener without 'protocol websockets', or "
		    "let this one have 'protocol mqtt+websockets'");
	} else if (slice_has_prefix(in, LIT("PROXY ")) ||
	    slice_has_prefix(in, LIT("\r\n\r\n"))) {
		why_set(w,
		    "a PROXY protocol header came before HTTP, and this "
		    "listener does not expect one");
		why_mend(w,
		    "set enable_proxy_protocol on the listener, or turn the "
		    "header off in the proxy");
	} else {
		why_set(
		    w, "the first byte, 0x%02x, is of no HTTP request", first);
	}
	return refuse(s, 0, NULL);
}

/* What stands between browsers and brokers is made for pages. */
static void
mend_request(struct nj_why *w, const struct http_upgrade *u)
{
	if (u->status == 505)
		why_mend(w,
		    "a proxy in between has to speak HTTP/1.1 to the broker "
		    "(nginx: proxy_http_version 1.1)");
	else if (u->status == 426)
		why_mend(w,
		    "use a client for MQTT over WebSocket; a proxy in between "
		    "has to pass the upgrade on (nginx: proxy_set_header "
		    "Upgrade $http_upgrade, proxy_set_header Connection "
		    "\"upgrade\", proxy_http_version 1.1)");
}

/* Schemes and hosts are the same in any case (RFC 6454 5). */
static bool
origin_is_listed(const char *list, struct slice origin)
{
	while (*list) {
		size_t n = strcspn(list, "\n");

		if (n == origin.n &&
		    strncasecmp(list, (const char *)origin.p, n) == 0)
			return true;
		list += n + (list[n] == '\n');
	}
	return false;
}

static enum nj_err
refuse_origin(struct ws_stream *s, struct slice origin)
{
	struct nj_why *w = stream_why_new(&s->base);
	char esc[TEXT_ESC];

	why_set(w, "Origin %s is not allowed by websockets_origin",
	    text_esc(esc, sizeof esc, origin));
	why_mend(w, "add 'websockets_origin %s' if its pages may connect",
	    text_esc(esc, sizeof esc, origin));
	/* The list is not the client's to know. */
	return refuse(s, 403, "This origin is not allowed.");
}

static enum nj_err
upgrade(struct ws_stream *s, const struct http_upgrade *u)
{
	char accept[WS_ACCEPT_SIZE];
	enum nj_err e;

	if ((e = ws_accept_of(u->key, accept))) {
		why_set(stream_why_new(&s->base), "SHA-1 is not available");
		return e;
	}
	if ((e = buf_printf(&s->out,
		 "HTTP/1.1 101 Switching Protocols\r\n"
		 "Upgrade: websocket\r\n"
		 "Connection: Upgrade\r\n"
		 "Sec-WebSocket-Accept: %s\r\n"
		 "Sec-WebSocket-Protocol: %s\r\n\r\n",
		 accept, u->protocol)))
		return e;
	s->phase = WS_OPEN;
	e = ws_send_kept(s);
	return e == NJ_AGAIN ? NJ_OK : e;
}

static enum nj_err
judge_request(struct ws_stream *s)
{
	struct slice in = buf_slice(&s->in);
	struct http_upgrade u;
	struct nj_why *w;
	enum nj_err e;
	size_t used;

	if (slice_has_prefix(in, LIT("PROXY ")))
		return refuse_stranger(s);
	if ((e = http_take_upgrade(&in, s->max_head, &u)) == NJ_AGAIN)
		return e;
	if (e && u.status == 0)
		return refuse_stranger(s);
	if (e) {
		w = stream_why_new(&s->base);
		why_set(w, "%s", u.why);
		mend_request(w, &u);
		return refuse(s, u.status, u.why);
	}
	if (s->origins && u.origin.p && !origin_is_listed(s->origins, u.origin))
		return refuse_origin(s, u.origin);
	if ((e = upgrade(s, &u)))
		return e;
	used = (size_t)(in.p - buf_slice(&s->in).p);
	buf_drain(&s->in, used);
	if (buf_len(&s->in) == 0)
		buf_fini(&s->in);
	s->base.from_page = u.origin.p != NULL;
	free(s->origins);
	s->origins = NULL;
	return NJ_OK;
}

/* A method is letters, and no MQTT client's first packet begins with one. */
static bool
begins_request(const struct ws_stream *s)
{
	struct slice in = buf_slice(&s->in);
	uint8_t c = in.p && in.n > 0 ? in.p[0] | 0x20 : 0;

	return c >= 'a' && c <= 'z';
}

/* Whether the newest n bytes can change what is known of the request: the
 * first ones, those that end a line, and those past the bound.  So a request
 * that comes byte by byte is not read from its start for each. */
static bool
tells_more(const struct ws_stream *s, size_t n)
{
	struct slice in = buf_slice(&s->in);

	return !in.p || in.n <= n || in.n >= s->max_head ||
	    memchr(in.p + in.n - n, '\n', n);
}

static enum nj_err
read_request(struct ws_stream *s)
{
	enum nj_err e = NJ_AGAIN;
	uint8_t *at;
	size_t n = 0;

	while (e == NJ_AGAIN) {
		if ((e = buf_reserve(&s->in, HEAD_STEP, &at)))
			return e;
		if ((e = stream_read(s->inner, at, HEAD_STEP, &n)))
			return ws_inner_failed(s, e);
		buf_commit(&s->in, n);
		if (s->phase == WS_FIRST && !begins_request(s))
			return go_bare(s);
		s->phase = WS_HEAD;
		e = tells_more(s, n) ? judge_request(s) : NJ_AGAIN;
	}
	return e;
}

/* Who agreed on a protocol by ALPN need not be guessed at. */
static enum nj_err
end_inner(struct ws_stream *s)
{
	const struct tls_peer *t;
	enum nj_err e;

	if ((e = stream_handshake(s->inner)))
		return ws_inner_failed(s, e);
	t = stream_tls(s->inner);
	if (s->mqtt_too && t && strcmp(t->alpn, "mqtt") == 0)
		return go_bare(s);
	s->phase = s->mqtt_too && !(t && strcmp(t->alpn, "http/1.1") == 0)
	    ? WS_FIRST
	    : WS_HEAD;
	return NJ_OK;
}

enum nj_err
ws_handshake(struct stream *base)
{
	struct ws_stream *s = ws_of(base);
	enum nj_err e;

	if (s->phase == WS_INNER && (e = end_inner(s)))
		return e;
	if (base->ops == &bare_ops)
		return NJ_OK;
	if (s->phase == WS_FIRST || s->phase == WS_HEAD)
		return read_request(s);
	return s->phase == WS_FAILED ? NJ_PROTOCOL : NJ_OK;
}

enum nj_err
stream_ws_new(
    struct stream **inner, const struct ws_opts *o, struct stream **out)
{
	struct ws_stream *s = calloc(1, sizeof *s);

	if (!s)
		return NJ_NOMEM;
	if (o->origins && !(s->origins = strdup(o->origins))) {
		free(s);
		return NJ_NOMEM;
	}
	s->base.ops = &ws_ops;
	s->base.fd = stream_fd(*inner);
	s->next = WS_OPEN;
	s->mqtt_too = o->mqtt_too;
	s->max_head = o->max_head ? o->max_head : HTTP_HEAD_USUAL;
	if (s->max_head > HTTP_HEAD_MAX)
		s->max_head = HTTP_HEAD_MAX;
	s->rx.max = o->max_message ? o->max_message : INT64_MAX;
	s->inner = *inner;
	*inner = NULL; /* out may be the same place */
	*out = &s->base;
	return NJ_OK;
}
