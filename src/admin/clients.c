/* SPDX-License-Identifier: Apache-2.0
 *
 * clients list, show, disconnect.
 */
#include <stdio.h>
#include <string.h>

#include "admin/handlers.h"
#include "base/text.h"
#include "broker/inspect.h"

#define LIST_USUAL 1000
#define LIST_MOST  100000

static enum nj_err
set_text(json_t *o, const char *name, struct slice s)
{
	return s.n ? admin_set(o, name, admin_string(s)) : NJ_OK;
}

static enum nj_err
set_number(json_t *o, const char *name, uint64_t v)
{
	return admin_set(o, name, json_integer((json_int_t)v));
}

static enum nj_err
set_hex(json_t *o, const char *name, const uint8_t *p, size_t n)
{
	char text[65];

	for (size_t i = 0; i < n && i < 32; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", p[i]);
	return admin_set(o, name, json_string(text));
}

/* Which of them it has. */
static enum nj_err
put_texts(json_t *o, const struct client_info *i)
{
	const struct {
		const char *name;
		struct slice s;
	} rows[] = {
		{ "user", i->user },
		{ "by", i->by },
		{ "address", i->address },
		{ "listener", i->listener },
		{ "tls", i->tls },
		{ "cipher", i->cipher },
		{ "alpn", i->alpn },
		{ "sni", i->sni },
		{ "subject", i->subject },
		{ "serial", i->serial },
	};
	enum nj_err e = admin_set(o, "id", admin_string(i->id));

	for (size_t k = 0; !e && k < sizeof rows / sizeof *rows; k++)
		e = set_text(o, rows[k].name, rows[k].s);
	return e;
}

static enum nj_err
put_numbers(json_t *o, const struct client_info *i)
{
	const struct {
		const char *name;
		uint64_t v;
	} rows[] = {
		{ "protocol", i->version },
		{ "port", i->port },
		{ "keep_alive", i->keep_alive },
		{ "expiry", i->expiry_s },
		{ i->online ? "connected_s" : "away_s", i->since_ms / 1000 },
		{ "subscriptions", i->subscriptions },
		{ "queued", i->queued },
		{ "queued_bytes", i->queued_bytes },
		{ "inflight", i->inflight },
	};
	enum nj_err e = NJ_OK;

	for (size_t k = 0; !e && k < sizeof rows / sizeof *rows; k++)
		e = set_number(o, rows[k].name, rows[k].v);
	if (!e && i->online)
		e = set_number(o, "silent_s", i->silent_ms / 1000);
	return e;
}

static enum nj_err
put_client(json_t *o, const struct client_info *i)
{
	enum nj_err e;

	if ((e = put_texts(o, i)) ||
	    (e = admin_set(o, "connected", json_boolean(i->online))) ||
	    (e = put_numbers(o, i)) ||
	    (e = admin_set(o, "will", json_boolean(i->will))))
		return e;
	if (i->bridge && (e = admin_set(o, "bridge", json_boolean(i->bridge))))
		return e;
	if (i->tls.n && (e = admin_set(o, "resumed", json_boolean(i->resumed))))
		return e;
	if (!i->has_cert)
		return NJ_OK;
	if ((e = set_hex(o, "fingerprint", i->cert_sha256, 32)) ||
	    (e = set_hex(o, "key", i->spki_sha256, 32)))
		return e;
	return set_number(o, "certificate_expires", (uint64_t)i->cert_expires);
}

/* "aa:bb:..." or "aabb...", of SHA-256. */
static bool
from_hex(struct slice s, uint8_t dst[32])
{
	unsigned n = 0;

	for (size_t i = 0; i < s.n; i++) {
		const char *digits = "0123456789abcdef";
		const char *at;

		if (s.p[i] == ':')
			continue;
		at = s.p[i] ? strchr(digits, s.p[i] | 0x20) : NULL;
		if (!at || n == 64)
			return false;
		dst[n / 2] =
		    (uint8_t)((n & 1 ? dst[n / 2] << 4 : 0) | (at - digits));
		n++;
	}
	return n == 64;
}

static enum nj_err
take_filter(const struct admin_call *c, struct client_filter *f,
    uint8_t print[32], struct nj_why *why)
{
	struct slice hex = SLICE_NONE;
	enum nj_err e;

	if ((e = admin_text(c, "id", &f->id, why)) ||
	    (e = admin_text(c, "user", &f->user, why)) ||
	    (e = admin_text(c, "address", &f->address, why)) ||
	    (e = admin_text(c, "serial", &f->serial, why)) ||
	    (e = admin_text(c, "fingerprint", &hex, why)) ||
	    (e = admin_flag(c, "online", &f->online, why)))
		return e;
	if (hex.n == 0)
		return NJ_OK;
	if (!from_hex(hex, print)) {
		why_set(why, "fingerprint is not 64 hexadecimal digits");
		return NJ_INVALID;
	}
	f->print = slice_of(print, 32);
	return NJ_OK;
}

static void
say_late(enum nj_err e, struct nj_why *why)
{
	if (e == NJ_TIMEOUT)
		why_set(why, "the broker is too busy to answer in time");
}

static enum nj_err
put_all(json_t *list, struct client_list *l, uint32_t limit, bool *more)
{
	struct client_info info;
	enum nj_err e = NJ_OK;

	*more = l->more;
	for (uint32_t n = 0; !e && client_list_next(l, &info); n++) {
		json_t *o;

		if (n == limit) {
			*more = true;
			break;
		}
		o = json_object();
		if (json_array_append_new(list, o))
			return NJ_NOMEM;
		e = put_client(o, &info);
	}
	return e;
}

enum nj_err
admin_clients_list(struct admin_call *c, struct nj_why *why)
{
	struct client_filter f = { 0 };
	struct client_list l = { 0 };
	int64_t limit = LIST_USUAL;
	json_t *list = json_array();
	uint8_t print[32];
	bool more = false;
	enum nj_err e;

	if ((e = admin_set(c->result, "clients", list)) ||
	    (e = take_filter(c, &f, print, why)) ||
	    (e = admin_number(c, "limit", 1, LIST_MOST, &limit, why)))
		return e;
	f.limit = (uint32_t)limit;
	if ((e = inspect_clients(c->env->broker, &f, c->patience_ms, &l))) {
		say_late(e, why);
		return e;
	}
	e = put_all(list, &l, f.limit, &more);
	client_list_free(&l);
	return e ? e : admin_set(c->result, "more", json_boolean(more));
}

static enum nj_err
nobody(struct slice id, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(why, "there is no client '%s', and no session of one",
	    text_esc(esc, sizeof esc, id));
	why_mend(why, "nightjar clients list");
	return NJ_NOTFOUND;
}

static enum nj_err
put_subscriptions(struct admin_call *c, struct slice id, struct nj_why *why)
{
	struct client_subs l = { 0 };
	struct client_sub s;
	json_t *list = json_array(), *o;
	enum nj_err e;

	if ((e = admin_set(c->result, "filters", list)) ||
	    (e = inspect_subscriptions(
		 c->env->broker, id, c->patience_ms, &l))) {
		say_late(e, why);
		return e == NJ_NOTFOUND ? nobody(id, why) : e;
	}
	while (!e && client_subs_next(&l, &s)) {
		o = json_object();
		if (json_array_append_new(list, o) ||
		    admin_set(o, "filter", admin_string(s.filter)) ||
		    admin_set(o, "qos", json_integer(s.qos)) ||
		    (s.id && admin_set(o, "identifier", json_integer(s.id))) ||
		    (s.no_local && admin_set(o, "no_local", json_true())) ||
		    (s.retain_as_published &&
			admin_set(o, "retain_as_published", json_true())))
			e = NJ_NOMEM;
	}
	client_subs_free(&l);
	return e;
}

enum nj_err
admin_clients_show(struct admin_call *c, struct nj_why *why)
{
	struct client_filter f = { 0 };
	struct client_list l = { 0 };
	struct client_info info;
	enum nj_err e;

	if ((e = admin_need_text(c, "id", &f.id, why)))
		return e;
	if ((e = inspect_clients(c->env->broker, &f, c->patience_ms, &l))) {
		say_late(e, why);
		return e;
	}
	e = client_list_next(&l, &info) ? put_client(c->result, &info)
					: nobody(f.id, why);
	client_list_free(&l);
	return e ? e : put_subscriptions(c, f.id, why);
}

enum nj_err
admin_clients_disconnect(struct admin_call *c, struct nj_why *why)
{
	struct client_filter f = { 0 };
	uint8_t print[32];
	bool forget = false;
	uint64_t n = 0;
	enum nj_err e;

	if ((e = take_filter(c, &f, print, why)) ||
	    (e = admin_flag(c, "forget", &forget, why)))
		return e;
	e = inspect_disconnect(c->env->broker, &f, forget, c->patience_ms, &n);
	if (e == NJ_INVALID)
		why_set(why,
		    "whom to send away? give id, user, address, serial or "
		    "fingerprint");
	say_late(e, why);
	if (!e && n == 0 && f.id.n)
		return nobody(f.id, why);
	return e ? e : set_number(c->result, "disconnected", n);
}
