/* SPDX-License-Identifier: Apache-2.0
 * srv - see srv.h.
 */
#include "net/srv.h"

#include <arpa/nameser.h>
#include <assert.h>
#include <limits.h>
#include <netdb.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/text.h"

#define ANSWER_MAX   65536
#define RECORD_FIXED 6 /* priority, weight, port */

/* -- the answer ----------------------------------------------------------- */

static enum nj_err
take_record(const ns_msg *m, const ns_rr *rr, struct srv_target *out)
{
	const uint8_t *d = ns_rr_rdata(*rr);

	if (ns_rr_rdlen(*rr) <= RECORD_FIXED)
		return NJ_MALFORMED;
	out->priority = (uint16_t)(d[0] << 8 | d[1]);
	out->weight = (uint16_t)(d[2] << 8 | d[3]);
	out->port = (uint16_t)(d[4] << 8 | d[5]);
	if (ns_name_uncompress(ns_msg_base(*m), ns_msg_end(*m),
		d + RECORD_FIXED, out->host, sizeof out->host) < 0)
		return NJ_MALFORMED;
	return NJ_OK;
}

/* The name that was asked for, without the service before it. */
static enum nj_err
take_domain(ns_msg *m, const char *service, char *domain, size_t size)
{
	size_t n = strlen(service);
	const char *name;
	ns_rr rr;

	if (ns_parserr(m, ns_s_qd, 0, &rr) < 0)
		return NJ_MALFORMED;
	name = ns_rr_name(rr);
	if (strncasecmp(name, service, n) != 0)
		return NJ_MALFORMED;
	name += n;
	(void)snprintf(domain, size, "%s", *name == '.' ? name + 1 : name);
	return NJ_OK;
}

enum nj_err
srv_take_answer(struct slice msg, const char *service, struct srv_list *out)
{
	ns_msg m;
	enum nj_err e;

	out->n = 0;
	if (msg.n > INT_MAX || ns_initparse(msg.p, (int)msg.n, &m) < 0)
		return NJ_MALFORMED;
	if ((e = take_domain(&m, service, out->domain, sizeof out->domain)))
		return e;
	for (int i = 0; i < ns_msg_count(m, ns_s_an) && out->n < SRV_MAX; i++) {
		ns_rr rr;

		if (ns_parserr(&m, ns_s_an, i, &rr) < 0)
			return NJ_MALFORMED;
		if (ns_rr_type(rr) != ns_t_srv || ns_rr_class(rr) != ns_c_in)
			continue; /* a CNAME on the way */
		if ((e = take_record(&m, &rr, &out->v[out->n])))
			return e;
		out->n++;
	}
	return out->n > 0 ? NJ_OK : NJ_NOTFOUND;
}

/* -- the order ------------------------------------------------------------ */

static void
swap(struct srv_target *a, struct srv_target *b)
{
	struct srv_target t = *a;

	*a = *b;
	*b = t;
}

/* Of v[from..to), which are of one priority, one by weight; RFC 2782 lets a
 * weight of 0 be chosen rarely, not never. */
static unsigned
choose(const struct srv_list *l, unsigned from, unsigned to, struct rng *r)
{
	uint64_t sum = 0, at;

	for (unsigned i = from; i < to; i++)
		sum += l->v[i].weight * UINT64_C(256) + 1;
	assert(sum > 0); /* from < to */
	at = rng_next(r) % sum;
	for (unsigned i = from; i < to; i++) {
		uint64_t w = l->v[i].weight * UINT64_C(256) + 1;

		if (at < w)
			return i;
		at -= w;
	}
	return from;
}

void
srv_order(struct srv_list *l, struct rng *r)
{
	for (unsigned i = 1; i < l->n; i++) /* few: insertion sort */
		for (unsigned k = i;
		     k > 0 && l->v[k].priority < l->v[k - 1].priority; k--)
			swap(&l->v[k], &l->v[k - 1]);
	for (unsigned i = 0; i < l->n; i++) {
		unsigned to = i + 1;

		while (to < l->n && l->v[to].priority == l->v[i].priority)
			to++;
		swap(&l->v[i], &l->v[choose(l, i, to, r)]);
	}
}

/* -- asking --------------------------------------------------------------- */

static enum nj_err
nothing_found(const char *name, int h, struct nj_why *why)
{
	char esc[TEXT_ESC];

	why_set(why, "no SRV record is known for \"%s\": %s",
	    text_esc(esc, sizeof esc, slice_str(name)), hstrerror(h));
	why_mend(why,
	    h == TRY_AGAIN
		? "the name server does not answer; look at /etc/resolv.conf"
		: "without -S the host is connected to as it is named");
	return h == TRY_AGAIN ? NJ_TIMEOUT : NJ_NOTFOUND;
}

static enum nj_err
ask(const char *name, int timeout_ms, struct buf *answer, struct nj_why *why)
{
	struct __res_state st = { 0 };
	uint8_t *at;
	int n, h;

	if (buf_reserve(answer, ANSWER_MAX, &at))
		return NJ_NOMEM;
	if (res_ninit(&st) != 0) {
		why_set(why, "the resolver cannot be set up");
		return NJ_IO;
	}
	st.retry = 2;
	if (timeout_ms >= 0 && st.retrans > timeout_ms / 2000)
		st.retrans = timeout_ms >= 2000 ? timeout_ms / 2000 : 1;
	n = res_nsearch(&st, name, ns_c_in, ns_t_srv, at, ANSWER_MAX);
	h = st.res_h_errno;
	res_nclose(&st);
	if (n < 0)
		return nothing_found(name, h, why);
	buf_commit(answer, (size_t)(n < ANSWER_MAX ? n : ANSWER_MAX));
	return NJ_OK;
}

static enum nj_err
ask_and_take(const char *service, const char *name, int timeout_ms,
    struct srv_list *out, struct nj_why *why)
{
	struct buf answer = { 0 };
	enum nj_err e = ask(name, timeout_ms, &answer, why);

	if (!e && (e = srv_take_answer(buf_slice(&answer), service, out))) {
		why_set(why, "the answer to \"%s\" cannot be used: %s", name,
		    nj_strerror(e));
	} else if (!e && out->n == 1 &&
	    (out->v[0].host[0] == '\0' || strcmp(out->v[0].host, ".") == 0)) {
		why_set(why, "the domain says that it has no MQTT broker");
		e = NJ_NOTFOUND;
	}
	buf_fini(&answer);
	return e;
}

enum nj_err
srv_lookup(const char *domain, bool tls, int timeout_ms, struct srv_list *out,
    struct nj_why *why)
{
	const char *service = tls ? "_secure-mqtt._tcp" : "_mqtt._tcp";
	char name[NS_MAXDNAME];
	struct rng r;
	enum nj_err e;

	if (snprintf(name, sizeof name, "%s%s%s", service, domain ? "." : "",
		domain ? domain : "") >= (int)sizeof name) {
		why_set(why, "the domain's name is too long");
		return NJ_INVALID;
	}
	if ((e = ask_and_take(service, name, timeout_ms, out, why)))
		return e;
	rand_bytes(&r.s, sizeof r.s);
	rng_seed(&r, r.s);
	srv_order(out, &r);
	return NJ_OK;
}
