/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "core/retain.h"
#include "wire/topic.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static struct retain *
make(uint64_t max_count, uint64_t max_bytes)
{
	struct retain_opts o = { .max_count = max_count,
		.max_bytes = max_bytes };
	struct retain *r = NULL;

	assert_int_equal(retain_new(&o, &r), NJ_OK);
	return r;
}

/* Expiry in seconds, 0: never. */
static enum nj_err
set_at(struct retain *r, struct slice topic, struct slice payload,
    uint64_t now_ms, uint32_t expiry)
{
	struct publish p = { .payload = payload, .retain = true };
	struct msg *m = NULL;
	enum nj_err e;

	if (expiry) {
		p.props.seen = PROP_BIT(PROP_MESSAGE_EXPIRY);
		p.props.message_expiry = expiry;
	}
	assert_int_equal(msg_new(&p, topic, now_ms, &m), NJ_OK);
	e = retain_set(r, m);
	msg_unref(m);
	return e;
}

static void
set(struct retain *r, const char *topic, const char *payload)
{
	assert_int_equal(
	    set_at(r, slice_str(topic), slice_str(payload), 0, 0), NJ_OK);
}

struct found {
	unsigned n, most;
	struct slice filter;
};

static bool
on_found(void *arg, struct msg *m)
{
	struct found *f = arg;

	assert_true(topic_matches(f->filter, msg_topic(m)));
	f->n++;
	return f->most == 0 || f->n < f->most;
}

static unsigned
count(struct retain *r, struct slice filter, uint64_t now_ms, unsigned most)
{
	struct found f = { .filter = filter, .most = most };

	retain_match(r, filter, now_ms, on_found, &f);
	return f.n;
}

static void
retain_matches(void **state)
{
	static const char *const topics[] = { "sport", "sport/tennis/player1",
		"sport/tennis/player1/ranking", "sport/tennis/player2",
		"sport/", "/finance", "a//b", "/", "$SYS/uptime",
		"$SYS/clients/total", "$x", "a/$SYS" };
	const struct {
		const char *filter;
		unsigned want;
	} rows[] = {
		{ "sport/tennis/player1", 1 },
		{ "sport/tennis/player1/#", 2 },
		{ "sport/tennis/+", 2 },
		{ "sport/#", 5 },
		{ "sport/+", 1 },
		{ "sport", 1 },
		{ "#", 9 }, /* [MQTT-4.7.2-1] */
		{ "+", 1 },
		{ "+/+", 4 },
		{ "+/#", 9 },
		{ "/+", 2 },
		{ "a/+/b", 1 },
		{ "a//b", 1 },
		{ "a/+", 1 },
		{ "+/uptime", 0 },
		{ "$SYS/#", 2 },
		{ "$SYS/+", 1 },
		{ "$SYS/+/total", 1 },
		{ "$x", 1 },
		{ "+/tennis/+/+", 1 },
		{ "+/+/+/+/+", 0 },
		{ "none/#", 0 },
		{ "sport/tennis/player1/ranking/#", 1 },
	};
	struct retain *r = make(0, 0);

	(void)state;
	for (size_t i = 0; i < LEN(topics); i++)
		set(r, topics[i], "x");
	assert_int_equal(retain_count(r), LEN(topics));
	for (size_t i = 0; i < LEN(rows); i++) {
		unsigned n = count(r, slice_str(rows[i].filter), 0, 0);

		if (n != rows[i].want)
			fail_msg(
			    "%s: %u, want %u", rows[i].filter, n, rows[i].want);
	}
	assert_int_equal(count(r, LIT("#"), 0, 3), 3);
	assert_int_equal(count(r, LIT("sport/#"), 0, 1), 1);
	retain_free(r);
}

static void
retain_replaces_and_deletes(void **state)
{
	struct retain *r = make(0, 0);
	uint64_t bytes;

	(void)state;
	set(r, "a/b", "1");
	bytes = retain_bytes(r);
	set(r, "a/b", "12345");
	assert_int_equal(retain_count(r), 1);
	assert_int_equal(retain_bytes(r), bytes + 4);
	set(r, "a/b/c", "x");
	set(r, "a/b", ""); /* [MQTT-3.3.1-6] */
	assert_int_equal(retain_count(r), 1);
	assert_int_equal(count(r, LIT("a/#"), 0, 0), 1);
	set(r, "a/b", "");
	set(r, "never/was", "");
	set(r, "a/b/c", "");
	assert_int_equal(retain_count(r), 0);
	assert_int_equal(retain_bytes(r), 0);
	assert_int_equal(count(r, LIT("#"), 0, 0), 0);
	retain_free(r);
}

