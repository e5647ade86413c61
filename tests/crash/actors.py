# SPDX-License-Identifier: Apache-2.0
"""Who talks to the broker: publishers, subscribers, those who come and go."""
import struct
import sys

from ledger import OPEN, Inbox, Interval, Message
from link import BACKLOG, Link
from raw import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, packet, properties, string)

MS = 1_000_000
SECOND = 1000 * MS
# After so long a DISCONNECT, which has no answer, is on disk.
UNSURE = 2 * SECOND
_short = struct.Struct('>H')


class Publisher(Link):
    """Publishes as fast as its window allows, and sends again what was not
    acknowledged, as a client with a session does."""

    def __init__(self, world, number, version, clean=False):
        super().__init__(world, f'p{number}', version)
        self.clean, self.number = clean, number
        self.window = self.rng.choice((1, 10, 100, 400))
        self.inflight = {}		# packet identifier: Message, in order
        self.seq = 0

    def opened(self, present):
        if self.rng.random() < 0.1:
            self.window = self.rng.choice((1, 10, 100, 400))
        if not present:
            self.inflight.clear()		# to nobody's account
            return
        for mid, m in self.inflight.items():
            m.again += 1
            if m.state == 'publish':
                self.send(bytes((m.wire[0] | 8,)) + m.wire[1:])
            else:
                self.put_ack(PUBREL, mid)

    def topic(self):
        """A topic, whether retained, and its QoS where that has to stay."""
        r = self.rng.random()
        if r < 0.05:
            return f's/{self.number}', False, 1
        if r < 0.07:
            return f'n/{self.number}', False, 0
        if r < 0.5:
            return f't/{self.number}/{self.rng.randrange(4)}', False, 0
        if r < 0.65:
            return f'h/{self.number}/{self.rng.randrange(4)}', False, 0
        if r < 0.88:
            return f'x/{self.rng.randrange(16)}', False, 0
        k = self.rng.randrange(8)
        return f'r/{self.number}/{k}', True, 1 + k % 2

    def payload(self, seq):
        n = self.rng.choice((0, 20, 60, 100)) if self.rng.random() < 0.99 else 20000
        return b'%s %d|' % (self.name.encode(), seq) + b'.' * n

    def publish(self):
        topic, retain, qos = self.topic()
        self.seq += 1
        mid = self.next_mid(self.inflight)
        m = Message(self.name, self.seq, topic, qos or 1 + self.rng.randrange(2), retain, mid,
                    self.ledger.now())
        m.empty = retain and self.rng.random() < 0.2
        m.marked = self.version == 5 and self.seq % 8 == 0
        props = b''
        if self.version == 5:
            props = properties({'correlation_data': b'%d' % self.seq} if m.marked else None)
        payload = b'' if m.empty else self.payload(self.seq)
        m.size = len(payload)
        m.wire = packet(PUBLISH, m.qos << 1 | retain, string(topic) + _short.pack(mid) + props + payload)
        self.inflight[mid] = m
        self.ledger.sends(m)
        self.send(m.wire)

    def turn(self, now):
        if self.state != 'up' or self.world.quiet or self.world.behind:
            return
        room = min(self.window, self.server_maximum) - len(self.inflight)
        for _ in range(min(room, 100)):
            if self.size > BACKLOG:
                break
            self.publish()

    def on_ack(self, kind, mid, code):
        m = self.inflight.get(mid)
        expected = m and {PUBACK: m.qos == 1, PUBREC: m.qos == 2,
                          PUBCOMP: m.qos == 2 and m.state == 'release'}.get(kind)
        # A PUBREL that is sent again may find that all was done.
        found = code < 0x80 or (kind == PUBCOMP and code == 0x92 and m and m.again)
        if not expected or not found:
            self.ledger.fault(f'{self.name} got packet type {kind}, code {code:#x}, for packet {mid}',
                              self.ledger.story(m) if m else 'which is not under way')
            return
        if kind == PUBREC:
            m.received = m.received or self.ledger.now()
            m.state = 'release'
            self.put_ack(PUBREL, mid)
            return
        del self.inflight[mid]
        m.wire = b''
        self.ledger.acknowledged(m)

    def idle(self):
        return self.state == 'up' and not self.inflight


