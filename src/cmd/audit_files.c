/* SPDX-License-Identifier: Apache-2.0
 * audit_files - weak certificates in files, and devices whose rules allow them
 *               everything.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/acl.h"
#include "base/text.h"
#include "cmd/audit.h"
#include "cmd/doctor.h"
#include "cmd/home.h"
#include "conf/conf.h"
#include "pki/cert.h"
#include "pki/explain.h"
#include "pki/fleet.h"

#define FOLDERS_MAX 100000

struct judged {
	struct audit *a;
	const char *path;
};

/* What the registry does not know: dates it does. */
static void
tell_weak(void *arg, const char *code, const struct nj_why *why)
{
	const struct judged *j = arg;
	struct nj_why w = *why;

	if (strncmp(code, "weak", 4) != 0 && strcmp(code, "dsa-key") != 0)
		return;
	why_prefix(&w, "%s", j->path);
	audit_say(j->a, AUDIT_FAULT, "weak", NULL, &w);
}

static void
judge_key(struct audit *a, X509 *x, const char *path)
{
	char name[TEXT_ESC], hex[65];
	uint8_t spki[32];

	if (pki_spki_sha256(x, spki))
		return;
	for (size_t i = 0; i < sizeof spki; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", spki[i]);
	pki_short_name(x, name, sizeof name);
	audit_key(a, hex, name, path);
}

static void
judge_file(struct audit *a, const char *path, enum pki_use use)
{
	struct judged j = { a, path };
	STACK_OF(X509) *chain = NULL;

	if (!path || pki_chain_load(path, &chain, NULL))
		return;
	if (use == PKI_USE_CLIENT)
		judge_key(a, sk_X509_value(chain, 0), path);
	for (int i = 0; i < sk_X509_num(chain); i++)
		pki_faults(sk_X509_value(chain, i), i ? PKI_USE_CA : use,
		    tell_weak, &j);
	sk_X509_pop_free(chain, X509_free);
}

static void
judge_devices(struct audit *a)
{
	char *home = NULL, path[4096];
	struct dirent *en;
	DIR *d = NULL;

	if (home_find(a->dir, false, &home, NULL))
		return;
	if ((size_t)snprintf(path, sizeof path, "%s/devices", home) <
	    sizeof path)
		d = opendir(path);
	for (unsigned n = 0; d && (en = readdir(d)) && n < FOLDERS_MAX; n++)
		if (en->d_name[0] != '.' &&
		    (size_t)snprintf(path, sizeof path,
			"%s/devices/%s/client.crt", home,
			en->d_name) < sizeof path)
			judge_file(a, path, PKI_USE_CLIENT);
	if (d)
		(void)closedir(d);
	free(home);
}

/* -- what they may do ---------------------------------------------------- */

/* "a,b" as "a\nb\n". */
static struct slice
lines_of(const char *groups, char dst[REGISTRY_GROUPS_MAX + 2])
{
	size_t n = strlen(groups);

	memcpy(dst, groups, n);
	for (size_t i = 0; i < n; i++)
		if (dst[i] == ',')
			dst[i] = '\n';
	if (n > 0)
		dst[n++] = '\n';
	return slice_of(dst, n);
}

/* A topic that nobody would think of allowing by itself. */
#define ANYWHERE LIT("nightjar-audit/1f0c/any/where")

static void
check_rights(struct audit *a, const struct acl *acl, const char *path,
    const struct audit_cert *c)
{
	char groups[REGISTRY_GROUPS_MAX + 2];
	struct acl_asker who = {
		.user = slice_str(c->e.id),
		.client_id = slice_str(c->e.id),
		.groups = lines_of(c->e.groups, groups),
	};
	const char *rule = NULL, *rule2 = NULL;
	bool reads = acl_covers(acl, &who, LIT("#"), &rule) == ACL_ALWAYS;
	bool writes = acl_allows(acl, &who, true, ANYWHERE, &rule2);
	struct nj_why why = { 0 };

	if (!reads && !writes)
		return;
	why_set(&why, "'%s' may %s every topic: %s", c->e.id,
	    reads && writes ? "read and write"
		: reads	    ? "read"
			    : "write",
	    reads && rule ? rule
		: rule2	  ? rule2
			  : path);
	why_mend(&why,
	    "allow it its own topics only, in %s: pattern readwrite %%u/#; "
	    "or by its groups: nightjar ca group %s GROUP",
	    path, c->e.id);
	audit_say(a, AUDIT_DOUBT, "over-privileged", c, &why);
}

static bool
newest_live(const struct audit *a, size_t i)
{
	for (size_t k = i + 1; k < a->n; k++)
		if (strcmp(a->v[k].e.id, a->v[i].e.id) == 0)
			return false;
	return audit_is(&a->v[i], "device") && audit_is_live(a, &a->v[i]);
}

static void
check_acl(struct audit *a, const char *path)
{
	struct acl *acl = NULL;
	struct nj_why why = { 0 };

	if (acl_load(path, &acl, &why)) {
		audit_say(a, AUDIT_FAULT, "acl", NULL, &why);
		return;
	}
	for (size_t i = 0; a->v && i < a->n; i++)
		if (newest_live(a, i))
			check_rights(a, acl, path, &a->v[i]);
	acl_unref(acl);
}

static void
check_listener(struct audit *a, const struct conf *c, uint32_t at)
{
	const struct conf_listener *l = &c->listeners[at];
	struct nj_why why = { 0 };

	if (l->tls) {
		judge_file(a, l->certfile, PKI_USE_SERVER);
		judge_file(a, l->cafile, PKI_USE_CA);
	}
	for (uint32_t i = 0; l->acl_file && i < at; i++)
		if (c->listeners[i].acl_file &&
		    strcmp(c->listeners[i].acl_file, l->acl_file) == 0)
			return;
	if (l->acl_file) {
		check_acl(a, l->acl_file);
		return;
	}
	/* Without a listener line there are two of one port, for both families. */
	for (uint32_t i = 0; i < at; i++)
		if (c->listeners[i].port == l->port &&
		    !c->listeners[i].acl_file)
			return;
	why_set(&why,
	    "port %u has no acl_file: every client may read and write every "
	    "topic",
	    l->port);
	why_mend(&why, "acl_file PATH, with the line: pattern readwrite %%u/#");
	audit_say(a, AUDIT_DOUBT, "over-privileged", NULL, &why);
}

void
audit_files(struct audit *a)
{
	struct conf_report report = { 0 };
	char *path = doctor_find_conf(a->ask.conf);
	struct conf c;

	judge_devices(a);
	if (!path)
		return;
	if (conf_load(path, NULL, &c, &report) != NJ_NOMEM) {
		for (uint32_t i = 0; i < c.nlisteners; i++)
			check_listener(a, &c, i);
		conf_free(&c);
	}
	conf_report_free(&report);
	free(path);
}
