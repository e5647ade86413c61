/* SPDX-License-Identifier: Apache-2.0
 * tls_attack - a TLS client that connects in order and then is not: once the
 *              handshake is done it makes its records itself, of any type and
 *              content, with the keys of the connection.
 *
 *   tls_attack HOST PORT CAFILE 1.2|1.3 ATTACK COUNT
 *
 * Attacks: empty (records of application data without any), renegotiate (a
 * ClientHello again; TLS 1.2), keyupdate (TLS 1.3, by OpenSSL), alert (warnings),
 * ccs (ChangeCipherSpec), huge (a record longer than any may be), garbage (a
 * record that was not made with the key), none.
 *
 * Prints how many records it could send and how it ended: "sent 100 alert 10",
 * "sent 100 eof", "sent 100 open" when the other end does nothing for a second.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REC_CCS	      20
#define REC_ALERT     21
#define REC_HANDSHAKE 22
#define REC_DATA      23
#define KEY_N	      16
#define IV_N	      12
#define TAG_N	      16
#define SALT_N	      4 /* TLS 1.2: the part of the IV that is not sent */
#define OPEN_MS	      1000

/* The keys that records to the server are made with. */
struct sender {
	bool v13;
	uint8_t key[KEY_N], iv[IV_N];
	uint64_t seq;
	int fd;
};

static uint8_t secret13[32]; /* of SHA-256 suites */
static bool have13;

static void
die(const char *what)
{
	(void)fprintf(stderr, "tls_attack: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(2);
}

/* SSLKEYLOGFILE's lines, NSS's format. */
static void
on_keylog(const SSL *ssl, const char *line)
{
	static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
	const char *hex;

	(void)ssl;
	if (strncmp(line, label, sizeof label - 1) != 0 ||
	    !(hex = strrchr(line, ' ')))
		return;
	for (size_t i = 0; i < sizeof secret13; i++) {
		unsigned v = 0;

		if (sscanf(hex + 1 + 2 * i, "%2x", &v) != 1)
			die("the secret is too short");
		secret13[i] = (uint8_t)v;
	}
	have13 = true;
}

/* RFC 8446 7.1, with an empty context. */
static void
expand_label(const char *label, uint8_t *out, size_t n)
{
	uint8_t info[64];
	size_t len = strlen(label), at = 0;
	EVP_PKEY_CTX *k = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);

	info[at++] = (uint8_t)(n >> 8);
	info[at++] = (uint8_t)n;
	info[at++] = (uint8_t)(6 + len);
	memcpy(info + at, "tls13 ", 6);
	memcpy(info + at + 6, label, len);
	at += 6 + len;
	info[at++] = 0;
	if (!k || EVP_PKEY_derive_init(k) <= 0 ||
	    EVP_PKEY_CTX_set_hkdf_mode(k, EVP_PKEY_HKDEF_MODE_EXPAND_ONLY) <=
		0 ||
	    EVP_PKEY_CTX_set_hkdf_md(k, EVP_sha256()) <= 0 ||
	    EVP_PKEY_CTX_set1_hkdf_key(k, secret13, sizeof secret13) <= 0 ||
	    EVP_PKEY_CTX_add1_hkdf_info(k, info, (int)at) <= 0 ||
	    EVP_PKEY_derive(k, out, &n) <= 0)
		die("HKDF");
	EVP_PKEY_CTX_free(k);
}

/* RFC 5246 6.3: two keys, two salts; the client's come first. */
static void
keys12(SSL *ssl, struct sender *s)
{
	static const uint8_t label[] = "key expansion";
	uint8_t master[48], seed[64], block[2 * KEY_N + 2 * SALT_N];
	size_t n = sizeof block;
	EVP_PKEY_CTX *k = EVP_PKEY_CTX_new_id(EVP_PKEY_TLS1_PRF, NULL);

	if (SSL_SESSION_get_master_key(
		SSL_get_session(ssl), master, sizeof master) != sizeof master)
		die("no master secret");
	SSL_get_server_random(ssl, seed, 32);
	SSL_get_client_random(ssl, seed + 32, 32);
	if (!k || EVP_PKEY_derive_init(k) <= 0 ||
	    EVP_PKEY_CTX_set_tls1_prf_md(k, EVP_sha256()) <= 0 ||
	    EVP_PKEY_CTX_set1_tls1_prf_secret(k, master, sizeof master) <= 0 ||
	    EVP_PKEY_CTX_add1_tls1_prf_seed(k, label, sizeof label - 1) <= 0 ||
	    EVP_PKEY_CTX_add1_tls1_prf_seed(k, seed, sizeof seed) <= 0 ||
	    EVP_PKEY_derive(k, block, &n) <= 0)
		die("PRF");
	memcpy(s->key, block, KEY_N);
	memcpy(s->iv, block + 2 * KEY_N, SALT_N);
	EVP_PKEY_CTX_free(k);
	s->seq = 1; /* Finished was 0 */
}

