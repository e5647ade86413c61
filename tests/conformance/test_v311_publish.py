# SPDX-License-Identifier: Apache-2.0
"""MQTT 3.1.1 and 3.1, 3.3 to 3.7, 4.3, 4.4 and 4.6: the flows of the three
qualities of service in both directions, what is sent again, and the order."""
import time

import pytest

from clauses import clause
from exact import (BOTH, PINGREQ, Exact, puback, pubcomp, publish, pubrec, pubrel, suback,
                   subscribe, unsubscribe, unsuback)
from raw import Raw, packet, string


def take_publish(c, topic, payload, qos, dup=0, retain=0):
    """The next packet is this PUBLISH; its identifier, which is not 0."""
    like = publish(topic, payload, qos, 1, retain, dup)
    got = c.take(len(like))
    mid = int.from_bytes(got[-len(payload) - 2:len(got) - len(payload)], 'big')
    assert got == publish(topic, payload, qos, mid, retain, dup), got.hex(' ')
    assert mid
    return mid


def listen(peers, topic, qos=0, name='watcher', **kw):
    c = peers(name, **kw)
    c.talk(subscribe(1, (topic, qos)), suback(1, qos))
    return c


def deliver_whole(c, topic, payload, qos):
    """Takes a message to the end of its flow."""
    if qos == 0:
        c.want(publish(topic, payload))
        return
    mid = take_publish(c, topic, payload, qos)
    if qos == 1:
        c.talk(puback(mid))
    else:
        c.talk(pubrec(mid), pubrel(mid))
        c.talk(pubcomp(mid))


@BOTH
@clause('MQTT311-3.3.4-1', 'MQTT311-4.3.2-2', 'MQTT311-4.3.3-2', 'MQTT311-4.3.1-1',
        'MQTT31-3.3-1', 'MQTT31-4.1-1', 'MQTT31-4.1-2')
@pytest.mark.parametrize('qos', [0, 1, 2])
@pytest.mark.parametrize('payload', [b'', b'x', bytes(range(256)) * 5])
def test_answers(peers, version, topic, qos, payload):
    """Nothing, PUBACK, or PUBREC and PUBCOMP, of four bytes each; also when
    nobody listens; and the message arrives once."""
    c = peers()
    watcher = listen(peers, topic)
    for name in (topic + '/unheard', topic):
        sent = publish(name, payload, qos, 7)
        if qos < 2:
            c.talk(sent, *[puback(7)] if qos else [])
        else:
            c.talk(sent, pubrec(7))
            c.talk(pubrel(7), pubcomp(7))
    watcher.want(publish(topic, payload))
    watcher.talk(b'')


@BOTH
@clause('MQTT31-3.3-5', 'MQTT311-3.3.1-3')
@pytest.mark.parametrize('dup', [0, 1])
@pytest.mark.parametrize('qos', [1, 2])
def test_dup_is_not_passed_on(peers, version, topic, qos, dup):
    """Nor is a message with DUP another than one without."""
    watchers = [listen(peers, topic, q, f'w{q}') for q in (0, 1, 2)]
    c = peers()
    c.send(publish(topic, b'', qos, 9, dup=dup))
    c.want((puback if qos == 1 else pubrec)(9))
    if qos == 2:
        c.talk(pubrel(9), pubcomp(9))
    for q, w in enumerate(watchers):
        deliver_whole(w, topic, b'', min(q, qos))
        w.talk(b'')


@BOTH
@clause('MQTT311-3.3.1-2')
def test_dup_at_qos_0(peers, version, topic):
    """Cannot be, and is not passed on."""
    watcher = listen(peers, topic)
    c = peers()
    c.send(publish(topic, b'x', dup=1) + PINGREQ)
    c.want_end()
    watcher.talk(publish(topic, b'end'), publish(topic, b'end'))


