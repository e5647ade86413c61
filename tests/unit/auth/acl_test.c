/* SPDX-License-Identifier: Apache-2.0
 *
 * Topic rules: what is read, who may what, what a subscription may get.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/acl.h"
#include "wire/topic.h"

static struct acl *
parse(const char *text)
{
	struct nj_why why = { .what = "" };
	struct acl *a = NULL;

	if (acl_parse(slice_str(text), "f", &a, &why))
		fail_msg("%s", why.what);
	return a;
}

#define MIXED                             \
	"# for everyone without a name\n" \
	"topic read public/#\n"           \
	"topic deny public/secret\n"      \
	"user alice\n"                    \
	"topic a/b\n"                     \
	"topic readwrite home/+/light \n" \
	"topic write up\n"                \
	"topic read down\n"               \
	"topic deny home/cellar/light\n"  \
	"user bob smith\n"                \
	"topic #\n"                       \
	"topic readdeny no/read\n"        \
	"topic writedeny no/write\n"      \
	"user alice\n"                    \
	"topic more\n"                    \
	"pattern read dev/%c/#\n"         \
	"pattern write user/%u/%c\n"      \
	"pattern deny dev/%c/hidden\n"    \
	"pattern readwrite x%cy/%u%u\n"   \
	"pattern read all\n"

static const struct {
	const char *text, *user, *client;
	bool write;
	const char *topic;
	bool want;
} rows[] = {
	/* nobody's rules are for who has no name */
	{ MIXED, "", "c", false, "public/x", true },
	{ MIXED, "", "c", true, "public/x", false },
	{ MIXED, "", "c", false, "public/secret", false },
	{ MIXED, "alice", "c", false, "public/x", false },
	{ MIXED, "carol", "c", false, "public/x", false },
	/* a user's */
	{ MIXED, "alice", "c", false, "a/b", true },
	{ MIXED, "alice", "c", true, "a/b", true },
	{ MIXED, "alice", "c", true, "home/hall/light", true },
	{ MIXED, "alice", "c", true, "home/cellar/light", false },
	{ MIXED, "alice", "c", true, "up", true },
	{ MIXED, "alice", "c", false, "up", false },
	{ MIXED, "alice", "c", false, "down", true },
	{ MIXED, "alice", "c", true, "down", false },
	{ MIXED, "alice", "c", true, "more", true },
	{ MIXED, "Alice", "c", true, "more", false },
	/* what denies one way */
	{ MIXED, "bob smith", "c", false, "anything", true },
	{ MIXED, "bob smith", "c", false, "no/read", false },
	{ MIXED, "bob smith", "c", true, "no/read", true },
	{ MIXED, "bob smith", "c", true, "no/write", false },
	{ MIXED, "bob smith", "c", false, "$SYS/broker/uptime", false },
	/* patterns */
	{ MIXED, "", "c", false, "dev/c/t", true },
	{ MIXED, "alice", "c", false, "dev/c/t", true },
	{ MIXED, "alice", "c", false, "dev/d/t", false },
	{ MIXED, "alice", "c", false, "dev/c/hidden", false },
	{ MIXED, "alice", "c", true, "user/alice/c", true },
	{ MIXED, "alice", "c", true, "user/bob/c", false },
	{ MIXED, "", "c", true, "user//c", false },
	{ MIXED, "u", "c", true, "xcy/uu", true },
	{ MIXED, "u", "c", false, "all", true },
	/* names that are more than a level's text */
	{ MIXED, "u", "+", false, "dev/c/t", false },
	{ MIXED, "u", "#", false, "dev/c/t", false },
	{ MIXED, "u", "+", false, "dev/+/t", false },
	{ MIXED, "+", "c", false, "dev/c/t", false },
	{ MIXED, "u", "a/b", false, "dev/a/b", false },
	{ MIXED, "u", "a/b", false, "all", false },
	{ MIXED, "u", "[a-z]", false, "dev/[a-z]/t", true },
	{ MIXED, "u", "-", false, "dev/-/t", true },
	{ MIXED, "u", "%u", false, "dev/%u/t", true },
	{ MIXED, "u", "%u", false, "dev/u/t", false },
	/* $ topics are never meant by a wildcard in front */
	{ "topic read #\n", "", "c", false, "$SYS/x", false },
	{ "topic read $SYS/#\n", "", "c", false, "$SYS/x", true },
	{ "topic read +/x\n", "", "c", false, "$SYS/x", false },
	/* an empty file allows nothing */
	{ "", "u", "c", false, "a", false },
	{ "# topic #\n", "u", "c", false, "a", false },
	/* as it is written */
	{ "topic read\n", "", "c", true, "read", true },
	{ "topic  read   a b \r\n", "", "c", false, "a b", true },
	{ "\xef\xbb\xbftopic a", "", "c", true, "a", true },
	{ "  topic\tread\ta\n", "", "c", false, "a", true },
	{ "user \xc3\xa9\ntopic a\n", "\xc3\xa9", "c", true, "a", true },
};

