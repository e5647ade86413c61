/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/flags.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

void
say_why(const struct nj_why *why, enum nj_err e)
{
	(void)fprintf(stderr, "nightjar: %s\n",
	    why->what[0] ? why->what : nj_strerror(e));
	if (why->mend[0])
		(void)fprintf(stderr, "  to mend it: %s\n", why->mend);
}

static const struct flag *
find(const struct flag *flags, size_t n, const char *name, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		if (strlen(flags[i].name) == len &&
		    strncmp(flags[i].name, name, len) == 0)
			return &flags[i];
	}
	return NULL;
}

static const struct flag *
find_letter(const struct flag *flags, size_t n, char letter)
{
	for (size_t i = 0; i < n; i++) {
		if (letter != '\0' && flags[i].letter == letter)
			return &flags[i];
	}
	return NULL;
}

static enum nj_err
unknown(
    const struct flag *flags, size_t n, const char *word, struct nj_why *why)
{
	const struct flag *best = NULL;
	unsigned least = 4; /* further away is no slip of the finger */
	char safe[TEXT_ESC];

	text_esc(safe, sizeof(safe), slice_str(word));
	why_set(why, "there is no option %s", safe);
	for (size_t i = 0; i < n; i++) {
		unsigned d =
		    text_distance(flags[i].name, word + strspn(word, "-"));

		if (d < least) {
			least = d;
			best = &flags[i];
		}
	}
	if (best)
		why_mend(why, "did you mean --%s? --help lists all options",
		    best->name);
	else
		why_mend(why, "--help lists all options");
	return NJ_INVALID;
}

static enum nj_err
put_value(const struct flag *f, const char *value, struct nj_why *why)
{
	struct flag_list *list = f->dst;
	char safe[TEXT_ESC];

	switch (f->kind) {
	case FLAG_SWITCH:
		*(bool *)f->dst = true;
		return NJ_OK;
	case FLAG_TEXT:
		*(const char **)f->dst = value;
		return NJ_OK;
	case FLAG_NUMBER:
		if (text_to_long(value, f->min, f->max, f->dst))
			return NJ_OK;
		text_esc(safe, sizeof(safe), slice_str(value));
		why_set(why, "--%s takes a number from %ld to %ld, not '%s'",
		    f->name, f->min, f->max, safe);
		return NJ_INVALID;
	case FLAG_LIST:
		if (list->n < FLAG_LIST_MAX) {
			list->v[list->n++] = value;
			return NJ_OK;
		}
		why_set(
		    why, "--%s may be given %d times", f->name, FLAG_LIST_MAX);
		return NJ_FULL;
	}
	return NJ_INVALID;
}

static enum nj_err
put_rest(struct flag_list *rest, const char *word, struct nj_why *why)
{
	char safe[TEXT_ESC];

	if (rest && rest->n < FLAG_LIST_MAX) {
		rest->v[rest->n++] = word;
		return NJ_OK;
	}
	text_esc(safe, sizeof(safe), slice_str(word));
	why_set(why, "'%s' is one word too many", safe);
	why_mend(why, "--help shows how it is written");
	return NJ_INVALID;
}

/* Finds the flag of "--name", "--name=value" or "-x". */
static const struct flag *
match(const struct flag *flags, size_t n, const char *word, const char **value)
{
	size_t len;

	*value = NULL;
	if (word[1] != '-')
		return word[2] == '\0' ? find_letter(flags, n, word[1]) : NULL;
	len = strcspn(word + 2, "=");
	if (word[2 + len] == '=')
		*value = word + 2 + len + 1;
	return find(flags, n, word + 2, len);
}

enum nj_err
flags_parse(const struct flag *flags, size_t n, int argc, char **argv,
    struct flag_list *rest, struct nj_why *why)
{
	bool only_words = false;
	enum nj_err e = NJ_OK;

	for (int i = 1; i < argc && !e; i++) {
		const struct flag *f;
		const char *value;

		if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
			e = put_rest(rest, argv[i], why);
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			only_words = true;
			continue;
		}
		if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0)
			return NJ_EOF;
		if (!(f = match(flags, n, argv[i], &value)))
			return unknown(flags, n, argv[i], why);
		if (f->kind == FLAG_SWITCH && value) {
			why_set(why, "--%s takes no value", f->name);
			return NJ_INVALID;
		}
		if (f->kind != FLAG_SWITCH && !value &&
		    !(value = ++i < argc ? argv[i] : NULL)) {
			why_set(why, "--%s needs a value: %s", f->name, f->arg);
			return NJ_INVALID;
		}
		e = put_value(f, value, why);
	}
	return e;
}

void
flags_help(const struct flag *flags, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char left[64], letter[8] = "";

		if (flags[i].letter)
			(void)snprintf(
			    letter, sizeof(letter), "-%c, ", flags[i].letter);
		(void)snprintf(left, sizeof(left), "%s--%s%s%s", letter,
		    flags[i].name, flags[i].arg ? " " : "",
		    flags[i].arg ? flags[i].arg : "");
		printf("  %-28s %s\n", left, flags[i].help);
	}
}
