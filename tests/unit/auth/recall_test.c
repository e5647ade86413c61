/* SPDX-License-Identifier: Apache-2.0
 * Who is recalled, and from where names came.
 */
#include "rows.h"

#include <stdio.h>

#include "auth/homes.h"
#include "auth/recall.h"

static void
knows(void **state)
{
	static const struct {
		const char *why, *user, *by, *password;
		bool want;
	} rows[] = {
		{ "the same", "anna", "h1", "p", true },
		{ "another password", "anna", "h1", "q", false },
		{ "another hash", "anna", "h2", "p", false },
		{ "another user", "bert", "h1", "p", false },
		{ "user and hash run together", "annah", "1", "p", false },
		{ "no password", "anna", "h1", "", false },
	};
	struct recall *r = NULL;

	(void)state;
	assert_int_equal(recall_new(10, &r), NJ_OK);
	assert_false(recall_knows(r, LIT("anna"), LIT("h1"), LIT("p")));
	recall_note(r, LIT("anna"), LIT("h1"), LIT("p"));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_int(rows[i].why,
		    recall_knows(r, slice_str(rows[i].user),
			slice_str(rows[i].by), slice_str(rows[i].password)),
		    rows[i].want);
	recall_note(r, LIT("anna"), LIT("h2"), LIT("q"));
	assert_false(recall_knows(r, LIT("anna"), LIT("h1"), LIT("p")));
	assert_true(recall_knows(r, LIT("anna"), LIT("h2"), LIT("q")));
	recall_free(r);
}

/* As many as it was made for are known, nearly all. */
static void
many(void **state)
{
	struct recall *r = NULL;
	unsigned n = 0;
	char name[16];

	(void)state;
	assert_int_equal(recall_new(2000, &r), NJ_OK);
	for (unsigned i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof name, "user%u", i);
		recall_note(r, slice_str(name), SLICE_NONE, LIT("p"));
	}
	for (unsigned i = 0; i < 2000; i++) {
		(void)snprintf(name, sizeof name, "user%u", i);
		n += recall_knows(r, slice_str(name), SLICE_NONE, LIT("p"));
	}
	assert_true(n > 1900);
	recall_free(r);
}

static void
homes(void **state)
{
	struct homes *h = NULL;
	uint8_t a[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9 };

	(void)state;
	assert_int_equal(homes_new(&h), NJ_OK);
	assert_false(homes_has(h, LIT("anna"), LIT("\1\2\3\4")));
	homes_add(h, LIT("anna"), LIT("\1\2\3\4"));
	homes_add(h, LIT("anna"), slice_of(a, sizeof a));
	assert_true(homes_has(h, LIT("anna"), LIT("\1\2\3\4")));
	assert_false(homes_has(h, LIT("anna"), LIT("\1\2\3\5")));
	assert_false(homes_has(h, LIT("bert"), LIT("\1\2\3\4")));
	a[15] = 7; /* the same customer */
	assert_true(homes_has(h, LIT("anna"), slice_of(a, sizeof a)));
	a[7] = 2;
	assert_false(homes_has(h, LIT("anna"), slice_of(a, sizeof a)));
	assert_false(homes_has(h, LIT("anna"), SLICE_NONE));
	homes_add(h, LIT("anna"), SLICE_NONE);
	assert_true(homes_has(h, LIT("anna"), SLICE_NONE));
	/* past its bound it forgets, and goes on */
	for (unsigned i = 0; i < 4 * HOMES_MAX; i++)
		homes_add(h, slice_of(&i, sizeof i), LIT("\1\2\3\4"));
	homes_free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(knows),
		cmocka_unit_test(many),
		cmocka_unit_test(homes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
