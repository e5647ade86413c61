#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What hostile input costs the broker, at growing sizes.

    tests/security/cost.py [-o docs/hostile-input.md] [ROW...]

For each kind of input and each size a fresh release build serves on one
thread; its CPU time (of all its threads, in nanoseconds, as the kernel
counts it) and the most memory it ever had are read from /proc.  The median of
three runs counts.  The broker is $NIGHTJAR, or the one in $NJ_RELEASE,
build-check-release/ or build-rel/."""
import argparse
import os
import re
import shutil
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'blackbox')]
# pylint: disable=wrong-import-position
import attack
import harness
import wsraw
from attack import publish_packet, subscribe_packet
from harness import HOST
from raw import PUBLISH, Raw, connect_packet, packet, string, varint

RUNS = 3


class Broker(harness.Broker):
    """One thread, and its accounts."""

    def __init__(self, folder, conf):
        port = harness.free_port()
        super().__init__(folder, f'listener {port} {HOST}\nallow_anonymous true\nthreads 1\n'
                         f'log_type error\nsys_interval 0\n{conf}', port)

    def cpu_ns(self):
        total = 0
        for task in os.listdir(f'/proc/{self.pid}/task'):
            with open(f'/proc/{self.pid}/task/{task}/schedstat', encoding='ascii') as f:
                total += int(f.read().split()[0])
        return total

    def peak_kib(self):
        with open(f'/proc/{self.pid}/status', encoding='ascii') as f:
            return int(re.search(r'VmHWM:\s+(\d+)', f.read()).group(1))


def sync(c, tail=b''):
    """Reads to the answer of a PINGREQ, without looking at what comes before."""
    c.send(b'\xc0\x00')
    while tail != b'\xd0\x00':
        got = c.sock.recv(1 << 20)
        assert got, 'closed instead of served'
        tail = (tail + got)[-2:]


def gone(c):
    try:
        while c.sock.recv(1 << 20):
            pass
    except ConnectionError:
        pass


class Client(Raw):
    def __init__(self, b, **kw):
        super().__init__(b.port, **kw)
        self.connect('attacker', keepalive=0)


# Each row: prepare(broker, size) -> a function that does the measured work.

def levels_refused(b, n):
    """n levels, more than 201: the filter is refused (0x8F)."""
    c = Client(b)
    data = subscribe_packet(('/' * (n - 1), 0)) * 200

    def run():
        c.send(data)
        sync(c)
    return run, 200


def levels_published(b, n):
    """The same as a topic: the connection ends (0x90)."""
    data = connect_packet('attacker') + publish_packet('/' * (n - 1)) + b'\xc0\x00'

    def run():
        for _ in range(50):
            with Raw(b.port) as c:
                c.send(data)
                gone(c)
    return run, 50


def levels_served(b, n):
    """n levels that are served: subscribed, published, delivered."""
    c = Client(b)
    topic = '/'.join('a' * n)
    c.subscribe(topic)
    data = b''.join(publish_packet(topic + str(i % 50)) for i in range(2000))

    def run():
        c.send(data)
        sync(c)
    return run, 2000


def overlapping(n):
    """n different filters that all match a/a/a/..., with wildcards."""
    out, depth = [], 1
    while len(out) < n:
        for bits in range(1 << depth):
            f = '/'.join('+' if bits >> i & 1 else 'a' for i in range(depth))
            out.append(f + '/#')
            if len(out) == n:
                break
        depth += 1
    return out


def subscribe_in_one(filters):
    return packet(8, 2, b'\0\1\0' + b''.join(string(f) + b'\0' for f in filters))


def wildcards_subscribed(b, n):
    """One SUBSCRIBE of n overlapping filters."""
    c = Client(b)
    data = subscribe_in_one(overlapping(n))

    def run():
        c.send(data)
        sync(c)
    return run, 1


def wildcards_matched(b, n):
    """100 messages that match all n filters of one client, delivered once each.
    The steps are the same for each filter; that a filter costs more when there are more is
    memory, from the processor's nearest cache at the first size to none of them at the last."""
    c = Client(b)
    filters = overlapping(n)
    for at in range(0, n, 10_000):
        c.send(subscribe_in_one(filters[at:at + 10_000]))
        sync(c)
    data = b''.join(publish_packet('/'.join('a' * 18) + f'/{i}', payload=b'x') for i in range(100))

    def run():
        c.send(data)
        sync(c)
    return run, 100


def shared_subscribed(b, n):
    """One SUBSCRIBE of n shared filters."""
    c = Client(b)
    data = subscribe_in_one('$share/g/' + f for f in overlapping(n))

    def run():
        c.send(data)
        sync(c)
    return run, 1


def unsubscribed(b, n):
    """One UNSUBSCRIBE of n filters that the client has."""
    c = Client(b)
    filters = overlapping(n)
    for at in range(0, n, 10_000):
        c.send(subscribe_in_one(filters[at:at + 10_000]))
        sync(c)
    data = packet(10, 2, b'\0\1\0' + b''.join(string(f) for f in filters))

    def run():
        c.send(data)
        sync(c)
    return run, 1


