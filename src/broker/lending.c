/* SPDX-License-Identifier: Apache-2.0
 * lending - a shard's output buffers.  Those that have grown are kept, a few of
 *           them, for connections that have much to say; who finds none begins
 *           with one of the pool, as do thousands that one message goes to.
 */
#include "base/pool.h"
#include "broker/shard.h"

#define LENT 256

void
shard_lend(struct shard *sh, struct buf *b)
{
	if (sh->n_spare > 0) {
		*b = sh->spare[--sh->n_spare];
		sh->spare_bytes -= b->cap;
	} else if ((b->p = pool_get(LENT))) {
		b->cap = LENT;
	}
}

void
shard_give_back(struct shard *sh, struct buf *b)
{
	if (!b->p)
		return;
	if (b->cap == LENT) {
		pool_put(b->p, LENT);
		*b = (struct buf){ 0 };
	} else if (sh->n_spare < SPARE_BUFS && b->cap <= SPARE_BUF_MAX &&
	    sh->spare_bytes + b->cap <= SPARE_BYTES) {
		b->off = b->len = 0;
		sh->spare_bytes += b->cap;
		sh->spare[sh->n_spare++] = *b;
		*b = (struct buf){ 0 };
	} else {
		buf_fini(b);
	}
}
