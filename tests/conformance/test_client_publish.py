# SPDX-License-Identifier: Apache-2.0
"""Our client's messages, out and in: MQTT 5.0 3.3 to 3.7, 4.3 to 4.6, 4.9."""
import struct

import pytest

from clauses import clause
from peer import Peer, start
from raw import (CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL,
                 SUBSCRIBE, packet, properties, string)

pytestmark = pytest.mark.ours
versions = pytest.mark.parametrize('version', [5, 4, 3])
modern = pytest.mark.parametrize('version', [5, 4])


def no_props(version):
    return properties(None) if version == 5 else b''


# -- out

@clause('MQTT-2.2.1-2', 'MQTT-3.3.1-2', 'MQTT-4.3.1-1', 'MQTT-3.3.2-1', 'MQTT-2.2.2-1', 'MQTT311-2.3.1-5',
        'MQTT311-3.3.1-2', 'MQTT311-4.3.1-1', 'MQTT311-3.3.2-1', 'MQTT31-3.3-2', 'MQTT31-2.5-1')
@versions
@pytest.mark.parametrize('retain', [False, True])
def test_qos_0(version, retain):
    """Byte for byte: no identifier, DUP 0."""
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a/\u00e9', '-m', 'x', *['-r'] * retain) as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        assert m.raw == packet(PUBLISH, retain, string('a/\u00e9') + no_props(version) + b'x')
        c.farewell()
        p.ends()


@clause('MQTT-2.2.1-3', 'MQTT-4.3.2-1', 'MQTT-4.3.2-2', 'MQTT-4.3.2-3', 'MQTT311-4.3.2-1',
        'MQTT311-2.3.1-1', 'MQTT311-2.3.1-2', 'MQTT311-2.3.1-3', 'MQTT31-4.1-1', 'MQTT31-2.4-1',
        'MQTT31-2.4-2')
@versions
def test_qos_1(version):
    """Each message has an identifier not in use, and is owed until PUBACK."""
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-l', '-q', '1', '-M', '5',
                                      stdin=b'm\n' * 12) as p:
        c = peer.take()
        c.accept()
        first = [c.expect(PUBLISH) for _ in range(5)]
        c.silent(0.1)	# -M: no more than five without their answer
        ids = [m.mid for m in first]
        assert 0 not in ids and len(set(ids)) == 5
        assert {m.raw[0] for m in first} == {0x32}
        waiting = set(ids)
        for _ in range(7):
            c.ack(PUBACK, min(waiting))
            waiting.remove(min(waiting))
            m = c.expect(PUBLISH)
            assert m.mid not in waiting and not m.dup
            waiting.add(m.mid)
        assert p.process.poll() is None
        for mid in sorted(waiting):
            c.ack(PUBACK, mid)
        c.farewell()
        p.ends()


@clause('MQTT-4.3.3-1', 'MQTT-4.3.3-2', 'MQTT-4.3.3-4', 'MQTT-4.3.3-6', 'MQTT-3.6.1-1', 'MQTT-2.2.1-5',
        'MQTT-3.6.2-1', 'MQTT311-4.3.3-1', 'MQTT311-3.6.1-1', 'MQTT311-2.3.1-6', 'MQTT31-4.1-2')
@versions
def test_qos_2(version):
    """PUBREL has the identifier of its PUBLISH and the flags 0010, and the
    PUBLISH is not sent again."""
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', '2') as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        assert m.raw[0] == 0x34 and m.mid
        c.silent(0.05)
        c.ack(PUBREC, m.mid)
        rel = c.expect(PUBREL)
        assert rel.raw == packet(PUBREL, 2, struct.pack('>H', m.mid))
        c.ack(PUBREC, m.mid)	# once more: PUBREL, not PUBLISH
        assert c.expect(PUBREL).raw == rel.raw
        c.silent(0.1)
        c.ack(PUBCOMP, m.mid)
        c.farewell()
        p.ends()


