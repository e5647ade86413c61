# SPDX-License-Identifier: Apache-2.0
"""Cases 14 and 16 to 32 of the threats: well-formed packets, too many of them.

Where memory counts a test runs twice: on the sanitized build, which finds what
is wrong, and on the release build, which shows what it costs."""
import contextlib
import itertools
import os
import random
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import pahoc
import wsraw
from attack import (A_SECOND, MIB, QUOTA, descriptors, fate, find_release, own_descriptors, publish_packet, reset,
                    subscribe_packet, sys_value, told, tool, unharmed)
from harness import HOST, NIGHTJAR, PATIENCE, free_port, paced, wait_until
from raw import (CONNACK, CONNECT, DISCONNECT, PINGREQ, PUBACK, PUBLISH, PUBREC, SUBACK, UNSUBACK,
                 UNSUBSCRIBE, Closed, Raw, connect_packet, packet, properties, string)

RATE, TAKEN_OVER, RECEIVE_MAX, KEEP_ALIVE = 0x9f, 0x8e, 0x93, 0x8d
FOREVER = {'session_expiry': 0xffffffff}


@pytest.mark.skip(reason='there are no bridges yet')
def test_case_14_hostile_bridge_peer():
    pass


def send_all(c, packets, most=64 * 1024):
    """Many packets in few writes; what comes back is thrown away, up to the
    answer of a PINGREQ behind them."""
    tail = batch = b''
    for p in itertools.chain(packets, [None]):
        if p is None or len(batch) + len(p) > most:
            c.send(batch)
            batch = b''
            c.sock.setblocking(False)
            with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                while got := c.sock.recv(1 << 20):
                    tail = (tail + got)[-2:]
            c.sock.settimeout(c.timeout)
        batch += p or b''
    c.send(b'\xc0\x00')
    while tail != b'\xd0\x00':
        got = c.sock.recv(1 << 20)
        assert got, 'closed instead of served'
        tail = (tail + got)[-2:]


def drain(c, kind=PUBACK, code=None, timeout=None):
    """Reads acknowledgements up to the answer of a PINGREQ; how often each
    code came."""
    c.send(b'\xc0\x00')
    seen = {}
    while True:
        p = c.recv(timeout)
        if p.kind == 13:
            return seen
        if p.kind == kind:
            seen[p.code] = seen.get(p.code, 0) + 1


def test_case_16_million_topics(start_release):
    """200,000 topics that nobody keeps: no memory."""
    b = start_release()
    with unharmed(b, grows=2 * MIB), Raw(b.port) as c:
        c.connect('topics')
        send_all(c, (publish_packet(f'sensors/{i % 1000}/{i}') for i in range(200_000)))


def test_case_16_retained_topics_of_one_user(start_both):
    """What one client may keep is less than what all may."""
    b = start_both('max_retained_messages_per_user 500\nmax_retained_messages 2000\n')
    with unharmed(b, grows=4 * MIB), Raw(b.port) as c, Raw(b.port) as other:
        c.connect('hoards')
        start = b.log_size()
        for i in range(5000):
            c.publish(f'hoard/{i}', 'x', 1, retain=True)
        codes = drain(c)
        assert codes == {0x10: 500, QUOTA: 4500} or codes == {0: 500, QUOTA: 4500}
        # a line for each would be 4,500
        told(b, start, 'hoards.*max_retained_messages_per_user', most=4 * A_SECOND, a_second=4 * A_SECOND)
        # its own can be replaced and deleted, and others have their share
        assert c.publish_acked('hoard/7', 'new', retain=True) < 0x80
        assert c.publish_acked('hoard/8', '', retain=True) < 0x80
        assert c.publish_acked('hoard/again', 'x', retain=True) < 0x80
        assert c.publish_acked('hoard/more', 'x', retain=True) == QUOTA
        other.connect('other')
        assert other.publish_acked('other', 'x', retain=True) < 0x80
        # a topic belongs to who wrote it last
        assert other.publish_acked('hoard/7', 'mine', retain=True) < 0x80
        assert c.publish_acked('hoard/more', 'x', retain=True) < 0x80
        assert c.publish_acked('hoard/too/much', 'x', retain=True) == QUOTA


def overlapping(depth):
    """Filters with + or the name at each level: all match one topic."""
    return ['/'.join(v) for v in itertools.product('a+', repeat=depth)]


def subscribe_all(c, filters, each=1000):
    codes = []
    for at in range(0, len(filters), each):
        codes += c.subscribe(*filters[at:at + each])
    return codes


