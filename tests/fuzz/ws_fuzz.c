/* SPDX-License-Identifier: Apache-2.0
 * ws_fuzz - what a WebSocket client sends: the request at once and byte by
 *           byte must give the same, and so must the frames, taken in place
 *           and to another array.  An even first byte: frames only.
 */
#include "fuzz.h"

#include <string.h>

#include "wire/http.h"
#include "wire/ws.h"

/* Frames taken in pieces of step bytes, and how they ended. */
struct run {
	struct buf data, order;
	struct ws_taken last;
	enum nj_err e;
};

static void
take(struct run *r, struct slice in, size_t step, bool in_place)
{
	struct ws_in w = { .max = 5000 };
	uint8_t *part = malloc(step), *to = in_place ? part : malloc(step);

	HOLDS(part && to);
	while (in.n > 0 && !r->e && !w.ended) {
		size_t n = in.n < step ? in.n : step;
		struct ws_taken *t = &r->last;

		memcpy(part, in.p, n);
		r->e = ws_take(&w, to, part, n, t);
		HOLDS(t->used <= n && t->n <= t->used);
		HOLDS(t->used > 0 || r->e);
		HOLDS((r->e != NJ_OK) == (t->why != NULL));
		HOLDS(t->used == n || t->is_control || r->e);
		HOLDS(!r->e || (r->e == NJ_PROTOCOL && t->code >= 1002));
		HOLDS(!t->is_control || t->control.n <= WS_CONTROL_MAX);
		HOLDS(buf_put(&r->data, to, t->n) == NJ_OK);
		if (t->is_control)
			HOLDS(buf_printf(&r->order, "%zu:%u:%u:%.*s",
				  buf_len(&r->data), t->op, t->code,
				  (int)t->control.n,
				  (const char *)t->control.p) == NJ_OK);
		in = slice_of(in.p + t->used, in.n - t->used);
	}
	HOLDS(w.whole <= w.max && w.empty <= WS_EMPTY_MAX + 1);
	if (to != part)
		free(to);
	free(part);
}

static void
frames(struct slice in)
{
	static const size_t steps[] = { 1, 7, 64 };
	struct run all = { 0 };

	take(&all, in, in.n > 0 ? in.n : 1, true);
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct run r = { 0 };

		take(&r, in, steps[i], i % 2 == 0);
		HOLDS(r.e == all.e);
		HOLDS(!r.e || strcmp(r.last.why, all.last.why) == 0);
		HOLDS(!r.e || r.last.code == all.last.code);
		HOLDS(slice_eq(buf_slice(&r.data), buf_slice(&all.data)));
		HOLDS(slice_eq(buf_slice(&r.order), buf_slice(&all.order)));
		buf_fini(&r.data);
		buf_fini(&r.order);
	}
	buf_fini(&all.data);
	buf_fini(&all.order);
}

/* True when the request was taken; its frames are left. */
static bool
request(struct slice *in)
{
	struct slice all = *in, grown = slice_of(in->p, 0);
	struct http_upgrade u, v;
	enum nj_err e = http_take_upgrade(&all, HTTP_HEAD_USUAL, &u), last;

	while ((last = http_take_upgrade(&grown, HTTP_HEAD_USUAL, &v)) ==
		NJ_AGAIN &&
	    grown.n < in->n)
		grown.n++;
	HOLDS(last == e);
	HOLDS(e == NJ_OK || (all.p == in->p && all.n == in->n));
	if (e == NJ_AGAIN)
		return false;
	HOLDS(u.status == v.status && u.why == v.why);
	if (e) {
		HOLDS(e == NJ_PROTOCOL && u.why);
		HOLDS(u.status == 0 || u.status >= 400);
		return false;
	}
	HOLDS(u.key.n == HTTP_KEY_LEN && u.protocol && u.host.p);
	HOLDS(all.p <= in->p + HTTP_HEAD_USUAL);
	HOLDS(memcmp(all.p - 4, "\r\n\r\n", 4) == 0);
	HOLDS(u.origin.n == 0 || !memchr(u.origin.p, '\n', u.origin.n));
	*in = all;
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in;

	if (size == 0)
		return 0;
	in = slice_of(data + 1, size - 1);
	if (data[0] % 2 == 0 || request(&in))
		frames(in);
	return 0;
}
