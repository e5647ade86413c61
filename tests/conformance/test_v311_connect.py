# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1, 3.1 and 3.2: who comes in, who does not, and what the
four bytes of CONNACK say."""
import contextlib
import string as letters
import time

import pytest

from clauses import clause
from exact import (BOTH, PINGREQ, PINGRESP, WELCOME, WELCOME_BACK, Exact, connack, publish, suback,
                   subscribe, unsubscribe)
from harness import paced
from raw import packet, string

ALPHANUMERIC = letters.digits + letters.ascii_lowercase + letters.ascii_uppercase
NAME = {4: b'\x00\x04MQTT\x04', 3: b'\x00\x06MQIsdp\x03'}


def connect(version, flags, *fields, keepalive=b'\x00\x3c', head=None, more=b''):
    """CONNECT from its parts; fields are strings with their lengths."""
    body = (head or NAME[version]) + bytes([flags]) + keepalive + \
        b''.join(string(f) for f in fields) + more
    return packet(1, 0, body)


@BOTH
@clause('MQTT311-3.1.4-4', 'MQTT311-3.2.0-1', 'MQTT311-3.2.2-1', 'MQTT31-3.1-1', 'MQTT31-3.2-1')
@pytest.mark.parametrize('clean', [True, False])
def test_accepted(peers, version, clean):
    """Four bytes, all that CONNACK has; then the connection is there."""
    peers.forget()
    c = peers.raw()
    c.send(connect(version, 2 if clean else 0, peers.id()) + PINGREQ)
    c.want(WELCOME, PINGRESP)
    c.close()
    peers.forget()


FIRST = {'PUBLISH': publish('t', b'x'), 'SUBSCRIBE': subscribe(1, ('a', 0)),
         'UNSUBSCRIBE': unsubscribe(1, 'a'), 'PINGREQ': PINGREQ, 'DISCONNECT': b'\xe0\x00',
         'PUBACK': b'\x40\x02\x00\x01', 'CONNACK': WELCOME, 'type 0': b'\x00\x00',
         'HTTP': b'GET / HTTP/1.1\r\n\r\n'}


@clause('MQTT311-3.2.0-1', 'MQTT311-4.8.0-1')
@pytest.mark.parametrize('first', FIRST)
def test_connect_comes_first(peers, first):
    """[MQTT-3.1.0-1]: to what comes before it there is no answer."""
    c = peers.raw()
    c.send(FIRST[first] + connect(4, 2, peers.id()) + PINGREQ)
    c.want_end()


@BOTH
@clause('MQTT311-3.1.0-2')
@pytest.mark.ours
def test_second_connect(peers, version, topic):
    """The same again, or another client's: the end, not a second CONNACK."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic, 0)), suback(1, 0))
    for again in (peers.id('first'), peers.id('second')):
        c = peers('first', will=(topic, b'gone'))
        c.send(connect(version, 2, again) + PINGREQ)
        c.want_end()
        watcher.want(publish(topic, b'gone'))


@clause('MQTT311-3.1.2-1', 'MQTT31-3.1-2', 'MQTT31-3.1-1')
@pytest.mark.parametrize('head', [
    pytest.param(string(n) + bytes([v]), id=f'{n}{v}') for n, v in (
        ('', 4), ('MQT', 4), ('MQTTX', 4), ('mqtt', 4), ('MQTT ', 4), ('MQIsdp', 4), ('MQTT', 3),
        ('mqisdp', 3), ('MQIsd', 3), ('MQIsdp', 5))])
def test_wrong_name(peers, head):
    """Not processed: perhaps CONNACK 1, and the end."""
    c = peers.raw()
    c.send(connect(4, 2, peers.id(), head=head) + PINGREQ)
    c.sock.settimeout(c.timeout)
    got = b''
    while True:
        try:
            more = c.sock.recv(100)
        except ConnectionError:
            break
        if not more:
            break
        got += more
    # a name and 5 may be answered as 5.0 does
    assert got in (b'', connack(1)) or (head[-1] == 5 and got[:1] == b'\x20' and got[3] == 0x84)


