/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "conf/parse.h"

/* Room for "a number of bytes (k, M and G may follow) from 0 to ...". */
#define EXPECTS	   256
#define STRING_MAX 65535 /* as Mosquitto has it */

static void
refuse(struct parse *p, const struct conf_opt *o, struct value v,
    struct slice word, const char *nearest)
{
	char expects[EXPECTS], esc[TEXT_ESC];

	conf_opt_expects(o, expects, sizeof expects);
	if (word.n == 0)
		parse_fault(p, v.line, v.col, word, NULL, NULL,
		    "%s needs a value: expected %s", o->name, expects);
	else
		parse_fault(p, v.line, v.col, word, nearest, NULL,
		    "'%s' is no value for %s: expected %s",
		    text_esc(esc, sizeof esc, word), o->name, expects);
}

/* The first word; a refusal when there is none. */
static bool
one_word(struct parse *p, const struct conf_opt *o, struct value *v,
    struct slice *word, struct slice *rest)
{
	uint32_t col = v->col;

	*rest = v->text;
	if (!conf_lex_word(rest, &col, word, &v->col)) {
		refuse(p, o, *v, SLICE_NONE, NULL);
		return false;
	}
	return true;
}

void
value_rest(struct parse *p, struct slice rest, uint32_t line, uint32_t col)
{
	char esc[TEXT_ESC];
	struct slice word;
	uint32_t word_col;

	if (!conf_lex_word(&rest, &col, &word, &word_col) || word.p[0] == '#')
		return;
	parse_warn(p, line, word_col, word,
	    "delete it, or put a '#' in front of it",
	    "'%s' follows the value and is ignored",
	    text_esc(esc, sizeof esc, word));
}

bool
value_number(struct slice s, bool bytes, int64_t *out)
{
	char buf[32], *end;
	long long v, unit = 1;

	if (s.n == 0 || s.n >= sizeof buf)
		return false;
	memcpy(buf, s.p, s.n);
	buf[s.n] = '\0';
	if (strlen(buf) != s.n)
		return false;
	errno = 0;
	v = strtoll(buf, &end, 0);
	if (end == buf || errno)
		return false;
	if (bytes && *end != '\0') {
		switch (*end++) {
		case 'k':
		case 'K':
			unit = 1LL << 10;
			break;
		case 'm':
		case 'M':
			unit = 1LL << 20;
			break;
		case 'g':
		case 'G':
			unit = 1LL << 30;
			break;
		default:
			return false;
		}
	}
	if (*end != '\0' || __builtin_mul_overflow(v, unit, &v))
		return false;
	*out = v;
	return true;
}

static bool
read_bool(struct parse *p, const struct conf_opt *o, struct value v, bool *out)
{
	struct slice word, rest;
	const char *nearest = NULL;

	if (!one_word(p, o, &v, &word, &rest))
		return false;
	if (slice_is(word, "true") || slice_is(word, "1")) {
		*out = true;
	} else if (slice_is(word, "false") || slice_is(word, "0")) {
		*out = false;
	} else {
		char s[16] = "";

		if (word.n < sizeof s) {
			memcpy(s, word.p, word.n);
			if (strcasecmp(s, "yes") == 0 ||
			    strcasecmp(s, "on") == 0 ||
			    strcasecmp(s, "true") == 0 ||
			    text_distance(s, "true") <= 1)
				nearest = "true";
			else if (strcasecmp(s, "no") == 0 ||
			    strcasecmp(s, "off") == 0 ||
			    strcasecmp(s, "false") == 0 ||
			    text_distance(s, "false") <= 2)
				nearest = "false";
		}
		refuse(p, o, v, word, nearest);
		return false;
	}
	value_rest(p, rest, v.line, v.col + (uint32_t)word.n);
	return true;
}

/* "010" is 8 to strtol, which few who write it expect. */
static void
warn_octal(struct parse *p, struct slice word, struct value v, int64_t n)
{
	struct slice d = word;

	if (d.n > 0 && (d.p[0] == '-' || d.p[0] == '+'))
		d = (struct slice){ d.p + 1, d.n - 1 };
	if (d.n > 1 && d.p[0] == '0' && d.p[1] >= '0' && d.p[1] <= '9')
		parse_warn(p, v.line, v.col, word,
		    "leave out the zero in front",
		    "a number that begins with 0 is octal: this is %lld",
		    (long long)n);
}

