/* SPDX-License-Identifier: Apache-2.0 */
#include "pki/addresses.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM 32768 /* bytes of one part of an answer */

struct one_link {
	int index;
	bool up;
	char name[IF_NAMESIZE];
};

struct ask {
	int fd;
	uint32_t seq;
	struct one_link *links;
	size_t n;
	bool torn; /* something changed while it was told */
	void (*fn)(void *arg, const char *text, const char *interface);
	void *arg;
};

int
addresses_open(bool told)
{
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK,
		.nl_groups =
		    told ? RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR : 0 };
	int fd = socket(AF_NETLINK,
	    SOCK_RAW | SOCK_CLOEXEC | (told ? SOCK_NONBLOCK : 0),
	    NETLINK_ROUTE);

	if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0) {
		(void)close(fd);
		fd = -1;
	}
	return fd;
}

bool
addresses_changed(int fd)
{
	char room[4096];
	bool any = false;
	ssize_t n;

	/* what it says does not matter: all are looked at.  ENOBUFS: more came
	 * than could be kept */
	while ((n = recv(fd, room, sizeof room, MSG_DONTWAIT)) > 0 ||
	    (n < 0 && (errno == EINTR || errno == ENOBUFS)))
		any = true;
	return any;
}

static bool
send_dump(struct ask *a, uint16_t type)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
	} q = { .h = { .nlmsg_len = NLMSG_LENGTH(sizeof q.g),
		    .nlmsg_type = type,
		    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		    .nlmsg_seq = ++a->seq },
		.g = { .rtgen_family = AF_UNSPEC } };

	return send(a->fd, &q, q.h.nlmsg_len, 0) == (ssize_t)q.h.nlmsg_len;
}

/* The attribute's bytes, and how many; NULL: it is not there. */
static const void *
attribute(const struct nlmsghdr *h, size_t head, unsigned short type, size_t *n)
{
	const uint8_t *p = (const uint8_t *)h + NLMSG_LENGTH(head);
	size_t left = h->nlmsg_len > NLMSG_LENGTH(head)
	    ? h->nlmsg_len - NLMSG_LENGTH(head)
	    : 0;

	while (left >= sizeof(struct rtattr)) {
		struct rtattr a;

		memcpy(&a, p, sizeof a);
		if (a.rta_len < sizeof a || a.rta_len > left)
			return NULL;
		if (a.rta_type == type) {
			*n = a.rta_len - RTA_LENGTH(0);
			return p + RTA_LENGTH(0);
		}
		if (RTA_ALIGN(a.rta_len) >= left)
			return NULL;
		left -= RTA_ALIGN(a.rta_len);
		p += RTA_ALIGN(a.rta_len);
	}
	return NULL;
}

static enum nj_err
on_link(struct ask *a, const struct nlmsghdr *h)
{
	struct ifinfomsg i;
	struct one_link *v, *l;
	const char *name;
	size_t n = 0;

	if (h->nlmsg_type != RTM_NEWLINK ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof i))
		return NJ_OK;
	if (a->n == ADDRESSES_LINKS_MAX)
		return NJ_FULL;
	if (!(v = reallocarray(a->links, a->n + 1, sizeof *v)))
		return NJ_NOMEM;
	a->links = v;
	memcpy(&i, (const uint8_t *)h + NLMSG_HDRLEN, sizeof i);
	l = &v[a->n++];
	*l = (struct one_link){ .index = i.ifi_index,
		.up = i.ifi_flags & IFF_UP };
	if ((name = attribute(h, sizeof i, IFLA_IFNAME, &n)) &&
	    n <= sizeof l->name)
		memcpy(l->name, name, strnlen(name, n));
	l->name[sizeof l->name - 1] = '\0';
	return NJ_OK;
}

static bool
is_link_local(int family, const uint8_t *p)
{
	return family == AF_INET ? p[0] == 169 && p[1] == 254
				 : p[0] == 0xfe && (p[1] & 0xc0) == 0x80;
}

/* 0x01 of IPv4 is a second address of the same network, of IPv6 a temporary
 * one; addresses that are still being tried are nobody's yet. */
