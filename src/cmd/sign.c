/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/daemon.h"
#include "base/keeper.h"
#include "cmd/home.h"
#include "cmd/lists.h"
#include "pki/addresses.h"
#include "pki/crl.h"
#include "pki/key.h"

/* The folder of the CA that the configuration means, or NULL. */
static char *
folder_of(const struct conf *c)
{
	static const char tail[] = "/crl/ca.crl";

	if (c->ca_dir)
		return realpath(c->ca_dir, NULL);
	for (uint32_t i = 0; i < c->nlisteners; i++) {
		char *own = lists_own(&c->listeners[i]);

		if (own) {
			own[strlen(own) - (sizeof tail - 1)] = '\0';
			return own;
		}
	}
	return NULL;
}

/* The folder of the CA that made the certificate which a listener serves with
 * (issue.h), if it is here; NULL. */
static char *
server_folder(const struct conf *c)
{
	static const char tail[] = "/server/server.crt";

	for (uint32_t i = 0; i < c->nlisteners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		char *real =
		    l->tls && l->certfile ? realpath(l->certfile, NULL) : NULL;
		size_t n = real ? strlen(real) : 0;

		if (n > sizeof tail &&
		    strcmp(real + n - (sizeof tail - 1), tail) == 0) {
			real[n - (sizeof tail - 1)] = '\0';
			if (pki_ca_exists(real))
				return real;
		}
		free(real);
	}
	return NULL;
}

static bool
is_wanted(const struct conf *c)
{
	for (uint32_t i = 0; i < c->nlisteners; i++)
		if (c->listeners[i].protocol == CONF_EST ||
		    c->listeners[i].enroll)
			return true;
	return false;
}

/* Its first word to the broker: what is wrong, or why it does not look after
 * the server's certificate, though it does all else; empty when all is well. */
static void
report(int fd, enum nj_err e, const struct nj_why *why)
{
	char text[sizeof(struct nj_why) + 8];
	int n = snprintf(text, sizeof text, "%d%c%s%c%s", (int)e, 0,
	    why->what[0] || !e ? why->what : nj_strerror(e), 0, why->mend);

	(void)!send(fd, text, (size_t)n + 1, MSG_NOSIGNAL);
}

/* -- the signer's process ---------------------------------------------------- */

static struct pki_ca *
open_again(const char *dir)
{
	struct nj_why why;
	struct pki_ca *ca = NULL;

	return pki_ca_open(dir, &ca, &why) ? NULL : ca;
}

static enum nj_err
unlock(void *arg, struct pki_ca *ca, struct nj_why *why)
{
	return pki_ca_unlock(ca, arg, why);
}

struct plan {
	char *dir;
	const char *file; /* of the passphrase */
	bool enrol;	  /* or else the server's certificate is all */
	bool server;
};

/* A key in a module has to be opened while it can be; another, where nobody
 * waits for it, costs a moment of the processor and is opened when needed. */
static bool
at_once(const struct plan *p, const struct pki_ca *ca)
{
	const char *name = pki_ca_issuer(ca) == pki_ca_root(ca)
	    ? "pki/ca.key"
	    : "pki/issuing.key";
	char *path = pki_path(pki_ca_dir(ca), name);
	bool yes = p->enrol || !path || !pki_key_is_encrypted(path);

	free(path);
	return yes;
}

static enum nj_err
open_all(const struct plan *p, struct pki_ca **ca, struct secret **pass,
    struct nj_why *why)
{
	enum nj_err e;

	if ((e = pki_ca_open(p->dir, ca, why)))
		return e;
	e = p->enrol ? home_passphrase(p->dir, p->file, pass, why)
		     : home_passphrase_kept(p->dir, p->file, pass, why);
	if (!e && at_once(p, *ca))
		e = pki_ca_unlock(*ca, *pass, why);
	return e;
}