@clause('MQTT311-3.1.2-2', 'MQTT311-3.2.2-5', 'MQTT311-3.2.2-4', 'MQTT31-3.1-2')
@pytest.mark.parametrize('head', [b'\x00\x04MQTT\x00', b'\x00\x04MQTT\x01', b'\x00\x04MQTT\x02',
                                  b'\x00\x04MQTT\x06', b'\x00\x04MQTT\x7f', b'\x00\x06MQIsdp\x02'])
def test_unsupported_level(peers, head):
    c = peers.raw()
    c.send(connect(4, 2, peers.id(), head=head) + PINGREQ)
    c.want_end(connack(1))


@BOTH
@clause('MQTT311-3.1.2-3', 'MQTT311-3.1.4-1', 'MQTT31-2.6-1')
def test_reserved_connect_flag(peers, version):
    """3.1.1 has it checked; in 3.1 the bit is just not used."""
    c = peers.raw()
    c.send(connect(version, 3, peers.id()) + PINGREQ)
    if version == 4:
        c.want_end()
    else:
        c.want(WELCOME, PINGRESP)


# 3.1.1: (flags, fields): wrong whatever the values
WRONG_FLAGS = {
    'will QoS without will': (0x0a, 'c'), 'will QoS 2 without will': (0x12, 'c'),
    'will QoS 3 without will': (0x1a, 'c'), 'will retain without will': (0x22, 'c'),
    'password without user name': (0x42, 'c', 'secret'),
}
# Of both versions.
WRONG = {
    'will QoS 3': (0x1e, 'c', 't', 'm'), 'no will': (0x06, 'c'), 'no will message': (0x06, 'c', 't'),
    'a will too many': (0x02, 'c', 't', 'm'), 'no client identifier': (0x02,),
    'a user name too many': (0x02, 'c', 'u'), 'a password too many': (0x82, 'c', 'u', 'p'),
    'a wildcard as will topic': (0x06, 'c', 'a/#', 'm'), 'an empty will topic': (0x06, 'c', '', 'm'),
    'password and no user name': (0x42, 'c', 'p'),
}


@clause('MQTT311-3.1.4-1', 'MQTT311-3.2.2-6', 'MQTT31-3.1-14')
@pytest.mark.parametrize('version,flags,fields', [
    *(pytest.param(4, v[0], v[1:], id=f'3.1.1 {k}') for k, v in {**WRONG, **WRONG_FLAGS}.items()),
    *(pytest.param(3, v[0], v[1:], id=f'3.1 {k}') for k, v in WRONG.items())])
def test_not_well_formed(peers, version, flags, fields):
    """Neither CONNACK nor anything else; [MQTT-3.1.2-9], [-11], [-13], [-14],
    [-15], [-18] to [-22] from the server's side."""
    c = peers.raw()
    c.send(connect(version, flags, *fields) + PINGREQ)
    c.want_end()


@clause('MQTT311-3.1.4-1', 'MQTT311-3.2.2-6')
@pytest.mark.parametrize('flags,fields', [
    pytest.param(0x82, ('c',), id='no user name'), pytest.param(0xc2, ('c', 'u'), id='no password'),
    pytest.param(0xc6, ('c', 't', 'm', 'u'), id='no password behind a will')])
def test_login_cut_short(peers, flags, fields):
    """[MQTT-3.1.2-19], [-21]; test_v31_connect.py has what 3.1 says."""
    c = peers.raw()
    c.send(connect(4, flags, *fields) + PINGREQ)
    c.want_end()


@BOTH
@clause('MQTT311-3.1.4-1', 'MQTT31-3.1-14')
def test_cut_anywhere(peers, version):
    """A CONNECT with all fields, its body cut at each length."""
    whole = connect(version, 0xee, peers.id(), 't', 'm', 'u', 'p')[2:]
    lengths = set(range(len(whole)))
    if version == 3:
        lengths -= {len(whole) - 3, len(whole) - 6}	# those are in test_v31_connect.py
    for n in sorted(lengths):
        c = peers.raw()
        c.send(packet(1, 0, whole[:n]) + PINGREQ)
        c.want_end()
        c.close()


