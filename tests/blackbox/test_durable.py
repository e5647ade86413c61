# SPDX-License-Identifier: Apache-2.0
"""What is acknowledged is there after kill -9."""
import getpass
import os
import resource
import socket
import sqlite3
import struct
import threading
import time

import pytest

from conftest import Factory
from durable import CONF, FOREVER, again, client, numbers
from harness import HOST, free_port, paced, wait_until
from pahoc import tls_context
from raw import (CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, SUBSCRIBE,
                 UNSUBACK, UNSUBSCRIBE, Closed, Raw, connect_packet, packet, string)
from wsraw import BINARY, CLOSE, RawWs, frame

pytestmark = pytest.mark.ours


@pytest.fixture(params=[1, 2, 4], ids=lambda n: f'{n}-shards')
def durable(request, brokers):
    return brokers(CONF + f'threads {request.param}\n')


def test_queued(durable):
    with client(durable, 'sub') as s:
        s.subscribe('a/#', qos=2)
        s.disconnect()
    with Raw(durable.port) as p:
        p.connect('pub')
        for i in range(40):
            p.publish_acked('a/b', b'%d' % i, qos=1 + i % 2)
    again(durable)
    with client(durable, 'sub') as s:
        assert s.session_present
        got = [s.message() for _ in range(40)]
        s.ping()
        s.disconnect()
    for q in 1, 2:
        assert [int(m.payload) for m in got if m.qos == q] == list(range(q - 1, 40, 2))
    again(durable)
    with client(durable, 'sub') as s:
        assert s.session_present
        s.silent()


@pytest.mark.parametrize('qos', [1, 2])
def test_in_flight_keeps_its_identifier(durable, qos):
    s = client(durable, 'sub')
    s.subscribe('a', qos=qos)
    with client(durable, 'pub') as p:
        p.publish_acked('a', b'x', qos=qos)
    m = s.expect(PUBLISH)
    again(durable)
    s = client(durable, 'sub')
    n = s.expect(PUBLISH)
    assert (n.mid, n.payload, n.qos, n.dup) == (m.mid, b'x', qos, True)
    if qos == 2:
        s.ack(PUBREC, n.mid)
        s.wait_for(PUBREL)
        again(durable)
        s = client(durable, 'sub')
        assert s.expect(PUBREL).mid == m.mid
        s.ack(PUBCOMP, m.mid)
    else:
        s.ack(PUBACK, n.mid)
    s.ping()
    s.disconnect()
    again(durable)
    with client(durable, 'sub') as s:
        s.silent()


def test_a_large_window_keeps_its_order(brokers):
    """What nobody acknowledges comes again in its order after each start [MQTT-4.6.0-1], what
    was queued between two of them behind what was there before."""
    b = brokers(CONF + 'max_inflight_messages 0\n')
    with client(b, 'sub') as s:
        s.subscribe('a', qos=1)
    total = 0
    for more in 600, 100, 100:
        s = client(b, 'sub')
        with client(b, 'pub') as p:
            for i in range(total, total + more):
                p.publish_acked('a', b'%d' % i)
        total += more
        again(b)
        s.close()
        with client(b, 'sub') as s:
            got = [s.expect(PUBLISH) for _ in range(total)]
            assert [int(m.payload) for m in got] == list(range(total))
            assert len({m.mid for m in got}) == total


def test_identifiers_that_are_taken_keep_their_order(brokers):
    """One message is not acknowledged, and so many behind it are that others get their
    identifiers from the next round.  After a start, too, and on the next connection, those
    come behind what was sent before them [MQTT-4.6.0-1]."""
    b = brokers(CONF + 'max_inflight_messages 0\n')
    with client(b, 'sub') as s:
        s.subscribe('a', qos=1)
    done, ids = 50, 65535
    total = ids + done + 10
    with client(b, 'pub', clean=True) as p:
        for i in range(0, total, 500):
            some = range(i, min(i + 500, total))
            p.send(b''.join(packet(PUBLISH, 2, string('a') + struct.pack('>HB', k % 500 + 1, 0) + b'%d' % k)
                            for k in some))
            for _ in some:
                p.expect(PUBACK)
    with client(b, 'sub') as s:
        first = s.expect(PUBLISH)
        for i in range(1, done):
            assert int(s.message().payload) == i
        assert [int(s.expect(PUBLISH).payload) for _ in range(done, ids + done - 1)] == \
            list(range(done, ids + done - 1))
    for start in True, False, True:
        if start:
            again(b)
        with client(b, 'sub') as s:
            got = [s.expect(PUBLISH) for _ in range(ids)]
            assert [int(m.payload) for m in got] == [0, *range(done, ids + done - 1)]
            assert got[0].mid == first.mid and len({m.mid for m in got}) == ids


