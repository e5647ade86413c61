# SPDX-License-Identifier: Apache-2.0
"""What lies on disk of a shared subscription, when its member is away or gone."""
import subprocess

import pytest

from durable import CONF, again, client, numbers
from harness import NIGHTJAR, paced, wait_until
from raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Closed, Raw

pytestmark = pytest.mark.ours
N = 700  # pages have 512
SHARE = '$share/g/t'


@pytest.fixture(params=[1, 3], ids=lambda n: f'{n}-shards')
def durable(request, brokers):
    return brokers(CONF + f'threads {request.param}\n')


def fill(broker, n=N, first=0, topic='t', qos=(1, 2)):
    with client(broker, 'pub') as p:
        # 20 of QoS 2 may be open
        step = 40 if 1 in qos else 20
        for at in range(first, first + n, step):
            some = range(at, min(at + step, first + n))
            for i in some:
                p.publish(topic, b'%d' % i, qos=qos[i % len(qos)])
            done = 0
            while done < len(some):
                got = p.recv()
                assert got.kind in (PUBACK, PUBREC, PUBCOMP) and got.code == 0
                if got.kind == PUBREC:
                    p.ack(PUBREL, got.mid)
                else:
                    done += 1


def away(broker, name='a', filters=(SHARE,), **kw):
    with client(broker, name, **kw) as s:
        assert s.subscribe(*filters, qos=2) == [2] * len(filters)
        s.disconnect()


def in_order(got, n=N):
    """All of them, each once; QoS 1 and QoS 2 each in their order."""
    assert sorted(got) == list(range(n))
    for odd in 0, 1:
        mine = [i for i in got if i % 2 == odd]
        assert mine == sorted(mine)


def nothing_left(broker, name):
    with client(broker, name) as s:
        s.silent(0.2)
        s.disconnect()


def test_the_session_ends(durable):
    """Clean start: what was queued goes to another, of whatever session."""
    away(durable)
    fill(durable)
    with Raw(durable.port) as b:
        b.connect('b')
        b.subscribe(SHARE, qos=2)
        b.silent(0.2)  # a lives, and what is on disk stays there
        client(durable, 'a', clean=True).close()
        in_order(numbers(b, N))
        b.silent(0.1)
    nothing_left(durable, 'a')


def test_all_are_away(durable):
    """One ends: what it had is on disk with the others."""
    for name in 'abc':
        away(durable, name)
    fill(durable)
    client(durable, 'a', clean=True).close()
    nothing_left(durable, 'a')
    again(durable)
    b, c = client(durable, 'b'), client(durable, 'c')
    got = []

    def more():
        for x in b, c:
            try:
                while True:
                    got.append(int(x.message(0.05).payload))
            except TimeoutError:
                pass
        return len(got) >= N
    wait_until(more, 'all have come')
    assert sorted(got) == list(range(N))
    for x in b, c:
        x.silent(0.1)
        x.close()


@paced
def test_it_expires(brokers, pace):
    b = brokers(CONF + f'threads 2\npersistent_client_expiration {3 * pace}s\n')
    away(b)
    fill(b)
    with Raw(b.port) as s:
        s.connect('b')
        s.subscribe(SHARE, qos=2)
        in_order(numbers(s, N))
        s.silent(0.1)


def test_its_own_stays(durable):
    """A member that is away, and one that comes and is kept: what came by the
    group is handed over, and what came otherwise waits, in its order."""
    away(durable, filters=('own', SHARE))
    for i in range(0, 600, 100):
        fill(durable, 100, i)
        fill(durable, 100, i, 'own')
    with client(durable, 'b') as b:
        b.subscribe(SHARE, qos=2)
        in_order(numbers(b, 600), 600)
        b.disconnect()
    with client(durable, 'a') as a:
        assert a.session_present
        in_order(numbers(a, 600), 600)
        a.silent(0.1)


def test_it_comes_back_meanwhile(durable):
    away(durable)
    fill(durable)
    b = client(durable, 'b')
    b.subscribe(SHARE, qos=2)
    a = client(durable, 'a')
    got = {a: [], b: []}

    def more():
        for c, v in got.items():
            try:
                while True:
                    v.append(int(c.message(0.05).payload))
            except TimeoutError:
                pass
        return sum(map(len, got.values())) >= N
    wait_until(more, 'all have come')
    assert sorted(got[a] + got[b]) == list(range(N))
    for c in a, b:
        c.silent(0.1)
        c.close()


