# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1, 3.1.2.4, 3.1.2.5, 3.14 and 4.1: sessions and wills."""
import time

import pytest

from clauses import clause
from exact import (BOTH, GOODBYE, PINGREQ, Exact, puback, pubcomp, publish, pubrec, pubrel,
                   suback, subscribe)
from raw import connect_packet
from test_v311_publish import deliver_whole_late, listen, take_publish
from test_v311_subscribe import retained


def back(peers, name='away'):
    return peers(name, clean=False, present=1 if peers.version == 4 else 0)


@BOTH
@clause('MQTT311-3.1.2-4', 'MQTT311-3.1.2-5', 'MQTT311-4.1.0-1', 'MQTT31-3.1-3')
@pytest.mark.parametrize('how', ['goodbye', 'cut'])
@pytest.mark.ours
def test_kept_while_away(peers, version, topic, how):
    """Subscriptions, and what they match at QoS 1 and 2, in its order; it is
    there after the one return, and gone after the next."""
    peers.forget('away')
    away = peers('away', clean=False)
    away.talk(subscribe(1, (topic + '/1', 1), (topic + '/2', 2)), suback(1, 1, 2))
    if how == 'goodbye':
        away.leave()
    else:
        away.close()
    c = peers()
    for i in range(10):
        c.talk(publish(topic + '/1', b'%d' % i, 1, 1), puback(1))
        c.talk(publish(topic + '/2', b'%d' % i, 2, 2), pubrec(2))
        c.talk(pubrel(2), pubcomp(2))
    c.talk(publish(topic + '/none', b'x', 1, 1), puback(1))
    away = back(peers)
    like, one, two = len(publish(topic + '/1', b'0', 1, 1)), [], []
    while len(one) + len(two) < 20:
        first = away.take(1)
        if first == b'\x62':
            away.send(pubcomp(int.from_bytes(away.take(3)[1:], 'big')))
            continue
        rest = away.take(like - 1)
        mid = int.from_bytes(rest[-3:-1], 'big')
        assert first in (b'\x32', b'\x34') and mid
        name = topic + ('/1' if first == b'\x32' else '/2')
        assert first + rest == publish(name, rest[-1:], 1 if first == b'\x32' else 2, mid)
        (one if first == b'\x32' else two).append(rest[-1:])
        away.send((puback if first == b'\x32' else pubrec)(mid))
    assert one == two == [b'%d' % i for i in range(10)]
    away.sock.settimeout(away.timeout)
    while not away.pending.endswith(b'\xd0\x00'):	# what PUBRELs are left
        if not away.pending:
            away.send(PINGREQ)
        away.pending += away.sock.recv(4096)
    for i in range(0, len(away.pending) - 2, 4):
        away.send(pubcomp(int.from_bytes(away.pending[i + 2:i + 4], 'big')))
    away.pending = b''
    away.talk(b'')
    away.close()
    away = back(peers)
    away.talk(b'')
    c.talk(publish(topic + '/1', b'y', 1, 1), puback(1))
    away.send(puback(take_publish(away, topic + '/1', b'y', 1)))
    away.leave()
    peers.forget('away')


@BOTH
@clause('MQTT311-3.1.2-6', 'MQTT31-3.1-4', 'MQTT311-4.1.0-2')
@pytest.mark.parametrize('how', ['goodbye', 'cut', 'takeover'])
def test_clean_session_ends(peers, version, topic, how):
    """With its connection, and not before: subscriptions and messages are
    there while it lasts, and nothing of it in the next session."""
    peers.forget('away')
    away = listen(peers, topic, 1, 'away')
    c = peers()
    for i in range(3):
        c.talk(publish(topic, b'%d' % i, 1, 1), puback(1))
        take_publish(away, topic, b'%d' % i, 1)
    if how == 'goodbye':
        away.leave()
    elif how == 'cut':
        away.close()
        time.sleep(0.1)
    again = peers('away', clean=False, present=0)
    c.talk(publish(topic, b'y', 1, 1), puback(1))
    again.talk(b'')
    again.leave()
    peers.forget('away')


@BOTH
@clause('MQTT311-3.1.2-6', 'MQTT31-3.1-4')
@pytest.mark.ours
def test_clean_session_discards_the_kept_one(peers, version, topic):
    """Subscriptions, messages that waited, those in flight both ways."""
    peers.forget('away')
    away = listen(peers, topic, 2, 'away', clean=False)
    c = peers()
    c.talk(publish(topic, b'flight', 2, 1), pubrec(1))
    take_publish(away, topic, b'flight', 2)
    away.talk(publish(topic + '/in', b'x', 2, 77), pubrec(77))
    away.close()
    c.talk(publish(topic, b'waits', 1, 2), puback(2))
    away = peers('away', clean=True)
    c.talk(publish(topic, b'now', 1, 2), puback(2))
    watcher = listen(peers, topic + '/in')
    away.talk(publish(topic + '/in', b'new', 2, 77), pubrec(77))
    watcher.want(publish(topic + '/in', b'new'))
    away.talk(b'')
    away.leave()
    peers('away', clean=False, present=0).talk(b'')
    peers.forget('away')


@BOTH
@clause('MQTT311-3.1.3-2', 'MQTT311-4.1.0-1')
def test_versions_share_sessions(peers, version, topic):
    """A session is the client identifier's, whatever it speaks next."""
    peers.forget('away')
    listen(peers, topic, 1, 'away', clean=False).leave()
    c = peers()
    c.talk(publish(topic, b'x', 1, 1), puback(1))
    other = 7 - version
    away = peers('away', version=other, clean=False, present=1 if other == 4 else 0)
    away.talk(puback(take_publish(away, topic, b'x', 1)))
    away.leave()
    peers.forget('away')


