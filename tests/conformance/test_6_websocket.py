# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.2 and 6: MQTT over WebSocket; here over the bytes of RFC 6455."""
import pytest

import wsraw
from clauses import clause
from harness import free_port
from kit import Peer, connected, publish, subscribe
from raw import CONNACK, PINGREQ, PINGRESP, PUBLISH, SUBACK, Closed, Raw, connect_packet, packet

ALONE = wsraw.frame(wsraw.BINARY, connect_packet('ws'))


@pytest.fixture(scope='module')
def ws(base_folder):
    """A broker with a WebSocket listener; .ws_port."""
    from blackbox_fixtures import Factory	# pylint: disable=import-outside-toplevel
    factory = Factory(base_folder)
    port = free_port()
    b = factory(f'listener {port} 127.0.0.1\nprotocol websockets\n', extra_ports=(port,))
    b.ws_port = port
    yield b
    factory.finish()


@pytest.fixture(autouse=True)
def others(ws):
    """Somebody over TCP and somebody over WebSocket are served as before."""
    with Raw(ws.port) as tcp, wsraw.RawWs(ws.ws_port) as web:
        tcp.connect('tcp')
        web.connect('web')
        tcp.subscribe('others')
        web.subscribe('others')
        yield
        for c in (tcp, web):
            c.publish('others', 'x')
            assert [c2.message().payload for c2 in (tcp, web)] == [b'x', b'x']


@clause('MQTT-6.0.0-4', 'MQTT-4.2-1')
@pytest.mark.parametrize('offered, chosen', [('mqtt', 'mqtt'), ('mqtt, other', 'mqtt'),
                                             ('other, mqtt', 'mqtt'), ('x,mqtt,mqttv3.1', 'mqtt')])
def test_subprotocol(ws, offered, chosen):
    """The name that is returned is mqtt, wherever it stands in the offer."""
    with wsraw.RawWs(ws.ws_port, text=wsraw.request(offered)) as c:
        assert c.ws.answer.fields['sec-websocket-protocol'] == chosen
        c.connect('ws')
        c.ping()


@clause('MQTT-6.0.0-4')
@pytest.mark.ours
@pytest.mark.parametrize('offered', ['other', 'MQTT', 'mqtt5', None])
def test_no_subprotocol(ws, offered):
    """Who offers none that is served gets none, and no WebSocket."""
    a = wsraw.http(ws.ws_port, wsraw.request(offered))
    assert a.status == 400 and 'sec-websocket-protocol' not in a.fields


@clause('MQTT-6.0.0-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('when', ['first', 'later', 'as a continuation', 'opcode 3'])
def test_only_binary_frames(ws, when):
    """Text, whatever is in it, ends the connection; nothing of it is done."""
    with wsraw.RawWs(ws.ws_port) as c:
        if when == 'first':
            c.ws.sock.sendall(wsraw.frame(wsraw.TEXT, connect_packet('text')))
        else:
            c.connect('text')
            c.subscribe('t')
            data = publish('t', b'x')
            if when == 'later':
                c.ws.sock.sendall(wsraw.frame(wsraw.TEXT, data))
            elif when == 'opcode 3':
                c.ws.sock.sendall(wsraw.frame(3, data))
            else:
                c.ws.sock.sendall(wsraw.frame(wsraw.TEXT, data[:3], fin=False)
                                  + wsraw.frame(wsraw.CONT, data[3:]))
        with pytest.raises((Closed, ConnectionError)):
            while True:
                assert c.recv().kind not in (CONNACK, PUBLISH)


@clause('MQTT-6.0.0-2', 'MQTT-4.2-1')
@pytest.mark.parametrize('size', [1, 2, 7, 126, 1000])
def test_frames_are_no_packets(ws, topic, size):
    """Frames end anywhere in packets: many packets in one, one packet in many."""
    with wsraw.RawWs(ws.ws_port) as c:
        c.send(connect_packet('sliced'))
        assert c.expect(CONNACK).code == 0
        data = subscribe((topic, 0)) + publish(topic, b'a' * 300) + publish(topic, b'b') * 5 + \
            packet(PINGREQ, 0, b'')
        for i in range(0, len(data), size):
            c.send(data[i:i + size])
        got = [c.recv() for _ in range(8)]
        assert sorted(p.kind for p in got) == sorted([SUBACK, PINGRESP] + [PUBLISH] * 6)
        assert [p.payload for p in got if p.kind == PUBLISH] == [b'a' * 300] + [b'b'] * 5


@clause('MQTT-6.0.0-2')
@pytest.mark.parametrize('cut', [1, 3, 10])
def test_fragments_are_no_packets(ws, topic, cut):
    """A message in fragments, with an empty one and a ping between them."""
    with wsraw.RawWs(ws.ws_port) as c:
        c.connect('fragments')
        data = subscribe((topic, 0)) + publish(topic, b'payload')
        c.ws.sock.sendall(wsraw.frame(wsraw.BINARY, data[:cut], fin=False)
                          + wsraw.frame(wsraw.CONT, b'', fin=False)
                          + wsraw.frame(wsraw.PING, b'hello')
                          + wsraw.frame(wsraw.CONT, data[cut:-2], fin=False)
                          + wsraw.frame(wsraw.CONT, data[-2:]))
        assert c.expect(SUBACK).codes == [0]
        assert c.expect(PUBLISH).payload == b'payload'
        assert (wsraw.PONG, b'hello') in c.ws.controls


@clause('MQTT-6.0.0-2')
def test_everything_in_one_frame(ws, topic):
    with wsraw.RawWs(ws.ws_port) as c:
        c.send(connect_packet('one') + subscribe((topic, 0)) + publish(topic, b'x'))
        assert [c.recv().kind for _ in range(3)] == [CONNACK, SUBACK, PUBLISH]
