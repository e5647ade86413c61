/* SPDX-License-Identifier: Apache-2.0
 * tls_stream - TLS as a stream transport.
 *
 * OpenSSL reads and writes memory only: the thread's scratch.  One receive
 * fills it, and OpenSSL is shown whole records, so that its own 16 KiB buffer
 * comes and goes within a call; a record that is not whole yet is kept beside
 * the stream at the size that has arrived.  What OpenSSL writes gathers in
 * the scratch and leaves with one send at the end of the call.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/clienthello.h"
#include "net/loop.h"
#include "net/tls_impl.h"

#define HEAD 5 /* of a record */

static struct tls_stream *
tls_of(struct stream *s)
{
	return (struct tls_stream *)s;
}

static const struct tls_stream *
ctls_of(const struct stream *s)
{
	return (const struct tls_stream *)s;
}

struct tls_stream *
tls_stream_of(const SSL *ssl)
{
	struct stream_scratch *sc = BIO_get_data(SSL_get_rbio(ssl));

	return tls_of(sc->cur);
}

/* -- received bytes ------------------------------------------------------ */

/* How far whole records reach.  A length that no record may have counts as
 * whole: OpenSSL refuses it with the right alert. */
static size_t
whole_records(const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (n - at >= HEAD) {
		size_t len = HEAD + ((size_t)p[at + 3] << 8 | p[at + 4]);

		if (len > TLS_RECORD_MAX)
			return n;
		if (len > n - at)
			break;
		at += len;
	}
	return at;
}

/* Brings kept and, where that makes no whole record, new bytes to the
 * scratch. */
static enum nj_err
fill(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;
	/* A hello may need several records. */
	bool whole = s->kept_whole && s->phase != TLS_HELLO;
	enum nj_err e = NJ_OK;
	size_t n = 0;

	sc->in_at = sc->in_end = 0;
	if (s->kept) {
		memcpy(sc->in, s->kept, s->kept_len);
		sc->in_end = s->kept_len;
		free(s->kept);
		s->kept = NULL;
		s->kept_whole = false;
	}
	if (!whole) {
		e = stream_recv(
		    &s->base, sc->in + sc->in_end, SCRATCH_IN - sc->in_end, &n);
		s->more = n == SCRATCH_IN - sc->in_end;
		sc->in_end += n;
		s->eof = e == NJ_EOF;
	}
	sc->in_whole = whole_records(sc->in, sc->in_end);
	return e;
}

/* Puts beside the stream what the call left. */
static enum nj_err
keep(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;
	size_t n = sc->in_end - sc->in_at;

	if (n > 0) {
		if (!(s->kept = malloc(n)))
			return NJ_NOMEM;
		memcpy(s->kept, sc->in + sc->in_at, n);
		s->kept_len = (uint32_t)n;
		s->kept_whole = sc->in_whole > sc->in_at;
	}
	sc->in_at = sc->in_whole = sc->in_end = 0;
	return NJ_OK;
}

/* -- bytes to send ------------------------------------------------------- */

static enum nj_err
send_unsent(struct tls_stream *s)
{
	while (s->unsent) {
		size_t n = 0;
		enum nj_err e = stream_send(&s->base, s->unsent + s->unsent_at,
		    s->unsent_len - s->unsent_at, &n);

		if (e)
			return e;
		s->unsent_at += (uint32_t)n;
		if (s->unsent_at == s->unsent_len) {
			free(s->unsent);
			s->unsent = NULL;
			s->lazy = false;
		}
	}
	return NJ_OK;
}

/* Appends to what the socket has not taken yet. */
static enum nj_err
keep_unsent(struct tls_stream *s, const uint8_t *p, size_t n)
{
	size_t had = s->unsent ? s->unsent_len - s->unsent_at : 0;
	uint8_t *all;

	if (had + n > STREAM_UNSENT_MAX)
		return NJ_TOOBIG;
	if (!(all = malloc(had + n)))
		return NJ_NOMEM;
	if (had)
		memcpy(all, s->unsent + s->unsent_at, had);
	memcpy(all + had, p, n);
	free(s->unsent);
	s->unsent = all;
	s->unsent_at = 0;
	s->unsent_len = (uint32_t)(had + n);
	return NJ_OK;
}

