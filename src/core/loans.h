/* SPDX-License-Identifier: Apache-2.0
 * loans - large payloads that stand in a connection's output without being
 *         copied there.
 *
 * The bytes of the output are those of a buffer with payloads between them; a
 * loan says after which of its bytes a message's payload stands.
 *
 * Owns:    a reference on each message.  NULL: none.
 * Threads: the home shard.
 * Bounds:  the link's soft bytes, as its buffer.
 */
#ifndef NJ_CORE_LOANS_H
#define NJ_CORE_LOANS_H

#include <sys/uio.h>

#include "base/buf.h"
#include "core/msg.h"

/* From this size on, two more pieces in a write cost less than a copy. */
#define LOAN_MIN 4096

struct loan {
	uint64_t at; /* bytes of the buffer that go before it */
	struct msg *msg;
};

struct loans {
	uint64_t gone;	/* bytes of the buffer that have left */
	uint64_t bytes; /* of payloads, unsent */
	uint32_t part;	/* of the first payload that have left */
	uint32_t head, n, cap;
	struct loan v[]; /* ring */
};

/* Room for one more. */
NJ_MUST enum nj_err loans_reserve(struct loans **ls);
/* m's payload stands where out ends now; after loans_reserve. */
void loans_add(struct loans *ls, const struct buf *out, struct msg *m);
/* The first pieces of the output, at most max; how many. */
int loans_pieces(
    const struct loans *ls, const struct buf *out, struct iovec *v, int max);
/* So many bytes have left; the last one takes the loans along. */
void loans_sent(struct loans **ls, struct buf *out, size_t n);
void loans_free(struct loans *ls);

#endif
