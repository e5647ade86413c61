#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Password clients that all come back at once.

Each logs in once, which costs a derivation; then every connection is cut and
all connect and log in again at the same moment, while a pair of clients that
stayed exchanges messages and times each.  Writes a table.

usage: login_storm.py [--clients N] [--iterations N] [--limit SECONDS] [--threads N] BINARY
"""
import argparse
import base64
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


def talk(port, pipe):
    """A client in a process of its own that publishes to itself and times it;
    what comes by the pipe asks for the times since."""
    s = socket.create_connection((HOST, port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.sendall(connect(b'pair', b'u000000', PASSWORD))
    assert s.recv(4) == b'\x20\x02\0\0'
    s.sendall(b'\x82\x08\0\x01' + string(b't/x') + b'\0')
    assert s.recv(5)[:1] == b'\x90'
    times = []
    while True:
        began = time.monotonic()
        s.sendall(b'\x30\x07' + string(b't/x') + b'hi')
        got = b''
        while len(got) < 9:
            got += s.recv(9 - len(got))
        times.append(time.monotonic() - began)
        time.sleep(0.002)
        if pipe.poll():
            pipe.recv()
            pipe.send(sorted(times))
            times = []


class Pair:
    def __init__(self, port):
        self.pipe, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=talk, args=(port, theirs), daemon=True).start()

    def take(self):
        self.pipe.send(None)
        return self.pipe.recv() or [0]


def at(v, q):
    return v[min(len(v) - 1, int(len(v) * q))] * 1000


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--clients', type=int, default=10_000)
    p.add_argument('--iterations', type=int, default=210_000, help='as nightjar passwd has it')
    p.add_argument('--limit', type=int, default=900, help='seconds for the first logins')
    p.add_argument('--threads', type=int, default=2)
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
        with subprocess.Popen([a.binary, 'serve', '-c', d + '/conf']) as broker:
            try:
                time.sleep(2)
                run(port, a, broker.pid)
            finally:
                broker.terminate()



def cpu(pid):
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def run(port, a, pid):
    storm, pair = Storm(port, a.clients), Pair(port)
    time.sleep(2)
    rows = [('nobody else', '-', '-', '-', pair.take())]
    used = cpu(pid)
    took = storm.all(64, a.limit)
    rows.append((f'first logins, {len(storm.times)}, 64 at once', f'{took:.1f}', storm.refused,
                 f'{cpu(pid) - used:.2f}', pair.take()))
    storm.cut()
    time.sleep(2)
    pair.take()
    used = cpu(pid)
    took = storm.all(a.clients, 120)
    rows.append((f'all {len(storm.times)} again, at once', f'{took:.1f}', storm.refused,
                 f'{cpu(pid) - used:.2f}', pair.take()))
    storm.cut()
    print('| what | seconds until all were in | refused | CPU s of the broker | latency of who stayed, ms: median | 99% | '
          'worst |\n| --- | --- | --- | --- | --- | --- | --- |')
    for what, took, refused, used, v in rows:
        print(f'| {what} | {took} | {refused} | {used} | {at(v, .5):.2f} | {at(v, .99):.2f} | '
              f'{v[-1] * 1000:.2f} |')
    sys.stdout.flush()


if __name__ == '__main__':
    main()
