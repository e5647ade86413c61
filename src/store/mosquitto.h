/* SPDX-License-Identifier: Apache-2.0
 * mosquitto - reads Mosquitto's persistence file, versions 5 (1.6.0 to 1.6.10) and
 *             6 (later).
 *
 * The file is a header and chunks, each with a type and a length.  Lengths and
 * short numbers are in network order; message numbers and times as the machine
 * had them that wrote it, which is taken to be little-endian.  In this order: settings,
 * messages, clients each with its queues, then subscriptions and retained topics.
 * Nothing says how many there are, and the header's checksum is always 0: where a
 * file ends between two chunks, only what names others may tell that they are missing.
 *
 * Owns:    nothing; all slices borrow from the file's bytes.
 * Threads: pure.
 * Bounds:  every length is checked against its chunk, every chunk against the
 *          file; cost is linear in the bytes.
 * Errors:  NJ_MALFORMED, *why has the offset and what is wrong there.
 */
#ifndef NJ_STORE_MOSQUITTO_H
#define NJ_STORE_MOSQUITTO_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"
#include "wire/props.h"

#define MOSQ_MAGIC_SIZE 15
#define MOSQ_V5		5
#define MOSQ_V6		6

/* Whether a file that begins so is one. */
bool mosq_is(struct slice head);

struct mosq_reader {
	struct slice all, rest;
	uint32_t version;
};
/* NJ_UNSUPPORTED: another version, or not such a file. */
NJ_MUST enum nj_err
mosq_begin(struct slice file, struct mosq_reader *r, struct nj_why *why);

enum mosq_kind {
	MOSQ_OTHER = 0, /* of a type that is not known; skipped */
	MOSQ_CONFIG = 1,
	MOSQ_MESSAGE = 2,
	MOSQ_ENTRY = 3, /* one message in one client's queues */
	MOSQ_RETAIN = 4,
	MOSQ_SUB = 5,
	MOSQ_CLIENT = 6
};

enum mosq_state {
	MOSQ_QOS0 = 1,
	MOSQ_PUBLISH_QOS1 = 2,
	MOSQ_WAIT_PUBACK = 3,
	MOSQ_PUBLISH_QOS2 = 4,
	MOSQ_WAIT_PUBREC = 5,
	MOSQ_RESEND_PUBREL = 6,
	MOSQ_WAIT_PUBREL = 7,
	MOSQ_RESEND_PUBCOMP = 8,
	MOSQ_WAIT_PUBCOMP = 9,
	MOSQ_SEND_PUBREC = 10,
	MOSQ_QUEUED = 11
};

/* One chunk; what its kind does not have is zero. */
struct mosq_item {
	enum mosq_kind kind;
	size_t offset; /* of the chunk, for what is said about it */
	struct slice client, user;
	uint64_t msg; /* its number in this file */
	bool ended;   /* settings: Mosquitto wrote it as it ended */
	/* client */
	int64_t expiry_time; /* Unix time in seconds; also of a message; 0 */
	uint32_t expiry_s;
	/* message */
	struct slice topic, payload;
	struct props props; /* as in a PUBLISH */
	uint8_t qos, retain;
	/* entry */
	uint16_t pid;
	uint8_t state;
	bool dup, out;
	uint32_t sub_id; /* also of a subscription; 0 */
	uint8_t options; /* of a subscription, as in a SUBSCRIBE, with QoS */
};

/* NJ_EOF: there is no other. */
NJ_MUST enum nj_err
mosq_next(struct mosq_reader *r, struct mosq_item *out, struct nj_why *why);

#endif
