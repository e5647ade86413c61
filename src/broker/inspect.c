/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/inspect.h"

#include <assert.h>
#include <string.h>

#include "auth/principal.h"
#include "auth/rolebase.h"
#include "broker/call.h"
#include "broker/conn.h"
#include "broker/internal.h"
#include "broker/memory.h"
#include "broker/sessions.h"
#include "net/listener.h"
#include "net/tls.h"

/* A structure whose slices follow it, one behind the other: how questions and
 * answers travel. */
static enum nj_err
put_texts(struct buf *b, const struct slice *v, size_t n)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; !e && i < n; i++)
		e = buf_put_slice(b, v[i]);
	return e;
}

static bool
take_texts(struct slice *in, struct slice *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (take_bytes(in, v[i].n, &v[i]))
			return false;
	return true;
}

static bool
take_struct(struct slice *in, void *dst, size_t size)
{
	struct slice s;

	if (take_bytes(in, size, &s))
		return false;
	memcpy(dst, s.p, size);
	return true;
}

enum { FILTER_TEXTS = 5 };

struct asked {
	bool online, forget;
	uint32_t limit;
	struct slice text[FILTER_TEXTS]; /* id, user, address, serial, print */
};

static enum nj_err
put_asked(struct buf *b, const struct client_filter *f, bool forget)
{
	struct asked a = {
		.online = f->online,
		.forget = forget,
		.limit = f->limit,
		.text = { f->id, f->user, f->address, f->serial, f->print },
	};
	enum nj_err e = buf_put(b, &a, sizeof a);

	return e ? e : put_texts(b, a.text, FILTER_TEXTS);
}

static void
take_asked(struct slice in, struct client_filter *f, bool *forget)
{
	struct asked a;

	if (!take_struct(&in, &a, sizeof a) ||
	    !take_texts(&in, a.text, FILTER_TEXTS))
		assert(!"what put_asked wrote");
	*f = (struct client_filter){
		.id = a.text[0],
		.user = a.text[1],
		.address = a.text[2],
		.serial = a.text[3],
		.print = a.text[4],
		.online = a.online,
		.limit = a.limit,
	};
	*forget = a.forget;
}

/* Who is meant. */

static struct conn *
conn_of(const struct session *s)
{
	return s->link ? LIST_OWNER(s->link, struct conn, link) : NULL;
}

static struct slice
user_of(const struct session *s)
{
	if (!s->who)
		return SLICE_NONE;
	return s->who->name.n ? s->who->name : s->who->claimed;
}

/* "192.0.2.1:40000" and "[::1]:40000" without what follows the address. */
struct slice
inspect_host(struct slice s)
{
	const uint8_t *end = s.n ? memrchr(s.p, ':', s.n) : NULL;

	if (end)
		s.n = (size_t)(end - s.p);
	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = slice_of(s.p + 1, s.n - 2);
	return s;
}

static bool
cert_meant(const struct client_filter *f, const struct conn *c)
{
	const struct tls_peer *p = c ? stream_tls(c->stream) : NULL;

	if (!f->serial.n && !f->print.n)
		return true;
	if (!p || !p->has_cert)
		return false;
	if (f->serial.n &&
	    (strlen(p->serial) != f->serial.n ||
		strncasecmp(
		    p->serial, (const char *)f->serial.p, f->serial.n) != 0))
		return false;
	return !f->print.n ||
	    slice_eq(f->print, slice_of(p->cert_sha256, sizeof p->cert_sha256));
}

static bool
is_meant(const struct client_filter *f, const struct session *s)
{
	if (f->online && !s->link)
		return false;
	if (f->id.n && !slice_eq(f->id, session_id(s)))
		return false;
	if (f->user.n && !slice_eq(f->user, user_of(s)))
		return false;
	if (f->address.n &&
	    (!s->who || !slice_eq(f->address, inspect_host(s->who->address))))
		return false;
	return cert_meant(f, conn_of(s));
}

/* Clients. */

static struct slice
text(const char *s)
{
	return s ? slice_str(s) : SLICE_NONE;
}

