# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.7 and 4.8: topic names and filters, shared subscriptions."""
import collections
import contextlib

import pytest

from clauses import clause
from harness import REFERENCE, wait_until
from kit import (MALFORMED, PROTOCOL_ERROR, Peer, ack, connected, gone, mid_bytes, props_of, publish,
                 refused, subscribe)
from raw import (PINGREQ, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Closed, packet, string)

pytestmark = pytest.mark.usefixtures('unharmed')

# filter, names that match, names that do not
MATCHES = [
    ('sport/tennis/player1/#',
     ['sport/tennis/player1', 'sport/tennis/player1/ranking', 'sport/tennis/player1/score/wimbledon',
      'sport/tennis/player1/'],
     ['sport/tennis/player2', 'sport/tennis', 'sport/tennis/player1x', 'Sport/tennis/player1']),
    ('sport/#', ['sport', 'sport/', 'sport/a/b/c', 'sport//'], ['sports', 'sportx/a', '/sport']),
    ('sport/tennis/+', ['sport/tennis/player1', 'sport/tennis/', 'sport/tennis/é'],
     ['sport/tennis/player1/ranking', 'sport/tennis', 'sport/tennis/a/']),
    ('sport/+', ['sport/', 'sport/x'], ['sport', 'sport/x/y', 'sport//']),
    ('+/tennis/#', ['a/tennis', '/tennis', 'a/tennis/b/c'], ['tennis', 'a/b/tennis', 'a/tenniss']),
    ('sport/+/player1', ['sport/a/player1', 'sport//player1'], ['sport/player1', 'sport/a/b/player1']),
    ('/finance', ['/finance'], ['finance', '/finance/', 'x/finance', '/Finance']),
    ('/+', ['/finance', '/'], ['finance', '/a/b', '//']),
    ('+/+', ['/finance', 'a/b', '/'], ['a', 'a/b/c']),
    ('+', ['finance', 'a b', ' '], ['/finance', 'a/', '/']),
    ('#', ['a', '/', '/a/b', 'a//b', ' '], []),
    ('+/#', ['a', 'a/b', '/', '/a'], []),
    ('/#', ['/', '/a', '/a/b'], ['a', 'a/']),
    ('a//b', ['a//b'], ['a/b', 'a///b', 'a/x/b']),
    ('a/', ['a/'], ['a', 'a//', 'a/b']),
    ('a b', ['a b'], ['ab', 'a  b', 'a b ']),
    ('é', ['é'], ['e', 'e\u0301', 'É']),		# not the decomposed form
    ('*', ['*'], ['a', '**']), ('a?', ['a?'], ['ab']), ('$x/#', ['$x', '$x/a'], ['x/a', '$y/a']),
    ('a/$x', ['a/$x'], ['a/x']), ('+/$x', ['a/$x', '/$x'], ['$x']), ('%41', ['%41'], ['A']),
    ('a\\/b', ['a\\/b'], ['a/b']), ('.', ['.'], ['a']), ('a/../b', ['a/../b'], ['b', 'a/b']),
]


@clause('MQTT-4.7.1-1', 'MQTT-4.7.1-2', 'MQTT-3.3.2-3', 'MQTT-4.7.3-4')
@pytest.mark.parametrize('name, yes, no', MATCHES, ids=[m[0] for m in MATCHES])
def test_matching(broker, name, yes, no):
    """The examples of the standard and their edges; names arrive byte for byte
    as they were published."""
    with connected(broker, 'match') as c:
        assert c.subscribe(name, '$end') == [0, 0]
        for i in range(max(len(yes), len(no))):
            for n in yes[i:i + 1] + no[i:i + 1]:
                c.publish(n, n)
        c.publish('$end', '$end')
        got = [c.message() for _ in range(len(yes) + 1)]
        assert [m.topic for m in got] == yes + ['$end']
        assert all(m.payload == m.topic.encode() for m in got)


