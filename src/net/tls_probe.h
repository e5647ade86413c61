/* SPDX-License-Identifier: Apache-2.0
 * tls_probe - one TLS handshake with a server, to see what it says and sends.
 *             Nothing is verified and nothing is sent over it: judging is the
 *             caller's.
 *
 * Owns:    chain and staple in what it found (tls_probe_fini).
 * Threads: any; blocks until the deadline.
 * Bounds:  TLS_PROBE_FIRST bytes of a server that speaks something else.
 */
#ifndef NJ_NET_TLS_PROBE_H
#define NJ_NET_TLS_PROBE_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"

#define TLS_PROBE_FIRST 64

/* As in the protocol, oldest first. */
enum { TLS_V10 = 0x0301, TLS_V11 = 0x0302, TLS_V12 = 0x0303, TLS_V13 = 0x0304 };

struct tls_probe_opts {
	const char *sni;  /* NULL: none is sent */
	const char *alpn; /* NULL: none is offered */
	int min, max;	  /* TLS_V10 ...; 0: what the library has */
	/* Shown when asked for; both or none. */
	const char *certfile, *keyfile;
	const struct secret *passphrase;
	struct slice before; /* sent first, as it is: a PROXY header */
	int timeout_ms;
};

enum tls_probe_end {
	TLS_PROBE_DONE,	   /* the handshake ended well */
	TLS_PROBE_ALERT,   /* the server said no */
	TLS_PROBE_CLOSED,  /* it closed the connection */
	TLS_PROBE_NOT_TLS, /* it speaks something else: see first */
	TLS_PROBE_SILENT,  /* nothing came in time */
	TLS_PROBE_FAILED   /* we could not go on: see why */
};

struct tls_probe {
	enum tls_probe_end end;
	const char *version; /* "TLSv1.3"; NULL: it did not come so far */
	char cipher[64], alpn[32];
	STACK_OF(X509) * chain; /* as sent; NULL: none */
	struct buf staple;	/* what its CA says of it (OCSP, DER) */
	bool asked;		/* for a certificate of ours */
	unsigned cas;		/* names of CAs it would accept */
	char ca_names[256];	/* the first of them; escaped */
	bool ours_fits;		/* one of them issued the chain we showed */
	int alert;		/* RFC 8446 6; -1: none came */
	const char *alert_name; /* "unknown ca"; "" */
	uint8_t first[TLS_PROBE_FIRST];
	size_t nfirst;
	struct nj_why why;
};

/* fd is a connected socket and stays the caller's, spent.  Errors are ours
 * alone (a certificate file that cannot be read): all that a server can do is
 * in *out.  tls_probe_fini in any case. */
NJ_MUST enum nj_err
tls_probe(int fd, const struct tls_probe_opts *o, struct tls_probe *out);
void tls_probe_fini(struct tls_probe *p);

enum tls_probe_word {
	TLS_WORD_NONE,	  /* it shows none, and need not */
	TLS_WORD_GOOD,	  /* *why: until when */
	TLS_WORD_REVOKED, /* *why: since when */
	TLS_WORD_BAD	  /* *why: an answer that nobody believes, or none
			   * although clients insist on one */
};
/* What the CA says of the server's certificate, as the server shows it. */
enum tls_probe_word
tls_probe_word(const struct tls_probe *p, struct nj_why *why);

#endif