def test_case_17_overlapping_subscriptions(start_both):
    """10,000 of one client: it gets each message once; no more are taken."""
    b = start_both()
    filters = overlapping(13) + ['/'.join(v) + '/#' for v in itertools.product('a+', repeat=11)]
    with unharmed(b, grows=16 * MIB), Raw(b.port) as c:
        c.connect('overlaps')
        start = b.log_size()
        codes = subscribe_all(c, filters)
        assert len(filters) == 10_240 and codes.count(0) == 10_000
        assert codes[10_000:] == [QUOTA] * 240
        for _ in range(20):
            c.publish('/'.join('a' * 13), 'x', 1)
        kinds = [c.recv().kind for _ in range(40)]
        assert kinds.count(PUBLISH) == kinds.count(PUBACK) == 20
        c.silent(0.1)
        # replacing one stays possible
        assert c.subscribe((filters[0], 1)) == [1]


def test_case_17_match_work_of_one_message(start_both):
    """Topics of many levels against a tree made for them: refused by name, at
    once, and the topics of others are not."""
    b = start_both('max_subscriptions_per_client 0\n')
    tail = '/b' * 180
    with unharmed(b, grows=500 * MIB), Raw(b.port) as c, Raw(b.port) as p:
        c.connect('bush')
        assert set(subscribe_all(c, [f + tail for f in overlapping(10)], 200)) == {0}
        start = b.log_size()
        p.connect('pub')
        assert p.publish_acked('/'.join('a' * 10) + tail) == QUOTA
        assert p.publish_acked('/'.join('a' * 10) + '/c' * 180) == 0x10
        told(b, start, 'Publish of pub .*max_match_work', most=1)
        send_all(p, [publish_packet('/'.join('a' * 10) + tail + str(i)) for i in range(100)])
        told(b, start, 'Publish of pub .*max_match_work', most=2 * A_SECOND, a_second=A_SECOND)


def test_case_17_retained_messages_for_every_filter(start_both):
    """A SUBSCRIBE of 2,000 filters that each look at 5,000 retained messages:
    others are served in between, and the slow answer is whole."""
    b = start_both()
    with unharmed(b, latency=0.5, grows=24 * MIB), Raw(b.port) as p, Raw(b.port) as c:
        p.connect('keeps')
        send_all(p, [publish_packet(f'keep/{i}', flags=1, payload=b'x') for i in range(5000)])
        c.connect('looks')
        c.send(subscribe_packet(*((f'+/{"+/" * (i % 7)}none{i}', 0) for i in range(2000)), ('keep/#', 0)))
        ack = c.expect(SUBACK)
        assert len(ack.codes) == 2001 and set(ack.codes) == {0}
        got = {c.expect(PUBLISH).topic for _ in range(5000)}
        assert len(got) == 5000
        c.ping()


def test_case_17_work_goes_on_after_a_pause(start_both):
    """Retained messages that fill the socket wait for the client instead of
    being dropped; a client that goes away in the middle leaves nothing."""
    b = start_both('max_output_bytes 100000\n')
    with unharmed(b, grows=24 * MIB), Raw(b.port) as p:
        p.connect('keeps')
        for i in range(2000):
            p.publish(f'big/{i}', b'y' * 3000, retain=True)
        p.ping()
        with Raw(b.port, rcvbuf=8192) as c:
            c.connect('late')
            c.send(subscribe_packet(('big/#', 0)))
            time.sleep(0.5)
            assert c.expect(SUBACK).codes == [0]
            assert len({c.expect(PUBLISH).topic for _ in range(2000)}) == 2000
            c.ping()
        for _ in range(5):
            with Raw(b.port, rcvbuf=8192) as c:
                c.connect('gone')
                c.send(subscribe_packet(*[('big/#', 0)] * 50))
                c.expect(SUBACK)


def test_case_18_retained_quota(start_both):
    """CVE-less, but everybody's: the limit of all retained messages, by number
    and by bytes."""
    b = start_both('max_retained_messages 1000\nmax_retained_bytes 2M\n')
    with unharmed(b, grows=8 * MIB), Raw(b.port) as c:
        c.connect('keeps')
        start = b.log_size()
        for i in range(3000):
            c.publish(f'k/{i}', 'x', 1, retain=True)
        assert drain(c)[QUOTA] >= 2000
        told(b, start, 'Publish of keeps .*max_retained_messages', most=4 * A_SECOND, a_second=4 * A_SECOND)
        for i in range(1000):
            c.publish(f'k/{i}', '', 1, retain=True)
        drain(c)
        for i in range(40):
            c.publish(f'b/{i}', b'x' * 100_000, 1, retain=True)
        codes = drain(c)
        assert codes[QUOTA] > 15 and sum(codes.values()) == 40


