# SPDX-License-Identifier: Apache-2.0
"""Sessions that outlive their connection: resume, queues, takeover, expiry."""
import contextlib
import os
import signal
import struct
import time

import pytest

import pahoc
from harness import paced, wait_until
from raw import (CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL,
                 SUBACK, SUBSCRIBE, Closed, Raw, connect_packet, packet, properties, string)

LONG = {'session_expiry': 600}
TAKEN_OVER = 0x8e


def offline_session(port, client_id, *filters, qos=1, version=5):
    """Leaves a session with subscriptions behind."""
    with Raw(port, version=version) as c:
        c.connect(client_id, clean=True, props=LONG) if version == 5 else \
            c.connect(client_id, clean=False)
        c.subscribe(*filters, qos=qos)
        c.disconnect()


@pytest.mark.parametrize('version', [4, 5])
@pytest.mark.parametrize('qos', [1, 2])
def test_queued_while_offline(broker, topic, version, qos):
    name = f'offline-{version}-{qos}'
    offline_session(broker.port, name, topic, qos=2, version=version)
    with Raw(broker.port) as p:
        p.connect(name + '-publisher')
        for i in range(50):
            p.publish_acked(topic, str(i), qos)
    with Raw(broker.port, version=version) as c:
        ack = c.connect(name, clean=False, **({'props': LONG} if version == 5 else {}))
        assert ack.session_present		# [MQTT-3.2.2-3]
        got = [c.message() for _ in range(50)]
        assert [int(m.payload) for m in got] == list(range(50))
        assert {m.qos for m in got} == {qos}
        c.silent(0.2)


def test_paho_resumes(broker, topic):
    with pahoc.Client(broker.port, 'paho-resume', pahoc.V311, clean=False) as c:
        assert not c.session_present
        c.subscribe(topic, 1)
    with pahoc.Client(broker.port, 'paho-resume-pub') as p:
        p.publish(topic, b'kept', 1)
    with pahoc.Client(broker.port, 'paho-resume', pahoc.V311, clean=False) as c:
        assert c.session_present
        assert c.message().payload == b'kept'


def test_qos0_is_not_queued(broker, topic):
    offline_session(broker.port, 'no-qos0', topic)
    with Raw(broker.port) as p:
        p.connect('no-qos0-pub')
        p.publish(topic, 'lost')
        p.publish_acked(topic, 'kept', 1)
    with Raw(broker.port) as c:
        c.connect('no-qos0', clean=False)
        assert c.message().payload == b'kept'


def test_clean_start_discards(broker, topic):
    """[MQTT-3.1.2-4]"""
    offline_session(broker.port, 'cleaner', topic)
    with Raw(broker.port) as p:
        p.connect('cleaner-pub')
        p.publish_acked(topic, 'old', 1)
        with Raw(broker.port) as c:
            assert not c.connect('cleaner', clean=True).session_present
            p.publish_acked(topic, 'new', 1)
            c.silent()


def test_no_session_without_expiry(broker, topic):
    """3.1.2.11.2: without the property the session ends with the connection."""
    with Raw(broker.port) as c:
        c.connect('short')
        c.subscribe(topic)
        c.disconnect()
    with Raw(broker.port) as c:
        assert not c.connect('short', clean=False).session_present


@paced
def test_session_expires(broker, topic, pace):
    with Raw(broker.port) as c:
        c.connect('expires', props={'session_expiry': pace})
        c.subscribe(topic)
        c.disconnect()
    with Raw(broker.port) as c:
        assert c.connect('expires', clean=False, props={'session_expiry': pace}).session_present
        c.disconnect()
    time.sleep(pace + 1.5)
    with Raw(broker.port) as c:
        assert not c.connect('expires', clean=False).session_present


def test_disconnect_changes_expiry(broker):
    """3.14.2.2.2: DISCONNECT may shorten or lengthen what CONNECT asked."""
    with Raw(broker.port) as c:
        c.connect('changes', props=LONG)
        c.disconnect(props={'session_expiry': 0})
    with Raw(broker.port) as c:
        assert not c.connect('changes', clean=False).session_present


