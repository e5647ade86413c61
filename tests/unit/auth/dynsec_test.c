/* SPDX-License-Identifier: Apache-2.0
 * Many commands in one message: they do what they do one by one, and cost no
 * more each than a few.  Linked with --wrap for the allocator.
 */
#include "rows.h"

#include <stdio.h>
#include <stdlib.h>

#include "auth/rolebase.h"
#include "auth/roles_json.h"
#include "base/log.h"

static size_t asked, bytes; /* of the allocator */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	asked++;
	bytes += n;
	return __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	asked++;
	bytes += n * size;
	return __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	asked++;
	bytes += n;
	return __real_realloc(p, n);
}

static const char start[] =
    "{\"roles\":[{\"rolename\":\"r0\",\"acls\":[{\"acltype\":"
    "\"publishClientSend\",\"topic\":\"t/1\",\"allow\":true}]},"
    "{\"rolename\":\"r1\"}],\"groups\":[{\"groupname\":\"g0\"},"
    "{\"groupname\":\"g1\",\"roles\":[{\"rolename\":\"r0\"}]}],"
    "\"clients\":[{\"username\":\"u0\",\"roles\":[{\"rolename\":\"r0\"}]},"
    "{\"username\":\"u1\"}]}";

static enum nj_err
load(void *arg, struct roles **out, struct nj_why *why)
{
	size_t loose;

	(void)arg;
	return roles_parse(LIT(start), "state", out, &loose, why);
}

static enum nj_err
save(void *arg, const struct roles *was, const struct roles *now,
    struct nj_why *why)
{
	(void)arg;
	(void)was;
	(void)now;
	(void)why;
	return NJ_OK;
}

static void
nothing(void *arg)
{
	(void)arg;
}

static struct rolebase *
base(void)
{
	const struct rolebase_keeper keeper = { load, save, nothing, NULL };
	struct rolebase *rb = NULL;
	struct nj_why why = { 0 };

	assert_int_equal(rolebase_new(&keeper, "state", &rb, &why), NJ_OK);
	return rb;
}

/* Those between `from` and `to`, in one message; what is answered to them, put
 * behind answers. */
static void
run(struct rolebase *rb, const struct buf *v, size_t from, size_t to,
    struct buf *answers)
{
	const struct rolebase_admin who = { .client_id = LIT("id"),
		.user = LIT("name") };
	struct buf text = { 0 }, answer = { 0 };
	struct slice s;

	assert_int_equal(buf_put_slice(&text, LIT("{\"commands\":[")), NJ_OK);
	for (size_t i = from; i < to; i++) {
		if (i > from)
			assert_int_equal(buf_put_u8(&text, ','), NJ_OK);
		assert_int_equal(buf_put_slice(&text, buf_slice(&v[i])), NJ_OK);
	}
	assert_int_equal(buf_put_slice(&text, LIT("]}")), NJ_OK);
	assert_int_equal(
	    rolebase_run(rb, &who, buf_slice(&text), &answer), NJ_OK);
	s = buf_slice(&answer);
	if (answers) { /* {"responses":[ and ]} are of the message */
		assert_true(s.p && s.n > 16);
		s = slice_of(s.p + 14, s.n - 16);
		assert_int_equal(buf_put_slice(answers, s), NJ_OK);
		assert_int_equal(buf_put_u8(answers, ','), NJ_OK);
	}
	buf_fini(&text);
	buf_fini(&answer);
}

static uint32_t seed;