@clause('MQTT-4.7.2-1')
@pytest.mark.parametrize('name', ['#', '+/test', '+/#', '+', '/#'])
def test_wildcards_first_and_dollar(broker, topic, name):
    """Not to names that begin with $, live or retained; those that say the $
    get them."""
    with connected(broker, 'dollar') as c:
        c.subscribe((name, 0))
        c.publish('$nj/test', 'live')
        c.publish('$njtest', 'live')
        c.publish('$nj/test', 'kept', retain=True)
        c.subscribe((name, 0))
        for exact in ('$nj/test', '$nj/+', '$nj/#'):
            c.subscribe((exact, 0))
            m = c.message()
            assert (m.topic, m.payload, m.retain) == ('$nj/test', b'kept', True)
            c.publish('$nj/test', 'live')
            assert c.message().payload == b'live'
            c.unsubscribe(exact)
        c.publish('$nj/test', '', retain=True)
        c.silent(0.05)


@clause('MQTT-4.7.2-1')
def test_system_topics(broker):
    """$SYS is not in #."""
    with connected(broker, 'sys') as c:
        c.subscribe('#', '+/broker/version')
        c.silent(0.1)
        assert not [p for p in c.all if p.kind == PUBLISH and p.topic.startswith('$')]
        c.subscribe('$SYS/#')
        assert c.recv().topic.startswith('$SYS/')


BAD_FILTERS = {
    'MQTT-4.7.1-1': ['sport/tennis#', 'sport/tennis/#/ranking', '#/a', '##', 'a#', '/#/', 'a/#b', '#+', '+#'],
    'MQTT-4.7.1-2': ['sport+', '+a', 'a/+b', 'a/b+/c', '++', 'a/++', '+/a+/#'],
    'MQTT-4.7.3-1': [''],
    'MQTT-4.8.2-1': ['$share/', '$share/g', '$share//t', '$share//', '$share/g/'],
    'MQTT-4.8.2-2': ['$share/+/t', '$share/#/t', '$share/g+/t', '$share/g#/t', '$share/#', '$share/g#'],
}


@clause('MQTT-3.9.3-2')
@pytest.mark.parametrize('ident, name', [
    pytest.param(i, n, marks=clause(i)) for i, names in BAD_FILTERS.items() for n in names])
def test_bad_filters(broker, ident, name):
    """Refused: by its code, where it does not end the connection; and nothing
    is subscribed."""
    with connected(broker, 'bad') as c:
        p = c.answer_to(subscribe((name, 1)))
        if p.kind == SUBACK and not REFERENCE:
            assert p.codes == [0x8f]
            c.publish('sport/tennis', 'x')
            c.publish('t', 'x')
            c.publish('a', 'x')
            c.silent(0.03)
        elif p.kind != SUBACK:
            assert p.code in (0x8f, MALFORMED, PROTOCOL_ERROR)


@clause('MQTT-4.7.3-3', 'MQTT-4.7.3-1')
@pytest.mark.parametrize('name', ['x', '/', ' ', 'é', 'x' * 127, 'é' * 32767 + 'x', 'x' * 65535])
def test_lengths_of_topics(broker, name):
    """From one byte to 65,535 of them, as name and as filter."""
    with connected(broker, 'lengths') as c:
        assert c.subscribe(name) == [0]
        c.publish(name, 'x', retain=True)
        m = c.message()
        assert (m.topic, m.payload) == (name, b'x')
        c.publish(name, '', retain=True)


@clause('MQTT-4.7.3-4')
def test_no_normalization(broker, topic):
    """Names that some would take for the same are different ones."""
    alike = ['é', 'e\u0301', '\u212b', '\u00c5', 'A\u030a', 'ß', 'ss', 'SS', 'a', 'A', ' a', 'a ', 'a\u200b',
             'a\u00ad', 'ﬁ', 'fi', 'ı', 'i', 'İ', 'a/', '/a', 'a//', '%61']
    with connected(broker, 'alike') as c:
        for n in alike:
            c.subscribe(f'{topic}/{n}')
        for n in alike:
            c.publish(f'{topic}/{n}', n)
            m = c.message()
            assert (m.topic, m.payload) == (f'{topic}/{n}', n.encode())
        c.silent(0.05)