@BOTH
@clause('MQTT311-4.3.2-2', 'MQTT31-2.1-2')
@pytest.mark.parametrize('dup', [0, 1])
def test_same_identifier_again_at_qos_1(peers, version, topic, dup):
    """After PUBACK it is a new message, whatever DUP says."""
    watcher, c = listen(peers, topic), peers()
    for i in range(3):
        c.talk(publish(topic, b'%d' % i, 1, 5, dup=dup), puback(5))
        watcher.want(publish(topic, b'%d' % i))
    watcher.talk(b'')


@BOTH
@clause('MQTT311-4.3.3-2', 'MQTT31-2.1-2', 'MQTT31-4.1-2')
@pytest.mark.ours
def test_same_identifier_again_at_qos_2(peers, version, topic):
    """Until PUBREL it is the same message, with DUP or without; after PUBCOMP
    it is a new one."""
    watcher, c = listen(peers, topic), peers()
    for first in (b'1', b'2'):
        c.talk(publish(topic, first, 2, 5), pubrec(5))
        for dup in (1, 0, 1):
            c.talk(publish(topic, first, 2, 5, dup=dup), pubrec(5))
        c.talk(publish(topic, b'other' + first, 2, 6), pubrec(6))
        c.talk(pubrel(5), pubcomp(5))
        c.talk(pubrel(6), pubcomp(6))
        c.talk(pubrel(5), pubcomp(5))
    watcher.want(*[publish(topic, p) for p in (b'1', b'other1', b'2', b'other2')])
    watcher.talk(b'')


@BOTH
@clause('MQTT311-4.3.3-2', 'MQTT31-3.6-1')
def test_unknown_pubrel(peers, version):
    """Answered like another one: its PUBCOMP may have been lost."""
    c = peers()
    c.talk(pubrel(1234), pubcomp(1234))
    c.talk(pubrel(1234) * 3, pubcomp(1234), pubcomp(1234), pubcomp(1234))


@BOTH
@clause('MQTT311-4.3.3-2', 'MQTT311-4.4.0-1', 'MQTT311-4.1.0-1', 'MQTT31-3.1-3', 'MQTT31-4.1-2')
@pytest.mark.ours
def test_qos_2_in_across_connections(peers, version, topic):
    """The broker's half of the session: identifiers without their PUBREL.  The
    PUBLISH sent again is the same message; PUBREL ends it; and with another
    session it is a new one."""
    watcher = listen(peers, topic)
    keep = 1 if version == 4 else 0
    peers.forget()
    c = peers(clean=False)
    c.talk(publish(topic, b'a', 2, 5), pubrec(5))
    watcher.want(publish(topic, b'a'))
    c.close()
    c = peers(clean=False, present=keep)
    c.talk(publish(topic, b'a', 2, 5, dup=1), pubrec(5))
    c.close()
    c = peers(clean=False, present=keep)
    c.talk(pubrel(5), pubcomp(5))
    c.talk(publish(topic, b'b', 2, 5), pubrec(5))
    watcher.want(publish(topic, b'b'))
    c.close()
    c = peers(clean=True)
    c.talk(publish(topic, b'c', 2, 5), pubrec(5))
    watcher.want(publish(topic, b'c'))
    watcher.talk(b'')


@BOTH
@clause('MQTT31-2.4-2', 'MQTT311-2.3.1-4', 'MQTT311-4.3.2-1')
@pytest.mark.ours
def test_identifiers_of_both_directions(peers, version, topic):
    """The same number may be in flight both ways; they are two messages."""
    c = peers()
    c.talk(subscribe(1, (topic, 2)), suback(1, 2))
    peers('other').talk(publish(topic, b'out', 2, 1), pubrec(1))
    mid = take_publish(c, topic, b'out', 2)
    unheard = topic + '/unheard'
    c.talk(publish(unheard, b'in', 2, mid), pubrec(mid))
    c.talk(pubrec(mid), pubrel(mid))
    c.talk(pubrel(mid), pubcomp(mid))
    c.talk(pubcomp(mid))
    c.talk(publish(unheard, b'in', 1, mid), puback(mid))


