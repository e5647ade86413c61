/* SPDX-License-Identifier: Apache-2.0
 *
 * Which groups a session is a member of, and what they are told of it; sessions.h.
 *
 * Spec: MQTT 5.0 4.8.2.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "broker/groups.h"
#include "broker/internal.h"
#include "broker/sessions.h"

static enum nj_err
tell_group(struct shard *sh, const struct session *s,
    const struct shared_sub *x, enum group_op op)
{
	return groups_tell(sh, x->targets, op, shared_group(x),
	    &(struct membership){
		.session = s->number,
		.id_opts = x->id_opts,
		.share = x->number,
		.online =
		    op == GROUP_ONLINE || (op == GROUP_JOIN && s->link != NULL),
		.kept = s->kept != NULL,
		.waits = (x->id_opts & SUB_QOS) || sh->home.limits.upgrade_qos,
	    });
}

void
sessions_tell_groups(struct shard *sh, struct session *s, enum group_op op)
{
	for (struct shared_sub *x = s->shared; x; x = x->next)
		if (tell_group(sh, s, x, op))
			nj_log(LOG_T_ERROR,
			    "Out of memory: a shared "
			    "subscription's state was not passed on");
}

/* The next number none of its shared subscriptions has; 0: all are taken, and what
 * comes by this one stays with the session.  One that was given back is the last to
 * be given again: by it a message may be on its way still. */
static uint8_t
free_number(const struct session *s)
{
	for (unsigned i = 0; i < 255; i++) {
		unsigned n = (s->share_last + i) % 255 + 1;

		if (!(s->shared_set->taken[n / 64] >> n % 64 & 1))
			return (uint8_t)n;
	}
	return 0;
}

static struct slice
shared_filter(const void *value)
{
	const struct shared_sub *x = value;

	return slice_of(x->filter, x->len);
}

static struct shared_sub *
shared_find(const struct session *s, struct slice whole)
{
	return s->shared_set ? map_get(&s->shared_set->by_filter, whole) : NULL;
}

static void
shared_set_drop(struct session *s)
{
	if (!s->shared_set || s->n_shared > 0)
		return;
	map_fini(&s->shared_set->by_filter);
	free(s->shared_set);
	s->shared_set = NULL;
}

/* Gives it this number, or if it is 0 or taken, another if there is one. */
static enum nj_err
shared_add(struct session *s, struct shared_sub *x, uint8_t number)
{
	struct shared_set *set = s->shared_set;
	enum nj_err e;

	if (!set) {
		if (!(set = calloc(1, sizeof *set)))
			return NJ_NOMEM;
		map_init(&set->by_filter, shared_filter);
		s->shared_set = set;
	}
	if ((e = map_put(&set->by_filter, x))) {
		shared_set_drop(s);
		return e;
	}
	x->number = number && !(set->taken[number / 64] >> number % 64 & 1)
	    ? number
	    : free_number(s);
	s->share_last = x->number;
	set->taken[x->number / 64] |= 1ull << x->number % 64;
	x->next = s->shared;
	if (x->next)
		x->next->prev = x;
	s->shared = x;
	s->n_shared++;
	return NJ_OK;
}

static void
shared_remove(struct session *s, struct shared_sub *x)
{
	struct shared_set *set = s->shared_set;

	assert(set);
	(void)map_del(&set->by_filter, shared_filter(x));
	set->taken[x->number / 64] &= ~(1ull << x->number % 64);
	if (x->next)
		x->next->prev = x->prev;
	if (x->prev)
		x->prev->next = x->next;
	else
		s->shared = x->next;
	x->next = x->prev = NULL;
	s->n_shared--;
	shared_set_drop(s);
}

/* The group's home: any fixed function of group and filter does. */
static unsigned
home_of_group(const struct broker *b, struct slice whole)
{
	return (unsigned)(hash_bytes(whole) % b->n);
}

enum nj_err
sessions_join(struct shard *sh, struct session *s, struct slice whole,
    struct slice group, struct slice filter, uint32_t id_opts, uint8_t number,
    bool *existed)
{
	struct shared_sub *x = shared_find(s, whole);
	struct targets *t = NULL;
	enum nj_err e;

	*existed = x != NULL;
	if (x) {
		x->id_opts = id_opts;
		return tell_group(sh, s, x, GROUP_JOIN);
	}
	if (!(x = calloc(1, sizeof *x + whole.n)))
		return NJ_NOMEM;
	if (!(x->leave = groups_letter(group))) {
		e = NJ_NOMEM;
		goto fail;
	}
	if ((e = index_hold(sh->broker->index, home_of_group(sh->broker, whole),
		 filter, &t)))
		goto fail;
	x->targets = t;
	x->id_opts = id_opts;
	x->len = (uint16_t)whole.n;
	x->group_at = (uint16_t)(group.p - whole.p);
	x->group_len = (uint16_t)group.n;
	memcpy(x->filter, whole.p, whole.n);
	if ((e = shared_add(s, x, number)))
		goto fail;
	if (!s->ended && (e = tell_group(sh, s, x, GROUP_JOIN))) {
		shared_remove(s, x);
		goto fail;
	}
	return NJ_OK;
fail:
	if (t)
		index_release(sh->broker->index, t);
	free(x->leave);
	free(x);
	return e;
}

uint8_t
sessions_share(const struct session *s, struct slice whole)
{
	const struct shared_sub *x = shared_find(s, whole);

	return x ? x->number : 0;
}

const struct shared_sub *
sessions_joined(const struct session *s, struct slice whole)
{
	return shared_find(s, whole);
}

static void
leave_group(struct shard *sh, struct session *s, struct shared_sub *x)
{
	groups_leave(sh, s->number, x);
	free(x);
}

enum nj_err
sessions_unjoin(struct shard *sh, struct session *s, struct slice whole)
{
	struct shared_sub *x = shared_find(s, whole);

	if (!x)
		return NJ_NOTFOUND;
	shared_remove(s, x);
	if (x->number)
		session_keep_shared(s, x->number);
	leave_group(sh, s, x);
	return NJ_OK;
}

void
sessions_leave_groups(struct shard *sh, struct session *s)
{
	for (struct shared_sub *x = s->shared, *next; x; x = next) {
		next = x->next;
		shared_remove(s, x);
		leave_group(sh, s, x);
	}
}
