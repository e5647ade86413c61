/* SPDX-License-Identifier: Apache-2.0
 * peer_check - whether a certificate was made for the address that its client
 *              comes from.
 *
 * Threads: pure.
 * Spec:    RFC 5280 4.2.1.6 (iPAddress), RFC 4291 2.2, 2.5.5.2: an IPv4
 *          address mapped into IPv6 is that IPv4 address.
 */
#ifndef NJ_AUTH_PEER_CHECK_H
#define NJ_AUTH_PEER_CHECK_H

#include <stdbool.h>

#include "base/slice.h"

/* addr: the 4 or 16 bytes of the client's address; any other length: it has
 * none, and no certificate is for it. */

/* cn is that address in one of its written forms, and nothing else. */
bool peer_check_cn(struct slice cn, struct slice addr);
/* ips: each a length byte and as many bytes; one of them is the address. */
bool peer_check_san(struct slice ips, struct slice addr);

#endif
