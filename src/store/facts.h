/* SPDX-License-Identifier: Apache-2.0
 * facts - small things with names that the store keeps beside what is in MQTT's
 *         own tables: the users, groups and roles of a broker.
 *
 * A space is what belongs together; in it a fact has a kind, a name, and a
 * value.  A change is one transaction: when facts_commit has returned, all of
 * it is on disk, or nothing.
 *
 * Owns:    copies of what it was given.
 * Threads: one owner; facts_commit and facts_read wait for the store's thread,
 *          so no shard calls them, nor the store's own callbacks.  Before
 *          store_start, and without a thread, they do the work themselves.
 * Bounds:  the caller's.
 * Errors:  a disk that is full or fails is an error at once: unlike batches a
 *          change of facts is not tried again.
 */
#ifndef NJ_STORE_FACTS_H
#define NJ_STORE_FACTS_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "store/store.h"

/* The space of a store whose facts are lost, that of others are not there for want of
 * any: one with a name, whose value says when, in seconds since 1970 with a fraction
 * of nine digits. */
#define FACTS_LOST "lost"

struct facts;

NJ_MUST enum nj_err facts_new(struct slice space, struct facts **out);
void facts_free(struct facts *f); /* NULL is fine; wipes */
/* First of all: there is nothing else in the space afterwards. */
void facts_replace_all(struct facts *f);
NJ_MUST enum nj_err facts_put(
    struct facts *f, unsigned kind, struct slice name, struct slice value);
NJ_MUST enum nj_err
facts_del(struct facts *f, unsigned kind, struct slice name);
NJ_MUST enum nj_err
facts_commit(struct store *s, struct facts *f, struct nj_why *why);

/* All of a space, by kind and name; slices are borrowed for the call, which is
 * made on the store's thread.  NJ_NOTFOUND: there are none.  A callback's error
 * ends it and is returned. */
typedef enum nj_err
facts_fn(void *arg, unsigned kind, struct slice name, struct slice value);
NJ_MUST enum nj_err facts_read(struct store *s, struct slice space,
    facts_fn *fn, void *arg, struct nj_why *why);

#endif
