/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/issue.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "pki/explain.h"
#include "pki/key.h"

#define DAY	       86400
#define NAMES_FILE_MAX 65536
#define SERVER_KEY     "server/server.key"
#define SERVER_CRT     "server/server.crt"
#define RSA_KEY	       "server/server-rsa.key"
#define RSA_CRT	       "server/server-rsa.crt"
#define RSA_BITS       2048 /* a handshake with 3072 costs four times that */

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* A folder whose keys are its owner's alone. */
static enum nj_err
private_folder(const char *path, struct nj_why *why)
{
	enum nj_err e = file_mkdir(path, 0700, why);

	if (!e && chmod(path, 0700) != 0) {
		why_set(why, "cannot close '%s' to other users: %s", path,
		    strerror(errno));
		e = NJ_IO;
	}
	return e;
}

/* The key at path, or a new one stored there. */
static enum nj_err
key_at(const char *path, const struct secret *pass, EVP_PKEY **out,
    struct nj_why *why)
{
	EVP_PKEY *key = NULL;
	enum nj_err e;

	if (exists(path))
		return pki_key_load(path, pass, true, out, why);
	if ((e = pki_key_new_p256(&key)))
		return e;
	if ((e = pki_key_store(path, key, pass, why))) {
		EVP_PKEY_free(key);
		return e;
	}
	*out = key;
	return NJ_OK;
}

/*
 * The server.
 */

enum nj_err
pki_server_extra(const char *dir, struct pki_names *s, struct nj_why *why)
{
	char *path = pki_path(dir, "server/names");
	struct buf text = { 0 };
	char *line, *rest = NULL;
	enum nj_err e = NJ_NOMEM;

	if (!path)
		return NJ_NOMEM;
	if (!exists(path)) {
		e = NJ_OK;
		goto out;
	}
	if ((e = file_read(path, NAMES_FILE_MAX, &text, why)) ||
	    (e = buf_put_u8(&text, '\0')))
		goto out;
	for (line = strtok_r((char *)text.p, "\r\n", &rest); line && !e;
	     line = strtok_r(NULL, "\r\n", &rest)) {
		if ((e = pki_names_add(s, line, why)))
			why_prefix(why, "%s", path);
	}
out:
	buf_fini(&text);
	free(path);
	return e;
}

enum nj_err
pki_server_set_extra(
    const char *dir, const struct pki_names *s, struct nj_why *why)
{
	char *folder = pki_path(dir, "server");
	char *path = pki_path(dir, "server/names");
	struct buf text = { 0 };
	enum nj_err e = NJ_NOMEM;

	if (!folder || !path)
		goto out;
	e = private_folder(folder, why);
	for (unsigned i = 0; !e && i < s->n; i++)
		e = buf_printf(&text, "%s\n", s->v[i].text);
	if (!e)
		e = file_write(path, buf_slice(&text), 0644, why);
out:
	buf_fini(&text);
	free(path);
	free(folder);
	return e;
}

/* The first certificate of DIR/server/server.crt, or NULL. */
static X509 *
server_cert(const char *dir)
{
	char *path = pki_path(dir, SERVER_CRT);
	STACK_OF(X509) *chain = NULL;
	X509 *x = NULL;

	if (path && pki_chain_load(path, &chain, NULL) == NJ_OK)
		x = sk_X509_shift(chain);
	sk_X509_pop_free(chain, X509_free);
	free(path);
	return x;
}

void
pki_server_names(const char *dir, struct pki_names *out)
{
	X509 *x = server_cert(dir);

	out->n = 0;
	if (x)
		pki_names_of(x, out);
	X509_free(x);
}

static bool
names_differ(X509 *x, const struct pki_names *want, char *reason, size_t size)
{
	struct pki_names have;

	pki_names_of(x, &have);
	for (unsigned i = 0; i < want->n; i++) {
		if (pki_names_has(&have, want->v[i].text))
			continue;
		(void)snprintf(reason, size, "the %s %s is new",
		    want->v[i].ip ? "address" : "name", want->v[i].text);
		return true;
	}
	/* A name may be missing only because DNS did not answer just now; an
	 * address that is gone may be another machine's tomorrow. */
	for (unsigned i = 0; i < have.n; i++) {
		if (!have.v[i].ip || pki_names_has(want, have.v[i].text))
			continue;
		(void)snprintf(reason, size,
		    "the address %s is no longer this machine's",
		    have.v[i].text);
		return true;
	}
	return false;
}

static bool
is_key_at(X509 *x, const char *dir, const char *name)
{
	char *path = pki_path(dir, name);
	EVP_PKEY *key = NULL;
	bool is;

	is = path && pki_key_load(path, NULL, false, &key, NULL) == NJ_OK &&
	    X509_check_private_key(x, key) == 1;
	ERR_clear_error();
	EVP_PKEY_free(key);
	free(path);
	return is;
}

