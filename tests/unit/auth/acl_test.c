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
	{ "pattern read %c/#\n", "u", "$SYS", false, "$SYS/x", false },
	{ "pattern read #\npattern deny %c/x\n", "u", "$SYS", false, "a",
	    false },
	/* what looks like a name in a rule that is no pattern */
	{ "topic read d/%c\n", "", "c", false, "d/c", false },
	{ "topic read d/%c\n", "", "c", false, "d/%c", true },
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
		struct acl_asker who = {
			.user = slice_str(rows[i].user),
			.client_id = slice_str(rows[i].client),
		};
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

#define GROUPS                     \
	"user alice\n"             \
	"topic read own/#\n"       \
	"topic deny own/not\n"     \
	"group ops\n"              \
	"member alice\n"           \
	"member bob\n"             \
	"topic readwrite ops/#\n"  \
	"topic read own/not\n"     \
	"topic deny both/x\n"      \
	"topic read shared/y\n"    \
	"group plant 7\n"          \
	"topic write plant/#\n"    \
	"topic readwrite both/x\n" \
	"topic deny shared/y\n"    \
	"group chiefs\n"           \
	"priority 10\n"            \
	"topic readwrite both/x\n" \
	"group last\n"             \
	"priority -1\n"            \
	"topic readwrite both/x\n" \
	"topic read last\n"        \
	"pattern read all/#\n"     \
	"pattern deny ops/secret\n"

#define PLACES                           \
	"address 10.0.0.0/8 192.0.2.7\n" \
	"topic read near\n"              \
	"pattern read pnear\n"           \
	"address any\n"                  \
	"listener 8883 /run/x\n"         \
	"topic read port\n"              \
	"listener any\n"                 \
	"topic read any\n"               \
	"address 10.0.0.0/8\n"           \
	"listener 8883\n"                \
	"topic read both\n"              \
	"user u\n"                       \
	"topic read free\n"              \
	"address ::1\n"                  \
	"topic deny free\n"

static const uint8_t ten[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1,
	2, 3 };
static const uint8_t seven[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192,
	0, 2, 7 };
static const uint8_t eight[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192,
	0, 2, 8 };
static const uint8_t one[16] = { [15] = 1 };

static const struct {
	const char *text, *user, *groups;
	const uint8_t *address;
	const char *listener;
	bool write;
	const char *topic;
	bool want;
} more[] = {
	/* members by the file, and by what somebody else says */
	{ GROUPS, "bob", "", ten, "", true, "ops/x", true },
	{ GROUPS, "carol", "", ten, "", true, "ops/x", false },
	{ GROUPS, "carol", "ops\n", ten, "", true, "ops/x", true },
	{ GROUPS, "carol", "ops", ten, "", true, "ops/x", true },
	{ GROUPS, "carol", "opsx\n\nx", ten, "", true, "ops/x", false },
	{ GROUPS, "carol", "x\nplant 7\n", ten, "", true, "plant/1", true },
	/* a user's own rules go before */
	{ GROUPS, "alice", "", ten, "", false, "own/not", false },
	{ GROUPS, "bob", "", ten, "", false, "own/not", true },
	/* groups of one priority are as one: what denies goes before */
	{ GROUPS, "bob", "plant 7\n", ten, "", false, "both/x", false },
	{ GROUPS, "c", "plant 7\nops\n", ten, "", false, "both/x", false },
	{ GROUPS, "c", "plant 7\nops\n", ten, "", false, "shared/y", false },
	/* and those of higher ones before them, of lower ones behind */
	{ GROUPS, "bob", "chiefs\n", ten, "", false, "both/x", true },
	{ GROUPS, "bob", "last\n", ten, "", false, "both/x", false },
	{ GROUPS, "bob", "last\n", ten, "", false, "last", true },
	/* patterns are behind them all */
	{ GROUPS, "bob", "", ten, "", false, "ops/secret", true },
	{ GROUPS, "carol", "", ten, "", false, "all/x", true },
	/* where */
	{ PLACES, "", "", ten, "0.0.0.0:1883", false, "near", true },
	{ PLACES, "", "", seven, "0.0.0.0:1883", false, "near", true },
	{ PLACES, "", "", eight, "0.0.0.0:1883", false, "near", false },
	{ PLACES, "", "", NULL, "0.0.0.0:1883", false, "near", false },
	{ PLACES, "x", "", ten, "0.0.0.0:1883", false, "pnear", true },
	{ PLACES, "x", "", one, "0.0.0.0:1883", false, "pnear", false },
	{ PLACES, "", "", one, "[::]:8883", false, "port", true },
	{ PLACES, "", "", one, "[::]:18883", false, "port", false },
	{ PLACES, "", "", one, "unix /run/x", false, "port", true },
	{ PLACES, "", "", one, "unix /run/xy", false, "port", false },
	{ PLACES, "", "", eight, "unix /run/y", false, "any", true },
	{ PLACES, "", "", ten, "[::]:8883", false, "both", true },
	{ PLACES, "", "", ten, "[::]:8884", false, "both", false },
	{ PLACES, "", "", one, "[::]:8883", false, "both", false },
	{ PLACES, "u", "", ten, "[::]:8883", false, "free", true },
	{ PLACES, "u", "", one, "[::]:8883", false, "free", false },
	/* an address that is not known gets round nothing that denies */
	{ PLACES, "u", "", NULL, "[::]:8883", false, "free", false },
};