def test_exactly_once_from_the_publisher(durable):
    names = [f'sub{i}' for i in range(6)]
    for n in names:
        with client(durable, n) as s:
            s.subscribe('a', qos=2)
    p = client(durable, 'pub')
    mid = p.publish('a', b'1', qos=2)
    p.expect(PUBREC)
    again(durable)
    p = client(durable, 'pub')
    assert p.session_present
    p.publish('a', b'1', qos=2, mid=mid, dup=True)
    p.expect(PUBREC)
    p.ack(PUBREL, mid)
    p.expect(PUBCOMP)
    again(durable)
    p = client(durable, 'pub')
    p.publish('a', b'2', qos=2, mid=mid)
    p.expect(PUBREC)
    for n in names:
        with client(durable, n) as s:
            assert numbers(s, 2) == [1, 2]
            s.silent(0.1)


def test_subscriptions(durable):
    with client(durable, 'sub') as s:
        s.subscribe('plain', qos=1)
        s.subscribe(('id', 1), props={'subscription_id': 77})
        s.subscribe(('rap', 1 | 8))
        s.subscribe(('nolocal', 1 | 4))
        s.subscribe('gone', qos=1)
        s.subscribe('$share/g/shared', qos=1)
        s.unsubscribe('gone')
    again(durable)
    with client(durable, 'pub') as p:
        for t in 'plain', 'id', 'gone', 'shared':
            p.publish_acked(t, t, qos=1)
        p.publish_acked('rap', 'rap', qos=1, retain=True)
    with client(durable, 'sub') as s:
        got = {m.topic: m for m in (s.message() for _ in range(4))}
        assert sorted(got) == ['id', 'plain', 'rap', 'shared']
        assert got['id'].props.get('subscription_id') in (77, [77])
        assert got['rap'].retain
        s.publish_acked('nolocal', 'x', qos=1)
        s.silent(0.2)


def commits(broker):
    """Commits so far, as $SYS says at its next interval."""
    with Raw(broker.port) as c:
        c.connect('commits')
        c.subscribe('$SYS/broker/store/commits')
        c.message()
        return int(c.message().payload)


def test_subscriptions_that_come_together_share_a_commit(brokers):
    b = brokers(CONF + 'threads 1\nsys_interval 1\n')
    with client(b, 'r') as p:
        p.publish_acked('has/one', b'kept', qos=1, retain=True)
    with client(b, 'sub') as s:
        before = commits(b)
        gathered, send = [], s.send
        s.send = gathered.append
        mids = [s.send_subscribe(f't/{i}', qos=1) for i in range(100)]
        mids.append(s.send_subscribe('has/+', qos=1))
        mids += [s.send_subscribe(f'u/{i}', qos=1) for i in range(20)]
        s.send = send
        s.send(b''.join(gathered))
        got = [s.recv() for _ in range(len(mids) + 1)]
        assert [a.mid for a in got if a.kind == SUBACK] == mids
        # a retained message comes behind the SUBACK of its subscription
        kinds = [a.kind for a in got]
        assert kinds.index(PUBLISH) == 101
        s.ack(PUBACK, got[101].mid)
        assert commits(b) - before < 60
    again(b)
    with client(b, 'pub') as p:
        for t in 't/0', 't/99', 'u/0', 'u/19':
            p.publish_acked(t, t, qos=1)
    with client(b, 'sub') as s:
        assert [s.message().topic for _ in range(4)] == ['t/0', 't/99', 'u/0', 'u/19']


def test_retained(durable):
    with Raw(durable.port) as p:
        p.connect('pub')
        for i in range(20):
            p.publish_acked(f'r/{i}', b'%d' % i, qos=1, retain=True, props={'message_expiry': 1000})
        p.publish_acked('r/3', b'', qos=1, retain=True)
        p.publish_acked('r/4', b'new', qos=2, retain=True)
    again(durable)
    with Raw(durable.port) as s:
        s.connect('sub')
        s.subscribe('r/#', qos=1)
        got = {m.topic: m for m in (s.message() for _ in range(19))}
        assert 'r/3' not in got and got['r/4'].payload == b'new'
        assert 900 < got['r/5'].props['message_expiry'] <= 1000
        s.silent(0.1)


def test_many_retained_at_a_start(brokers):
    """Tables grow while it is loaded."""
    b, n = brokers(CONF + 'threads 2\n'), 9000
    with Raw(b.port) as p:
        p.connect('pub')
        for first in range(0, n, 500):
            p.send(b''.join(packet(PUBLISH, 3, string(f'r/{i}') + struct.pack('>H', i + 1) + b'\0x')
                            for i in range(first, first + 500)))
            for _ in range(500):
                p.expect(PUBACK)
    again(b)
    with Raw(b.port) as s:
        s.connect('sub')
        s.subscribe('r/#')
        assert {s.message().topic for _ in range(n)} == {f'r/{i}' for i in range(n)}


