/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/expiry.h"

#include "base/log.h"
#include "net/listener.h"
#include "net/tls.h"

#define DAY 86400

static void
tell(const struct port_opts *p, int64_t left)
{
	if (left <= 0)
		nj_log(LOG_T_ERROR,
		    "Error: the certificate of %s has ended: clients refuse "
		    "it.  To mend it: nightjar ca server, then nightjar "
		    "reload",
		    p->listener->where);
	else
		nj_log(LOG_T_WARNING,
		    "Warning: the certificate of %s ends in %lld day%s.  To "
		    "mend it: nightjar ca server, then nightjar reload",
		    p->listener->where, (long long)(left / DAY),
		    left / DAY == 1 ? "" : "s");
}

void
expiry_tick(
    struct expiry *x, const struct port_opts *ports, size_t n, int64_t now)
{
	if (x->next == 0)
		x->next = now + DAY;
	if (now < x->next)
		return;
	x->next = now + DAY;
	for (size_t i = 0; i < n; i++) {
		int64_t end =
		    ports[i].tls ? tls_server_expires(ports[i].tls) : 0;

		if (end && end - now < (int64_t)EXPIRY_WARN_DAYS * DAY)
			tell(&ports[i], end - now);
	}
}
