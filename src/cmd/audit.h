/* SPDX-License-Identifier: Apache-2.0
 * audit - what `nightjar audit` has read and what it found.
 *
 * Owns:    everything in it (audit_fini).
 * Threads: the main thread.
 * Bounds:  the registry's; AUDIT_CLIENTS_MAX clients of the broker.
 */
#ifndef NJ_CMD_AUDIT_H
#define NJ_CMD_AUDIT_H

#include <jansson.h>

#include "cmd/ask.h"
#include "pki/registry.h"

#define AUDIT_CLIENTS_MAX 100000

enum audit_level { AUDIT_DOUBT, AUDIT_FAULT };

struct audit_cert {
	struct registry_entry e;
	bool revoked;
	bool seen; /* the broker has its client now, or a session of it */
};

struct audit {
	/* asked for */
	const char *dir;
	long expiring_days, unused_days;
	struct ask_opts ask;
	/* read */
	struct audit_cert *v; /* what was issued, oldest first */
	size_t n, cap;
	int64_t now;
	bool live; /* the broker answered */
	size_t clients;
	/* found */
	json_t *findings;
	unsigned count[AUDIT_FAULT + 1];
};

void audit_say(struct audit *a, enum audit_level l, const char *code,
    const struct audit_cert *c, const struct nj_why *why);
/* Still opens doors: not revoked, not ended. */
bool audit_is_live(const struct audit *a, const struct audit_cert *c);
bool audit_is(const struct audit_cert *c, const char *kind);
/* A certificate in the name of who, seen where, has the key spki (hexadecimal):
 * whether that is another device's. */
void audit_key(
    struct audit *a, const char *spki, const char *who, const char *where);

/* audit_files.c: the configuration's certificates, the devices' folders, and
 * what devices may do. */
void audit_files(struct audit *a);
/* audit_live.c: who is connected. */
void audit_clients(struct audit *a);

#endif
