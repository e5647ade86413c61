/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mount.h"
#include "core/msg.h"

#define LEN(a) (sizeof(a) / sizeof *(a))

static struct mount *
mount_of(const char *prefix)
{
	struct mount *m = NULL;

	assert_int_equal(mount_new(prefix, &m), NJ_OK);
	return m;
}

static void
is(void **state)
{
	struct mount *m = mount_of("a/");

	(void)state;
	assert_true(mount_is(m, "a/"));
	assert_false(mount_is(m, "a"));
	assert_false(mount_is(m, NULL));
	assert_true(mount_is(NULL, NULL));
	assert_false(mount_is(NULL, "a/"));
	free(m);
	assert_null(mount_of(NULL));
	assert_null(mount_of(""));
}

static void
filters(void **state)
{
	const struct {
		const char *filter, *want;
	} rows[] = {
		{ "x", "a/x" },
		{ "#", "a/#" },
		{ "$share/g/x", "$share/g/a/x" },
		{ "$share/g/#", "$share/g/a/#" },
		/* none of a group, so a filter like any other */
		{ "$shared/g/x", "a/$shared/g/x" },
	};
	struct mount *m = mount_of("a/");

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct buf b = { 0 };
		assert_int_equal(
		    mount_put_filter(m, slice_str(rows[i].filter), &b), NJ_OK);
		assert_non_null(b.p);
		assert_int_equal(buf_len(&b), strlen(rows[i].want));
		assert_memory_equal(b.p, rows[i].want, buf_len(&b));
		buf_fini(&b);
	}
	free(m);
}

static void
bounds(void **state)
{
	struct mount *m = mount_of("ab/");
	char *text = calloc(1, MQTT_STRING_MAX + 1);

	(void)state;
	assert_non_null(text);
	memset(text, 'x', MQTT_STRING_MAX);
	for (size_t n = MQTT_STRING_MAX - 5; n <= MQTT_STRING_MAX; n++) {
		struct slice topic = slice_of(text, n);
		enum nj_err want = n + 3 > MQTT_STRING_MAX ? NJ_TOOBIG : NJ_OK;
		struct buf a = { 0 }, b = { 0 };

		assert_int_equal(mount_put_topic(m, topic, &a), want);
		assert_int_equal(mount_put_filter(m, topic, &b), want);
		buf_fini(&a);
		buf_fini(&b);
	}
	free(text);
	free(m);
}

static void
seen(void **state)
{
	const struct {
		const char *topic, *want; /* NULL: nothing */
	} rows[] = {
		{ "a/x", "x" },
		{ "a/x/y", "x/y" },
		{ "a//", "/" },
		{ "a/", NULL },
		{ "a", NULL },
		{ "", NULL },
		{ "b/x", NULL },
		{ "aa/x", NULL },
	};
	struct mount *m = mount_of("a/");
	struct slice s;

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		const char *want = rows[i].want;
		bool ok = mount_seen(m, slice_str(rows[i].topic), &s);

		assert_int_equal(ok, want != NULL);
		if (want)
			assert_true(slice_is(s, want));
	}
	free(m);
}

#define RESPONSE(n, text) "\x08\0" n text
#define USER		  "\x26\0\1k\0\1v"

static void
check(const uint8_t *p, size_t n, struct slice want)
{
	assert_int_equal(n, want.n);
	if (n > 0)
		assert_memory_equal(p, want.p, n);
}

/* Properties in, on the way in; what a client under a/ gets of them. */
static void
properties(void **state)
{
	const struct {
		struct slice in, put, strip;
	} rows[] = {
		{ LIT(""), LIT(""), LIT("") },
		{ LIT(USER), LIT(USER), LIT(USER) },
		{ LIT(RESPONSE("\1", "r")), LIT(RESPONSE("\3", "a/r")),
		    LIT("") },
		{ LIT(USER RESPONSE("\3", "a/r") "\1\1"),
		    LIT(USER RESPONSE("\5", "a/a/r") "\1\1"),
		    LIT(USER RESPONSE("\1", "r") "\1\1") },
		{ LIT(RESPONSE("\2", "a/")), LIT(RESPONSE("\4", "a/a/")),
		    LIT("") },
		{ LIT("\x02\0\0\0\5" RESPONSE("\3", "b/r") "\x23\0\1"),
		    LIT("\x02\0\0\0\5" RESPONSE("\5", "a/b/r") "\x23\0\1"),
		    LIT("") },
	};
	struct mount *m = mount_of("a/");

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct publish p = { .payload = LIT("hello"),
			.props = { .raw = rows[i].in, .seen = UINT64_MAX } };
		struct msg *from = NULL;
		struct slice strip;
		struct buf b = { 0 };

		assert_int_equal(mount_put_props(m, rows[i].in, &b), NJ_OK);
		check(b.p, buf_len(&b), rows[i].put);
		buf_fini(&b);
		assert_int_equal(msg_new(&p, LIT("a/x"), 7, &from), NJ_OK);
		assert_int_equal(
		    mount_strip_props(m, msg_props(from), &b, &strip), NJ_OK);
		check(strip.p, strip.n, rows[i].strip);
		buf_fini(&b);
		msg_unref(from);
	}
	free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is),
		cmocka_unit_test(filters),
		cmocka_unit_test(bounds),
		cmocka_unit_test(seen),
		cmocka_unit_test(properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
