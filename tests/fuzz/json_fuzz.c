/* SPDX-License-Identifier: Apache-2.0
 * json_fuzz - a payload that may be JSON: what is taken is taken again as it
 *             was written, and any bytes can stand in a string.
 */
#include "fuzz.h"

#include "cmd/json.h"

static void
same(struct slice a, struct slice b)
{
	HOLDS(slice_eq(a, b));
}

static void
fuzz_value(struct slice in)
{
	struct buf once = { 0 }, twice = { 0 }, pretty = { 0 }, back = { 0 };
	enum nj_err e = json_put_value(&once, in);

	if (e) {
		HOLDS(e == NJ_MALFORMED || e == NJ_TOOBIG);
		HOLDS(buf_len(&once) == 0);
		goto out;
	}
	HOLDS(buf_len(&once) <= in.n);
	HOLDS(json_put_value(&twice, buf_slice(&once)) == NJ_OK);
	same(buf_slice(&once), buf_slice(&twice));
	HOLDS(json_put_pretty(&pretty, buf_slice(&once)) == NJ_OK);
	HOLDS(json_put_value(&back, buf_slice(&pretty)) == NJ_OK);
	same(buf_slice(&once), buf_slice(&back));
out:
	buf_fini(&once);
	buf_fini(&twice);
	buf_fini(&pretty);
	buf_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf str = { 0 }, value = { 0 };

	fuzz_value(slice_of(data, size));
	HOLDS(json_put_str(&str, slice_of(data, size)) == NJ_OK);
	HOLDS(json_put_value(&value, buf_slice(&str)) == NJ_OK);
	same(buf_slice(&str), buf_slice(&value));
	buf_fini(&str);
	buf_fini(&value);
	return 0;
}
