/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <string.h>

#define MAPPED 96 /* bits in front of an IPv4 address */

/* The number behind the slash. */
static bool
read_bits(struct slice s, unsigned max, unsigned *out)
{
	unsigned n = 0;

	if (s.n < 1 || s.n > 3 || (s.n > 1 && s.p[0] == '0'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		n = n * 10 + (s.p[i] - '0');
	}
	*out = n;
	return n <= max;
}

static bool
bit_of(const uint8_t *addr, unsigned i)
{
	return addr[i / 8] >> (7 - i % 8) & 1;
}

void
cidr_map(struct slice bytes, uint8_t addr[CIDR_BYTES])
{
	memset(addr, 0, CIDR_BYTES);
	if (bytes.n == CIDR_BYTES) {
		memcpy(addr, bytes.p, CIDR_BYTES);
	} else if (bytes.n == 4) {
		addr[10] = addr[11] = 0xff;
		memcpy(addr + MAPPED / 8, bytes.p, 4);
	}
}

bool
cidr_read(struct slice text, struct cidr *out)
{
	const uint8_t *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
	size_t n = slash ? (size_t)(slash - text.p) : text.n;
	char host[INET6_ADDRSTRLEN];
	uint8_t raw[CIDR_BYTES];
	unsigned bits, most;
	struct cidr c;

	if (n == 0 || n >= sizeof host || memchr(text.p, '\0', n))
		return false;
	memcpy(host, text.p, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, raw) == 1)
		most = 32;
	else if (inet_pton(AF_INET6, host, raw) == 1)
		most = 128;
	else
		return false;
	bits = most;
	if (slash &&
	    !read_bits(slice_of(slash + 1, text.n - n - 1), most, &bits))
		return false;
	cidr_map(slice_of(raw, most / 8), c.addr);
	c.bits = (uint8_t)(bits + (most == 32 ? MAPPED : 0));
	for (unsigned i = c.bits; i < CIDR_BYTES * 8; i++)
		if (bit_of(c.addr, i))
			return false;
	*out = c;
	return true;
}

bool
cidr_has(const struct cidr *c, const uint8_t addr[CIDR_BYTES])
{
	unsigned whole = c->bits / 8u, rest = c->bits % 8u;

	if (memcmp(c->addr, addr, whole) != 0)
		return false;
	return rest == 0 || (c->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

/* The next entry of *list; false at the end. */
static bool
next(const char **list, struct slice *word)
{
	const char *p = *list + strspn(*list, CIDR_BETWEEN);

	*word = slice_of(p, strcspn(p, CIDR_BETWEEN));
	*list = p + word->n;
	return word->n > 0;
}

struct slice
cidr_list_fault(const char *list)
{
	struct slice word;
	struct cidr c;

	while (next(&list, &word))
		if (!cidr_read(word, &c))
			return word;
	return SLICE_NONE;
}

bool
cidr_list_has(const char *list, const uint8_t addr[CIDR_BYTES])
{
	struct slice word;
	struct cidr c;

	while (next(&list, &word))
		if (cidr_read(word, &c) && cidr_has(&c, addr))
			return true;
	return false;
}
