/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/format.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cmd/json.h"
#include "wire/props.h"

#define FORMAT_DIGITS_MAX 350 /* behind the point of a float */
#define FORMAT_FLOAT_MAX  700
#define NAMES_COMPARED	  64 /* of user properties */

struct spec {
	bool left, zero;
	size_t width, most; /* most: SIZE_MAX without a precision */
	char gap;	    /* between groups of hexadecimal digits */
	char letter;
};

struct job {
	struct buf *out;
	const struct publish *p;
	const struct timespec *now;
	bool pretty;
	struct nj_why *why;
};

typedef enum nj_err letter_fn(const struct job *j, const struct spec *s);

static enum nj_err
put_pad(struct buf *b, size_t have, size_t width, char c)
{
	enum nj_err e = NJ_OK;

	for (; !e && have < width; have++)
		e = buf_put_u8(b, (uint8_t)c);
	return e;
}

/* Text in its field; zeros pad only on the left, and only what may be. */
static enum nj_err
put_field(struct buf *b, const struct spec *s, struct slice text, bool zero_ok)
{
	char pad = s->zero && zero_ok && !s->left ? '0' : ' ';
	enum nj_err e;

	if (text.n > s->most)
		text.n = s->most;
	if (!s->left && (e = put_pad(b, text.n, s->width, pad)))
		return e;
	if ((e = buf_put_slice(b, text)))
		return e;
	return s->left ? put_pad(b, text.n, s->width, pad) : NJ_OK;
}

static enum nj_err
put_number(const struct job *j, const struct spec *s, bool there, uint32_t v)
{
	struct spec whole = *s;
	char text[16];

	(void)snprintf(text, sizeof text, "%u", v);
	whole.most = SIZE_MAX;
	return put_field(j->out, &whole, slice_str(there ? text : ""), true);
}

static enum nj_err
put_prop(const struct job *j, const struct spec *s, enum mqtt_prop id,
    struct slice v)
{
	return put_field(
	    j->out, s, props_has(&j->p->props, id) ? v : SLICE_NONE, false);
}

/* One character of strftime. */
static enum nj_err
put_time(const struct job *j, const char *fmt)
{
	char text[256];
	struct tm tm;
	size_t n;

	if (!localtime_r(&j->now->tv_sec, &tm))
		return NJ_INVALID;
	n = strftime(text, sizeof text, fmt, &tm);
	return buf_put(j->out, text, n);
}

static enum nj_err
f_percent(const struct job *j, const struct spec *s)
{
	return buf_put_u8(j->out, '%');
}

static enum nj_err
f_alias(const struct job *j, const struct spec *s)
{
	return put_number(j, s, props_has(&j->p->props, PROP_TOPIC_ALIAS),
	    j->p->props.topic_alias);
}

static enum nj_err
f_content_type(const struct job *j, const struct spec *s)
{
	return put_prop(j, s, PROP_CONTENT_TYPE, j->p->props.content_type);
}

static enum nj_err
f_correlation(const struct job *j, const struct spec *s)
{
	static const struct spec plain = { .most = SIZE_MAX };

	return put_prop(
	    j, &plain, PROP_CORRELATION_DATA, j->p->props.correlation_data);
}

static enum nj_err
f_expiry(const struct job *j, const struct spec *s)
{
	return put_number(j, s, props_has(&j->p->props, PROP_MESSAGE_EXPIRY),
	    j->p->props.message_expiry);
}

static enum nj_err
f_payload_format(const struct job *j, const struct spec *s)
{
	return put_number(j, s, props_has(&j->p->props, PROP_PAYLOAD_FORMAT),
	    j->p->props.payload_format);
}

static enum nj_err
f_iso_time(const struct job *j, const struct spec *s)
{
	return put_time(j, "%Y-%m-%dT%H:%M:%S%z");
}

static enum nj_err
f_length(const struct job *j, const struct spec *s)
{
	return put_number(j, s, true, (uint32_t)j->p->payload.n);
}

static enum nj_err
f_id(const struct job *j, const struct spec *s)
{
	return put_number(j, s, true, j->p->id);
}

static enum nj_err
f_user_properties(const struct job *j, const struct spec *s)
{
	struct slice at = j->p->props.raw, name, value;
	const char *gap = "";
	enum nj_err e = NJ_OK;

	while (!e && props_next_user(&at, &name, &value) == NJ_OK) {
		e = buf_printf(j->out, "%s%.*s:%.*s", gap, (int)name.n,
		    (const char *)name.p, (int)value.n, (const char *)value.p);
		gap = " ";
	}
	return e;
}

/* A width is the most of it, too; a precision is nothing to it. */
static struct slice
payload_of(const struct job *j, const struct spec *s)
{
	struct slice v = j->p->payload;

	return slice_of(v.p, s->width > 0 && v.n > s->width ? s->width : v.n);
}

