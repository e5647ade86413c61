/* SPDX-License-Identifier: Apache-2.0
 * http - see http.h.
 */
#include "wire/http.h"

#include <stdbool.h>
#include <string.h>

#include "wire/httptext.h"

/* What was seen of each field that matters. */
struct fields {
	struct slice host, key, version, origin, length, upgrade;
	struct slice coding; /* Transfer-Encoding */
	bool connection;     /* Connection names upgrade */
	bool mqtt, mqtt31;   /* Sec-WebSocket-Protocol */
};

static enum nj_err
refuse(struct http_upgrade *u, unsigned status, const char *why)
{
	u->status = status;
	u->why = why;
	return NJ_PROTOCOL;
}

/* -- the head as a whole -------------------------------------------------- */

/* NJ_OK: *len is where the empty line ends. */
static enum nj_err
find_end(struct slice in, size_t max, size_t *len, struct http_upgrade *u)
{
	size_t end = in.n < max ? in.n : max, line = 0;

	if (in.n > 0 && !http_is_letter(in.p[0]))
		return refuse(u, 0, "not an HTTP request");
	for (unsigned lines = 0; line < end; lines++) {
		const uint8_t *lf = memchr(in.p + line, '\n', end - line);
		size_t at;

		if (!lf)
			break;
		at = (size_t)(lf - in.p);
		if (at == line || in.p[at - 1] != '\r')
			return refuse(u, 400, "a line does not end in CRLF");
		if (at == line + 1) {
			*len = at + 1;
			return NJ_OK;
		}
		if (lines > HTTP_FIELDS_MAX) /* and the request's own */
			return refuse(u, 431, "more than 64 header fields");
		line = at + 1;
	}
	if (in.n >= max)
		return refuse(u, 431,
		    "the head of the request is longer than "
		    "websockets_headers_size");
	return NJ_AGAIN;
}

/* "GET /mqtt HTTP/1.1" */
static enum nj_err
request_line(struct slice line, struct http_upgrade *u)
{
	struct slice method;

	if (!http_cut(&line, ' ', &method) || !http_is_token(method) ||
	    !http_cut(&line, ' ', &u->target) || u->target.n == 0 ||
	    !http_is_text(u->target) || !slice_has_prefix(line, LIT("HTTP/")))
		return refuse(u, 400, "the first line is no HTTP request");
	if (!slice_is(line, "HTTP/1.1"))
		return refuse(u, 505, "the request is not HTTP/1.1");
	if (!slice_is(method, "GET"))
		return refuse(u, 405, "the method is not GET");
	if (u->target.p[0] != '/' &&
	    !slice_has_prefix(u->target, LIT("http://")) &&
	    !slice_has_prefix(u->target, LIT("https://")))
		return refuse(u, 400, "the target of the request is no path");
	return NJ_OK;
}

/* -- fields --------------------------------------------------------------- */

static bool
list_has(struct slice list, const char *word)
{
	struct slice one;

	while (http_cut(&list, ',', &one))
		if (http_is_word(http_trim(one), word))
			return true;
	return http_is_word(http_trim(list), word);
}

/* Subprotocols are told apart by their case. */
static bool
offers(struct slice list, const char *name)
{
	struct slice one;

	while (http_cut(&list, ',', &one))
		if (slice_is(http_trim(one), name))
			return true;
	return slice_is(http_trim(list), name);
}

/* A field that may stand once. */
static bool
once(struct slice *at, struct slice value)
{
	if (at->p)
		return false;
	*at = value;
	return true;
}

static bool
keep_field(struct fields *f, struct slice name, struct slice value)
{
	if (http_is_word(name, "host"))
		return once(&f->host, value);
	if (http_is_word(name, "origin"))
		return once(&f->origin, value);
	if (http_is_word(name, "content-length"))
		return once(&f->length, value);
	if (http_is_word(name, "transfer-encoding"))
		return once(&f->coding, value);
	if (http_is_word(name, "sec-websocket-key"))
		return once(&f->key, value);
	if (http_is_word(name, "sec-websocket-version"))
		return once(&f->version, value);
	if (http_is_word(name, "upgrade"))
		return once(&f->upgrade, value);
	if (http_is_word(name, "connection")) {
		f->connection |= list_has(value, "upgrade");
	} else if (http_is_word(name, "sec-websocket-protocol")) {
		f->mqtt |= offers(value, "mqtt");
		f->mqtt31 |= offers(value, "mqttv3.1");
	}
	return true;
}

