/* SPDX-License-Identifier: Apache-2.0
 * conn_proxy - the header of a proxy, before everything else.
 *
 * Its bytes come alone or together with what follows, and in any pieces: not
 * one more is taken from the socket than is part of the header, so that TLS
 * and all the rest find theirs there.
 *
 * Spec: "The PROXY protocol, versions 1 & 2" (haproxy.org).
 */
#include "broker/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cidr.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/guard.h"
#include "net/listener.h"
#include "net/portowner.h"
#include "wire/proxyproto.h"

#define STEP 512 /* memory follows what has come */

/* Believed where nothing is configured. */
#define THIS_MACHINE "127.0.0.0/8 ::1"

enum nj_err
conn_proxy_trust(const struct port_opts *po, int fd)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	socklen_t n = sizeof ss;
	uint8_t addr[CIDR_BYTES];

	/* a proxy that only looks whether somebody accepts resets it at once */
	if (getpeername(fd, (struct sockaddr *)&ss, &n) != 0)
		return NJ_EOF;
	switch (ss.ss_family) {
	case AF_UNIX:
		return NJ_OK; /* the rights of its path say who may */
	case AF_INET:
		memcpy(&in, &ss, sizeof in);
		cidr_map(slice_of(&in.sin_addr, sizeof in.sin_addr), addr);
		break;
	case AF_INET6:
		memcpy(&in6, &ss, sizeof in6);
		cidr_map(slice_of(&in6.sin6_addr, sizeof in6.sin6_addr), addr);
		break;
	default:
		return NJ_DENIED;
	}
	return cidr_list_has(
		   po->proxy_from ? po->proxy_from : THIS_MACHINE, addr)
	    ? NJ_OK
	    : NJ_DENIED;
}

/* -- reading ------------------------------------------------------------- */

/* How many bytes to take now: of a line, up to its end. */
static enum nj_err
how_many(struct conn *c, size_t part, size_t *want)
{
	size_t had = buf_len(&c->in);
	uint8_t line[PROXY_V1_MAX];
	const uint8_t *end;
	enum nj_err e;

	if (c->proxy != 1) {
		*want = part - had < STEP ? part - had : STEP;
		return NJ_OK;
	}
	if ((e = stream_peek(c->stream, line, sizeof line - had, want)))
		return e;
	if ((end = memchr(line, '\n', *want)))
		*want = (size_t)(end - line) + 1;
	return NJ_OK;
}

/* NJ_OK: the header is whole and stands in c->in. */
static enum nj_err
read_header(struct conn *c, struct proxy_head *h, const char **why)
{
	size_t part = 0, want = 0, n = 0;
	uint8_t *at;
	enum nj_err e;

	while ((e = proxy_parse(buf_slice(&c->in), c->proxy, h, &part, why)) ==
	    NJ_AGAIN) {
		if ((e = how_many(c, part, &want)) ||
		    (e = buf_reserve(&c->in, want, &at)) ||
		    (e = stream_read(c->stream, at, want, &n)))
			return e;
		buf_commit(&c->in, n);
		count_add(&c->shard->counts.bytes_in, n);
	}
	return e;
}

/* -- what it says -------------------------------------------------------- */

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static enum nj_err
via_new(const struct proxy_head *h, struct proxied **out)
{
	struct proxied *v = calloc(1, sizeof *v + h->cn.n);

	if (!v)
		return NJ_NOMEM;
	v->own = h->family == PROXY_OWN;
	v->local = h->local;
	v->cert = h->cert;
	v->cn_len = (uint16_t)h->cn.n;
	if (h->cn.n > 0)
		memcpy(v->cn, h->cn.p, h->cn.n);
	if (h->family == PROXY_IP4) {
		v->addr_n = 4;
		memcpy(v->addr, h->src, 4);
	} else if (h->family == PROXY_IP6 &&
	    memcmp(h->src, mapped, sizeof mapped) == 0) {
		v->addr_n = 4;
		memcpy(v->addr, h->src + sizeof mapped, 4);
	} else if (h->family == PROXY_IP6) {
		v->addr_n = 16;
		memcpy(v->addr, h->src, 16);
	}
	*out = v;
	return NJ_OK;
}