def properties(b, n):
    """A PUBLISH of n user properties (five bytes each) by a new client: it is disconnected (0x95)."""
    body = string('t') + varint(5 * n) + b'\x26\0\0\0\0' * n
    data = connect_packet('attacker') + packet(PUBLISH, 0, body) + b'\xc0\x00'

    def run():
        for _ in range(50):
            with Raw(b.port) as c:
                c.send(data)
                c.sock.settimeout(5)
                tail = b''
                try:
                    while tail != b'\xd0\x00':
                        got = c.sock.recv(1 << 20)
                        if not got:
                            break
                        tail = (tail + got)[-2:]
                except ConnectionError:
                    pass
    return run, 50


def properties_taken(b, n):
    """The same of a client that stays, up to what is taken; nobody subscribes."""
    c = Client(b)
    body = string('t') + varint(5 * n) + b'\x26\0\0\0\0' * n
    data = packet(PUBLISH, 0, body) * 500

    def run():
        c.send(data)
        sync(c)
    return run, 500


def one_byte_writes(b, n):
    """A PUBLISH of n bytes, each in a write of its own."""
    c = Client(b)
    data = publish_packet('t', payload=b'x' * (n - 10))

    def run():
        for i in range(len(data)):
            c.sock.send(data[i:i + 1])
            if i % 16 == 0:		# so that it is read as it is written
                os.sched_yield()
        sync(c)
    return run, 1


def packets_in_one_write(b, n):
    """n PUBLISHes to nobody in one write."""
    c = Client(b)
    data = publish_packet('nobody', payload=b'x') * n

    def run():
        c.send(data)
        sync(c)
    return run, 1


def pings_in_one_write(b, n):
    """n PINGREQs in one write, the answers read."""
    c = Client(b)
    data = b'\xc0\x00' * n

    def run():
        c.send(data)
        left = 2 * n
        while left:
            left -= len(c.sock.recv(min(left, 1 << 20)))
    return run, 1


def retained_looked_at(b, n):
    """A SUBSCRIBE of n filters that each look at 1,000 retained messages and
    find none."""
    c = Client(b)
    for i in range(1000):
        c.publish(f'keep/{i}', 'x', retain=True)
    sync(c)
    data = subscribe_in_one(f'+/+/none{i}' for i in range(n))

    def run():
        c.send(data)
        sync(c)
    return run, 1


def fragments(b, n):
    """WebSocket: a PUBLISH of n bytes in n frames of one byte."""
    c = wsraw.RawWs(b.port)
    c.connect('attacker', keepalive=0)
    data = publish_packet('t', payload=b'x' * (n - 10)) + b'\xc0\x00'
    frames = b''.join(wsraw.frame(2 if i == 0 else 0, data[i:i + 1], fin=i == len(data) - 1)
                      for i in range(len(data)))

    def run():
        c.ws.sock.sendall(frames)
        while c.recv().kind != 13:
            pass
    return run, 1


def open_qos2(b, n):
    """3.1.1: n QoS 2 messages whose PUBREL never comes."""
    c = Raw(b.port, version=4)
    c.connect('attacker', keepalive=0)
    data = b''.join(publish_packet('t', 2, mid=i + 1, props=b'') for i in range(n))

    def run():
        for at in range(0, len(data), 7000):
            c.send(data[at:at + 7000])
            c.sock.setblocking(False)
            try:
                while c.sock.recv(1 << 20):
                    pass
            except BlockingIOError:
                pass
            c.sock.settimeout(20)
        sync(c)
    return run, 1


def sessions_left(b, n):
    """n sessions without an end, one after the other."""
    def run():
        for i in range(n):
            with Raw(b.port) as c:
                c.connect(f'churn-{i}', props={'session_expiry': 0xffffffff})
    return run, 1


