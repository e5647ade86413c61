/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "conf/table.h"

/* Words longer than this are compared by their beginnings. */
#define WORD_MAX 64

static const char *
word_str(char dst[WORD_MAX + 1], struct slice s)
{
	size_t n = s.n < WORD_MAX ? s.n : WORD_MAX;

	if (n > 0)
		memcpy(dst, s.p, n);
	dst[n] = '\0';
	return dst;
}

static bool
row_matches(const struct conf_opt *o, struct slice name)
{
	size_t n = strlen(o->name);

	if (!(o->flags & CONF_PREFIX))
		return n == name.n && memcmp(o->name, name.p, n) == 0;
	n--; /* the '*' */
	return name.n > n && memcmp(o->name, name.p, n) == 0;
}

const struct conf_opt *
conf_opt_find(struct slice name)
{
	for (size_t i = 0; i < conf_table_n; i++)
		if (row_matches(&conf_table[i], name))
			return &conf_table[i];
	return NULL;
}

const struct conf_opt *
conf_opt_real(const struct conf_opt *o)
{
	if (o->same_as)
		o = conf_opt_find(slice_str(o->same_as));
	assert(o && !o->same_as);
	return o;
}

/* Case does not count; otherwise one letter in three may differ. */
static unsigned
nearness(const char *word, const char *name)
{
	unsigned d, most = (unsigned)strlen(name) / 3;

	if (strcasecmp(word, name) == 0)
		return 0;
	d = text_distance(word, name);
	if (most > 4)
		most = 4;
	return d <= most ? d : WORD_MAX;
}

const char *
conf_opt_nearest(struct slice name)
{
	char buf[WORD_MAX + 1];
	const char *word = word_str(buf, name), *best = NULL;
	unsigned least = WORD_MAX;

	if (name.n > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < conf_table_n; i++) {
		unsigned d;

		if (conf_table[i].flags & CONF_PREFIX)
			continue;
		d = nearness(word, conf_table[i].name);
		if (d < least) {
			least = d;
			best = conf_table[i].name;
		}
	}
	return best;
}

const struct conf_word *
conf_word_find(const struct conf_opt *o, struct slice word)
{
	for (const struct conf_word *w = o->words; w && w->name; w++)
		if (slice_is(word, w->name))
			return w;
	return NULL;
}

const char *
conf_word_nearest(const struct conf_opt *o, struct slice word)
{
	char buf[WORD_MAX + 1];
	const char *s = word_str(buf, word), *best = NULL;
	unsigned least = WORD_MAX;

	for (const struct conf_word *w = o->words; w && w->name; w++) {
		unsigned d = nearness(s, w->name);

		if (w->standing == CONF_WORKS && d < least) {
			least = d;
			best = w->name;
		}
	}
	return best;
}

const char *
conf_scope_name(enum conf_scope s)
{
	switch (s) {
	case CONF_GLOBAL:
		return "global";
	case CONF_LISTENER:
		return "listener";
	case CONF_SECURITY:
		return "security";
	case CONF_BRIDGE:
		return "connection";
	case CONF_PLUGIN:
		return "plugin";
	}
	return "";
}

/* "a, b or c": the words that are served. */
static void
list_words(const struct conf_opt *o, char *dst, size_t size)
{
	size_t n = 0, left = 0;

	for (const struct conf_word *w = o->words; w->name; w++)
		left += w->standing == CONF_WORKS;
	dst[0] = '\0';
	for (const struct conf_word *w = o->words; w->name; w++) {
		int k;

		if (w->standing != CONF_WORKS)
			continue;
		left--;
		k = snprintf(dst + n, size - n, "%s%s", w->name,
		    left > 1	    ? ", "
			: left == 1 ? " or "
				    : "");
		if (k < 0 || (size_t)k >= size - n)
			return;
		n += (size_t)k;
	}
}

static void
number_range(const struct conf_opt *o, const char *kind, char *dst, size_t size)
{
	long long lo = o->min < 0 ? 0 : (long long)o->min;

	if (o->max == 0 && lo == 0)
		(void)snprintf(dst, size, "%s", kind);
	else if (o->max >= INT32_MAX)
		(void)snprintf(dst, size, "%s from %lld", kind, lo);
	else
		(void)snprintf(dst, size, "%s from %lld to %lld", kind, lo,
		    (long long)o->max);
}

const char *
conf_opt_expects(const struct conf_opt *o, char *dst, size_t size)
{
	o = conf_opt_real(o);
	switch (o->type) {
	case CONF_T_BOOL:
	case CONF_T_TRI:
		(void)snprintf(dst, size, "true or false");
		break;
	case CONF_T_U32:
		number_range(o, "a number", dst, size);
		break;
	case CONF_T_LIMIT:
		(void)snprintf(dst, size, "a number; -1 for no limit");
		break;
	case CONF_T_SIZE:
		number_range(
		    o, "a number of bytes (k, M and G may follow)", dst, size);
		break;
	case CONF_T_DURATION:
		(void)snprintf(dst, size,
		    "a number and one of s, h, d, w, m (30 days) or y");
		break;
	case CONF_T_ENUM:
	case CONF_T_SET:
		list_words(o, dst, size);
		break;
	case CONF_T_STRING:
		(void)snprintf(dst, size, "some text");
		break;
	case CONF_T_PATH:
		(void)snprintf(dst, size, "a path");
		break;
	case CONF_T_FORM:
		(void)snprintf(dst, size, "%s", o->args ? o->args : "a value");
		break;
	}
	return dst;
}
