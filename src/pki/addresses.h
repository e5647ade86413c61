/* SPDX-License-Identifier: Apache-2.0
 * addresses - the addresses of this machine, asked of the kernel over a socket
 *             that may have been opened before: a confined process can open
 *             none.
 *
 * Owns:    nothing; the socket is the caller's.
 * Threads: one at a time for a socket.
 * Bounds:  ADDRESSES_LINKS_MAX interfaces, ADDRESSES_WAIT_MS for an answer.
 * Spec:    rtnetlink(7).
 */
#ifndef NJ_PKI_ADDRESSES_H
#define NJ_PKI_ADDRESSES_H

#include <stdbool.h>

#include "base/err.h"

#define ADDRESSES_LINKS_MAX 1024
#define ADDRESSES_WAIT_MS   2000

/* -1: there is none to be had.  told: it becomes readable whenever addresses
 * come or go, and is of no use for anything else. */
int addresses_open(bool told) NJ_MUST;
/* Takes what was told; whether it was anything. */
bool addresses_changed(int fd);

/*
 * Calls fn with every address of an interface that is up, and with that
 * interface's name; link-local ones and those that IPv6 makes for a day
 * (RFC 8981) apart, which nobody connects to.  NJ_AGAIN: they changed
 * meanwhile, and some may not have been told.
 */
NJ_MUST enum nj_err addresses_each(int fd,
    void (*fn)(void *arg, const char *text, const char *interface), void *arg);

#endif