@BOTH
@clause('MQTT311-3.1.4-1', 'MQTT31-3.1-16', 'MQTT31-3.1-7')
@pytest.mark.parametrize('flags', [0x02, 0x82, 0xc2, 0x06, 0xee, 0x86, 0xf6])
def test_well_formed(peers, version, flags):
    """With each combination of fields, in their order [MQTT-3.1.3-1]."""
    fields = [peers.id()] + (['t', 'm'] if flags & 4 else []) + (['u'] if flags & 0x80 else []) + \
        (['p'] if flags & 0x40 else [])
    c = peers.raw()
    c.send(connect(version, flags, *fields) + PINGREQ)
    c.want(WELCOME, PINGRESP)
    c.leave()


@BOTH
@clause('MQTT311-3.1.3-5', 'MQTT31-3.1-10')
@pytest.mark.parametrize('ident', [
    'a', '0', 'Z', ALPHANUMERIC[:23], ALPHANUMERIC[20:43], ALPHANUMERIC[39:]])
def test_client_identifiers(peers, version, ident):
    assert 1 <= len(ident) <= 23
    c = peers.raw()
    c.send(connect(version, 2, ident) + PINGREQ)
    c.want(WELCOME, PINGRESP)
    c.leave()


@BOTH
@clause('MQTT311-3.1.3-2', 'MQTT31-3.1-3')
@pytest.mark.parametrize('ident', ['ünï🦉', 'a/b', 'with blank', 'A', '\ufeffx'])
def test_identifiers_are_told_apart(peers, version, ident):
    """State is found by the identifier, byte by byte."""
    names = [f'{peers.name}{x}' for x in (ident, ident + ' ', ident.lower() + '_', '')]
    for n in names:
        c = peers.raw()
        c.send(connect(version, 0, n))
        c.want(WELCOME)
        c.leave()
    for n in names:
        c = peers.raw()
        c.send(connect(version, 0, n))
        c.want(WELCOME_BACK if version == 4 else WELCOME)
        c.leave()
        c = peers.raw()
        c.send(connect(version, 2, n))
        c.want(WELCOME)
        c.leave()


@clause('MQTT311-3.1.3-6', 'MQTT311-3.2.2-1')
def test_empty_identifier(peers, topic):
    """Two without a name are two clients, and served like others."""
    a, b = peers.raw(), peers.raw()
    for c in (a, b):
        c.send(connect(4, 2, ''))
        c.want(WELCOME)
        c.talk(subscribe(1, (topic, 0)), suback(1, 0))
    a.send(publish(topic, b'x'))
    a.want(publish(topic, b'x'))
    b.want(publish(topic, b'x'))
    for c in (a, b):
        c.talk(b'')
        c.leave()


@clause('MQTT311-3.1.3-8', 'MQTT311-3.1.3-9', 'MQTT311-3.2.2-4', 'MQTT311-3.2.2-5',
        'MQTT31-3.1-12')
@pytest.mark.parametrize('version,flags', [(4, 0), (3, 0), (3, 2)])
def test_rejected_identifier(peers, version, flags):
    """An empty one needs a clean session, and 3.1 has none at all."""
    c = peers.raw()
    c.send(connect(version, flags, '') + PINGREQ)
    c.want_end(connack(2))


@BOTH
@clause('MQTT311-3.1.3-9', 'MQTT311-3.2.2-5')
@pytest.mark.ours
def test_identifier_without_prefix(brokers, version):
    """clientid_prefixes: rejected, whatever the identifier."""
    b = brokers('clientid_prefixes good-\n')
    for ident, answer in (('good-1', WELCOME), ('bad-1', connack(2)), ('goo', connack(2))):
        with Exact(b.port, version) as c:
            c.send(connect(version, 2, ident))
            if answer == WELCOME:
                c.want(WELCOME)
                c.leave()
            else:
                c.want_end(answer)


