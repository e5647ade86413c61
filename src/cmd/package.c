/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/package.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rand.h"
#include "base/text.h"
#include "cmd/up.h"
#include "conf/conf.h"
#include "pki/issue.h"
#include "pki/key.h"

#define P12_FILE       "client.p12"
#define TRUST_FILE     "trust.p12"
#define PASSWORD_FILE  "client.p12.password"
#define PASSWORD_CHARS 24 /* of 62: 142 bits */
#define TYPED_CHARS    16 /* of 31: 79 bits, for those who type it */

enum nj_err
package_choose(struct package *p, const char *p12, const struct flag_list *kits,
    bool encrypted, struct nj_why *why)
{
	char safe[TEXT_ESC];

	if (p12 && !p12_form_of(p12, &p->p12)) {
		text_esc(safe, sizeof(safe), slice_str(p12));
		why_set(why, "there is no form '%s' of PKCS#12", safe);
		why_mend(why, "--p12 takes one of: modern, android, java");
		return NJ_INVALID;
	}
	for (unsigned i = 0; i < kits->n; i++) {
		const struct kit *k = kit_find(kits->v[i], why);
		bool again = false;

		if (!k)
			return NJ_INVALID;
		if (encrypted && !kit_reads_encrypted(k)) {
			why_set(why,
			    "what is made for '%s' cannot open an encrypted "
			    "key",
			    kit_name(k));
			why_mend(why, "leave the passphrase of the key away");
			return NJ_INVALID;
		}
		for (unsigned j = 0; j < p->n; j++)
			again = again || p->kits[j] == k;
		if (!again)
			p->kits[p->n++] = k;
		/* A kit that needs one gets its own; one that was asked for
		 * goes before. */
		if (kit_p12(k) != P12_NONE && !p12 &&
		    (p->p12 == P12_NONE || kit_p12(k) == P12_JAVA))
			p->p12 = kit_p12(k);
	}
	return NJ_OK;
}

bool
package_is_empty(const struct package *p)
{
	return p->p12 == P12_NONE && p->n == 0;
}

/*
 * The broker.
 */

static bool
is_loopback(const struct pki_name *v)
{
	return strcmp(v->text, "localhost") == 0 ||
	    (v->ip &&
		(strncmp(v->text, "127.", 4) == 0 ||
		    strcmp(v->text, "::1") == 0));
}

/* How likely devices elsewhere find the broker under it. */
static int
rank(const struct pki_name *v, const struct pki_names *asked)
{
	const char *dot = strrchr(v->text, '.');

	if (v->text[0] == '*')
		return -1;
	if (pki_names_has(asked, v->text))
		return v->ip ? 5 : 6;
	if (is_loopback(v))
		return 0;
	if (v->ip)
		return strchr(v->text, ':') ? 1 : 2;
	if (!dot)
		return 3;
	return strcmp(dot, ".local") == 0 ? 2 : 4;
}

static const char *
best(const struct pki_names *names, const struct pki_names *asked, bool name)
{
	const char *found = NULL;
	int most = -1;

	for (unsigned i = 0; i < names->n; i++) {
		int r = rank(&names->v[i], asked);

		if ((name && names->v[i].ip) || r <= most)
			continue;
		most = r;
		found = names->v[i].text;
	}
	return found;
}

static void
find_ports(struct package *p, const char *dir)
{
	char *path = pki_path(dir, "nightjar.conf");
	const struct conf_args args = { 0 };
	struct conf_report report = { 0 };
	struct conf c = { 0 };
	enum nj_err e;

	p->broker.port = UP_PORT;
	p->broker.wss_port = UP_WSS_PORT;
	if (!path || access(path, R_OK) != 0) {
		free(path);
		return;
	}
	e = conf_load(path, &args, &c, &report);
	for (uint32_t i = c.nlisteners; e != NJ_NOMEM && i-- > 0;) {
		const struct conf_listener *l = &c.listeners[i];

		if (!l->certfile || !l->port)
			continue;
		if (l->protocol == CONF_WEBSOCKETS)
			p->broker.wss_port = l->port;
		else
			p->broker.port = l->port;
	}
	conf_report_free(&report);
	if (e != NJ_NOMEM)
		conf_free(&c);
	free(path);
}

static void
warn_of_name(const char *host)
{
	struct nj_why why = { 0 };

	why_set(&why,
	    "the broker's certificate is not valid for '%s': devices will "
	    "refuse it",
	    host);
	why_mend(&why, "nightjar ca server %s", host);
	say_why(&why, NJ_INVALID);
}

