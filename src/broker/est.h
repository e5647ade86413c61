/* SPDX-License-Identifier: Apache-2.0
 * est - a listener that gives devices their certificates instead of MQTT.
 *
 *	GET  /.well-known/est/cacerts		the CA's certificates
 *	POST /.well-known/est/simpleenroll	with a token, by HTTP Basic
 *	POST /.well-known/est/simplereenroll	with the certificate it has
 *	GET  /.well-known/est/csrattrs		what key a request should have
 *	GET  /ca.crt, /ca.crl			PEM and DER, for everybody
 *
 * Without TLS only the last two are served.  One request a connection.  What is
 * asked goes to the signer (pki/signer.h) on a worker; this side only knows who
 * proved to be whom.
 *
 * Owns:    struct est: a question under way, which outlives its connection.
 * Threads: the connection's shard; a worker while it asks.
 * Bounds:  EST_HEAD_MAX and EST_BODY_MAX bytes, EST_WORK_MAX questions at once.
 * Spec:    RFC 7030, RFC 8951.
 */
#ifndef NJ_BROKER_EST_H
#define NJ_BROKER_EST_H

#include "broker/question.h"

#define EST_HEAD_MAX 8192
#define EST_BODY_MAX 32768
#define EST_WORK_MAX 256

struct est {
	struct question q;
	struct conn *conn; /* NULL: gone */
	bool asked;	   /* the worker has it */
};

/* Takes a request from what was read so far; true when the rest of in is to be
 * kept, false when c must not be touched any more. */
bool est_handle(struct conn *c, struct slice in);
void est_abandon(struct conn *c);
/* LETTER_EST */
void est_answered(struct shard *sh, struct letter *l);

/* est_answer.c: writes an answer and closes.  body may be empty; more: further
 * header lines, each with its end, or "". */
void est_say(struct conn *c, unsigned status, const char *more,
    const char *type, struct slice body);
/* With words for people. */
void est_refuse(struct conn *c, unsigned status, const char *more,
    const char *what, const char *mend);
/* What the signer or the disk said. */
void est_say_answer(struct conn *c, const struct question *q);

#endif
