/* SPDX-License-Identifier: Apache-2.0
 * import - what Mosquitto's persistence file holds, as a new store.
 *
 * All of it is written in one transaction: the store is complete or empty.
 *
 * Owns:    nothing after it returns.
 * Threads: the main thread.
 * Bounds:  memory is a few times the file's.
 */
#ifndef NJ_CMD_IMPORT_H
#define NJ_CMD_IMPORT_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* What was taken. */
enum import_took {
	TOOK_SESSIONS,
	TOOK_SUBS,
	TOOK_RETAINED,
	TOOK_QUEUED,
	TOOK_INFLIGHT,
	TOOK_RECEIVED,
	TOOK_KINDS
};
extern const char *const import_took_text[TOOK_KINDS];

/* What was left, and why. */
enum import_left {
	LEFT_SESSION_EXPIRED,
	LEFT_SESSION_ENDED, /* ends with its connection */
	LEFT_SESSION_NAME,
	LEFT_USER,
	LEFT_USER_DOUBT,
	LEFT_SESSION_TWICE,
	LEFT_MESSAGE_EXPIRED,
	LEFT_MESSAGE_TOPIC,
	LEFT_MESSAGE_TWICE,
	LEFT_ENTRY_SESSION,
	LEFT_ENTRY_MESSAGE,
	LEFT_MESSAGE_UNNAMED,
	LEFT_SUB_SESSION,
	LEFT_SUB_FILTER,
	LEFT_SUB_SHARES, /* more shared ones than a session can have */
	LEFT_RETAIN_MESSAGE,
	LEFT_RETAIN_SYS,
	LEFT_HALF_RECEIVED,
	LEFT_CHUNK,
	LEFT_REASONS
};
extern const char *const import_left_text[LEFT_REASONS];

/* What shows that a part of the file is missing, or may be. */
enum import_lack {
	LACK_SETTINGS,
	LACK_MESSAGES, /* are named and not there */
	LACK_CLIENTS,  /* the same */
	LACK_RETAINED, /* messages that should be, by what sent them */
	LACK_END,      /* written while Mosquitto ran */
	LACKS
};
extern const char *const import_lack_text[LACKS];

struct import_result {
	uint32_t version;      /* of the file */
	uint64_t lacks[LACKS]; /* how many; of settings and the end 1 */
	uint64_t took[TOOK_KINDS], left[LEFT_REASONS];
	size_t left_at[LEFT_REASONS]; /* offset of the first */
};

/* into: a store that has nothing in it, or is not there.  NJ_EXISTS: it has. */
NJ_MUST enum nj_err import_mosquitto(struct slice file, const char *into,
    int64_t now_ms, struct import_result *out, struct nj_why *why);

#endif
