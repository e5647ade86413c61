# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1: what its CONNECT has that 3.1.1 has not, or has otherwise."""
import time

import pytest

from clauses import clause
from exact import PINGREQ, PINGRESP, WELCOME, Exact, connack, publish, suback, subscribe
from harness import paced
from raw import connect_packet, packet, string
from test_v311_connect import connect

VERSION = pytest.mark.parametrize('version', [pytest.param(3, id='3.1')])


@VERSION
@clause('MQTT31-3.1-8')
@pytest.mark.parametrize('flags,fields', [
    pytest.param(0x82, (), id='no user name'), pytest.param(0xc2, (), id='neither'),
    pytest.param(0xc2, ('u',), id='no password'),
    pytest.param(0xc6, ('t', 'm', 'u'), id='no password behind a will'),
    pytest.param(0xc6, ('t', 'm'), id='neither behind a will')])
def test_length_before_flags(peers, version, flags, fields):
    """The flags of the login are set and the packet ends: not given."""
    c = peers.raw()
    c.send(connect(version, flags, peers.id(), *fields) + PINGREQ)
    c.want(WELCOME, PINGRESP)


@VERSION
@clause('MQTT31-3.1-8', 'MQTT31-3.1-14')
@pytest.mark.parametrize('rest', [b'\x00', b'\x00\x02', b'\x00\x02u', b'\x00\x01u\x00',
                                  b'\x00\x01u\x00\x02', b'\x00\x01u\x00\x02p'])
@pytest.mark.ours
def test_length_within_a_field(peers, version, rest):
    """A field that has begun is all there."""
    c = peers.raw()
    c.send(connect(version, 0xc2, peers.id(), more=rest) + PINGREQ)
    c.want_end()


@VERSION
@clause('MQTT31-3.1-8', 'MQTT31-3.2-2')
def test_missing_login_is_no_login(brokers, version):
    """Where a login is needed, the missing one is refused with return code 5;
    bytes of it are never taken from elsewhere."""
    b = brokers('allow_anonymous false\n', anonymous=False)
    for fields in ((), ('u',)):
        with Exact(b.port, version) as c:
            c.send(connect(version, 0xc2, 'c', *fields) + PINGREQ)
            c.want_end(connack(5))


@VERSION
@clause('MQTT31-3.1-11', 'MQTT31-3.1-10')
@pytest.mark.parametrize('size', [22, 23, 24, 25, 64, 1000, 65535])
def test_long_identifiers(peers, version, size):
    """Longer than 23 is served, and is not cut: the last character counts."""
    base = (peers.name + 'x' * size)[:size - 1]
    for last in 'ab':
        c = peers.raw()
        c.send(connect(version, 2, base + last) + PINGREQ)
        c.want(WELCOME, PINGRESP)
    for c in peers.all:
        c.talk(b'')


@VERSION
@clause('MQTT31-2.6-1')
@pytest.mark.parametrize('flags', [0x03, 0x0a, 0x22, 0x3a])
def test_unused_connect_flags(peers, version, topic, flags):
    """Bit 0, and QoS and RETAIN of a will that is not there."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, ('#', 0)), suback(1, 0))
    c = peers.raw()
    c.send(connect(version, flags, peers.id()) + PINGREQ)
    c.want(WELCOME, PINGRESP)
    c.close()
    watcher.talk(b'')


@VERSION
@clause('MQTT31-2.6-1')
def test_unused_flags(peers, version):
    """In packets where DUP, QoS and RETAIN mean nothing."""
    c = peers()
    for flags in range(16):
        c.send(bytes([0xc0 | flags, 0]))
        c.want(PINGRESP)
        c.send(bytes([0x40 | flags, 2, 0, 1, 0x70 | flags, 2, 0, 1]))
    c.talk(b'')
    c.send(b'\xef\x00')
    c.want_end()


@VERSION
@clause('MQTT31-3.1-13')
def test_older_goes_first(peers, version, topic):
    """Its will is sent, and when CONNACK is there it is gone."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic, 0)), suback(1, 0))
    old = peers('same', will=(topic, b'old'))
    new = peers('same')
    old.want_end()
    watcher.want(publish(topic, b'old'))
    new.talk(b'')


@clause('MQTT31-3.1-15')
@pytest.mark.ours
@paced
def test_no_connect(brokers, pace):
    """Nothing, or a part of a CONNECT: closed without a word, others not."""
    b = brokers(f'connect_timeout {pace}\n')
    whole = connect_packet('slow', 3)
    with Exact(b.port, 3) as nothing, Exact(b.port, 3) as part, Exact(b.port, 3) as good:
        part.send(whole[:-1])
        good.enter('good')
        began = time.monotonic()
        nothing.want_end()
        part.want_end()
        assert 0.5 * pace < time.monotonic() - began < 10 * pace
        good.talk(b'')


@VERSION
@clause('MQTT31-3.2-2', 'MQTT31-3.1-2')
@pytest.mark.parametrize('head,code', [(b'\x00\x06MQIsdp\x02', 1), (b'\x00\x06MQIsdp\x07', 1)])
def test_return_codes(peers, version, head, code):
    c = peers.raw()
    c.send(packet(1, 0, head + b'\x02\x00\x3c' + string(peers.id())))
    c.want_end(connack(code))
