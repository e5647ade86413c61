/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/serve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/daemon.h"
#include "base/hash.h"
#include "base/keeper.h"
#include "base/log.h"
#include "base/text.h"
#include "broker/broker.h"
#include "broker/est.h"
#include "broker/rolekeep.h"
#include "cmd/expiry.h"
#include "cmd/kept.h"
#include "cmd/lists.h"
#include "cmd/place.h"
#include "cmd/renewal.h"
#include "cmd/serve_admin.h"
#include "cmd/sign.h"
#include "cmd/wiring.h"
#include "cmd/wiring_files.h"
#include "net/tls_staple.h"
#include "store/store.h"

#define EXIT_CONFIG	   3 /* as Mosquitto */
#define WORKERS		   2
#define WORKERS_MAX_QUEUED 1024
#define CONTROL_MAX_QUEUED 256
#define SIG_FILES	   (SIGRTMIN + 1) /* filewatch.h */
#define TICK_S		   15 /* files are looked at without it, too */

/* Everything that lives as long as the process serves. */
struct server {
	const struct serve_opts *opts;
	struct conf conf; /* as running */
	struct wiring wiring;
	struct serve_admin admin;
	struct workers *workers, *askers; /* askers wait for the signer */
	struct workers *control;	  /* one, for commands to the broker */
	_Atomic(struct broker *) broker;  /* the log thread reads it */
	struct port_opts *ports;	  /* for the next reload: borrowed */
	struct signer *signer;
	bool signs_server; /* it looks after our certificate */
	struct renewal *renewal;
	struct lists *lists;
	char *store_path;
	bool logging;
};

static void
print_report(const struct conf_report *r)
{
	char text[2048];

	for (uint32_t i = 0; i < r->n; i++)
		fprintf(stderr, "%s\n",
		    conf_finding_text(&r->v[i], text, sizeof text));
}

static void
log_report(const struct conf_report *r)
{
	char text[2048];

	for (uint32_t i = 0; i < r->n; i++)
		nj_log(r->v[i].fault ? LOG_T_ERROR : LOG_T_WARNING, "%s",
		    conf_finding_text(&r->v[i], text, sizeof text));
}

/* Log. */

static void
on_log_line(void *arg, enum log_type type, const char *line)
{
	struct server *s = arg;
	struct broker *b = atomic_load(&s->broker);

	if (b)
		broker_log_line(b, type, line);
}

static struct log_opts
log_options(struct server *s, const struct conf *c)
{
	struct log_opts o = {
		.types = c->log_types,
		.dests = c->log_dests,
		.file = c->log_file,
		.timestamp = c->log_timestamp,
		.timestamp_format = c->log_timestamp_format,
		.syslog_facility = c->log_facility,
		.on_line = on_log_line,
		.arg = s,
	};

	if (s->opts->background && !c->log_dests_given)
		o.dests = LOG_D_SYSLOG;
	if (s->opts->quiet)
		o.types &= LOG_T_ERROR | LOG_T_WARNING;
	return o;
}

/* Start. */

static enum nj_err
drop_rights(const struct conf *c, struct nj_why *why)
{
	const char *user = wiring_user(c);
	uid_t uid;
	gid_t gid;

	if (geteuid() != 0)
		return daemon_drop_rights(NULL, why);
	if (!user) {
		why_set(why, "no unprivileged user to serve as was found");
		why_mend(why,
		    "useradd --system nightjar, or name one with "
		    "'user NAME'");
		return NJ_NOTFOUND;
	}
	/* so that it can be opened again when it was rotated */
	if (c->log_file && daemon_find_user(user, &uid, &gid, NULL) == NJ_OK &&
	    lchown(c->log_file, uid, gid))
		nj_log(LOG_T_WARNING,
		    "Warning: %s cannot be given to %s, so it cannot be "
		    "opened again after a rotation",
		    c->log_file, user);
	return daemon_drop_rights(user, why);
}

static const char *
spoken(int protocol)
{
	return protocol == CONF_WEBSOCKETS     ? ", WebSocket"
	    : protocol == CONF_MQTT_WEBSOCKETS ? ", MQTT and WebSocket"
					       : "";
}

