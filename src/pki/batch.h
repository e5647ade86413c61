/* SPDX-License-Identifier: Apache-2.0
 * batch - keys and certificates for one device or ten thousand, so that a
 *         crash at any moment loses none and makes none twice.
 *
 *	OUT/.new-ID/   everything is written here, and is on disk
 *	registry       before the certificates are registered (fsync);
 *	OUT/ID/        only then the folder gets its name.
 *
 * A folder .new-ID that a crash left is either of a certificate that the
 * registry knows, and gets its name, or of one that it does not: then nobody
 * ever had it, and it is made anew.
 *
 * Owns:    nothing.
 * Threads: any; processes take turns for one OUT.
 * Bounds:  BATCH_STEP devices between two syncs.
 */
#ifndef NJ_PKI_BATCH_H
#define NJ_PKI_BATCH_H

#include <openssl/x509.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/secret.h"
#include "base/slice.h"
#include "pki/ca.h"
#include "pki/names.h"

#define BATCH_STEP 128

struct batch_item {
	const char *id;
	unsigned days;		       /* 0: PKI_DEVICE_DAYS */
	const struct pki_names *names; /* into the SAN, or NULL */
	const char *groups;	       /* fleet_groups; NULL: as they are */
};

/* What was made for one device, for those who add files to its folder. */
struct batch_made {
	const char *id;
	const char *folder; /* where files go now */
	const char *final;  /* what it will be called */
	EVP_PKEY *key;
	X509 *leaf;
	const STACK_OF(X509) * chain; /* between leaf and root */
	const STACK_OF(X509) * roots; /* whom the device is to trust */
};

struct batch_opts {
	const char *out;	   /* the folder; it is there */
	const struct secret *pass; /* encrypts the keys, or NULL */
	bool again; /* although there is one: the old folder is set aside as
		     * OUT/.old/ID-SERIAL */
	bool keep;  /* one that is there already is left as it is, and is no
		     * error */
	/* Adds files, or NULL. */
	enum nj_err (*fill)(
	    void *arg, const struct batch_made *made, struct nj_why *why);
	/* Said after every step, or NULL. */
	void (*progress)(void *arg, size_t done, size_t of);
	void *arg;
};

struct batch_result {
	size_t made;	 /* certificates */
	size_t finished; /* were registered before a crash */
	size_t kept;	 /* were there */
};

/*
 * NJ_EXISTS: OUT/ID holds a certificate, or the registry tells of one that is
 * still valid, and neither again nor keep is set (keep is for the folder
 * alone).  What was made before a failure stays, and *out tells of it.
 */
NJ_MUST enum nj_err
batch_run(struct pki_ca *ca, const struct batch_item *v, size_t n,
    const struct batch_opts *o, struct batch_result *out, struct nj_why *why);

/* Moves OUT/ID to OUT/.old/ID-SERIAL. */
NJ_MUST enum nj_err
batch_set_aside(const char *out, const char *id, struct nj_why *why);

/* A new file in a folder of a batch; synced with all of them later. */
NJ_MUST enum nj_err batch_put(const char *folder, const char *name,
    struct slice bytes, mode_t mode, struct nj_why *why);

#endif