def test_members_one_after_the_other(durable):
    """It goes from one to the next, and none is lost or doubled.  (QoS 2 that
    was sent ends with its session.)"""
    away(durable, 'm0')
    fill(durable, qos=(1,))
    for i in range(1, 4):
        with client(durable, f'm{i}') as m:
            m.subscribe(SHARE, qos=2)
            m.expect(PUBLISH)  # and leaves without an answer
    for i in range(3):
        client(durable, f'm{i}', clean=True).close()
    with client(durable, 'm3') as m:
        got = []
        while len(set(got)) < N:
            got.append(int(m.message().payload))
        assert len(got) == N


class Taker:
    """Takes messages and remembers how far each is, over crashes."""

    def __init__(self, name):
        self.name, self.done, self.begun = name, [], {}

    def take(self, c, most):
        """Messages until `most` are finished, or none come."""
        while len(self.done) < most:
            try:
                p = c.recv(1)
            except (TimeoutError, Closed):
                return
            if p.kind == PUBLISH and p.qos == 1:
                if not p.dup or int(p.payload) not in self.done:
                    self.done.append(int(p.payload))
                c.ack(PUBACK, p.mid)
            elif p.kind == PUBLISH:
                if p.mid in self.begun:
                    assert p.dup and self.begun[p.mid] == p.payload
                else:
                    self.begun[p.mid] = p.payload
                    self.done.append(int(p.payload))
                c.ack(PUBREC, p.mid)
            elif p.kind == PUBREL:
                self.begun.pop(p.mid, None)
                c.ack(PUBCOMP, p.mid)


@pytest.mark.parametrize('ends', [True, False], ids=['ended', 'away'])
def test_killed_meanwhile(durable, ends):
    """Killed at some moment of the walk, again and again: nothing is lost, and
    QoS 2 comes once."""
    away(durable)
    fill(durable)
    with client(durable, 'b') as b:
        b.subscribe(SHARE, qos=2)
    taker = Taker('b')
    for pause in 0, 0.01, 0.03, 0.1:
        c = client(durable, 'b')
        if ends:
            client(durable, 'a', clean=True).close()
        taker.take(c, len(taker.done) + 50)
        again(durable, pause)
        c.close()
    with client(durable, 'b') as c:
        wait_until(lambda: taker.take(c, 10 * N) or set(taker.done) == set(range(N)), 'all have come')
    # QoS 1 may come twice around a crash
    assert set(taker.done) == set(range(N))
    twice = [i for i in set(taker.done) if taker.done.count(i) > 1]
    assert not [i for i in twice if i % 2]
    nothing_left(durable, 'a')


@pytest.mark.parametrize('ends', [True, False], ids=['ended', 'back'])
def test_what_never_left_goes_on(durable, ends):
    """After a crash only what its window and one more may have had is nobody else's
    [MQTT-4.8.2-4], [MQTT-4.8.2-5]; the rest goes to another member, once."""
    n, window = 300, 20
    away(durable, 'b')
    with client(durable, 'a', keepalive=0) as a:
        a.subscribe(SHARE, qos=2)
        fill(durable, n, qos=(2,))
        assert [int(a.expect(PUBLISH).payload) for _ in range(window)] == list(range(window))
        again(durable)
    with client(durable, 'b') as b:
        rest = numbers(b, n - 2 * window - 9)
        assert rest == list(range(2 * window + 9, n))
        if ends:
            client(durable, 'a', clean=True).close()
        else:
            with client(durable, 'a') as a:
                assert a.session_present
                assert numbers(a, 2 * window + 9) == list(range(2 * window + 9))
                a.silent(0.2)
        b.silent(0.3)


