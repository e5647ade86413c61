/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include "client/impl.h"
#include "wire/codes.h"

/* Every code that a broker may use has a text; others are harmless. */
static void
all_have_words(void **state)
{
	static const enum mqtt_type types[] = { MQTT_CONNACK, MQTT_PUBACK,
		MQTT_PUBREC, MQTT_SUBACK, MQTT_UNSUBACK, MQTT_DISCONNECT };

	for (size_t t = 0; t < LEN(types); t++)
		for (unsigned code = 0; code < 256; code++)
			for (int v = MQTT311; v <= MQTT5; v++) {
				const char *text = client_reason(
				    types[t], (enum mqtt_ver)v, (uint8_t)code);

				assert_non_null(text);
				assert_non_null(client_reason_mend(
				    (enum mqtt_ver)v, (uint8_t)code));
				if (code_ok(types[t], (enum mqtt_ver)v,
					(uint8_t)code))
					assert_string_not_equal(
					    text, "unknown reason");
			}
}

static void
some_words(void **state)
{
	assert_string_equal(
	    client_reason(MQTT_CONNACK, MQTT311, 5), "not authorized");
	assert_string_equal(
	    client_reason(MQTT_CONNACK, MQTT5, 0x87), "not authorized");
	assert_string_equal(
	    client_reason(MQTT_SUBACK, MQTT311, 0), "granted QoS 0");
	assert_string_equal(
	    client_reason(MQTT_SUBACK, MQTT311, 0x80), "refused");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_have_words),
		cmocka_unit_test(some_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
