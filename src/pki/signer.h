/* SPDX-License-Identifier: Apache-2.0
 * signer - the process that holds the CA's key, and how the broker asks it.
 *
 * The broker reads packets from the whole world; this process reads nothing but
 * these questions, each in one message of a socket pair, and certificate
 * requests.  It alone may write the registry and use the key.  What it signs it
 * decides itself (enrol.h): the broker can only say who proved to be whom.
 *
 * Owns:    struct signer the broker's end.
 * Threads: signer_serve is a process; signer_ask from any thread, one question
 *          at a time.
 * Bounds:  SIGNER_MESSAGE_MAX bytes a message, SIGNER_PATIENCE_MS an answer.
 */
#ifndef NJ_PKI_SIGNER_H
#define NJ_PKI_SIGNER_H

#include "base/buf.h"
#include "pki/enrol.h"

#define SIGNER_MESSAGE_MAX (64 * 1024)
#define SIGNER_PATIENCE_MS 20000

/* Opens and unlocks the CA of that folder; NULL: it cannot be now. */
typedef struct pki_ca *signer_open_fn(const char *dir);
/* The signer's side: answers until the other end is closed.  The CA is
 * unlocked; after a roll-over another takes its place.  Keeps the list of
 * revoked certificates from getting old. */
void signer_serve(struct pki_ca **ca, int fd, signer_open_fn *open);

struct signer;
/* fd is taken over on success. */
NJ_MUST enum nj_err signer_new(int fd, struct signer **out);
void signer_free(struct signer *s);

struct signer_answer {
	enum enrol_result result;
	char id[PKI_ID_MAX + 1];
	/* Certificates in DER, each with a length of two bytes before it: the
	 * new one and its chain; or the CA's. */
	struct buf certs;
	struct nj_why why; /* unless ENROL_OK */
};

/* Never fails: an answer that does not come is ENROL_FAILED.  The caller frees
 * out->certs. */
void signer_enrol(
    struct signer *s, const struct enrol_ask *ask, struct signer_answer *out);
/* The CA's certificates, root first. */
void signer_cas(struct signer *s, struct signer_answer *out);
/* For tests and fuzzing: one question's bytes to its answer's. */
NJ_MUST enum nj_err
signer_answer(struct pki_ca *ca, struct slice question, struct buf *out);

#endif