def test_case_19_offline_flood(start_both):
    """A session that is away keeps max_queued_messages, and no more bytes
    than it may; the log tells of what is lost, in few lines."""
    b = start_both('max_queued_messages 1000\nmax_queued_bytes 4M\n')
    start = b.log_size()
    with Raw(b.port) as c:
        c.connect('away', props=FOREVER)
        c.subscribe('flood/#', qos=1)
    with unharmed(b, grows=10 * MIB), Raw(b.port) as p:
        p.connect('floods')
        send_all(p, (publish_packet('flood/a', 1, mid=i % 60000 + 1, payload=b'x') for i in range(20_000)))
        send_all(p, (publish_packet('flood/b', 1, mid=i % 60000 + 1, payload=b'x' * 100_000)
                     for i in range(200)), most=1 << 20)
    told(b, start, r'being dropped for client away: .*\(max_queued_messages 1000\).*To mend it: ', most=2, a_second=1)
    with Raw(b.port) as c:
        assert c.connect('away', clean=False, props=FOREVER).session_present
        got = [c.message() for _ in range(1000)]
        assert all(m.topic == 'flood/a' for m in got)
        c.silent(0.2)


def test_case_20_qos2_without_pubrel(start_both):
    """CVE-2023-28366: identifiers reused and never released."""
    b = start_both()
    with unharmed(b, grows=3 * MIB):
        for version, want in ((5, RECEIVE_MAX), (4, None)):
            with Raw(b.port, version=version) as c:
                c.connect('norel')
                start = b.log_size()
                none = b'\0' if version == 5 else b''
                if version == 5:
                    c.send(b''.join(publish_packet('t', 2, mid=i + 1) for i in range(21)))
                    assert fate(c) == want
                    told(b, start, 'Client norel disconnected: more than 20 QoS 2', most=1)
                else:
                    # 3.1.1 has no Receive Maximum: identifiers are the bound
                    send_all(c, (publish_packet('t', 2, mid=i % 65535 + 1, props=none, payload=b'x' * 100)
                                 for i in range(150_000)))
                    assert b.alive()
        with Raw(b.port) as c:		# the same identifier again is the same message
            c.connect('again')
            c.subscribe('t', qos=2)
            for _ in range(1000):
                c.publish('t', 'once', 2, mid=7)
            c.ack(6, 7)
            assert sum(p.kind == PUBLISH for p in until_ping(c)) == 1


def until_ping(c):
    c.send(b'\xc0\x00')
    out = []
    while not out or out[-1].kind != 13:
        out.append(c.recv())
    return out


@pytest.mark.parametrize('qos', [0, 1])
@paced
def test_case_21_zero_window_reader(start_both, qos, pace):
    """A subscriber that stops reading loses QoS 0 first, and is disconnected
    in the end; another subscriber gets all, in time."""
    b = start_both(f'slow_reader_timeout {2 * pace}\nmax_output_bytes 1000000\nmax_queued_messages 200\n')
    start = b.log_size()
    with unharmed(b, grows=24 * MIB), Raw(b.port, rcvbuf=4096) as stalled, Raw(b.port) as reader, \
            Raw(b.port) as p:
        stalled.connect('stalled')
        stalled.subscribe('fan/t', qos=qos)
        reader.connect('reader')
        reader.subscribe('fan/t', qos=0)
        p.connect('pub')
        for i in range(600):
            p.publish('fan/t', struct.pack('>I', i) + b'x' * 20000)
            assert struct.unpack('>I', reader.message().payload[:4])[0] == i
        told(b, start, 'Client stalled disconnected: it has read nothing', most=1)
        told(b, start, r'being dropped for client stalled: .*\(max_output_bytes 1000000\)', most=2, a_second=1)


def test_case_22_flood_without_reading(start_both):
    """PINGREQ and SUBSCRIBE by the thousand from a peer that never reads: what
    waits for it is bounded, and then it is not heard any more."""
    b = start_both('slow_reader_timeout 2\n')
    start = b.log_size()
    with unharmed(b, grows=16 * MIB), Raw(b.port, rcvbuf=4096) as c:
        c.connect('flood')
        c.sock.setblocking(False)
        batch = packet(PINGREQ, 0, b'') * 10_000 + subscribe_packet(('flood/t', 0)) * 3000
        sent, says = 0, 'Client flood disconnected: it has read nothing'

        def over():
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                while sent < 60 << 20:
                    sent += c.sock.send(batch[sent % len(batch):])
            return sent >= 60 << 20 or re.search(says, b.log(start))
        with contextlib.suppress(ConnectionError):
            wait_until(over, 'it is not heard any more')
        assert sent < 60 << 20
        told(b, start, says, most=1)


