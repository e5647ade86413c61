/* SPDX-License-Identifier: Apache-2.0
 * acl_impl - how rules are kept, for acl.c, acl_decide.c, acl_index.c and
 *            acl_parse.c.
 */
#ifndef NJ_AUTH_ACL_IMPL_H
#define NJ_AUTH_ACL_IMPL_H

#include <stdatomic.h>
#include <stdint.h>

#include "auth/acl.h"
#include "auth/ranked.h"
#include "base/cidr.h"
#include "base/map.h"

enum { ACL_READ = 1, ACL_WRITE = 2 };

/* The names a rule has in its filter. */
enum {
	ACL_NAMES_CLIENT = 1,
	ACL_NAMES_USER = 2,
	ACL_NAMES_PARTS = 4,  /* in a level with other text */
	ACL_NAMES_LITERAL = 8 /* it only looks so: no pattern */
};

/* One line; behind the filter its text for people, terminated. */
struct acl_rule {
	uint8_t allows, denies; /* ACL_READ | ACL_WRITE */
	uint8_t names;
	uint16_t scope; /* into acl.scopes; 0: everywhere */
	uint16_t len;
	uint8_t filter[];
};

/* Where a rule holds; empty lists: everywhere. */
struct acl_scope {
	struct cidr *nets;
	uint32_t n_nets;
	char *listeners; /* each ended by '\n'; NULL */
};

/* Rules of a kind, compiled; they match alike but for their filters. */
struct acl_set {
	uint16_t scope;
	uint8_t names;	/* which of them who asks must have */
	uint8_t access; /* ACL_READ or ACL_WRITE */
	bool denies;
	uint32_t n;
	uint32_t *at; /* by rank: the rule's place in the list */
	struct ranked *ranked;
};

struct acl_rules {
	struct acl_rule **v; /* those that deny in front */
	uint32_t n, cap, n_deny;
	/* With more than ACL_FEW; what no set can have is compared by hand:
	 * its places, those that deny in front. */
	struct acl_set *sets;
	uint32_t n_sets, n_loose;
	uint32_t *loose;
};

struct acl_group {
	struct acl_rules rules;
	int32_t priority;
	bool has_priority;
	size_t name_len;
	uint8_t name[];
};

struct acl_user {
	struct acl_rules rules;
	struct acl_group **groups; /* by member lines */
	uint32_t n_groups;
	size_t name_len;
	uint8_t name[];
};

struct acl {
	atomic_uint refs;
	uint64_t epoch;
	char *path;
	struct map users, groups;
	struct acl_rules nobody, patterns;
	struct acl_scope *scopes; /* the first is everywhere */
	uint32_t n_scopes;
	size_t n_rules, plain_patterns;
};

NJ_MUST enum nj_err acl_new(const char *path, struct acl **out);
void acl_scope_fini(struct acl_scope *s);
/* Once all lines are there. */
NJ_MUST enum nj_err acl_compile(struct acl *a);
void acl_sets_free(struct acl_rules *l);

/* What one asker is asked about in one list: the first rule of it that denies,
 * or that allows, or NULL. */
struct acl_ask {
	const struct acl *acl;
	const struct acl_asker *who;
	uint8_t access; /* ACL_READ or ACL_WRITE */
	bool denies;
};
enum acl_how {
	ACL_MATCHES,  /* s is a topic */
	ACL_INCLUDES, /* s is a filter, all of which it has to match */
	ACL_OVERLAPS  /* s is a filter, some of which it has to match */
};
const struct acl_rule *acl_first(const struct acl_ask *q,
    const struct acl_rules *l, enum acl_how how, struct slice s);

static inline const char *
acl_rule_text(const struct acl_rule *r)
{
	return (const char *)r->filter + r->len;
}

#endif
