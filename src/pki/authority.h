/* SPDX-License-Identifier: Apache-2.0
 * authority - a CA that is not made here from nothing: below a company's own,
 *             taken over from openssl, or in the place of one before it.
 *
 * A roll-over has three steps, each of which can be repeated after a crash:
 *	announce  the successor is made, and joins ca.crt, which clients are to
 *		  be given; nothing else changes
 *	switch	  it issues from now on.  What it issues to servers carries a
 *		  certificate for it by its forerunner, so that clients that
 *		  know only that believe it; what the forerunner issued is
 *		  believed on
 *	finish	  the forerunner leaves ca.crt
 *
 * Owns:    nothing.
 * Threads: any; one process at a time for one folder.
 */
#ifndef NJ_PKI_AUTHORITY_H
#define NJ_PKI_AUTHORITY_H

#include "base/err.h"
#include "base/secret.h"
#include "pki/ca.h"

/* A key for an issuing CA, and a request for its certificate, as
 * DIR/pki/issuing.csr.  A key that is there is used again.  name NULL: from
 * the host name. */
NJ_MUST enum nj_err authority_request(const char *dir, const char *name,
    const struct secret *pass, struct nj_why *why);
/* Its certificate has come: cert, PEM, with what is above it in any order, the
 * root there or in root (NULL: none).  Also for a new one in place of an
 * old. */
NJ_MUST enum nj_err authority_install(const char *dir, const char *cert,
    const char *root, const struct secret *pass, struct nj_why *why);

struct authority_import {
	const char *cert; /* PEM, with what is above it */
	const char *key;
	const struct secret *key_pass; /* of key, or NULL */
	const char *root;	       /* NULL: in cert */
};
/* Makes a CA out of one that was made elsewhere; the key is stored anew under
 * pass.  *why lists every fault of one that is not sound. */
NJ_MUST enum nj_err
authority_import(const char *dir, const struct authority_import *in,
    const struct secret *pass, struct nj_why *why);

enum authority_stage { ROLL_NONE, ROLL_ANNOUNCED, ROLL_SWITCHED };
enum authority_stage authority_stage(const struct pki_ca *ca);
/* The successor. */
NJ_MUST enum nj_err authority_announce(struct pki_ca *ca, const char *name,
    unsigned days, const struct secret *pass, struct nj_why *why);
struct authority_root {
	const char *name; /* of the new root; NULL: from the host name */
	unsigned days;
	/* Where the present root's key is (root.key), if it was taken away. */
	const char *old_dir;
	const struct secret *old_pass;
	/* Where the new one's goes, to be taken away; NULL: it stays here. */
	const char *new_dir;
};
/*
 * The successor of a root above the CA that issues, and another CA below it.
 * Both roots' keys are needed now and not again: the roots sign each other and
 * both sign the new CA, so that servers can show a way to either.
 */
NJ_MUST enum nj_err
authority_announce_root(struct pki_ca *ca, const struct authority_root *o,
    const struct secret *pass, struct nj_why *why);
/* ca is unlocked, and has to be opened again afterwards. */
NJ_MUST enum nj_err authority_switch(
    struct pki_ca *ca, const struct secret *pass, struct nj_why *why);
/* In place of these two, where an issuing CA is below a root whose key and
 * certificate are in root_dir: another one. */
NJ_MUST enum nj_err authority_reissue(struct pki_ca *ca, const char *root_dir,
    const struct secret *root_pass, const struct secret *pass,
    struct nj_why *why);
/* Devices' and servers' certificates of the forerunner that still hold, and
 * that nothing newer replaces: fn is told of each. */
NJ_MUST enum nj_err authority_leftovers(struct pki_ca *ca,
    void (*fn)(void *arg, const char *kind, const char *id, int64_t until),
    void *arg, size_t *n, struct nj_why *why);
/* pass opens the old root's key where that is to be destroyed. */
NJ_MUST enum nj_err authority_finish(
    struct pki_ca *ca, const struct secret *pass, struct nj_why *why);

#endif
