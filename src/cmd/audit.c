/* SPDX-License-Identifier: Apache-2.0
 * nightjar audit: certificates and devices that somebody should look at.
 */
#include "cmd/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/home.h"
#include "pki/ca.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define DAY	 86400

static const char *const levels[] = {
	[AUDIT_DOUBT] = "doubt", [AUDIT_FAULT] = "WRONG"
};
static const char *const json_levels[] = {
	[AUDIT_DOUBT] = "doubt", [AUDIT_FAULT] = "fault"
};

void
audit_say(struct audit *a, enum audit_level l, const char *code,
    const struct audit_cert *c, const struct nj_why *why)
{
	json_t *o;

	a->count[l]++;
	if (!a->ask.json) {
		printf("%s  %-16s %s\n", levels[l], code, why->what);
		if (why->mend[0])
			printf("%-23s to mend it: %s\n", "", why->mend);
		return;
	}
	o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "level", json_levels[l],
	    "code", code, "id", c ? c->e.id : "", "serial",
	    c ? c->e.serial : "", "what", why->what, "mend", why->mend);
	if (o)
		(void)json_array_append_new(a->findings, o);
}

bool
audit_is(const struct audit_cert *c, const char *kind)
{
	return strcmp(c->e.kind, kind) == 0;
}

bool
audit_is_live(const struct audit *a, const struct audit_cert *c)
{
	return !c->revoked && c->e.not_after > a->now;
}

/* -- the registry -------------------------------------------------------- */

static bool
take_entry(void *arg, const struct registry_entry *e)
{
	struct audit *a = arg;

	if (strcmp(e->kind, "revoked") == 0) {
		for (size_t i = 0; i < a->n; i++)
			if (strcmp(a->v[i].e.serial, e->serial) == 0)
				a->v[i].revoked = true;
		return true;
	}
	if (strcmp(e->kind, "groups") == 0) {
		for (size_t i = 0; i < a->n; i++)
			if (strcmp(a->v[i].e.id, e->id) == 0)
				memcpy(a->v[i].e.groups, e->groups,
				    sizeof e->groups);
		return true;
	}
	if (strlen(e->serial) == 0)
		return true;
	if (a->n == a->cap) {
		size_t cap = a->cap ? 2 * a->cap : 64;
		struct audit_cert *v = realloc(a->v, cap * sizeof *v);

		if (!v)
			return false;
		a->v = v;
		a->cap = cap;
	}
	a->v[a->n++] = (struct audit_cert){ .e = *e };
	return true;
}

/* The newest of its kind and name: older ones need not be told of. */
static bool
is_newest(const struct audit *a, size_t i)
{
	for (size_t k = i + 1; k < a->n; k++)
		if (strcmp(a->v[k].e.id, a->v[i].e.id) == 0 &&
		    strcmp(a->v[k].e.kind, a->v[i].e.kind) == 0)
			return false;
	return true;
}

static void
mend_ending(const struct audit_cert *c, struct nj_why *why)
{
	if (audit_is(c, "device"))
		why_mend(why, "nightjar ca device %s --again", c->e.id);
	else if (audit_is(c, "server"))
		why_mend(why, "nightjar ca server");
	else
		why_mend(why,
		    "nightjar ca init in a new folder, and give "
		    "devices both ca.crt meanwhile");
}

static void
check_ending(struct audit *a, const struct audit_cert *c)
{
	int64_t left = c->e.not_after - a->now;
	struct nj_why why = { 0 };

	if (c->revoked || left > (int64_t)a->expiring_days * DAY)
		return;
	if (left <= 0) {
		why_set(&why,
		    "the certificate of the %s '%s' ended %lld days "
		    "ago",
		    c->e.kind, c->e.id, (long long)(-left / DAY));
		mend_ending(c, &why);
		audit_say(a, audit_is(c, "device") ? AUDIT_DOUBT : AUDIT_FAULT,
		    "expired", c, &why);
		return;
	}
	why_set(&why, "the certificate of the %s '%s' ends in %lld days",
	    c->e.kind, c->e.id, (long long)(left / DAY));
	mend_ending(c, &why);
	audit_say(a, AUDIT_DOUBT, "expiring", c, &why);
}

