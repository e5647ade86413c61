/* SPDX-License-Identifier: Apache-2.0
 * What `nightjar up` tells once it serves: lines that work as they stand.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/text.h"
#include "cmd/home.h"
#include "cmd/up.h"

#define SELF_MAX 4096

/* Whether this machine has the IPv6 loopback at all. */
static bool
has_ipv6(void)
{
	const struct sockaddr_in6 a = { .sin6_family = AF_INET6,
		.sin6_addr = in6addr_loopback };
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool yes;

	if (fd < 0)
		return false;
	yes = bind(fd, (const struct sockaddr *)&a, sizeof(a)) == 0;
	(void)close(fd);
	return yes;
}

static bool
is_usable_loopback(const struct sockaddr *sa)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		return ntohl(in.sin_addr.s_addr) >> 24 == 127;
	}
	if (sa->sa_family != AF_INET6)
		return false;
	memcpy(&in6, sa, sizeof(in6));
	return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) && has_ipv6();
}

/* A bare root has no /etc/hosts, and some have ::1 in it without IPv6: some
 * programs try one address only. */
static bool
localhost_works(void)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM };
	struct addrinfo *all = NULL;
	bool works = true;

	if (getaddrinfo("localhost", NULL, &hints, &all) != 0 || !all)
		return false;
	for (const struct addrinfo *i = all; i; i = i->ai_next)
		works = works && is_usable_loopback(i->ai_addr);
	freeaddrinfo(all);
	return works;
}

void
up_choose_host(struct up *u)
{
	const char *host = localhost_works() ? "localhost" : "127.0.0.1";

	if (strcmp(u->bind, "::") == 0)
		host = "::1"; /* it may be IPv6 only */
	else if (u->bind[0] && strcmp(u->bind, "0.0.0.0") != 0)
		host = u->bind;
	(void)snprintf(u->host, sizeof(u->host), "%s", host);
}

/*
 * Commands are built as they are typed: words are quoted where the shell
 * would change them.
 */

static bool
is_plain(const char *word)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz"
				    "0123456789@%_+=:,./-";

	return word[0] && strspn(word, plain) == strlen(word);
}

static void
put(struct buf *b, const char *text)
{
	enum nj_err e = buf_put_slice(b, slice_str(text));

	(void)e; /* no memory: the line is cut, which is all it can do */
}

static void
put_word(struct buf *b, const char *word)
{
	if (buf_len(b) > 0)
		put(b, " ");
	if (is_plain(word)) {
		put(b, word);
		return;
	}
	put(b, "'");
	for (; *word; word++) {
		const char one[2] = { *word, '\0' };

		put(b, *word == '\'' ? "'\\''" : one);
	}
	put(b, "'");
}

/* A string of Python or JavaScript, which agree on these. */
static void
put_string(struct buf *b, const char *text)
{
	put(b, "\"");
	for (; *text; text++) {
		const char one[2] = { *text, '\0' };

		if (*text == '"' || *text == '\\')
			put(b, "\\");
		put(b, one);
	}
	put(b, "\"");
}

struct paths {
	char *ca, *crt, *key;
};

static void
start_line(struct buf *b, const struct up *u)
{
	if (u->sudo)
		put_word(b, "sudo");
}

static void
end_line(struct buf *b)
{
	printf("    %.*s\n", (int)buf_len(b), (const char *)buf_slice(b).p);
	buf_fini(b);
}

static void
tell_client(const struct up *u, const struct paths *p, const char *prog,
    const char *verb, const char *const *more)
{
	struct buf b = { 0 };
	char port[16];

	(void)snprintf(port, sizeof(port), "%ld", u->port);
	start_line(&b, u);
	put_word(&b, prog);
	if (verb)
		put_word(&b, verb);
	put_word(&b, "-h");
	put_word(&b, u->host);
	put_word(&b, "-p");
	put_word(&b, port);
	put_word(&b, "--cafile");
	put_word(&b, p->ca);
	put_word(&b, "--cert");
	put_word(&b, p->crt);
	put_word(&b, "--key");
	put_word(&b, p->key);
	for (; *more; more++)
		put_word(&b, *more);
	end_line(&b);
}

/* The helpers of paho are the same in its versions 1 and 2, where the rest
 * differs. */
static void
tell_python(const struct up *u, const struct paths *p)
{
	struct buf code = { 0 }, b = { 0 };
	char port[32];

	(void)snprintf(port, sizeof(port), ", port=%ld, ", u->port);
	put(&code,
	    "import paho.mqtt.subscribe as s; s.callback(lambda c, u, "
	    "m: print(m.topic, m.payload.decode(), flush=True), "
	    "\"test/#\", hostname=");
	put_string(&code, u->host);
	put(&code, port);
	put(&code, "tls={\"ca_certs\": ");
	put_string(&code, p->ca);
	put(&code, ", \"certfile\": ");
	put_string(&code, p->crt);
	put(&code, ", \"keyfile\": ");
	put_string(&code, p->key);
	put(&code, "})");
	start_line(&b, u);
	put_word(&b, "python3");
	put_word(&b, "-c");
	if (buf_put_u8(&code, '\0') == NJ_OK)
		put_word(&b, (const char *)buf_slice(&code).p);
	end_line(&b);
	buf_fini(&code);
}