/* Sends what the call wrote; what the socket refuses is kept. */
static enum nj_err
send_out(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;
	size_t n = 0, len = sc->out_len;
	enum nj_err e;

	if (len == 0)
		return NJ_OK;
	sc->out_len = 0;
	if (s->unsent) {
		s->lazy = false;
		if ((e = keep_unsent(s, sc->out, len)))
			return e;
		e = send_unsent(s);
		return e == NJ_AGAIN ? NJ_OK : e;
	}
	e = stream_send(&s->base, sc->out, len, &n);
	if (e && e != NJ_AGAIN)
		return e;
	return n < len ? keep_unsent(s, sc->out + n, len - n) : NJ_OK;
}

/* Keeps what the call wrote for the next write to take along. */
static enum nj_err
send_later(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;
	size_t len = sc->out_len;

	if (len == 0 || s->unsent)
		return send_out(s);
	sc->out_len = 0;
	s->lazy = true;
	return keep_unsent(s, sc->out, len);
}

/* -- one call ------------------------------------------------------------ */

static void
begin(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;

	sc->cur = &s->base;
	sc->in_at = sc->in_whole = sc->in_end = sc->out_len = 0;
	/* SSL_get_error looks at the thread's queue: leave nothing of others
	 * there. */
	if (ERR_peek_error())
		ERR_clear_error();
}

static enum nj_err
fail(struct tls_stream *s)
{
	s->phase = TLS_FAILED;
	if (!s->explained)
		tls_explain(s);
	s->explained = true;
	ERR_clear_error();
	return NJ_TLS;
}

void
tls_on_message(int write_p, int version, int type, const void *buf, size_t len,
    SSL *ssl, void *arg)
{
	struct tls_stream *s;

	if (write_p || type != SSL3_RT_HANDSHAKE || len < 1)
		return;
	s = tls_stream_of(ssl);
	/* TLS 1.2: a new handshake, which is answered with a warning */
	if (*(const uint8_t *)buf != SSL3_MT_KEY_UPDATE &&
	    (s->phase != TLS_OPEN ||
		*(const uint8_t *)buf != SSL3_MT_CLIENT_HELLO))
		return;
	if (s->key_updates >= TLS_KEY_UPDATES_MAX)
		s->flooded = true;
	else
		s->key_updates++;
}

/* -- handshake ----------------------------------------------------------- */

/* NJ_OK once the hello is whole and the stream has its SSL. */
static enum nj_err
await_hello(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;
	struct hello h = { 0 };
	struct nj_why why = { 0 };
	enum nj_err e =
	    hello_parse(slice_of(sc->in, sc->in_end), sc->plain, &h, &why);

	if (e == NJ_AGAIN)
		return e;
	if (e) {
		struct nj_why *own = stream_why_new(&s->base);

		if (own)
			*own = why;
		s->explained = true;
		return fail(s);
	}
	s->hello_version = h.max_version;
	if (h.sni.n > 0 && h.sni.n < 256 &&
	    !(s->name = strndup((const char *)h.sni.p, h.sni.n)))
		return NJ_NOMEM;
	if ((e = tls_stream_start(s, s->server->shard[s->shard].ctx)))
		return e;
	/* TLS 1.2 promises one before it is known who comes */
	if (tls_server_12_has_no_tickets(s->server) &&
	    h.max_version < TLS1_3_VERSION) {
		(void)SSL_set_options(s->ssl, SSL_OP_NO_TICKET);
		(void)SSL_set_num_tickets(s->ssl, 0);
	}
	return NJ_OK;
}

/* Who the peer is, from its certificate or from what its ticket says. */
static enum nj_err
make_peer(struct tls_stream *s, X509 *leaf)
{
	struct tls_told told = { .issuers = buf_slice(&s->issuers),
		.listed = buf_slice(&s->listed) };
	struct tls_beside b = { .psk = tls_psk_name(s) };
	struct tls_ident id;
	enum nj_err e;

	if (s->server)
		(void)tls_told(s->ssl, &told);
	b.sni = s->name ? slice_str(s->name) : SLICE_NONE;
	b.listed = told.listed;
	if (!leaf && told.ident.n > 0) {
		if ((e = tls_ident_take(told.ident, &id)))
			return e;
		return tls_peer_of_ident(s->ssl, &id, &b, &s->peer);
	}
	b.issuers = leaf ? told.issuers : SLICE_NONE;
	return tls_peer_new(s->ssl, leaf,
	    s->server ? s->server->shard[s->shard].sha256 : s->client->sha256,
	    &b, &s->peer);
}

