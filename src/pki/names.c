/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/names.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/text.h"
#include "pki/addresses.h"

#define HOSTS_FILE     "/etc/hosts"
#define HOSTS_FILE_MAX (1024 * 1024)
#define LABEL_MAX      63
#define TELLINGS_MAX   4

/* Writes the usual form of an address; false when it is none. */
static bool
usual_address(const char *text, char *dst, size_t size)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, text, &a4) == 1)
		return inet_ntop(AF_INET, &a4, dst, (socklen_t)size) != NULL;
	if (inet_pton(AF_INET6, text, &a6) != 1)
		return false;
	return inet_ntop(AF_INET6, &a6, dst, (socklen_t)size) != NULL;
}

/* Letters, digits, hyphens inside; underscores too, which many networks use
 * although RFC 1123 does not. */
static bool
is_label(const char *s, size_t n)
{
	if (n == 0 || n > LABEL_MAX || s[0] == '-' || s[n - 1] == '-')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_')
			return false;
	}
	return true;
}

static bool
is_host_name(const char *s)
{
	bool digits_only = true;

	if (strlen(s) > PKI_NAME_MAX)
		return false;
	if (s[0] == '*' && s[1] == '.' && strchr(s + 2, '.'))
		s += 2;
	for (;;) {
		size_t n = strcspn(s, ".");

		if (!is_label(s, n))
			return false;
		digits_only = digits_only && strspn(s, "0123456789") == n;
		if (s[n] == '\0')
			return !digits_only; /* 10.0.1 is no name */
		s += n + 1;
	}
}

enum nj_err
pki_names_add(struct pki_names *s, const char *text, struct nj_why *why)
{
	struct pki_name one = { .ip = false };
	char safe[TEXT_ESC];

	one.ip = usual_address(text, one.text, sizeof(one.text));
	if (!one.ip) {
		if (!is_host_name(text)) {
			text_esc(safe, sizeof(safe), slice_str(text));
			why_set(why,
			    "'%s' is neither a host name nor an "
			    "address",
			    safe);
			why_mend(why,
			    "give names like broker.example.org or "
			    "addresses like 192.168.1.20, without a "
			    "port");
			return NJ_INVALID;
		}
		for (size_t i = 0; text[i]; i++)
			one.text[i] = (char)tolower((unsigned char)text[i]);
	}
	if (pki_names_has(s, one.text))
		return NJ_OK;
	if (s->n == PKI_NAMES_MAX) {
		why_set(why,
		    "a certificate holds at most %d names and "
		    "addresses",
		    PKI_NAMES_MAX);
		why_mend(why, "give fewer");
		return NJ_FULL;
	}
	s->v[s->n++] = one;
	return NJ_OK;
}

bool
pki_names_has(const struct pki_names *s, const char *text)
{
	for (unsigned i = 0; i < s->n; i++) {
		if (strcasecmp(s->v[i].text, text) == 0)
			return true;
	}
	return false;
}

/* For names that nobody typed: one that cannot be used is left out. */
static void
offer(struct pki_names *s, const char *text)
{
	enum nj_err e = pki_names_add(s, text, NULL);

	(void)e;
}

static void
offer_general_name(struct pki_names *s, const GENERAL_NAME *g)
{
	char text[PKI_NAME_MAX + 1];
	int kind, n;
	const ASN1_STRING *v = GENERAL_NAME_get0_value(g, &kind);
	const unsigned char *p;

	if (kind != GEN_DNS && kind != GEN_IPADD)
		return;
	p = ASN1_STRING_get0_data(v);
	n = ASN1_STRING_length(v);
	if (kind == GEN_IPADD) {
		if ((n == 4 || n == 16) &&
		    inet_ntop(
			n == 4 ? AF_INET : AF_INET6, p, text, sizeof(text)))
			offer(s, text);
		return;
	}
	if (n <= 0 || n > PKI_NAME_MAX || memchr(p, '\0', (size_t)n))
		return;
	memcpy(text, p, (size_t)n);
	text[n] = '\0';
	offer(s, text);
}

void
pki_names_of(X509 *x, struct pki_names *out)
{
	GENERAL_NAMES *names;

	out->n = 0;
	names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		offer_general_name(out, sk_GENERAL_NAME_value(names, i));
	GENERAL_NAMES_free(names);
}

