/* SPDX-License-Identifier: Apache-2.0
 * Plays scenarios with each allocation of the broker failed in turn: once
 * alone, once together with the 20 that follow.  Steps may then go wrong, but
 * nothing crashes or leaks, and afterwards new clients are served as ever.
 *
 *   nomem_test [-n NTH] [-t PART-OF-TITLE] FILE...
 *
 * Linked with --wrap for the allocator, which catches what the broker itself
 * allocates, not what libraries do.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "file.h"
#include "grace.h"
#include "script.h"

static _Thread_local bool in_broker;
static long left;    /* allocations that still succeed */
static long failing; /* how many fail after them */
static bool failed_one;

static bool
refuse(void)
{
	if (!in_broker || left-- > 0 || failing <= 0)
		return false;
	failing--;
	failed_one = true;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refuse() ? NULL : __real_realloc(p, n);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return refuse() ? NULL : __real_reallocarray(p, n, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t n)
{
	return refuse() ? NULL : __real_aligned_alloc(align, n);
}

char *
__wrap_strdup(const char *s)
{
	return refuse() ? NULL : __real_strdup(s);
}

static void
inside(bool on)
{
	in_broker = on;
}

/* A line of ours: it must succeed. */
static bool
probe(struct script *s, const char *line)
{
	char copy[256];

	snprintf(copy, sizeof copy, "%s", line);
	return script_line(s, copy);
}

static bool
still_serves(struct script *s)
{
	static const char *const lines[] = {
		"set anonymous 1",
		"set later 0",
		"reload",
		"pr connect clean=0 expiry=100",
		"pr subscribe probe qos=2",
		"pr subscribe $share/probe/probe",
		"po connect v4",
		"po publish probe \"1\" qos=2",
		"pr expect some probe min=2 max=2",
		"pr drop",
		"po publish probe \"2\" qos=1",
		"po publish probe/r \"2\" qos=1 retain",
		"pr connect -> present=0",
		"pr subscribe probe/r",
		"pr expect publish probe/r \"2\" retain",
	};

	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		if (!probe(s, lines[i])) {
			printf("'%s': %s\n", lines[i], s->why);
			return false;
		}
	return true;
}

/* One run; *more says whether an allocation was refused. */
static bool
run(const struct story *t, struct script *s, unsigned shards, long nth,
    long many, bool *more)
{
	bool ok;

	script_init(s, shards, false);
	left = nth;
	failing = many;
	failed_one = false;
	story_play_all(t, s);
	failing = 0;
	ok = still_serves(s);
	script_fini(s);
	*more = failed_one;
	return ok;
}

static bool
play(const struct story *t, long from, long upto)
{
	struct script *s = malloc(sizeof *s);
	bool more = true, ok = s != NULL;
	long n = from;

	for (; s && ok && more && n <= upto; n++) {
		bool one = false, four = false;

		/* odd ones fail alone with one shard, even ones with four */
		ok = run(t, s, 1, n, n & 1 ? 1 : 20, &one) &&
		    run(t, s, 4, n, n & 1 ? 20 : 1, &four);
		more = one || four;
		if (!ok)
			printf("%s: allocation %ld\n", t->title, n);
	}
	free(s);
	printf("%s %s (%ld allocations)\n", ok ? "ok  " : "FAIL", t->title, n);
	return ok;
}

int
main(int argc, char **argv)
{
	const char *only = "";
	long from = 0, upto = 1000000;
	struct stories all;
	bool ok = true;
	int opt;

	log_types_on = 0;
	world_inside = inside;
	grace_start();
	while ((opt = getopt(argc, argv, "ln:t:")) != -1) {
		if (opt == 'n')
			from = upto = strtol(optarg, NULL, 10);
		else if (opt == 'l')
			log_types_on = LOG_T_ALL;
		else if (opt == 't')
			only = optarg;
		else
			return 2;
	}
	for (int i = optind; i < argc; i++) {
		if (!stories_read(argv[i], &all))
			return 2;
		for (size_t k = 0; k < all.n; k++)
			if (strstr(all.v[k].title, only))
				ok &= play(&all.v[k], from, upto);
		stories_free(&all);
	}
	return !ok;
}
