/* SPDX-License-Identifier: Apache-2.0
 * mosquitto_fuzz - Mosquitto's persistence file: every slice that is given lies
 *                  inside of it, every value in its bounds, and the reading
 *                  ends.
 */
#include "fuzz.h"

#include "store/mosquitto.h"

static bool
inside(struct slice file, struct slice s)
{
	return s.n == 0 || (s.p >= file.p && s.p + s.n <= file.p + file.n);
}

static void
check_item(struct slice file, const struct mosq_item *it)
{
	HOLDS(it->kind <= MOSQ_CLIENT);
	HOLDS(it->offset < file.n);
	HOLDS(inside(file, it->client) && inside(file, it->user));
	HOLDS(inside(file, it->topic) && inside(file, it->payload));
	HOLDS(inside(file, it->props.raw));
	HOLDS(it->qos <= 2 && it->state <= MOSQ_QUEUED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice file = slice_of(data, size);
	struct nj_why why = { 0 };
	struct mosq_reader r;
	struct mosq_item it;
	size_t before;
	enum nj_err e = mosq_begin(file, &r, &why);

	if (e) {
		HOLDS(why.what[0]);
		return 0;
	}
	HOLDS(mosq_is(file));
	do {
		before = r.rest.n;
		if ((e = mosq_next(&r, &it, &why)) == NJ_OK) {
			HOLDS(r.rest.n < before);
			check_item(file, &it);
		}
	} while (!e);
	HOLDS(e == NJ_EOF || (e == NJ_MALFORMED && why.what[0]));
	return 0;
}
