/* SPDX-License-Identifier: Apache-2.0
 * ws - see ws.h.
 */
#include "wire/ws.h"

#include <string.h>

#include "wire/utf8.h"

#define FIN    0x80
#define RSV    0x70
#define OP     0x0f
#define MASKED 0x80
#define LEN    0x7f
#define LEN_16 126
#define LEN_64 127

static enum nj_err
fault(struct ws_in *w, struct ws_taken *out, enum ws_code code, const char *why)
{
	w->ended = true;
	out->code = (uint16_t)code;
	out->why = why;
	return NJ_PROTOCOL;
}

static bool
is_control(uint8_t op)
{
	return op & 0x08;
}

/* -- the head ------------------------------------------------------------- */

/* Bytes of a head, as far as its first two tell. */
static size_t
head_need(const struct ws_in *w)
{
	uint8_t len;

	if (w->head_len < 2)
		return 2;
	len = w->head[1] & LEN;
	return 2 +
	    (len == LEN_16	    ? 2u
		    : len == LEN_64 ? 8u
				    : 0u) +
	    (w->client ? 0u : WS_KEY_LEN);
}

/* 5.2, 5.4, 5.5: what the first two bytes must not say.  No more is waited
 * for when they do. */
static enum nj_err
check_start(struct ws_in *w, struct ws_taken *out)
{
	uint8_t op = w->head[0] & OP, len = w->head[1] & LEN;
	bool fin = w->head[0] & FIN;

	if (w->head[0] & RSV)
		return fault(w, out, WS_CODE_PROTOCOL,
		    "reserved bits of a frame are set, but no extension was "
		    "agreed on");
	if (!(w->head[1] & MASKED) != w->client) /* 5.1 */
		return fault(w, out, WS_CODE_PROTOCOL,
		    w->client ? "a frame is masked" : "a frame is not masked");
	switch (op) {
	case WS_CONTINUATION:
		if (!w->in_message)
			return fault(w, out, WS_CODE_PROTOCOL,
			    "a frame continues no message");
		return NJ_OK;
	case WS_BINARY:
		if (w->in_message)
			return fault(w, out, WS_CODE_PROTOCOL,
			    "a message begins inside of another");
		return NJ_OK;
	case WS_TEXT: /* [MQTT-6.0.0-1] */
		return fault(w, out, WS_CODE_NOT_BINARY,
		    "a text frame: MQTT travels in binary ones");
	case WS_CLOSE:
	case WS_PING:
	case WS_PONG:
		if (!fin)
			return fault(w, out, WS_CODE_PROTOCOL,
			    "a control frame is fragmented");
		if (len > WS_CONTROL_MAX)
			return fault(w, out, WS_CODE_PROTOCOL,
			    "a control frame is longer than 125 bytes");
		return NJ_OK;
	default:
		return fault(w, out, WS_CODE_PROTOCOL,
		    "a frame of a kind that does not exist");
	}
}

/* 5.2: the length, in its shortest form and below 2^63. */
static enum nj_err
take_length(struct ws_in *w, struct ws_taken *out, uint64_t *len)
{
	uint8_t first = w->head[1] & LEN;
	const uint8_t *p = w->head + 2;
	uint64_t v = 0;

	if (first < LEN_16) {
		*len = first;
		return NJ_OK;
	}
	for (int i = 0; i < (first == LEN_16 ? 2 : 8); i++)
		v = v << 8 | p[i];
	if (v >> 63)
		return fault(
		    w, out, WS_CODE_PROTOCOL, "a frame of 2^63 bytes or more");
	if (v < (first == LEN_16 ? LEN_16 : 65536))
		return fault(w, out, WS_CODE_PROTOCOL,
		    "the length of a frame is not in its shortest form");
	*len = v;
	return NJ_OK;
}

