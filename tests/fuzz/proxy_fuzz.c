/* SPDX-License-Identifier: Apache-2.0
 * proxy_fuzz - the header of the PROXY protocol: at once and byte by byte must
 *              give the same, and nothing behind it is ever asked for.  The
 *              first byte chooses the version.
 */
#include "fuzz.h"

#include <string.h>

#include "wire/proxyproto.h"

static void
within(struct slice all, struct slice part)
{
	HOLDS(!part.p || (part.p >= all.p && part.p + part.n <= all.p + all.n));
}

static void
check(const struct proxy_head *h, struct slice all)
{
	within(all, h->src_path);
	within(all, h->tls_version);
	within(all, h->cipher);
	within(all, h->cn);
	within(all, h->alpn);
	within(all, h->authority);
	within(all, h->unique_id);
	HOLDS(!h->cert || h->tls);
	HOLDS(!h->local || (h->family == PROXY_OWN && !h->tls));
	HOLDS(h->src_path.n <= 108 && h->unique_id.n <= 128);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_head h, g;
	const char *why = NULL, *last = NULL;
	size_t used = 0, want = 0;
	unsigned version;
	struct slice in;
	enum nj_err e, now = NJ_AGAIN;

	if (size == 0)
		return 0;
	version = 1 + data[0] % 2;
	in = slice_of(data + 1, size - 1);
	e = proxy_parse(in, version, &h, &used, &why);
	HOLDS((e == NJ_PROTOCOL) == (why != NULL));
	if (e == NJ_OK) {
		HOLDS(used <= in.n &&
		    used <= (version == 1 ? PROXY_V1_MAX : PROXY_V2_MAX));
		check(&h, slice_of(in.p, used));
	}
	for (size_t n = 0; n <= in.n && now == NJ_AGAIN; n++) {
		now = proxy_parse(slice_of(in.p, n), version, &g, &want, &last);
		HOLDS(now != NJ_AGAIN || e != NJ_OK || want <= used);
		HOLDS(now != NJ_AGAIN || version == 1 || want > n);
		HOLDS(now != NJ_OK || (n == used && want == used));
	}
	HOLDS(now == e);
	HOLDS(!why || strcmp(why, last) == 0);
	return 0;
}
