/* SPDX-License-Identifier: Apache-2.0
 * signer - the process that holds the CA's key, and how the broker asks it.
 *
 * The broker reads packets from the whole world; this process reads nothing but
 * these questions, each in one message of a socket pair, and certificate
 * requests.  It alone may write the registry and use the key.  What it signs it
 * decides itself (enrol.h, upkeep.h): the broker can only say who proved to be whom.
 *
 * Owns:    struct signer the broker's end.
 * Threads: signer_serve is a process; signer_ask from any thread, one question
 *          at a time.
 * Bounds:  SIGNER_MESSAGE_MAX bytes a message, SIGNER_PATIENCE_MS an answer;
 *          one that comes later is not taken for that to another question: a
 *          number goes before each, and before its answer.
 */
#ifndef NJ_PKI_SIGNER_H
#define NJ_PKI_SIGNER_H

#include "base/buf.h"
#include "pki/enrol.h"
#include "pki/upkeep.h"

#define SIGNER_MESSAGE_MAX (64 * 1024)
#define SIGNER_PATIENCE_MS 20000

/* What the signer's process has beside the CA. */
struct signer_side {
	/* Opens the CA of that folder anew; NULL: it cannot be now. */
	struct pki_ca *(*open)(const char *dir);
	/* Before the first certificate, and after each open. */
	enum nj_err (*unlock)(void *arg, struct pki_ca *ca, struct nj_why *why);
	void *arg;
	const struct clock *clock;
	int addresses; /* of addresses_open; -1 */
	bool server;   /* the broker serves with DIR/server/server.crt */
	bool list;     /* the list of revoked certificates is made, too, where
			* there is none */
};

/* The signer's side: answers until the other end is closed.  After a roll-over
 * another CA takes the place of *ca.  Keeps the list of revoked certificates
 * from getting old. */
void signer_serve(struct pki_ca **ca, int fd, const struct signer_side *side);

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
/* Whether who has that token may come to ask (enrol_look); out->id: for whom. */
void signer_look(struct signer *s, struct slice token, struct slice name,
    struct signer_answer *out);
/* The CA's certificates, root first. */
void signer_cas(struct signer *s, struct signer_answer *out);
/* Whether the server's certificate is made anew is the signer's to find out.
 * ENROL_OK: it was, out->why says why and for which names; ENROL_WAIT: there
 * was nothing to do, or not now, then out->why says it.  An answer that came too
 * late for who asked is that of the next who does. */
void signer_server(struct signer *s, struct signer_answer *out);

/* One question's bytes to its answer's; up NULL: it looks after no server. */
NJ_MUST enum nj_err signer_answer(struct pki_ca *ca, struct upkeep *up,
    struct slice question, struct buf *out);
/* An answer's bytes.  The caller frees out->certs. */
NJ_MUST enum nj_err signer_read(struct slice answer, struct signer_answer *out);

#endif