static void
test_groups_and_places(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
		struct acl *a = parse(more[i].text);
		struct acl_asker who = {
			.user = slice_str(more[i].user),
			.client_id = LIT("id"),
			.groups = slice_str(more[i].groups),
			.listener = slice_str(more[i].listener),
			.address = more[i].address,
		};
		const char *rule = NULL;

		if (acl_allows(a, &who, more[i].write, slice_str(more[i].topic),
			&rule) != more[i].want)
			fail_msg("row %zu: %s", i, rule);
		acl_unref(a);
	}
}

static void
test_too_many_groups(void **state)
{
	struct acl_asker who = { .user = LIT("u"), .client_id = LIT("id") };
	char text[16384] = "", names[4096] = "";
	size_t n = 0, k = 0;
	const char *rule;
	struct acl *a;

	(void)state;
	for (unsigned i = 0; i <= ACL_ASKED_GROUPS; i++) {
		n += (size_t)snprintf(
		    text + n, sizeof text - n, "group g%u\ntopic read #\n", i);
		if (i < ACL_ASKED_GROUPS)
			k += (size_t)snprintf(
			    names + k, sizeof names - k, "g%u\n", i);
	}
	a = parse(text);
	who.groups = slice_of(names, k);
	assert_true(acl_allows(a, &who, false, LIT("a"), &rule));
	k += (size_t)snprintf(
	    names + k, sizeof names - k, "g%u\n", ACL_ASKED_GROUPS);
	who.groups = slice_of(names, k);
	assert_false(acl_allows(a, &who, false, LIT("a"), &rule));
	assert_int_equal(acl_covers(a, &who, LIT("a"), &rule), ACL_NEVER);
	assert_non_null(strstr(rule, "more groups"));
	acl_unref(a);
}

