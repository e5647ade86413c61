/* SPDX-License-Identifier: Apache-2.0
 * token - what lets a device that has nothing yet ask for its certificate.
 *
 *	nj1.HOST:PORT.PIN.SECRET
 *
 * Where to ask, how the CA is recognised there (SHA-256 of its key, base64url),
 * and 128 random bits.  Only a hash of the secret is kept:
 *
 *	DIR/pki/tokens/NAME	one file a token; NAME is the first half of the
 *				hash, and no secret
 *
 * One that was used up, or whose time is over, is good for nothing new.  Its
 * file stays for PKI_TOKEN_FETCH_S, so that a device whose answer was lost can
 * fetch what it was used for (receipt.h).
 *
 * Owns:    struct pki_token_use the lock of the folder.
 * Threads: processes take turns by that lock.
 * Bounds:  PKI_TOKEN_TRIES requests that are refused, then it is gone.
 */
#ifndef NJ_PKI_TOKEN_H
#define NJ_PKI_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "pki/cert.h"
#include "pki/registry.h"

#define PKI_TOKEN_TRIES	   5
#define PKI_TOKEN_SECRET   22 /* 16 bytes in base64url */
#define PKI_TOKEN_PIN	   43 /* 32 bytes */
#define PKI_TOKEN_NAME	   32
#define PKI_TOKEN_PLACE	   270 /* host and port */
#define PKI_TOKEN_MAX	   400 /* all of it */
#define PKI_TOKEN_TTL_S	   3600
#define PKI_TOKEN_TTL_MAX  (366 * 86400)
#define PKI_TOKEN_USES_MAX 1000000
#define PKI_TOKEN_HASH	   64 /* SHA-256 of the secret, hexadecimal */
#define PKI_TOKEN_FETCH_S  86400

struct pki_token {
	char name[PKI_TOKEN_NAME + 1];
	/* Which names it is good for: one, or with a '*' at its end all that
	 * begin so. */
	char what[PKI_ID_MAX + 2];
	bool has_groups;
	char groups[REGISTRY_GROUPS_MAX + 1]; /* of the devices; "" none */
	int64_t expires;
	unsigned uses, tries; /* left */
	unsigned days;	      /* of the certificates; 0: the usual */
	bool again;   /* the name may have a valid certificate already */
	bool approve; /* somebody has to say yes first */
	/* The key that its last use was for (SHA-256, hexadecimal), and when;
	 * "" none, or long ago. */
	char promised[65];
	int64_t promised_at;
};

/* name, tries are filled in. */
NJ_MUST enum nj_err pki_token_make(const char *dir, struct pki_token *t,
    char secret[PKI_TOKEN_SECRET + 1], struct nj_why *why);
/* Those that are good for something, as they were when it was called: fn may
 * take its time. */
NJ_MUST enum nj_err pki_token_each(const char *dir,
    bool (*fn)(void *arg, const struct pki_token *t), void *arg,
    struct nj_why *why);
/* NJ_NOTFOUND: there is no such. */
NJ_MUST enum nj_err
pki_token_remove(const char *dir, const char *name, struct nj_why *why);

/* A token that is being looked at; nobody else can meanwhile. */
struct pki_token_use {
	int lock;
	char *path, *folder;
	char hash[PKI_TOKEN_HASH + 1];
	const char *over; /* why it is good for nothing new; NULL: it is good */
	struct pki_token token;
};

/* What a token is asked for by, so that nobody has to keep its secret; false
 * when the library fails. */
NJ_MUST bool pki_token_hash(struct slice secret, char hex[PKI_TOKEN_HASH + 1]);
/* NJ_DENIED: there is no such token. */
NJ_MUST enum nj_err pki_token_open(const char *dir, struct slice hash,
    struct pki_token_use *out, struct nj_why *why);
/* NJ_DENIED when it is over. */
NJ_MUST enum nj_err
pki_token_is_good(const struct pki_token_use *u, struct nj_why *why);
bool pki_token_covers(const struct pki_token *t, const char *id);
/* One use less, which is this key's; on disk when it returns NJ_OK. */
NJ_MUST enum nj_err
pki_token_spend(struct pki_token_use *u, const char *spki, struct nj_why *why);
/* One try less. */
void pki_token_fail(struct pki_token_use *u);
void pki_token_close(struct pki_token_use *u);
/* Whether there may be one of that name still, good or not. */
bool pki_token_is_there(const char *dir, const char *name);
/* Forgets those that nothing can be fetched with any more. */
void pki_token_sweep(const char *dir);

/* The text that is handed out, and taken apart again. */
struct pki_token_text {
	char host[256];
	uint16_t port;
	uint8_t pin[32];
	char secret[PKI_TOKEN_SECRET + 1];
};
/* host is put in brackets where it must be. */
NJ_MUST enum nj_err
pki_token_print(const struct pki_token_text *t, char dst[PKI_TOKEN_MAX + 1]);
NJ_MUST enum nj_err
pki_token_parse(struct slice text, struct pki_token_text *out);

#endif
