/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/regroup.h"

#include <limits.h>

#include "auth/device_groups.h"
#include "auth/principal.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/rights.h"
#include "core/session.h"

/* Without memory he stays as he is. */
static void
regroup_by(struct shard *sh, struct walk *w, struct session *s,
    struct device_groups *groups)
{
	struct principal with, *now = NULL;
	struct buf list = { 0 };
	char name[TEXT_ESC];

	if (device_groups_of(groups, s->who->device, &list) == NJ_OK &&
	    !slice_eq(buf_slice(&list), s->who->groups)) {
		principal_view(s->who, &with);
		with.groups = buf_slice(&list);
		if (principal_new(&with, &now) == NJ_OK) {
			principal_unref(s->who);
			s->who = now;
			/* what it subscribed to is looked at again */
			s->check_reads |= s->acl != NULL;
			rights_changed(sh, w, s);
		} else {
			nj_log(LOG_T_ERROR,
			    "Out of memory: %s keeps the groups it had.",
			    text_esc(name, sizeof name, s->who->name));
		}
	}
	buf_fini(&list);
}

void
regroup(struct shard *sh, struct walk *w, struct session *s)
{
	struct device_groups *g = sh->set->v[s->port].groups;

	if (g && s->who && s->who->device.n > 0)
		regroup_by(sh, w, s, g);
}

void
regroup_whole(struct shard *sh, struct session *s)
{
	struct walk w = { .partly = NULL };

	sh->walk_left = UINT_MAX;
	regroup(sh, &w, s);
	for (; w.partly; w.go_on(sh, &w, s)) {
		w.partly = NULL;
		sh->walk_left = UINT_MAX;
	}
}
