/* SPDX-License-Identifier: Apache-2.0
 * index_bench - cost of a match and of a subscription, from 10^3 to 10^6
 * subscriptions.
 *
 * "hot" publishes to ten topics, the others being there but silent; "any"
 * publishes to all topics in random order, where the memory's latency shows.
 * The ten topics are remembered (memo.h); "any" is what a walk costs.
 * Bytes are what malloc took from the system for nodes, table, targets and
 * the sessions' slots, per subscription.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "base/rand.h"
#include "core/index.h"

#define LEN(a)	   (sizeof(a) / sizeof *(a))
#define HOT	   10u
#define ROUNDS	   1000000u
#define PER_CLIENT 100u
#define TEXT	   64

struct session {
	struct subs subs;
};

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

_Noreturn static void
die(const char *what)
{
	(void)fprintf(stderr, "index_bench: %s\n", what);
	exit(1);
}

static double
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

struct load {
	const char *name;
	const char *filters[4]; /* %u: number of the topic */
	const char *topic;
	unsigned same; /* subscribers of each filter */
};

static struct slice
text_of(char *dst, const char *fmt, unsigned i)
{
	int n = snprintf(dst, TEXT, fmt, i);

	return slice_of(dst, (size_t)n);
}

static unsigned
kinds(const struct load *l)
{
	unsigned k = 0;

	while (k < LEN(l->filters) && l->filters[k])
		k++;
	return k;
}

/* Client i / PER_CLIENT takes the next filter; with several subscribers of
 * each, they are different clients. */
static void
fill(const struct load *l, unsigned n, struct index *ix, struct session *s,
    unsigned clients)
{
	unsigned k = kinds(l);
	char buf[TEXT];
	bool existed;

	for (unsigned i = 0; i < n; i++) {
		unsigned filter = i / l->same;
		unsigned client = l->same > 1 ? i % clients : i / PER_CLIENT;
		struct slice f = text_of(buf, l->filters[filter % k], filter);

		if (subs_put(&s[client].subs, ix, 0, f, &s[client], 0, false,
			&existed))
			die("subs_put");
	}
}

/* ns a match, over topics 0..span-1 */
static double
measure(
    const struct load *l, struct index *ix, unsigned span, unsigned *matched)
{
	char(*texts)[TEXT] = calloc(span, sizeof *texts);
	struct slice *topics = calloc(span, sizeof *topics);
	struct match m = { 0 };
	struct rng r;
	double start;

	if (!texts || !topics)
		die("out of memory");
	rng_seed(&r, 1);
	for (unsigned i = 0; i < span; i++)
		topics[i] = text_of(texts[i], l->topic, i);
	*matched = 0;
	for (unsigned i = 0; i < span; i++)
		if (index_match(ix, topics[i], &m))
			die("index_match");
	start = now_ns();
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (index_match(ix, topics[rng_next(&r) % span], &m))
			die("index_match");
		*matched += m.n;
	}
	start = now_ns() - start;
	match_fini(&m);
	free(topics);
	free(texts);
	return start / ROUNDS;
}

static void
run(const struct load *l, unsigned n)
{
	struct index_opts o = { .shards = 1 };
	unsigned clients = n / PER_CLIENT, hot_n, any_n;
	struct session *s = calloc(clients, sizeof *s);
	size_t before = mallinfo2().uordblks, bytes;
	struct index *ix = NULL;
	double put, del, hot, any;

	if (!s || index_new(&o, &ix))
		die("out of memory");
	put = now_ns();
	fill(l, n, ix, s, clients);
	put = (now_ns() - put) / n;
	bytes = mallinfo2().uordblks - before;
	hot = measure(l, ix, HOT, &hot_n);
	any = measure(l, ix, n / l->same, &any_n);
	del = now_ns();
	for (unsigned i = 0; i < clients; i++)
		subs_clear(&s[i].subs, ix);
	del = (now_ns() - del) / n;
	(void)printf(
	    "%-14s %8u  %7.1f %6.1f  %7.1f %6.1f  %7.1f  %6.0f %6.0f\n",
	    l->name, n, hot, (double)hot_n / ROUNDS, any,
	    (double)any_n / ROUNDS, (double)bytes / n, put, del);
	index_free(ix);
	free(s);
}

int
main(int argc, char **argv)
{
	static const struct load loads[] = {
		{ "exact", { "bench/topic/%u" }, "bench/topic/%u", 1 },
		{ "exact, deep", { "site/%u/temp" }, "site/%u/temp", 1 },
		{ "plus", { "dev/%u/+" }, "dev/%u/state", 1 },
		{ "hash", { "dev/%u/#" }, "dev/%u/state", 1 },
		{ "mixed",
		    { "dev/%u/state", "dev/%u/+", "dev/%u/#", "+/%u/state" },
		    "dev/%u/state", 1 },
		{ "exact x 100", { "bench/topic/%u" }, "bench/topic/%u", 100 },
	};
	unsigned long most = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;

	hash_seed_random();
	(void)printf("%-14s %8s  %7s %6s  %7s %6s  %7s  %6s %6s\n", "load",
	    "subs", "hot ns", "match", "any ns", "match", "bytes", "put ns",
	    "del ns");
	for (size_t i = 0; i < LEN(loads); i++)
		for (unsigned n = 1000; n <= most; n *= 10)
			run(&loads[i], n);
	return 0;
}
