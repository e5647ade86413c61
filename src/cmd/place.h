/* SPDX-License-Identifier: Apache-2.0
 * place - where a configuration keeps the store.
 *
 * Threads: the main thread.
 */
#ifndef NJ_CMD_PLACE_H
#define NJ_CMD_PLACE_H

#include "conf/conf.h"

/* persistence_location and persistence_file in one, as Mosquitto joins them;
 * NULL: no memory.  The caller frees it. */
char *place_of_store(const struct conf *c);
/* The same of a configuration file. */
NJ_MUST enum nj_err
place_from_file(const char *conf, char **out, struct nj_why *why);

#endif
