/* SPDX-License-Identifier: Apache-2.0
 * wsclient - see wsclient.h.
 *
 * What is sent must be masked (RFC 6455 5.3), and so it is copied: a frame at
 * a time, into out, which is empty before the next is made.
 */
#include "net/wsclient.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rand.h"
#include "base/text.h"
#include "net/loop.h"
#include "net/stream_impl.h"
#include "net/wskey.h"
#include "wire/http.h"
#include "wire/ws.h"

#define HEAD_STEP 1024
/* Answers to pings that may wait behind a frame. */
#define PONGS_MAX 1024
/* Received in one call without a byte of data among it. */
#define FLOOD_MAX (64 * 1024)

enum wsc_phase {
	WSC_INNER, /* the inner handshake */
	WSC_ASKED, /* the request is made; waits for the answer */
	WSC_OPEN,
	WSC_ENDED, /* a Close came */
	WSC_FAILED
};

struct wsc {
	struct stream base;
	struct stream *inner;
	char accept[WS_ACCEPT_SIZE];
	struct buf in;	/* the answer; then what came behind it */
	struct buf out; /* to be sent before anything else */
	enum wsc_phase phase;
	bool closing; /* our Close is in out, or was */
	bool shut;
	struct ws_in rx;
	char host[];
};

static struct wsc *
wsc_of(struct stream *s)
{
	return (struct wsc *)s;
}

static const struct wsc *
cwsc_of(const struct stream *s)
{
	return (const struct wsc *)s;
}

/* The inner stream's failure is ours. */
static enum nj_err
inner_failed(struct wsc *s, enum nj_err e)
{
	int err = errno;
	struct nj_why *w;

	if (e != NJ_OK && e != NJ_AGAIN && e != NJ_EOF &&
	    (w = stream_why_new(&s->base)))
		*w = *stream_why(s->inner);
	errno = err;
	return e;
}

/* -- sending -------------------------------------------------------------- */

static enum nj_err
send_out(struct wsc *s)
{
	enum nj_err e;
	size_t n = 0;

	while (buf_len(&s->out) > 0) {
		struct slice left = buf_slice(&s->out);

		if ((e = stream_write(s->inner, left.p, left.n, &n)))
			return inner_failed(s, e);
		buf_drain(&s->out, n);
	}
	return NJ_OK;
}

/* A frame behind what waits already. */
static enum nj_err
put_frame(struct wsc *s, enum ws_op op, struct slice payload)
{
	uint8_t key[WS_KEY_LEN], head[WS_HEAD_IN_MAX], *at;
	size_t n;
	enum nj_err e;

	rand_bytes(key, sizeof key); /* 5.3: nobody can foretell it */
	n = ws_head_masked(head, op, payload.n, key);
	if ((e = buf_reserve(&s->out, n + payload.n, &at)))
		return e;
	memcpy(at, head, n);
	if (payload.n > 0)
		ws_mask(at + n, payload.p, payload.n, key);
	buf_commit(&s->out, n + payload.n);
	return NJ_OK;
}