static enum nj_err
begin_data(struct ws_in *w, struct ws_taken *out, uint64_t len)
{
	bool fin = w->head[0] & FIN;

	if (w->op == WS_BINARY)
		w->whole = 0;
	if (len > w->max || w->whole > w->max - len)
		return fault(w, out, WS_CODE_TOO_BIG, "a message is too long");
	w->whole += len;
	w->in_message = !fin;
	if (len > 0)
		w->empty = 0;
	else if (++w->empty > WS_EMPTY_MAX)
		return fault(w, out, WS_CODE_POLICY,
		    "too many frames without a byte one after the other");
	return NJ_OK;
}

/* The head is whole. */
static enum nj_err
begin_frame(struct ws_in *w, struct ws_taken *out)
{
	uint64_t len = 0;
	enum nj_err e;

	if ((e = take_length(w, out, &len)))
		return e;
	w->op = w->head[0] & OP;
	if (!w->client) /* of a client the key stays zero */
		memcpy(w->mask, w->head + w->head_len - WS_KEY_LEN, WS_KEY_LEN);
	if (!is_control(w->op) && (e = begin_data(w, out, len)))
		return e;
	w->left = len;
	w->control_len = 0;
	w->in_frame = true;
	w->head_len = 0;
	return NJ_OK;
}

/* Gathers a head; NJ_AGAIN when src ends inside of it. */
static enum nj_err
take_head(struct ws_in *w, const uint8_t *src, size_t n, struct ws_taken *out)
{
	enum nj_err e;

	while (w->head_len < head_need(w)) {
		if (out->used == n)
			return NJ_AGAIN;
		w->head[w->head_len++] = src[out->used++];
		if (w->head_len == 2 && (e = check_start(w, out)))
			return e;
	}
	return begin_frame(w, out);
}

/* -- the payload ---------------------------------------------------------- */

/* 5.3.  dst is src, or before it, or elsewhere: each step has read its bytes
 * before it writes. */
static void
unmask(struct ws_in *w, uint8_t *dst, const uint8_t *src, size_t n)
{
	uint8_t twice[8], turned[WS_KEY_LEN];
	uint64_t key, word;
	size_t i = 0;

	memcpy(twice, w->mask, WS_KEY_LEN);
	memcpy(twice + WS_KEY_LEN, w->mask, WS_KEY_LEN);
	memcpy(&key, twice, sizeof key);
	for (; n - i >= sizeof word; i += sizeof word) {
		memcpy(&word, src + i, sizeof word);
		word ^= key;
		memcpy(dst + i, &word, sizeof word);
	}
	for (; i < n; i++)
		dst[i] = src[i] ^ w->mask[i % WS_KEY_LEN];
	for (size_t k = 0; k < WS_KEY_LEN; k++)
		turned[k] = w->mask[(k + n) % WS_KEY_LEN];
	memcpy(w->mask, turned, WS_KEY_LEN);
}

static bool
is_utf8(struct slice s)
{
	while (s.n > 0) {
		size_t n = s.p[0] < 0x80 ? 1 : utf8_long(s.p, s.n);

		if (n == 0)
			return false;
		s = slice_of(s.p + n, s.n - n);
	}
	return true;
}

/* 7.4: codes that may travel. */
static bool
is_close_code(unsigned code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 &&
		   code != 1006) ||
	    (code >= 3000 && code <= 4999);
}

static enum nj_err
end_close(struct ws_in *w, struct ws_taken *out)
{
	unsigned code = WS_CODE_NONE;

	if (w->control_len == 1)
		return fault(
		    w, out, WS_CODE_PROTOCOL, "a Close with half a code");
	if (w->control_len >= 2) {
		code = (unsigned)w->control[0] << 8 | w->control[1];
		if (!is_close_code(code))
			return fault(w, out, WS_CODE_PROTOCOL,
			    "a Close with a code that may not be sent");
		if (!is_utf8(slice_of(w->control + 2, w->control_len - 2u)))
			return fault(w, out, WS_CODE_NOT_UTF8,
			    "a Close whose reason is not UTF-8");
	}
	out->code = (uint16_t)code;
	w->ended = true;
	return NJ_OK;
}

