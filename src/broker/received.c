/* SPDX-License-Identifier: Apache-2.0
 *
 * QoS 2 identifiers that clients gave and that are not on disk yet; durable.h.
 */
#include <stdlib.h>

#include "base/ring.h"
#include "broker/durable.h"
#include "broker/shard.h"

/* A unit of a turn's work. */
#define LOOKED_AT 32u

static struct fresh *
at(const struct durable *d, uint32_t i)
{
	return &d->fresh[(d->fresh_head + i) & (d->fresh_cap - 1)];
}

/* Gates open in order. */
static void
forget(struct durable *d)
{
	while (d->fresh_n > 0 && at(d, 0)->gate < d->gate_first) {
		d->fresh_head = (d->fresh_head + 1) & (d->fresh_cap - 1);
		d->fresh_n--;
	}
}

static enum nj_err
grow(struct durable *d)
{
	struct fresh *v = ring_double(
	    d->fresh, sizeof *v, d->fresh_head, d->fresh_n, &d->fresh_cap);

	if (!v)
		return NJ_NOMEM;
	d->fresh = v;
	d->fresh_head = 0;
	return NJ_OK;
}

void
received_keep(struct shard *sh, struct session *s, uint16_t pid)
{
	struct durable *d = &sh->durable;

	forget(d);
	if (d->fresh_n == d->fresh_cap && grow(d)) {
		keep_note(&d->keep, NJ_NOMEM);
		return;
	}
	*at(d, d->fresh_n++) = (struct fresh){
		.session = s->number, .gate = together_number(sh), .pid = pid
	};
	keep_received(s, pid);
}

bool
received_waits(
    struct shard *sh, const struct session *s, uint16_t pid, uint64_t *gate)
{
	struct durable *d = &sh->durable;
	uint32_t looked = 0;
	bool waits = false;

	forget(d);
	for (uint32_t i = d->fresh_n; i-- > 0 && !waits; looked++) {
		const struct fresh *f = at(d, i);

		waits = f->session == s->number && f->pid == pid;
		*gate = f->gate;
	}
	sh->work += looked / LOOKED_AT;
	return waits;
}

void
received_undo(struct shard *sh, struct session *s, uint16_t pid, uint64_t gate)
{
	struct keep *k = &sh->durable.keep;
	bool begun = together_pending(sh, gate) && together_again(sh, gate);

	(void)idset_del(&s->in, pid);
	keep_note(k, batch_released(k->into, s->kept->id, pid));
	if (begun)
		together_end(sh);
}

void
received_give_back(struct durable *d)
{
	if (!ring_is_large(sizeof *d->fresh, d->fresh_cap))
		return;
	forget(d);
	if (d->fresh_n == 0)
		received_fini(d);
}

void
received_fini(struct durable *d)
{
	free(d->fresh);
	d->fresh = NULL;
	d->fresh_head = d->fresh_n = d->fresh_cap = 0;
}
