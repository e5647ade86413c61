/* SPDX-License-Identifier: Apache-2.0
 * disk - a disk in memory, behind SQLite's interface for file systems, that
 *        can fill up, fail, and lose its power.
 *
 * What was written and not synced may be there after a power cut, or not, or
 * half of it, each write by itself.  So may a file that was deleted, until the
 * folder is synced, which SQLite does with the first sync of a new file.
 *
 * Threads: one at a time (SQLite's, or the test's while SQLite is at rest).
 */
#ifndef NJ_TESTS_STORE_DISK_H
#define NJ_TESTS_STORE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#define DISK_VFS "disk"

/* Empty, in order, with this seed for what a power cut does. */
void disk_reset(uint64_t seed);
void disk_fini(void);
/* Power goes at the n-th write, sync or truncation from now; 0: it stays. */
void disk_cut_at(uint64_t n);
void disk_cut_now(void);
bool disk_is_off(void);
/* Loses what was not synced, in part, and switches on again. */
void disk_power_on(void);
/* The process was killed, the machine goes on: nothing is lost, and what was not
 * synced still is not. */
void disk_killed(void);
/* Every write fails with this SQLite result; 0: no more. */
void disk_fail(int rc);
/* One kind of call: those from the at-th from now on fail, so many of them. */
enum disk_call {
	DISK_OPEN,
	DISK_READ,
	DISK_WRITE,
	DISK_TRUNCATE,
	DISK_SYNC,
	DISK_SIZE,
	DISK_LOCK,
	DISK_SHM_MAP,
	DISK_SHM_LOCK,
	DISK_DELETE,
	DISK_CALLS
};
void disk_fault(enum disk_call which, uint64_t at, uint64_t times);
/* Until the next disk_fault, syncs of files whose names end so only. */
void disk_fault_in(const char *tail);
/* How often it was called since disk_fault or disk_reset. */
uint64_t disk_called(enum disk_call which);
/* Flips a bit of a file's byte; false: it is not that long. */
bool disk_damage(const char *name, uint64_t at);
uint64_t disk_size(const char *name);
/* What is there, without what was lost, as a file that others can read; false:
 * there is nothing, or it cannot be written. */
bool disk_export(const char *name, const char *path);
/* Its files by number; empty: there is none of it. */
unsigned disk_files(void);
const char *disk_name(unsigned i);
uint64_t disk_ops(void);

#endif
