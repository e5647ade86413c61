# SPDX-License-Identifier: Apache-2.0
"""A WebSocket client that says exactly what a test tells it to, as a socket
that raw.Raw can use."""
import base64
import hashlib
import os
import socket
import struct

from harness import HOST, PATIENCE
from raw import Raw

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = base64.b64encode(b'0123456789abcdef').decode()
GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'


def request(protocol='mqtt', origin=None, version='13', first='GET /mqtt HTTP/1.1', more=()):
    lines = [first, 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade',
             f'Sec-WebSocket-Key: {KEY}', f'Sec-WebSocket-Version: {version}']
    if protocol:
        lines.append(f'Sec-WebSocket-Protocol: {protocol}')
    if origin:
        lines.append(f'Origin: {origin}')
    return ('\r\n'.join([*lines, *more]) + '\r\n\r\n').encode()


def frame(op, payload=b'', fin=True, mask=True, rsv=0, length=None):
    """A frame; length: what its head says instead of the truth."""
    n = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | op])
    bit = 0x80 if mask else 0
    if n < 126:
        head += bytes([bit | n])
    elif n < 65536:
        head += bytes([bit | 126]) + struct.pack('>H', n)
    else:
        head += bytes([bit | 127]) + struct.pack('>Q', n)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(payload))


class Answer:
    """An HTTP answer."""

    def __init__(self, text):
        head, self.body = text.split(b'\r\n\r\n', 1)
        lines = head.decode().split('\r\n')
        self.status = int(lines[0].split()[1])
        self.fields = {k.lower(): v for k, v in (x.split(': ', 1) for x in lines[1:])}


def http(port, text, tls=None):
    """Sends a request and reads to the end of the connection."""
    with socket.create_connection((HOST, port), PATIENCE) as sock:
        if tls:
            sock = tls.wrap_socket(sock, server_hostname='localhost')
        sock.sendall(text)
        got = b''
        while more := sock.recv(65536):
            got += more
        sock.close()
    return Answer(got)


class WsSocket:
    """Upgraded; sendall and recv are about payload of binary frames."""

    def __init__(self, sock, text):
        self.sock = sock
        self.raw = b''
        self.controls = []
        self.sizes = []
        sock.sendall(text)
        while b'\r\n\r\n' not in self.raw:
            self._more()
        end = self.raw.index(b'\r\n\r\n') + 4
        self.answer = Answer(self.raw[:end])
        self.raw = self.raw[end:]
        assert self.answer.status == 101, self.answer.status
        want = base64.b64encode(hashlib.sha1((KEY + GUID).encode()).digest()).decode()
        assert self.answer.fields['sec-websocket-accept'] == want

    def _more(self):
        more = self.sock.recv(65536)
        if not more:
            raise ConnectionError('end of file')
        self.raw += more

    def frame(self):
        """The next frame of the broker: (op, payload)."""
        while len(self.raw) < 2:
            self._more()
        assert self.raw[0] & 0xf0 == 0x80 and not self.raw[1] & 0x80
        size, at = self.raw[1] & 0x7f, 2
        if size > 125:
            at = 4 if size == 126 else 10
            while len(self.raw) < at:
                self._more()
            size = int.from_bytes(self.raw[2:at], 'big')
        while len(self.raw) < at + size:
            self._more()
        op, payload = self.raw[0] & 0xf, self.raw[at:at + size]
        self.raw = self.raw[at + size:]
        return op, payload

    def sendall(self, data):
        self.sock.sendall(frame(BINARY, data))

    def recv(self, _size):
        while True:
            op, payload = self.frame()
            if op == BINARY:
                self.sizes.append(len(payload))
                return payload
            self.controls.append((op, payload))
            if op == CLOSE:
                return b''

    def settimeout(self, seconds):
        self.sock.settimeout(seconds)

    def close(self):
        self.sock.close()

    def close_code(self):
        """Reads up to the broker's Close; its code."""
        for op, payload in self.controls:
            if op == CLOSE:
                return int.from_bytes(payload[:2], 'big')
        while True:
            op, payload = self.frame()
            if op == CLOSE:
                return int.from_bytes(payload[:2], 'big')


class RawWs(Raw):
    """raw.Raw over WebSocket; .ws is the connection below."""

    def __init__(self, port, tls=None, text=None, **kw):
        super().__init__(port, tls=tls, **kw)
        self.ws = self.sock = WsSocket(self.sock, text or request())
