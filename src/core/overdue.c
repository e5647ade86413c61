/* SPDX-License-Identifier: Apache-2.0
 */
#include "core/overdue.h"

#include "core/session.h"

enum nj_err
overdue_keep(struct session *s, const struct delivery *d)
{
	struct overdue *l = &s->home->overdue;
	struct overdue_one *x;

	if (!d && s->asked)
		return NJ_OK;
	if (l->n == OVERDUE_MAX)
		return NJ_FULL;
	x = &l->v[(l->at + l->n++) % OVERDUE_MAX];
	*x = (struct overdue_one){ .session = s->number };
	if (d) {
		x->d = *d;
		s->overdue++;
	} else {
		s->asked = true;
	}
	return NJ_OK;
}

static void
drop_first(struct overdue *l)
{
	l->at = (l->at + 1) % OVERDUE_MAX;
	l->n--;
}

void
overdue_retry(struct home *h)
{
	struct overdue *l = &h->overdue;

	for (uint32_t i = l->n; i > 0; i--) {
		struct overdue_one *x = &l->v[l->at];
		struct session *s = session_by_number(h, x->session);

		if (!s)
			delivery_fini(&x->d);
		else if (x->d.msg && session_requeue(s, &x->d))
			return;
		else if (x->d.msg)
			s->overdue--;
		else
			s->asked = false;
		drop_first(l);
		if (s)
			session_pump(s);
	}
}

void
overdue_clear(struct overdue *l)
{
	for (; l->n > 0; drop_first(l))
		delivery_fini(&l->v[l->at].d);
}
