/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rand.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

/* SipHash-1-3 of 00 01 02 ... under the key 00 01 .. 0f. */
static void
hash_is_siphash_1_3(void **state)
{
	const struct {
		size_t n;
		uint64_t want;
	} rows[] = {
		{ 0, UINT64_C(0xabac0158050fc4dc) },
		{ 1, UINT64_C(0xc9f49bf37d57ca93) },
		{ 7, UINT64_C(0xd3927d989bb11140) },
		{ 8, UINT64_C(0x369095118d299a8e) },
		{ 15, UINT64_C(0xd320d86d2a519956) },
		{ 16, UINT64_C(0xcc4fdd1a7d908b66) },
		{ 63, UINT64_C(0x9d199062b7bbb3a8) },
	};
	uint8_t in[64];

	(void)state;
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	hash_seed(UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908));
	for (size_t i = 0; i < LEN(rows); i++)
		if (hash_bytes(slice_of(in, rows[i].n)) != rows[i].want)
			fail_msg("%zu bytes: %016llx", rows[i].n,
			    (unsigned long long)hash_bytes(
				slice_of(in, rows[i].n)));
}

static void
hash_depends_on_key_and_length(void **state)
{
	static const uint8_t zeros[32];
	uint64_t seen[33], first;

	(void)state;
	hash_seed(1, 2);
	first = hash_bytes(LIT("topic"));
	for (size_t n = 0; n < LEN(seen); n++) {
		seen[n] = hash_bytes(slice_of(zeros, n));
		for (size_t k = 0; k < n; k++)
			assert_int_not_equal(seen[k], seen[n]);
	}
	hash_seed(1, 3);
	assert_int_not_equal(hash_bytes(LIT("topic")), first);
	hash_seed_random();
	first = hash_bytes(LIT("topic"));
	hash_seed_random();
	assert_int_not_equal(hash_bytes(LIT("topic")), first);
}

static void
rng_replays(void **state)
{
	struct rng a, b, c;
	unsigned bits[64] = { 0 };

	(void)state;
	rng_seed(&a, 0);
	rng_seed(&b, 0);
	rng_seed(&c, 1);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t v = rng_next(&a);

		assert_int_equal(v, rng_next(&b));
		assert_int_not_equal(v, rng_next(&c));
		for (unsigned k = 0; k < 64; k++)
			bits[k] += v >> k & 1;
	}
	for (unsigned k = 0; k < 64; k++)
		assert_in_range(bits[k], 4700, 5300);
}

static void
rand_bytes_fills(void **state)
{
	uint8_t a[1000], zero[1000] = { 0 };
	unsigned seen[256] = { 0 };

	(void)state;
	rand_bytes(a, sizeof a);
	assert_memory_not_equal(a, zero, sizeof a);
	for (unsigned round = 0; round < 100; round++) {
		rand_bytes(a, sizeof a);
		for (size_t i = 0; i < sizeof a; i++)
			seen[a[i]]++;
	}
	for (unsigned i = 0; i < 256; i++)
		assert_in_range(seen[i], 200, 600);
	rand_bytes(a, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_siphash_1_3),
		cmocka_unit_test(hash_depends_on_key_and_length),
		cmocka_unit_test(rng_replays),
		cmocka_unit_test(rand_bytes_fills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
