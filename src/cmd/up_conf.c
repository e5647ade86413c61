/* SPDX-License-Identifier: Apache-2.0
 * The configuration of `nightjar up`: written once, then its owner's; only
 * what the command line asks for is changed in it.
 */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "cmd/home.h"
#include "cmd/up.h"
#include "conf/table.h"

#define CONF_MAX (1024 * 1024)
/* The address of a Unix socket has 107 bytes. */
#define ADMIN_DIR_MAX 96

/*
 * Reading.
 */

/* Takes the first word off a line's front, which has no blanks before it. */
static struct slice
cut_word(struct slice *line)
{
	struct slice word = { line->p, 0 };

	while (word.n < line->n && line->p[word.n] != ' ' &&
	    line->p[word.n] != '\r')
		word.n++;
	line->p += word.n;
	line->n -= word.n;
	while (line->n > 0 && (line->p[0] == ' ' || line->p[0] == '\r')) {
		line->p++;
		line->n--;
	}
	return word;
}

/* The next line without its end, and without blanks before it. */
static bool
next_line(struct slice *text, struct slice *line)
{
	const uint8_t *nl;
	size_t used;

	if (!text->p || text->n == 0)
		return false;
	nl = memchr(text->p, '\n', text->n);
	*line = slice_of(text->p, nl ? (size_t)(nl - text->p) : text->n);
	used = line->n + (nl != NULL);
	while (line->n > 0 && line->p[0] == ' ')
		*line = slice_of(line->p + 1, line->n - 1);
	text->p += used;
	text->n -= used;
	return true;
}

/* The words of the first "listener PORT [ADDRESS]" line, as parts of text. */
static bool
find_listener(struct slice text, struct slice *port, struct slice *address)
{
	struct slice line;

	while (next_line(&text, &line))
		if (slice_is(cut_word(&line), "listener")) {
			*port = cut_word(&line);
			*address = cut_word(&line);
			return port->n > 0;
		}
	return false;
}

static bool
is_one_of(struct slice word, const char *const *words)
{
	for (; *words; words++)
		if (slice_is(word, *words))
			return true;
	return false;
}

/* The port of the first listener with one of these protocols, as a part of
 * text. */
static bool
find_speaker(
    struct slice text, const char *const *protocols, struct slice *port)
{
	struct slice line, word;

	*port = SLICE_NONE;
	while (next_line(&text, &line)) {
		word = cut_word(&line);
		if (slice_is(word, "listener"))
			*port = cut_word(&line);
		if (slice_is(word, "protocol") && port->n > 0 &&
		    is_one_of(cut_word(&line), protocols))
			return true;
	}
	*port = SLICE_NONE;
	return false;
}

static bool
find_wss(struct slice text, struct slice *port)
{
	static const char *const words[] = { "websockets", "mqtt+websockets",
		NULL };

	return find_speaker(text, words, port);
}

static bool
find_est(struct slice text, struct slice *port)
{
	static const char *const words[] = { "est", NULL };

	return find_speaker(text, words, port);
}

/* What follows the first line's name, SLICE_NONE when there is no such. */
static struct slice
find_value(struct slice text, const char *name)
{
	struct slice line;

	while (next_line(&text, &line))
		if (slice_is(cut_word(&line), name)) {
			while (line.n > 0 &&
			    (line.p[line.n - 1] == ' ' ||
				line.p[line.n - 1] == '\r'))
				line.n--;
			return line;
		}
	return SLICE_NONE;
}

/* False when it does not fit. */
static bool
copy_word(char *dst, size_t size, struct slice word)
{
	if (word.n >= size)
		return false;
	if (word.n > 0)
		memcpy(dst, word.p, word.n);
	dst[word.n] = '\0';
	return true;
}

static enum nj_err
read_port(struct up *u, struct buf *text, struct slice *digits, long *port,
    struct nj_why *why)
{
	struct slice address = SLICE_NONE;
	char number[16];
	enum nj_err e;

	if ((e = file_read(u->conf, CONF_MAX, text, why)))
		return e;
	if (find_listener(buf_slice(text), digits, &address) &&
	    copy_word(number, sizeof(number), *digits) &&
	    text_to_long(number, 1, 65535, port) &&
	    copy_word(u->bind, sizeof(u->bind), address))
		return NJ_OK;
	why_set(why, "'%s' has no line 'listener PORT'", u->conf);
	why_mend(why,
	    "put one in, or move the file away: it is then written "
	    "anew");
	return NJ_INVALID;
}

