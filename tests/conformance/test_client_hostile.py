# SPDX-License-Identifier: Apache-2.0
"""A hostile broker: everything that our client must not take from one.  It
closes, with the right DISCONNECT of MQTT 5 and without one of MQTT 3, says
what was wrong, and needs no more memory than it says."""
import socket
import struct
import time

import pytest

from clauses import clause
from harness import paced
from peer import Peer, start
from raw import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH,
                 PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, packet, properties, string,
                 varint)

pytestmark = pytest.mark.ours
modern = pytest.mark.parametrize('version', [5, 4])
MALFORMED, PROTOCOL_ERROR, TOPIC_NAME = 0x81, 0x82, 0x90
RECEIVE_MAXIMUM, TOPIC_ALIAS, TOO_LARGE = 0x93, 0x94, 0x95


def ends(version, said, code, args=(), status=2):
    """A subscriber that is told this ends the connection, with that code."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '2', *args) as p:
        c = peer.take()
        c.subscribed()
        c.send(said)
        c.ended(code if version == 5 else None)
        p.ends(status)
        assert 'Error: the broker at' in p.text() and p.out == b''


def publish(topic, payload=b'x', flags=0, mid=None, props=b'\x00', version=5):
    return packet(PUBLISH, flags, string(topic) + (struct.pack('>H', mid) if mid is not None else b'')
                  + (props if version == 5 else b'') + payload)


# -- the fixed header

@clause('MQTT-2.1.3-1', 'MQTT311-2.2.2-1', 'MQTT311-2.2.2-2', 'MQTT-3.6.1-1', 'MQTT311-3.6.1-1',
        'MQTT-3.14.1-1', 'MQTT-3.15.1-1', 'MQTT311-4.8.0-1')
@modern
@pytest.mark.parametrize('kind,flags', [
    (PUBACK, 1), (PUBREC, 2), (PUBREL, 0), (PUBREL, 3), (PUBCOMP, 8), (SUBACK, 2), (UNSUBACK, 2),
    (PINGRESP, 1), (DISCONNECT, 1), (AUTH, 1)])
def test_reserved_flags(version, kind, flags):
    if version == 4 and kind in (DISCONNECT, AUTH):
        kind = PINGRESP
    ends(version, packet(kind, flags, b'\x00\x01'), MALFORMED)


@clause('MQTT-3.14.1-1', 'MQTT-4.13.2-1', 'MQTT311-4.8.0-1')
@modern
@pytest.mark.parametrize('kind', [0, CONNECT, SUBSCRIBE, UNSUBSCRIBE, PINGREQ])
def test_packets_that_only_clients_send(version, kind):
    flags = 2 if kind in (SUBSCRIBE, UNSUBSCRIBE) else 0
    ends(version, packet(kind, flags, b''), MALFORMED if kind == 0 else PROTOCOL_ERROR)


@clause('MQTT31-2.6-1', 'MQTT31-2.1-1')
@pytest.mark.parametrize('version', [3])
def test_unused_flags_of_mqtt_3_1(version):
    """They mean nothing and are passed over; DUP may be set in a PUBREL."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '2') as p:
        c = peer.take()
        c.subscribed()
        for flags in range(16):
            c.send(packet(PINGRESP, flags, b'') + packet(PUBACK, flags, b'\x00\x09'))
        c.publish('a', b'x', qos=2, mid=5)
        assert c.expect(PUBREC).mid == 5
        c.send(packet(PUBREL, 0x0a, b'\x00\x05'))
        assert c.expect(PUBCOMP).mid == 5
        p.printed(b'x\n')


@clause('MQTT-1.5.5-1', 'MQTT31-2.1-7')
@pytest.mark.parametrize('version', [5, 4, 3])
@pytest.mark.parametrize('length', ['80808080', 'ffffffff7f'])
def test_a_remaining_length_of_five_bytes(version, length):
    ends(version, b'\x30' + bytes.fromhex(length), MALFORMED)


