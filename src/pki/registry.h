/* SPDX-License-Identifier: Apache-2.0
 * registry - the list of everything that a CA has issued.
 *
 * A text file, one line a certificate, only ever appended to.  Each line ends
 * in a checksum over itself and the checksum before it, so that a line that
 * was changed, moved or taken out of the middle is found.  A line is on disk
 * before its certificate is handed out; one that a crash cut short belongs
 * to a certificate that nobody has, and is dropped.
 *
 * A line is "kind id serial issued not_after spki", then words "key=value":
 * "groups=a,b" and "reason=superseded" are known here, others are kept for those
 * who know them.  A device's groups are those of its last line that names any;
 * a line of the kind "groups" changes nothing but them; one of the kind
 * "revoked" takes the certificate of its serial back (crl.h).
 *
 * Owns:    its descriptor and lock.
 * Threads: one owner; processes take turns by a lock on the file.
 * Bounds:  REGISTRY_MAX bytes, then NJ_FULL.
 */
#ifndef NJ_PKI_REGISTRY_H
#define NJ_PKI_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "pki/cert.h"

#define REGISTRY_MAX	    (64 * 1024 * 1024)
#define REGISTRY_GROUPS_MAX 255 /* bytes, separated by commas */
#define REGISTRY_BATCH	    256 /* entries one registry_append_all takes */

struct registry_entry {
	char kind[8]; /* "root", "issuing", "server", "device", "groups",
			 "revoked" */
	char id[PKI_ID_MAX + 1];
	char serial[41]; /* capital hexadecimal */
	int64_t issued;	 /* Unix seconds; of "revoked" when that was */
	int64_t not_after;
	char spki[65]; /* SHA-256 of the public key, hexadecimal */
	bool has_groups;
	char groups[REGISTRY_GROUPS_MAX + 1]; /* "a,b"; "": none */
	char reason[24]; /* of "revoked": "keyCompromise"; else "" */
};

struct registry;

/* create: a new one, NJ_EXISTS if there is one.  Waits for other processes
 * that have it open for writing. */
NJ_MUST enum nj_err registry_open(
    const char *path, bool create, struct registry **out, struct nj_why *why);
void registry_close(struct registry *r);
/* On disk when it returns NJ_OK; as before otherwise. */
NJ_MUST enum nj_err registry_append(
    struct registry *r, const struct registry_entry *e, struct nj_why *why);
/* Several, with one write: after a crash the first few of them are there, or
 * all.  At most REGISTRY_BATCH. */
NJ_MUST enum nj_err registry_append_all(struct registry *r,
    const struct registry_entry *v, size_t n, struct nj_why *why);
/* Between these, other processes may write; registry_retake waits for them and
 * tells whether they did. */
void registry_release(struct registry *r);
NJ_MUST enum nj_err
registry_retake(struct registry *r, bool *grown, struct nj_why *why);
/* Every entry, oldest first, without a lock; fn ends it by returning false. */
NJ_MUST enum nj_err registry_each(const char *path,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why);

#endif
