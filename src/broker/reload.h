/* SPDX-License-Identifier: Apache-2.0
 * reload - new limits, certificates and authenticators for a running broker.
 *
 * Every shard takes its copy between two turns; connections live on with what
 * they were accepted with.
 */
#ifndef NJ_BROKER_RELOAD_H
#define NJ_BROKER_RELOAD_H

#include <stdbool.h>

#include "broker/shard.h"

NJ_MUST enum nj_err
port_set_new(const struct port_opts *v, size_t n, struct port_set **out);
/* Forgets the references it was given: they stay the caller's. */
void port_set_disown(struct port_set *s);
/* Gives up a reference.  The last who leaves it need not wait until a file of a
 * hundred thousand users is forgotten. */
void port_set_leave(struct shard *sh, struct port_set *s);
void reload_take(struct shard *sh, struct letter *l);
/* Whether one is under way, or a SIGHUP that has not been looked at asks for
 * one.  Any thread. */
bool reload_comes(struct broker *b);

#endif
