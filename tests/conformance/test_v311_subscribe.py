# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1, 3.8 to 3.11, 4.7 and 3.3.1.3: subscriptions, what
matches them, and retained messages."""
import pytest

from clauses import clause
from exact import (BOTH, PINGREQ, Exact, puback, pubcomp, publish, pubrec, pubrel, suback, subscribe,
                   unsuback, unsubscribe)
from raw import packet, string
from test_v311_publish import deliver_whole, listen, take_publish


@BOTH
@clause('MQTT311-3.8.4-1', 'MQTT311-3.8.4-2', 'MQTT311-3.8.4-5', 'MQTT311-3.9.3-1',
        'MQTT311-3.9.3-2', 'MQTT31-3.8-1', 'MQTT31-3.9-1')
@pytest.mark.parametrize('asked', [(0,), (1,), (2,), (2, 1, 0), (0, 1, 2, 0, 2, 1), (1,) * 300])
def test_granted(peers, version, topic, asked):
    """One SUBACK, with the quality of service of each filter in its order."""
    c = peers()
    c.talk(subscribe(0x0a0b, *[(f'{topic}/{i}', q) for i, q in enumerate(asked)]),
           suback(0x0a0b, *asked))


@BOTH
@clause('MQTT311-3.8.4-6', 'MQTT311-3.9.3-1', 'MQTT31-3.9-1', 'MQTT31-3.8-2')
def test_granted_less(brokers, version):
    """A listener that serves QoS 1 at most says so, and keeps to it."""
    b = brokers('max_qos 1\n')
    with Exact(b.port, version) as c, Exact(b.port, version) as other:
        c.enter('less')
        c.talk(subscribe(1, ('a', 2), ('b', 0), ('c', 1)), suback(1, 1, 0, 1))
        other.enter('other')
        for f, q in (('a', 1), ('b', 0), ('c', 1)):
            other.talk(publish(f, b'x', 1, 9), puback(9))
            deliver_whole(c, f, b'x', q)
        c.talk(b'')


@BOTH
@clause('MQTT311-3.8.4-6', 'MQTT31-3.8-2')
@pytest.mark.parametrize('sent', [0, 1, 2])
@pytest.mark.parametrize('granted', [0, 1, 2])
def test_lower_of_both(peers, version, topic, sent, granted):
    watcher, c = listen(peers, topic, granted), peers()
    c.send(publish(topic, b'x', sent, 1))
    if sent:
        c.want((puback if sent == 1 else pubrec)(1))
    deliver_whole(watcher, topic, b'x', min(sent, granted))
    watcher.talk(b'')


@BOTH
@clause('MQTT311-3.8.3-4', 'MQTT31-2.1-3')
@pytest.mark.parametrize('byte', [3, 4, 8, 0x10, 0x40, 0x80, 0x81, 0xff])
def test_requested_qos(peers, version, topic, byte):
    """Reserved bits, and 3; nothing of the packet is done."""
    c = peers('bad')
    c.send(subscribe(1, (topic, 0), (topic + '/x', byte)) + PINGREQ)
    c.want_end()


@BOTH
@clause('MQTT311-3.8.3-3', 'MQTT311-3.10.3-2')
@pytest.mark.parametrize('kind', [8, 10])
def test_no_filter(peers, version, kind):
    c = peers()
    c.send(packet(kind, 2, b'\x00\x01') + PINGREQ)
    c.want_end()


BAD_FILTERS = ['a#', 'a/#/b', '#/a', '##', 'a/b#', '/a#', 'a+', '+a', 'a/+b', 'a/b+/c', '++', '+#',
               'a/#/', '']


@BOTH
@clause('MQTT311-4.7.1-2', 'MQTT311-4.7.1-3', 'MQTT311-4.7.3-1', 'MQTT311-4.8.0-1', 'MQTT31-A-1',
        'MQTT31-A-2')
@pytest.mark.parametrize('bad', BAD_FILTERS)
def test_filters_that_are_none(peers, version, topic, bad):
    """A protocol violation: there is no SUBACK, and nothing is subscribed."""
    for sent in (subscribe(1, (bad, 0)), subscribe(1, (topic, 1), (bad, 0)), unsubscribe(1, bad)):
        c = peers()
        c.send(sent + PINGREQ)
        c.want_end()


# filter: (names that match, names that do not)
MATCHES = {
    'a/#': (('a', 'a/', 'a/b', 'a/b/c', 'a/$b'), ('b', 'ab', 'A', '/a', 'aa/b')),
    '#': (('a', '/', 'a/b', '/a'), ()),
    '+': (('a', 'ü'), ('/', '/a', 'a/', 'a/b')),
    'a/+': (('a/', 'a/b', 'a/$x'), ('a', 'a/b/c', 'a/b/')),
    '+/+': (('/a', 'a/b', '/', 'a/'), ('a', 'a/b/c')),
    '/+': (('/a', '/'), ('a', 'a/b')),
    '+/b/#': (('a/b', '/b', 'a/b/c'), ('b', 'a/bb', 'a')),
    'a/+/c': (('a/b/c', 'a//c'), ('a/c', 'a/b/d', 'a/b/c/')),
    '/a': (('/a',), ('a', '//a', '/a/')),
    'a b/c': (('a b/c',), ('ab/c', 'a  b/c', 'A b/c')),
    'blå': (('blå',), ('bla', 'bla\u030a', 'BLÅ')),
    'a/./b': (('a/./b',), ('a/b',)), 'a//b': (('a//b',), ('a/b',)),
}


@BOTH
@clause('MQTT311-4.7.1-1', 'MQTT311-4.7.1-2', 'MQTT311-4.7.1-3', 'MQTT311-3.3.2-3',
        'MQTT311-4.7.3-4', 'MQTT311-3.8.3-2', 'MQTT31-A-1', 'MQTT31-A-2', 'MQTT31-A-3')
@pytest.mark.parametrize('pattern', MATCHES)
def test_matching(peers, version, topic, pattern):
    """Below a level of the test's own where it can be; wildcards work, so
    there is no filter to be rejected for having them."""
    yes, no = MATCHES[pattern]
    whole = pattern in ('#', '+', '+/+', '+/b/#')
    base = '' if whole else topic + '/'
    watcher, c = listen(peers, base + pattern), peers()
    for name in (*yes, *no):
        c.talk(publish(base + name, b'x', 1, 1), puback(1))
    got = [publish(base + n, b'x') for n in yes]
    watcher.want(*got)
    watcher.talk(b'')


@BOTH
@clause('MQTT311-4.7.2-1')
def test_dollar(peers, version, topic):
    """What begins with $ is not for #, + and what begins with them."""
    base = f'$own{peers.name}'
    wild = [listen(peers, f, 0, f'w{i}') for i, f in enumerate(('#', '+/x', '+/#', '+'))]
    own = listen(peers, f'{base}/#', 0, 'own')
    c = peers()
    for name in (f'{base}/x', base, f'{base}/y/z'):
        c.talk(publish(name, b'x', 1, 1), puback(1))
        own.want(publish(name, b'x'))
    c.talk(publish('o/x', b'end', 1, 1), puback(1))
    for i, w in enumerate(wild):
        if i < 3:
            w.want(publish('o/x', b'end'))
        w.talk(b'')