static size_t
seal(const struct sender *s, const uint8_t *nonce, const uint8_t *aad,
    int aad_n, const uint8_t *in, size_t n, uint8_t *out)
{
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int got = 0, last = 0;

	if (!c ||
	    EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, s->key, nonce) !=
		1 ||
	    EVP_EncryptUpdate(c, NULL, &got, aad, aad_n) != 1 ||
	    (n > 0 && EVP_EncryptUpdate(c, out, &got, in, (int)n) != 1) ||
	    EVP_EncryptFinal_ex(c, out + n, &last) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_N, out + n) != 1)
		die("AES-GCM");
	EVP_CIPHER_CTX_free(c);
	return n + TAG_N;
}

static void
put_seq(uint8_t *at, uint64_t seq)
{
	for (int i = 7; i >= 0; i--, seq >>= 8)
		at[i] = (uint8_t)seq;
}

static void
put_head(uint8_t *at, uint8_t type, size_t n)
{
	at[0] = type;
	at[1] = at[2] = 3;
	at[3] = (uint8_t)(n >> 8);
	at[4] = (uint8_t)n;
}

/* A record of this content; its size. */
static size_t
record(
    struct sender *s, uint8_t type, const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t nonce[IV_N], aad[13], inner[600], seq[8];

	put_seq(seq, s->seq++);
	memcpy(nonce, s->iv, IV_N);
	if (s->v13) {
		memcpy(inner, in, n);
		inner[n] = type;
		for (int i = 0; i < 8; i++)
			nonce[4 + i] ^= seq[i];
		put_head(out, REC_DATA, n + 1 + TAG_N);
		return 5 + seal(s, nonce, out, 5, inner, n + 1, out + 5);
	}
	memcpy(nonce + SALT_N, seq, 8);
	memcpy(aad, seq, 8);
	put_head(aad + 8, type, n);
	put_head(out, type, 8 + n + TAG_N);
	memcpy(out + 5, seq, 8);
	return 13 + seal(s, nonce, aad, sizeof aad, in, n, out + 13);
}

static bool
send_raw(int fd, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k <= 0)
			return false;
		p += k;
		n -= (size_t)k;
	}
	return true;
}

/* The next hello of this client, as it stands in a record. */
static size_t
make_hello(SSL_CTX *ctx, uint8_t *out, size_t size)
{
	SSL *ssl = SSL_new(ctx);
	BIO *in = BIO_new(BIO_s_mem()), *mem = BIO_new(BIO_s_mem());
	char *p = NULL;
	long n;

	if (!ssl || !in || !mem)
		die("out of memory");
	SSL_set_bio(ssl, in, mem);
	(void)SSL_connect(ssl);
	n = BIO_get_mem_data(mem, &p);
	if (n < 5 || (size_t)n - 5 > size)
		die("no hello");
	memcpy(out, p + 5, (size_t)n - 5);
	SSL_free(ssl);
	return (size_t)n - 5;
}

/* One record of the attack; 0: there is no such attack. */
static size_t
attack(struct sender *s, const char *how, SSL_CTX *ctx, uint8_t *out)
{
	static uint8_t hello[512];
	static size_t hello_n;
	static const uint8_t warning[] = { 1, 90 }, one[] = { 1 };

	if (strcmp(how, "empty") == 0)
		return record(s, REC_DATA, hello, 0, out);
	if (strcmp(how, "alert") == 0)
		return record(s, REC_ALERT, warning, sizeof warning, out);
	if (strcmp(how, "ccs") == 0) {
		put_head(out, REC_CCS, 1);
		out[5] = one[0];
		return s->v13 ? 6 : record(s, REC_CCS, one, 1, out);
	}
	if (strcmp(how, "renegotiate") == 0) {
		if (!hello_n)
			hello_n = make_hello(ctx, hello, sizeof hello);
		return record(s, REC_HANDSHAKE, hello, hello_n, out);
	}
	if (strcmp(how, "huge") == 0) {
		put_head(out, REC_DATA, 16384 + 257);
		return 5;
	}
	if (strcmp(how, "garbage") == 0) {
		put_head(out, REC_DATA, 64);
		memset(out + 5, 'x', 64);
		return 69;
	}
	return 0;
}