static bool
is_our_pair(const struct pki_ca *ca, X509 *x)
{
	return pki_ca_issues_now(ca, x) &&
	    is_key_at(x, pki_ca_dir(ca), SERVER_KEY);
}

static bool
is_old(X509 *x, int64_t now)
{
	int64_t from, to;

	if (!pki_cert_dates(x, &from, &to))
		return true;
	return now < from || now >= from + (to - from) / 3 * 2;
}

bool
pki_server_due(const struct pki_ca *ca, const struct pki_names *names,
    char *reason, size_t size)
{
	X509 *x = server_cert(pki_ca_dir(ca));
	bool due = true;

	if (!x)
		(void)snprintf(reason, size, "there is none yet");
	else if (!is_our_pair(ca, x))
		(void)snprintf(reason, size,
		    "it does not belong to its key or to this CA");
	else if (is_old(x, (int64_t)time(NULL)))
		(void)snprintf(
		    reason, size, "two thirds of its lifetime are over");
	else
		due = names_differ(x, names, reason, size);
	X509_free(x);
	return due;
}

/* A clock that has not been set yet (no battery, no network) shall make none.
 * One that ends with its CA would be no longer good than this. */
static bool
is_worn(const struct pki_ca *ca, X509 *x, int64_t now)
{
	int64_t from, to, ca_from, ca_to;

	return pki_cert_dates(x, &from, &to) &&
	    pki_cert_dates(pki_ca_issuer(ca), &ca_from, &ca_to) &&
	    now >= from && now < ca_to && is_old(x, now) && to < ca_to;
}

/* Behind it is what is to be sent now; below a root that issues itself what is
 * there beyond that does no harm. */
static bool
is_chained(const struct pki_ca *ca)
{
	const STACK_OF(X509) *want = pki_ca_server_chain(ca);
	char *path = pki_path(pki_ca_dir(ca), SERVER_CRT);
	STACK_OF(X509) *have = NULL;
	bool same = true;

	if (pki_ca_issuer(ca) != pki_ca_root(ca) && path &&
	    pki_chain_load(path, &have, NULL) == NJ_OK) {
		same = sk_X509_num(have) == sk_X509_num(want) + 1;
		for (int i = 0; same && i < sk_X509_num(want); i++)
			same = X509_cmp(sk_X509_value(have, i + 1),
				   sk_X509_value(want, i)) == 0;
	}
	sk_X509_pop_free(have, X509_free);
	free(path);
	return same;
}

bool
pki_server_needs(const struct pki_ca *ca, const struct pki_names *names,
    int64_t now, char *reason, size_t size)
{
	const char *dir = pki_ca_dir(ca);
	X509 *x = server_cert(dir);
	int64_t from, to;
	bool needs = false;

	/* What somebody else put there is his. */
	if (!x || !pki_ca_issued(ca, x) || !is_key_at(x, dir, SERVER_KEY) ||
	    !pki_cert_dates(x, &from, &to) || now < from) {
		X509_free(x);
		return false;
	}
	if (!pki_ca_issues_now(ca, x)) {
		needs = true;
		(void)snprintf(reason, size, "the CA has a successor");
	} else if (!is_chained(ca)) {
		needs = true;
		(void)snprintf(reason, size, "the way to its root is another");
	} else if (is_worn(ca, x, now)) {
		needs = true;
		(void)snprintf(
		    reason, size, "two thirds of its lifetime are over");
	} else {
		needs = names_differ(x, names, reason, size);
	}
	X509_free(x);
	return needs;
}

/* What the registry and the subject call the server: its first name that is
 * one, cut to what a common name holds. */
static void
server_id(const struct pki_names *names, char dst[PKI_ID_MAX + 1])
{
	const char *name = names->n ? names->v[0].text : "server";

	for (unsigned i = 0; i < names->n; i++) {
		if (!names->v[i].ip) {
			name = names->v[i].text;
			break;
		}
	}
	(void)snprintf(dst, PKI_ID_MAX + 1, "%.*s", PKI_ID_MAX, name);
}

static enum nj_err
issue_pair(struct pki_ca *ca, const struct pki_names *names, unsigned days,
    int64_t now, const char *key_name, const char *crt_name, struct nj_why *why)
{
	const char *dir = pki_ca_dir(ca);
	char *key_path = pki_path(dir, key_name);
	char *crt = pki_path(dir, crt_name);
	struct pki_cert_spec spec = { .profile = PKI_SERVER,
		.names = names,
		.now = now,
		.days = days ? days : PKI_SERVER_DAYS };
	char id[PKI_ID_MAX + 1];
	EVP_PKEY *key = NULL;
	X509 *x = NULL;
	enum nj_err e = NJ_NOMEM;

	if (!key_path || !crt)
		goto out;
	if ((e = key_at(key_path, NULL, &key, why)))
		goto out;
	server_id(names, id);
	spec.key = key;
	spec.cn = id;
	if ((e = pki_ca_issue(ca, &spec, id, &x, why)))
		goto out;
	e = pki_chain_store(crt, x, pki_ca_server_chain(ca), 0644, why);
out:
	X509_free(x);
	EVP_PKEY_free(key);
	free(crt);
	free(key_path);
	return e;
}

