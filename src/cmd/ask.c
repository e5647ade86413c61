/* SPDX-License-Identifier: Apache-2.0
 */
#include "cmd/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "auth/json_read.h"
#include "base/buf.h"
#include "base/text.h"
#include "cmd/home.h"
#include "conf/conf.h"

#define CHUNK	   16384
#define SOCKET_ENV "NIGHTJAR_ADMIN_SOCKET"
#define SOCKET_RUN "/run/nightjar/admin.sock"

/* Which broker. */

static enum nj_err
socket_of_conf(const char *file, char **out, struct nj_why *why)
{
	struct conf_report report = { 0 };
	struct conf c = { 0 };
	enum nj_err e = conf_load(file, NULL, &c, &report);

	conf_report_free(&report);
	if (e == NJ_NOMEM)
		return e;
	if (c.admin_socket)
		*out = strdup(c.admin_socket);
	conf_free(&c);
	if (*out)
		return NJ_OK;
	if (e) {
		why_set(why, "%s cannot be used", file);
		why_mend(why, "nightjar serve --test-config -c %s", file);
	} else {
		why_set(why, "%s names no administrative socket", file);
		why_mend(why,
		    "add 'admin_socket PATH' to it and start the broker "
		    "again");
	}
	return e ? e : NJ_NOTFOUND;
}

static bool
is_there(const char *path)
{
	return access(path, F_OK) == 0;
}

/* The places where brokers have it when nobody said anything. */
static enum nj_err
usual_socket(char **out, struct nj_why *why)
{
	char *home = NULL, *path = NULL;
	enum nj_err e;

	if (is_there(SOCKET_RUN)) {
		*out = strdup(SOCKET_RUN);
		return *out ? NJ_OK : NJ_NOMEM;
	}
	if ((e = home_find(NULL, false, &home, why)) == NJ_OK &&
	    asprintf(&path, "%s/admin.sock", home) < 0)
		path = NULL;
	if (!e && path && is_there(path)) {
		*out = path;
		free(home);
		return NJ_OK;
	}
	why_set(why, "no broker's administrative socket was found: %s%s%s",
	    SOCKET_RUN, path ? ", " : "", path ? path : "");
	why_mend(why,
	    "say which broker: -c FILE (its configuration) or --socket PATH; "
	    "its configuration needs 'admin_socket PATH'");
	free(path);
	free(home);
	return NJ_NOTFOUND;
}

static enum nj_err
find_socket(const struct ask_opts *o, char **out, struct nj_why *why)
{
	const char *given = o->socket;

	if (!given && o->conf)
		return socket_of_conf(o->conf, out, why);
	if (!given)
		given = getenv(SOCKET_ENV);
	if (!given || !*given)
		return usual_socket(out, why);
	*out = strdup(given);
	return *out ? NJ_OK : NJ_NOMEM;
}

/* The conversation. */

static enum nj_err
cannot_connect(const char *path, struct nj_why *why)
{
	why_set(why, "%s: %s", path, strerror(errno));
	if (errno == EACCES)
		why_mend(why,
		    "run it as root or as the user the broker serves as, or "
		    "let a group in: admin_socket_group");
	else
		why_mend(why,
		    "is the broker running? its log says where its "
		    "administrative socket is");
	return NJ_IO;
}

static enum nj_err
connect_to(const char *path, int *out, struct nj_why *why)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	size_t n = strlen(path);
	int fd;

	if (n >= sizeof un.sun_path) {
		why_set(why, "the path %s is too long for a socket", path);
		return NJ_INVALID;
	}
	memcpy(un.sun_path, path, n + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&un, sizeof un) == 0) {
		*out = fd;
		return NJ_OK;
	}
	if (fd >= 0)
		(void)close(fd);
	return cannot_connect(path, why);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static enum nj_err