@BOTH
@clause('MQTT311-2.3.1-4', 'MQTT311-4.3.2-1', 'MQTT311-4.3.3-1', 'MQTT31-2.4-2')
@pytest.mark.parametrize('qos', [1, 2])
def test_identifiers_are_unused_ones(peers, version, topic, qos):
    """Those in flight differ from each other and from 0; one that was not
    acknowledged is not given again while others come and go; DUP is 0."""
    watcher, c = listen(peers, topic, qos), peers()

    def one(payload):
        c.talk(publish(topic, payload, 1 if qos == 1 else 2, 3), (puback if qos == 1 else pubrec)(3))
        if qos == 2:
            c.talk(pubrel(3), pubcomp(3))
        return take_publish(watcher, topic, payload, qos)
    held = [one(b'held%d' % i) for i in range(5)]
    assert len(set(held)) == 5
    for i in range(100):
        mid = one(b'%d' % i)
        assert mid not in held
        if qos == 1:
            watcher.send(puback(mid))
        else:
            watcher.talk(pubrec(mid), pubrel(mid))
            watcher.send(pubcomp(mid))
    watcher.talk(b'')


@BOTH
@clause('MQTT311-4.3.3-1', 'MQTT31-4.1-2')
@pytest.mark.ours
def test_pubrec_again(peers, version, topic):
    """A PUBREC sent twice has its PUBREL twice, and the message is not sent
    again; after PUBCOMP the flow is over."""
    watcher, c = listen(peers, topic, 2), peers()
    c.talk(publish(topic, b'x', 2, 3), pubrec(3))
    mid = take_publish(watcher, topic, b'x', 2)
    watcher.talk(pubrec(mid), pubrel(mid))
    watcher.talk(pubrec(mid), pubrel(mid))
    watcher.talk(pubcomp(mid))


@BOTH
@clause('MQTT311-4.4.0-1', 'MQTT311-3.3.1-1', 'MQTT311-2.3.1-4', 'MQTT311-4.3.2-1',
        'MQTT311-4.6.0-1', 'MQTT311-4.1.0-1', 'MQTT31-4.2-1', 'MQTT31-3.1-3', 'MQTT31-4.1-1',
        'MQTT31-4.3-1')
@pytest.mark.parametrize('qos', [1, 2])
def test_sent_again(peers, version, topic, qos):
    """After a break: what was not acknowledged, with its identifier, DUP, and
    in the order of the first time; what was, not; and twice if need be."""
    peers.forget('watcher')
    keep = 1 if version == 4 else 0
    watcher, c = listen(peers, topic, qos, clean=False), peers()
    mids = []
    for i in range(5):
        c.send(publish(topic, b'%d' % i, qos, i + 1))
        c.want((puback if qos == 1 else pubrec)(i + 1))
        mids.append(take_publish(watcher, topic, b'%d' % i, qos))
    watcher.talk(puback(mids[1]) if qos == 1 else pubrec(mids[1]),
                 *[] if qos == 1 else [pubrel(mids[1])])
    if qos == 2:
        watcher.talk(pubcomp(mids[1]))
    for _ in range(2):
        watcher.close()
        watcher = peers('watcher', clean=False, present=keep)
        watcher.talk(b'', *[publish(topic, b'%d' % i, qos, mids[i], dup=1) for i in (0, 2, 3, 4)])
    for i in (0, 2, 3, 4):
        watcher.talk((puback if qos == 1 else pubrec)(mids[i]),
                     *[] if qos == 1 else [pubrel(mids[i])])
        if qos == 2:
            watcher.talk(pubcomp(mids[i]))
    watcher.close()
    watcher = peers('watcher', clean=False, present=keep)
    watcher.talk(b'')
    watcher.leave()
    peers.forget('watcher')