static long
number_of(struct slice digits)
{
	char number[16];
	long n = 0;

	return copy_word(number, sizeof(number), digits) &&
		text_to_long(number, 1, 65535, &n)
	    ? n
	    : 0;
}

enum nj_err
up_conf_port(struct up *u, long *out, long *wss, long *est, struct nj_why *why)
{
	struct buf text = { 0 };
	struct slice digits;
	enum nj_err e;

	*wss = *est = 0;
	if (access(u->conf, F_OK) != 0) {
		*out = 0;
		*wss = *est = -1;
		return NJ_OK;
	}
	e = read_port(u, &text, &digits, out, why);
	if (!e && find_wss(buf_slice(&text), &digits))
		*wss = number_of(digits);
	if (!e && find_est(buf_slice(&text), &digits))
		*est = number_of(digits);
	buf_fini(&text);
	return e;
}

/*
 * Changing.
 */

/* A port that was asked for goes into the file, so that the next start has it
 * too; the rest of the file is its owner's. */
static enum nj_err
change_port(const struct up *u, struct slice all, struct slice digits,
    long port, struct nj_why *why)
{
	size_t before = (size_t)(digits.p - all.p);
	struct buf moved = { 0 };
	enum nj_err e;

	if (number_of(digits) == port)
		return NJ_OK;
	if (!(e = buf_put(&moved, all.p, before)) &&
	    !(e = buf_printf(&moved, "%ld", port)) &&
	    !(e = buf_put(
		  &moved, digits.p + digits.n, all.n - before - digits.n)) &&
	    !(e = file_write(u->conf, buf_slice(&moved), 0644, why)))
		printf("Changed the port from %ld to %ld in %s\n",
		    number_of(digits), port, u->conf);
	buf_fini(&moved);
	return e;
}

static enum nj_err
move_port(struct up *u, struct nj_why *why)
{
	struct buf text = { 0 };
	struct slice digits;
	long port;
	enum nj_err e;

	if (!(e = read_port(u, &text, &digits, &port, why)))
		e = change_port(u, buf_slice(&text), digits, u->port, why);
	buf_fini(&text);
	return e;
}

/* The listener of web pages.  It needs a password_file, and takes the one
 * there is. */
static enum nj_err
put_wss(const struct up *u, bool password_file, struct buf *b)
{
	enum nj_err e;

	e = buf_printf(b,
	    "\n# MQTT over secure WebSocket, for web pages: with a user and "
	    "password\n# (nightjar passwd %s/passwords NAME), or, for "
	    "programs, with a certificate.\n"
	    "# Only pages from these may connect: websockets_origin "
	    "https://example.org\n"
	    "listener %ld\n"
	    "protocol websockets\n"
	    "cafile %s/pki/ca.crt\n"
	    "certfile %s/server/server.crt\n"
	    "keyfile %s/server/server.key\n"
	    "use_identity_as_username true\n"
	    "certificate_clientid any\n"
	    "certificate_or_password true\n",
	    u->dir, u->wss_port, u->dir, u->dir, u->dir);
	if (!e && password_file)
		e = buf_printf(b, "password_file %s/passwords\n", u->dir);
	return e;
}

/* The listener of devices that have a token. */
static enum nj_err
put_est(const struct up *u, struct buf *b)
{
	return buf_printf(b,
	    "\n# Certificates for devices with a token (nightjar ca token ID), "
	    "over HTTPS.\n"
	    "listener %ld\n"
	    "protocol est\n"
	    "cafile %s/pki/ca.crt\n"
	    "certfile %s/server/server.crt\n"
	    "keyfile %s/server/server.key\n",
	    u->est_port, u->dir, u->dir, u->dir);
}