/* The line without its CRLF. */
static enum nj_err
take_field(struct slice line, struct fields *f, struct http_upgrade *u)
{
	struct slice name;

	if (http_is_blank(line.p[0]))
		return refuse(u, 400, "a header field is folded");
	if (!http_cut(&line, ':', &name) || !http_is_token(name))
		return refuse(u, 400, "a line is no header field");
	if (!http_is_text(line))
		return refuse(u, 400, "a header field has control characters");
	if (!keep_field(f, name, http_trim(line)))
		return refuse(
		    u, 400, "a header field that may stand once stands twice");
	return NJ_OK;
}

/* A host and port, or nothing; two of them in one field are none. */
static bool
is_host(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (!http_is_letter(c) && !http_is_digit(c) &&
		    (c == 0 || !strchr("-._~%!$&'()*+;=:[]", c)))
			return false;
	}
	return true;
}

/* -- what they mean together ---------------------------------------------- */

/* 16 bytes in base64. */
static bool
is_key(struct slice s)
{
	if (s.n != HTTP_KEY_LEN || s.p[22] != '=' || s.p[23] != '=')
		return false;
	for (size_t i = 0; i < 22; i++)
		if (!http_is_letter(s.p[i]) && !http_is_digit(s.p[i]) &&
		    s.p[i] != '+' && s.p[i] != '/')
			return false;
	return true;
}

static enum nj_err
check_fields(const struct fields *f, struct http_upgrade *u)
{
	if (f->coding.p || (f->length.p && !slice_is(f->length, "0")))
		return refuse(u, 400, "the request has a body");
	if (!f->host.p)
		return refuse(u, 400, "the request has no Host");
	if (!is_host(f->host))
		return refuse(u, 400, "Host is no name or address");
	if (!list_has(f->upgrade, "websocket") || !f->connection)
		return refuse(u, 426, "HTTP request without WebSocket upgrade");
	if (!f->version.p)
		return refuse(
		    u, 400, "the request has no Sec-WebSocket-Version");
	if (!slice_is(f->version, "13"))
		return refuse(u, 426, "the WebSocket version is not 13");
	if (!is_key(f->key))
		return refuse(
		    u, 400, "the request has no good Sec-WebSocket-Key");
	if (!f->mqtt && !f->mqtt31) /* [MQTT-6.0.0-3] */
		return refuse(u, 400,
		    "the client does not offer the WebSocket subprotocol "
		    "mqtt");
	u->host = f->host;
	u->origin = f->origin;
	u->key = f->key;
	u->protocol = f->mqtt ? "mqtt" : "mqttv3.1"; /* [MQTT-6.0.0-4] */
	return NJ_OK;
}

enum nj_err
http_take_upgrade(struct slice *in, size_t max, struct http_upgrade *out)
{
	struct fields f = { 0 };
	struct slice head, line;
	size_t len = 0;
	enum nj_err e;

	*out = (struct http_upgrade){ 0 };
	if ((e = find_end(*in, max, &len, out)))
		return e;
	head = slice_of(in->p, len - 2);
	for (bool first = true; http_cut(&head, '\n', &line); first = false) {
		line.n--; /* the CR */
		if (memchr(line.p, '\r', line.n))
			return refuse(out, 400, "a CR stands alone");
		e = first ? request_line(line, out) : take_field(line, &f, out);
		if (e)
			return e;
	}
	if ((e = check_fields(&f, out)))
		return e;
	*in = slice_of(in->p + len, in->n - len);
	return NJ_OK;
}

/* -- the answer, for clients ---------------------------------------------- */

/* What was seen of each field of an answer that matters. */
struct answer_fields {
	struct slice accept, protocol;
	bool upgrade, connection, extension;
};

static enum nj_err
bad_answer(struct http_answer *out, const char *why)
{
	out->why = why;
	return NJ_PROTOCOL;
}