static enum nj_err
f_payload(const struct job *j, const struct spec *s)
{
	struct spec whole = *s;

	whole.most = SIZE_MAX;
	return put_field(j->out, &whole, payload_of(j, s), true);
}

/* IEEE 754, as the machine that sent it has it; bytes of a double or a
 * float. */
static enum nj_err
f_float(const struct job *j, const struct spec *s)
{
	struct spec whole = *s;
	struct slice v = j->p->payload;
	char text[FORMAT_FLOAT_MAX];
	double d = 0;
	float f = 0;

	if (v.n != (s->letter == 'f' ? sizeof f : sizeof d)) {
		why_set(j->why,
		    "requested %s printing, but the payload has "
		    "%zu bytes",
		    s->letter == 'f' ? "float" : "double", v.n);
		return NJ_OK; /* the rest of the line is printed */
	}
	if (s->letter == 'f') {
		memcpy(&f, v.p, sizeof f);
		d = (double)f;
	} else {
		memcpy(&d, v.p, sizeof d);
	}
	(void)snprintf(text, sizeof text, "%.*f",
	    s->most == SIZE_MAX		      ? 6
		: s->most > FORMAT_DIGITS_MAX ? FORMAT_DIGITS_MAX
					      : (int)s->most,
	    d);
	whole.most = SIZE_MAX;
	return put_field(j->out, &whole, slice_str(text), true);
}

static enum nj_err
f_qos(const struct job *j, const struct spec *s)
{
	return buf_printf(j->out, "%u", j->p->qos);
}

static enum nj_err
f_response_topic(const struct job *j, const struct spec *s)
{
	/* mosquitto_sub gives no field to one that is not there. */
	if (!props_has(&j->p->props, PROP_RESPONSE_TOPIC))
		return NJ_OK;
	return put_field(j->out, s, j->p->props.response_topic, false);
}

static enum nj_err
f_retain(const struct job *j, const struct spec *s)
{
	return buf_printf(j->out, "%d", j->p->retain);
}

static enum nj_err
f_subscription_id(const struct job *j, const struct spec *s)
{
	return put_number(j, s, props_has(&j->p->props, PROP_SUBSCRIPTION_ID),
	    j->p->props.subscription_id);
}

static enum nj_err
f_topic(const struct job *j, const struct spec *s)
{
	return put_field(j->out, s, j->p->topic, false);
}

static enum nj_err
f_unix_time(const struct job *j, const struct spec *s)
{
	return buf_printf(
	    j->out, "%lld.%09ld", (long long)j->now->tv_sec, j->now->tv_nsec);
}

/* With a precision, in groups of so many digits. */
static enum nj_err
put_digits(const struct job *j, const struct spec *s, struct slice v)
{
	const char *set =
	    s->letter == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
	size_t group = s->most == SIZE_MAX ? 0 : s->most;
	enum nj_err e = NJ_OK;

	for (size_t i = 0; !e && i < 2 * v.n; i++) {
		uint8_t c = v.p[i / 2];

		e = buf_put_u8(
		    j->out, (uint8_t)set[i % 2 == 0 ? c >> 4 : c & 15]);
		if (!e && group > 0 && i % group == group - 1 &&
		    i + 1 < 2 * v.n)
			e = buf_put_u8(j->out, (uint8_t)s->gap);
	}
	return e;
}

static enum nj_err
f_hex(const struct job *j, const struct spec *s)
{
	char pad = s->zero && !s->left ? '0' : ' ';
	struct slice v = payload_of(j, s);
	enum nj_err e = NJ_OK;

	if (!s->left)
		e = put_pad(j->out, 2 * v.n, s->width, pad);
	if (!e)
		e = put_digits(j, s, v);
	return !e && s->left ? put_pad(j->out, 2 * v.n, s->width, ' ') : e;
}

/* A member of an object, with the comma before it. */
static enum nj_err
json_member(struct buf *b, bool *any, const char *name)
{
	enum nj_err e = buf_printf(b, "%s\"%s\":", *any ? "," : "", name);

	*any = true;
	return e;
}

static enum nj_err
json_text(
    struct buf *b, bool *any, const char *name, bool there, struct slice v)
{
	enum nj_err e;

	if (!there)
		return NJ_OK;
	if ((e = json_member(b, any, name)))
		return e;
	return json_put_str(b, v);
}

static enum nj_err
json_number(struct buf *b, bool *any, const char *name, bool there, uint32_t v)
{
	enum nj_err e;

	if (!there)
		return NJ_OK;
	if ((e = json_member(b, any, name)))
		return e;
	return buf_printf(b, "%u", v);
}

