# SPDX-License-Identifier: Apache-2.0
"""The acl_file: both brokers read the same random rules, and answer the same
10,000 random questions (ACL_QUESTIONS, ACL_SEED).  Where Nightjar answers
otherwise on purpose is what nightjar-acl(5) lists, and each of it stands here
as a row."""
import os
import random
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), 'blackbox')]
# pylint: disable=wrong-import-position
import brokers
import harness
from raw import PUBACK, Closed, Raw

pytestmark = [pytest.mark.skipif(not brokers.find_mosquitto(), reason='there is no mosquitto'),
              pytest.mark.skipif(harness.NIGHTJAR is None, reason='there is no nightjar binary')]

QUESTIONS = int(os.environ.get('ACL_QUESTIONS', '10000'))
SEED = int(os.environ.get('ACL_SEED', '20261121'))
NOT_AUTHORIZED = 0x87
LEVELS = ['a', 'b', 'c', 'dev', 'u1', 'c1', 'x y', '']
USERS = [None, 'u1', 'u2', 'a', 'b']
CLIENTS = ['c1', 'c2', 'a', 'dev-7', 'ä']
ADMIN = 'the-admin'
ACCESS = ['', 'read ', 'write ', 'readwrite ', 'deny ']


def level(rng, pattern):
    if pattern and rng.random() < 0.4:
        return rng.choice(['%c', '%u', '%c', 'x%u', '%c-%u'])
    return '+' if rng.random() < 0.25 else rng.choice(LEVELS)


def topic_filter(rng, pattern):
    levels = [level(rng, pattern) for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.3:
        levels.append('#')
    text = '/'.join(levels)
    # Mosquitto takes the blanks off; a topic has at least one byte.
    text = text if text.strip() == text and text else 'a/' + text.strip() + 'b'
    # A blank makes a word in front of it the kind of access.
    return rng.choice(ACCESS[1:] if ' ' in text else ACCESS) + text


def rules(rng):
    """An acl_file; the administrator may do everything."""
    lines = []
    for user in [None] + rng.sample(USERS[1:], 3):
        if user:
            lines.append(f'user {user}')
        for _ in range(rng.randint(0, 6)):
            lines.append(f'topic {topic_filter(rng, False)}')
        for _ in range(rng.randint(0, 2)):
            lines.append(f'pattern {topic_filter(rng, True)}')
    return '\n'.join(lines + [f'user {ADMIN}', 'topic readwrite #']) + '\n'


def topic_name(rng):
    text = '/'.join(rng.choice(LEVELS) for _ in range(rng.randint(1, 4)))
    return text if text.strip('/') else text + 'a'


def answers(broker, who, topics):
    """{(user, client, 'write' or 'read', topic): whether it may}"""
    out = {}
    with Raw(broker.port) as admin:
        admin.connect(ADMIN, username=ADMIN)
        for user, client in who:
            with Raw(broker.port) as c:
                c.connect(client, username=user)
                c.subscribe('#', qos=1)
                for topic in topics:
                    c.publish(topic, b'w', 1)
                codes = [c.wait_for(PUBACK).code for _ in topics]
                for topic, code in zip(topics, codes):
                    out[user, client, 'write', topic] = code != NOT_AUTHORIZED
                for n, topic in enumerate(topics):
                    admin.publish_acked(topic, b'r%d' % n, 1)
                out.update(dict.fromkeys(((user, client, 'read', t) for t in topics), False))
                admin.publish_acked(f'last/{client}', b'', 1)
                seen = readable(c)
                out.update(dict.fromkeys(((user, client, 'read', topics[n]) for n in seen), True))
    return out


def readable(client):
    """What came of the administrator's, until the client's own PING is answered:
    the broker delivers before it answers what came later."""
    seen = set()
    client.ping()
    while client.later:
        m = client.message()
        if m.payload[:1] == b'r':
            seen.add(int(m.payload[1:]))
    return seen


def test_acl_file():
    """What one allows the other does."""
    rng = random.Random(SEED)
    asked, wrong = 0, []
    while asked < QUESTIONS:
        text = rules(rng)
        who = [(rng.choice(USERS), c) for c in rng.sample(CLIENTS, 3)]
        topics = sorted({topic_name(rng) for _ in range(60)})
        both = []
        for argv, conf in (([harness.NIGHTJAR, 'serve'], brokers.OURS),
                           ([brokers.find_mosquitto()], brokers.THEIRS)):
            with Acl(argv, conf, text) as b:
                both.append(answers(b, who, topics))
        asked += len(both[0])
        wrong += [(text, q, may, both[1][q]) for q, may in both[0].items()
                  if may != both[1][q]]
    print(f'{asked} questions')
    assert not wrong, f'{len(wrong)} of {asked}: ours {wrong[0][2]}, theirs {wrong[0][3]}, ' \
        f'asked {wrong[0][1]} with\n{wrong[0][0]}'


class Acl(brokers.Broker):
    """A broker with these rules."""

    def __init__(self, argv, conf, text):
        self.rules = os.path.join('/tmp', f'nightjar-acl-{os.getpid()}')
        with open(self.rules, 'w', encoding='utf-8') as f:
            f.write(text)
        # Mosquitto reads it when it is not root any more; what everybody can
        # read Nightjar refuses
        os.chmod(self.rules, 0o600 if argv[0] == harness.NIGHTJAR else 0o644)
        super().__init__(argv, conf + f'acl_file {self.rules}\n')

    def __exit__(self, *exc):
        super().__exit__(*exc)
        os.unlink(self.rules)


# rules; user, client, topic published to; whether ours and theirs allow it.
LISTED = [
    ('a name with a slash matches nothing', 'pattern readwrite dev/%c/#', None, 'x/y', 'dev/x/y/z',
     False, True),
    ('and gets round nothing that denies', 'pattern deny dev/%c\npattern readwrite #', None, 'x/y',
     'a', False, True),
    ('a name makes no $ topic', 'pattern readwrite %c/#', None, '$x', '$x/a', False, True),
]


@pytest.mark.parametrize('why, text, user, client, topic, we, they', LISTED,
                         ids=[row[0] for row in LISTED])
def test_listed(why, text, user, client, topic, we, they):
    """A deliberate difference is there, on both sides."""
    del why
    for argv, conf, want in (([harness.NIGHTJAR, 'serve'], brokers.OURS, we),
                             ([brokers.find_mosquitto()], brokers.THEIRS, they)):
        with Acl(argv, conf, text + '\n') as b, Raw(b.port) as c:
            c.connect(client, username=user)
            assert (c.publish_acked(topic, b'', 1) != NOT_AUTHORIZED) == want, argv


@pytest.mark.parametrize('text, we, they', [
    ('topic read a#', False, False), ('topic read #/a', False, False),
    ('topic readdeny a', True, False), ('group g', True, False), ('address 10.0.0.0/8', True, False),
    ('topics a', False, False), ('topic read', True, True), ('topic', False, False)])
def test_listed_files(text, we, they):
    """Files that only one of them takes."""
    for argv, conf, want in (([harness.NIGHTJAR, 'serve'], brokers.OURS, we),
                             ([brokers.find_mosquitto()], brokers.THEIRS, they)):
        started = True
        try:
            with Acl(argv, conf, text + '\n') as b, Raw(b.port) as c:
                c.connect('x')		# its port may be open for a moment
        except (AssertionError, Closed, OSError):
            started = False
        assert started == want, argv
