/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/renewal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "pki/addresses.h"

struct renewal {
	struct job job;
	struct signer *signer;
	struct workers *askers;
	atomic_bool asked; /* the worker has it */
	atomic_bool again; /* something has changed since */
	int addresses;	   /* -1: changes are seen when it is time to look */
	/* the worker's */
	struct nj_why said;
	uint64_t said_ms;
};

/* One that is told again each time it is asked would fill the log. */
static bool
is_new(struct renewal *r, const struct nj_why *why)
{
	uint64_t now = clock_mono(&clock_system);

	if (strcmp(r->said.what, why->what) == 0 &&
	    now - r->said_ms < RENEWAL_SAY_S * 1000ull)
		return false;
	r->said = *why;
	r->said_ms = now;
	return true;
}

static void
tell(struct renewal *r, const struct signer_answer *a)
{
	if (a->result == ENROL_OK) {
		r->said = (struct nj_why){ 0 };
		nj_log(LOG_T_NOTICE,
		    "The server's certificate was made anew: %s. It is for: %s",
		    a->why.what, a->why.mend);
	} else if (a->result == ENROL_WAIT) {
		if (a->why.what[0] && is_new(r, &a->why))
			nj_log(LOG_T_WARNING, "Warning: %s. To mend it: %s",
			    a->why.what, a->why.mend);
	} else if (is_new(r, &a->why)) {
		nj_log(LOG_T_ERROR,
		    "Error: the certificate that we serve with is not looked "
		    "after: %s%s%s",
		    a->why.what, a->why.mend[0] ? ". To mend it: " : "",
		    a->why.mend);
	}
}

static void
run(struct job *j)
{
	struct renewal *r = LIST_OWNER(j, struct renewal, job);
	struct signer_answer a;

	do {
		atomic_store(&r->again, false);
		signer_server(r->signer, &a);
		tell(r, &a);
		buf_fini(&a.certs);
	} while (atomic_load(&r->again));
	atomic_store(&r->asked, false);
}

enum nj_err
renewal_new(
    struct signer *s, struct workers *askers, int sig, struct renewal **out)
{
	struct renewal *r = calloc(1, sizeof *r);

	if (!r)
		return NJ_NOMEM;
	r->job.run = run;
	r->signer = s;
	r->askers = askers;
	r->addresses = addresses_open(true);
	if (r->addresses >= 0 &&
	    (fcntl(r->addresses, F_SETOWN, getpid()) != 0 ||
		fcntl(r->addresses, F_SETSIG, sig) != 0 ||
		fcntl(r->addresses, F_SETFL, O_NONBLOCK | O_ASYNC) != 0)) {
		(void)close(r->addresses);
		r->addresses = -1;
	}
	*out = r;
	return NJ_OK;
}

void
renewal_free(struct renewal *r)
{
	if (!r)
		return;
	if (r->addresses >= 0)
		(void)close(r->addresses);
	free(r);
}

void
renewal_look(struct renewal *r)
{
	if (!r)
		return;
	if (r->addresses >= 0)
		(void)addresses_changed(r->addresses);
	/* told just as the worker ends, it is seen at the next look */
	if (atomic_exchange(&r->asked, true))
		atomic_store(&r->again, true);
	else if (workers_submit(r->askers, &r->job))
		atomic_store(&r->asked, false);
}
