/* SPDX-License-Identifier: Apache-2.0
 * rawpage - the pages of a store that SQLite does not read any more, one by one:
 *           as the last commit in its log or the database has them, and those
 *           that are not as they were written told apart.
 *
 * Owns:    the files, while it is open.
 * Threads: the caller's; nobody may write the store.
 * Bounds:  4 bytes of memory a page and a frame of the log.
 * Spec:    https://www.sqlite.org/fileformat2.html 1.2, 1.8, 4
 */
#ifndef NJ_STORE_RAWPAGE_H
#define NJ_STORE_RAWPAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct rawpages {
	int fd, log;
	uint32_t n;	  /* pages, from 1 on */
	uint32_t missing; /* behind those: the store had more */
	size_t size;	  /* bytes of one */
	size_t usable;	  /* the same without its sum */
	uint32_t *frame;  /* of a page: 1 + the last of the log; 0: none */
	bool mapped;	  /* there are pages that say what others are */
	/* of the log from a byte on, which was not taken; bad: not only as it
	 * is an older log's */
	uint64_t log_end, log_left;
	bool log_bad;
	bool *lost;    /* of a page: a frame of what was not taken has it */
	bool lost_any; /* and there are frames whose pages are not known */
	bool
	    headless; /* the first page is damaged: what it says is not known */
};

/* Where the first page is damaged, what pages are like is seen from the others.
 * NJ_UNSUPPORTED: its pages have no sums.  NJ_MALFORMED: it does not look like a
 * store. */
NJ_MUST enum nj_err
rawpages_open(const char *path, struct rawpages *out, struct nj_why *why);
void rawpages_close(struct rawpages *p); /* {0} after it */
/* Into size bytes; NJ_MALFORMED: it is damaged, or not there. */
NJ_MUST enum nj_err
rawpages_read(const struct rawpages *p, uint32_t no, uint8_t *to);

/* It was read, and never written: all zero.  Into size bytes. */
bool rawpages_blank(const struct rawpages *p, uint32_t no, uint8_t *to);
/* The page that is never used. */
uint32_t rawpages_pending(const struct rawpages *p);

/* Pages that have no rows. */
enum raw_kind {
	RAW_ROOT = 1,
	RAW_FREE = 2,
	RAW_OVERFLOW = 3, /* its parent has the row, */
	RAW_MORE = 4,	  /* or is such a page */
	RAW_TREE = 5,
	RAW_MAP = 6 /* says this of others */
};
/* What a page is, and of which; scratch: size bytes.  NJ_MALFORMED: what says so is
 * damaged. */
NJ_MUST enum nj_err rawpages_kind(const struct rawpages *p, uint32_t no,
    uint8_t *scratch, enum raw_kind *kind, uint32_t *parent);

static inline uint32_t
raw_number(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	    (uint32_t)p[2] << 8 | p[3];
}

#endif