@BOTH
@clause('MQTT311-4.7.2-1', 'MQTT311-3.3.1-6')
def test_retained_dollar(peers, version):
    """Nor when they are retained; $SYS is there for who asks for it."""
    c = peers()
    c.send(subscribe(1, ('$SYS/broker/version', 0)))
    c.want(suback(1, 0))
    first = c.take(2)
    assert first[0] == 0x31
    rest = c.take(first[1])
    assert rest.startswith(string('$SYS/broker/version'))
    wild = peers('wild')
    wild.send(subscribe(1, ('+/broker/version', 0), ('+/broker/#', 0)) + PINGREQ)
    wild.want(suback(1, 0, 0), b'\xd0\x00')


@BOTH
@clause('MQTT311-4.7.3-3')
@pytest.mark.parametrize('tail', ['x', '+', '#'])
def test_longest_filter(peers, version, topic, tail):
    """65535 bytes, of which the last counts."""
    base = topic + '/' + 'y' * (65535 - len(topic) - 3) + '/'
    watcher = listen(peers, base + tail)
    assert len(base + tail) == 65535
    watcher.talk(publish(base + 'x', b'1'), publish(base + 'x', b'1'))
    watcher.talk(publish(base[:-2] + 'z/', b'2'))


@BOTH
@clause('MQTT311-3.8.4-3')
@pytest.mark.ours
def test_same_filter_again(peers, version, topic):
    """It replaces the first: one delivery, at the new quality of service; what
    is retained is sent again."""
    watcher, c = peers('watcher'), peers()
    c.talk(publish(topic, b'kept', 1, 1, retain=1), puback(1))
    for qos in (1, 0, 2, 0):
        watcher.send(subscribe(qos + 1, (topic, qos)))
        watcher.want(suback(qos + 1, qos))
        low = min(qos, 1)
        if low:
            mid = take_publish(watcher, topic, b'kept', 1, retain=1)
            watcher.talk(puback(mid))
        else:
            watcher.want(publish(topic, b'kept', retain=1))
        c.talk(publish(topic, b'live', 2, 9), pubrec(9))
        deliver_whole(watcher, topic, b'live', qos)
        watcher.talk(b'')
        c.talk(pubrel(9), pubcomp(9))
    c.talk(publish(topic, b'', 1, 1, retain=1), puback(1))


