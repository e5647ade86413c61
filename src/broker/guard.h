/* SPDX-License-Identifier: Apache-2.0
 * guard - what strangers may cost: connections and passwords tried from one
 *         address, and lines in the log.
 *
 * Loopback is not counted: behind a proxy on this machine everybody comes from
 * there.  Local sockets have no address, and for the same reason are not
 * counted either.  Whom a proxy speaks for (the PROXY protocol) is counted by
 * the address it told.
 *
 * Owns:    the throttle, which all shards share.
 * Threads: guard_new and guard_free the main thread; the others any shard, with
 *          what is its own.
 */
#ifndef NJ_BROKER_GUARD_H
#define NJ_BROKER_GUARD_H

#include "broker/conn.h"

/* Lines about strangers a second and shard; what is above is counted. */
#define GUARD_LINES 100
/* Lines about what known clients were refused. */
#define GUARD_REFUSALS 20
/* Lines about known clients that come and go. */
#define GUARD_KNOWN 500

struct principal;
struct throttle;

/* NULL in *out: nothing is limited. */
NJ_MUST enum nj_err
guard_new(const struct guard_opts *o, struct throttle **out);
/* Whether the other end of fd may connect once more now. */
bool guard_may_connect(struct shard *sh, int fd);
/* The same for a client behind a proxy. */
bool guard_may_come(const struct conn *c);
/* Milliseconds until c's address may try a password; 0: now. */
uint64_t guard_login_wait(const struct conn *c);
/* The same for a name that passwords are tried for, whoever does. */
NJ_MUST enum nj_err
guard_names_new(const struct guard_opts *o, struct throttle **out);
uint64_t guard_name_wait(const struct conn *c, struct slice user);
void guard_name_failed(const struct conn *c, struct slice user);
/* It came in; and whether it did from c's address before. */
void guard_name_came(const struct conn *c, struct slice user);
bool guard_name_at_home(const struct conn *c, struct slice user);
/* For names in exchanges; the argument is the connection. */
extern const struct auth_watch guard_watch;
/* For identities of shared keys, which are counted apart from user names; the
 * argument is the connection. */
bool guard_psk_may(void *conn, struct slice identity);
void guard_psk_failed(void *conn, struct slice identity);
void guard_psk_came(const struct conn *c, struct slice identity);
void guard_login_failed(const struct conn *c);
/* Whose it is, for quotas: its user name, or the client identifier of a client
 * without; hashed with the process's key. */
uint64_t guard_identity(const struct principal *who, struct slice client_id);
/* Whether another line may be written; says how many were not. */
bool guard_may_log(struct shard *sh, struct log_gate *g, uint32_t per_s);

#endif
