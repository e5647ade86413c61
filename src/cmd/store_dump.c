/* SPDX-License-Identifier: Apache-2.0
 *
 * nightjar store dump: every row as a line, for people or for scripts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd/store.h"
#include "core/delivery.h"
#include "core/index.h"
#include "store/store.h"
#include "wire/props.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct dump {
	struct buf line;
	bool json, no_payload;
	struct nj_why *why;
};

static const struct {
	const char *name, *word;
	enum view_kind kind;
} kinds[] = {
	{ "sessions", "session", VIEW_SESSION },
	{ "subscriptions", "subscription", VIEW_SUB },
	{ "received", "received", VIEW_RECEIVED },
	{ "inflight", "inflight", VIEW_INFLIGHT },
	{ "queued", "queued", VIEW_QUEUED },
	{ "retained", "retained", VIEW_RETAINED },
	{ "wills", "will", VIEW_WILL },
};

static const char *
word_of(enum view_kind k)
{
	for (size_t i = 0; i < COUNT(kinds); i++)
		if (kinds[i].kind == k)
			return kinds[i].word;
	return "?";
}

/* " name=" and a quoted text, or the JSON member. */
static enum nj_err
put_text(struct dump *d, const char *name, struct slice s)
{
	enum nj_err e;

	if (d->json)
		return store_put_json(&d->line, name, s);
	if ((e = buf_printf(&d->line, " %s=", name)))
		return e;
	return store_put_text(&d->line, s);
}

static enum nj_err
put_number(struct dump *d, const char *name, uint64_t n)
{
	return buf_printf(&d->line, d->json ? ",\"%s\":%llu" : " %s=%llu", name,
	    (unsigned long long)n);
}

static enum nj_err
put_word(struct dump *d, const char *name, const char *word)
{
	return buf_printf(
	    &d->line, d->json ? ",\"%s\":\"%s\"" : " %s=%s", name, word);
}

/* A switch is there or not; in JSON, true or false. */
static enum nj_err
put_flag(struct dump *d, const char *name, bool is)
{
	if (d->json)
		return buf_printf(
		    &d->line, ",\"%s\":%s", name, is ? "true" : "false");
	return is ? buf_printf(&d->line, " %s", name) : NJ_OK;
}

static enum nj_err
put_time(struct dump *d, const char *name, int64_t seconds)
{
	char text[32];

	return put_word(d, name, store_time(text, seconds));
}

static enum nj_err
put_session(struct dump *d, const struct view_row *r)
{
	enum nj_err e;

	if ((e = put_text(d, "user", r->user)) ||
	    (r->mount.n && (e = put_text(d, "mount", r->mount))) ||
	    (e = put_word(d, "version",
		 r->version == 5       ? "5"
		     : r->version == 4 ? "3.1.1"
		     : r->version == 3 ? "3.1"
				       : "unknown")))
		return e;
	if (r->expiry_s == UINT32_MAX)
		e = put_word(d, "expiry", "never");
	else
		e = put_number(d, "expiry", r->expiry_s);
	if (e)
		return e;
	if (r->offline_ms == STORE_NEVER)
		return put_flag(d, "connected", true);
	return put_time(d, "offline_since", r->offline_ms / 1000);
}

static enum nj_err
put_sub(struct dump *d, const struct view_row *r)
{
	enum nj_err e;

	if ((e = put_text(d, "filter", r->filter)) ||
	    (e = put_number(d, "qos", r->options & SUB_QOS)) ||
	    (r->options >> 4 &&
		(e = put_number(d, "identifier", r->options >> 4))) ||
	    (e = put_flag(d, "no_local", r->options & SUB_NO_LOCAL)))
		return e;
	return put_flag(d, "retain_as_published", r->options & SUB_RAP);
}

static enum nj_err
put_user_props(struct dump *d, const struct props *p)
{
	struct slice at = p->raw, name, value;
	enum nj_err e = NJ_OK;

	while (!e && props_next_user(&at, &name, &value) == NJ_OK) {
		if ((e = put_text(d, "user_property", name)))
			return e;
		e = put_text(d, "user_value", value);
	}
	return e;
}

