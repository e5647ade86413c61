/* SPDX-License-Identifier: Apache-2.0
 * roles_json - users, groups and roles as JSON, as Mosquitto's plugin writes
 *              them in its file and in its answers.
 *
 * Names of members are found whatever their case.
 *
 * Threads: pure.
 */
#ifndef NJ_AUTH_ROLES_JSON_H
#define NJ_AUTH_ROLES_JSON_H

#include <jansson.h>

#include "auth/roles_edit.h"
#include "base/buf.h"

/* The member of that name, or NULL. */
json_t *json_member(const json_t *object, const char *name);
/* NULL when there is none, or it is no string. */
const char *json_text(const json_t *object, const char *name);
/* Fallback when there is none or it is not of that type. */
int32_t json_int(const json_t *object, const char *name, int32_t fallback);
bool json_flag(const json_t *object, const char *name, bool fallback);
/* RULE_KINDS when it is none, whatever the case. */
enum rule_kind json_rule_kind(const char *name);
/* Without white space; free() it; NULL without memory.  json_dumps writes less
 * than it should when there is none for more. */
char *json_whole(const json_t *o);
/* Members that are not among the known, as text; *out NULL: none. */
NJ_MUST enum nj_err
json_others(const json_t *object, const char *const *known, char **out);
/* Adds what json_others kept. */
bool json_add_others(json_t *object, const char *others);

enum json_for {
	JSON_FOR_FILE,	/* all of it */
	JSON_FOR_STORE, /* the same, but users say which groups they are in */
	JSON_FOR_ANSWER /* no passwords */
};

/* NULL without memory. */
json_t *json_of_role(const struct role *x, enum json_for what);
/* members: of the group, sorted; NULL: none. */
json_t *json_of_group(const struct roles *r, const struct group *x,
    struct user *const *members, size_t n, enum json_for what);
json_t *
json_of_user(const struct roles *r, const struct user *x, enum json_for what);

/* Who is in which group: those of the group with number i are v[at[i]] up to
 * v[at[i + 1]], sorted.  Zeroed: empty; use roles_members_fini. */
struct roles_members {
	struct user **users; /* all, sorted */
	struct user **v;
	size_t *at;
};
NJ_MUST enum nj_err
roles_members_init(struct roles_members *m, const struct roles *r);
void roles_members_fini(struct roles_members *m);

/* The whole file.  NJ_MALFORMED with *why, which names path, line and what is
 * wrong; *loose counts what names a role that is not there and is passed by
 * (as Mosquitto does). */
NJ_MUST enum nj_err roles_parse(struct slice text, const char *path,
    struct roles **out, size_t *loose, struct nj_why *why);
NJ_MUST enum nj_err roles_print(const struct roles *r, struct buf *out);
/* Members of the whole, without users, groups and roles. */
json_t *json_of_rest(const struct roles *r);

#endif