static bool
read_number(
    struct parse *p, const struct conf_opt *o, struct value v, int64_t *out)
{
	bool bytes = o->type == CONF_T_SIZE;
	int64_t min = o->min, max = o->max, n;
	struct slice word, rest;

	if (o->type == CONF_T_LIMIT) {
		min = INT32_MIN;
		max = INT32_MAX;
	}
	if (!one_word(p, o, &v, &word, &rest))
		return false;
	if (!value_number(word, bytes, &n) || n < min || n > max) {
		refuse(p, o, v, word, NULL);
		return false;
	}
	warn_octal(p, word, v, n);
	value_rest(p, rest, v.line, v.col + (uint32_t)word.n);
	*out = n < 0 ? 0 : n; /* both mean "no limit" where both may stand */
	return true;
}

static bool
read_duration(
    struct parse *p, const struct conf_opt *o, struct value v, uint64_t *out)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {
		{ 's', 1 },
		{ 'h', 3600 },
		{ 'd', 86400 },
		{ 'w', 86400 * 7 },
		{ 'm', 86400 * 30 },
		{ 'y', 86400 * 365 },
	};
	struct slice word, rest;
	int64_t n = 0, unit = 0;

	if (!one_word(p, o, &v, &word, &rest))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (word.p[word.n - 1] == (uint8_t)units[i].unit)
			unit = units[i].seconds;
	if (unit == 0 ||
	    !value_number((struct slice){ word.p, word.n - 1 }, false, &n) ||
	    n <= 0 || n > INT32_MAX) {
		refuse(p, o, v, word, NULL);
		return false;
	}
	value_rest(p, rest, v.line, v.col + (uint32_t)word.n);
	*out = (uint64_t)n * (uint64_t)unit;
	return true;
}

/* Words that are known but not served speak for themselves. */
static void
word_standing(struct parse *p, const struct conf_opt *o,
    const struct conf_word *w, struct slice word, struct value v)
{
	if (w->standing == CONF_WORKS)
		return;
	if (w->standing == CONF_LATER || w->standing == CONF_IGNORED)
		parse_warn(p, v.line, v.col, word, w->mend, "%s %s: %s",
		    o->name, w->name, w->note);
	else
		parse_fault(p, v.line, v.col, word, NULL, w->mend, "%s %s: %s",
		    o->name, w->name, w->note);
}

static bool
read_word(struct parse *p, const struct conf_opt *o, struct value v,
    const struct conf_word **out)
{
	struct slice word, rest;
	const struct conf_word *w;

	if (!one_word(p, o, &v, &word, &rest))
		return false;
	if (!(w = conf_word_find(o, word))) {
		refuse(p, o, v, word, conf_word_nearest(o, word));
		return false;
	}
	word_standing(p, o, w, word, v);
	value_rest(p, rest, v.line, v.col + (uint32_t)word.n);
	*out = w;
	return true;
}

/* "3, 4,5": words between commas and blanks. */
static bool
read_many(
    struct parse *p, const struct conf_opt *o, struct value v, unsigned *out)
{
	unsigned bits = 0;

	for (size_t i = 0; i < v.text.n;) {
		struct slice word = { v.text.p + i, 0 };
		struct value at = { word, v.line, v.col + (uint32_t)i };
		const struct conf_word *w;

		if (strchr(", \t", v.text.p[i])) {
			i++;
			continue;
		}
		while (i < v.text.n && !strchr(", \t", v.text.p[i])) {
			i++;
			word.n++;
		}
		if (word.p[0] == '#')
			break;
		if (!(w = conf_word_find(o, word))) {
			refuse(p, o, at, word, conf_word_nearest(o, word));
			return false;
		}
		bits |= (unsigned)w->value;
	}
	if (bits == 0) {
		refuse(p, o, v, SLICE_NONE, NULL);
		return false;
	}
	*out = bits;
	return true;
}

bool
value_string(struct parse *p, char **field, struct slice text)
{
	char *copy = strndup((const char *)text.p, text.n);

	if (!copy) {
		p->failed = NJ_NOMEM;
		return false;
	}
	free(*field);
	*field = copy;
	return true;
}

/* Column of what a file path or name cannot hold; 0 when there is none. */
static uint32_t
bad_byte(struct slice s)
{
	char esc[8];

	for (uint32_t i = 0; i < s.n; i++)
		if (s.p[i] < 0x20 || s.p[i] == 0x7f)
			return i + 1;
	/* The rest is about UTF-8: text_esc leaves what is well formed. */
	for (uint32_t i = 0; i < s.n;) {
		uint32_t n = s.p[i] < 0x80 ? 1
		    : s.p[i] < 0xe0	   ? 2
		    : s.p[i] < 0xf0	   ? 3
					   : 4;

		if (n > 1 &&
		    (n > s.n - i ||
			text_esc(esc, sizeof esc, slice_of(s.p + i, n))[0] ==
			    '\\'))
			return i + 1;
		i += n;
	}
	return 0;
}