static enum nj_err
established(struct tls_stream *s)
{
	X509 *leaf = SSL_get0_peer_certificate(s->ssl);
	enum nj_err e = NJ_OK;

	if (s->server && (e = tls_server_recheck(s, leaf)))
		return e;
	if ((e = make_peer(s, leaf)))
		return e;
	if (s->client)
		tls_client_established(s);
	else { /* the client's host is still of use */
		free(s->name);
		s->name = NULL;
		buf_fini(&s->ident);
		buf_fini(&s->issuers);
		buf_fini(&s->listed);
		free(s->psk);
		s->psk = NULL;
		/* what the CA says of ours was shown, and a copy of it stays */
		if (s->server->n_staples > 0)
			(void)SSL_set_tlsext_status_ocsp_resp(s->ssl, NULL, 0);
		if ((e = tls_shed(s, leaf)))
			return e;
	}
	s->phase = TLS_OPEN;
	return NJ_OK;
}

static enum nj_err
handshake_step(struct tls_stream *s)
{
	int r = SSL_do_handshake(s->ssl), err;
	enum nj_err e;

	if (r == 1) {
		if ((e = established(s))) {
			/* The ticket is not sent: nobody comes back with it. */
			s->scratch->out_len = 0;
			s->phase = TLS_FAILED;
			s->explained = true;
		}
		return e;
	}
	err = SSL_get_error(s->ssl, r);
	if (err != SSL_ERROR_WANT_READ)
		return fail(s);
	if (s->eof) {
		tls_explain_eof(s);
		s->explained = true;
		return fail(s);
	}
	return NJ_AGAIN;
}

static enum nj_err
handshake_in(struct tls_stream *s)
{
	enum nj_err e = NJ_OK;
	bool first = s->phase == TLS_HANDSHAKE && SSL_in_before(s->ssl);

	if (!first && (e = fill(s)) && e != NJ_EOF)
		return e;
	if (s->phase == TLS_HELLO) {
		if (e == NJ_EOF) {
			tls_explain_eof(s);
			s->explained = true;
			(void)fail(s);
			return NJ_EOF; /* nothing was refused */
		}
		if ((e = await_hello(s)))
			return e;
		s->phase = TLS_HANDSHAKE;
	} else if (!first && s->scratch->in_whole == 0 && !s->eof)
		return NJ_AGAIN;
	return handshake_step(s);
}

static enum nj_err
tls_handshake(struct stream *base)
{
	struct tls_stream *s = tls_of(base);
	enum nj_err e, e2;
	bool lazy;

	if (s->phase >= TLS_OPEN)
		return s->phase == TLS_OPEN ? NJ_OK : NJ_TLS;
	begin(s);
	if (s->unsent && (e = send_unsent(s)) && e != NJ_AGAIN)
		return e;
	e = handshake_in(s);
	if (e != NJ_OK && e != NJ_AGAIN) {
		(void)send_out(s); /* the alert */
		/* Closing with bytes unread resets the connection, and the
		 * client may never see the alert. */
		(void)!recv(base->fd, s->scratch->in, SCRATCH_IN, 0);
		return e;
	}
	/* The server's last words in TLS 1.3 are the ticket: it travels with
	 * the first answer (CONNACK). */
	lazy = e == NJ_OK && s->server && SSL_version(s->ssl) >= TLS1_3_VERSION;
	if ((e2 = keep(s)) || (e2 = lazy ? send_later(s) : send_out(s)))
		return e2;
	return e;
}

/* -- data ---------------------------------------------------------------- */

/* Takes what is decrypted until dst is full or no whole record is left. */
static size_t
take_records(struct tls_stream *s, uint8_t *dst, size_t cap, int *err)
{
	struct stream_scratch *sc = s->scratch;
	size_t got = 0, k = 0;
	int r;

	*err = SSL_ERROR_NONE;
	while (got < cap &&
	    (sc->in_at < sc->in_whole || SSL_pending(s->ssl) > 0)) {
		r = SSL_read_ex(s->ssl, dst + got, cap - got, &k);
		if (r != 1) {
			*err = SSL_get_error(s->ssl, r);
			if (*err != SSL_ERROR_WANT_READ)
				break;
			*err = SSL_ERROR_NONE;
		} else
			got += k;
		if (s->flooded)
			break;
	}
	return got;
}

