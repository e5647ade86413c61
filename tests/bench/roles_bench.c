/* SPDX-License-Identifier: Apache-2.0
 * roles_bench - what 100,000 users, 1,000 groups and 10,000 roles cost: to
 *               load, to hold, to change, to ask; beside finding the
 *               subscribers of a topic.
 *
 * usage: roles_bench [USERS [QUESTIONS]]
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "auth/decided.h"
#include "auth/rolebase.h"
#include "base/hash.h"
#include "core/index.h"

#define GROUPS 1000
#define ROLES  10000

static unsigned asked = 500000;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Of an own page of memory that is in use. */
static double
resident_mib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size = 0, resident = 0;

	if (!f || fscanf(f, "%ld %ld", &size, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static void
write_file(FILE *f, unsigned users)
{
	fprintf(f,
	    "{\"defaultACLAccess\":{\"publishClientReceive\":true},"
	    "\"roles\":[");
	for (unsigned i = 0; i < ROLES; i++) {
		fprintf(f, "%s{\"rolename\":\"role%u\",\"acls\":[",
		    i ? ",\n" : "", i);
		for (unsigned k = 0; k < 4; k++)
			fprintf(f,
			    "%s{\"acltype\":\"publishClientSend\",\"topic\":"
			    "\"site/%u/%u/+/%%u/#\",\"allow\":true},"
			    "{\"acltype\":\"subscribePattern\",\"topic\":"
			    "\"site/%u/%u/#\",\"allow\":true}",
			    k ? "," : "", i, k, i, k);
		fprintf(f, "]}");
	}
	fprintf(f, "],\"clients\":[");
	for (unsigned i = 0; i < users; i++)
		fprintf(f,
		    "%s{\"username\":\"user%u\",\"iterations\":101,"
		    "\"salt\":\"RppiZldZBxec4ImY\",\"password\":"
		    "\"JXHTgQGGm+7aYm/qGsOtaZdfl8+rSA/P4bq15A4EIb7cdWBJNGw9M0"
		    "pMOHFCV3g7Z0zBdeJ+zWEnqF6TCyJHXQ==\",\"roles\":["
		    "{\"rolename\":\"role%u\"},{\"rolename\":\"role%u\","
		    "\"priority\":3}]}",
		    i ? ",\n" : "", i, i % ROLES, (i * 7 + 1) % ROLES);
	fprintf(f, "],\"groups\":[");
	for (unsigned i = 0; i < GROUPS; i++) {
		fprintf(f,
		    "%s{\"groupname\":\"group%u\",\"roles\":[{\"rolename\":"
		    "\"role%u\"},{\"rolename\":\"role%u\"}],\"clients\":[",
		    i ? ",\n" : "", i, i * 3, i * 5);
		for (unsigned k = i; k < users; k += GROUPS)
			fprintf(f, "%s{\"username\":\"user%u\"}",
			    k > i ? "," : "", k);
		fprintf(f, "]}");
	}
	fprintf(f, "]}\n");
}

/* ns of a question; what: 0 allowed by his last role, 1 by nobody, 2 a
 * subscription. */
static double
ask_all(const struct roles *r, unsigned users, unsigned of, int what)
{
	double start = now();
	unsigned yes = 0;

	for (unsigned i = 0; i < asked; i++) {
		unsigned u = i * 7919 % users % of, k = u % GROUPS * 5;
		char user[32], topic[80];
		const char *rule;
		struct roles_asker who = {
			.user = slice_of(user,
			    (size_t)snprintf(user, sizeof user, "user%u", u)),
			.client_id = LIT("c"),
		};
		struct slice t = slice_of(topic,
		    (size_t)snprintf(topic, sizeof topic, "site/%u/3/x/%s/temp",
			what == 1 ? 99999 : k, user));

		yes += roles_decide(r, &who,
			   what == 2 ? ROLES_SUBSCRIBE : ROLES_PUBLISH, t,
			   &rule) == ROLES_ALLOW;
	}
	if (yes != (what == 1 ? 0u : asked))
		printf("unexpected: %u of %u are allowed\n", yes, asked);
	return (now() - start) / asked * 1e9;
}

/* ns of a question that a session asked before: one topic, then eight in turn;
 * of nine in turn none is remembered. */
static double
ask_again(const struct roles *r, unsigned topics)
{
	const struct principal from = { .name = LIT("user5") };
	struct decided *d = decided_new();
	struct principal *who = NULL;
	struct asker a = { .client_id = LIT("c"), .roles = r };
	char names[DECIDED_WAYS + 1][32];
	struct decision why;
	unsigned yes = 0;
	double start;

	if (principal_new(&from, &who) || topics > DECIDED_WAYS + 1)
		return 0;
	a.who = who;
	for (unsigned i = 0; i < topics; i++)
		(void)snprintf(
		    names[i], sizeof names[i], "site/25/3/x%u/user5/temp", i);
	start = now();
	for (unsigned i = 0; i < asked; i++)
		yes += decided_ask(
		    d, &a, ACTION_PUBLISH, slice_str(names[i % topics]), &why);
	start = now() - start;
	if (yes != asked)
		printf("unexpected: %u of %u are allowed\n", yes, asked);
	decided_free(d);
	principal_unref(who);
	return start / asked * 1e9;
}

/* What making up the names costs. */
static double
ask_nobody(unsigned users)
{
	double start = now();
	size_t n = 0;

	for (unsigned i = 0; i < asked; i++) {
		unsigned u = i * 7919 % users, k = u % GROUPS * 5;
		char user[32], topic[80];

		n += (size_t)snprintf(user, sizeof user, "user%u", u);
		n += (size_t)snprintf(
		    topic, sizeof topic, "site/%u/3/x/%s/temp", k, user);
	}
	return n ? (now() - start) / asked * 1e9 : 0;
}

/* ns of finding the subscribers among as many filters as there are users. */
static double
match_all(unsigned users)
{
	struct index_opts o = { .shards = 1 };
	struct index *ix = NULL;
	struct targets *t = NULL;
	struct match m = { 0 };
	char topic[80];
	double start;

	if (index_new(&o, &ix))
		return 0;
	for (unsigned i = 0; i < users; i++)
		if (index_hold(ix, 0,
			slice_of(topic,
			    (size_t)snprintf(topic, sizeof topic,
				"site/%u/3/+/user%u/#", i % GROUPS * 5, i)),
			&t))
			return 0;
	start = now();
	for (unsigned i = 0; i < asked; i++) {
		unsigned u = i * 7919 % users;
		struct slice s = slice_of(topic,
		    (size_t)snprintf(topic, sizeof topic,
			"site/%u/3/x/user%u/temp", u % GROUPS * 5, u));

		if (index_match(ix, s, &m) || m.n != 1)
			return 0;
	}
	return (now() - start) / asked * 1e9;
}

int
main(int argc, char **argv)
{
	unsigned users =
	    argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
	char path[] = "/tmp/roles_bench.XXXXXX";
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
	struct rolebase_admin admin = { .user = LIT("bench") };
	struct rolebase *rb = NULL;
	struct nj_why why = { .what = "" };
	struct buf answer = { 0 };
	struct roles *r;
	double start, base = resident_mib(), names;

	if (argc > 2)
		asked = (unsigned)strtoul(argv[2], NULL, 10);
	if (!f)
		return 1;
	hash_seed_random();
	write_file(f, users);
	fclose(f);
	start = now();
	if (rolebase_open(path, &rb, &why)) {
		printf("%s\n", why.what);
		return 1;
	}
	printf("%u users, %u groups, %u roles, 8 rules each\n", users, GROUPS,
	    ROLES);
	printf("load            %8.2f s\n", now() - start);
	printf("resident after  %8.1f MiB\n", resident_mib() - base);
	malloc_trim(0);
	printf("held            %8.1f MiB\n", resident_mib() - base);
	start = now();
	if (rolebase_run(rb, &admin,
		LIT("{\"commands\":[{\"command\":\"disableClient\","
		    "\"username\":\"user5\"}]}"),
		&answer))
		return 1;
	printf("one change      %8.2f s, the file written and synced\n",
	    now() - start);
	r = rolebase_now(rb);
	names = ask_nobody(users);
	printf("publish, allowed by the last of 4 roles  %6.0f ns\n",
	    ask_all(r, users, users, 0) - names);
	printf("the same of ten users                    %6.0f ns\n",
	    ask_all(r, users, 10, 0) - names);
	printf("publish, allowed by none                 %6.0f ns\n",
	    ask_all(r, users, users, 1) - names);
	printf("subscribe, allowed by the last           %6.0f ns\n",
	    ask_all(r, users, users, 2) - names);
	printf("publish, asked before                    %6.0f ns\n",
	    ask_again(r, 1));
	printf("the same, eight topics in turn           %6.0f ns\n",
	    ask_again(r, DECIDED_WAYS));
	printf("nine in turn, never remembered           %6.0f ns\n",
	    ask_again(r, DECIDED_WAYS + 1));
	printf("subscribers of the topic found           %6.0f ns\n",
	    match_all(users) - names);
	roles_unref(r);
	rolebase_unref(rb);
	(void)unlink(path);
	return 0;
}