class Flight:
    """A message that is under way to a subscriber."""
    __slots__ = ('key', 'qos', 'state', 'must', 'since', 'unsure')

    def __init__(self, key, qos, since):
        self.key, self.qos, self.since = key, qos, since
        self.state = 'got'		# or 'received': PUBREC was sent
        self.unsure = False		# its identifier may not have been written
        self.must = False		# the broker has to send it again, or its PUBREL


class Receiver(Link):
    """A persistent session with subscriptions.  It acknowledges at once, or
    late; goes offline and comes back."""

    def __init__(self, world, name, version, filters, inbox=None, lazy=False, online=0.9, ident=0):
        super().__init__(world, name, version)
        self.inbox = inbox or Inbox(world.ledger, name)
        self.filters, self.ident = dict(filters), ident
        self.pending = {}		# packet identifier: Flight
        self.asked = {}			# packet identifier of a SUBSCRIBE: [Interval]
        self.lazy, self.online = lazy, online
        self.held = []			# acknowledgements to be sent later
        self.receive_maximum = self.rng.choice((20, 100)) if lazy else self.rng.choice((50, 300))
        self.away = False

    # Its connection.

    def opened(self, present):
        self.inbox.note(f'CONNACK, session present {int(present)}')
        self.asked.clear()
        self.held.clear()
        if not present:
            self.pending.clear()
        for mid, flight in list(self.pending.items()):
            if flight.unsure:
                del self.pending[mid]
                self.ledger.counts['unsure'] += 1
            else:
                flight.must = True
        self.subscribe_missing()

    def subscribe_missing(self):
        lacking = {f: q for f, q in self.filters.items()
                   if not any(i.granted != OPEN for i in self.inbox.filters.get(f, ()))}
        if lacking:
            self.subscribe(lacking, self.ident)

    def closed(self, goodbye):
        self.inbox.note('the connection ended')

    def crashed(self):
        """QoS 1 is delivered before it is on disk: what its publisher has no
        PUBACK for may be forgotten, and its identifier be another's then."""
        for flight in self.pending.values():
            m = self.ledger.messages.get(flight.key)
            if flight.qos == 1 and (m is None or not m.acked):
                flight.unsure = True

    def session_story(self):
        return self.inbox.story()

    def turn(self, now):
        if self.state != 'up':
            return
        if self.held and (not self.lazy or self.world.quiet or self.rng.random() < 0.3):
            n = len(self.held) if self.world.quiet else self.rng.randint(1, len(self.held))
            for kind, mid in self.held[:n]:
                self.answer(kind, mid)
            del self.held[:n]
        if not self.world.quiet and self.rng.random() > self.online:
            self.away = True
            self.drop(self.rng.randrange(20, 400) * MS)
        else:
            self.wake = now + (2 if self.held else 20) * MS

    # Subscriptions.

    def subscribe(self, filters, ident=0):
        now = self.ledger.now()
        mid = self.put_subscribe(filters, ident)
        intervals = [Interval(f, q, ident, now) for f, q in filters.items()]
        for i in intervals:
            self.inbox.filters.setdefault(i.filter, []).append(i)
        self.asked[mid] = intervals

    def on_suback(self, kind, mid, codes):
        intervals = self.asked.pop(mid, None)
        if kind != SUBACK or intervals is None or [i.qos for i in intervals] != codes:
            self.ledger.fault(f'{self.name} got packet type {kind} for packet {mid}: {codes}')
            return
        now = self.ledger.now()
        for i in intervals:
            i.granted = now
            self.replaces(i)
        self.inbox.note(f'SUBACK for {", ".join(i.filter for i in intervals)}')

    def replaces(self, new):
        """A subscription that was acknowledged stands in the place of older
        ones of its filter, with its own options."""
        for i in self.inbox.filters[new.filter]:
            if i is not new:
                i.ending, i.ended = min(i.ending, new.asked), min(i.ended, new.granted)

    # Messages.

    def on_publish(self, first, topic, mid, props, payload):
        qos, dup = first >> 1 & 3, bool(first & 8)
        key, m = self.identify(payload)
        if m is None or m.topic != topic:
            if payload or not topic.startswith('r/'):
                self.ledger.fault(f'{self.name} got what nobody sent: {topic} {payload[:40]}')
            key = ('', topic)
            m = None
        if m is not None:
            self.ledger.compare(self.name, m, payload, props)
        if not self.known(mid, key, qos, dup):
            self.pending[mid] = Flight(key, qos, self.world.arrival())
            if m is not None:
                idents = props.get('subscription_id', []) if props is not None and self.ident else None
                self.count(m, qos, idents, first & 1)
        kind = PUBACK if qos == 1 else PUBREC
        if (self.lazy and not self.world.quiet) or self.held:
            self.held.append((kind, mid))
        else:
            self.answer(kind, mid)

    def count(self, m, qos, idents, retained):
        if not retained:
            self.inbox.takes(m, qos, idents)
        elif not self.ledger.match('r/#', m.topic):
            self.ledger.fault(f'{self.name} got as retained what was not', self.ledger.story(m))

    def identify(self, payload):
        head, _, _ = payload[:40].partition(b'|')
        pub, _, seq = head.partition(b' ')
        key = pub.decode('ascii', 'replace'), int(seq) if seq.isdigit() else 0
        return key, self.ledger.messages.get(key)

    def known(self, mid, key, qos, dup):
        """Whether a PUBLISH is one that came already."""
        flight = self.pending.get(mid)
        if flight is None:
            return False
        must = flight.must
        flight.must = False
        if flight.key != key or flight.qos != qos:
            self.ledger.fault(
                f'{self.name}: packet identifier {mid} came with another message',
                f'promised: {flight.key} QoS {flight.qos} under way since '
                f'{self.ledger.when(flight.since)}, {flight.state}', f'found: {key} QoS {qos}',
                *self.inbox.story())
            return False
        if not must:
            self.ledger.fault(f'{self.name}: packet {mid}, {key}, came twice in one connection',
                              *self.inbox.story())
        elif not dup:
            self.ledger.fault(f'{self.name}: packet {mid}, {key}, QoS {qos}, came again without DUP',
                              f'promised: it came first at {self.ledger.when(flight.since)}, '
                              f'{(self.world.killed_after(flight.since) - flight.since) / 1e9:.4f} s '
                              'before the crash',
                              *self.inbox.story())
        return True

    def answer(self, kind, mid):
        if kind == PUBACK:
            # From here on the broker may use the identifier again.
            self.pending.pop(mid, None)
        elif mid in self.pending:
            self.pending[mid].state = 'received'
        self.put_ack(kind, mid)

    def on_ack(self, kind, mid, code):
        if kind != PUBREL:
            self.ledger.fault(f'{self.name} got packet type {kind} for packet {mid}')
            return
        flight = self.pending.pop(mid, None)
        if flight is not None and (flight.qos != 2 or flight.state == 'got'):
            self.ledger.fault(f'{self.name} got a PUBREL for packet {mid}, which was '
                              f'{flight.key}, QoS {flight.qos}, {flight.state}', *self.inbox.story())
        self.put_ack(PUBCOMP, mid)

    def unkept(self):
        """Says what was not sent again under its identifier."""
        for mid, flight in self.pending.items():
            if flight.must and not self.ledger.enough:
                self.ledger.fault(
                    f'{self.name}: packet {mid} was not sent again', f'promised: {flight.key} QoS '
                    f'{flight.qos} came as packet {mid} at {self.ledger.when(flight.since)}; '
                    f'it was {flight.state}', *self.inbox.story())
                flight.must = False

    def idle(self):
        return (self.state == 'up' and not self.inbox.owed and not self.held and not self.asked
                and not self.pending)