def test_wills(durable):
    with client(durable, 'watch') as s:
        s.subscribe('will/#', qos=2)
    a = client(durable, 'a', will=('will/now', b'now', 1))
    b = client(durable, 'b', will=('will/later', b'later', 2, False, {'will_delay': 1}))
    c = client(durable, 'c', will=('will/never', b'never', 1))
    c.disconnect()
    again(durable)
    with client(durable, 'watch') as s:
        assert sorted(s.message().payload for _ in range(2)) == [b'later', b'now']
        s.silent(0.2)
    a.close()
    b.close()


def test_wills_of_who_is_back_at_once(durable):
    """It was connected when the broker died: its will is due, whether it has
    come again or not; that of its new connection is due at the next crash."""
    with client(durable, 'watch') as s:
        s.subscribe('will/#', qos=2)
    names = [f'w{i}' for i in range(8)]
    for life in range(3):
        held = [client(durable, n, will=(f'will/{n}', b'%d' % life, 2)) for n in names]
        again(durable)
        for c in held:
            c.close()
    with client(durable, 'watch') as s:
        got = sorted((m.topic, int(m.payload)) for m in (s.message() for _ in range(24)))
        assert got == [(f'will/{n}', life) for n in names for life in range(3)]
        s.silent(0.2)


@paced
def test_session_expiry_counts_while_it_is_down(durable, pace):
    with Raw(durable.port) as s:
        s.connect('short', clean=False, props={'session_expiry': 1})
        s.subscribe('a', qos=1)
        s.disconnect()
    with client(durable, 'long') as s:
        s.disconnect()
    time.sleep(0.1 * pace)		# that it left is on disk soon
    durable.kill()
    time.sleep(1.2)
    durable.start()
    with client(durable, 'short') as s:
        assert not s.session_present
    with client(durable, 'long') as s:
        assert s.session_present


def test_clean_start_ends_it(durable):
    with client(durable, 'sub') as s:
        s.subscribe('a', qos=1)
    with client(durable, 'pub') as p:
        p.publish_acked('a', b'old')
    with client(durable, 'sub', clean=True) as s:
        assert not s.session_present
    again(durable)
    with client(durable, 'sub') as s:
        assert s.session_present
        s.silent(0.1)


def test_an_orderly_stop_keeps_all(durable):
    with client(durable, 'sub') as s:
        s.subscribe('a', qos=1)
    with client(durable, 'pub') as p:
        for i in range(10):
            p.publish_acked('a', b'%d' % i)
    assert durable.stop() == 0
    durable.start()
    with client(durable, 'sub') as s:
        assert s.session_present and numbers(s, 10) == list(range(10))


