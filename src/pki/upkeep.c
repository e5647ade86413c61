/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/upkeep.h"

#include <openssl/err.h>
#include <stdio.h>

#include "pki/issue.h"

#define DAY 86400

/* What the machine is called now, and what was asked for. */
static enum nj_err
names_now(const struct upkeep *u, const struct pki_ca *ca,
    struct pki_names *names, struct nj_why *why)
{
	enum nj_err e;

	names->n = 0;
	if ((e = pki_names_collect_by(names, u->addresses))) {
		why_set(why,
		    "the kernel does not tell which addresses this machine "
		    "has: %s",
		    nj_strerror(e));
		return e;
	}
	pki_ca_filter(ca, names);
	return pki_server_extra(pki_ca_dir(ca), names, why);
}

/* Names that DNS gave earlier are kept: this process cannot ask it. */
static enum nj_err
keep_names(const struct pki_ca *ca, struct pki_names *names, struct nj_why *why)
{
	struct pki_names old;
	enum nj_err e = NJ_OK;

	pki_server_names(pki_ca_dir(ca), &old);
	pki_ca_filter(ca, &old);
	for (unsigned i = 0; !e && i < old.n; i++)
		if (!old.v[i].ip)
			e = pki_names_add(names, old.v[i].text, why);
	return e;
}

static bool
too_soon(const struct upkeep *u, int64_t now)
{
	int64_t last = u->made[(u->next + UPKEEP_DAY_MAX - 1) % UPKEEP_DAY_MAX];
	int64_t first = u->made[u->next % UPKEEP_DAY_MAX];

	return (last && now >= last && now - last < UPKEEP_PAUSE_S) ||
	    (first && now >= first && now - first < DAY);
}

static void
tell(const char *reason, const struct pki_names *names, struct nj_why *why)
{
	char text[sizeof why->mend - 64];
	size_t at = 0;
	int n;

	text[0] = '\0';
	for (unsigned i = 0; i < names->n; i++) {
		n = snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "",
		    names->v[i].text);
		if (n < 0 || at + (size_t)n >= sizeof text) {
			text[at] = '\0';
			break;
		}
		at += (size_t)n;
	}
	why_set(why, "%s", reason);
	why_mend(why, "%s", text);
}

enum upkeep_result
upkeep_server(struct upkeep *u, struct pki_ca *ca, struct nj_why *why)
{
	int64_t now = clock_wall(u->clock) / 1000;
	char reason[PKI_NAME_MAX + 64];
	struct pki_names names;
	enum nj_err e;

	if ((e = names_now(u, ca, &names, why)))
		return UPKEEP_FAILED;
	if (!pki_server_needs(ca, &names, now, reason, sizeof reason))
		return UPKEEP_GOOD;
	if (too_soon(u, now)) {
		why_set(why,
		    "the server's certificate waits to be made anew (%s): many "
		    "were made a short while ago",
		    reason);
		why_mend(why,
		    "look at what changes the addresses of this machine; "
		    "'nightjar ca server' makes one now");
		return UPKEEP_LATER;
	}
	e = keep_names(ca, &names, why);
	if (!e && !pki_ca_is_unlocked(ca))
		e = u->unlock ? u->unlock(u->arg, ca, why) : NJ_DENIED;
	if (!e)
		e = pki_server_renew(ca, &names, now, why);
	ERR_clear_error();
	if (e) {
		if (!why->what[0])
			why_set(why, "%s", nj_strerror(e));
		why_prefix(why,
		    "the server's certificate cannot be made anew (%s)",
		    reason);
		return UPKEEP_FAILED;
	}
	u->made[u->next++ % UPKEEP_DAY_MAX] = now;
	tell(reason, &names, why);
	return UPKEEP_MADE;
}
