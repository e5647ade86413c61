/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "cmd/bench/hist.h"

static struct hist h;

/* A bucket is never wider than 1/64 of its values, and none is out of place. */
static void
buckets(void **state)
{
	uint32_t last = 0;

	for (uint64_t v = 0; v < UINT64_C(1) << (HIST_BITS - 1);
	     v += 1 + v / 1000) {
		uint32_t b = hist_bucket(v);

		assert_true(b < HIST_BUCKETS);
		assert_true(b >= last);
		assert_true(hist_bucket(v + v / 32 + 1) > b);
		last = b;
	}
	assert_int_equal(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
}

static void
quantiles(void **state)
{
	hist_reset(&h);
	assert_int_equal(hist_quantile(&h, 0.5), 0);
	assert_true(hist_mean(&h) == 0.0);
	for (uint64_t v = 1; v <= 100000; v++)
		hist_add(&h, v);
	for (unsigned q = 1; q < 100; q++) {
		uint64_t got = hist_quantile(&h, q / 100.0);

		assert_in_range(got, q * 1000, q * 1000 + q * 1000 / 60 + 1);
	}
	assert_int_equal(hist_quantile(&h, 1.0), 100000);
	assert_int_equal(h.max, 100000);
	assert_int_equal(h.min, 1);
	assert_true(hist_mean(&h) == 50000.5);
}

/* One that is far out is p100 only, and max is exact. */
static void
outlier(void **state)
{
	hist_reset(&h);
	for (unsigned i = 0; i < 999; i++)
		hist_add(&h, 10);
	hist_add(&h, 123456789);
	assert_int_equal(hist_quantile(&h, 0.99), 10);
	assert_int_equal(hist_quantile(&h, 1.0), 123456789);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buckets),
		cmocka_unit_test(quantiles),
		cmocka_unit_test(outlier),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
