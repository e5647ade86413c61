/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/enrol.h"
#include "pki/fleet.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/text.h"
#include "pki/crl.h"
#include "pki/csr.h"
#include "pki/explain.h"
#include "pki/pending.h"
#include "pki/receipt.h"
#include "pki/registry.h"
#include "pki/token.h"

#define DAY 86400

/* One request on its way. */
struct request {
	struct pki_ca *ca;
	const struct enrol_ask *ask;
	struct pki_csr csr;
	char id[PKI_ID_MAX + 1];
	char uri[64 + PKI_CA_ID + PKI_ID_MAX];
	unsigned days;
	bool has_groups;
	const char *groups;
	int64_t now;
};

/* -- what the registry says ------------------------------------------------- */

struct look {
	const struct request *r;
	const struct pki_revoked *gone;
	unsigned live;	  /* valid certificates of that name */
	bool foreign_key; /* the key is another name's */
	bool revoked_key; /* a certificate with it was taken back */
	bool found;	  /* the one that is renewed */
	struct registry_entry old;
};

static bool
on_entry(void *arg, const struct registry_entry *e)
{
	struct look *l = arg;
	const struct request *r = l->r;
	bool mine = strcmp(e->id, r->id) == 0;
	bool cert = strcmp(e->kind, "device") == 0;

	if (strcmp(e->spki, r->csr.spki) == 0) {
		l->foreign_key |=
		    !mine || (!cert && strcmp(e->kind, "revoked") != 0);
		l->revoked_key |= strcmp(e->kind, "revoked") == 0;
	}
	if (!cert || !mine)
		return true;
	if (e->not_after > r->now && !pki_revoked_has(l->gone, e->serial, NULL))
		l->live++;
	if (r->ask->serial[0] && strcmp(e->serial, r->ask->serial) == 0) {
		l->found = true;
		l->old = *e;
	}
	return true;
}

static enum enrol_result
look_up(const struct request *r, struct look *l, struct nj_why *why)
{
	struct pki_revoked *gone = NULL;
	enum enrol_result res = ENROL_OK;

	*l = (struct look){ .r = r };
	if (pki_revoked_load(pki_ca_registry(r->ca), &gone, why))
		return ENROL_FAILED;
	l->gone = gone;
	if (registry_each(pki_ca_registry(r->ca), on_entry, l, why)) {
		res = ENROL_FAILED;
	} else if (l->foreign_key) {
		why_set(why, "the key is another device's");
		why_mend(why, "make a key of its own on each device");
		res = ENROL_REFUSED;
	} else if (l->revoked_key) {
		why_set(why, "a certificate with this key was revoked");
		why_mend(why, "make a new key");
		res = ENROL_REFUSED;
	} else if (l->live >= ENROL_LIVE_MAX) {
		why_set(why, "'%s' has %u valid certificates already", r->id,
		    l->live);
		why_mend(why, "nightjar ca revoke SERIAL takes some back");
		res = ENROL_REFUSED;
	} else if (l->found && pki_revoked_has(gone, l->old.serial, NULL)) {
		why_set(why, "its certificate was revoked");
		why_mend(
		    why, "make a token for it: nightjar ca token %s", r->id);
		res = ENROL_DENIED;
	}
	l->gone = NULL;
	pki_revoked_free(gone);
	return res;
}

/* -- the certificate -------------------------------------------------------- */

/* Brokers go by DIR/groups.  Without it the device has its certificate and no
 * groups, until the next who writes the file. */
static void
tell_groups(const struct pki_ca *ca)
{
	struct fleet *f = NULL;

	if (fleet_load(pki_ca_registry(ca), &f, NULL) == NJ_OK)
		(void)!fleet_export(f, pki_ca_dir(ca), NULL);
	fleet_unref(f);
}