class Keeper(Receiver):
    """Wants the retain flag as it was published, and nothing that was retained before."""
    options = 0x28

    def count(self, m, qos, idents, retained):
        if bool(retained) != m.retain:
            self.ledger.fault(f'{self.name} got a message with the retain flag {retained}',
                              self.ledger.story(m), *self.inbox.story())
        self.inbox.takes(m, qos, idents)


class Deaf(Receiver):
    """Wants nothing of what it publishes itself, on topics that it is subscribed to."""
    options = 0x04
    OWN = 'n/own'

    def turn(self, now):
        super().turn(now)
        if self.state == 'up' and not self.asked and not self.world.quiet:
            self.send(packet(PUBLISH, 2, string(self.OWN) + _short.pack(self.next_mid()) + b'\x00'))

    def on_publish(self, first, topic, mid, props, payload):
        if topic == self.OWN:
            self.ledger.fault(f'{self.name} got what it published itself, which it does not want',
                              *self.inbox.story())
        super().on_publish(first, topic, mid, props, payload)

    def on_ack(self, kind, mid, code):
        if kind != PUBACK:
            super().on_ack(kind, mid, code)


class Churner(Receiver):
    """Subscribes and unsubscribes, one filter after the other."""

    def __init__(self, world, name, version, names):
        super().__init__(world, name, version, {})
        self.names = names
        self.known_as = {f: 'no' for f in names}
        self.number = 0
        self.leaving = None		# the filter an UNSUBSCRIBE is under way for, and its packet
        self.joining = None

    def opened(self, present):
        super().opened(present)
        if not present:
            self.known_as = {f: 'no' for f in self.names}
        self.leaving = self.joining = None

    def busy(self):
        return self.leaving or self.joining

    def turn(self, now):
        super().turn(now)
        if self.state != 'up' or self.busy() or self.world.quiet:
            return
        name = self.rng.choice(self.names)
        if self.known_as[name] == 'no' or (self.known_as[name] == 'perhaps' and self.rng.random() < 0.5):
            self.join(name)
        else:
            self.part(name)

    def join(self, name):
        self.number += 1
        self.ident = self.number if self.version == 5 else 0
        self.joining = name
        self.known_as[name] = 'perhaps'
        self.subscribe({name: 1 + self.rng.randrange(2)}, self.ident)

    def part(self, name):
        self.leaving = name, self.put_unsubscribe(name), self.known_as[name], self.ledger.now()
        self.known_as[name] = 'perhaps'
        for i in self.inbox.filters.get(name, ()):
            i.ending = min(i.ending, self.leaving[3])
        self.inbox.forgive()

    def on_suback(self, kind, mid, codes):
        if kind == SUBACK:
            super().on_suback(kind, mid, codes)
            if self.joining:
                self.known_as[self.joining] = 'yes'
            self.joining = None
            return
        if not self.leaving or self.leaving[1] != mid:
            self.ledger.fault(f'{self.name} got an UNSUBACK for packet {mid}')
            return
        name, _, was, _ = self.leaving
        self.leaving = None
        if self.version == 5:
            want = {'yes': [0], 'no': [0x11]}.get(was)
            if want and codes != want:
                last = self.inbox.filters[name][-1] if name in self.inbox.filters else None
                self.ledger.fault(
                    f'{self.name}: UNSUBACK for {name} says {codes[0]:#x} instead of {want[0]:#x}',
                    *((f'promised: SUBACK read at {self.ledger.when(last.granted)}, UNSUBACK at '
                       f'{self.ledger.when(last.ended)}',) if last else ()), *self.inbox.story())
        self.known_as[name] = 'no'
        now = self.ledger.now()
        for i in self.inbox.filters.get(name, ()):
            i.ended = min(i.ended, now)
        self.inbox.note(f'UNSUBACK for {name}')

    def idle(self):
        return super().idle() and not self.busy()