static bool
is_lasting(const struct ifaddrmsg *i, uint32_t flags)
{
	if (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
		return false;
	return i->ifa_family == AF_INET || !(flags & IFA_F_TEMPORARY);
}

static enum nj_err
on_address(struct ask *a, const struct nlmsghdr *h)
{
	char text[INET6_ADDRSTRLEN];
	struct ifaddrmsg i;
	const uint8_t *p, *more;
	uint32_t flags;
	size_t n = 0;

	if (h->nlmsg_type != RTM_NEWADDR ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof i))
		return NJ_OK;
	memcpy(&i, (const uint8_t *)h + NLMSG_HDRLEN, sizeof i);
	flags = i.ifa_flags;
	if ((more = attribute(h, sizeof i, IFA_FLAGS, &n)) && n == sizeof flags)
		memcpy(&flags, more, sizeof flags);
	/* of a line between two the other one is the other's */
	if (!(p = attribute(h, sizeof i, IFA_LOCAL, &n)))
		p = attribute(h, sizeof i, IFA_ADDRESS, &n);
	if (!p || !is_lasting(&i, flags) ||
	    !((i.ifa_family == AF_INET && n == 4) ||
		(i.ifa_family == AF_INET6 && n == 16)) ||
	    is_link_local(i.ifa_family, p) ||
	    !inet_ntop(i.ifa_family, p, text, sizeof text))
		return NJ_OK;
	for (size_t k = 0; k < a->n; k++)
		if (a->links[k].index == (int)i.ifa_index && a->links[k].up)
			a->fn(a->arg, text, a->links[k].name);
	return NJ_OK;
}

/* One part of an answer; *done: it was the last. */
static enum nj_err
take_part(struct ask *a, const uint8_t *p, size_t left,
    enum nj_err (*each)(struct ask *a, const struct nlmsghdr *h), bool *done)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)p;
	enum nj_err e = NJ_OK;

	while (!e && !*done && left >= sizeof *h) {
		if (h->nlmsg_len < sizeof *h || h->nlmsg_len > left)
			return NJ_MALFORMED;
		if (h->nlmsg_seq == a->seq) { /* not left from another */
			if (h->nlmsg_type == NLMSG_ERROR)
				return NJ_IO;
			a->torn |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			*done = h->nlmsg_type == NLMSG_DONE;
			if (!*done)
				e = each(a, h);
		}
		if (NLMSG_ALIGN(h->nlmsg_len) >= left)
			break;
		left -= NLMSG_ALIGN(h->nlmsg_len);
		p += NLMSG_ALIGN(h->nlmsg_len);
		h = (const struct nlmsghdr *)(const void *)p;
	}
	return e;
}

static enum nj_err
dump(struct ask *a, uint16_t type,
    enum nj_err (*each)(struct ask *a, const struct nlmsghdr *h))
{
	struct pollfd p = { .fd = a->fd, .events = POLLIN };
	uint8_t *room = malloc(ROOM); /* aligned for any type */
	enum nj_err e = room ? NJ_OK : NJ_NOMEM;
	bool done = false;

	if (!e && !send_dump(a, type))
		e = NJ_IO;
	while (!e && !done) {
		ssize_t n;
		int ready = poll(&p, 1, ADDRESSES_WAIT_MS);

		if (ready < 0 && errno == EINTR)
			continue;
		n = ready > 0 ? recv(a->fd, room, ROOM, 0) : -1;
		e = n < 0 ? NJ_IO : take_part(a, room, (size_t)n, each, &done);
	}
	free(room);
	return e;
}

enum nj_err
addresses_each(int fd,
    void (*fn)(void *arg, const char *text, const char *interface), void *arg)
{
	/* answers to a question that was given up have other numbers */
	static _Thread_local uint32_t last;
	struct ask a = { .fd = fd, .seq = last, .fn = fn, .arg = arg };
	enum nj_err e = dump(&a, RTM_GETLINK, on_link);

	if (!e)
		e = dump(&a, RTM_GETADDR, on_address);
	if (!e && a.torn)
		e = NJ_AGAIN;
	last = a.seq;
	free(a.links);
	return e;
}
