/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/expiry.h"

#include "base/log.h"
#include "net/listener.h"
#include "net/tls.h"

#define DAY 86400

static const struct row {
	int64_t warn_s;
	const char *what, *then, *mend;
} rows[] = {
	{ (int64_t)EXPIRY_WARN_DAYS * DAY, "the certificate of",
	    "clients refuse it",
	    "nightjar ca server; one of another CA: renew it there, and put it "
	    "in the place of the old" },
	{ (int64_t)EXPIRY_WARN_CA_DAYS * DAY, "a CA in the cafile of",
	    "its clients are refused",
	    "nightjar ca roll, for a CA of Nightjar; another one's: put its "
	    "successor beside it" },
	{ (int64_t)EXPIRY_WARN_LIST_DAYS * DAY,
	    "a list of revoked certificates of",
	    "a foreign CA's clients are refused, our own's are not",
	    "have the CA write a new one; Nightjar's: nightjar ca crl" },
};

static void
tell(const struct port_opts *p, const struct row *r, int64_t left)
{
	if (left <= 0)
		nj_log(LOG_T_ERROR,
		    "Error: %s %s has ended: %s.  To mend it: %s", r->what,
		    p->listener->where, r->then, r->mend);
	else
		nj_log(LOG_T_WARNING,
		    "Warning: %s %s ends in %lld day%s.  To mend it: %s",
		    r->what, p->listener->where, (long long)(left / DAY),
		    left / DAY == 1 ? "" : "s", r->mend);
}

static void
first(int64_t *at, int64_t end)
{
	if (end && (!*at || end < *at))
		*at = end;
}

void
expiry_tick(struct expiry *x, const struct port_opts *ports, size_t n,
    int64_t now, struct broker_dates *out)
{
	bool due;

	if (x->next == 0)
		x->next = now + DAY;
	if ((due = now >= x->next))
		x->next = now + DAY;
	*out = (struct broker_dates){ 0 };
	for (size_t i = 0; i < n; i++) {
		struct tls_dates d;

		if (!ports[i].tls)
			continue;
		tls_server_dates(ports[i].tls, now, &d);
		first(&out->server, d.server);
		first(&out->cas, d.cas);
		first(&out->lists, d.lists);
		const int64_t ends[] = { d.server, d.cas, d.lists };

		for (size_t k = 0; due && k < sizeof ends / sizeof *ends; k++)
			if (ends[k] && ends[k] - now < rows[k].warn_s)
				tell(&ports[i], &rows[k], ends[k] - now);
	}
}
