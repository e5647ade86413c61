/* SPDX-License-Identifier: Apache-2.0 */
#include "base/giveback.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What to ask for, one after the other: the large holes first.  malloc maps
 * 128 KiB and more by itself. */
static const size_t sizes[] = { (size_t)120 * 1024, (size_t)28 * 1024,
	(size_t)12 * 1024 };
#define PASSES	   (sizeof sizes / sizeof *sizes)
#define ABSENT_MAX 16

struct giveback_piece {
	struct giveback_piece *next;
	size_t size;
};

static atomic_size_t held;

struct pages {
	uintptr_t at, end, size;
};

/* The whole ones. */
static struct pages
pages_between(void *from, void *to)
{
	uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);

	return (struct pages){ ((uintptr_t)from + size - 1) & ~(size - 1),
		(uintptr_t)to & ~(size - 1), size };
}

void
giveback_pages(void *from, void *to)
{
	struct pages v = pages_between(from, to);

	if (v.at < v.end)
		(void)madvise((void *)v.at, v.end - v.at, MADV_DONTNEED);
}

/* Hands its whole pages to the system, but for its head; whether they took any
 * room, as one in the middle tells. */
static bool
release(struct giveback_piece *p)
{
	struct pages v = pages_between(p + 1, (char *)p + p->size);
	uintptr_t middle = v.at + (v.end - v.at) / v.size / 2 * v.size;
	unsigned char there = 0;

	if (v.end <= v.at || mincore((void *)middle, v.size, &there) != 0 ||
	    !(there & 1))
		return false;
	(void)madvise((void *)v.at, v.end - v.at, MADV_DONTNEED);
	return true;
}

/* False: no memory. */
static bool
take_one(struct giveback *g, size_t size)
{
	struct giveback_piece *p = malloc(size);

	if (!p)
		return false;
	*p = (struct giveback_piece){ .next = g->held, .size = size };
	g->held = p;
	atomic_fetch_add(&held, size);
	g->absent = release(p) ? 0 : g->absent + 1;
	return true;
}

bool
giveback_step(struct giveback *g)
{
	for (size_t done = 0; done < GIVEBACK_STEP && g->pass < PASSES;
	     done += sizes[g->pass]) {
		if (!take_one(g, sizes[g->pass])) {
			g->pass = PASSES;
			break;
		}
		if (g->absent == ABSENT_MAX) {
			g->absent = 0;
			if (++g->pass == PASSES)
				break;
		}
	}
	if (g->pass < PASSES)
		return true;
	giveback_end(g);
	return false;
}

void
giveback_end(struct giveback *g)
{
	struct giveback_piece *p;

	while ((p = g->held)) {
		g->held = p->next;
		atomic_fetch_sub(&held, p->size);
		free(p);
	}
	g->absent = g->pass = 0;
}

size_t
giveback_held(void)
{
	return atomic_load(&held);
}