@BOTH
@clause('MQTT311-3.8.4-3')
def test_replacing_loses_nothing(peers, version, topic):
    """While a client subscribes again and again, all messages arrive."""
    watcher, c = listen(peers, topic, 1), peers()
    n = 60
    c.send(b''.join(publish(topic, b'%03d' % i, 1, i + 1) for i in range(n)))
    for i in range(n):
        watcher.send(subscribe(7, (topic, 1)))
    seen, sizes = set(), {0x90: 5, 0x32: len(publish(topic, b'000', 1, 1))}
    answers = 0
    while len(seen) < n or answers < n:
        kind = watcher.take(1)
        rest = watcher.take(sizes[kind[0]] - 1)
        if kind[0] == 0x90:
            answers += 1
        else:
            assert rest[-3:] not in seen
            seen.add(rest[-3:])
            watcher.send(puback(int.from_bytes(rest[-5:-3], 'big')))
    c.want(*[puback(i + 1) for i in range(n)])


@BOTH
@clause('MQTT311-3.8.4-4')
def test_several_filters_as_several_packets(peers, version, topic):
    """The same filter twice in a packet: the later one stays, both have their
    code; retained messages come for each."""
    c = peers()
    c.talk(publish(topic, b'kept', 0, retain=1))
    c.send(subscribe(1, (topic, 0), (topic + '/x', 1), (topic, 0)))
    c.want(suback(1, 0, 1, 0), publish(topic, b'kept', retain=1), publish(topic, b'kept', retain=1))
    c.talk(publish(topic, b'', 0, retain=1), publish(topic, b''))
    c.talk(unsubscribe(2, topic), unsuback(2))
    c.talk(publish(topic, b'x'))


@BOTH
@clause('MQTT311-3.3.5-1')
@pytest.mark.parametrize('sent', [0, 1, 2])
def test_overlapping(peers, version, topic, sent):
    """The highest quality of service of all that match, once."""
    watcher, c = peers('watcher'), peers()
    watcher.talk(subscribe(1, (topic, 0), (topic + '/#', 2), ('+/' + topic.split('/', 1)[1], 1)),
                 suback(1, 0, 2, 1))
    c.send(publish(topic, b'x', sent, 1))
    if sent:
        c.want((puback if sent == 1 else pubrec)(1))
    deliver_whole(watcher, topic, b'x', sent)
    watcher.talk(b'')


