/* SPDX-License-Identifier: Apache-2.0
 * result - what a question of identity is answered with, and why.
 */
#ifndef NJ_AUTH_RESULT_H
#define NJ_AUTH_RESULT_H

#include <stdbool.h>

#include "base/err.h"
#include "wire/mqtt.h"

enum auth_result {
	AUTH_ALLOW,
	AUTH_DENY,
	AUTH_NOT_MINE, /* the next link is asked */
	AUTH_LATER,    /* the answer comes through a callback */
	AUTH_CONTINUE  /* of an exchange: the client must say more */
};

enum auth_reason {
	AUTH_R_NONE,
	AUTH_R_NO_LOGIN,    /* no user name, and anonymous is off */
	AUTH_R_UNCHECKED,   /* a user name, and no link that looks at it */
	AUTH_R_CERT_UNUSED, /* a certificate, and no link that looks at it */
	AUTH_R_NO_PASSWORD,
	AUTH_R_EMPTY_PASSWORD,
	AUTH_R_UNKNOWN_USER,
	AUTH_R_WRONG_PASSWORD,
	AUTH_R_NO_CERTIFICATE,
	AUTH_R_NAMELESS,    /* nothing in the certificate says a name */
	AUTH_R_BAD_NAME,    /* in the certificate */
	AUTH_R_BUSY,	    /* too many logins are being checked */
	AUTH_R_FAILED,	    /* out of memory, or the library failed */
	AUTH_R_BAD_DATA,    /* of an exchange: not what the method expects */
	AUTH_R_OTHER_NAME,  /* CONNECT names one user, the exchange another */
	AUTH_R_NO_VERIFIER, /* the user cannot use this method */
	AUTH_R_METHOD_ONLY, /* a plain password where none is taken */
	AUTH_R_BAD_TOKEN,   /* not signed by whom we know, or not for us */
	AUTH_R_STALE_TOKEN, /* its time is over, or to come */
	AUTH_R_OTHER_ID,    /* it is for another client identifier */
	AUTH_R_DISABLED,    /* the user may not come in for now */
	AUTH_R_BOUND_ID,    /* nor with this client identifier */
	AUTH_R_SIGNER,	    /* nobody can look at its token now */
	AUTH_R_PRESSED,	    /* too many passwords were tried for this name */
	AUTH_R_MAX
};

/* For the log. */
const char *auth_reason_what(enum auth_reason r);
/* For the peer; the same for an unknown user and a wrong password. */
enum mqtt_rc auth_reason_rc(enum auth_reason r);
/* Whether it looks like guessing and counts against the address. */
bool auth_reason_is_guess(enum auth_reason r);

#endif
