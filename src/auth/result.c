/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/result.h"

struct reason_row {
	const char *what;
	enum mqtt_rc rc;
	bool guess;
};

static const struct reason_row rows[AUTH_R_MAX] = {
	[AUTH_R_NONE] = { "no reason", RC_NOT_AUTHORIZED, false },
	[AUTH_R_NO_LOGIN] = { "no user name was given, and anonymous clients "
			      "are not served here",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_UNCHECKED] = { "a user name was given, and this listener has "
			       "nothing that checks it",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_CERT_UNUSED] = { "the client's certificate is good, but this "
				 "listener takes no user name from it",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_NO_PASSWORD] = { "a user name was given without a password",
	    RC_BAD_USER_NAME_OR_PASSWORD, false },
	[AUTH_R_EMPTY_PASSWORD] = { "the password is empty",
	    RC_BAD_USER_NAME_OR_PASSWORD, true },
	[AUTH_R_UNKNOWN_USER] = { "there is no such user",
	    RC_BAD_USER_NAME_OR_PASSWORD, true },
	[AUTH_R_WRONG_PASSWORD] = { "the password is wrong",
	    RC_BAD_USER_NAME_OR_PASSWORD, true },
	[AUTH_R_NO_CERTIFICATE] = { "the client gave no certificate to take "
				    "its name from",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_NAMELESS] = { "nothing in the client's certificate says its "
			      "name here",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_BAD_NAME] = { "the name in the client's certificate is not "
			      "UTF-8, or has a control character, +, # or *",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_BUSY] = { "too many logins are being checked at once",
	    RC_SERVER_BUSY, false },
	[AUTH_R_FAILED] = { "the login could not be checked: out of memory",
	    RC_SERVER_UNAVAILABLE, false },
	[AUTH_R_BAD_DATA] = { "the authentication data cannot be used",
	    RC_NOT_AUTHORIZED, true },
	[AUTH_R_OTHER_NAME] = { "the user name of its CONNECT is not the one "
				"that it authenticates as",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_NO_VERIFIER] = { "the user's password is kept in a form that "
				 "this method cannot check",
	    RC_BAD_USER_NAME_OR_PASSWORD, true },
	[AUTH_R_METHOD_ONLY] = { "passwords are taken here only by an "
				 "authentication method",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_DISABLED] = { "the user is disabled", RC_NOT_AUTHORIZED,
	    false },
	[AUTH_R_BOUND_ID] = { "the user is bound to another client identifier",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_BAD_TOKEN] = { "the token cannot be accepted",
	    RC_NOT_AUTHORIZED, true },
	[AUTH_R_SIGNER] = { "the token could not be looked at",
	    RC_SERVER_UNAVAILABLE, false },
	[AUTH_R_STALE_TOKEN] = { "the token does not hold now",
	    RC_NOT_AUTHORIZED, false },
	[AUTH_R_PRESSED] = { "too many wrong passwords came for this user "
			     "name (failed_logins_per_user)",
	    RC_CONNECTION_RATE_EXCEEDED, false },
	[AUTH_R_OTHER_ID] = { "the client identifier is not the one that its "
			      "token is for",
	    RC_NOT_AUTHORIZED, false },
};

static const struct reason_row *
row_of(enum auth_reason r)
{
	return &rows[(unsigned)r < AUTH_R_MAX ? r : AUTH_R_NONE];
}

const char *
auth_reason_what(enum auth_reason r)
{
	return row_of(r)->what;
}

enum mqtt_rc
auth_reason_rc(enum auth_reason r)
{
	return row_of(r)->rc;
}

bool
auth_reason_is_guess(enum auth_reason r)
{
	return row_of(r)->guess;
}
