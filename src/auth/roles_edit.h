/* SPDX-License-Identifier: Apache-2.0
 * roles_edit - how a state of users, groups and roles is kept, and how the
 *              next one is made from it.
 *
 * What has a name is never changed once it is in a state, but replaced: clone
 * it, change the clone, put it.  Users and groups name roles and groups by
 * number, which is their place in the state, so that a new version of a role
 * is found by all who have it.
 *
 * Owns:    struct role, group and user are reference counted; strings are
 *          their own.  A draft belongs to who made it until it is shared.
 * Threads: one owner of a draft.
 */
#ifndef NJ_AUTH_ROLES_EDIT_H
#define NJ_AUTH_ROLES_EDIT_H

#include <stdatomic.h>

#include "auth/ranked.h"
#include "auth/roles.h"
#include "base/cowmap.h"
#include "base/map.h"

#define GRANT_NO_PRIORITY  (-1)
#define GRANT_PRIORITY_MAX 1000000000

enum rule_kind {
	RULE_SEND,
	RULE_RECEIVE,
	RULE_SUB_LITERAL,
	RULE_SUB_PATTERN,
	RULE_UNSUB_LITERAL,
	RULE_UNSUB_PATTERN,
	RULE_KINDS
};
extern const char *const rule_kind_names[RULE_KINDS];

/* Never changed; the versions of a role share it. */
struct rule {
	char *text;  /* role, kind, answer and topic, for people */
	char *extra; /* members that are not known, as JSON; NULL: none */
	atomic_uint refs;
	int32_t priority;
	bool allow;
	char topic[];
};

/* In the order of asking, but for loose ones. */
struct rules {
	struct rule **v;
	uint32_t n, cap;
	bool loose;	      /* the last ones are where they were added */
	bool twins;	      /* a topic stands there twice, topics knows */
	struct map *topics;   /* of an open role with many; NULL: none yet */
	struct ranked *index; /* of a role that is not open */
};

struct role {
	atomic_uint refs;
	uint32_t id;
	char *name, *textname, *textdescription, *extra;
	bool no_wildcard_subs; /* allowwildcardsubs is false */
	bool open;	       /* only a draft has it, which is not sealed */
	struct rules rules[RULE_KINDS];
};

struct grant {
	uint32_t id; /* of a role or a group */
	int32_t priority;
};

#define GRANTS_FEW 2

/* In the order of asking.  Not to be copied as a whole: v may be in it. */
struct grants {
	struct grant *v;
	uint32_t n, cap; /* cap 0: v is few, or NULL */
	struct grant few[GRANTS_FEW];
};

struct group {
	atomic_uint refs;
	uint32_t id;
	char *name, *textname, *textdescription, *extra;
	struct grants roles;
};

struct user {
	atomic_uint refs;
	bool disabled;
	char *name; /* behind it, in the same memory */
	struct grants roles, groups;
	char *client_id, *textname, *textdescription, *extra;
	char *password; /* a hash that password_parse takes; NULL: none */
};

/* What a role says about publishing and receiving, without a look at the role:
 * borrowed from it; NULL: nothing. */
struct asked {
	const struct ranked *send, *receive;
};

/* By number; empty places are NULL. */
struct slots {
	void **v;
	uint32_t n, cap, used;
};

struct roles {
	atomic_uint refs;
	uint64_t epoch;
	struct cowmap users, groups, roles;
	struct slots group_slots, role_slots;
	struct asked *asked; /* beside role_slots, as many as cap_asked */
	uint32_t cap_asked;
	struct group *anonymous; /* borrowed from its slot; NULL */
	bool by_default[ROLES_ACTIONS];
	char *extra;
	size_t n_rules;
	uint64_t changes; /* "changeIndex": since there are users here */
	struct password_cost common;
};

NJ_MUST enum nj_err roles_new(struct roles **out);
/* A draft of the next state. */
NJ_MUST enum nj_err roles_copy(const struct roles *r, struct roles **out);

