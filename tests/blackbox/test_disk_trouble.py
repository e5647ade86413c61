# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, fails or is slow, in any call that the store makes, while
the broker starts, serves and stops: what cannot be kept is refused or waits, all
else goes on, and it recovers by itself.  What was acknowledged is there after
kill -9.

With DISK_TROUBLE=all each call fails in each way that is told of it, which takes
minutes; else a few of each."""
import contextlib
import itertools
import os
import re
import sqlite3
import subprocess
import threading
import time

import pytest

from faulty import FOR_EVER, Disk
from harness import NIGHTJAR, free_port, knock, wait_until
from raw import DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, Closed, Raw

CONF = '''
persistence true
persistence_location store
max_queued_messages 0
max_queued_bytes 0
max_inflight_messages 0
sys_interval 1
threads 2
'''
FOREVER = {'session_expiry': 0xffffffff}
ALL = os.environ.get('DISK_TROUBLE') == 'all'
STORE = 'store/nightjar.db'

# What each call may say, where it is no fault of the program's.
ERRORS = {
    'open': ('EMFILE', 'ENFILE', 'ENOSPC', 'EIO', 'EROFS', 'EACCES', 'EINTR'),
    'read': ('EIO', 'EINTR', 'part'),
    'write': ('ENOSPC', 'EIO', 'EROFS', 'EDQUOT', 'EINTR', 'part'),
    'sync': ('EIO', 'ENOSPC', 'EDQUOT', 'EROFS', 'EINTR'),
    'truncate': ('EIO', 'EINTR', 'EROFS'),
    'unlink': ('EIO', 'EROFS', 'EACCES'),
    'mmap': ('ENOMEM', 'ENFILE'),
    'stat': ('EIO',),
    'lock': ('EIO', 'ENOLCK', 'EINTR'),
}
# Of the store's files: all, the log, data files, the database.
PARTS = ('', '-wal', '-data', '-shm')
FEW = [('write', 'ENOSPC', ''), ('sync', 'EIO', '-data'), ('write', 'part', ''),
       ('sync', 'EIO', '-wal'), ('open', 'EMFILE', '-data'), ('write', 'EIO', '-wal')]


def lasts(calls, error, part):
    """Nothing can be kept for as long as that fails: without data files, and
    without reading, it goes on."""
    return calls in ('write', 'sync') and part in ('', '-wal') and error not in ('EINTR', 'part')


class Bench:
    """A broker on such a disk, and what its clients were told."""

    def __init__(self, brokers, tmp_path, monkeypatch, conf=CONF):
        self.b = brokers(conf, start=False)
        self.disk = Disk(tmp_path / 'control', os.path.join(self.b.folder, 'store'))
        for k, v in self.disk.environment().items():
            monkeypatch.setenv(k, v)
        self.n = 0
        self.mark = 0
        self.acked = []
        self.seen, self.received = set(), set()

    def client(self, name, clean=False, version=5, **kw):
        c = Raw(self.b.port, version=version)
        if not clean and version == 5:
            kw['props'] = FOREVER
        c.connect(name, clean=clean, **kw)
        return c

    def start(self):
        self.b.start()
        # its place in the log of that start
        self.b.wait_log(' running', 0)

    def begin(self):
        self.start()
        with self.client('sub') as s:
            s.subscribe('q', qos=2)
            s.disconnect()

    def burst(self, c, count, size, qos=1):
        """Publishes; what waits for an answer: {identifier: text}.  Texts of one
        version and QoS are to come in their order."""
        asked = {}
        for _ in range(count):
            self.n += 1
            text = b'%d%d%08d' % (c.version, qos, self.n)
            asked[c.publish('q', text.ljust(size, b'.'), qos=qos)] = text
        return asked

    def answers(self, c, asked, timeout=60, but_two=False):
        """Those of asked, until all are there (but_two: besides those of QoS 2) or none
        has come for so long; the codes of them."""
        codes = []
        while any(not but_two or text[1:2] != b'2' for text in asked.values()):
            try:
                p = c.recv(timeout)
            except TimeoutError:
                break
            if p.kind == DISCONNECT:
                break
            assert p.kind in (PUBACK, PUBREC, PUBCOMP), p
            if p.kind == PUBREC and p.code < 0x80:
                c.ack(PUBREL, p.mid)
                if p.code == 0:
                    self.acked.append(asked[p.mid])
                continue
            text = asked.pop(p.mid)
            # 0x10 says that nobody is to get it
            if p.code == 0 and p.kind == PUBACK:
                self.acked.append(text)
            codes.append(p.code)
        return codes

    def is_in_trouble(self, start):
        """Whether it says that the store cannot be written, and not that it can."""
        log = self.b.log(start)
        said = [m.group(0) for m in re.finditer(
            'cannot be written|disk is full|can be written again', log)]
        return bool(said) and said[-1] != 'can be written again'

    def all_of(self, s, last):
        """What comes up to that one.  What was acknowledged just before the broker
        died may come again, and says so."""
        got, released = [], 0
        while released or last not in got:
            p = s.recv()
            if p.kind == PUBREL:
                s.ack(PUBCOMP, p.mid)
                released -= p.mid in self.received
                self.received.discard(p.mid)
                continue
            assert p.kind == PUBLISH, p
            s.ack(PUBACK if p.qos == 1 else PUBREC, p.mid)
            if p.qos == 2:
                released += 1
                self.received.add(p.mid)
            text = p.payload[:10]
            if not (p.dup and text in self.seen):
                got.append(text)
            self.seen.add(text)
        return got

    def ends_with_all(self):
        """Killed, and started again: everything acknowledged is there, in order."""
        self.b.kill()
        self.disk.well()
        self.start()
        with self.client('sub') as s:
            with self.client('last', clean=True) as p:
                self.n += 1
                last = b'last%06d' % self.n
                assert p.publish_acked('q', last) == 0
                p.disconnect()
            got = self.all_of(s, last)
            s.disconnect()
        acked = set(self.acked)
        missing = acked - set(got)
        assert not missing, f'{len(missing)} acknowledged and lost: {sorted(missing)[:5]}'
        assert len(got) == len(set(got)), 'twice'
        for kind in (b'51', b'41'):
            order = [x for x in got if x in acked and x.startswith(kind)]
            assert order == sorted(order), 'not in order'
        assert not self.b.faults()
        self.acked = []


@pytest.fixture
def bench(brokers, tmp_path, monkeypatch):
    return Bench(brokers, tmp_path, monkeypatch)


def serves(bench, zero):
    """QoS 0 and pings go on."""
    zero.publish('zero', b'0')
    assert zero.message().payload == b'0'
    zero.ping()


def one_fault(bench, calls, error, part, times):
    """While it serves."""
    b, disk = bench.b, bench.disk
    start = b.log_size()
    five, three, zero = (bench.client(n, clean=True, version=v)
                         for n, v in (('five', 5), ('three', 4), ('zero', 5)))
    zero.subscribe('zero')
    disk.fails(calls, error, times=times, part=part)
    asked = bench.burst(five, 40, 2000)
    asked.update(bench.burst(five, 2, 300, qos=2))
    lasting = times == FOR_EVER and lasts(calls, error, part)
    if lasting:
        wait_until(lambda: bench.is_in_trouble(start), 'the alarm')
    # who is at QoS 2 has to wait
    codes = bench.answers(five, asked, 0.7 if times == FOR_EVER and not lasting else 60, but_two=lasting)
    assert set(codes) <= {0, 0x97}, codes
    serves(bench, zero)
    hits = disk.hits
    three_asked = {}
    if lasting:
        with bench.client('other', clean=True) as r:
            assert r.publish_acked('q', b'refused', qos=1) == 0x97
            assert r.publish_acked('q', b'refused', qos=2) == 0x97
        # at once, whatever waits of QoS 2
        for _ in range(50):
            assert five.publish_acked('q', b'refused', qos=1) == 0x97
        three_asked = bench.burst(three, 2, 100)
        assert bench.answers(three, three_asked, 0.3) == []
        # the alarm
        zero.subscribe('$SYS/broker/store/state')
        while int(zero.message().payload) == 0:
            pass
        zero.unsubscribe('$SYS/broker/store/state')
        for c in (five, three, zero):
            c.ping()
        with bench.client('reads', clean=True) as r:
            r.subscribe('nothing')
    disk.well()
    codes = bench.answers(five, asked)
    assert set(codes) <= {0, 0x97}, codes
    bench.answers(three, three_asked)
    wait_until(lambda: not bench.is_in_trouble(start), 'it recovers by itself')
    asked = bench.burst(five, 1, 100)
    assert bench.answers(five, asked) == [0]
    for c in (five, three, zero):
        c.ping()
        c.close()
    assert not b.faults()
    return hits


def test_file_system_that_was_shut_down(bench):
    """Each call fails (as XFS does it): that is no damage, and a disk that comes back is used again."""
    bench.begin()
    b, disk = bench.b, bench.disk
    five = bench.client('five', clean=True)
    asked = bench.burst(five, 200, 1000)
    assert set(bench.answers(five, asked)) == {0}
    start = b.log_size()
    disk.fails('open read write sync truncate rename unlink stat', 'EIO')
    late = bench.burst(five, 1, 100)
    b.wait_log(r'cannot be written \(Input/output error: the disk fails, or its file system was shut down', start)
    assert bench.answers(five, late) == [0x97]
    disk.well()
    b.wait_log('can be written again', start)
    late = bench.burst(five, 1, 100)
    assert bench.answers(five, late) == [0]
    five.close()
    assert 'is damaged' not in b.log(start)
    bench.ends_with_all()


def next_or_well(bench, s, start):
    """What it is sent next; the disk is well again when the log has told of it."""
    for _ in range(60):
        try:
            return s.recv(1)
        except TimeoutError:
            # the store may have to read for what it writes first
            if re.search(r'Queues cannot be read: .*tried again|cannot be written \(Input/output error',
                         bench.b.log(start)):
                bench.disk.well()
    return s.recv()


@pytest.mark.parametrize('times', [1, 40, FOR_EVER])
def test_queue_that_cannot_be_read(bench, times):
    """For a moment, or for longer: it is read when it can be, and its client stays."""
    bench.start()
    b, disk, count = bench.b, bench.disk, 300
    # rows of their own, more than SQLite keeps in memory
    size = 90_000
    with bench.client('sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()
    with bench.client('pub', clean=True) as p:
        for at in range(0, count, 50):
            asked = {p.publish('q', b'%05d' % i + b'.' * size, qos=1): i for i in range(at, at + 50)}
            assert set(bench.answers(p, asked)) == {0}
        p.disconnect()
    assert b.stop() == 0
    start = b.log_size()
    b.start()
    b.wait_log(' running', start)
    start = b.log_size()
    disk.fails('read', 'EIO', times=times, part='nightjar.db$')
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props={**FOREVER, 'receive_maximum': 20})
        for i in range(count):
            m = next_or_well(bench, s, start)
            assert m.payload[:5] == b'%05d' % i
            s.ack(PUBACK, m.mid)
        assert disk.hits
        s.ping()
    assert 'is damaged' not in b.log(start) and 'A queue cannot be read' not in b.log(start)
    assert not b.faults()


def rows():
    if not ALL:
        return FEW
    return [(c, e, part) for c, part in itertools.product(ERRORS, PARTS) for e in ERRORS[c]]


def test_while_it_serves(bench):
    bench.begin()
    for i, (calls, error, part) in enumerate(rows()):
        for times in (1, 3, FOR_EVER) if ALL else (1 if i % 3 == 2 else FOR_EVER,):
            began = time.monotonic()
            try:
                hits = one_fault(bench, calls, error, part, times)
                if ALL:
                    print(f'{calls} {error} {part} x{times}: {hits} failed, '
                          f'{time.monotonic() - began:.2f} s', flush=True)
            except BaseException:
                print(f'-- {calls} {error} {part} x{times}')
                raise
        if i % 4 == 3:
            bench.ends_with_all()
    bench.ends_with_all()


def test_who_waits_holds_up_nobody(brokers, tmp_path, monkeypatch):
    """While the disk is full more sessions than may be read at once want what is
    not on disk: those whose queues are get them, and in the end all do."""
    waiting, long = 100, 1500
    bench = Bench(brokers, tmp_path, monkeypatch, CONF.replace('threads 2', 'threads 1'))
    bench.start()
    for i in range(waiting):
        with bench.client(f'w{i}') as s:
            s.subscribe('all', qos=1)
            s.disconnect()
    with bench.client('long') as s:
        s.subscribe('long', qos=1)
        s.disconnect()
    p = bench.client('pub', clean=True)
    asked = {p.publish('long', b'%d' % i, qos=1): b'%d' % i for i in range(long)}
    assert set(bench.answers(p, asked)) == {0}
    bench.disk.fails('write', 'ENOSPC')
    three = bench.client('three', clean=True, version=4)
    three.publish('all', b'waits', qos=1)
    bench.b.wait_log('disk is full')
    held = [bench.client(f'w{i}') for i in range(waiting)]
    with bench.client('long') as s:
        assert [s.message().payload for _ in range(long)] == [b'%d' % i for i in range(long)]
    for s in held:
        s.ping()
    bench.disk.well()
    three.expect(PUBACK)
    for s in held:
        while s.message().payload != b'waits':
            pass
        s.close()


def fill_up(bench):
    """From now on nothing can be written, and the broker knows: who publishes at QoS 1
    has found out, and waits."""
    start = bench.b.log_size()
    bench.disk.fails('write', 'ENOSPC')
    c = bench.client('finds-out', clean=True, version=4)
    c.publish('found', b'out', qos=1, retain=True)
    bench.b.wait_log('disk is full', start)
    return c


BACK = [(5, {'props': {'session_expiry': 999}}), (5, {'props': FOREVER}), (4, {}), (3, {})]


def test_who_comes_back(brokers, tmp_path, monkeypatch):
    """While the disk is full, whose session is on disk comes in, reads what waits for it, and
    subscribes to what it had; that it was there is recorded when there is room.  Who
    would need a new session is told at once."""
    bench = Bench(brokers, tmp_path, monkeypatch, CONF + 'persistent_client_expiration 1d\n')
    b = bench.b
    bench.start()
    for i, (version, kw) in enumerate(BACK):
        with Raw(b.port, version=version) as s:
            s.connect(f's{i}', clean=False, **kw)
            s.subscribe(f'q{i}', qos=1)
            s.subscribe(f'$share/g/g{i}', qos=1)
            s.disconnect()
    with bench.client('pub', clean=True) as p:
        for i in range(len(BACK)):
            assert p.publish_acked(f'q{i}', b'waits') == 0
            assert p.publish_acked(f'g{i}', b'waits') == 0
    waits = fill_up(bench)
    back = []
    for i, (version, kw) in enumerate(BACK):
        s = Raw(b.port, version=version)
        ack = s.connect(f's{i}', clean=False, will=('will', b'%d' % i), **kw)
        assert ack.session_present or version == 3
        for _ in range(2):
            assert s.message().payload == b'waits'
        refused = 0x97 if version == 5 else 0x80
        s.send_subscribe((f'q{i}', 1), (f'$share/g/g{i}', 1), (f'$share/h/g{i}', 1), (f'q{i}', 2), ('other', 0))
        if version == 3:
            # it knows no refusal
            with pytest.raises(Closed):
                s.wait_for(SUBACK)
            s.close()
            s = Raw(b.port, version=version)
            s.connect(f's{i}', clean=False, will=('will', b'%d' % i))
            s.send_subscribe((f'q{i}', 1), (f'$share/g/g{i}', 1))
            assert s.wait_for(SUBACK).codes == [1, 1]
        else:
            assert s.wait_for(SUBACK).codes == [1, 1, refused, refused, refused]
        s.ping()
        back.append(s)
    # nothing of it need be kept but its will, which waits in memory
    clean = bench.client('clean', clean=True, will=('will', b'clean'))
    clean.subscribe('zero', 'will')
    serves(bench, clean)
    for version, kw in BACK:
        with Raw(b.port, version=version) as s:
            s.connect('new', want=0x97 if version == 5 else 3, clean=False, **kw)
        # nor does one that begins anew come in
        with Raw(b.port, version=version) as s:
            if version == 5:
                s.connect('s0', want=0x97, clean=True, **kw)
    back[0].vanish()
    assert clean.message().payload == b'0'
    bench.disk.well()
    waits.expect(PUBACK)
    waits.close()
    b.kill()
    bench.start()
    for i, (version, kw) in enumerate(BACK):
        with Raw(b.port, version=version) as s:
            assert s.connect(f's{i}', clean=False, **kw).session_present or version == 3
            s.disconnect()
    for s in back:
        s.close()
    assert not b.faults()


def test_who_comes_to_another_mount_point(brokers, tmp_path, monkeypatch):
    """Its session ends, and there is no room for the new one: after a crash the old one would be
    back."""
    other = free_port()
    bench = Bench(brokers, tmp_path, monkeypatch, CONF + f'listener {other} 127.0.0.1\nmount_point m/\n'
                  'allow_anonymous true\n')
    b = bench.b
    bench.start()
    with Raw(b.port) as s:
        s.connect('s', clean=False, props=FOREVER)
        s.subscribe('a', qos=1)
        s.disconnect()
    waits = fill_up(bench)
    with Raw(other) as s:
        s.connect('s', want=0x97, clean=False, props=FOREVER)
    with Raw(b.port) as s:
        assert s.connect('s', clean=False, props=FOREVER).session_present
        s.disconnect()
    bench.disk.well()
    waits.expect(PUBACK)
    waits.close()
    with Raw(other) as s:
        assert not s.connect('s', clean=False, props=FOREVER).session_present
        s.disconnect()
    assert not b.faults()


@pytest.mark.parametrize('version', [5, 4])
def test_who_finds_out(bench, version):
    """Whose CONNECT is the first that there is no room for is told, not left without an
    answer; its session, of which nobody has heard, is none when there is room."""
    b = bench.b
    bench.start()
    bench.disk.fails('write', 'ENOSPC')
    kw = {'props': FOREVER} if version == 5 else {}
    for _ in range(2):
        with Raw(b.port, version=version) as s:
            s.connect('first', want=0x97 if version == 5 else 3, clean=False, **kw)
    bench.disk.well()
    wait_until(lambda: not bench.is_in_trouble(0), 'it recovers by itself')
    with Raw(b.port, version=version) as s:
        assert not s.connect('first', clean=False, **kw).session_present
        s.subscribe('q', qos=1)


def taken(c, texts, timeout):
    """Which of {identifier: text} are acknowledged, one after the other, until none is for
    so long, or the connection ends."""
    got = []
    try:
        while len(got) < len(texts):
            p = c.recv(timeout)
            if p.kind == PUBACK:
                got.append(texts[p.mid])
    except (TimeoutError, Closed):
        pass
    return got


def fill(bench, c):
    """Publishes until there is no room for more: {identifier: number}."""
    start, texts = bench.b.log_size(), {}
    while 'refused: the store cannot be written' not in bench.b.log(start):
        assert len(texts) < 300, 'there is no bound'
        texts[c.publish('q', b'%010d' % (len(texts) + 1) + b'.' * 1_000_000, qos=1)] = len(texts) + 1
        # a shard that is behind does not know yet
        time.sleep(0.01)
    return texts


@pytest.mark.parametrize('version', [4, 3])
def test_more_than_memory_takes(bench, version):
    """Who cannot be told that there is no room for more stays, and goes on with all
    that is not to be kept; when there is room it is sent away, to say again what
    was not taken."""
    b = bench.b
    bench.start()
    with bench.client('sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()
    with bench.client('device', version=version) as d:
        d.subscribe('zero')
        assert d.publish_acked('q', b'%010d' % 0) == 0
        bench.disk.fails('write', 'ENOSPC')
        texts = fill(bench, d)
        count = len(texts)
        # what comes behind is not taken either, however small
        texts[d.publish('q', b'%010d' % (count + 1), qos=1)] = count + 1
        d.publish('zero', b'goes on')
        assert d.message().payload == b'goes on'
        d.ping()
        assert not taken(d, texts, 0.3)
        # nor has anybody else room, on the same shard or another
        for i in range(6):
            with bench.client(f'other{i}', clean=True, version=version) as other:
                fill(bench, other)
        # a session could not be taken up again now
        with Raw(b.port, version=version) as other:
            other.connect('third', want=3, clean=False)
        mark = b.log_size()
        bench.disk.well()
        got = taken(d, texts, 60)
        assert 20 < len(got) < count and got == list(range(1, len(got) + 1))
        with pytest.raises(Closed):
            d.recv()
        b.wait_log('there is room again', mark)
    with bench.client('device', version=version) as d:
        for i in range(len(got) + 1, count + 2):
            assert d.publish_acked('q', b'%010d' % i + b'.' * 100) == 0
    b.kill()
    bench.start()
    with bench.client('sub') as s:
        assert [int(s.message().payload[:10]) for _ in range(count + 2)] == list(range(count + 2))


def test_nothing_overtakes_what_was_not_taken(bench):
    """There are many of them, who are sent away some at a time: what they say until then
    is not taken either, although there is room."""
    b = bench.b
    bench.start()
    with bench.client('sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()
    bench.disk.fails('write', 'ENOSPC')
    big = bench.client('big', clean=True, version=4)
    fill(bench, big)
    crowd = [bench.client(f'c{i}', clean=True, version=4) for i in range(400)]
    for c in crowd:
        c.publish('q', b'first', qos=1)
        c.ping()
    bench.disk.well()
    here = set(crowd)
    end = time.monotonic() + 60
    while here:
        assert time.monotonic() < end, f'{len(here)} are here still'
        for c in list(here):
            try:
                c.publish('q', b'later', qos=1)
            except OSError:
                here.discard(c)
    for c in crowd:
        # not one of it was acknowledged
        with pytest.raises(Closed):
            c.recv()
        c.close()
    big.close()
    assert not b.faults()


@pytest.mark.parametrize('qos', [1, 2])
def test_who_is_sent_much_meanwhile(bench, qos):
    """It goes, with what was taken acknowledged, however much it is sent on a slow disk."""
    b = bench.b
    bench.start()
    with bench.client('sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()
    with bench.client('feeder', clean=True) as f, bench.client('device', version=4, clean=False) as d:
        d.subscribe('flow', qos=qos)
        bench.disk.fails('write', 'ENOSPC')
        texts = fill(bench, d)
        bench.disk.fails('sync', None, slow_us=20_000)
        ended, deadline = threading.Event(), time.monotonic() + 60

        def feed():
            while not ended.wait(0.001) and time.monotonic() < deadline:
                f.publish('flow', b'x', qos=qos)

        def hear():
            with contextlib.suppress(Closed, OSError):
                while not ended.is_set():
                    with contextlib.suppress(TimeoutError):
                        p = f.recv(1)
                        if p.kind == PUBREC and p.code < 0x80:
                            f.ack(PUBREL, p.mid)

        threads = [threading.Thread(target=feed), threading.Thread(target=hear)]
        for t in threads:
            t.start()
        acked = 0
        try:
            while time.monotonic() < deadline:
                p = d.recv(20)
                acked += p.kind == PUBACK
                if p.kind == PUBLISH:
                    d.ack(PUBACK if qos == 1 else PUBREC, p.mid)
                elif p.kind == PUBREL:
                    d.ack(PUBCOMP, p.mid)
            pytest.fail('it was not sent away')
        except Closed:
            assert 20 < acked < len(texts)
            b.wait_log('there is room again')
        finally:
            ended.set()
            for t in threads:
                t.join()


def begin_to_start(bench):
    b = bench.b
    with open(b.log_path, 'ab') as log:
        # pylint: disable=consider-using-with
        b.process = subprocess.Popen([NIGHTJAR, 'serve', '-c', b.conf_path], cwd=b.folder,
                                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def start_once(bench):
    """Starts it, whatever comes of it: True where it serves."""
    b = bench.b
    begin_to_start(bench)
    wait_until(lambda: b.process.poll() is not None or (
        knock(b.port) and ' running' in b.log(bench.mark)), 'it serves or ends')
    return b.process.poll() is None


def faults_of_a_start():
    if ALL:
        for calls in ERRORS:
            for error in ERRORS[calls]:
                # what is interrupted is tried again, and again
                for times in (1, 5 if error == 'EINTR' else FOR_EVER):
                    yield from ((calls, error, at, times) for at in range(60))
    else:
        yield from (('write', 'ENOSPC', 0, FOR_EVER), ('sync', 'EIO', 0, 1), ('read', 'EIO', 3, 1),
                    ('open', 'EMFILE', 3, FOR_EVER))


@pytest.mark.parametrize('what', ['new', 'old'])
def test_at_the_start(bench, what):
    """It serves, or ends and says what the system said; a file is never called
    damaged, and nothing is lost: what it could not do then it can later."""
    b, disk = bench.b, bench.disk
    if what == 'old':
        bench.begin()
    done = None
    for calls, error, at, times in faults_of_a_start():
        if done == (calls, error, times):
            continue
        if what == 'new':
            subprocess.run(['rm', '-rf', disk.folder], check=True)
        else:
            with bench.client('pub', clean=True) as p:
                asked = bench.burst(p, 30, 2000)
                assert set(bench.answers(p, asked)) == {0}
            b.kill()
        bench.mark = b.log_size() if os.path.exists(b.log_path) else 0
        disk.fails(calls, error, skip=at, times=times)
        served = start_once(bench)
        if not disk.hits:
            done = calls, error, times
        log = b.log(bench.mark)
        case = f'{calls} {error} {at} x{times}: {log[-3000:]}'
        assert 'damaged' not in log, case
        assert not [n for n in os.listdir(disk.folder)
                    if not re.fullmatch(r'admin.sock|nightjar\.db(-wal|-shm|-journal|\.lock|-data\d+)?', n)], case
        if not served:
            assert b.process.returncode == 1, case
            assert re.search(r'store|persistence|nightjar\.db', log), case
        else:
            b.kill()
        if ALL:
            print(f'{what} {calls} {error} {at} x{times}: {"serves" if served else "ends"}', flush=True)
        disk.well()
        b.process = None
        bench.start()
        if what == 'new':
            b.kill()
    if what == 'old':
        bench.ends_with_all()


def test_a_start_without_room(bench):
    """A broker that was stopped starts on a full disk, too, as often as it is, and goes on
    there as one that was running when it filled up.  Where what it had put by for
    that is gone it says what is the matter."""
    b, disk = bench.b, bench.disk
    lock = os.path.join(disk.folder, 'nightjar.db.lock')
    bench.begin()
    with bench.client('pub', clean=True) as p:
        assert p.publish_acked('q', b'waits') == 0
        assert p.publish_acked('kept', b'is retained', retain=True) == 0x10
    assert b.stop() == 0
    assert not os.path.exists(os.path.join(disk.folder, 'nightjar.db-wal'))
    disk.full_after(0)
    for i in range(3):
        mark = b.log_size()
        bench.start()
        with bench.client('reads', clean=True) as r:
            r.subscribe('kept')
            assert r.message().payload == b'is retained'
        with bench.client('big', clean=True) as p:
            # more than was given up
            asked = bench.burst(p, 1, 1_000_000)
            wait_until(lambda at=mark: bench.is_in_trouble(at), 'the alarm')
            if i == 2:
                disk.well()
                assert bench.answers(p, asked) in ([0], [0x97])
        if i < 2:
            with bench.client('other', clean=True) as r:
                assert r.publish_acked('q', b'refused') == 0x97
            assert b.stop() in (0, 1)
    with bench.client('sub') as s:
        assert s.message().payload == b'waits'
        s.disconnect()
    assert b.stop() == 0
    assert os.path.getsize(lock) == 256 * 1024
    os.truncate(lock, 0)
    disk.full_after(0)
    b.refuses(r'no room on the file system of \S+nightjar\.db: \d+ bytes free')
    disk.well()
    bench.start()
    with bench.client('sub') as s:
        s.ping()
    assert not b.faults()


def test_a_start_without_room_whose_log_is_long(bench):
    """So it is where the last one was killed: the log is not brought into the database
    with what was put by for the start, however often it is started."""
    b, disk = bench.b, bench.disk
    bench.begin()
    with bench.client('pub', clean=True) as p:
        for _ in range(3):
            # each in rows of its own
            asked = bench.burst(p, 100, 20_000)
            assert set(bench.answers(p, asked)) == {0}
    b.kill()
    # as many pages as SQLite by itself would bring into the database
    assert os.path.getsize(os.path.join(disk.folder, 'nightjar.db-wal')) > 4120 * 1000
    disk.full_after(0)
    for i in range(3):
        if i > 0:
            b.kill()
        bench.start()
        with bench.client('reads', clean=True) as r:
            r.ping()
    bench.ends_with_all()


TAKEN_AWAY = 'was deleted or moved while it was in use'


def rename(folder, old, new):
    os.rename(os.path.join(folder, old), os.path.join(folder, new))


@pytest.mark.parametrize('what', ['', 'nightjar.db', 'nightjar.db-wal'], ids=['folder', 'database', 'log'])
def test_a_store_that_is_taken_away(brokers, what):
    """What is written then would be gone with the broker: it is refused until the file
    is back."""
    b = brokers(CONF)
    store = os.path.join(b.folder, 'store')
    where, name = (store, what) if what else (b.folder, 'store')
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props=FOREVER)
        s.subscribe('q', qos=1)
        s.disconnect()
    with Raw(b.port) as p, Raw(b.port, version=4) as three:
        p.connect('pub')
        three.connect('three')
        assert p.publish_acked('q', b'0') == 0
        rename(where, name, 'elsewhere')
        asked = p.publish('q', b'1', qos=1)
        b.wait_log(TAKEN_AWAY)
        with Raw(b.port) as other:
            other.connect('other')
            assert other.publish_acked('q', b'2') == 0x97
        # it is not on disk; it may come to its receiver all the same
        answer = p.expect(PUBACK)
        assert (answer.mid, answer.code) == (asked, 0x97)
        three.publish('q', b'3', qos=1)
        three.silent()
        rename(where, 'elsewhere', name)
        b.wait_log('can be written again')
        assert p.publish_acked('q', b'4') == 0
    b.kill()
    b.start()
    with Raw(b.port) as s:
        assert s.connect('sub', clean=False, props=FOREVER).session_present
        got = [s.message().payload for _ in range(4)]
        assert got == [b'0', b'1', b'3', b'4'], got


def test_another_store_in_its_place(brokers):
    """It is not taken for its own: nothing of that is deleted as the broker ends."""
    b = brokers(CONF)
    store = os.path.join(b.folder, 'store')
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props=FOREVER)
        s.subscribe('q', qos=1)
        s.disconnect()
    b.wait_log('Client sub disconnected')
    os.mkdir(store + '.new')
    for n in ('nightjar.db', 'nightjar.db-wal', 'nightjar.db-shm'):
        with open(os.path.join(store + '.new', n), 'w', encoding='utf-8') as f:
            f.write('of another')
    os.rename(store, store + '.old')
    os.rename(store + '.new', store)
    with Raw(b.port) as p:
        p.connect('pub')
        p.publish('q', b'x', qos=1)
        # between the two it is moved, should the broker look then
        b.wait_log('was (replaced|deleted or moved) while it was in use')
    assert b.stop() in (0, 1)
    for n in ('nightjar.db', 'nightjar.db-wal', 'nightjar.db-shm'):
        with open(os.path.join(store, n), encoding='utf-8') as f:
            assert f.read() == 'of another'


def test_while_it_stops(bench):
    """It ends all the same, soon; what it had acknowledged is there."""
    bench.begin()
    for calls, error, part in rows() if ALL else (('write', 'ENOSPC', ''), ('sync', 'EIO', ''),
                                                  ('unlink', 'EIO', '')):
        p = bench.client('pub', clean=True)
        asked = bench.burst(p, 40, 2000)
        assert set(bench.answers(p, asked)) == {0}
        # SQLite tries what was interrupted until it is not
        bench.disk.fails(calls, error, part=part, times=5 if error == 'EINTR' else FOR_EVER)
        asked = bench.burst(p, 5, 100)
        assert bench.b.stop() in (0, 1), f'{calls} {error}'
        try:
            bench.answers(p, asked)
        except Closed:
            pass
        p.close()
        bench.disk.well()
        bench.start()
    bench.ends_with_all()


def test_a_database_that_was_not_synced(bench):
    """What the system could not write it may have forgotten, so nothing more is
    acknowledged, and the log is not let go of, not at the end either; the next
    start has all of it."""
    b, wal = bench.b, os.path.join(bench.disk.folder, 'nightjar.db-wal')
    bench.begin()
    bench.disk.fails('sync', 'EIO', times=1, part='nightjar.db$')
    p = bench.client('pub', clean=True)
    asked, sent = {}, 0
    while not bench.disk.hits:
        # more than a log has before it is brought into the database
        assert sent < 10_000
        for _ in range(100):
            text = b'%06d' % sent
            asked[p.publish('kept/%d' % sent, text + b'.' * 4000, qos=1, retain=True)] = text
            sent += 1
        try:
            while asked:
                answer = p.recv(60 if not bench.disk.hits else 1)
                text = asked.pop(answer.mid)
                if answer.code in (0, 0x10):
                    bench.acked.append(text)
        except TimeoutError:
            pass
    b.wait_log('nightjar.db could not be synced')
    p.publish('q', b'it is tried', qos=1)
    wait_until(lambda: bench.is_in_trouble(0), 'the alarm')
    with bench.client('other', clean=True) as r:
        assert r.publish_acked('q', b'refused') == 0x97
    p.close()
    before = os.path.getsize(wal)
    assert b.stop() in (0, 1)
    assert os.path.getsize(wal) >= before > 0
    bench.start()
    with bench.client('reads', clean=True) as s:
        s.subscribe('kept/#')
        want = set(bench.acked)
        while want:
            want.discard(s.message().payload[:6])
        s.disconnect()
    assert not b.faults()
    assert b.stop() == 0
    assert not os.path.exists(wal)


def test_slow(bench):
    """Each sync takes its time: all is acknowledged in the end, and nobody waits for it
    who has nothing to do with it."""
    bench.begin()
    p, zero = bench.client('pub', clean=True), bench.client('zero', clean=True)
    zero.subscribe('zero')
    bench.disk.fails('sync', None, slow_us=300_000)
    asked = bench.burst(p, 40, 2000)
    asked.update(bench.burst(p, 2, 300, qos=2))
    serves(bench, zero)
    assert set(bench.answers(p, asked)) == {0}
    assert bench.disk.hits
    p.close()
    zero.close()
    bench.ends_with_all()


def test_little_room(bench):
    """It fills up while it is written to, wherever that is."""
    bench.begin()
    start = bench.b.log_size()
    p, zero = bench.client('pub', clean=True), bench.client('zero', clean=True)
    zero.subscribe('zero')
    bench.disk.full_after(300_000)
    asked = bench.burst(p, 300, 2000)
    wait_until(lambda: bench.is_in_trouble(start), 'the alarm')
    serves(bench, zero)
    bench.disk.well()
    assert set(bench.answers(p, asked)) <= {0, 0x97}
    wait_until(lambda: not bench.is_in_trouble(start), 'it recovers by itself')
    p.close()
    zero.close()
    bench.ends_with_all()


def make_plain(path):
    """The store as it was before its pages had checksums, which are in bytes that only
    C can reserve: a file that is made here has none."""
    new = sqlite3.connect(path + '-plain', isolation_level=None)
    for line in ('auto_vacuum = INCREMENTAL', 'user_version = 6', 'application_id = 1315589489'):
        new.execute(f'PRAGMA {line}')
    new.execute('ATTACH ? AS old', (path,))
    made = new.execute('SELECT type, name, sql FROM old.sqlite_schema WHERE sql IS NOT NULL').fetchall()
    for kind, name, sql in made:
        new.execute(sql)
        if kind == 'table':
            new.execute(f'INSERT INTO main.{name} SELECT * FROM old.{name}')
    new.close()
    os.chmod(path + '-plain', 0o600)
    os.chown(path + '-plain', os.stat(path).st_uid, os.stat(path).st_gid)
    os.rename(path + '-plain', path)


def schema_of(path):
    db = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
    try:
        return db.execute('PRAGMA user_version').fetchone()[0]
    finally:
        db.close()


CONVERSION = [('write', 'ENOSPC', 0, FOR_EVER), ('write', 'EIO', 9, 1), ('sync', 'EIO', 0, 1),
              ('rename', 'EIO', 0, 1), ('open', 'EMFILE', 5, FOR_EVER), ('sync', None, 0, FOR_EVER)]


def test_older_store(bench):
    """A store of the schema before is written anew at its start, whatever stands in the
    way of that; the last time the broker is killed while it does so."""
    b, disk = bench.b, bench.disk
    path = os.path.join(disk.folder, 'nightjar.db')
    bench.begin()
    with bench.client('pub', clean=True) as p:
        asked = bench.burst(p, 30, 2000)
        asked.update(bench.burst(p, 5, 20000))
        assert set(bench.answers(p, asked)) == {0}
    for calls, error, at, times in CONVERSION:
        assert b.stop() == 0
        make_plain(path)
        assert schema_of(path) == 6
        bench.mark = b.log_size()
        disk.fails(calls, error, skip=at, times=times, slow_us=0 if error else 500_000,
                   part='nightjar.db' if error else '-anew')
        if error:
            served = start_once(bench)
        else:
            begin_to_start(bench)
            wait_until(lambda: disk.hits, 'it is written anew')
            served = True
        log = b.log(bench.mark)
        assert 'damaged' not in log, f'{calls} {error}: {log}'
        assert disk.hits or calls == 'open', f'{calls} {error}'
        if served:
            b.kill()
        else:
            assert re.search(r'nightjar\.db', log), log
        disk.well()
        b.process = None
        bench.mark = b.log_size()
        bench.start()
        b.wait_log(' running', bench.mark)
        assert schema_of(path) == 7, f'{calls} {error}: {b.log(bench.mark)}'
        assert not [n for n in os.listdir(disk.folder) if 'anew' in n]
    bench.ends_with_all()
