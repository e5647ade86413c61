/* SPDX-License-Identifier: Apache-2.0
 * What `nightjar up` needs on disk: made at the first start, checked and
 * renewed at every other.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/home.h"
#include "cmd/up.h"
#include "pki/ca.h"
#include "pki/cert.h"
#include "pki/crl.h"
#include "pki/explain.h"
#include "pki/issue.h"

char *
up_device_path(const struct up *u, const char *file)
{
	char *p = NULL;

	if (asprintf(&p, "%s/devices/%s/%s", u->dir, u->id, file) < 0)
		return NULL;
	return p;
}

/*
 * The lock.
 */

static void
say_running(int fd, const struct up *u, struct nj_why *why)
{
	char text[64] = "", *space;
	long pid = 0, port = 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if ((space = strchr(text, ' ')))
		*space = '\0';
	if (space && text_to_long(text, 1, LONG_MAX, &pid) &&
	    text_to_long(space + 1, 1, 65535, &port))
		why_set(why,
		    "Nightjar is running already: process %ld serves "
		    "the folder '%s' on port %ld",
		    pid, u->dir, port);
	else
		why_set(why,
		    "another Nightjar is just starting in the folder "
		    "'%s'",
		    u->dir);
	if (pid > 0)
		why_mend(why,
		    "stop it with Ctrl-C where it runs or with: %skill "
		    "%ld; or start a second one beside it: %s up "
		    "--dir OTHER-FOLDER --port %ld",
		    kill((pid_t)pid, 0) != 0 && errno == EPERM ? "sudo " : "",
		    pid, u->self, port < 65534 ? port + 2 : UP_PORT);
}

enum nj_err
up_lock(struct up *u, struct nj_why *why)
{
	char *path = pki_path(u->dir, "nightjar.lock");
	enum nj_err e = NJ_OK;
	int fd;

	if (!path)
		return NJ_NOMEM;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		e = errno == EACCES || errno == EPERM ? NJ_DENIED : NJ_IO;
		why_set(why, "cannot open '%s': %s", path, strerror(errno));
		why_mend(why, "%s",
		    errno == EROFS
			? "its file system is mounted read-only: choose "
			  "another folder with --dir DIR"
			: errno == ENOSPC || errno == EDQUOT
			? "free space on its disk, or choose another folder "
			  "with --dir DIR"
			: "the folder has to belong to the user who runs "
			  "this; choose another with --dir DIR");
	} else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		e = NJ_BUSY;
		say_running(fd, u, why);
		(void)close(fd);
	} else {
		u->lock = fd;
		(void)!ftruncate(fd, 0);
	}
	free(path);
	return e;
}

void
up_lock_note(const struct up *u)
{
	char text[64];
	int n =
	    snprintf(text, sizeof(text), "%ld %ld\n", (long)getpid(), u->port);

	(void)!pwrite(u->lock, text, (size_t)n, 0);
}

/*
 * CA and certificates.
 */

static enum nj_err
make_ca(struct up *u, struct pki_ca **out, struct nj_why *why)
{
	const struct pki_ca_opts o = { 0 };
	struct secret *pass = NULL;
	char *kept = NULL;
	enum nj_err e;
	int taken = -1;

	if (!(e = home_take(u->dir, &taken, why)))
		e = home_new_passphrase(
		    u->dir, u->passphrase_file, false, &pass, &kept, why);
	if (!e)
		e = pki_ca_init(u->dir, &o, pass, out, why);
	if (!e)
		printf("Made a certificate authority; its key is encrypted "
		       "with the passphrase in %s\n",
		    kept);
	home_release(taken);
	secret_free(pass);
	free(kept);
	return e;
}

/* The CA's key stays locked unless something has to be issued: a start takes
 * no passphrase and no scrypt then. */
static enum nj_err
unlocked(const struct up *u, struct pki_ca *ca, struct nj_why *why)
{
	return pki_ca_is_unlocked(ca)
	    ? NJ_OK
	    : home_unlock(ca, u->passphrase_file, why);
}

/* The port for enrolment has the list of revoked certificates for everybody
 * (broker/est.h), and certificates say so, where nobody chose another place. */
static enum nj_err
name_list(const struct up *u, struct pki_ca *ca, struct nj_why *why)
{
	char url[PKI_CRL_URL_MAX + 1], *has = pki_crl_url(u->dir);
	enum nj_err e = NJ_OK;

	for (unsigned i = 0; !has && u->est_port > 0 && i < u->names.n; i++) {
		const char *name = u->names.v[i].text;

		if (u->names.v[i].ip || name[0] == '*' ||
		    strcmp(name, "localhost") == 0)
			continue;
		(void)snprintf(url, sizeof url, "http://%.200s:%ld/ca.crl",
		    name, u->est_port);
		if (!(e = pki_crl_set_url(u->dir, url, why)))
			pki_ca_reread_url(ca);
		break;
	}
	free(has);
	return e;
}

