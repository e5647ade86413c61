/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <errno.h>
#include <semaphore.h>

#include "auth/chain.h"
#include "auth/password_file.h"
#include "hashes.h"

/* How a listener's chain is put together. */
enum {
	CERT = 1,
	FILES = 2,
	ANON = 4,     /* for those without a name */
	ANON_ALL = 8, /* nobody checks anything */
	CERT_ANY = 16
};

static struct workers *workers;

static int
setup(void **state)
{
	(void)state;
	return workers_new(2, 64, &workers);
}

static int
teardown(void **state)
{
	(void)state;
	workers_free(workers);
	return 0;
}

static struct auth_chain *
make_chain(unsigned parts)
{
	struct auth_chain *c = NULL;
	struct password_file *pf = NULL;

	check_int("chain", auth_chain_new(&c), NJ_OK);
	if (parts & CERT)
		check_int("link", auth_add_certificate(c, false), NJ_OK);
	if (parts & CERT_ANY)
		check_int("link", auth_add_certificate(c, true), NJ_OK);
	if (parts & FILES) {
		check_int("file",
		    password_file_parse(
			LIT("bob:" HASH_7 "\n"), "/etc/pw", &pf, NULL),
		    NJ_OK);
		check_int(
		    "link", auth_add_password_file(c, pf, workers), NJ_OK);
		password_file_unref(pf); /* the link has its own */
	}
	if (parts & (ANON | ANON_ALL))
		check_int(
		    "link", auth_add_anonymous(c, parts & ANON_ALL), NJ_OK);
	return c;
}

static void
on_done(struct auth_request *r)
{
	assert_int_equal(sem_post(r->arg), 0);
}

/* Asks, and waits when the answer comes later. */
static enum auth_result
ask(struct auth_chain *c, struct auth_request *r)
{
	enum auth_result result;
	sem_t sem;

	assert_int_equal(sem_init(&sem, 0, 0), 0);
	r->done = on_done;
	r->arg = &sem;
	result = auth_start(c, r);
	if (result == AUTH_LATER) {
		while (sem_wait(&sem) != 0)
			assert_int_equal(errno, EINTR);
		result = r->result;
	}
	assert_int_equal(result, r->result);
	assert_int_equal(sem_destroy(&sem), 0);
	return result;
}