static void
tell_listener(const struct conf_listener *l, const char *where)
{
	char mount[TEXT_ESC];

	nj_log(LOG_T_INFORMATION, "Listening on %s%s%s%s%s%s%s.", where,
	    spoken(l->protocol), l->tls ? ", TLS" : "",
	    l->require_certificate ? ", client certificates required" : "",
	    l->proxy_protocol == 1	 ? ", behind a proxy (PROXY protocol 1)"
		: l->proxy_protocol == 2 ? ", behind a proxy (PROXY protocol 2)"
					 : "",
	    l->mount_point ? ", mount_point " : "",
	    l->mount_point
		? text_esc(mount, sizeof mount, slice_str(l->mount_point))
		: "");
}

static void
tell_listeners(const struct conf *c, const struct wiring *w)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->listeners[i].n > 0)
			tell_listener(&c->listeners[i], w->listeners[i].where);
	if (c->local_only)
		nj_log(LOG_T_INFORMATION,
		    "No listener is configured: serving "
		    "anonymous clients of this machine only. For a secure "
		    "port that others reach run 'nightjar up', or configure "
		    "'listener 8883' with certfile and keyfile.");
}

/* The folder is made, for the user who serves. */
static void
make_folder(const struct conf *c, const char *dir)
{
	const char *user = geteuid() == 0 ? wiring_user(c) : NULL;
	uid_t uid;
	gid_t gid;

	/* what stands against it is said when the file is opened */
	if (mkdir(dir, 0700) == 0 && user &&
	    daemon_find_user(user, &uid, &gid, NULL) == NJ_OK &&
	    lchown(dir, uid, gid))
		nj_log(LOG_T_WARNING, "Warning: %s cannot be given to %s", dir,
		    user);
}

/* Where everything is kept; NULL: nowhere, or no memory. */
static char *
store_path(const struct conf *c)
{
	char *path, *old;

	if (!c->persistence)
		return NULL;
	path = place_of_store(c);
	old = place_of_mosquittos(c);
	if (path && old && access(path, F_OK))
		nj_log(LOG_T_NOTICE,
		    "%s has what Mosquitto kept. To take it over, stop the "
		    "broker and: nightjar store import %s --into %s",
		    old, old, path);
	free(old);
	return path;
}

/* A file that cannot be used makes place, if the operator wants that. */
static enum nj_err
new_broker(struct server *s, struct broker_opts *o, struct broker **b,
    struct nj_why *why)
{
	enum nj_err e = broker_new(o, b, why);
	char *aside = NULL;

	if ((e != NJ_MALFORMED && e != NJ_UNSUPPORTED) || !o->store_path)
		return e;
	if (s->conf.persistence_on_damage != CONF_START_EMPTY) {
		if (!why->mend[0])
			why_mend(why,
			    "restore a backup, or look at it with 'nightjar "
			    "store check' and go on with what is whole with "
			    "'nightjar store salvage', or start empty with "
			    "'persistence_on_damage start_empty'");
		return e;
	}
	nj_log(LOG_T_ERROR, "%s", why->what);
	*why = (struct nj_why){ 0 };
	if ((e = store_set_aside(o->store_path, "damaged", &aside, why)))
		return e;
	nj_log(LOG_T_ERROR,
	    "It was set aside as %s, and the broker starts empty: what it "
	    "had kept is not served.",
	    aside);
	free(aside);
	return broker_new(o, b, why);
}

static enum nj_err
start_broker(struct server *s, struct nj_why *why)
{
	struct broker_opts o = {
		.shards = s->wiring.shards,
		.n_ports = s->conf.nlisteners,
		.max_retained = s->conf.max_retained_messages,
		.max_retained_bytes = s->conf.max_retained_bytes,
		.max_retained_per_user = s->conf.max_retained_messages_per_user,
		.guard = { .connects_per_s = s->conf.connections_per_second,
		    .failures_per_minute = s->conf.failed_logins_per_minute,
		    .failures_per_user = s->conf.failed_logins_per_user },
	};
	struct broker *b = NULL;
	enum nj_err e;

	wiring_limits(&s->conf, &o.limits);
	/* first, so that no change is missed */
	if ((e = lists_watch(&s->conf, SIG_FILES, &s->lists, why)))
		nj_log(LOG_T_WARNING, "Warning: %s; a SIGHUP is needed.",
		    why->what);
	if ((e = wiring_ports(
		 &s->conf, &s->wiring, s->workers, NULL, &s->ports, why)))
		return e;
	o.ports = s->ports;
	free(s->store_path);
	o.store_path = s->store_path = store_path(&s->conf);
	if (s->conf.persistence && !s->store_path) {
		why_set(why, "out of memory");
		return NJ_NOMEM;
	}
	o.control = s->control;
	/* nothing a peer sends is read before rights are dropped */
	if ((e = drop_rights(&s->conf, why)) ||
	    (e = new_broker(s, &o, &b, why))) {
		wiring_ports_free(s->ports, s->conf.nlisteners);
		s->ports = NULL;
		return e;
	}
	atomic_store(&s->broker, b);
	return broker_start(b, why);
}

