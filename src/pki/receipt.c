/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/receipt.h"

#include <dirent.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "pki/ca.h"

#define FILE_MAX  (64 * 1024)
#define HEADER	  "nightjar-receipt 1\n"
#define KEY_CHARS 64

struct receipt {
	char proof[65], id[PKI_ID_MAX + 1];
	int64_t when;
};

static bool
is_key(const char *name)
{
	return strlen(name) == KEY_CHARS &&
	    strspn(name, "0123456789abcdef") == KEY_CHARS;
}

static char *
path_of(const char *dir, const char *spki)
{
	char *p = NULL;

	return asprintf(&p, "%s/pki/receipts/%s", dir, spki) < 0 ? NULL : p;
}

enum nj_err
receipt_store(const char *dir, const char *spki, const char *proof,
    const char *id, X509 *x)
{
	char *folder = pki_path(dir, "pki/receipts"),
	     *path = path_of(dir, spki);
	struct buf b = { 0 };
	enum nj_err e = NJ_NOMEM;

	if (!folder || !path)
		goto out;
	if (!(e = file_mkdir(folder, 0700, NULL)) &&
	    !(e = buf_printf(&b, HEADER "proof %s\nid %s\nwhen %" PRId64 "\n",
		  proof, id, (int64_t)time(NULL))) &&
	    !(e = pki_chain_pem(x, NULL, &b)))
		e = file_write(path, buf_slice(&b), 0600, NULL);
out:
	buf_fini(&b);
	free(path);
	free(folder);
	return e;
}

static bool
parse(struct slice text, struct receipt *r)
{
	return slice_has_prefix(text, LIT(HEADER)) &&
	    text_value(text, "proof", r->proof, sizeof r->proof) &&
	    text_value(text, "id", r->id, sizeof r->id) &&
	    text_number(text, "when", &r->when);
}

static bool
is_old(const struct receipt *r)
{
	return r->when <= (int64_t)time(NULL) - RECEIPT_S;
}

static X509 *
take_cert(struct slice text)
{
	BIO *in = BIO_new_mem_buf(text.p, (int)text.n);
	X509 *x = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

	BIO_free(in);
	ERR_clear_error();
	return x;
}

enum nj_err
receipt_find(const char *dir, const char *spki, const char *proof,
    char id[PKI_ID_MAX + 1], X509 **out)
{
	struct buf text = { 0 };
	struct receipt r = { 0 };
	char *path = path_of(dir, spki);
	enum nj_err e = path ? NJ_NOTFOUND : NJ_NOMEM;
	X509 *x;

	if (path && access(path, F_OK) == 0 &&
	    file_read(path, FILE_MAX, &text, NULL) == NJ_OK && text.p &&
	    parse(buf_slice(&text), &r) && !is_old(&r) &&
	    strcmp(r.proof, proof) == 0 && (x = take_cert(buf_slice(&text)))) {
		memcpy(id, r.id, sizeof r.id);
		*out = x;
		e = NJ_OK;
	}
	buf_fini(&text);
	free(path);
	return e;
}

void
receipt_sweep(const char *dir)
{
	char *folder = pki_path(dir, "pki/receipts");
	DIR *d = folder ? opendir(folder) : NULL;
	struct dirent *en;

	while (d && (en = readdir(d))) {
		struct receipt r = { 0 };
		struct buf text = { 0 };
		char *path;

		if (!is_key(en->d_name) ||
		    !(path = pki_path(folder, en->d_name)))
			continue;
		if (file_read(path, FILE_MAX, &text, NULL) == NJ_OK &&
		    (!text.p || !parse(buf_slice(&text), &r) || is_old(&r)))
			(void)unlink(path);
		buf_fini(&text);
		free(path);
	}
	if (d)
		(void)closedir(d);
	free(folder);
}