enum nj_err
package_find_broker(struct package *p, const struct pki_ca *ca,
    const char *host, long port, struct nj_why *why)
{
	struct pki_names *v = calloc(3, sizeof(*v)); /* each of 32 KiB */
	struct pki_names *names, *asked, *given;
	const char *name;
	enum nj_err e = NJ_OK;

	if (!v)
		return NJ_NOMEM;
	names = v;
	asked = v + 1;
	given = v + 2;
	find_ports(p, pki_ca_dir(ca));
	if (port)
		p->broker.port = (unsigned)port;
	pki_server_names(pki_ca_dir(ca), names);
	if (pki_server_extra(pki_ca_dir(ca), asked, NULL))
		asked->n = 0;
	if (host)
		e = pki_names_add(given, host, why);
	if (!e && host && names->n > 0 && !pki_names_has(names, host))
		warn_of_name(host);
	if (!e && !host && names->n == 0)
		pki_names_collect(names);
	if (!e) {
		name = host ? given->v[0].text : best(names, asked, false);
		(void)snprintf(p->broker.host, sizeof(p->broker.host), "%s",
		    name ? name : "localhost");
		if (strchr(p->broker.host, ':') ||
		    inet_addr(p->broker.host) != INADDR_NONE)
			name = best(names, asked, true);
		(void)snprintf(p->broker.name, sizeof(p->broker.name), "%s",
		    name ? name : p->broker.host);
	}
	free(v);
	return e;
}

/*
 * Files.
 */

struct putting {
	struct package *p;
	const char *folder;
	bool existing; /* the folder was there before */
};

/* "sketch/certs.h": its folder first. */
static enum nj_err
make_folder_of(const struct putting *to, const char *name, struct nj_why *why)
{
	const char *slash = strrchr(name, '/');
	char *path = NULL;
	enum nj_err e;

	if (!slash)
		return NJ_OK;
	if (asprintf(&path, "%s/%.*s", to->folder, (int)(slash - name), name) <
	    0)
		return NJ_NOMEM;
	e = file_mkdir(path, 0700, why);
	free(path);
	return e;
}

static enum nj_err
put(void *arg, const char *name, struct slice bytes, mode_t mode,
    struct nj_why *why)
{
	struct putting *to = arg;
	char *path;
	enum nj_err e;

	if ((e = make_folder_of(to, name, why)))
		return e;
	if (!to->existing)
		return batch_put(to->folder, name, bytes, mode, why);
	if (!(path = pki_path(to->folder, name)))
		return NJ_NOMEM;
	e = file_create(path, bytes, mode, why);
	if (e == NJ_EXISTS) {
		printf("%s is there already and stays as it is; remove it "
		       "first for a new one.\n",
		    path);
		to->p->kept++;
		e = NJ_OK;
	}
	free(path);
	return e;
}

/* Without letters and digits that look alike. */
static enum nj_err
typed_password(struct secret **out)
{
	static const char letters[] = "abcdefghjkmnpqrstuvwxyz23456789";
	char text[TYPED_CHARS];
	enum nj_err e;
	uint8_t r;

	for (size_t i = 0; i < sizeof(text);) {
		rand_bytes(&r, 1);
		/* the last 8 values would come more often than others */
		if (r < 256 / (sizeof(letters) - 1) * (sizeof(letters) - 1))
			text[i++] = letters[r % (sizeof(letters) - 1)];
	}
	e = secret_new(slice_of(text, sizeof(text)), out);
	secret_wipe(text, sizeof(text));
	return e;
}

static enum nj_err
new_password(struct putting *to, struct secret **out, struct nj_why *why)
{
	struct secret *s = NULL;
	struct buf line = { 0 };
	enum nj_err e;

	e = to->p->p12 == P12_ANDROID ? typed_password(&s)
				      : secret_random(PASSWORD_CHARS, &s);
	if (!e && !(e = buf_put_slice(&line, secret_bytes(s))) &&
	    !(e = buf_put_u8(&line, '\n')))
		e = put(to, PASSWORD_FILE, buf_slice(&line), 0600, why);
	buf_wipe(&line);
	if (e) {
		secret_free(s);
		return e;
	}
	*out = s;
	return NJ_OK;
}

/* One that is there already is of a file that was removed since, or of a try
 * that a crash ended. */
static enum nj_err
password_for(struct putting *to, struct secret **out, struct nj_why *why)
{
	char *path = pki_path(to->folder, PASSWORD_FILE);
	struct stat st;
	enum nj_err e;

	if (!path)
		return NJ_NOMEM;
	e = to->existing && lstat(path, &st) == 0
	    ? secret_from_file(path, out, why)
	    : new_password(to, out, why);
	free(path);
	return e;
}

static enum nj_err
put_p12(struct putting *to, const char *name, const struct p12_spec *spec,
    struct nj_why *why)
{
	struct buf file = { 0 };
	enum nj_err e = p12_make(spec, &file, why);

	if (!e)
		e = put(to, name, buf_slice(&file), 0600, why);
	buf_wipe(&file);
	return e;
}

