/* SPDX-License-Identifier: Apache-2.0
 * report - every fault and warning of a configuration, each with its place,
 *          the word concerned and what mends it.
 *
 * Owns:    its findings (conf_report_free).  A zeroed one is valid and empty.
 * Threads: one owner.
 * Bounds:  CONF_REPORT_MAX findings are kept; all are counted.
 */
#ifndef NJ_CONF_REPORT_H
#define NJ_CONF_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define CONF_REPORT_MAX 500

struct conf_finding {
	bool fault; /* false: a warning */
	char *file; /* NULL: not from a file (command line, environment) */
	uint32_t line, col; /* from 1; 0: none */
	char *word;	    /* escaped; NULL when there is none */
	char *what;	    /* what is wrong, what was expected */
	char *nearest;	    /* the right name nearest to word, or NULL */
	char *mend;	    /* what to do about it, or NULL */
};

struct conf_report {
	struct conf_finding *v;
	uint32_t n, cap;
	uint32_t faults, warnings; /* all, also those not kept */
};

struct conf_place {
	const char *file;
	uint32_t line, col;
};

void conf_report_free(struct conf_report *r);
/* word and nearest may be NULL; why->mend may be empty.  Out of memory, the
 * finding is counted but not kept. */
void conf_report_add(struct conf_report *r, bool fault, struct conf_place at,
    struct slice word, const char *nearest, const struct nj_why *why);
/* "file:line:col: error: what; did you mean ...?  Mend: ..." in one line. */
const char *
conf_finding_text(const struct conf_finding *f, char *dst, size_t size);

#endif
