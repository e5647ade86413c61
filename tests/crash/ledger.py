# SPDX-License-Identifier: Apache-2.0
"""What the broker promised, by which packet, and whether it kept it.

Time is one growing number for everything that a run does and reads, so that
"before" is certain: what was read was sent earlier, what is sent now is read
later.  A promise is a packet that was read; a request that was not answered
obliges to nothing and allows both."""
import collections
import time

OPEN = 1 << 62


class Message:
    """A PUBLISH of ours."""
    __slots__ = ('pub', 'seq', 'topic', 'qos', 'retain', 'mid', 'sent', 'received', 'acked', 'wire',
                 'state', 'again', 'empty', 'size', 'marked')

    def __init__(self, pub, seq, topic, qos, retain, mid, sent):
        self.pub, self.seq, self.topic, self.qos, self.retain = pub, seq, topic, qos, retain
        self.mid, self.sent = mid, sent
        self.received = self.acked = 0
        self.state = 'publish'		# or 'release': what the publisher sends again
        self.again = 0			# times it was sent again
        self.wire = b''
        self.empty = False
        self.size = 0			# of the payload
        self.marked = False		# it has correlation data, which is its number

    @property
    def key(self):
        return self.pub, self.seq


class Interval:
    """One SUBSCRIBE of one filter, from its sending to the end of it."""
    __slots__ = ('filter', 'qos', 'ident', 'asked', 'granted', 'ending', 'ended')

    def __init__(self, name, qos, ident, asked):
        self.filter, self.qos, self.ident, self.asked = name, qos, ident, asked
        self.granted = self.ending = self.ended = OPEN

    def requires(self, m):
        """It stood from before the message to after its acknowledgement."""
        return self.granted < m.sent and self.ending > m.acked

    def allows(self, m):
        return self.asked < (m.acked or OPEN) and self.ended > m.sent


def matches(name, topic):
    """Whether a filter (without wildcards for $ topics) matches a topic."""
    f, t = name.split('/'), topic.split('/')
    for i, level in enumerate(f):
        if level == '#':
            return True
        if i >= len(t) or (level != '+' and level != t[i]):
            return False
    return len(f) == len(t)


class Ledger:
    """All promises of one run."""

    def __init__(self, stop_at=5):
        self.began = time.monotonic_ns()
        self.last = 0
        self.lives = []			# when each life of the broker began
        self.faults = []
        self.stop_at = stop_at
        self.messages = {}		# key: Message, until all that owe it have it
        self.owing = []			# sessions and groups that messages are owed to
        self.retained = {}		# topic: [sequence acknowledged last, last one sent, clearing ones]
        self.matched = {}
        self.counts = collections.Counter()

    def now(self):
        self.last = max(self.last + 1, time.monotonic_ns() - self.began)
        return self.last

    def when(self, at):
        """A time as people read it."""
        if at in (0, OPEN):
            return 'never'
        life = sum(1 for began in self.lives if began <= at)
        since = at - (self.lives[life - 1] if life else 0)
        return f'life {life} +{since / 1e9:.4f} s'

    def match(self, name, topic):
        pair = name, topic
        if pair not in self.matched:
            self.matched[pair] = matches(name, topic)
        return self.matched[pair]

    def fault(self, what, *lines):
        if self.enough:
            return
        self.faults.append('\n    '.join([f'{what}  ({self.when(self.now())})', *lines]))

    @property
    def enough(self):
        return len(self.faults) >= self.stop_at

    # What publishers tell.

    def sends(self, m):
        self.messages[m.key] = m
        if m.retain:
            entry = self.retained.setdefault(m.topic, [0, 0, set()])
            entry[1] = m.seq
            if m.empty:
                entry[2].add(m.seq)

    def acknowledged(self, m):
        m.acked = self.now()
        self.counts['acknowledged'] += 1
        if m.retain:
            self.retained[m.topic][0] = max(self.retained[m.topic][0], m.seq)
        if not m.empty:
            for who in self.owing:
                who.owe(m)

    def compare(self, who, m, payload, props):
        """Payload and properties are those that were sent; props None: the
        client has none."""
        head = b'%s %d|' % (m.pub.encode(), m.seq)
        if len(payload) != m.size or not payload.startswith(head) or payload[len(head):].strip(b'.'):
            self.fault(f'{who} got another payload, {len(payload)} bytes instead of {m.size}',
                       self.story(m))
        want = {'correlation_data': b'%d' % m.seq} if m.marked else {}
        if props is not None and {k: v for k, v in props.items() if k != 'subscription_id'} != want:
            self.fault(f'{who} got properties {props} instead of {want}', self.story(m))

    def story(self, m):
        return (f'promised: {m.pub} sent {m.topic} number {m.seq}, QoS {m.qos}, packet {m.mid}, at '
                f'{self.when(m.sent)}' + (f', again {m.again} times' if m.again else '')
                + (f'; PUBREC read at {self.when(m.received)}' if m.qos == 2 else '')
                + f'; {"PUBACK" if m.qos == 1 else "PUBCOMP"} read at {self.when(m.acked)}')


