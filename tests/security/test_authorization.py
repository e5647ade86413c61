# SPDX-License-Identifier: Apache-2.0
"""Cases 34 to 46 of the threats: who may what.  Each over TCP, TLS and
WebSocket, by one broker whose rules are written again for each test."""
import itertools
import os
import shutil
import ssl

import pytest

import harness
import passwords
import scram
from attack import is_closed, told, unharmed
from harness import HOST
from raw import (AUTH, CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Closed, Raw,
                 connect_packet, packet, properties)
from wsraw import RawWs

NOT_AUTHORIZED, BAD_ID = 0x87, 0x85
USERS = ['admin', 'alice', 'bob', '+', 'a/b', '[a-z]', '-', 'plain']
BYSTANDERS = 'pattern readwrite bystander/#\n'
ADMIN = 'user admin\ntopic #\n'
_names = (f'id-{n}' for n in itertools.count())


class Site:
    """A broker with users, three ways in and rules that change."""

    def __init__(self, factory, base, pki):
        self.acl = os.path.join(base, 'authorization-acl')
        users = os.path.join(base, 'authorization-users')
        self.write('')
        with open(users, 'w', encoding='utf-8') as f:
            f.write(scram.SECRET + ''.join(
                scram.verifier(u, u, 4096) if u in ('alice', 'bob') else passwords.pbkdf2(u, u)
                for u in USERS))
        os.chmod(users, 0o600)
        pair = []
        for path in pki.server:		# readable at a reload, too
            pair.append(os.path.join(base, 'authorization-' + os.path.basename(path)))
            shutil.copy(path, pair[-1])
            os.chmod(pair[-1], 0o644)
        self.tls_port, self.ws_port = harness.free_port(), harness.free_port()
        self.broker = factory(
            f'password_file {users}\nacl_file {self.acl}\n'
            f'listener {self.tls_port} {HOST}\ncertfile {pair[0]}\nkeyfile {pair[1]}\n'
            f'listener {self.ws_port} {HOST}\nprotocol websockets\n', anonymous=True,
            extra_ports=(self.tls_port, self.ws_port))
        self.tls = ssl.create_default_context(cafile=pki.ca)

    def write(self, text):
        with open(self.acl, 'w', encoding='utf-8') as f:
            f.write(ADMIN + BYSTANDERS + text)
        os.chmod(self.acl, 0o600)

    def rules(self, text):
        """Takes effect before it returns."""
        self.write(text)
        start = self.broker.log_size()
        self.broker.hup()
        self.broker.wait_log(r'Reloaded\.', start)


@pytest.fixture(scope='module')
def site(base_folder, pki):
    import conftest    # pylint: disable=import-outside-toplevel
    factory = conftest.Brokers(base_folder, conftest.Quiet)
    yield Site(factory, base_folder, pki)
    factory.finish()


class Way:
    """One of the ways in."""

    def __init__(self, site, kind):
        self.site, self.kind = site, kind
        self.rules, self.broker = site.rules, site.broker

    def socket(self, version=5):
        if self.kind == 'tls':
            return Raw(self.site.tls_port, tls=self.site.tls, version=version)
        if self.kind == 'websocket':
            return RawWs(self.site.ws_port, version=version)
        return Raw(self.broker.port, version=version)

    def client(self, user='alice', client_id=None, want=0, version=5, **kw):
        c = self.socket(version)
        c.connect(client_id or next(_names), want=want, username=user,
                  **({'password': user} if user else {}), **kw)
        return c


@pytest.fixture(params=['tcp', 'tls', 'websocket'])
def way(request, site):
    with unharmed(site.broker):
        yield Way(site, request.param)


def got(client):
    """Payloads that came until its PING is answered."""
    out = []
    client.ping()
    while client.later:
        out.append(client.message().payload)
    return out


