/* SPDX-License-Identifier: Apache-2.0
 * rolekeep - users, groups and roles in the store: with persistence, that is
 *            where their states are kept, and the JSON file is read once.
 *
 * A state is facts of the space "dynsec:PATH": a row each role, group and user,
 * and which file was taken over.
 *
 * Threads: rolekeep_all: one that may wait for the store; no shard's.
 */
#ifndef NJ_BROKER_ROLEKEEP_H
#define NJ_BROKER_ROLEKEEP_H

#include "base/err.h"
#include "broker/opts.h"

struct broker;
struct roles;
struct view;

/* Those of v that are not in the broker's store yet are moved there.  Without a
 * store nothing happens.  NJ_INVALID with *why; NJ_NOMEM. */
NJ_MUST enum nj_err rolekeep_all(
    struct broker *b, const struct port_opts *v, size_t n, struct nj_why *why);

/* What a store has of a file's users, whether a broker has it open or not.
 * NJ_NOTFOUND: nothing. */
NJ_MUST enum nj_err rolekeep_look(
    struct view *v, const char *path, struct roles **out, struct nj_why *why);

#endif