static void
test_decisions(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct acl *a = parse(rows[i].text);
		struct acl_asker who = { slice_str(rows[i].user),
			slice_str(rows[i].client) };
		const char *rule = NULL;

		if (acl_allows(a, &who, rows[i].write, slice_str(rows[i].topic),
			&rule) != rows[i].want)
			fail_msg("row %zu: %s '%s' of '%s': %s", i,
			    rows[i].write ? "write" : "read", rows[i].topic,
			    rows[i].user, rule);
		assert_non_null(rule);
		acl_unref(a);
	}
}

static void
test_rule_is_named(void **state)
{
	struct acl *a = parse(MIXED);
	struct acl_asker who = { LIT("alice"), LIT("c") };
	const char *rule;

	(void)state;
	assert_false(
	    acl_allows(a, &who, true, LIT("home/cellar/light"), &rule));
	assert_string_equal(rule, "f line 9: topic deny home/cellar/light");
	assert_false(acl_allows(a, &who, true, LIT("z"), &rule));
	assert_string_equal(rule, "no rule of the acl_file allows it");
	acl_unref(a);
}

static const struct {
	const char *text, *wrong;
} faults[] = {
	{ "topic\n", "f:1:6: no topic here" },
	{ "pattern \n", "no topic here" },
	{ "user\n", "f:1:5: no name here" },
	{ "topic a\nuser   \n", "f:2:5: no name here" },
	{ "topic rw a\n", "f:1:7: not a kind of access: 'rw'" },
	{ "topic a b\n", "not a kind of access: 'a'" },
	{ "topic read a#\n", "f:1:12: not a topic filter: 'a#'" },
	{ "topic a+/b\n", "not a topic filter" },
	{ "topic #/a\n", "not a topic filter" },
	{ "topics a\n", "f:1:1: not known here: 'topics'" },
	{ "topic a\n\nnonsense", "f:3:1: not known here" },
	{ "topic \xff\n", "not text" },
};

static void
test_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		struct nj_why why = { .what = "" };
		struct acl *a = NULL;

		assert_int_equal(
		    acl_parse(slice_str(faults[i].text), "f", &a, &why),
		    NJ_INVALID);
		if (!strstr(why.what, faults[i].wrong))
			fail_msg("row %zu: %s", i, why.what);
		assert_true(why.mend[0] != '\0');
	}
}