def test_disconnect_may_not_raise_zero_expiry(broker):
    """3.14.2.2.2: a protocol error."""
    with Raw(broker.port) as c:
        c.connect('raises')
        c.send(packet(DISCONNECT, 0, b'\x00\x05\x11\x00\x00\x00\x0a'))
        assert c.closed() in (0x82, None)


@pytest.mark.ours
@pytest.mark.parametrize('version', [4, 5])
def test_takeover(broker, topic, version):
    """[MQTT-3.1.4-3]: the old connection is told and closed."""
    with Raw(broker.port, version=version) as old, Raw(broker.port, version=version) as new:
        name = f'taken-{version}'
        old.connect(name, clean=False, **({'props': LONG} if version == 5 else {}))
        old.subscribe(topic, qos=1)
        ack = new.connect(name, clean=False, **({'props': LONG} if version == 5 else {}))
        assert ack.session_present
        code = old.closed()
        assert code == (TAKEN_OVER if version == 5 else None)
        new.publish(topic, 'mine', 1)
        assert {new.recv().kind, new.recv().kind} == {PUBACK, PUBLISH}


@pytest.mark.ours
def test_takeover_chain(broker, topic):
    """Twenty connections of one client: only the last one lives."""
    clients = []
    for _ in range(20):
        c = Raw(broker.port)
        c.connect('chain', clean=False, props=LONG)
        clients.append(c)
    for c in clients[:-1]:
        assert c.closed() == TAKEN_OVER
    clients[-1].subscribe(topic)
    clients[-1].publish(topic, 'alive')
    assert clients[-1].message().payload == b'alive'
    for c in clients:
        c.close()


@pytest.mark.parametrize('qos', [1, 2])
def test_unacknowledged_is_sent_again(broker, topic, qos):
    """[MQTT-4.4.0-1], with DUP [MQTT-3.3.1-1] and the same identifier."""
    name = f'again-{qos}'
    with Raw(broker.port) as c:
        c.connect(name, props=LONG)
        c.subscribe(topic, qos=2)
        with Raw(broker.port) as p:
            p.connect(name + '-pub')
            p.publish_acked(topic, 'x', qos)
        first = c.expect(PUBLISH)
        assert not first.dup
    broker.wait_log('again')
    with Raw(broker.port) as c:
        assert c.connect(name, clean=False, props=LONG).session_present
        second = c.message()
        assert second.dup and second.mid == first.mid and second.payload == b'x'
        c.silent(0.2)


def test_qos2_continues_with_pubrel(broker, topic):
    """After PUBREC only PUBREL is sent again [MQTT-4.4.0-1]."""
    with Raw(broker.port) as c:
        c.connect('pubrel', props=LONG)
        c.subscribe(topic, qos=2)
        with Raw(broker.port) as p:
            p.connect('pubrel-pub')
            p.publish_acked(topic, 'x', 2)
        first = c.expect(PUBLISH)
        c.ack(PUBREC, first.mid)
        c.expect(PUBREL)
    with Raw(broker.port) as c:
        c.connect('pubrel', clean=False, props=LONG)
        assert c.expect(PUBREL).mid == first.mid
        c.ack(PUBCOMP, first.mid)
        c.silent(0.2)


def test_qos2_publisher_resumes_without_duplicate(broker, topic):
    """The broker remembers identifiers until PUBREL [MQTT-4.3.3-10]."""
    with Raw(broker.port) as s:
        s.connect('once-sub')
        s.subscribe(topic, qos=2)
        with Raw(broker.port) as p:
            p.connect('once-pub', props=LONG)
            mid = p.publish(topic, 'once', 2)
            p.expect(PUBREC)
        with Raw(broker.port) as p:
            assert p.connect('once-pub', clean=False, props=LONG).session_present
            p.publish(topic, 'once', 2, dup=True, mid=mid)
            p.expect(PUBREC)
            p.ack(PUBREL, mid)
            p.expect(PUBCOMP)
        assert s.message().payload == b'once'
        s.silent()


def test_inflight_window(broker, topic):
    """Never more unacknowledged than the client's Receive Maximum
    [MQTT-3.3.4-9]."""
    with Raw(broker.port) as c:
        c.connect('window', props={'receive_maximum': 3})
        c.subscribe(topic, qos=1)
        with Raw(broker.port) as p:
            p.connect('window-pub')
            for i in range(10):
                p.publish_acked(topic, str(i), 1)
        got = [c.expect(PUBLISH) for _ in range(3)]
        c.silent()
        for i in range(3, 10):
            c.ack(PUBACK, got[-3].mid)
            got.append(c.expect(PUBLISH))
        assert [int(m.payload) for m in got] == list(range(10))