/* "HTTP/1.1 101 Switching Protocols" */
static enum nj_err
status_line(struct slice line, struct http_answer *out)
{
	struct slice version, code;

	if (!slice_has_prefix(line, LIT("HTTP/1.")) ||
	    !http_cut(&line, ' ', &version))
		return bad_answer(out, "the answer is not HTTP/1.1");
	if (!http_cut(&line, ' ', &code))
		code = line;
	if (code.n != 3 || !http_is_digit(code.p[0]) ||
	    !http_is_digit(code.p[1]) || !http_is_digit(code.p[2]))
		return bad_answer(out, "the answer has no status");
	out->status = (code.p[0] - '0') * 100u + (code.p[1] - '0') * 10u +
	    (code.p[2] - '0');
	if (out->status != 101)
		return bad_answer(out, "the server does not agree");
	if (!slice_is(version, "HTTP/1.1"))
		return bad_answer(out, "the answer is not HTTP/1.1");
	return NJ_OK;
}

static enum nj_err
take_answer_field(
    struct slice line, struct answer_fields *f, struct http_answer *out)
{
	struct slice name;
	bool good = true;

	if (http_is_blank(line.p[0]) || !http_cut(&line, ':', &name) ||
	    !http_is_token(name) || !http_is_text(line))
		return bad_answer(out, "a line of the answer is no field");
	line = http_trim(line);
	if (http_is_word(name, "upgrade"))
		f->upgrade |= http_is_word(line, "websocket");
	else if (http_is_word(name, "connection"))
		f->connection |= list_has(line, "upgrade");
	else if (http_is_word(name, "sec-websocket-accept"))
		good = once(&f->accept, line);
	else if (http_is_word(name, "sec-websocket-protocol"))
		good = once(&f->protocol, line);
	else if (http_is_word(name, "sec-websocket-extensions"))
		f->extension |= line.n > 0;
	return good ? NJ_OK
		    : bad_answer(out, "a field that may stand once is twice");
}

/* RFC 6455 4.1: what the client must verify. */
static enum nj_err
check_answer(
    const struct answer_fields *f, const char *accept, struct http_answer *out)
{
	if (!f->upgrade || !f->connection)
		return bad_answer(out, "the answer does not upgrade");
	if (!slice_is(f->accept, accept))
		return bad_answer(
		    out, "the answer proves no knowledge of our key");
	if (f->extension)
		return bad_answer(
		    out, "the answer has an extension nobody asked for");
	if (!slice_is(f->protocol, "mqtt")) /* [MQTT-6.0.0-3] */
		return bad_answer(
		    out, "the server does not choose the subprotocol mqtt");
	return NJ_OK;
}

enum nj_err
http_take_answer(struct slice *in, const char *accept, struct http_answer *out)
{
	struct answer_fields f = { 0 };
	struct http_upgrade head_fault = { 0 };
	struct slice head, line;
	size_t len = 0;
	unsigned fields = 0;
	enum nj_err e;

	*out = (struct http_answer){ 0 };
	if ((e = find_end(*in, HTTP_HEAD_MAX, &len, &head_fault)) == NJ_AGAIN)
		return e;
	if (e)
		return bad_answer(out, "the answer is no HTTP");
	head = slice_of(in->p, len - 2);
	for (bool first = true; http_cut(&head, '\n', &line); first = false) {
		line.n--; /* the CR */
		if (memchr(line.p, '\r', line.n) ||
		    (!first && ++fields > HTTP_FIELDS_MAX))
			return bad_answer(out, "the answer is no HTTP");
		e = first ? status_line(line, out)
			  : take_answer_field(line, &f, out);
		if (e)
			return e;
	}
	if ((e = check_answer(&f, accept, out)))
		return e;
	*in = slice_of(in->p + len, in->n - len);
	return NJ_OK;
}

const char *
http_phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase;
	} v[] = {
		{ 200, "OK" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 411, "Length Required" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 417, "Expectation Failed" },
		{ 426, "Upgrade Required" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};

	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		if (v[i].status == status)
			return v[i].phrase;
	return "Internal Server Error";
}