def test_case_22_subscribe_flood(start_both):
    """Packets of 100,000 filters, each one more than it may have."""
    b = start_both('max_subscriptions_per_client 100\n')
    body = b''.join(string(f'{i}') + b'\0' for i in range(100_000))
    data = packet(8, 2, b'\0\1\0' + body)
    with unharmed(b, grows=12 * MIB), Raw(b.port) as c:
        c.connect('greedy')
        for _ in range(3):
            c.send(data)
            codes = c.expect(SUBACK).codes
            assert codes.count(0) == 100 and codes.count(QUOTA) == 99_900
        c.ping()


def test_case_22_unsubscribe_flood(start_both):
    """One packet of 600,000 filters: others are served in between."""
    b = start_both('threads 1\n')
    many = 600_000
    data = packet(UNSUBSCRIBE, 2, b'\0\1\0' + string('none') + string('a') * many + string('none'))
    with unharmed(b, grows=16 * MIB), Raw(b.port) as c, Raw(b.port) as other:
        c.connect('forgets')
        other.connect('other')
        turns = tries = 0
        while turns <= 3 and tries < 5:		# we may have missed turns on a busy machine
            c.subscribe('a')
            c.send(data[:-1])
            for _ in range(30):     # a turn each: what has come so far has been read
                other.ping()
            c.send(data[-1:])
            turns, tries = 0, tries + 1
            while not select.select([c.sock], [], [], 0)[0]:
                other.ping()
                turns += 1
            codes = c.expect(UNSUBACK).codes
            assert len(codes) == many + 2 and codes[:3] == [0x11, 0, 0x11]
        assert turns > 3, 'the whole packet was one turn of work'
        c.ping()


def test_case_22_subscriptions_of_a_full_queue(start_both):
    """What a filter more costs a session does not depend on how many it has,
    with queue_full_policy refuse and a queue that is full, too."""
    b = start_both('threads 1\nqueue_full_policy refuse\nmax_queued_messages 2\n')
    with unharmed(b, grows=24 * MIB), Raw(b.port) as c, Raw(b.port) as p:
        c.connect('full', props={'receive_maximum': 1})
        p.connect('pub')
        subscribe_all(c, [(f'full/{i}', 1) for i in range(9990)])
        assert [p.publish_acked('full/0', qos=1) for _ in range(4)] == [0, 0, 0, QUOTA]
        c.expect(PUBLISH)
        # who comes is refused for, too, and no more who goes
        c.subscribe('full/new', qos=1)
        assert p.publish_acked('full/new', qos=1) == QUOTA
        c.unsubscribe('full/new')
        assert p.publish_acked('full/new', qos=1) == 0x10
        c.send(subscribe_packet(*[('full/1', 1)] * 100_000))
        assert set(c.expect(SUBACK).codes) == {1}
        c.send(packet(UNSUBSCRIBE, 2, b'\0\1\0' + string('full/2') + string('none') * 100_000))
        assert len(c.expect(UNSUBACK).codes) == 100_001
        assert p.publish_acked('full/1', qos=1) == QUOTA
        assert p.publish_acked('full/2', qos=1) == 0x10


@pytest.mark.parametrize('asked', [0, 65535])
@paced
def test_case_23_keep_alive(start, asked, pace):
    """CVE-2020-13849: who wants none gets the server's maximum."""
    b = start(f'max_keepalive {pace}\n')
    with unharmed(b):
        with Raw(b.port, version=4) as c:
            c.connect('old', keepalive=asked, want=2)
        begin = b.log_size()
        with Raw(b.port) as c:
            assert c.connect('quiet', keepalive=asked).props['server_keep_alive'] == pace
            began = time.monotonic()
            assert fate(c) == KEEP_ALIVE
            assert 1.2 * pace < time.monotonic() - began < 6 * pace
        told(b, begin, 'Client quiet disconnected: exceeded its keep alive', most=1)


def test_case_23_without_keep_alive_tcp_asks(plain):
    """Who has no keep alive is asked for by TCP."""
    with Raw(plain.port) as c:
        c.connect('forever', keepalive=0)
        here = c.sock.getsockname()[1]
        out = subprocess.run(['ss', '-tnoH', f'sport = :{plain.port}', 'and', f'dport = :{here}'],
                             capture_output=True, text=True, check=False).stdout
        if not out:
            pytest.skip('ss does not tell')
        assert 'timer:(keepalive' in out