/* Whether a name is there twice, or there are too many to compare. */
static bool
names_repeat(const struct props *p)
{
	struct slice at = p->raw, names[NAMES_COMPARED], name, value;

	for (unsigned n = 0; props_next_user(&at, &name, &value) == NJ_OK;) {
		for (unsigned i = 0; i < n; i++)
			if (slice_eq(names[i], name))
				return true;
		if (n == NAMES_COMPARED)
			return true;
		names[n++] = name;
	}
	return false;
}

/*
 * Members of one object, as Mosquitto 2.0 writes them; where that would give
 * the object two members of one name, of which its readers keep one, an array
 * of objects, as Mosquitto 2.1 does it.
 */
static enum nj_err
json_users(struct buf *b, bool *any, const struct props *p)
{
	struct slice at = p->raw, name, value;
	bool more = false, array;
	enum nj_err e;

	if (!props_has(p, PROP_USER))
		return NJ_OK;
	array = names_repeat(p);
	if ((e = json_member(b, any, "user-properties")) ||
	    (e = buf_printf(b, "%s", array ? "[{" : "{")))
		return e;
	while (props_next_user(&at, &name, &value) == NJ_OK) {
		if ((more && (e = buf_printf(b, "%s", array ? "},{" : ","))) ||
		    (e = json_put_str(b, name)) || (e = buf_put_u8(b, ':')) ||
		    (e = json_put_str(b, value)))
			return e;
		more = true;
	}
	return buf_printf(b, "%s", array ? "}]" : "}");
}

static enum nj_err
json_props(struct buf *b, const struct props *p)
{
	bool any = false;
	enum nj_err e;

	if (p->seen == 0)
		return NJ_OK;
	if ((e = buf_printf(b, ",\"properties\":{")) ||
	    (e = json_number(b, &any, "subscription-identifier",
		 props_has(p, PROP_SUBSCRIPTION_ID), p->subscription_id)) ||
	    (e = json_number(b, &any, "topic-alias",
		 props_has(p, PROP_TOPIC_ALIAS), p->topic_alias)) ||
	    (e = json_text(b, &any, "content-type",
		 props_has(p, PROP_CONTENT_TYPE), p->content_type)) ||
	    (e = json_text(b, &any, "response-topic",
		 props_has(p, PROP_RESPONSE_TOPIC), p->response_topic)) ||
	    (e = json_text(b, &any, "correlation-data",
		 props_has(p, PROP_CORRELATION_DATA), p->correlation_data)) ||
	    (e = json_number(b, &any, "payload-format-indicator",
		 props_has(p, PROP_PAYLOAD_FORMAT), p->payload_format)) ||
	    (e = json_users(b, &any, p)) ||
	    (e = json_number(b, &any, "message-expiry-interval",
		 props_has(p, PROP_MESSAGE_EXPIRY), p->message_expiry)))
		return e;
	return buf_put_u8(b, '}');
}

static enum nj_err
json_head(const struct job *j, struct buf *b)
{
	const struct publish *p = j->p;
	struct job time_job = *j;
	enum nj_err e;

	time_job.out = b;
	if ((e = buf_printf(b, "{\"tst\":\"")) ||
	    (e = put_time(&time_job, "%Y-%m-%dT%H:%M:%S")) ||
	    (e = buf_printf(b, ".%06ld", j->now->tv_nsec / 1000)) ||
	    (e = put_time(&time_job, "%z\",\"topic\":")) ||
	    (e = json_put_str(b, p->topic)) ||
	    (e = buf_printf(b, ",\"qos\":%u,\"retain\":%d,\"payloadlen\":%zu",
		 p->qos, p->retain, p->payload.n)))
		return e;
	if (p->qos > 0 && (e = buf_printf(b, ",\"mid\":%u", p->id)))
		return e;
	return json_props(b, &p->props);
}

static enum nj_err
json_payload(const struct job *j, struct buf *b, bool quoted)
{
	struct slice v = j->p->payload;
	char esc[TEXT_ESC];
	enum nj_err e;

	if ((e = buf_printf(b, ",\"payload\":")))
		return e;
	if (v.n == 0)
		return buf_printf(b, "null}");
	e = quoted ? json_put_str(b, v) : json_put_value(b, v);
	if (e == NJ_MALFORMED || e == NJ_TOOBIG) {
		why_set(j->why, "message payload is not valid JSON on topic %s",
		    text_esc(esc, sizeof esc, j->p->topic));
		return NJ_MALFORMED;
	}
	return e ? e : buf_put_u8(b, '}');
}

static enum nj_err
f_json(const struct job *j, const struct spec *s)
{
	struct buf b = { 0 };
	enum nj_err e;

	if ((e = json_head(j, &b)) ||
	    (e = json_payload(j, &b, s->letter == 'j')))
		goto out;
	e = j->pretty ? json_put_pretty(j->out, buf_slice(&b))
		      : buf_put_slice(j->out, buf_slice(&b));
out:
	buf_fini(&b);
	return e;
}

