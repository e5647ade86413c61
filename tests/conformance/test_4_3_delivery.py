# SPDX-License-Identifier: Apache-2.0
"""MQTT 5.0, 4.1 to 4.6: session state, the flows of each QoS, what is sent
again, order."""
import time

import pytest

from clauses import clause
from harness import paced
from kit import NO_PROPS, Peer, ack, connected, ended, gone, mid_bytes, props_of, publish, subscribe
from raw import (PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Closed, packet, string)

pytestmark = pytest.mark.usefixtures('unharmed')

KEEP = {'session_expiry': 60}


def back(broker, client_id, **kw):
    """The client, with its session."""
    c = connected(broker, client_id, clean=False, props={**KEEP, **kw})
    assert c.all[0].body[0] == 1
    return c


# 4.1: session state.

@clause('MQTT-4.1.0-1', 'MQTT-3.1.2-23')
@pytest.mark.parametrize('expiry', [0, 1])
def test_state_is_kept_while_connected(broker, topic, expiry):
    """Longer than the interval: subscriptions and exchanges stay."""
    with connected(broker, 'holds', props={'session_expiry': expiry, 'receive_maximum': 2}) as c:
        c.subscribe((topic, 2))
        c.publish_acked(topic, 'x', 2)
        m = c.expect(PUBLISH)
        c.send(publish(topic + '/open', b'', 2, mid=77))
        assert c.wait_for(PUBREC).mid == 77
        c.ack(PUBREC, m.mid)
        c.wait_for(PUBREL)
        c.silent(1.2 if expiry else 0.1)
        c.send(publish(topic + '/open', b'', 2, flags=0x0c, mid=77))	# still the same message
        assert c.wait_for(PUBREC).mid == 77
        c.ack(PUBREL, 77)
        assert c.wait_for(PUBCOMP).code == 0
        c.ack(PUBCOMP, m.mid)
        c.publish_acked(topic, 'y', 2)
        assert c.message().payload == b'y'
        c.silent(0.05)


@clause('MQTT-4.1.0-2', 'MQTT-3.1.2-23')
@paced
def test_state_is_discarded_after_its_interval(broker, topic, pace):
    """One second: subscriptions, messages and exchanges are gone, and a message
    to it goes to nobody; an interval of a minute keeps them."""
    for name, expiry in (('short', pace), ('long', 60)):
        with connected(broker, name, props={'session_expiry': expiry}) as c:
            c.subscribe((f'{topic}/{name}', 1))
    with connected(broker, 'pub') as p:
        assert p.publish_acked(topic + '/short', 'in time', 1) == 0
        time.sleep(pace + 0.4)
        assert p.publish_acked(topic + '/short', 'too late', 1) == 0x10
        assert p.publish_acked(topic + '/long', 'in time', 1) == 0
    with connected(broker, 'short', clean=False) as c:
        assert c.all[0].body[0] == 0
        c.silent(0.05)
    with connected(broker, 'long', clean=False) as c:
        assert c.all[0].body[0] == 1 and c.message().payload == b'in time'
        c.disconnect()


# 4.3.1: QoS 0.

@clause('MQTT-4.3.1-1')
def test_qos_0(broker, topic):
    """Once, with DUP 0 and without an identifier, and nothing afterwards."""
    with connected(broker, 'qos0', props=KEEP) as c:
        c.subscribe((topic, 2))
        c.publish(topic, 'x')
        p = c.expect(PUBLISH)
        assert (p.flags, p.body) == (0, string(topic) + NO_PROPS + b'x')
        c.silent(0.05)
    with back(broker, 'qos0') as c:
        c.silent(0.05)
        c.disconnect(props={'session_expiry': 0})


# 4.3.2: QoS 1.

@clause('MQTT-4.3.2-1', 'MQTT-4.3.2-2')
def test_qos_1_as_a_sender(broker, topic):
    with connected(broker, 'qos1') as c:
        c.subscribe((topic, 1))
        mids = set()
        for _ in range(5):
            c.publish_acked(topic, 'x', 1)
            p = c.expect(PUBLISH)
            assert p.flags == 0x02 and p.mid
            mids.add(p.mid)
        assert len(mids) == 5		# none is acknowledged yet