/* What the CAs say of our certificates. */
static void
ask_cas(struct server *s)
{
	if (tls_staples_start(s->wiring.staples))
		nj_log(LOG_T_WARNING,
		    "Warning: no thread for OCSP: certificates are served "
		    "without what their CA says.");
}

static enum nj_err
start(struct server *s, struct nj_why *why)
{
	struct log_opts lo = log_options(s, &s->conf);
	unsigned shards =
	    s->conf.threads ? s->conf.threads : broker_usable_cpus();
	struct nj_why note = { 0 };
	struct nj_why closed = { 0 };
	unsigned long files;
	enum nj_err e;

	/* processes of their own, so before there are threads */
	if (geteuid() == 0 && wiring_user(&s->conf) &&
	    kept_start(&s->conf, wiring_user(&s->conf), &closed) == NJ_OK)
		closed.what[0] = '\0';
	if ((e = sign_start(&s->conf, s->opts->ca_passphrase_file, &s->signer,
		 &s->signs_server, &note, why))) {
		if (!s->opts->signer_may_fail)
			return e;
		fprintf(stderr,
		    "Warning: no device can enrol, as the CA cannot be "
		    "opened: %s\n%s\n",
		    why->what, why->mend);
		*why = (struct nj_why){ 0 };
	}
	if ((e = log_start(&lo, why)))
		return e;
	s->logging = true;
	nj_log(LOG_T_INFORMATION, "nightjar version " NJ_VERSION " starting.");
	if (s->opts->path)
		nj_log(
		    LOG_T_INFORMATION, "Config loaded from %s.", s->opts->path);
	if (note.what[0])
		nj_log(LOG_T_NOTICE,
		    "The server's certificate is not made anew while this "
		    "broker runs, but with 'nightjar ca server': %s",
		    note.what);
	if (closed.what[0])
		nj_log(LOG_T_WARNING,
		    "Warning: %s: what its user may not read is not read again "
		    "on a reload. To mend it: start the broker as that user, "
		    "or "
		    "let it read its files",
		    closed.what);
	daemon_raise_files(&files);
	hash_seed_random();
	if ((e = workers_new(WORKERS, WORKERS_MAX_QUEUED, &s->workers)) ||
	    (e = workers_new(1, EST_WORK_MAX, &s->askers)) ||
	    (e = workers_new(1, CONTROL_MAX_QUEUED, &s->control))) {
		why_set(why, "worker threads cannot be made");
		return e;
	}
	if (s->conf.persistence)
		make_folder(&s->conf, place_folder(&s->conf));
	/* before the ports: who sees them open finds it, too */
	if ((e = serve_admin_open(&s->conf,
		 geteuid() == 0 ? wiring_user(&s->conf) : NULL, &s->admin,
		 why)))
		return e;
	if ((e = wiring_open(&s->conf,
		 geteuid() == 0 ? wiring_user(&s->conf) : NULL, shards,
		 &s->wiring, why)))
		return e;
	if ((e = sign_wire(&s->conf, s->signer, s->askers, &s->wiring)))
		return e;
	if (s->conf.pid_file && (e = daemon_pid_file(s->conf.pid_file, why)))
		return e;
	if ((e = start_broker(s, why)) ||
	    (e = serve_admin_start(
		 &s->admin, atomic_load(&s->broker), s->wiring.staples, why)) ||
	    (s->signs_server &&
		(e = renewal_new(
		     s->signer, s->askers, SIG_FILES, &s->renewal))))
		return e;
	tell_listeners(&s->conf, &s->wiring);
	ask_cas(s);
	nj_log(LOG_T_INFORMATION,
	    "nightjar version " NJ_VERSION
	    " running, %u shards, at most %lu open files.",
	    shards, files);
	return NJ_OK;
}