static int
by_key(const void *x, const void *y)
{
	const struct audit_cert *const *a = x, *const *b = y;
	int d = strcmp((*a)->e.spki, (*b)->e.spki);

	return d ? d : strcmp((*a)->e.id, (*b)->e.id);
}

static int
by_name(const void *x, const void *y)
{
	const struct audit_cert *const *a = x, *const *b = y;
	int d = strcmp((*a)->e.kind, (*b)->e.kind);

	if (!d)
		d = strcmp((*a)->e.id, (*b)->e.id);
	return d ? d
		 : ((*a)->e.issued > (*b)->e.issued) -
		((*a)->e.issued < (*b)->e.issued);
}

static void
say_shared(
    struct audit *a, const struct audit_cert *x, const struct audit_cert *y)
{
	struct nj_why why = { 0 };

	why_set(&why,
	    "'%s' and '%s' have the same key: what one of them loses, both "
	    "have lost",
	    x->e.id, y->e.id);
	why_mend(&why, "nightjar ca device %s --again, on the device", y->e.id);
	audit_say(a, AUDIT_FAULT, "shared-key", y, &why);
}

void
audit_key(struct audit *a, const char *spki, const char *who, const char *where)
{
	struct nj_why why = { 0 };

	for (size_t i = 0; spki[0] && i < a->n; i++) {
		const struct audit_cert *c = &a->v[i];

		if (strcmp(c->e.spki, spki) != 0 || strcmp(c->e.id, who) == 0 ||
		    !audit_is(c, "device") || !audit_is_live(a, c))
			continue;
		why_set(&why,
		    "a certificate of '%s' (%s) has the key of '%s': what one "
		    "of them loses, both have lost",
		    who, where, c->e.id);
		why_mend(&why,
		    "give each its own: nightjar ca device %s --again, on the "
		    "device",
		    c->e.id);
		audit_say(a, AUDIT_FAULT, "shared-key", c, &why);
		return;
	}
}

static void
say_duplicate(
    struct audit *a, const struct audit_cert *x, const struct audit_cert *y)
{
	struct nj_why why = { 0 };

	why_set(&why,
	    "'%s' has more than one certificate that opens the door: %.16s... "
	    "is older than %.16s...",
	    y->e.id, x->e.serial, y->e.serial);
	why_mend(&why, "once the new one is in use: nightjar ca revoke %s",
	    x->e.serial);
	audit_say(a, AUDIT_DOUBT, "duplicate", x, &why);
}

/* Neighbours once they are sorted. */
static void
check_pairs(struct audit *a)
{
	struct audit_cert **p = calloc(a->n + 1, sizeof *p);
	size_t n = 0;

	if (!p)
		return;
	for (size_t i = 0; i < a->n; i++)
		if (audit_is(&a->v[i], "device") && audit_is_live(a, &a->v[i]))
			p[n++] = &a->v[i];
	qsort(p, n, sizeof *p, by_key);
	for (size_t i = 1; i < n; i++)
		if (strcmp(p[i - 1]->e.spki, p[i]->e.spki) == 0 &&
		    strcmp(p[i - 1]->e.id, p[i]->e.id) != 0)
			say_shared(a, p[i - 1], p[i]);
	qsort(p, n, sizeof *p, by_name);
	for (size_t i = 1; i < n; i++)
		if (strcmp(p[i - 1]->e.id, p[i]->e.id) == 0)
			say_duplicate(a, p[i - 1], p[i]);
	free(p);
}

static void
check_unused(struct audit *a, const struct audit_cert *c)
{
	int64_t age = (a->now - c->e.issued) / DAY;
	struct nj_why why = { 0 };

	if (!a->live || c->seen || !audit_is(c, "device") ||
	    !audit_is_live(a, c) || age < a->unused_days)
		return;
	why_set(&why,
	    "'%s' has had a certificate for %lld days, and the broker has "
	    "neither a connection nor a session of it",
	    c->e.id, (long long)age);
	why_mend(
	    &why, "where it is gone for good: nightjar ca revoke %s", c->e.id);
	audit_say(a, AUDIT_DOUBT, "unused", c, &why);
}

