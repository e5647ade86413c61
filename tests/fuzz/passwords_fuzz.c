/* SPDX-License-Identifier: Apache-2.0
 * passwords_fuzz - a password file, and each line of it as a hash alone.  What
 *                  is taken holds the bounds that keep a login affordable.
 */
#include "fuzz.h"

#include "auth/password.h"
#include "auth/password_file.h"

static void
one_hash(struct slice text)
{
	struct password_hash h = { .salt_n = 0 };
	struct nj_why why = { 0 };
	size_t at = 0;
	enum nj_err e = password_parse(text, &h, &at, &why);

	if (e) {
		HOLDS(e == NJ_UNSUPPORTED || e == NJ_MALFORMED ||
		    e == NJ_INVALID);
		HOLDS(at <= text.n);
		return;
	}
	HOLDS(text.n < PASSWORD_TEXT_MAX);
	HOLDS(h.salt_n <= PASSWORD_SALT_MAX && h.hash_n <= PASSWORD_HASH_MAX);
	HOLDS(h.hash_n > 0);
	HOLDS(password_check_cost(&h.cost, &why) == NJ_OK);
}

/* What stands behind the first colon of each line. */
static void
each_hash(struct slice text)
{
	while (text.n > 0) {
		const uint8_t *end = memchr(text.p, '\n', text.n);
		struct slice line =
		    slice_of(text.p, end ? (size_t)(end - text.p) : text.n);
		const uint8_t *colon = memchr(line.p, ':', line.n);

		if (colon)
			one_hash(slice_of(
			    colon + 1, line.n - (size_t)(colon + 1 - line.p)));
		one_hash(line);
		text = slice_of(text.p + line.n + (end != NULL),
		    text.n - line.n - (end != NULL));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct password_file_info info;
	struct password_file *pf = NULL;
	struct nj_why why = { 0 };
	enum nj_err e = password_file_parse(text, "passwords", &pf, &why);

	if (e) {
		HOLDS(!pf && why.what[0]);
	} else {
		password_file_info(pf, &info);
		HOLDS(info.users <= PASSWORD_USERS_MAX);
		HOLDS(info.weak <= info.users);
		password_file_unref(pf);
	}
	each_hash(text);
	return 0;
}
