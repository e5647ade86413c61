/* SPDX-License-Identifier: Apache-2.0
 * segment - entries of one session that came to the disk together, as one row:
 *           their bytes one behind the other, and which of them are gone.
 *
 * An entry is in a segment when nothing but its end can happen to it there: it
 * waits, or is in flight at QoS 1, under the packet identifier that follows
 * from its key, with a message that only it needs.  Entry i of a segment has
 * the key first + i: there are no holes, so segments of a session never
 * overlap.
 *
 *   entry: head, [number of identifiers, 4 bytes each], length of the payload,
 *          length of the message, message (as struct store_body has it)
 *   gone:  a bit for each entry, the lowest of the first byte first
 *
 * Owns:    nothing.
 * Threads: any.
 * Bounds:  SEGMENT_*; an entry larger than that, or that has more identifiers,
 *          is a row of its own.
 */
#ifndef NJ_STORE_SEGMENT_H
#define NJ_STORE_SEGMENT_H

#include "base/buf.h"
#include "store/batch.h"

#define SEGMENT_ENTRIES 512u
#define SEGMENT_BYTES	(64u * 1024)
#define SEGMENT_BODY	(16u * 1024) /* of one message */
#define SEGMENT_IDS	255u
#define SEGMENT_BITS	(SEGMENT_ENTRIES / 8)

/* One that was read; slices are borrowed. */
struct segment_entry {
	uint8_t qos;
	bool retain;
	struct slice ids;
	struct store_body body;
};

/* Whether an entry with this message may be part of one; whose message it is
 * besides the caller knows. */
bool segment_fits(const struct store_rec *r, const struct store_body *body);
NJ_MUST enum nj_err segment_put(
    struct buf *to, const struct store_rec *r, const struct store_body *body);
/* NJ_MALFORMED: it was not written so. */
NJ_MUST enum nj_err segment_take(struct slice *data, struct segment_entry *out);

static inline bool
segment_gone(struct slice bits, uint32_t i)
{
	return i / 8 < bits.n && (bits.p[i / 8] >> i % 8 & 1);
}

#endif
