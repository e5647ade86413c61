# SPDX-License-Identifier: Apache-2.0
"""Plays a history to a broker and notes what each client got in each step."""
import time

from raw import (AUTH, CONNACK, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH, PUBREC,
                 PUBREL, SUBACK, UNSUBACK, Closed, Raw, connect_packet, packet, properties, string)

# A step is over when this many rounds of pings brought nothing: a message may
# pass through a shared subscription's home before it reaches its member.
QUIET = 2
# Nobody's ping waits for a shard that has no client on it.
HOP = 0.005


def frozen(props):
    """As a value that can be compared; a list's order counts."""
    return tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in props.items()))


class Client:
    """One client of a history, connected or not."""

    def __init__(self, port, name):
        self.port, self.name = port, name
        self.raw = None
        self.events, self.unacked = [], []
        self.slow = False
        self.mid = 0

    def connect(self, a):
        if self.raw:    # the same client again: the old connection is told
            old, self.raw = self.raw, None
        else:
            old = None
        self.slow, self.unacked = a['slow'], []
        new = Raw(self.port, version=a['version'])
        will = a['will']
        new.send(connect_packet(
            self.name, a['version'], a['clean'], 0, a['props'],
            (will['topic'], will['payload'].encode(), will['qos'], will['retain'], will['props'])
            if will else None))
        ack = new.expect(CONNACK)
        self.events.append(('connack', ack.code, ack.session_present))
        self.raw = new
        if old:
            old.closed()
            old.close()

    def leave(self, politely):
        if politely:
            self.raw.disconnect()
        else:
            self.raw.close()
        self.raw = None

    def next_mid(self):
        # not 1, 2, ...: identifiers of the two directions are apart
        self.mid = self.mid % 60000 + 1
        return self.mid

    def subscribe(self, a):
        body = self.next_mid().to_bytes(2, 'big')
        body += properties(a['props']) if self.raw.version == 5 else b''
        for name, options in a['entries']:
            body += string(name) + bytes([options])
        self.raw.send(packet(8, 2, body))

    def unsubscribe(self, a):
        body = self.next_mid().to_bytes(2, 'big') + (b'\0' if self.raw.version == 5 else b'')
        self.raw.send(packet(10, 2, body + b''.join(string(f) for f in a['filters'])))

    def publish(self, a):
        mid = self.next_mid() if a['qos'] else 0
        self.raw.publish(a['topic'], a['payload'], a['qos'], a['retain'], mid=mid or None,
                         props=a['props'])

    def acknowledge(self):
        todo, self.unacked = self.unacked, []
        for kind, mid in todo:
            self.raw.ack(kind, mid)

    def drain(self):
        """Until nothing waits for this client any more."""
        while self.unacked or self.settle():
            self.acknowledge()
            self.settle()

    def _answer(self, kind, mid):
        if self.slow:
            self.unacked.append((kind, mid))
        else:
            self.raw.ack(kind, mid)

    def _take(self, p):
        if p.kind == PUBLISH:
            self.events.append(('publish', p.topic, p.payload, p.qos, p.retain, p.dup,
                                frozen(p.props)))
            if p.qos:
                self._answer(PUBACK if p.qos == 1 else PUBREC, p.mid)
        elif p.kind == PUBREC:
            self.events.append(('pubrec', p.code))
            if p.code < 0x80:
                self.raw.ack(PUBREL, p.mid)
        elif p.kind == PUBREL:
            self._answer(PUBCOMP, p.mid)
        elif p.kind in (PUBACK, PUBCOMP):
            self.events.append(('puback' if p.kind == PUBACK else 'pubcomp', p.code))
        elif p.kind in (SUBACK, UNSUBACK):
            self.events.append(('suback' if p.kind == SUBACK else 'unsuback', tuple(p.codes)))
        elif p.kind in (DISCONNECT, AUTH):
            self.events.append(('disconnect', p.code))
        else:
            raise AssertionError(f'not expected: {p}')

    def settle(self):
        """All up to the answer of a ping; whether anything came."""
        if not self.raw:
            return False
        self.raw.send(packet(PINGREQ, 0, b''))
        some = False
        while True:
            try:
                p = self.raw.recv()
            except Closed:
                self.events.append(('closed',))
                self.raw.close()
                self.raw = None
                return True
            if p.kind == PINGRESP:
                return some
            some = True
            self._take(p)


def play(port, history, count, pace=1):
    """[step][client] -> events."""
    clients = [Client(port, f'differential-{i}') for i in range(count)]
    record = []
    try:
        for verb, i, a in history.steps:
            c = clients[i]
            if verb in ('disconnect', 'drop'):
                if c.raw:
                    c.leave(verb == 'disconnect')
            elif verb == 'connect':
                c.connect(a)
            elif c.raw and verb in ('acknowledge', 'drain'):
                getattr(c, verb)()
            elif c.raw:
                getattr(c, verb)(a)
            settle_all(clients, verb == 'drop', history.mode == 'shared' or pace > 1, pace)
            record.append([c.events for c in clients])
            for c in clients:
                c.events = []
    finally:
        for c in clients:
            if c.raw:
                c.raw.close()
    return record


def settle_all(clients, will, hops, pace):
    """will: one may come, which no ping of the one who left announces."""
    quiet = 0
    while quiet < QUIET + (3 if will else 0):
        if hops:
            time.sleep(HOP * pace)
        quiet = 0 if any([c.settle() for c in clients]) else quiet + 1