static void
tell_node(const struct up *u, const struct paths *p)
{
	struct buf code = { 0 }, b = { 0 };
	char url[PKI_NAME_MAX + 32];

	(void)snprintf(url, sizeof(url),
	    strchr(u->host, ':') ? "mqtts://[%s]:%ld" : "mqtts://%s:%ld",
	    u->host, u->port);
	put(&code,
	    "const f = require(\"fs\"), c = "
	    "require(\"mqtt\").connect(");
	put_string(&code, url);
	put(&code, ", {ca: f.readFileSync(");
	put_string(&code, p->ca);
	put(&code, "), cert: f.readFileSync(");
	put_string(&code, p->crt);
	put(&code, "), key: f.readFileSync(");
	put_string(&code, p->key);
	put(&code,
	    ")}); c.on(\"connect\", () => c.subscribe(\"test/#\")); "
	    "c.on(\"message\", (t, m) => console.log(t, "
	    "m.toString())); c.on(\"error\", e => console.error(e))");
	start_line(&b, u);
	put_word(&b, "node");
	put_word(&b, "-e");
	if (buf_put_u8(&code, '\0') == NJ_OK)
		put_word(&b, (const char *)buf_slice(&code).p);
	end_line(&b);
	buf_fini(&code);
}

static char *
own_path(void)
{
	char *path = realpath("/proc/self/exe", NULL);

	/* Without /proc there is the name it was called by. */
	if (!path && strchr(program_invocation_name, '/'))
		path = realpath(program_invocation_name, NULL);
	return path;
}

/* The first "nightjar" on the PATH is what the shell takes. */
static bool
is_on_path(const struct stat *self)
{
	const char *path = getenv("PATH");
	struct stat found;
	char try[SELF_MAX];

	while (path && *path) {
		int len = (int)strcspn(path, ":");

		(void)snprintf(try, sizeof(try), "%.*s/nightjar", len, path);
		if (stat(try, &found) == 0)
			return found.st_dev == self->st_dev &&
			    found.st_ino == self->st_ino;
		path += len + (path[len] == ':');
	}
	return false;
}

char *
up_self(void)
{
	char *path = own_path();
	struct stat self;

	if (!path || (stat(path, &self) == 0 && is_on_path(&self))) {
		free(path);
		return strdup("nightjar");
	}
	return path;
}

static void
tell_device(const struct up *u)
{
	struct buf b = { 0 };

	/* The CA's key is root's, whoever has the first client's. */
	if (u->root && getenv("SUDO_UID"))
		put_word(&b, "sudo");
	put_word(&b, u->self);
	put_word(&b, "ca");
	put_word(&b, "device");
	put_word(&b, "ID");
	if (!u->root || strcmp(u->dir, HOME_ROOT) != 0) {
		put_word(&b, "--dir");
		put_word(&b, u->dir);
	}
	printf("\nFor another device, with a name in place of ID:\n");
	end_line(&b);
	if (u->est_port == 0)
		return;
	if (u->root && getenv("SUDO_UID"))
		put_word(&b, "sudo");
	put_word(&b, u->self);
	put_word(&b, "ca");
	put_word(&b, "token");
	put_word(&b, "ID");
	if (!u->root || strcmp(u->dir, HOME_ROOT) != 0) {
		put_word(&b, "--dir");
		put_word(&b, u->dir);
	}
	printf("or with a token, so that its key is made on it and never "
	       "leaves it:\n");
	end_line(&b);
}

/* What a page does, once it has MQTT.js. */
static void
tell_page(const struct up *u, bool hidden)
{
	bool known = u->password && !hidden;
	char url[PKI_NAME_MAX + 32];
	struct buf b = { 0 }, pass = { 0 };

	(void)snprintf(url, sizeof(url),
	    strchr(u->host, ':') ? "wss://[%s]:%ld" : "wss://%s:%ld", u->host,
	    u->wss_port);
	put(&b, "const c = mqtt.connect(");
	put_string(&b, url);
	put(&b, ", {username: ");
	put_string(&b, u->own_passwords ? UP_WEB_USER : "USER");
	put(&b, ", password: ");
	if (known && buf_put_slice(&pass, secret_bytes(u->password)) == NJ_OK &&
	    buf_put_u8(&pass, '\0') == NJ_OK)
		put_string(&b, (const char *)buf_slice(&pass).p);
	else
		put_string(&b, "PASSWORD");
	put(&b,
	    "}); c.on(\"connect\", () => c.subscribe(\"test/#\")); "
	    "c.on(\"message\", (t, m) => console.log(t, m.toString())); "
	    "c.on(\"error\", e => console.error(e))");
	end_line(&b);
	buf_wipe(&pass);
}