LOOSE = 'max_subscriptions_per_client 0\nmax_match_work 0\n'
# row, title, sizes, configuration, unit, what the CPU time is of
ROWS = [
    (levels_refused, 'Levels of a filter', [8192, 16384, 32768, 65535], '', 'level', 'a SUBSCRIBE'),
    (levels_published, 'Levels of a topic', [8192, 16384, 32768, 65535], '', 'level', 'a connection'),
    (levels_served, 'Levels that are served', [25, 50, 100, 200], '', 'level', 'a message'),
    (wildcards_subscribed, 'Overlapping wildcard subscriptions of one client', [1250, 2500, 5000, 10000, 20000],
     LOOSE, 'filter', 'the SUBSCRIBE'),
    (wildcards_matched, 'A message that matches them all', [1250, 2500, 5000, 10000, 20000, 40000], LOOSE, 'filter',
     'a message'),
    (shared_subscribed, 'Shared subscriptions of one client', [1250, 2500, 5000, 10000], '', 'filter',
     'the SUBSCRIBE'),
    (unsubscribed, 'Filters of an UNSUBSCRIBE', [1250, 2500, 5000, 10000, 20000], LOOSE, 'filter',
     'the UNSUBSCRIBE'),
    (retained_looked_at, 'Filters against retained messages', [250, 500, 1000, 2000], '', 'filter',
     'the SUBSCRIBE'),
    (properties, 'User properties that are refused', [12500, 25000, 50000, 100000], '', 'property',
     'a connection'),
    (properties_taken, 'User properties that are taken', [1250, 2500, 5000, 10000], '', 'property', 'a message'),
    (one_byte_writes, 'One-byte writes', [8192, 16384, 32768, 65536, 131072], '', 'write', 'the message'),
    (packets_in_one_write, 'Thousands of PUBLISHes in one write', [8000, 16000, 32000, 64000], '', 'packet',
     'the write'),
    (pings_in_one_write, 'Thousands of PINGREQs in one write', [16000, 32000, 64000, 128000], '', 'packet',
     'the write'),
    (fragments, 'WebSocket frames of one byte', [8192, 16384, 32768, 65536], 'protocol websockets\n', 'frame',
     'the message'),
    (open_qos2, 'QoS 2 without PUBREL', [8000, 16000, 32000, 64000], '', 'message', 'all'),
    (sessions_left, 'Sessions left behind', [500, 1000, 2000, 4000], 'global_max_clients 1000\n', 'session',
     'all'),
]


def measure(row, n, conf):
    """(CPU ns an item, peak KiB above the start) of one run."""
    folder = tempfile.mkdtemp(prefix='nightjar-cost-')
    os.chmod(folder, 0o777)
    b = Broker(folder, conf)
    try:
        b.start()
        run, items = row(b, n)
        cpu, rss = b.cpu_ns(), b.rss_kib()
        run()
        return (b.cpu_ns() - cpu) / items, b.peak_kib() - rss
    finally:
        b.stop()
        shutil.rmtree(folder)


def fit(sizes, costs):
    """The factor of a doubling, from the first size to the last."""
    return (costs[-1] / costs[0]) ** (1 / _log2(sizes[-1] / sizes[0]))


def _log2(x):
    n = 0.0
    while x >= 2:
        x, n = x / 2, n + 1
    return n + (x - 1)


def plural(unit):
    return unit[:-1] + 'ies' if unit.endswith('y') else unit + 's'


def table(row, title, sizes, conf, unit, whole):
    runs = [[measure(row, n, conf) for _ in range(RUNS)] for n in sizes]
    cpu = [statistics.median(r[0] for r in v) for v in runs]
    rss = [max(max(r[1] for r in v), 0) for v in runs]
    out = [f'## {title}', '', row.__doc__.replace('\n    ', '\n'), '',
           f'| {plural(unit)} | CPU of {whole} | of a {unit} | against the row above | memory, at most |',
           '| ---: | ---: | ---: | ---: | ---: |']
    for i, n in enumerate(sizes):
        ratio = f'{cpu[i] / cpu[i - 1]:.2f}' if i else ''
        out.append(f'| {n:,} | {cpu[i] / 1e3:,.1f} µs | {cpu[i] / n:,.1f} ns | {ratio} | {rss[i]:,} KiB |')
    out += ['', f'A doubling costs {fit(sizes, cpu):.2f} times as much.', '']
    print('\n'.join(out), flush=True)
    return out


HEAD = '''# What hostile input costs

Each table is one kind of input at growing sizes, against a release build that serves on one thread: its CPU time, and by
how much its memory grew at the highest. Two is what a doubling costs where cost is linear; it is less where something that does
not grow is part of it (a connection), and a little more where the data outgrow a cache of the processor. What the broker
refuses, it refuses with the code that is named, and pays for the bytes alone.

`tests/security/cost.py -o docs/hostile-input.md` measures, and writes this page. The bounds are listed in [the threat
model](design/threat-model.md); `tests/security/` has the attacks as tests.
'''


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument('-o', metavar='FILE', help='write the page there')
    p.add_argument('rows', nargs='*', metavar='ROW', help=', '.join(r[0].__name__ for r in ROWS))
    a = p.parse_args()
    harness.NIGHTJAR = os.environ.get('NIGHTJAR') or attack.find_release()
    if not harness.NIGHTJAR:
        sys.exit('there is no release build: meson setup build-rel --buildtype=release && '
                 'ninja -C build-rel')
    lines = []
    for row, *rest in ROWS:
        if not a.rows or row.__name__ in a.rows:
            lines += table(row, *rest)
    if a.o:
        with open(a.o, 'w', encoding='utf-8') as f:
            f.write(HEAD + '\n' + '\n'.join(lines).rstrip() + '\n')


if __name__ == '__main__':
    main()
