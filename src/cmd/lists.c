/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/lists.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "auth/device_groups.h"
#include "base/file.h"
#include "base/filewatch.h"
#include "base/log.h"
#include "net/tls.h"
#include "pki/ca.h"

#define ALARM_EVERY_S 86400 /* about a list that nobody renews */

struct lists {
	struct filewatch *watch;
	time_t alarmed; /* the last time */
	uint64_t certs; /* what they looked like */
};

/* DIR/rest for a cafile DIR/pki/ca.crt. */
static char *
beside_ca(const struct conf_listener *l, const char *rest)
{
	static const char tail[] = "/pki/ca.crt";
	char *real = l->cafile ? realpath(l->cafile, NULL) : NULL;
	size_t n;
	char *own;

	/* without the right to look there any more, the name has to do */
	if (!real && !(real = l->cafile ? strdup(l->cafile) : NULL))
		return NULL;
	n = strlen(real);
	if (n < sizeof tail - 1 ||
	    strcmp(real + n - (sizeof tail - 1), tail) != 0) {
		free(real);
		return NULL;
	}
	real[n - (sizeof tail - 1)] = '\0';
	own = pki_path(real, rest);
	free(real);
	return own;
}

char *
lists_own(const struct conf_listener *l)
{
	return beside_ca(l, "crl/ca.crl");
}

char *
lists_groups(const struct conf_listener *l)
{
	return beside_ca(l, "groups");
}

static void
watch_file(struct lists *l, const char *path)
{
	if (path && filewatch_add(l->watch, path))
		nj_log(LOG_T_WARNING,
		    "Warning: %s is not watched; after a change the broker "
		    "needs a SIGHUP.",
		    path);
}

/* Words and lines of paths, as further_certificate has them. */
static void
each_path(const char *text, void (*fn)(void *arg, const char *path), void *arg)
{
	char *copy = text ? strdup(text) : NULL, *rest = NULL;

	for (char *p = copy ? strtok_r(copy, " \t\n", &rest) : NULL; p;
	     p = strtok_r(NULL, " \t\n", &rest))
		fn(arg, p);
	free(copy);
}

static void
watch_one(void *arg, const char *path)
{
	watch_file(arg, path);
}

static void
watch_further(struct lists *l, const char *text)
{
	each_path(text, watch_one, l);
}

/* FNV-1a: nobody chooses these to collide. */
static void
add_look(void *arg, const char *path)
{
	struct stat st = { 0 };
	uint64_t v[4], *h = arg;

	if (!path)
		return;
	(void)file_stat(path, &st);
	v[0] = (uint64_t)st.st_ino;
	v[1] = (uint64_t)st.st_size;
	v[2] = (uint64_t)st.st_mtim.tv_sec;
	v[3] = (uint64_t)st.st_mtim.tv_nsec;
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
		*h = (*h ^ v[i]) * 0x100000001b3ULL;
}

bool
lists_certs_changed(struct lists *l, const struct conf *c)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	bool changed;

	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *x = &c->listeners[i];

		if (!x->tls)
			continue;
		add_look(&h, x->certfile);
		add_look(&h, x->keyfile);
		add_look(&h, x->cafile);
		each_path(x->further_certificate, add_look, &h);
	}
	changed = l->certs != 0 && l->certs != h;
	l->certs = h;
	return changed;
}

void
lists_watch_more(struct lists *l, const struct conf *c)
{
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		char *own = lists_own(&c->listeners[i]);
		char *groups = lists_groups(&c->listeners[i]);

		if (c->listeners[i].tls) {
			watch_file(l, c->listeners[i].crlfile);
			watch_file(l, c->listeners[i].certfile);
			watch_file(l, c->listeners[i].keyfile);
			watch_file(l, c->listeners[i].cafile);
			watch_further(l, c->listeners[i].further_certificate);
			watch_file(l, own);
			watch_file(l, groups);
		}
		free(groups);
		free(own);
	}
}

enum nj_err
lists_watch(
    const struct conf *c, int sig, struct lists **out, struct nj_why *why)
{
	struct lists *l = calloc(1, sizeof *l);
	enum nj_err e;

	if (!l)
		return NJ_NOMEM;
	if ((e = filewatch_new(sig, &l->watch, why))) {
		lists_free(l);
		return e;
	}
	lists_watch_more(l, c);
	(void)lists_certs_changed(l, c);
	*out = l;
	return NJ_OK;
}

void
lists_free(struct lists *l)
{
	if (!l)
		return;
	filewatch_free(l->watch);
	free(l);
}

static void
alarm_if_stale(struct lists *l, const struct port_opts *ports, size_t n)
{
	time_t now = time(NULL);
	bool stale = false;

	for (size_t i = 0; i < n; i++)
		stale |= ports[i].tls && tls_server_list_is_stale(ports[i].tls);
	if (!stale || (l->alarmed && now - l->alarmed < ALARM_EVERY_S))
		return;
	l->alarmed = now;
	nj_log(LOG_T_WARNING,
	    "Warning: the CA's list of revoked certificates has passed its "
	    "date. This broker goes on with it; other programs may refuse "
	    "everybody. To mend it: nightjar ca crl");
}

/* Without words where nothing changed. */
static bool
renew_groups(const struct port_opts *port)
{
	struct nj_why why = { 0 };
	bool changed = false;

	if (port->groups && device_groups_renew(port->groups, &changed, &why))
		nj_log(LOG_T_ERROR,
		    "Devices stay in the groups they are in: "
		    "%s%s%s",
		    why.what, why.mend[0] ? ". " : "", why.mend);
	return changed;
}

void
lists_renew(
    struct lists *l, struct broker *b, const struct port_opts *ports, size_t n)
{
	bool any = false, regrouped = false;

	if (filewatch_changed(l->watch))
		for (size_t i = 0; i < n; i++) {
			struct nj_why why = { 0 };
			bool changed = false;

			regrouped |= renew_groups(&ports[i]);
			if (!ports[i].tls)
				continue;
			if (tls_server_renew_lists(
				ports[i].tls, &changed, &why))
				nj_log(LOG_T_ERROR,
				    "The revocation lists stay as they were: "
				    "%s%s%s",
				    why.what, why.mend[0] ? ". " : "",
				    why.mend);
			any |= changed;
		}
	if (any)
		nj_log(LOG_T_INFORMATION,
		    "New list of revoked certificates: who uses one of them "
		    "is disconnected.");
	if (regrouped)
		nj_log(LOG_T_INFORMATION,
		    "Devices have other groups: topic rules follow.");
	if (any || regrouped)
		broker_recheck(b);
	alarm_if_stale(l, ports, n);
}
