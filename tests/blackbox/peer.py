# SPDX-License-Identifier: Apache-2.0
"""A scripted broker for the tests of our clients: it says exactly what a test
tells it to, right or wrong, and shows exactly what the client sent."""
import base64
import contextlib
import hashlib
import os
import re
import socket
import struct
import subprocess
import threading
import time

import wsraw
from harness import HOST, NIGHTJAR, PATIENCE, SANITIZER
from raw import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH,
                 PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, Closed, Framed, Reader,
                 packet, properties, string)

LEVELS = {5: 'mqttv5', 4: 'mqttv311', 3: 'mqttv31'}
PROGRAMS = {'mosquitto': lambda name: [f'mosquitto_{name}'],
            'nightjar': lambda name: [NIGHTJAR, name]}


class FromClient:
    """A packet that a client sent; raw has all its bytes."""

    def __init__(self, raw, body, version):
        self.raw, self.body = raw, body
        self.kind, self.flags = raw[0] >> 4, raw[0] & 15
        self.mid, self.code, self.props = 0, 0, {}
        r = Reader(body)
        if self.kind == CONNECT:
            self.read_connect(r)
        elif self.kind == PUBLISH:
            self.qos, self.retain, self.dup = self.flags >> 1 & 3, self.flags & 1, self.flags >> 3
            self.topic = r.bin()
            self.mid = r.num(2) if self.qos else 0
            self.props = r.props() if version == 5 else {}
            self.payload = r.data
        elif self.kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            self.mid = r.num(2)
            if r.data:
                assert version == 5, f'a longer packet than MQTT 3 has: {raw.hex()}'
                self.code = r.num(1)
                self.props = r.props() if r.data else {}
        elif self.kind in (SUBSCRIBE, UNSUBSCRIBE):
            self.mid = r.num(2)
            self.props = r.props() if version == 5 else {}
            self.filters = []
            while r.data:
                name = r.bin()
                self.filters.append((name, r.num(1)) if self.kind == SUBSCRIBE else name)
        elif self.kind in (DISCONNECT, AUTH) and r.data:
            self.code = r.num(1)
            self.props = r.props() if r.data else {}

    def read_connect(self, r):
        self.name, self.level = r.bin(), r.num(1)
        self.connect_flags, self.keep_alive = r.num(1), r.num(2)
        self.props = r.props() if self.level == 5 else {}
        self.client_id = r.bin()
        flags = self.connect_flags
        self.will_props = self.will_topic = self.will_payload = self.username = self.password = None
        if flags & 0x04:
            self.will_props = r.props() if self.level == 5 else {}
            self.will_topic, self.will_payload = r.bin(), r.bin()
        if flags & 0x80:
            self.username = r.bin()
        if flags & 0x40:
            self.password = r.bin()
        assert not r.data, f'CONNECT has {r.data!r} behind its fields'

    def __repr__(self):
        return f'<packet type {self.kind}: {self.raw.hex()}>'


class Conn(Framed):
    """One accepted connection."""

    def __init__(self, sock, version):
        super().__init__(sock, version)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reset(self):
        """An end that loses what was under way."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close()

    def recv(self, timeout=None):
        head, body = self.take_packet(timeout or PATIENCE)
        return FromClient(head + body, body, self.version)

    def rest(self, timeout=PATIENCE):
        """All packets up to the end of the connection."""
        out = []
        with contextlib.suppress(Closed):
            while True:
                out.append(self.recv(timeout))
        assert not self.pending, f'half a packet at the end: {self.pending.hex()}'
        return out

    def ended(self, code=None):
        """The client ends the connection: with nothing but a DISCONNECT of that
        code, or without a word (None).  A reset is an end."""
        last = self.rest()
        assert [p.kind for p in last] == ([DISCONNECT] if code is not None else []), last
        if code is not None:
            assert last[0].code == code, f'DISCONNECT {last[0].code:#x}, wanted {code:#x}'

    # -- what brokers say

    def connack(self, code=0, session=False, props=None):
        self.send(packet(CONNACK, 0, bytes([session, code])
                         + (properties(props) if self.version == 5 else b'')))

    def accept(self, **kw):
        """CONNECT and its answer; the CONNECT."""
        connect = self.expect(CONNECT)
        self.connack(**kw)
        return connect

    def suback(self, subscribe, codes=None, props=None):
        codes = [qos & 3 for _, qos in subscribe.filters] if codes is None else codes
        self.send(packet(SUBACK, 0, struct.pack('>H', subscribe.mid)
                         + (properties(props) if self.version == 5 else b'') + bytes(codes)))

    def unsuback(self, unsubscribe, codes=None):
        body = struct.pack('>H', unsubscribe.mid)
        if self.version == 5:
            body += properties(None) + bytes(codes or [0] * len(unsubscribe.filters))
        self.send(packet(UNSUBACK, 0, body))

    def subscribed(self, **kw):
        """CONNECT and SUBSCRIBE with their answers; the SUBSCRIBE."""
        self.accept(**kw)
        subscribe = self.expect(SUBSCRIBE)
        self.suback(subscribe)
        return subscribe

    def publish(self, topic, payload=b'', qos=0, retain=False, dup=False, mid=0, props=None):
        self.send(packet(PUBLISH, dup << 3 | qos << 1 | retain,
                         string(topic) + (struct.pack('>H', mid) if qos else b'')
                         + (properties(props) if self.version == 5 else b'') + payload))

    def ack(self, kind, mid, code=None, props=None):
        body = struct.pack('>H', mid)
        if code is not None:
            body += bytes([code]) + (properties(props) if props is not None else b'')
        self.send(packet(kind, 2 if kind == PUBREL else 0, body))

    def pong(self):
        self.expect(PINGREQ)
        self.send(packet(PINGRESP, 0, b''))

    def farewell(self, p=None):
        """The client's DISCONNECT, when it has not been read, and the end of the connection."""
        p = p or self.expect(DISCONNECT)
        self.sock.shutdown(socket.SHUT_WR)
        assert not self.rest(), 'packets after DISCONNECT'	# [MQTT-3.14.4-1]
        return p


