/* SPDX-License-Identifier: Apache-2.0
 * trace - what happened, in one line each; their digest says whether two runs
 *         were the same.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "sim.h"

struct sim *sim;

static void
digest(const char *line)
{
	uint64_t h = sim->digest;

	for (; *line; line++)
		h = (h ^ (uint8_t)*line) * UINT64_C(0x100000001b3);
	sim->digest = h;
}

void
trace(const char *fmt, ...)
{
	bool was = seam_inside(false);
	char line[512];
	int n = snprintf(line, sizeof line, "%8" PRIu64 ".%03u #%-6" PRIu64 " ",
	    sim->now / 1000, (unsigned)(sim->now % 1000), sim->seq);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	digest(line);
	if (sim->tracing)
		puts(line);
	seam_inside(was);
}

void
sim_fail(const char *fmt, ...)
{
	bool was = seam_inside(false);
	char why[sizeof sim->why];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	trace("FAIL %s", why);
	if (!sim->failed)
		snprintf(sim->why, sizeof sim->why, "%s", why);
	sim->failed = true;
	seam_inside(was);
}

uint64_t
pick(struct rng *r, uint64_t n)
{
	return n > 1 ? (rng_next(r) >> 11) % n : 0;
}

uint64_t
between(struct rng *r, uint64_t lo, uint64_t hi)
{
	return lo + pick(r, hi - lo + 1);
}

bool
chance(struct rng *r, unsigned of_1000)
{
	return pick(r, 1000) < of_1000;
}
