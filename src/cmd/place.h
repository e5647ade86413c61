/* SPDX-License-Identifier: Apache-2.0
 * place - where a configuration keeps the store.
 *
 * Owns:    nothing; the caller frees what it is given.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_PLACE_H
#define NJ_CMD_PLACE_H

#include "conf/conf.h"

/* persistence_location, or the working folder; borrowed. */
const char *place_folder(const struct conf *c);
/* The store's path; not that of a file of Mosquitto's which has the name, but
 * one beside it.  NULL: no memory. */
char *place_of_store(const struct conf *c);
/* Mosquitto's own file in that place; NULL: there is none, or no memory. */
char *place_of_mosquittos(const struct conf *c);
/* place_of_store of a configuration file. */
NJ_MUST enum nj_err
place_from_file(const char *conf, char **out, struct nj_why *why);

#endif
