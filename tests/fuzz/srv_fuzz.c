/* SPDX-License-Identifier: Apache-2.0
 * srv_fuzz - the answer of a name server: nothing is read outside of it, and
 *            what is taken is text of bounded length.
 */
#include "fuzz.h"

#include <string.h>

#include "net/srv.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct srv_list l;
	struct rng r;

	if (srv_take_answer(slice_of(data, size), "_mqtt._tcp", &l))
		return 0;
	HOLDS(l.n > 0 && l.n <= SRV_MAX);
	HOLDS(memchr(l.domain, 0, sizeof l.domain));
	for (unsigned i = 0; i < l.n; i++)
		HOLDS(memchr(l.v[i].host, 0, sizeof l.v[i].host));
	rng_seed(&r, size);
	srv_order(&l, &r);
	for (unsigned i = 1; i < l.n; i++)
		HOLDS(l.v[i - 1].priority <= l.v[i].priority);
	return 0;
}