static void
test_rule_is_named(void **state)
{
	struct acl *a = parse(MIXED);
	struct acl_asker who = { .user = LIT("alice"), .client_id = LIT("c") };
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
	{ "group\n", "f:1:6: no name here" },
	{ "member bob\n", "f:1:8: of which group is this a member" },
	{ "group g\nmember\n", "f:2:7: no name here" },
	{ "user u\npriority 1\n", "of which group is this the priority" },
	{ "group g\npriority x\n", "f:2:10: not a priority: 'x'" },
	{ "group g\npriority 99999999999\n", "not a priority" },
	{ "group g\npriority 1\npriority 2\n", "f:3:10: this group has" },
	{ "group g\nuser u\nmember u\n", "of which group" },
	{ "address\n", "f:1:8: no address here" },
	{ "address 10.0.0.1/8\n", "f:1:9: not an address or network" },
	{ "address 10.0.0.0/8 x\n", "f:1:20: not an address or network" },
	{ "listener\n", "f:1:9: no listener here" },
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
		struct acl_asker who = { .client_id = LIT("id") };
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
		struct acl_asker who = { .client_id = LIT("id") };
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

static uint32_t seed = 1;

static uint32_t
any(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Puts text behind what is there. */
static void
append(char *dst, size_t size, const char *text)
{
	size_t n = strlen(dst);

	(void)snprintf(dst + n, size - n, "%s", text);
}

#define TOPIC 64

static void
random_filter(char *dst, bool wild)
{
	static const char *const levels[] = { "a", "b", "c", "id", "", "$x",
		"+", "%c", "%u", "x%c" };
	unsigned depth = 1 + any(3);

	*dst = '\0';
	for (unsigned i = 0; i < depth; i++) {
		if (i)
			append(dst, TOPIC, "/");
		append(dst, TOPIC, levels[any(wild ? 10 : 6)]);
	}
	if (wild && any(4) == 0)
		append(dst, TOPIC, "/#");
	if (!*dst)
		append(dst, TOPIC, "a");
}

#define LINES 60

/* Many rules are compiled, and answer as each of them alone would, asked in
 * their order. */
static void
test_many_rules(void **state)
{
	static const char *const kinds[] = { "read", "write", "readwrite",
		"deny", "readdeny", "writedeny" };
	struct acl_asker who = { .client_id = LIT("id"), .address = ten };

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		char text[LINES * 96] = "", line[LINES][96];
		struct acl *all, *alone[LINES];
		unsigned n = ACL_FEW + 1 + any(LINES - ACL_FEW - 1);
		const char *rule, *r;
		char topic[TOPIC];

		for (unsigned i = 0; i < n; i++) {
			bool near = any(4) == 0;

			random_filter(topic, true);
			snprintf(line[i], sizeof line[i],
			    "address %s\n%s %s %s\n",
			    near	 ? "10.0.0.0/8"
				: any(2) ? "any"
					 : "192.0.2.0/24",
			    round % 2 ? "topic" : "pattern", kinds[any(6)],
			    topic);
			append(text, sizeof text, line[i]);
			alone[i] = parse(line[i]);
		}
		all = parse(text);
		for (unsigned t = 0; t < 60; t++) {
			bool write = any(2), want = false, denied = false;
			bool may;

			random_filter(topic, false);
			for (unsigned i = 0; i < n; i++) {
				if (acl_allows(alone[i], &who, write,
					slice_str(topic), &r))
					want = true;
				else if (strncmp(r, "f line", 6) == 0)
					denied = true;
			}
			want = want && !denied;
			may = acl_allows(
			    all, &who, write, slice_str(topic), &rule);
			if (may != want)
				fail_msg("%s of %s in\n%s%s",
				    write ? "write" : "read", topic, text,
				    rule);
			if (write)
				continue;
			random_filter(line[0], true);
			if (!topic_filter_ok(slice_str(line[0])) ||
			    !topic_matches(
				slice_str(line[0]), slice_str(topic)))
				continue;
			switch (
			    acl_covers(all, &who, slice_str(line[0]), &rule)) {
			case ACL_ALWAYS:
				if (!may)
					fail_msg("always %s, not %s, in\n%s",
					    line[0], topic, text);
				break;
			case ACL_NEVER:
				if (may)
					fail_msg("never %s, but %s, in\n%s",
					    line[0], topic, text);
				break;
			default:
				break;
			}
		}
		for (unsigned i = 0; i < n; i++)
			acl_unref(alone[i]);
		acl_unref(all);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decisions),
		cmocka_unit_test(test_groups_and_places),
		cmocka_unit_test(test_too_many_groups),
		cmocka_unit_test(test_many_rules),
		cmocka_unit_test(test_rule_is_named),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_covers),
		cmocka_unit_test(test_covers_agrees),
	};

	return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
