/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/sign.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/daemon.h"
#include "cmd/home.h"
#include "cmd/lists.h"
#include "pki/crl.h"

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

static bool
is_wanted(const struct conf *c)
{
	for (uint32_t i = 0; i < c->nlisteners; i++)
		if (c->listeners[i].protocol == CONF_EST)
			return true;
	return false;
}

/* Its first word to the broker: empty when all is well, or what is wrong. */
static void
report(int fd, enum nj_err e, const struct nj_why *why)
{
	char text[sizeof(struct nj_why) + 8];
	int n = snprintf(text, sizeof text, "%d%c%s%c%s", (int)e, 0,
	    why->what[0] || !e ? why->what : nj_strerror(e), 0, why->mend);

	(void)!send(fd, text, (size_t)n + 1, MSG_NOSIGNAL);
}

static const char *passphrase_from; /* of the signer process alone */

static struct pki_ca *
open_again(const char *dir)
{
	struct nj_why why;
	struct pki_ca *ca = NULL;

	if (pki_ca_open(dir, &ca, &why) ||
	    home_unlock(ca, passphrase_from, &why)) {
		pki_ca_free(ca);
		return NULL;
	}
	return ca;
}

/* Does not return. */
static void
be_the_signer(const char *dir, const char *file, int fd)
{
	struct nj_why why = { 0 };
	struct pki_ca *ca = NULL;
	enum nj_err e;

	/* what ends the broker ends it, too: through the socket */
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGUSR1, SIG_IGN);
	(void)signal(SIGUSR2, SIG_IGN);
	passphrase_from = file;
	(void)prctl(PR_SET_NAME, "nightjar-signer");
	if (!(e = pki_ca_open(dir, &ca, &why)) &&
	    !(e = home_unlock(ca, file, &why)))
		e = daemon_confine(pki_ca_dir(ca), &why);
	report(fd, e, &why);
	if (!e)
		signer_serve(&ca, fd, open_again);
	pki_ca_free(ca);
	(void)close(fd);
	exit(e ? 1 : 0);
}

static enum nj_err
await_report(int fd, struct nj_why *why)
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
	if (text[0] == '0')
		return NJ_OK;
	text[n] = '\0';
	at = text + strlen(text) + 1;
	why_set(why, "%s", at < text + n ? at : "");
	at += at < text + n ? strlen(at) + 1 : 0;
	why_mend(why, "%s", at < text + n ? at : "");
	return NJ_INVALID;
}

static enum nj_err
fork_signer(
    const char *dir, const char *file, struct signer **out, struct nj_why *why)
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
		be_the_signer(dir, file, fds[1]);
	}
	(void)close(fds[1]);
	if (pid < 0) {
		why_set(
		    why, "the signer cannot be started: %s", strerror(errno));
		e = NJ_IO;
	} else if (!(e = await_report(fds[0], why))) {
		e = signer_new(fds[0], out);
	}
	if (e)
		(void)close(fds[0]);
	return e;
}

enum nj_err
sign_start(const struct conf *c, const char *passphrase_file,
    struct signer **out, struct nj_why *why)
{
	const char *file =
	    passphrase_file ? passphrase_file : c->ca_passphrase_file;
	enum nj_err e;
	char *dir;

	if (!is_wanted(c))
		return NJ_OK;
	if (!(dir = folder_of(c))) {
		why_set(why, "'protocol est' needs Nightjar's own CA");
		why_mend(why,
		    "add 'ca_dir DIR', the folder in which 'nightjar ca init' "
		    "made it");
		return NJ_INVALID;
	}
	e = fork_signer(dir, file, out, why);
	free(dir);
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