static void
finish(struct server *s)
{
	struct broker *b = atomic_load(&s->broker);

	tls_staples_stop(s->wiring.staples);
	serve_admin_stop(&s->admin);
	if (b)
		broker_stop(b);
	/* their answers go to shards, so they end first */
	workers_free(s->workers);
	workers_free(s->askers);
	renewal_free(s->renewal);
	signer_free(s->signer);
	workers_free(s->control);
	atomic_store(&s->broker, NULL);
	if (s->logging)
		log_stop();
	broker_free(b);
	free(s->store_path);
	s->store_path = NULL;
	free(s->ports);
	lists_free(s->lists);
	serve_admin_close(&s->admin);
	keeper_stop();
	wiring_close(&s->wiring);
	daemon_pid_file_remove();
	conf_free(&s->conf);
}

/* Reload. */

struct diff {
	unsigned changed;
	const struct conf *conf;
};

static void
on_difference(void *arg, const struct conf_opt *o,
    const struct conf_listener *l, bool restart)
{
	struct diff *d = arg;

	d->changed++;
	nj_log(restart ? LOG_T_WARNING : LOG_T_INFORMATION,
	    restart ? "%s has changed%s%u: only the next start brings it."
		    : "%s has changed%s%u.",
	    o->name, l ? " for the listener on port " : ", listeners ",
	    l ? l->port : 0u);
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool
same_listeners(const struct conf *a, const struct conf *b)
{
	if (a->nlisteners != b->nlisteners)
		return false;
	for (uint32_t i = 0; i < a->nlisteners; i++) {
		const struct conf_listener *x = &a->listeners[i];
		const struct conf_listener *y = &b->listeners[i];

		if (x->port != y->port || x->tls != y->tls ||
		    x->protocol != y->protocol ||
		    x->socket_domain != y->socket_domain ||
		    !same_text(x->host, y->host) ||
		    !same_text(x->unix_path, y->unix_path) ||
		    !same_text(x->bind_interface, y->bind_interface))
			return false;
	}
	return true;
}

/* The first of them, and how many there are. */
static void
say_faults(const struct conf_report *r, struct nj_why *why)
{
	char text[sizeof why->what - 64];

	for (uint32_t i = 0; i < r->n; i++)
		if (r->v[i].fault) {
			why_set(why, "%u faults in the configuration: %s",
			    r->faults,
			    conf_finding_text(&r->v[i], text, sizeof text));
			return;
		}
	why_set(why, "%u faults in the configuration", r->faults);
}

/* A configuration with a fault changes nothing at all. */
static enum nj_err
reload(struct server *s, struct conf *new, struct conf_report *report,
    struct nj_why *why)
{
	struct diff d = { .conf = new };
	struct broker_limits limits;
	struct port_opts *ports = NULL;
	struct log_opts lo;
	enum nj_err e;

	e = conf_load(s->opts->path, &s->opts->args, new, report);
	log_report(report);
	if (e) {
		say_faults(report, why);
		return e;
	}
	if (!same_listeners(&s->conf, new)) {
		why_set(why, "listeners were added, removed or moved");
		why_mend(why, "restart the broker for that");
		return NJ_UNSUPPORTED;
	}
	if (s->lists)
		lists_watch_more(s->lists, new);
	if ((e = wiring_ports(
		 new, &s->wiring, s->workers, s->ports, &ports, why)))
		return e;
	wiring_limits(new, &limits);
	if ((e = rolekeep_all(
		 atomic_load(&s->broker), ports, new->nlisteners, why))) {
		wiring_ports_free(ports, new->nlisteners);
		return e;
	}
	if ((e = broker_reload(
		 atomic_load(&s->broker), &limits, ports, new->nlisteners))) {
		wiring_ports_free(ports, new->nlisteners);
		why_set(why, "out of memory");
		return e;
	}
	free(s->ports);
	s->ports = ports;
	ask_cas(s);
	wiring_adopt(ports, new->nlisteners);
	lo = log_options(s, new);
	if (log_reload(&lo, why))
		nj_log(LOG_T_ERROR, "The log goes on as before: %s", why->what);
	conf_diff(&s->conf, new, on_difference, &d);
	return NJ_OK;
}

static void
on_hangup(struct server *s)
{
	struct conf_report report = { 0 };
	struct conf new = { 0 };
	struct nj_why why = { 0 };
	uint64_t asked = serve_admin_reloading(&s->admin);
	enum nj_err e;

	broker_reload_begins(atomic_load(&s->broker));
	nj_log(LOG_T_INFORMATION, "Reloading the configuration.");
	if ((e = reload(s, &new, &report, &why))) {
		nj_log(LOG_T_ERROR,
		    "Reload failed, everything stays as it "
		    "was: %s%s%s",
		    why.what, why.mend[0] ? ". " : "", why.mend);
		conf_free(&new);
	} else {
		conf_free(&s->conf);
		s->conf = new;
		nj_log(LOG_T_INFORMATION, "Reloaded.");
	}
	broker_reload_ends(atomic_load(&s->broker));
	serve_admin_reloaded(&s->admin, asked, e, &why);
	conf_report_free(&report);
}

/* Signals. */

static void
block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
	sigaddset(set, SIGRTMIN);
	sigaddset(set, SIG_FILES);
	sigaddset(set, SIGIO);
	pthread_sigmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* a limit on the size of files is an error of the disk's like others */
	signal(SIGXFSZ, SIG_IGN);
}