static enum nj_err
issue(struct request *r, const char *proof, X509 **out, struct nj_why *why)
{
	enum nj_err e;

	struct pki_cert_spec spec = { .profile = PKI_DEVICE,
		.key = r->csr.key,
		.cn = r->id,
		.uri = r->uri,
		.days = r->days ? r->days : PKI_DEVICE_DAYS };

	if (spec.days > ENROL_DAYS_MAX)
		spec.days = ENROL_DAYS_MAX;
	if (r->has_groups)
		spec.groups = r->groups;
	e = pki_ca_issue(r->ca, &spec, r->id, out, why);
	if (e)
		return e;
	if (r->has_groups)
		tell_groups(r->ca);
	/* without it the device has its certificate if the answer comes */
	(void)!receipt_store(
	    pki_ca_dir(r->ca), r->csr.spki, proof, r->id, *out);
	return NJ_OK;
}

/* What this key was given for the same proof, if it is still good. */
static bool
fetch_again(struct request *r, const char *proof, X509 **out)
{
	struct pki_revoked *gone = NULL;
	char id[PKI_ID_MAX + 1], serial[64];
	X509 *x = NULL;
	bool good;

	if (receipt_find(pki_ca_dir(r->ca), r->csr.spki, proof, id, &x))
		return false;
	pki_serial(x, serial, sizeof serial);
	good = pki_ca_issues_now(r->ca, x) &&
	    X509_cmp_current_time(X509_get0_notAfter(x)) > 0 &&
	    pki_revoked_load(pki_ca_registry(r->ca), &gone, NULL) == NJ_OK &&
	    !pki_revoked_has(gone, serial, NULL) &&
	    !pki_revoked_has(gone, r->ask->serial, NULL);
	pki_revoked_free(gone);
	if (!good) {
		X509_free(x);
		return false;
	}
	memcpy(r->id, id, sizeof r->id);
	*out = x;
	return true;
}

static enum enrol_result
name_it(struct request *r, const char *id, struct nj_why *why)
{
	int n;

	if (pki_check_id(id, why))
		return ENROL_REFUSED;
	(void)snprintf(r->id, sizeof r->id, "%s", id);
	n = snprintf(r->uri, sizeof r->uri, "urn:nightjar:%s:device:%s",
	    pki_ca_short_id(r->ca), r->id);
	if (n < 0 || (size_t)n >= sizeof r->uri) {
		why_set(why, "'%s' is too long", id);
		return ENROL_REFUSED;
	}
	return pki_csr_check_names(&r->csr, r->id, r->uri, why) ? ENROL_REFUSED
								: ENROL_OK;
}

/* -- with a token ----------------------------------------------------------- */

/* Who it is: what the token says, or where that leaves it open, the request. */
static enum enrol_result
name_by_token(struct request *r, const struct pki_token *t, struct nj_why *why)
{
	char said[PKI_ID_MAX + 1] = "";
	const char *id = r->csr.cn;

	if (!strchr(t->what, '*'))
		return name_it(r, t->what, why);
	if (!id[0] && r->ask->name.n > 0 && r->ask->name.n <= PKI_ID_MAX) {
		memcpy(said, r->ask->name.p, r->ask->name.n);
		if (strlen(said) == r->ask->name.n)
			id = said;
	}
	if (!id[0]) {
		why_set(why, "the request names no device");
		why_mend(why, "give it the device's name as its common name");
		return ENROL_REFUSED;
	}
	if (!pki_token_covers(t, id)) {
		why_set(why, "the token is for '%s', the request for '%s'",
		    t->what, id);
		why_mend(why, "nightjar ca token '%s' makes one for it", id);
		return ENROL_REFUSED;
	}
	return name_it(r, id, why);
}

