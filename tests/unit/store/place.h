/* SPDX-License-Identifier: Apache-2.0
 * place - a folder of a test's own, for a store and a copy of it.
 *
 * Owns:    the folder and its files, from place_make to place_remove.
 * Threads: the test's.
 */
#ifndef NJ_TESTS_STORE_PLACE_H
#define NJ_TESTS_STORE_PLACE_H

/* Their names, once it is made. */
extern char place_folder[], place_path[], place_copy[];

/* For a group of cmocka's. */
int place_make(void **state);
int place_remove(void **state);
/* No file stays. */
void place_clear(void);

#endif
