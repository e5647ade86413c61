# SPDX-License-Identifier: Apache-2.0
"""What the security tests share: packets to attack with, a pair of clients who
must not feel it, and the accounts that are settled afterwards."""
import contextlib
import functools
import os
import re
import socket
import struct
import threading
import time

import harness
from durable import at_rest
from harness import HOST, wait_until
from raw import (CONNACK, DISCONNECT, PUBACK, PUBLISH, PUBREC, SUBACK, SUBSCRIBE, Closed, Raw,
                 packet, string)

MALFORMED, PROTOCOL, TOO_LARGE, QUOTA = 0x81, 0x82, 0x95, 0x97
MIB = 1024


def find_release():
    """The path of the release build's binary, or None."""
    for build in (os.environ.get('NJ_RELEASE'), os.path.join(harness.ROOT, 'build-check-release'),
                  os.path.join(harness.ROOT, 'build-rel')):
        path = build and os.path.join(build, 'src', 'cmd', 'nightjar')
        if path and os.access(path, os.X_OK):
            return path
    return None


def tool(name, binary=None):
    """A program of this folder, in the build of a broker."""
    build = os.path.dirname(os.path.dirname(os.path.dirname(binary or harness.NIGHTJAR)))
    return os.path.join(build, 'tests', 'security', name)


def publish_packet(topic=b't', qos=0, flags=None, mid=1, props=b'\x00', payload=b''):
    return packet(PUBLISH, qos << 1 if flags is None else flags,
                  string(topic) + (struct.pack('>H', mid) if qos else b'') + props + payload)


def subscribe_packet(*filters, mid=1, props=b'\x00', flags=2):
    return packet(SUBSCRIBE, flags, struct.pack('>H', mid) + props
                  + b''.join(string(f) + bytes([o]) for f, o in filters))


@functools.lru_cache
def carriers():
    """The kernel's threads that carry packets of loopback on a busy machine."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        with contextlib.suppress(OSError), open(f'/proc/{pid}/comm', encoding='utf-8') as f:
            if f.read().startswith('ksoftirqd/'):
                found.append(pid)
    return found


def waits(*pids):
    """For each thread of processes, how long it was ready and had no processor
    (ns)."""
    found = {}
    for pid in pids:
        for task in os.listdir(f'/proc/{pid}/task'):
            with contextlib.suppress(OSError), \
                    open(f'/proc/{pid}/task/{task}/schedstat', encoding='ascii') as f:
                found[task] = int(f.read().split()[1])
    return found


class Pair(threading.Thread):
    """A publisher and a subscriber who exchange messages, and time each.  That
    others had the processor is not the broker's fault and does not count."""

    def __init__(self, pid, port, tls=None, make=Raw):
        super().__init__(daemon=True)
        self.pid = pid
        self.sub = make(port, tls=tls)
        self.sub.connect('bystander-sub')
        self.sub.subscribe('bystander/talk', qos=1)
        self.pub = make(port, tls=tls)
        self.pub.connect('bystander-pub')
        self.times, self.error = [], None
        self.done = threading.Event()

    def once(self):
        payload = b'%d' % len(self.times)
        before = self.waits()
        began = time.monotonic()
        self.pub.publish('bystander/talk', payload, 1)
        assert self.sub.message().payload == payload
        assert self.pub.expect(PUBACK).code == 0
        took = time.monotonic() - began
        self.times.append(max(0, took - self.waited(before)))

    def waits(self):
        return waits(self.pid, 'self', *carriers())

    def waited(self, before):
        """Seconds since, of all threads that are still there: those that have
        ended took theirs along."""
        return sum(ns - before.get(task, 0) for task, ns in self.waits().items()) / 1e9

    def run(self):
        try:
            while not self.done.is_set():
                self.once()
                self.done.wait(0.003)
        except Exception as e:  # pylint: disable=broad-except
            self.error = e

    def close(self):
        self.pub.close()
        self.sub.close()


@contextlib.contextmanager
def unharmed(broker, latency=1.0, grows=None, port=None, tls=None, make=Raw):
    """While the body attacks, a pair of bystanders exchanges messages: none is
    lost, none late (99 % within `latency` seconds; sanitizers are slow).  In
    the release build memory grows by at most `grows` KiB."""
    pair = Pair(broker.pid, port or broker.port, tls, make)
    pair.once()
    before, idle, began = broker.rss_kib(), pair.waits(), time.monotonic()
    pair.start()
    try:
        yield pair
        wait_until(lambda: len(pair.times) > 10 or pair.error, 'the bystanders talk')
    finally:
        pair.done.set()
        pair.join(harness.PATIENCE)
    assert pair.error is None, f'a bystander was harmed: {pair.error!r}'
    assert broker.alive()
    pair.once()
    pair.close()
    worst = sorted(pair.times)[int(len(pair.times) * 0.99)]
    # how many of their threads stood in the row at any moment
    row = pair.waited(idle) / (time.monotonic() - began)
    assert worst < latency * max(1, row), f'99% of messages within {worst:.3f} s'
    if grows is not None and not broker.sanitized():
        grown = broker.rss_kib() - before
        assert grown <= grows, f'memory grew by {grown} KiB, {grows} are allowed'


A_SECOND = 20	# lines of one kind in the log, of each shard


def told(broker, start, pattern, most=None, a_second=0):
    """The log says so since `start`, at least once and at most `most` times and
    so many for each second that it tells of; how often."""
    broker.wait_log(pattern, start)
    log = broker.log(start)
    n = len(re.findall(pattern, log))
    times = [int(t) for t in re.findall(r'^(\d{10}): ', log, re.M)]
    assert most is None or n <= most + a_second * (times[-1] - times[0]), \
        f'/{pattern}/ stands {n} times in the log'
    return n


def fate(client):
    """How it ends for a client: the code of the packet that refuses it, or
    None when the connection is just closed.  Fails when neither comes."""
    try:
        while True:
            p = client.recv()
            if p.kind in (SUBACK, 11) and p.codes and p.codes[0] >= 0x80:
                return p.codes[0]
            if p.kind in (DISCONNECT, CONNACK, PUBACK, PUBREC) and p.code >= 0x80:
                return p.code
    except Closed:
        return None


def is_closed(client):
    """Whether the broker closed it, with or without last words."""
    try:
        client.closed()
        return True
    except (TimeoutError, socket.timeout):
        return False


def reset(sock):
    """Closes with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def descriptors(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def own_descriptors(broker):
    """Those of a broker with no connections: its ports answer before it has them all."""
    broker.wait_log(' running')
    wait_until(lambda: at_rest(broker.pid), 'all its threads have begun')
    return descriptors(broker.pid)


def sys_value(port, name):
    """A figure of $SYS/broker/."""
    with Raw(port) as c:
        c.connect()
        c.subscribe('$SYS/broker/' + name)
        return int(c.message().payload)


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


__all__ = [name for name in dir() if not name.startswith('_')] + ['HOST']