def delivered(client, want=()):
    """The same, and what another shard may have under way: these at least."""
    out = got(client)
    while not set(want) <= set(out):
        out.append(client.message().payload)
    return out + [m.payload for m in client.gather(0, 0.15)]


def test_case_34_wildcard_over_a_denied_subtree(way):
    way.rules('user alice\ntopic read #\ntopic deny secret/#\ntopic deny bystander/#\n')
    with way.client() as c, way.client('admin') as admin:
        assert c.subscribe('#', '+/+', 'secret/#', qos=1)[2] == NOT_AUTHORIZED
        for topic in ('secret/x', 'secret', 'open/x'):
            admin.publish_acked(topic, topic.encode(), 1)
            admin.publish_acked(topic, topic.encode(), 1, retain=True)
        seen = delivered(c, [b'open/x'])
        assert set(seen) == {b'open/x'}, seen
        # what is retained
        assert c.subscribe('#') == [0]
        assert set(delivered(c, [b'open/x'])) == {b'open/x'}
        for topic in ('secret/x', 'secret', 'open/x'):
            admin.publish_acked(topic, b'', 1, retain=True)


def test_case_35_shared_subscription(way):
    way.rules('user alice\ntopic read open/#\ntopic read both/#\ntopic deny both/secret\n')
    with way.client() as c, way.client('admin') as admin:
        assert c.subscribe('$share/g/secret/#', '$share/g/both/secret', '$share/g/both/#') == \
            [NOT_AUTHORIZED, NOT_AUTHORIZED, 0]
        for topic in ('secret/x', 'both/secret', 'both/x'):
            admin.publish_acked(topic, topic.encode(), 1)
        assert delivered(c, [b'both/x']) == [b'both/x']


def test_case_36_system_topics(way):
    way.rules('user alice\ntopic read #\ntopic deny bystander/#\nuser bob\ntopic read $SYS/broker/version\n')
    with way.client() as c, way.client('bob') as bob:
        assert c.subscribe('$SYS/#', '$SYS/broker/version', '$nightjar/#', '#') == \
            [NOT_AUTHORIZED] * 3 + [0]
        assert bob.subscribe('$SYS/broker/uptime', '$SYS/broker/+') == [NOT_AUTHORIZED, 0]
        assert bob.message().topic == '$SYS/broker/version'
        assert not [m for m in all_of(c) if m.topic.startswith('$')]


def all_of(client):
    client.ping()
    out = []
    while client.later:
        p = client.recv()
        if p.kind == PUBLISH:
            out.append(p)
    return out


@pytest.mark.parametrize('topic', ['$SYS', '$SYS/', '$SYS/broker/version', '$SYS//x', '$CONTROL/x',
                                   '$CONTROL/dynamic-security/v1', '$share/g/x', '$share',
                                   '$nightjar/x', '$nightjar'])
def test_case_37_internal_prefixes(way, topic):
    """One choke point: publishing, by alias, and wills."""
    way.rules('user alice\ntopic #\ntopic $SYS/#\ntopic $share/#\ntopic $nightjar/#\ntopic $nightjar\n'
              'topic $share\n')
    start = way.broker.log_size()
    with way.client() as c:
        for qos in (1, 2):
            assert c.publish_acked(topic, b'x', qos) == NOT_AUTHORIZED
        c.publish(topic, b'x', 1, props={'topic_alias': 1})
        assert c.expect(PUBACK).code == NOT_AUTHORIZED
        c.publish('', b'x', 1, props={'topic_alias': 1})
        assert c.expect(PUBACK).code == NOT_AUTHORIZED
    way.client(want=NOT_AUTHORIZED, will=(topic, b'x')).close()
    told(way.broker, start, r'Publish of id-\d+ to .* refused: ', most=2)


