/* SPDX-License-Identifier: Apache-2.0
 * acl_bench - an acl_file of many users, groups and rules: how long it takes to
 *             load, what memory it takes, what a decision costs.
 *
 * usage: acl_bench [USERS GROUPS RULES [ASKING]]; ASKING of the users ask
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/acl.h"
#include "base/buf.h"

#define ASKED 2000000

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
must(enum nj_err e)
{
	if (e) {
		fprintf(stderr, "%s\n", nj_strerror(e));
		exit(1);
	}
}

/* Each user is in two groups; each group has its share of the rules. */
static void
write_rules(struct buf *b, unsigned users, unsigned groups, unsigned rules)
{
	for (unsigned g = 0; g < groups; g++) {
		must(buf_printf(b, "group g%u\n", g));
		for (unsigned u = g; u < users; u += groups)
			must(buf_printf(b, "member u%u\n", u));
		for (unsigned u = (g * 7 + 3) % groups; u < users; u += groups)
			must(buf_printf(b, "member u%u\n", u));
		for (unsigned r = g; r < rules; r += groups)
			must(buf_printf(b, "topic %s site%u/+/r%u/#\n",
			    r % 10 == 9 ? "deny" : "readwrite", g, r));
	}
	must(buf_printf(
	    b, "pattern readwrite dev/%%c/#\npattern read user/%%u/#\n"));
}

static uint64_t
ask(const struct acl *a, unsigned users, unsigned groups, unsigned rules)
{
	uint64_t yes = 0;
	uint32_t seed = 1;

	for (unsigned i = 0; i < ASKED; i++) {
		char user[16], topic[64];
		struct acl_asker who = { .client_id = LIT("c") };
		const char *rule;
		unsigned u, r;

		seed = seed * 1664525u + 1013904223u;
		u = (seed >> 4) % users;
		r = u % groups + groups * ((seed >> 20) % (rules / groups));
		who.user = slice_of(
		    user, (size_t)snprintf(user, sizeof user, "u%u", u));
		yes += acl_allows(a, &who, seed & 1,
		    slice_of(topic,
			(size_t)snprintf(topic, sizeof topic,
			    "site%u/x/r%u/value", u % groups, r)),
		    &rule);
	}
	return yes;
}

/* The same without asking. */
static double
cost_of_the_loop(unsigned users, unsigned groups, unsigned rules)
{
	double began = now();
	uint32_t seed = 1;
	int n = 0;

	for (unsigned i = 0; i < ASKED; i++) {
		char user[16], topic[64];
		unsigned u, r;

		seed = seed * 1664525u + 1013904223u;
		u = (seed >> 4) % users;
		r = u % groups + groups * ((seed >> 20) % (rules / groups));
		n += snprintf(user, sizeof user, "u%u", u);
		n += snprintf(
		    topic, sizeof topic, "site%u/x/r%u/value", u % groups, r);
	}
	if (n == 0) /* what it wrote is not thrown away unmade */
		exit(1);
	return now() - began;
}

static unsigned
number(int argc, char **argv, int i, unsigned usual)
{
	return argc > i ? (unsigned)strtoul(argv[i], NULL, 10) : usual;
}

int
main(int argc, char **argv)
{
	unsigned users = number(argc, argv, 1, 100000);
	unsigned groups = number(argc, argv, 2, 1000);
	unsigned rules = number(argc, argv, 3, 10000);
	unsigned asking = number(argc, argv, 4, users);
	struct nj_why why = { 0 };
	struct buf text = { 0 };
	struct acl *a = NULL;
	double began, load, cost;
	size_t before;
	uint64_t yes;

	write_rules(&text, users, groups, rules);
	before = mallinfo2().uordblks;
	began = now();
	if (acl_parse(buf_slice(&text), "acl", &a, &why)) {
		fprintf(stderr, "%s\n", why.what);
		return 1;
	}
	load = now() - began;
	printf("| %u | %u | %u | %.1f MB | %.0f ms | %.1f MB |", users, groups,
	    rules, (double)buf_len(&text) / 1e6, load * 1e3,
	    (double)(mallinfo2().uordblks - before) / 1e6);
	began = now();
	yes = ask(a, asking, groups, rules);
	cost = now() - began - cost_of_the_loop(asking, groups, rules);
	printf(" %.0f ns (%.0f %% allowed) |\n", cost / ASKED * 1e9,
	    (double)yes * 100 / ASKED);
	acl_unref(a);
	buf_fini(&text);
	return 0;
}
