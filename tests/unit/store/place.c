/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FOLDER "/tmp/nightjar-store-XXXXXX"

char place_folder[] = FOLDER;
char place_path[sizeof FOLDER + 16], place_copy[sizeof FOLDER + 16];

int
place_make(void **state)
{
	(void)state;
	if (!mkdtemp(place_folder))
		return -1;
	snprintf(place_path, sizeof place_path, "%s/state.db", place_folder);
	snprintf(place_copy, sizeof place_copy, "%s/copy.db", place_folder);
	return 0;
}

void
place_clear(void)
{
	char pattern[sizeof FOLDER + 16];
	glob_t g = { 0 };

	snprintf(pattern, sizeof pattern, "%s/*", place_folder);
	if (glob(pattern, 0, NULL, &g) == 0)
		for (size_t i = 0; i < g.gl_pathc; i++)
			unlink(g.gl_pathv[i]);
	globfree(&g);
}

int
place_remove(void **state)
{
	(void)state;
	place_clear();
	return rmdir(place_folder);
}