/* Whether somebody has said yes. */
static enum enrol_result
approval(const struct request *r, const struct pki_token *t, struct nj_why *why)
{
	const char *dir = pki_ca_dir(r->ca);
	struct pending p = { 0 };
	enum nj_err e = pending_load(dir, r->id, &p);

	if (e == NJ_OK && strcmp(p.spki, r->csr.spki) == 0 &&
	    strcmp(p.token, t->name) == 0) {
		if (p.state == PENDING_APPROVED)
			return ENROL_OK;
		if (p.state == PENDING_DENIED) {
			why_set(why, "the request was turned down");
			return ENROL_DENIED;
		}
	} else if (e == NJ_OK && p.state != PENDING_DENIED &&
	    pki_token_is_there(dir, p.token)) {
		/* nor may it push out what was approved: seeing that name
		 * again, people would approve it once more */
		why_set(why, "another request of that name waits%s",
		    p.state == PENDING_APPROVED ? ", and was approved" : "");
		why_mend(why, "nightjar ca deny %s clears it away", r->id);
		return ENROL_REFUSED;
	} else {
		p = (struct pending){ .since = r->now };
		(void)snprintf(p.id, sizeof p.id, "%s", r->id);
		(void)snprintf(p.spki, sizeof p.spki, "%s", r->csr.spki);
		(void)snprintf(p.token, sizeof p.token, "%s", t->name);
		(void)text_esc(p.from, sizeof p.from, r->ask->from);
		e = pending_add(dir, &p, t->uses, why);
		if (e)
			return e == NJ_FULL ? ENROL_REFUSED : ENROL_FAILED;
	}
	why_set(why, "the request waits for approval");
	why_mend(why, "nightjar ca approve %s", r->id);
	return ENROL_WAIT;
}

static enum enrol_result
judge_new(struct request *r, const struct pki_token *t, struct nj_why *why)
{
	enum enrol_result res;
	struct look l;

	if ((res = name_by_token(r, t, why)) || (res = look_up(r, &l, why)))
		return res;
	if (l.live > 0 && !t->again) {
		why_set(why, "'%s' has a valid certificate already", r->id);
		why_mend(why,
		    "revoke that, or make the token with --again to let it "
		    "have a second one");
		return ENROL_REFUSED;
	}
	return t->approve ? approval(r, t, why) : ENROL_OK;
}

/* Something new, for a use of the token. */
static enum enrol_result
spend(
    struct request *r, struct pki_token_use *u, X509 **out, struct nj_why *why)
{
	enum enrol_result res;

	/* its last use was for this key, and came to nothing */
	if (strcmp(u->token.promised, r->csr.spki) == 0) {
		struct look l;

		if ((res = name_by_token(r, &u->token, why)) ||
		    (res = look_up(r, &l, why)))
			return res;
	} else {
		if (pki_token_is_good(u, why))
			return ENROL_DENIED;
		if ((res = judge_new(r, &u->token, why)))
			return res;
		/* The use is gone before the certificate is there: two that
		 * come at once do not both get one. */
		if (pki_token_spend(u, r->csr.spki, why))
			return ENROL_FAILED;
	}
	if (issue(r, u->hash, out, why))
		return ENROL_FAILED;
	pending_remove(pki_ca_dir(r->ca), r->id);
	return ENROL_OK;
}

static enum enrol_result
by_token(struct request *r, X509 **out, struct nj_why *why)
{
	const char *dir = pki_ca_dir(r->ca);
	struct pki_token_use u;
	enum enrol_result res;
	enum nj_err e;

	if ((e = pki_token_open(dir, r->ask->token, &u, why)))
		return e == NJ_DENIED ? ENROL_DENIED : ENROL_FAILED;
	r->days = u.token.days;
	r->has_groups = u.token.has_groups;
	r->groups = u.token.groups;
	/* only now: who has no token learns nothing of his request */
	if (pki_csr_open(r->ask->csr, &r->csr, why))
		res = ENROL_REFUSED;
	else if (fetch_again(r, u.hash, out))
		res = ENROL_OK;
	else
		res = spend(r, &u, out, why);
	if (!u.over && (res == ENROL_REFUSED || res == ENROL_DENIED))
		pki_token_fail(&u);
	pki_token_close(&u);
	return res;
}

