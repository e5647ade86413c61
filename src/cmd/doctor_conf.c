/* SPDX-License-Identifier: Apache-2.0
 * doctor_conf - the configuration of the broker of this machine: what would
 *               keep it from starting, what is unsafe, what ends soon.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/doctor.h"
#include "cmd/home.h"
#include "cmd/testconfig.h"
#include "conf/check.h"
#include "net/portowner.h"
#include "pki/cert.h"
#include "pki/explain.h"
#include "pki/key.h"
#include "pki/names.h"

static const char *const usual[] = { "/etc/nightjar/nightjar.conf",
	"/etc/mosquitto/mosquitto.conf" };

char *
doctor_find_conf(const char *given)
{
	char *home = NULL, *path = NULL;

	if (given)
		return strdup(given);
	if (home_find(NULL, false, &home, NULL) == NJ_OK &&
	    asprintf(&path, "%s/nightjar.conf", home) < 0)
		path = NULL;
	free(home);
	if (path && access(path, F_OK) == 0)
		return path;
	free(path);
	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
		if (access(usual[i], F_OK) == 0)
			return strdup(usual[i]);
	return NULL;
}

static void
say_report(struct doctor *d, const struct conf_report *r)
{
	char line[1024];

	for (uint32_t i = 0; i < r->n; i++) {
		const struct conf_finding *f = &r->v[i];
		struct nj_why why = { 0 };
		char *mend;

		(void)conf_finding_text(f, line, sizeof line);
		/* What mends it has a line of its own here. */
		if (f->mend && (mend = strstr(line, "Mend: ")))
			mend[mend > line ? -1 : 0] = '\0';
		why_set(&why, "%s", line);
		if (f->mend)
			why_mend(&why, "%s", f->mend);
		doctor_say(d, f->fault ? DOC_FAIL : DOC_DOUBT, SIDE_BROKER,
		    "configuration", &why);
	}
}

static void
check_openness(struct doctor *d, const struct conf_listener *l)
{
	struct nj_why why = { 0 };

	if (conf_is_local(l))
		return;
	if (!l->tls && !l->proxy_protocol) {
		why_set(&why,
		    "port %u is open to the network without TLS: who listens "
		    "reads passwords and messages",
		    l->port);
		why_mend(&why,
		    "nightjar ca server, then its 'certfile' and 'keyfile' "
		    "lines below 'listener %u'; or 'listener %u localhost'",
		    l->port, l->port);
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "listener", &why);
	}
	if (l->allow_anonymous && !l->require_certificate) {
		why_set(&why,
		    "port %u lets everybody in from the network "
		    "(allow_anonymous true)",
		    l->port);
		why_mend(&why,
		    "allow_anonymous false, and password_file, or "
		    "require_certificate true with cafile");
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "listener", &why);
	}
	if (l->require_certificate && !l->cert_names && !l->password_file &&
	    l->allow_anonymous) {
		why_set(&why,
		    "port %u requires certificates and does not look whose "
		    "they are",
		    l->port);
		why_mend(&why, "use_identity_as_username true");
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "listener", &why);
	}
}

/* A CA's key beside its certificate, as when a whole folder was copied. */
static void
check_ca_key(struct doctor *d, const struct conf_listener *l)
{
	struct nj_why why = { 0 };
	const char *dot = l->cafile ? strrchr(l->cafile, '.') : NULL;
	char *path = NULL;

	if (!dot || strchr(dot, '/') ||
	    asprintf(&path, "%.*s.key", (int)(dot - l->cafile), l->cafile) < 0)
		return;
	if (access(path, F_OK) == 0 && !pki_key_is_encrypted(path)) {
		why_set(&why,
		    "the CA's private key lies beside its certificate, not "
		    "encrypted (%s): who gets into the broker can make "
		    "certificates for everybody",
		    path);
		why_mend(&why,
		    "move it to another machine or a medium: the broker needs "
		    "only %s",
		    l->cafile);
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "CA key", &why);
	}
	free(path);
}

