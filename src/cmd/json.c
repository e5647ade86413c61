/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/json.h"

#include "wire/utf8.h"

static enum nj_err
put_escape(struct buf *b, uint8_t c)
{
	static const char plain[] = "\"\\\b\f\n\r\t", code[] = "\"\\bfnrt";
	const char *at = c ? strchr(plain, c) : NULL;

	if (at)
		return buf_printf(b, "\\%c", code[at - plain]);
	return buf_printf(b, "\\u%04x", c);
}

enum nj_err
json_put_str(struct buf *b, struct slice s)
{
	enum nj_err e;

	if ((e = buf_put_u8(b, '"')))
		return e;
	while (s.n > 0) {
		size_t n = utf8_step(s.p, s.n);
		uint8_t c = s.p[0];

		/* utf8_step knows no U+0000, which JSON can write. */
		if (c < 0x20 || c == '"' || c == '\\')
			e = put_escape(b, c);
		else if (n == 0)
			e = buf_put(b, "\\ufffd", 6);
		else
			e = buf_put(b, s.p, n);
		if (e)
			return e;
		n = n ? n : 1;
		s.p += n;
		s.n -= n;
	}
	return buf_put_u8(b, '"');
}

/* Reading: in is what is left, out gets what is kept. */
struct reader {
	struct slice in;
	struct buf *out;
	unsigned depth;
};

static void
skip_space(struct reader *r)
{
	while (r->in.n > 0 &&
	    (*r->in.p == ' ' || *r->in.p == '\t' || *r->in.p == '\n' ||
		*r->in.p == '\r')) {
		r->in.p++;
		r->in.n--;
	}
}

static int
peek(const struct reader *r)
{
	return r->in.n > 0 ? *r->in.p : -1;
}

static enum nj_err
keep(struct reader *r, size_t n)
{
	struct slice s;
	enum nj_err e = take_bytes(&r->in, n, &s);

	return e ? NJ_MALFORMED : buf_put_slice(r->out, s);
}

static bool
is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* At least one. */
static enum nj_err
read_digits(struct reader *r)
{
	enum nj_err e;

	if (!is_digit(peek(r)))
		return NJ_MALFORMED;
	while (is_digit(peek(r)))
		if ((e = keep(r, 1)))
			return e;
	return NJ_OK;
}

static enum nj_err
read_number(struct reader *r)
{
	enum nj_err e;

	if (peek(r) == '-' && (e = keep(r, 1)))
		return e;
	e = peek(r) == '0' ? keep(r, 1) : read_digits(r);
	if (!e && peek(r) == '.') {
		if ((e = keep(r, 1)))
			return e;
		e = read_digits(r);
	}
	if (!e && (peek(r) == 'e' || peek(r) == 'E')) {
		if ((e = keep(r, 1)))
			return e;
		if ((peek(r) == '+' || peek(r) == '-') && (e = keep(r, 1)))
			return e;
		e = read_digits(r);
	}
	return e;
}

static enum nj_err
read_escape(struct reader *r)
{
	size_t n = 2;

	if (r->in.n < 2)
		return NJ_MALFORMED;
	if (r->in.p[1] == 'u') {
		n = 6;
		for (size_t i = 2; i < n; i++)
			if (i >= r->in.n ||
			    !memchr("0123456789abcdefABCDEF", r->in.p[i], 22))
				return NJ_MALFORMED;
	} else if (!memchr("\"\\/bfnrt", r->in.p[1], 8)) {
		return NJ_MALFORMED;
	}
	return keep(r, n);
}

static enum nj_err
read_string(struct reader *r)
{
	enum nj_err e = keep(r, 1);

	while (!e) {
		size_t n;
		int c = peek(r);

		if (c == '"')
			return keep(r, 1);
		if (c == '\\') {
			e = read_escape(r);
			continue;
		}
		if (c < 0x20 || (n = utf8_step(r->in.p, r->in.n)) == 0)
			return NJ_MALFORMED;
		e = keep(r, n);
	}
	return e;
}

static enum nj_err read_value(struct reader *r);