def test_case_24_session_churn(start_both):
    """Sessions that never expire, under ever new names: the oldest make place,
    who is connected stays, and a quota keeps a user to itself."""
    b = start_both('global_max_clients 300\nsys_interval 1\n')
    with Raw(b.port) as c:
        c.connect('stays', props=FOREVER)
        c.subscribe('stays/#', qos=1)
        start = b.log_size()
        with unharmed(b, grows=4 * MIB):
            for i in range(2000):
                with Raw(b.port) as x:
                    x.connect(f'churn-{i}', props=FOREVER)
        told(b, start, r'Session of client churn-\d+, away for \d+ s, was dropped: global_max_clients', most=4 * A_SECOND, a_second=4 * A_SECOND)
        wait_until(lambda: sys_value(b.port, 'clients/evicted') >= 1500, 'the figure in $SYS')
        assert sys_value(b.port, 'clients/total') <= 300
        with Raw(b.port) as x:		# the last are there, the first are not
            assert x.connect('churn-1999', clean=False, props=FOREVER).session_present
        with Raw(b.port) as x:
            assert not x.connect('churn-0', clean=False, props=FOREVER).session_present
        c.ping()
        c.publish('stays/here', 'x')
        assert c.message().payload == b'x'


def test_case_24_sessions_of_one_user(start, tmp_path):
    """Beyond max_offline_sessions_per_user a user loses its own oldest
    sessions, and nobody else's."""
    users = tmp_path / 'passwords'
    for name in ('greedy', 'modest'):
        subprocess.run([NIGHTJAR, 'passwd', '-b', *([] if users.exists() else ['-c']), '-H', 'sha512-pbkdf2',
                        '-I', '101', str(users), name, 'pw'], check=True, capture_output=True)
    os.chmod(users, 0o600)
    b = start(f'password_file {users}\nmax_offline_sessions_per_user 40\n', anonymous=False)
    login = {'password': b'pw', 'props': FOREVER}
    first = Raw(b.port)
    first.connect('modest-one', username='modest', **login)
    first.close()
    begin = b.log_size()
    for i in range(200):
        with Raw(b.port) as c:
            c.connect(f'greedy-{i}', username='greedy', **login)
    told(b, begin, 'was dropped: max_offline_sessions_per_user', most=4 * A_SECOND, a_second=4 * A_SECOND)
    there = 0
    for i in range(200):
        with Raw(b.port) as c:
            props = {'session_expiry': 0}
            there += c.connect(f'greedy-{i}', clean=False, username='greedy', password=b'pw',
                               props=props).session_present
    assert 30 <= there <= 44, there
    with Raw(b.port) as c:
        assert c.connect('modest-one', clean=False, username='modest', **login).session_present


def test_case_24_refusing_instead(start):
    b = start('global_max_clients 50\nevict_offline_sessions false\n')
    for i in range(50):
        with Raw(b.port) as c:
            c.connect(f'churn-{i}', props=FOREVER)
    begin = b.log_size()
    with Raw(b.port) as c:
        c.connect('one-more', want=QUOTA)
    told(b, begin, r'not accepted \(quota exceeded\): global_max_clients', most=1)
    with Raw(b.port) as c:
        assert c.connect('churn-7', clean=False, props=FOREVER).session_present


@paced
def test_case_25_will_delay_beyond_the_session(start_both, pace):
    """CVE-2019-11778: the will is sent when the session ends, once."""
    b = start_both()
    with unharmed(b, grows=3 * MIB), Raw(b.port) as s:
        s.connect('heirs')
        s.subscribe('will/#')
        for i in range(50):
            with Raw(b.port) as c:
                c.connect(f'dies-{i}', props={'session_expiry': 1},
                          will=(f'will/{i}', b'gone', 0, False, {'will_delay': 3600}))
        for i in range(20):		# and never for who comes back in time
            with Raw(b.port) as c:
                c.connect(f'back-{i}', props={'session_expiry': 3600},
                          will=(f'will/no/{i}', b'gone', 0, False, {'will_delay': pace}))
            with Raw(b.port) as c:
                c.connect(f'back-{i}', clean=False, props={'session_expiry': 3600})
        assert {s.message().topic for _ in range(50)} == {f'will/{i}' for i in range(50)}
        s.silent(1.5 * pace)


def test_case_26_gone_during_the_fan_out(start_both):
    """CVE-2023-34494: subscribers that vanish, and are taken over, while they
    are written to."""
    b = start_both()

    def churn(n, stop):
        rng = random.Random(n)
        while not stop.is_set():
            with contextlib.suppress(OSError, Closed, AssertionError), Raw(b.port, rcvbuf=4096) as c:
                c.send(connect_packet(f'churn-{rng.randrange(4)}', clean=bool(rng.randrange(2)),
                                      props={'session_expiry': rng.randrange(3)},
                                      will=('fan/will', b'will', 1, False, {'will_delay': rng.randrange(2)})))
                c.send(subscribe_packet(('fan/#', 2), ('$share/churn/fan/t', 1)))
                if rng.randrange(2):
                    c.recv(0.05)
                if rng.randrange(2):
                    reset(c.sock)
    stop = threading.Event()
    threads = [threading.Thread(target=churn, args=(n, stop)) for n in range(6)]
    with unharmed(b, grows=24 * MIB), Raw(b.port) as p:
        for t in threads:
            t.start()
        p.connect('pub')
        with contextlib.suppress(Closed):
            for i in range(300):
                p.publish('fan/t', b'x' * 20_000, i % 2, mid=i + 1 if i % 2 else None)
                time.sleep(0.005)
        stop.set()
        for t in threads:
            t.join()


