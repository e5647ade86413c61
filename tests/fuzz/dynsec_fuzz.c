/* SPDX-License-Identifier: Apache-2.0
 * dynsec_fuzz - a state of users, groups and roles, a line break of four
 *               dashes, then commands on it.  What is printed is read again,
 *               and means the same.
 */
#include "fuzz.h"

#include <stdlib.h>

#include "auth/dynsec.h"
#include "auth/roles_json.h"

static const char usual[] =
    "{\"roles\":[{\"rolename\":\"r\",\"acls\":[{\"acltype\":"
    "\"publishClientSend\",\"topic\":\"a/%u/#\",\"allow\":true}]}],"
    "\"clients\":[{\"username\":\"u\",\"roles\":[{\"rolename\":\"r\"}]}],"
    "\"groups\":[{\"groupname\":\"g\",\"clients\":[{\"username\":\"u\"}]}]}";

static void
ask(const struct roles *r, struct slice topic)
{
	struct roles_asker who = { LIT("u"), LIT("c"), LIT("g\nh\n") };
	const char *rule = NULL;

	for (int what = 0; what < ROLES_ACTIONS; what++) {
		(void)roles_decide(
		    r, &who, (enum roles_action)what, topic, &rule);
		HOLDS(rule != NULL);
	}
	(void)roles_reads_all(r, &who);
	HOLDS(roles_same_for(r, r, &who));
}

static void
print_and_read(const struct roles *r)
{
	struct nj_why why = { .what = "" };
	struct roles *again = NULL;
	struct buf text = { 0 }, twice = { 0 };
	size_t loose;

	HOLDS(roles_print(r, &text) == NJ_OK);
	HOLDS(
	    roles_parse(buf_slice(&text), "f", &again, &loose, &why) == NJ_OK);
	HOLDS(loose == 0 && roles_print(again, &twice) == NJ_OK);
	HOLDS(slice_eq(buf_slice(&text), buf_slice(&twice)));
	roles_unref(again);
	buf_fini(&text);
	buf_fini(&twice);
}

static struct slice
first_part(struct slice *rest)
{
	struct slice all = *rest;
	const uint8_t *at = all.n ? memmem(all.p, all.n, "\n----\n", 6) : NULL;

	if (!at) {
		*rest = SLICE_NONE;
		return all;
	}
	*rest = slice_of(at + 6, all.n - (size_t)(at + 6 - all.p));
	return slice_of(all.p, (size_t)(at - all.p));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size), text = first_part(&rest);
	struct rolebase_admin who = { .client_id = LIT("c"), .user = LIT("u") };
	struct dynsec d = { .who = &who };
	struct nj_why why = { .what = "" };
	struct buf answer = { 0 };
	size_t loose;

	/* a hash takes too long here */
	if (size && memmem(data, size, "assword", 7))
		return 0;
	if (roles_parse(text, "f", &d.now, &loose, &why)) {
		HOLDS(why.what[0]);
		HOLDS(roles_parse(slice_str(usual), "f", &d.now, &loose,
			  &why) == NJ_OK);
	}
	ask(d.now, LIT("a/u/b"));
	print_and_read(d.now);
	HOLDS(dynsec_run(&d, rest) == NJ_OK);
	HOLDS(dynsec_answer(&d, &answer) == NJ_OK);
	ask(d.now, LIT("$share/g/a/+"));
	print_and_read(d.now);
	dynsec_fini(&d);
	buf_fini(&answer);
	return 0;
}
