/* SPDX-License-Identifier: Apache-2.0
 * salvage - what is left of a store whose pages are damaged, as a new store in
 *           its place.
 *
 * Threads: the caller's; no broker may have the store.
 */
#ifndef NJ_STORE_SALVAGE_H
#define NJ_STORE_SALVAGE_H

#include <stdint.h>

#include "base/err.h"
#include "store/rawtree.h"

enum salvage_kind {
	SALVAGE_SESSIONS,
	SALVAGE_SUBS,
	SALVAGE_RECEIVED,
	SALVAGE_QUEUES,
	SALVAGE_SEGMENTS,
	SALVAGE_GONE,
	SALVAGE_MESSAGES,
	SALVAGE_RETAINED,
	SALVAGE_FACTS,
	SALVAGE_KINDS
};
extern const char *const salvage_text[SALVAGE_KINDS];

/* Of users, groups and roles (facts.h). */
struct salvage_fact {
	bool hole;     /* some are lost here */
	bool in_order; /* by space, kind and name */
	struct slice space, name, value;
	unsigned kind;
};

struct salvage_opts {
	/* go on where facts are damaged: none of them is taken then, and the new
	 * store says that they are lost (FACTS_LOST) */
	bool without_facts;
	void (*made)(const char *copy); /* as view_restore has it */
	/* each that was read; borrowed for the call */
	NJ_MUST enum nj_err (*fact)(void *arg, const struct salvage_fact *f);
	void *arg;
};

struct salvage {
	uint64_t pages, damaged; /* of the file */
	uint64_t missing;	 /* of those, as the file is cut short */
	uint64_t unknown;	 /* of those, of what is not known */
	uint64_t maps;		 /* of those, that say what others are */
	uint64_t unplaced;	 /* whole, and whose is not known */
	/* of the log from a byte on that is damaged; left 0: none is */
	uint64_t log_end, log_left;
	bool log_lost; /* there was more that was acknowledged */
	bool headless; /* the first page is damaged */
	/* of facts some are lost, or changed in the log where it is: */
	bool facts_lost, facts_stale;
	struct {
		uint64_t kept;	  /* rows in the new store */
		uint64_t dropped; /* read, and belong to nothing that was */
		uint64_t cut;	  /* of which a part is damaged */
		uint64_t damaged; /* pages */
	} of[SALVAGE_KINDS];
};

/*
 * Reads all rows that are on pages as they were written, makes a store of those that
 * belong together, and puts it in the place of the old one, which gets another name
 * (*old, to be freed): all of that, or nothing.
 * NJ_NOTFOUND: no page is damaged, and of the log nothing that was acknowledged.
 * NJ_DENIED: users, groups or roles are among what is lost, what is left of them could
 * allow what they forbade, and without_facts was not said.
 */
NJ_MUST enum nj_err
store_salvage(const char *path, const struct salvage_opts *opts,
    struct salvage *out, char **old, struct nj_why *why);

/* Whether a store may be opened with what its log has before it is damaged.  NJ_DENIED:
 * users, groups or roles may have been changed behind that, so that more would be
 * allowed than was. */
NJ_MUST enum nj_err salvage_judge_log(const char *path, struct nj_why *why);

#endif