def test_long_queue_in_order(durable):
    n = 3000
    with client(durable, 'sub') as s:
        s.subscribe('a', qos=1)
    with client(durable, 'pub') as p:
        for i in range(0, n, 100):
            for k in range(i, i + 100):
                p.publish('a', b'%d' % k + b'x' * 200, qos=1)
            for k in range(i, i + 100):
                p.expect(PUBACK)
    with client(durable, 'sub') as s:
        assert [int(s.message().payload[:-200]) for _ in range(n // 2)] == list(range(n // 2))
        s.ping()
        s.disconnect()
    again(durable)
    with client(durable, 'sub') as s:
        first = s.message()
        while first.dup and int(first.payload[:-200]) < n // 2:
            first = s.message()
        at = int(first.payload[:-200])
        assert at <= n // 2  # what it acknowledged last may come again
        assert [int(s.message().payload[:-200]) for _ in range(at + 1, n)] == list(range(at + 1, n))
        s.silent(0.1)


def test_second_broker_is_refused(durable, brokers):
    other = brokers(CONF.replace('store', os.path.join(durable.folder, 'store')), start=False)
    other.refuses('another broker uses it')


def test_damaged_file(brokers):
    b = brokers(CONF)
    with client(b, 'sub') as s:
        s.subscribe('a', qos=1)
    b.stop()
    path = os.path.join(b.folder, 'store', 'nightjar.db')
    with open(path, 'r+b') as f:
        f.seek(4096)
        f.write(os.urandom(8192))
    b.refuses('damaged.*persistence_on_damage')
    with open(b.conf_path, 'a', encoding='ascii') as f:
        f.write('persistence_on_damage start_empty\n')
    b.start()
    b.wait_log('set aside as')
    with client(b, 'sub') as s:
        assert not s.session_present
    assert [n for n in os.listdir(os.path.dirname(path)) if 'damaged' in n]


def test_drop_policies(brokers):
    for policy, kept in ('newest', [0, 1, 2]), ('oldest', [3, 4, 5]), ('refuse', [0, 1, 2]):
        b = brokers(CONF.replace('max_queued_messages 0', 'max_queued_messages 3')
                    + f'queue_full_policy {policy}\n')
        with client(b, 'sub') as s:
            s.subscribe('a', qos=1)
            s.disconnect()
        with client(b, 'pub') as p:
            codes = [p.publish_acked('a', b'%d' % i) for i in range(6)]
            assert codes == ([0] * 3 + [0x97] * 3 if policy == 'refuse' else [0] * 6)
        again(b)
        if policy == 'refuse':
            # nobody has told the new broker of a full queue but the store
            with client(b, 'pub') as p:
                assert [p.publish_acked('a', b'8', qos=q) for q in (1, 2)] == [0x97] * 2
        with client(b, 'sub') as s:
            assert numbers(s, 3) == kept
            s.silent(0.1)
            s.ping()
        if policy == 'refuse':
            with client(b, 'pub') as p:
                wait_until(lambda p=p: p.publish_acked('a', b'9') == 0, 'there is room again')


def test_wills_of_a_stop(brokers):
    """Threads without clients have nothing to do when the broker ends, and what
    the clients of others cause then is for their sessions too."""
    b = brokers(CONF + 'threads 4\n')
    for n in range(4):
        with client(b, f'sub{n}') as s:
            s.subscribe('w', qos=1)
            s.disconnect()
    for n in range(6):
        c = client(b, f'c{n}', will=('w', b'%d' % n, 1, False))
        b.stop()
        c.close()
        b.start()
    for n in range(4):
        with client(b, f'sub{n}') as s:
            assert sorted(numbers(s, 6)) == list(range(6))


@pytest.mark.parametrize('threads', [1, 4])
def test_refuse_keeps_what_it_took(brokers, threads):
    """Who publishes much at once is ahead of the news that a queue is full, and
    what is larger than the room that is left is in no queue that is full."""
    for limits, sizes in ('max_queued_messages 3', [1]), ('max_queued_bytes 1000', [700, 1, 5000]):
        b = brokers(CONF.replace('max_queued_messages 0', limits)
                    + f'threads {threads}\nqueue_full_policy refuse\n')
        for n in range(4):
            with client(b, f'sub{n}') as s:
                s.subscribe('a', qos=n % 2 + 1)
                s.disconnect()
        with client(b, 'pub') as p:
            mids = [p.next_mid() for _ in range(20)]
            p.send(b''.join(packet(PUBLISH, 2, string('a') + struct.pack('>HB', mid, 0)
                                   + b'%04d' % mid + b'.' * sizes[mid % len(sizes)]) for mid in mids))
            acks = [p.expect(PUBACK) for _ in mids]
        taken = [a.mid for a in acks if a.code == 0]
        assert len(taken) > 1 and {a.code for a in acks} <= {0, 0x97}
        again(b)
        for n in range(4):
            with client(b, f'sub{n}') as s:
                assert [int(s.message().payload[:4]) for _ in taken] == taken
                s.silent(0.1)


def limit(broker, size):
    """The files of the broker grow no further than this."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.prlimit(broker.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.parametrize('threads', [1, 4])
def test_full_disk(brokers, threads):
    b = brokers(CONF + f'threads {threads}\nsys_interval 1\nuser {getpass.getuser()}\n')
    with client(b, 'sub') as s:
        s.subscribe('full', qos=1)
        s.disconnect()
    old = client(b, 'old')
    old.subscribe('other', qos=1)
    old.disconnect()
    three = Raw(b.port, version=4)
    three.connect('three')
    p = client(b, 'pub')
    mid = p.publish('full', b'first', qos=1)
    assert p.expect(PUBACK).mid == mid
    # One publish may be in the commit that fails: it waits for its PUBACK, and is
    # refused, if later.
    limit(b, 4096)
    mid = p.publish('full', b'waits', qos=1)
    b.wait_log('cannot be written|disk is full')
    with Raw(b.port) as q:
        q.connect('q')
        # Who can be told is told.
        assert q.publish_acked('full', b'refused', qos=1) == 0x97
        assert q.publish_acked('full', b'refused', qos=2) == 0x97
        # Others get no acknowledgement.
        three.publish('full', b'three', qos=1)
        three.silent(0.5)
        # QoS 0 and reading go on.
        q.subscribe('zero', qos=0)
        q.publish('zero', b'0')
        assert q.message().payload == b'0'
        q.subscribe('$SYS/broker/store/state')
        while q.message().payload == b'0':
            pass
        # A new session that must be kept has to wait; one that is there need not.
        with Raw(b.port) as n:
            n.connect('new', clean=False, props=FOREVER, want=0x97)
        with client(b, 'old') as o:
            assert o.session_present
            assert o.subscribe('more', qos=1) == [0x97]
        # What is in a queue on disk comes, too, and not again.
        with client(b, 'sub') as s:
            assert s.message().payload == b'first'
    answer = p.expect(PUBACK)
    assert (answer.mid, answer.code) == (mid, 0x97)
    assert p.publish_acked('full', b'refused', qos=1) == 0x97
    p.silent(0.1)
    # It recovers by itself.
    limit(b, resource.getrlimit(resource.RLIMIT_FSIZE)[0])
    b.wait_log('can be written again')
    three.expect(PUBACK)
    with Raw(b.port) as q:
        q.connect('q')
        assert q.publish_acked('full', b'last', qos=1) == 0
    again(b)
    with client(b, 'sub') as s:
        got = [s.message().payload for _ in range(3)]
    assert sorted(got) == [b'last', b'three', b'waits']


def test_read_only_folder_is_refused(brokers):
    b = brokers(CONF.replace('location store', 'location /proc/nowhere'), start=False)
    b.refuses('/proc/nowhere.*(No such file|not permitted)')


@pytest.mark.parametrize('end, make, says', [
    ('', os.mkfifo, 'nightjar.db is not a file.*take it away'),
    ('-wal', os.mkfifo, 'nightjar.db-wal is not a file.*take it away'),
    ('-wal', os.mkdir, 'nightjar.db-wal is a folder.*take it away'),
    ('-shm', os.mkfifo, 'nightjar.db-shm is not a file.*take it away')])
def test_no_file_is_refused(brokers, end, make, says):
    """Who opens a pipe waits for its other end."""
    b = brokers(CONF)
    b.stop()
    path = os.path.join(b.folder, 'store', 'nightjar.db' + end)
    if not end:
        os.remove(path)
    make(path)
    b.refuses(says)
    os.rmdir(path) if os.path.isdir(path) else os.remove(path)
    b.start()


@pytest.mark.skipif(os.geteuid() != 0, reason='gives the folder to root')
def test_folder_of_others_is_refused(brokers):
    b = brokers(CONF)
    b.stop()
    folder = os.path.join(b.folder, 'store')
    was = os.stat(folder)
    os.chown(folder, 0, 0)
    os.chmod(folder, 0o755)
    b.refuses('nightjar.db: opening it: .*give the folder, and what it has of this name')
    os.chown(folder, was.st_uid, was.st_gid)
    b.start()


def write_rules(path, text):
    """At once: a broker that starts may be reading them."""
    new = f'{path}.new'
    with open(new, 'w', encoding='ascii') as f:
        f.write(text)
    os.chmod(new, 0o640)
    os.replace(new, path)


@pytest.mark.parametrize('threads', [1, 4])
def test_rules_hold_after_a_restart(brokers, tmp_path, threads):
    """A session that waits for its client has the rules of the listener it came
    by, and is who it was: its will is asked about, and what is queued for it."""
    path = tmp_path / 'acl'
    write_rules(path, 'pattern readwrite #\n')
    b = brokers(f'{CONF}threads {threads}\nacl_file {path}\n')
    with client(b, 'watch', username='admin') as s:
        s.subscribe('#', qos=2)
        s.disconnect()
    held = [client(b, n, username=u, will=(f'will/{n}', b'x', 1, False, {'will_delay': 1}))
            for n, u in (('a', 'alice'), ('b', 'bob'), ('n', None))]
    held += [client(b, 'r', username='bob', will=('kept/r', b'x', 1, True))]
    with client(b, 'reader', username='alice') as s:
        s.subscribe('data/#', qos=2)
        s.subscribe('$share/g/shared', qos=2)
        s.disconnect()
    with client(b, 'other', username='admin') as s:
        s.subscribe('$share/g/shared', qos=2)
        s.disconnect()
    b.kill()
    write_rules(path, 'topic write none\nuser alice\ntopic write will/#\ntopic read data/open\n'
                      'user admin\ntopic #\nuser bob\ntopic read #\n')
    b.start()
    for name in 'bnr':
        b.wait_log(f'Will of {name} not sent')
    with client(b, 'watch', username='admin') as s:
        assert s.message().topic == 'will/a'
        s.silent(0.2)
    with Raw(b.port) as p:
        p.connect('p', username='admin')
        for i in range(4):
            p.publish_acked('data/secret', b'%d' % i, qos=1 + i % 2)
            p.publish_acked('data/open', b'%d' % i, qos=1 + i % 2)
            p.publish_acked('shared', b'%d' % i, qos=1 + i % 2)
    with client(b, 'other', username='admin') as s:
        assert sorted(numbers(s, 4)) == [0, 1, 2, 3]  # nobody else may read them
    with client(b, 'reader', username='alice') as s:
        assert [s.message().topic for _ in range(4)] == ['data/open'] * 4
        s.silent(0.2)
    for c in held:
        c.close()


def test_a_listener_that_is_gone(brokers, tmp_path):
    """What any listener's rules forbid is forbidden to who came by another."""
    paths = [tmp_path / 'one', tmp_path / 'two']
    for p in paths:
        write_rules(p, 'topic #\n')
    b = brokers(f'{CONF}threads 2\nper_listener_settings true\n', start=False)
    second = free_port()

    def conf(*ports):
        b.write_conf(CONF + 'threads 2\nper_listener_settings true\n' + ''.join(
            f'listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {p}\n'
            for port, p in zip(ports, paths)))
    conf(b.port, second)
    b.start()
    with client(b, 'watch') as s:
        s.subscribe('#', qos=1)
        s.disconnect()
    held = []
    for name in 'xy':
        held.append(Raw(second))
        held[-1].connect(name, clean=False, props=FOREVER, will=(f'will/{name}', b'x', 1))
    b.kill()
    write_rules(paths[0], 'topic deny will/x\ntopic #\n')
    conf(b.port, free_port())
    b.start()
    b.wait_log('Will of x not sent')
    with client(b, 'watch') as s:
        assert s.message().topic == 'will/y'
        s.silent(0.2)
    for c in held:
        c.close()


def test_retained_by_a_listener_that_is_gone(brokers, tmp_path):
    """The same of who retained a message: not only the first one's rules count."""
    paths = [tmp_path / 'one', tmp_path / 'two']
    for p in paths:
        write_rules(p, 'topic #\n')
    b = brokers(f'{CONF}per_listener_settings true\n', start=False)

    def conf(*ports):
        b.write_conf(CONF + 'per_listener_settings true\n' + ''.join(
            f'listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {p}\n'
            for port, p in zip(ports, paths)))
    second = free_port()
    conf(b.port, second)
    b.start()
    with Raw(second) as c:
        c.connect('author')
        for topic in ('kept/x', 'kept/y'):
            c.publish_acked(topic, b'1', retain=True)
    b.kill()
    write_rules(paths[1], 'topic deny kept/x\ntopic #\n')
    conf(b.port, free_port())
    b.start()
    with client(b, 'reader') as s:
        s.subscribe('kept/#', qos=1)
        assert s.message().topic == 'kept/y'
        s.silent(0.2)


@pytest.mark.parametrize('qos', [1, 2])
def test_in_flight_and_the_right_is_gone(brokers, tmp_path, qos):
    """What was sent and not acknowledged is not sent again to who may not read
    it any more; a QoS 2 identifier is released."""
    path = tmp_path / 'acl'
    write_rules(path, 'topic #\n')
    b = brokers(f'{CONF}threads 2\nacl_file {path}\n')
    s = client(b, 'sub')
    s.subscribe('#', qos=qos)
    with client(b, 'pub') as p:
        p.publish_acked('secret', b'x', qos=qos)
        p.publish_acked('open', b'1', qos=qos)
    first = s.expect(PUBLISH)
    again(b)
    write_rules(path, 'topic deny secret\ntopic #\n')
    start = b.log_size()
    b.hup()
    b.wait_log(r'Reloaded\.', start)
    s = client(b, 'sub')
    if qos == 2:
        assert s.wait_for(PUBREL).mid == first.mid
        s.ack(PUBCOMP, first.mid)
    assert s.message().topic == 'open'
    s.silent(0.2)
    s.disconnect()
    again(b)
    with client(b, 'sub') as s:
        s.silent(0.2)


def test_much_for_one_shard_at_once(brokers):
    """QoS 2 that goes to other shards is written with theirs; what it weighs
    is given back with it."""
    b = brokers(CONF + 'threads 4\n')
    for i in range(8):
        with client(b, f'sub{i}') as s:
            s.subscribe('big', qos=2)
            s.disconnect()
    with client(b, 'pub') as p:
        for _ in range(26):
            assert p.publish_acked('big', b'x' * 1_900_000, qos=2) == 0


def numbers_of(c, until=None):
    """Of messages, to the one of that number, or to the end of the connection."""
    got = []
    try:
        while until is None or not got or got[-1] < until:
            got.append(int(c.recv().payload[:5]))
    except Closed:
        assert until is None
    return got


def test_queued_qos0_comes_at_most_once(brokers):
    """A crash in the midst of a queue: what may have been sent is not sent once
    more, and little else is lost."""
    b = brokers(CONF + 'queue_qos0_messages true\nthreads 1\n')
    total = 3000
    with client(b, 'sub') as s:
        s.subscribe('q')
        s.disconnect()
    with Raw(b.port) as p:
        p.connect('pub')
        for i in range(total):
            p.publish('q', b'%5d' % i + b'x' * 4000)
        p.publish_acked('other', qos=1)
    time.sleep(0.1)
    with Raw(b.port, rcvbuf=4096) as s:
        s.connect('sub', clean=False, props=FOREVER)
        first = numbers_of(s, until=0)
        b.kill()
        first += numbers_of(s)
    b.start()
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props=FOREVER)
        then = numbers_of(s, until=total - 1)
    assert first + then == sorted(set(first + then))
    assert then and len(first) + len(then) > total - 1000


def flood(socks, data, seconds):
    """As much as the broker takes of data from each."""
    sent = [0] * len(socks)
    end = time.monotonic() + seconds
    for s in socks:
        s.setblocking(False)
    while time.monotonic() < end:
        for i, s in enumerate(socks):
            try:
                sent[i] += s.send(data[sent[i]:sent[i] + 256 * 1024])
            except BlockingIOError:
                pass
        time.sleep(0.001)
    return sent


@pytest.mark.parametrize('what', ['publish', 'pubrel', 'unsubscribe'])
def test_slow_disk(brokers, what):
    """A commit that takes seconds (another program has the database): who waits
    for it is heard no further than there is room for, others are served, and all
    goes on by itself."""
    b = brokers(CONF + 'threads 2\nlog_type none\n')
    with client(b, 'sub') as s:
        s.subscribe('q', qos=1)
        s.disconnect()
    many = [Raw(b.port) for _ in range(20)]
    for i, p in enumerate(many):
        p.connect(f'p{i}')
        p.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    zero = Raw(b.port)
    zero.connect('zero')
    zero.subscribe('zero')
    before = b.rss_kib()
    other = sqlite3.connect(os.path.join(b.folder, 'store', 'nightjar.db'), isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    began = time.monotonic()
    if what == 'publish':
        data = b''.join(packet(PUBLISH, 2, string('q') + struct.pack('>H', i) + b'\0' + b'x' * 16000)
                        for i in range(1, 1001))
    else:
        for p in many:
            p.publish('q', b'first', qos=1)
        body = b'\0' + string('nothing') if what == 'unsubscribe' else b''
        kind = UNSUBSCRIBE if what == 'unsubscribe' else PUBREL
        data = packet(kind, 2, b'\0\x07' + body) * 300_000
    flood([p.sock for p in many], data, 1)
    for i in range(20):
        zero.publish('zero', b'%d' % i)
        assert zero.message().payload == b'%d' % i
    grown = b.rss_kib() - before
    quick = time.monotonic() - began < 4.5
    other.execute('ROLLBACK')
    other.close()
    for p in many:
        p.sock.settimeout(p.timeout)
        assert p.recv().kind == PUBACK
        p.close()
    with Raw(b.port) as q:
        q.connect('q')
        # SQLite gives up after 5 s; what is heard then is refused, until it can write again
        code = q.publish_acked('q', b'last', qos=1)
        assert code == 0 or not quick
        wait_until(lambda: q.publish_acked('q', b'last', qos=1) == 0, 'it is taken')
    if quick and not b.sanitized():
        assert grown < 150_000, f'{grown} KiB more'


def test_slow_disk_and_subscriptions(brokers):
    """More records of subscriptions than may wait for the disk: who makes them is
    heard no further, and his QoS 0 behind them neither."""
    b = brokers(CONF + 'threads 2\nlog_type none\n')
    zero = Raw(b.port)
    zero.connect('zero')
    zero.subscribe('zero')
    many = client(b, 'many')
    behind = client(b, 'behind')
    other = sqlite3.connect(os.path.join(b.folder, 'store', 'nightjar.db'), isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    began = time.monotonic()
    # 32 MiB are 123,000 records of such
    body = (string('a' * 200) + b'\1') * 1000
    data = b''.join(packet(SUBSCRIBE, 2, struct.pack('>H', i + 1) + b'\0' + body) for i in range(150))
    data += packet(PUBLISH, 0, string('zero') + b'\0too early')
    sends = threading.Thread(target=many.send, args=(data,))
    sends.start()
    behind.publish('zero', b'served')
    assert zero.message().payload == b'served'
    try:
        early = zero.recv(1.5)
    except (TimeoutError, socket.timeout):
        early = None
    quick = time.monotonic() - began < 4.5
    other.execute('ROLLBACK')
    other.close()
    assert early is None or not quick
    sends.join()
    for i in range(150):
        ack = many.expect(SUBACK)
        assert ack.mid == i + 1 and len(ack.codes) == 1000
    assert early or zero.message().payload == b'too early'


@pytest.mark.parametrize('said', ['together', 'apart', 'nothing'])
def test_takeover_while_the_disk_is_slow(brokers, said):
    """What a client said before another connection took its place holds, behind
    a SUBSCRIBE that waits for the disk, too: DISCONNECT forgets its will.  And
    its SUBACK does not come before the commit."""
    b = brokers(CONF + 'threads 2\n')
    watch = Raw(b.port)
    watch.connect('watch')
    watch.subscribe('will')
    watch.publish_acked('r', b'kept', qos=1, retain=True)
    a = client(b, 'a', will=('will', b'gone'))
    other = sqlite3.connect(os.path.join(b.folder, 'store', 'nightjar.db'), isolation_level=None)
    other.execute('BEGIN IMMEDIATE')
    goodbye = packet(DISCONNECT, 0, b'')
    subscribe = packet(SUBSCRIBE, 2, b'\0\1\0' + string('r') + b'\1')
    a.send(subscribe + (goodbye if said == 'together' else b''))
    if said == 'apart':
        time.sleep(0.1)
        a.send(goodbye)
    then = Raw(b.port)
    then.send(connect_packet('a', clean=False, props=FOREVER))
    if said == 'nothing':
        assert a.expect(DISCONNECT).code == 0x8e
        assert watch.message().payload == b'gone'
    assert a.closed() is None
    other.execute('ROLLBACK')
    other.close()
    assert then.wait_for(CONNACK).session_present
    watch.publish('r', b'new', qos=1)
    watch.expect(PUBACK)
    while then.message().payload != b'new':
        pass
    watch.silent(0.2)


def test_refusals_overtake_nothing(durable):
    """A SUBACK that need not wait for the disk, with all refused, stands behind
    what does."""
    with client(durable, 'orders') as c:
        body = struct.pack('>HB', 7, 0) + string('$share//bad') + b'\1'
        for i in range(20):
            c.publish('orders', str(i), 1, mid=100 + i)
            mid = c.send_subscribe(f'a/{i}', qos=1)
            c.send(packet(SUBSCRIBE, 2, body))
            got = [c.recv() for _ in range(3)]
            assert [(p.kind, p.mid) for p in got] == [(PUBACK, 100 + i), (SUBACK, mid), (SUBACK, 7)]
            assert got[2].codes == [0x8f]


# -- who says all at once, and listens to the end

@pytest.fixture(scope='module')
def ways(base_folder, pki):
    """A broker on a disk by TCP, TLS, WebSocket and both; its ports."""
    factory = Factory(base_folder)
    tls = f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
    more = {way: free_port() for way in ('tls', 'ws', 'wss')}
    conf = CONF + 'threads 2\n'
    for way, port in more.items():
        conf += f'listener {port} {HOST}\n' + ('protocol websockets\n' if 'ws' in way else '')
        conf += tls if way in ('tls', 'wss') else ''
    b = factory(conf, more.values())
    yield {'tcp': b.port, **more}
    factory.finish()


def by(ways, way, pki, **kw):
    tls = tls_context(pki.ca) if way in ('tls', 'wss') else None
    return (RawWs if 'ws' in way else Raw)(ways[way], tls=tls, **kw)


def to_the_end(c):
    """What it is told until the broker closes."""
    got = []
    try:
        while True:
            got.append(c.recv())
    except Closed:
        return got


def all_at_once(name, version):
    """CONNECT, SUBSCRIBE, PUBLISH of each QoS, UNSUBSCRIBE; and what is said to
    that."""
    none = b'\0' if version == 5 else b''
    return (connect_packet(name, version=version, clean=False, props=FOREVER)
            + packet(SUBSCRIBE, 2, struct.pack('>H', 1) + none + string('own/' + name) + b'\1')
            + packet(PUBLISH, 2, string('last/words') + struct.pack('>H', 2) + none + b'one')
            + packet(PUBLISH, 4, string('last/words') + struct.pack('>H', 3) + none + b'two')
            + packet(UNSUBSCRIBE, 2, struct.pack('>H', 4) + none + string('own/' + name)),
            [(CONNACK, 0), (SUBACK, 1), (PUBACK, 2), (PUBREC, 3), (UNSUBACK, 4)])


@pytest.mark.parametrize('way,version,end', [
    ('tcp', 4, 'disconnect'), ('tcp', 4, 'fin'), ('ws', 5, 'close'), ('wss', 5, 'close'),
    *((way, 5, end) for way in ('tcp', 'tls', 'ws', 'wss') for end in ('disconnect', 'fin'))])
def test_what_was_said_last_is_acknowledged(ways, pki, way, version, end):
    """Also where it waits for the disk, and the DISCONNECT, or the end of the
    client's stream, is read meanwhile."""
    name = f'last-{way}-{version}-{end}'
    said, want = all_at_once(name, version)
    with Raw(ways['tcp']) as s:
        s.connect('keeper-' + name, clean=False, props=FOREVER)
        s.subscribe('last/#', qos=2)
        with by(ways, way, pki, version=version) as c:
            tcp = c.ws.sock if 'ws' in way else c.sock
            if end == 'disconnect':
                c.send(said + packet(DISCONNECT, 0, b''))
            elif end == 'close':
                tcp.sendall(frame(BINARY, said) + frame(CLOSE, struct.pack('>H', 1000)))
            else:
                c.send(said)
                socket.socket.shutdown(tcp, socket.SHUT_WR)
            got = to_the_end(c)
            assert [(p.kind, p.mid if p.kind != CONNACK else 0) for p in got] == want
            if 'ws' in way and end != 'fin':
                assert c.ws.close_code() == 1000
        assert [s.message().payload for _ in range(2)] == [b'one', b'two']


def test_its_will_does_not_wait_for_that(ways):
    """The end of the stream is no DISCONNECT [MQTT-3.1.2-8]."""
    with Raw(ways['tcp']) as s, Raw(ways['tcp']) as keeper, Raw(ways['tcp']) as c:
        keeper.connect('will-keeper', clean=False, props=FOREVER)
        keeper.subscribe('w/#', qos=1)
        s.connect()
        s.subscribe('w/will')
        c.connect(will=('w/will', b'gone'))
        mid = c.publish('w/last', b'x', qos=1)
        c.sock.shutdown(socket.SHUT_WR)
        assert [(p.kind, p.mid) for p in to_the_end(c)] == [(PUBACK, mid)]
        assert s.message().payload == b'gone'
        assert {keeper.message().payload for _ in range(2)} == {b'x', b'gone'}
