/* SPDX-License-Identifier: Apache-2.0
 * frame_fuzz - a stream of packets: all at once and byte by byte must give
 *              the same.  The first byte chooses the maximum size.
 */
#include "fuzz.h"

#include "wire/frame.h"

static void
check_frame(struct slice before, struct slice after, const struct frame *f)
{
	uint8_t head[5], *end;

	HOLDS(f->type >= 1 && f->type <= 15);
	HOLDS(f->size >= 2 && f->size <= before.n);
	HOLDS(after.p == before.p + f->size && after.n == before.n - f->size);
	HOLDS(f->body.p + f->body.n == after.p);
	/* written again, the fixed header is the same */
	head[0] = (uint8_t)(f->type << 4 | f->flags);
	end = varint_write(head + 1, (uint32_t)f->body.n);
	HOLDS((size_t)(end - head) == f->size - f->body.n);
	HOLDS(memcmp(head, before.p, (size_t)(end - head)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t limits[] = { 0, 2, 16, 128, 129, 20000 };
	struct slice all, grown;
	struct frame f = { 0 }, g = { 0 };
	enum nj_err e, last;
	uint32_t max;

	if (size == 0)
		return 0;
	max = limits[data[0] % (sizeof limits / sizeof *limits)];
	all = slice_of(data + 1, size - 1);
	grown = slice_of(all.p, 0);
	for (;;) {
		struct slice before = all;

		e = frame_take(&all, max, &f);
		if (e == NJ_OK) {
			check_frame(before, all, &f);
			HOLDS(max == 0 || f.size <= max);
		} else {
			HOLDS(all.p == before.p && all.n == before.n);
			HOLDS(e != NJ_TOOBIG || (max != 0 && f.size > max));
			HOLDS(
			    e != NJ_AGAIN || f.size == 0 || f.size > before.n);
		}
		/* with one byte more each time */
		do {
			last = frame_take(&grown, max, &g);
			if (last != NJ_AGAIN ||
			    grown.p + grown.n == data + size)
				break;
			grown.n++;
		} while (true);
		HOLDS(last == e);
		if (e)
			break;
		HOLDS(g.size == f.size && g.type == f.type &&
		    g.flags == f.flags && g.body.p == f.body.p);
	}
	return 0;
}