@pytest.mark.parametrize('name', ['+', '#', 'a/b', '[a-z]', '-', '%u', '..', '*'])
def test_case_38_names_in_patterns(way, name):
    """are text: they widen nothing, and get round nothing that denies."""
    way.rules('pattern readwrite dev/%c/#\npattern readwrite user/%u/#\npattern deny no/%c/#\n'
              'pattern read no/#\n')
    user = name if name in USERS else 'plain'
    literal = name not in ('+', '#', 'a/b')
    with way.client(user, client_id=name) as c, way.client('admin') as admin:
        for topic in ('dev/other/x', 'user/other/x', 'no/x'):
            assert c.publish_acked(topic, b'x', 1) == NOT_AUTHORIZED
        own = c.publish_acked(f'dev/{name}/x'.replace('+', 'p').replace('#', 'h'), b'x', 1)
        assert (own != NOT_AUTHORIZED) == literal
        c.subscribe('dev/+/x', 'user/+/x', 'no/#')
        for topic in ('dev/other/x', 'user/other/x', 'dev/a/b/x', f'no/{name}/x'):
            if '+' not in topic and '#' not in topic:
                admin.publish_acked(topic, b'leak', 1)
        assert b'leak' not in delivered(c)


def test_case_39_will(way):
    """Refused at CONNECT; asked about again when it is sent."""
    way.rules('user alice\ntopic write allowed\n')
    start = way.broker.log_size()
    way.client(want=NOT_AUTHORIZED, will=('secret', b'x', 1)).close()
    with way.client('admin') as admin:
        admin.subscribe('allowed', 'secret', qos=1)
        way.client(will=('allowed', b'1', 1)).close()
        assert admin.message().payload == b'1'
        late = way.client(will=('allowed', b'2', 1))
        way.rules('')
        late.close()
        told(way.broker, start, r'Will of id-\d+ not sent', most=1)
        assert b'2' not in delivered(admin)


def test_case_40_permission_revoked(way):
    """Live subscriptions, those of who is away, and queues."""
    way.rules('user alice\ntopic read a/#\n')
    name = next(_names)
    persistent = {'clean': False, 'props': {'session_expiry': 60}}
    with way.client(client_id=name, **persistent) as c:
        c.subscribe('a/#', qos=1)
    with way.client() as live, way.client('admin') as admin:
        live.subscribe('a/#', qos=1)
        admin.publish_acked('a/1', b'before', 1)
        admin.publish_acked('a/2', b'before too', 1)
        assert live.message().payload == b'before'
        way.rules('user alice\ntopic read a/2\n')
        admin.publish_acked('a/1', b'after', 1)
        admin.publish_acked('a/2', b'after too', 1)
        assert delivered(live, [b'after too']) == [b'before too', b'after too']
        with way.client(client_id=name, **persistent) as c:
            assert delivered(c, [b'after too']) == [b'before too', b'after too']
    way.client(client_id=name).close()


def test_case_41_retained_by_who_may_no_longer(way):
    way.rules('user alice\ntopic a/#\nuser bob\ntopic a/#\n')
    with way.client() as c, way.client('bob') as bob, way.client('admin') as admin:
        c.publish_acked('a/alice', b'alice', 1, retain=True)
        bob.publish_acked('a/bob', b'bob', 1, retain=True)
        way.rules('user bob\ntopic a/#\n')
        admin.subscribe('a/#')
        assert delivered(admin, [b'bob']) == [b'bob']
        for topic in ('a/alice', 'a/bob'):
            admin.publish_acked(topic, b'', 1, retain=True)


def test_case_42_qos2_after_permission_loss(way):
    """Nothing is passed on once the right is gone: a message is when it comes,
    not with its PUBREL; sent once more it is the same; another is refused."""
    way.rules('user alice\ntopic a\n')
    with way.client('admin') as admin, way.client() as c:
        admin.subscribe('a')
        mid = c.publish('a', b'1', 2)
        assert c.wait_for(PUBREC).code in (0, 0x10)
        assert delivered(admin, [b'1']) == [b'1']
        way.rules('')
        c.publish('a', b'1', 2, mid=mid, dup=True)
        c.wait_for(PUBREC)
        c.ack(PUBREL, mid)
        c.wait_for(PUBCOMP)
        assert c.publish_acked('a', b'2', 2) == NOT_AUTHORIZED
        assert delivered(admin) == []