# 4.8.2: shared subscriptions.

def members(broker, topic, n, qos=1, group='g', **kw):
    out = []
    for i in range(n):
        c = connected(broker, f'member-{i}', **kw)
        assert c.subscribe((f'$share/{group}/{topic}', qos)) == [qos]
        out.append(c)
    return out


def everything(clients, least, seconds=0.1):
    """{index: [payload]}: so many messages, and what comes until nobody gets
    anything any more."""
    got = collections.defaultdict(list)

    def done():
        quiet = True
        for i, c in enumerate(clients):
            try:
                while True:
                    got[i].append(c.message(seconds / len(clients)).payload)
                    quiet = False
            except TimeoutError:
                pass
        return quiet and sum(map(len, got.values())) >= least
    wait_until(done, f'{least} messages')
    return got


@clause('MQTT-4.8.2-1', 'MQTT-4.8.2-2')
@pytest.mark.parametrize('group', ['g', ' ', 'é', '$share', '$', 'a b', 'x' * 1000])
def test_share_names(broker, topic, group):
    """Any name without / + and #; two names are two groups, and the filter is
    what stands behind, wildcards and leading / included."""
    with connected(broker, 'a') as a, connected(broker, 'b') as b, connected(broker, 'c') as other:
        for c in (a, b):
            assert c.subscribe((f'$share/{group}/{topic}/#', 0)) == [0]
        other.subscribe(f'$share/{group}2/{topic}/+', f'$share/{group}//{topic}')
        for i in range(6):
            other.publish(f'{topic}/x', str(i))
        other.publish('/' + topic, 'slash')
        got = everything([a, b, other], 13)
        assert sorted(got[0] + got[1]) == [str(i).encode() for i in range(6)]
        assert sorted(got[2]) == sorted([str(i).encode() for i in range(6)] + [b'slash'])


@clause('MQTT-4.8.2-1')
def test_share_is_no_topic(broker, topic):
    """A message to the name that looks like the filter is for nobody in the
    group; '$sharex' is a topic like others."""
    with connected(broker, 'looks') as c:
        c.subscribe(f'$share/g/{topic}', f'$sharex/g/{topic}')
        c.publish(f'$sharex/g/{topic}', 'plain')
        assert c.message().payload == b'plain'
        c.publish(topic, 'x')
        assert c.message().payload == b'x'


@clause('MQTT-4.8.2-3')
@pytest.mark.parametrize('sent', [0, 1, 2])
@pytest.mark.parametrize('granted', [0, 1, 2])
def test_share_respects_qos(broker, topic, sent, granted):
    """Each member's own, also when they differ."""
    with connected(broker, 'm1') as a, connected(broker, 'm2') as b, connected(broker, 'pub') as p:
        a.subscribe((f'$share/g/{topic}', granted))
        b.subscribe((f'$share/g/{topic}', 2 - granted))
        for i in range(8):
            p.publish_acked(topic, str(i), sent)
        seen = []

        def came():
            for c, q in ((a, granted), (b, 2 - granted)):
                for m in c.gather(0, 0.1):
                    assert m.qos == min(sent, q) and not m.dup and not m.retain
                    seen.append(m)
            return len(seen) >= 8
        wait_until(came, 'all eight')
        assert len(seen) == 8


@clause('MQTT-4.8.2-3', 'MQTT-3.3.4-3')
def test_share_identifiers_and_options(broker, topic):
    """The member's subscription identifier, and Retain As Published."""
    with connected(broker, 'm1') as c:
        c.subscribe((f'$share/g/{topic}', 1 | 0x08), props={'subscription_id': 12})
        c.publish_acked(topic, 'x', 1, retain=True)
        m = c.message()
        assert m.props == {'subscription_id': [12]} and m.retain
        c.publish_acked(topic, '', 1, retain=True)
        c.message()


