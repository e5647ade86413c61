/* SPDX-License-Identifier: Apache-2.0
 * home - the folder in which Nightjar keeps what it makes, and the passphrase
 *        of the CA in it.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_HOME_H
#define NJ_CMD_HOME_H

#include <stdbool.h>

#include "base/err.h"
#include "base/secret.h"
#include "pki/ca.h"

#define HOME_ROOT	"/var/lib/nightjar"
#define HOME_CREDENTIAL "nightjar-ca-passphrase" /* systemd LoadCredential= */

/*
 * given, or where this user's files belong: /var/lib/nightjar for root,
 * $XDG_DATA_HOME/nightjar or ~/.local/share/nightjar for others.  As an
 * absolute path; the caller frees it.  make: creates it.
 */
NJ_MUST enum nj_err
home_find(const char *given, bool make, char **out, struct nj_why *why);

/*
 * The folder for whoever makes a CA in it or replaces the one that is there:
 * of several at once the key of one would stand beside the certificate of
 * another.  NJ_BUSY: somebody is at it.  The end of the process releases it,
 * too.
 */
NJ_MUST enum nj_err home_take(const char *dir, int *fd, struct nj_why *why);
void home_release(int fd); /* -1: none was taken */

/*
 * A passphrase for a new CA: the first line of file; or asked for twice at
 * the terminal; or a random one, kept as DIR/ca.passphrase.  *kept tells
 * where it is kept (the caller frees it), NULL when nowhere.
 */
NJ_MUST enum nj_err home_new_passphrase(const char *dir, const char *file,
    bool ask, struct secret **out, char **kept, struct nj_why *why);
/* At the terminal; at least 8 characters, the same both times. */
NJ_MUST enum nj_err
home_ask_twice(const char *prompt, struct secret **out, struct nj_why *why);
/* The first of: file; the systemd credential; DIR/ca.passphrase; the
 * terminal. */
NJ_MUST enum nj_err home_passphrase(
    const char *dir, const char *file, struct secret **out, struct nj_why *why);
/* The same, but nobody is asked: NJ_NOTFOUND when it is kept nowhere. */
NJ_MUST enum nj_err home_passphrase_kept(
    const char *dir, const char *file, struct secret **out, struct nj_why *why);
/* Unlocks with the first of: file; the systemd credential; DIR/ca.passphrase;
 * the terminal. */
NJ_MUST enum nj_err
home_unlock(struct pki_ca *ca, const char *file, struct nj_why *why);

#endif
