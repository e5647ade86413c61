/* SPDX-License-Identifier: Apache-2.0
 * err - the one result type of fallible functions, and the text that goes
 *       with it when a person has to read it.
 *
 * Domains: enum nj_err is ours; enum mqtt_rc (wire/mqtt.h) is the protocol's;
 *          errno is the kernel's.  The three never share a variable.
 */
#ifndef NJ_BASE_ERR_H
#define NJ_BASE_ERR_H

#include <stdbool.h>

#define NJ_MUST		__attribute__((warn_unused_result))
#define NJ_PRINTF(a, b) __attribute__((format(printf, a, b)))

enum nj_err {
	NJ_OK = 0,
	NJ_AGAIN, /* nothing wrong: more bytes or time are needed */
	NJ_NOMEM,
	NJ_TRUNCATED, /* input ends inside an element */
	NJ_MALFORMED, /* MQTT 5.0 1.2 malformed packet; broken syntax */
	NJ_PROTOCOL, /* MQTT 5.0 1.2 protocol error; well formed, not allowed */
	NJ_TOOBIG,   /* above a named bound */
	NJ_FULL,     /* a queue, table or quota is at its named bound */
	NJ_NOTFOUND,
	NJ_EXISTS,
	NJ_DENIED,
	NJ_INVALID, /* a value an operator gave that cannot be used */
	NJ_UNSUPPORTED,
	NJ_IO,	/* a system call failed; errno said why */
	NJ_EOF, /* the peer closed its side */
	NJ_TLS, /* the TLS library refused; see the struct nj_why */
	NJ_TIMEOUT,
	NJ_CRYPTO,
	NJ_BUSY,
	NJ_ERR_MAX
};

/* A short English phrase; never NULL. */
const char *nj_strerror(enum nj_err e);

/*
 * Why something was refused, in the words an operator reads: what was wrong
 * on what evidence, and the one line or command that mends it.  Callers pass
 * a pointer to their own (or NULL when nobody will read it); functions fill
 * it only on failure.  Text that came from a peer or file is escaped.
 */
struct nj_why {
	char what[512];
	char mend[384]; /* empty when there is nothing to advise */
	bool by_peer;	/* the other side refused, and this is what it said */
};

void why_set(struct nj_why *w, const char *fmt, ...) NJ_PRINTF(2, 3);
void why_mend(struct nj_why *w, const char *fmt, ...) NJ_PRINTF(2, 3);
/* Puts "prefix: " in front of what is there. */
void why_prefix(struct nj_why *w, const char *fmt, ...) NJ_PRINTF(2, 3);

#endif