static letter_fn *const letters[128] = {
	['%'] = f_percent,
	['A'] = f_alias,
	['C'] = f_content_type,
	['D'] = f_correlation,
	['E'] = f_expiry,
	['F'] = f_payload_format,
	['I'] = f_iso_time,
	['J'] = f_json,
	['P'] = f_user_properties,
	['R'] = f_response_topic,
	['S'] = f_subscription_id,
	['U'] = f_unix_time,
	['X'] = f_hex,
	['d'] = f_float,
	['f'] = f_float,
	['j'] = f_json,
	['l'] = f_length,
	['m'] = f_id,
	['p'] = f_payload,
	['q'] = f_qos,
	['r'] = f_retain,
	['t'] = f_topic,
	['x'] = f_hex,
};

/* Digits at *at; false when there are too many. */
static bool
take_width(const char **at, size_t *out)
{
	size_t v = 0;

	for (; **at >= '0' && **at <= '9'; ++*at) {
		v = 10 * v + (size_t)(**at - '0');
		if (v > FORMAT_WIDTH_MAX)
			return false;
	}
	*out = v;
	return true;
}

/* Behind the %: flags, width, precision, letter; NULL when it is none. */
static const char *
take_spec(const char *at, struct spec *s, struct nj_why *why)
{
	*s = (struct spec){ .most = SIZE_MAX, .gap = ' ' };
	for (; *at == '-' || *at == '0'; at++) {
		s->left |= *at == '-';
		s->zero |= *at == '0';
	}
	if (!take_width(&at, &s->width) ||
	    (*at == '.' && (at++, !take_width(&at, &s->most)))) {
		why_set(why, "a field width is above %d", FORMAT_WIDTH_MAX);
		return NULL;
	}
	if (*at && strchr("!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", *at))
		s->gap = *at++;
	if (*at == '\0') {
		why_set(why, "incomplete format specifier");
		return NULL;
	}
	s->letter = *at;
	if ((unsigned char)*at > 127 || !letters[(unsigned char)*at]) {
		char esc[TEXT_ESC];

		why_set(why, "invalid format specifier '%s'",
		    text_esc(esc, sizeof esc, slice_of(at, 1)));
		why_mend(why, "a plain %% is written %%%%");
		return NULL;
	}
	return at + 1;
}

/* The byte that \c stands for; -1: none. */
static int
escaped(char c)
{
	static const char code[] = "\\0aenrtv", byte[] = "\\\0\a\033\n\r\t\v";
	const char *at = c ? strchr(code, c) : NULL;

	return at ? (unsigned char)byte[at - code] : -1;
}

/* Behind the @. */
static enum nj_err
put_at(const struct job *j, char c)
{
	char fmt[3] = { '%', c, '\0' };

	if (c == '@')
		return buf_put_u8(j->out, '@');
	if (c == 'N')
		return buf_printf(j->out, "%09ld", j->now->tv_nsec);
	return put_time(j, fmt);
}

/* One piece of the format at *at, which is not at its end; a NULL job only
 * checks. */
static enum nj_err
step(const struct job *j, const char **at, struct nj_why *why)
{
	char c = *(*at)++;
	struct spec s;

	if (c == '%') {
		if (!(*at = take_spec(*at, &s, why)))
			return NJ_INVALID;
		return j ? letters[(unsigned char)s.letter](j, &s) : NJ_OK;
	}
	if (c != '@' && c != '\\')
		return j ? buf_put_u8(j->out, (uint8_t)c) : NJ_OK;
	if (**at == '\0') {
		why_set(why,
		    c == '@' ? "incomplete format specifier"
			     : "incomplete escape specifier");
		return NJ_INVALID;
	}
	if (c == '@')
		return j ? put_at(j, *(*at)++) : (++*at, NJ_OK);
	if (escaped(**at) < 0) {
		char esc[TEXT_ESC];

		why_set(why, "invalid escape specifier '%s'",
		    text_esc(esc, sizeof esc, slice_of(*at, 1)));
		why_mend(why, "a plain \\ is written \\\\");
		return NJ_INVALID;
	}
	c = *(*at)++;
	return j ? buf_put_u8(j->out, (uint8_t)escaped(c)) : NJ_OK;
}

enum nj_err
format_check(const char *fmt, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	while (!e && *fmt)
		e = step(NULL, &fmt, why);
	return e;
}

enum nj_err
format_message(struct buf *out, const char *fmt, const struct publish *p,
    const struct timespec *now, bool pretty, struct nj_why *why)
{
	struct job j = { out, p, now, pretty, why };
	enum nj_err e = NJ_OK;

	while (!e && *fmt)
		e = step(&j, &fmt, why);
	return e;
}
