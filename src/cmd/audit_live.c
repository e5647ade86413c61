/* SPDX-License-Identifier: Apache-2.0
 * audit_live - the registry against who is connected.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cmd/audit.h"

static struct audit_cert *
find_serial(struct audit *a, const char *serial)
{
	for (size_t i = 0; serial[0] && i < a->n; i++)
		if (strcasecmp(a->v[i].e.serial, serial) == 0)
			return &a->v[i];
	return NULL;
}

static void
mark_seen(struct audit *a, const char *name)
{
	for (size_t i = 0; name[0] && i < a->n; i++)
		if (strcmp(a->v[i].e.id, name) == 0)
			a->v[i].seen = true;
}

static void
check_revoked(struct audit *a, const struct audit_cert *c, const char *id)
{
	struct nj_why why = { 0 };

	if (!c->revoked)
		return;
	why_set(&why,
	    "the certificate of '%s' is revoked, and the client '%s' is "
	    "connected with it",
	    c->e.id, id);
	why_mend(&why,
	    "nightjar clients disconnect --serial %s; and look whether the "
	    "broker's listener names this CA's list (crlfile DIR/crl/ca.crl)",
	    c->e.serial);
	audit_say(a, AUDIT_FAULT, "revoked-connected", c, &why);
}

/* Without its port. */
static void
address_of(const json_t *c, char *dst, size_t size)
{
	char *colon;

	(void)ask_text(c, "address", dst, size);
	if ((colon = strrchr(dst, ':')))
		*colon = '\0';
}

/* Two certificates of one key. */
static void
check_key(struct audit *a, const json_t *c, const struct audit_cert *own,
    const char *user, const char *id)
{
	char key[80], where[TEXT_ESC + 32];

	(void)snprintf(where, sizeof where, "with which '%s' is connected", id);
	audit_key(a, ask_text(c, "key", key, sizeof key),
	    own		  ? own->e.id
		: user[0] ? user
			  : id,
	    where);
}

/* Several clients at once with one certificate. */
static void
check_shared(struct audit *a, const json_t *list, size_t at)
{
	const json_t *c = json_array_get(list, at), *o;
	char print[80], other[80], id[TEXT_ESC], name[TEXT_ESC] = "";
	char here[80], there[80], first[80] = "";
	struct nj_why why = { 0 };
	bool places = false;
	unsigned same = 0;

	if (!ask_text(c, "fingerprint", print, sizeof print)[0])
		return;
	address_of(c, here, sizeof here);
	for (size_t i = 0; i < json_array_size(list); i++) {
		o = json_array_get(list, i);
		if (i == at ||
		    strcmp(ask_text(o, "fingerprint", other, sizeof other),
			print) != 0)
			continue;
		if (i < at)
			return; /* told at the first of them */
		address_of(o, there, sizeof there);
		if (same++ == 0 || (!places && strcmp(here, there) != 0)) {
			(void)ask_text(o, "id", name, sizeof name);
			memcpy(first, there, sizeof first);
		}
		places |= strcmp(here, there) != 0;
	}
	if (same == 0)
		return;
	why_set(&why,
	    "%u clients are connected with one certificate, among them '%s' "
	    "(from %s) and '%s' (from %s)%s",
	    same + 1, ask_text(c, "id", id, sizeof id), here, name, first,
	    places ? ": it is in several places at once" : "");
	why_mend(&why, "give each its own: nightjar ca device ID");
	audit_say(a, places ? AUDIT_FAULT : AUDIT_DOUBT, "shared-use",
	    find_serial(a, ask_text(c, "serial", other, sizeof other)), &why);
}

void
audit_clients(struct audit *a)
{
	json_t *args = json_pack("{s:i}", "limit", AUDIT_CLIENTS_MAX);
	json_t *r = NULL, *list;
	struct nj_why why = { 0 };

	if (ask(&a->ask, "clients list", args, &r, &why))
		return;
	list = json_object_get(r, "clients");
	a->live = true;
	a->clients = json_array_size(list);
	for (size_t i = 0; i < a->clients; i++) {
		const json_t *c = json_array_get(list, i);
		char serial[64], id[TEXT_ESC], user[TEXT_ESC];
		struct audit_cert *own;

		(void)ask_text(c, "id", id, sizeof id);
		mark_seen(a, id);
		mark_seen(a, ask_text(c, "user", user, sizeof user));
		own = find_serial(
		    a, ask_text(c, "serial", serial, sizeof serial));
		check_key(a, c, own, user, id);
		check_shared(a, list, i);
		if (!own)
			continue;
		own->seen = true;
		check_revoked(a, own, id);
	}
	json_decref(r);
}
