# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 3.3: PUBLISH."""
import time

import pytest

from clauses import clause
from harness import REFERENCE, paced
from kit import (MALFORMED, NO_PROPS, PROTOCOL_ERROR, Peer, ack, connected, ended, gone, mid_bytes,
                 props_of, publish, refused, subscribe)
from raw import (DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, packet,
                 properties, string)

pytestmark = pytest.mark.usefixtures('unharmed')

NO_LOCAL, RAP = 0x04, 0x08


def pair(broker, topic, qos=0, options=0, **kw):
    """A subscriber and a publisher."""
    sub = connected(broker, 'sub', **kw)
    sub.subscribe((topic, qos | options))
    return sub, connected(broker, 'pub')


# 3.3.1.1: DUP.

@clause('MQTT-3.3.1-1')
@pytest.mark.parametrize('qos', [1, 2])
def test_dup_when_sent_again(broker, topic, qos):
    """0 the first time, 1 after the connection broke, with the same
    identifier and the same bytes otherwise."""
    with connected(broker, 'dup', props={'session_expiry': 60}) as c:
        c.subscribe((topic, qos))
        c.publish_acked(topic, b'again', qos, props={'content_type': 'x'})
        first = c.expect(PUBLISH)
        assert first.flags == qos << 1
    for _ in range(2):
        with connected(broker, 'dup', clean=False, props={'session_expiry': 60}) as c:
            again = c.expect(PUBLISH)
            assert (again.flags, again.body) == (0x08 | qos << 1, first.body)
    with connected(broker, 'dup', clean=False) as c:
        m = c.message()
        assert m.dup and m.mid == first.mid
        c.disconnect()