static void
of_tls(const struct tls_peer *p, struct client_info *o)
{
	o->tls = text(p->version);
	o->cipher = text(p->cipher);
	o->alpn = text(p->alpn);
	o->sni = text(p->sni);
	o->resumed = p->resumed;
	o->has_cert = p->has_cert;
	if (!p->has_cert)
		return;
	o->serial = text(p->serial);
	o->subject = text(p->subject);
	o->cert_expires = p->not_after;
	memcpy(o->cert_sha256, p->cert_sha256, sizeof o->cert_sha256);
	memcpy(o->spki_sha256, p->spki_sha256, sizeof o->spki_sha256);
}

static void
of_conn(const struct shard *sh, const struct conn *c, struct client_info *o)
{
	const struct tls_peer *p = stream_tls(c->stream);

	o->online = true;
	o->keep_alive = c->keep_alive;
	o->since_ms = sh->home.now_ms - c->since;
	o->silent_ms = sh->home.now_ms - c->last_rx;
	o->address = text(c->peer);
	if (p)
		of_tls(p, o);
}

static void
of_session(
    const struct shard *sh, const struct session *s, struct client_info *o)
{
	const struct conn *c = conn_of(s);

	*o = (struct client_info){
		.version = s->version,
		.expiry_s = s->expiry_s,
		.subscriptions = (uint64_t)s->subs.n + s->n_shared,
		.queued = s->queue.n,
		.queued_bytes = s->queue.bytes,
		.inflight = s->out.n,
		.will = s->will != NULL,
		.restricted = s->check_reads,
		.id = session_id(s),
	};
	if (s->who) {
		o->user = user_of(s);
		o->proved = s->who->name.n > 0;
		o->by = text(s->who->by);
		o->bridge = s->who->bridge;
		o->address = s->who->address;
		o->listener = s->who->listener;
		o->subject = s->who->subject;
	}
	if (s->port < sh->set->n)
		o->port = sh->set->v[s->port].listener->port;
	if (c)
		of_conn(sh, c, o);
	else
		o->since_ms = sh->home.now_ms - s->offline_since;
}

static enum nj_err
put_client(const struct shard *sh, const struct session *s, struct buf *out)
{
	struct client_info o;
	enum nj_err e;

	of_session(sh, s, &o);
	if ((e = buf_put(out, &o, sizeof o)))
		return e;
	return put_texts(out, o.text, CLIENT_TEXTS);
}

/* A table that was rebuilt since the last portion has everybody elsewhere. */
static bool
same_table(const struct shard *sh, struct call_part *p)
{
	bool same = p->mark == sh->home.sessions.cap || p->at == 0;

	p->mark = sh->home.sessions.cap;
	return same;
}

/* p->at: how far the table was looked through; p->count: how many were found,
 * one more than the limit if there are more. */
static bool
list_some(struct shard *sh, struct slice in, struct call_part *p)
{
	struct client_filter f;
	struct session *s;
	bool forget;

	take_asked(in, &f, &forget);
	if (!same_table(sh, p)) {
		buf_fini(&p->out);
		p->at = p->count = 0;
	}
	for (int i = 0; i < CALL_PORTION; i++) {
		if (!(s = map_next(&sh->home.sessions, &p->at)))
			return true;
		if (!is_meant(&f, s))
			continue;
		if (f.limit && p->count == f.limit) {
			p->count++;
			return true;
		}
		p->count++;
		if ((p->e = put_client(sh, s, &p->out)))
			return true;
	}
	return false;
}

static bool
list_one(struct shard *sh, struct slice in, struct call_part *p)
{
	struct client_filter f;
	struct session *s;
	bool forget;

	take_asked(in, &f, &forget);
	s = session_find(&sh->home, f.id);
	if (s && is_meant(&f, s)) {
		p->count = 1;
		p->e = put_client(sh, s, &p->out);
	}
	return true;
}

enum nj_err
inspect_clients(struct broker *b, const struct client_filter *f,
    unsigned timeout_ms, struct client_list *out)
{
	uint32_t which = f->id.n ? shard_of_id(b, f->id) : CALL_ALL;
	struct buf in = { 0 };
	struct call *c = NULL;
	enum nj_err e = put_asked(&in, f, false);

	if (!e)
		e = call_shards(b, which, f->id.n ? list_one : list_some,
		    buf_slice(&in), timeout_ms, &c);
	buf_fini(&in);
	if (e)
		return e;
	*out = (struct client_list){ .call = c };
	for (unsigned i = 0; f->limit && i < b->n; i++)
		if (call_count(c, i) > f->limit)
			out->more = true;
	return NJ_OK;
}

