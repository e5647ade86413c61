/* SPDX-License-Identifier: Apache-2.0
 * names - host names and addresses that a server certificate is valid for,
 *         and those of this machine.
 *
 * Owns:    nothing; a struct pki_names is a plain value.
 * Threads: any; pki_names_collect_dns before other threads are started, as it
 *          sets an environment variable for the while.
 * Bounds:  PKI_NAMES_MAX names; NJ_FULL past it.
 * Spec:    RFC 5280 4.2.1.6, RFC 1123 2.1, RFC 6762 (host.local).
 */
#ifndef NJ_PKI_NAMES_H
#define NJ_PKI_NAMES_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "base/err.h"

#define PKI_NAMES_MAX 128
#define PKI_NAME_MAX  253 /* RFC 1035 2.3.4, as text */

struct pki_name {
	bool ip;
	char text[PKI_NAME_MAX + 1]; /* lower case; addresses as inet_ntop */
};

struct pki_names {
	unsigned n;
	struct pki_name v[PKI_NAMES_MAX];
};

/* A host name (one leading "*." is allowed) or an address; one that is there
 * already is not added again.  NJ_INVALID: neither. */
NJ_MUST enum nj_err
pki_names_add(struct pki_names *s, const char *text, struct nj_why *why);
bool pki_names_has(const struct pki_names *s, const char *text);
/* Those of the certificate. */
void pki_names_of(X509 *x, struct pki_names *out);

/*
 * Adds what this machine is called: its host name, the names that /etc/hosts
 * gives it, host.local, localhost, the loopback addresses, and every address
 * of its interfaces that lasts and is not link-local (addresses.h), those of
 * containers' interfaces (docker*, veth*, br-*) apart.  Reverse DNS is never asked: whoever answers
 * it could put any name into the certificate.
 */
void pki_names_collect(struct pki_names *s);
/* The same, with a socket of addresses_open.  An error: the kernel does not
 * tell the addresses, which is not to say that there are none. */
NJ_MUST enum nj_err pki_names_collect_by(struct pki_names *s, int fd);
/* Adds the full name that forward DNS has for the host name, if it begins
 * with it.  Takes a second or a few where DNS does not answer. */
void pki_names_collect_dns(struct pki_names *s);

/* The parts that the above are made of, for tests. */
void pki_names_from_hosts(
    struct pki_names *s, const char *hosts_file, const char *hostname);
bool pki_names_skip_interface(const char *name);

#endif
