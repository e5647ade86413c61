# SPDX-License-Identifier: Apache-2.0
"""Random valid histories of a few clients, as plain data: the same seed gives
the same history, so that two brokers can be told the same."""
import random

CLIENTS = 4
LEVELS = ('a', 'b', 'c', '')
MODES = ('plain', 'slow', 'shared')


class History:
    """steps: a list of (verb, client, arguments).

    mode plain: every client acknowledges at once
         slow:  some acknowledge only when told, so that windows fill, queues
                grow, and reconnecting finds something to send again
         shared: subscriptions are shared ones that do not overlap; what is
                compared is what a group gets, not which member gets it"""

    def __init__(self, seed, mode, length=60):
        self.r = random.Random(f'{mode} {seed}')
        self.mode = mode
        self.steps = []
        self.n = 0
        self.clients = [self._client(i) for i in range(CLIENTS)]
        for i in range(CLIENTS):
            self._connect(i)
        for _ in range(length):
            self._step()
        for i, c in enumerate(self.clients):
            if mode == 'slow' and not c['up']:
                self._connect(i)
        for i, c in enumerate(self.clients):
            if c['slow']:
                self.steps.append(('drain', i, {}))

    def _client(self, i):
        version = 5 if self.mode == 'shared' else self.r.choice((5, 5, 4))
        return {'version': version, 'up': False, 'subs': [], 'kept': False, 'kept_options': {},
                'slow': self.mode == 'slow' and i >= CLIENTS // 2,
                'window': self.r.choice((1, 2, 5, 20))}

    def _topic(self):
        if self.mode != 'shared' and self.r.random() < 0.06:
            return '$other/' + self.r.choice('ab')
        return '/'.join(self.r.choice(LEVELS) for _ in range(self.r.randint(1, 3))) or 'a'

    def _filter(self):
        if self.r.random() < 0.08:
            return self.r.choice(('$other/#', '$other/+', '$other/a'))
        parts = [self.r.choice(LEVELS + ('+', '+')) for _ in range(self.r.randint(1, 3))]
        if self.r.random() < 0.3:
            parts[-1] = '#'
        return '/'.join(parts) or '+'

    def _will(self, version):
        self.n += 1
        props = {}
        if version == 5 and self.r.random() < 0.5:
            props['content_type'] = 'will'
        return {'topic': self._topic(), 'payload': f'will {self.n}', 'qos': self.r.randint(0, 2),
                'retain': self.mode != 'shared' and self.r.random() < 0.3, 'props': props}

    def _connect(self, i):
        c = self.clients[i]
        # Mosquitto 2.0 gives to members that are away while others are there
        keep = c['slow'] or (self.mode != 'shared' and self.r.random() < 0.7)
        clean = not c['slow'] and self.r.random() < (0.2 if keep else 1)
        a = {'version': c['version'], 'clean': clean, 'will': None, 'props': {}, 'slow': c['slow']}
        if c['version'] == 4:
            a['clean'] = not keep
        else:
            if keep:
                a['props']['session_expiry'] = 1000
            a['props']['receive_maximum'] = c['window']
        # a will of a member may fall to the one who leaves it, there
        if self.mode != 'shared' and self.r.random() < 0.3:
            a['will'] = self._will(c['version'])
        if a['clean'] or not c['kept']:
            c['subs'], c['kept_options'] = [], {}
        c['up'], c['kept'], c['will'] = True, keep, a['will']
        self.steps.append(('connect', i, a))

    def _leave(self, i):
        c = self.clients[i]
        c['up'] = False
        if not c['kept']:
            c['subs'] = []
        how = self.r.choice(('disconnect', 'drop'))
        self.steps.append((how, i, {}))

    def _subscribe(self, i):
        c = self.clients[i]
        entries = []
        for _ in range(self.r.choice((1, 1, 2, 3))):
            name = self._filter()
            o = self.r.randint(0, 2)
            if self.mode == 'shared':
                # Mosquitto 2.0 gives a client that is in two groups one copy,
                # finds no $ topics for groups, and sends them retained
                # messages, which 3.8.3.1 forbids.
                name = self.r.choice(('a/#', 'b/+', 'c', '/+/#'))
                name, o = f'$share/{"gh"[i % 2]}/{name}', 1
            elif c['version'] == 5:
                o |= (self.r.random() < 0.2) << 2 | (self.r.random() < 0.3) << 3
                o |= self.r.choice((0, 0, 1, 2)) << 4
            # Mosquitto 2.0 keeps No Local and Retain As Published of the first
            # time; [MQTT-3.8.4-3] wants them replaced, and ours are.
            o = (o & ~0x0c) | c['kept_options'].setdefault(name, o & 0x0c)
            if o & 0x04:
                # Mosquitto 2.0 sends a client its own retained messages, which
                # [MQTT-3.8.3-3] forbids.
                o = (o & ~0x30) | 0x20
            if name not in [e[0] for e in entries]:
                entries.append((name, o))
            if name not in c['subs']:
                c['subs'].append(name)
        props = {}
        if c['version'] == 5 and self.mode != 'shared' and self.r.random() < 0.5:
            props['subscription_id'] = self.r.choice((1, 2, 127, 128, 16384, 268435455))
        self.steps.append(('subscribe', i, {'entries': entries, 'props': props}))

    def _unsubscribe(self, i):
        c = self.clients[i]
        known = [f for f in c['subs'] if self.r.random() < 0.5]
        names = known[:2] or [self._filter()]
        c['subs'] = [f for f in c['subs'] if f not in names]
        for f in names:
            c['kept_options'].pop(f, None)
        self.steps.append(('unsubscribe', i, {'filters': names}))

    def _publish(self, i):
        c = self.clients[i]
        self.n += 1
        props = {}
        if c['version'] == 5 and self.r.random() < 0.4:
            for name, value in (('content_type', 'text'), ('response_topic', 'a/b'),
                                ('correlation_data', b'\0\1'), ('payload_format', 1),
                                ('user_property', [('k', 'v'), ('k', 'w')])):
                if self.r.random() < 0.4:
                    props[name] = value
        retain = self.mode != 'shared' and self.r.random() < 0.25
        payload = '' if retain and self.r.random() < 0.3 else f'message {self.n}'
        self.steps.append(('publish', i, {'topic': self._topic(), 'payload': payload,
                                          'qos': self.r.randint(0, 2), 'retain': retain,
                                          'props': props}))

    def _step(self):
        i = self.r.randrange(CLIENTS)
        c = self.clients[i]
        if not c['up']:
            if self.r.random() < 0.6:
                self._connect(i)
            return
        p = self.r.random()
        if p < 0.5:
            self._publish(i)
        elif p < 0.72:
            self._subscribe(i)
        elif p < 0.8:
            self._unsubscribe(i)
        elif p < 0.9:
            self._leave(i)
        elif c['slow']:
            self.steps.append(('acknowledge', i, {}))
        elif c['will'] is None and self.mode != 'shared':
            self._connect(i)    # takes its own session over
