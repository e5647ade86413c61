/* SPDX-License-Identifier: Apache-2.0 */
#include "conf/lex.h"

static bool
is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static size_t
blanks(struct slice s)
{
	size_t n = 0;

	while (n < s.n && is_blank(s.p[n]))
		n++;
	return n;
}

static size_t
word_len(struct slice s)
{
	size_t n = 0;

	while (n < s.n && !is_blank(s.p[n]))
		n++;
	return n;
}

static struct slice
skip(struct slice s, size_t n)
{
	return (struct slice){ s.p + n, s.n - n };
}

static struct slice
trim_end(struct slice s)
{
	while (s.n > 0 && (is_blank(s.p[s.n - 1]) || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

bool
conf_lex_init(struct conf_lex *lex, struct slice text)
{
	*lex = (struct conf_lex){ .left = text };
	if (text.n >= 2 &&
	    ((text.p[0] == 0xff && text.p[1] == 0xfe) ||
		(text.p[0] == 0xfe && text.p[1] == 0xff)))
		return false;
	if (slice_has_prefix(text, LIT("\xef\xbb\xbf")))
		lex->left = skip(text, 3);
	return true;
}

/* Cuts one line off; its end of line is in neither part. */
static struct slice
cut_line(struct slice *left)
{
	const uint8_t *nl = memchr(left->p, '\n', left->n);
	struct slice line = *left;

	if (nl)
		line.n = (size_t)(nl - left->p);
	*left = skip(*left, nl ? line.n + 1 : line.n);
	return line;
}

bool
conf_lex_next(struct conf_lex *lex, struct conf_line *out)
{
	while (lex->left.n > 0) {
		struct slice whole = cut_line(&lex->left);
		struct slice s = trim_end(whole);
		uint32_t col = 1;

		lex->line++;
		if (!conf_lex_word(&s, &col, &out->name, &out->name_col) ||
		    out->name.p[0] == '#')
			continue;
		out->line = lex->line;
		col += (uint32_t)blanks(s);
		out->value = skip(s, blanks(s));
		out->value_col = col;
		return true;
	}
	return false;
}

bool
conf_lex_word(
    struct slice *value, uint32_t *col, struct slice *word, uint32_t *word_col)
{
	size_t gap = blanks(*value);
	struct slice s = skip(*value, gap);
	size_t n = word_len(s);

	if (n == 0)
		return false;
	*word = (struct slice){ s.p, n };
	*word_col = *col + (uint32_t)gap;
	*col = *word_col + (uint32_t)n;
	*value = skip(s, n);
	return true;
}
