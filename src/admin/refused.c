/* SPDX-License-Identifier: Apache-2.0
 * refused - who did not get in: the record that `nightjar doctor --last` reads.
 */
#include <stdlib.h>

#include "admin/handlers.h"
#include "broker/broker.h"
#include "broker/failures.h"

static enum nj_err
put_one(json_t *list, const struct failure *f)
{
	json_t *o = json_object();
	enum nj_err e = NJ_NOMEM;

	if (!o)
		return e;
	if ((e = admin_set(o, "peer", admin_string(slice_str(f->peer)))) ||
	    (e = admin_set(
		 o, "listener", admin_string(slice_str(f->listener)))) ||
	    (e = admin_set(
		 o, "stage", json_string(failure_stage_name(f->stage)))) ||
	    (e = admin_set(o, "refused_by",
		 json_string(f->by_client ? "client" : "broker"))) ||
	    (e = admin_set(o, "what", admin_string(slice_str(f->what)))) ||
	    (e = admin_set(o, "mend", admin_string(slice_str(f->mend)))) ||
	    (e = admin_set(o, "count", json_integer(f->count))) ||
	    (e = admin_set(o, "first_ms", json_integer(f->first_ms))) ||
	    (e = admin_set(o, "last_ms", json_integer(f->last_ms)))) {
		json_decref(o);
		return e;
	}
	return json_array_append_new(list, o) ? NJ_NOMEM : NJ_OK;
}

enum nj_err
admin_refused(struct admin_call *c, struct nj_why *why)
{
	struct failure *v = NULL;
	json_t *list = json_array();
	int64_t limit = FAILURES_MAX;
	enum nj_err e = NJ_NOMEM;
	unsigned n;

	if (!list || !(v = calloc(FAILURES_MAX, sizeof *v)))
		goto out;
	if ((e = admin_number(c, "limit", 1, FAILURES_MAX, &limit, why)))
		goto out;
	n = failures_copy(broker_failures(c->env->broker), v, (unsigned)limit);
	for (unsigned i = 0; i < n && !e; i++)
		e = put_one(list, &v[i]);
	if (!e) {
		e = admin_set(c->result, "refused", list);
		list = NULL;
	}
out:
	json_decref(list);
	free(v);
	return e;
}
