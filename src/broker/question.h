/* SPDX-License-Identifier: Apache-2.0
 * question - what a connection wants of the CA, asked on a worker: EST (est.h)
 *            and MQTT (enroll.h) carry the same ones.
 *
 * The broker only says what was proved to it; whether a certificate is issued
 * the signer decides (pki/signer.h).
 *
 * Owns:    the request and the answer; embedded in whoever asks, who waits for
 *          its letter before it goes.
 * Threads: a worker between question_ask and the letter, else the shard.
 * Bounds:  the workers' queue; QUESTION_PATIENCE_MS.
 */
#ifndef NJ_BROKER_QUESTION_H
#define NJ_BROKER_QUESTION_H

#include "base/workers.h"
#include "broker/conn.h"
#include "pki/signer.h"
#include "pki/token.h"

#define QUESTION_PATIENCE_MS 30000

enum question_op {
	QUESTION_CACERTS,
	QUESTION_ENROLL,
	QUESTION_REENROLL,
	QUESTION_ATTRIBUTES, /* question_attributes; nobody is asked */
	QUESTION_CA_FILE,
	QUESTION_CRL_FILE
};

struct question {
	struct job job;
	struct letter letter;
	struct shard *shard;
	enum question_op op;
	const struct est_opts *opts;
	struct buf csr; /* DER */
	char token[PKI_TOKEN_HASH + 1];
	char name[PKI_ID_MAX + 1];
	char serial[41], spki[65];
	char from[PEER_NAME];
	struct signer_answer answer;
	struct buf body; /* of files */
};

/* The letter comes to q->shard with that kind.  NJ_FULL: too many ask. */
NJ_MUST enum nj_err question_ask(struct question *q, enum letter_kind kind);
void question_fini(struct question *q);
/* The certificate that c proved to have; false: none. */
bool question_take_cert(struct question *q, const struct conn *c);
/* Which number says what became of it, as HTTP has them: 200, 202, 401, ... */
unsigned question_status(const struct question *q);
/* A line in the log about who got what; how: "" or " by MQTT". */
void question_log(const struct question *q, const char *peer, const char *how);
/* What the key of a request should be (RFC 7030 4.5.2), DER. */
struct slice question_attributes(void);
/* Certificates with lengths before them, as PEM. */
NJ_MUST enum nj_err question_pem(struct slice ders, struct buf *out);

#endif
