/* SPDX-License-Identifier: Apache-2.0
 * package - what a device is given beside its key and certificate: PKCS#12
 *           files and programs.
 *
 * Owns:    nothing; the secret is the caller's.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_PACKAGE_H
#define NJ_CMD_PACKAGE_H

#include "base/secret.h"
#include "cmd/flags.h"
#include "cmd/kits.h"
#include "pki/ca.h"

#define PACKAGE_KITS_MAX 9

struct package {
	enum p12_form p12;
	const struct secret *password; /* of client.p12; NULL: a random one
					* is kept beside it */
	const struct kit *kits[PACKAGE_KITS_MAX];
	unsigned n;
	struct kit_broker broker;
	unsigned kept; /* files that were there and stayed */
};

/* From --p12 and --for.  encrypted: the key will be. */
NJ_MUST enum nj_err package_choose(struct package *p, const char *p12,
    const struct flag_list *kits, bool encrypted, struct nj_why *why);
bool package_is_empty(const struct package *p);
/* The broker's name and ports: given, or from the server's certificate and
 * DIR/nightjar.conf.  A name that the certificate does not have is told on
 * stderr. */
NJ_MUST enum nj_err package_find_broker(struct package *p,
    const struct pki_ca *ca, const char *host, long port, struct nj_why *why);

/* For struct batch_opts.fill; arg is the struct package. */
NJ_MUST enum nj_err
package_fill(void *arg, const struct batch_made *made, struct nj_why *why);
/* Adds the files to a folder that has its certificate; those that are there
 * stay as they are, and are named on stdout. */
NJ_MUST enum nj_err
package_add(struct package *p, const struct pki_ca *ca, const char *folder,
    const char *id, const struct secret *pass, struct nj_why *why);
/* The files and how to run them, on stdout. */
void package_tell(const struct package *p);

#endif