@BOTH
@clause('MQTT311-3.1.4-5')
def test_nothing_is_done_behind_a_refusal(peers, version, topic):
    """In the same write as the CONNECT that is refused, and retained."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic + '/#', 0)), suback(1, 0))
    c = peers.raw()
    c.send(connect(version, 0, '') + publish(topic + '/a', b'x', retain=1)
           + subscribe(1, (topic + '/#', 0)) + connect(version, 2, peers.id()) + PINGREQ)
    c.want_end(connack(2))
    watcher.talk(publish(topic + '/b', b'end'), publish(topic + '/b', b'end'))
    late = peers('late')
    late.talk(subscribe(1, (topic + '/#', 0)), suback(1, 0))


@BOTH
@clause('MQTT311-3.1.4-2', 'MQTT31-3.1-13')
@pytest.mark.parametrize('clean', [True, False])
def test_takeover(peers, version, clean):
    """The older one is closed, without a word, and the newer one stays."""
    peers.forget()
    old = peers(clean=clean)
    new = peers.raw()
    new.send(connect(version, 2 if clean else 0, peers.id()))
    new.want(WELCOME_BACK if version == 4 and not clean else WELCOME)
    old.want_end()
    new.talk(b'')
    new.leave()
    peers.forget()


@BOTH
@clause('MQTT311-3.1.4-2')
def test_no_takeover_by_a_refused_connect(peers, version):
    """Who is not let in does not push out who is."""
    old = peers()
    c = peers.raw()
    c.send(connect(version, 0x42, peers.id(), 'p'))
    c.want_end()
    old.talk(b'')


@BOTH
@clause('MQTT311-3.1.4-3', 'MQTT311-3.1.2-4', 'MQTT311-3.1.2-6', 'MQTT311-3.2.2-1',
        'MQTT311-3.2.2-2', 'MQTT311-3.2.2-3', 'MQTT31-3.2-1', 'MQTT31-3.1-3', 'MQTT31-3.1-4')
def test_session_present(peers, version, topic):
    """Every step between the two kinds of sessions; 3.1 has the same sessions,
    and no flag to tell of them."""
    keep = 1 if version == 4 else 0
    steps = [(True, 0, False), (False, 0, False), (False, keep, True), (False, keep, True),
             (True, 0, False), (True, 0, False), (False, 0, False), (False, keep, True),
             (True, 0, False)]
    publisher = peers('publisher')
    for clean, present, subscribed in steps:
        c = peers(clean=clean, present=present)
        publisher.talk(publish(topic, b'x', 1, 1), b'\x40\x02\x00\x01')
        c.want(*[publish(topic, b'x')] if subscribed else [])
        c.talk(subscribe(1, (topic, 0)), suback(1, 0))
        c.leave()


@BOTH
@clause('MQTT311-3.1.2-24', 'MQTT31-3.1-9', 'MQTT31-3.1-5', 'MQTT311-3.12.4-1', 'MQTT31-3.12-1')
@paced
def test_keep_alive(peers, version, topic, pace):
    """At 1 s: silent for 1.5 s it is closed and its will sent; one that pings
    stays, one that sends anything stays, and so does one with none."""
    watcher = peers('watcher')
    watcher.talk(subscribe(1, (topic, 0)), suback(1, 0))
    pings, speaks, never = peers('pings', keepalive=pace), peers('speaks', keepalive=pace), \
        peers('never', keepalive=0)
    began = time.monotonic()
    silent = peers('silent', keepalive=pace, will=(topic, b'silent'))
    while time.monotonic() - began < 1.3 * pace:
        pings.talk(b'')
        speaks.send(publish(topic + '/unheard', b'x'))
        time.sleep(0.2 * pace)
    silent.sock.settimeout(0.01)
    with contextlib.suppress(TimeoutError):
        silent.sock.recv(1)
        assert time.monotonic() - began >= 1.5 * pace, 'closed too early'
    for _ in range(4):
        pings.talk(b'')
        speaks.send(publish(topic + '/unheard', b'x'))
        time.sleep(0.4 * pace)
    silent.want_end()
    watcher.want(publish(topic, b'silent'))
    for c in (pings, speaks, never):
        c.talk(b'')
    assert time.monotonic() - began >= 1.5 * pace


@BOTH
@clause('MQTT311-3.12.4-1', 'MQTT31-3.12-1')
def test_pings(peers, version):
    """One answer each, two bytes."""
    c = peers()
    c.send(PINGREQ * 100)
    c.want(PINGRESP * 100)
    c.want_silence(0.05)