static enum nj_err
end_control(struct ws_in *w, struct ws_taken *out)
{
	enum nj_err e;

	w->in_frame = false;
	if (w->op == WS_CLOSE && (e = end_close(w, out)))
		return e;
	out->is_control = true;
	out->op = w->op;
	out->control = slice_of(w->control, w->control_len);
	return NJ_OK;
}

/* True when the frame's payload is whole. */
static bool
take_payload(struct ws_in *w, uint8_t *dst, const uint8_t *src, size_t n,
    struct ws_taken *out)
{
	size_t k = n - out->used;

	if (k > w->left)
		k = (size_t)w->left;
	if (is_control(w->op)) {
		unmask(w, w->control + w->control_len, src + out->used, k);
		w->control_len = (uint8_t)(w->control_len + k);
	} else {
		unmask(w, dst + out->n, src + out->used, k);
		out->n += k;
	}
	out->used += k;
	w->left -= k;
	return w->left == 0;
}

enum nj_err
ws_take(struct ws_in *w, uint8_t *dst, const uint8_t *src, size_t n,
    struct ws_taken *out)
{
	enum nj_err e;

	*out = (struct ws_taken){ 0 };
	while (!w->ended) {
		if (!w->in_frame && (e = take_head(w, src, n, out)))
			return e == NJ_AGAIN ? NJ_OK : e;
		if (!take_payload(w, dst, src, n, out))
			return NJ_OK;
		if (is_control(w->op))
			return end_control(w, out);
		w->in_frame = false;
	}
	return NJ_OK;
}

/* -- to the peer ---------------------------------------------------------- */

size_t
ws_head(uint8_t dst[WS_HEAD_MAX], enum ws_op op, uint64_t len)
{
	size_t more = len < LEN_16 ? 0 : len < 65536 ? 2 : 8;

	dst[0] = (uint8_t)(FIN | op);
	dst[1] = (uint8_t)(more == 0 ? len : more == 2 ? LEN_16 : LEN_64);
	for (size_t i = 0; i < more; i++)
		dst[2 + i] = (uint8_t)(len >> 8 * (more - 1 - i));
	return 2 + more;
}

size_t
ws_head_masked(uint8_t dst[WS_HEAD_IN_MAX], enum ws_op op, uint64_t len,
    const uint8_t key[WS_KEY_LEN])
{
	size_t n = ws_head(dst, op, len);

	dst[1] |= MASKED;
	memcpy(dst + n, key, WS_KEY_LEN);
	return n + WS_KEY_LEN;
}

void
ws_mask(
    uint8_t *dst, const uint8_t *src, size_t n, const uint8_t key[WS_KEY_LEN])
{
	for (size_t i = 0; i < n; i++)
		dst[i] = src[i] ^ key[i % WS_KEY_LEN];
}

size_t
ws_control(uint8_t dst[2 + WS_CONTROL_MAX], enum ws_op op, struct slice payload)
{
	size_t n = payload.n > WS_CONTROL_MAX ? WS_CONTROL_MAX : payload.n;

	dst[0] = (uint8_t)(FIN | op);
	dst[1] = (uint8_t)n;
	if (n > 0)
		memcpy(dst + 2, payload.p, n);
	return 2 + n;
}

size_t
ws_close(uint8_t dst[2 + WS_CONTROL_MAX], uint16_t code, const char *why)
{
	uint8_t payload[WS_CONTROL_MAX];
	size_t n = why ? strlen(why) : 0;

	if (code == WS_CODE_NONE)
		return ws_control(dst, WS_CLOSE, SLICE_NONE);
	if (n > sizeof payload - 2)
		n = sizeof payload - 2;
	payload[0] = (uint8_t)(code >> 8);
	payload[1] = (uint8_t)code;
	if (n > 0)
		memcpy(payload + 2, why, n);
	return ws_control(dst, WS_CLOSE, slice_of(payload, n + 2));
}
