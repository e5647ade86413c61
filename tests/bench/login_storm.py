#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Password clients that all come back at once.

Each logs in once, which costs a derivation; then every connection is cut and
all connect and log in again at the same moment, while a pair of clients that
stayed exchanges messages and times each.  Writes a table.

The broker has one processor and the load another.  How long the client that is timed
waited for its processor, as the system counts it (schedstat), is taken off each time,
and with one thread what the broker's waited: what is left is how long the broker was
busy with others.

usage: login_storm.py [--clients N] [--iterations N] [--limit SECONDS] [--threads N]
                      [--together] [--turns turns.so] BINARY

--together: all on all processors.  --turns: what tests/bench/turns.c was built to;
the longest turn of an event loop is shown, in processor time.
"""
import argparse
import base64
import contextlib
import hashlib
import multiprocessing
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

HOST = '127.0.0.1'


def string(s):
    return struct.pack('>H', len(s)) + s


def connect(client_id, user, password):
    body = string(b'MQTT') + bytes([4, 0xc2]) + struct.pack('>H', 0) \
        + string(client_id) + string(user) + string(password)
    n, head = len(body), b''
    while True:
        head += bytes([n % 128 | (0x80 if n > 127 else 0)])
        n //= 128
        if not n:
            return b'\x10' + head + body


PASSWORD = b'the same for all'


def users(names, iterations):
    """One hash for all, which the broker derives for each of them all the same:
    making the file would cost as much as the first logins."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac('sha512', PASSWORD, salt, iterations)
    b64 = base64.b64encode
    return b''.join(b'%s:$7$%d$%s$%s\n' % (n, iterations, b64(salt), b64(digest)) for n in names)


class Storm:
    """N connections; all() waits until each has its CONNACK."""

    def __init__(self, port, n):
        self.port, self.n = port, n
        self.times, self.refused = [], 0

    def names(self):
        return [b'u%06d' % i for i in range(self.n)]

    def all(self, at_once, limit):
        """Seconds until the last is in; `at_once` may be under way."""
        poll, waiting, socks = select.epoll(), {}, []
        names, began, i = self.names(), time.monotonic(), 0
        self.times, self.refused = [], 0
        while (waiting or i < self.n) and time.monotonic() - began < limit:
            while i < self.n and len(waiting) < at_once:
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex((HOST, self.port))
                poll.register(s.fileno(), select.EPOLLOUT)
                waiting[s.fileno()] = (s, names[i], time.monotonic())
                socks.append(s)
                i += 1
            for fd, what in poll.poll(0.05):
                s, name, since = waiting[fd]
                if what & select.EPOLLOUT:
                    s.send(connect(name, name, PASSWORD))
                    poll.modify(fd, select.EPOLLIN)
                    continue
                try:
                    got = s.recv(64)
                except OSError:
                    got = b''
                self.refused += got != b'\x20\x02\0\0'
                self.times.append(time.monotonic() - since)
                poll.unregister(fd)
                del waiting[fd]
        self.socks = socks
        return time.monotonic() - began

    def cut(self):
        for s in self.socks:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            s.close()


def waited(schedstats):
    """Nanoseconds that these threads wanted a processor and had none."""
    return sum(int(os.pread(s, 64, 0).split()[1]) for s in schedstats)