def test_a_member_goes_before_the_disk_is_there(brokers):
    """What it had not been sent of QoS 2 waits until its publisher's identifiers
    are on disk; on a shard that nothing else wakes, too."""
    # its messages wake every shard
    b = brokers(CONF + 'threads 4\nsys_interval 0\n')
    with client(b, 'pub', clean=True) as p:
        for i in range(30):
            share, t = f'$share/g{i}/r{i}', f'r{i}'
            with Raw(b.port) as stays, Raw(b.port) as goes:
                stays.connect(f'stays{i}')
                goes.connect(f'goes{i}', props={'receive_maximum': 1})
                stays.subscribe(share, qos=2)
                goes.subscribe(share, qos=2)
                mids = [p.publish(t, b'%d' % k, qos=2) for k in range(8)]
                first = goes.expect(PUBLISH)
                goes.close()
                got = [stays.message().payload for _ in range(7)]
                assert sorted(got + [first.payload]) == [b'%d' % k for k in range(8)]
            assert [p.wait_for(PUBREC).mid for _ in mids] == mids
            for mid in mids:
                p.ack(PUBREL, mid)
            assert [p.wait_for(PUBCOMP).mid for _ in mids] == mids


def test_a_session_ends_with_the_broker(durable):
    """A session that ends as the broker stops: what it had, some of it in flight,
    goes to others at the next start (MQTT 5, 4.8.2)."""
    for name in 'ab':
        away(durable, name)
    fill(durable, 60, qos=(1,))
    with Raw(durable.port) as a:
        # it lasts as long as this connection
        assert a.connect('a', clean=False).session_present
        got = [a.expect(PUBLISH) for _ in range(20)]
        assert {p.qos for p in got} == {1}
        durable.stop()
    durable.start()
    with client(durable, 'b') as b:
        assert sorted(numbers(b, 60)) == list(range(60))
        b.disconnect()
    assert not client(durable, 'a').session_present


def start_with(broker, files):
    """With so many open files at most: what it says when it refuses to, or None."""
    mark = broker.log_size()
    with open(broker.log_path, 'ab') as log:
        # pylint: disable=consider-using-with
        broker.process = subprocess.Popen(
            ['prlimit', f'--nofile={files}', NIGHTJAR, 'serve', '-c', broker.conf_path],
            cwd=broker.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until(lambda: broker.process.poll() is not None or ' running' in broker.log(mark),
               'it serves, or refuses to')
    return None if broker.process.poll() is None else broker.log(mark)


def test_too_few_files(durable):
    """A start that has something to hand over, with each number of open files that is too
    small: it is refused, with the reason, and the one that is not has it all."""
    for name in 'ab':
        away(durable, name)
    fill(durable, 60, qos=(1,))
    with Raw(durable.port) as a:
        assert a.connect('a', clean=False).session_present
        durable.stop()
    reasons = set()
    for files in range(12, 100):
        if not (said := start_with(durable, files)):
            break
        assert durable.process.returncode == 1 and 'Sanitizer' not in said, said
        assert 'damaged' not in said
        assert 'Too many open files' in said or 'nightjar.db: opening it' in said, said
        if 'LimitNOFILE' in said:
            reasons |= {w for w in ('shard 0', 'its thread') if w in said}
    assert reasons == {'shard 0', 'its thread'} and durable.alive()
    # as many as its clients need
    durable.stop()
    durable.start()
    with client(durable, 'b') as b:
        assert sorted(numbers(b, 60)) == list(range(60))


def test_nothing_waits_for_some(durable):
    """Members that are away, and subscribed at QoS 0, are given nothing as long as
    it can wait with another."""
    for i in range(9):
        with client(durable, f'zero{i}') as s:
            s.subscribe(SHARE, qos=0)
            s.disconnect()
    away(durable)
    fill(durable, 40, qos=(1,))
    with client(durable, 'a') as s:
        assert sorted(numbers(s, 40)) == list(range(40))


def test_a_stop_leaves_it_to_who_is_kept(durable):
    """What members without sessions have when the broker stops, in flight and in
    their queues, goes to one that has a session, there or not (MQTT 5, 4.8.2)."""
    away(durable)
    away(durable, 'z')
    with Raw(durable.port) as b, Raw(durable.port) as c:
        for x in b, c:
            x.connect(f'clean{id(x)}')
            x.subscribe(SHARE, qos=1)
        fill(durable, 60, qos=(1,))
        durable.stop()
    durable.start()
    with client(durable, 'a') as a, client(durable, 'z') as z:
        got = []

        def more():
            for x in a, z:
                try:
                    while True:
                        got.append(int(x.message(0.05).payload))
                except TimeoutError:
                    pass
            return len(got) >= 60
        wait_until(more, 'all have come')
        assert sorted(got) == list(range(60))
