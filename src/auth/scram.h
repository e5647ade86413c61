/* SPDX-License-Identifier: Apache-2.0
 * scram - SCRAM-SHA-256: both ends' part of the exchange, and the verifier
 *         that is kept in place of a password.
 *
 * No channel binding: "n" and "y" are taken, "p=" is refused, for
 * SCRAM-SHA-256-PLUS is not offered.
 *
 * Owns:    struct scram_server and struct scram_client keep the messages so
 *          far; their _fini wipes.  Zeroed ones are valid.
 * Threads: pure: randomness is given.  What derives keys from a password is
 *          slow by intent.
 * Bounds:  SCRAM_*_MAX.
 * Spec:    RFC 5802, RFC 7677, RFC 4013, RFC 5803.
 */
#ifndef NJ_AUTH_SCRAM_H
#define NJ_AUTH_SCRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

#define SCRAM_METHOD	  "SCRAM-SHA-256"
#define SCRAM_KEY	  32 /* bytes of a key, a proof, a signature */
#define SCRAM_SALT	  16 /* bytes of a new one */
#define SCRAM_SALT_MAX	  64
#define SCRAM_NONCE	  24   /* characters of our own */
#define SCRAM_NONCE_MAX	  256  /* characters of the other's */
#define SCRAM_NAME_MAX	  1024 /* bytes, as it is sent */
#define SCRAM_MESSAGE_MAX 4096

/* RFC 7677 4: no fewer.  The client pays them at each login. */
#define SCRAM_ITERATIONS_MIN	 4096u
#define SCRAM_ITERATIONS_DEFAULT 32768u
#define SCRAM_ITERATIONS_MAX	 2000000u

struct scram_verifier {
	uint32_t iterations;
	uint8_t salt_n;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t stored[SCRAM_KEY], server[SCRAM_KEY];
};

/*
 * Whether SASLprep leaves s as it is; else NJ_INVALID.  Served are printable
 * ASCII and the letters of Latin, Greek, Cyrillic, Japanese, Chinese and
 * Korean that no normalization touches; what is left out is refused, never
 * sent unprepared.
 */
NJ_MUST enum nj_err scram_prepared(struct slice s);
/* The keys, from the salt and iterations in *v. */
NJ_MUST enum nj_err
scram_derive(struct slice password, struct scram_verifier *v);
/* A nonce from the kernel's random source. */
void scram_nonce(char out[SCRAM_NONCE + 1]);

/* The messages, for whoever reads them; slices borrow. */

struct scram_first {	  /* the client's */
	struct slice gs2; /* the header with its last comma */
	struct slice bare;
	struct slice authzid, name; /* not decoded; authzid may be empty */
	struct slice nonce;
};

struct scram_challenge { /* the server's first */
	struct slice nonce;
	uint8_t salt_n;
	uint8_t salt[SCRAM_SALT_MAX];
	uint32_t iterations;
};

struct scram_final {	      /* the client's */
	struct slice binding; /* base64 */
	struct slice nonce;
	struct slice bare; /* all before ",p=" */
	uint8_t proof[SCRAM_KEY];
};

/* NJ_MALFORMED with *why; NJ_UNSUPPORTED: a channel binding or an extension
 * that must be understood. */
NJ_MUST enum nj_err
scram_take_first(struct slice in, struct scram_first *out, struct nj_why *why);
NJ_MUST enum nj_err scram_take_challenge(
    struct slice in, struct scram_challenge *out, struct nj_why *why);
NJ_MUST enum nj_err
scram_take_final(struct slice in, struct scram_final *out, struct nj_why *why);
/* The server's signature; NJ_DENIED with the server's own word in *why when
 * it says e=. */
NJ_MUST enum nj_err scram_take_end(
    struct slice in, uint8_t signature[SCRAM_KEY], struct nj_why *why);
/* A saslname: =2C and =3D become what they stand for. */
NJ_MUST enum nj_err scram_name_decode(struct slice in, struct buf *out);
NJ_MUST enum nj_err scram_name_encode(struct slice name, struct buf *out);

/* The server's end: begin, challenge, finish. */

struct scram_server {
	struct buf log;	 /* AuthMessage so far */
	struct buf name; /* decoded */
	struct buf gs2;
	struct buf nonce; /* both parts */
	struct scram_verifier v;
};

/* Reads client-first; name is who it says it is. */
NJ_MUST enum nj_err
scram_server_begin(struct scram_server *s, struct slice in, struct nj_why *why);
/* Appends server-first.  nonce: ours. */
NJ_MUST enum nj_err scram_server_challenge(struct scram_server *s,
    const struct scram_verifier *v, struct slice nonce, struct buf *out);
/* Reads client-final; NJ_OK: it was the password, and server-final is
 * appended.  NJ_DENIED: it was not. */
NJ_MUST enum nj_err scram_server_finish(struct scram_server *s, struct slice in,
    struct buf *out, struct nj_why *why);
/* Who the client says it is, after begin. */
struct slice scram_server_name(const struct scram_server *s);
void scram_server_fini(struct scram_server *s);

/* The client's end: first, final, verify. */

struct scram_client {
	struct buf log;
	struct buf nonce;
	uint8_t signature[SCRAM_KEY]; /* what the server must answer */
	bool asked;		      /* client-final was made */
};

/* Appends client-first; name and password must be scram_prepared. */
NJ_MUST enum nj_err scram_client_first(struct scram_client *c,
    struct slice name, struct slice nonce, struct buf *out);
/* Answers server-first.  Slow. */
NJ_MUST enum nj_err scram_client_final(struct scram_client *c, struct slice in,
    struct slice password, struct buf *out, struct nj_why *why);
/* NJ_OK: the server knows the verifier.  NJ_DENIED: it does not. */
NJ_MUST enum nj_err scram_client_verify(
    const struct scram_client *c, struct slice in, struct nj_why *why);
void scram_client_fini(struct scram_client *c);

/* HMAC-SHA-256, for what is kept beside the exchange. */
NJ_MUST enum nj_err
scram_hmac(struct slice key, struct slice data, uint8_t out[SCRAM_KEY]);

#endif
