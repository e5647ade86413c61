# SPDX-License-Identifier: Apache-2.0
"""What is dropped of a full queue (queue_full_policy oldest), whatever else is under
way, and what is left of it after a crash."""
import pytest

from durable import CONF, again, client, numbers
from raw import PUBLISH

LIMITS = CONF.replace('max_queued_messages 0', 'max_queued_messages 3') + 'queue_full_policy oldest\n'


@pytest.mark.parametrize('threads', [1, 4])
@pytest.mark.parametrize('qos', [1, 2])
def test_oldest_of_those_away(brokers, threads, qos):
    """Whichever threads publisher and subscribers are served by: QoS 2 goes to disk
    together with what others' sessions get."""
    b = brokers(LIMITS + f'threads {threads}\n')
    names = [f'sub{n}' for n in range(6)]
    for name in names:
        with client(b, name) as s:
            s.subscribe('a', qos=qos)
            s.disconnect()
    with client(b, 'pub') as p:
        assert [p.publish_acked('a', b'%d' % i, qos=qos) for i in range(9)] == [0] * 9
    again(b)
    for name in names:
        with client(b, name) as s:
            assert numbers(s, 3) == [6, 7, 8]
            s.silent(0.1)


@pytest.mark.parametrize('size', [1, 300])
@pytest.mark.parametrize('qos', [1, 2])
@pytest.mark.parametrize('crash', [False, True])
def test_what_is_in_flight_is_not_dropped(brokers, crash, qos, size):
    """Its client has it, under an identifier that is still in use."""
    b = brokers(LIMITS)
    with client(b, 'pub') as p:
        with client(b, 'sub', receive_maximum=2) as s:
            s.subscribe('a', qos=qos)
            for i in range(2):
                p.publish_acked('a', b'%*d' % (size, i), qos=qos)
            had = [s.expect(PUBLISH) for _ in range(2)]
            s.vanish()
        for i in range(2, 12):
            p.publish_acked('a', b'%*d' % (size, i), qos=qos)
    if crash:
        again(b)
    with client(b, 'sub', receive_maximum=2) as s:
        got = [s.message() for _ in range(5)]
        s.silent(0.1)
    assert [int(m.payload) for m in got] == [0, 1, 9, 10, 11]
    assert [m.mid for m in got[:2]] == [m.mid for m in had]
    assert [m.dup for m in got] == [True] * 2 + [False] * 3