static const struct {
	const char *text, *filter;
	enum acl_cover want;
} covers[] = {
	{ "topic read a/#\n", "a/#", ACL_ALWAYS },
	{ "topic read a/#\n", "a", ACL_ALWAYS },
	{ "topic read a/#\n", "a/+/c", ACL_ALWAYS },
	{ "topic read a/#\n", "#", ACL_SOME },
	{ "topic read a/#\n", "+/b", ACL_SOME },
	{ "topic read a/#\n", "b/#", ACL_NEVER },
	{ "topic write a/#\n", "a/#", ACL_NEVER },
	{ "topic read a/+\n", "a/#", ACL_SOME },
	{ "topic read a/+\n", "a/+", ACL_ALWAYS },
	{ "topic read a/+\n", "a/b/c", ACL_NEVER },
	{ "topic read a/b\n", "a/+", ACL_SOME },
	{ "topic read #\n", "$SYS/#", ACL_NEVER },
	{ "topic read #\n", "+/x", ACL_ALWAYS },
	{ "topic read #\ntopic deny a/#\n", "#", ACL_SOME },
	{ "topic read #\ntopic deny a/#\n", "a/b", ACL_NEVER },
	{ "topic read #\ntopic deny a/#\n", "b/#", ACL_ALWAYS },
	{ "topic read #\ntopic deny a/b\n", "a/#", ACL_SOME },
	{ "topic read #\ntopic writedeny a/b\n", "a/#", ACL_ALWAYS },
	{ "pattern read d/%c\n", "d/+", ACL_SOME },
	{ "pattern read d/%c\n", "d/id", ACL_ALWAYS },
	{ "pattern read d/%c\n", "d/other", ACL_NEVER },
	{ "pattern read d/%u\n", "d/#", ACL_NEVER },
	/* own rules go before patterns, what denies too */
	{ "topic read a\npattern deny a\n", "a", ACL_ALWAYS },
	{ "topic read a\npattern deny #\n", "+", ACL_SOME },
	{ "pattern deny #\npattern read a\n", "a", ACL_NEVER },
};

static void
test_covers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof covers / sizeof covers[0]; i++) {
		struct acl *a = parse(covers[i].text);
		struct acl_asker who = { SLICE_NONE, LIT("id") };
		const char *rule;
		enum acl_cover c =
		    acl_covers(a, &who, slice_str(covers[i].filter), &rule);

		if (c != covers[i].want)
			fail_msg("row %zu: %d", i, (int)c);
		acl_unref(a);
	}
}

/* Small worlds: what acl_covers says of a filter is what acl_allows says of
 * each topic that it matches. */
static void
test_covers_agrees(void **state)
{
	static const char *const filters[] = { "#", "+", "a", "b", "a/#", "a/+",
		"a/a", "+/a", "+/#", "a/b", "b/+", "$x", "$x/#" };
	static const char *const names[] = { "a", "b", "a/a", "a/b", "b/a",
		"b/b", "a/a/a", "a/b/b", "c", "$x", "$x/a", "c/a" };
	const size_t n = sizeof filters / sizeof filters[0];

	(void)state;
	for (size_t i = 0; i < n * n * 9; i++) {
		static const char *const kinds[] = { "read", "deny", "write" };
		struct acl_asker who = { SLICE_NONE, LIT("id") };
		const char *rule;
		char text[128];
		struct acl *a;

		snprintf(text, sizeof text, "topic %s %s\ntopic %s %s\n",
		    kinds[i % 3], filters[i / 9 % n], kinds[i / 3 % 3],
		    filters[i / 9 / n]);
		a = parse(text);
		for (size_t f = 0; f < n; f++) {
			struct slice filter = slice_str(filters[f]);
			enum acl_cover c = acl_covers(a, &who, filter, &rule);
			unsigned yes = 0, no = 0;

			for (size_t t = 0; t < sizeof names / sizeof names[0];
			     t++) {
				struct slice name = slice_str(names[t]);

				if (!topic_matches(filter, name))
					continue;
				if (acl_allows(a, &who, false, name, &rule))
					yes++;
				else
					no++;
			}
			if ((c == ACL_ALWAYS && no) || (c == ACL_NEVER && yes))
				fail_msg("%s%s: %d", text, filters[f], (int)c);
		}
		acl_unref(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_rule_is_named),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_covers_agrees),
	};

	return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
