# SPDX-License-Identifier: Apache-2.0
"""A small blocking MQTT client of our own.  It says exactly what a test
tells it to, right or wrong, and shows exactly what came back; the tests of
interoperability use real clients instead."""
import contextlib
import socket
import struct

from harness import HOST, PATIENCE

(CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, SUBACK,
 UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT, AUTH) = range(1, 16)

# name: (identifier, type)
PROPS = {
    'payload_format': (1, 'u8'), 'message_expiry': (2, 'u32'), 'content_type': (3, 'str'),
    'response_topic': (8, 'str'), 'correlation_data': (9, 'bin'),
    'subscription_id': (11, 'var'), 'session_expiry': (17, 'u32'),
    'assigned_client_id': (18, 'str'), 'server_keep_alive': (19, 'u16'),
    'auth_method': (21, 'str'), 'auth_data': (22, 'bin'), 'request_problem': (23, 'u8'),
    'will_delay': (24, 'u32'), 'request_response': (25, 'u8'), 'response_info': (26, 'str'),
    'server_reference': (28, 'str'), 'reason_string': (31, 'str'),
    'receive_maximum': (33, 'u16'), 'topic_alias_maximum': (34, 'u16'),
    'topic_alias': (35, 'u16'), 'maximum_qos': (36, 'u8'), 'retain_available': (37, 'u8'),
    'user_property': (38, 'pair'), 'maximum_packet_size': (39, 'u32'),
    'wildcard_available': (40, 'u8'), 'subscription_ids_available': (41, 'u8'),
    'shared_available': (42, 'u8'),
}
BY_ID = {ident: (name, kind) for name, (ident, kind) in PROPS.items()}
REPEATED = ('user_property', 'subscription_id')


class Closed(Exception):
    """The broker closed the connection."""


def varint(n):
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7f
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def string(s):
    b = s.encode() if isinstance(s, str) else s
    return struct.pack('>H', len(b)) + b


def put_value(kind, v):
    if kind in ('str', 'bin'):
        return string(v)
    if kind == 'pair':
        return string(v[0]) + string(v[1])
    if kind == 'var':
        return varint(v)
    return struct.pack({'u8': '>B', 'u16': '>H', 'u32': '>I'}[kind], v)


def properties(props):
    """Wire form with its length; a list as value repeats the property."""
    body = b''
    for name, value in (props or {}).items():
        ident, kind = PROPS[name]
        for v in value if isinstance(value, list) else [value]:
            body += varint(ident) + put_value(kind, v)
    return varint(len(body)) + body


