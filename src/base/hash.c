/* SPDX-License-Identifier: Apache-2.0
 * SipHash (Aumasson, Bernstein) with one compression and three finalisation
 * rounds: enough against flooding a table, half the cost of SipHash-2-4.
 */
#include "base/hash.h"

#include <string.h>

#include "base/rand.h"

static uint64_t key0 = UINT64_C(0x0706050403020100);
static uint64_t key1 = UINT64_C(0x0f0e0d0c0b0a0908);

void
hash_seed(uint64_t k0, uint64_t k1)
{
	key0 = k0;
	key1 = k1;
}

void
hash_seed_random(void)
{
	uint64_t k[2];

	rand_bytes(k, sizeof k);
	hash_seed(k[0], k[1]);
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t
rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void
sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline uint64_t
le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

uint64_t
hash_bytes(struct slice in)
{
	struct sip s = { key0 ^ UINT64_C(0x736f6d6570736575),
		key1 ^ UINT64_C(0x646f72616e646f6d),
		key0 ^ UINT64_C(0x6c7967656e657261),
		key1 ^ UINT64_C(0x7465646279746573) };
	uint64_t last = (uint64_t)in.n << 56;
	size_t whole = in.n & ~(size_t)7;

	for (size_t i = 0; i < whole; i += 8) {
		uint64_t m = le64(in.p + i);

		s.v3 ^= m;
		sip_round(&s);
		s.v0 ^= m;
	}
	for (size_t i = whole; i < in.n; i++)
		last |= (uint64_t)in.p[i] << (8 * (i - whole));
	s.v3 ^= last;
	sip_round(&s);
	s.v0 ^= last;
	s.v2 ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