bool
client_list_next(struct client_list *l, struct client_info *out)
{
	while (l->rest.n == 0)
		if (!call_answer(l->call, l->shard++, &l->rest))
			return false;
	return take_struct(&l->rest, out, sizeof *out) &&
	    take_texts(&l->rest, out->text, CLIENT_TEXTS);
}

void
client_list_free(struct client_list *l)
{
	call_free(l->call);
	*l = (struct client_list){ 0 };
}

/* Subscriptions of one. */

struct sub_row {
	uint32_t id_opts;
	uint32_t n;
};

static enum nj_err
put_sub(struct buf *out, uint32_t id_opts, struct slice filter)
{
	struct sub_row r = { id_opts, (uint32_t)filter.n };
	enum nj_err e = buf_put(out, &r, sizeof r);

	return e ? e : buf_put_slice(out, filter);
}

/* Where there are more than SUBS_PORTION slots, and some end meanwhile, another may
 * be told twice. */
#define SUBS_PORTION 16384u

static bool
list_subs(struct shard *sh, struct slice in, struct call_part *p)
{
	struct session *s = session_find(&sh->home, in);
	uint32_t most = SUBS_PORTION;
	uint8_t dst[UINT16_MAX];
	const struct sub *sub;
	struct filter *f;

	if (!s) {
		p->e = NJ_NOTFOUND;
		return true;
	}
	if (p->look.cap != s->subs.cap) /* from the start */
		buf_fini(&p->out);
	while (!p->e &&
	    (sub = subs_look(&s->subs, sh->broker->index, &p->look, &most, &f)))
		p->e = put_sub(&p->out, sub->id_opts,
		    slice_of(dst, filter_text(f, dst, sizeof dst)));
	if (!p->e && !subs_looked(&s->subs, &p->look))
		return false;
	for (struct shared_sub *x = s->shared; !p->e && x; x = x->next)
		p->e =
		    put_sub(&p->out, x->id_opts, slice_of(x->filter, x->len));
	return true;
}

enum nj_err
inspect_subscriptions(struct broker *b, struct slice id, unsigned timeout_ms,
    struct client_subs *out)
{
	struct call *c = NULL;
	enum nj_err e =
	    call_shards(b, shard_of_id(b, id), list_subs, id, timeout_ms, &c);

	if (e)
		return e;
	*out = (struct client_subs){ .call = c };
	if (!call_answer(c, 0, &out->rest))
		assert(!"a call has one part at least");
	return NJ_OK;
}

bool
client_subs_next(struct client_subs *l, struct client_sub *out)
{
	struct sub_row r;
	struct slice filter;

	if (!take_struct(&l->rest, &r, sizeof r) ||
	    take_bytes(&l->rest, r.n, &filter))
		return false;
	*out = (struct client_sub){
		.filter = filter,
		.id = r.id_opts >> 4,
		.qos = r.id_opts & SUB_QOS,
		.no_local = (r.id_opts & SUB_NO_LOCAL) != 0,
		.retain_as_published = (r.id_opts & SUB_RAP) != 0,
	};
	return true;
}

void
client_subs_free(struct client_subs *l)
{
	call_free(l->call);
	*l = (struct client_subs){ 0 };
}

/* Sending away. */

static void
send_away(struct shard *sh, struct session *s, bool forget)
{
	uint64_t number = s->number;
	struct conn *c = conn_of(s);

	if (c)
		conn_end(c, RC_ADMINISTRATIVE_ACTION,
		    "it was sent away by the administrator");
	/* it may have ended with its connection */
	if (forget && (s = session_by_number(&sh->home, number)) && !s->ended)
		sessions_end(sh, s);
}

static bool
disconnect_one(struct shard *sh, struct slice in, struct call_part *p)
{
	struct client_filter f;
	struct session *s;
	bool forget;

	take_asked(in, &f, &forget);
	f.online |= !forget;
	s = session_find(&sh->home, f.id);
	if (s && is_meant(&f, s)) {
		send_away(sh, s, forget);
		p->count = 1;
	}
	return true;
}