static void
retain_bounds(void **state)
{
	struct retain *r = make(2, 0);
	uint64_t one;

	(void)state;
	set(r, "a", "x");
	set(r, "b", "x");
	one = retain_bytes(r) / 2;
	assert_int_equal(set_at(r, LIT("c"), LIT("x"), 0, 0), NJ_FULL);
	assert_int_equal(count(r, LIT("c"), 0, 0), 0);
	set(r, "b", "y"); /* replacing is no growth */
	set(r, "a", "");
	set(r, "c", "x");
	retain_free(r);

	r = make(0, 2 * one);
	set(r, "a", "x");
	set(r, "b", "x");
	assert_int_equal(set_at(r, LIT("c"), LIT("x"), 0, 0), NJ_FULL);
	assert_int_equal(set_at(r, LIT("b"), LIT("xy"), 0, 0), NJ_FULL);
	assert_int_equal(count(r, LIT("b"), 0, 0), 1);
	set(r, "b", "z");
	assert_int_equal(retain_bytes(r), 2 * one);
	retain_free(r);
}

static void
retain_expires(void **state)
{
	struct retain *r = make(0, 0);

	(void)state;
	assert_int_equal(set_at(r, LIT("t/1"), LIT("x"), 1000, 1), NJ_OK);
	assert_int_equal(set_at(r, LIT("t/2"), LIT("x"), 1000, 2), NJ_OK);
	assert_int_equal(set_at(r, LIT("t/3"), LIT("x"), 1000, 3), NJ_OK);
	set(r, "t/4", "x");
	/* replaced by one that stays, and by one that goes later */
	assert_int_equal(set_at(r, LIT("t/5"), LIT("x"), 1000, 1), NJ_OK);
	set(r, "t/5", "x");
	assert_int_equal(set_at(r, LIT("t/6"), LIT("x"), 1000, 1), NJ_OK);
	assert_int_equal(set_at(r, LIT("t/6"), LIT("x"), 1000, 9), NJ_OK);
	/* deleted before it expires */
	assert_int_equal(set_at(r, LIT("t/7"), LIT("x"), 1000, 1), NJ_OK);
	set(r, "t/7", "");
	assert_int_equal(count(r, LIT("t/+"), 1999, 0), 6);
	assert_int_equal(count(r, LIT("t/+"), 2000, 0), 5);
	assert_int_equal(count(r, LIT("t/1"), 2000, 0), 0);
	assert_int_equal(retain_sweep(r, 1999, 10, NULL, NULL), 0);
	assert_int_equal(retain_sweep(r, 4000, 2, NULL, NULL), 2);
	assert_int_equal(retain_count(r), 4);
	assert_int_equal(retain_sweep(r, 4000, 2, NULL, NULL), 1);
	assert_int_equal(retain_sweep(r, 4000, 2, NULL, NULL), 0);
	assert_int_equal(count(r, LIT("#"), 4000, 0), 3);
	assert_int_equal(retain_sweep(r, 10000, 9, NULL, NULL), 1);
	assert_int_equal(count(r, LIT("#"), 0, 0), 2);
	retain_free(r);
}

#define TOPICS 300

static void
retain_agrees_with_oracle(void **state)
{
	static const char *const words[] = { "a", "b", "", "$y", "+", "#" };
	static char text[TOPICS][32];
	bool on[TOPICS] = { false };
	struct retain *r = make(0, 0);
	struct rng rng;

	(void)state;
	rng_seed(&rng, 11);
	for (size_t i = 0; i < TOPICS; i++)
		(void)snprintf(text[i], sizeof text[i], "%s%s%zu%s%zu",
		    words[i % 4], i % 3 ? "/" : "", i % 5, i % 7 ? "/" : "",
		    i / 5);
	for (unsigned step = 0; step < 20000; step++) {
		size_t i = rng_next(&rng) % TOPICS;
		char f[32];
		unsigned want = 0;

		on[i] = !on[i];
		set(r, text[i], on[i] ? "x" : "");
		(void)snprintf(f, sizeof f, "%s/%s/%s",
		    words[rng_next(&rng) % 5], words[rng_next(&rng) % 5],
		    words[rng_next(&rng) % 6]);
		if (!topic_filter_ok(slice_str(f)))
			continue;
		for (size_t k = 0; k < TOPICS; k++)
			want += on[k] &&
			    topic_matches(slice_str(f), slice_str(text[k]));
		assert_int_equal(count(r, slice_str(f), 0, 0), want);
	}
	retain_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(retain_matches),
		cmocka_unit_test(retain_replaces_and_deletes),
		cmocka_unit_test(retain_bounds),
		cmocka_unit_test(retain_expires),
		cmocka_unit_test(retain_agrees_with_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
