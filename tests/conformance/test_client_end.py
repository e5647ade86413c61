# SPDX-License-Identifier: Apache-2.0
"""How our clients end, and what they travel on: MQTT 5.0 3.14, 3.15, 4.2, 4.12,
6.0."""
import signal
import struct
import time

import pytest

from clauses import clause
from peer import Peer, start
from raw import (CONNECT, DISCONNECT, PUBACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, Closed, packet,
                 properties, string)
from wsraw import BINARY, CONT, TEXT, frame

pytestmark = pytest.mark.ours
versions = pytest.mark.parametrize('version', [5, 4, 3])
modern = pytest.mark.parametrize('version', [5, 4])


@clause('MQTT-3.14.4-1', 'MQTT-3.14.4-2', 'MQTT-3.14.1-1', 'MQTT-2.1.3-1', 'MQTT-3.14.2-1',
        'MQTT311-3.14.4-1', 'MQTT311-3.14.4-2', 'MQTT311-2.2.2-1')
@versions
@pytest.mark.parametrize('name', ['pub', 'sub', 'rr'])
def test_disconnect_is_the_last_packet(version, name):
    """Byte for byte; then the client closes, although the broker does not."""
    more = {'pub': ['-m', 'x'], 'sub': ['-C', '1'], 'rr': ['-e', 'b', '-m', 'x']}[name]
    with Peer(version) as peer, start(peer, name, '-t', 'a', *more) as p:
        c = peer.take()
        if name == 'pub':
            c.accept()
            c.expect(PUBLISH)
        else:
            c.subscribed()
            if name == 'rr':
                c.expect(PUBLISH)
            c.publish('a' if name == 'sub' else 'b', b'y')
        assert c.expect(DISCONNECT).raw == b'\xe0\x00'
        # Something that would have to be answered comes too late.
        c.publish('a', b'z', qos=1, mid=1)
        assert c.rest() == []
        p.ends()
        assert p.out == (b'' if name == 'pub' else b'y\n')


@clause('MQTT-3.14.4-1', 'MQTT-3.14.2-1')
def test_disconnect_with_properties():
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-x', '5', '-D', 'disconnect',
                               'session-expiry-interval', '9', '-D', 'disconnect', 'user-property', 'k',
                               'v') as p:
        c = peer.take()
        c.accept()
        c.expect(PUBLISH)
        d = c.farewell()
        assert (d.code, d.props) == (0, {'session_expiry': 9, 'user_property': [('k', 'v')]})
        p.ends()


@clause('MQTT-3.14.2-1')
@pytest.mark.parametrize('how', ['-W', 'SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('version', [5, 4])
def test_broken_off(version, how):
    """By a signal or by -W: DISCONNECT, of 5.0 with the code that lets the will
    be published, as mosquitto_sub has it."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-d',
                                      *(['-W', '1'] if how == '-W' else [])) as p:
        c = peer.take()
        c.subscribed()
        p.printed(b'Subscribed')
        if how != '-W':
            p.process.send_signal(getattr(signal, how))
        assert c.farewell().code == (4 if version == 5 else 0)
        p.ends(27 if how == '-W' else 0)


@clause('MQTT-3.14.4-1', 'MQTT-4.13.2-1')
@pytest.mark.parametrize('code', [0x80, 0x87, 0x8d, 0x8e, 0x93, 0x98, 0x9c])
def test_the_broker_disconnects(code):
    """No word is sent behind it; the code is told and is the status."""
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', '1') as p:
        c = peer.take()
        c.accept()
        c.expect(PUBLISH)
        c.send(packet(DISCONNECT, 0, bytes([code]) + properties({'reason_string': 'told why'})))
        c.ended()
        p.ends(code)
        assert 'told why' in p.text()


@clause('MQTT-2.2.1-3', 'MQTT311-2.3.1-2')
@modern
def test_nothing_is_owed_at_the_end(version):
    """A publisher does not leave before the last answer."""
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', '1') as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        c.silent(0.5)
        assert p.process.poll() is None
        c.ack(PUBACK, m.mid)
        c.farewell()
        p.ends()


@clause('MQTT311-4.8.0-2')
@modern
def test_a_connection_that_breaks(version):
    """pub says so; sub comes back, once a second, with the same CONNECT."""
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', '1') as p:
        c = peer.take()
        c.accept()
        c.expect(PUBLISH)
        c.close()
        p.ends(7)
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-U', 'b') as p:
        c = peer.take()
        first = c.accept()
        c.suback(c.expect(SUBSCRIBE))
        c.unsuback(c.expect(UNSUBSCRIBE))
        c.close()
        c = peer.take()
        assert c.accept().raw == first.raw
        c.suback(c.expect(SUBSCRIBE))
        c.unsuback(c.expect(UNSUBSCRIBE))
        c.publish('a', b'back')
        p.printed(b'back\n')


# -- transports

@clause('MQTT-4.2-1', 'MQTT311-7.1.2-1', 'MQTT311-7.0.0-2')
@versions
def test_an_ordered_lossless_stream(version):
    """What comes byte by byte is the same as what comes at once, and nothing but
    the standard is needed for it."""
    no_props = properties(None) if version == 5 else b''
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-C', '4') as p:
        c = peer.take()
        c.subscribed()
        one = packet(PUBLISH, 0, string('a') + no_props + b'x')
        for byte in one + one:
            c.send(bytes([byte]))
            time.sleep(0.002)
        c.send(one + one)
        c.farewell()
        assert p.ends() == b'x\n' * 4


@clause('MQTT-6.0.0-3', 'MQTT311-6.0.0-3', 'MQTT-4.2-1')
@modern
def test_websocket_subprotocol(version):
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '--ws') as p:
        c = peer.take_ws()
        assert 'mqtt' in [x.strip() for x in c.fields['sec-websocket-protocol'].split(',')]
        c.accept()
        c.expect(PUBLISH)
        c.farewell()
        p.ends()


@clause('MQTT-6.0.0-1', 'MQTT311-6.0.0-1')
@modern
def test_websocket_text_frames(version):
    """What the client sends is binary; a text frame ends the connection."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '--ws') as p:
        c = peer.take_ws()
        c.subscribed()
        c.plain.sendall(frame(TEXT, packet(PUBLISH, 0, string('a') + b'\x00x'), mask=False))
        with pytest.raises(Closed):
            while True:
                c.controls.append(c.frame())
        assert (0x88, struct.pack('>H', 1003)) in c.controls
        p.ends(2)
        assert p.out == b''


@clause('MQTT311-6.0.0-2')
@modern
def test_packets_are_not_aligned_with_frames(version):
    no_props = properties(None) if version == 5 else b''
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '--ws', '-C', '3') as p:
        c = peer.take_ws()
        c.subscribed()
        one = packet(PUBLISH, 0, string('a') + no_props + b'x')
        c.plain.sendall(frame(BINARY, one[:3], mask=False) + frame(BINARY, one[3:] + one[:1], mask=False)
                        + frame(BINARY, one[1:4], fin=False, mask=False)
                        + frame(CONT, one[4:] + one, mask=False))
        c.farewell()
        assert p.ends() == b'x\n' * 3


# -- authentication

@clause('MQTT-4.12.0-7')
def test_no_auth_without_a_method():
    """Whatever the broker says, our client sends no AUTH of its own."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        connect = c.expect(CONNECT)
        assert 'auth_method' not in connect.props
        c.connack()
        c.suback(c.expect(SUBSCRIBE))
        c.silent(0.2)
        assert p.process.poll() is None