@clause('MQTT-3.3.1-2', 'MQTT-4.3.1-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('flags', [0x08, 0x09])
def test_dup_at_qos_0(broker, flags):
    with connected(broker, 'dup0') as c:
        c.send(publish(flags=flags))
        refused(c, MALFORMED, PROTOCOL_ERROR)


@clause('MQTT-3.3.1-3', 'MQTT-3.3.1-2', 'MQTT-4.3.1-1', 'MQTT-4.3.2-2', 'MQTT-4.3.3-2')
@pytest.mark.parametrize('granted', [0, 1, 2])
@pytest.mark.parametrize('sent', [1, 2])
def test_dup_is_not_passed_on(broker, topic, sent, granted):
    sub, pub = pair(broker, topic, granted)
    with sub, pub:
        pub.publish_acked(topic, 'x', sent, dup=True)
        m = sub.message()
        assert m.flags == min(sent, granted) << 1
        pub.publish(topic, 'y')
        assert sub.message().flags == 0


# 3.3.1.2: QoS.

@clause('MQTT-3.3.1-4', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('flags', [0x06, 0x07, 0x0e, 0x0f])
def test_qos_3(broker, unharmed, topic, flags):
    unharmed.c.subscribe((topic, 2))
    with connected(broker, 'qos3') as c:
        c.send(packet(PUBLISH, flags, string(topic) + mid_bytes(1) + NO_PROPS + b'x'))
        refused(c, MALFORMED)
    unharmed.check()
    unharmed.c.unsubscribe(topic)


@clause('MQTT-3.3.4-1', 'MQTT-4.3.2-4', 'MQTT-4.3.3-8')
@pytest.mark.parametrize('qos, kind', [(0, None), (1, PUBACK), (2, PUBREC)])
def test_answer_by_qos(broker, topic, qos, kind):
    """None, PUBACK, PUBREC, with the identifier, whether somebody listens or
    not (0x10, no matching subscribers, is a success)."""
    with connected(broker, 'answers') as c:
        for listens in (False, True):
            if listens:
                c.subscribe(topic + '/other', topic)
            c.send(publish(topic, b'x', qos, mid=7) + packet(PINGREQ, 0, b''))
            got = [c.recv()]
            while got[-1].kind != PINGRESP:
                got.append(c.recv())
            answers = [p for p in got if p.kind not in (PUBLISH, PINGRESP)]
            if kind is None:
                assert answers == []
            else:
                p, = answers
                assert p.kind == kind and p.mid == 7 and p.code in ((0,) if listens else (0, 0x10))
            if qos == 2:
                c.ack(PUBREL, 7)
                assert c.wait_for(PUBCOMP).mid == 7
            if listens and not [p for p in got if p.kind == PUBLISH]:
                c.expect(PUBLISH)


# 3.3.1.3: RETAIN.

def retained(broker, *filters, options=2, least=0):
    """What a newcomer is given: {topic: (payload, qos)}, at least so many; each
    with RETAIN."""
    with connected(broker, 'newcomer') as c:
        c.send(subscribe(*[(f, options) for f in filters]) + packet(PINGREQ, 0, b''))
        c.expect(SUBACK)
        got = {}
        c.send(b'')
        while True:
            p = c.recv()
            if p.kind == 13:
                break
            assert p.retain and not p.dup and p.topic not in got
            got[p.topic] = (p.payload, p.qos)
        while True:		# PINGRESP does not wait for them
            try:
                p = c.recv(0.08 if len(got) >= least else None)
            except TimeoutError:
                break
            assert p.kind == PUBLISH and p.retain and p.topic not in got
            got[p.topic] = (p.payload, p.qos)
        c.disconnect()
        return got


@clause('MQTT-3.3.1-5', 'MQTT-3.3.1-9')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_retained_is_replaced(broker, topic, qos):
    """The last one counts, with its QoS and its properties."""
    with connected(broker, 'keeps') as c:
        for i in range(3):
            c.publish_acked(topic, str(i), (qos + i + 1) % 3, retain=True)
            assert retained(broker, topic, least=1) == {topic: (str(i).encode(), (qos + i + 1) % 3)}
        props = {'content_type': 'a/b', 'user_property': [('x', '1'), ('x', '2')]}
        c.publish_acked(topic, 'last', qos, retain=True, props=props)
        c.subscribe((topic, 2))
        m = c.message()
        assert (m.payload, m.props, m.qos) == (b'last', props, qos)
        c.publish(topic, '', retain=True)


@clause('MQTT-3.3.1-6', 'MQTT-3.3.1-7')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_empty_payload_removes(broker, topic, qos):
    """It is delivered like any other, removes what was retained, and is not
    kept itself."""
    sub, pub = pair(broker, topic, qos, RAP)
    with sub, pub:
        pub.publish_acked(topic, 'kept', 1, retain=True)
        pub.publish_acked(topic, '', qos, retain=True)
        got = [sub.message() for _ in range(2)]
        assert [(m.payload, m.retain) for m in got] == [(b'kept', True), (b'', True)]
        assert got[1].qos == qos
    assert retained(broker, topic) == {}
    with connected(broker, 'pub') as pub:		# where there was none
        pub.publish_acked(topic, '', qos, retain=True)
    assert retained(broker, topic) == {}


@clause('MQTT-3.3.1-8')
def test_not_retained(broker, topic):
    """RETAIN 0 keeps nothing, replaces nothing, removes nothing."""
    with connected(broker, 'pub') as c:
        c.publish_acked(topic, 'x', 1)
        assert retained(broker, topic) == {}
        c.publish_acked(topic, 'kept', 1, retain=True)
        c.publish_acked(topic, 'y', 1)
        c.publish_acked(topic, '', 1)
        assert retained(broker, topic, least=1) == {topic: (b'kept', 1)}
        c.publish_acked(topic, '', 1, retain=True)


@clause('MQTT-3.3.1-9', 'MQTT-3.3.1-10', 'MQTT-3.3.1-11', 'MQTT-3.8.4-4')
@pytest.mark.parametrize('handling, first, again', [(0, True, True), (1, True, False), (2, False, False)])
@pytest.mark.parametrize('other_options', [0, 1 | RAP])
def test_retain_handling(broker, topic, handling, first, again, other_options):
    """At a new subscription, at one that is there, and after it was away."""
    options = handling << 4 | other_options
    with connected(broker, 'pub') as p, connected(broker, 'handling', props={'session_expiry': 30}) as c:
        p.publish_acked(topic + '/a', 'A', 1, retain=True)
        p.publish_acked(topic + '/b', 'B', 1, retain=True)

        def subscribe_and_see(wanted):
            c.subscribe((topic + '/+', options))
            got = c.gather(2 if wanted else 0, 0.08)
            assert all(m.retain for m in got)
            assert sorted(m.payload for m in got) == ([b'A', b'B'] if wanted else [])

        for wanted in (first, again, again):
            subscribe_and_see(wanted)
        c.unsubscribe(topic + '/+')
        subscribe_and_see(first)
        c.disconnect(props={'session_expiry': 0})
        for name in 'ab':
            p.publish_acked(f'{topic}/{name}', '', 1, retain=True)


@clause('MQTT-3.3.1-12', 'MQTT-3.3.1-13')
@pytest.mark.parametrize('qos', [0, 1, 2])
@pytest.mark.parametrize('rap', [0, RAP])
def test_retain_as_published(broker, topic, rap, qos):
    sub, pub = pair(broker, topic, qos, rap)
    with sub, pub:
        for retain in (True, False, True):
            pub.publish_acked(topic, 'x', qos, retain=retain)
            assert sub.message().retain == (retain and bool(rap))
        pub.publish_acked(topic, '', 1, retain=True)


@clause('MQTT-3.3.1-9', 'MQTT-3.3.1-12')
@pytest.mark.parametrize('rap', [0, RAP])
def test_retained_has_the_flag_at_a_new_subscription(broker, topic, rap):
    """Whatever Retain As Published says."""
    with connected(broker, 'pub') as p:
        p.publish_acked(topic, 'x', 1, retain=True)
        p.subscribe((topic, rap))
        assert p.message().retain
        p.publish_acked(topic, '', 1, retain=True)


# 3.3.2.1: the topic.

@clause('MQTT-3.3.2-1', 'MQTT-4.7.3-1', 'MQTT-4.13.1-1')
def test_topic_of_no_length(broker):
    """No alias, no name."""
    with connected(broker, 'empty') as c:
        c.send(publish(''))
        refused(c, PROTOCOL_ERROR, MALFORMED, 0x90)


@clause('MQTT-3.3.2-2', 'MQTT-4.7.0-1', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('name', ['#', '+', 'a/#', 'a/+', '+/a', 'a/+/b', 'a#', 'a+b', '/+', 'long/' * 9 + '+'])
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_wildcards_in_a_topic_name(broker, unharmed, name, qos):
    unharmed.c.subscribe(('#', 2))
    with connected(broker, 'wild') as c:
        c.send(publish(name, b'x', qos))
        refused(c, 0x90, MALFORMED)
    unharmed.c.unsubscribe('#')
    unharmed.c.ping()
    assert not [p for p in unharmed.c.later if p.topic != 'witness' and not p.retain]
    del unharmed.c.later[:]


@clause('MQTT-3.3.2-1', 'MQTT-4.7.3-3')
def test_topic_is_the_first_field(broker, topic):
    """In the packet of the broker as well: name, identifier, properties."""
    sub, pub = pair(broker, topic, 1)
    with sub, pub:
        pub.publish_acked(topic, 'x', 1, props={'content_type': 'c'})
        m = sub.expect(PUBLISH)
        assert m.body == string(topic) + mid_bytes(m.mid) + props_of(content_type='c') + b'x'


# 3.3.2.3: properties.

WHOLE = {'payload_format': 1, 'content_type': 'text/plain', 'response_topic': 'answer/here',
         'correlation_data': b'\x00\x01\xff' * 5,
         'user_property': [('b', '2'), ('a', '1'), ('b', '2'), ('', ''), ('b', '1'), ('é', '€')]}


@clause('MQTT-3.3.2-4', 'MQTT-3.3.2-15', 'MQTT-3.3.2-16', 'MQTT-3.3.2-17', 'MQTT-3.3.2-18',
        'MQTT-3.3.2-20', 'MQTT-3.3.2-13', 'MQTT-3.3.2-19')
@pytest.mark.parametrize('how, qos', [('live', 0), ('live', 1), ('live', 2), ('retained', 0),
                                      ('retained', 1), ('retained', 2), ('queued', 1), ('queued', 2)])
def test_properties_unaltered(broker, topic, how, qos):
    """Live, retained and queued; to all subscribers; none added."""
    with connected(broker, 'pub') as p, connected(broker, 'q', props={'session_expiry': 60}) as q, \
            connected(broker, 'r') as r:
        q.subscribe((topic, max(qos, 1)))
        if how == 'queued':
            q.close()
        if how == 'live':
            r.subscribe((topic, 2))
        p.publish_acked(topic, 'é', qos, retain=how == 'retained', props=WHOLE)
        if how == 'retained':
            r.subscribe((topic, 2))
        if how != 'queued':
            assert r.message().props == WHOLE
        if how == 'queued':
            with connected(broker, 'q', clean=False) as again:
                assert again.message().props == WHOLE
                again.disconnect()
        else:
            assert q.message().props == WHOLE
            q.disconnect(props={'session_expiry': 0})
        p.publish_acked(topic, '', 1, retain=True)


@clause('MQTT-3.3.2-4')
@pytest.mark.parametrize('props', [{}, {'payload_format': 0}, {'payload_format': 1}])
def test_payload_format(broker, topic, props):
    """Not there, 0 and 1 are three things, and stay such."""
    sub, pub = pair(broker, topic, 1)
    with sub, pub:
        pub.publish_acked(topic, 'x', 1, props=props)
        assert sub.message().props == props


@clause('MQTT-3.3.2-5', 'MQTT-3.3.2-6')
@paced
def test_message_expiry(broker, topic, pace):
    """What waited too long is deleted, for each subscriber for itself; what
    is left of the interval goes along."""
    with connected(broker, 'pub') as p, connected(broker, 'slow', props={'session_expiry': 60}) as c, \
            connected(broker, 'live') as live:
        c.subscribe((topic, 1))
        live.subscribe((topic, 1))
        c.vanish()
        began = time.monotonic()
        p.publish_acked(topic, 'short', 1, props={'message_expiry': pace})
        p.publish_acked(topic, 'long', 1, props={'message_expiry': 100}, retain=True)
        p.publish_acked(topic + '/r', 'kept short', 1, props={'message_expiry': pace}, retain=True)
        p.publish_acked(topic, 'ever', 1)
        got = [live.message() for _ in range(3)]
        assert [(m.payload, m.props.get('message_expiry')) for m in got] == \
            [(b'short', pace), (b'long', 100), (b'ever', None)]
        time.sleep(pace + 0.2)
        with connected(broker, 'slow', clean=False) as again:
            got = [again.message() for _ in range(2)]
            assert [m.payload for m in got] == [b'long', b'ever']
            assert 99 - (time.monotonic() - began) <= got[0].props['message_expiry'] <= 99
            assert 'message_expiry' not in got[1].props
            again.silent(0.05)
            again.disconnect()
        live.subscribe((topic + '/#', 1))
        m = live.message()
        assert (m.payload, m.retain) == (b'long', True)
        assert 99 - (time.monotonic() - began) <= m.props['message_expiry'] <= 99
        live.silent(0.08)
        p.publish_acked(topic, '', 1, retain=True)


# 3.3.2.3.4: topic aliases.

@clause('MQTT-3.3.2-7', 'MQTT-3.3.2-8', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('name', ['', 'topic'])
def test_topic_alias_0(broker, name):
    with connected(broker, 'alias0') as c:
        c.send(publish(name, b'x', props=props_of(topic_alias=0)))
        refused(c, 0x94)


@clause('MQTT-3.3.2-9', 'MQTT-3.2.2-17', 'MQTT-4.13.1-1')
def test_topic_alias_above_the_maximum(broker, unharmed, topic):
    unharmed.c.subscribe(topic)
    for above in (1, 2, 65535):
        with connected(broker, 'above') as c:
            limit = c.all[0].props['topic_alias_maximum']
            c.send(publish(topic, b'x', props=props_of(topic_alias=min(limit + above, 65535))))
            refused(c, 0x94)
    unharmed.check()
    unharmed.c.unsubscribe(topic)


@clause('MQTT-3.3.2-12')
@pytest.mark.parametrize('qos', [0, 1, 2])
def test_topic_alias_changes(broker, topic, qos):
    """What it stands for can be replaced within a connection."""
    with connected(broker, 'changes') as c:
        c.subscribe((topic + '/#', qos))
        for name in 'abca':
            c.publish_acked(f'{topic}/{name}', name, qos, props={'topic_alias': 1})
            c.publish_acked('', name + name, qos, props={'topic_alias': 1})
            got = c.messages(2)
            assert got == [(f'{topic}/{name}', name.encode()), (f'{topic}/{name}', (name * 2).encode())]


@clause('MQTT-3.3.2-10', 'MQTT-3.3.2-7')
def test_topic_alias_ends_with_the_connection(broker, topic):
    """A session does not keep it; and two connections have each their own."""
    with connected(broker, 'one', props={'session_expiry': 30}) as a, connected(broker, 'two') as b:
        a.subscribe(topic + '/#')
        a.publish(topic + '/1', '1', props={'topic_alias': 1})
        b.publish(topic + '/2', '2', props={'topic_alias': 1})
        a.publish('', '3', props={'topic_alias': 1})
        assert sorted(a.messages(3)) == [(topic + '/1', b'1'), (topic + '/1', b'3'), (topic + '/2', b'2')]
    with connected(broker, 'one', clean=False) as a:
        a.send(publish('', b'x', props=props_of(topic_alias=1)))
        refused(a, PROTOCOL_ERROR, 0x94)


@clause('MQTT-3.3.2-10', 'MQTT-3.1.2-27')
def test_topic_alias_to_the_client_ends_with_the_connection(broker, topic):
    """The broker begins anew as well: a name comes before its alias alone."""
    for _ in range(2):
        with connected(broker, 'anew', clean=False,
                       props={'session_expiry': 30, 'topic_alias_maximum': 5}) as c:
            c.subscribe(topic)
            c.publish(topic, 'x')
            assert c.message().topic == topic
    gone(broker, 'anew')


# 3.3.4: actions.

@clause('MQTT-3.3.2-3')
def test_topic_matches_the_filter(broker, topic):
    """Through wildcards the name is the publisher's."""
    with connected(broker, 'match') as c:
        c.subscribe(topic + '/+/x', topic + '/b/#')
        for name, comes in (('a/x', 1), ('b', 1), ('b/c/d', 1), ('a/y', 0), ('a/x/y', 0), ('', 0), ('/x', 1)):
            c.publish(f'{topic}/{name}', name)
            if comes:
                m = c.message()
                assert (m.topic, m.payload) == (f'{topic}/{name}', name.encode())
        c.silent(0.05)


OVERLAPS = [
    # (filter, QoS, identifier)..., and what the maximum of QoS 2 comes to
    ([('', 0, 1), ('/#', 2, 2), ('#', 1, 3)], 2, {1, 2, 3}),
    ([('', 1, None), ('/#', 0, 5)], 1, {5}),
    ([('', 0, None), ('/#', 0, None)], 0, set()),
    ([('', 2, 7), ('/#', 2, 7)], 2, {7}),
]


@clause('MQTT-3.3.4-2', 'MQTT-3.3.4-3', 'MQTT-3.3.4-4', 'MQTT-3.3.4-5')
@pytest.mark.parametrize('subs, qos, idents', OVERLAPS)
def test_overlapping_subscriptions(broker, topic, subs, qos, idents):
    """In one copy: the highest QoS, all identifiers.  In several copies, which
    a server may send: each its own identifier and at most its QoS."""
    with connected(broker, 'overlap') as c:
        names = {'': topic, '/#': topic + '/#', '#': topic.rsplit('/', 1)[0] + '/#'}
        for name, q, ident in subs:
            c.subscribe((names[name], q), props={'subscription_id': ident} if ident else None)
        c.publish_acked(topic, 'x', 2)
        got = c.gather(1, 0.1)
        while {i for m in got for i in m.props.get('subscription_id', [])} < idents:
            got += c.gather(1, 0.1)
        assert max(m.qos for m in got) == qos
        seen = [i for m in got for i in m.props.get('subscription_id', [])]
        assert set(seen) == idents
        if len(got) == 1:
            assert sorted(seen) == sorted(i for _, _, i in subs if i) or len(set(seen)) == len(seen)
        else:
            assert len(got) == len(subs)
        if not REFERENCE:
            assert len(got) == 1


@clause('MQTT-3.3.4-3', 'MQTT-3.3.4-4')
def test_identifiers_of_matching_subscriptions_only(broker, topic):
    with connected(broker, 'idents') as c:
        c.subscribe(topic, props={'subscription_id': 268435455})
        c.subscribe(topic + '/x', props={'subscription_id': 2})
        c.publish(topic, 'x')
        assert c.message().props == {'subscription_id': [268435455]}
        c.subscribe(topic)		# replaced: without one
        c.publish(topic, 'y')
        assert c.message().props == {}


@clause('MQTT-3.3.4-6', 'MQTT-4.13.1-1')
@pytest.mark.parametrize('props', [b'\x02\x0b\x01', b'\x04\x0b\x01\x0b\x02', b'\x02\x0b\x00'])
def test_identifier_from_a_client(broker, unharmed, topic, props):
    unharmed.c.subscribe(topic)
    with connected(broker, 'sends') as c:
        c.send(publish(topic, b'x', props=props))
        refused(c, PROTOCOL_ERROR)
    unharmed.check()
    unharmed.c.unsubscribe(topic)


@clause('MQTT-3.3.4-7', 'MQTT-4.9.0-1', 'MQTT-4.9.0-2', 'MQTT-4.9.0-3')
@pytest.mark.parametrize('window', [1, 2, 5])
@pytest.mark.parametrize('qos', [1, 2])
def test_receive_maximum_of_the_client(broker, topic, qos, window):
    """So many without an acknowledgement and no more; QoS 0 and everything
    else goes on; each PUBACK, PUBCOMP or refusing PUBREC lets one more out."""
    with connected(broker, 'window', props={'receive_maximum': window}) as c, \
            connected(broker, 'pub') as p:
        c.subscribe((topic, qos), (topic + '/0', 0))
        for i in range(window + 4):
            p.publish_acked(topic, str(i), qos)
        got = [c.expect(PUBLISH) for _ in range(window)]
        c.silent(0.1)
        p.publish(topic + '/0', 'zero')
        assert c.expect(PUBLISH).payload == b'zero'
        c.ping()
        assert c.subscribe(topic + '/other') == [0]
        if qos == 1:
            c.ack(PUBACK, got[0].mid)
            assert c.expect(PUBLISH).payload == str(window).encode()
            c.ack(PUBACK, got[0].mid if window > 1 else 60000, 0x80)	# of nothing: no room
        else:
            c.ack(PUBREC, got[0].mid)
            assert c.expect(PUBREL).mid == got[0].mid
            c.silent(0.05)		# PUBREC alone is not enough
            c.ack(PUBCOMP, got[0].mid)
            assert c.expect(PUBLISH).payload == str(window).encode()
            if window > 1:
                c.ack(PUBREC, got[1].mid, 0x97)	# but one that refuses is
                assert c.expect(PUBLISH).payload == str(window + 1).encode()
        c.silent(0.05)


@clause('MQTT-3.3.4-9', 'MQTT-3.3.4-10', 'MQTT-4.9.0-3')
def test_nothing_else_waits_for_the_window(broker, topic):
    """The standard's own 3.3.4-10: with no place left in the window, all
    packets but PUBLISH are answered at once."""
    with connected(broker, 'full', props={'receive_maximum': 1}) as c:
        c.subscribe((topic, 2))
        c.publish_acked(topic, '1', 1)
        c.publish_acked(topic, '2', 1)
        m = c.expect(PUBLISH)
        c.ping()
        assert c.subscribe(topic + '/a') == [0]
        assert c.unsubscribe(topic + '/a') == [0]
        assert c.publish_acked(topic + '/b', 'x', 1) == 0x10
        assert c.publish_acked(topic + '/b', 'x', 2) in (0, 0x10)
        c.ack(PUBACK, m.mid)
        assert c.message().payload == b'2'


@clause('MQTT-3.3.4-10')
def test_maximum_qos_in_connect(broker):
    """A client has no such property in its CONNECT: it is malformed.  What
    limits the QoS of what is sent to it is the subscription."""
    from kit import connect_bytes, connect_refused	# pylint: disable=import-outside-toplevel
    with Peer(broker.port) as c:
        c.send(connect_bytes(props=props_of(maximum_qos=0)))
        connect_refused(c, MALFORMED, PROTOCOL_ERROR)


@clause('MQTT-3.3.4-8', 'MQTT-4.13.1-1')
def test_receive_maximum_of_the_broker(broker, unharmed, topic):
    """As many as it said are taken; one more is 0x93.  Those with PUBCOMP do
    not count."""
    with connected(broker, 'floods') as c:
        limit = c.all[0].props['receive_maximum']
        for mid in range(1, limit + 1):
            c.send(publish(topic, b'x', 2, mid=mid))
            assert c.expect(PUBREC).code in (0, 0x10)
        c.ack(PUBREL, 1)
        c.expect(PUBCOMP)
        c.send(publish(topic, b'x', 2, mid=limit + 1))
        assert c.expect(PUBREC).mid == limit + 1
        assert c.publish_acked(topic, 'QoS 1 is answered at once', 1, mid=1000) in (0, 0x10)
        c.send(publish(topic, b'one more', 2, mid=limit + 2))
        refused(c, 0x93)