@clause('MQTT-1.5.5-1')
@pytest.mark.parametrize('bad', [
    b'\xd0\x80\x00',				# PINGRESP, its length in two bytes
    packet(PUBLISH, 0, string('a') + b'\x80\x00x'),	# the properties' length
    packet(PUBLISH, 0, string('a') + b'\x03\x0b\x81\x00x'),	# a subscription identifier
], ids=bytes.hex)
def test_variable_integers_longer_than_need_be(bad):
    ends(5, bad, MALFORMED)


@clause('MQTT-3.1.2-24', 'MQTT-3.14.2-3', 'MQTT-3.14.2-4', 'MQTT-3.15.2-2', 'MQTT-3.15.2-3')
@pytest.mark.parametrize('kind,body', [
    (PUBLISH, string('a') + b'\x00' + b'x' * 100), (SUBACK, b'\x00\x01\x00' + bytes(100)),
    (DISCONNECT, b'\x80' + properties({'reason_string': 'x' * 100})),
    (DISCONNECT, b'\x80' + properties({'user_property': ('k', 'v' * 100)})),
    (AUTH, b'\x18' + properties({'auth_method': 'm', 'reason_string': 'x' * 100})),
    (AUTH, b'\x18' + properties({'auth_method': 'm', 'user_property': ('k', 'v' * 100)}))], ids=str)
def test_more_than_maximum_packet_size(kind, body):
    ends(5, packet(kind, 0, body), TOO_LARGE, ['-D', 'connect', 'maximum-packet-size', '80'], 9)