static enum nj_err
put_json_user_props(struct dump *d, const struct props *p)
{
	struct slice at = p->raw, name, value;
	enum nj_err e = buf_put_slice(&d->line, LIT(",\"user_properties\":["));
	const char *comma = "";

	while (!e && props_next_user(&at, &name, &value) == NJ_OK) {
		size_t begin;

		if ((e = buf_printf(&d->line, "%s", comma)))
			return e;
		begin = d->line.len;
		if ((e = put_text(d, "name", name)))
			return e;
		/* a member brings its comma, and this is the first */
		d->line.p[begin] = '{';
		if ((e = put_text(d, "value", value)))
			return e;
		e = buf_put_u8(&d->line, '}');
		comma = ",";
	}
	return e ? e : buf_put_u8(&d->line, ']');
}

/* The properties of a stored message have no length in front. */
static enum nj_err
put_props(struct dump *d, struct slice raw)
{
	struct buf whole = { 0 };
	struct props p = { .seen = 0 };
	struct slice in;
	enum nj_err e;

	if (raw.n == 0)
		return NJ_OK;
	p.extra = raw;
	if ((e = props_put(&whole, &p)))
		goto out;
	in = buf_slice(&whole);
	if (take_props(&in, IN_PUBLISH, &p)) {
		e = put_text(d, "properties", raw);
		goto out;
	}
	if ((props_has(&p, PROP_PAYLOAD_FORMAT) &&
		(e = put_number(d, "payload_format", p.payload_format))) ||
	    (props_has(&p, PROP_CONTENT_TYPE) &&
		(e = put_text(d, "content_type", p.content_type))) ||
	    (props_has(&p, PROP_RESPONSE_TOPIC) &&
		(e = put_text(d, "response_topic", p.response_topic))) ||
	    (props_has(&p, PROP_CORRELATION_DATA) &&
		(e = put_text(d, "correlation_data", p.correlation_data))))
		goto out;
	if (props_has(&p, PROP_USER))
		e = d->json ? put_json_user_props(d, &p)
			    : put_user_props(d, &p);
out:
	buf_fini(&whole);
	return e;
}

static enum nj_err
put_body(struct dump *d, const struct view_row *r)
{
	enum nj_err e;

	if ((e = put_text(d, "topic", r->topic)) ||
	    (e = put_number(d, "qos", r->qos)) ||
	    (e = put_flag(d, "retain", r->retain)) ||
	    (e = put_number(d, "message", r->msg)) ||
	    (r->stored_s && (e = put_time(d, "stored", r->stored_s))) ||
	    (r->expires_ms != STORE_NEVER &&
		(e = put_time(d, "expires", r->expires_ms / 1000))) ||
	    (e = put_props(d, r->props)) ||
	    (e = put_number(d, "bytes", r->payload.n)))
		return e;
	return d->no_payload ? NJ_OK : put_text(d, "payload", r->payload);
}

static enum nj_err
put_entry(struct dump *d, const struct view_row *r)
{
	static const char *const states[] = { "queued", "wait_puback",
		"wait_pubrec", "wait_pubcomp" };
	enum nj_err e = put_number(d, "seq", r->seq);

	if (!e && r->pid)
		e = put_number(d, "pid", r->pid);
	if (!e && r->pid)
		e = put_word(d, "state",
		    r->state < COUNT(states) ? states[r->state] : "?");
	if (!e && r->share)
		e = put_number(d, "share", r->share);
	return e ? e : put_body(d, r);
}

static enum nj_err
put_will(struct dump *d, const struct view_row *r)
{
	enum nj_err e = put_number(d, "delay", r->delay_s);

	if (!e && r->will_expiry_s != UINT32_MAX)
		e = put_number(d, "message_expiry", r->will_expiry_s);
	return e ? e : put_body(d, r);
}

