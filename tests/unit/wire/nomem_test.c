/* SPDX-License-Identifier: Apache-2.0
 * Writing without memory: NJ_NOMEM, and the buffer keeps what it had.  Reading
 * allocates nothing at all.  Linked with --wrap for the allocator.
 */
#include "rows.h"

#include <stdbool.h>

#include "wire/decode.h"
#include "wire/encode.h"
#include "wire/topic.h"

static bool refused;

void *__real_malloc(size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
	return refused ? NULL : __real_malloc(n);
}

void *
__wrap_realloc(void *p, size_t n)
{
	return refused ? NULL : __real_realloc(p, n);
}

static void
encode(void **state)
{
	const struct slice big = { (const uint8_t[200]){ 0 }, 200 };
	const struct connect c = { .version = MQTT5, .client_id = big };
	const struct publish p = { .topic = B("t"), .payload = big };
	const struct ack a = { .id = 1,
		.props = { .seen = PROP_BIT(PROP_REASON_STRING),
		    .reason_string = big } };
	const struct connack k = { .props = a.props };
	const struct suback s = { .id = 1, .codes = big };
	const struct disconnect d = { .props = a.props };
	const struct subscription sub = { .filter = big };
	struct buf b = { 0 };

	(void)state;
	check_err("before", buf_put(&b, "x", 1), NJ_OK);
	refused = true;
	check_err("connect", encode_connect(&b, &c), NJ_NOMEM);
	check_err("connack", encode_connack(&b, MQTT5, &k), NJ_NOMEM);
	check_err("publish", encode_publish(&b, MQTT5, &p), NJ_NOMEM);
	check_err("ack", encode_ack(&b, MQTT_PUBACK, MQTT5, &a), NJ_NOMEM);
	check_err("subscribe", encode_subscribe(&b, MQTT5, 1, NULL, &sub, 1),
	    NJ_NOMEM);
	check_err("unsubscribe",
	    encode_unsubscribe(&b, MQTT5, 1, NULL, &big, 1), NJ_NOMEM);
	check_err("suback", encode_suback(&b, MQTT5, &s), NJ_NOMEM);
	check_err("unsuback", encode_unsuback(&b, MQTT5, &s), NJ_NOMEM);
	check_err("disconnect", encode_disconnect(&b, MQTT5, &d), NJ_NOMEM);
	check_err("auth", encode_auth(&b, &d), NJ_NOMEM);
	check_err("props", props_put(&b, &a.props), NJ_NOMEM);
	check_err("user", props_put_user(&b, big, big), NJ_NOMEM);
	refused = false;
	check_slice("as before", buf_slice(&b), LIT("x"));
	buf_fini(&b);
	refused = true;
	check_err("ping", encode_ping(&b, MQTT_PINGREQ), NJ_NOMEM);
	check_err("id", props_put_id(&b, 1), NJ_NOMEM);
	refused = false;
	buf_fini(&b);
}

static void
decode(void **state)
{
	struct connect c;
	struct publish p;
	struct subscribe s;

	(void)state;
	refused = true;
	check_err("connect",
	    decode_connect(LIT("\0\4MQTT\5\2\0\0\0\0\2id"), &c), NJ_OK);
	check_err("publish",
	    decode_publish(0, LIT("\0\1t\5\x26\0\1k\0\0xy"), MQTT5, &p),
	    NJ_MALFORMED);
	check_err("publish",
	    decode_publish(0, LIT("\0\1t\6\x26\0\1k\0\0xy"), MQTT5, &p), NJ_OK);
	check_err("subscribe",
	    decode_subscribe(LIT("\0\1\0\0\1a\1"), MQTT5, &s), NJ_OK);
	assert_true(topic_matches(LIT("a/+/#"), LIT("a/b/c")));
	refused = false;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encode),
		cmocka_unit_test(decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
