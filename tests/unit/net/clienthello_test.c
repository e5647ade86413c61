/* SPDX-License-Identifier: Apache-2.0
 * The look at a ClientHello: every cut of a real one, and damaged ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "net/clienthello.h"

static uint8_t hello[4096], work[HELLO_MAX];
static size_t hello_len;

static size_t
hello_of(int max, uint8_t *p, size_t size)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *out = BIO_new(BIO_s_mem());
	char name[] = "broker.example";
	int n;

	(void)SSL_set_max_proto_version(ssl, max);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(ssl);
	(void)SSL_set_tlsext_host_name(ssl, name);
	(void)SSL_do_handshake(ssl);
	n = BIO_read(out, p, (int)size);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	return n > 0 ? (size_t)n : 0;
}

static int
make_hello(void **state)
{
	hello_len = hello_of(TLS1_3_VERSION, hello, sizeof hello);
	return hello_len > 100 ? 0 : -1;
}

/* In memory of its own size, so that a read past it is noticed. */
static enum nj_err
parse(const uint8_t *p, size_t n, struct hello *h, char *sni)
{
	uint8_t *copy = malloc(n ? n : 1);
	struct nj_why why = { 0 };
	enum nj_err e;

	assert_non_null(copy);
	memcpy(copy, p, n);
	e = hello_parse(slice_of(copy, n), work, h, &why);
	if (!e && sni && h->sni.n < 64)
		memcpy(sni, h->sni.p, h->sni.n);
	if (e && e != NJ_AGAIN)
		assert_true(why.what[0]);
	free(copy);
	return e;
}

static void
every_cut(void **state)
{
	struct hello h = { 0 };
	char sni[64] = "";

	for (size_t n = 0; n < hello_len; n++)
		assert_int_equal(parse(hello, n, &h, NULL), NJ_AGAIN);
	assert_int_equal(parse(hello, hello_len, &h, sni), NJ_OK);
	assert_int_equal(h.max_version, 0x0304);
	assert_string_equal(sni, "broker.example");
}

static void
every_damaged_byte(void **state)
{
	uint8_t copy[sizeof hello];
	struct hello h;

	for (size_t i = 0; i < hello_len; i++)
		for (unsigned bit = 1; bit < 256; bit <<= 1) {
			memcpy(copy, hello, hello_len);
			copy[i] ^= (uint8_t)bit;
			/* Whatever it says, it stays inside. */
			(void)!parse(copy, hello_len, &h, NULL);
		}
}

static void
records_of_one_byte(void **state)
{
	size_t n = (hello_len - 5) * 6;
	static uint8_t cut[sizeof hello * 6];
	struct hello h = { 0 };

	for (size_t i = 5; i < hello_len; i++) {
		const uint8_t rec[6] = { 0x16, 3, 1, 0, 1, hello[i] };

		memcpy(cut + (i - 5) * 6, rec, 6);
	}
	assert_int_equal(parse(cut, n - 1, &h, NULL), NJ_AGAIN);
	assert_int_equal(parse(cut, n, &h, NULL), NJ_OK);
	assert_int_equal(h.max_version, 0x0304);
}

static void
never_ending(void **state)
{
	static uint8_t p[HELLO_RAW_MAX];
	struct hello h;

	/* A length within the bound that takes for ever in small records. */
	for (size_t i = 0; i + 6 <= HELLO_RAW_MAX; i += 6)
		memcpy(p + i, (uint8_t[]){ 0x16, 3, 1, 0, 1, 0 }, 6);
	p[5] = 1;
	p[17] = 0x3f;
	assert_int_equal(parse(p, HELLO_RAW_MAX - 1, &h, NULL), NJ_AGAIN);
	assert_int_equal(parse(p, HELLO_RAW_MAX, &h, NULL), NJ_TOOBIG);
}

/* OpenSSL makes 1.2 of whatever stands there without supported_versions. */
static void
version_without_extension(void **state)
{
	const struct {
		uint16_t says;
		uint16_t want;
	} rows[] = {
		{ 0x0301, 0x0301 },
		{ 0x0303, 0x0303 },
		{ 0x0304, 0x0303 },
		{ 0x0305, 0x0303 },
		{ 0xffff, 0x0303 },
	};
	uint8_t p[1024];
	size_t n = hello_of(TLS1_2_VERSION, p, sizeof p);
	/* the same without any extensions */
	size_t bare = 5 + 4 + 2 + 32;
	struct hello h;

	assert_true(n > bare);
	bare += 1 + (size_t)p[bare];
	bare += 2 + ((size_t)p[bare] << 8 | p[bare + 1]);
	bare += 1 + (size_t)p[bare];
	assert_true(n > bare);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		p[9] = (uint8_t)(rows[i].says >> 8);
		p[10] = (uint8_t)rows[i].says;
		assert_int_equal(parse(p, n, &h, NULL), NJ_OK);
		assert_int_equal(h.max_version, rows[i].want);
	}
	p[3] = (uint8_t)((bare - 5) >> 8);
	p[4] = (uint8_t)(bare - 5);
	p[7] = (uint8_t)((bare - 9) >> 8);
	p[8] = (uint8_t)(bare - 9);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		p[9] = (uint8_t)(rows[i].says >> 8);
		p[10] = (uint8_t)rows[i].says;
		assert_int_equal(parse(p, bare, &h, NULL), NJ_OK);
		assert_int_equal(h.max_version, rows[i].want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut),
		cmocka_unit_test(every_damaged_byte),
		cmocka_unit_test(records_of_one_byte),
		cmocka_unit_test(never_ending),
		cmocka_unit_test(version_without_extension),
	};

	return cmocka_run_group_tests(tests, make_hello, NULL);
}