@clause('MQTT-4.3.2-3', 'MQTT-4.4.0-1', 'MQTT-4.3.2-4')
def test_qos_1_until_puback(broker, topic):
    """Sent again after each break, until PUBACK; never after it."""
    with connected(broker, 'until', props=KEEP) as c:
        c.subscribe((topic, 1))
        c.publish_acked(topic, 'x', 1)
        mid = c.expect(PUBLISH).mid
    for _ in range(2):
        with back(broker, 'until') as c:
            p = c.expect(PUBLISH)
            assert (p.mid, p.dup, p.payload) == (mid, True, b'x')
    with back(broker, 'until') as c:
        assert c.expect(PUBLISH).mid == mid
        c.ack(PUBREC, mid)		# which belongs to QoS 2
        c.ack(PUBCOMP, mid)
        assert c.expect(PUBREL).code == 0x92
    with back(broker, 'until') as c:
        assert c.expect(PUBLISH).mid == mid
        c.ack(PUBACK, mid)
        c.ping()
    with back(broker, 'until') as c:
        c.silent(0.05)
        c.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.3.2-5', 'MQTT-4.3.2-4')
@pytest.mark.parametrize('dup', [0, 8])
def test_qos_1_identifier_again(broker, topic, dup):
    """After PUBACK it is another message, whatever DUP says."""
    with connected(broker, 'again') as c:
        c.subscribe(topic)
        for i in range(3):
            c.send(publish(topic, b'same', flags=2 | (dup if i else 0), qos=1, mid=42))
            assert c.wait_for(PUBACK).mid == 42
        assert [m[1] for m in c.messages(3)] == [b'same'] * 3
        c.silent(0.05)


# 4.3.3: QoS 2.

@clause('MQTT-4.3.3-1', 'MQTT-4.3.3-2', 'MQTT-4.3.3-4')
def test_qos_2_as_a_sender(broker, topic):
    with connected(broker, 'qos2') as c:
        c.subscribe((topic, 2))
        c.publish_acked(topic, 'x', 2)
        p = c.expect(PUBLISH)
        assert p.flags == 0x04 and p.mid
        rel = c.answer_to(ack(PUBREC, p.mid))
        assert (rel.kind, rel.flags, rel.body) == (PUBREL, 2, mid_bytes(p.mid))
        c.ack(PUBCOMP, p.mid)
        c.silent(0.05)


@clause('MQTT-4.3.3-3', 'MQTT-4.3.3-5', 'MQTT-4.3.3-6', 'MQTT-4.4.0-1')
def test_qos_2_broken_at_each_step(broker, topic):
    """Until PUBREC the PUBLISH is sent again; from then on the PUBREL, and
    never the PUBLISH; after PUBCOMP nothing."""
    with connected(broker, 'steps', props=KEEP) as c:
        c.subscribe((topic, 2))
        c.publish_acked(topic, 'x', 2)
        mid = c.expect(PUBLISH).mid
    for _ in range(2):
        with back(broker, 'steps') as c:
            p = c.expect(PUBLISH)
            assert (p.mid, p.flags) == (mid, 0x0c)
            c.silent(0.03)
    with back(broker, 'steps') as c:
        c.expect(PUBLISH)
        assert c.answer_to(ack(PUBREC, mid)).kind == PUBREL
    for _ in range(2):
        with back(broker, 'steps') as c:
            p = c.recv()
            assert (p.kind, p.flags, p.body) == (PUBREL, 2, mid_bytes(mid))
            c.silent(0.03)
    with back(broker, 'steps') as c:
        assert c.recv().kind == PUBREL
        c.ack(PUBCOMP, mid)
        c.ping()
    with back(broker, 'steps') as c:
        c.silent(0.05)
        c.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.3.3-7', 'MQTT-4.3.3-13')