/* What becomes of the connection. */
static void
tell(SSL *ssl, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c[256];
	int alert = 0, r;

	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	while (poll(&p, 1, OPEN_MS) > 0) {
		ERR_clear_error();
		r = SSL_read(ssl, c, sizeof c);
		if (r > 0)
			continue;
		if (SSL_get_error(ssl, r) == SSL_ERROR_WANT_READ)
			continue;
		alert = ERR_GET_REASON(ERR_peek_error());
		if (alert > SSL_AD_REASON_OFFSET)
			printf("alert %d\n", alert - SSL_AD_REASON_OFFSET);
		else
			printf("eof\n");
		return;
	}
	printf("open\n");
}

static int
dial(const char *host, const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || fd < 0 ||
	    connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
		die("cannot connect");
	return fd;
}

static SSL_CTX *
context(const char *cafile, bool v13)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int version = v13 ? TLS1_3_VERSION : TLS1_2_VERSION;

	if (!ctx || !SSL_CTX_load_verify_locations(ctx, cafile, NULL) ||
	    !SSL_CTX_set_min_proto_version(ctx, version) ||
	    !SSL_CTX_set_max_proto_version(ctx, version) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
	    !SSL_CTX_set_cipher_list(ctx,
		"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"))
		die("context");
	/* or the keys of TLS 1.2 would be made of more */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_keylog_callback(ctx, on_keylog);
	return ctx;
}

/* A whole CONNECT, so that the client is somebody. */
static void
greet(SSL *ssl)
{
	static const uint8_t connect5[] = { 0x10, 19, 0, 4, 'M', 'Q', 'T', 'T',
		5, 2, 0, 60, 0, 0, 6, 'a', 't', 't', 'a', 'c', 'k' };
	uint8_t got[256];

	if (SSL_write(ssl, connect5, sizeof connect5) != sizeof connect5 ||
	    SSL_read(ssl, got, sizeof got) < 5 || got[0] != 0x20 || got[3] != 0)
		die("no CONNACK");
}

static unsigned long
key_updates(SSL *ssl, unsigned long count)
{
	unsigned long n = 0;

	for (; n < count; n++)
		if (SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) != 1 ||
		    SSL_do_handshake(ssl) != 1)
			break;
	return n;
}

int
main(int argc, char **argv)
{
	uint8_t out[1024];
	struct sender s = { 0 };
	unsigned long n = 0, count;
	SSL_CTX *ctx;
	SSL *ssl;
	size_t size;

	if (argc != 7) {
		(void)fprintf(stderr,
		    "usage: tls_attack HOST PORT CAFILE 1.2|1.3 ATTACK "
		    "COUNT\n");
		return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	s.v13 = strcmp(argv[4], "1.3") == 0;
	count = strtoul(argv[6], NULL, 10);
	ctx = context(argv[3], s.v13);
	s.fd = dial(argv[1], argv[2]);
	if (!(ssl = SSL_new(ctx)) || !SSL_set_fd(ssl, s.fd) ||
	    !SSL_set_tlsext_host_name(ssl, "localhost") ||
	    SSL_connect(ssl) != 1)
		die("handshake");
	greet(ssl);
	if (strcmp(argv[5], "keyupdate") == 0) {
		n = key_updates(ssl, count);
	} else if (strcmp(argv[5], "none") != 0) {
		if (s.v13) {
			if (!have13)
				die("no traffic secret");
			expand_label("key", s.key, KEY_N);
			expand_label("iv", s.iv, IV_N);
		} else {
			keys12(ssl, &s);
		}
		s.seq++; /* CONNECT */
		for (; n < count; n++) {
			if (!(size = attack(&s, argv[5], ctx, out)))
				die("no such attack");
			if (!send_raw(s.fd, out, size))
				break;
		}
	}
	printf("sent %lu ", n);
	tell(ssl, s.fd);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	(void)close(s.fd);
	return 0;
}
