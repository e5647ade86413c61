/* SPDX-License-Identifier: Apache-2.0 */
#include "net/httphear.h"

#define PIECE 4096

struct hearing {
	struct buf in;
	struct http_response head;
	size_t head_len; /* 0: not whole yet */
};

/* What there is of it.  Asked anew each time: in moves as it grows. */
static struct slice
body_of(const struct hearing *h)
{
	struct slice all = buf_slice(&h->in);

	return h->head_len ? slice_of(all.p + h->head_len, all.n - h->head_len)
			   : SLICE_NONE;
}

static enum nj_err
take_head(struct hearing *h)
{
	struct slice rest = buf_slice(&h->in);
	enum nj_err e = http_take_response(&rest, HTTP_HEAD_MAX, &h->head);

	if (!e)
		h->head_len = buf_len(&h->in) - rest.n;
	return e == NJ_AGAIN ? NJ_OK : e;
}

static enum nj_err
hear_piece(struct hearing *h, http_more_fn *more, void *arg)
{
	uint8_t *at;
	size_t n = 0;
	enum nj_err e;

	if ((e = buf_reserve(&h->in, PIECE, &at)) ||
	    (e = more(arg, at, PIECE, &n)))
		return e;
	buf_commit(&h->in, n);
	return h->head_len ? NJ_OK : take_head(h);
}

static bool
is_whole(const struct hearing *h)
{
	return h->head_len > 0 && h->head.has_length &&
	    body_of(h).n >= h->head.length;
}

static bool
is_long(const struct hearing *h, size_t max)
{
	return h->head.has_length ? h->head.length > max : body_of(h).n > max;
}

enum nj_err
http_hear(http_more_fn *more, void *arg, size_t max, struct http_response *out,
    struct buf *body)
{
	struct hearing h = { .head_len = 0 };
	struct slice all;
	enum nj_err e = NJ_OK;

	while (!e && !is_whole(&h) && !(e = hear_piece(&h, more, arg)))
		if (is_long(&h, max))
			e = NJ_TOOBIG;
	if (e == NJ_EOF && h.head_len > 0 && !h.head.has_length)
		e = NJ_OK;
	if (!e) {
		all = body_of(&h);
		if (h.head.has_length)
			all.n = h.head.length;
		if (all.n > 0)
			e = buf_put_slice(body, all);
	}
	if (!e)
		*out = h.head;
	buf_wipe(&h.in);
	return e;
}
