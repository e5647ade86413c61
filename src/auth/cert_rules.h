/* SPDX-License-Identifier: Apache-2.0
 * cert_rules - what a client is called by its certificate: which field counts
 *              for certificates of which CA, and keys that are known by name.
 *
 * Each line is one of
 *      key SHA256 NAME
 *      ca FILE|SHA256|any FIELD [begins PREFIX]
 * SHA256: of a public key (SubjectPublicKeyInfo), 64 hexadecimal digits, as
 * "nightjar inspect" prints it.  FILE: the CA's certificate; every CA in it is
 * meant.  A CA counts whether it issued the certificate itself or stands
 * further up.  FIELD: cn, subject, san_uri, san_dns, san_email, or device: the
 * ID that Nightjar's own CA gave.  A known key counts before all; then the
 * first rule whose CA stands behind the certificate, whose field is there and
 * begins with PREFIX.
 *
 * Owns:    its rules; reference counted.
 * Threads: immutable once parsed.
 * Bounds:  CERT_RULES_MAX rules.
 */
#ifndef NJ_AUTH_CERT_RULES_H
#define NJ_AUTH_CERT_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define CERT_RULES_MAX 1024

struct cert_rules;

/* What a handshake found; slices may be empty. */
struct cert_facts {
	struct slice cn, subject, uri, dns, email;
	struct slice spki_sha256; /* 32 bytes */
	struct slice issuers;	  /* 32 bytes a CA, the nearest first */
};

/* On NJ_INVALID *why says which line, what is wrong and the mend. */
NJ_MUST enum nj_err
cert_rules_parse(const char *text, struct cert_rules **out, struct nj_why *why);
struct cert_rules *cert_rules_ref(struct cert_rules *r);
void cert_rules_unref(struct cert_rules *r);
/* Whether a rule speaks of CAs, so that they must be known. */
bool cert_rules_want_issuers(const struct cert_rules *r);
/* The name, borrowed from the facts or the rules; empty: no rule gives one. */
struct slice
cert_rules_name(const struct cert_rules *r, const struct cert_facts *f);

/* ID of "urn:nightjar:CA:device:ID"; empty: it is another URI.  *ca, when not
 * NULL, becomes CA. */
struct slice cert_device_id(struct slice uri, struct slice *ca);
/* The same where that CA stands behind the certificate; issuers as struct
 * cert_facts has them. */
struct slice cert_device_by(struct slice uri, struct slice issuers);

#endif
