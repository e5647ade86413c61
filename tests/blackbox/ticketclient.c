/* SPDX-License-Identifier: Apache-2.0
 * ticketclient - a client of TLS that offers what others do not: a ticket that
 *                goes with another cipher beside a key of its own, an identity
 *                with a NUL, another's ticket as the name of a key.
 *
 * Usage: ticketclient PORT [NAME=VALUE]...
 *        tls=1.2|1.3  suite=  groups=  cert=FILE with the key in it, too
 *        ticket=FILE  the session to resume; forged=1: with another secret
 *        key=HEX      a shared key, of the identity id= (%00: a NUL), or of
 *                     the ticket in idticket=FILE
 *        early=NAME   a CONNECT with that identifier goes along with the ticket
 *        refuse=1     says that the broker's signature is wrong
 *        save=FILE    where to keep the ticket that comes
 *        client=      MQTT's identifier
 * Says "reused=0 answer=20020000": whether the session was resumed, and what
 * came for a CONNECT of MQTT 3.1.1; answer= alone when nothing did.
 */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static unsigned char identity[4096], key[256];
static size_t identity_len;
static long key_len;

static char *
arg(char **v, const char *name)
{
	size_t n = strlen(name);

	for (; *v; v++)
		if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
			return *v + n + 1;
	return NULL;
}

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	ERR_print_errors_fp(stderr);
	exit(2);
}

static SSL_SESSION *
session_load(const char *path)
{
	BIO *b = BIO_new_file(path, "r");
	SSL_SESSION *sess =
	    b ? PEM_read_bio_SSL_SESSION(b, NULL, NULL, NULL) : NULL;

	BIO_free(b);
	if (!sess)
		die(path);
	return sess;
}

static int
on_session(SSL *ssl, SSL_SESSION *sess)
{
	BIO *b = BIO_new_file(SSL_get_app_data(ssl), "w");

	if (!b || !PEM_write_bio_SSL_SESSION(b, sess))
		die("save");
	BIO_free(b);
	return 0;
}

/* As if the broker's certificate were forged: alert decrypt_error. */
static int
on_broker(int ok, X509_STORE_CTX *store)
{
	X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_SIGNATURE_FAILURE);
	return 0;
}

/* An external key, always with SHA-256. */
static int
on_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *n,
    SSL_SESSION **out)
{
	const unsigned char suite[2] = { 0x13, 0x01 };
	SSL_SESSION *sess;

	*out = NULL;
	if (md && !EVP_MD_is_a(md, "SHA256")) /* after a HelloRetryRequest */
		return 1;
	sess = SSL_SESSION_new();
	if (!sess || !SSL_SESSION_set1_master_key(sess, key, (size_t)key_len) ||
	    !SSL_SESSION_set_cipher(sess, SSL_CIPHER_find(ssl, suite)) ||
	    !SSL_SESSION_set_protocol_version(sess, TLS1_3_VERSION))
		return 0;
	*id = identity;
	*n = identity_len;
	*out = sess;
	return 1;
}

static void
take_identity(char **v)
{
	const char *id = arg(v, "id"), *hex = arg(v, "key");
	const char *path = arg(v, "idticket");
	unsigned char *raw = hex ? OPENSSL_hexstr2buf(hex, &key_len) : NULL;

	if (!raw || key_len > (long)sizeof key)
		die("key");
	memcpy(key, raw, (size_t)key_len);
	OPENSSL_free(raw);
	if (path) {
		const unsigned char *t = NULL;

		SSL_SESSION_get0_ticket(session_load(path), &t, &identity_len);
		if (identity_len == 0 || identity_len > sizeof identity)
			die("idticket");
		memcpy(identity, t, identity_len);
	}
	for (; id && *id && identity_len < sizeof identity; id++) {
		int zero = strncmp(id, "%00", 3) == 0;

		identity[identity_len++] = zero ? 0 : (unsigned char)*id;
		id += zero ? 2 : 0;
	}
}