@BOTH
@clause('MQTT311-4.4.0-1', 'MQTT311-4.3.3-1', 'MQTT31-4.2-1', 'MQTT31-4.1-2')
@pytest.mark.ours
def test_pubrel_sent_again(peers, version, topic):
    """After a break in the second half of a flow it is PUBREL that comes again,
    and not PUBLISH."""
    peers.forget('watcher')
    watcher, c = listen(peers, topic, 2, clean=False), peers()
    for i in (1, 2):
        c.talk(publish(topic, b'%d' % i, 2, i), pubrec(i))
    one, two = (take_publish(watcher, topic, b'%d' % i, 2) for i in (1, 2))
    watcher.talk(pubrec(one), pubrel(one))
    for _ in range(2):
        watcher.close()
        watcher = peers('watcher', clean=False, present=1 if version == 4 else 0)
        again = watcher.take(len(pubrel(1)) + len(publish(topic, b'2', 2, 2)))
        # 3.1 would have DUP in a PUBREL sent again
        assert again in (pubrel(one) + publish(topic, b'2', 2, two, dup=1),
                         publish(topic, b'2', 2, two, dup=1) + pubrel(one))
    watcher.talk(pubcomp(one))
    watcher.talk(pubrec(two), pubrel(two))
    watcher.talk(pubcomp(two))
    watcher.close()
    watcher = peers('watcher', clean=False, present=1 if version == 4 else 0)
    watcher.talk(b'')
    peers.forget('watcher')


@BOTH
@clause('MQTT31-4.2-2', 'MQTT311-4.4.0-1')
def test_nothing_is_sent_again_without_a_break(peers, version, topic):
    """3.1 let a server retry; TCP does."""
    watcher, c = listen(peers, topic, 1), peers()
    c.talk(publish(topic, b'x', 1, 1), puback(1))
    mid = take_publish(watcher, topic, b'x', 1)
    watcher.want_silence(0.5)
    watcher.talk(puback(mid))


@BOTH
@clause('MQTT311-4.6.0-2', 'MQTT311-4.6.0-3', 'MQTT31-4.3-1')
def test_acknowledgements_in_order(peers, version, topic):
    """Of many PUBLISH packets in one write, with and without listeners."""
    listen(peers, topic + '/heard')
    c = peers()
    mids = [*range(1, 60), 65535, 60, 3000]
    c.send(b''.join(publish(topic + ('/heard' if m % 2 else ''), b'x', 1, m) for m in mids))
    c.want(*[puback(m) for m in mids])
    c.send(b''.join(publish(topic + ('/heard' if m % 2 else ''), b'x', 2, m) for m in mids))
    c.want(*[pubrec(m) for m in mids])
    c.send(b''.join(pubrel(m) for m in reversed(mids)))
    c.want(*[pubcomp(m) for m in reversed(mids)])
    c.send(b''.join(publish(topic, b'x', 1 + m % 2, m) for m in mids))
    c.want(*[pubrec(m) if m % 2 else puback(m) for m in mids])


@BOTH
@clause('MQTT311-4.6.0-4', 'MQTT31-4.3-1')
@pytest.mark.ours
def test_pubrel_in_the_order_of_pubrec(peers, version, topic):
    watcher, c = listen(peers, topic, 2), peers()
    mids = []
    for i in range(8):
        c.talk(publish(topic, b'%d' % i, 2, i + 1), pubrec(i + 1))
        mids.append(take_publish(watcher, topic, b'%d' % i, 2))
    order = mids[3:] + mids[:3]
    watcher.send(b''.join(map(pubrec, order)))
    watcher.want(*map(pubrel, order))
    watcher.talk(b''.join(map(pubcomp, reversed(order))))


@BOTH
@clause('MQTT311-4.6.0-5', 'MQTT311-4.6.0-6', 'MQTT31-4.3-1')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_order_of_messages(peers, version, topic, qos):
    """Of one publisher, topic and quality of service: as published, also for
    a client that acknowledges late, so that some have to wait."""
    watcher, c = listen(peers, topic, qos), peers()
    n = 150
    c.send(b''.join(publish(topic, b'%03d' % i, qos, i + 1) for i in range(n)))
    if qos:
        c.want(*[(puback if qos == 1 else pubrec)(i + 1) for i in range(n)])
    time.sleep(0.1)
    for i in range(n):
        deliver_whole_late(watcher, topic, b'%03d' % i, qos)
    watcher.talk(b'')


