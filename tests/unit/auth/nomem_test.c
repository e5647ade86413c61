/* SPDX-License-Identifier: Apache-2.0
 * Each allocation fails in turn: nothing leaks, nobody gets in.  Linked with
 * --wrap for the allocator.
 */
#include "rows.h"

#include <stdbool.h>

#include <jansson.h>
#include <stdlib.h>

#include "auth/chain.h"
#include "auth/json_read.h"
#include "auth/password_file.h"
#include "auth/rolebase.h"
#include "auth/roles_json.h"
#include "auth/roles_rows.h"
#include "auth/throttle.h"
#include "hashes.h"

static unsigned left; /* allocations until the one that fails */
static bool counting, failed, reads;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__real_aligned_alloc(size_t to, size_t n);
void *__wrap_aligned_alloc(size_t to, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
json_t *__real_json_loadb(
    const char *text, size_t n, size_t flags, json_error_t *fault);
json_t *__wrap_json_loadb(
    const char *text, size_t n, size_t flags, json_error_t *fault);
json_t *__wrap_json_loads(const char *text, size_t flags, json_error_t *fault);

static bool
fails_now(void)
{
	if (!counting || failed)
		return false;
	failed = left-- == 0;
	return failed;
}

void *
__wrap_malloc(size_t n)
{
	return fails_now() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __real_realloc(p, n);
}

void *
__wrap_aligned_alloc(size_t to, size_t n)
{
	return fails_now() ? NULL : __real_aligned_alloc(to, n);
}

char *
__wrap_strdup(const char *s)
{
	return fails_now() ? NULL : __real_strdup(s);
}

/* Lets the n-th allocation of fn fail, for every n there is. */
static void each_in_turn(enum nj_err (*fn)(void))
{
	unsigned n = 0;

	for (;; n++) {
		enum nj_err e;

		left = n;
		failed = false;
		counting = true;
		e = fn();
		counting = false;
		if (!failed) {
			check_int("all there", e, NJ_OK);
			break;
		}
		check_int("one missing", e, NJ_NOMEM);
	}
	assert_true(n > 0);
}

static enum nj_err
parse_file(void)
{
	static const char text[] =
	    "a:" HASH_6 "\nb:" HASH_6 "\nc:" HASH_6 "\nd:" HASH_6 "\ne:" HASH_6
	    "\nf:" HASH_6 "\ng:" HASH_6 "\n";
	struct password_file *pf = NULL;
	struct nj_why why = { 0 };
	enum nj_err e = password_file_parse(slice_str(text), "pw", &pf, &why);

	assert_int_equal(e != NJ_OK, why.what[0] != '\0');
	password_file_unref(pf);
	return e;
}

static void
password_file(void **state)
{
	(void)state;
	each_in_turn(parse_file);
}

/* Whatever word there is no memory for: all of it comes out, or nothing. */
static void
json_text_whole(void **state)
{
	char text[400], *got;
	json_error_t fault;
	unsigned lost = 0, n = 0;

	(void)state;
	(void)memset(text, 'a', sizeof text);
	(void)memcpy(text, "[\"", 2);
	(void)memcpy(text + 380, "\",1.5,\"\\n\"]", 11);
	for (size_t word = 12; word < 380; word++) {
		struct slice s = slice_of(text + 380 - word, word + 11);

		(void)memcpy(text + 380 - word, "[\"", 2);
		for (n = 0;; n++) {
			json_t *o;

			left = n;
			failed = false;
			counting = reads = true;
			o = json_read(s, 0, &fault);
			counting = reads = false;
			got = o ? json_dumps(o, JSON_COMPACT) : NULL;
			if (got)
				assert_memory_equal(got, s.p, s.n - 9);
			assert_true(o || failed);
			lost += !o;
			free(got);
			json_decref(o);
			if (!failed)
				break;
		}
		(void)memset(text + 380 - word, 'a', 2);
	}
	assert_true(lost > 380);
}

/* Not enough memory for the principal is a refusal, not a way in. */
static enum nj_err
log_in(void)
{
	const struct auth_request_in in = { .client_id = LIT("id") };
	struct auth_chain *c = NULL;
	struct auth_request *r = NULL;
	enum nj_err e;

	if ((e = auth_chain_new(&c)) || (e = auth_add_anonymous(c, false)) ||
	    (e = auth_request_new(&in, &r)))
		goto out;
	if (auth_start(c, r) != AUTH_ALLOW) {
		assert_int_equal(r->reason, AUTH_R_FAILED);
		assert_null(r->principal);
		e = NJ_NOMEM;
	}
out:
	auth_request_free(r);
	auth_chain_unref(c);
	return e;
}

static void
chain(void **state)
{
	(void)state;
	each_in_turn(log_in);
}

/* Without memory an address is not known, and not shut out. */
static enum nj_err
throttle_one(void)
{
	struct throttle_opts o = throttle_defaults();
	struct throttle *t = NULL;
	enum nj_err e;

	if ((e = throttle_new(&o, &t)))
		return e;
	assert_true(throttle_connect(t, LIT("\1\2\3\4"), 1));
	throttle_free(t);
	return failed ? NJ_NOMEM : NJ_OK;
}

static void
throttle(void **state)
{
	(void)state;
	each_in_turn(throttle_one);
}

/* Commands of dynamic security, all kinds of them. */

static const char start_state[] =
    "{\"clients\":[{\"username\":\"u\",\"roles\":[{\"rolename\":\"r\"}],"
    "\"more\":1},{\"username\":\"v\"}],\"groups\":[{\"groupname\":\"g\","
    "\"clients\":[{\"username\":\"u\",\"priority\":3}],\"roles\":[{"
    "\"rolename\":\"r\"}]}],\"roles\":[{\"rolename\":\"r\",\"acls\":[{"
    "\"acltype\":\"publishClientSend\",\"topic\":\"a/%u/#\","
    "\"allow\":true}]}]}";

#define COMMAND(rest) "{\"command\":" rest "}"
static const char *const commands[] = {
	COMMAND("\"createClient\",\"username\":\"n\",\"clientid\":\"c\","
		"\"textname\":\"t\",\"roles\":[{\"rolename\":\"r\"}],"
		"\"groups\":[{\"groupname\":\"g\"}]"),
	COMMAND("\"modifyClient\",\"username\":\"u\",\"textname\":\"x\","
		"\"roles\":[],\"groups\":[{\"groupname\":\"g\"}]"),
	COMMAND("\"disableClient\",\"username\":\"u\""),
	COMMAND("\"setClientId\",\"username\":\"u\",\"clientid\":\"i\""),
	COMMAND("\"removeClientRole\",\"username\":\"u\",\"rolename\":\"r\""),
	COMMAND("\"addClientRole\",\"username\":\"v\",\"rolename\":\"r\""),
	COMMAND("\"getClient\",\"username\":\"u\""),
	COMMAND("\"listClients\",\"verbose\":true"),
	COMMAND("\"deleteClient\",\"username\":\"u\""),
	COMMAND("\"createGroup\",\"groupname\":\"h\",\"roles\":[{\"rolename\":"
		"\"r\"}]"),
	COMMAND("\"addGroupClient\",\"groupname\":\"g\",\"username\":\"v\""),
	COMMAND("\"modifyGroup\",\"groupname\":\"g\",\"textname\":\"x\","
		"\"clients\":[{\"username\":\"v\"}]"),
	COMMAND("\"removeGroupClient\",\"groupname\":\"g\",\"username\":\"u\""),
	COMMAND("\"removeGroupRole\",\"groupname\":\"g\",\"rolename\":\"r\""),
	COMMAND("\"setAnonymousGroup\",\"groupname\":\"g\""),
	COMMAND("\"getGroup\",\"groupname\":\"g\""),
	COMMAND("\"listGroups\",\"verbose\":true"),
	COMMAND("\"getAnonymousGroup\""),
	COMMAND("\"deleteGroup\",\"groupname\":\"g\""),
	COMMAND("\"createRole\",\"rolename\":\"q\",\"acls\":[{\"acltype\":"
		"\"subscribePattern\",\"topic\":\"b/#\",\"allow\":true}]"),
	COMMAND("\"modifyRole\",\"rolename\":\"r\",\"textname\":\"x\","
		"\"acls\":[]"),
	COMMAND("\"addRoleACL\",\"rolename\":\"r\",\"acltype\":"
		"\"publishClientSend\",\"topic\":\"z\",\"allow\":true"),
	COMMAND("\"removeRoleACL\",\"rolename\":\"r\",\"acltype\":"
		"\"publishClientSend\",\"topic\":\"a/%u/#\""),
	COMMAND("\"getRole\",\"rolename\":\"r\""),
	COMMAND("\"listRoles\",\"verbose\":true"),
	COMMAND("\"deleteRole\",\"rolename\":\"r\""),
	COMMAND("\"setDefaultACLAccess\",\"acls\":[{\"acltype\":\"subscribe\","
		"\"allow\":true}]"),
	COMMAND("\"getDefaultACLAccess\""),
	COMMAND("\"getDetails\""),
};
static const char *command; /* of this round */

static enum nj_err
state_load(void *arg, struct roles **out, struct nj_why *why)
{
	size_t loose;

	(void)arg;
	return roles_parse(LIT(start_state), "state", out, &loose, why);
}

/* jansson's reader does not notice that there is no memory for a longer word;
 * json_read.h does, and is asked about that by itself. */
json_t *
__wrap_json_loadb(const char *text, size_t n, size_t flags, json_error_t *fault)
{
	bool was = counting;
	json_t *o;

	counting = was && reads;
	o = __real_json_loadb(text, n, flags, fault);
	counting = was;
	return o;
}

json_t *
__wrap_json_loads(const char *text, size_t flags, json_error_t *fault)
{
	return __wrap_json_loadb(text, strlen(text), flags, fault);
}

/* What a store would be given, and would give again. */
static enum nj_err
read_row(void *arg, enum roles_row kind, struct slice name, struct slice text)
{
	struct nj_why why = { 0 };

	(void)name;
	return roles_reader_take(arg, kind, text, &why);
}

static enum nj_err
state_save(void *arg, const struct roles *was, const struct roles *now,
    struct nj_why *why)
{
	struct roles_reader *reader = NULL;
	struct roles *again = NULL;
	enum nj_err e;

	(void)arg;
	(void)was;
	(void)why;
	if ((e = roles_reader_new("rows", &reader)))
		return e;
	if (!(e = roles_rows_changed(NULL, now, read_row, reader)) &&
	    !(e = roles_reader_end(reader, &again)))
		roles_unref(again);
	roles_reader_free(reader);
	return e;
}

static void
state_free(void *arg)
{
	(void)arg;
}

static void
print_state(struct rolebase *rb, struct buf *out)
{
	assert_int_equal(rolebase_export(rb, out), NJ_OK);
}

/* It is done and answered so, or it is not, and all is as it was. */
static void
check_whole(struct rolebase *rb, const struct buf *before, bool done)
{
	struct roles *again = NULL;
	struct nj_why why = { 0 };
	struct buf after = { 0 };
	size_t loose;
	bool was = counting;

	counting = false;
	print_state(rb, &after);
	if (!done)
		assert_true(slice_eq(buf_slice(before), buf_slice(&after)));
	assert_int_equal(
	    roles_parse(buf_slice(&after), "after", &again, &loose, &why),
	    NJ_OK);
	assert_int_equal(loose, 0);
	roles_unref(again);
	buf_fini(&after);
	counting = was;
}

static bool
says_error(const struct buf *answer)
{
	struct slice s = buf_slice(answer);

	return s.p && s.n > 0 && memmem(s.p, s.n, "\"error\"", 7) != NULL;
}

static struct buf usual; /* the answer of who has memory */

static enum nj_err
run_command(void)
{
	const struct rolebase_keeper keeper = { state_load, state_save,
		state_free, NULL };
	const struct rolebase_admin who = { .client_id = LIT("id"),
		.user = LIT("name") };
	struct buf answer = { 0 }, before = { 0 };
	struct rolebase *rb = NULL;
	struct nj_why why = { 0 };
	char text[512];
	bool was = counting;
	enum nj_err e;

	/* only the command itself */
	counting = false;
	assert_int_equal(rolebase_new(&keeper, "state", &rb, &why), NJ_OK);
	print_state(rb, &before);
	(void)snprintf(text, sizeof text, "{\"commands\":[%s]}", command);
	counting = was;
	e = rolebase_run(rb, &who, slice_str(text), &answer);
	counting = false;
	if (!e && says_error(&answer))
		e = NJ_NOMEM;
	/* jansson has memory that it can do without; then all is as ever */
	if (!e && failed) {
		assert_true(slice_eq(buf_slice(&answer), buf_slice(&usual)));
		e = NJ_NOMEM;
	} else if (!e) {
		buf_truncate(&usual, 0);
		assert_int_equal(
		    buf_put_slice(&usual, buf_slice(&answer)), NJ_OK);
	}
	/* an answer that there is no memory for may be of what was done */
	check_whole(rb, &before, !e || !says_error(&answer));
	buf_fini(&answer);
	buf_fini(&before);
	rolebase_unref(rb);
	return e;
}

static void
dynsec(void **state)
{
	(void)state;
	json_set_alloc_funcs(__wrap_malloc, free);
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		command = commands[i];
		counting = false;
		assert_int_equal(run_command(), NJ_OK);
		each_in_turn(run_command);
	}
	buf_fini(&usual);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(password_file),
		cmocka_unit_test(chain),
		cmocka_unit_test(throttle),
		cmocka_unit_test(json_text_whole),
		cmocka_unit_test(dynsec),
	};

	json_read_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