struct role *roles_role(const struct roles *r, struct slice name);
struct group *roles_group(const struct roles *r, struct slice name);
struct user *roles_user(const struct roles *r, struct slice name);
static inline struct role *
roles_role_at(const struct roles *r, uint32_t id)
{
	return id < r->role_slots.n ? r->role_slots.v[id] : NULL;
}
static inline struct group *
roles_group_at(const struct roles *r, uint32_t id)
{
	return id < r->group_slots.n ? r->group_slots.v[id] : NULL;
}

NJ_MUST enum nj_err role_new(const char *name, struct role **out);
NJ_MUST enum nj_err role_clone(const struct role *x, struct role **out);
void role_unref(struct role *x);
NJ_MUST enum nj_err group_new(const char *name, struct group **out);
NJ_MUST enum nj_err group_clone(const struct group *x, struct group **out);
void group_unref(struct group *x);
NJ_MUST enum nj_err user_new(const char *name, struct user **out);
NJ_MUST enum nj_err user_clone(const struct user *x, struct user **out);
void user_unref(struct user *x);

/* Takes *x, also when it fails; one of that name is replaced, and the new one
 * gets its number.  NJ_FULL at the bound.  A role that was put is open, which
 * means that rules may be added and taken in place until the draft is sealed. */
NJ_MUST enum nj_err roles_put_role(struct roles *r, struct role **x);
NJ_MUST enum nj_err roles_put_group(struct roles *r, struct group **x);
NJ_MUST enum nj_err roles_put_user(struct roles *r, struct user **x);
/* The roles that are open are put in order and compiled: nobody can be asked
 * about them before. */
NJ_MUST enum nj_err roles_seal(struct roles *r);
/* And from all who have it. */
NJ_MUST enum nj_err roles_del_role(struct roles *r, struct slice name);
NJ_MUST enum nj_err roles_del_group(struct roles *r, struct slice name);
NJ_MUST enum nj_err roles_del_user(struct roles *r, struct slice name);

/* NJ_EXISTS.  groups: of g's, not roles. */
NJ_MUST enum nj_err grants_add(const struct roles *r, struct grants *g,
    bool groups, uint32_t id, int32_t priority);
/* Takes what is in *src, and frees what was in *dst. */
void grants_move(struct grants *dst, struct grants *src);
NJ_MUST enum nj_err grants_copy(struct grants *dst, const struct grants *src);
bool grants_has(const struct grants *g, uint32_t id);
bool grants_del(struct grants *g, uint32_t id);
void grants_clear(struct grants *g);

/* For a role that is open, or in no state yet.  NJ_INVALID: not a filter; extra
 * (may be NULL) is copied.  Many cost no more each than few. */
NJ_MUST enum nj_err role_add_rule(struct role *x, enum rule_kind kind,
    const char *topic, int32_t priority, bool allow, const char *extra);
const struct rule *
role_find_rule(struct role *x, enum rule_kind kind, const char *topic);
void role_del_rule(struct role *x, enum rule_kind kind, const char *topic);
void role_clear_rules(struct role *x);
NJ_MUST enum nj_err role_share_rules(struct role *x, const struct role *from);
/* Puts the rules in the order of asking. */
NJ_MUST enum nj_err role_settle(struct role *x);
/* Compiles them, and forgets what only an open role needs. */
NJ_MUST enum nj_err role_seal(struct role *x);
size_t role_count_rules(const struct role *x);

/* A string member: copies, frees the old one; NULL: none. */
NJ_MUST enum nj_err roles_set_text(char **at, const char *text);

/* Sorted by name; free() what comes out. */
NJ_MUST enum nj_err
roles_sorted_users(const struct roles *r, struct user ***out);
NJ_MUST enum nj_err
roles_sorted_groups(const struct roles *r, struct group ***out);
NJ_MUST enum nj_err
roles_sorted_roles(const struct roles *r, struct role ***out);

#endif
