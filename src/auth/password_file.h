/* SPDX-License-Identifier: Apache-2.0
 * password_file - user names and their password hashes, from a file in the
 *                 form of mosquitto_passwd.
 *
 * Owns:    names and hashes; wiped when the last reference goes.
 * Threads: any number check at once; immutable once loaded but for the digests
 *          of passwords that were right, which have a lock.  A reload makes a
 *          new one.
 * Bounds:  PASSWORD_FILE_MAX bytes, PASSWORD_USERS_MAX users.
 */
#ifndef NJ_AUTH_PASSWORD_FILE_H
#define NJ_AUTH_PASSWORD_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/result.h"
#include "auth/scram.h"
#include "base/err.h"
#include "base/slice.h"

#define PASSWORD_FILE_MAX  ((size_t)64 << 20)
#define PASSWORD_USERS_MAX 1000000u

/* A comment that holds the secret from which the salts of unknown users are
 * made: base64 of PASSWORD_FILE_SECRET bytes behind it. */
#define PASSWORD_FILE_SECRET_LINE "#nightjar-scram-secret:"
#define PASSWORD_FILE_SECRET	  32

struct password_file;

struct password_file_info {
	size_t users;
	size_t skipped; /* lines without a colon that are no comments */
	size_t weak;	/* users whose hash is $6$, or $7$ below 10,000 */
	size_t scram;	/* users with a verifier for SCRAM */
};

/*
 * Lines are "user:hash"; those that begin with # (but for the secret) and those
 * without a colon are skipped.  A hash that is none, an empty one, a name that stands twice or
 * cannot be a user name are refused, with file, line and column in *why.
 */
NJ_MUST enum nj_err password_file_load(
    const char *path, struct password_file **out, struct nj_why *why);
/* The same from memory; path is only for *why. */
NJ_MUST enum nj_err password_file_parse(struct slice text, const char *path,
    struct password_file **out, struct nj_why *why);
struct password_file *password_file_ref(struct password_file *pf);
void password_file_unref(struct password_file *pf);
/* As it was given to load or parse. */
const char *password_file_path(const struct password_file *pf);
void password_file_info(
    const struct password_file *pf, struct password_file_info *out);

/* Whether there is such a user. */
bool password_file_has(const struct password_file *pf, struct slice user);
/* Why whom was let in as that user may not go on by pf; NULL: he may.  Static.
 */
const char *password_file_objection(const struct password_file *pf,
    const struct password_file *was, struct slice user);
/*
 * The user's SCRAM verifier (*known).  For who has none, one that looks like
 * the file's others, is always the same for a name as long as the file's
 * secret is, and that no password matches; it takes as long.
 */
NJ_MUST enum nj_err password_file_scram(const struct password_file *pf,
    struct slice user, struct scram_verifier *out, bool *known);

/*
 * Whether it is the password that was found right the last time.  Costs one
 * HMAC under a key of this process, so that ten thousand clients who come back
 * at once do not wait for as many derivations.  false says nothing.
 */
bool password_file_recalls(
    struct password_file *pf, struct slice user, struct slice password);
/*
 * AUTH_ALLOW, AUTH_DENY (wrong or empty password, or it could not be
 * checked), AUTH_NOT_MINE (no such user); *reason says which.  Slow.  An
 * unknown user takes as long as one whose hash is of the file's most common
 * kind.
 */
enum auth_result password_file_check(struct password_file *pf,
    struct slice user, struct slice password, enum auth_reason *reason);

#endif
