/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/roles_first.h"

#include <string.h>

#include "auth/roles_json.h"
#include "base/secret.h"

#define ACL(type, topic) \
	"{\"acltype\":\"" type "\",\"topic\":\"" topic "\",\"allow\":true}"
#define READS(topic) \
	ACL("publishClientReceive", topic) "," ACL("subscribePattern", topic)
#define ALL(topic)                      \
	ACL("publishClientSend", topic) \
	"," READS(topic) "," ACL("unsubscribePattern", topic)
#define ROLE(name, says, acls)                                   \
	"{\"rolename\":\"" name "\",\"textdescription\":\"" says \
	"\",\"acls\":[" acls "]}"

/* The names are Mosquitto's, as are the rights: what is made for it finds them
 * here. */
static const char rest[] =
    "\",\"roles\":[{\"rolename\":\"super-admin\"},"
    "{\"rolename\":\"sys-observe\"},{\"rolename\":\"topic-observe\"}]}],"
    "\"groups\":[{\"groupname\":\"unauthenticated\",\"textdescription\":"
    "\"Clients without a user name\",\"roles\":[]}],"
    "\"roles\":[" ROLE("client", "Every topic of applications",
	ALL("#")) "," ROLE("broker-admin", "Commands to the broker",
	ALL("$CONTROL/broker/#")) "," ROLE("dynsec-admin",
	"Commands about clients, groups and roles",
	ALL("$CONTROL/dynamic-security/#")) "," ROLE("super-admin",
	"Every command", ALL("$CONTROL/#")) "," ROLE("sys-notify",
	"Bridges tell whether they are connected",
	ACL("publishClientSend",
	    "$SYS/broker/connection/%c/state")) "," ROLE("sys-observe",
	"Reads $SYS", READS("$SYS/#")) "," ROLE("topic-observe",
	"Reads every topic of applications",
	READS("#") "," ACL("unsubscribePattern",
	    "#")) "],\"anonymousGroup\":\"unauthenticated\"}\n";

static struct slice
without_blanks(struct slice s)
{
	while (s.n > 0 && strchr(" \t\r\n\v\f", s.p[s.n - 1]))
		s.n--;
	return s;
}

/* As text; the caller wipes it. */
static enum nj_err
hash_of(const char *path, char text[PASSWORD_TEXT_MAX], struct nj_why *why)
{
	struct password_cost cost = password_default_cost(PASSWORD_PBKDF2);
	struct secret *s = NULL;
	struct slice password;
	enum nj_err e = secret_from_file(path, &s, why);

	if (e)
		return e;
	password = without_blanks(secret_bytes(s));
	if (password.n == 0 || memchr(password.p, '\0', password.n)) {
		why_set(why, "the first line of %s is no password", path);
		why_mend(why, "put the administrator's first password there");
		e = NJ_INVALID;
	} else if ((e = password_make(&cost, password, text))) {
		why_set(why, "%s: %s", path, nj_strerror(e));
	}
	secret_free(s);
	return e;
}

enum nj_err
roles_first_text(const char *password_file, struct buf *out, struct nj_why *why)
{
	char hash[PASSWORD_TEXT_MAX];
	enum nj_err e = hash_of(password_file, hash, why);

	if (e)
		return e;
	/* a hash has nothing that JSON would escape */
	if ((e = buf_printf(out,
		 "{\"defaultACLAccess\":{\"publishClientSend\":false,"
		 "\"publishClientReceive\":true,\"subscribe\":false,"
		 "\"unsubscribe\":true},\"clients\":[{\"username\":\"admin\","
		 "\"textname\":\"Administrator\",\"encoded_password\":\"%s",
		 hash)) ||
	    (e = buf_put(out, rest, sizeof rest - 1)))
		why_set(why, "%s: %s", password_file, nj_strerror(e));
	secret_wipe(hash, sizeof hash);
	return e;
}

enum nj_err
roles_first(const char *password_file, struct roles **out, struct nj_why *why)
{
	struct buf text = { 0 };
	size_t loose;
	enum nj_err e = roles_first_text(password_file, &text, why);

	if (!e)
		e = roles_parse(
		    buf_slice(&text), password_file, out, &loose, why);
	buf_wipe(&text);
	return e;
}
