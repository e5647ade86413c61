/* SPDX-License-Identifier: Apache-2.0
 * import_impl - an import while it runs, for its files: import.c reads Mosquitto's,
 *               import_route.c finds who gets what was half received, import_into.c
 *               writes the store.
 *
 * Owns:    an import its messages, sessions, subscriptions and batch; slices are the
 *          file's.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_IMPORT_IMPL_H
#define NJ_CMD_IMPORT_IMPL_H

#include "base/map.h"
#include "cmd/import.h"
#include "core/inflight.h"
#include "core/msg.h"
#include "store/batch.h"
#include "store/mosquitto.h"
#include "store/store.h"

/* A message of the file; lives until the store is closed. */
struct carried {
	uint64_t number; /* the file's: the key */
	uint64_t id;	 /* the store's; 0: not stored */
	int64_t expires_ms;
	struct msg *msg;
	struct slice from; /* the client that published it */
	bool expired, named;
	size_t offset;
};

struct taken {
	struct slice client; /* the key */
	uint64_t id;	     /* 0: it was not taken */
	uint64_t seq;
	struct idset out, in; /* packet identifiers in use */
	unsigned shares;
	struct taken *hit; /* routing: the next that matched */
	uint8_t hit_qos;
	uint32_t hit_ids;
};

struct wanted {
	struct taken *session;
	struct slice whole, filter;
	bool shared;
	uint32_t options;
};

struct import {
	struct slice file;
	int64_t now_ms;
	struct import_result *result;
	struct map messages, sessions;
	struct slice user; /* the last of a client, */
	bool doubt;	   /* which others have that are not its */
	struct wanted *subs;
	size_t n_subs, cap_subs;
	struct store_batch *batch;
	struct store *store;
	uint64_t next_msg, next_session, order, routed;
	bool written;
	struct nj_why *why;
};

/* import_into.c */
/* Of a struct carried; their argument is the import. */
extern const struct store_msg_ops import_msg_ops;
/* NJ_EXISTS: there is something in it. */
NJ_MUST enum nj_err import_open(struct import *im, const char *into);
NJ_MUST enum nj_err
import_put_entry(struct import *im, struct taken *t, struct carried *c,
    uint16_t pid, uint8_t qos, uint8_t state, bool retain, uint32_t sub_id);

/* import_route.c: a message that was half received goes to those who subscribed to
 * it, and becomes retained, if that is what it was sent for. */
NJ_MUST enum nj_err import_route(struct import *im, const struct mosq_item *it);

#endif
