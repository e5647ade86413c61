# SPDX-License-Identifier: Apache-2.0
"""Our client's SUBSCRIBE and UNSUBSCRIBE and what it makes of their answers:
MQTT 5.0 3.8 to 3.11, 4.7, 4.8."""
import struct

import pytest

from clauses import clause
from peer import Peer, start
from raw import (PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE,
                 packet, properties, string)

pytestmark = pytest.mark.ours
versions = pytest.mark.parametrize('version', [5, 4, 3])
modern = pytest.mark.parametrize('version', [5, 4])
PROTOCOL_ERROR = 0x82


def no_props(version):
    return properties(None) if version == 5 else b''


@clause('MQTT-3.8.1-1', 'MQTT-3.8.3-1', 'MQTT-3.8.3-2', 'MQTT-3.8.3-3', 'MQTT-2.2.1-3', 'MQTT-2.2.2-1',
        'MQTT311-3.8.1-1', 'MQTT311-3.8.3-1', 'MQTT311-3.8.3-3', 'MQTT311-2.3.1-1', 'MQTT311-2.2.2-1',
        'MQTT31-2.4-1')
@versions
def test_subscribe(version):
    """Byte for byte."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a/+', '-t', 'b/\u00e9/#', '-q', '1') as p:
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        assert s.mid != 0
        assert s.raw == packet(SUBSCRIBE, 2, struct.pack('>H', s.mid) + no_props(version)
                               + string('a/+') + b'\x01' + string('b/\u00e9/#') + b'\x01')
        c.suback(s)
        c.silent(0.1)
        assert p.process.poll() is None


@clause('MQTT-3.10.1-1', 'MQTT-3.10.3-1', 'MQTT-3.10.3-2', 'MQTT-2.2.1-3', 'MQTT311-3.10.1-1',
        'MQTT311-3.10.3-1', 'MQTT311-3.10.3-2', 'MQTT311-2.3.1-2', 'MQTT31-2.4-2')
@versions
def test_unsubscribe(version):
    """Byte for byte, with an identifier that the SUBSCRIBE does not have."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'x', '-U', 'a/\u00e9', '-U', '#') as p:
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        u = c.expect(UNSUBSCRIBE)
        assert u.mid not in (0, s.mid)
        assert u.raw == packet(UNSUBSCRIBE, 2, struct.pack('>H', u.mid) + no_props(version)
                               + string('a/\u00e9') + string('#'))
        c.suback(s)
        c.unsuback(u)
        c.silent(0.1)
        assert p.process.poll() is None


@clause('MQTT-2.2.2-1')
def test_properties_and_options():
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-q', '2', '--retain-as-published',
                               '--retain-handling', 'new', '-D', 'subscribe', 'subscription-identifier',
                               '300', '-D', 'subscribe', 'user-property', 'k', 'v', '-U', 'b', '-D',
                               'unsubscribe', 'user-property', 'l', 'w'):
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        assert s.props == {'subscription_id': [300], 'user_property': [('k', 'v')]}
        assert s.filters == [(b'a', 2 | 8 | 1 << 4)]
        assert c.expect(UNSUBSCRIBE).props == {'user_property': [('l', 'w')]}


@clause('MQTT-4.7.1-1', 'MQTT-4.7.1-2', 'MQTT-4.7.3-1', 'MQTT-4.8.2-1', 'MQTT-4.8.2-2',
        'MQTT311-4.7.1-2', 'MQTT311-4.7.1-3', 'MQTT311-4.7.3-1', 'MQTT31-A-1', 'MQTT31-A-2')
@versions
@pytest.mark.parametrize('bad', ['a#', '#/a', 'a/#/b', '+a', 'a+/b', 'a/b+', '', '$share/g',
                                 '$share//a', '$share/g+/a', '$share/g/'])
def test_filters_that_do_not_exist_are_not_sent(version, bad):
    with Peer(version) as peer, start(peer, 'sub', '-t', bad) as p:
        p.ends(1)
        peer.none(0.02)


@clause('MQTT-4.7.1-1', 'MQTT-4.7.1-2', 'MQTT-4.8.2-1', 'MQTT311-4.7.1-2', 'MQTT311-4.7.1-3',
        'MQTT311-4.7.1-1', 'MQTT31-A-1', 'MQTT31-A-2', 'MQTT31-A-3')
@versions
def test_filters_that_do_exist_are_sent(version):
    good = ['#', '+', 'a/#', '+/b/+', '/', '//', 'a b', 'A', '$share/g/a/+', '$SYS/#']
    args = [x for f in good for x in ('-t', f)]
    with Peer(version) as peer, start(peer, 'sub', *args, '-E') as p:
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        assert [f.decode() for f, _ in s.filters] == good
        c.suback(s)
        c.farewell()
        p.ends()


@clause('MQTT-4.7.3-3', 'MQTT311-4.7.3-3')
@modern
@pytest.mark.parametrize('name', ['pub', 'sub'])
def test_a_topic_of_65536_bytes_is_not_sent(version, name):
    more = ['-m', 'x'] if name == 'pub' else []
    with Peer(version) as peer, start(peer, name, '-t', 'x' * 65536, *more) as p:
        p.ends(1)
        peer.none(0.05)


@clause('MQTT-4.7.0-1', 'MQTT-3.3.2-2', 'MQTT-4.7.3-1', 'MQTT311-4.7.1-1', 'MQTT311-3.3.2-2',
        'MQTT311-4.7.3-1', 'MQTT31-3.3-3')
@versions
@pytest.mark.parametrize('bad', ['a/+', '#', 'a#', ''])
def test_topic_names_with_wildcards_are_not_sent(version, bad):
    with Peer(version) as peer, start(peer, 'pub', '-t', bad, '-m', 'x') as p:
        p.ends(1)
        peer.none(0.02)


