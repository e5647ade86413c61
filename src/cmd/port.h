/* SPDX-License-Identifier: Apache-2.0
 * port - whether a TCP port is free, and who has it otherwise.
 *
 * Owns:    nothing.
 * Threads: any.
 */
#ifndef NJ_CMD_PORT_H
#define NJ_CMD_PORT_H

#include "base/err.h"

/* NJ_OK: a listener on all addresses can have it.  NJ_BUSY: another program
 * listens there; *why says which, as far as this user may know, and what
 * option helps. */
NJ_MUST enum nj_err port_check(unsigned port, struct nj_why *why);

#endif
