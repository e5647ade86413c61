/* SPDX-License-Identifier: Apache-2.0
 * cidr - lists of addresses and networks, as a configuration has them.
 *
 * Owns:    nothing.
 * Threads: any; pure.
 * Spec:    RFC 4632, RFC 4291 2.3.
 */
#ifndef NJ_BASE_CIDR_H
#define NJ_BASE_CIDR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define CIDR_BYTES 16 /* IPv4 in its mapped form (RFC 4291 2.5.5.2) */

/* Entries are parted by blanks, commas and ends of lines. */
#define CIDR_BETWEEN " \t,\r\n"

struct cidr {
	uint8_t addr[CIDR_BYTES];
	uint8_t bits; /* of addr that count */
};

/* "192.0.2.1", "10.0.0.0/8", "2001:db8::/32"; false when it is none of these,
 * or has bits behind its prefix. */
bool cidr_read(struct slice text, struct cidr *out);
bool cidr_has(const struct cidr *c, const uint8_t addr[CIDR_BYTES]);
/* 4 or 16 bytes in the form that is compared. */
void cidr_map(struct slice bytes, uint8_t addr[CIDR_BYTES]);
/* The first entry of a list that cannot be read; empty when all can. */
struct slice cidr_list_fault(const char *list);
bool cidr_list_has(const char *list, const uint8_t addr[CIDR_BYTES]);

#endif