def talk(port, cores, shards, pipe):
    """A client in a process of its own that publishes to itself and times it;
    what comes by the pipe asks for the times since."""
    os.sched_setaffinity(0, cores)
    schedstat = [os.open(s, os.O_RDONLY) for s in ['/proc/self/schedstat'] + shards]
    s = socket.create_connection((HOST, port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(connect(b'pair', b'u000000', PASSWORD))
    assert s.recv(4) == b'\x20\x02\0\0'
    s.sendall(b'\x82\x08\0\x01' + string(b't/x') + b'\0')
    assert s.recv(5)[:1] == b'\x90'
    times = []
    while True:
        before, began = waited(schedstat), time.monotonic()
        s.sendall(b'\x30\x07' + string(b't/x') + b'hi')
        got = b''
        while len(got) < 9:
            got += s.recv(9 - len(got))
        took = time.monotonic() - began
        times.append(max(took - (waited(schedstat) - before) / 1e9, 0))
        time.sleep(0.002)
        if pipe.poll():
            pipe.recv()
            pipe.send(sorted(times))
            times = []


class Pair:
    def __init__(self, *what):
        self.pipe, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=talk, args=(*what, theirs), daemon=True).start()

    def take(self):
        self.pipe.send(None)
        return self.pipe.recv() or [0]


def shards_of(pid):
    """Where the system tells how long each of its event loops waited."""
    task, found = f'/proc/{pid}/task', []
    for t in os.listdir(task):
        with open(f'{task}/{t}/comm', encoding='ascii') as f:
            if f.read().startswith('shard'):
                found.append(f'{task}/{t}/schedstat')
    return found


def at(v, q):
    return v[min(len(v) - 1, int(len(v) * q))] * 1000


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--clients', type=int, default=10_000)
    p.add_argument('--iterations', type=int, default=210_000, help='as nightjar passwd has it')
    p.add_argument('--limit', type=int, default=900, help='seconds for the first logins')
    p.add_argument('--threads', type=int, default=2)
    p.add_argument('--together', action='store_true')
    p.add_argument('--turns')
    p.add_argument('binary')
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        with open(d + '/users', 'wb') as f:
            f.write(users([b'u%06d' % i for i in range(a.clients)], a.iterations))
        with socket.socket() as s:
            s.bind((HOST, 0))
            port = s.getsockname()[1]
        os.chmod(d + '/users', 0o600)
        with open(d + '/conf', 'w', encoding='ascii') as f:
            f.write(f'listener {port} {HOST}\npassword_file {d}/users\nallow_anonymous false\n'
                    f'threads {a.threads}\nlog_type error\nconnect_timeout 60\n')
        env = dict(os.environ)
        turns = Turns(d + '/turns' if a.turns else None)
        if a.turns:
            env.update(LD_PRELOAD=a.turns, TURNS_FILE=turns.file, TURNS_US='100')
        all_cores = sorted(os.sched_getaffinity(0))
        cores = all_cores if a.together else all_cores[:1]
        load = all_cores if a.together else all_cores[-1:]
        with subprocess.Popen(['taskset', '-c', ','.join(map(str, cores)), a.binary, 'serve',
                               '-c', d + '/conf'], env=env) as broker:
            try:
                time.sleep(2)
                shards = shards_of(broker.pid)
                pair = Pair(port, load, shards if len(shards) == 1 else [])
                os.sched_setaffinity(0, load)
                os.nice(5)
                run(port, a, broker.pid, pair, turns)
            finally:
                broker.terminate()


class Turns:
    """What turns.c has written."""

    def __init__(self, file):
        self.file = file
        if file:
            with open(file, 'wb'):
                os.chmod(file, 0o666)  # the broker drops root

    def longest(self, since):
        if not self.file:
            return '-'
        found = [0.0]
        with contextlib.suppress(OSError), open(self.file, encoding='ascii') as f:
            for line in f:
                us, _, ended = map(float, line.split())
                if ended / 1e6 >= since:
                    found.append(us / 1e3)
        return f'{max(found):.2f}'


def cpu(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def run(port, a, pid, pair, turns):
    storm, rows = Storm(port, a.clients), []

    def measured(what, action):
        pair.take()
        used, since = cpu(pid), time.monotonic()
        took = action()
        used, times = cpu(pid) - used, pair.take()
        rows.append((what, f'{took:.1f}', len(storm.times), storm.refused, f'{used:.2f}',
                     turns.longest(since), times))

    time.sleep(1)
    measured('nobody else', lambda: time.sleep(2) or 2)
    measured('first logins, 64 at once', lambda: storm.all(64, a.limit))
    measured('all go', lambda: storm.cut() or time.sleep(2) or 2)
    measured('all again, at once', lambda: storm.all(a.clients, 120))
    storm.cut()
    print('| what | seconds | came | refused | CPU s of the broker | longest turn, ms | '
          'latency of who stayed, ms: median | 99% | worst |\n'
          '| --- | --- | --- | --- | --- | --- | --- | --- | --- |')
    for *cells, v in rows:
        print('| ' + ' | '.join(map(str, cells))
              + f' | {at(v, .5):.2f} | {at(v, .99):.2f} | {v[-1] * 1000:.2f} |')
    sys.stdout.flush()


if __name__ == '__main__':
    main()
