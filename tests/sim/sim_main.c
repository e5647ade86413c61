/* SPDX-License-Identifier: Apache-2.0
 * Runs seeds; a seed that fails is run again with a trace by the command that
 * is printed.
 *
 *   sim [--power [--memory] [--full]] [--seeds A-B] [--twice N] [--stop]
 *       [--trace] [--log]
 *
 * --power: the broker has a store, and loses its power now and then.
 * --memory: there is none now and then, either; without --power there always is
 * such a time in some seeds.
 * --full: its disk is full now and then, or fails.
 * --twice N: every Nth seed is run a second time, and must be the same.
 * --stop: at the first seed that fails.  --log: with the broker's log.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "sim.h"

static struct sim *world;
static uint64_t first = 1, last = 100, twice = 0;
static struct sim_how how;
static bool stops;
static const char *program;

static double
seconds(void)
{
	struct timespec ts;

	(void)timespec_get(&ts, TIME_UTC); /* the other clock is the run's */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
tell(uint64_t seed, const char *why)
{
	printf("\nseed %" PRIu64 ": %s\nto see it: %s%s%s%s --seeds %" PRIu64
	       "-%" PRIu64 " --trace\n",
	    seed, why, program, how.store ? " --power" : "",
	    how.memory ? " --memory" : "", how.full ? " --full" : "", seed,
	    seed);
	fflush(stdout);
}

static bool
run(uint64_t seed)
{
	struct sim_how again = how;
	uint64_t digest;

	again.tracing = false;
	if (!sim_run(world, seed, &how)) {
		tell(seed, world->why);
		return false;
	}
	if (!twice || seed % twice != 0)
		return true;
	digest = world->digest;
	if (!sim_run(world, seed, &again) || world->digest != digest) {
		tell(seed, "it is not the same the second time");
		return false;
	}
	return true;
}

static bool
range(char *text)
{
	char *end;

	first = last = strtoull(text, &end, 10);
	if (*end == '-')
		last = strtoull(end + 1, &end, 10);
	return *end == '\0' && first <= last;
}

static bool
options(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "seeds", required_argument, NULL, 's' },
		{ "twice", required_argument, NULL, '2' },
		{ "trace", no_argument, NULL, 't' },
		{ "stop", no_argument, NULL, 'x' },
		{ "log", no_argument, NULL, 'l' },
		{ "power", no_argument, NULL, 'p' },
		{ "memory", no_argument, NULL, 'm' },
		{ "full", no_argument, NULL, 'f' },
		{ 0 },
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (opt == 's' && range(optarg))
			continue;
		if (opt == '2')
			twice = strtoull(optarg, NULL, 10);
		else if (opt == 't')
			how.tracing = true;
		else if (opt == 'x')
			stops = true;
		else if (opt == 'p')
			how.store = true;
		else if (opt == 'm')
			how.memory = true;
		else if (opt == 'f')
			how.full = true;
		else if (opt == 'l')
			log_types_on = LOG_T_ALL;
		else
			return false;
	}
	return optind == argc;
}

int
main(int argc, char **argv)
{
	uint64_t failed = 0, must = 0, cuts = 0, ills = 0;
	double began = seconds(), told = began;

	program = argv[0];
	log_types_on = 0;
	if (!options(argc, argv)) {
		fprintf(stderr,
		    "usage: sim [--power [--memory] [--full]] [--seeds A-B] "
		    "[--twice N] [--stop] [--trace] [--log]\n");
		return 2;
	}
	if (!(world = calloc(1, sizeof *world)))
		return 2;
	for (uint64_t seed = first; seed <= last && !(stops && failed);
	     seed++) {
		failed += !run(seed);
		must += world->model.n_must;
		cuts += world->cuts;
		ills += world->ills;
		if (seconds() - told < 5)
			continue;
		told = seconds();
		printf("seed %" PRIu64 " of %" PRIu64 ", %" PRIu64
		       " failed, %.0f s\n",
		    seed, last, failed, told - began);
		fflush(stdout);
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64
	       " deliveries checked, %" PRIu64 " power cuts, %" PRIu64
	       " disks ill, %.1f s\n",
	    last - first + 1, failed, must, cuts, ills, seconds() - began);
	free(world);
	return failed != 0;
}