/* A certificate was put in the place of another, by us or by who renews those
 * of a public CA.  Connections stay as they are. */
static void
renew_certificates(struct server *s)
{
	struct port_opts *ports = NULL;
	struct broker_limits limits;
	struct nj_why why = { 0 };
	enum nj_err e;

	wiring_limits(&s->conf, &limits);
	if (!(e = wiring_ports(
		  &s->conf, &s->wiring, s->workers, s->ports, &ports, &why)) &&
	    !(e = broker_reload(atomic_load(&s->broker), &limits, ports,
		  s->conf.nlisteners))) {
		free(s->ports);
		s->ports = ports;
		ask_cas(s);
		nj_log(LOG_T_INFORMATION,
		    "New certificates: the next handshakes have them.");
		return;
	}
	wiring_ports_free(ports, s->conf.nlisteners);
	/* One file is there before the other; the other brings us back. */
	nj_log(LOG_T_WARNING,
	    "Warning: a certificate or key has changed and is not used yet: "
	    "%s%s%s",
	    why.what[0] ? why.what : nj_strerror(e), why.mend[0] ? ". " : "",
	    why.mend);
}

static void
on_files(struct server *s)
{
	if (s->lists && lists_certs_changed(s->lists, &s->conf))
		renew_certificates(s);
	if (s->lists)
		lists_renew(s->lists, atomic_load(&s->broker), s->ports,
		    s->conf.nlisteners);
	renewal_look(s->renewal);
}

static void
look_at_dates(struct server *s, struct expiry *expiry)
{
	struct broker_dates d;

	expiry_tick(
	    expiry, s->ports, s->conf.nlisteners, (int64_t)time(NULL), &d);
	broker_tell_dates(atomic_load(&s->broker), &d);
}

/* Certificates and lists that a reload replaced, and nobody uses any more. */
static void
bury_former(const struct server *s)
{
	for (uint32_t i = 0; i < s->conf.nlisteners; i++)
		if (s->ports[i].tls)
			tls_server_bury(s->ports[i].tls);
}

/* Where Mosquitto's start looks for more than its configuration. */
static void
tell_environment(const struct conf *c)
{
	if (getenv("MOSQUITTO_UNSAFE_ALLOW_SYMLINKS") && !c->allow_linked_files)
		nj_log(LOG_T_WARNING,
		    "Warning: MOSQUITTO_UNSAFE_ALLOW_SYMLINKS has no effect "
		    "here. To mend it: 'allow_linked_files true' in the "
		    "configuration takes symbolic links");
}

/* fd, of daemon_signals(), is readable while a signal of the set is pending.  What is
 * taken is not pending any more: that a SIGHUP is served is said before, or who
 * connects between the two would not wait for it. */
