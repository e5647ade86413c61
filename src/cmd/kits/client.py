#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The device "@NJ_ID@" in Python.

    pip install paho-mqtt         (or: apt install python3-paho-mqtt)
    python3 client.py

It connects with its certificate, listens to devices/@NJ_ID@/# and says hello
there.  Versions 1 and 2 of paho-mqtt will do.  The files that it needs are
beside it: client.crt, client.key, ca.crt."""
import os
import sys

import paho.mqtt.client as mqtt

HOST, PORT, ID = "@NJ_HOST@", @NJ_PORT@, "@NJ_ID@"
HERE = os.path.dirname(os.path.abspath(__file__))


def on_connect(client, userdata, flags, reason_code, properties=None):
    if reason_code != 0:
        print("refused:", reason_code, file=sys.stderr, flush=True)
        return
    print("connected as", ID, flush=True)
    client.subscribe(f"devices/{ID}/#", qos=1)


def on_subscribe(client, userdata, mid, *results):
    client.publish(f"devices/{ID}/hello", f"hello from {ID}", qos=1)


def on_message(client, userdata, message):
    print(message.topic, message.payload.decode(errors="replace"), flush=True)


def new_client():
    if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2
        return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=ID, protocol=mqtt.MQTTv5)
    return mqtt.Client(client_id=ID, protocol=mqtt.MQTTv5)


client = new_client()
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
# Only this CA is trusted, and the broker's name is checked: that is the
# default, and tls_insecure_set(True) would take it away.
client.tls_set(ca_certs=os.path.join(HERE, "ca.crt"),
               certfile=os.path.join(HERE, "client.crt"),
               keyfile=os.path.join(HERE, "client.key"),
               keyfile_password=os.environ.get("KEY_PASSPHRASE"))
client.connect(HOST, PORT, keepalive=60)
try:
    client.loop_forever()
except KeyboardInterrupt:
    client.disconnect()