@pytest.mark.ours
def test_broker_enforces_its_receive_maximum(broker, topic):
    """More unreleased QoS 2 than it announced: DISCONNECT 0x93 [MQTT-3.3.4-7]."""
    with Raw(broker.port) as c:
        limit = c.connect('flood').props.get('receive_maximum', 65535)
        if limit > 5000:
            pytest.skip(f'announces {limit}')
        try:
            for i in range(1, limit + 20):
                c.publish(topic, 'x', 2, mid=i)
        except OSError:
            pass
        assert c.closed() == 0x93


@pytest.mark.ours
@pytest.mark.parametrize('done', [False, True], ids=['open', 'done'])
def test_released_of_an_earlier_connection_gives_room(brokers, topic, done):
    """A PUBCOMP adds to the client's quota also where PUBREL was sent again on a new connection
    (4.9), so one that counts as 4.9 says may send more than Receive Maximum then; no more than that."""
    b = brokers('max_inflight_messages 2\n')
    with Raw(b.port) as c:
        c.connect('again', props=LONG)
        for mid in (1, 2):
            c.publish(topic, 'old', 2, mid=mid)
            c.expect(PUBREC)
            if done:				# and its PUBCOMP is lost
                c.ack(PUBREL, mid)
                c.expect(PUBCOMP)
    with Raw(b.port) as c:
        assert c.connect('again', clean=False, props=LONG).props['receive_maximum'] == 2
        for mid in (1, 2):
            c.ack(PUBREL, mid)
        for mid in (3, 4):
            c.publish(topic, 'new', 2, mid=mid)
        for kind, mid in ((PUBCOMP, 1), (PUBCOMP, 2), (PUBREC, 3), (PUBREC, 4)):
            assert c.expect(kind).mid == mid
        for mid in (5, 6):			# for the two PUBCOMPs
            c.publish(topic, 'new', 2, mid=mid)
            assert c.expect(PUBREC).mid == mid
        c.publish(topic, 'too many', 2, mid=7)
        assert c.closed() == 0x93


def test_queue_bound(brokers, topic):
    """A full offline queue drops; what is kept keeps its order."""
    b = brokers('max_queued_messages 10\nmax_inflight_messages 5\n')
    offline_session(b.port, 'bounded', topic)
    with Raw(b.port) as p:
        p.connect('bounded-pub')
        for i in range(100):
            p.publish_acked(topic, str(i), 1)
    with Raw(b.port) as c:
        c.connect('bounded', clean=False)
        got = [int(m.payload) for m in c.gather(5, 0.6)]
        assert 5 <= len(got) <= 20 and got == sorted(got)


def test_assigned_client_id(broker):
    """[MQTT-3.1.3-6], [-7]; the name is unique."""
    names = set()
    for _ in range(3):
        with Raw(broker.port) as c:
            names.add(c.connect('').props['assigned_client_id'])
    assert len(names) == 3 and all(names)


def test_empty_id_with_kept_session_is_refused_in_311(broker):
    """[MQTT-3.1.3-8] of 3.1.1: code 2, then close."""
    with Raw(broker.port, version=4) as c:
        c.connect('', clean=False, want=2)
        assert c.closed() is None


@pytest.mark.parametrize('seconds, want_drop', [(1, True), (0, False)])
@paced
def test_keep_alive(broker, seconds, want_drop, pace):
    """Silence for 1.5 keep alive periods ends it [MQTT-3.1.2-22]."""
    with Raw(broker.port) as c:
        c.connect('keepalive', keepalive=seconds * pace)
        began = time.monotonic()
        try:
            c.recv(7 * pace)
        except Closed:
            took = time.monotonic() - began
        except TimeoutError:
            assert not want_drop
            return
        else:
            took = time.monotonic() - began	# DISCONNECT 0x8d came first
        assert want_drop and 1.3 * pace <= took <= 6.5 * pace