def test_case_27_will_loop(start_both):
    """A client whose will is sent again and again may not leave another for a
    while; without a will it may come in, and others leave theirs."""
    b = start_both('max_wills_per_minute 30\n')
    with unharmed(b, grows=3 * MIB), Raw(b.port) as s:
        s.connect('heirs')
        s.subscribe('will/#')
        start = b.log_size()
        sent = refused = 0
        began = time.monotonic()
        for _ in range(100):
            with Raw(b.port) as c:
                c.send(connect_packet('loops', will=('will/loop', b'again')))
                code = c.expect(CONNACK).code
                assert code in (0, RATE)
                sent, refused = sent + (code == 0), refused + (code == RATE)
            if code == 0:
                s.message()
        # one more each two seconds
        assert 30 <= sent <= 32 + (time.monotonic() - began) / 2 and sent + refused == 100
        told(b, start, r'not accepted \(connection rate exceeded\): too many wills', most=refused)
        with Raw(b.port) as c:
            c.connect('loops')

        def refused_to_an_older_one():
            with Raw(b.port, version=4) as c:
                c.send(connect_packet('loops', version=4, will=('will/loop', b'again')))
                code = c.expect(CONNACK).code
                assert code in (0, 3)
            if code == 0:
                s.message()
            return code == 3
        wait_until(refused_to_an_older_one, 'one is refused, again')
        with Raw(b.port) as c:
            c.connect('other', will=('will/other', b'x'))
        assert s.message().topic == 'will/other'


@pytest.mark.skip(reason='there are no bridges yet')
def test_case_28_bridge_loop():
    pass


def own_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        with contextlib.suppress(OSError):
            s.connect(('192.0.2.1', 9))
            a = s.getsockname()[0]
            return None if a.startswith('127.') else a
    return None


def test_case_29_connection_flood(start_both):
    """5,000 connections as fast as they come."""
    b = start_both()
    fds = own_descriptors(b)
    with unharmed(b, grows=10 * MIB):
        for _ in range(10):
            socks = [socket.create_connection((HOST, b.port), 10) for _ in range(500)]
            for i, s in enumerate(socks):
                reset(s) if i % 2 else s.close()
    wait_until(lambda: descriptors(b.pid) <= fds + 2, 'their descriptors are closed')


def test_case_29_bucket_of_an_address(start):
    """connections_per_second; loopback is not counted."""
    address = own_address()
    if not address:
        pytest.skip('this machine has loopback addresses only')
    b = start(f'listener 0 {address}\nconnections_per_second 5\n'.replace(
        'listener 0', f'listener {(port := free_port())}'))
    begin, began = b.log_size(), time.monotonic()
    served = 0
    with unharmed(b):
        for i in range(200):
            with contextlib.suppress(OSError, Closed), Raw(port, host=address) as c:
                c.connect(f'one-of-many-{i}')
                served += 1
    assert 50 <= served <= 110 + 5 * (time.monotonic() - began)
    told(b, begin, 'refused: connections_per_second', most=400)


def test_case_29_waiting_room(start):
    """max_pending_connections: who has not said CONNECT."""
    b = start('max_pending_connections 100\nconnect_timeout 2\n')
    begin = b.log_size()
    with unharmed(b) as pair:
        socks = [socket.create_connection((HOST, b.port), 10) for _ in range(300)]
        told(b, begin, 'refused: max_pending_connections is reached', most=200)
        for s in socks:
            s.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                assert s.recv(1) == b''		# at once, or at the deadline
            s.close()
        assert len(pair.times) > 10
    with Raw(b.port) as c:
        c.connect('after')


def test_case_30_descriptors(start):
    """All are used up: new connections wait, those there are served, a reload
    that cannot read its files keeps the old policy; afterwards all is well."""
    b = start('connect_timeout 60\n', files=64)
    begin = b.log_size()
    with unharmed(b):
        socks = [socket.create_connection((HOST, b.port), 10) for _ in range(80)]
        told(b, begin, 'No more file descriptors: new connections wait', most=4 * A_SECOND, a_second=4 * A_SECOND)
        with open(b.conf_path, encoding='utf-8') as f:
            text = f.read()
        b.write_conf(text.replace('allow_anonymous true', 'allow_anonymous false'))
        b.hup()
        told(b, begin, 'Reload failed|(?i:too many open files)', most=20)
        b.write_conf(text)
        told(b, begin, 'No more file descriptors', most=4 * A_SECOND, a_second=4 * A_SECOND)
        for s in socks:
            s.close()

        # the old policy: who is anonymous comes in
        def served():
            try:
                with Raw(b.port) as c:
                    c.connect('after')
                    return True
            except (OSError, Closed, AssertionError):
                return False
        wait_until(served, 'connections are taken again')