static enum nj_err
rechain(const struct pki_ca *ca, const char *name, struct nj_why *why)
{
	char *path = pki_path(pki_ca_dir(ca), name);
	STACK_OF(X509) *have = NULL;
	enum nj_err e = path ? NJ_OK : NJ_NOMEM;

	if (!e && exists(path) && !(e = pki_chain_load(path, &have, why)) &&
	    pki_ca_issues_now(ca, sk_X509_value(have, 0)))
		e = pki_chain_store(path, sk_X509_value(have, 0),
		    pki_ca_server_chain(ca), 0644, why);
	sk_X509_pop_free(have, X509_free);
	free(path);
	return e;
}

enum nj_err
pki_server_rechain(const struct pki_ca *ca, struct nj_why *why)
{
	enum nj_err e = rechain(ca, RSA_CRT, why);

	return e ? e : rechain(ca, SERVER_CRT, why);
}

bool
pki_server_has_rsa(const char *dir)
{
	char *path = pki_path(dir, RSA_KEY);
	bool yes = path && exists(path);

	free(path);
	return yes;
}

enum nj_err
pki_server_add_rsa(const char *dir, struct nj_why *why)
{
	char *folder = pki_path(dir, "server"), *path = pki_path(dir, RSA_KEY);
	EVP_PKEY *key = NULL;
	enum nj_err e = NJ_NOMEM;

	if (folder && path && !(e = private_folder(folder, why)) &&
	    !exists(path) && !(e = pki_key_new_rsa(RSA_BITS, &key)))
		e = pki_key_store(path, key, NULL, why);
	EVP_PKEY_free(key);
	free(path);
	free(folder);
	return e;
}

static enum nj_err
issue_all(struct pki_ca *ca, const struct pki_names *names, unsigned days,
    int64_t now, struct nj_why *why)
{
	const char *dir = pki_ca_dir(ca);
	char *folder = pki_path(dir, "server");
	enum nj_err e = NJ_NOMEM;

	if (folder)
		e = private_folder(folder, why);
	free(folder);
	/* The first one last: it says whether all is done. */
	if (!e && pki_server_has_rsa(dir))
		e = issue_pair(ca, names, days, now, RSA_KEY, RSA_CRT, why);
	if (!e)
		e = issue_pair(
		    ca, names, days, now, SERVER_KEY, SERVER_CRT, why);
	return e;
}

enum nj_err
pki_server_issue(struct pki_ca *ca, const struct pki_names *names,
    unsigned days, struct nj_why *why)
{
	return issue_all(ca, names, days, 0, why);
}

enum nj_err
pki_server_renew(struct pki_ca *ca, const struct pki_names *names, int64_t now,
    struct nj_why *why)
{
	X509 *x = server_cert(pki_ca_dir(ca));
	unsigned days = PKI_SERVER_KEPT_DAYS;
	int64_t from, to;

	/* as the one before, if that was for less */
	if (x && pki_cert_dates(x, &from, &to) &&
	    to - from < (int64_t)days * DAY)
		days = to - from > DAY ? (unsigned)((to - from) / DAY) : 1;
	X509_free(x);
	return issue_all(ca, names, days, now, why);
}

/*
 * Devices.
 */

bool
pki_device_exists(const char *dir, const char *id)
{
	char *path = NULL;
	bool yes;

	if (asprintf(&path, "%s/devices/%s/client.crt", dir, id) < 0)
		return false;
	yes = exists(path);
	free(path);
	return yes;
}

enum nj_err
pki_device_issue(
    struct pki_ca *ca, const struct pki_device_opts *o, struct nj_why *why)
{
	const struct batch_item item = { .id = o->id,
		.days = o->days,
		.names = o->names,
		.groups = o->groups };
	struct batch_opts b = { .pass = o->pass,
		.again = o->again,
		.fill = o->fill,
		.arg = o->arg };
	struct batch_result result;
	char *devices = NULL;
	enum nj_err e;

	if ((e = pki_check_id(o->id, why)))
		return e;
	if (!(devices = pki_path(pki_ca_dir(ca), "devices")))
		return NJ_NOMEM;
	b.out = devices;
	/* Others may pass through, to a folder that was given to them. */
	if (!(e = file_mkdir(devices, 0711, why)))
		e = batch_run(ca, &item, 1, &b, &result, why);
	free(devices);
	return e;
}

enum nj_err
pki_device_set_aside(const char *dir, const char *id, struct nj_why *why)
{
	char *devices = pki_path(dir, "devices");
	enum nj_err e = NJ_NOMEM;

	if (devices)
		e = pki_device_exists(dir, id)
		    ? batch_set_aside(devices, id, why)
		    : NJ_OK;
	free(devices);
	return e;
}