@paced
def test_ping_keeps_alive(broker, pace):
    with Raw(broker.port) as c:
        c.connect('pinger', keepalive=pace)
        for _ in range(5):
            time.sleep(0.6 * pace)
            c.ping()


def test_many_sessions_over_shards(broker, topic):
    """Sessions live on different shards, and all hear one publish."""
    clients = []
    for i in range(64):
        c = Raw(broker.port)
        c.connect(f'many-{i}')
        c.subscribe(topic, qos=1)
        clients.append(c)
    with Raw(broker.port) as p:
        p.connect('many-pub')
        for i in range(5):
            assert p.publish_acked(topic, struct.pack('>I', i), 1) == 0
    for c in clients:
        assert [struct.unpack('>I', c.message().payload)[0] for _ in range(5)] == list(range(5))
        c.close()


@contextlib.contextmanager
def held(broker):
    """The broker sleeps meanwhile; the kernel takes what comes."""
    def asleep():
        tasks = f'/proc/{broker.pid}/task'
        return all(open(f'{tasks}/{t}/stat', encoding='ascii').read().rsplit(')', 1)[1].split()[0] == 'T'
                   for t in os.listdir(tasks))

    os.kill(broker.pid, signal.SIGSTOP)
    try:
        wait_until(asleep, 'the broker is stopped')
        yield
    finally:
        os.kill(broker.pid, signal.SIGCONT)


@pytest.mark.parametrize('version', [4, 5])
def test_last_words_come_before_the_next_connection(brokers, version):
    """Who publishes, says goodbye and comes back at once has published and
    said goodbye, however busy the broker is."""
    b = brokers()
    names = [f'hasty-{i}' for i in range(12)]
    with Raw(b.port) as watcher, contextlib.ExitStack() as stack:
        watcher.connect('watcher')
        watcher.subscribe('said/#', 'will/#')
        old = [stack.enter_context(Raw(b.port, version=version)) for _ in names]
        for c, name in zip(old, names):
            c.connect(name, will=(f'will/{name}', 'gone', 0))
        new = [stack.enter_context(Raw(b.port, version=version)) for _ in names]
        wait_until(lambda: b.log().count('New connection') > 2 * len(names), 'the broker knows them')
        with held(b):
            for c, d, name in zip(old, new, names):
                d.send(connect_packet(name, version=version))
                c.publish(f'said/{name}', '1')
                c.publish(f'said/{name}', '2')
                c.send(packet(DISCONNECT, 0, b''))
                c.close()
        got = sorted((m.topic, m.payload) for m in (watcher.message() for _ in range(2 * len(names))))
        assert got == sorted((f'said/{n}', p) for n in names for p in (b'1', b'2'))
        watcher.silent(0.2)
        for d in new:
            assert d.recv().code == 0


@pytest.mark.parametrize('version', [3, 4, 5])
def test_who_says_all_at_once_is_answered(brokers, version):
    """Small clients write CONNECT, what they have to say and DISCONNECT in one
    go, and read the answers then."""
    b = brokers()
    for i in range(6):  # on any shard, here or elsewhere
        with Raw(b.port, version=version) as c:
            props = properties(None) if version == 5 else b''
            c.send(connect_packet(f'terse-{i}', version=version)
                   + packet(SUBSCRIBE, 2, b'\0\1' + props + string('terse/other') + b'\1')
                   + packet(PUBLISH, 2, string('terse/t') + b'\0\2' + props + b'said')
                   + packet(PINGREQ, 0, b'') + packet(DISCONNECT, 0, b''))
            assert [c.recv().kind for _ in range(4)] == [CONNACK, SUBACK, PUBACK, PINGRESP]
            with pytest.raises(Closed):
                c.recv()


@paced
def test_keep_alive_of_a_broker_that_slept(brokers, pace):
    """Silence is the client's only when the broker could have heard it: after
    the machine slept what came meanwhile is read before deadlines are."""
    b = brokers()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(b.port)) for _ in range(8)]
        for i, c in enumerate(clients):
            c.connect(f'patient-{i}', keepalive=pace)
        with held(b):
            for c in clients:
                c.send(packet(PINGREQ, 0, b''))
            time.sleep(1.5 * pace + 0.5)
        for c in clients:
            assert c.recv().kind == PINGRESP