def test_case_31_memory_limit(start_release):
    """memory_limit: messages and connections are refused, what was promised is
    kept, and afterwards all is well."""
    b = start_release('memory_limit 40M\nmax_queued_messages 0\nmax_packet_size 1000000\n')
    with Raw(b.port) as s:
        s.connect('away', props=FOREVER)
        s.subscribe('fill/#', qos=1)
    begin = b.log_size()
    taken = []
    with Raw(b.port) as p:
        p.connect('fills')
        for i in range(200):
            if p.publish_acked('fill/x', struct.pack('>I', i) + b'x' * 500_000) < 0x80:
                taken.append(i)
            elif len(taken) > 30:
                break
            time.sleep(0.01 if len(taken) < 60 else 0.1)
        assert p.publish_acked('fill/x', b'x') == QUOTA
        told(b, begin, 'memory_limit', most=4 * A_SECOND, a_second=4 * A_SECOND)
        with contextlib.suppress(OSError), Raw(b.port) as c:
            assert fate_of_connect(c) != 0
        assert b.rss_kib() < 200 * MIB
        p.ping()
        p.disconnect()


def fate_of_connect(c):
    try:
        c.send(connect_packet('more'))
        return c.expect(CONNACK).code
    except (OSError, Closed):
        return None


def test_case_31_full_disk(start):
    """The log has nowhere to go: everything else goes on."""
    b = start('log_dest file /dev/full\nlog_type all\n')
    with unharmed(b):
        for i in range(200):
            with Raw(b.port) as c:
                c.connect(f'writes-{i}')
                c.send(b'\xf0\xff')


@pytest.mark.parametrize('every', [3, 17, 101, 997])
def test_case_31_malloc_fails(start_release, every, monkeypatch):
    """One allocation in so many fails while clients come, go and talk: no
    crash, and what was acknowledged arrives."""
    shim = find_release() and tool('libnomalloc.so', find_release())
    if not shim or not os.path.exists(shim):
        pytest.skip('there is no release build with libnomalloc.so')
    monkeypatch.setenv('LD_PRELOAD', shim)
    monkeypatch.setenv('NOMALLOC_EVERY', str(every))
    b = start_release()
    monkeypatch.delenv('LD_PRELOAD')
    with Raw(b.port) as s:
        s.connect('hears')
        s.subscribe('safe', qos=1)
        with open(os.path.join(b.folder, 'nomalloc'), 'w', encoding='ascii'):
            pass
        time.sleep(0.1)
        acked = hammer(b)
        os.unlink(os.path.join(b.folder, 'nomalloc'))
        time.sleep(0.1)
        assert b.alive()
        if every <= 100:
            b.wait_log('(?i)out of memory')
        with Raw(b.port) as c:
            c.connect('after')
            c.ping()
        got, alive = set(), True
        try:
            while not acked <= got:
                got.add(s.message().payload)
        except Closed:
            alive = False	# for want of memory: it knows that it missed some
        assert acked <= got or not alive


def hammer(b):
    """Traffic of every kind; the payloads that were acknowledged."""
    acked = set()
    for n in range(60):
        with contextlib.suppress(OSError, Closed, AssertionError), Raw(b.port, timeout=5) as c:
            c.connect(f'hammer-{n % 7}', clean=n % 3 == 0, props={'session_expiry': n % 4},
                      will=('will', b'x'))
            c.send(subscribe_packet((f'a/{n}/#', 1), (f'$share/g/{n}', 1)))
            for i in range(20):
                payload = b'%d-%d' % (n, i)
                if c.publish_acked('safe', payload) < 0x80:
                    acked.add(payload)
                c.publish(f'keep/{n}/{i}', 'x' * 200, retain=True)
    return acked


def trickle(sock, data, period=0.4, most=12.0):
    """A byte at a time, until the other end closes; seconds it took."""
    began = time.monotonic()
    sock.settimeout(period)
    at = 0
    while time.monotonic() - began < most:
        try:
            sock.send(data[at % len(data):at % len(data) + 1])
            if not sock.recv(4096):
                break
        except socket.timeout:
            pass
        except OSError:
            break
        at += 1
    return time.monotonic() - began


def client_hello():
    """The first flight of a real TLS client."""
    ctx = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ctx.wrap_bio(incoming, outgoing, server_hostname='localhost')
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


