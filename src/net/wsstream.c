/* SPDX-License-Identifier: Apache-2.0
 * wsstream - see wsstream.h.
 *
 * Received bytes are read into the caller's own array and lose their frames
 * there.  What is sent keeps its array too: the inner stream is given heads of
 * frames and the caller's bytes in turn.  A control frame may not
 * stand inside of another frame, so that an answer waits in later while a data
 * frame has begun and is not whole.
 */
#include "net/wsstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/loop.h"
#include "net/wsstream_impl.h"
#include "wire/frame.h"

#define FRAME_OUT_MAX (1u << 29) /* longer than any MQTT packet */
#define FRAMES_MAX    64	 /* of one write */
/* Packets up to SMALL are copied behind their heads, SMALL_ALL bytes of them for
 * one write: the system takes many small pieces more slowly. */
#define SMALL	  1024
#define SMALL_ALL 16384
/* Received in one call without a byte of data among it. */
#define FLOOD_MAX (64 * 1024)

enum nj_err
ws_inner_failed(struct ws_stream *s, enum nj_err e)
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
send_buf(struct ws_stream *s, struct buf *b)
{
	enum nj_err e;
	size_t n = 0;

	while (buf_len(b) > 0) {
		struct slice left = buf_slice(b);

		if ((e = stream_write(s->inner, left.p, left.n, &n)))
			return ws_inner_failed(s, e);
		buf_drain(b, n);
	}
	buf_fini(b);
	return NJ_OK;
}

enum nj_err
ws_send_kept(struct ws_stream *s)
{
	enum nj_err e;

	if ((e = send_buf(s, &s->out)) || s->owed > 0)
		return e;
	return send_buf(s, &s->later);
}

/* A control frame, as soon as it may.  Of pongs that could not leave yet only
 * the newest is owed (5.5.3), so that later has one of them and a Close. */
static enum nj_err
send_control(struct ws_stream *s, const uint8_t *frame, size_t n)
{
	enum nj_err e;

	if (s->later.off > 0) /* it has begun to leave */
		return NJ_OK;
	buf_fini(&s->later);
	if ((e = buf_put(&s->later, frame, n)))
		return e;
	e = ws_send_kept(s);
	return e == NJ_AGAIN ? NJ_OK : e;
}

static void
send_close(struct ws_stream *s, uint16_t code, const char *why)
{
	uint8_t frame[2 + WS_CONTROL_MAX];

	if (s->closing || s->phase < WS_OPEN)
		return;
	s->closing = true;
	/* best effort: the connection ends either way */
	if (buf_put(&s->later, frame, ws_close(frame, code, why)) == NJ_OK)
		(void)!ws_send_kept(s);
}

/* The part of src that the frame being sent still lacks. */
static enum nj_err
go_on(struct ws_stream *s, const uint8_t *src, size_t len, size_t *n)
{
	enum nj_err e;

	if (len > s->owed)
		len = s->owed;
	if ((e = stream_write(s->inner, src, len, n)))
		return ws_inner_failed(s, e);
	s->owed -= (uint32_t)*n;
	return NJ_OK;
}

/* How much of src the next frame takes: one MQTT packet.  The standard lets
 * frames and packets differ, but not every client finds the second packet of a
 * frame before something else arrives.  A caller that does not write whole
 * packets only gets other frames. */
static size_t
cut_packet(const uint8_t *src, size_t len)
{
	struct slice rest = slice_of(src + 1, len - 1);
	uint32_t body = 0;
	size_t n = len;

	if (take_varint(&rest, &body) == NJ_OK)
		n = (size_t)(rest.p - src) + body;
	if (n > len)
		n = len;
	return n < FRAME_OUT_MAX ? n : FRAME_OUT_MAX;
}

/* Gathered for one send. */
struct frames {
	size_t n;
	size_t len[FRAMES_MAX];
	struct iovec v[2 * FRAMES_MAX];
	uint8_t head[FRAMES_MAX][WS_HEAD_MAX];
};

static void
make_frames(struct frames *f, const uint8_t *src, size_t len)
{
	for (f->n = 0; f->n < FRAMES_MAX && len > 0; f->n++) {
		size_t part = cut_packet(src, len);
		struct iovec *v = &f->v[2 * f->n];

		v[0].iov_base = f->head[f->n];
		v[0].iov_len = ws_head(f->head[f->n], WS_BINARY, part);
		v[1].iov_base = (void *)(uintptr_t)src;
		v[1].iov_len = f->len[f->n] = part;
		src += part;
		len -= part;
	}
}

/* sent bytes of the frames have left: *n of them were the caller's. */
static enum nj_err
count_sent(struct ws_stream *s, const struct frames *f, size_t sent, size_t *n)
{
	size_t all = 0;

	for (size_t i = 0; i < f->n && sent > 0; i++) {
		const struct iovec *v = &f->v[2 * i];
		size_t head = v[0].iov_len < sent ? v[0].iov_len : sent;
		size_t body;
		enum nj_err e;

		sent -= head;
		body = f->len[i] < sent ? f->len[i] : sent;
		sent -= body;
		all += body;
		s->owed = (uint32_t)(f->len[i] - body);
		if (head < v[0].iov_len &&
		    (e = buf_put(
			 &s->out, f->head[i] + head, v[0].iov_len - head)))
			return e;
	}
	if (all == 0)
		return NJ_AGAIN; /* no more than a head */
	*n = all;
	return NJ_OK;
}

