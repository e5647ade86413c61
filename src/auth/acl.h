/* SPDX-License-Identifier: Apache-2.0
 * acl - topic rules in the form of Mosquitto's acl_file.
 *
 *   topic|pattern [read|write|readwrite|deny|readdeny|writedeny] FILTER
 *   user NAME
 *
 * Rules above the first user line are for clients without a user name.  A
 * pattern is for everyone; %c is the client identifier and %u the user name.
 * What denies goes before what allows, whatever the order in the file; a
 * user's own rules before patterns; what no rule allows is denied.
 *
 * A name in a pattern is text within one level: for one with '/' what allows
 * matches nothing and what denies everything (but $ topics), and who has '+'
 * or '#' in a name is allowed nothing by patterns.
 *
 * Owns:    copies of everything; reference counted.
 * Threads: immutable once loaded.
 * Bounds:  ACL_FILE_MAX bytes, ACL_RULES_MAX rules.
 * Cost:    of a decision: a user's rules and the patterns, each compared with
 *          the topic.
 */
#ifndef NJ_AUTH_ACL_H
#define NJ_AUTH_ACL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

#define ACL_FILE_MAX  ((size_t)64 << 20)
#define ACL_RULES_MAX 1000000u

struct acl;

/* With file, line and column in *why. */
NJ_MUST enum nj_err
acl_load(const char *path, struct acl **out, struct nj_why *why);
/* The same from memory; path is only for what is said. */
NJ_MUST enum nj_err acl_parse(
    struct slice text, const char *path, struct acl **out, struct nj_why *why);
struct acl *acl_ref(struct acl *a);
void acl_unref(struct acl *a); /* NULL is fine */

struct acl_info {
	size_t rules, users;
	size_t plain_patterns; /* patterns without %c and %u */
	bool exposed;	       /* who is not owner or group may write it */
};
void acl_info(const struct acl *a, struct acl_info *out);

/* Who asks; an empty name: no user name. */
struct acl_asker {
	struct slice user, client_id;
};

/* *rule: the line that decided, in words; lives as long as a. */
bool acl_allows(const struct acl *a, const struct acl_asker *who, bool write,
    struct slice topic, const char **rule);

enum acl_cover {
	ACL_NEVER, /* nothing that matches the filter may be read */
	ACL_SOME,  /* each message has to be asked about */
	ACL_ALWAYS /* all that matches it may be read */
};
/* Which messages of a subscription may be delivered. */
enum acl_cover acl_covers(const struct acl *a, const struct acl_asker *who,
    struct slice filter, const char **rule);

#endif
