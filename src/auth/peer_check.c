/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/peer_check.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/cidr.h"

static bool
same(struct slice a, struct slice b)
{
	uint8_t x[CIDR_BYTES], y[CIDR_BYTES];

	if ((a.n != 4 && a.n != 16) || (b.n != 4 && b.n != 16))
		return false;
	cidr_map(a, x);
	cidr_map(b, y);
	return memcmp(x, y, sizeof x) == 0;
}

bool
peer_check_cn(struct slice cn, struct slice addr)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t bytes[16];

	if (cn.n == 0 || cn.n >= sizeof text || memchr(cn.p, 0, cn.n))
		return false;
	memcpy(text, cn.p, cn.n);
	text[cn.n] = '\0';
	if (inet_pton(AF_INET, text, bytes) == 1)
		return same(slice_of(bytes, 4), addr);
	return inet_pton(AF_INET6, text, bytes) == 1 &&
	    same(slice_of(bytes, 16), addr);
}

bool
peer_check_san(struct slice ips, struct slice addr)
{
	struct slice one;
	uint8_t n = 0;

	while (take_u8(&ips, &n) == NJ_OK && take_bytes(&ips, n, &one) == NJ_OK)
		if (same(one, addr))
			return true;
	return false;
}