static int
next_signal(struct broker *b, const sigset_t *set, int fd)
{
	const struct timespec none = { 0 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	sigset_t rest = *set, hangup, pending;
	int sig;

	(void)poll(&p, 1, TICK_S * 1000);
	sigdelset(&rest, SIGHUP);
	if (sigpending(&pending) || sigismember(&pending, SIGHUP) != 1)
		return sigtimedwait(&rest, NULL, &none);
	broker_reload_begins(b);
	sigemptyset(&hangup);
	sigaddset(&hangup, SIGHUP);
	if ((sig = sigtimedwait(&hangup, NULL, &none)) != SIGHUP)
		broker_reload_ends(b);
	return sig;
}

static void
serve_until_told(struct server *s, const sigset_t *set, int fd)
{
	struct expiry expiry = { 0 };

	tell_environment(&s->conf);
	on_files(s); /* what changed while it started */
	look_at_dates(s, &expiry);
	for (;;) {
		int sig = next_signal(atomic_load(&s->broker), set, fd);

		if (sig == SIGHUP)
			on_hangup(s);
		look_at_dates(s, &expiry);
		bury_former(s);
		if (sig == SIGINT || sig == SIGTERM)
			break;
		if (sig == SIGHUP)
			continue;
		if (sig == SIGUSR1)
			nj_log(LOG_T_INFORMATION, "Nothing to save: %s.",
			    s->conf.persistence
				? "what is to outlive the broker goes to its "
				  "store at once"
				: "without 'persistence true' all is in memory "
				  "and ends with the broker");
		else if (sig == SIGRTMIN)
			log_reopen();
		else if (sig == SIG_FILES || sig == SIGIO ||
		    (sig < 0 && errno == EAGAIN))
			on_files(s);
		else if (sig < 0 && errno != EINTR)
			break;
	}
	close(fd);
	nj_log(
	    LOG_T_INFORMATION, "nightjar version " NJ_VERSION " terminating.");
}

/* Why it failed: on stderr, and in the log where that is elsewhere. */
static void
tell_failed(struct server *s, enum nj_err e, const struct nj_why *why)
{
	const char *what = why->what[0] ? why->what : nj_strerror(e);
	struct log_opts lo = log_options(s, &s->conf);
	bool elsewhere = lo.dests & (LOG_D_FILE | LOG_D_SYSLOG | LOG_D_STDOUT);
	struct nj_why none = { 0 };

	if (elsewhere && !s->logging)
		s->logging = log_start(&lo, &none) == NJ_OK;
	elsewhere = elsewhere && s->logging;
	if (elsewhere)
		nj_log(LOG_T_ERROR, "Error: %s%s%s", what,
		    why->mend[0] ? ".  To mend it: " : "", why->mend);
	if (elsewhere && lo.dests & LOG_D_STDERR && log_on(LOG_T_ERROR))
		return; /* it stands there */
	fprintf(stderr, "Error: %s\n", what);
	if (why->mend[0])
		fprintf(stderr, "%s\n", why->mend);
}

static int
run(struct server *s, const struct serve_hooks *hooks)
{
	struct nj_why why = { 0 };
	sigset_t set;
	int status = 0, fd;
	enum nj_err e;

	block_signals(&set);
	if ((e = start(s, &why)) || (e = daemon_signals(&set, &fd, &why))) {
		tell_failed(s, e, &why);
		status = e == NJ_INVALID ? EXIT_CONFIG : 1;
	} else {
		if (s->opts->background)
			daemon_ready();
		if (hooks && hooks->on_ready)
			hooks->on_ready(hooks->arg);
		serve_until_told(s, &set, fd);
	}
	finish(s);
	return status;
}

int
serve_with(const struct serve_opts *o, const struct serve_hooks *hooks)
{
	struct server s = { .opts = o };
	struct conf_report report = { 0 };
	struct nj_why why = { 0 };
	enum nj_err e = conf_load(o->path, &o->args, &s.conf, &report);

	print_report(&report);
	if (e) {
		if (e != NJ_NOMEM)
			conf_free(&s.conf);
		fprintf(stderr, "Error: %s: %u fault%s; nothing was started.\n",
		    o->path ? o->path : "the command line", report.faults,
		    report.faults == 1 ? "" : "s");
		conf_report_free(&report);
		return EXIT_CONFIG;
	}
	conf_report_free(&report);
	if (o->background && (e = daemon_background(&why))) {
		fprintf(stderr, "Error: %s\n", why.what);
		conf_free(&s.conf);
		return 1;
	}
	return run(&s, hooks);
}

int
serve_run(const char *path, const struct serve_hooks *hooks)
{
	struct serve_opts o = {
		.path = path,
		.quiet = hooks && hooks->quiet,
		.ca_passphrase_file = hooks ? hooks->ca_passphrase_file : NULL,
		.signer_may_fail = hooks && hooks->signer_may_fail,
	};

	return serve_with(&o, hooks);
}
