/* SPDX-License-Identifier: Apache-2.0
 * up - the parts of `nightjar up`: files, self test, what it tells.
 *
 * Owns:    struct up its strings (up_fini).
 * Threads: the main thread; the self test runs in one of its own.
 */
#ifndef NJ_CMD_UP_H
#define NJ_CMD_UP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/secret.h"
#include "pki/names.h"

#define UP_PORT	    8883
#define UP_WSS_PORT 8884
#define UP_EST_PORT 8885
#define UP_WEB_USER "browser" /* web pages log in as this one */
#define UP_ID	    "admin"
#define UP_USER	    "nightjar"
#define UP_NOBODY   "nobody"

struct up {
	const char *passphrase_file;
	const char *id;		     /* of the first client */
	char *dir;		     /* absolute */
	char *conf;		     /* DIR/nightjar.conf */
	char *self;		     /* how to call this program from a shell */
	long port;		     /* 0: what the configuration says */
	long wss_port;		     /* -1: as port; 0: none */
	long est_port;		     /* -1: as wss_port; 0: none */
	bool own_passwords;	     /* they log in by DIR/passwords */
	struct secret *password;     /* of UP_WEB_USER */
	char bind[PKI_NAME_MAX + 1]; /* the listener's address, "" for all */
	bool first;		     /* there was no CA before */
	int lock;		     /* of DIR/nightjar.lock, held until exit */
	struct pki_names names;	     /* of the server's certificate */
	char fingerprint[96];	     /* of the CA */
	char host[PKI_NAME_MAX + 1]; /* to connect to from this machine */
	bool sudo; /* the client's key is not the person's own to read */
	bool root; /* was started by root, maybe through sudo */
};

/* up_files.c */

/* Takes DIR/nightjar.lock; NJ_BUSY: another process serves this folder. */
NJ_MUST enum nj_err up_lock(struct up *u, struct nj_why *why);
/* Port and pid, for the next who tries. */
void up_lock_note(const struct up *u);
/* Makes whatever is not there or out of date, and says so: CA, server's and
 * first client's certificate, configuration. */
NJ_MUST enum nj_err up_prepare(struct up *u, struct nj_why *why);

/* Started through sudo: the file is for the person who typed it. */
void up_give(const char *path);
/* A file of the first client; the caller frees it. */
NJ_MUST char *up_device_path(const struct up *u, const char *file);

/* up_conf.c */

/* The port of the configuration's first listener, with u->bind, and those of
 * its first ones for WebSocket and for enrolment, 0 if it has none; 0 and -1:
 * there is no configuration yet.  NJ_INVALID: it has no listener. */
NJ_MUST enum nj_err
up_conf_port(struct up *u, long *out, long *wss, long *est, struct nj_why *why);
/* Writes it, or what was asked for into it; and sets u->own_passwords. */
NJ_MUST enum nj_err up_conf_prepare(struct up *u, struct nj_why *why);

/* up_wss.c */

/* u->wss_port, from what was asked for, or from up_conf_port. */
NJ_MUST enum nj_err
up_wss_choose(struct up *u, long written, struct nj_why *why);
/* u->est_port; after the others. */
NJ_MUST enum nj_err
up_est_choose(struct up *u, long written, struct nj_why *why);
/* Makes the user of web pages, or reads its password. */
NJ_MUST enum nj_err up_wss_prepare(struct up *u, struct nj_why *why);
/* Where the password is kept; the caller frees it. */
NJ_MUST char *up_wss_kept(const struct up *u);

/* up_probe.c */

struct up_probe;
struct up_result {
	bool ok;
	double handshake_ms; /* connected, TLS and MQTT */
	double ms;	     /* a message there and back */
	char version[12], cipher[48];
	struct nj_why why;
};

/* Reads the client's key now, while this process may. */
NJ_MUST enum nj_err
up_probe_new(const struct up *u, struct up_probe **out, struct nj_why *why);
/* Runs it in a thread; done is called there with what came of it. */
NJ_MUST enum nj_err up_probe_start(struct up_probe *p,
    void (*done)(void *arg, const struct up_result *r), void *arg);
/* Waits for the thread's end. */
void up_probe_free(struct up_probe *p);

/* up_tell.c */

/* "nightjar" where the shell finds this very file under it, else its path;
 * before root is dropped, as others may not be able to look.  The caller
 * frees it. */
NJ_MUST char *up_self(void);
/* A name or address by which programs on this machine reach the broker
 * whatever they resolve it to. */
void up_choose_host(struct up *u);
void up_tell(const struct up *u, const struct up_result *r);

#endif
