/* SPDX-License-Identifier: Apache-2.0
 * fleet - every device of a registry, found by its name.
 *
 * Owns:    copies of everything; reference counted.
 * Threads: immutable once loaded; any thread may look.
 * Bounds:  the registry's.
 */
#ifndef NJ_PKI_FLEET_H
#define NJ_PKI_FLEET_H

#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "pki/registry.h"

struct fleet;

struct fleet_device {
	char id[PKI_ID_MAX + 1];
	char serial[41]; /* of the newest certificate; "": none, or revoked */
	char spki[65];
	int64_t not_after;
	char *groups; /* "a,b"; "": none */
};

/* The registry as it is now. */
NJ_MUST enum nj_err
fleet_load(const char *registry, struct fleet **out, struct nj_why *why);
struct fleet *fleet_ref(struct fleet *f);
void fleet_unref(struct fleet *f); /* NULL is fine */
/* What was just appended to the registry; before f is shared. */
NJ_MUST enum nj_err fleet_note(struct fleet *f, const struct registry_entry *e);
size_t fleet_size(const struct fleet *f);
/* NULL: the registry has no such device.  As long as f. */
const struct fleet_device *fleet_find(const struct fleet *f, struct slice id);

/* Writes DIR/groups, which brokers go by: a line "ID GROUP,GROUP" for each
 * device that is in any. */
NJ_MUST enum nj_err
fleet_export(const struct fleet *f, const char *dir, struct nj_why *why);

#define FLEET_GROUPS_MAX 16

/* "a", "a,b": joins what was given into dst, sorted, each once.  NJ_INVALID:
 * not 1 to 64 of A-Z a-z 0-9 . _ -, or too many. */
NJ_MUST enum nj_err fleet_groups(const char *const *words, size_t n,
    char dst[REGISTRY_GROUPS_MAX + 1], struct nj_why *why);

#endif