@clause('MQTT-4.4.0-2', 'MQTT-4.3.2-3')
@pytest.mark.parametrize('kind,qos', [(PUBACK, 1), (PUBREC, 2)])
@pytest.mark.parametrize('code', [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
def test_a_refused_message_is_over(kind, qos, code):
    """No PUBREL, no PUBLISH again; the client says so and goes on."""
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-l', '-q', qos, '-M', '1', stdin=b'1\n2\n') as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        c.ack(kind, m.mid, code)
        second = c.expect(PUBLISH)
        assert second.payload == b'2' and not second.dup
        c.ack(kind, second.mid, code)
        c.farewell()
        p.ends()
        assert 'failed' in p.text()


@clause('MQTT-3.4.2-1', 'MQTT-3.5.2-1', 'MQTT-3.7.2-1', 'MQTT-3.6.2-1', 'MQTT-3.14.2-1')
@pytest.mark.parametrize('kind,code', [(PUBACK, 0x01), (PUBACK, 0x92), (PUBREC, 0x18), (PUBREC, 0xff),
                                       (PUBCOMP, 0x10), (PUBCOMP, 0x80)])
def test_codes_that_an_acknowledgement_cannot_have(kind, code):
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', 1 if kind == PUBACK else 2) as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        if kind == PUBCOMP:
            c.ack(PUBREC, m.mid)
            c.expect(PUBREL)
        c.ack(kind, m.mid, code)
        c.ended(0x82)
        p.ends(2)


@clause('MQTT-3.4.2-2', 'MQTT-3.4.2-3', 'MQTT-3.5.2-2', 'MQTT-3.5.2-3', 'MQTT-3.7.2-2', 'MQTT-3.7.2-3',
        'MQTT-3.1.2-24')
@pytest.mark.parametrize('kind', [PUBACK, PUBREC, PUBCOMP])
@pytest.mark.parametrize('name', ['reason_string', 'user_property'])
def test_acknowledgements_larger_than_was_asked_for(kind, name):
    long = {'reason_string': 'x' * 90, 'user_property': ('k' * 45, 'v' * 45)}[name]
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', 1 if kind == PUBACK else 2, '-D',
                               'connect', 'maximum-packet-size', '90') as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        if kind == PUBCOMP:
            c.ack(PUBREC, m.mid)
            c.expect(PUBREL)
        c.ack(kind, m.mid, 0, {name: long})
        c.ended(0x95)
        p.ends(9)


@clause('MQTT-3.6.2-2', 'MQTT-3.6.2-3')
def test_a_pubrel_larger_than_was_asked_for():
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-q', '2', '-D', 'connect', 'maximum-packet-size',
                               '90') as p:
        c = peer.take()
        c.subscribed()
        c.publish('a', b'x', qos=2, mid=1)
        c.expect(PUBREC)
        c.ack(PUBREL, 1, 0, {'reason_string': 'x' * 90})
        c.ended(0x95)
        p.ends(9)


@clause('MQTT-4.9.0-1', 'MQTT-4.9.0-2', 'MQTT-4.9.0-3', 'MQTT-3.3.4-9')
@pytest.mark.parametrize('qos', [1, 2])
def test_receive_maximum(qos):
    """No more than the broker takes at once; pings and answers go on meanwhile."""
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-l', '-q', qos, '-k', '5', stdin=b'm\n' * 6) as p:
        c = peer.take()

        def said(kind):
            """The next of a kind; pings may come before it when this side is slow."""
            while (m := c.recv()).kind == PINGREQ != kind:
                c.send(packet(PINGRESP, 0, b''))
            assert m.kind == kind, m
            return m
        c.accept(props={'receive_maximum': 2, 'server_keep_alive': 1})
        open_ = [said(PUBLISH), said(PUBLISH)]
        ping = said(PINGREQ)	# and not a third PUBLISH
        assert ping.raw == b'\xc0\x00'
        c.send(packet(PINGRESP, 0, b''))
        sent = 2
        while open_:
            m = open_.pop(0)
            c.ack(PUBACK if qos == 1 else PUBREC, m.mid)
            if qos == 2:
                assert said(PUBREL).mid == m.mid
                c.ack(PUBCOMP, m.mid)
            if sent < 6:
                open_.append(said(PUBLISH))
                sent += 1
        c.farewell(said(DISCONNECT))
        p.ends()


