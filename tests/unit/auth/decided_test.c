/* SPDX-License-Identifier: Apache-2.0
 * What is remembered is what decide() says, whatever has changed meanwhile.
 */
#include "rows.h"

#include "auth/decided.h"
#include "auth/roles_json.h"

static struct acl *acls[2];
static struct roles *states[2];
static struct principal *who[2];
static uint32_t seed = 1;

static uint32_t
draw(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static int
setup(void **state)
{
	static const char *const rules[] = {
		"user a\ntopic readwrite t/1\ntopic deny t/2\ntopic write "
		"t/+\n",
		"user a\ntopic read t/1\ntopic readwrite t/3\n",
	};
	static const char *const roles[] = {
		"{\"clients\":[{\"username\":\"a\",\"roles\":[{\"rolename\":"
		"\"r\"}]}],"
		"\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":"
		"\"publishClientSend\",\"topic\":\"t/4\",\"allow\":true}]}]}",
		"{\"clients\":[{\"username\":\"a\",\"roles\":[{\"rolename\":"
		"\"r\"}]}],"
		"\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":"
		"\"publishClientSend\",\"topic\":\"t/4\",\"allow\":false}]}]}",
	};
	struct nj_why why;
	size_t loose;

	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct principal from = {
			.name = i ? LIT("a") : LIT("b"),
			.has_topics = i != 0,
			.topics = LIT(""),
		};

		if (acl_parse(slice_str(rules[i]), "f", &acls[i], &why) ||
		    roles_parse(
			slice_str(roles[i]), "f", &states[i], &loose, &why) ||
		    principal_new(&from, &who[i]))
			return -1;
		who[i]->has_topics = false;
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		acl_unref(acls[i]);
		roles_unref(states[i]);
		principal_unref(who[i]);
	}
	return 0;
}

static void
same_as_decide(void **state)
{
	struct decided *d = decided_new();
	unsigned yes = 0;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		const struct asker a = {
			.who = who[draw(8) == 0],
			.client_id = LIT("c"),
			.acl = draw(8) ? acls[draw(16) == 0] : NULL,
			.roles = draw(8) ? NULL : states[draw(2)],
		};
		enum action what = draw(2) ? ACTION_PUBLISH : ACTION_RECEIVE;
		struct decision got = { 0 }, want = { 0 };
		char topic[DECIDED_TOPIC_MAX + 32];
		bool may;
		int n = snprintf(topic, sizeof topic, "t/%u", draw(20));

		if (draw(50) == 0)
			n += snprintf(topic + n, sizeof topic - (size_t)n,
			    "/%0*d", (int)DECIDED_TOPIC_MAX, 1);
		may =
		    decided_ask(d, &a, what, slice_of(topic, (size_t)n), &got);
		check_int(topic, may,
		    decide(&a, what, slice_of(topic, (size_t)n), &want));
		assert_ptr_equal(got.text, want.text);
		assert_int_equal(got.each, want.each);
		assert_int_equal(got.firm, want.firm);
		yes += may;
	}
	assert_true(yes > 100 && yes < 19900);
	decided_free(d);
}

/* Rules at the address where others were are others. */
static void
addresses_come_again(void **state)
{
	struct decided *d = decided_new();
	struct decision why;
	struct nj_why what;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		struct asker a = { .who = who[1], .client_id = LIT("c") };
		struct acl *x = NULL;

		assert_int_equal(acl_parse(i % 2 ? LIT("user a\ntopic t\n")
						 : LIT("user a\ntopic u\n"),
				     "f", &x, &what),
		    NJ_OK);
		a.acl = x;
		assert_int_equal(
		    decided_ask(d, &a, ACTION_PUBLISH, LIT("t"), &why), i % 2);
		assert_int_equal(
		    decided_ask(d, &a, ACTION_PUBLISH, LIT("t"), &why), i % 2);
		acl_unref(x);
	}
	decided_free(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_decide),
		cmocka_unit_test(addresses_come_again),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
