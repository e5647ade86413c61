# SPDX-License-Identifier: Apache-2.0
"""A non-blocking MQTT client of the crash test: it speaks to a broker that
may be gone at any byte, and to the next one on the same store."""
import os
import socket
import ssl
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'blackbox'))
from raw import (CONNACK, DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK,
                 Packet, Reader, connect_packet, packet, properties, string)

HOST = '127.0.0.1'
CHUNK = 1 << 18
# Bytes that wait to be written, above which nothing more is made.
BACKLOG = 1 << 18

_short = struct.Struct('>H')


class Link:
    """One client id.  Subclasses say what it does."""
    clean = False
    expiry = 3600
    receive_maximum = 100
    options = 0			# of its subscriptions, beside the QoS

    def __init__(self, world, name, version=5):
        self.world, self.ledger, self.name, self.version = world, world.ledger, name, version
        self.rng = world.rng
        self.sock = None
        self.state = 'down'		# connecting, waiting (for the CONNACK), up
        self.inbuf = b''
        self.out = []
        self.size = 0
        self.asks_write = False
        self.mid = 0
        self.wake = 0			# when turn() has something to do next
        self.stored = 'no'		# what the broker must have of the session: no, yes, perhaps
        self.ended_at = 0
        world.links.append(self)

    # Connecting and ending.

    def connect(self):
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inbuf, self.out, self.size = b'', [], 0
        status = self.sock.connect_ex((HOST, self.world.port))
        if status not in (0, 115):
            self.sock.close()
            self.sock = None
            self.wake = self.ledger.now() + 5_000_000
            return
        self.state = 'connecting'
        self.asks_write = True
        self.world.watch(self, True)

    def will(self):
        return None

    def _connected(self):
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.drop(5_000_000)
        elif self.world.tls is None:
            self._greet()
        else:
            self.world.unwatch(self)
            self.sock = self.world.tls.wrap_socket(self.sock, server_hostname='localhost',
                                                   do_handshake_on_connect=False)
            self.asks_write = True
            self.world.watch(self, True)
            self.state = 'shaking'

    def _shake(self):
        """A step of the handshake."""
        try:
            self.sock.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as e:
            want = isinstance(e, ssl.SSLWantWriteError)
            if want != self.asks_write:
                self.asks_write = want
                self.world.watch(self, want, again=True)
            return
        except OSError as e:
            if isinstance(e, ssl.SSLCertVerificationError):
                self.ledger.fault(f'{self.name}: {e}')
            self.drop(5_000_000)
            return
        self.ledger.counts['handshakes'] += 1
        self._greet()

    def _greet(self):
        self.state = 'waiting'
        props = None
        if self.version == 5:
            props = {'receive_maximum': self.receive_maximum}
            if not self.clean:
                props['session_expiry'] = self.expiry
        self.asked_at = self.ledger.now()
        self.asking()
        self.send(connect_packet(self.name, self.version, self.clean, 600, props, self.will()))
        if not self.clean and self.stored == 'no':
            self.stored = 'perhaps'

    def asking(self):
        """A CONNECT is about to leave."""

    def drop(self, retry=0):
        """The connection is over."""
        if self.sock is None:
            return
        self.world.unwatch(self)
        self.sock.close()
        self.sock = None
        was, self.state = self.state, 'down'
        self.ended_at = self.world.arrival()
        self.out, self.size = [], 0
        self.wake = self.ended_at + retry
        if was in ('up', 'leaving'):
            self.closed(was == 'leaving')

    def leave(self):
        """DISCONNECT; the broker closes."""
        self.send(b'\xe0\x00')
        self.state = 'leaving'

    def closed(self, goodbye):
        """An established connection ended, perhaps after a DISCONNECT."""

    # Bytes.

    def send(self, data):
        self.out.append(data)
        self.size += len(data)

    def flush(self):
        if not self.out or self.sock is None or self.state in ('connecting', 'shaking'):
            return
        data = b''.join(self.out) if len(self.out) > 1 else self.out[0]
        try:
            n = self.sock.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            n = 0
        except OSError:
            n = len(data)		# reading tells the end
        if n < len(data):
            self.out, self.size = [data[n:]], len(data) - n
        else:
            self.out, self.size = [], 0
        if bool(self.out) != self.asks_write:
            self.asks_write = bool(self.out)
            self.world.watch(self, self.asks_write, again=True)

    def ready(self, readable, writable):
        if self.state == 'connecting':
            self._connected()
        elif self.state == 'shaking':
            self._shake()
        elif readable:
            more = self.receive()
            # what TLS has read already the poll does not tell
            while more and self.world.tls is not None and self.sock.pending():
                more = self.receive()

    def receive(self):
        """Reads once; False when there is nothing more to be had."""
        try:
            data = self.sock.recv(CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            data = b''
        if not data:
            self.drop()
            return False
        self._parse(self.inbuf + data)
        return self.sock is not None

    def _parse(self, buf):
        at, end = 0, len(buf)
        while end - at >= 2:
            first, size = buf[at], buf[at + 1]
            body = at + 2
            if size & 0x80:
                size &= 0x7f
                shift = 7
                while body < end:
                    b = buf[body]
                    body += 1
                    size |= (b & 0x7f) << shift
                    shift += 7
                    if not b & 0x80:
                        break
                else:
                    break
            stop = body + size
            if stop > end:
                break
            self._on_packet(first, buf, body, stop)
            if self.sock is None:
                return
            at = stop
        self.inbuf = buf[at:]

    def _on_packet(self, first, buf, body, stop):
        kind = first >> 4
        if kind == PUBLISH:
            n = buf[body] << 8 | buf[body + 1]
            topic = buf[body + 2:body + 2 + n].decode()
            at = body + 2 + n
            mid = 0
            if first & 6:
                mid = buf[at] << 8 | buf[at + 1]
                at += 2
            props = None
            if self.version == 5:
                if buf[at]:
                    r = Reader(buf[at:stop])
                    props = r.props()
                    at = stop - len(r.data)
                else:
                    props = {}
                    at += 1
            self.on_publish(first, topic, mid, props, buf[at:stop])
        elif PUBACK <= kind <= PUBCOMP:
            code = buf[body + 2] if stop - body > 2 else 0
            self.on_ack(kind, buf[body] << 8 | buf[body + 1], code)
        elif kind == CONNACK:
            self._on_connack(Packet(kind, first & 0xf, buf[body:stop], self.version))
        elif kind in (SUBACK, UNSUBACK):
            p = Packet(kind, first & 0xf, buf[body:stop], self.version)
            self.on_suback(kind, p.mid, p.codes)
        elif kind == DISCONNECT and buf[body] == 0x8b and self.world.how in ('end', 'mixed'):
            self.drop(20_000_000)		# the broker stops
        elif kind != PINGRESP:
            self.ledger.fault(f'{self.name} got packet type {kind}: {buf[body:stop].hex()}')
            self.drop(20_000_000)

    def _on_connack(self, p):
        if p.code:
            if p.code in (3, 0x88, 0x89):		# unavailable, busy: it is told to wait
                self.drop(20_000_000)
                return
            self.ledger.fault(f'{self.name} was refused with {p.code:#x} {p.props}')
            self.drop(20_000_000)
            return
        self.state = 'up'
        self.up_at = self.ledger.now()
        self.server_maximum = p.props.get('receive_maximum', 65535)
        self.check_present(p.session_present)
        self.stored = 'no' if self.clean else 'yes'
        self.opened(p.session_present)

    def check_present(self, present):
        must = {'no': False, 'yes': True}.get(self.stored if not self.clean else 'no')
        if must is not None and must != present:
            self.ledger.fault(f'{self.name}: session present is {int(present)} instead of {int(must)}',
                              *self.session_story())

    def session_story(self):
        return ()

    # What subclasses do.

    def opened(self, present):
        pass

    def on_publish(self, first, topic, mid, props, payload):
        pass

    def on_ack(self, kind, mid, code):
        pass

    def on_suback(self, kind, mid, codes):
        pass

    def turn(self, now):
        """Called as often as the loop turns, after `wake`."""

    def next_mid(self, used=()):
        while True:
            self.mid = self.mid % 65535 + 1
            if self.mid not in used:
                return self.mid

    def put_ack(self, kind, mid):
        self.send(bytes((kind << 4 | (2 if kind == PUBREL else 0), 2)) + _short.pack(mid))

    def put_subscribe(self, filters, ident=0):
        """filters: {name: QoS}; the packet identifier."""
        mid = self.next_mid()
        props = properties({'subscription_id': ident} if ident else None) if self.version == 5 else b''
        self.send(packet(8, 2, _short.pack(mid) + props
                         + b''.join(string(f) + bytes((q | self.options,)) for f, q in filters.items())))
        return mid

    def put_unsubscribe(self, *filters):
        mid = self.next_mid()
        props = b'\x00' if self.version == 5 else b''
        self.send(packet(10, 2, _short.pack(mid) + props + b''.join(map(string, filters))))
        return mid
