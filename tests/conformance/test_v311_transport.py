# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1, 4.2, 6 and 7: TCP, and WebSocket."""
import socket

import pytest

import harness
import wsraw
from conftest import blackbox
from clauses import clause
from exact import (BOTH, PINGREQ, PINGRESP, WELCOME, Exact, puback, publish, suback, subscribe)
from raw import connect_packet

PROTOCOL = {4: 'mqtt', 3: 'mqttv3.1'}


@pytest.fixture(scope='module')
def ws_port(base_folder):
    """A broker that also listens for WebSocket: that port."""
    factory = blackbox.Factory(base_folder)
    port = harness.free_port()
    factory(f'listener {port} 127.0.0.1\nprotocol websockets\n', extra_ports=[port])
    yield port
    factory.finish()


class ExactWs(Exact, wsraw.RawWs):
    """Exact over WebSocket."""


def upgraded(port, version, protocol=None):
    return ExactWs(port, version, text=wsraw.request(protocol or PROTOCOL[version]))


@BOTH
@clause('MQTT311-7.1.1-1', 'MQTT311-7.0.0-2')
@pytest.mark.parametrize('size', [1, 2, 3, 7, 10000])
def test_stream(peers, version, topic, size):
    """Packets cut anywhere, or many in one write, are the same packets."""
    said = connect_packet(peers.id(), version) + subscribe(1, (topic, 0)) + \
        publish(topic, b'x' * 200) + publish(topic, b'y', 1, 9) + PINGREQ
    c = peers.raw()
    for i in range(0, len(said), size):
        c.send(said[i:i + size])
    c.want(WELCOME, suback(1, 0), publish(topic, b'x' * 200))
    rest = c.take(len(publish(topic, b'y')) + 6)
    assert rest in (publish(topic, b'y') + puback(9) + PINGRESP,
                    puback(9) + publish(topic, b'y') + PINGRESP)


@BOTH
@clause('MQTT311-6.0.0-4')
def test_subprotocol(ws_port, version):
    """The one that is asked for, alone or among others."""
    for asked in (PROTOCOL[version], f'chat, {PROTOCOL[version]}'):
        with upgraded(ws_port, version, asked) as c:
            assert c.ws.answer.fields['sec-websocket-protocol'] == PROTOCOL[version]
            c.enter('ws')
            c.talk(b'')


@clause('MQTT311-6.0.0-4')
@pytest.mark.parametrize('asked', ['chat', 'MQTT', 'mqtt5', None])
@pytest.mark.ours
def test_no_other_subprotocol(ws_port, asked):
    answer = wsraw.http(ws_port, wsraw.request(asked))
    assert answer.status != 101


@BOTH
@clause('MQTT311-6.0.0-1')
def test_binary_frames(ws_port, version, topic):
    """All that comes is in binary frames (ExactWs knows no others), also what
    does not fit into a small one."""
    with upgraded(ws_port, version) as c:
        c.enter('ws')
        c.talk(subscribe(1, (topic, 1)), suback(1, 1))
        for n in (0, 100, 125, 126, 65535, 70000):
            c.send(publish(topic, b'x' * n))
            c.want(publish(topic, b'x' * n))


@BOTH
@clause('MQTT311-6.0.0-1', 'MQTT311-4.8.0-1')
def test_text_frames(ws_port, version, topic):
    """End the connection; the packet in it is not processed."""
    with upgraded(ws_port, version) as watcher, upgraded(ws_port, version) as c:
        watcher.enter('watcher')
        watcher.talk(subscribe(1, (topic, 0)), suback(1, 0))
        c.enter('ws')
        c.ws.sock.sendall(wsraw.frame(wsraw.TEXT, publish(topic, b'x')))
        assert c.ws.close_code() in (1002, 1003)
        watcher.talk(b'')


@BOTH
@clause('MQTT311-6.0.0-2')
@pytest.mark.parametrize('size', [1, 2, 5, 10000])
def test_frames_and_packets(ws_port, version, topic, size):
    """Several packets in a frame, and packets over several frames and
    fragments."""
    said = connect_packet('ws', version) + subscribe(1, (topic, 0)) + \
        publish(topic, b'x' * 50) + PINGREQ
    parts = [said[i:i + size] for i in range(0, len(said), size)]
    with upgraded(ws_port, version) as c:
        for part in parts:
            c.send(part)
        c.want(WELCOME, suback(1, 0), publish(topic, b'x' * 50), PINGRESP)
    with upgraded(ws_port, version) as c:
        for i, part in enumerate(parts):
            c.ws.sock.sendall(wsraw.frame(wsraw.CONT if i else wsraw.BINARY, part,
                                          fin=i == len(parts) - 1))
        c.want(WELCOME, suback(1, 0), publish(topic, b'x' * 50), PINGRESP)


@BOTH
@clause('MQTT311-6.0.0-1', 'MQTT311-4.8.0-1')
def test_violation_over_websocket(ws_port, version):
    """Nothing but the end of the connection is the answer."""
    with upgraded(ws_port, version) as c:
        c.enter('ws')
        c.send(b'\x00\x00')
        op, _ = c.ws.frame()
        assert op == wsraw.CLOSE


@clause('MQTT311-7.1.1-1')
def test_half_closed(peers):
    """A client that has said all it wants still gets its answers."""
    c = peers.raw()
    c.send(connect_packet(peers.id(), 4) + publish('half', b'x', 1, 1))
    c.sock.shutdown(socket.SHUT_WR)
    got = b''
    while more := c.sock.recv(100):
        got += more
    assert got in (b'', WELCOME, WELCOME + puback(1))
