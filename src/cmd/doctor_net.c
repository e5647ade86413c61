/* SPDX-License-Identifier: Apache-2.0
 * doctor_net - the host's name, TCP, and what answers at the port.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/doctor.h"
#include "net/listener.h"
#include "net/portowner.h"

#define DIAL_MS	  5000
#define NEAR_MS	  400  /* for other ports of the same host */
#define ANSWER_MS 3000 /* for first bytes */

bool
doctor_dial(struct doctor *d, uint16_t port, int *fd, struct nj_why *why)
{
	return dial_tcp(d->at.host, port, NULL, DIAL_MS, fd, why) == NJ_OK;
}

/* -- names --------------------------------------------------------------- */

static bool
same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	if (!b || a->sa_family != b->sa_family)
		return false;
	if (a->sa_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)a)->sin_addr,
			   &((const struct sockaddr_in *)b)->sin_addr,
			   sizeof(struct in_addr)) == 0;
	if (a->sa_family == AF_INET6)
		return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr,
			   &((const struct sockaddr_in6 *)b)->sin6_addr,
			   sizeof(struct in6_addr)) == 0;
	return false;
}

static bool
is_ours(const struct sockaddr *sa)
{
	struct ifaddrs *list = NULL;
	bool yes = false;

	/* all of 127.0.0.0/8 */
	if (sa->sa_family == AF_INET &&
	    ntohl(((const struct sockaddr_in *)(const void *)sa)
		      ->sin_addr.s_addr) >>
		    24 ==
		IN_LOOPBACKNET)
		return true;
	if (getifaddrs(&list) != 0)
		return false;
	for (struct ifaddrs *i = list; i && !yes; i = i->ifa_next)
		yes = same_address(sa, i->ifa_addr);
	freeifaddrs(list);
	return yes;
}

static bool
check_name(struct doctor *d)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
	struct nj_why why = { 0 };
	char text[256] = "", host[TEXT_ESC];
	size_t n = 0;
	int r = getaddrinfo(d->at.host, NULL, &hints, &list);

	(void)text_esc(host, sizeof host, slice_str(d->at.host));
	if (r != 0) {
		why_set(&why, "no address is known for '%s': %s", host,
		    r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r));
		why_mend(&why,
		    "look at the spelling, or use the broker's "
		    "address; names ending in .local need avahi or "
		    "systemd-resolved here");
		doctor_say(d, DOC_FAIL, SIDE_BETWEEN, "name", &why);
		return false;
	}
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		char one[NI_MAXHOST];

		d->local |= is_ours(a->ai_addr);
		if (getnameinfo(a->ai_addr, a->ai_addrlen, one, sizeof one,
			NULL, 0, NI_NUMERICHOST) != 0 ||
		    n + strlen(one) + 3 >= sizeof text)
			continue;
		n += (size_t)snprintf(
		    text + n, sizeof text - n, "%s%s", n ? ", " : "", one);
	}
	freeaddrinfo(list);
	doctor_fine(d, "name", "%s is %s%s", host, text,
	    d->local ? ", this machine" : "");
	if (d->host_is_url) {
		why_set(&why,
		    "the host was given as an address of the web, with ://: "
		    "mosquitto_pub and many others take that for its name, "
		    "and do not find it");
		why_mend(&why, "-h %s -p %u", host, (unsigned)d->at.port);
		doctor_say(d, DOC_DOUBT, SIDE_HERE, "name", &why);
	}
	return true;
}

/* -- TCP ----------------------------------------------------------------- */

/* Ports where brokers listen, of this host, that do answer. */
static void
near_ports(struct doctor *d, char *dst, size_t size)
{
	static const uint16_t usual[] = { 8883, 1883, 8884, 8083, 8084, 9001,
		443, 80 };
	size_t n = 0;

	dst[0] = '\0';
	for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
		int fd;

		if (usual[i] == d->at.port ||
		    dial_tcp(d->at.host, usual[i], NULL, NEAR_MS, &fd, NULL))
			continue;
		(void)close(fd);
		n += (size_t)snprintf(
		    dst + n, size - n, "%s%u", n ? ", " : "", usual[i]);
	}
}

/* Of this machine, where the port does answer; NULL: none. */
static const char *
other_address(struct doctor *d)
{
	static const char *const loops[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
		int fd;

		if (strcmp(d->at.host, loops[i]) == 0 ||
		    dial_tcp(loops[i], d->at.port, NULL, NEAR_MS, &fd, NULL))
			continue;
		(void)close(fd);
		return loops[i];
	}
	return NULL;
}