@clause('MQTT-3.1.2-24')
def test_a_length_costs_no_memory():
    """256 MiB are announced; what is not sent is not there."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.subscribed()

        def rss():
            with open(f'/proc/{p.process.pid}/statm', encoding='ascii') as f:
                return int(f.read().split()[1]) * 4096
        before = rss()
        c.send(b'\x30\xff\xff\xff\x7f' + string('a') + b'\x00' + b'x' * 100000)
        time.sleep(0.2)
        assert rss() - before < 8 << 20
        assert p.process.poll() is None


# -- strings

BAD_UTF8 = [b'\xff', b'\xc0\x80', b'\xed\xa0\x80', b'\xf4\x90\x80\x80', b'\xe2\x82', b'a\x00b']


@clause('MQTT-1.5.4-1', 'MQTT-1.5.4-2', 'MQTT-3.3.2-1', 'MQTT-4.7.3-2', 'MQTT311-1.5.3-1',
        'MQTT311-1.5.3-2', 'MQTT311-3.3.2-1', 'MQTT311-4.7.3-2')
@modern
@pytest.mark.parametrize('bad', BAD_UTF8, ids=bytes.hex)
def test_topics_that_are_no_utf8(version, bad):
    ends(version, publish(bad, version=version), MALFORMED)


@clause('MQTT-1.5.7-1', 'MQTT-3.3.2-19', 'MQTT-3.3.2-13', 'MQTT-1.5.4-1')
@pytest.mark.parametrize('props', [
    {'user_property': (b'\xff', 'v')}, {'user_property': ('k', b'\xff')}, {'content_type': b'\xc0\x80'},
    {'response_topic': b'\xff'}], ids=str)
def test_properties_that_are_no_utf8(props):
    ends(5, publish('a', props=properties(props)), MALFORMED)


# -- PUBLISH

@clause('MQTT-3.3.1-4', 'MQTT-3.3.1-2', 'MQTT311-3.3.1-4', 'MQTT311-3.3.1-2', 'MQTT31-2.1-3')
@pytest.mark.parametrize('version', [5, 4, 3])
@pytest.mark.parametrize('flags', [6, 7, 14, 8])
def test_qos_3_and_dup_of_qos_0(version, flags):
    ends(version, publish('a', flags=flags, mid=1 if flags & 6 else None, version=version), MALFORMED)


@clause('MQTT-2.2.1-3', 'MQTT311-2.3.1-1', 'MQTT31-2.4-1')
@pytest.mark.parametrize('version', [5, 4, 3])
@pytest.mark.parametrize('kind', [PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK])
def test_the_identifier_0(version, kind):
    bad = publish('a', flags=2, mid=0, version=version) if kind == PUBLISH else \
        packet(kind, 2 if kind == PUBREL else 0, b'\x00\x00'
               + {SUBACK: b'\x00\x00', UNSUBACK: b'\x00\x00' if version == 5 else b''}.get(kind, b''))
    ends(version, bad, PROTOCOL_ERROR)


@clause('MQTT-3.3.2-2', 'MQTT-4.7.0-1', 'MQTT-4.7.3-1', 'MQTT311-3.3.2-2', 'MQTT311-4.7.1-1',
        'MQTT311-4.7.3-1', 'MQTT31-3.3-3')
@pytest.mark.parametrize('version', [5, 4, 3])
@pytest.mark.parametrize('topic', ['a/+', '#', ''])
def test_topics_that_are_no_names(version, topic):
    ends(version, publish(topic, version=version), TOPIC_NAME if topic else PROTOCOL_ERROR)


@clause('MQTT-3.3.2-14')
@pytest.mark.parametrize('topic', ['a/+', '#', ''])
def test_response_topics_that_are_no_names(topic):
    ends(5, publish('a', props=properties({'response_topic': topic})), PROTOCOL_ERROR)


@clause('MQTT-3.1.2-26', 'MQTT-3.1.2-27', 'MQTT-3.3.2-7', 'MQTT-3.3.2-8')
@pytest.mark.parametrize('most,alias,code', [(None, 1, TOPIC_ALIAS), (0, 1, TOPIC_ALIAS),
                                             (3, 4, TOPIC_ALIAS), (3, 0, TOPIC_ALIAS),
                                             (3, 65535, TOPIC_ALIAS)])
def test_topic_aliases_that_were_not_allowed(most, alias, code):
    args = [] if most is None else ['-D', 'connect', 'topic-alias-maximum', str(most)]
    ends(5, publish('a', props=properties({'topic_alias': alias})), code, args)


@clause('MQTT-3.3.2-10')
def test_an_alias_that_has_no_topic_yet():
    ends(5, publish('', props=properties({'topic_alias': 2})), PROTOCOL_ERROR,
         ['-D', 'connect', 'topic-alias-maximum', '3'])


@clause('MQTT-4.9.0-1', 'MQTT-4.9.0-2')
def test_more_than_receive_maximum():
    """The third QoS 2 message before the first is ended."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-q', '2', '-D', 'connect', 'receive-maximum',
                               '2') as p:
        c = peer.take()
        c.subscribed()
        for mid in (1, 2, 3):
            c.publish('a', b'%d' % mid, qos=2, mid=mid)
        assert [c.expect(PUBREC).mid for _ in range(2)] == [1, 2]
        c.ended(RECEIVE_MAXIMUM)
        p.ends(2)
        assert p.out == b'1\n2\n'


# -- properties

PLACES = {
    PUBLISH: lambda p: publish('a', props=p), PUBACK: lambda p: packet(PUBACK, 0, b'\x00\x01\x00' + p),
    PUBREC: lambda p: packet(PUBREC, 0, b'\x00\x01\x00' + p),
    PUBREL: lambda p: packet(PUBREL, 2, b'\x00\x01\x00' + p),
    PUBCOMP: lambda p: packet(PUBCOMP, 0, b'\x00\x01\x00' + p),
    SUBACK: lambda p: packet(SUBACK, 0, b'\x00\x01' + p + b'\x00'),
    UNSUBACK: lambda p: packet(UNSUBACK, 0, b'\x00\x02' + p + b'\x00'),
    DISCONNECT: lambda p: packet(DISCONNECT, 0, b'\x80' + p),
}
NOT_THERE = [
    (PUBLISH, {'session_expiry': 1}), (PUBLISH, {'reason_string': 'x'}), (PUBACK, {'content_type': 'x'}),
    (PUBREC, {'receive_maximum': 1}), (PUBREL, {'topic_alias': 1}), (PUBCOMP, {'will_delay': 1}),
    (SUBACK, {'subscription_id': 1}), (UNSUBACK, {'message_expiry': 1}), (DISCONNECT, {'topic_alias': 1})]