@BOTH
@clause('MQTT311-3.2.0-1', 'MQTT311-3.1.4-4')
def test_connack_before_what_waits(peers, version, topic):
    peers.forget('away')
    away = listen(peers, topic, 1, 'away', clean=False)
    c = peers()
    for i in range(3):
        c.talk(publish(topic, b'%d' % i, 1, 1), puback(1))
    away.close()
    c.talk(publish(topic, b'3', 1, 1), puback(1))
    away = back(peers)		# which wants its CONNACK first
    away.close()
    peers.forget('away')


# Wills.


@BOTH
@clause('MQTT311-3.1.2-8', 'MQTT311-3.1.2-16', 'MQTT31-3.1-5', 'MQTT31-3.1-6')
@pytest.mark.parametrize('qos', [0, 1, 2])
@pytest.mark.parametrize('payload', [b'', b'gone', bytes(range(256))])
def test_will(peers, version, topic, qos, payload):
    """A connection that breaks: the will with its quality of service, whole,
    once, and not retained."""
    watcher = listen(peers, topic, 2)
    peers('will', will=(topic, payload, qos)).close()
    deliver_whole_late(watcher, topic, payload, qos) if payload or not qos else \
        empty_at(watcher, topic, qos)
    watcher.talk(b'')
    assert retained(peers, topic) == []


def empty_at(c, topic, qos):
    """Takes an empty message above QoS 0."""
    got = c.take(len(publish(topic, b'', qos, 1)))
    mid = int.from_bytes(got[-2:], 'big')
    assert got == publish(topic, b'', qos, mid) and mid
    c.send((puback if qos == 1 else pubrec)(mid))
    if qos == 2:
        c.want(pubrel(mid))
        c.send(pubcomp(mid))


@BOTH
@clause('MQTT311-3.1.2-17', 'MQTT311-3.3.1-9', 'MQTT31-3.1-6')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_retained_will(peers, version, topic, qos):
    """To who is there without RETAIN, to who comes with it; an empty one
    removes what was retained."""
    watcher = listen(peers, topic)
    peers('will', will=(topic, b'gone', qos, True)).close()
    watcher.want(publish(topic, b'gone'))
    assert retained(peers, topic) == [(topic, b'gone', qos)]
    peers('will', will=(topic, b'', qos, True)).close()
    watcher.want(publish(topic))
    assert retained(peers, topic) == []


@BOTH
@clause('MQTT311-3.1.2-10', 'MQTT311-3.14.4-3', 'MQTT31-3.1-5', 'MQTT31-3.14-1')
@pytest.mark.parametrize('clean', [True, False])
def test_no_will_after_goodbye(peers, version, topic, clean):
    """Nor with a later connection of the same session that has none; and the
    broker closes by itself."""
    watcher = listen(peers, topic)
    c = peers('will', clean=clean, will=(topic, b'gone', 0, True))
    c.send(GOODBYE)
    c.want_end()
    c = peers('will', clean=clean, present=0 if clean or version == 3 else 1)
    c.close()
    watcher.want_silence()
    assert retained(peers, topic) == []
    peers.forget('will')


@BOTH
@clause('MQTT311-3.1.2-10')
def test_will_is_sent_once(peers, version, topic):
    """Of a kept session: when its connection breaks, not again when the next
    one does, which had none."""
    watcher = listen(peers, topic)
    peers.forget('will')
    peers('will', clean=False, will=(topic, b'gone')).close()
    watcher.want(publish(topic, b'gone'))
    for _ in range(2):
        peers('will', clean=False, present=1 if version == 4 else 0).close()
    watcher.want_silence()
    peers.forget('will')


@BOTH
@clause('MQTT311-3.1.2-12')
@pytest.mark.parametrize('how', ['cut', 'violation'])
def test_no_will_without_one(peers, version, topic, how):
    watcher = listen(peers, '#', 0)
    c = peers('none')
    if how == 'violation':
        c.send(b'\x00\x00')
        c.want_end()
    c.close()
    watcher.want_silence()


@BOTH
@clause('MQTT311-3.1.2-8')
def test_will_when_taken_over(peers, version, topic):
    """The older connection is closed without its DISCONNECT."""
    watcher = listen(peers, topic)
    peers('will', will=(topic, b'first'))
    second = peers('will', will=(topic, b'second'))
    watcher.want(publish(topic, b'first'))
    second.leave()
    watcher.talk(b'')


@BOTH
@clause('MQTT311-3.1.2-8')
def test_will_only_of_who_was_let_in(peers, version, topic):
    """Not of a CONNECT that is refused."""
    watcher = listen(peers, topic)
    c = peers.raw()
    c.send(connect_packet('', version, clean=False, will=(topic, b'gone')))
    c.want_end(b'\x20\x02\x00\x02')
    watcher.want_silence()


@BOTH
@clause('MQTT311-3.14.4-3', 'MQTT31-3.14-1')
def test_nothing_behind_goodbye(peers, version, topic):
    """What stands behind DISCONNECT in the same write is not looked at."""
    watcher = listen(peers, topic)
    c = peers()
    c.send(publish(topic, b'before') + GOODBYE + publish(topic, b'after') + PINGREQ)
    c.want_end()
    watcher.want(publish(topic, b'before'))
    watcher.talk(b'')


@BOTH
@clause('MQTT311-3.1.2-8', 'MQTT311-7.0.0-2')
def test_shutdown_says_nothing(brokers, version):
    """Old clients know no DISCONNECT of a server; the wills are sent to who is
    still there, at most."""
    b = brokers()
    with Exact(b.port, version) as c:
        c.enter('here')
        b.stop()
        c.want_end()