@paced
def test_qos_2_and_expiry(broker, topic, pace):
    """What was sent does not expire: it is sent again, and its exchange
    goes on; what was not sent does."""
    with connected(broker, 'late', props={**KEEP, 'receive_maximum': 1}) as c, connected(broker, 'pub') as p:
        c.subscribe((topic, 2))
        p.publish_acked(topic, 'sent', 2, props={'message_expiry': pace})
        p.publish_acked(topic, 'waits', 2, props={'message_expiry': pace})
        first = c.expect(PUBLISH)
        p.send(publish(topic + '/p', b'', 2, mid=500, props=props_of(message_expiry=pace)))
        assert p.expect(PUBREC).mid == 500
        c.close()
        time.sleep(pace + 0.3)
        p.ack(PUBREL, 500)		# the broker as a receiver goes on as well
        pc = p.expect(PUBCOMP)
        assert (pc.mid, pc.code) == (500, 0)
        with back(broker, 'late', receive_maximum=1) as c:
            m = c.expect(PUBLISH)
            assert (m.payload, m.mid, m.dup) == (b'sent', first.mid, True)
            assert c.answer_to(ack(PUBREC, m.mid)).code == 0
            c.ack(PUBCOMP, m.mid)
            c.silent(0.05)		# the other one has expired
            c.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.3.3-10', 'MQTT-4.3.3-8')
@pytest.mark.parametrize('broken', [False, True])
def test_qos_2_exactly_once(broker, topic, broken):
    """Until PUBREL the identifier is the same message, in this connection and
    in the next: acknowledged again, delivered once."""
    with connected(broker, 'sub') as s, connected(broker, 'once', props=KEEP) as c:
        s.subscribe((topic, 2))
        for i in range(3):
            c.send(publish(topic, b'x', 2, flags=0x0c if i else 0x04, mid=9))
            r = c.expect(PUBREC)
            assert r.mid == 9 and r.code in (0, 0x91)
            if broken:
                c.close()
                c = back(broker, 'once')
        for i in range(2):
            c.ack(PUBREL, 9)
            p = c.expect(PUBCOMP)
            assert (p.mid, p.code) == (9, 0x92 if i else 0)
        assert s.message().payload == b'x'
        s.silent(0.05)
        c.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.3.3-12', 'MQTT-4.3.3-11')
@pytest.mark.parametrize('flags', [0x04, 0x0c])
def test_qos_2_identifier_again(broker, topic, flags):
    """After PUBCOMP it is another message, whatever DUP says."""
    with connected(broker, 'again') as c:
        c.subscribe(topic)
        for _ in range(3):
            c.send(publish(topic, b'same', 2, flags=flags, mid=42))
            assert c.wait_for(PUBREC).mid == 42
            c.ack(PUBREL, 42)
            assert c.wait_for(PUBCOMP).body == mid_bytes(42)
        assert [m[1] for m in c.messages(3)] == [b'same'] * 3
        c.silent(0.05)


@clause('MQTT-4.3.3-9')
@pytest.mark.ours
def test_qos_2_identifier_after_a_refusal(brokers, topic):
    """After a PUBREC of 0x80 or above it is another message."""
    b = brokers('message_size_limit 5\n')
    with connected(b, 'refused') as c:
        c.subscribe(topic)
        for payload, code in ((b'too large', 0x97), (b'fits', 0), (b'no more', None)):
            c.send(publish(topic, payload, 2, mid=3))
            assert c.wait_for(PUBREC).code == (code or 0)
        assert c.message().payload == b'fits'	# the third was the second again
        c.silent(0.05)


# 4.4: what is sent again, and when.

