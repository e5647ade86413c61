# SPDX-License-Identifier: Apache-2.0
"""What is dropped of a full queue (queue_full_policy oldest), whatever else is under
way, and what is left of it after a crash."""
import os

import pytest

from durable import CONF, again, client, numbers
from faulty import Disk
from raw import PUBACK, PUBLISH, Raw

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


@pytest.mark.parametrize('policy', ['newest', 'oldest'])
@pytest.mark.parametrize('crash', [False, True])
def test_the_limit_after_a_start(brokers, policy, crash):
    """One that was never acknowledged is no reason to count those behind it, which are gone, as if
    they were in flight."""
    b = brokers(CONF.replace('max_queued_messages 0', 'max_queued_messages 10')
                + f'queue_full_policy {policy}\n')
    with client(b, 'pub') as p:
        with client(b, 'sub', receive_maximum=5) as s:
            s.subscribe('a', qos=1)
            for i in range(300):
                p.publish_acked('a', b'%d' % i, qos=1)
                m = s.expect(PUBLISH)
                if i > 0:
                    s.ack(PUBACK, m.mid)
            s.ping()
            s.disconnect()
    if not crash:
        b.stop()
        b.start()
    for _ in range(3):
        if crash:
            again(b)
        with client(b, 'pub') as p:
            for i in range(300, 350):
                p.publish_acked('a', b'%d' % i, qos=1)
    with client(b, 'sub', receive_maximum=100) as s:
        assert s.expect(PUBLISH).payload == b'0'
        # of what was acknowledged last, maybe some hundred are not known as sent
        assert numbers(s, 10) == list(range(300, 310) if policy == 'newest' else range(340, 350))
        s.silent(0.1)


@pytest.mark.parametrize('receive_maximum', [1, 2])
def test_what_stands_behind_what_is_in_flight(brokers, receive_maximum):
    """In memory, where its client has not said that it has the first."""
    b = brokers(LIMITS)
    with client(b, 'pub') as p:
        with client(b, 'sub', receive_maximum=2) as s:
            s.subscribe('a', qos=1)
            for i in range(2):
                p.publish_acked('a', b'%d' % i, qos=1)
            for _ in range(2):
                s.expect(PUBLISH)
            s.vanish()
        for i in range(2, 5):
            p.publish_acked('a', b'%d' % i, qos=1)
    again(b)
    with client(b, 'sub', receive_maximum=receive_maximum) as s:
        first = s.expect(PUBLISH)
        with client(b, 'pub') as p:
            for i in range(5, 12):
                p.publish_acked('a', b'%d' % i, qos=1)
        s.ack(PUBACK, first.mid)
        assert numbers(s, 4) == [1, 9, 10, 11]


@pytest.mark.parametrize('policy', ['newest', 'oldest'])
def test_what_is_dropped_takes_no_memory(brokers, tmp_path, monkeypatch, policy):
    """While the disk is full the oldest on it makes place for nobody: that would be a record more,
    each time, until others found no room in memory."""
    b = brokers(CONF.replace('max_queued_messages 0', 'max_queued_messages 10')
                + f'queue_qos0_messages true\nqueue_full_policy {policy}\n', start=False)
    disk = Disk(tmp_path / 'control', os.path.join(b.folder, 'store'))
    for k, v in disk.environment().items():
        monkeypatch.setenv(k, v)
    b.start()
    with client(b, 'sub') as s:
        s.subscribe('a', qos=1)
        s.disconnect()
    disk.fails('write', 'ENOSPC')
    with Raw(b.port) as tries, Raw(b.port) as p:
        tries.connect('tries')
        tries.publish('a', b'x', qos=1)
        b.wait_log('disk is full')
        p.connect('p')
        for _ in range(60):
            for _ in range(1000):
                p.publish('a', b'y' * 1000)
            p.ping()
        # as others do who need a little
        with Raw(b.port) as w:
            w.connect('w', will=('z', b'q'))
            w.publish('ret', b'1', retain=True)
            w.subscribe('ret')
            assert w.message().payload == b'1'
        disk.well()
        tries.expect(PUBACK)