@clause('MQTT-2.2.2-1')
@pytest.mark.parametrize('kind,props', NOT_THERE, ids=str)
def test_properties_of_other_packets(kind, props):
    ends(5, PLACES[kind](properties(props)), MALFORMED)


@clause('MQTT-3.4.2-2', 'MQTT-3.5.2-2', 'MQTT-3.6.2-2', 'MQTT-3.7.2-2', 'MQTT-3.14.2-3')
@pytest.mark.parametrize('kind,props', [
    *[(k, {'reason_string': ['x', 'y']}) for k in (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK,
                                                   DISCONNECT)],
    (PUBLISH, {'content_type': ['x', 'y']}), (PUBLISH, {'message_expiry': [1, 1]}),
    (DISCONNECT, {'server_reference': ['x', 'x']})], ids=str)
def test_properties_that_are_there_twice(kind, props):
    ends(5, PLACES[kind](properties(props)), PROTOCOL_ERROR)


@clause('MQTT-3.14.1-1')
@pytest.mark.parametrize('props,code', [
    (b'\x02\x7f\x00', MALFORMED), (b'\x01\x01', MALFORMED), (b'\x02\x01\x02', PROTOCOL_ERROR),
    (b'\x05\x02\x00\x00\x00', MALFORMED), (b'\x7f\x01\x00', MALFORMED), (b'\x02\x0b\x00', PROTOCOL_ERROR),
    (b'\x04\x03\x00\x05ab', MALFORMED)], ids=lambda v: v.hex() if isinstance(v, bytes) else '')
def test_properties_that_do_not_exist(props, code):
    """An unknown one, one cut off, one with a value that it cannot have."""
    ends(5, publish('a', b'', props=props), code)


# -- the other packets

@clause('MQTT-3.14.2-1', 'MQTT-3.14.1-1')
@pytest.mark.parametrize('body,code', [
    (b'\x04', PROTOCOL_ERROR), (b'\x01', PROTOCOL_ERROR), (b'\x7f', PROTOCOL_ERROR),
    (b'\x80\x05\x11\x00\x00\x00\x01', PROTOCOL_ERROR), (b'\x80\x00\x00', MALFORMED)],
    ids=lambda v: v.hex() if isinstance(v, bytes) else '')
def test_disconnects_that_no_broker_sends(body, code):
    """A code or a property that only clients have, or that nobody has."""
    ends(5, packet(DISCONNECT, 0, body), code)


@clause('MQTT311-4.8.0-1', 'MQTT31-2.1-1')
@pytest.mark.parametrize('version', [4, 3])
@pytest.mark.parametrize('kind', [DISCONNECT, AUTH])
def test_packets_that_mqtt_3_does_not_have(version, kind):
    ends(version, packet(kind, 0, b''), None)


@clause('MQTT-4.13.2-1')
@modern
@pytest.mark.parametrize('bad', [
    packet(PUBACK, 0, b'\x00'), packet(PUBREL, 2, b''), packet(SUBACK, 0, b'\x00'),
    packet(UNSUBACK, 0, b'\x00'), packet(PINGRESP, 0, b'\x00'), packet(PUBLISH, 0, b'\x00\x05ab'),
    packet(PUBLISH, 2, b'\x00\x01a\x00'), packet(PUBLISH, 0, b''),
], ids=bytes.hex)
def test_packets_that_end_too_early_or_late(version, bad):
    ends(version, bad, MALFORMED)


@clause('MQTT311-4.8.0-1')
def test_acknowledgements_of_mqtt_3_have_two_bytes():
    for kind in (PUBACK, PUBREC, PUBCOMP, UNSUBACK):
        ends(4, packet(kind, 0, b'\x00\x01\x00'), None)