def deliver_whole_late(c, topic, payload, qos):
    """As deliver_whole, where other messages may come between its packets."""
    if qos == 0:
        c.want(publish(topic, payload))
        return
    mid = take_publish(c, topic, payload, qos)
    c.send(puback(mid) if qos == 1 else pubrec(mid))
    if qos == 2:
        later, like = b'', len(publish(topic, payload, qos, 1))
        while (first := c.take(4)) != pubrel(mid):
            later += first + c.take(like - 4)
        c.pending = later + c.pending
        c.send(pubcomp(mid))


@BOTH
@clause('MQTT311-4.5.0-1', 'MQTT311-3.3.2-3')
def test_everyone_gets_it(peers, version, topic):
    """All sessions whose subscriptions match, there or not, and no other."""
    peers.forget('away')
    away = listen(peers, topic + '/#', 1, 'away', clean=False)
    away.leave()
    here = [listen(peers, f, 0, f'h{i}') for i, f in enumerate((topic, topic + '/#', topic + '/+'))]
    not_here = listen(peers, topic + '/other', 0, 'not')
    c = peers()
    for name, payload in ((topic, b'1'), (topic + '/other/deep', b'2')):
        c.talk(publish(name, payload, 1, 1), puback(1))
    here[0].want(publish(topic, b'1'))
    here[1].want(publish(topic, b'1'), publish(topic + '/other/deep', b'2'))
    for w in (*here, not_here):
        w.talk(b'')
    back = peers('away', clean=False, present=1 if version == 4 else 0)
    got = [take_publish(back, name, payload, 1)
           for name, payload in ((topic, b'1'), (topic + '/other/deep', b'2'))]
    back.talk(b''.join(map(puback, got)))
    back.leave()
    peers.forget('away')


@BOTH
@clause('MQTT311-3.3.5-2', 'MQTT31-3.3-4')
@pytest.mark.parametrize('name', ['$SYS/mine', '$SYS/broker/version'])
def test_unauthorized_publish(peers, version, name):
    """$SYS is the broker's: acknowledged as usual, and not passed on."""
    watcher = listen(peers, '$SYS/mine', 0)
    c = peers()
    c.talk(publish(name, b'x', 0))
    c.talk(publish(name, b'x', 1, 1), puback(1))
    c.talk(publish(name, b'x', 2, 2, retain=1), pubrec(2))
    c.talk(pubrel(2), pubcomp(2))
    watcher.talk(b'')
    late = peers('late')
    late.talk(subscribe(1, ('$SYS/mine', 0)), suback(1, 0))


@BOTH
@clause('MQTT311-4.8.0-2')
@pytest.mark.ours
def test_transient_error(brokers, version):
    """A message for which there is no room: it cannot be told in 3.1.1, so it
    is not acknowledged; its connection ends, others do not."""
    b = brokers('max_retained_messages 1\nsys_interval 0\n')
    with Exact(b.port, version) as other, Exact(b.port, version) as c:
        other.enter('other')
        c.enter('full')
        c.talk(publish('a', b'x', 1, 1, retain=1), puback(1))
        c.talk(publish('a', b'y', 1, 2, retain=1), puback(2))
        c.send(publish('b', b'x', 1, 3, retain=1) + PINGREQ)
        c.want_end()
        other.talk(publish('b', b'x', 1, 1), puback(1))


@BOTH
@clause('MQTT311-3.3.2-2', 'MQTT311-4.7.1-1', 'MQTT31-3.3-3', 'MQTT311-4.7.3-1')
@pytest.mark.parametrize('name', ['#', '+', 'a/#', 'a/+/b', 'a+', 'a#b', '/+', '', b'a\xc3\xbc/+'])
def test_topic_names_without_wildcards(peers, version, topic, name):
    watcher = listen(peers, '#', 0)
    c = peers()
    c.send(publish(name, b'bad') + PINGREQ)
    c.want_end()
    watcher.talk(publish(topic, b'end'), publish(topic, b'end'))