/* Does not return. */
static void
be_the_signer(const struct plan *p, int fd)
{
	struct signer_side side = { .open = open_again,
		.unlock = unlock,
		.clock = &clock_system,
		.addresses = -1,
		.server = p->server,
		.list = p->enrol };
	struct secret *pass = NULL;
	struct nj_why why = { 0 }, note = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;

	keeper_stop(); /* whose line is the broker's alone */
	daemon_be_helper(fd, "nightjar-signer");
	if (p->server && (side.addresses = addresses_open(false)) < 0) {
		/* later it could not open one, and none are not no addresses */
		why_set(&note,
		    "there is no socket to ask for this machine's addresses: "
		    "%s",
		    strerror(errno));
		side.server = false;
	}
	if (!(e = open_all(p, &ca, &pass, &why)))
		e = daemon_confine(pki_ca_dir(ca), &why);
	if (!e)
		why = note;
	side.arg = pass;
	report(fd, e, &why);
	if (!e)
		signer_serve(&ca, fd, &side);
	pki_ca_free(ca);
	secret_free(pass);
	(void)close(fd);
	exit(e ? 1 : 0);
}

/* -- the broker's ------------------------------------------------------------ */

static enum nj_err
await_report(int fd, struct nj_why *note, struct nj_why *why)
{
	char text[sizeof(struct nj_why) + 8] = "";
	ssize_t n;
	const char *at;

	do
		n = recv(fd, text, sizeof text - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		why_set(why, "the signer of the CA did not start");
		return NJ_IO;
	}
	text[n] = '\0';
	if (text[0] == '0')
		why = note;
	at = text + strlen(text) + 1;
	why_set(why, "%s", at < text + n ? at : "");
	at += at < text + n ? strlen(at) + 1 : 0;
	why_mend(why, "%s", at < text + n ? at : "");
	return text[0] == '0' ? NJ_OK : NJ_INVALID;
}

static enum nj_err
fork_signer(const struct plan *p, struct signer **out, struct nj_why *note,
    struct nj_why *why)
{
	enum nj_err e;
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
		why_set(why, "no socket for the signer: %s", strerror(errno));
		return NJ_IO;
	}
	(void)fflush(NULL);
	if ((pid = fork()) == 0) {
		(void)close(fds[0]);
		be_the_signer(p, fds[1]);
	}
	(void)close(fds[1]);
	if (pid < 0) {
		why_set(
		    why, "the signer cannot be started: %s", strerror(errno));
		e = NJ_IO;
	} else if (!(e = await_report(fds[0], note, why))) {
		e = signer_new(fds[0], out);
	}
	if (e)
		(void)close(fds[0]);
	return e;
}

static enum nj_err
no_ca(struct nj_why *why)
{
	why_set(why, "'protocol est' and 'enroll' need Nightjar's own CA");
	why_mend(why,
	    "add 'ca_dir DIR', the folder in which 'nightjar ca init' "
	    "made it");
	return NJ_INVALID;
}

enum nj_err
sign_start(const struct conf *c, const char *passphrase_file,
    struct signer **out, bool *server, struct nj_why *note, struct nj_why *why)
{
	struct plan p = { .file = passphrase_file ? passphrase_file
						  : c->ca_passphrase_file,
		.enrol = is_wanted(c) };
	char *own = server_folder(c);
	enum nj_err e;

	p.dir = p.enrol ? folder_of(c) : own ? strdup(own) : NULL;
	p.server = own && p.dir && strcmp(own, p.dir) == 0;
	free(own);
	if (!p.dir)
		return p.enrol ? no_ca(why) : NJ_OK;
	e = fork_signer(&p, out, note, why);
	*server = !e && p.server && !note->what[0];
	if (e && !p.enrol) {
		*note = *why;
		*why = (struct nj_why){ 0 };
		e = NJ_OK;
	}
	free(p.dir);
	return e;
}

enum nj_err
sign_wire(const struct conf *c, struct signer *s, struct workers *workers,
    struct wiring *w)
{
	w->est.signer = s;
	w->est.workers = workers;
	if (!(w->ca_dir = folder_of(c)))
		return NJ_OK;
	if (!(w->ca_list = pki_crl_path(w->ca_dir)))
		return NJ_NOMEM;
	w->est.crl = w->ca_list;
	return NJ_OK;
}