class Willing(Link):
    """Has a will; says goodbye, breaks off, or is there when the broker dies.
    A delayed will has to come when it stays away, and not when it is back
    in time."""

    def __init__(self, world, name, version, qos, delay=0, clean=False, retain=False):
        super().__init__(world, name, version)
        self.clean, self.retain = clean, retain
        self.kept = 0			# number of the retained one, or an earlier one
        self.qos, self.delay = qos, delay if version == 5 else 0
        self.number = 0
        # number: [answered, end, how, back, the next CONNECT], until it is settled
        self.past = {}
        self.settled = {}		# number: how often it may come at most
        self.seen = {}
        self.current = None
        world.wills[name] = self

    def will(self):
        for before in self.past.values():
            before[4] = before[4] or self.asked_at
        self.number += 1
        self.current = self.past[self.number] = [0, 0, '', 0, 0]
        props = {'correlation_data': b'%d' % self.number}
        if self.delay:
            props['will_delay'] = self.delay
        return (f'w/{self.name}', b'%s %d|' % (self.name.encode(), self.number), self.qos, self.retain,
                props)

    def opened(self, present):
        self.current[0] = self.up_at
        for before in self.past.values():
            if before is not self.current:
                before[3] = before[3] or self.up_at
        self.wake = self.up_at + self.rng.randrange(50, 600) * MS

    def turn(self, now):
        if self.state != 'up' or self.world.quiet:
            return
        if self.rng.random() < 0.5:
            self.current[2] = 'goodbye'
            self.leave()
        elif self.rng.random() < 0.5:
            self.current[2] = 'broken off'
            self.drop(self.stay())
        else:
            self.wake = now + 100 * MS

    def stay(self):
        return self.rng.choice((20, 300, 2500 if self.delay else 400)) * MS

    def closed(self, goodbye):
        if not self.current[2]:
            self.current[2] = 'crash'
        elif goodbye and self.world.dead:
            self.current[2] = 'unheard goodbye'
        self.current[1] = self.ended_at
        self.wake = self.ended_at + self.stay()

    def verdict(self, number):
        """(least, most) times that a will has to be published."""
        answered, end, how, back, tried = self.past[number]
        most = 1 if self.qos == 2 else 1 << 30
        if not answered or not end or how == 'unheard goodbye' or end < self.world.watched():
            return 0, most
        if how == 'goodbye':
            # DISCONNECT has no answer; a while later it is on disk.
            killed = self.world.killed_after(end)
            return 0, most if killed and killed - end < UNSURE else 0
        if self.delay:
            if back and back - end < self.delay * 950 * MS:
                return 0, 0
            if tried and tried - end < (self.delay + 3) * SECOND:
                return 0, most
        return 1, most

    def compare(self, who, number, qos, topic, props):
        """It comes as it was given with CONNECT."""
        want = {'correlation_data': b'%d' % number} if self.version == 5 else {}
        if (qos, topic) != (self.qos, f'w/{self.name}') or (props or {}) != want:
            self.ledger.fault(f'{who} got will {number} of {self.name} on {topic}, QoS {qos}, with {props}',
                              f'promised: QoS {self.qos}, with {want}')

    def comes(self, number):
        if self.retain and self.qos == 2:
            self.kept = max(self.kept, number)
        self.seen[number] = self.seen.get(number, 0) + 1
        if number in self.settled:
            # One that nobody had to wait for may come late.
            if self.seen[number] > self.settled[number]:
                self.ledger.fault(f'will {number} of {self.name} came {self.seen[number]} times '
                                  f'instead of {self.settled[number]}')
        elif number not in self.past:
            self.ledger.fault(f'a will of {self.name} came that it does not have: {number}')
        elif self.seen[number] > 1 and self.qos == 2:
            self.ledger.fault(f'will {number} of {self.name}, QoS 2, came {self.seen[number]} times',
                              self.tells(number))

    def tells(self, number):
        answered, end, how, back, _ = self.past[number]
        return (f'promised: CONNACK read at {self.ledger.when(answered)}, ended at '
                f'{self.ledger.when(end)} by {how}, back at {self.ledger.when(back)}, delay '
                f'{self.delay} s; found: published {self.seen.get(number, 0)} times')

    def settle(self, final):
        """Judges what is over; True when nothing is waited for."""
        for number in list(self.past):
            if number == self.number and self.state != 'down':
                continue
            least, most = self.verdict(number)
            seen = self.seen.get(number, 0)
            if seen < least and not final:
                return False
            if not least <= seen <= most:
                self.ledger.fault(f'a will of {self.name} was published {seen} times',
                                  self.tells(number))
            if final:
                self.ledger.counts['wills'] += 1
                self.settled[number] = most
                del self.past[number]
        return True

    def idle(self):
        return self.settle(False)


