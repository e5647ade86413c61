/* SPDX-License-Identifier: Apache-2.0
 * wsanswer_fuzz - what a WebSocket server sends to our client: the answer at
 *                 once and byte by byte must give the same, and so must the
 *                 frames.  An even first byte: frames only.
 */
#include "fuzz.h"

#include <string.h>

#include "wire/http.h"
#include "wire/ws.h"

#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* Payload in pieces of step bytes, and how they ended. */
static enum nj_err
take(struct slice in, size_t step, struct buf *data, struct ws_taken *last)
{
	struct ws_in w = { .max = 5000, .client = true };
	uint8_t *part = malloc(step);
	enum nj_err e = NJ_OK;

	HOLDS(part);
	memset(last, 0, sizeof *last);
	while (in.n > 0 && !e && !w.ended) {
		size_t n = in.n < step ? in.n : step;

		memcpy(part, in.p, n);
		e = ws_take(&w, part, part, n, last);
		HOLDS(last->used <= n && last->n <= last->used);
		HOLDS(last->used > 0 || e);
		HOLDS((e != NJ_OK) == (last->why != NULL));
		HOLDS(buf_put(data, part, last->n) == NJ_OK);
		in = slice_of(in.p + last->used, in.n - last->used);
	}
	HOLDS(w.whole <= w.max && w.empty <= WS_EMPTY_MAX + 1);
	free(part);
	return e;
}

static void
frames(struct slice in)
{
	struct buf a = { 0 }, b = { 0 };
	struct ws_taken all, each;
	enum nj_err e = take(in, in.n > 0 ? in.n : 1, &a, &all);

	HOLDS(take(in, 1, &b, &each) == e);
	HOLDS(!e || (all.code == each.code && all.why == each.why));
	HOLDS(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_fini(&a);
	buf_fini(&b);
}

/* True when the answer was taken; its frames are left. */
static bool
answer(struct slice *in)
{
	struct slice all = *in, grown = slice_of(in->p, 0);
	struct http_answer u, v;
	enum nj_err e = http_take_answer(&all, ACCEPT, &u), last;

	while ((last = http_take_answer(&grown, ACCEPT, &v)) == NJ_AGAIN &&
	    grown.n < in->n)
		grown.n++;
	HOLDS(last == e);
	HOLDS(e == NJ_OK || (all.p == in->p && all.n == in->n));
	if (e) {
		HOLDS(e == NJ_AGAIN || (u.why && u.why == v.why));
		HOLDS(e == NJ_AGAIN || u.status == v.status);
		return false;
	}
	HOLDS(u.status == 101 && !u.why);
	HOLDS(all.p <= in->p + HTTP_HEAD_MAX);
	HOLDS(memcmp(all.p - 4, "\r\n\r\n", 4) == 0);
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
	if (data[0] % 2 == 0 || answer(&in))
		frames(in);
	return 0;
}
