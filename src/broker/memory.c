/* SPDX-License-Identifier: Apache-2.0
 */
#include "broker/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/giveback.h"
#include "base/log.h"

/* Its own processor time that asking malloc may take, one part of so many. */
#define ASK_SHARE 200

void
memory_init(struct broker *b)
{
	b->status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
}

void
memory_fini(struct broker *b)
{
	if (b->status >= 0)
		(void)close(b->status);
	b->status = -1;
}

static uint64_t
handed_out(void)
{
	struct mallinfo2 mi = mallinfo2();

	return mi.uordblks + mi.hblkhd - giveback_held();
}

/* Of a line of /proc/self/status, in bytes. */
static uint64_t
bytes_of(const char *text, const char *field)
{
	const char *p = strstr(text, field);

	return p ? strtoull(p + strlen(field), NULL, 10) * 1024 : 0;
}

uint64_t
memory_heap(const struct broker *b)
{
	char text[4096];
	ssize_t n =
	    b->status >= 0 ? pread(b->status, text, sizeof text - 1, 0) : -1;
	uint64_t all;

	text[n > 0 ? n : 0] = 0;
	/* what was swapped out is used, too */
	all = bytes_of(text, "\nRssAnon:") + bytes_of(text, "\nVmSwap:");
	return all > 0 ? all : handed_out();
}

static uint64_t
cpu_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* More than the limit is used: what of it is handed out. */
static uint64_t
ask_malloc(struct broker *b, uint64_t resident)
{
	uint64_t now = clock_mono(b->clock), from;

	if (now < b->asked.not_before_ms)
		return b->asked.heap + resident < b->asked.resident
		    ? 0
		    : b->asked.heap + resident - b->asked.resident;
	from = cpu_us();
	b->asked.heap = handed_out();
	b->asked.resident = resident;
	b->asked.not_before_ms = now + (cpu_us() - from) * ASK_SHARE / 1000;
	return b->asked.heap;
}

void
memory_check(struct broker *b, uint64_t limit)
{
	uint64_t heap = limit ? memory_heap(b) : 0;
	bool full;

	if (limit && heap > limit)
		heap = ask_malloc(b, heap);
	full = limit && heap > limit;
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