static bool
check_tcp(struct doctor *d)
{
	struct nj_why why = { 0 };
	char ports[64], owner[128];
	const char *other;
	int fd;

	if (doctor_dial(d, d->at.port, &fd, &why)) {
		(void)close(fd);
		if (d->local && port_owner(d->at.port, owner, sizeof owner))
			doctor_fine(
			    d, "TCP", "port %u answers: %s", d->at.port, owner);
		else
			doctor_fine(d, "TCP", "port %u answers", d->at.port);
		return true;
	}
	near_ports(d, ports, sizeof ports);
	/* the same port elsewhere says more than another one here */
	if (d->local && (other = other_address(d)))
		why_mend(&why,
		    "something listens there on %s alone, where others do not "
		    "reach it: take the address out of its line ('listener "
		    "%u'), or connect to %s",
		    other, d->at.port, other);
	else if (ports[0])
		why_mend(&why,
		    "%s answers on port %s; use the broker's port (-p), or "
		    "add 'listener %u' to its configuration",
		    d->at.host, ports, d->at.port);
	else if (d->local)
		why_mend(&why,
		    "start the broker (nightjar up, or: systemctl start "
		    "nightjar), and look at its log");
	doctor_say(d, DOC_FAIL, SIDE_BETWEEN, "TCP", &why);
	return false;
}

/* -- what it speaks ------------------------------------------------------ */

/* Sends, and reads what comes first; 0: nothing came, -1: closed. */
static ssize_t
first_words(struct doctor *d, struct slice say, uint8_t *dst, size_t size)
{
	struct pollfd p = { .events = POLLIN };
	ssize_t n = 0;

	if (!doctor_dial(d, d->at.port, &p.fd, NULL))
		return -1;
	if (say.n == 0 ||
	    send(p.fd, say.p, say.n, MSG_NOSIGNAL) == (ssize_t)say.n) {
		if (poll(&p, 1, ANSWER_MS) > 0) {
			n = recv(p.fd, dst, size, 0);
			n = n > 0 ? n : -1;
		}
	} else {
		n = -1;
	}
	(void)close(p.fd);
	return n;
}

static enum doctor_speaks
by_first_bytes(const uint8_t *p, size_t n)
{
	if (n >= 4 && memcmp(p, "HTTP", 4) == 0)
		return SPEAKS_HTTP;
	if (n >= 2 && p[0] == 0x20)
		return SPEAKS_MQTT;
	return n > 0 ? SPEAKS_OTHER : SPEAKS_NOTHING;
}

/* MQTT 3.1.1, a clean session, keep alive 10, an empty client id: whatever is
 * thought of that, a broker answers with CONNACK. */
#define CONNECT311 LIT("\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00")
#define CONNECT5   LIT("\x10\x0d\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00")
#define HTTP_GET   LIT("GET / HTTP/1.1\r\nHost: nightjar\r\n\r\n")
/* PROXY protocol 2: LOCAL, from nobody; then CONNECT, for a plain port. */
#define PROXY_LOCAL "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
#define PROXY_CONNECT \
	LIT(PROXY_LOCAL "\x10\x0c\x00\x04MQTT\x04\x02\x00\x0a\x00\x00")

/* With TLS behind the header. */
static bool
waits_for_proxy(struct doctor *d)
{
	struct tls_probe_opts o = { .timeout_ms = ANSWER_MS,
		.before = LIT(PROXY_LOCAL) };
	struct tls_probe p = { 0 };
	bool yes = false;
	int fd;

	if (!doctor_dial(d, d->at.port, &fd, NULL))
		return false;
	if (tls_probe(fd, &o, &p) == NJ_OK)
		yes = p.end == TLS_PROBE_DONE || p.end == TLS_PROBE_ALERT;
	(void)close(fd);
	tls_probe_fini(&p);
	return yes;
}

static enum doctor_speaks
ask_plainly(struct doctor *d)
{
	static const struct {
		struct slice say;
		enum doctor_speaks other;
	} tries[] = {
		{ CONNECT311, SPEAKS_OTHER },
		{ CONNECT5, SPEAKS_OTHER },
		{ HTTP_GET, SPEAKS_OTHER },
	};
	uint8_t buf[64];
	ssize_t n;

	for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
		if ((n = first_words(d, tries[i].say, buf, sizeof buf)) > 0)
			return by_first_bytes(buf, (size_t)n);
	if ((n = first_words(d, PROXY_CONNECT, buf, sizeof buf)) > 0 &&
	    by_first_bytes(buf, (size_t)n) == SPEAKS_MQTT)
		return SPEAKS_PROXY;
	return waits_for_proxy(d) ? SPEAKS_PROXY : SPEAKS_NOTHING;
}

