/* SPDX-License-Identifier: Apache-2.0
 * httpreq_fuzz - requests and answers of enrolment: byte by byte gives the same
 *                as at once, and what is refused consumes nothing.  The first
 *                byte chooses which, and the bound.
 */
#include "fuzz.h"

#include "wire/httpreq.h"

static void
request(struct slice all, size_t max)
{
	struct slice rest = all;
	struct http_request r, v = { 0 };
	enum nj_err e = http_take_request(&rest, max, &r), eb = NJ_AGAIN;

	for (size_t n = 0; n <= all.n && eb == NJ_AGAIN; n++) {
		struct slice in = slice_of(all.p, n);

		eb = http_take_request(&in, max, &v);
	}
	HOLDS(e == NJ_OK || e == NJ_AGAIN || e == NJ_PROTOCOL);
	HOLDS(e == eb && r.status == v.status);
	HOLDS(e == NJ_OK || (rest.p == all.p && rest.n == all.n));
	HOLDS(e != NJ_PROTOCOL || (r.why && (!r.status || r.status >= 400)));
	if (e)
		return;
	HOLDS(slice_eq(r.target, v.target) && slice_eq(r.host, v.host));
	HOLDS(r.length == v.length && r.length <= HTTPREQ_LENGTH_MAX);
	HOLDS(r.target.n > 0 && r.target.p[0] == '/');
	HOLDS((size_t)(rest.p - all.p) <= max);
	HOLDS(rest.p[-1] == '\n' && rest.p[-2] == '\r' && rest.p[-3] == '\n');
}

static void
response(struct slice all, size_t max)
{
	struct slice rest = all;
	struct http_response r = { 0 };
	enum nj_err e = http_take_response(&rest, max, &r);

	HOLDS(e == NJ_OK || e == NJ_AGAIN || e == NJ_PROTOCOL);
	HOLDS(e == NJ_OK || (rest.p == all.p && rest.n == all.n));
	HOLDS(e || (r.status >= 100 && r.status <= 999));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t max;

	if (size == 0)
		return 0;
	max = data[0] & 2 ? 8192 : 16u * data[0] + 1;
	if (data[0] & 1)
		request(slice_of(data + 1, size - 1), max);
	else
		response(slice_of(data + 1, size - 1), max);
	return 0;
}