static bool
disconnect_some(struct shard *sh, struct slice in, struct call_part *p)
{
	struct client_filter f;
	struct session *s;
	bool forget;

	take_asked(in, &f, &forget);
	f.online |= !forget;
	for (int i = 0; i < CALL_PORTION; i++) {
		size_t before = sh->home.sessions.n;

		if (!same_table(sh, p))
			p->at = 0; /* who was sent away is not met again */
		if (!(s = map_next(&sh->home.sessions, &p->at)))
			return true;
		if (!is_meant(&f, s))
			continue;
		send_away(sh, s, forget);
		p->count++;
		if (sh->home.sessions.n != before)
			p->at--; /* another may have moved into its slot */
	}
	return false;
}

enum nj_err
inspect_disconnect(struct broker *b, const struct client_filter *f, bool forget,
    unsigned timeout_ms, uint64_t *n)
{
	uint32_t which = f->id.n ? shard_of_id(b, f->id) : CALL_ALL;
	struct buf in = { 0 };
	struct call *c = NULL;
	enum nj_err e;

	if (!f->id.n && !f->user.n && !f->address.n && !f->serial.n &&
	    !f->print.n)
		return NJ_INVALID;
	if (!(e = put_asked(&in, f, forget)))
		e = call_shards(b, which,
		    f->id.n ? disconnect_one : disconnect_some, buf_slice(&in),
		    timeout_ms, &c);
	buf_fini(&in);
	if (e)
		return e;
	*n = 0;
	for (unsigned i = 0; i < b->n; i++)
		*n += call_count(c, i);
	call_free(c);
	return NJ_OK;
}

/* Users, groups and roles. */

static bool
find_roles(struct shard *sh, struct slice in, struct call_part *p)
{
	p->e = NJ_NOTFOUND;
	for (size_t i = 0; i < sh->set->n; i++) {
		struct port_opts *po = &sh->set->v[i];
		struct rolebase *rb = po->roles;

		if (!rb || (in.n > 0 && !listener_is(po->listener, in)))
			continue;
		/* who asked may have gone: then it stays referenced, once */
		if (!(p->e = buf_put(&p->out, &rb, sizeof rb)))
			(void)rolebase_ref(rb);
		break;
	}
	return true;
}

enum nj_err
inspect_rolebase(struct broker *b, struct slice listener, unsigned timeout_ms,
    struct rolebase **out)
{
	struct call *c = NULL;
	struct slice bytes;
	enum nj_err e = call_shards(b, 0, find_roles, listener, timeout_ms, &c);

	if (e)
		return e;
	if (!call_answer(c, 0, &bytes) || bytes.n != sizeof *out)
		e = NJ_NOTFOUND;
	else
		memcpy(out, bytes.p, sizeof *out);
	call_free(c);
	return e;
}

/* Totals. */

void
inspect_totals(struct broker *b, struct broker_totals *out)
{
	struct index_stats ix;

	*out = (struct broker_totals){ .shards = b->n };
	for (unsigned i = 0; i < b->n; i++) {
		const struct shard_counts *c = &b->shards[i].counts;
		const struct session_counts *s = &b->shards[i].home.counts;

		out->connected += count_get(&c->connected);
		out->sessions += count_get(&c->sessions);
		out->sockets += count_get(&c->sockets);
		out->received += count_get(&c->publish_in);
		out->refused += count_get(&c->publish_refused);
		out->logins_failed += count_get(&c->logins_failed);
		out->bytes_in += count_get(&c->bytes_in);
		out->bytes_out += count_get(&c->bytes_out);
		out->sent += count_get(&s->sent);
		out->dropped += count_get(&s->dropped);
		out->expired += count_get(&s->expired);
		out->store_refused += count_get(&c->store_refused);
		out->queued += count_get(&s->queued);
		out->queued_bytes += count_get(&s->queued_bytes);
	}
	if (b->store) {
		enum store_state is = store_state(b->store);

		out->stores = true;
		out->store = is;
		out->store_name = store_state_name(is);
		out->store_since_ms = atomic_load(&b->store_since);
	}
	index_stats(b->index, &ix);
	out->subscriptions = ix.subscriptions;
	out->retained = retain_count(b->retain);
	out->retained_bytes = retain_bytes(b->retain);
	out->heap = memory_heap(b);
	out->uptime_s = (clock_mono(b->clock) - b->started_ms) / 1000;
}
