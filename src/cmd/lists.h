/* SPDX-License-Identifier: Apache-2.0
 * lists - the lists of revoked certificates that a running broker goes by:
 *         where they are, and that new ones hold at once.
 *
 * Owns:    struct lists its watch.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_LISTS_H
#define NJ_CMD_LISTS_H

#include <stdbool.h>

#include "base/err.h"
#include "broker/broker.h"
#include "conf/conf.h"

/* The list of our own CA that goes with a listener's cafile: DIR/crl/ca.crl
 * for DIR/pki/ca.crt, whether it is there yet or not.  NULL: the cafile is not
 * in a CA's folder, or no memory.  The caller frees it. */
char *lists_own(const struct conf_listener *l) NJ_MUST;

/* The groups of that CA's devices: DIR/groups.  NULL and freeing as above. */
char *lists_groups(const struct conf_listener *l) NJ_MUST;

struct lists;
/* sig comes when a list may have changed.  Before rights are given up. */
NJ_MUST enum nj_err lists_watch(
    const struct conf *c, int sig, struct lists **out, struct nj_why *why);
void lists_free(struct lists *l);
/* After a reload, which may name other files. */
void lists_watch_more(struct lists *l, const struct conf *c);
/* Whether a certificate or key that a listener serves with, or the CAs that it
 * believes, are in another file than at the last call. */
bool lists_certs_changed(struct lists *l, const struct conf *c);
/* After the signal, and from time to time: reads what has changed, and throws
 * out who was revoked. */
void lists_renew(
    struct lists *l, struct broker *b, const struct port_opts *ports, size_t n);

#endif