static enum nj_err
read_member(struct reader *r, bool named)
{
	enum nj_err e;

	if (named) {
		skip_space(r);
		if (peek(r) != '"')
			return NJ_MALFORMED;
		if ((e = read_string(r)))
			return e;
		skip_space(r);
		if (peek(r) != ':')
			return NJ_MALFORMED;
		if ((e = keep(r, 1)))
			return e;
	}
	return read_value(r);
}

/* An object or an array. */
static enum nj_err
read_group(struct reader *r, bool named)
{
	uint8_t close = named ? '}' : ']';
	enum nj_err e = keep(r, 1);

	if (e)
		return e;
	if (++r->depth > JSON_DEPTH)
		return NJ_TOOBIG;
	skip_space(r);
	if (peek(r) != close) {
		for (;;) {
			if ((e = read_member(r, named)))
				return e;
			skip_space(r);
			if (peek(r) != ',')
				break;
			if ((e = keep(r, 1)))
				return e;
		}
	}
	if (peek(r) != close)
		return NJ_MALFORMED;
	r->depth--;
	return keep(r, 1);
}

static enum nj_err
read_value(struct reader *r)
{
	static const char *const words[] = { "true", "false", "null" };

	skip_space(r);
	switch (peek(r)) {
	case '{':
		return read_group(r, true);
	case '[':
		return read_group(r, false);
	case '"':
		return read_string(r);
	default:
		break;
	}
	for (size_t i = 0; i < 3; i++)
		if (slice_has_prefix(r->in, slice_str(words[i])))
			return keep(r, strlen(words[i]));
	return read_number(r);
}

enum nj_err
json_put_value(struct buf *b, struct slice in)
{
	struct reader r = { .in = in, .out = b };
	size_t before = buf_len(b);
	enum nj_err e = read_value(&r);

	if (!e) {
		skip_space(&r);
		if (r.in.n > 0)
			e = NJ_MALFORMED;
	}
	if (e)
		buf_truncate(b, before);
	return e;
}

struct pretty {
	struct buf *b;
	unsigned depth;
	uint8_t open[2 * JSON_DEPTH]; /* '{' or '[' of each level */
};

static enum nj_err
new_line(struct pretty *p)
{
	enum nj_err e = buf_put_u8(p->b, '\n');

	for (unsigned i = 0; !e && i < p->depth; i++)
		e = buf_put_u8(p->b, '\t');
	return e;
}

/* One byte outside strings. */
static enum nj_err
pretty_byte(struct pretty *p, uint8_t c, bool empty)
{
	bool object = p->depth > 0 && p->open[p->depth - 1] == '{';
	enum nj_err e;

	if (c == '{' || c == '[') {
		if (p->depth == sizeof p->open)
			return NJ_TOOBIG;
		p->open[p->depth++] = c;
		if ((e = buf_put_u8(p->b, c)) || c == '[' || empty)
			return e;
		return new_line(p);
	}
	if (c == '}' || c == ']') {
		if (p->depth > 0)
			p->depth--;
		if (c == '}' && !empty && (e = new_line(p)))
			return e;
		return buf_put_u8(p->b, c);
	}
	if ((e = buf_put_u8(p->b, c)))
		return e;
	if (c == ':')
		return buf_put_u8(p->b, '\t');
	if (c == ',')
		return object ? new_line(p) : buf_put_u8(p->b, ' ');
	return NJ_OK;
}

enum nj_err
json_put_pretty(struct buf *b, struct slice in)
{
	struct pretty p = { .b = b };
	bool quoted = false;
	enum nj_err e;

	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		uint8_t next = i + 1 < in.n ? in.p[i + 1] : 0;
		uint8_t last = i > 0 ? in.p[i - 1] : 0;

		if (quoted && c == '\\' && i + 1 < in.n) {
			if ((e = buf_put(b, in.p + i, 2)))
				return e;
			i++;
			continue;
		}
		if (c == '"')
			quoted = !quoted;
		if (quoted || c == '"')
			e = buf_put_u8(b, c);
		else
			e = pretty_byte(&p, c,
			    (c == '{' && next == '}') ||
				(c == '}' && last == '{'));
		if (e)
			return e;
	}
	return NJ_OK;
}
