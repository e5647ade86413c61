/* SPDX-License-Identifier: Apache-2.0
 * walindex - the index of SQLite's log (-shm), where writing to it needs room.
 *
 * It is mapped.  btrfs writes a page of it to a new place each time: where there is
 * no room for that, on a full disk or at a quota, whoever writes to the mapping is
 * killed (SIGBUS).  So there its pages are made writable first, which fails with an
 * error, and no place is looked for where the file need not be copied (NOCOW).
 *
 * Owns:    the list of what is mapped, not the mappings.
 * Threads: as the connection.
 */
#ifndef NJ_STORE_WALINDEX_H
#define NJ_STORE_WALINDEX_H

#include <stdbool.h>
#include <stddef.h>

struct walindex {
	bool looked, copied; /* copied: it is, on writing */
	void **maps;
	size_t n, cap, size; /* size: of each map */
};

/* Before SQLite opens that of the database db. */
void walindex_begin(struct walindex *x, const char *db);
/* SQLITE_OK, or why what it will write to it is not mapped. */
int walindex_mapped(struct walindex *x, unsigned at, void *map, size_t size);
/* Before SQLite writes to it: SQLITE_OK, or SQLITE_FULL. */
int walindex_room(const struct walindex *x);
/* SQLite has it no more. */
void walindex_end(struct walindex *x);

#endif