static enum nj_err
prepare_server(struct up *u, struct pki_ca *ca, struct nj_why *why)
{
	struct pki_names old;
	char reason[PKI_NAME_MAX + 64];
	bool had;
	enum nj_err e;

	u->names.n = 0;
	pki_names_collect(&u->names);
	pki_ca_filter(ca, &u->names);
	if ((e = pki_server_extra(u->dir, &u->names, why)))
		return e;
	if (!pki_server_due(ca, &u->names, reason, sizeof(reason))) {
		pki_server_names(u->dir, &u->names);
		return NJ_OK;
	}
	/* Names that DNS gave earlier are kept, whether it answers now or
	 * not. */
	pki_server_names(u->dir, &old);
	had = old.n > 0;
	for (unsigned i = 0; !e && i < old.n; i++) {
		if (!old.v[i].ip)
			e = pki_names_add(&u->names, old.v[i].text, why);
	}
	pki_names_collect_dns(&u->names);
	pki_ca_filter(ca, &u->names);
	if (!e)
		e = name_list(u, ca, why);
	if (e || (e = unlocked(u, ca, why)) ||
	    (e = pki_server_issue(ca, &u->names, PKI_SERVER_KEPT_DAYS, why)))
		return e;
	if (had)
		printf("Made the server's certificate anew: %s.\n", reason);
	else
		printf("Made the server's certificate, for %u names and "
		       "addresses of this machine.\n",
		    u->names.n);
	return NJ_OK;
}

void
up_give(const char *path)
{
	const char *uid_text = getenv("SUDO_UID");
	const char *gid_text = getenv("SUDO_GID");
	long uid, gid;

	if (path && geteuid() == 0 && uid_text && gid_text &&
	    text_to_long(uid_text, 1, 0x7ffffffe, &uid) &&
	    text_to_long(gid_text, 0, 0x7ffffffe, &gid))
		(void)!lchown(path, (uid_t)uid, (gid_t)gid);
}

/* Started through sudo, the files of the first client are for the person who
 * typed it. */
static void
give_to_person(const struct up *u)
{
	static const char *const files[] = { "client.key", "client.crt",
		"ca.crt", "" };
	char *devices;

	if (geteuid() != 0 || !getenv("SUDO_UID"))
		return;
	/* Through these they have to come, whatever the umask was. */
	(void)!chmod(u->dir, 0755);
	if ((devices = pki_path(u->dir, "devices")))
		(void)!chmod(devices, 0711);
	free(devices);
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		char *path = up_device_path(u, files[i]);

		up_give(path);
		free(path);
	}
}

/* Whether the first client can connect with what it has. */
static bool
client_is_good(const struct up *u, const struct pki_ca *ca)
{
	char *path = up_device_path(u, "client.crt");
	STACK_OF(X509) *chain = NULL;
	bool good = false;
	X509 *x;

	if (path && pki_chain_load(path, &chain, NULL) == NJ_OK) {
		x = sk_X509_value(chain, 0);
		good = pki_judge(x, PKI_USE_CLIENT, u->id, NULL) == NJ_OK &&
		    pki_ca_issued(ca, x);
	}
	sk_X509_pop_free(chain, X509_free);
	free(path);
	return good;
}

static enum nj_err
prepare_client(const struct up *u, struct pki_ca *ca, struct nj_why *why)
{
	struct pki_device_opts o = { .id = u->id };
	enum nj_err e;

	if (client_is_good(u, ca))
		return NJ_OK;
	o.again = pki_device_exists(u->dir, u->id);
	if ((e = unlocked(u, ca, why)) || (e = pki_device_issue(ca, &o, why)))
		return e;
	give_to_person(u);
	printf("Made a client certificate for '%s'%s.\n", u->id,
	    o.again ? " anew; the old one was no longer good" : "");
	return NJ_OK;
}

enum nj_err
up_prepare(struct up *u, struct nj_why *why)
{
	struct pki_ca *ca = NULL;
	enum nj_err e;

	u->first = !pki_ca_exists(u->dir);
	if (u->first)
		printf("First start: making what is needed in %s\n", u->dir);
	(void)fflush(stdout);
	e = u->first ? make_ca(u, &ca, why) : pki_ca_open(u->dir, &ca, why);
	if (e || (e = prepare_server(u, ca, why)) ||
	    (e = prepare_client(u, ca, why)) || (e = up_conf_prepare(u, why)) ||
	    (e = up_wss_prepare(u, why)))
		goto out;
	pki_fingerprint(pki_ca_root(ca), u->fingerprint);
	if (!u->first)
		printf("Using the certificate authority and the configuration "
		       "in %s\n",
		    u->dir);
out:
	pki_ca_free(ca);
	return e;
}
