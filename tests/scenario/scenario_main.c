/* SPDX-License-Identifier: Apache-2.0
 * Plays the scenarios of the files it is given: each with one shard, with
 * four, and with four and clients that send byte by byte.
 *
 *   scenario [-v] [-t PART-OF-TITLE] FILE...
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "file.h"
#include "script.h"

static const struct {
	const char *name;
	unsigned shards;
	bool dribble;
} ways[] = {
	{ "1 shard", 1, false },
	{ "4 shards", 4, false },
	{ "4 shards, byte by byte", 4, true },
};

static bool verbose;
static unsigned passed, failed;

static void
play(const struct story *t, const char *path)
{
	struct script *s = malloc(sizeof *s);
	bool ok = s != NULL;
	unsigned at;

	for (size_t i = 0; s && i < sizeof ways / sizeof *ways; i++) {
		script_init(s, ways[i].shards, ways[i].dribble);
		if (!story_play(t, s, &at)) {
			printf("%s:%u: %s (%s): %s\n", path, at, t->title,
			    ways[i].name, s->why);
			ok = false;
		}
		script_fini(s);
	}
	free(s);
	if (verbose)
		printf("%s %s\n", ok ? "ok  " : "FAIL", t->title);
	ok ? passed++ : failed++;
}

int
main(int argc, char **argv)
{
	const char *only = "";
	struct stories all;
	int opt;

	log_types_on = 0;
	while ((opt = getopt(argc, argv, "lvt:")) != -1) {
		if (opt == 'v')
			verbose = true;
		else if (opt == 'l')
			log_types_on = LOG_T_ALL;
		else if (opt == 't')
			only = optarg;
		else
			return 2;
	}
	for (int i = optind; i < argc; i++) {
		if (!stories_read(argv[i], &all)) {
			printf("%s: cannot be read\n", argv[i]);
			return 2;
		}
		for (size_t k = 0; k < all.n; k++)
			if (strstr(all.v[k].title, only))
				play(&all.v[k], argv[i]);
		stories_free(&all);
	}
	printf("%u passed, %u failed\n", passed, failed);
	return failed || !passed;
}