/* The small packets that src begins with, framed; *took bytes of src.  The first
 * one is small. */
static size_t
copy_small(uint8_t *dst, const uint8_t *src, size_t len, size_t *took)
{
	size_t part = cut_packet(src, len), from = 0, at = 0;

	do {
		at += ws_head(dst + at, WS_BINARY, part);
		memcpy(dst + at, src + from, part);
		at += part;
		from += part;
		part = from < len ? cut_packet(src + from, len - from) : 0;
	} while (
	    part > 0 && part <= SMALL && at + WS_HEAD_MAX + part <= SMALL_ALL);
	*took = from;
	return at;
}

/* As count_sent, of what copy_small made: not all of it was sent. */
static enum nj_err
count_small(
    struct ws_stream *s, const uint8_t *src, size_t len, size_t sent, size_t *n)
{
	size_t all = 0;

	while (sent > 0) {
		size_t part = cut_packet(src + all, len - all), body;
		uint8_t head[WS_HEAD_MAX];
		size_t h = ws_head(head, WS_BINARY, part);
		enum nj_err e;

		s->owed = (uint32_t)part;
		if (sent < h) {
			if ((e = buf_put(&s->out, head + sent, h - sent)))
				return e;
			break;
		}
		sent -= h;
		body = part < sent ? part : sent;
		sent -= body;
		all += body;
		s->owed -= (uint32_t)body;
	}
	if (all == 0)
		return NJ_AGAIN; /* no more than a head */
	*n = all;
	return NJ_OK;
}

static enum nj_err
begin_small(struct ws_stream *s, const uint8_t *src, size_t len, size_t *n)
{
	uint8_t flat[SMALL_ALL];
	size_t took, all = copy_small(flat, src, len, &took), sent = 0;
	enum nj_err e;

	if ((e = stream_write(s->inner, flat, all, &sent)))
		return ws_inner_failed(s, e);
	if (sent < all)
		return count_small(s, src, len, sent, n);
	*n = took;
	return NJ_OK;
}

static enum nj_err
begin_frames(struct ws_stream *s, const uint8_t *src, size_t len, size_t *n)
{
	struct frames f;
	size_t sent = 0;
	enum nj_err e;

	make_frames(&f, src, len);
	if ((e = stream_writev(s->inner, f.v, (int)(2 * f.n), &sent)))
		return ws_inner_failed(s, e);
	return count_sent(s, &f, sent, n);
}

static enum nj_err
may_write(const struct ws_stream *s)
{
	if (s->phase != WS_OPEN && s->phase != WS_ENDED)
		return NJ_PROTOCOL;
	return s->closing && s->next != WS_ENDED ? NJ_EOF : NJ_OK;
}

static enum nj_err
wss_write(struct stream *base, const uint8_t *src, size_t len, size_t *n)
{
	struct ws_stream *s = ws_of(base);
	enum nj_err e;

	if ((e = may_write(s)) || (e = ws_send_kept(s)))
		return e;
	if (s->closing) { /* and it was answered: nobody listens */
		*n = len;
		return NJ_OK;
	}
	if (s->owed > 0)
		return go_on(s, src, len, n);
	return len > 0 && cut_packet(src, len) <= SMALL
	    ? begin_small(s, src, len, n)
	    : begin_frames(s, src, len, n);
}

/* Frames end where pieces do; who gathers pieces does so before. */
static enum nj_err
wss_writev(struct stream *base, const struct iovec *iov, int cnt, size_t *n)
{
	size_t all = 0;

	for (int i = 0; i < cnt; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t at = 0, k = 0;

		while (at < iov[i].iov_len) {
			enum nj_err e =
			    wss_write(base, p + at, iov[i].iov_len - at, &k);

			if (e && all + at == 0)
				return e;
			if (e) { /* it shows at the next call */
				*n = all + at;
				return NJ_OK;
			}
			at += k;
		}
		all += at;
	}
	*n = all;
	return NJ_OK;
}

static enum nj_err
wss_flush(struct stream *base)
{
	struct ws_stream *s = ws_of(base);
	enum nj_err e;

	if ((e = ws_send_kept(s)))
		return e;
	return ws_inner_failed(s, stream_flush(s->inner));
}

void
ws_drain(struct ws_stream *s)
{
	uint8_t waste[4096];
	size_t n;

	for (int i = 0; i < 16; i++)
		if (stream_read(s->inner, waste, sizeof waste, &n))
			return;
}

/* -- receiving ------------------------------------------------------------ */

/* A fault or a Close, told once the data before it was taken. */
static enum nj_err
end(struct ws_stream *s)
{
	s->phase = s->next;
	if (s->phase == WS_ENDED)
		return NJ_EOF;
	why_set(stream_why_new(&s->base), "WebSocket: %s", s->fault);
	send_close(s, s->code, s->fault);
	ws_drain(s);
	return NJ_PROTOCOL;
}