static unsigned
any(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

/* What may be wrong in all ways. */
static void
invent(struct buf *out)
{
	static const char *const with_rule[] = { "addRoleACL", "addRoleACL",
		"addRoleACL", "removeRoleACL" };
	static const char *const of_role[] = { "createRole", "deleteRole",
		"getRole", "modifyRole" };
	static const char *const of_two[] = { "addClientRole",
		"removeClientRole", "addGroupClient", "removeGroupClient",
		"addGroupRole", "removeGroupRole", "modifyGroup",
		"modifyClient", "createGroup", "deleteGroup", "deleteClient",
		"createClient", "disableClient", "setAnonymousGroup" };
	static const char *const kinds[] = { "publishClientSend",
		"subscribePattern", "subscribePattern", "nothing" };
	enum nj_err e;

	switch (any(4)) {
	case 0:
	case 1:
		e = buf_printf(out,
		    "{\"command\":\"%s\",\"rolename\":\"r%u\",\"acltype\":"
		    "\"%s\",\"topic\":\"t/%u%s\",\"priority\":%d,\"allow\":%s}",
		    with_rule[any(4)], any(4), kinds[any(4)], any(30),
		    any(9) ? "" : "#", (int)any(5) - 2,
		    any(2) ? "true" : "false");
		break;
	case 2:
		e = buf_printf(out,
		    "{\"command\":\"%s\",\"rolename\":\"r%u\",\"acls\":["
		    "{\"acltype\":\"publishClientSend\",\"topic\":\"t/%u\","
		    "\"priority\":%u},{\"acltype\":\"publishClientSend\","
		    "\"topic\":\"t/%u\",\"priority\":%u}]}",
		    of_role[any(4)], any(5), any(3), any(3), any(3), any(4));
		break;
	default:
		e = buf_printf(out,
		    "{\"command\":\"%s\",\"username\":\"u%u\",\"groupname\":"
		    "\"g%u\",\"rolename\":\"r%u\",\"clients\":[{\"username\":"
		    "\"u%u\"},{\"username\":\"u%u\"}]}",
		    of_two[any(14)], any(4), any(4), any(4), any(4), any(4));
		break;
	}
	assert_int_equal(e, NJ_OK);
}

enum { COMMANDS = 120 };

static void
in_one_message(void **state)
{
	(void)state;
	for (unsigned round = 1; round <= 40; round++) {
		struct rolebase *one = base(), *all = base();
		struct buf v[COMMANDS] = { 0 }, a = { 0 }, b = { 0 };
		struct buf x = { 0 }, y = { 0 };

		seed = round;
		for (size_t i = 0; i < COMMANDS; i++)
			invent(&v[i]);
		for (size_t i = 0; i < COMMANDS; i++)
			run(one, v, i, i + 1, &a);
		run(all, v, 0, COMMANDS, &b);
		assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
		assert_int_equal(rolebase_export(one, &x), NJ_OK);
		assert_int_equal(rolebase_export(all, &y), NJ_OK);
		assert_true(slice_eq(buf_slice(&x), buf_slice(&y)));
		for (size_t i = 0; i < COMMANDS; i++)
			buf_fini(&v[i]);
		buf_fini(&a);
		buf_fini(&b);
		buf_fini(&x);
		buf_fini(&y);
		rolebase_unref(one);
		rolebase_unref(all);
	}
}

/* By whichever command it comes. */
static void
client_ids(void **state)
{
	static const char *const commands[] = { "setClientId", "modifyClient" };
	static const char bad_id[] = "Client ID not valid UTF-8";

	(void)state;
	for (size_t i = 0; i < LEN(commands); i++) {
		struct rolebase *rb = base();
		struct buf v = { 0 }, answer = { 0 };
		struct slice said;

		assert_int_equal(buf_printf(&v,
				     "{\"command\":\"%s\",\"username\":\"u0\","
				     "\"clientid\":\"a\\u0001\"}",
				     commands[i]),
		    NJ_OK);
		run(rb, &v, 0, 1, &answer);
		said = buf_slice(&answer);
		assert_true(said.p &&
		    memmem(said.p, said.n, bad_id, sizeof bad_id - 1));
		buf_fini(&v);
		buf_fini(&answer);
		rolebase_unref(rb);
	}
}

/* A role that is made and gets n rules, and n roles, in one message. */
static void
cost_of(size_t n, int rising, size_t *calls, size_t *sum)
{
	struct rolebase *rb = base();
	struct buf *v = calloc(2 * n, sizeof *v);

	assert_non_null(v);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(buf_printf(&v[i],
				     "{\"command\":\"addRoleACL\",\"rolename\":"
				     "\"r1\",\"acltype\":\"subscribePattern\","
				     "\"topic\":\"many/%zu/#\",\"allow\":true,"
				     "\"priority\":%zu}",
				     i, rising ? i : 0),
		    NJ_OK);
		assert_int_equal(
		    buf_printf(&v[n + i],
			"{\"command\":\"createRole\",\"rolename\":\"n%zu\"}",
			i),
		    NJ_OK);
	}
	asked = bytes = 0;
	run(rb, v, 0, 2 * n, NULL);
	*calls = asked;
	*sum = bytes;
	for (size_t i = 0; i < 2 * n; i++)
		buf_fini(&v[i]);
	free(v);
	rolebase_unref(rb);
}

static void
many_cost_no_more_each(void **state)
{
	(void)state;
	for (int rising = 0; rising <= 1; rising++) {
		size_t few, many, few_bytes, many_bytes;

		cost_of(500, rising, &few, &few_bytes);
		cost_of(4000, rising, &many, &many_bytes);
		/* eight times as many: 64 times, if each cost as many */
		assert_true(many < 12 * few);
		assert_true(many_bytes < 12 * few_bytes);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_one_message),
		cmocka_unit_test(client_ids),
		cmocka_unit_test(many_cost_no_more_each),
	};

	const struct log_opts quiet = { .types = 0, .dests = 0 };
	struct nj_why why = { 0 };
	int failed;

	if (log_start(&quiet, &why)) /* each command would be told */
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	log_stop();
	return failed;
}