static enum nj_err
read_failed(struct tls_stream *s, int err)
{
	if (s->flooded) {
		struct nj_why *w = stream_why_new(&s->base);

		why_set(w,
		    "more than %d KeyUpdates or renegotiations with hardly "
		    "any data between them",
		    TLS_KEY_UPDATES_MAX);
		s->explained = true;
		return fail(s);
	}
	if (err == SSL_ERROR_ZERO_RETURN) {
		s->ended = true;
		return NJ_EOF;
	}
	return fail(s);
}

static enum nj_err
tls_read(struct stream *base, uint8_t *dst, size_t cap, size_t *n)
{
	struct tls_stream *s = tls_of(base);
	int err = SSL_ERROR_NONE;
	enum nj_err in = NJ_OK, e = NJ_OK, e2;
	size_t got;

	if (s->phase != TLS_OPEN)
		return NJ_TLS;
	if (s->ended)
		return NJ_EOF;
	begin(s);
	if (SSL_pending(s->ssl) == 0)
		in = fill(s);
	got = take_records(s, dst, cap, &err);
	if (err != SSL_ERROR_NONE || s->flooded)
		e = read_failed(s, err);
	e2 = keep(s);
	/* KeyUpdate answers and alerts. */
	if (!e2)
		e2 = send_out(s);
	if (got > 0) {
		/* A failure shows at the next call. */
		if (s->key_updates)
			s->key_updates--;
		*n = got;
		return NJ_OK;
	}
	if (e)
		return e;
	if (e2)
		return e2;
	return in ? in : NJ_AGAIN;
}

/* As many records of src as the scratch holds. */
static enum nj_err
put_records(struct tls_stream *s, const uint8_t *src, size_t len, size_t *n)
{
	struct stream_scratch *sc = s->scratch;
	size_t at = 0, k = 0;

	while (at < len && sc->out_len + TLS_RECORD_OUT <= SCRATCH_OUT) {
		size_t part = len - at;

		if (part > TLS_PLAIN_MAX)
			part = TLS_PLAIN_MAX;
		if (SSL_write_ex(s->ssl, src + at, part, &k) != 1)
			return fail(s);
		at += k;
	}
	*n = at;
	return NJ_OK;
}

/* Nothing accepted earlier waits, except what travels along. */
static enum nj_err
ready_to_write(struct tls_stream *s)
{
	struct stream_scratch *sc = s->scratch;

	if (s->phase != TLS_OPEN)
		return NJ_TLS;
	begin(s);
	if (s->unsent && s->lazy) {
		memcpy(sc->out, s->unsent + s->unsent_at,
		    s->unsent_len - s->unsent_at);
		sc->out_len = s->unsent_len - s->unsent_at;
		free(s->unsent);
		s->unsent = NULL;
		s->lazy = false;
	}
	return s->unsent ? send_unsent(s) : NJ_OK;
}

static enum nj_err
tls_write(struct stream *base, const uint8_t *src, size_t len, size_t *n)
{
	struct tls_stream *s = tls_of(base);
	size_t at = 0, k = 0;
	enum nj_err e;

	if ((e = ready_to_write(s)))
		return e;
	while (at < len && !s->unsent) {
		if ((e = put_records(s, src + at, len - at, &k)) ||
		    (e = send_out(s)))
			return e;
		at += k;
	}
	*n = at;
	return NJ_OK;
}

/* The next at most TLS_PLAIN_MAX bytes of the pieces, made one. */
static struct slice
join_pieces(struct stream_scratch *sc, const struct iovec *iov, int cnt, int *i,
    size_t *off)
{
	size_t n = 0;

	while (*i < cnt && n < TLS_PLAIN_MAX) {
		const uint8_t *p = (const uint8_t *)iov[*i].iov_base + *off;
		size_t left = iov[*i].iov_len - *off;

		if (n == 0 && left >= TLS_PLAIN_MAX) { /* no copy */
			*off += TLS_PLAIN_MAX;
			return slice_of(p, TLS_PLAIN_MAX);
		}
		if (left > TLS_PLAIN_MAX - n)
			left = TLS_PLAIN_MAX - n;
		if (left)
			memcpy(sc->plain + n, p, left);
		n += left;
		*off += left;
		if (*off == iov[*i].iov_len) {
			++*i;
			*off = 0;
		}
	}
	return slice_of(sc->plain, n);
}

