/* SPDX-License-Identifier: Apache-2.0
 *
 * Ends that nobody is told of, and for whose records there was no memory;
 * durable.h.
 */
#include <string.h>

#include "broker/durable.h"
#include "broker/internal.h"
#include "broker/sessions.h"
#include "broker/shard.h"

static void
owe(struct shard *sh, const struct owed *o)
{
	struct durable *d = &sh->durable;

	if (!d->store || d->n_owed == OWED_MAX)
		return;
	d->owed[d->n_owed] = *o;
	if (o->will)
		msg_ref(o->will);
	/* what it left to others comes to the disk no later */
	d->owed[d->n_owed++].gate = durable_gate_end(d);
}

void
owe_end(struct shard *sh, uint64_t who, uint64_t session, struct msg *will)
{
	owe(sh, &(struct owed){ .who = who, .session = session, .will = will });
}

void
owe_facts(struct shard *sh, uint64_t who, uint64_t number)
{
	owe(sh, &(struct owed){ .who = who, .number = number });
}

/* Where records go now.  False: there is no memory still. */
static bool
record(struct shard *sh, const struct owed *o)
{
	struct keep *k = &sh->durable.keep;
	enum nj_err e;

	if (!o->session)
		return sessions_keep_state(sh, o->number) == NJ_OK;
	e = o->will ? batch_will_end(k->into, o->session, msg_ref(o->will))
		    : batch_session_end(k->into, o->session);
	keep_note(k, e);
	return !e;
}

static void
forget(struct durable *d, unsigned at)
{
	if (d->owed[at].will)
		msg_unref(d->owed[at].will);
	memmove(&d->owed[at], &d->owed[at + 1],
	    (--d->n_owed - at) * sizeof d->owed[0]);
}

void
owed_of_client(struct shard *sh, uint64_t who)
{
	struct durable *d = &sh->durable;

	for (unsigned i = 0; i < d->n_owed;)
		if (d->owed[i].who != who)
			i++;
		else if (record(sh, &d->owed[i]))
			forget(d, i);
		else
			return; /* keep.failed: nor is the new one */
}

void
owed_again(struct shard *sh)
{
	struct durable *d = &sh->durable;

	for (unsigned i = 0; i < d->n_owed;)
		if (d->owed[i].gate > d->gate_first && !sh->stopping)
			i++;
		else if (record(sh, &d->owed[i]))
			forget(d, i);
		else
			return;
}

void
owed_fini(struct durable *d)
{
	while (d->n_owed > 0)
		forget(d, d->n_owed - 1);
}
