/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/pkcs7.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <string.h>

#define LINE_BYTES 48 /* 64 characters */

enum nj_err
pki_base64_put(struct buf *out, struct slice s)
{
	unsigned char line[LINE_BYTES / 3 * 4 + 2];
	enum nj_err e = NJ_OK;

	while (!e && s.n > 0) {
		size_t n = s.n < LINE_BYTES ? s.n : LINE_BYTES;
		int len = EVP_EncodeBlock(line, s.p, (int)n);

		line[len] = '\n';
		e = buf_put(out, line, (size_t)len + 1);
		s = slice_of(s.p + n, s.n - n);
	}
	return e;
}

static int
value_of(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice
skip_line(struct slice s)
{
	const uint8_t *nl = memchr(s.p, '\n', s.n);
	size_t n = nl ? (size_t)(nl - s.p) + 1 : s.n;

	return slice_of(s.p + n, s.n - n);
}

enum nj_err
pki_base64_take(struct slice s, size_t max, struct buf *out)
{
	uint32_t bits = 0;
	unsigned have = 0, pads = 0, chars = 0;
	bool start = true;
	enum nj_err e;

	while (s.n > 0) {
		uint8_t c = s.p[0];
		int v = value_of(c);

		if (start && slice_has_prefix(s, LIT("-----"))) {
			s = skip_line(s);
			continue;
		}
		start = c == '\n';
		s = slice_of(s.p + 1, s.n - 1);
		if (is_space(c))
			continue;
		chars++;
		if (c == '=' && ++pads <= 2)
			continue;
		if (v < 0 || pads > 0)
			return NJ_MALFORMED;
		bits = bits << 6 | (uint32_t)v;
		if ((have += 6) < 8)
			continue;
		have -= 8;
		if (buf_len(out) >= max)
			return NJ_TOOBIG;
		if ((e = buf_put_u8(out, (uint8_t)(bits >> have))))
			return e;
	}
	return chars % 4 == 0 && (bits & ((1u << have) - 1)) == 0
	    ? NJ_OK
	    : NJ_MALFORMED;
}

static bool
add_next(PKCS7 *p7, struct slice *ders)
{
	struct slice der = SLICE_NONE;
	const unsigned char *p;
	X509 *x;
	bool ok;

	if (take_bin(ders, &der))
		return false;
	p = der.p;
	x = d2i_X509(NULL, &p, (long)der.n);
	ok = x && PKCS7_add_certificate(p7, x) == 1;
	X509_free(x);
	return ok;
}

enum nj_err
pkcs7_of(struct slice ders, bool one, struct buf *out)
{
	PKCS7 *p7 = PKCS7_new();
	unsigned char *der = NULL;
	enum nj_err e = NJ_CRYPTO;
	bool ok;
	int n;

	ok = p7 && PKCS7_set_type(p7, NID_pkcs7_signed) == 1 &&
	    PKCS7_content_new(p7, NID_pkcs7_data) == 1 &&
	    PKCS7_set_detached(p7, 1) == 1;
	while (ok && ders.p && ders.n > 0) {
		ok = add_next(p7, &ders);
		if (one)
			break;
	}
	if (ok && (n = i2d_PKCS7(p7, &der)) > 0)
		e = pki_base64_put(out, slice_of(der, (size_t)n));
	OPENSSL_free(der);
	PKCS7_free(p7);
	ERR_clear_error();
	return e;
}

enum nj_err
pkcs7_certs(struct slice text, STACK_OF(X509) * *out)
{
	STACK_OF(X509) *in = NULL, *certs = NULL;
	struct buf der = { 0 };
	PKCS7 *p7 = NULL;
	const unsigned char *p;
	enum nj_err e;

	if ((e = pki_base64_take(text, PKCS7_MAX, &der)))
		goto out;
	e = NJ_MALFORMED;
	p = buf_slice(&der).p;
	if (buf_len(&der) > 0 &&
	    (p7 = d2i_PKCS7(NULL, &p, (long)buf_len(&der))) &&
	    PKCS7_type_is_signed(p7) && p7->d.sign)
		in = p7->d.sign->cert;
	if (sk_X509_num(in) > 0)
		e = (certs = X509_chain_up_ref(in)) ? NJ_OK : NJ_NOMEM;
	if (!e)
		*out = certs;
out:
	PKCS7_free(p7);
	buf_fini(&der);
	ERR_clear_error();
	return e;
}