@BOTH
@clause('MQTT311-3.10.4-4', 'MQTT311-3.10.4-5', 'MQTT311-3.10.4-6', 'MQTT31-3.10-1')
def test_unsuback(peers, version, topic):
    """Four bytes, whatever was there to be deleted, one for all filters."""
    c = peers()
    c.talk(unsubscribe(1, topic), unsuback(1))
    c.talk(subscribe(2, (topic, 0), (topic + '/#', 0)), suback(2, 0, 0))
    c.talk(unsubscribe(3, topic, topic + '/nothing', topic + '/#', topic), unsuback(3))
    c.talk(publish(topic, b'x'))
    c.talk(unsubscribe(65535, *[f'{topic}/{i}' for i in range(500)]), unsuback(65535))


@BOTH
@clause('MQTT311-3.10.4-1', 'MQTT311-3.10.4-2')
def test_unsubscribe_is_literal(peers, version, topic):
    """A filter is the same or not; wildcards are two characters like others."""
    c = peers()
    c.talk(subscribe(1, (topic + '/+', 0)), suback(1, 0))
    for other in ('/#', '/a', '/*', '/+/', '/+/#'):
        c.talk(unsubscribe(2, topic + other), unsuback(2))
    c.talk(publish(topic + '/a', b'1'), publish(topic + '/a', b'1'))
    c.talk(unsubscribe(3, topic + '/+'), unsuback(3))
    c.talk(publish(topic + '/a', b'2'))


@BOTH
@clause('MQTT311-3.10.4-2')
def test_unsubscribe_stops(peers, version, topic):
    """Behind UNSUBACK nothing comes of what is published then, also when it
    was another client's; the other filters stay."""
    watcher, c = peers('watcher'), peers()
    watcher.talk(subscribe(1, (topic, 0), (topic + '/end', 0)), suback(1, 0, 0))
    c.talk(publish(topic, b'1', 1, 1), puback(1))
    watcher.want(publish(topic, b'1'))
    watcher.talk(unsubscribe(2, topic), unsuback(2))
    for i in range(5):
        c.talk(publish(topic, b'2', 1, 1), puback(1))
    c.talk(publish(topic + '/end', b'end', 1, 1), puback(1))
    watcher.want(publish(topic + '/end', b'end'))
    watcher.talk(b'')


# Retained messages.


def retained(peers, topic, filter_=None, qos=2):
    """What a new subscriber gets: a list of (topic, payload, qos)."""
    c = peers('late')
    c.send(subscribe(1, (filter_ or topic, qos)))
    c.want(suback(1, qos))
    c.send(PINGREQ)
    got = []
    while (first := c.take(2))[0] != 0xd0:
        assert first[0] & 0xf9 == 0x31, first.hex()	# RETAIN, and not DUP
        body = c.take(first[1])
        n = int.from_bytes(body[:2], 'big')
        q = first[0] >> 1 & 3
        got.append((body[2:2 + n].decode(), body[2 + n + (2 if q else 0):], q))
    c.close()
    return got


@BOTH
@clause('MQTT311-3.3.1-5', 'MQTT311-3.3.1-6', 'MQTT311-3.3.1-8', 'MQTT31-2.1-4')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_retained(peers, version, topic, qos):
    """Stored with its quality of service, for any number of subscribers, and
    the last one only; RETAIN is set."""
    c = peers()
    for payload in (b'first', b'last'):
        c.send(publish(topic, payload, qos, 1, retain=1))
        if qos:
            c.want((puback if qos == 1 else pubrec)(1))
        if qos == 2:
            c.talk(pubrel(1), pubcomp(1))
        c.talk(b'')
    for asked in (2, 1, 0):
        assert retained(peers, topic, qos=asked) == [(topic, b'last', min(qos, asked))]
    c.talk(publish(topic, b'', 1, 1, retain=1), puback(1))
    assert retained(peers, topic) == []


@BOTH
@clause('MQTT311-3.3.1-6', 'MQTT311-4.7.1-2', 'MQTT31-2.1-4')
def test_retained_by_wildcard(peers, version, topic):
    """The last of each topic that matches."""
    c = peers()
    names = [topic, topic + '/a', topic + '/b', topic + '/a/c']
    for i, name in enumerate(names):
        c.talk(publish(name, b'%d' % i, 1, 1, retain=1), puback(1))
    assert sorted(retained(peers, topic, topic + '/#')) == sorted(
        (n, b'%d' % i, 1) for i, n in enumerate(names))
    assert sorted(n for n, _, _ in retained(peers, topic, topic + '/+')) == names[1:3]
    for name in names:
        c.talk(publish(name, b'', 1, 1, retain=1), puback(1))


