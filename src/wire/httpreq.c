/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/httpreq.h"

#include <string.h>

#include "wire/httptext.h"

/* -- heads ------------------------------------------------------------------ */

enum head { HEAD_WHOLE, HEAD_MORE, HEAD_LONG, HEAD_BAD };

/* HEAD_WHOLE: *len is where the empty line ends. */
static enum head
find_end(struct slice in, size_t max, size_t *len)
{
	size_t end = in.n < max ? in.n : max, line = 0;

	for (unsigned lines = 0; line < end; lines++) {
		const uint8_t *lf = memchr(in.p + line, '\n', end - line);
		size_t at;

		if (!lf)
			break;
		at = (size_t)(lf - in.p);
		if (at == line || in.p[at - 1] != '\r' ||
		    memchr(in.p + line, '\r', at - 1 - line))
			return HEAD_BAD;
		if (at == line + 1) {
			*len = at + 1;
			return HEAD_WHOLE;
		}
		if (lines > HTTPREQ_FIELDS_MAX) /* and the first line */
			return HEAD_LONG;
		line = at + 1;
	}
	return in.n >= max ? HEAD_LONG : HEAD_MORE;
}

/* "name: value" without its line end. */
static bool
split(struct slice line, struct slice *name, struct slice *value)
{
	if (line.n == 0 || http_is_blank(line.p[0]) ||
	    !http_cut(&line, ':', name) || !http_is_token(*name) ||
	    !http_is_text(line))
		return false;
	*value = http_trim(line);
	return true;
}

/* One number, no sign, no list. */
static bool
number(struct slice s, size_t *out)
{
	uint64_t v = 0; /* where a size_t has 32 bits, too */

	if (s.n == 0 || s.n > 10)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (s.p[i] - '0');
	}
	*out = (size_t)v;
	return v <= HTTPREQ_LENGTH_MAX;
}

/* -- requests --------------------------------------------------------------- */

static enum nj_err
refuse(struct http_request *r, unsigned status, const char *why)
{
	r->status = status;
	r->why = why;
	return NJ_PROTOCOL;
}

static enum nj_err
request_line(struct slice line, struct http_request *r)
{
	if (!http_cut(&line, ' ', &r->method) || !http_is_token(r->method) ||
	    !http_cut(&line, ' ', &r->target) || r->target.n == 0 ||
	    !http_is_text(r->target) || r->target.p[0] != '/' ||
	    !slice_has_prefix(line, LIT("HTTP/")))
		return refuse(r, 400, "the first line is no HTTP request");
	if (!slice_is(line, "HTTP/1.1"))
		return refuse(r, 505, "the request is not HTTP/1.1");
	return NJ_OK;
}

static bool
once(struct slice *at, struct slice value)
{
	if (at->p)
		return false;
	*at = value;
	return true;
}

static enum nj_err
request_field(struct slice line, struct http_request *r)
{
	struct slice name, value;
	bool good = true;

	if (!split(line, &name, &value))
		return refuse(r, 400, "a line is no header field");
	if (http_is_word(name, "host")) {
		good = once(&r->host, value);
	} else if (http_is_word(name, "authorization")) {
		good = once(&r->authorization, value);
	} else if (http_is_word(name, "content-type")) {
		good = once(&r->type, value);
	} else if (http_is_word(name, "expect")) {
		r->expects |= http_is_word(value, "100-continue");
	} else if (http_is_word(name, "transfer-encoding")) {
		return refuse(r, 411, "a body needs Content-Length");
	} else if (http_is_word(name, "content-length")) {
		good = !r->has_length && number(value, &r->length);
		r->has_length = true;
	}
	return good ? NJ_OK
		    : refuse(r, 400,
			  "a header field stands twice or has no good value");
}

enum nj_err
http_take_request(struct slice *in, size_t max, struct http_request *out)
{
	struct http_request r = { 0 };
	struct slice head, line;
	size_t len = 0;
	enum nj_err e = NJ_OK;

	*out = r;
	if (in->n > 0 && !http_is_letter(in->p[0]))
		return refuse(out, 0, "not an HTTP request");
	switch (find_end(*in, max, &len)) {
	case HEAD_MORE:
		return NJ_AGAIN;
	case HEAD_LONG:
		return refuse(out, 431, "the head of the request is too long");
	case HEAD_BAD:
		return refuse(out, 400, "a line does not end in CRLF");
	case HEAD_WHOLE:
		break;
	}
	head = slice_of(in->p, len - 2);
	for (bool first = true; !e && http_cut(&head, '\n', &line);
	     first = false) {
		line.n--; /* the CR */
		e = first ? request_line(line, &r) : request_field(line, &r);
	}
	if (!e && !r.host.p)
		e = refuse(&r, 400, "the request has no Host");
	*out = r;
	if (!e)
		*in = slice_of(in->p + len, in->n - len);
	return e;
}

/* -- answers ---------------------------------------------------------------- */

static bool
status_line(struct slice line, struct http_response *r)
{
	struct slice version, code;
	size_t n = 0;

	if (!http_cut(&line, ' ', &version) ||
	    !slice_has_prefix(version, LIT("HTTP/1.")))
		return false;
	if (!http_cut(&line, ' ', &code))
		code = line;
	if (code.n != 3 || !number(code, &n) || n < 100)
		return false;
	r->status = (unsigned)n;
	return true;
}

static bool
response_field(struct slice line, struct http_response *r)
{
	struct slice name, value;
	size_t n = 0;

	if (!split(line, &name, &value))
		return false;
	if (http_is_word(name, "content-length")) {
		if (r->has_length || !number(value, &r->length))
			return false;
		r->has_length = true;
	} else if (http_is_word(name, "retry-after") && number(value, &n)) {
		r->retry_after = (unsigned)n;
	} else if (http_is_word(name, "transfer-encoding")) {
		return false; /* our own servers send none */
	}
	return true;
}

enum nj_err
http_take_response(struct slice *in, size_t max, struct http_response *out)
{
	struct http_response r = { 0 };
	struct slice head, line;
	size_t len = 0;
	enum head h = find_end(*in, max, &len);

	if (h != HEAD_WHOLE)
		return h == HEAD_MORE ? NJ_AGAIN : NJ_PROTOCOL;
	head = slice_of(in->p, len - 2);
	for (bool first = true; http_cut(&head, '\n', &line); first = false) {
		line.n--;
		if (!(first ? status_line(line, &r) : response_field(line, &r)))
			return NJ_PROTOCOL;
	}
	if (r.status == 0) /* an empty line before it */
		return NJ_PROTOCOL;
	*in = slice_of(in->p + len, in->n - len);
	*out = r;
	return NJ_OK;
}

bool
http_credentials(
    struct slice authorization, const char *scheme, struct slice *out)
{
	struct slice word = SLICE_NONE;

	if (!http_cut(&authorization, ' ', &word) ||
	    !http_is_word(word, scheme))
		return false;
	*out = http_trim(authorization);
	return out->n > 0;
}