@clause('MQTT-3.3.2-19', 'MQTT-3.3.2-13', 'MQTT-3.3.2-1', 'MQTT-3.3.2-12')
def test_properties_of_publish():
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-D', 'publish', 'content-type',
                               'text/\u00e9', '-D', 'publish', 'response-topic', 're/\u00e9', '-D',
                               'publish', 'correlation-data', 'c', '-D', 'publish', 'user-property', 'k',
                               'v', '-D', 'publish', 'message-expiry-interval', '5', '-D', 'publish',
                               'payload-format-indicator', '1', '--repeat', '2') as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        assert m.props == {'content_type': 'text/\u00e9', 'response_topic': 're/\u00e9',
                           'correlation_data': b'c', 'user_property': [('k', 'v')],
                           'message_expiry': 5, 'payload_format': 1}
        assert c.expect(PUBLISH).raw == m.raw
        c.farewell()
        p.ends()


@clause('MQTT-3.3.4-6')
def test_no_subscription_identifier_is_published():
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-D', 'publish',
                               'subscription-identifier', '1') as p:
        p.ends(1)
        peer.none(0.05)


def removing(peer, *args):
    """A subscriber that answers retained messages with a publish of QoS 1 of
    its own: what it owes when the connection breaks is sent again."""
    return start(peer, 'sub', '-t', '#', '-q', '1', '-c', '-i', 'me', '--remove-retained', *args)


@clause('MQTT-3.3.1-1', 'MQTT-4.4.0-1', 'MQTT-4.6.0-1', 'MQTT311-3.3.1-1', 'MQTT311-4.4.0-1',
        'MQTT311-4.6.0-1', 'MQTT311-2.3.1-3', 'MQTT31-4.2-1', 'MQTT31-2.1-2')
@versions
def test_sent_again_after_the_connection_only(version):
    """In their order, with their identifiers and DUP; and not before."""
    with Peer(version) as peer, removing(peer) as p:
        c = peer.take()
        c.subscribed()
        for name in 'abc':
            c.publish(name, b'x', retain=True)
        owed = [c.expect(PUBLISH) for _ in range(3)]
        assert [m.topic for m in owed] == [b'a', b'b', b'c'] and not any(m.dup for m in owed)
        c.ack(PUBACK, owed[1].mid)
        c.silent(0.3)
        c.reset()
        c = peer.take()
        c.accept(session=True)
        again = [k for k in (c.recv(), c.recv(), c.recv()) if k.kind == PUBLISH]
        assert [(m.topic, m.mid, m.dup) for m in again] == [(b'a', owed[0].mid, 1),
                                                             (b'c', owed[2].mid, 1)]
        assert [m.raw[1:] for m in again] == [owed[0].raw[1:], owed[2].raw[1:]]
        for m in again:
            c.ack(PUBACK, m.mid)
        c.silent(0.1)
        assert p.process.poll() is None


@clause('MQTT-3.3.1-3', 'MQTT-4.1.0-1')
@modern
def test_a_broker_that_lost_the_session(version):
    """Session Present 0: what was owed is a new message there, with DUP 0."""
    with Peer(version) as peer, removing(peer):
        c = peer.take()
        c.subscribed()
        c.publish('a', b'x', retain=True)
        c.expect(PUBLISH)
        c.reset()
        c = peer.take()
        c.accept(session=False)
        again = [k for k in (c.recv(), c.recv()) if k.kind == PUBLISH]
        assert [(m.topic, m.dup) for m in again] == [(b'a', 0)]


