/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "core/loans.h"

#define MESSAGES 5
#define PIECES	 9 /* few, so that one write often does not take all */
#define ROUNDS	 20000

/* What must leave, in order, beside what is said to the code under test. */
struct model {
	struct buf out, want;
	struct loans *loans;
	struct msg *m[MESSAGES];
	struct rng rng;
};

static void
fill(struct rng *r, uint8_t *dst, size_t n)
{
	for (size_t i = 0; i < n; i++)
		dst[i] = (uint8_t)rng_next(r);
}

static void
add_bytes(struct model *t)
{
	uint8_t bytes[40];
	size_t n = rng_next(&t->rng) % sizeof bytes;

	fill(&t->rng, bytes, n);
	assert_int_equal(buf_put(&t->out, bytes, n), NJ_OK);
	assert_int_equal(buf_put(&t->want, bytes, n), NJ_OK);
}

static void
add_loan(struct model *t)
{
	struct msg *m = t->m[rng_next(&t->rng) % MESSAGES];

	assert_int_equal(loans_reserve(&t->loans), NJ_OK);
	loans_add(t->loans, &t->out, m);
	assert_int_equal(buf_put_slice(&t->want, msg_payload(m)), NJ_OK);
}

/* As conn_flush does, with a socket that takes some. */
static void
send_some(struct model *t)
{
	struct iovec v[PIECES];
	struct slice want = buf_slice(&t->want);
	size_t n = 0, most = rng_next(&t->rng) % 9000;
	int cnt = loans_pieces(t->loans, &t->out, v, PIECES);

	assert_true(cnt <= PIECES);
	assert_true(cnt > 0 || want.n == 0);
	for (int i = 0; i < cnt && n < most; i++) {
		size_t k = v[i].iov_len < most - n ? v[i].iov_len : most - n;

		assert_memory_equal(v[i].iov_base, want.p + n, k);
		n += k;
	}
	loans_sent(&t->loans, &t->out, n);
	buf_drain(&t->want, n);
	assert_int_equal(buf_len(&t->want),
	    buf_len(&t->out) + (t->loans ? t->loans->bytes : 0));
}

static void
all_leaves_in_order(void **state)
{
	struct model t = { 0 };

	(void)state;
	rng_seed(&t.rng, 7);
	for (unsigned i = 0; i < MESSAGES; i++) {
		uint8_t bytes[5000];
		struct publish p = { .payload =
					 slice_of(bytes, 1 + i * 1111u) };

		fill(&t.rng, bytes, p.payload.n);
		assert_int_equal(msg_new(&p, LIT("t"), 0, &t.m[i]), NJ_OK);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t what = rng_next(&t.rng) % 8;

		if (what < 3)
			add_bytes(&t);
		else if (what < 5)
			add_loan(&t);
		else if (t.loans)
			send_some(&t);
	}
	while (t.loans)
		send_some(&t);
	for (unsigned i = 0; i < MESSAGES; i++) {
		assert_int_equal(atomic_load(&t.m[i]->refs), 1);
		msg_unref(t.m[i]);
	}
	buf_fini(&t.out);
	buf_fini(&t.want);
}

static void
what_is_dropped_is_released(void **state)
{
	struct publish p = { .payload = LIT("hello") };
	struct loans *ls = NULL;
	struct buf out = { 0 };
	struct msg *m = NULL;

	(void)state;
	loans_free(NULL);
	assert_int_equal(msg_new(&p, LIT("t"), 0, &m), NJ_OK);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(loans_reserve(&ls), NJ_OK);
		loans_add(ls, &out, m);
	}
	assert_int_equal(ls->bytes, 100);
	assert_int_equal(atomic_load(&m->refs), 21);
	loans_sent(&ls, &out, 7);
	assert_int_equal(atomic_load(&m->refs), 20);
	loans_free(ls);
	assert_int_equal(atomic_load(&m->refs), 1);
	msg_unref(m);
}

/* Room that was asked for and not used hides nothing. */
static void
room_alone_hides_nothing(void **state)
{
	struct loans *ls = NULL;
	struct buf out = { 0 };
	struct iovec v[PIECES];

	(void)state;
	assert_int_equal(loans_reserve(&ls), NJ_OK);
	assert_int_equal(buf_put(&out, "abc", 3), NJ_OK);
	assert_int_equal(loans_pieces(ls, &out, v, PIECES), 1);
	assert_int_equal(v[0].iov_len, 3);
	loans_sent(&ls, &out, 3);
	assert_null(ls);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_leaves_in_order),
		cmocka_unit_test(what_is_dropped_is_released),
		cmocka_unit_test(room_alone_hides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