/* Only what was asked for: the file is its owner's. */
static enum nj_err
move_est(struct up *u, struct nj_why *why)
{
	struct buf text = { 0 }, out = { 0 };
	struct slice digits;
	enum nj_err e;

	if (u->est_port <= 0)
		return NJ_OK;
	if ((e = file_read(u->conf, CONF_MAX, &text, why)))
		return e;
	if (find_est(buf_slice(&text), &digits)) {
		e = change_port(u, buf_slice(&text), digits, u->est_port, why);
	} else if (!(e = buf_put_slice(&out, buf_slice(&text))) &&
	    !(e = put_est(u, &out)) &&
	    !(e = file_write(u->conf, buf_slice(&out), 0644, why))) {
		printf("Added a listener for enrolment to %s\n", u->conf);
	}
	buf_fini(&out);
	buf_fini(&text);
	return e;
}

/* Puts a # before each line about the listener of this port. */
static enum nj_err
put_without(struct slice text, struct slice port, struct buf *b)
{
	struct slice rest = text, line;
	bool of_it = false;
	enum nj_err e = NJ_OK;

	while (!e) {
		const uint8_t *from = rest.p;
		const struct conf_opt *o;
		struct slice word;

		if (!next_line(&rest, &line))
			break;
		word = cut_word(&line);
		if (slice_is(word, "listener"))
			of_it = cut_word(&line).p == port.p;
		o = conf_opt_find(word);
		if (of_it && o && conf_opt_real(o)->scope == CONF_LISTENER)
			e = buf_put_u8(b, '#');
		if (!e)
			e = buf_put(b, from, (size_t)(rest.p - from));
	}
	return e;
}

/* On, off, or to another port. */
static enum nj_err
move_wss(struct up *u, struct nj_why *why)
{
	struct buf text = { 0 }, out = { 0 };
	struct slice all, digits;
	enum nj_err e;

	if ((e = file_read(u->conf, CONF_MAX, &text, why)))
		return e;
	all = buf_slice(&text);
	if (find_wss(all, &digits) && u->wss_port > 0) {
		e = change_port(u, all, digits, u->wss_port, why);
	} else if (digits.n > 0) {
		if (!(e = put_without(all, digits, &out)) &&
		    !(e = file_write(u->conf, buf_slice(&out), 0644, why)))
			printf("Took the listener for web pages out of %s\n",
			    u->conf);
	} else if (u->wss_port > 0) {
		bool needs = find_value(all, "password_file").n == 0 ||
		    find_value(all, "per_listener_settings").n > 0;

		if (!(e = buf_put_slice(&out, all)) &&
		    !(e = put_wss(u, needs, &out)) &&
		    !(e = file_write(u->conf, buf_slice(&out), 0644, why)))
			printf(
			    "Added a listener for web pages to %s\n", u->conf);
	}
	buf_fini(&out);
	buf_fini(&text);
	return e;
}

/* Whose users web pages log in as. */
static enum nj_err
look_for_passwords(struct up *u, struct nj_why *why)
{
	struct buf text = { 0 };
	struct slice path;
	char *ours = pki_path(u->dir, "passwords");
	enum nj_err e;

	if (!ours)
		return NJ_NOMEM;
	if (!(e = file_read(u->conf, CONF_MAX, &text, why))) {
		path = find_value(buf_slice(&text), "password_file");
		u->own_passwords = slice_is(path, ours);
	}
	buf_fini(&text);
	free(ours);
	return e;
}

/*
 * Writing it anew.
 */

/* Whether a user without rights can get into dir, which is absolute. */
static bool
others_reach(const char *dir)
{
	char part[PATH_MAX];
	struct stat st;

	for (size_t n = 1; dir[n - 1] != '\0'; n++) {
		if (dir[n] != '/' && dir[n] != '\0')
			continue;
		if (n >= sizeof part)
			return false;
		memcpy(part, dir, n);
		part[n] = '\0';
		if (stat(part, &st) != 0 || !(st.st_mode & S_IXOTH))
			return false;
	}
	return true;
}

/*
 * What is acknowledged: beside the rest; or, where the user who serves cannot
 * get there (root's home is closed), in HOME_ROOT, under the folder's name.
 */