static enum nj_err
tls_writev(struct stream *base, const struct iovec *iov, int cnt, size_t *n)
{
	struct tls_stream *s = tls_of(base);
	struct stream_scratch *sc = s->scratch;
	size_t at = 0, k = 0, off = 0;
	int i = 0;
	enum nj_err e;

	if ((e = ready_to_write(s)))
		return e;
	while (!s->unsent) {
		struct slice part = join_pieces(sc, iov, cnt, &i, &off);

		if (part.n > 0 && (e = put_records(s, part.p, part.n, &k)))
			return e;
		at += part.n;
		if ((part.n == 0 ||
			sc->out_len + TLS_RECORD_OUT > SCRATCH_OUT) &&
		    (e = send_out(s)))
			return e;
		if (part.n == 0)
			break;
	}
	*n = at;
	return NJ_OK;
}

static enum nj_err
tls_flush(struct stream *base)
{
	return send_unsent(tls_of(base));
}

static bool
tls_pending(const struct stream *base)
{
	const struct tls_stream *s = ctls_of(base);

	return s->phase != TLS_HELLO &&
	    (s->kept_whole || s->more || s->ended || s->phase == TLS_FAILED ||
		(s->ssl && SSL_pending(s->ssl) > 0));
}

static unsigned
tls_wants(const struct stream *base)
{
	const struct tls_stream *s = ctls_of(base);

	return (s->phase < TLS_OPEN ? LOOP_IN : 0u) |
	    (s->unsent && !s->lazy ? LOOP_OUT : 0u);
}

static void
tls_shutdown(struct stream *base)
{
	struct tls_stream *s = tls_of(base);

	if (s->phase != TLS_OPEN)
		return;
	begin(s);
	(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
	(void)send_out(s);
	(void)shutdown(base->fd, SHUT_WR);
}

static void
tls_move(struct stream *base, struct stream_scratch *scratch)
{
	struct tls_stream *s = tls_of(base);

	s->scratch = scratch;
	if (s->ssl && BIO_up_ref(scratch->bio))
		SSL_set_bio(s->ssl, scratch->bio, scratch->bio);
}

static const struct tls_peer *
tls_get_peer(const struct stream *base)
{
	return ctls_of(base)->peer;
}

static void
tls_free(struct stream *base)
{
	struct tls_stream *s = tls_of(base);

	/* Else the library takes a connection that just ended for a bad one
	 * and spoils the session that the client would come back with. */
	if (s->ssl && s->phase == TLS_OPEN)
		SSL_set_shutdown(
		    s->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(s->ssl);
	tls_server_unref(s->server);
	free(s->peer);
	free(s->name);
	buf_fini(&s->issuers);
	buf_fini(&s->listed);
	free(s->psk);
	buf_fini(&s->ident);
	free(s->kept);
	free(s->unsent);
	free(s);
}

static const struct stream_ops tls_ops = {
	.handshake = tls_handshake,
	.read = tls_read,
	.write = tls_write,
	.writev = tls_writev,
	.flush = tls_flush,
	.pending = tls_pending,
	.wants = tls_wants,
	.shutdown = tls_shutdown,
	.move = tls_move,
	.tls = tls_get_peer,
	.free = tls_free,
};

enum nj_err
tls_stream_new(int fd, struct stream_scratch *scratch, struct tls_stream **out)
{
	struct tls_stream *s = calloc(1, sizeof *s);

	if (!s)
		return NJ_NOMEM;
	s->base.ops = &tls_ops;
	s->base.fd = fd;
	s->scratch = scratch;
	*out = s;
	return NJ_OK;
}

enum nj_err
tls_stream_start(struct tls_stream *s, SSL_CTX *ctx)
{
	if (!(s->ssl = SSL_new(ctx)))
		return NJ_NOMEM;
	if (!BIO_up_ref(s->scratch->bio))
		return NJ_NOMEM;
	SSL_set_bio(s->ssl, s->scratch->bio, s->scratch->bio);
	if (s->server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	return NJ_OK;
}
