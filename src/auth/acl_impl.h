/* SPDX-License-Identifier: Apache-2.0
 * acl_impl - how rules are kept, for acl.c and acl_parse.c.
 */
#ifndef NJ_AUTH_ACL_IMPL_H
#define NJ_AUTH_ACL_IMPL_H

#include <stdatomic.h>
#include <stdint.h>

#include "auth/acl.h"
#include "base/map.h"

enum { ACL_READ = 1, ACL_WRITE = 2 };

/* One line; behind the filter its text for people, terminated. */
struct acl_rule {
	uint8_t allows, denies; /* ACL_READ | ACL_WRITE */
	bool names;		/* has %c or %u */
	uint16_t len;
	uint8_t filter[];
};

struct acl_rules {
	struct acl_rule **v; /* those that deny in front */
	uint32_t n, cap, n_deny;
};

struct acl_user {
	struct acl_rules rules;
	size_t name_len;
	uint8_t name[];
};

struct acl {
	atomic_uint refs;
	char *path;
	struct map users;
	struct acl_rules nobody, patterns;
	size_t n_rules, plain_patterns;
	bool exposed;
};

NJ_MUST enum nj_err acl_new(const char *path, struct acl **out);

static inline const char *
acl_rule_text(const struct acl_rule *r)
{
	return (const char *)r->filter + r->len;
}

#endif
