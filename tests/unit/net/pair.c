/* SPDX-License-Identifier: Apache-2.0
 * pair - see pair.h.
 */
#include "pair.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

_Thread_local unsigned pair_shard;

void
pair_raw(struct pair *p, struct tls_server *t)
{
	int fd[2];

	memset(p, 0, sizeof *p);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) != 0 ||
	    stream_scratch_new(&p->scratch) ||
	    tls_accept(t, pair_shard, fd[0], p->scratch, &p->server))
		abort();
	p->raw = fd[1];
	p->se = p->ce = NJ_AGAIN;
}

void
pair_openssl(
    struct pair *p, struct tls_server *t, SSL_CTX *ctx, const char *sni)
{
	pair_raw(p, t);
	if (!(p->ssl = SSL_new(ctx)) || !SSL_set_fd(p->ssl, p->raw))
		abort();
	if (sni &&
	    !SSL_ctrl(p->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME,
		TLSEXT_NAMETYPE_host_name, (void *)(uintptr_t)sni))
		abort();
	SSL_set_connect_state(p->ssl);
}

void
pair_ours(struct pair *p, struct tls_server *t, struct tls_client *c,
    const char *host, bool resume)
{
	pair_raw(p, t);
	if (tls_connect(c, p->raw, host, resume, p->scratch, &p->client))
		abort();
	p->raw = -1;
}

static enum nj_err
client_step(struct pair *p)
{
	int r;

	if (p->client)
		return stream_handshake(p->client);
	if (!p->ssl)
		return NJ_AGAIN;
	ERR_clear_error();
	r = SSL_do_handshake(p->ssl);
	if (r == 1)
		return NJ_OK;
	r = SSL_get_error(p->ssl, r);
	ERR_clear_error();
	return r == SSL_ERROR_WANT_READ || r == SSL_ERROR_WANT_WRITE ? NJ_AGAIN
								     : NJ_TLS;
}

void
pair_handshake(struct pair *p)
{
	for (int i = 0; i < 20; i++) {
		if (p->ce == NJ_AGAIN)
			p->ce = client_step(p);
		if (p->ce != NJ_OK && p->ce != NJ_AGAIN && p->ssl) {
			/* A program that failed ends its connection. */
			(void)shutdown(p->raw, SHUT_WR);
		}
		if (p->ce != NJ_OK && p->ce != NJ_AGAIN && p->client)
			(void)shutdown(stream_fd(p->client), SHUT_WR);
		if (p->se == NJ_AGAIN)
			p->se = stream_handshake(p->server);
		if (p->se != NJ_OK && p->se != NJ_AGAIN)
			(void)shutdown(stream_fd(p->server), SHUT_WR);
	}
}

void
pair_fini(struct pair *p)
{
	stream_free(p->server);
	stream_free(p->client);
	SSL_free(p->ssl);
	if (p->raw >= 0)
		(void)close(p->raw);
	stream_scratch_free(p->scratch);
	ERR_clear_error();
}

void
pair_say(struct stream *from, struct stream *to, const char *text)
{
	uint8_t got[256];
	size_t n = 0;

	if (stream_write(from, (const uint8_t *)text, strlen(text), &n) ||
	    n != strlen(text)) {
		(void)fprintf(stderr, "write: %s\n", stream_why(from)->what);
		abort();
	}
	if (stream_read(to, got, sizeof got, &n) || n != strlen(text) ||
	    memcmp(got, text, n) != 0) {
		(void)fprintf(
		    stderr, "read %zu: %s\n", n, stream_why(to)->what);
		abort();
	}
}
