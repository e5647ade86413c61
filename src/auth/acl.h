/* SPDX-License-Identifier: Apache-2.0
 * acl - topic rules in the form of Mosquitto's acl_file, and more.
 *
 *   topic|pattern [read|write|readwrite|deny|readdeny|writedeny] FILTER
 *   user NAME
 *
 * and what Mosquitto does not know:
 *
 *   group NAME         the topic lines that follow are for its members
 *   member NAME        a user who is one, besides those whom a token or a
 *                      certificate says so of
 *   priority NUMBER    groups of higher ones are asked first
 *   address CIDR ...   the rules that follow only hold there; any: again
 *   listener PORT ...  everywhere; so do the lines user and group
 *
 * Rules above the first user line are for clients without a user name.  A
 * pattern is for everyone; %c is the client identifier and %u the user name.
 * A user's own rules go before those of his groups, and these before patterns;
 * within each, what denies goes before what allows, whatever the order in the
 * file.  Groups of one priority are as one.  What no rule allows is denied.
 *
 * A name in a pattern is text within one level: for one with '/' what allows
 * matches nothing and what denies everything (but $ topics), and who has '+'
 * or '#' in a name is allowed nothing by patterns.
 *
 * Where somebody's address is not known, what denies somewhere denies, and
 * what allows somewhere does not allow.
 *
 * Owns:    copies of everything; reference counted.
 * Threads: immutable once loaded.
 * Bounds:  ACL_FILE_MAX bytes, ACL_RULES_MAX rules, ACL_SCOPES_MAX different
 *          conditions; who has more than ACL_ASKED_GROUPS groups is allowed
 *          nothing.
 * Cost:    of a decision: a look-up of the user and of each group.  Up to
 *          ACL_FEW rules of each are compared one by one, more are compiled
 *          (ranked.h): a look-up a level of the topic, however many there are.
 */
#ifndef NJ_AUTH_ACL_H
#define NJ_AUTH_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define ACL_FILE_MAX	 ((size_t)64 << 20)
#define ACL_RULES_MAX	 1000000u
#define ACL_SCOPES_MAX	 4096u
#define ACL_FEW		 8u
#define ACL_ASKED_GROUPS 128u

struct acl;

/* With file, line and column in *why. */
NJ_MUST enum nj_err
acl_load(const char *path, struct acl **out, struct nj_why *why);
/* The same from memory; path is only for what is said. */
NJ_MUST enum nj_err acl_parse(
    struct slice text, const char *path, struct acl **out, struct nj_why *why);
struct acl *acl_ref(struct acl *a);
uint64_t acl_epoch(const struct acl *a); /* epoch.h */
void acl_unref(struct acl *a);		 /* NULL is fine */

struct acl_info {
	size_t rules, users, groups;
	size_t plain_patterns; /* patterns without %c and %u */
};
void acl_info(const struct acl *a, struct acl_info *out);
/* Whether somebody's rules can be others without the file being: by his groups,
 * his address, the listener he comes by. */
bool acl_varies(const struct acl *a);

/* Who asks; an empty name: no user name. */
struct acl_asker {
	struct slice user, client_id;
	struct slice groups;	/* each ended by '\n' */
	struct slice listener;	/* as it is printed: "0.0.0.0:8883" */
	const uint8_t *address; /* CIDR_BYTES; NULL: not known */
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
