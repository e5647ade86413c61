/* SPDX-License-Identifier: Apache-2.0
 * tls_loop - the least that a TLS server can be: one thread, epoll, OpenSSL's
 *            own calls, and a CONNACK for each CONNECT.
 *
 * What the handshakes of a broker are measured against: it parses nothing,
 * keeps nothing and knows nobody, but agrees on the same as Nightjar (versions,
 * groups, the hybrid one where the library has it, ciphers, one ticket, no cache
 * of sessions, buffers released).
 *
 * usage: tls_loop PORT[,CERTFILE,KEYFILE[,CAFILE]]...
 *
 * A port without a certificate is plain; one with a CA requires certificates of
 * clients.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORTS_MAX 16
#define EVENTS	  256
#define ACCEPTS	  64
#define BUF	  4096

#define CIPHERS_12                                                   \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERS_13                                       \
	"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:" \
	"TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256:P-384"

/* First bytes of packets, and whole answers. */
#define CONNECT	   0x10
#define PINGREQ	   0xc0
#define DISCONNECT 0xe0
static const unsigned char connack[] = { 0x20, 2, 0, 0 };
static const unsigned char pingresp[] = { 0xd0, 0 };

/* A listening socket, or a connection. */
struct place {
	int fd;
	bool listens, is_up; /* is_up: no handshake any more */
	SSL_CTX *ctx;	     /* of a listening one; NULL: plain */
	SSL *ssl;
};

static _Noreturn void
die(const char *what)
{
	(void)fprintf(stderr, "tls_loop: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static SSL_CTX *
context_new(const char *cert, const char *key, const char *ca)
{
	static const unsigned char id[] = "tls_loop";
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());

	if (!c)
		die("SSL_CTX_new");
	(void)SSL_CTX_set_options(c,
	    SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
		SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	(void)SSL_CTX_set_mode(
	    c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_security_level(c, 2);
	(void)SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	if (!SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) ||
	    !SSL_CTX_set_cipher_list(c, CIPHERS_12) ||
	    !SSL_CTX_set_ciphersuites(c, CIPHERS_13) ||
	    (!SSL_CTX_set1_groups_list(c, "X25519MLKEM768:" GROUPS) &&
		!SSL_CTX_set1_groups_list(c, GROUPS)) ||
	    !SSL_CTX_set_num_tickets(c, 1) ||
	    !SSL_CTX_set_session_id_context(c, id, sizeof id - 1) ||
	    SSL_CTX_use_certificate_chain_file(c, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
		die(cert);
	if (ca) {
		if (!SSL_CTX_load_verify_file(c, ca))
			die(ca);
		SSL_CTX_set_verify(
		    c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	}
	return c;
}

static void
watch(int ep, struct place *p)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, p->fd, &ev) != 0)
		die("epoll_ctl");
}

static void
listen_on(int ep, struct place *p, char *spec)
{
	const char *port = strsep(&spec, ",");
	const char *cert = strsep(&spec, ","), *key = strsep(&spec, ",");
	const char *ca = strsep(&spec, ",");
	struct sockaddr_in in = { .sin_family = AF_INET };
	int on = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	p->listens = true;
	p->ctx = cert && key ? context_new(cert, key, ca) : NULL;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 ||
	    setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
	    /* Accepted sockets inherit it. */
	    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
	    bind(p->fd, (const struct sockaddr *)&in, sizeof in) != 0 ||
	    listen(p->fd, SOMAXCONN) != 0)
		die("a port cannot be listened on");
	watch(ep, p);
}

static void
accept_all(int ep, const struct place *l)
{
	/* Each place is in the set from watch() on. */
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
	for (int i = 0; i < ACCEPTS; i++) {
		int fd =
		    accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct place *p;

		if (fd < 0)
			return;
		if (!(p = calloc(1, sizeof *p)) ||
		    (l->ctx &&
			(!(p->ssl = SSL_new(l->ctx)) ||
			    !SSL_set_fd(p->ssl, fd))))
			die("out of memory");
		p->fd = fd;
		p->is_up = !l->ctx;
		if (p->ssl)
			SSL_set_accept_state(p->ssl);
		watch(ep, p);
	}
}

/* TLS wants a word before the end (RFC 8446 6.1, RFC 5246 7.2.1). */
static void
end(struct place *p)
{
	ERR_clear_error();
	if (p->ssl && p->is_up)
		(void)SSL_shutdown(p->ssl);
	SSL_free(p->ssl);
	(void)close(p->fd); /* which takes it out of the set */
	free(p);
}

static bool
put(struct place *p, const unsigned char *src, size_t len)
{
	size_t n = 0;

	return p->ssl ? SSL_write_ex(p->ssl, src, len, &n) == 1
		      : send(p->fd, src, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* False: the connection has ended. */
static bool
answer(struct place *p, unsigned char first)
{
	switch (first & 0xf0) {
	case CONNECT:
		return put(p, connack, sizeof connack);
	case PINGREQ:
		return put(p, pingresp, sizeof pingresp);
	default:
		return (first & 0xf0) != DISCONNECT;
	}
}

/* One read; each brings one packet. */
static bool
take(struct place *p)
{
	unsigned char buf[BUF];
	size_t got = 0;
	ssize_t n;
	int r;

	if (!p->ssl) {
		n = recv(p->fd, buf, sizeof buf, 0);
		return n > 0 && answer(p, buf[0]);
	}
	if ((r = SSL_read_ex(p->ssl, buf, sizeof buf, &got)) == 1)
		return answer(p, buf[0]);
	return SSL_get_error(p->ssl, r) == SSL_ERROR_WANT_READ;
}

static bool
go_on(struct place *p)
{
	int r;

	ERR_clear_error();
	if (!p->is_up) {
		if ((r = SSL_do_handshake(p->ssl)) != 1)
			return SSL_get_error(p->ssl, r) == SSL_ERROR_WANT_READ;
		p->is_up = true;
	}
	return take(p);
}

int
main(int argc, char **argv)
{
	static struct place ports[PORTS_MAX];
	struct epoll_event ev[EVENTS];
	int ep = epoll_create1(EPOLL_CLOEXEC);

	(void)signal(SIGPIPE, SIG_IGN);
	if (ep < 0 || argc < 2 || argc > PORTS_MAX + 1)
		die("usage: tls_loop PORT[,CERTFILE,KEYFILE[,CAFILE]]...");
	for (int i = 1; i < argc; i++)
		listen_on(ep, &ports[i - 1], argv[i]);
	for (;;) {
		int n = epoll_wait(ep, ev, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			struct place *p = ev[i].data.ptr;

			if (p->listens)
				accept_all(ep, p);
			else if (!go_on(p))
				end(p);
		}
	}
}