class Watcher(Receiver):
    """Subscribes to the wills."""

    def identify(self, payload):
        name, _, number = payload.partition(b'|')[0].partition(b' ')
        name, number = name.decode('ascii', 'replace'), int(number) if number.isdigit() else 0
        # nothing follows it, and it has no other form
        whole = payload == b'%s %d|' % (name.encode(), number)
        return (name, number), self.world.wills.get(name) if whole else None

    def on_publish(self, first, topic, mid, props, payload):
        qos, dup = first >> 1 & 3, bool(first & 8)
        key, will = self.identify(payload)
        if will is None:
            self.ledger.fault(f'{self.name} got a will that nobody left: {topic} {payload[:40]}')
        if not self.known(mid, key, qos, dup):
            self.pending[mid] = Flight(key, qos, self.world.arrival())
            if will is not None:
                will.compare(self.name, key[1], qos, topic, props)
            if will is not None and not first & 1:	# else it is one from before its subscription
                self.ledger.counts['wills came'] += 1
                will.comes(key[1])
        self.answer(PUBACK if qos == 1 else PUBREC, mid)


class Expirer(Receiver):
    """A session that lives a second after its connection; away for shorter
    or longer than that."""
    expiry = 1

    def __init__(self, world, name):
        super().__init__(world, name, 5, {f'e/{name}': 1}, ident=0)
        self.expiry = 1
        self.end = None			# when its connection ended, at the latest
        self.left = 0			# when it said goodbye: it may have ended then

    def opened(self, present):
        if not present:
            self.inbox.filters.clear()
        super().opened(present)
        self.wake = self.up_at + self.rng.randrange(30, 300) * MS

    def asking(self):
        if self.stored != 'yes' or self.end is None:
            return
        # A session whose end went unheard ends at the next start at the latest.
        end = max(self.end, self.world.started_after(self.end - UNSURE))
        if self.asked_at > end + (self.expiry + 2) * SECOND:
            self.stored = 'no'
            self.ledger.counts['sessions expired'] += 1

    def check_present(self, present):
        end = self.left or self.end
        self.left = 0
        if self.stored == 'yes' and end and self.up_at - end > self.expiry * 900 * MS:
            return			# perhaps in time, perhaps not
        if self.stored == 'no' and present:
            self.inbox.note(f'the session was left at {self.ledger.when(self.end or 0)}')
        super().check_present(present)

    def turn(self, now):
        if self.state != 'up' or self.world.quiet:
            return
        if self.asked:
            self.wake = now + 20 * MS
            return
        self.left = now
        self.leave()

    def closed(self, goodbye):
        super().closed(goodbye)
        self.end = self.ended_at
        self.wake = self.ended_at + self.rng.choice((20, 300, 4000)) * MS

    def idle(self):
        return True


