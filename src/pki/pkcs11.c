/* SPDX-License-Identifier: Apache-2.0
 * The engines of OpenSSL 3 are on their way out, and what takes their place
 * for PKCS#11 is not in Debian 12: this file alone uses them.
 */
#undef OPENSSL_NO_DEPRECATED
#define OPENSSL_SUPPRESS_DEPRECATED
#include "pki/pkcs11.h"

#include <openssl/engine.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define ENGINE_NAME "pkcs11"

static int uri_index = -1; /* of the line, beside a key */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
forget_uri(
    void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
	(void)parent;
	(void)ad;
	(void)idx;
	(void)argl;
	(void)argp;
	free(ptr);
}

static void
prepare(void)
{
	uri_index = CRYPTO_get_ex_new_index(
	    CRYPTO_EX_INDEX_EVP_PKEY, 0, NULL, NULL, NULL, forget_uri);
}

bool
pkcs11_is_uri(struct slice text)
{
	return slice_has_prefix(text, LIT("pkcs11:"));
}

/* The line without its end and blanks; what is behind it does not count. */
static char *
first_line(struct slice text)
{
	size_t n = 0;

	while (n < text.n && text.p[n] > ' ' && text.p[n] < 0x7f)
		n++;
	return n <= PKCS11_URI_MAX ? strndup((const char *)text.p, n) : NULL;
}

/* The value of a query attribute, which is cut out of the line: the engine
 * does not know all of them.  NULL without. */
static char *
cut_attribute(char *uri, const char *name)
{
	size_t len = strlen(name), n;
	char *at = strchr(uri, '?'), *v;

	while (at && strncmp(at + 1, name, len) != 0)
		at = strchr(at + 1, '&');
	if (!at || at[1 + len] != '=')
		return NULL;
	n = strcspn(at + 1, "&");
	v = strndup(at + 2 + len, n - len - 1);
	if (at[1 + n] == '&') /* what follows takes its place */
		memmove(at + 1, at + 2 + n, strlen(at + 2 + n) + 1);
	else
		*at = '\0';
	return v;
}

static enum nj_err
no_engine(struct nj_why *why)
{
	why_set(why,
	    "the key is in a PKCS#11 module, and OpenSSL has no engine for "
	    "them");
	why_mend(why, "apt install libengine-pkcs11-openssl");
	ERR_clear_error();
	return NJ_UNSUPPORTED;
}

static enum nj_err
open_engine(const char *module, const struct secret *pin, ENGINE **out,
    struct nj_why *why)
{
	char text[256];
	struct slice s = pin ? secret_bytes(pin) : SLICE_NONE;
	ENGINE *e;

	ENGINE_load_dynamic();
	if (!(e = ENGINE_by_id(ENGINE_NAME)))
		return no_engine(why);
	if ((module &&
		ENGINE_ctrl_cmd_string(e, "MODULE_PATH", module, 0) != 1) ||
	    s.n >= sizeof text) {
		ENGINE_free(e);
		return no_engine(why);
	}
	if (s.n > 0) {
		memcpy(text, s.p, s.n);
		text[s.n] = '\0';
		(void)ENGINE_ctrl_cmd_string(e, "PIN", text, 0);
		secret_wipe(text, sizeof text);
	}
	if (ENGINE_init(e) != 1) {
		why_set(why, "the PKCS#11 module%s%s cannot be started",
		    module ? " " : "", module ? module : "");
		why_mend(why,
		    "name it in the line: ?module-path=/usr/lib/.../libX.so");
		ENGINE_free(e);
		ERR_clear_error();
		return NJ_IO;
	}
	*out = e;
	return NJ_OK;
}

static enum nj_err
fetch(ENGINE *e, const char *uri, EVP_PKEY **out, struct nj_why *why)
{
	/* it must not ask at the terminal */
	EVP_PKEY *key = ENGINE_load_private_key(e, uri, NULL, NULL);
	char esc[TEXT_ESC];

	if (key) {
		*out = key;
		return NJ_OK;
	}
	why_set(why, "the PKCS#11 module does not give the key %s: %s",
	    text_esc(esc, sizeof esc, slice_str(uri)),
	    ERR_reason_error_string(ERR_peek_error())
		? ERR_reason_error_string(ERR_peek_error())
		: "no reason given");
	why_mend(why,
	    "look at what is in it: pkcs11-tool --list-objects --login; the "
	    "passphrase is the PIN");
	ERR_clear_error();
	return NJ_DENIED;
}

enum nj_err
pkcs11_load(struct slice text, const struct secret *pin, EVP_PKEY **out,
    struct nj_why *why)
{
	char *uri = first_line(text), *whole = NULL, *module = NULL;
	EVP_PKEY *key = NULL;
	ENGINE *e = NULL;
	enum nj_err err = NJ_NOMEM;

	(void)pthread_once(&once, prepare);
	if (!uri || !(whole = strdup(uri)) || uri_index < 0)
		goto out;
	module = cut_attribute(uri, "module-path");
	if ((err = open_engine(module, pin, &e, why)) ||
	    (err = fetch(e, uri, &key, why)))
		goto out;
	if (EVP_PKEY_set_ex_data(key, uri_index, whole) == 1)
		whole = NULL; /* moved */
	*out = key;
	key = NULL; /* moved */
out:
	if (e) {
		(void)ENGINE_finish(e); /* the key has its own reference */
		(void)ENGINE_free(e);
	}
	EVP_PKEY_free(key);
	free(module);
	free(whole);
	free(uri);
	return err;
}

struct slice
pkcs11_uri_of(const EVP_PKEY *key)
{
	const char *uri = NULL;

	(void)pthread_once(&once, prepare);
	if (uri_index >= 0)
		uri = EVP_PKEY_get_ex_data(key, uri_index);
	return uri ? slice_str(uri) : SLICE_NONE;
}
