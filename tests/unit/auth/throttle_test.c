/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include "auth/throttle.h"

static const struct throttle_opts small = {
	.max_addresses = 3,
	.connects_per_s = 10,
	.connects_burst = 5,
	.failures_free = 2,
	.failure_melts_ms = 30000,
	.wait_first_ms = 1000,
	.wait_max_ms = 6000,
};

static struct throttle *
make(const struct throttle_opts *o)
{
	struct throttle *t = NULL;

	check_int("new", throttle_new(o, &t), NJ_OK);
	return t;
}

static struct slice
v4(uint8_t last)
{
	static uint8_t a[256][4];

	a[last][0] = 192;
	a[last][2] = 2;
	a[last][3] = last;
	return slice_of(a[last], 4);
}

static void
bucket(void **state)
{
	struct throttle *t = make(&small);
	uint64_t now = 1000;

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_true(throttle_connect(t, v4(1), now));
	assert_false(throttle_connect(t, v4(1), now));
	assert_true(throttle_connect(t, v4(2), now)); /* another's bucket */
	assert_false(throttle_connect(t, v4(1), now + 99));
	assert_true(throttle_connect(t, v4(1), now + 100));
	assert_false(throttle_connect(t, v4(1), now + 100));
	/* a clock that went back gives nothing and takes nothing */
	assert_false(throttle_connect(t, v4(1), now));
	/* full again, never more */
	now += UINT64_C(1) << 50;
	for (int i = 0; i < 5; i++)
		assert_true(throttle_connect(t, v4(1), now));
	assert_false(throttle_connect(t, v4(1), now));
	throttle_free(t);
}

static void
backoff(void **state)
{
	struct throttle *t = make(&small);
	static const uint64_t waits[] = { 0, 0, 1000, 2000, 4000, 6000, 6000 };
	uint64_t now = 5;

	(void)state;
	for (size_t i = 0; i < LEN(waits); i++) {
		throttle_login_failed(t, v4(1), now);
		check_int("wait", (long)throttle_login_wait(t, v4(1), now),
		    (long)waits[i]);
		check_int("wait",
		    (long)throttle_login_wait(t, v4(1), now + waits[i]), 0);
		assert_int_equal(throttle_login_wait(t, v4(2), now), 0);
	}
	/* seven failures: after five have melted, two are left and one more
	 * costs the first wait */
	now += 5 * 30000;
	throttle_login_failed(t, v4(1), now);
	check_int("melted", (long)throttle_login_wait(t, v4(1), now), 1000);
	now += UINT64_C(1) << 40;
	throttle_login_failed(t, v4(1), now);
	check_int("forgotten", (long)throttle_login_wait(t, v4(1), now), 0);
	throttle_free(t);
}

static void
many_failures(void **state)
{
	struct throttle *t = make(&small);

	(void)state;
	for (int i = 0; i < 100000; i++)
		throttle_login_failed(t, v4(1), 7);
	check_int("wait", (long)throttle_login_wait(t, v4(1), 7), 6000);
	throttle_free(t);
}

static void
addresses(void **state)
{
	static const uint8_t mapped[16] = {
		[10] = 0xff, [11] = 0xff, 192, 0, 2, 1
	};
	uint8_t one[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, [15] = 1 };
	uint8_t same[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, [8] = 9 };
	uint8_t other[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, [15] = 1 };
	struct throttle *t = make(&small);

	(void)state;
	for (int i = 0; i < 3; i++) {
		throttle_login_failed(t, slice_of(one, 16), 1);
		throttle_login_failed(t, v4(1), 1);
	}
	assert_true(throttle_login_wait(t, slice_of(same, 16), 1) > 0);
	assert_true(throttle_login_wait(t, slice_of(other, 16), 1) == 0);
	assert_true(throttle_login_wait(t, slice_of(mapped, 16), 1) > 0);
	/* a local socket has no address */
	for (int i = 0; i < 100; i++) {
		throttle_login_failed(t, SLICE_NONE, 1);
		assert_true(throttle_connect(t, SLICE_NONE, 1));
	}
	assert_int_equal(throttle_login_wait(t, SLICE_NONE, 1), 0);
	throttle_free(t);
}

/* The longest unseen address makes room. */
static void
eviction(void **state)
{
	struct throttle *t = make(&small);
	struct throttle_stats st;

	(void)state;
	for (uint8_t a = 1; a <= 3; a++)
		for (int i = 0; i < 3; i++)
			throttle_login_failed(t, v4(a), 1);
	assert_true(throttle_login_wait(t, v4(1), 1) > 0); /* seen again */
	assert_true(throttle_connect(t, v4(4), 1));
	assert_true(throttle_login_wait(t, v4(1), 1) > 0);
	assert_true(throttle_login_wait(t, v4(2), 1) == 0);
	assert_true(throttle_login_wait(t, v4(3), 1) > 0);
	throttle_stats(t, &st);
	assert_int_equal(st.addresses, 3);
	assert_int_equal(st.evicted, 1);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(throttle_connect(t, v4((uint8_t)i), 1000000 + i));
	throttle_stats(t, &st);
	assert_int_equal(st.addresses, 3);
	throttle_free(t);
}

static void
off(void **state)
{
	struct throttle_opts o = small;
	struct throttle *t = NULL;

	(void)state;
	o.connects_per_s = 0;
	o.wait_first_ms = 0;
	t = make(&o);
	for (int i = 0; i < 100; i++) {
		assert_true(throttle_connect(t, v4(1), 1));
		throttle_login_failed(t, v4(1), 1);
		assert_int_equal(throttle_login_wait(t, v4(1), 1), 0);
	}
	throttle_free(t);
	o.max_addresses = 0;
	check_int("none", throttle_new(&o, &t), NJ_INVALID);
	throttle_free(NULL);
	o = throttle_defaults();
	throttle_free(make(&o));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket),
		cmocka_unit_test(backoff),
		cmocka_unit_test(many_failures),
		cmocka_unit_test(addresses),
		cmocka_unit_test(eviction),
		cmocka_unit_test(off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