@BOTH
@clause('MQTT311-3.3.2-1', 'MQTT311-4.7.3-3')
@pytest.mark.parametrize('size', [1, 65535])
def test_sizes_of_topic_names(peers, version, topic, size):
    name = (topic + 'x' * size)[-size:]
    watcher = listen(peers, name, 0)
    watcher.talk(publish(name, b'x'), publish(name, b'x'))


@BOTH
@clause('MQTT311-2.3.1-4', 'MQTT311-4.3.2-1')
def test_unknown_acknowledgements(peers, version, topic):
    """PUBACK, PUBREC and PUBCOMP of nothing do no harm to what is in flight."""
    watcher, c = listen(peers, topic, 1), peers()
    c.talk(publish(topic, b'x', 1, 1), puback(1))
    mid = take_publish(watcher, topic, b'x', 1)
    watcher.talk(puback(mid + 1) + pubcomp(mid + 1))
    c.talk(publish(topic, b'y', 1, 1), puback(1))
    other = take_publish(watcher, topic, b'y', 1)
    assert other != mid
    watcher.talk(puback(mid) + puback(other))


@BOTH
@clause('MQTT311-3.10.4-3')
@pytest.mark.parametrize('qos', [1, 2])
def test_unsubscribe_leaves_what_was_begun(peers, version, topic, qos):
    """The delivery goes on to its end, across connections too."""
    peers.forget('watcher')
    watcher, c = listen(peers, topic, qos, clean=False), peers()
    c.send(publish(topic, b'x', qos, 1))
    c.want((puback if qos == 1 else pubrec)(1))
    mid = take_publish(watcher, topic, b'x', qos)
    watcher.talk(unsubscribe(2, topic), unsuback(2))
    watcher.close()
    watcher = peers('watcher', clean=False, present=1 if version == 4 else 0)
    watcher.talk(b'', publish(topic, b'x', qos, mid, dup=1))
    if qos == 1:
        watcher.talk(puback(mid))
    else:
        watcher.talk(pubrec(mid), pubrel(mid))
        watcher.talk(pubcomp(mid))
    watcher.leave()
    peers.forget('watcher')


@BOTH
@clause('MQTT311-3.3.4-1')
def test_five_to_three(peers, version, topic):
    """What a 5.0 client publishes, with every property there is, with a topic
    alias, and its will: to older clients it is theirs, to the byte."""
    watcher = listen(peers, topic, 1)
    props = {'payload_format': 1, 'message_expiry': 60, 'content_type': 'text/plain',
             'response_topic': 'r', 'correlation_data': b'c', 'user_property': [('a', 'b')] * 3}
    with Raw(peers.port) as five:
        five.connect(peers.id('five'), will=(topic, b'will', 1, False, {'content_type': 'x'}))
        five.publish_acked(topic, b'x', 1, props=props)
        five.publish_acked(topic, b'y', 1, props={'topic_alias': 1})
        five.publish_acked('', b'z', 1, props={'topic_alias': 1})
        watcher.talk(b''.join([puback(take_publish(watcher, topic, p, 1)) for p in (b'x', b'y', b'z')]))
    watcher.talk(puback(take_publish(watcher, topic, b'will', 1)))


@clause('MQTT31-2.1-1')
@pytest.mark.parametrize('version', [pytest.param(3, id='3.1')])
def test_dup_of_other_packets(peers, version, topic):
    """3.1 sets it in what is sent again; 3.1.1 made it reserved."""
    c = peers()
    c.talk(subscribe(1, (topic, 0), flags=0xa), suback(1, 0))
    c.talk(subscribe(1, (topic, 0), flags=0xa), suback(1, 0))
    c.talk(publish(topic + '/u', b'x', 2, 2), pubrec(2))
    c.talk(pubrel(2, dup=1), pubcomp(2))
    c.talk(unsubscribe(3, topic, flags=0xa), unsuback(3))
    for bad in (packet(8, 0x4, b'\x00\x01' + string('a') + b'\x00'), packet(6, 0x0, b'\x00\x01')):
        c = peers('bad')
        c.send(bad + PINGREQ)
        c.want_end()
