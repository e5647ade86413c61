/* SPDX-License-Identifier: Apache-2.0
 * hashes - of the password "secret", cheap enough for tests.
 */
#ifndef NJ_TESTS_AUTH_HASHES_H
#define NJ_TESTS_AUTH_HASHES_H

#define HASH_7                                                              \
	"$7$1000$AAECAwQFBgcICQoL$4wTcmyeXKbX+eU8mRAv8RuY7FkPT5YqwsG6AZlmH" \
	"KNwWPzuBfjOpFNbp6eDXGOQ94FxpOi30RqAptC1OfHP0KA=="
#define HASH_6                                                             \
	"$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZ" \
	"Lk/JEGgM0EpylrJHAZKKyFQjJeZ3nFaHjPzOzPPmPw=="
#define HASH_ARGON2                                                     \
	"$argon2id$v=19$m=64,t=1,p=1$AAECAwQFBgcICQoLDA0ODw$sAB5SsCsBD" \
	"0gmb5FJXoHOsOkGSa93chcRYo67KPvF8c"

#endif
