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

static int
make_hello(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	BIO *out = BIO_new(BIO_s_mem());
	int n;

	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), out);
	SSL_set_connect_state(ssl);
	(void)SSL_set_tlsext_host_name(ssl, "broker.example");
	(void)SSL_do_handshake(ssl);
	n = BIO_read(out, hello, sizeof hello);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	hello_len = n > 0 ? (size_t)n : 0;
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut),
		cmocka_unit_test(every_damaged_byte),
		cmocka_unit_test(records_of_one_byte),
		cmocka_unit_test(never_ending),
	};

	return cmocka_run_group_tests(tests, make_hello, NULL);
}
