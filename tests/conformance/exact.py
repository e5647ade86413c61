# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1 to the byte: packets are written and compared whole, so
that a property, a code or a packet too many is seen.

Of the tests that are marked `ours` most rely on a QoS 2 message being passed on
at PUBLISH; Mosquitto waits for PUBREL, which 4.3.3 allows as well."""
import contextlib
import socket
import struct

import pytest

from raw import (DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK,
                 UNSUBSCRIBE, Raw, connect_packet, packet, string)

BOTH = pytest.mark.parametrize('version', [pytest.param(4, id='3.1.1'), pytest.param(3, id='3.1')])
PINGREQ, PINGRESP, GOODBYE = b'\xc0\x00', b'\xd0\x00', b'\xe0\x00'
WELCOME = b'\x20\x02\x00\x00'
WELCOME_BACK = b'\x20\x02\x01\x00'
# How long nothing may come before nothing is believed to come.
SILENCE = 0.3


def u16(n):
    return struct.pack('>H', n)


def connack(code, present=0):
    return bytes([0x20, 2, present, code])


def publish(topic, payload=b'', qos=0, mid=0, retain=0, dup=0):
    return packet(PUBLISH, dup << 3 | qos << 1 | retain,
                  string(topic) + (u16(mid) if qos else b'') + payload)


def puback(mid):
    return packet(PUBACK, 0, u16(mid))


def pubrec(mid):
    return packet(PUBREC, 0, u16(mid))


def pubrel(mid, dup=0):
    return packet(PUBREL, 2 | dup << 3, u16(mid))


def pubcomp(mid):
    return packet(PUBCOMP, 0, u16(mid))


def subscribe(mid, *filters, flags=2):
    """filters: (name, requested QoS)."""
    return packet(SUBSCRIBE, flags, u16(mid) + b''.join(string(f) + bytes([q]) for f, q in filters))


def suback(mid, *codes):
    return packet(SUBACK, 0, u16(mid) + bytes(codes))


def unsubscribe(mid, *filters, flags=2):
    return packet(UNSUBSCRIBE, flags, u16(mid) + b''.join(string(f) for f in filters))


def unsuback(mid):
    return packet(UNSUBACK, 0, u16(mid))


class Exact(Raw):
    """raw.Raw that reads bytes instead of packets."""

    def __init__(self, port, version=4, **kw):
        super().__init__(port, version=version, **kw)

    def take(self, n, timeout=None):
        self.fill(n, timeout or self.timeout)
        got, self.pending = self.pending[:n], self.pending[n:]
        return got

    def want(self, *packets):
        """Exactly these bytes come next."""
        for p in packets:
            got = self.take(len(p))
            assert got == p, f'wanted {p.hex(" ")}, got {(got + self.pending).hex(" ")}'

    def talk(self, data, *packets):
        """Says something and wants exactly these packets for it, in order;
        the answer to a PINGREQ shows that nothing else came."""
        self.send(data + PINGREQ)
        self.want(*packets, PINGRESP)

    def want_end(self, *packets):
        """Exactly these bytes, and then the end of the connection."""
        self.sock.settimeout(self.timeout)
        got = self.pending
        with contextlib.suppress(ConnectionError):
            while more := self.sock.recv(65536):
                got += more
        wanted = b''.join(packets)
        assert got == wanted, f'wanted {wanted.hex(" ")} and the end, got {got.hex(" ")}'

    def want_silence(self, seconds=SILENCE):
        self.sock.settimeout(seconds)
        with contextlib.suppress(socket.timeout, TimeoutError):
            more = self.sock.recv(65536)
            raise AssertionError(f'wanted nothing, got {more.hex(" ") or "the end"}')
        assert not self.pending

    def enter(self, client_id, present=0, **kw):
        """CONNECT, and the CONNACK of one who is let in."""
        self.send(connect_packet(client_id, self.version, **kw))
        self.want(connack(0, present))
        return self

    def leave(self):
        """DISCONNECT, and the broker closes; it answers nothing."""
        self.send(packet(DISCONNECT, 0, b''))
        self.want_end()
        self.close()


class Peers:
    """Connections of one test to one broker; all are closed at its end."""

    def __init__(self, port, version, name):
        self.port, self.version, self.name = port, version, name
        self.all = []

    def raw(self, version=None, **kw):
        c = Exact(self.port, version or self.version, **kw)
        self.all.append(c)
        return c

    def __call__(self, name='c', version=None, **kw):
        """One that has connected; its identifier is this test's own."""
        return self.raw(version).enter(self.id(name), **kw)

    def id(self, name='c'):
        return f'{self.name}-{name}'

    def forget(self, name='c'):
        """The session of this name is gone."""
        with Exact(self.port, self.version) as c:
            c.enter(self.id(name))
            c.leave()

    def close(self):
        for c in self.all:
            c.close()


@pytest.fixture
def peers(broker, topic, request):
    """Connections of the test's version (3.1.1 if it has none)."""
    version = request.getfixturevalue('version') if 'version' in request.fixturenames else 4
    p = Peers(broker.port, version, topic.rsplit('/', 1)[-1][:60])
    yield p
    p.close()