say(int fd, const char *text)
{
	size_t n = strlen(text);

	while (n > 0) {
		ssize_t k = send(fd, text, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return NJ_IO;
		text += k;
		n -= (size_t)k;
	}
	return NJ_OK;
}

/* Until '\n'. */
static enum nj_err
hear(int fd, struct buf *in, long timeout_s)
{
	int64_t until = now_ms() + timeout_s * 1000;

	for (;;) {
		struct pollfd v = { .fd = fd, .events = POLLIN };
		int64_t left = until - now_ms();
		struct slice s;
		uint8_t *at;
		ssize_t n;

		if (left <= 0)
			return NJ_TIMEOUT;
		if (buf_len(in) > ASK_ANSWER_MAX)
			return NJ_TOOBIG;
		if (buf_reserve(in, CHUNK, &at))
			return NJ_NOMEM;
		if (poll(&v, 1, left > INT32_MAX ? INT32_MAX : (int)left) <= 0)
			continue;
		n = recv(fd, at, CHUNK, 0);
		if (n == 0)
			return NJ_EOF;
		if (n < 0 && errno != EINTR)
			return NJ_IO;
		if (n <= 0)
			continue;
		buf_commit(in, (size_t)n);
		s = buf_slice(in);
		if (s.p[s.n - 1] == '\n')
			return NJ_OK;
	}
}

static enum nj_err
err_of(const char *code)
{
	static const struct {
		const char *code;
		enum nj_err e;
	} rows[] = {
		{ "invalid", NJ_INVALID },
		{ "not-found", NJ_NOTFOUND },
		{ "exists", NJ_EXISTS },
		{ "denied", NJ_DENIED },
		{ "unsupported", NJ_UNSUPPORTED },
		{ "timeout", NJ_TIMEOUT },
		{ "busy", NJ_BUSY },
		{ "too-big", NJ_TOOBIG },
	};

	for (size_t i = 0; code && i < sizeof rows / sizeof *rows; i++)
		if (strcmp(code, rows[i].code) == 0)
			return rows[i].e;
	return NJ_IO;
}

static enum nj_err
take_answer(struct slice text, json_t **result, struct nj_why *why)
{
	json_t *o = json_read(text, 0, NULL);
	const char *what, *mend;
	enum nj_err e = NJ_OK;

	if (json_is_true(json_object_get(o, "ok"))) {
		*result = json_incref(json_object_get(o, "result"));
	} else if (o) {
		what = json_string_value(json_object_get(o, "error"));
		mend = json_string_value(json_object_get(o, "mend"));
		why_set(why, "%s", what ? what : "the broker refused");
		if (mend)
			why_mend(why, "%s", mend);
		e = err_of(json_string_value(json_object_get(o, "code")));
	} else {
		why_set(why,
		    "what answers there is no broker's "
		    "administrative socket");
		e = NJ_MALFORMED;
	}
	json_decref(o);
	return e;
}

static enum nj_err
converse(int fd, const struct ask_opts *o, const char *line, json_t **result,
    struct nj_why *why)
{
	long timeout_s = o->timeout_s ? o->timeout_s : ASK_TIMEOUT_S;
	struct buf in = { 0 };
	enum nj_err said = say(fd, line), e;

	/* one that does not let us in may have answered already */
	e = hear(fd, &in, timeout_s);
	if (!e)
		e = take_answer(buf_slice(&in), result, why);
	else if (e == NJ_TIMEOUT)
		why_set(why, "no answer within %ld s", timeout_s);
	else
		why_set(why, "the broker closed the connection%s",
		    said ? " while it was asked" : "");
	buf_wipe(&in);
	return e;
}

static char *
line_of(const char *command, json_t *args)
{
	json_t *o = json_pack("{s:s}", "command", command);
	char *text = NULL, *line = NULL;

	if (args && o && json_object_set(o, "args", args)) {
		json_decref(o);
		o = NULL;
	}
	if (o && (text = json_dumps(o, JSON_COMPACT)) &&
	    asprintf(&line, "%s\n", text) < 0)
		line = NULL;
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
	json_decref(o);
	return line;
}

enum nj_err
ask(const struct ask_opts *o, const char *command, json_t *args,
    json_t **result, struct nj_why *why)
{
	char *line = line_of(command, args), *path = NULL;
	enum nj_err e = NJ_NOMEM;
	int fd = -1;

	json_decref(args);
	if (!line)
		goto out;
	if ((e = find_socket(o, &path, why)) ||
	    (e = connect_to(path, &fd, why)))
		goto out;
	e = converse(fd, o, line, result, why);
out:
	if (fd >= 0)
		(void)close(fd);
	if (line)
		explicit_bzero(line, strlen(line));
	free(line);
	free(path);
	return e;
}

json_t *
ask_args(const char *name, ...)
{
	json_t *o = json_object();
	va_list ap;

	va_start(ap, name);
	for (; name; name = va_arg(ap, const char *)) {
		const char *v = va_arg(ap, const char *);

		if (v && json_object_set_new(o, name, json_string(v))) {
			json_decref(o);
			o = NULL;
			break;
		}
	}
	va_end(ap);
	return o;
}

/* Printing. */

void
ask_print_json(const json_t *v)
{
	(void)json_dumpf(v, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
	(void)putchar('\n');
}

int
ask_and_print(const struct ask_opts *o, const char *command, json_t *args,
    void (*show)(const json_t *result))
{
	json_t *result = NULL;
	struct nj_why why = { 0 };
	enum nj_err e = ask(o, command, args, &result, &why);

	if (e)
		say_why(&why, e);
	else if (o->json || !show)
		ask_print_json(result);
	else
		show(result);
	json_decref(result);
	return e ? EXIT_FAILED : EXIT_FINE;
}

const char *
ask_text(const json_t *o, const char *name, char *dst, size_t size)
{
	const json_t *v = json_object_get(o, name);

	if (!json_is_string(v))
		return "";
	return text_esc(
	    dst, size, slice_of(json_string_value(v), json_string_length(v)));
}

long long
ask_number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

const char *
ask_span(long long s, char *dst, size_t size)
{
	if (s < 60)
		(void)snprintf(dst, size, "%lld s", s);
	else if (s < 3600)
		(void)snprintf(dst, size, "%lld min", s / 60);
	else if (s < 86400)
		(void)snprintf(
		    dst, size, "%lld h %lld min", s / 3600, s % 3600 / 60);
	else
		(void)snprintf(
		    dst, size, "%lld d %lld h", s / 86400, s % 86400 / 3600);
	return dst;
}

static const char *
store_word(const json_t *status, char *dst, size_t size)
{
	return ask_text(json_object_get(status, "store"), "state", dst, size);
}

const char *
ask_store(const json_t *status, char *dst, size_t size)
{
	const json_t *store = json_object_get(status, "store");
	long long refused = ask_number(store, "refused");
	time_t at = (time_t)ask_number(store, "since");
	char state[32], since[48] = "", lost[64] = "";
	struct tm tm;

	(void)store_word(status, state, sizeof state);
	if (strcmp(state, "none") == 0) {
		(void)snprintf(dst, size, "none (without persistence true)");
		return dst;
	}
	if (at && localtime_r(&at, &tm))
		(void)strftime(
		    since, sizeof since, " since %Y-%m-%d %H:%M:%S", &tm);
	if (refused)
		(void)snprintf(lost, sizeof lost,
		    " (%lld messages were refused for it)", refused);
	(void)snprintf(dst, size, "%s%s%s", state, since, lost);
	return dst;
}

const char *
ask_store_mend(const json_t *status)
{
	static const struct {
		const char *state, *mend;
	} rows[] = {
		{ "full",
		    "make room on the disk of persistence_location; the broker "
		    "goes on by itself" },
		{ "failing",
		    "look in the broker's log for what the disk says; the "
		    "broker goes on by itself when it can be written" },
		{ "damaged", "stop the broker, and: nightjar store check" },
	};
	char state[32];

	(void)store_word(status, state, sizeof state);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(state, rows[i].state) == 0)
			return rows[i].mend;
	return "";
}