static void
send_close(struct wsc *s, enum ws_code code)
{
	uint8_t two[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	if (s->closing || s->phase < WSC_OPEN)
		return;
	s->closing = true;
	/* best effort: the connection ends either way */
	if (put_frame(s, WS_CLOSE,
		code == WS_CODE_NONE ? SLICE_NONE
				     : slice_of(two, sizeof two)) == NJ_OK)
		(void)!send_out(s);
}

static enum nj_err
wsc_write(struct stream *base, const uint8_t *src, size_t len, size_t *n)
{
	struct wsc *s = wsc_of(base);
	enum nj_err e;

	if (s->phase != WSC_OPEN && s->phase != WSC_ENDED)
		return NJ_PROTOCOL;
	if (s->closing && s->phase == WSC_OPEN)
		return NJ_EOF;
	if ((e = send_out(s)))
		return e;
	if (s->phase == WSC_ENDED) { /* nobody listens, as after a FIN */
		*n = len;
		return NJ_OK;
	}
	if (len > WSC_FRAME_MAX)
		len = WSC_FRAME_MAX;
	if ((e = put_frame(s, WS_BINARY, slice_of(src, len))))
		return e;
	*n = len; /* it is kept, even if it cannot leave now */
	e = send_out(s);
	return e == NJ_AGAIN ? NJ_OK : e;
}

static enum nj_err
wsc_writev(struct stream *base, const struct iovec *iov, int cnt, size_t *n)
{
	for (int i = 0; i < cnt; i++)
		if (iov[i].iov_len > 0)
			return wsc_write(
			    base, iov[i].iov_base, iov[i].iov_len, n);
	*n = 0;
	return NJ_OK;
}

static enum nj_err
wsc_flush(struct stream *base)
{
	struct wsc *s = wsc_of(base);
	enum nj_err e;

	if ((e = send_out(s)))
		return e;
	return inner_failed(s, stream_flush(s->inner));
}

/* -- the handshake -------------------------------------------------------- */

static enum nj_err
ask(struct wsc *s)
{
	char key[HTTP_KEY_LEN + 1];
	enum nj_err e;

	ws_new_key(key, sizeof key);
	if ((e = ws_accept_of(slice_str(key), s->accept))) {
		why_set(stream_why_new(&s->base), "SHA-1 is not available");
		return e;
	}
	s->phase = WSC_ASKED;
	return buf_printf(&s->out,
	    "GET " WSC_PATH " HTTP/1.1\r\n"
	    "Host: %s\r\n"
	    "Upgrade: websocket\r\n"
	    "Connection: Upgrade\r\n"
	    "Sec-WebSocket-Key: %s\r\n"
	    "Sec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Protocol: mqtt\r\n\r\n", /* [MQTT-6.0.0-3] */
	    s->host, key);
}

static enum nj_err
refused(struct wsc *s, const struct http_answer *a)
{
	struct nj_why *w = stream_why_new(&s->base);

	s->phase = WSC_FAILED;
	if (a->status && a->status != 101)
		why_set(w,
		    "%s answers the WebSocket request with HTTP status %u",
		    s->host, a->status);
	else
		why_set(w, "%s does not speak WebSocket as agreed: %s", s->host,
		    a->why);
	why_mend(w,
	    "look whether this port is one for MQTT over WebSocket; without "
	    "--ws plain MQTT is spoken");
	return NJ_PROTOCOL;
}

static enum nj_err
judge_answer(struct wsc *s)
{
	struct slice in = buf_slice(&s->in);
	struct http_answer a = { 0 };
	enum nj_err e;

	if (!in.p || in.n == 0)
		return NJ_AGAIN;
	if ((e = http_take_answer(&in, s->accept, &a)))
		return e == NJ_AGAIN ? e : refused(s, &a);
	buf_drain(&s->in, (size_t)(in.p - buf_slice(&s->in).p));
	s->phase = WSC_OPEN;
	return NJ_OK;
}

static enum nj_err
wsc_handshake(struct stream *base)
{
	struct wsc *s = wsc_of(base);
	enum nj_err e;
	uint8_t *at;
	size_t n = 0;

	if (s->phase == WSC_INNER &&
	    ((e = inner_failed(s, stream_handshake(s->inner))) || (e = ask(s))))
		return e;
	if ((e = wsc_flush(base)) && e != NJ_AGAIN)
		return e;
	while (s->phase == WSC_ASKED) {
		if ((e = buf_reserve(&s->in, HEAD_STEP, &at)) ||
		    (e = inner_failed(
			 s, stream_read(s->inner, at, HEAD_STEP, &n))))
			return e;
		buf_commit(&s->in, n);
		if ((e = judge_answer(s)) && e != NJ_AGAIN)
			return e;
	}
	return s->phase == WSC_FAILED ? NJ_PROTOCOL : NJ_OK;
}

/* -- receiving ------------------------------------------------------------ */

static enum nj_err
fault(struct wsc *s, const struct ws_taken *t)
{
	why_set(
	    stream_why_new(&s->base), "what came is no WebSocket: %s", t->why);
	send_close(s, t->code);
	s->phase = WSC_FAILED;
	return NJ_PROTOCOL;
}

static enum nj_err
on_close(struct wsc *s, const struct ws_taken *t)
{
	struct slice reason = t->control.n > 2
	    ? slice_of(t->control.p + 2, t->control.n - 2)
	    : SLICE_NONE;
	char esc[TEXT_ESC] = "";

	send_close(s, t->code);
	if (t->code == WS_CODE_NORMAL || t->code == WS_CODE_GOING ||
	    t->code == WS_CODE_NONE) {
		s->phase = WSC_ENDED;
		return NJ_EOF;
	}
	if (reason.n > 0)
		(void)text_esc(esc, sizeof esc, reason);
	why_set(stream_why_new(&s->base),
	    "the server ended the WebSocket with code %u%s%s", t->code,
	    esc[0] ? ": " : "", esc);
	s->phase = WSC_FAILED;
	return NJ_PROTOCOL;
}

static enum nj_err
on_control(struct wsc *s, const struct ws_taken *t)
{
	enum nj_err e;

	if (t->op == WS_CLOSE)
		return on_close(s, t);
	if (t->op != WS_PING || s->closing)
		return NJ_OK;
	/* Of pings that come faster than pongs leave, some go unanswered: only
	 * the newest has to be (5.5.3). */
	if (buf_len(&s->out) > WSC_FRAME_MAX + PONGS_MAX)
		return NJ_OK;
	if ((e = put_frame(s, WS_PONG, t->control)))
		return e;
	e = send_out(s);
	return e == NJ_AGAIN ? NJ_OK : e;
}

/* Bytes with frames: what came behind the answer, then the inner stream's. */
static enum nj_err
receive(struct wsc *s, uint8_t *dst, size_t cap, size_t *n)
{
	struct slice in = buf_slice(&s->in);

	if (!in.p || in.n == 0)
		return inner_failed(s, stream_read(s->inner, dst, cap, n));
	*n = in.n < cap ? in.n : cap;
	memcpy(dst, in.p, *n);
	buf_drain(&s->in, *n);
	return NJ_OK;
}

/* Takes the frames off what stands at dst; *got bytes of payload are left
 * there.  Those before a fault or a Close count: it shows at the next call. */
static enum nj_err
strip(struct wsc *s, uint8_t *dst, size_t len, size_t *got)
{
	size_t at = 0;
	enum nj_err e;

	*got = 0;
	while (at < len) {
		struct ws_taken t;

		e = ws_take(&s->rx, dst + *got, dst + at, len - at, &t);
		at += t.used;
		*got += t.n;
		if (e)
			return fault(s, &t);
		if (t.is_control && (e = on_control(s, &t)))
			return e;
	}
	return NJ_OK;
}

static enum nj_err
wsc_read(struct stream *base, uint8_t *dst, size_t cap, size_t *n)
{
	struct wsc *s = wsc_of(base);
	size_t got = 0, len = 0, idle = 0;
	enum nj_err e;

	while (s->phase == WSC_OPEN) {
		if ((e = receive(s, dst, cap, &len)))
			return e;
		e = strip(s, dst, len, &got);
		if (got > 0) {
			*n = got;
			return NJ_OK;
		}
		if (e)
			return e;
		if ((idle += len) > FLOOD_MAX) {
			struct ws_taken t = { .code = WS_CODE_POLICY,
				.why = "a flood of frames without data" };

			return fault(s, &t);
		}
	}
	return s->phase == WSC_ENDED ? NJ_EOF : NJ_PROTOCOL;
}

/* -- the rest ------------------------------------------------------------- */

static bool
wsc_pending(const struct stream *base)
{
	const struct wsc *s = cwsc_of(base);

	return s->phase > WSC_OPEN || buf_len(&s->in) > 0 ||
	    stream_pending(s->inner);
}

static unsigned
wsc_wants(const struct stream *base)
{
	const struct wsc *s = cwsc_of(base);

	return stream_wants(s->inner) | (s->phase == WSC_ASKED ? LOOP_IN : 0u) |
	    (buf_len(&s->out) > 0 ? LOOP_OUT : 0u);
}

static void
wsc_shutdown(struct stream *base)
{
	struct wsc *s = wsc_of(base);

	if (s->shut)
		return;
	s->shut = true;
	send_close(s, WS_CODE_NORMAL);
	stream_shutdown(s->inner);
}

static void
wsc_move(struct stream *base, struct stream_scratch *scratch)
{
	stream_move(wsc_of(base)->inner, scratch);
}

static const struct tls_peer *
wsc_tls(const struct stream *base)
{
	return stream_tls(cwsc_of(base)->inner);
}

static void
wsc_free(struct stream *base)
{
	struct wsc *s = wsc_of(base);

	s->inner->fd = -1; /* closed as ours */
	stream_free(s->inner);
	buf_fini(&s->in);
	buf_fini(&s->out);
	free(s);
}

static const struct stream_ops wsc_ops = {
	.handshake = wsc_handshake,
	.read = wsc_read,
	.write = wsc_write,
	.writev = wsc_writev,
	.flush = wsc_flush,
	.pending = wsc_pending,
	.wants = wsc_wants,
	.shutdown = wsc_shutdown,
	.move = wsc_move,
	.tls = wsc_tls,
	.free = wsc_free,
};

/* It becomes a line of the request. */
static bool
host_ok(const char *host)
{
	for (const char *p = host; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return false;
	return *host != '\0';
}

enum nj_err
stream_wsc_new(struct stream **inner, const char *host, struct stream **out)
{
	size_t n = strlen(host) + 1;
	struct wsc *s;

	if (!host_ok(host))
		return NJ_INVALID;
	if (!(s = calloc(1, sizeof *s + n)))
		return NJ_NOMEM;
	memcpy(s->host, host, n);
	s->base.ops = &wsc_ops;
	s->base.fd = stream_fd(*inner);
	s->rx.max = INT64_MAX;
	s->rx.client = true;
	s->inner = *inner;
	*inner = NULL;
	*out = &s->base;
	return NJ_OK;
}
