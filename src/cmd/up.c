/* SPDX-License-Identifier: Apache-2.0
 * nightjar up: from nothing to a broker that serves over TLS.
 *
 * Files, then keys, then the broker, which gives up root itself; the self test
 * runs in a thread beside it, with a client that read its key before that.
 */
#include "cmd/up.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/cmd.h"
#include "cmd/flags.h"
#include "cmd/home.h"
#include "cmd/port.h"
#include "cmd/serve.h"
#include "pki/ca.h"
#include "pki/cert.h"

/* What on_ready needs. */
struct ready {
	struct up *up;
	struct up_probe *probe;
};

static void
on_result(void *arg, const struct up_result *r)
{
	up_tell(arg, r);
}

static void
on_ready(void *arg)
{
	struct ready *r = arg;
	struct up_result none = { .ok = false };

	if (up_probe_start(r->probe, on_result, r->up) == NJ_OK)
		return;
	why_set(&none.why, "no thread could be started for it");
	up_tell(r->up, &none);
}

/* The port: asked for, or the configuration's, or the usual one.  It is
 * looked at before anything is made. */
static enum nj_err
choose_port(struct up *u, struct nj_why *why)
{
	long written = 0, wss = 0, est = 0;
	enum nj_err e;

	if ((e = up_conf_port(u, &written, &wss, &est, why)))
		return e;
	if (u->port == 0)
		u->port = written ? written : UP_PORT;
	/* Of one address of many, the listener itself can tell. */
	if (!u->bind[0] && (e = port_check((unsigned)u->port, why)))
		return e;
	if ((e = up_wss_choose(u, wss, why)))
		return e;
	return up_est_choose(u, est, why);
}

/* Through sudo the files of the first client were given to the person, unless
 * root made them alone earlier. */
static bool
needs_sudo(const struct up *u)
{
	const char *uid_text = getenv("SUDO_UID");
	char *key = up_device_path(u, "client.key");
	bool needs = false;
	struct stat st;
	long uid;

	if (key && geteuid() == 0 && uid_text &&
	    text_to_long(uid_text, 1, 0x7ffffffe, &uid) && stat(key, &st) == 0)
		needs = st.st_uid != (uid_t)uid;
	free(key);
	return needs;
}

static enum nj_err
get_ready(struct up *u, const char *dir_given, struct up_probe **probe,
    struct nj_why *why)
{
	enum nj_err e;

	if ((e = pki_check_id(u->id, why)) ||
	    (e = home_find(dir_given, true, &u->dir, why)))
		return e;
	if (!(u->conf = pki_path(u->dir, "nightjar.conf")) ||
	    !(u->self = up_self()))
		return NJ_NOMEM;
	if ((e = up_lock(u, why)) || (e = choose_port(u, why)))
		return e;
	up_lock_note(u);
	if ((e = up_prepare(u, why)))
		return e;
	up_choose_host(u);
	u->root = geteuid() == 0;
	u->sudo = needs_sudo(u);
	(void)fflush(stdout);
	return up_probe_new(u, probe, why);
}

static void
up_fini(struct up *u)
{
	if (u->lock >= 0)
		(void)close(u->lock);
	secret_free(u->password);
	free(u->self);
	free(u->conf);
	free(u->dir);
}

static int
run(struct up *u, const char *dir_given)
{
	struct ready ready = { .up = u };
	const struct serve_hooks hooks = {
		.on_ready = on_ready,
		.arg = &ready,
		.quiet = true,
		.ca_passphrase_file = u->passphrase_file,
		.signer_may_fail = true,
	};
	struct nj_why why = { 0 };
	int status = EXIT_FAILED;
	enum nj_err e;

	if ((e = get_ready(u, dir_given, &ready.probe, &why)))
		say_why(&why, e);
	else
		status = serve_run(u->conf, &hooks);
	up_probe_free(ready.probe);
	if (!e)
		printf("Nightjar has ended.\n");
	return status;
}

int
cmd_up(int argc, char **argv)
{
	struct up u = {
		.id = UP_ID, .lock = -1, .wss_port = -1, .est_port = -1
	};
	const char *dir_given = NULL;
	const struct flag flags[] = {
		{ "dir", 0, FLAG_TEXT, &dir_given, "DIR",
		    "where everything is kept (" HOME_ROOT " for root, "
		    "~/.local/share/nightjar for others)",
		    0, 0 },
		{ "port", 'p', FLAG_NUMBER, &u.port, "PORT",
		    "the port to listen on (8883)", 1, 65535 },
		{ "wss-port", 0, FLAG_NUMBER, &u.wss_port, "PORT",
		    "the port for web pages, MQTT over secure WebSocket "
		    "(8884, or the one behind --port); 0: none",
		    0, 65535 },
		{ "enroll-port", 0, FLAG_NUMBER, &u.est_port, "PORT",
		    "the port where devices get certificates with tokens "
		    "(8885, or the next); 0: none",
		    0, 65535 },
		{ "id", 0, FLAG_TEXT, &u.id, "ID",
		    "the name of the first client (admin)", 0, 0 },
		{ "passphrase-file", 0, FLAG_TEXT, &u.passphrase_file, "FILE",
		    "the first line opens the CA's key; a random one is kept "
		    "as DIR/ca.passphrase otherwise",
		    0, 0 },
	};
	const size_t n = sizeof(flags) / sizeof(*flags);
	struct nj_why why = { 0 };
	enum nj_err e;
	int status;

	e = flags_parse(flags, n, argc, argv, NULL, &why);
	if (e == NJ_EOF) {
		printf("nightjar up [options]: makes a CA and certificates at "
		       "the first start, and serves\nMQTT over TLS to clients "
		       "that have one\n\n");
		flags_help(flags, n);
		return EXIT_FINE;
	}
	if (e) {
		say_why(&why, e);
		return EXIT_USAGE;
	}
	status = run(&u, dir_given);
	up_fini(&u);
	return status;
}
