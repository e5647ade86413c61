# SPDX-License-Identifier: Apache-2.0
"""paho for Python, made synchronous: every call waits for its answer."""
import contextlib
import queue
import socket
import ssl
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness import PATIENCE

V31, V311, V5 = paho.MQTTv31, paho.MQTTv311, paho.MQTTv5
NAMES = {V31: '3.1', V311: '3.1.1', V5: '5.0'}


def props(kind, **values):
    """Properties of a packet: props('PUBLISH', TopicAlias=3)."""
    p = Properties(getattr(PacketTypes, kind))
    for name, value in values.items():
        setattr(p, name, value)
    return p


def tls_context(ca, cert=None, key=None, check_name=True):
    ctx = ssl.create_default_context(cafile=ca)
    ctx.check_hostname = check_name
    if cert:
        ctx.load_cert_chain(cert, key)
    return ctx


class Refused(Exception):
    """The broker answered CONNECT with a reason code."""


class Client:
    """A connected client; messages arrive in .messages."""

    def __init__(self, port, client_id='', version=V5, clean=True, tls=None, host='localhost',
                 username=None, password=None, will=None, connect_props=None, keepalive=60,
                 transport='tcp', ws_headers=None):
        self.messages = queue.Queue()
        self._answers = queue.Queue()
        self._published = queue.Queue()
        self.lost = threading.Event()
        self.disconnect_code = None
        kw = {} if version == V5 else {'clean_session': clean}
        self.paho = c = paho.Client(client_id, protocol=version, transport=transport, **kw)
        if ws_headers:
            c.ws_set_options(headers=ws_headers)
        c.on_connect = self._on_connect
        c.on_disconnect = self._on_disconnect
        c.on_message = lambda _c, _u, m: self.messages.put(m)
        c.on_subscribe = lambda _c, _u, mid, codes, _p=None: self._answers.put((mid, codes))
        c.on_unsubscribe = lambda _c, _u, mid, *rest: self._answers.put((mid, rest))
        c.reconnect_delay_set(60, 60)
        if tls:
            c.tls_set_context(tls)
        if username is not None:
            c.username_pw_set(username, password)
        if will:
            c.will_set(*will)
        if version == V5:
            c.connect(host, port, keepalive, clean_start=clean, properties=connect_props)
        else:
            c.connect(host, port, keepalive)
        c.loop_start()
        try:
            code, self.session_present, self.connack = self._answers.get(timeout=PATIENCE)
        except queue.Empty:
            self.drop()
            raise Refused('no CONNACK') from None
        if code != 0:
            self.drop()
            raise Refused(code)

    def _on_connect(self, _c, _u, flags, rc, properties=None):
        code = rc if isinstance(rc, int) else rc.value
        self._answers.put((code, bool(flags['session present']), properties))

    def _on_disconnect(self, _c, _u, rc, _properties=None):
        self.disconnect_code = rc if isinstance(rc, int) else rc.value
        self.lost.set()
        # None of the tests wants it to come back by itself.
        self.paho._state = paho.mqtt_cs_disconnecting  # pylint: disable=protected-access

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def subscribe(self, *args, **kw):
        _, mid = self.paho.subscribe(*args, **kw)
        got, codes = self._answers.get(timeout=PATIENCE)
        assert got == mid
        return [c if isinstance(c, int) else c.value for c in codes]

    def unsubscribe(self, topic):
        _, mid = self.paho.unsubscribe(topic)
        assert self._answers.get(timeout=PATIENCE)[0] == mid

    def publish(self, topic, payload=b'', qos=0, retain=False, properties=None):
        info = self.paho.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()

    def message(self, timeout=PATIENCE):
        try:
            return self.messages.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f'no message within {timeout:g} s') from None

    def none(self, seconds=0.4):
        """Asserts that no message comes for a while."""
        try:
            m = self.messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f'wanted nothing, got {m.topic} {m.payload!r}')

    def close(self):
        """DISCONNECT, as a well-behaved client."""
        self.paho.disconnect()
        self.paho.loop_stop()

    def drop(self):
        """The connection breaks without a DISCONNECT."""
        sock = self.paho.socket()
        self.paho._state = paho.mqtt_cs_disconnecting  # pylint: disable=protected-access
        if sock:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)	# its thread closes it
        self.paho.loop_stop()
