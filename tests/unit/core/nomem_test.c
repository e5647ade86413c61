/* SPDX-License-Identifier: Apache-2.0
 * Each allocation failed in turn: the call says NJ_NOMEM and changes nothing,
 * and with memory again it succeeds.  Linked with --wrap for the allocator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/index.h"
#include "core/retain.h"

static long left = -1; /* allocations that still succeed; -1: all */

static bool
refuse(void)
{
	if (left < 0)
		return false;
	return left == 0 || left-- == 0;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

void *
__wrap_malloc(size_t n)
{
	return refuse() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return refuse() ? NULL : __real_calloc(n, size);
}

void *
__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return refuse() ? NULL : __real_reallocarray(p, n, size);
}

struct session {
	struct subs subs;
};

struct subs *
session_subs(struct session *s)
{
	return &s->subs;
}

static void
index_new_fails(void **state)
{
	const struct index_opts o = { .shards = 1 };
	struct index *ix = NULL;
	enum nj_err e = NJ_NOMEM;
	long n;

	(void)state;
	for (n = 0; e; n++) {
		left = n;
		e = index_new(&o, &ix);
		left = -1;
		assert_true(e == NJ_OK || (e == NJ_NOMEM && !ix));
	}
	assert_true(n > 2);
	index_free(ix);
}

#define FILTERS	 300
#define SESSIONS 20

static void
subs_put_fails(void **state)
{
	const struct index_opts o = { .shards = 1 };
	static struct session s[SESSIONS];
	struct index *ix = NULL;
	struct index_stats st;
	unsigned failures = 0;

	(void)state;
	assert_int_equal(index_new(&o, &ix), NJ_OK);
	for (unsigned i = 0; i < FILTERS; i++) {
		/* some filters of many sessions, many of one */
		struct session *to = &s[i % 3 ? 0 : i % SESSIONS];
		enum nj_err e = NJ_NOMEM;
		char text[32];

		(void)snprintf(
		    text, sizeof text, "f/%u/+/#", i % 3 ? i : i / 60);
		for (long n = 0; e; n++) {
			struct match m = { 0 };
			bool existed = false;

			left = n;
			e = subs_put(&to->subs, ix, 0, slice_str(text), to, 0,
			    false, &existed);
			left = -1;
			failures += e == NJ_NOMEM;
			assert_true(e == NJ_OK || e == NJ_NOMEM);
			assert_int_equal(
			    index_match(ix, LIT("f/none/x"), &m), NJ_OK);
			assert_int_equal(m.n, 0);
			match_fini(&m);
		}
	}
	assert_true(failures > 2 * FILTERS);
	/* deleting never needs memory */
	left = 0;
	for (unsigned i = 0; i < SESSIONS; i++)
		subs_clear(&s[i].subs, ix);
	left = -1;
	index_stats(ix, &st);
	assert_int_equal(st.filters, 0);
	assert_int_equal(st.subscriptions, 0);
	index_free(ix);
}

static void
match_fails(void **state)
{
	const struct index_opts o = { .shards = 1 };
	struct session s = { 0 };
	struct match m = { 0 };
	struct index *ix = NULL;
	bool existed;

	(void)state;
	assert_int_equal(index_new(&o, &ix), NJ_OK);
	assert_int_equal(
	    subs_put(&s.subs, ix, 0, LIT("#"), &s, 0, false, &existed), NJ_OK);
	left = 0;
	assert_int_equal(index_match(ix, LIT("a"), &m), NJ_NOMEM);
	left = -1;
	assert_int_equal(index_match(ix, LIT("a"), &m), NJ_OK);
	assert_int_equal(m.n, 1);
	left = 0; /* no allocation once it has grown */
	assert_int_equal(index_match(ix, LIT("b/c"), &m), NJ_OK);
	left = -1;
	match_fini(&m);
	subs_clear(&s.subs, ix);
	index_free(ix);
}

static void
retain_set_fails(void **state)
{
	const struct retain_opts o = { 0 };
	struct retain *r = NULL;
	unsigned failures = 0;
	enum nj_err e = NJ_NOMEM;

	(void)state;
	for (long n = 0; e; n++) {
		left = n;
		e = retain_new(&o, &r);
		left = -1;
		assert_true(e == NJ_OK || (e == NJ_NOMEM && !r));
	}
	for (unsigned i = 0; i < 200; i++) {
		struct publish p = { .payload = LIT("x") };
		struct msg *m = NULL;
		char text[32];

		p.props.seen = PROP_BIT(PROP_MESSAGE_EXPIRY);
		p.props.message_expiry = 1 + i % 7;
		(void)snprintf(text, sizeof text, "t/%u/x", i);
		left = 0;
		if (msg_new(&p, slice_str(text), 0, &m) == NJ_NOMEM)
			failures++;
		left = -1;
		if (!m)
			assert_int_equal(
			    msg_new(&p, slice_str(text), 0, &m), NJ_OK);
		e = NJ_NOMEM;
		for (long n = 0; e; n++) {
			left = n;
			e = retain_set(r, m);
			left = -1;
			failures += e == NJ_NOMEM;
			assert_true(e == NJ_OK || e == NJ_NOMEM);
			assert_int_equal(retain_count(r), i + (e == NJ_OK));
		}
		msg_unref(m);
	}
	assert_true(failures > 400);
	left = 0;
	assert_int_equal(retain_sweep(r, 8000, 1000, NULL, NULL), 200);
	left = -1;
	assert_int_equal(retain_count(r), 0);
	retain_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(index_new_fails),
		cmocka_unit_test(subs_put_fails),
		cmocka_unit_test(match_fails),
		cmocka_unit_test(retain_set_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