/* The names by which clients will call this machine. */
static void
check_names(struct doctor *d, const struct conf_listener *l)
{
	struct pki_names *names = calloc(1, sizeof *names);
	STACK_OF(X509) *chain = NULL;
	struct nj_why why = { 0 };
	char missing[256] = "", has[256];
	unsigned fit = 0;
	size_t n = 0;

	if (!names || !l->certfile ||
	    pki_chain_load(l->certfile, &chain, NULL)) {
		free(names);
		return;
	}
	pki_names_collect(names);
	for (unsigned i = 0; i < names->n; i++) {
		const char *name = names->v[i].text;

		if (pki_matches_host(sk_X509_value(chain, 0), name))
			fit++;
		else if (n + strlen(name) + 3 < sizeof missing)
			n += (size_t)snprintf(missing + n, sizeof missing - n,
			    "%s%s", n ? ", " : "", name);
	}
	pki_names_text(sk_X509_value(chain, 0), has, sizeof has);
	if (fit == 0 && names->n > 0) {
		why_set(&why,
		    "the certificate of port %u is valid for %s, and this "
		    "machine is called %s",
		    l->port, has[0] ? has : "no name", missing);
		why_mend(&why, "nightjar ca server makes one with all names");
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "names", &why);
	} else {
		doctor_fine(d, "names", "port %u: clients may connect to %s",
		    l->port, has);
	}
	sk_X509_pop_free(chain, X509_free);
	free(names);
}

static void
check_running(struct doctor *d, const struct conf *c)
{
	struct nj_why why = { 0 }, asked = { 0 };
	const struct conf_listener *l = &c->listeners[0];
	char owner[128];
	json_t *r = NULL;

	if (ask(&d->ask, "status", NULL, &r, &asked) == NJ_OK) {
		doctor_fine(d, "broker", "it runs: process %lld",
		    ask_number(r, "process"));
		json_decref(r);
		return;
	}
	if (l->port && port_owner(l->port, owner, sizeof owner))
		why_set(&why,
		    "port %u is served by %s, which could not be "
		    "asked: %s",
		    l->port, owner, asked.what);
	else
		why_set(&why,
		    "no broker of this configuration runs, or it "
		    "could not be asked: %s",
		    asked.what);
	why_mend(&why, "%s", asked.mend);
	doctor_say(d, DOC_NOTE, SIDE_NONE, "broker", &why);
}

/* How many there are of late; --last tells them. */
static void
check_refused(struct doctor *d)
{
	json_t *r = NULL, *list;
	struct nj_why why = { 0 };
	char what[400];

	if (ask(&d->ask, "refused", NULL, &r, NULL))
		return;
	list = json_object_get(r, "refused");
	if (json_array_size(list) > 0) {
		why_set(&why,
		    "%zu kinds of failed attempts to connect, the "
		    "latest: %s",
		    json_array_size(list),
		    ask_text(
			json_array_get(list, 0), "what", what, sizeof what));
		why_mend(&why, "nightjar doctor --last tells them all");
		doctor_say(d, DOC_NOTE, SIDE_NONE, "its record", &why);
	}
	json_decref(r);
}

void
doctor_conf(struct doctor *d)
{
	struct conf_report report = { 0 };
	struct nj_why why = { 0 };
	char *path = doctor_find_conf(d->ask.conf);
	struct conf_checkers with;
	struct conf c;
	enum nj_err e;

	if (!path) {
		why_set(&why, "no configuration of a broker was found here");
		why_mend(&why,
		    "say which: nightjar doctor -c FILE; for a "
		    "broker elsewhere: nightjar doctor HOST:PORT");
		doctor_say(d, DOC_FAIL, SIDE_NONE, "configuration", &why);
		return;
	}
	if (!d->ask.conf)
		d->ask.conf = path;
	e = conf_load(path, NULL, &c, &report);
	if (e == NJ_NOMEM)
		goto out;
	with = config_checkers(&c);
	conf_check(&c, &with, &report);
	say_report(d, &report);
	if (report.faults == 0)
		doctor_fine(d, "configuration", "%s can be served", path);
	for (uint32_t i = 0; i < c.nlisteners; i++) {
		check_openness(d, &c.listeners[i]);
		check_ca_key(d, &c.listeners[i]);
		if (c.listeners[i].tls)
			check_names(d, &c.listeners[i]);
	}
	check_running(d, &c);
	check_refused(d);
	conf_free(&c);
out:
	conf_report_free(&report);
	if (d->ask.conf == path)
		d->ask.conf = NULL;
	free(path);
}
