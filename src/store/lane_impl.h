/* SPDX-License-Identifier: Apache-2.0
 * lane_impl - what the files share that gather sessions' queues within a transaction;
 *             impl.h has what others call.
 *
 * Owns:    each lane its entries, segments and keys, until the end of the
 *          transaction; a record belongs to its batch.
 * Threads: the store's.
 * Bounds:  those of the batches that are in the transaction.
 */
#ifndef NJ_STORE_LANE_IMPL_H
#define NJ_STORE_LANE_IMPL_H

#include "store/impl.h"

struct waiting {
	uint64_t seq;
	const struct store_rec *r; /* NULL: it ended, or is written */
	uint16_t pid;
	uint8_t state;
	bool row; /* of queue, not part of a segment */
};

/* A segment on disk that is not any more as it is there. */
struct touched {
	uint64_t first;
	uint32_t n, gone;
	uint64_t file, len; /* of its bytes; file 0: they are in the row */
	bool noted;	    /* some were gone before */
	bool dirty;
	uint8_t bits[SEGMENT_BITS];
};

struct lane {
	uint64_t session;
	struct waiting *v; /* to be written */
	struct touched *t; /* by first */
	uint64_t *e;	   /* keys of rows that ended */
	uint32_t n, cap, n_t, cap_t, n_e, cap_e;
	uint32_t rows;	    /* of v, and still to be written */
	uint64_t shifted;   /* from there on: */
	uint32_t v_from;    /* those before were shifted away */
	uint64_t seg_from;  /* no segment below has any left */
	uint64_t gap, over; /* no segment has a key from gap to before over */
	bool unsorted;
};

/* The least, or twice as much. */
#define LANE_MIN 8u
static inline uint32_t
lane_larger(uint32_t cap)
{
	return cap ? cap * 2 : LANE_MIN;
}

static inline bool
touched_is_gone(const struct touched *t, uint32_t i)
{
	return t->bits[i / 8] >> i % 8 & 1;
}

static inline void
touched_strike(struct touched *t, uint32_t i)
{
	t->bits[i / 8] |= (uint8_t)(1 << i % 8);
	t->gone++;
	t->dirty = true;
}

/* lane_memory.c */
/* NULL: the transaction has done nothing to that session's. */
struct lane *lane_find(const struct lanes *l, uint64_t session);
NJ_MUST enum nj_err
lane_of(struct store *s, uint64_t session, struct lane **out);
/* As if the transaction had done nothing to it; with its memory. */
void lane_clear(struct lane *l, uint64_t session);

/* lane.c */
void lane_sort(struct lane *l);
/* It is not to be written any more. */
void lane_leave_out(struct lane *l, struct waiting *w);

/* lane_segments.c */
sqlite3_stmt *
lane_bind(struct store *s, enum statement which, uint64_t a, uint64_t b);
/* The segment that has a key; NULL: none. */
NJ_MUST enum nj_err
lane_touch(struct store *s, struct lane *l, uint64_t key, struct touched **out);
/* The message of an entry as a new one; it has its bytes from a row. */
NJ_MUST enum nj_err lane_read_entry(struct store *s, uint64_t session,
    const struct touched *t, uint32_t i, struct store_rec *r);
/* The oldest that is left in a segment, from l->seg_from on; t NULL: there is none. */
NJ_MUST enum nj_err
lane_oldest(struct store *s, struct lane *l, struct touched **t, uint32_t *i);

/* lane_write.c */
/* Rows that ended, as many at once as follow on each other. */
NJ_MUST enum nj_err lane_write_ended(struct store *s, struct lane *l);
NJ_MUST enum nj_err
lane_write_entry(struct store *s, struct lane *l, struct waiting *w);

#endif
