# SPDX-License-Identifier: Apache-2.0
"""Many raw MQTT 5 clients that come, say something and go, or stay: for
tests/bench/pauses, which has no time for clients that think."""
import contextlib
import itertools
import resource
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'blackbox'))
from raw import string, varint  # pylint: disable=wrong-import-position

HOST = '127.0.0.1'
BATCH = 400
PATIENCE = 60
NO_PORT_YET = 24		# IP_BIND_ADDRESS_NO_PORT
FOR_OTHERS = 2000		# descriptors
DISCONNECT = b'\xe0\0'
WITH_WILL = b'\xe0\x02\x04\0'
SOURCES = itertools.cycle(f'127.0.0.{i}' for i in range(2, 40))


def at_most():
    """How many connections a process may have here."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - FOR_OTHERS


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def connect(ident, clean=False, expiry=0, will=None, user=None, password=None):
    """will: topic, delay in seconds, whether it is retained."""
    flags = 2 if clean else 0
    props = struct.pack('>BI', 17, expiry)
    tail = string(ident)
    if will:
        topic, delay, retain = will
        flags |= 0x0c | (0x20 if retain else 0)
        delayed = struct.pack('>BI', 24, delay)
        tail += varint(len(delayed)) + delayed + string(topic) + string('gone')
    if user:
        flags |= 0x80
        tail += string(user)
    if password:
        flags |= 0x40
        tail += string(password)
    return packet(0x10, string('MQTT') + bytes([5, flags, 0, 0]) + varint(len(props)) + props + tail)


def subscribe(filters, qos=0):
    return packet(0x82, b'\0\1\0' + b''.join(string(f) + bytes([qos]) for f in filters))


def unsubscribe(filters):
    return packet(0xa2, b'\0\2\0' + b''.join(map(string, filters)))


def publish(topic, qos=0, ident=1, retain=False, expiry=None, payload='sixteen bytes...'):
    props = struct.pack('>BI', 2, expiry) if expiry else b''
    return packet(0x30 | qos << 1 | retain, string(topic) + (struct.pack('>H', ident) if qos else b'')
                  + varint(len(props)) + props + payload.encode())


def dial(port):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_IP, NO_PORT_YET, 1)
    s.bind((next(SOURCES), 0))
    s.settimeout(PATIENCE)
    s.connect((HOST, port))
    return s


def await_bytes(s, n):
    while n > 0:
        got = s.recv(n)
        if not got:
            raise SystemExit('the broker closed a connection')
        n -= len(got)


def await_end(s):
    with contextlib.suppress(ConnectionResetError):
        while s.recv(65536):
            pass


def said(port, packets):
    """Batches of connections that have said that."""
    packets = iter(packets)
    while batch := list(itertools.islice(packets, BATCH)):
        new = []
        for p in batch:
            s = dial(port)
            s.sendall(p)
            new.append(s)
        yield new


def pass_by(port, packets):
    """Clients that say all of that, DISCONNECT last, and go."""
    for batch in said(port, packets):
        for s in batch:
            await_end(s)
            s.close()


def move_in(port, packets, answer):
    """Clients that say that, get so many bytes, and stay."""
    out = []
    for batch in said(port, packets):
        for s in batch:
            await_bytes(s, answer)
        out += batch
    return out


def speaker(port, ident, **login):
    """A client that reads whatever comes, and minds nothing."""
    s = dial(port)
    s.sendall(connect(ident, clean=True, **login))

    def read():
        with contextlib.suppress(OSError):
            while s.recv(1 << 20):
                pass

    threading.Thread(target=read, daemon=True).start()
    return s


def in_parts(n, each, make):
    """make(range) for each part of n."""
    for i in range(0, n, each):
        yield make(range(i, min(n, i + each)))