static void
print_peer(const struct proxy_head *h, char *dst, size_t size)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(h->src_port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
		.sin6_port = htons(h->src_port) };
	char path[PEER_NAME - 8];

	switch (h->family) {
	case PROXY_OWN:
		break;
	case PROXY_IP4:
		memcpy(&in.sin_addr, h->src, sizeof in.sin_addr);
		nj_addr_print((struct sockaddr *)&in, dst, size);
		break;
	case PROXY_IP6:
		memcpy(&in6.sin6_addr, h->src, sizeof in6.sin6_addr);
		nj_addr_print((struct sockaddr *)&in6, dst, size);
		break;
	case PROXY_UNIX:
		snprintf(dst, size, "unix%s%s", h->src_path.n ? " " : "",
		    text_esc(path, sizeof path, h->src_path));
		break;
	}
}

/* Why the port does not take whom the header names; NULL: it does. */
static const char *
objection(const struct conn *c, const struct proxy_head *h)
{
	const struct port_opts *po = conn_port(c);

	if (!guard_may_come(c))
		return "connections_per_second of its address is reached";
	if (po->tls)
		return NULL;
	if (po->proxy_tls && !h->tls)
		return "it came to its proxy without TLS "
		       "(proxy_protocol_v2_require_tls)";
	if (po->proxy_cert && !h->cert)
		return "its proxy had no certificate from it that it found "
		       "good (require_certificate)";
	return NULL;
}

static void
log_new(struct conn *c, const struct proxy_head *h, const char *proxy)
{
	char version[TEXT_ESC], cipher[TEXT_ESC], where[PEER_NAME];
	struct shard *sh = c->shard;

	if (!sh->limits.log_connections || c->via->local ||
	    !guard_may_log(sh, &sh->comings, GUARD_LINES))
		return;
	nj_log(LOG_T_NOTICE,
	    "New connection from %s on %s, by the proxy %s%s%s%s%s.", c->peer,
	    port_name(conn_port(c), where, sizeof where), proxy,
	    h->tls ? ", TLS there: " : "",
	    h->tls ? text_esc(version, sizeof version, h->tls_version) : "",
	    h->tls && h->cipher.n ? " " : "",
	    h->tls ? text_esc(cipher, sizeof cipher, h->cipher) : "");
}

/* The header is whole. */
static void
take_header(struct conn *c, const struct proxy_head *h)
{
	char proxy[PEER_NAME];
	const char *no;

	if (via_new(h, &c->via)) {
		conn_drop(c, "out of memory");
		return;
	}
	memcpy(proxy, c->peer, sizeof proxy);
	print_peer(h, c->peer, sizeof c->peer);
	/* version 1 has no other way to say LOCAL */
	c->via->local |= strcmp(proxy, c->peer) == 0 && !c->via->own;
	if ((no = objection(c, h))) {
		conn_drop(c, "%s", no);
		return;
	}
	log_new(c, h, proxy);
	buf_fini(&c->in); /* h borrowed from it */
	conn_begin(c);
}

/* Why it is none, or what somebody said instead. */
static const char *
what_came(struct slice in, const char *why)
{
	if (strncmp(why, "no PROXY", 8) != 0)
		return why; /* one did, and is wrong */
	if (slice_has_prefix(in, LIT("PROXY ")))
		return "one of version 1 came";
	if (slice_has_prefix(in, LIT("\r\n\r\n")))
		return "one of version 2 came";
	if (stream_looks_like_tls(in))
		return "TLS came, as from a client that connects directly";
	if (in.p && in.n > 0 && in.p[0] == 0x10)
		return "MQTT came, as from a client that connects directly";
	return why;
}

void
conn_proxy(struct conn *c)
{
	struct proxy_head h;
	const char *why = NULL;
	enum nj_err e = read_header(c, &h, &why);

	/* a knock and not a word: also how a proxy looks */
	if ((e == NJ_EOF || e == NJ_IO) && buf_len(&c->in) == 0) {
		nj_log(LOG_T_DEBUG, "%s knocked and went away", c->peer);
		conn_drop(c, NULL);
		return;
	}
	switch (e) {
	case NJ_OK:
		take_header(c, &h);
		break;
	case NJ_AGAIN:
		break;
	case NJ_PROTOCOL:
		conn_drop(c, "bad PROXY header: %s",
		    what_came(buf_slice(&c->in), why));
		break;
	case NJ_EOF:
		c->said_all = true;
		conn_drop(c, "closed before its PROXY header was whole");
		break;
	default:
		conn_drop(c, "%s",
		    e == NJ_NOMEM ? nj_strerror(e)
				  : stream_why(c->stream)->what);
		break;
	}
}
