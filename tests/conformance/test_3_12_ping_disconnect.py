# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.12 to 3.14: PINGREQ, PINGRESP, DISCONNECT."""
import pytest

from clauses import clause
from harness import PATIENCE
from kit import (MALFORMED, PROTOCOL_ERROR, Peer, connected, ended, gone, props_of, publish, refused,
                 subscribe)
from raw import CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBLISH, Closed, connect_packet, packet

pytestmark = pytest.mark.usefixtures('unharmed')

# Table of 3.14.2.1; "client" and "both" in its column "sent by".
FROM_A_CLIENT = {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99}
ALL = FROM_A_CLIENT | {0x87, 0x89, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa0,
                       0xa1, 0xa2}


@clause('MQTT-3.12.4-1')
@pytest.mark.parametrize('n', [1, 2, 100])
def test_pingresp(broker, n):
    """One for each, two bytes long."""
    with connected(broker, 'pings') as c:
        c.send(b'\xc0\x00' * n)
        for _ in range(n):
            p = c.recv()
            assert (p.kind, p.flags, p.body) == (PINGRESP, 0, b'')
        c.silent(0.03)


# DISCONNECT from a client.

@clause('MQTT-3.14.2-1', 'MQTT-3.14.4-2')
def test_codes_of_a_client(broker):
    """Each of its own ends the connection without a word."""
    for code in sorted(FROM_A_CLIENT):
        for rest in (b'', b'\x00', props_of(reason_string='why', user_property=('a', 'b'))):
            with connected(broker, 'leaves') as c:
                c.send(packet(DISCONNECT, 0, bytes([code]) + rest))
                ended(c)
    with connected(broker, 'leaves') as c:
        c.send(b'\xe0\x00')
        ended(c)


@clause('MQTT-3.14.2-1', 'MQTT-4.13.1-1')
def test_codes_that_are_none(broker):
    for code in sorted(set(range(256)) - ALL):
        with connected(broker, 'leaves') as c:
            c.send(packet(DISCONNECT, 0, bytes([code])))
            refused(c, PROTOCOL_ERROR, MALFORMED)


@clause('MQTT-3.14.4-1')
def test_nothing_is_done_after_disconnect(broker, unharmed, topic):
    """What stands behind it in the same write is not looked at."""
    unharmed.c.subscribe(topic)
    with connected(broker, 'leaves') as c:
        c.subscribe(topic)
        c.send(publish(topic, b'before') + packet(DISCONNECT, 0, b'') + publish(topic, b'behind')
               + publish(topic, b'behind', flags=1) + packet(PINGREQ, 0, b''))
        got = []
        try:
            while True:
                got.append(c.recv())
        except Closed:
            pass
        assert [p.payload for p in got] in ([], [b'before'])
    m = unharmed.c.message()
    assert (m.topic, m.payload) == (topic, b'before')
    unharmed.check()
    unharmed.c.unsubscribe(topic)
    unharmed.c.subscribe(topic)
    unharmed.check()
    unharmed.c.unsubscribe(topic)


@clause('MQTT-3.1.2-23', 'MQTT-4.1.0-2')
@pytest.mark.parametrize('before, at_the_end, present', [
    (60, None, 1), (60, 0, 0), (60, 30, 1), (0, None, 0), (None, None, 0)])
def test_session_expiry_in_disconnect(broker, before, at_the_end, present):
    """It replaces the interval of CONNECT."""
    props = None if before is None else {'session_expiry': before}
    with connected(broker, 'expiry', props=props) as c:
        c.send(packet(DISCONNECT, 0, b'' if at_the_end is None else
                      b'\x00' + props_of(session_expiry=at_the_end)))
        ended(c)
    with Peer(broker.port) as c:
        assert c.connect('expiry', clean=False).body[0] == present
        c.disconnect()


@clause('MQTT-4.13.1-1')
@pytest.mark.parametrize('before', [None, 0])
def test_session_expiry_out_of_nothing(broker, before):
    """3.14.2.2.2: after an interval of 0 it is a Protocol Error; of 0, it is
    none."""
    props = None if before is None else {'session_expiry': before}
    with connected(broker, 'expiry', props=props) as c:
        c.send(packet(DISCONNECT, 0, b'\x00' + props_of(session_expiry=10)))
        refused(c, PROTOCOL_ERROR)
    with connected(broker, 'expiry', clean=False) as c:
        assert c.all[0].body[0] == 0
        c.send(packet(DISCONNECT, 0, b'\x00' + props_of(session_expiry=0)))
        ended(c)


# DISCONNECT from the broker.

def errors(topic):
    return {
        0x81: b'\xc1\x00', 0x82: connect_packet('x'), 0x90: publish('a/#'),
        0x94: publish(topic, props=props_of(topic_alias=65535)),
        0x95: b'\x30\xff\xff\xff\x7f',
    }


@clause('MQTT-3.14.2-1', 'MQTT-3.14.2-2', 'MQTT-3.14.4-1', 'MQTT-3.14.4-2', 'MQTT-4.13.1-1', 'MQTT-4.13.2-1')
@pytest.mark.parametrize('code', errors('x'))
def test_disconnect_of_the_broker(broker, topic, code):
    """The code for the cause, no session expiry, and the end; what the client
    sends afterwards is not done.  Its session stays, and others do not notice."""
    with connected(broker, 'error', props={'session_expiry': 60}) as c:
        c.subscribe((topic, 1))
        c.send(errors(topic)[code] + publish(topic, b'behind', 1, mid=9))
        p = refused(c, code)
        assert 'session_expiry' not in p.props and p.flags == 0
    with connected(broker, 'error', clean=False) as c:
        assert c.all[0].body[0] == 1
        c.silent(0.05)
        c.publish_acked(topic, 'now', 1)
        assert c.message().payload == b'now'
        c.disconnect()


@clause('MQTT-3.14.4-2', 'MQTT-3.14.4-1')
def test_the_broker_closes_even_if_the_client_does_not(broker):
    """Its FIN comes, although the client goes on sending."""
    with connected(broker, 'stubborn') as c:
        c.send(b'\xc1\x00')
        refused(c, MALFORMED)
        with pytest.raises((OSError, Closed)):
            for _ in range(1000):
                c.send(packet(PINGREQ, 0, b'') * 1000)
                c.recv(0.05)


@clause('MQTT-3.14.2-3', 'MQTT-3.14.2-4', 'MQTT-3.1.2-24')
def test_reason_and_maximum_packet_size(broker):
    """A reason that makes it too large is left out."""
    def end(limit):
        with connected(broker, 'reason', props={'maximum_packet_size': limit}) as c:
            c.send(b'\xc1\x00')
            return refused(c, MALFORMED)

    whole = end(1000)
    assert end(whole.size).props == whole.props
    for limit in (whole.size - 1, 25, 20):
        if limit >= 20:
            p = end(limit)
            assert p.size <= limit and (p.props == {} or p.size == whole.size)


@clause('MQTT-3.14.2-1', 'MQTT-3.14.4-2')
def test_shutdown(brokers):
    """0x8B to all who are there."""
    b = brokers()
    with connected(b, 'a') as one, connected(b, 'b') as two:
        b.process.terminate()
        for c in (one, two):
            try:
                refused(c, 0x8b)
            except Closed:
                pass
    b.process.wait(PATIENCE)