@clause('MQTT-3.8.4-6')
@modern
@pytest.mark.parametrize('code', [3, 0x7f, 0xff])
def test_codes_that_no_suback_has(version, code):
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.accept()
        c.suback(c.expect(SUBSCRIBE), [code])
        c.ended(PROTOCOL_ERROR if version == 5 else None)
        p.ends(2)


@clause('MQTT-4.12.0-6')
def test_auth_that_nobody_asked_for():
    """No Authentication Method in CONNECT: no AUTH, before CONNACK or after, and
    none in CONNACK."""
    auth = packet(AUTH, 0, b'\x18' + properties({'auth_method': 'x'}))
    with Peer() as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.expect(CONNECT)
        c.send(auth)
        assert [k.kind for k in c.rest()] in ([], [DISCONNECT])
        assert p.status() != 0
    with Peer() as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.subscribed()
        c.send(auth)
        c.ended(PROTOCOL_ERROR)
        assert p.status() != 0
    with Peer() as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.expect(CONNECT)
        c.connack(props={'auth_method': 'x'})
        assert [k.kind for k in c.rest()] in ([], [DISCONNECT])
        assert p.status() != 0


@clause('MQTT-3.2.2-1', 'MQTT-4.13.2-1', 'MQTT311-4.8.0-1')
@pytest.mark.parametrize('version', [5, 4, 3])
@pytest.mark.parametrize('kind', [PUBLISH, PINGRESP, SUBACK])
def test_anything_before_connack(version, kind):
    body = {PUBLISH: string('a') + b'\x00', PINGRESP: b'', SUBACK: b'\x00\x01\x00\x00'}[kind]
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.expect(CONNECT)
        c.send(packet(kind, 0, body))
        c.ended()
        p.ends(2)


@clause('MQTT-4.13.2-1')
@pytest.mark.parametrize('bad', [
    b'\x00\x01\x00', b'\x00\x00', b'\x00\x00\x05\x11\x00', b'\x00\x00\x02\x24\x02',
    b'\x00\x00\x03\x21\x00\x00', b'\x00\x00\x05\x27\x00\x00\x00\x00', b'\x00\x00\x02\x01\x01',
    b'\x00\x00\x04\x25\x00\x25\x00', b'\x00\x77\x00', b'\x00\x00\x04\x12\x00\x01\xff'], ids=bytes.hex)
def test_connacks_that_do_not_exist(bad):
    """Half of one, unknown codes, values and properties that it cannot have."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a') as p:
        c = peer.take()
        c.expect(CONNECT)
        c.send(packet(CONNACK, 0, bad))
        c.ended()
        p.ends(2)


@clause('MQTT311-4.8.0-1')
@modern
def test_a_second_connack(version):
    ends(version, packet(CONNACK, 0, b'\x00\x00' + (b'\x00' if version == 5 else b'')), PROTOCOL_ERROR)


# -- floods

def test_a_broker_that_does_not_read(tmp_path):
    """Messages of QoS 1 without end, and no acknowledgement is read: the client
    stops reading rather than gather them."""
    with Peer(4) as peer, start(peer, 'sub', '-t', 'a', '-q', '1') as p:
        c = peer.take()
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.subscribed()
        one = packet(PUBLISH, 2, string('a') + b'\x00\x01')
        c.sock.settimeout(0.5)
        sent = 0
        try:
            for _ in range(400):
                sent += c.sock.send(one * 10000)
        except TimeoutError:
            pass
        else:
            raise AssertionError(f'{sent} bytes were taken')
        with open(f'/proc/{p.process.pid}/statm', encoding='ascii') as f:
            assert int(f.read().split()[1]) * 4096 < 300 << 20
        assert p.process.poll() is None


@paced
def test_ten_thousand_user_properties(pace):
    """Linear: the client takes them, or refuses by a bound with a name."""
    props = b''.join(b'\x26\x00\x01k\x00\x01v' for _ in range(100000))
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-C', '1') as p:
        c = peer.take()
        c.subscribed()
        began = time.monotonic()
        c.send(publish('a', props=varint(len(props)) + props))
        assert p.status() in (0, 9)
        assert time.monotonic() - began < 5 * pace
