/* SPDX-License-Identifier: Apache-2.0
 * issue - the server's and the devices' keys and certificates as files.
 *
 *	DIR/server/server.key  0600, kept when the certificate is renewed
 *	           server.crt  certificate, then its chain
 *	           names       names that were asked for beside the machine's
 *	                       own; kept for every renewal
 *	DIR/devices/ID/        all that a device needs; copy it there
 *	           client.key  0600
 *	           client.crt
 *	           ca.crt
 *
 * Owns:    nothing.
 * Threads: any; one process at a time for one id.
 */
#ifndef NJ_PKI_ISSUE_H
#define NJ_PKI_ISSUE_H

#include "base/err.h"
#include "base/secret.h"
#include "pki/batch.h"
#include "pki/ca.h"
#include "pki/names.h"

/* The names that were asked for earlier are added to *s (none: NJ_OK). */
NJ_MUST enum nj_err
pki_server_extra(const char *dir, struct pki_names *s, struct nj_why *why);
/* Replaces them. */
NJ_MUST enum nj_err pki_server_set_extra(
    const char *dir, const struct pki_names *s, struct nj_why *why);

/*
 * Whether the server's certificate has to be made (again) for these names:
 * there is none, it is not of this CA or not of its key, two thirds of its
 * life are over, a name is missing, or an address in it is no longer ours.
 * *reason says it: "the address 10.0.0.7 is new".
 */
bool pki_server_due(const struct pki_ca *ca, const struct pki_names *names,
    char *reason, size_t size);
/* A new certificate, for the key that is there or a new one.  days 0:
 * PKI_SERVER_DAYS. */
NJ_MUST enum nj_err pki_server_issue(struct pki_ca *ca,
    const struct pki_names *names, unsigned days, struct nj_why *why);
/*
 * The same question while a broker serves with it, at that time (Unix
 * seconds): one that is not of this CA or its forerunner, or not of its key,
 * is left alone, and so is any while the clock is behind it.
 */
bool pki_server_needs(const struct pki_ca *ca, const struct pki_names *names,
    int64_t now, char *reason, size_t size);
/* In its place: for as long as that was, PKI_SERVER_KEPT_DAYS at most. */
NJ_MUST enum nj_err pki_server_renew(struct pki_ca *ca,
    const struct pki_names *names, int64_t now, struct nj_why *why);
/* What stands behind the certificates that there are becomes what is to be sent
 * now (pki_ca_server_chain). */
NJ_MUST enum nj_err
pki_server_rechain(const struct pki_ca *ca, struct nj_why *why);
/* From now on one with an RSA key, for clients that know no other, is made
 * beside every certificate of the server: server-rsa.key and .crt. */
NJ_MUST enum nj_err pki_server_add_rsa(const char *dir, struct nj_why *why);
bool pki_server_has_rsa(const char *dir);
/* The names of the certificate that is there; empty without one. */
void pki_server_names(const char *dir, struct pki_names *out);

struct pki_device_opts {
	const char *id;
	unsigned days;		       /* 0: PKI_DEVICE_DAYS */
	const struct pki_names *names; /* into the SAN, or NULL */
	const struct secret *pass;     /* encrypts its key, or NULL */
	const char *groups; /* fleet_groups; NULL: those it has already */
	bool again; /* although it has a certificate: the old folder is set
		     * aside as devices/.old/ID-SERIAL */
	/* Adds files to its folder, or NULL; see batch.h. */
	enum nj_err (*fill)(
	    void *arg, const struct batch_made *made, struct nj_why *why);
	void *arg;
};

/* Whether DIR/devices/ID holds a certificate. */
bool pki_device_exists(const char *dir, const char *id);
/* Moves its folder, if it holds a certificate, to devices/.old/ID-SERIAL. */
NJ_MUST enum nj_err
pki_device_set_aside(const char *dir, const char *id, struct nj_why *why);
/* NJ_EXISTS: the folder holds a certificate, or the registry tells of one
 * that is still valid, and again is not set. */
NJ_MUST enum nj_err pki_device_issue(
    struct pki_ca *ca, const struct pki_device_opts *o, struct nj_why *why);

#endif
