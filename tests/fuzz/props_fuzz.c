/* SPDX-License-Identifier: Apache-2.0
 * props_fuzz - a list of properties; the first byte says in which packet.
 */
#include "props_same.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in, before;
	struct props p, w, again;
	struct buf extra = { 0 }, out = { 0 };
	enum props_in where;
	enum nj_err e;

	if (size == 0)
		return 0;
	where = (enum props_in)(data[0] % (IN_WILL + 1));
	in = before = slice_of(data + 1, size - 1);
	if ((e = take_props(&in, where, &p))) {
		HOLDS(e == NJ_TRUNCATED || e == NJ_MALFORMED ||
		    e == NJ_PROTOCOL || e == NJ_TOOBIG);
		HOLDS(in.p == before.p && in.n == before.n);
		return 0;
	}
	HOLDS(in.p + in.n == before.p + before.n);
	HOLDS(p.raw.n == 0 || p.raw.p + p.raw.n == in.p);
	w = p;
	props_to_write(&w, &extra, where);
	HOLDS(props_size(&w) == p.raw.n);
	HOLDS(props_put(&out, &w) == NJ_OK);
	HOLDS(buf_len(&out) == before.n - in.n);
	in = buf_slice(&out);
	HOLDS(take_props(&in, where, &again) == NJ_OK);
	HOLDS(in.n == 0);
	props_check_same(&p, &again);
	buf_fini(&extra);
	buf_fini(&out);
	return 0;
}
