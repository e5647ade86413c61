/* SPDX-License-Identifier: Apache-2.0
 * ca - what the verbs of `nightjar ca` share: options, finding and opening
 *      the CA, names on the command line.
 *
 * Owns:    nothing.
 * Threads: the main thread.
 */
#ifndef NJ_CMD_CA_H
#define NJ_CMD_CA_H

#include "base/err.h"
#include "cmd/flags.h"
#include "pki/ca.h"
#include "pki/names.h"

#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define DAY	 86400

#define FLAG_DIR(dst)                                                         \
	{                                                                     \
		"dir", 0, FLAG_TEXT, dst, "DIR", "the folder of the CA", 0, 0 \
	}
#define FLAG_DAYS(dst, text)                                               \
	{                                                                  \
		"days", 0, FLAG_NUMBER, dst, "DAYS", text, 1, PKI_DAYS_MAX \
	}
#define FLAG_PASS(dst)                                        \
	{                                                     \
		"passphrase-file", 0, FLAG_TEXT, dst, "FILE", \
		    "the first line opens the CA's key", 0, 0 \
	}

/* 0, or 2 after saying what was wrong; -1 after printing the help. */
int ca_parse(const struct flag *flags, size_t n, int argc, char **argv,
    struct flag_list *rest, const char *usage);
/* Finds and opens the CA; its key stays locked. */
NJ_MUST enum nj_err
ca_find(const char *dir_given, struct pki_ca **out, struct nj_why *why);
NJ_MUST enum nj_err ca_add_names(
    struct pki_names *names, const struct flag_list *words, struct nj_why *why);
/* The same, but only addresses will do. */
NJ_MUST enum nj_err ca_add_addresses(
    struct pki_names *names, const struct flag_list *ips, struct nj_why *why);
/* "2030-01-31" */
void ca_day(int64_t t, char dst[16]);

/* The verbs that have files of their own: exit statuses. */
int ca_device(int argc, char **argv);
int ca_group(int argc, char **argv);
int ca_request(int argc, char **argv);
int ca_install(int argc, char **argv);
int ca_import(int argc, char **argv);
int ca_roll(int argc, char **argv);
int ca_revoke(int argc, char **argv);
int ca_crl(int argc, char **argv);
int ca_token(int argc, char **argv);
int ca_pending(int argc, char **argv);
int ca_approve(int argc, char **argv);
int ca_deny(int argc, char **argv);

#endif