class WsConn(Conn):
    """The same over WebSocket: what the client sends must be masked binary
    frames; answer says what to do with its request."""

    def __init__(self, sock, version, answer=None):
        super().__init__(sock, version)
        self.plain, self.controls = sock, []
        sock.settimeout(PATIENCE)
        head = b''
        while b'\r\n\r\n' not in head:
            head += sock.recv(1)
        self.request = head.decode()
        self.fields = dict(line.lower().split(': ', 1) for line in
                           self.request.split('\r\n')[1:] if line)
        key = re.search(r'Sec-WebSocket-Key: (.*)\r', self.request).group(1)
        self.accept_key = base64.b64encode(
            hashlib.sha1((key + wsraw.GUID).encode()).digest()).decode()
        sock.sendall((answer(self) if answer else self.answer()).encode())
        self.sock = self	# Conn reads and writes through the two below

    def answer(self, protocol='mqtt', accept=None, more=''):
        return ('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                f'Sec-WebSocket-Accept: {accept or self.accept_key}\r\n'
                f'Sec-WebSocket-Protocol: {protocol}\r\n{more}\r\n')

    def _exactly(self, n):
        out = b''
        while len(out) < n:
            try:
                more = self.plain.recv(n - len(out))
            except ConnectionError as e:
                raise Closed(str(e)) from e
            if not more:
                raise Closed('end of file')
            out += more
        return out

    def frame(self):
        """(first byte, payload) of the next frame."""
        first, second = self._exactly(2)
        assert second & 0x80, 'a client must mask its frames'	# RFC 6455 5.1
        n = second & 0x7f
        if n > 125:
            n = int.from_bytes(self._exactly(2 if n == 126 else 8), 'big')
        key = self._exactly(4)
        return first, bytes(b ^ key[i % 4] for i, b in enumerate(self._exactly(n)))

    def settimeout(self, seconds):
        self.plain.settimeout(seconds)

    def recv(self, timeout=None):	# both Conn's and the socket's
        if timeout != 65536:
            return super().recv(timeout)
        while True:
            first, payload = self.frame()
            if first == 0x82:
                return payload
            self.controls.append((first, payload))
            if first == 0x88:
                return b''

    def sendall(self, data):
        self.plain.sendall(wsraw.frame(wsraw.BINARY, data, mask=False))

    def shutdown(self, how):
        self.plain.shutdown(how)

    def close(self):
        with contextlib.suppress(OSError):
            self.plain.close()


class Peer:
    """Listens; a context manager."""

    def __init__(self, version=5):
        self.version = version
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.open = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for c in self.open:
            c.close()
        self.listener.close()

    def take(self, timeout=PATIENCE):
        """The next connection."""
        self.listener.settimeout(timeout)
        c = Conn(self.listener.accept()[0], self.version)
        self.open.append(c)
        return c

    def take_ws(self, answer=None, timeout=PATIENCE):
        self.listener.settimeout(timeout)
        c = WsConn(self.listener.accept()[0], self.version, answer)
        self.open.append(c)
        return c

    def none(self, seconds=0.5):
        """Asserts that nobody connects."""
        try:
            self.take(seconds)
        except (TimeoutError, socket.timeout):
            return
        raise AssertionError('somebody connected')


class Program:
    """One of our programs at work; a context manager that ends it."""

    def __init__(self, argv, stdin=b'', keep_stdin=False, env=None, **kw):
        self.argv = [a if isinstance(a, bytes) else str(a) for a in argv]
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'XDG_CONFIG_HOME': '/nonexistent', **(env or {})}, **kw)
        self.out, self.err = b'', b''
        self.threads = [threading.Thread(target=self._read, args=(name,), daemon=True)
                        for name in ('out', 'err')]
        for t in self.threads:
            t.start()
        if not keep_stdin:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.write(stdin)
                self.process.stdin.close()

    def _read(self, name):
        pipe = getattr(self.process, 'std' + name)
        while True:
            more = os.read(pipe.fileno(), 65536)
            if not more:
                return
            setattr(self, name, getattr(self, name) + more)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for t in self.threads:
            t.join()
        self.process.stdout.close()
        self.process.stderr.close()
        if not self.process.stdin.closed:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if exc[0] is None:
            assert not SANITIZER.search(self.text()), self.text()

    def text(self):
        return self.err.decode('utf-8', 'backslashreplace')

    def status(self):
        """Waits for its end."""
        status = self.process.wait(PATIENCE)
        for t in self.threads:
            t.join()
        return status

    def ends(self, status=0):
        got = self.status()
        assert got == status, f'{self.argv} ended with {got}, wanted {status}:\n{self.text()}'
        return self.out

    def printed(self, what, timeout=PATIENCE):
        """Waits until it has printed that."""
        end = time.monotonic() + timeout
        while what not in self.out:
            assert time.monotonic() < end, f'not printed: {what!r}; but {self.out!r} {self.err!r}'
            time.sleep(0.01)

    def said(self, pattern, timeout=PATIENCE):
        """Waits until that stands on stderr."""
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text()):
            assert time.monotonic() < end, f'not said: {pattern}; but {self.text()!r}'
            time.sleep(0.01)


def start(peer, name, *args, which='nightjar', **kw):
    """One of pub, sub and rr, told to connect to the peer with its version."""
    return Program(PROGRAMS[which](name) + ['-h', HOST, '-p', peer.port, '-V', LEVELS[peer.version],
                                            *args], **kw)