static void
rows(void **state)
{
	/* NULL: not given */
	const struct {
		const char *why;
		unsigned parts;
		const char *user, *password, *cert;
		enum auth_result want;
		enum auth_reason reason;
		const char *name, *by;
	} rows[] = {
		{ "certificate or password, the first", CERT_ANY | FILES, "bob",
		    "secret", "dev1", AUTH_ALLOW, 0, "dev1", "certificate" },
		{ "certificate or password, the second", CERT_ANY | FILES,
		    "bob", "secret", NULL, AUTH_ALLOW, 0, "bob",
		    "password file" },
		{ "certificate or password, a wrong one", CERT_ANY | FILES,
		    "bob", "no", NULL, AUTH_DENY, AUTH_R_WRONG_PASSWORD, NULL,
		    NULL },
		{ "certificate or password, neither", CERT_ANY | FILES, NULL,
		    NULL, NULL, AUTH_DENY, AUTH_R_NO_LOGIN, NULL, NULL },
		{ "right", FILES, "bob", "secret", NULL, AUTH_ALLOW, 0, "bob",
		    "password file" },
		{ "wrong", FILES, "bob", "Secret", NULL, AUTH_DENY,
		    AUTH_R_WRONG_PASSWORD, NULL, NULL },
		{ "unknown", FILES, "eve", "secret", NULL, AUTH_DENY,
		    AUTH_R_UNKNOWN_USER, NULL, NULL },
		{ "unknown, others anonymous", FILES | ANON, "eve", "secret",
		    NULL, AUTH_DENY, AUTH_R_UNKNOWN_USER, NULL, NULL },
		{ "name only", FILES, "bob", NULL, NULL, AUTH_DENY,
		    AUTH_R_NO_PASSWORD, NULL, NULL },
		{ "name only, others anonymous", FILES | ANON, "bob", NULL,
		    NULL, AUTH_DENY, AUTH_R_NO_PASSWORD, NULL, NULL },
		{ "name only, nobody checks", ANON_ALL, "bob", NULL, NULL,
		    AUTH_ALLOW, 0, "", "anonymous" },
		{ "empty password", FILES, "bob", "", NULL, AUTH_DENY,
		    AUTH_R_EMPTY_PASSWORD, NULL, NULL },
		{ "empty password, unknown", FILES | ANON, "eve", "", NULL,
		    AUTH_DENY, AUTH_R_EMPTY_PASSWORD, NULL, NULL },
		{ "password only", FILES, NULL, "secret", NULL, AUTH_DENY,
		    AUTH_R_NO_LOGIN, NULL, NULL },
		{ "nothing", FILES, NULL, NULL, NULL, AUTH_DENY,
		    AUTH_R_NO_LOGIN, NULL, NULL },
		{ "nothing, no links", 0, NULL, NULL, NULL, AUTH_DENY,
		    AUTH_R_NO_LOGIN, NULL, NULL },
		{ "anonymous", FILES | ANON, NULL, NULL, NULL, AUTH_ALLOW, 0,
		    "", "anonymous" },
		{ "a name that nobody looks at", 0, "bob", "x", NULL, AUTH_DENY,
		    AUTH_R_UNCHECKED, NULL, NULL },
		{ "a certificate that nobody looks at", 0, "bob", "x", "dev1",
		    AUTH_DENY, AUTH_R_CERT_UNUSED, NULL, NULL },
		{ "a claim", ANON_ALL, "bob", "x", NULL, AUTH_ALLOW, 0, "",
		    "anonymous" },
		{ "certificate", CERT, NULL, NULL, "dev1", AUTH_ALLOW, 0,
		    "dev1", "certificate" },
		{ "certificate, and a user name", CERT | FILES, "bob", "x",
		    "dev1", AUTH_ALLOW, 0, "dev1", "certificate" },
		{ "certificate, name without password", CERT, "bob", NULL,
		    "dev1", AUTH_ALLOW, 0, "dev1", "certificate" },
		{ "no certificate", CERT | FILES | ANON, "bob", "secret", NULL,
		    AUTH_DENY, AUTH_R_NO_CERTIFICATE, NULL, NULL },
		{ "name with +", CERT, NULL, NULL, "a+", AUTH_DENY,
		    AUTH_R_BAD_NAME, NULL, NULL },
		{ "name with #", CERT, NULL, NULL, "#", AUTH_DENY,
		    AUTH_R_BAD_NAME, NULL, NULL },
		{ "name with newline", CERT, NULL, NULL, "a\nb", AUTH_DENY,
		    AUTH_R_BAD_NAME, NULL, NULL },
		{ "name not UTF-8", CERT, NULL, NULL, "a\xff", AUTH_DENY,
		    AUTH_R_BAD_NAME, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < LEN(rows); i++) {
		struct auth_request_in in = {
			.has_username = rows[i].user != NULL,
			.has_password = rows[i].password != NULL,
			.client_id = LIT("id"),
			.address = LIT("[::1]:1"),
			.listener = LIT("8883"),
		};
		struct auth_chain *c = make_chain(rows[i].parts);
		struct auth_request *r = NULL;

		if (rows[i].user)
			in.username = slice_str(rows[i].user);
		if (rows[i].password)
			in.password = slice_str(rows[i].password);
		if (rows[i].cert)
			in.cert_name = in.cert_subject =
			    slice_str(rows[i].cert);
		in.has_cert = rows[i].cert != NULL;
		check_int(rows[i].why, auth_request_new(&in, &r), NJ_OK);
		check_int(rows[i].why, ask(c, r), rows[i].want);
		check_int(rows[i].why, r->reason, rows[i].reason);
		assert_null(r->password); /* wiped */
		if (rows[i].want == AUTH_ALLOW) {
			assert_string_equal(r->why, "");
			assert_true(slice_is(r->principal->name, rows[i].name));
			assert_true(slice_is(r->principal->client_id, "id"));
			assert_true(slice_is(r->principal->address, "[::1]:1"));
			assert_true(slice_is(r->principal->listener, "8883"));
			assert_string_equal(r->principal->by, rows[i].by);
			assert_true(
			    slice_eq(r->principal->claimed, in.username));
		} else {
			assert_null(r->principal);
			check_has(r->why, auth_reason_what(r->reason));
		}
		auth_request_free(r);
		auth_chain_unref(c);
	}
}

/* The peer cannot tell them apart; the log can [attack 48]. */
static void
reasons(void **state)
{
	(void)state;
	assert_int_equal(auth_reason_rc(AUTH_R_UNKNOWN_USER),
	    auth_reason_rc(AUTH_R_WRONG_PASSWORD));
	assert_int_equal(
	    auth_reason_rc(AUTH_R_UNKNOWN_USER), RC_BAD_USER_NAME_OR_PASSWORD);
	assert_int_equal(auth_reason_rc(AUTH_R_BUSY), RC_SERVER_BUSY);
	assert_true(auth_reason_is_guess(AUTH_R_UNKNOWN_USER));
	assert_true(auth_reason_is_guess(AUTH_R_WRONG_PASSWORD));
	assert_false(auth_reason_is_guess(AUTH_R_BUSY));
	for (int i = 0; i < AUTH_R_MAX; i++)
		assert_true(auth_reason_what((enum auth_reason)i)[0] != '\0');
}

/* A mend names the file and the user, whose name cannot do harm. */
static void
mends(void **state)
{
	struct auth_request_in in = {
		.has_username = true,
		.has_password = true,
		.username = LIT("e\x1b[2Jve"),
		.password = LIT("x"),
	};
	struct auth_chain *c = make_chain(FILES);
	struct auth_request *r = NULL;

	(void)state;
	check_int("new", auth_request_new(&in, &r), NJ_OK);
	check_int("ask", ask(c, r), AUTH_DENY);
	check_has(r->why, "nightjar passwd /etc/pw ");
	assert_null(strchr(r->why, '\x1b'));
	auth_request_free(r);
	auth_chain_unref(c);
}

/* The chain may go while a request is under way. */
static void
chain_outlived(void **state)
{
	struct auth_request_in in = {
		.has_username = true,
		.has_password = true,
		.username = LIT("bob"),
		.password = LIT("secret"),
	};
	sem_t sem;
	struct auth_request *rs[16];

	(void)state;
	assert_int_equal(sem_init(&sem, 0, 0), 0);
	for (size_t i = 0; i < LEN(rs); i++) {
		struct auth_chain *c = make_chain(FILES);

		check_int("new", auth_request_new(&in, &rs[i]), NJ_OK);
		rs[i]->done = on_done;
		rs[i]->arg = &sem;
		check_int("start", auth_start(c, rs[i]), AUTH_LATER);
		auth_chain_unref(c);
	}
	for (size_t i = 0; i < LEN(rs); i++)
		while (sem_wait(&sem) != 0)
			assert_int_equal(errno, EINTR);
	for (size_t i = 0; i < LEN(rs); i++) {
		struct principal *p = principal_ref(rs[i]->principal);

		assert_int_equal(rs[i]->result, AUTH_ALLOW);
		auth_request_free(rs[i]);
		assert_true(slice_is(p->name, "bob"));
		principal_unref(p);
	}
	assert_int_equal(sem_destroy(&sem), 0);
}

/* A full queue is an answer, not a wait. */
static void
busy(void **state)
{
	struct auth_request_in in = {
		.has_username = true,
		.has_password = true,
		.username = LIT("bob"),
		.password = LIT("secret"),
	};
	struct workers *none = NULL;
	struct auth_chain *c = NULL;
	struct password_file *pf = NULL;
	struct auth_request *r = NULL;

	(void)state;
	check_int("workers", workers_new(1, 0, &none), NJ_OK);
	check_int("chain", auth_chain_new(&c), NJ_OK);
	check_int("file",
	    password_file_parse(LIT("bob:" HASH_7), "pw", &pf, NULL), NJ_OK);
	check_int("link", auth_add_password_file(c, pf, none), NJ_OK);
	password_file_unref(pf);
	check_int("new", auth_request_new(&in, &r), NJ_OK);
	check_int("ask", auth_start(c, r), AUTH_DENY);
	check_int("reason", r->reason, AUTH_R_BUSY);
	auth_request_free(r);
	auth_chain_unref(c);
	workers_free(none);
}

static enum auth_result
not_mine(struct authenticator *a, struct auth_request *r)
{
	(void)a;
	(void)r;
	return AUTH_NOT_MINE;
}

static void
free_nothing(struct authenticator *a)
{
	(void)a;
}

static void
links_are_bounded(void **state)
{
	struct authenticator a = {
		.name = "none", .start = not_mine, .free = free_nothing
	};
	struct auth_chain *c = NULL;

	(void)state;
	check_int("chain", auth_chain_new(&c), NJ_OK);
	for (int i = 0; i <= AUTH_LINKS_MAX; i++) {
		struct authenticator *p = &a;

		check_int("add", auth_chain_add(c, &p),
		    i < AUTH_LINKS_MAX ? NJ_OK : NJ_FULL);
		assert_null(p);
	}
	auth_chain_unref(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows),
		cmocka_unit_test(reasons),
		cmocka_unit_test(mends),
		cmocka_unit_test(chain_outlived),
		cmocka_unit_test(busy),
		cmocka_unit_test(links_are_bounded),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