@BOTH
@clause('MQTT311-3.3.1-9', 'MQTT31-2.1-5')
@pytest.mark.parametrize('retain', [0, 1])
def test_retain_is_not_for_those_who_were_there(peers, version, topic, retain):
    watcher, c = listen(peers, topic), peers()
    c.talk(publish(topic, b'x', 1, 1, retain=retain), puback(1))
    watcher.want(publish(topic, b'x'))
    assert retained(peers, topic) == ([(topic, b'x', 1)] if retain else [])
    c.talk(publish(topic, b'', 1, 1, retain=1), puback(1))


@BOTH
@clause('MQTT311-3.3.1-7')
def test_qos_0_replaces(peers, version, topic):
    c = peers()
    c.talk(publish(topic, b'one', 1, 1, retain=1), puback(1))
    c.talk(publish(topic, b'zero', 0, retain=1))
    assert retained(peers, topic) == [(topic, b'zero', 0)]
    c.talk(publish(topic, b'', 0, retain=1))


@BOTH
@clause('MQTT311-3.3.1-10', 'MQTT311-3.3.1-11', 'MQTT31-2.1-6')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_empty_removes(peers, version, topic, qos):
    """It is delivered as any other, and nothing is retained then."""
    watcher, c = listen(peers, topic), peers()
    c.talk(publish(topic, b'x', 1, 1, retain=1), puback(1))
    watcher.want(publish(topic, b'x'))
    for _ in range(2):
        c.send(publish(topic, b'', qos, 2, retain=1))
        if qos:
            c.want((puback if qos == 1 else pubrec)(2))
        if qos == 2:
            c.talk(pubrel(2), pubcomp(2))
        watcher.want(publish(topic, b''))
        c.talk(b'')
        assert retained(peers, topic) == []


@BOTH
@clause('MQTT311-3.3.1-12')
@pytest.mark.parametrize('payload', [b'y', b''])
def test_without_retain(peers, version, topic, payload):
    """Neither stored nor replaced nor removed."""
    c = peers()
    c.talk(publish(topic, payload, 1, 1), puback(1))
    assert retained(peers, topic) == []
    c.talk(publish(topic, b'x', 1, 1, retain=1), puback(1))
    c.talk(publish(topic, payload, 1, 1), puback(1))
    assert retained(peers, topic) == [(topic, b'x', 1)]
    c.talk(publish(topic, b'', 1, 1, retain=1), puback(1))


@BOTH
@clause('MQTT311-3.1.2-7')
@pytest.mark.parametrize('clean', [True, False])
def test_retained_outlives_the_session(peers, version, topic, clean):
    peers.forget('gone')
    c = peers('gone', clean=clean)
    c.talk(publish(topic, b'x', 1, 1, retain=1), puback(1))
    c.leave()
    peers.forget('gone')
    assert retained(peers, topic) == [(topic, b'x', 1)]
    peers().talk(publish(topic, b'', 1, 1, retain=1), puback(1))


@BOTH
@clause('MQTT31-3.8-3', 'MQTT311-3.8.4-5', 'MQTT311-3.9.3-2', 'MQTT31-3.9-1')
@pytest.mark.ours
def test_quota(brokers, version):
    """A subscription beyond the quota: 3.1.1 has a code for it, and 3.1 none,
    so the connection ends rather than that the client believes in it."""
    b = brokers('max_subscriptions_per_client 2\n')
    with Exact(b.port, version) as c:
        c.enter('quota')
        c.talk(subscribe(1, ('a', 1), ('b', 0)), suback(1, 1, 0))
        c.send(subscribe(2, ('a', 2), ('c', 1), ('b', 1)) + PINGREQ)
        if version == 4:
            c.want(suback(2, 2, 0x80, 1), b'\xd0\x00')
        else:
            c.want_end()