/* How Chromium comes to trust the CA, for this user alone.  The name is of this
 * CA only: another certificate under an old name would be refused. */
static void
tell_trust(const struct up *u, const struct paths *p)
{
	char name[] = "nightjar-xxxxxxxx";
	size_t at = sizeof("nightjar-") - 1;
	struct buf b = { 0 };

	for (const char *f = u->fingerprint; *f && name[at]; f++)
		if (*f != ':')
			name[at++] = *f;

	put(&b,
	    "mkdir -p ~/.pki/nssdb && certutil -d sql:$HOME/.pki/nssdb -A -t "
	    "C,, -n");
	put_word(&b, name);
	put_word(&b, "-i");
	put_word(&b, p->ca);
	end_line(&b);
}

/* Others read systemd's journal too.  The variable is inherited by programs
 * that write elsewhere, so that it says which stream is meant. */
static bool
goes_to_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	char *end;

	if (!stream || fstat(STDOUT_FILENO, &st) != 0)
		return false;
	dev = strtoull(stream, &end, 10);
	if (end == stream || *end != ':')
		return false;
	ino = strtoull(end + 1, NULL, 10);
	return st.st_dev == dev && st.st_ino == ino;
}

static void
tell_browser(const struct up *u, const struct paths *p)
{
	bool hidden = goes_to_journal();
	char *kept = up_wss_kept(u);

	printf("\nReceive in a web page on this machine that has MQTT.js "
	       "(npm install mqtt, dist/mqtt.min.js):\n");
	tell_page(u, hidden);
	if (u->own_passwords && kept)
		printf("  with the password in %s, and once\n", kept);
	else
		printf("  with a user of the password_file, and once\n");
	printf("  the browser trusts this CA. Chromium and Chrome on Linux do "
	       "when they start after\n  this line (apt install "
	       "libnss3-tools):\n");
	tell_trust(u, p);
	printf("  Firefox: Settings, View Certificates, Authorities, Import "
	       "%s\n",
	    p->ca);
	free(kept);
}

static void
tell_lines(const struct up *u, const struct paths *p)
{
	static const char *const sub[] = { "-t", "test/#", "-v", NULL };
	static const char *const pub[] = { "-t", "test/hello", "-m", "it works",
		NULL };
	const char *self = u->self;

	printf("\nReceive on this machine, with any of these as it stands:\n");
	printf("  Nightjar:\n");
	tell_client(u, p, self, "sub", sub);
	printf("  Mosquitto (apt install mosquitto-clients):\n");
	tell_client(u, p, "mosquitto_sub", NULL, sub);
	printf("  Python (apt install python3-paho-mqtt):\n");
	tell_python(u, p);
	printf("  Node (npm install mqtt):\n");
	tell_node(u, p);
	printf("and send from another terminal:\n");
	tell_client(u, p, self, "pub", pub);
	if (u->wss_port > 0)
		tell_browser(u, p);
	tell_device(u);
}

static void
tell_names(const struct up *u)
{
	printf("  listening    port %ld of %s, as:", u->port,
	    u->bind[0] ? u->bind : "all addresses");
	for (unsigned i = 0; i < u->names.n; i++)
		printf("%s%s", i ? ", " : " ", u->names.v[i].text);
	printf("\n");
	if (u->wss_port > 0)
		printf("  web pages    port %ld, MQTT over secure WebSocket\n",
		    u->wss_port);
	if (u->est_port > 0)
		printf("  enrolment    port %ld, for devices with a token\n",
		    u->est_port);
}

void
up_tell(const struct up *u, const struct up_result *r)
{
	struct paths p = { .ca = up_device_path(u, "ca.crt"),
		.crt = up_device_path(u, "client.crt"),
		.key = up_device_path(u, "client.key") };

	printf("\nNightjar serves MQTT over TLS; every client needs a "
	       "certificate of its CA%s.\n",
	    u->wss_port > 0 ? ", and a web page a password" : "");
	if (r->ok)
		printf("  self test    a message went through it and back in "
		       "%.2f ms (%s, connected in %.1f ms)\n",
		    r->ms, r->version, r->handshake_ms);
	else
		printf("  self test    FAILED: %s\n%s%s%s", r->why.what,
		    r->why.mend[0] ? "               to mend it: " : "",
		    r->why.mend, r->why.mend[0] ? "\n" : "");
	tell_names(u);
	printf("  CA           SHA-256 %s\n", u->fingerprint);
	printf("  folder       %s\n", u->dir);
	if (p.ca && p.crt && p.key)
		tell_lines(u, &p);
	printf("\nCtrl-C ends it.\n");
	(void)fflush(stdout);
	free(p.ca);
	free(p.crt);
	free(p.key);
}