/* "address name alias...": where one of the names is ours, all are. */
static void
offer_hosts_line(struct pki_names *s, char *line, const char *hostname)
{
	char *name, *rest = NULL;
	bool ours = false;

	line[strcspn(line, "#")] = '\0';
	for (int pass = 0; pass < 2; pass++) {
		char *copy = pass == 0 ? strdup(line) : line;

		if (!copy)
			return;
		(void)strtok_r(copy, " \t\r", &rest); /* the address */
		while ((name = strtok_r(NULL, " \t\r", &rest))) {
			if (pass == 1)
				offer(s, name);
			else if (strcasecmp(name, hostname) == 0)
				ours = true;
		}
		if (pass == 0)
			free(copy);
		if (!ours)
			return;
	}
}

void
pki_names_from_hosts(
    struct pki_names *s, const char *hosts_file, const char *hostname)
{
	struct buf text = { 0 };
	char *line, *rest = NULL;

	if (file_read(hosts_file, HOSTS_FILE_MAX, &text, NULL) ||
	    buf_put_u8(&text, '\0'))
		goto out;
	for (line = strtok_r((char *)text.p, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest))
		offer_hosts_line(s, line, hostname);
out:
	buf_fini(&text);
}

bool
pki_names_skip_interface(const char *name)
{
	static const char *const theirs[] = { "docker", "veth", "br-" };

	for (size_t i = 0; i < sizeof(theirs) / sizeof(*theirs); i++) {
		if (strncmp(name, theirs[i], strlen(theirs[i])) == 0)
			return true;
	}
	return false;
}

static void
offer_address(void *arg, const char *text, const char *interface)
{
	if (!pki_names_skip_interface(interface))
		offer(arg, text);
}

/* fd -1: a socket of its own. */
static enum nj_err
offer_interfaces(struct pki_names *s, int fd)
{
	int own = fd < 0 ? addresses_open(false) : -1;
	unsigned before = s->n;
	enum nj_err e = NJ_AGAIN;

	if (fd < 0 && own < 0)
		return NJ_IO;
	/* they may change while they are told */
	for (unsigned i = 0; e == NJ_AGAIN && i < TELLINGS_MAX; i++) {
		s->n = before;
		e = addresses_each(fd >= 0 ? fd : own, offer_address, s);
	}
	if (own >= 0)
		(void)close(own);
	return e;
}

/* The host name; empty when it cannot be one in a certificate. */
static void
own_host_name(char dst[PKI_NAME_MAX + 1])
{
	if (gethostname(dst, PKI_NAME_MAX) != 0)
		dst[0] = '\0';
	dst[PKI_NAME_MAX] = '\0';
	if (!is_host_name(dst))
		dst[0] = '\0';
}

enum nj_err
pki_names_collect_by(struct pki_names *s, int fd)
{
	char host[PKI_NAME_MAX + 1], local[LABEL_MAX + sizeof(".local")];
	int n;

	own_host_name(host);
	if (host[0]) {
		offer(s, host);
		n = (int)strcspn(host, ".");
		(void)snprintf(local, sizeof(local), "%.*s", n, host);
		offer(s, local);
		pki_names_from_hosts(s, HOSTS_FILE, host);
		(void)snprintf(local, sizeof(local), "%.*s.local", n, host);
		offer(s, local);
	}
	offer(s, "localhost");
	offer(s, "127.0.0.1");
	offer(s, "::1");
	return offer_interfaces(s, fd);
}

void
pki_names_collect(struct pki_names *s)
{
	/* without an answer there are those of /etc/hosts, and the loopback */
	(void)!pki_names_collect_by(s, -1);
}

void
pki_names_collect_dns(struct pki_names *s)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_CANONNAME };
	struct addrinfo *ai = NULL;
	char host[PKI_NAME_MAX + 1];
	bool hurry;
	int failed;
	size_t n;

	own_host_name(host);
	if (!host[0])
		return;
	/* The resolver's own patience is half a minute. */
	hurry = getenv("RES_OPTIONS") == NULL &&
	    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1) == 0;
	failed = getaddrinfo(host, NULL, &hints, &ai);
	if (hurry)
		(void)unsetenv("RES_OPTIONS");
	if (failed)
		return;
	n = strcspn(host, ".");
	if (ai && ai->ai_canonname &&
	    strncasecmp(ai->ai_canonname, host, n) == 0 &&
	    ai->ai_canonname[n] == '.')
		offer(s, ai->ai_canonname);
	freeaddrinfo(ai);
}