@clause('MQTT-4.8.2-4', 'MQTT-4.3.3-3')
@pytest.mark.parametrize('step', ['before PUBREC', 'after PUBREC'])
def test_share_qos_2_is_completed_by_the_same(broker, topic, step):
    """Begun with one member, it is finished with it when it is back, whoever
    else is there."""
    a, b = members(broker, topic, 2, qos=2, props={'session_expiry': 60})
    with a, b, connected(broker, 'pub') as p:
        p.publish_acked(topic, 'x', 2)
        chosen, m = None, None
        while not m:
            for c in (a, b):
                try:
                    chosen, m = c, c.recv(0.05)
                    break
                except TimeoutError:
                    pass
        if step == 'after PUBREC':
            chosen.ack(PUBREC, m.mid)
            chosen.expect(PUBREL)
        other = b if chosen is a else a
        chosen.close()
        other.silent(0.2)
        name = 'member-0' if chosen is a else 'member-1'
        with connected(broker, name, clean=False) as again:
            r = again.recv()
            if step == 'after PUBREC':
                assert (r.kind, r.mid) == (PUBREL, m.mid)
            else:
                assert (r.kind, r.mid, r.payload, r.dup) == (PUBLISH, m.mid, b'x', True)
                again.ack(PUBREC, m.mid)
                again.expect(PUBREL)
            again.ack(PUBCOMP, m.mid)
            again.disconnect()
        other.silent(0.05)
        other.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.8.2-5')
@pytest.mark.parametrize('how', ['at once', 'clean start'])
def test_share_qos_2_ends_with_the_session(broker, topic, how):
    """The standard says of QoS 2: to no other when the session ends."""
    a, b = members(broker, topic, 2, qos=2, props={'session_expiry': 0 if how == 'at once' else 60})
    with a, b, connected(broker, 'pub') as p:
        p.publish_acked(topic, 'x', 2)
        chosen = None
        while not chosen:
            for c in (a, b):
                try:
                    assert c.recv(0.05).payload == b'x'
                    chosen = c
                    break
                except TimeoutError:
                    pass
        other = b if chosen is a else a
        chosen.close()
        if how == 'clean start':
            gone(broker, 'member-0' if chosen is a else 'member-1')
        other.silent(0.25)
        p.publish_acked(topic, 'y', 2)
        assert other.message().payload == b'y'
        other.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.8.2-6', 'MQTT-4.4.0-2')
@pytest.mark.parametrize('qos, kind', [(1, PUBACK), (2, PUBREC)])
@pytest.mark.parametrize('code', [0x80, 0x87, 0x97])
def test_share_refused_is_discarded(broker, topic, qos, kind, code):
    """To nobody else, and not again."""
    a, b = members(broker, topic, 2, qos=qos)
    with a, b, connected(broker, 'pub') as p:
        n = 6
        for i in range(n):
            p.publish_acked(topic, str(i), qos)
        seen = []

        def came():
            for c in (a, b):
                with contextlib.suppress(TimeoutError):
                    while True:
                        m = c.expect(PUBLISH, 0.15)
                        seen.append(m.payload)
                        c.ack(kind, m.mid, code)
            return len(seen) >= n
        wait_until(came, 'all of them')
        for c in (a, b):
            c.silent(0.05)
        assert sorted(seen) == [str(i).encode() for i in range(n)]


@clause('MQTT-4.8.2-3')
def test_share_once(broker, topic):
    """Each message to one member of each group, and to every other subscriber."""
    a, b = members(broker, topic, 2)
    with a, b, connected(broker, 'plain') as plain, connected(broker, 'both') as both:
        plain.subscribe((topic, 1))
        both.subscribe((topic, 1), (f'$share/h/{topic}', 1))
        want = sorted(str(i).encode() for i in range(20))
        for i in range(20):
            plain.publish_acked(topic, str(i), 1)
        got = everything([a, b, plain, both], 80)
        assert sorted(got[0] + got[1]) == want and got[0] and got[1]
        assert sorted(got[2]) == want and sorted(got[3]) == sorted(want * 2)
