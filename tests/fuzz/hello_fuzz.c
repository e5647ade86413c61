/* SPDX-License-Identifier: Apache-2.0
 * hello_fuzz - the first bytes of a TLS port, all at once and as they arrive.
 */
#include "fuzz.h"

#include "net/clienthello.h"

#define CUTS 24

static enum nj_err
parse(struct slice in, struct hello *h)
{
	static uint8_t work[HELLO_MAX];
	struct nj_why why = { 0 };
	enum nj_err e = hello_parse(in, work, h, &why);

	HOLDS(
	    e == NJ_OK || e == NJ_AGAIN || e == NJ_PROTOCOL || e == NJ_TOOBIG);
	HOLDS((e == NJ_PROTOCOL || e == NJ_TOOBIG) == (why.what[0] != '\0'));
	return e;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hello whole = { 0 }, part;
	enum nj_err e = parse(slice_of(data, size), &whole), cut;

	if (e == NJ_OK)
		HOLDS(whole.sni.n <= size);
	/* A decision once made stays, whatever comes after. */
	for (size_t i = 1; i <= CUTS; i++) {
		size_t n = size <= CUTS ? i : size * i / CUTS;

		if (n >= size)
			break;
		part = (struct hello){ 0 };
		cut = parse(slice_of(data, n), &part);
		if (cut == NJ_AGAIN)
			continue;
		HOLDS(cut == e);
		if (e == NJ_OK) {
			(void)parse(slice_of(data, size), &whole);
			HOLDS(part.max_version == whole.max_version);
			HOLDS(part.sni.n == whole.sni.n);
		}
		break;
	}
	return 0;
}