@clause('MQTT-4.4.0-1', 'MQTT-4.3.2-3')
def test_not_sent_again_at_any_other_time(broker, topic):
    """Not after a while, nor on a PING, a SUBSCRIBE or other messages: only on
    a new connection with Clean Start 0."""
    with connected(broker, 'patient', props=KEEP) as c:
        c.subscribe((topic, 2))
        c.publish_acked(topic, '1', 1)
        c.publish_acked(topic, '2', 2)
        c.publish_acked(topic, '3', 2)
        got = [c.expect(PUBLISH) for _ in range(3)]
        c.ack(PUBREC, got[2].mid)
        c.expect(PUBREL)
        c.silent(1)
        c.ping()
        c.subscribe(topic + '/x')
        c.publish_acked(topic + '/x', 'x', 0)
        assert c.message().payload == b'x'
        c.silent(0.1)
    with connected(broker, 'patient') as c:
        assert c.all[0].body[0] == 0
        c.silent(0.1)


@clause('MQTT-4.4.0-1', 'MQTT-4.6.0-1', 'MQTT-4.6.0-5')
def test_sent_again_in_order(broker, topic):
    """All that is open, in the order in which it was sent first, with the same
    identifiers, before anything new."""
    n = 12
    with connected(broker, 'order', props=KEEP) as c, connected(broker, 'pub') as p:
        c.subscribe((topic, 2))
        for i in range(n):
            p.publish_acked(topic, str(i), 1 + i % 2)
        got = [c.expect(PUBLISH) for _ in range(n)]
        done = {3, 6, 11}		# finished in between
        for i in done:
            c.ack(PUBACK if got[i].qos == 1 else PUBREC, got[i].mid, 0 if got[i].qos == 1 else 0x80)
        c.ack(PUBREC, got[5].mid)
        c.expect(PUBREL)
        c.vanish()
        p.publish_acked(topic, 'new', 1)
        with back(broker, 'order') as c:
            want = [i for i in range(n) if i not in done]
            again = [c.recv() for _ in want]
            assert [(a.kind, a.mid) for a in again] == \
                [(PUBREL if i == 5 else PUBLISH, got[i].mid) for i in want]
            assert all(a.dup and a.payload == str(i).encode()
                       for a, i in zip(again, want) if a.kind == PUBLISH)
            m = c.expect(PUBLISH)
            assert (m.payload, m.dup) == (b'new', False)
            c.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.4.0-2')