@pytest.mark.parametrize('clean', [True, False])
def test_case_43_client_id_of_another(way, clean):
    way.rules('pattern readwrite #\n')
    name = next(_names)
    start = way.broker.log_size()
    with way.client(client_id=name) as victim, way.client('admin') as admin:
        victim.subscribe('a', qos=1)
        for user in ('bob', None):
            way.client(user, client_id=name, want=BAD_ID, clean=clean).close()
        told(way.broker, start, f'client identifier.*|{name}', most=10)
        admin.publish_acked('a', b'1', 1)
        assert victim.message().payload == b'1'


def test_case_44_session_of_another(way):
    way.rules('pattern readwrite #\n')
    name = next(_names)
    persistent = {'clean': False, 'props': {'session_expiry': 60}}
    with way.client(client_id=name, **persistent) as c:
        c.subscribe('a', qos=1)
    with way.client('admin') as admin:
        admin.publish_acked('a', b'1', 1)
    for user, clean in itertools.product(('bob', None), (True, False)):
        way.client(user, client_id=name, want=BAD_ID, clean=clean).close()
    with way.socket() as c:
        ack = c.connect(name, username='alice', password='alice', **persistent)
        assert ack.session_present
        assert c.message().payload == b'1'
    way.client(client_id=name).close()


def test_case_45_response_topic(way):
    """Who answers is asked about as who publishes: a response topic lends
    nobody a right."""
    way.rules('user alice\ntopic write ask\nuser bob\ntopic read ask\ntopic write answers/#\n')
    with way.client() as asking, way.client('bob') as answering, way.client('admin') as admin:
        answering.subscribe('ask')
        admin.subscribe('secret')
        asking.publish('ask', b'?', 1, props={'response_topic': 'secret'})
        assert asking.expect(PUBACK).code == 0
        m = answering.message()
        assert m.props['response_topic'] == 'secret'
        assert answering.publish_acked(m.props['response_topic'], b'!', 1) == NOT_AUTHORIZED
        assert delivered(admin) == []
        # and a topic with wildcards is none
        asking.publish('ask', b'?', 1, props={'response_topic': 'secret/#'})
        with pytest.raises((Closed, AssertionError)):
            assert asking.expect(PUBACK).code == 0


def auth_packet(code, data):
    return packet(AUTH, 0, bytes([code]) + properties({'auth_method': scram.METHOD,
                                                       'auth_data': data}))


def exchange(c, user, begin):
    """A SCRAM exchange; begin sends the first words."""
    x = scram.Client(user, user)
    begin(x.first())
    challenge = c.wait_for(AUTH).props['auth_data']
    c.send(auth_packet(0x18, x.final(challenge)))


def test_case_46_reauthentication_as_another(way):
    way.rules('user alice\ntopic read a\nuser bob\ntopic read b\n')
    start = way.broker.log_size()
    with way.socket() as c:
        x = scram.Client('alice', 'alice')
        c.send(connect_packet(next(_names), props={'auth_method': scram.METHOD,
                                                   'auth_data': x.first()}))
        c.send(auth_packet(0x18, x.final(c.expect(AUTH).props['auth_data'])))
        assert c.expect(CONNACK).code == 0
        exchange(c, 'alice', lambda data: c.send(auth_packet(0x19, data)))
        assert c.expect(AUTH).code == 0
        assert c.subscribe('b', 'a') == [NOT_AUTHORIZED, 0]
        exchange(c, 'bob', lambda data: c.send(auth_packet(0x19, data)))
        assert c.wait_for(DISCONNECT).code == NOT_AUTHORIZED
        assert is_closed(c)
    told(way.broker, start, 're-authentication', most=2)