static enum doctor_speaks
find_out(struct doctor *d)
{
	struct tls_probe_opts o = { .min = TLS_V10,
		.timeout_ms = ANSWER_MS,
		.sni =
		    target_is_address(doctor_name(d)) ? NULL : doctor_name(d) };
	enum doctor_speaks s = SPEAKS_NOTHING;
	struct tls_probe p = { 0 };
	int fd;

	if (!doctor_dial(d, d->at.port, &fd, NULL))
		return s;
	if (tls_probe(fd, &o, &p) == NJ_OK) {
		if (p.end == TLS_PROBE_NOT_TLS)
			s = by_first_bytes(p.first, p.nfirst);
		else if (p.end == TLS_PROBE_DONE || p.end == TLS_PROBE_ALERT ||
		    p.nfirst > 0)
			s = SPEAKS_TLS;
	}
	(void)close(fd);
	tls_probe_fini(&p);
	return s == SPEAKS_NOTHING ? ask_plainly(d) : s;
}

static bool
means_tls(const struct doctor *d)
{
	return d->cafile || d->capath || d->certfile || d->psk || d->alpn ||
	    d->servername || (d->at.has_scheme && d->at.tls);
}

/* It speaks plainly, and TLS was meant; or the other way round. */
static bool
wrong_way(struct doctor *d, struct nj_why *why)
{
	char ports[64];

	if (d->speaks == SPEAKS_TLS && d->no_tls) {
		why_set(why, "port %u speaks TLS, and --no-tls was given",
		    d->at.port);
		why_mend(why,
		    "leave --no-tls out, and give --cafile with the "
		    "broker's ca.crt");
		return true;
	}
	if (d->speaks == SPEAKS_TLS || !means_tls(d))
		return false;
	near_ports(d, ports, sizeof ports);
	why_set(why,
	    "port %u speaks %s without TLS, and a client with TLS options is "
	    "refused there",
	    d->at.port, d->speaks == SPEAKS_HTTP ? "HTTP" : "MQTT");
	why_mend(why,
	    "use the port of a TLS listener (8883 as a rule%s%s), or give "
	    "this listener TLS: nightjar ca server, then its certfile and "
	    "keyfile lines",
	    ports[0] ? "; these answer: " : "", ports);
	return true;
}

static bool
check_speech(struct doctor *d)
{
	struct nj_why why = { 0 };

	d->speaks = find_out(d);
	d->tls = d->speaks == SPEAKS_TLS;
	if (d->speaks == SPEAKS_NOTHING) {
		why_set(&why,
		    "port %u takes connections, and answers neither TLS, MQTT "
		    "nor HTTP",
		    d->at.port);
		why_mend(&why,
		    "look whether this is the broker's port, whether something "
		    "stands in between (proxy, firewall), and at the broker's "
		    "log: nightjar doctor --last on its machine");
	} else if (d->speaks == SPEAKS_OTHER) {
		why_set(&why,
		    "port %u is no broker's: what answers speaks "
		    "neither TLS, MQTT nor HTTP",
		    d->at.port);
		why_mend(&why, "use the broker's port (-p)");
	} else if (d->speaks == SPEAKS_PROXY) {
		why_set(&why,
		    "port %u waits for a PROXY header (enable_proxy_protocol): "
		    "only the proxy in front of the broker can connect to it",
		    d->at.port);
		why_mend(&why,
		    "connect to the proxy's port, or remove "
		    "enable_proxy_protocol from this listener");
	} else if (!wrong_way(d, &why)) {
		doctor_fine(d, "protocol", "port %u speaks %s", d->at.port,
		    d->tls			   ? "TLS"
			: d->speaks == SPEAKS_HTTP ? "HTTP, as WebSocket needs"
						   : "MQTT without TLS");
		return true;
	}
	doctor_say(d, DOC_FAIL, SIDE_BETWEEN, "protocol", &why);
	return false;
}

bool
doctor_reach(struct doctor *d)
{
	struct nj_why why = { 0 };

	if (!check_name(d) || !check_tcp(d) || !check_speech(d))
		return false;
	if (d->speaks == SPEAKS_HTTP && !d->websocket) {
		why_set(&why,
		    "port %u speaks HTTP: MQTT over WebSocket, if it is a "
		    "broker's",
		    d->at.port);
		why_mend(&why,
		    "give --ws (the client, too), or use the port "
		    "of a listener without 'protocol websockets'");
		doctor_say(d, DOC_FAIL, SIDE_BETWEEN, "protocol", &why);
		return false;
	}
	if (!d->tls && !d->local) {
		why_set(&why,
		    "nothing is encrypted: who listens on the "
		    "network reads passwords and messages");
		why_mend(&why,
		    "nightjar ca server, then certfile and keyfile "
		    "below the listener line");
		doctor_say(d, DOC_DOUBT, SIDE_NONE, "protocol", &why);
	}
	return true;
}
