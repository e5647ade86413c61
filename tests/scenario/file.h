/* SPDX-License-Identifier: Apache-2.0
 * file - the scenarios of one file.
 *
 * Owns:    the text.
 * Bounds:  STORIES_MAX scenarios a file.
 */
#ifndef NJ_TESTS_SCENARIO_FILE_H
#define NJ_TESTS_SCENARIO_FILE_H

#include "script.h"

#define STORIES_MAX 64

struct story {
	const char *title;
	const char *text; /* its lines, up to the next title */
	size_t len;
	unsigned line; /* of the first */
};

struct stories {
	char *text;
	struct story v[STORIES_MAX];
	size_t n;
};

bool stories_read(const char *path, struct stories *out);
void stories_free(struct stories *all);
/* Plays it; on failure *at is the line. */
bool story_play(const struct story *t, struct script *s, unsigned *at);
/* Plays all of its lines, whatever becomes of them. */
void story_play_all(const struct story *t, struct script *s);

#endif
