/* SPDX-License-Identifier: Apache-2.0
 * paho_roundtrip - publishes and receives through a broker with Eclipse
 *                  Paho's C client.
 *
 * Usage: paho_roundtrip URL VERSION QOS TOPIC COUNT [CA [CERT KEY]]
 *        URL is tcp://host:port (or ssl, ws, wss), VERSION 3, 4 or 5.
 * Subscribes to TOPIC, publishes COUNT messages to it, and ends with 0 once
 * all of them came back in order at that QoS.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <MQTTClient.h>

#define WAIT_MS 20000

static int
fail(const char *what, int rc)
{
	fprintf(stderr, "%s: %d %s\n", what, rc, MQTTClient_strerror(rc));
	return 1;
}

static int
connect_to(MQTTClient c, int version, char *const *tls)
{
	MQTTClient_connectOptions o5 = MQTTClient_connectOptions_initializer5;
	MQTTClient_connectOptions o3 = MQTTClient_connectOptions_initializer;
	MQTTClient_connectOptions *o = version == 5 ? &o5 : &o3;
	MQTTClient_SSLOptions ssl = MQTTClient_SSLOptions_initializer;
	MQTTResponse r;
	int rc;

	o->MQTTVersion = version;
	o->keepAliveInterval = 20;
	o->reliable = 0;
	if (tls[0]) {
		ssl.trustStore = tls[0];
		ssl.verify = 1;
		if (tls[1]) {
			ssl.keyStore = tls[1];
			ssl.privateKey = tls[2];
		}
		o->ssl = &ssl;
	}
	if (version != 5)
		return MQTTClient_connect(c, o);
	o->cleanstart = 1;
	r = MQTTClient_connect5(c, o, NULL, NULL);
	rc = r.reasonCode;
	MQTTResponse_free(r);
	return rc;
}

static int
subscribe_to(MQTTClient c, int version, const char *topic, int qos)
{
	MQTTResponse r;
	int rc;

	if (version != 5)
		return MQTTClient_subscribe(c, topic, qos);
	r = MQTTClient_subscribe5(c, topic, qos, NULL, NULL);
	rc = (int)r.reasonCode == qos ? MQTTCLIENT_SUCCESS : (int)r.reasonCode;
	MQTTResponse_free(r);
	return rc;
}

static int
publish_one(MQTTClient c, int version, const char *topic, int qos, int i)
{
	char text[32];
	int len = snprintf(text, sizeof text, "message %d", i);
	MQTTClient_deliveryToken token = 0;
	MQTTResponse r;
	int rc;

	if (version == 5) {
		r = MQTTClient_publish5(
		    c, topic, len, text, qos, 0, NULL, &token);
		rc = r.reasonCode;
		MQTTResponse_free(r);
	} else
		rc = MQTTClient_publish(c, topic, len, text, qos, 0, &token);
	return rc;
}

/* The i-th message is the one that was published i-th, at the same QoS. */
static int
receive_one(MQTTClient c, int qos, int i)
{
	char want[32];
	int len = snprintf(want, sizeof want, "message %d", i);
	char *name = NULL;
	int name_len = 0;
	MQTTClient_message *m = NULL;
	int rc = MQTTClient_receive(c, &name, &name_len, &m, WAIT_MS);
	bool good;

	if (rc != MQTTCLIENT_SUCCESS || !m)
		return fail("receive", rc);
	good = m->payloadlen == len && !memcmp(m->payload, want, (size_t)len) &&
	    m->qos == qos;
	if (!good)
		fprintf(stderr, "wanted \"%s\" at QoS %d, got \"%.*s\" at %d\n",
		    want, qos, m->payloadlen, (char *)m->payload, m->qos);
	MQTTClient_freeMessage(&m);
	MQTTClient_free(name);
	return good ? 0 : 1;
}

static int
round_trip(MQTTClient c, int version, const char *topic, int qos, int count)
{
	int rc = subscribe_to(c, version, topic, qos);

	if (rc != MQTTCLIENT_SUCCESS)
		return fail("subscribe", rc);
	for (int i = 0; i < count; i++)
		if ((rc = publish_one(c, version, topic, qos, i)) != 0)
			return fail("publish", rc);
	for (int i = 0; i < count; i++)
		if (receive_one(c, qos, i) != 0)
			return 1;
	return 0;
}

int
main(int argc, char **argv)
{
	char *tls[3] = { NULL, NULL, NULL };
	MQTTClient_createOptions o = MQTTClient_createOptions_initializer;
	MQTTClient c = NULL;
	char id[24];
	int version, rc;

	if (argc < 6) {
		fprintf(stderr,
		    "usage: %s URL VERSION QOS TOPIC COUNT "
		    "[CA [CERT KEY]]\n",
		    argv[0]);
		return 2;
	}
	for (int i = 6; i < argc && i < 9; i++)
		tls[i - 6] = argv[i];
	version = (int)strtol(argv[2], NULL, 10);
	o.MQTTVersion = version;
	/* MQTT 3.1 wants an identifier of 1 to 23 characters. */
	snprintf(id, sizeof id, "paho-c-%ld", (long)getpid());
	rc = MQTTClient_createWithOptions(
	    &c, argv[1], id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &o);
	if (rc != MQTTCLIENT_SUCCESS)
		return fail("create", rc);
	if ((rc = connect_to(c, version, tls)) != 0) {
		fail("connect", rc);
		goto out;
	}
	rc = round_trip(c, version, argv[4], (int)strtol(argv[3], NULL, 10),
	    (int)strtol(argv[5], NULL, 10));
	MQTTClient_disconnect(c, 1000);
out:
	MQTTClient_destroy(&c);
	return rc != 0;
}