class Slow:
    """One broker with every kind of port and short deadlines."""

    def __init__(self, start, pki, seconds):
        crt, key = pki.server
        self.tls, self.ws, self.wss = free_port(), free_port(), free_port()
        keys = f'certfile {crt}\nkeyfile {key}\n'
        self.b = start(f'handshake_timeout {seconds}\nconnect_timeout {seconds}\nallow_anonymous true\n'
                       f'listener {self.tls} {HOST}\n{keys}'
                       f'listener {self.ws} {HOST}\nprotocol websockets\n'
                       f'listener {self.wss} {HOST}\nprotocol websockets\n{keys}',
                       extra_ports=(self.tls, self.ws, self.wss))
        self.ctx = pahoc.tls_context(pki.ca)

    def socket(self, how):
        """(socket, what is sent a byte at a time, lines of the log)"""
        port = {'tcp': self.b.port, 'connect': self.b.port, 'tls': self.tls, 'silent tls': self.tls,
                'connect in tls': self.tls, 'http': self.ws, 'connect in ws': self.ws,
                'http in tls': self.wss}[how]
        sock = socket.create_connection((HOST, port), 10)
        if how.endswith('in tls'):
            sock = self.ctx.wrap_socket(sock, server_hostname='localhost')
        if how == 'connect in ws':
            sock = wsraw.WsSocket(sock, wsraw.request()).sock
        return sock, {'tcp': b'', 'silent tls': b'', 'tls': client_hello(), 'http': wsraw.request(),
                      'http in tls': wsraw.request(),
                      'connect in ws': wsraw.frame(2, connect_packet('trickle' * 9))
                      }.get(how, connect_packet('trickle' * 9))


SLOW = ['tcp', 'connect', 'silent tls', 'tls', 'connect in tls', 'http', 'connect in ws', 'http in tls']


@paced
def test_case_32_slowloris(start, pki, pace):
    """A byte now and then never puts the deadline off, at no stage."""
    site = Slow(start, pki, 2 * pace)
    begin = site.b.log_size()
    took = {}

    def attack(how):
        sock, data = site.socket(how)
        with sock:
            if data:
                took[how] = trickle(sock, data, most=12.0 * pace)
            else:
                began = time.monotonic()
                sock.settimeout(12 * pace)
                with contextlib.suppress(OSError):
                    sock.recv(1)
                took[how] = time.monotonic() - began
    with unharmed(site.b):
        threads = [threading.Thread(target=attack, args=(how,)) for how in SLOW]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert set(took) == set(SLOW)
    assert all(1.2 * pace < t < 7 * pace for t in took.values()), took
    told(site.b, begin, rf'no (CONNECT|TLS handshake|WebSocket upgrade) within {2000 * pace} ms', most=len(SLOW))


@pytest.mark.parametrize('stage', ['connected', 'half a ClientHello', 'whole ClientHello'])
def test_case_32_thousand_vanish_in_the_handshake(start_both, pki, stage):
    """Memory and descriptors are as before."""
    crt, key = pki.server
    b = start_both(f'certfile {crt}\nkeyfile {key}\n')
    hello = client_hello()
    data = {'connected': b'', 'half a ClientHello': hello[:len(hello) // 2],
            'whole ClientHello': hello}[stage]

    def storm():
        for _ in range(4):
            socks = []
            for _ in range(100):
                s = socket.create_connection((HOST, b.port), 20)
                if data:
                    s.sendall(data)
                socks.append(s)
            for i, s in enumerate(socks):
                reset(s) if i % 2 else s.close()
    b.settled()
    fds = own_descriptors(b)
    storm()		# what is allocated once is allocated now
    wait_until(lambda: descriptors(b.pid) <= fds + 2, 'the first are closed')
    for last in False, False, True:		# how many are there at once differs; what is lost adds up
        try:
            with unharmed(b, grows=6 * MIB, tls=pahoc.tls_context(pki.ca)):
                storm()
            break
        except AssertionError as e:
            if last or 'memory grew' not in str(e):
                raise
    wait_until(lambda: descriptors(b.pid) <= fds + 2, 'their descriptors are closed')


def test_case_32_silent_connections(start_both):
    """500 that say nothing are gone after the deadline."""
    b = start_both('connect_timeout 3\n')
    begin = b.log_size()
    with unharmed(b, grows=4 * MIB):
        socks = [socket.create_connection((HOST, b.port), 10) for _ in range(500)]
        for s in socks:
            s.settimeout(PATIENCE)
            with contextlib.suppress(ConnectionError):
                assert s.recv(1) == b''
            s.close()
    told(b, begin, 'no CONNECT within 3000 ms', most=500)
