/* SPDX-License-Identifier: Apache-2.0
 * rawtree - the rows of a store whose pages are damaged in part: from each page
 *           that is whole, also below one that is not.
 *
 * Owns:    nothing after it returns.
 * Threads: the caller's.
 * Bounds:  2 bytes of memory a page; each page is read once, or twice where one
 *          above it is damaged; a row of RAWTREE_ROW_MAX bytes.
 * Spec:    https://www.sqlite.org/fileformat2.html 1.6, 2
 */
#ifndef NJ_STORE_RAWTREE_H
#define NJ_STORE_RAWTREE_H

#include "base/slice.h"
#include "store/rawpage.h"

#define RAWTREE_ROW_MAX (512u * 1024 * 1024)
#define RAWTREE_TREES	64u
#define RAWTREE_COLUMNS 16u

/* A table or an index of the store. */
struct rawtree {
	char name[32];
	bool table;
	uint32_t root;
	uint64_t rows;	  /* that were read */
	uint64_t damaged; /* pages */
	uint64_t cut;	  /* rows of which a part is on such a page */
	uint64_t stale;	  /* pages that the log has anew where it is lost */
};

/* Where a table or an index begins in a store that was just made. */
struct rawroot {
	char name[32];
	bool table;
	bool rowid; /* the kind of tree that has rows by number */
	uint32_t root;
};

struct rawvalue {
	enum { RAW_NULL, RAW_INT, RAW_BYTES, RAW_OTHER } type;
	int64_t n;
	struct slice bytes;
};

/* One row; id is SQLite's, of a table without one 0.  Borrowed for the call.  v NULL:
 * here a page or a row is damaged. */
typedef enum nj_err rawtree_row(void *arg, const struct rawtree *t, int64_t id,
    const struct rawvalue *v, unsigned n);

struct rawtrees {
	struct rawtree v[RAWTREE_TREES];
	unsigned n;
	uint64_t damaged;  /* pages, those of nothing and missing ones too */
	uint64_t unknown;  /* those of what nobody knows */
	uint64_t maps;	   /* those that say what others are */
	uint64_t unplaced; /* whole ones of which that was lost */
	uint32_t first;	   /* of them all */
	bool unmet;	   /* from here on rows are in no order */
};
/*
 * made: where the tables of a new store are, by their pages.  Where the first page is
 * damaged they are taken to be there, or, as in one that was written anew from an
 * older schema, all tables first and then the indexes: whichever of the two fits.
 * NJ_MALFORMED: what says where tables are is damaged, and neither does.  A
 * callback's error ends it and is returned.
 */
NJ_MUST enum nj_err rawtree_read(const struct rawpages *p,
    const struct rawroot *made, unsigned n_made, struct rawtrees *out,
    rawtree_row *row, void *arg, struct nj_why *why);

#endif
