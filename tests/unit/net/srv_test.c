/* SPDX-License-Identifier: Apache-2.0
 * SRV records as they come from a name server, and their order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "net/srv.h"

#define ROWS(a)	      (sizeof(a) / sizeof *(a))
#define HEAD(answers) "\0\1\x81\x80\0\1\0" answers "\0\0\0\0"
#define ASKED	      "\5_mqtt\4_tcp\2ex\4test\0\0\41\0\1"
#define SRV(len)      "\xc0\x0c\0\41\0\1\0\0\0\74\0" len
#define BYTES(s)                                    \
	{                                           \
		(const uint8_t *)(s), sizeof(s) - 1 \
	}

static void
answers(void **state)
{
	static const struct {
		const char *why;
		struct slice in;
		enum nj_err want;
		const char *says;
	} rows[] = {
		{ "one",
		    BYTES(HEAD("\1")
			    ASKED SRV("\12") "\0\1\0\2\7\x5b\1a\xc0\x1a"),
		    NJ_OK, "ex.test: 1 2 1883 a.test" },
		{ "two, and a CNAME before them",
		    BYTES(HEAD("\3") ASKED
			"\xc0\x0c\0\5\0\1\0\0\0\74\0\2\xc0"
			"\x0c" SRV("\12") "\0\1\0\2\7\x5b\1a\xc0"
					  "\x1a" SRV("\12") "\0\3\0\4\0"
							    "\5\1b\xc0"
							    "\x1a"),
		    NJ_OK, "ex.test: 1 2 1883 a.test 3 4 5 b.test" },
		{ "not available",
		    BYTES(HEAD("\1") ASKED SRV("\7") "\0\0\0\0\0\0\0"), NJ_OK,
		    "ex.test: 0 0 0 ." },
		{ "none", BYTES(HEAD("\0") ASKED), NJ_NOTFOUND, NULL },
		{ "another kind only",
		    BYTES(HEAD("\1") ASKED
			"\xc0\x0c\0\5\0\1\0\0\0\74\0\2\xc0\x0c"),
		    NJ_NOTFOUND, NULL },
		{ "nothing", BYTES(""), NJ_MALFORMED, NULL },
		{ "half a head", BYTES("\0\1\x81\x80"), NJ_MALFORMED, NULL },
		{ "a record cut off", BYTES(HEAD("\1") ASKED SRV("\12") "\0\1"),
		    NJ_MALFORMED, NULL },
		{ "a record without a target",
		    BYTES(HEAD("\1") ASKED SRV("\6") "\0\1\0\2\7\x5b"),
		    NJ_MALFORMED, NULL },
		{ "a name that points at itself",
		    BYTES(HEAD("\1") ASKED SRV("\10") "\0\1\0\2\7\x5b\xc0\x38"),
		    NJ_MALFORMED, NULL },
		{ "a name that points outside",
		    BYTES(HEAD("\1") ASKED SRV("\10") "\0\1\0\2\7\x5b\xff\xff"),
		    NJ_MALFORMED, NULL },
		{ "another question",
		    BYTES(HEAD("\1") "\5_xmpp\4_tcp\2ex\4test\0\0\41\0\1" SRV(
			"\12") "\0\1\0\2\7\x5b\1a\xc0\x1a"),
		    NJ_MALFORMED, NULL },
		{ "no question", BYTES("\0\1\x81\x80\0\0\0\0\0\0\0\0"),
		    NJ_MALFORMED, NULL },
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct srv_list l = { .n = 0 };
		char got[256];
		int at;
		enum nj_err e = srv_take_answer(rows[i].in, "_mqtt._tcp", &l);

		if (e != rows[i].want)
			fail_msg("%s: %s", rows[i].why, nj_strerror(e));
		if (e)
			continue;
		at = snprintf(got, sizeof got, "%s:", l.domain);
		for (unsigned k = 0; k < l.n; k++)
			at += snprintf(got + at, sizeof got - (size_t)at,
			    " %u %u %u %s", l.v[k].priority, l.v[k].weight,
			    l.v[k].port, l.v[k].host);
		assert_string_equal(got, rows[i].says);
	}
}

static void
more_than_fit(void **state)
{
	static const char head[] = "\0\1\x81\x80\0\1\0\50\0\0\0\0" ASKED;
	static const char one[] = SRV("\12") "\0\1\0\2\7\x5b\1a\xc0\x1a";
	uint8_t msg[2048];
	size_t n = sizeof head - 1;
	struct srv_list l;

	memcpy(msg, head, n);
	for (int i = 0; i < 40; i++, n += sizeof one - 1)
		memcpy(msg + n, one, sizeof one - 1);
	assert_int_equal(
	    srv_take_answer(slice_of(msg, n), "_mqtt._tcp", &l), NJ_OK);
	assert_int_equal(l.n, SRV_MAX);
}

/* RFC 2782: the lowest priority first; of one priority, more often the
 * heavier. */
static void
order(void **state)
{
	static const struct srv_target targets[] = {
		{ 20, 0, 1, "last" },
		{ 10, 0, 1, "never nearly" },
		{ 10, 30, 1, "light" },
		{ 10, 70, 1, "heavy" },
	};
	unsigned first[4] = { 0 };
	struct rng r;

	rng_seed(&r, 7);
	for (int i = 0; i < 10000; i++) {
		struct srv_list l = { .n = ROWS(targets) };

		memcpy(l.v, targets, sizeof targets);
		srv_order(&l, &r);
		assert_string_equal(l.v[3].host, "last");
		for (unsigned k = 0; k < 4; k++)
			first[k] += strcmp(l.v[0].host, targets[k].host) == 0;
	}
	assert_in_range(first[1], 0, 20);
	assert_in_range(first[2], 2700, 3300);
	assert_in_range(first[3], 6700, 7300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(more_than_fit),
		cmocka_unit_test(order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
