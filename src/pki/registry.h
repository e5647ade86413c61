/* SPDX-License-Identifier: Apache-2.0
 * registry - the list of everything that a CA has issued.
 *
 * A text file, one line a certificate, only ever appended to.  Each line ends
 * in a checksum over itself and the checksum before it, so that a line that
 * was changed, moved or taken out of the middle is found.  A line is on disk
 * before its certificate is handed out; one that a crash cut short belongs
 * to a certificate that nobody has, and is dropped.
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

#define REGISTRY_MAX (64 * 1024 * 1024)

struct registry_entry {
	char kind[8]; /* "root", "server", "device" */
	char id[PKI_ID_MAX + 1];
	char serial[41]; /* capital hexadecimal */
	int64_t issued;	 /* Unix seconds */
	int64_t not_after;
	char spki[65]; /* SHA-256 of the public key, hexadecimal */
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
/* Every entry, oldest first, without a lock; fn ends it by returning false. */
NJ_MUST enum nj_err registry_each(const char *path,
    bool (*fn)(void *arg, const struct registry_entry *e), void *arg,
    struct nj_why *why);

#endif