@clause('MQTT311-3.1.2-6')
@modern
def test_a_clean_session_forgets(version):
    """What was half delivered before is nothing to the new connection."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '2') as p:
        c = peer.take()
        assert c.expect(CONNECT).connect_flags & 2
        c.connack()
        c.suback(c.expect(SUBSCRIBE))
        c.publish('a', b'old', qos=2, mid=7)
        p.printed(b'old\n')
        c.reset()
        c = peer.take()
        c.subscribed()
        c.publish('a', b'new', qos=2, mid=7)
        assert c.expect(PUBREC).mid == 7
        p.printed(b'new\n')


# -- in

@clause('MQTT-4.3.2-4', 'MQTT-4.6.0-2', 'MQTT-2.2.1-5', 'MQTT311-4.3.2-2', 'MQTT311-4.6.0-2',
        'MQTT311-2.3.1-6', 'MQTT311-3.3.4-1', 'MQTT31-3.3-1', 'MQTT31-4.1-1')
@versions
def test_pubacks_in_order(version):
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '1') as p:
        c = peer.take()
        c.subscribed()
        ids = [7, 3, 65535, 1, 9]
        for mid in ids:
            c.publish('a', b'%d' % mid, qos=1, mid=mid)
        got = [c.expect(PUBACK) for _ in ids]
        assert [k.raw for k in got] == [packet(PUBACK, 0, struct.pack('>H', mid)) for mid in ids]
        # The identifier is free again: a new message.
        c.publish('a', b'again', qos=1, mid=7)
        assert c.expect(PUBACK).mid == 7
        p.printed(b'7\n3\n65535\n1\n9\nagain\n')


@clause('MQTT-4.3.3-8', 'MQTT-4.3.3-10', 'MQTT-4.3.3-11', 'MQTT-4.6.0-3', 'MQTT-4.6.0-4', 'MQTT-4.6.0-5',
        'MQTT-2.2.1-5', 'MQTT-3.7.2-1', 'MQTT311-4.3.3-2', 'MQTT311-4.6.0-3', 'MQTT311-2.3.1-6',
        'MQTT31-4.1-2', 'MQTT31-3.6-1')
@versions
def test_qos_2_comes_once(version):
    """PUBREC in the order of PUBLISH, PUBCOMP in that of PUBREL; a duplicate is
    acknowledged and not printed."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '2') as p:
        c = peer.take()
        c.subscribed()
        for mid in (5, 2, 9):
            c.publish('a', b'%d' % mid, qos=2, mid=mid)
        assert [c.expect(PUBREC).raw for _ in range(3)] == \
            [packet(PUBREC, 0, struct.pack('>H', mid)) for mid in (5, 2, 9)]
        c.publish('a', b'2', qos=2, mid=2, dup=True)
        assert c.expect(PUBREC).mid == 2
        for mid in (5, 2, 9):
            c.ack(PUBREL, mid)
        assert [c.expect(PUBCOMP).raw for _ in range(3)] == \
            [packet(PUBCOMP, 0, struct.pack('>H', mid)) for mid in (5, 2, 9)]
        c.publish('a', b'new', qos=2, mid=2)
        assert c.expect(PUBREC).mid == 2
        p.printed(b'new\n')
        assert p.out == b'5\n2\n9\nnew\n'


@clause('MQTT-4.6.0-4', 'MQTT311-4.6.0-4')
@modern
def test_pubrels_in_the_order_of_pubrecs(version):
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-l', '-q', '2', stdin=b'm\n' * 3) as p:
        c = peer.take()
        c.accept()
        ids = [c.expect(PUBLISH).mid for _ in range(3)]
        for mid in (ids[2], ids[0], ids[1]):
            c.ack(PUBREC, mid)
        assert [c.expect(PUBREL).mid for _ in range(3)] == [ids[2], ids[0], ids[1]]
        for mid in ids:
            c.ack(PUBCOMP, mid)
        c.farewell()
        p.ends()


@clause('MQTT-4.5.0-2', 'MQTT311-4.5.0-2')
@modern
def test_what_is_not_printed_is_acknowledged(version):
    with Peer(version) as peer, start(peer, 'sub', '-t', '#', '-q', '2', '-R', '-T', 'out/#') as p:
        c = peer.take()
        c.subscribed()
        c.publish('a', b'stale', qos=1, mid=1, retain=True)
        c.publish('out/x', b'out', qos=1, mid=2)
        c.publish('out/x', b'out', qos=2, mid=3)
        assert [c.expect(k).mid for k in (PUBACK, PUBACK, PUBREC)] == [1, 2, 3]
        c.ack(PUBREL, 3)
        assert c.expect(PUBCOMP).mid == 3
        c.publish('a', b'shown')
        p.printed(b'shown\n')
        assert p.out == b'shown\n'