@pytest.mark.parametrize('qos, kind', [(1, PUBACK), (2, PUBREC)])
@pytest.mark.parametrize('code', [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
def test_refused_is_acknowledged(broker, topic, qos, kind, code):
    """Not sent again, no PUBREL; its place in the window is free."""
    with connected(broker, 'refuses', props={**KEEP, 'receive_maximum': 1}) as c:
        c.subscribe((topic, qos))
        c.publish_acked(topic, 'no', qos)
        c.publish_acked(topic, 'yes', qos)
        c.ack(kind, c.expect(PUBLISH).mid, code)
        m = c.expect(PUBLISH)
        assert m.payload == b'yes'
        c.ack(kind, m.mid, code)
        c.ping()
    with back(broker, 'refuses') as c:
        c.silent(0.03)
        c.disconnect(props={'session_expiry': 0})


# 4.5: receipt.

@clause('MQTT-4.5.0-1')
def test_message_for_all_sessions(broker, topic):
    """Whoever matches has it, connected or not, before the publisher's
    acknowledgement is there: it survives the publisher."""
    names = [f'away-{i}' for i in range(6)]
    for n in names:
        with connected(broker, n, props=KEEP) as c:
            c.subscribe((topic + '/+' if n < 'away-3' else topic + '/#', 1))
    with connected(broker, 'here') as here, connected(broker, 'pub') as p:
        here.subscribe((topic + '/x', 1))
        for i in range(3):
            assert p.publish_acked(topic + '/x', str(i), 1) == 0
        p.close()
        assert [m[1] for m in here.messages(3)] == [b'0', b'1', b'2']
    for n in names:
        with back(broker, n) as c:
            assert [m[1] for m in c.messages(3)] == [b'0', b'1', b'2']
            c.disconnect(props={'session_expiry': 0})


# 4.6: order.

@clause('MQTT-4.6.0-5', 'MQTT-4.6.0-6')
@pytest.mark.parametrize('granted', [0, 1, 2])
@pytest.mark.parametrize('sent', [0, 1, 2])
def test_order(broker, topic, sent, granted):
    """For each publisher and topic; through wildcards and a window that is
    smaller than what comes."""
    n = 30
    with connected(broker, 'ordered', props={'receive_maximum': 3}) as s, \
            connected(broker, 'pub-a') as a, connected(broker, 'pub-b') as b:
        s.subscribe((topic + '/#', granted))
        for i in range(n):
            for c, name in ((a, 'a'), (b, 'b')):
                for sub in 'xy':
                    c.publish_acked(f'{topic}/{sub}', f'{name}{i}', sent)
        seen = {}
        for _ in range(4 * n):
            m = s.message()
            seen.setdefault((m.topic[-1], m.payload[:1]), []).append(int(m.payload[1:]))
        assert len(seen) == 4 and all(v == list(range(n)) for v in seen.values())


@clause('MQTT-4.6.0-5', 'MQTT-4.6.0-6')
def test_order_without_waiting(broker, topic):
    """In one write, of several QoS: within each QoS the order stays; and here,
    where one client sends to one topic, among them as well."""
    n = 60
    with connected(broker, 'ordered', props={'receive_maximum': 5}) as s, connected(broker, 'pub') as p:
        s.subscribe((topic, 2))
        p.send(b''.join(publish(topic, str(i).encode(), i % 2, mid=i + 1) for i in range(n)))
        got = [int(s.message().payload) for _ in range(n)]
        for qos in (0, 1):
            part = [i for i in got if i % 2 == qos]
            assert part == sorted(part) and len(part) == n // 2


@clause('MQTT-4.6.0-5', 'MQTT-4.6.0-6')
def test_order_through_the_queue(broker, topic):
    """What waited comes first, then what is new; with one that was under way
    when the connection broke."""
    with connected(broker, 'queue', props=KEEP) as s, connected(broker, 'pub') as p:
        s.subscribe((topic, 1))
        p.publish_acked(topic, '0', 1)
        s.expect(PUBLISH)
        s.vanish()
        for i in range(1, 50):
            p.publish_acked(topic, str(i), 1 + i % 2)
        with back(broker, 'queue') as s:
            for i in range(50, 60):
                p.publish_acked(topic, str(i), 1)
            assert [int(m[1]) for m in s.messages(60)] == list(range(60))
            s.disconnect(props={'session_expiry': 0})


@clause('MQTT-4.6.0-2', 'MQTT-4.6.0-3', 'MQTT-4.6.0-4')
def test_acknowledgements_in_order(broker, topic):
    """The broker as a receiver: PUBACK, PUBREC and PUBCOMP in the order of what
    they answer; as a sender: PUBREL in the order of the PUBRECs."""
    n = 15
    with connected(broker, 'acks', props={'receive_maximum': 100}) as c:
        c.send(b''.join(publish(topic, b'x', 1, mid=i) for i in range(1, n + 1)))
        assert [c.expect(PUBACK).mid for _ in range(n)] == list(range(1, n + 1))
        c.send(b''.join(publish(topic, b'x', 2, mid=i) for i in range(1, n + 1)))
        assert [c.expect(PUBREC).mid for _ in range(n)] == list(range(1, n + 1))
        order = [7, 3, 1, 15, 2]
        c.send(b''.join(ack(PUBREL, i) for i in order))
        assert [c.expect(PUBCOMP).mid for _ in order] == order
        c.subscribe((topic, 2))
        for _ in range(n):
            c.publish_acked(topic, 'x', 2, mid=1000)
        mids = [c.expect(PUBLISH).mid for _ in range(n)]
        mids = mids[::-1]
        c.send(b''.join(ack(PUBREC, i) for i in mids))
        assert [c.expect(PUBREL).mid for _ in mids] == mids
