/* SPDX-License-Identifier: Apache-2.0 */
#include "net/wskey.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

#include "base/rand.h"
#include "wire/http.h"

#define SHA1_LEN 20
#define KEY_RAW	 16 /* RFC 6455 4.1 */

/* Looked for once: with OpenSSL 3 that takes longer than the digest.  It stays as
 * long as the process. */
static EVP_MD *sha1;

static void
find_sha1(void)
{
	sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
}

enum nj_err
ws_accept_of(struct slice key, char dst[WS_ACCEPT_SIZE])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	uint8_t text[HTTP_KEY_LEN + sizeof guid - 1], sum[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	assert(key.n == HTTP_KEY_LEN);
	memcpy(text, key.p, HTTP_KEY_LEN);
	memcpy(text + HTTP_KEY_LEN, guid, sizeof guid - 1);
	(void)pthread_once(&once, find_sha1);
	if (!EVP_Digest(
		text, sizeof text, sum, &n, sha1 ? sha1 : EVP_sha1(), NULL) ||
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