/* One line more. */
static bool
add_line(
    struct parse *p, const struct conf_opt *o, struct value v, char **field)
{
	char *all = NULL;

	if (strlen(*field) + v.text.n > STRING_MAX) {
		parse_fault(p, v.line, v.col, v.text, NULL, NULL,
		    "all the lines of %s together are longer than %d bytes",
		    o->name, STRING_MAX);
		return false;
	}
	if (asprintf(&all, "%s\n%.*s", *field, (int)v.text.n,
		(const char *)v.text.p) < 0) {
		p->failed = NJ_NOMEM;
		return false;
	}
	free(*field);
	*field = all;
	return true;
}

static bool
read_string(struct parse *p, const struct conf_opt *o, struct value v,
    char **field, bool again)
{
	const char *hash;
	uint32_t bad;

	if (v.text.n == 0) {
		refuse(p, o, v, SLICE_NONE, NULL);
		return false;
	}
	if ((bad = bad_byte(v.text))) {
		parse_fault(p, v.line, v.col + bad - 1, v.text, NULL,
		    "save the file as UTF-8, without control characters",
		    "the value of %s has a byte that is no text", o->name);
		return false;
	}
	if (v.text.n > (o->max > 0 ? (size_t)o->max : STRING_MAX)) {
		parse_fault(p, v.line, v.col, v.text, NULL, NULL,
		    "the value of %s is longer than %lld bytes", o->name,
		    (long long)(o->max > 0 ? o->max : STRING_MAX));
		return false;
	}
	hash = memmem(v.text.p, v.text.n, " #", 2);
	if (hash)
		parse_warn(p, v.line,
		    v.col + (uint32_t)((const uint8_t *)hash + 1 - v.text.p),
		    slice_of(hash + 1,
			v.text.n -
			    (size_t)((const uint8_t *)hash + 1 - v.text.p)),
		    "put the comment into a line of its own",
		    "this is part of the value of %s, not a comment", o->name);
	if (again && field && *field && (o->flags & CONF_REPEAT))
		return add_line(p, o, v, field);
	return !field || value_string(p, field, v.text);
}

static bool
read_set(struct parse *p, const struct conf_opt *o, struct value v,
    unsigned *field, bool again)
{
	const struct conf_word *w = NULL;

	if (o->flags & CONF_MANY) {
		unsigned bits = 0;

		if (!read_many(p, o, v, &bits))
			return false;
		if (field)
			*field = bits;
		return true;
	}
	if (!read_word(p, o, v, &w))
		return false;
	/* The first line takes the place of the default, "none" of all. */
	if (field)
		*field = (again && w->value ? *field : 0) | (unsigned)w->value;
	return true;
}

bool
value_read(struct parse *p, const struct conf_opt *o, struct value v,
    void *field, bool again)
{
	const struct conf_word *w = NULL;
	uint64_t seconds = 0;
	int64_t n = 0;
	bool b = false;

	switch (o->type) {
	case CONF_T_BOOL:
	case CONF_T_TRI:
		if (!read_bool(p, o, v, &b))
			return false;
		if (field && o->type == CONF_T_BOOL)
			*(bool *)field = b;
		else if (field)
			*(int *)field = b;
		return true;
	case CONF_T_U32:
	case CONF_T_LIMIT:
	case CONF_T_SIZE:
		if (!read_number(p, o, v, &n))
			return false;
		if (field && o->type == CONF_T_SIZE)
			*(uint64_t *)field = (uint64_t)n;
		else if (field)
			*(uint32_t *)field = (uint32_t)n;
		return true;
	case CONF_T_DURATION:
		if (!read_duration(p, o, v, &seconds))
			return false;
		if (field)
			*(uint64_t *)field = seconds;
		return true;
	case CONF_T_ENUM:
		if (!read_word(p, o, v, &w))
			return false;
		if (field)
			*(int *)field = w->value;
		return true;
	case CONF_T_SET:
		return read_set(p, o, v, field, again);
	case CONF_T_STRING:
	case CONF_T_PATH:
		return read_string(p, o, v, field, again);
	case CONF_T_FORM:
		break;
	}
	return false;
}