class Inspector(Link):
    """Comes once, with a clean session, and looks at the retained messages."""
    clean = True

    def __init__(self, world, name, final=False):
        super().__init__(world, name, 5)
        self.final = final		# all wills that are due have come
        self.low, self.least = None, {}
        self.found = {}
        self.willed = {}		# its name: number of the retained will

    def opened(self, present):
        self.low = {t: e[0] for t, e in self.ledger.retained.items()}
        for name, w in self.world.wills.items():
            if w.retain:
                self.least[name] = max(w.seen, default=0) if self.final else w.kept
        self.found, self.willed = {}, {}
        self.put_subscribe({'r/#': 2, 'w/#': 2})

    def on_publish(self, first, topic, mid, props, payload):
        qos = first >> 1 & 3
        if qos:
            self.put_ack(PUBACK if qos == 1 else PUBREC, mid)
        name, _, number = payload.partition(b'|')[0].partition(b' ')
        name, number = name.decode('ascii', 'replace'), int(number) if number.isdigit() else 0
        if topic.startswith('w/'):
            self.take_will(name, number, first, topic, props, payload)
        elif first & 1:
            self.take_retained(name, number, qos, topic, props, payload)

    def on_ack(self, kind, mid, code):
        self.put_ack(PUBCOMP, mid)

    def take_retained(self, name, seq, qos, topic, props, payload):
        low, last, _ = self.low.get(topic, 0), *self.ledger.retained.get(topic, [0, 0, ()])[1:]
        self.found[topic] = seq
        self.ledger.counts['retained checked'] += 1
        m = self.ledger.messages.get((name, seq))
        if m is None or m.topic != topic or not low <= seq <= last:
            self.ledger.fault(f'the retained message of {topic} is number {seq} of {name}',
                              f'promised: number {low} was acknowledged before this subscription, '
                              f'number {last} is the last one sent')
            return
        self.ledger.compare(self.name, m, payload, props)
        if qos != m.qos:
            self.ledger.fault(f'the retained message of {topic} came with QoS {qos}', self.ledger.story(m))

    def take_will(self, name, number, first, topic, props, payload):
        will = self.world.wills.get(name)
        if will is None or payload != b'%s %d|' % (name.encode(), number):
            self.ledger.fault(f'{self.name} got a will that nobody left: {topic} {payload[:40]}')
            return
        will.compare(self.name, number, first >> 1 & 3, topic, props)
        if not first & 1:		# published meanwhile
            self.willed[name] = max(number, self.willed.get(name, 0))
            return
        self.ledger.counts['retained wills'] += 1
        self.willed[name] = number
        if not will.retain or not self.least[name] <= number <= will.number:
            # One that QoS 1 brought before it was on disk is published again.
            if not (self.final and will.qos == 1 and number >= will.kept):
                self.ledger.fault(f'the retained message of {topic} is number {number}',
                                  f'promised: at least number {self.least.get(name)}')

    def lacking(self):
        """Topics that must have a retained message and of which none came."""
        out = []
        for topic, low in (self.low or {}).items():
            if low and topic not in self.found:
                if not any(n >= low for n in self.ledger.retained[topic][2]):
                    out.append(topic)
        return out

    def unwilled(self):
        return [name for name, least in self.least.items() if self.willed.get(name, 0) < least]

    def unkept(self):
        for topic in self.lacking()[:2]:
            self.ledger.fault(f'there is no retained message of {topic}',
                              f'promised: number {self.low[topic]} was acknowledged')
        for name in self.unwilled()[:2]:
            self.ledger.fault(f'will {self.least[name]} of {name} was published, and is not retained',
                              f'found: number {self.willed.get(name, 0)}')

    def done(self):
        """What it has found is on disk, if it was all settled."""
        self.unkept()
        if self.final:
            for name, number in self.willed.items():
                if self.world.wills[name].retain:
                    self.world.wills[name].kept = number
        self.drop()
        self.world.links.remove(self)

    def idle(self):
        return self.low is not None and self.state == 'up' and not self.lacking() and not self.unwilled()


__all__ = [name for name in sys.modules[__name__].__dict__ if name[0].isupper()]