class Reader:
    """Takes values off the front of bytes."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        assert len(self.data) >= n, 'the packet ends inside an element'
        out, self.data = self.data[:n], self.data[n:]
        return out

    def num(self, size):
        return int.from_bytes(self.take(size), 'big')

    def var(self):
        n = shift = 0
        while True:
            b = self.num(1)
            n |= (b & 0x7f) << shift
            shift += 7
            if not b & 0x80:
                return n

    def bin(self):
        return self.take(self.num(2))

    def value(self, kind):
        if kind == 'str':
            return self.bin().decode()
        if kind == 'bin':
            return self.bin()
        if kind == 'pair':
            return (self.bin().decode(), self.bin().decode())
        if kind == 'var':
            return self.var()
        return self.num({'u8': 1, 'u16': 2, 'u32': 4}[kind])

    def props(self):
        r = Reader(self.take(self.var()))
        out = {}
        while r.data:
            name, kind = BY_ID[r.var()]
            value = r.value(kind)
            if name in REPEATED:
                out.setdefault(name, []).append(value)
            else:
                assert name not in out, f'{name} twice'
                out[name] = value
        return out


def packet(kind, flags, body):
    return bytes([kind << 4 | flags]) + varint(len(body)) + body


def connect_packet(client_id='', version=5, clean=True, keepalive=60, props=None,
                   will=None, username=None, password=None):
    """will: (topic, payload, qos, retain, props)."""
    flags = 0x02 if clean else 0
    tail = string(client_id)
    if will:
        topic, payload, qos, retain, will_props = (*will, *(b'', 0, False, None)[len(will) - 1:])
        flags |= 0x04 | qos << 3 | (0x20 if retain else 0)
        tail += (properties(will_props) if version == 5 else b'') + string(topic) + string(payload)
    if username is not None:
        flags |= 0x80
        tail += string(username)
    if password is not None:
        flags |= 0x40
        tail += string(password)
    name = 'MQIsdp' if version == 3 else 'MQTT'
    head = string(name) + bytes([version, flags]) + struct.pack('>H', keepalive)
    return packet(CONNECT, 0, head + (properties(props) if version == 5 else b'') + tail)


class Packet:
    """A received packet, decoded as far as the tests look."""

    def __init__(self, kind, flags, body, version):
        self.kind, self.flags, self.body = kind, flags, body
        self.code, self.props, self.mid = 0, {}, 0
        r = Reader(body)
        if kind == CONNACK:
            self.session_present = bool(r.num(1))
            self.code = r.num(1)
            # A broker that cannot speak the version may answer as 3.1.1 did.
            self.props = r.props() if r.data else {}
        elif kind == PUBLISH:
            self.qos, self.retain, self.dup = flags >> 1 & 3, bool(flags & 1), bool(flags & 8)
            self.topic = r.bin().decode()
            self.mid = r.num(2) if self.qos else 0
            self.props = r.props() if version == 5 else {}
            self.payload = r.data
        elif kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
            self.mid = r.num(2)
            self.code = r.num(1) if r.data else 0
            self.props = r.props() if r.data else {}
        elif kind in (SUBACK, UNSUBACK):
            self.mid = r.num(2)
            self.props = r.props() if version == 5 else {}
            self.codes = list(r.data)
        elif kind in (DISCONNECT, AUTH):
            self.code = r.num(1) if r.data else 0
            self.props = r.props() if r.data else {}

    def __repr__(self):
        return f'<packet type {self.kind} flags {self.flags:#x} code {self.code:#x} {self.body!r}>'


class Framed:
    """Packets over a socket, whoever sends them; a subclass says what recv() makes of
    one."""

    def __init__(self, sock, version):
        self.sock, self.version, self.pending = sock, version, b''

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()

    def send(self, data):
        self.sock.sendall(data)

    def fill(self, n, timeout):
        self.sock.settimeout(timeout)
        while len(self.pending) < n:
            try:
                more = self.sock.recv(65536)
            except ConnectionError as e:
                raise Closed(str(e)) from e
            if not more:
                raise Closed('end of file')
            self.pending += more

    def take_packet(self, timeout):
        """(fixed header, the rest) of the next packet."""
        size, used = 0, 1
        while True:
            self.fill(used + 1, timeout)
            b = self.pending[used]
            size |= (b & 0x7f) << 7 * (used - 1)
            used += 1
            if not b & 0x80:
                break
        self.fill(used + size, timeout)
        head, body = self.pending[:used], self.pending[used:used + size]
        self.pending = self.pending[used + size:]
        return head, body

    def expect(self, kind, timeout=None):
        p = self.recv(timeout)
        assert p.kind == kind, f'wanted packet type {kind}, got {p}'
        return p

    def silent(self, seconds=0.4):
        """Asserts that nothing comes for a while."""
        try:
            p = self.recv(seconds)
        except (TimeoutError, socket.timeout):
            return
        raise AssertionError(f'wanted nothing, got {p}')


class Raw(Framed):
    """One connection.  Use as a context manager; leaving it just closes."""

    def __init__(self, port, tls=None, version=5, timeout=PATIENCE, host=HOST, server_name='localhost',
                 rcvbuf=None):
        self.timeout = timeout
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        sock = socket.socket(family)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.settimeout(timeout)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().__init__(tls.wrap_socket(sock, server_hostname=server_name) if tls else sock, version)
        self.later = []
        self.mid = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def vanish(self):
        """Ends the connection without a word, and waits until the broker has
        noticed."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(self.timeout)
            while self.sock.recv(65536):
                pass
        self.close()

    def recv(self, timeout=None):
        """The next packet; TimeoutError or Closed when there is none."""
        if self.later:
            return self.later.pop(0)
        return self._recv(timeout or self.timeout)

    def _recv(self, timeout):
        head, body = self.take_packet(timeout)
        return Packet(head[0] >> 4, head[0] & 0xf, body, self.version)

    def wait_for(self, kind):
        """The next packet of a kind; messages that come before it are kept
        for recv."""
        while True:
            p = self._recv(self.timeout)
            if p.kind == kind:
                return p
            assert p.kind == PUBLISH, f'wanted packet type {kind}, got {p}'
            self.later.append(p)

    def closed(self, timeout=None):
        """Reads to the end of the connection; the DISCONNECT code, or None."""
        code = None
        try:
            while True:
                p = self.recv(timeout)
                if p.kind in (DISCONNECT, CONNACK):
                    code = p.code
        except Closed:
            return code

    def connect(self, client_id='', want=0, **kw):
        self.send(connect_packet(client_id, self.version, **kw))
        ack = self.expect(CONNACK)
        assert ack.code == want, f'CONNACK {ack.code:#x} {ack.props}, wanted {want:#x}'
        return ack

    def next_mid(self):
        self.mid = self.mid % 65535 + 1
        return self.mid

    def publish(self, topic, payload=b'', qos=0, retain=False, dup=False, mid=None, props=None):
        """Sends only; the packet identifier."""
        mid = mid or (self.next_mid() if qos else 0)
        payload = payload.encode() if isinstance(payload, str) else payload
        self.send(packet(PUBLISH, dup << 3 | qos << 1 | retain,
                         string(topic) + (struct.pack('>H', mid) if qos else b'')
                         + (properties(props) if self.version == 5 else b'') + payload))
        return mid

    def publish_acked(self, topic, payload=b'', qos=1, **kw):
        """Publishes and completes the hand-shake; the reason code."""
        mid = self.publish(topic, payload, qos, **kw)
        if qos == 0:
            return 0
        ack = self.wait_for(PUBACK if qos == 1 else PUBREC)
        assert ack.mid == mid
        if qos == 2 and ack.code < 0x80:
            self.ack(PUBREL, mid)
            assert self.wait_for(PUBCOMP).mid == mid
        return ack.code

    def ack(self, kind, mid, code=0):
        body = struct.pack('>H', mid) + (bytes([code]) if code else b'')
        self.send(packet(kind, 2 if kind == PUBREL else 0, body))

    def send_subscribe(self, *filters, qos=0, props=None, options=0):
        """filters: names, or (name, option byte)."""
        mid = self.next_mid()
        body = struct.pack('>H', mid) + (properties(props) if self.version == 5 else b'')
        for f in filters:
            name, opts = f if isinstance(f, tuple) else (f, qos | options)
            body += string(name) + bytes([opts])
        self.send(packet(SUBSCRIBE, 2, body))
        return mid

    def subscribe(self, *filters, **kw):
        """The same; the reason codes."""
        mid = self.send_subscribe(*filters, **kw)
        ack = self.wait_for(SUBACK)
        assert ack.mid == mid and len(ack.codes) == len(filters)
        return ack.codes

    def unsubscribe(self, *filters):
        mid = self.next_mid()
        self.send(packet(UNSUBSCRIBE, 2, struct.pack('>H', mid)
                         + (properties(None) if self.version == 5 else b'')
                         + b''.join(string(f) for f in filters)))
        ack = self.wait_for(UNSUBACK)
        assert ack.mid == mid
        return ack.codes

    def message(self, timeout=None):
        """The next PUBLISH, acknowledged to the end of its hand-shake."""
        p = self.expect(PUBLISH, timeout)
        if p.qos == 1:
            self.ack(PUBACK, p.mid)
        elif p.qos == 2:
            self.ack(PUBREC, p.mid)
            assert self.wait_for(PUBREL).mid == p.mid
            self.ack(PUBCOMP, p.mid)
        return p

    def gather(self, least=1, quiet=0.4):
        """At least so many messages, however long they take, and those that
        come until nothing does for a while."""
        got = [self.message() for _ in range(least)]
        with contextlib.suppress(TimeoutError):
            while True:
                got.append(self.message(quiet))
        return got

    def ping(self):
        self.send(packet(PINGREQ, 0, b''))
        self.wait_for(PINGRESP)

    def disconnect(self, code=0, props=None):
        """Says goodbye, and waits until the broker has heard it: what others
        do next must not overtake it."""
        body = b''
        if self.version == 5 and (code or props):
            body = bytes([code]) + (properties(props) if props else b'')
        self.send(packet(DISCONNECT, 0, body))
        with contextlib.suppress(OSError):
            self.sock.settimeout(self.timeout)
            while self.sock.recv(65536):
                pass
        self.close()
