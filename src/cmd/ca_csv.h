/* SPDX-License-Identifier: Apache-2.0
 * ca_csv - the devices of a CSV file.
 *
 * Columns id, groups (or group), ip, days, in any order when the first line
 * names them, in this order otherwise; several groups or addresses in one
 * field are separated by blanks or semicolons.  Empty lines and lines that
 * begin with # do not count.
 *
 * Owns:    everything it points to.
 * Threads: one owner.
 * Bounds:  CSV_FILE_MAX bytes.
 * Spec:    RFC 4180, with LF or CRLF; no line ends inside of fields.
 */
#ifndef NJ_CMD_CA_CSV_H
#define NJ_CMD_CA_CSV_H

#include "base/buf.h"
#include "base/map.h"
#include "pki/batch.h"

#define CSV_FILE_MAX (256 * 1024 * 1024)

struct ca_csv {
	unsigned days;	    /* where the file says none */
	const char *groups; /* the same */
	/* filled by ca_csv_load */
	struct batch_item *items;
	size_t n, cap;
	struct buf text; /* ids and groups point into it */
	struct map ids;
};

/* NJ_INVALID: the file, line and fault in *why; every line is looked at before
 * anything is made. */
NJ_MUST enum nj_err
ca_csv_load(struct ca_csv *c, const char *path, struct nj_why *why);
void ca_csv_fini(struct ca_csv *c);

#endif