/* -- all of it ----------------------------------------------------------- */

/* The broker of a folder that was named is the one 'nightjar up' made there,
 * and none of the usual places. */
static char *
conf_beside(const struct audit *a, const char *dir)
{
	char *path = NULL;

	if (!a->dir || a->ask.conf || !(path = pki_path(dir, "nightjar.conf")))
		return NULL;
	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

static enum nj_err
read_registry(struct audit *a, char **conf, struct nj_why *why)
{
	struct pki_ca *ca = NULL;
	char *dir = NULL;
	enum nj_err e;

	if ((e = home_find(a->dir, false, &dir, why)))
		return e;
	if ((*conf = conf_beside(a, dir)))
		a->ask.conf = *conf;
	if (!(e = pki_ca_open(dir, &ca, why)))
		e = registry_each(pki_ca_registry(ca), take_entry, a, why);
	pki_ca_free(ca);
	free(dir);
	return e;
}

static void
examine(struct audit *a)
{
	audit_clients(a);
	for (size_t i = 0; i < a->n; i++)
		if (is_newest(a, i)) {
			check_ending(a, &a->v[i]);
			check_unused(a, &a->v[i]);
		}
	check_pairs(a);
	audit_files(a);
}

static void
summary(const struct audit *a)
{
	size_t devices = 0;

	for (size_t i = 0; i < a->n; i++)
		devices += audit_is(&a->v[i], "device");
	if (a->ask.json) {
		json_t *o = json_pack("{s:O, s:I, s:I, s:I, s:b}", "findings",
		    a->findings, "certificates", (json_int_t)a->n, "devices",
		    (json_int_t)devices, "clients", (json_int_t)a->clients,
		    "broker_asked", a->live);

		ask_print_json(o);
		json_decref(o);
		return;
	}
	printf("%zu certificates, %zu of them of devices; ", a->n, devices);
	if (a->live)
		printf("%zu clients and sessions.\n", a->clients);
	else
		printf("no broker could be asked who is connected.\n");
	if (a->count[AUDIT_FAULT] + a->count[AUDIT_DOUBT] == 0)
		printf("Nothing needs to be looked at.\n");
	else
		printf("%u wrong, %u doubtful.\n", a->count[AUDIT_FAULT],
		    a->count[AUDIT_DOUBT]);
}

int
cmd_audit(int argc, char **argv)
{
	struct audit a = {
		.expiring_days = 30,
		.unused_days = 30,
		.now = (int64_t)time(NULL),
	};
	const struct flag flags[] = {
		{ "dir", 0, FLAG_TEXT, &a.dir, "DIR", "the folder of the CA", 0,
		    0 },
		{ "expiring", 0, FLAG_NUMBER, &a.expiring_days, "DAYS",
		    "tell what ends within so many days (30)", 0,
		    PKI_DAYS_MAX },
		{ "unused", 0, FLAG_NUMBER, &a.unused_days, "DAYS",
		    "and devices that have had a certificate for so long and "
		    "are not to be seen (30)",
		    0, PKI_DAYS_MAX },
		ASK_FLAGS(&a.ask),
	};
	struct nj_why why = { 0 };
	char *conf = NULL;
	enum nj_err e =
	    flags_parse(flags, COUNT(flags), argc, argv, NULL, &why);

	if (e == NJ_EOF) {
		printf("nightjar audit [options]: certificates and devices "
		       "that somebody should look at:\nexpiring, weak, shared, "
		       "duplicate, unused, revoked and yet connected, allowed "
		       "too much\n\n");
		flags_help(flags, COUNT(flags));
		return EXIT_FINE;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	if (!(a.findings = json_array()) ||
	    (e = read_registry(&a, &conf, &why))) {
		say_why(&why, e);
		a.count[AUDIT_FAULT]++;
	} else {
		examine(&a);
		summary(&a);
	}
	json_decref(a.findings);
	free(conf);
	free(a.v);
	return a.count[AUDIT_FAULT] ? EXIT_FAILED : EXIT_FINE;
}