static void
set_fault(struct ws_stream *s, uint16_t code, const char *why)
{
	s->next = WS_FAILED;
	s->code = code;
	s->fault = why;
}

static enum nj_err
on_control(struct ws_stream *s, const struct ws_taken *t)
{
	uint8_t frame[2 + WS_CONTROL_MAX];

	if (t->op == WS_CLOSE) {
		/* answered when its sender was told the rest */
		s->code = t->code;
		s->next = WS_ENDED;
		return NJ_OK;
	}
	if (t->op != WS_PING || s->closing)
		return NJ_OK;
	return send_control(s, frame, ws_control(frame, WS_PONG, t->control));
}

/* Takes the frames off what stands at dst; *n bytes of payload are left. */
static enum nj_err
strip(struct ws_stream *s, uint8_t *dst, size_t len, size_t *n)
{
	size_t at = 0, got = 0;
	enum nj_err e;

	while (at < len && s->next == WS_OPEN) {
		struct ws_taken t;

		e = ws_take(&s->rx, dst + got, dst + at, len - at, &t);
		at += t.used;
		got += t.n;
		if (e)
			set_fault(s, t.code, t.why);
		else if (t.is_control && (e = on_control(s, &t)))
			return e;
	}
	*n = got;
	return NJ_OK;
}

enum nj_err
ws_receive(struct ws_stream *s, uint8_t *dst, size_t cap, size_t *n)
{
	struct slice in = buf_slice(&s->in);

	if (!in.p || in.n == 0)
		return ws_inner_failed(s, stream_read(s->inner, dst, cap, n));
	*n = in.n < cap ? in.n : cap;
	memcpy(dst, in.p, *n);
	buf_drain(&s->in, *n);
	if (buf_len(&s->in) == 0)
		buf_fini(&s->in);
	return NJ_OK;
}

static enum nj_err
wss_read(struct stream *base, uint8_t *dst, size_t cap, size_t *n)
{
	struct ws_stream *s = ws_of(base);
	size_t got = 0, len = 0, idle = 0;
	enum nj_err e;

	if (s->phase != WS_OPEN)
		return s->phase == WS_ENDED ? NJ_EOF : NJ_PROTOCOL;
	while (s->next == WS_OPEN) {
		if ((e = ws_receive(s, dst, cap, &len))) {
			s->gone = e == NJ_EOF;
			return e;
		}
		if ((e = strip(s, dst, len, &got)))
			return e;
		if (got > 0) { /* whatever else shows at the next call */
			*n = got;
			return NJ_OK;
		}
		if ((idle += len) > FLOOD_MAX)
			set_fault(s, WS_CODE_POLICY,
			    "a flood of frames without data");
	}
	return end(s);
}

static bool
wss_pending(const struct stream *base)
{
	const struct ws_stream *s = cws_of(base);

	return s->phase > WS_OPEN || s->next != WS_OPEN ||
	    buf_len(&s->in) > 0 || stream_pending(s->inner);
}

/* -- the rest ------------------------------------------------------------- */

static unsigned
wss_wants(const struct stream *base)
{
	const struct ws_stream *s = cws_of(base);
	bool kept =
	    buf_len(&s->out) > 0 || (s->owed == 0 && buf_len(&s->later) > 0);

	return stream_wants(s->inner) | (s->phase < WS_OPEN ? LOOP_IN : 0u) |
	    (kept ? LOOP_OUT : 0u);
}

static void
wss_shutdown(struct stream *base)
{
	struct ws_stream *s = ws_of(base);

	if (s->shut)
		return;
	s->shut = true;
	if (s->next == WS_ENDED) /* RFC 6455 5.5.1: it is echoed */
		send_close(s, s->code, NULL);
	else if (!s->gone) /* 7.1.5: else it is 1006 whatever is sent */
		send_close(s,
		    s->base.end_code ? s->base.end_code : WS_CODE_NORMAL, NULL);
	stream_shutdown(s->inner);
}

static void
wss_move(struct stream *base, struct stream_scratch *scratch)
{
	stream_move(ws_of(base)->inner, scratch);
}

static const struct tls_peer *
wss_tls(const struct stream *base)
{
	return stream_tls(cws_of(base)->inner);
}

void
ws_free(struct stream *base)
{
	struct ws_stream *s = ws_of(base);

	s->inner->fd = -1; /* closed as ours */
	stream_free(s->inner);
	free(s->origins);
	buf_fini(&s->in);
	buf_fini(&s->out);
	buf_fini(&s->later);
	free(s);
}

const struct stream_ops ws_ops = {
	.handshake = ws_handshake,
	.read = wss_read,
	.write = wss_write,
	.writev = wss_writev,
	.flush = wss_flush,
	.pending = wss_pending,
	.wants = wss_wants,
	.shutdown = wss_shutdown,
	.move = wss_move,
	.tls = wss_tls,
	.free = ws_free,
};
