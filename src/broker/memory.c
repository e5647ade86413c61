/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/memory.h"

#include <inttypes.h>
#include <malloc.h>

#include "base/giveback.h"
#include "base/log.h"

uint64_t
memory_heap(void)
{
	struct mallinfo2 mi = mallinfo2();

	return mi.uordblks + mi.hblkhd - giveback_held();
}

void
memory_check(struct broker *b, uint64_t limit)
{
	uint64_t heap = limit ? memory_heap() : 0;
	bool full = limit && heap > limit;

	if (full == memory_full(b))
		return;
	atomic_store(&b->memory_full, full);
	if (full)
		nj_log(LOG_T_ERROR,
		    "%" PRIu64 " bytes of memory are in use, above "
		    "memory_limit %" PRIu64 ": new connections and messages "
		    "are refused until there is room",
		    heap, limit);
	else
		nj_log(LOG_T_NOTICE,
		    "Memory is below memory_limit again: connections and "
		    "messages are taken");
}