enum enrol_result
enrol_look(const struct pki_ca *ca, struct slice token, struct slice name,
    char id[PKI_ID_MAX + 1], struct nj_why *why)
{
	struct pki_token_use u;
	char esc[TEXT_ESC], said[PKI_ID_MAX + 1] = "";
	enum enrol_result res = ENROL_OK;
	enum nj_err e;

	id[0] = '\0';
	if ((e = pki_token_open(pki_ca_dir(ca), token, &u, why)))
		return e == NJ_DENIED ? ENROL_DENIED : ENROL_FAILED;
	if (name.n > 0 && name.n <= PKI_ID_MAX && !memchr(name.p, 0, name.n))
		memcpy(said, name.p, name.n);
	if (!u.token.promised[0] && pki_token_is_good(&u, why)) {
		res = ENROL_DENIED;
	} else if (name.n == 0 && !strchr(u.token.what, '*')) {
		memcpy(id, u.token.what, PKI_ID_MAX);
		id[PKI_ID_MAX] = '\0';
	} else if (!said[0] || pki_check_id(said, NULL) ||
	    !pki_token_covers(&u.token, said)) {
		why_set(why, "the token is for '%s', the user name is '%s'",
		    u.token.what, text_esc(esc, sizeof esc, name));
		why_mend(why,
		    "give the device's name as the user name (-u), or make a "
		    "token for it: nightjar ca token ID");
		res = ENROL_DENIED;
	} else {
		memcpy(id, said, sizeof said);
	}
	pki_token_close(&u);
	return res;
}

void
enrol_sweep(const struct pki_ca *ca)
{
	pki_token_sweep(pki_ca_dir(ca));
	receipt_sweep(pki_ca_dir(ca));
	pending_sweep(pki_ca_dir(ca), (int64_t)time(NULL));
}

/* -- with the certificate it has -------------------------------------------- */

struct owner {
	const struct enrol_ask *ask;
	char id[PKI_ID_MAX + 1];
};

static bool
find_owner(void *arg, const struct registry_entry *e)
{
	struct owner *o = arg;

	if (strcmp(e->kind, "device") == 0 &&
	    strcmp(e->serial, o->ask->serial) == 0 &&
	    strcmp(e->spki, o->ask->spki) == 0)
		memcpy(o->id, e->id, sizeof o->id);
	return true;
}

static enum enrol_result
judge_renewal(struct request *r, X509 **out, struct nj_why *why)
{
	struct owner o = { .ask = r->ask };
	enum enrol_result res;
	struct look l;
	int64_t life;

	if (registry_each(pki_ca_registry(r->ca), find_owner, &o, why))
		return ENROL_FAILED;
	if (!o.id[0]) {
		why_set(why,
		    "the registry knows no certificate with the serial %s",
		    r->ask->serial);
		why_mend(why, "make a token for the device: nightjar ca token");
		return ENROL_DENIED;
	}
	if (pki_csr_open(r->ask->csr, &r->csr, why))
		return ENROL_REFUSED;
	if ((res = name_it(r, o.id, why)))
		return res;
	if (fetch_again(r, r->ask->serial, out))
		return ENROL_OK;
	if ((res = look_up(r, &l, why)))
		return res;
	if (l.old.not_after + (int64_t)ENROL_GRACE_DAYS * DAY < r->now) {
		why_set(why, "its certificate ended more than %d days ago",
		    ENROL_GRACE_DAYS);
		why_mend(
		    why, "make a token for it: nightjar ca token %s", r->id);
		return ENROL_DENIED;
	}
	life = l.old.not_after - l.old.issued;
	r->days = life > DAY ? (unsigned)((life + DAY / 2) / DAY) : 1;
	return ENROL_OK;
}

enum enrol_result
enrol(struct pki_ca *ca, const struct enrol_ask *ask, X509 **out,
    char id[PKI_ID_MAX + 1], struct nj_why *why)
{
	struct request r = { .ca = ca, .ask = ask, .now = (int64_t)time(NULL) };
	enum enrol_result res;

	if (ask->token.n > 0) {
		res = by_token(&r, out, why);
	} else {
		res = judge_renewal(&r, out, why);
		if (res == ENROL_OK && !*out &&
		    issue(&r, ask->serial, out, why))
			res = ENROL_FAILED;
	}
	memcpy(id, r.id, PKI_ID_MAX + 1);
	pki_csr_fini(&r.csr);
	ERR_clear_error();
	return res;
}