# -- the answers

@clause('MQTT-3.8.4-2', 'MQTT-3.8.4-6', 'MQTT-2.2.1-6')
@modern
@pytest.mark.parametrize('what', ['unknown', 'few', 'many', 'none', 'zero', 'twice'])
def test_a_suback_that_answers_nothing(version, what):
    """Another identifier, not as many codes as filters, or a second answer."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-t', 'b') as p:
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        mid = {'unknown': s.mid + 1, 'zero': 0}.get(what, s.mid)
        codes = {'few': 1, 'many': 3, 'none': 0}.get(what, 2)
        bad = packet(SUBACK, 0, struct.pack('>H', mid) + no_props(version) + bytes(codes))
        c.send(bad * (2 if what == 'twice' else 1))
        c.ended(PROTOCOL_ERROR if version == 5 else None)
        p.ends(2)


@clause('MQTT-2.2.1-6', 'MQTT-3.8.4-6')
@pytest.mark.parametrize('version,what', [(5, 'unknown'), (5, 'few'), (5, 'many'), (5, 'none'),
                                          (4, 'unknown')])
def test_an_unsuback_that_answers_nothing(version, what):
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-U', 'b', '-U', 'c') as p:
        c = peer.take()
        c.subscribed()
        u = c.expect(UNSUBSCRIBE)
        mid = struct.pack('>H', u.mid + (what == 'unknown'))
        codes = bytes({'few': 1, 'many': 3, 'none': 0}.get(what, 2)) if version == 5 else b''
        c.send(packet(UNSUBACK, 0, mid + no_props(version) + codes))
        c.ended(PROTOCOL_ERROR if version == 5 else None)
        p.ends(2)


@clause('MQTT-3.9.2-2', 'MQTT-3.11.2-2')
def test_a_suback_larger_than_was_asked_for():
    """A reason string that does not fit must be left out; with it the packet is
    too large."""
    for kind in (SUBACK, UNSUBACK):
        with Peer() as peer, start(peer, 'sub', '-t', 'a', '-U', 'b', '-D', 'connect',
                                   'maximum-packet-size', '50') as p:
            c = peer.take()
            c.accept()
            s, u = c.expect(SUBSCRIBE), c.expect(UNSUBSCRIBE)
            if kind == UNSUBACK:
                c.suback(s)
            c.send(packet(kind, 0, struct.pack('>H', s.mid if kind == SUBACK else u.mid)
                          + properties({'reason_string': 'x' * 50}) + b'\x00'))
            c.ended(0x95)
            p.ends(9)


@clause('MQTT-3.1.2-29')
@pytest.mark.parametrize('kind', [SUBACK, UNSUBACK, PUBREL])
@pytest.mark.parametrize('props', [{'reason_string': 'x'}, {'user_property': ('k', 'v')}], ids=str)
def test_reasons_that_were_declined(kind, props):
    """Request Problem Information 0: no reason but in PUBLISH, CONNACK and
    DISCONNECT."""
    with Peer() as peer, start(peer, 'sub', '-t', 'a', '-U', 'b', '-q', '2', '-D', 'connect',
                               'request-problem-information', '0') as p:
        c = peer.take()
        c.accept(props=props)
        s, u = c.expect(SUBSCRIBE), c.expect(UNSUBSCRIBE)
        if kind == SUBACK:
            c.suback(s, props=props)
        elif kind == UNSUBACK:
            c.suback(s)
            c.send(packet(UNSUBACK, 0, struct.pack('>H', u.mid) + properties(props) + b'\x00'))
        else:
            c.suback(s)
            c.unsuback(u)
            c.publish('a', b'x', qos=2, mid=3, props={'user_property': ('k', 'v')})
            assert c.expect(PUBREC).mid == 3
            c.ack(PUBREL, 3, 0, props)
        c.ended(PROTOCOL_ERROR)
        p.ends(2)


@clause('MQTT-3.8.4-6')
@versions
def test_refused_subscriptions_are_told(version):
    """Some: a warning.  All: the end, with the code as status."""
    bad = 0x87 if version == 5 else 0x80
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-t', 'b') as p:
        c = peer.take()
        c.accept()
        c.suback(c.expect(SUBSCRIBE), [0, bad])
        p.said("'b' was refused")
        c.publish('a', b'x')
        p.printed(b'x\n')
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-t', 'b') as p:
        c = peer.take()
        c.accept()
        c.suback(c.expect(SUBSCRIBE), [bad, bad])
        c.farewell()
        p.ends(bad)


@clause('MQTT-3.8.4-4')
@modern
def test_messages_between_subscribe_and_suback(version):
    """They may come before the answer, and are printed."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-q', '1') as p:
        c = peer.take()
        c.accept()
        s = c.expect(SUBSCRIBE)
        c.publish('a', b'early', qos=1, mid=1, retain=True)
        assert c.expect(PUBACK).mid == 1
        c.suback(s)
        p.printed(b'early\n')


@clause('MQTT-3.10.4-2', 'MQTT-3.10.4-3')
@modern
def test_what_was_begun_before_unsubscribe_is_ended(version):
    """A delivery of QoS 2 in the middle of it when the client unsubscribes."""
    with Peer(version) as peer, start(peer, 'sub', '-t', 'a', '-U', 'a', '-q', '2') as p:
        c = peer.take()
        c.subscribed()
        c.publish('a', b'x', qos=2, mid=9)
        u = c.expect(UNSUBSCRIBE)
        c.unsuback(u)
        assert c.expect(PUBREC).mid == 9
        c.ack(PUBREL, 9)
        assert c.expect(PUBCOMP).mid == 9
        p.printed(b'x\n')
