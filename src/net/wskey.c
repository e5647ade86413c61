/* SPDX-License-Identifier: Apache-2.0 */
#include "net/wskey.h"

#include <assert.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/rand.h"
#include "wire/http.h"

#define SHA1_LEN 20
#define KEY_RAW	 16 /* RFC 6455 4.1 */

enum nj_err
ws_accept_of(struct slice key, char dst[WS_ACCEPT_SIZE])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	uint8_t text[HTTP_KEY_LEN + sizeof guid - 1], sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	assert(key.n == HTTP_KEY_LEN);
	memcpy(text, key.p, HTTP_KEY_LEN);
	memcpy(text + HTTP_KEY_LEN, guid, sizeof guid - 1);
	if (!EVP_Digest(text, sizeof text, sum, &n, EVP_sha1(), NULL) ||
	    n != SHA1_LEN)
		return NJ_CRYPTO;
	(void)EVP_EncodeBlock((unsigned char *)dst, sum, SHA1_LEN);
	return NJ_OK;
}

void
ws_new_key(char *dst, size_t size)
{
	uint8_t raw[KEY_RAW];

	assert(size > HTTP_KEY_LEN);
	rand_bytes(raw, sizeof raw);
	(void)EVP_EncodeBlock((unsigned char *)dst, raw, sizeof raw);
}
