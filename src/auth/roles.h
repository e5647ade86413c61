/* SPDX-License-Identifier: Apache-2.0
 * roles - users, groups and roles as Mosquitto's dynamic security has them,
 *         and what they may do: one state of them, that never changes.
 *
 * A question is put to the roles of the user, then to those of his groups,
 * each in the order of their priorities (higher ones first, equal ones by
 * name); within a role to its rules of that kind in the order of theirs.  The
 * first that matches decides, else defaultACLAccess does.
 *
 * Groups that a certificate or a token says somebody is in are asked behind his
 * own, in their order, by the groups of the same names here; so is who has such
 * groups and is no user here.
 *
 * Owns:    everything in it; reference counted.  A change makes another state
 *          (roles_edit.h), which shares what is as it was.
 * Threads: any number read at once, without locks.
 * Bounds:  ROLES_*_MAX.
 * Cost:    of a question: one look-up of the user, two loads a role, and
 *          ranked.h's for each of these.
 */
#ifndef NJ_AUTH_ROLES_H
#define NJ_AUTH_ROLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/password.h"
#include "base/err.h"
#include "base/slice.h"

#define ROLES_USERS_MAX	 1000000u
#define ROLES_GROUPS_MAX 100000u
#define ROLES_ROLES_MAX	 100000u
#define ROLES_RULES_MAX	 100000u /* of one role and kind */

struct roles;

enum roles_action {
	ROLES_PUBLISH,
	ROLES_RECEIVE,
	ROLES_SUBSCRIBE,
	ROLES_UNSUBSCRIBE,
	ROLES_ACTIONS
};

enum roles_answer {
	ROLES_ALLOW,
	ROLES_DENY,
	ROLES_DEFER /* not this one's to say: denied, if nobody else knows */
};

struct roles_asker {
	struct slice user; /* empty: anonymous */
	struct slice client_id;
	struct slice groups; /* from elsewhere; each ended by '\n' */
};

struct roles *roles_ref(struct roles *r);
uint64_t roles_epoch(const struct roles *r); /* epoch.h */
void roles_unref(struct roles *r);	     /* NULL is fine */

/* topic: a name; of a (un)subscription the whole filter, $share/group/ and
 * all: rules that begin with $share/ are compared with that, others with the
 * filter in it.  *rule is what decided, in words; as long as r. */
enum roles_answer
roles_decide(const struct roles *r, const struct roles_asker *who,
    enum roles_action what, struct slice topic, const char **rule);
/* No rule can keep anything from who subscribes: he need not be asked about
 * each message. */
bool roles_reads_all(const struct roles *r, const struct roles_asker *who);
/* Whether what decides about him is the same in both. */
bool roles_same_for(const struct roles *a, const struct roles *b,
    const struct roles_asker *who);

/* Whether who came in by the first may not go on by the second: he is gone,
 * disabled, or has another password or client identifier. */
bool roles_must_end(
    const struct roles *before, const struct roles *now, struct slice user);

enum roles_login {
	ROLES_UNKNOWN,	/* no such user, or one without a password */
	ROLES_DISABLED, /* may not come in */
	ROLES_OTHER_ID, /* not with this client identifier */
	ROLES_MAY	/* *hash: if that is his password */
};
/* *hash as password_parse takes it, NULL: none; as long as r.  hash may be
 * NULL: it is proved otherwise who he is. */
enum roles_login roles_login(
    const struct roles *r, const struct roles_asker *who, const char **hash);
/* A number that a user's password has, and another one would not; 0: there is
 * none, or no such user. */
uint64_t roles_proof(const struct roles *r, struct slice user);
/* What checking a password costs here mostly, for who is unknown. */
struct password_cost roles_common_cost(const struct roles *r);

struct roles_info {
	size_t users, groups, roles, rules;
};
void roles_info(const struct roles *r, struct roles_info *out);

#endif