static SSL_CTX *
context(char **v)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	const char *version = arg(v, "tls"), *suite = arg(v, "suite");
	const char *cert = arg(v, "cert");
	char *groups = arg(v, "groups");
	int tls = version && strcmp(version, "1.2") == 0 ? TLS1_2_VERSION
							 : TLS1_3_VERSION;

	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, tls) ||
	    !SSL_CTX_set_max_proto_version(ctx, tls) ||
	    (suite && !SSL_CTX_set_ciphersuites(ctx, suite)) ||
	    (groups && !SSL_CTX_set1_groups_list(ctx, groups)) ||
	    (cert &&
		(!SSL_CTX_use_certificate_chain_file(ctx, cert) ||
		    !SSL_CTX_use_PrivateKey_file(ctx, cert, SSL_FILETYPE_PEM))))
		die("context");
	if (arg(v, "key")) {
		take_identity(v);
		SSL_CTX_set_psk_use_session_callback(ctx, on_key);
	}
	if (arg(v, "refuse"))
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_broker);
	if (arg(v, "save")) {
		SSL_CTX_set_session_cache_mode(
		    ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, on_session);
	}
	return ctx;
}

static void
offer_ticket(SSL *ssl, char **v)
{
	static const unsigned char other[48] = "not what the ticket has";
	SSL_SESSION *sess = session_load(arg(v, "ticket"));

	if (arg(v, "forged") &&
	    !SSL_SESSION_set1_master_key(
		sess, other, SSL_SESSION_get_master_key(sess, NULL, 0)))
		die("forged");
	if (!SSL_set_session(ssl, sess))
		die("ticket");
}

/* A CONNECT; how long it is. */
static size_t
connect_packet(unsigned char out[128], const char *client)
{
	size_t n = client && strlen(client) < 100 ? strlen(client) : 0;
	const unsigned char head[14] = { 0x10, (unsigned char)(12 + n), 0, 4,
		'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, (unsigned char)n };

	memcpy(out, head, sizeof head);
	memcpy(out + sizeof head, client, n);
	return sizeof head + n;
}

/* Before it is known whether the ticket is good, whatever that one allows. */
static void
say_early(SSL *ssl, const char *client)
{
	SSL_SESSION *sess = SSL_get0_session(ssl);
	unsigned char out[128];
	size_t n = connect_packet(out, client), did = 0;

	if (!sess || !SSL_SESSION_set_max_early_data(sess, sizeof out) ||
	    !SSL_write_early_data(ssl, out, n, &did) || did != n)
		die("early");
}

/* Prints what comes for it, up to CONNACK's four bytes. */
static void
connect_mqtt(SSL *ssl, const char *client)
{
	unsigned char out[128], in[4];
	int n = (int)connect_packet(out, client), got = 0, r;

	if (SSL_write(ssl, out, n) > 0)
		while (got < 4 && (r = SSL_read(ssl, in + got, 4 - got)) > 0)
			got += r;
	for (int i = 0; i < got; i++)
		printf("%02x", in[i]);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char host[] = "localhost";
	const char *client;
	SSL *ssl;

	if (argc < 2)
		return 2;
	client = arg(argv, "client");
	to.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (connect(fd, (const struct sockaddr *)&to, sizeof to))
		die("connect");
	if (!(ssl = SSL_new(context(argv + 2))) || !SSL_set_fd(ssl, fd))
		die("connection");
	(void)SSL_set_tlsext_host_name(ssl, host);
	SSL_set_app_data(ssl, arg(argv, "save"));
	if (arg(argv, "ticket"))
		offer_ticket(ssl, argv);
	if (arg(argv, "early"))
		say_early(ssl, arg(argv, "early"));
	if (SSL_connect(ssl) != 1) {
		ERR_print_errors_fp(stderr);
		printf("answer=\n");
		return 0;
	}
	printf("reused=%d answer=", SSL_session_reused(ssl));
	connect_mqtt(ssl, client ? client : "c");
	printf("\n");
	return 0;
}
