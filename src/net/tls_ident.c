/* SPDX-License-Identifier: Apache-2.0
 * tls_ident - what a ticket says of a client instead of its certificate, and
 *             how a connection sheds the certificate once it is known.
 *
 * OpenSSL 3.0 writes the client's certificate into each ticket and parses it
 * twice on the way: 110 us of a handshake's 600, the same again when the
 * client comes back, and 9 KiB that every idle connection keeps.  So for TLS
 * 1.3 the ticket is made after the handshake, from a session that carries a
 * short record of the identity, and the connection goes on with an empty one.
 *
 * Only public calls are used, but what lets them work on a live connection
 * (SSL_set_session leaves it alone when the context has the connection's own
 * method) holds for 3.0 and 3.1 only: tls_shed_works says no to others, and
 * everything then goes the library's own way, slower and larger.
 */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_impl.h"

#define IDENT_MAX 4096 /* larger ones go the library's way */

bool
tls_shed_works(void)
{
	return OpenSSL_version_num() < 0x30200000UL;
}

/* -- the record ---------------------------------------------------------- */

static enum nj_err
put_bin(struct buf *b, struct slice s)
{
	enum nj_err e;

	if (s.n > UINT16_MAX)
		return NJ_TOOBIG;
	if ((e = buf_put_u16(b, (uint16_t)s.n)))
		return e;
	return buf_put_slice(b, s);
}

enum nj_err
tls_ident_put(const struct tls_peer *p, struct buf *out)
{
	const struct slice strings[] = { slice_str(p->cn),
		slice_str(p->subject), slice_str(p->san_uri),
		slice_str(p->san_dns), slice_str(p->san_email),
		slice_str(p->serial), p->issuers, p->ips };
	enum nj_err e;

	if ((e = buf_put_u32(out, (uint32_t)((uint64_t)p->not_after >> 32))) ||
	    (e = buf_put_u32(out, (uint32_t)p->not_after)) ||
	    (e = buf_put(out, p->spki_sha256, 32)) ||
	    (e = buf_put(out, p->cert_sha256, 32)))
		return e;
	for (size_t i = 0; i < sizeof strings / sizeof *strings && !e; i++)
		e = put_bin(out, strings[i]);
	if (!e && buf_len(out) > IDENT_MAX)
		e = NJ_TOOBIG;
	return e;
}

enum nj_err
tls_ident_take(struct slice s, struct tls_ident *out)
{
	struct tls_ident id = { 0 };
	struct slice *const fields[] = { &id.cn, &id.subject, &id.uri, &id.dns,
		&id.email, &id.serial, &id.issuers, &id.ips };
	uint32_t hi = 0, lo = 0;
	enum nj_err e;

	if ((e = take_u32(&s, &hi)) || (e = take_u32(&s, &lo)) ||
	    (e = take_bytes(&s, 32, &id.spki_sha256)) ||
	    (e = take_bytes(&s, 32, &id.cert_sha256)))
		return e;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if ((e = take_bin(&s, fields[i])))
			return e;
	id.not_after = (int64_t)((uint64_t)hi << 32 | lo);
	*out = id;
	return NJ_OK;
}

/* -- shedding ------------------------------------------------------------ */

/* The contexts that connections wait in, one for each version.  Only this
 * shard's thread comes here. */
static SSL_CTX *
park_of(struct tls_shard *sh, SSL *ssl)
{
	SSL_CTX **park = &sh->park[SSL_version(ssl) >= TLS1_3_VERSION];

	if (!*park)
		*park = SSL_CTX_new_ex(sh->lib, NULL, SSL_get_ssl_method(ssl));
	if (!sh->blank)
		sh->blank = SSL_SESSION_new();
	return sh->blank ? *park : NULL;
}

static SSL_SESSION *
session_for_ticket(const struct tls_stream *s)
{
	SSL_SESSION *n = SSL_SESSION_new();
	struct slice id = tls_tickets_context(s->server->tickets);

	if (n && SSL_SESSION_set_protocol_version(n, SSL_version(s->ssl)) &&
	    SSL_SESSION_set_cipher(n, SSL_get_current_cipher(s->ssl)) &&
	    SSL_SESSION_set1_id_context(n, id.p, (unsigned)id.n))
		return n;
	SSL_SESSION_free(n);
	return NULL;
}

/* The ticket that the handshake left out. */
static enum nj_err
write_ticket(struct tls_stream *s)
{
	if (!SSL_new_session_ticket(s->ssl) || SSL_do_handshake(s->ssl) != 1)
		return NJ_TLS;
	return NJ_OK;
}

/* Without a certificate it is the session alone that an idle connection would
 * keep. */
static enum nj_err
shed_session(struct tls_stream *s)
{
	struct tls_shard *sh = &s->server->shard[s->shard];
	SSL_CTX *park;

	if (SSL_SESSION_get_max_fragment_length(SSL_get_session(s->ssl)) !=
		TLSEXT_max_fragment_length_DISABLED ||
	    !(park = park_of(sh, s->ssl)) ||
	    SSL_set_SSL_CTX(s->ssl, park) != park)
		return NJ_OK;
	return SSL_set_session(s->ssl, sh->blank) ? NJ_OK : NJ_TLS;
}

enum nj_err
tls_shed(struct tls_stream *s, X509 *leaf)
{
	struct tls_shard *sh = &s->server->shard[s->shard];
	bool ticket = s->ticket_due;
	/* The certificate alone would not tell all that is asked. */
	bool whole = s->server->want_issuers;
	SSL_SESSION *sess = SSL_get_session(s->ssl);
	SSL_CTX *park;
	enum nj_err e = NJ_OK;

	if (!leaf)
		return tls_shed_works() ? shed_session(s) : NJ_OK;
	s->ticket_due = false;
	/* The limit on our records is kept in the session. */
	if (!tls_shed_works() ||
	    SSL_SESSION_get_max_fragment_length(sess) !=
		TLSEXT_max_fragment_length_DISABLED ||
	    !(park = park_of(sh, s->ssl)) ||
	    SSL_set_SSL_CTX(s->ssl, park) != park)
		return ticket && !whole ? write_ticket(s) : NJ_OK;
	if (ticket && tls_ident_put(s->peer, &s->ident)) {
		buf_fini(&s->ident); /* with the certificate then */
		ticket = !whole;
	} else if (ticket && (sess = session_for_ticket(s))) {
		if (!SSL_set_session(s->ssl, sess))
			e = NJ_TLS;
		SSL_SESSION_free(sess); /* the connection's now */
	} else {
		ticket = false; /* an identity is no list of issuers */
	}
	if (!e && ticket)
		e = write_ticket(s);
	buf_fini(&s->ident);
	if (!e && !SSL_set_session(s->ssl, sh->blank))
		e = NJ_TLS;
	return e;
}
