/* SPDX-License-Identifier: Apache-2.0
 * Each allocation fails in turn: nothing leaks, nobody gets in.  Linked with
 * --wrap for the allocator.
 */
#include "rows.h"

#include <stdbool.h>

#include "auth/chain.h"
#include "auth/password_file.h"
#include "auth/throttle.h"
#include "hashes.h"

static unsigned left; /* allocations until the one that fails */
static bool counting, failed;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(password_file),
		cmocka_unit_test(chain),
		cmocka_unit_test(throttle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
