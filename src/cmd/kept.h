/* SPDX-License-Identifier: Apache-2.0
 * kept - the files of a configuration that a broker started by root reads again
 *        on a reload, when it is root no more; see base/keeper.h.
 *
 * Threads: the main thread, before others.
 */
#ifndef NJ_CMD_KEPT_H
#define NJ_CMD_KEPT_H

#include "base/err.h"
#include "conf/conf.h"

/* user: who will serve.  NJ_OK without a process where that is root. */
NJ_MUST enum nj_err
kept_start(const struct conf *c, const char *user, struct nj_why *why);

#endif