static enum nj_err
put_own(struct dump *d, const struct view_row *r)
{
	switch (r->kind) {
	case VIEW_SESSION:
		return put_session(d, r);
	case VIEW_SUB:
		return put_sub(d, r);
	case VIEW_RECEIVED:
		return put_number(d, "pid", r->pid);
	case VIEW_WILL:
		return put_will(d, r);
	case VIEW_RETAINED:
		return put_body(d, r);
	default:
		return put_entry(d, r);
	}
}

static enum nj_err
on_row(void *arg, const struct view_row *r)
{
	struct dump *d = arg;
	enum nj_err e;

	if ((e = buf_printf(&d->line, d->json ? "{\"kind\":\"%s\"" : "%s",
		 word_of(r->kind))) ||
	    (r->kind != VIEW_RETAINED &&
		((e = put_number(d, "session", r->session)) ||
		    (e = put_text(d, "client", r->client)))) ||
	    (e = put_own(d, r)) ||
	    (e = buf_put_slice(&d->line, d->json ? LIT("}\n") : LIT("\n"))))
		return e;
	return store_flush(&d->line, d->why);
}

static enum nj_err
kinds_of(const char *words, unsigned *set, struct nj_why *why)
{
	do {
		size_t n = strcspn(words, ","), i = 0;
		char safe[TEXT_ESC];

		while (i < COUNT(kinds) &&
		    (strlen(kinds[i].name) != n ||
			strncmp(kinds[i].name, words, n) != 0))
			i++;
		if (i == COUNT(kinds)) {
			why_set(why, "there is no --what %s",
			    text_esc(safe, sizeof safe, slice_of(words, n)));
			why_mend(why,
			    "sessions, subscriptions, received, inflight, "
			    "queued, retained, wills; several with commas");
			return NJ_INVALID;
		}
		*set |= kinds[i].kind;
		words += n + (words[n] == ',');
	} while (*words);
	return NJ_OK;
}

static enum nj_err
dump(struct dump *d, const char *path, unsigned set, const char *client,
    struct nj_why *why)
{
	struct view *v = NULL;
	enum nj_err e;

	d->why = why;
	if (!(e = view_open(path, &v, why)))
		e = view_rows(v, set, client ? slice_str(client) : SLICE_NONE,
		    on_row, d, why);
	view_close(v);
	if (!e && fflush(stdout)) {
		why_set(why, "cannot write to standard output");
		e = NJ_IO;
	}
	return e;
}

int
store_dump_cmd(int argc, char **argv)
{
	struct store_call call = {
		.usage = "nightjar store dump [--what KINDS] [--client ID] "
			 "[--no-payload] [--json] -c FILE | PATH",
		.failed = EXIT_FAILED,
	};
	struct dump d = { .json = false };
	const char *client = NULL;
	struct flag_list what = { .n = 0 };
	const struct flag flags[] = {
		STORE_CONF(&call),
		{ "what", 0, FLAG_LIST, &what, "KINDS",
		    "sessions, subscriptions, received, inflight, queued, "
		    "retained, wills",
		    0, 0 },
		{ "client", 0, FLAG_TEXT, &client, "ID",
		    "only what is of this client", 0, 0 },
		{ "no-payload", 0, FLAG_SWITCH, &d.no_payload, NULL,
		    "lengths only", 0, 0 },
		{ "json", 0, FLAG_SWITCH, &d.json, NULL, "a JSON object a line",
		    0, 0 },
	};
	enum nj_err e =
	    store_call_parse(&call, flags, COUNT(flags), argc, argv);
	unsigned set = 0;

	for (unsigned i = 0; i < what.n && !e; i++)
		if ((e = kinds_of(what.v[i], &set, &call.why)))
			call.failed = EXIT_USAGE;
	if (!e)
		e = dump(
		    &d, call.path, set ? set : VIEW_ALL, client, &call.why);
	buf_fini(&d.line);
	return store_call_end(&call, e);
}