static enum nj_err
put_data(
    const struct up *u, const char *user, struct buf *b, struct nj_why *why)
{
	static const char head[] =
	    "# What is acknowledged is on disk: sessions, queued and retained "
	    "messages, wills.\n"
	    "persistence true\n"
	    "persistence_location ";
	enum nj_err e = buf_printf(b, "%s", head);

	if (e)
		return e;
	if (!user || others_reach(u->dir))
		return buf_printf(b, "%s/data\n\n", u->dir);
	if ((e = file_mkdir(HOME_ROOT, 0755, why)) ||
	    (e = buf_printf(b, HOME_ROOT "/data")))
		return e;
	for (const char *p = u->dir; *p && !e; p++)
		e = buf_put_u8(b, *p == '/' ? '-' : (uint8_t)*p);
	return e ? e : buf_printf(b, "\n\n");
}

static enum nj_err
write_conf(const struct up *u, const char *user, struct nj_why *why)
{
	struct buf b = { 0 };
	enum nj_err e;

	e = buf_printf(&b,
	    "# Written by `nightjar up` at its first start; it is yours to "
	    "change.\n"
	    "# The lines are those of a mosquitto.conf, see "
	    "nightjar.conf(5).\n\n");
	if (!e && user)
		e = buf_printf(&b,
		    "# Who the broker runs as, once it has read its keys.\n"
		    "user %s\n\n",
		    user);
	if (!e && strlen(u->dir) < ADMIN_DIR_MAX)
		e = buf_printf(&b,
		    "# For 'nightjar status', 'nightjar clients' and the like, "
		    "of root and of the broker's user.\n"
		    "admin_socket %s/admin.sock\n\n",
		    u->dir);
	if (!e)
		e = put_data(u, user, &b, why);
	if (!e)
		e = buf_printf(&b,
		    "# MQTT over TLS. Every client needs a certificate, from: "
		    "nightjar ca device ID\n"
		    "listener %ld\n"
		    "cafile %s/pki/ca.crt\n"
		    "certfile %s/server/server.crt\n"
		    "keyfile %s/server/server.key\n"
		    "require_certificate true\n\n"
		    "# A client's user name is the ID in its certificate.\n"
		    "use_identity_as_username true\n"
		    "# Its client id may be anything; 'own' binds it to that "
		    "name.\n"
		    "certificate_clientid any\n"
		    "allow_anonymous false\n",
		    u->port, u->dir, u->dir, u->dir);
	if (!e && u->est_port > 0)
		e = put_est(u, &b);
	if (!e && u->wss_port > 0)
		e = put_wss(u, true, &b);
	if (!e)
		e = file_create(u->conf, buf_slice(&b), 0644, why);
	buf_fini(&b);
	return e;
}

/* Makes the system user; false when that did not work. */
static bool
add_user(void)
{
	static char prog[] = "useradd", system_user[] = "--system",
		    group[] = "--user-group", no_home[] = "--no-create-home",
		    home[] = "--home-dir", home_dir[] = HOME_ROOT,
		    shell[] = "--shell", nologin[] = "/usr/sbin/nologin",
		    name[] = UP_USER;
	char *const argv[] = { prog, system_user, group, no_home, home,
		home_dir, shell, nologin, name, NULL };
	char *const env[] = { NULL };
	int status = -1;
	pid_t pid;

	if (posix_spawn(&pid, "/usr/sbin/useradd", NULL, NULL, argv, env) != 0)
		return false;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 && getpwnam(UP_USER) != NULL;
}

/* Who the broker of root is to run as.  A user is made only for the folder
 * that belongs to the system. */
static const char *
choose_user(const struct up *u)
{
	if (geteuid() != 0)
		return NULL;
	if (getpwnam(UP_USER))
		return UP_USER;
	if (strcmp(u->dir, HOME_ROOT) == 0 && add_user()) {
		printf("Made the system user '%s', who the broker runs as.\n",
		    UP_USER);
		return UP_USER;
	}
	return UP_NOBODY;
}

enum nj_err
up_conf_prepare(struct up *u, struct nj_why *why)
{
	const char *user;
	enum nj_err e;

	if (access(u->conf, F_OK) == 0) {
		if ((e = move_port(u, why)) || (e = move_wss(u, why)) ||
		    (e = move_est(u, why)))
			return e;
		return look_for_passwords(u, why);
	}
	user = choose_user(u);
	if ((e = write_conf(u, user, why)))
		return e;
	printf("Wrote the configuration %s\n", u->conf);
	u->own_passwords = true;
	return NJ_OK;
}
