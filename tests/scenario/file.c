/* SPDX-License-Identifier: Apache-2.0
 */
#include "file.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX  (256 * 1024)
#define LINE_SIZE 1024

static char *
read_all(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t n;

	if (!f)
		return NULL;
	if ((text = malloc(TEXT_MAX + 1))) {
		n = fread(text, 1, TEXT_MAX, f);
		text[n] = '\0';
	}
	(void)fclose(f);
	return text;
}

bool
stories_read(const char *path, struct stories *out)
{
	unsigned line = 1;
	char *at, *end;

	*out = (struct stories){ .text = read_all(path) };
	for (at = out->text; at && *at; at = end, line++) {
		end = strchrnul(at, '\n');
		if (*end)
			*end++ = '\0';
		if (strncmp(at, "== ", 3) == 0 && out->n < STORIES_MAX)
			out->v[out->n++] = (struct story){
				.title = at + 3, .text = end, .line = line + 1
			};
		else if (out->n > 0)
			out->v[out->n - 1].len =
			    (size_t)(end - out->v[out->n - 1].text);
	}
	return out->text != NULL;
}

void
stories_free(struct stories *all)
{
	free(all->text);
	*all = (struct stories){ 0 };
}

bool
story_play(const struct story *t, struct script *s, unsigned *at)
{
	const char *line = t->text, *end = t->text + t->len;
	char copy[LINE_SIZE];

	for (*at = t->line; line < end; line += strlen(line) + 1, ++*at) {
		snprintf(copy, sizeof copy, "%s", line);
		if (copy[strspn(copy, " \t")] == '#')
			continue;
		if (!script_line(s, copy))
			return false;
	}
	return true;
}

void
story_play_all(const struct story *t, struct script *s)
{
	const char *line = t->text, *end = t->text + t->len;
	char copy[LINE_SIZE];

	for (; line < end; line += strlen(line) + 1) {
		snprintf(copy, sizeof copy, "%s", line);
		if (copy[strspn(copy, " \t")] != '#')
			(void)script_line(s, copy);
	}
}
