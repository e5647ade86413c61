/* SPDX-License-Identifier: Apache-2.0
 * kits - complete programs and configurations for a device, one set for each
 *        platform, made from the files in cmd/kits/.
 *
 * In a file @NJ_NAME@ and the like stand for what is the device's own; kits.c
 * has the list.  Every one of them pins the CA and checks the broker's name.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_KITS_H
#define NJ_CMD_KITS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"
#include "pki/batch.h"
#include "pki/names.h"
#include "pki/p12.h"

/* Generated from the files. */
struct kit_text {
	const char *name, *text;
};
extern const struct kit_text kit_texts[];

/* Where devices find the broker. */
struct kit_broker {
	char host[PKI_NAME_MAX + 1];
	char name[PKI_NAME_MAX + 1]; /* the name to compare with its
					* certificate; host unless that is an
					* address and there is a name */
	unsigned port, wss_port;
};

struct kit;

/* NULL: there is no such; *why lists them. */
const struct kit *kit_find(const char *word, struct nj_why *why);
/* What it needs of the rest: a form of PKCS#12 (P12_NONE: any or none), and a
 * key without a passphrase. */
enum p12_form kit_p12(const struct kit *k);
bool kit_reads_encrypted(const struct kit *k);
const char *kit_name(const struct kit *k);
/* How it is run, for people: several lines. */
const char *kit_run(const struct kit *k);

/* Puts its files, "main/main.c", one by one. */
NJ_MUST enum nj_err kit_make(const struct kit *k, const struct batch_made *made,
    const struct kit_broker *broker,
    enum nj_err (*put)(void *arg, const char *name, struct slice bytes,
	mode_t mode, struct nj_why *why),
    void *arg, struct nj_why *why);

#endif
