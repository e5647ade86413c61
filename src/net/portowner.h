/* SPDX-License-Identifier: Apache-2.0
 * portowner - addresses in print, and which program holds a port.
 *
 * Owns:    nothing.
 * Threads: any.
 */
#ifndef NJ_NET_PORTOWNER_H
#define NJ_NET_PORTOWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* "192.0.2.1:1883", "[::1]:1883", "unix"; mapped IPv4 is printed as IPv4. */
void nj_addr_print(const struct sockaddr *sa, char *dst, size_t size);
/* "mosquitto (process 812)"; false when /proc does not tell us, which it does
 * for processes of other users only to root. */
bool port_owner(uint16_t port, char *dst, size_t size);

#endif