@clause('MQTT-3.6.2-1', 'MQTT-3.7.2-1', 'MQTT31-3.6-1')
@versions
def test_identifiers_that_nobody_knows(version):
    """PUBREL of nothing: PUBCOMP 0x92.  PUBREC of nothing: PUBREL 0x92.  PUBACK
    and PUBCOMP of nothing may be late, and are passed over."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.subscribed()
        not_found = b'\x92' if version == 5 else b''
        c.ack(PUBREL, 77)
        assert c.expect(PUBCOMP).raw == packet(PUBCOMP, 0, b'\x00\x4d' + not_found)
        c.ack(PUBREC, 78)
        assert c.expect(PUBREL).raw == packet(PUBREL, 2, b'\x00\x4e' + not_found)
        c.ack(PUBACK, 79)
        c.ack(PUBCOMP, 80)
        c.publish('a', b'still there')
        p.printed(b'still there\n')


@clause('MQTT-4.3.3-13', 'MQTT-4.3.3-7')
def test_expiry_stops_no_handshake():
    """A message interval of a second, and a PUBREL after that."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-q', '2') as p:
        c = peer.take()
        c.subscribed()
        c.publish('a', b'x', qos=2, mid=4, props={'message_expiry': 1})
        assert c.expect(PUBREC).mid == 4
        c.silent(1.2)
        c.ack(PUBREL, 4)
        assert c.expect(PUBCOMP).mid == 4
        p.printed(b'x\n')


@clause('MQTT-4.3.3-7', 'MQTT-4.4.0-1')
def test_expiry_takes_nothing_back():
    """What was sent is owed after its interval, too, and not sent again."""
    with Peer() as peer, start(peer, 'pub', '-t', 'a', '-m', 'x', '-q', '1', '-D', 'publish',
                               'message-expiry-interval', '1') as p:
        c = peer.take()
        c.accept()
        m = c.expect(PUBLISH)
        c.silent(1.2)
        assert p.process.poll() is None
        c.ack(PUBACK, m.mid)
        c.farewell()
        p.ends()


@clause('MQTT-3.3.2-12', 'MQTT-3.3.2-10')
def test_aliases_of_the_broker():
    """They stand for the last topic they were given, on this connection only."""
    with Peer() as peer, start(peer, 'sub', '-t', '#', '-v', '-D', 'connect', 'topic-alias-maximum',
                               '5') as p:
        c = peer.take()
        c.subscribed()
        c.publish('one', b'1', props={'topic_alias': 5})
        c.publish('', b'2', props={'topic_alias': 5})
        c.publish('two', b'3', props={'topic_alias': 5})
        c.publish('', b'4', props={'topic_alias': 5})
        p.printed(b'one 1\none 2\ntwo 3\ntwo 4\n')
        c.reset()
        c = peer.take()
        c.subscribed()
        c.publish('', b'5', props={'topic_alias': 5})
        c.ended(0x82)
        p.ends(2)


@clause('MQTT-4.6.0-5')
@modern
def test_messages_are_printed_in_their_order(version):
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '2', '-C', '300') as p:
        c = peer.take()
        c.subscribed()
        for i in range(300):
            c.publish('a', b'%d' % i, qos=i % 2, mid=i + 1)
        assert p.ends() == b''.join(b'%d\n' % i for i in range(300))


@clause('MQTT311-1.5.3-3')
@pytest.mark.parametrize('version', [5, 4])
def test_a_byte_order_mark_stays(version):
    """U+FEFF is a character as any other."""
    name = '\ufeffa'
    with Peer(version) as peer, start(peer, 'sub', '-t', name, '-v') as p:
        c = peer.take()
        assert c.subscribed().filters[0][0] == name.encode()
        c.publish(name, b'x')
        p.printed(name.encode() + b' x\n')


@clause('MQTT31-3.3-5')
@versions
def test_a_message_without_payload(version):
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-v', '-C', '1') as p:
        c = peer.take()
        c.subscribed()
        c.publish('a')
        c.farewell()
        assert p.ends() == b'a (null)\n'
    with Peer(version) as peer, start(peer, 'pub', '-t', 'a', '-n') as p:
        c = peer.take()
        c.accept()
        assert c.expect(PUBLISH).payload == b''
        c.farewell()
        p.ends()