static bool
is_there(const struct putting *to, const char *name)
{
	char *path = pki_path(to->folder, name);
	struct stat st;
	bool yes = path && lstat(path, &st) == 0;

	free(path);
	return yes;
}

static enum nj_err
put_p12s(struct putting *to, const struct batch_made *made, struct nj_why *why)
{
	const struct package *p = to->p;
	struct secret *own = NULL;
	struct p12_spec spec = { .form = p->p12,
		.random = !p->password,
		.name = made->id,
		.key = made->key,
		.leaf = made->leaf,
		.chain = made->chain,
		.roots = made->roots,
		.password = p->password };
	enum nj_err e = NJ_OK;

	if (p->p12 == P12_NONE)
		return NJ_OK;
	if (to->existing && is_there(to, P12_FILE)) {
		printf("%s/" P12_FILE " is there already and stays as it is; "
		       "remove it first for a new one.\n",
		    to->folder);
		return NJ_OK;
	}
	if (!spec.password) {
		if ((e = password_for(to, &own, why)))
			return e;
		spec.password = own;
	}
	e = put_p12(to, P12_FILE, &spec, why);
	if (!e && p->p12 == P12_JAVA) {
		spec.key = NULL;
		spec.chain = NULL;
		e = put_p12(to, TRUST_FILE, &spec, why);
	}
	secret_free(own);
	return e;
}

static enum nj_err
put_all(struct putting *to, const struct batch_made *made, struct nj_why *why)
{
	const struct package *p = to->p;
	enum nj_err e = put_p12s(to, made, why);

	for (unsigned i = 0; !e && i < p->n; i++)
		e = kit_make(p->kits[i], made, &p->broker, put, to, why);
	return e;
}

enum nj_err
package_fill(void *arg, const struct batch_made *made, struct nj_why *why)
{
	struct putting to = { .p = arg, .folder = made->folder };

	return put_all(&to, made, why);
}

enum nj_err
package_add(struct package *p, const struct pki_ca *ca, const char *folder,
    const char *id, const struct secret *pass, struct nj_why *why)
{
	struct putting to = { .p = p, .folder = folder, .existing = true };
	struct batch_made made = { .id = id,
		.folder = folder,
		.final = folder,
		.roots = pki_ca_roots(ca) };
	char *crt = pki_path(folder, "client.crt");
	char *key_path = pki_path(folder, "client.key");
	STACK_OF(X509) *chain = NULL;
	enum nj_err e = NJ_NOMEM;

	if (!crt || !key_path)
		goto out;
	if ((e = pki_chain_load(crt, &chain, why)) ||
	    (e = pki_key_load(key_path, pass, true, &made.key, why)))
		goto out;
	made.leaf = sk_X509_shift(chain);
	made.chain = chain;
	if (X509_check_private_key(made.leaf, made.key) != 1) {
		e = NJ_INVALID;
		why_set(why, "'%s' is not the key of '%s'", key_path, crt);
		why_mend(
		    why, "make both anew: nightjar ca device %s --again", id);
		goto out;
	}
	e = put_all(&to, &made, why);
out:
	EVP_PKEY_free(made.key);
	X509_free(made.leaf);
	sk_X509_pop_free(chain, X509_free);
	free(key_path);
	free(crt);
	return e;
}

/*
 * Words.
 */

static void
tell_p12(const struct package *p)
{
	printf("    %s  %s\n", P12_FILE,
	    p->p12 == P12_MODERN ? "key and certificates in one, AES-256"
		: p->p12 == P12_JAVA
		? "key store of Java, and trust store in one"
		: "key and certificates in one, as Android and old programs "
		  "read it");
	if (p->p12 == P12_JAVA)
		printf("    %s   a trust store alone\n", TRUST_FILE);
	if (!p->password)
		printf("    %s  what opens it\n", PASSWORD_FILE);
	if (p->p12 == P12_ANDROID)
		printf("  That form has weak encryption (3DES, SHA-1), the "
		       "only one that Android before 14\n  reads: delete it "
		       "once it is imported, and choose no password of your "
		       "own for it.\n");
}

void
package_tell(const struct package *p)
{
	if (p->p12 != P12_NONE)
		tell_p12(p);
	for (unsigned i = 0; i < p->n; i++) {
		const char *line = kit_run(p->kits[i]);

		printf("  for %s, in that folder:\n", kit_name(p->kits[i]));
		while (*line) {
			int n = (int)strcspn(line, "\n");

			printf("    %.*s\n", n, line);
			line += n + (line[n] == '\n');
		}
	}
	if (p->n > 0)
		printf("  They connect to %s, port %u; --host and --port "
		       "choose another name.\n",
		    p->broker.host, p->broker.port);
}
