/* SPDX-License-Identifier: Apache-2.0
 * The user that web pages log in as: a browser has no certificate of ours
 * unless somebody puts one in, so it gets a password, which is kept to be told
 * at every start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/password.h"
#include "auth/password_file.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/secret.h"
#include "cmd/port.h"
#include "cmd/up.h"
#include "pki/ca.h"

#define PASSWORD_CHARS 24 /* of 62: 142 bits */
#define PORTS_TRIED    20

/* -- the port -------------------------------------------------------------- */

/* This one, or the next that is free: nobody asked for it, so it is no reason
 * not to start. */
static long
free_port(const struct up *u, long first)
{
	for (long p = first; p < first + PORTS_TRIED && p <= 65535; p++) {
		struct nj_why why;

		if (p != u->port && p != u->wss_port &&
		    port_check((unsigned)p, &why) == NJ_OK)
			return p;
	}
	return 0;
}

enum nj_err
up_est_choose(struct up *u, long written, struct nj_why *why)
{
	bool asked = u->est_port >= 0;

	if (!asked)
		u->est_port = written >= 0 ? written
		    : u->port == UP_PORT   ? free_port(u, UP_EST_PORT)
					   : free_port(u, u->port + 2);
	if (u->est_port == 0 || u->bind[0] || (!asked && written < 0))
		return NJ_OK;
	if (u->est_port == u->port || u->est_port == u->wss_port) {
		why_set(
		    why, "port %ld cannot be enrolment's as well", u->est_port);
	} else if (port_check((unsigned)u->est_port, why) == NJ_OK) {
		return NJ_OK;
	}
	why_mend(why,
	    "choose another port for enrolment with --enroll-port PORT (0: "
	    "none)");
	return NJ_BUSY;
}

enum nj_err
up_wss_choose(struct up *u, long written, struct nj_why *why)
{
	bool asked = u->wss_port >= 0;

	if (!asked)
		u->wss_port = written >= 0 ? written
		    : u->port == UP_PORT   ? free_port(u, UP_WSS_PORT)
					   : free_port(u, u->port + 1);
	if (u->wss_port == 0)
		return NJ_OK;
	if (u->wss_port == u->port) {
		why_set(why, "port %ld cannot be both MQTT's and WebSocket's",
		    u->port);
		why_mend(why, "choose another with --wss-port PORT");
		return NJ_INVALID;
	}
	if (u->bind[0] || (!asked && written < 0))
		return NJ_OK;
	if (port_check((unsigned)u->wss_port, why) == NJ_OK)
		return NJ_OK;
	why_mend(why,
	    "end that program, or choose another port for web pages with "
	    "--wss-port PORT (0: none)");
	return NJ_BUSY;
}

/* -- the password ---------------------------------------------------------- */

static bool
is_line_of_user(struct slice line)
{
	return slice_has_prefix(line, LIT(UP_WEB_USER ":"));
}

/* The other lines as they are, and a new one of ours. */
static enum nj_err
put_user(struct slice old, struct slice password, struct buf *out)
{
	const struct password_cost cost =
	    password_default_cost(PASSWORD_ARGON2ID);
	char hash[PASSWORD_TEXT_MAX];
	enum nj_err e = NJ_OK;

	while (!e && old.p && old.n > 0) {
		const uint8_t *nl = memchr(old.p, '\n', old.n);
		size_t n = nl ? (size_t)(nl - old.p) : old.n;

		if (n > 0 && !is_line_of_user(slice_of(old.p, n)) &&
		    !(e = buf_put(out, old.p, n)))
			e = buf_put_u8(out, '\n');
		n += nl != NULL;
		old = slice_of(old.p + n, old.n - n);
	}
	if (e || (e = password_make(&cost, password, hash)))
		return e;
	return buf_printf(out, UP_WEB_USER ":%s\n", hash);
}

static bool
has_user(struct slice text)
{
	while (text.p && text.n > 0) {
		const uint8_t *nl = memchr(text.p, '\n', text.n);
		size_t n = nl ? (size_t)(nl - text.p) + 1 : text.n;

		if (is_line_of_user(text))
			return true;
		text = slice_of(text.p + n, text.n - n);
	}
	return false;
}

/* Whoever writes another password into the file that keeps it has changed
 * it. */
static bool
is_newer(const char *a, const char *b)
{
	struct stat sa, sb;

	if (stat(a, &sa) != 0 || stat(b, &sb) != 0)
		return true;
	return sa.st_mtim.tv_sec > sb.st_mtim.tv_sec ||
	    (sa.st_mtim.tv_sec == sb.st_mtim.tv_sec &&
		sa.st_mtim.tv_nsec > sb.st_mtim.tv_nsec);
}

static enum nj_err
write_user(
    const struct up *u, const char *users, const char *kept, struct nj_why *why)
{
	struct buf old = { 0 }, out = { 0 };
	bool there = access(users, F_OK) == 0;
	enum nj_err e = NJ_OK;

	if (there && (e = file_read(users, PASSWORD_FILE_MAX, &old, why)))
		goto out;
	if (there && has_user(buf_slice(&old)) && !is_newer(kept, users))
		goto out;
	if ((e = put_user(buf_slice(&old), secret_bytes(u->password), &out)) ||
	    (e = file_write(users, buf_slice(&out), 0600, why)))
		goto out;
	printf("Put the user '" UP_WEB_USER "', for web pages, into %s; "
	       "the password is in %s\n",
	    users, kept);
out:
	buf_wipe(&old);
	buf_wipe(&out);
	return e;
}

static enum nj_err
make_password(const char *kept, struct nj_why *why)
{
	struct secret *s = NULL;
	struct buf line = { 0 };
	enum nj_err e;

	if ((e = secret_random(PASSWORD_CHARS, &s)))
		return e;
	if (!(e = buf_put_slice(&line, secret_bytes(s))) &&
	    !(e = buf_put_u8(&line, '\n')) &&
	    !(e = file_create(kept, buf_slice(&line), 0600, why)))
		up_give(kept);
	buf_wipe(&line);
	secret_free(s);
	return e;
}

char *
up_wss_kept(const struct up *u)
{
	return pki_path(u->dir, UP_WEB_USER ".password");
}

enum nj_err
up_wss_prepare(struct up *u, struct nj_why *why)
{
	char *users = pki_path(u->dir, "passwords"), *kept = up_wss_kept(u);
	enum nj_err e = NJ_NOMEM;

	if (!users || !kept)
		goto out;
	e = NJ_OK;
	if (u->wss_port == 0 || !u->own_passwords)
		goto out;
	if (access(kept, F_OK) != 0 && (e = make_password(kept, why)))
		goto out;
	if (!(e = secret_from_file(kept, &u->password, why)))
		e = write_user(u, users, kept, why);
out:
	free(kept);
	free(users);
	return e;
}