class Inbox:
    """What one session, or the members of one shared subscription, got and
    is still owed."""

    def __init__(self, ledger, name):
        self.ledger, self.name = ledger, name
        self.filters = {}		# filter: [Interval]
        self.got = {}			# key: [(QoS, time)]
        self.owed = {}			# key: Message
        self.first = {}			# (publisher, topic, QoS): last number that came for the first time
        self.ordered = True
        self.events = collections.deque(maxlen=24)
        ledger.owing.append(self)

    def note(self, text):
        self.events.append(f'{self.ledger.when(self.ledger.now())}: {text}')

    def story(self):
        return [f'{self.name}:'] + [f'    {e}' for e in self.events]

    def stood(self, m):
        """What it was subscribed to, as far as its requests and their answers tell."""
        when = self.ledger.when
        return [f'found: {i.filter}, QoS {i.qos}, asked for at {when(i.asked)}, granted at '
                f'{when(i.granted)}, to end from {when(i.ending)}, ended at {when(i.ended)}'
                for i in self.intervals(m.topic)]

    def intervals(self, topic):
        for name, intervals in self.filters.items():
            if self.ledger.match(name, topic):
                yield from intervals

    def owe(self, m):
        if m.key not in self.got and any(i.requires(m) and i.qos for i in self.intervals(m.topic)):
            self.owed[m.key] = m

    def forgive(self):
        """A subscription is going: what waits for it may go with it."""
        for key, m in list(self.owed.items()):
            if not any(i.requires(m) for i in self.intervals(m.topic)):
                del self.owed[key]

    def takes(self, m, qos, idents, live=True):
        """A message came, for the first time as far as its identifier tells."""
        ledger = self.ledger
        before = self.got.setdefault(m.key, [])
        before.append((qos, ledger.now()))
        times = len(before)
        self.owed.pop(m.key, None)
        ledger.counts['delivered'] += 1
        allowed = [i for i in self.intervals(m.topic) if i.allows(m)]
        if not allowed:
            ledger.fault(f'{self.name} got a message it was not subscribed to', ledger.story(m),
                         *self.stood(m), *self.story())
            return
        most = min(m.qos, max(i.qos for i in allowed))
        least = min(m.qos, min(i.qos for i in allowed))
        if not least <= qos <= most:
            ledger.fault(f'{self.name} got a message with QoS {qos} instead of {most}',
                         ledger.story(m), *self.story())
        if idents is not None and not any(i.ident in idents for i in allowed):
            ledger.fault(f'{self.name} got subscription identifiers {idents} instead of '
                         f'{[i.ident for i in allowed]}', ledger.story(m), *self.story())
        # What came with QoS 1 may come again, also with QoS 2: by a later subscription.
        if times > 1 and before[0][0] == 2:
            ledger.fault(f'{self.name} got a QoS 2 message {times} times', ledger.story(m),
                         *(f'found: it came with QoS {q} at {ledger.when(at)}' for q, at in before),
                         *self.stood(m), *self.story())
        if times == 1 and self.ordered and live:
            line = m.pub, m.topic, m.qos
            # What a crash forgot is sent again; who subscribed meanwhile, or may have
            # gone and come, gets it after later ones.
            if self.first.get(line, 0) > m.seq and any(i.granted < m.sent and i.ending == OPEN
                                                       for i in allowed):
                ledger.fault(f'{self.name} got number {m.seq} after number {self.first[line]}',
                             ledger.story(m), *self.stood(m), *self.story())
            self.first[line] = max(m.seq, self.first.get(line, 0))

    def missing(self):
        """Says what never came."""
        for m in list(self.owed.values())[:3]:
            if self.ledger.enough:
                return
            stood = [i for i in self.intervals(m.topic) if i.requires(m)]
            self.ledger.fault(
                f'{self.name} never got a message ({len(self.owed)} in all)', self.ledger.story(m),
                *(f'promised: SUBACK for {i.filter}, QoS {i.qos}, read at '
                  f'{self.ledger.when(i.granted)}' for i in stood),
                f'found: of {m.pub} on {m.topic} it got last number '
                f'{[(q, self.first.get((m.pub, m.topic, q))) for q in (1, 2)]} (QoS, number)',
                *self.story())
        self.owed.clear()
