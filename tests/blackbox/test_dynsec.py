# SPDX-License-Identifier: Apache-2.0
"""Users, groups and roles that are changed while the broker runs, in the form
of Mosquitto's dynamic security: Debian's mosquitto_ctrl, commands as clients
send them, files that fail closed, rights that change under live sessions."""
import json
import os
import random
import socket
import stat
import subprocess

import pytest

import passwords
from dynsecs import RESPONSE, TOPIC, Dynsec, acl, commands, one, state, user
from harness import HOST, MOSQUITTO, PATIENCE, debian, free_port, wait_until
from raw import CONNACK, DISCONNECT, PUBACK, Raw, connect_packet


CTRL = debian('/usr/bin/mosquitto_ctrl')
PLUGIN = debian('/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so')
NOT_AUTHORIZED = 0x87
ADMINISTRATIVE = 0x98


@pytest.fixture
def dynsec(brokers, tmp_path):
    def start(*args, **kw):
        return Dynsec(brokers, str(tmp_path), *args, **kw)
    return start


ours = pytest.mark.ours
R1 = {'rolename': 'r1', 'acls': [acl('publishClientSend', 'a/#'), acl('subscribePattern', 'a/#'),
                                 acl('publishClientSend', 'dev/%c/up'),
                                 acl('subscribeLiteral', 'lit/+'),
                                 acl('unsubscribePattern', 'keep/#', False)]}


def ctrl(d, *args, error=None, user_='admin', password='adminpw'):
    r = subprocess.run([CTRL, '-h', HOST, '-p', str(d.broker.port), '-u', user_, '-P', password,
                        'dynsec', *args], capture_output=True, text=True, timeout=PATIENCE,
                       stdin=subprocess.DEVNULL, check=False)
    text = r.stdout + r.stderr.replace(
        'Warning: You are running mosquitto_ctrl without encryption.\n'
        'This means all of the configuration changes you are making are visible on the network, '
        'including passwords.\n\n', '')
    assert r.returncode == 0, (args, r.returncode, text)
    assert (f'Error: {error}' if error else '') in text and ('Error' in text) == bool(error), (args, text)
    return text


@pytest.mark.skipif(not CTRL, reason='there is no mosquitto_ctrl here')
def test_whole_command_set_of_mosquitto_ctrl(dynsec, tmp_path):
    """Every command there is, on a file that its own init has made."""
    path = tmp_path / 'made.json'
    subprocess.run([CTRL, 'dynsec', 'init', str(path), 'admin', 'adminpw'], check=True,
                   stdout=subprocess.DEVNULL, timeout=PATIENCE)
    d = dynsec(path.read_text())
    assert 'publishClientSend    : deny' in ctrl(d, 'getDefaultACLAccess')
    ctrl(d, 'setDefaultACLAccess', 'publishClientSend', 'allow')
    assert 'publishClientSend    : allow' in ctrl(d, 'getDefaultACLAccess')
    ctrl(d, 'setDefaultACLAccess', 'publishClientSend', 'deny')
    ctrl(d, 'createClient', 'bob', '-p', 'one', '-c', 'bobs')
    ctrl(d, 'setClientPassword', 'bob', 'two')
    ctrl(d, 'setClientId', 'bob', 'bobs-own')
    ctrl(d, 'createRole', 'r')
    for kind in ('publishClientSend', 'publishClientReceive', 'subscribeLiteral',
                 'subscribePattern', 'unsubscribeLiteral', 'unsubscribePattern'):
        ctrl(d, 'addRoleACL', 'r', kind, 'x/y', 'allow', '3')
    text = ctrl(d, 'getRole', 'r')
    assert text.count('x/y (priority: 3)') == 6, text
    ctrl(d, 'removeRoleACL', 'r', 'subscribePattern', 'x/y')
    assert ctrl(d, 'getRole', 'r').count('x/y') == 5
    ctrl(d, 'addClientRole', 'bob', 'r', '7')
    ctrl(d, 'createGroup', 'g')
    ctrl(d, 'addGroupRole', 'g', 'r', '2')
    ctrl(d, 'addGroupClient', 'g', 'bob', '4')
    text = ctrl(d, 'getClient', 'bob')
    for part in ('bob', 'bobs-own', 'r (priority: 7)', 'g (priority: 4)'):
        assert part in text, text
    assert 'Clients:   bob' in ctrl(d, 'getGroup', 'g')
    assert ctrl(d, 'listClients').split() == ['admin', 'bob']
    assert ctrl(d, 'listClients', '1', '1').split() == ['bob']
    assert ctrl(d, 'listGroups').split() == ['g']
    assert ctrl(d, 'listRoles').split() == ['admin', 'r']
    ctrl(d, 'disableClient', 'bob')
    assert 'Disabled' in ctrl(d, 'getClient', 'bob')
    ctrl(d, 'enableClient', 'bob')
    d.client('bob', 'bobs-own', password='two').close()
    ctrl(d, 'setAnonymousGroup', 'g')
    assert ctrl(d, 'getAnonymousGroup').split() == ['g']
    ctrl(d, 'deleteGroup', 'g', error='Deleting the anonymous group is forbidden')
    ctrl(d, 'createGroup', 'other')
    ctrl(d, 'setAnonymousGroup', 'other')
    ctrl(d, 'removeGroupClient', 'g', 'bob')
    ctrl(d, 'removeGroupRole', 'g', 'r')
    ctrl(d, 'deleteGroup', 'g')
    ctrl(d, 'removeClientRole', 'bob', 'r')
    ctrl(d, 'deleteRole', 'r')
    ctrl(d, 'deleteClient', 'bob')
    assert ctrl(d, 'listClients').split() == ['admin']
    ctrl(d, 'getClient', 'bob', error='Client not found')


@ours
def test_files_of_mosquitto_2_1(dynsec):
    """Passwords of any kind in one member, groups and roles with new members;
    what is not known is kept."""
    hashes = {'p': passwords.pbkdf2('p', 'pw'), 's': passwords.sha512('s', 'pw')}
    d = dynsec(state([{'username': n, 'encoded_password': h.strip().split(':', 1)[1],
                       'roles': [{'rolename': 'narrow', 'priority': 3}], 'new21': [n]}
                      for n, h in hashes.items()],
                     [{'rolename': 'narrow', 'allowwildcardsubs': False, 'textname': 't',
                       'acls': [acl('subscribePattern', 'a/#')]}],
                     [{'groupname': 'g', 'textname': 'G', 'roles': [],
                       'clients': [{'username': 'p', 'priority': 2}]}], anonymousGroup='g'))
    for name in hashes:
        with d.client(name, password='pw') as c:
            assert c.subscribe('a/b') == [0] and c.subscribe('a/#') == [NOT_AUTHORIZED]
    with d.admin() as c:
        one(c, 'addClientRole', username='s', rolename='admin')
        assert one(c, 'getDetails')['data'] == {'clientCount': 3, 'groupCount': 1, 'roleCount': 2,
                                                'changeIndex': 1}
    kept = {u['username']: u for u in d.read()['clients']}
    assert kept['p']['new21'] == ['p'] and kept['s']['encoded_password'].startswith('$6$')
    d.broker.stop()
    d.broker.start()
    d.client('p', password='pw').close()


# What clients send and are answered.

ERRORS = [
    ({}, 'Unknown command', 'Missing command'),
    (5, 'Unknown command', 'Command not an object'),
    ({'command': 'nonsense'}, 'nonsense', 'Unknown command'),
    ({'command': 'createClient'}, 'createClient', 'Invalid/missing username'),
    ({'command': 'createClient', 'username': ''}, 'createClient', 'Empty username'),
    ({'command': 'createClient', 'username': 'a\u0001'}, 'createClient', 'Username not valid UTF-8'),
    ({'command': 'createClient', 'username': 'admin'}, 'createClient', 'Client already exists'),
    ({'command': 'createClient', 'username': 'x', 'password': 5}, 'createClient',
     'Invalid/missing password'),
    ({'command': 'createClient', 'username': 'x', 'clientid': 5}, 'createClient',
     'Invalid/missing client id'),
    ({'command': 'createClient', 'username': 'x', 'roles': [{'rolename': 'none'}]}, 'createClient',
     'Role not found'),
    ({'command': 'createClient', 'username': 'x', 'roles': 5}, 'createClient',
     "'roles' not an array or missing/invalid rolename"),
    ({'command': 'createClient', 'username': 'x', 'groups': [{'groupname': 'none'}]},
     'createClient', 'Group not found'),
    ({'command': 'DELETECLIENT', 'username': 'none'}, 'deleteClient', 'Client not found'),
    ({'command': 'setClientPassword', 'username': 'admin', 'password': ''}, 'setClientPassword',
     'Empty password is not allowed'),
    ({'command': 'setClientId', 'username': 'admin', 'clientid': 7}, 'setClientId',
     'Invalid/missing client ID'),
    ({'command': 'addClientRole', 'username': 'admin', 'rolename': 'none'}, 'addClientRole',
     'Role not found'),
    ({'command': 'addClientRole', 'username': 'admin', 'rolename': 'admin'}, 'addClientRole',
     'Internal error'),
    ({'command': 'createGroup', 'groupname': 'g', 'textname': 1}, 'createGroup',
     'Invalid/missing textname'),
    ({'command': 'addGroupClient', 'groupname': 'none', 'username': 'admin'}, 'addGroupClient',
     'Group not found'),
    ({'command': 'modifyRole', 'rolename': 'none'}, 'modifyRole', 'Role does not exist'),
    ({'command': 'addRoleACL', 'rolename': 'r1'}, 'addRoleACL', 'Invalid/missing acltype'),
    ({'command': 'addRoleACL', 'rolename': 'r1', 'acltype': 'x'}, 'addRoleACL', 'Unknown acltype'),
    ({'command': 'addRoleACL', 'rolename': 'r1', 'acltype': 'publishClientSend'}, 'addRoleACL',
     'Invalid/missing topic'),
    ({'command': 'addRoleACL', 'rolename': 'r1', 'acltype': 'publishClientSend', 'topic': 'a#'},
     'addRoleACL', 'Invalid ACL topic'),
    ({'command': 'addRoleACL', 'rolename': 'r1', 'acltype': 'publishClientSend', 'topic': 'a/#'},
     'addRoleACL', 'ACL with this topic already exists'),
    ({'command': 'removeRoleACL', 'rolename': 'r1', 'acltype': 'publishClientSend', 'topic': 'q'},
     'removeRoleACL', 'ACL not found'),
    ({'command': 'setDefaultACLAccess'}, 'setDefaultACLAccess', 'Missing/invalid actions array'),
    ({'command': 'listClients', 'correlationData': 5}, 'listClients',
     'Invalid correlationData data type.'),
]


def test_what_is_answered(dynsec):
    """The texts of Mosquitto's plugin; a failed command changes nothing."""
    d = dynsec(state(roles=[R1], unknown={'kept': [1, 2]}))
    before = d.read()
    with d.admin() as c:
        for cmd, name, error in ERRORS:
            assert commands(c, cmd) == [{'command': name, 'error': error}], cmd
        for payload, error in (('{', 'Payload not valid JSON'), ('[]', 'Invalid/missing commands'),
                               ('', 'Payload not valid JSON')):
            c.publish(TOPIC, payload, qos=1)
            c.wait_for(PUBACK)
            answer = json.loads(c.message().payload)
            assert answer == {'responses': [{'command': 'Unknown command', 'error': error}]}
        assert d.read() == before
        assert one(c, 'listClients', correlationData='x7') == {
            'command': 'listClients', 'correlationData': 'x7',
            'data': {'totalCount': 1, 'clients': ['admin']}}
        # several at once: each is done or not for itself, in one write
        r = commands(c, {'command': 'createGroup', 'groupname': 'g', 'textname': 'G'},
                     {'command': 'createClient', 'username': 'u', 'clientid': 'cid',
                      'roles': [{'rolename': 'r1', 'priority': 4}],
                      'groups': [{'groupname': 'g', 'priority': 2}]},
                     {'command': 'createClient', 'username': 'u'},
                     {'command': 'getClient', 'username': 'u'})
        assert [x.get('error') for x in r] == [None, None, 'Client already exists', None]
        assert r[3]['data']['client'].pop('connections', []) == []  # 2.1 has it
        assert r[3]['data']['client'] == {
            'username': 'u', 'clientid': 'cid', 'roles': [{'rolename': 'r1', 'priority': 4}],
            'groups': [{'groupname': 'g', 'priority': 2}]}
        assert one(c, 'getDetails')['data']['clientCount'] == 2
    kept = d.read()
    assert kept['unknown'] == {'kept': [1, 2]}
    assert kept['groups'] == [{'groupname': 'g', 'textname': 'G', 'roles': [],
                               'clients': [{'username': 'u', 'priority': 2}]}]
    assert stat.S_IMODE(os.stat(d.path).st_mode) == 0o600


def test_commands_are_nobody_elses(dynsec):
    """Neither a command nor its answer reaches another client, and only who
    has a role for it may send one; nothing allows it by default."""
    snoop = {'rolename': 'snoop', 'acls': [acl('subscribePattern', '$CONTROL/#'),
                                           acl('publishClientReceive', '$CONTROL/#')]}
    d = dynsec(state([user('s', 'snoop')], [snoop], defaultACLAccess=dict.fromkeys(
        ('publishClientSend', 'publishClientReceive', 'subscribe', 'unsubscribe'), True)))
    with d.client('s') as other, d.admin() as c:
        assert other.subscribe('$CONTROL/#', qos=1) == [1]
        one(c, 'listClients')
        assert other.publish_acked(TOPIC, '{"commands":[]}') == NOT_AUTHORIZED
        assert other.publish_acked('$CONTROL/other/v1', 'x') == NOT_AUTHORIZED
        assert c.publish_acked('$CONTROL/dynamic-security/v2', 'x') == 0
        other.silent()
        # 3.1.1 has no way to say no, and QoS 2 goes its way
        with d.client('s', 's3', version=4) as old:
            assert old.publish_acked(TOPIC, '{"commands":[{"command":"x"}]}', 2) == 0
        c.publish_acked(TOPIC, '{"commands":[{"command":"getDetails"}]}', 2)
        assert json.loads(c.message().payload)['responses'][0]['command'] == 'getDetails'
    with Raw(d.broker.port) as w:
        w.send(connect_packet('w', username='admin', password='adminpw',
                              will=(TOPIC, b'{}', 0, False)))
        assert w.expect(CONNACK).code == NOT_AUTHORIZED


BROKER = '$CONTROL/broker/v1'


def ask_broker(c, *cmds, text=None):
    """What mosquitto_ctrl broker of Mosquitto 2.1 does; None: not served."""
    c.publish(BROKER, text or json.dumps({'commands': list(cmds)}), qos=1)
    ack = c.wait_for(PUBACK)
    if ack.code >= 0x80:
        return ack.code
    c.ping()
    return json.loads(c.message().payload)['responses'] if c.later else None


@ours
def test_questions_about_the_broker(dynsec, tmp_path):
    """listListeners and listPlugins, for those whose roles have the topic."""
    reads = [acl('publishClientSend', '$CONTROL/broker/#'), acl('subscribePattern', '$CONTROL/broker/#'),
             acl('publishClientReceive', '$CONTROL/broker/#')]
    d = dynsec(state(clients=[user('looks', 'looks'), user('none')],
                     roles=[{'rolename': 'looks', 'acls': reads}]),
               f'enable_control_api true\nlistener 0 {tmp_path}/s.sock\n')
    with d.client('looks') as c, d.client('none') as n:
        assert c.subscribe(BROKER + '/response') == [0]
        r = ask_broker(c, {'command': 'listListeners', 'correlationData': 'x'}, {'command': 'LISTPLUGINS'})
        assert r[0]['correlationData'] == 'x' and r[0]['command'] == 'listListeners'
        assert {'port': d.broker.port, 'protocol': 'mqtt', 'tls': False, 'bind-address': HOST} \
            in r[0]['data']['listeners']
        assert {'port': 0, 'protocol': 'mqtt', 'tls': False, 'socket-path': f'{tmp_path}/s.sock'} \
            in r[0]['data']['listeners']
        plugin, = r[1]['data']['plugins']
        assert plugin['name'] == 'dynamic-security' and plugin['control-endpoints'] == [TOPIC]
        for text, error in (('{', 'Payload not valid JSON'), ('{}', 'Invalid/missing commands'),
                            ('{"commands":[{}]}', 'Missing command'), ('{"commands":[1]}', 'Command not an object'),
                            ('{"commands":[{"command":"x"}]}', 'Unknown command'),
                            (json.dumps({'commands': [{'command': 'listPlugins'}] * 65}), 'Too many commands')):
            assert ask_broker(c, text=text)[0]['error'] == error
        assert ask_broker(n, {'command': 'listListeners'}) == NOT_AUTHORIZED
        assert n.subscribe(BROKER + '/response') == [NOT_AUTHORIZED]


@ours
@pytest.mark.parametrize('rules, want', [('topic #\n', NOT_AUTHORIZED),
                                         ('topic $CONTROL/broker/#\n', 'listeners'), (None, NOT_AUTHORIZED)])
def test_questions_about_the_broker_by_acl_file(brokers, tmp_path, rules, want):
    path = tmp_path / 'acl'
    if rules:
        path.write_text(rules)
        path.chmod(0o600)
    b = brokers('enable_control_api true\n' + (f'acl_file {path}\n' if rules else ''))
    with Raw(b.port) as c:
        c.connect('c')
        c.subscribe(BROKER + '/response')
        r = ask_broker(c, {'command': 'listListeners'})
        assert r == want or 'data' in r[0]
        assert isinstance(r, list) == isinstance(want, str)


@ours
def test_questions_about_the_broker_are_off(dynsec):
    d = dynsec(state(clients=[user('all', 'all')], roles=[{'rolename': 'all', 'acls': [
        acl(k, '$CONTROL/#') for k in ('publishClientSend', 'subscribePattern', 'publishClientReceive')]}]))
    with d.client('all') as c:
        assert c.subscribe(BROKER + '/response') == [0]
        assert ask_broker(c, {'command': 'listListeners'}) is None


@ours
@pytest.mark.parametrize('threads', [1, 3])
def test_connections(dynsec, threads):
    """As 2.1 tells them: of that user, and with a client id only that one."""
    d = dynsec(state([user('u'), user('one', clientid='bound'), user('away')]), f'threads {threads}\n')
    here = {'address': '127.0.0.1'}

    def asked(c, **what):
        r = one(c, **what)['data']
        return {x['username']: x['connections'] for x in r.get('clients', [r.get('client')])}
    with d.client('u', 'a'), d.client('u', 'b') as b, d.client('one', 'bound'), d.admin() as c:
        assert asked(c, command='getClient', username='u') == {'u': [here, here]}
        assert asked(c, command='getClient', username='away') == {'away': []}
        assert asked(c, command='listClients', verbose=True) == {
            'u': [here, here], 'one': [here], 'away': [], 'admin': [here]}
        assert asked(c, command='listClients', verbose=True, count=1, offset=3) == {'u': [here, here]}
        assert one(c, 'listClients')['data']['clients'] == ['admin', 'away', 'one', 'u']
        r = commands(c, {'command': 'getClient', 'username': 'u'}, {'command': 'getClient', 'username': 'one'},
                     {'command': 'getClient', 'username': 'none'})
        assert [len(x['data']['client']['connections']) if 'data' in x else x['error'] for x in r] == [
            2, 1, 'Client not found']
        one(c, 'createGroup', groupname='g')
        one(c, 'addGroupClient', groupname='g', username='u')
        assert one(c, 'getGroup', groupname='g')['data']['group']['clients'] == [{'username': 'u'}]
        b.disconnect()
        wait_until(lambda: asked(c, command='getClient', username='u') == {'u': [here]}, 'it is gone')
        one(c, 'setClientId', username='one', clientid='other')
        assert asked(c, command='getClient', username='one') == {'one': []}


@ours
@pytest.mark.parametrize('store', [False, True])
def test_the_index_of_changes_is_kept(dynsec, tmp_path, store):
    """Over restarts: who has seen one number never sees it again for another
    state."""
    conf = f'persistence true\npersistence_location {tmp_path}/\n' if store else ''
    d = dynsec(state([user('u')], changeIndex=7), conf)

    def index():
        with d.admin() as c:
            return one(c, 'getDetails')['data']['changeIndex']
    assert index() == 7
    with d.admin() as c:
        one(c, 'disableClient', username='u')
        one(c, 'enableClient', username='none')
        one(c, 'enableClient', username='u')
        assert one(c, 'getDetails')['data']['changeIndex'] == 9
    d.broker.kill()
    d.broker.start()
    assert index() == 9
    if not store:
        assert d.read()['changeIndex'] == 9


# Rights that change.

def test_a_change_holds_at_once(dynsec):
    """For who is connected: publishing, subscribing, what is delivered."""
    d = dynsec(state([user('u', 'r1')], [R1]))
    with d.client('u') as u, d.admin() as c:
        assert u.publish_acked('a/x', 'm') < 0x80 and u.publish_acked('b', 'm') == NOT_AUTHORIZED
        assert u.publish_acked('dev/u/up', 'm') < 0x80
        assert u.publish_acked('dev/v/up', 'm') == NOT_AUTHORIZED
        assert u.subscribe('a/#', 'b', 'lit/+', 'lit/x', '$share/g/a/#', '$share/g/b', 'a/keep') == [
            0, NOT_AUTHORIZED, 0, NOT_AUTHORIZED, 0, NOT_AUTHORIZED, 0]
        one(c, 'addRoleACL', rolename='r1', acltype='publishClientSend', topic='b', allow=True)
        assert u.publish_acked('b', 'm') < 0x80
        one(c, 'addRoleACL', rolename='r1', acltype='publishClientReceive', topic='a/no',
            allow=False, priority=5)
        for topic in 'a/no', 'a/yes':
            u.publish(topic, topic)
        got = [u.message().payload for _ in range(2)]
        assert got == [b'a/yes'] * 2    # by itself and as the group's only member
        # the subscription ends with the right to it
        one(c, 'removeRoleACL', rolename='r1', acltype='subscribePattern', topic='a/#')
        u.publish('a/yes', 'gone')
        u.silent()
        one(c, 'removeClientRole', username='u', rolename='r1')
        assert u.publish_acked('a/x', 'm') == NOT_AUTHORIZED
        # a group's role, and the order of priorities
        commands(c, {'command': 'createRole', 'rolename': 'no',
                     'acls': [acl('publishClientSend', 'a/x', False)]},
                 {'command': 'createGroup', 'groupname': 'g',
                  'roles': [{'rolename': 'r1', 'priority': 1}, {'rolename': 'no', 'priority': 2}]},
                 {'command': 'addGroupClient', 'groupname': 'g', 'username': 'u'})
        assert u.publish_acked('a/x', 'm') == NOT_AUTHORIZED
        assert u.publish_acked('a/y', 'm') < 0x80
        one(c, 'deleteRole', rolename='no')
        assert u.publish_acked('a/x', 'm') < 0x80


def test_who_may_not_go_on_is_disconnected(dynsec):
    """Deleted, disabled, another password, another client id: with 0x98, and
    without a will; the administrator hears that it was done to himself."""
    d = dynsec(state([user('u', 'all'), user('w', 'all')],
                     [{'rolename': 'all', 'acls': [acl('publishClientSend', '#'),
                                                   acl('subscribePattern', '#')]}]))
    steps = [('disableClient', {}), ('enableClient', {}), ('setClientId', {'clientid': 'mine'}),
             ('setClientId', {}), ('setClientPassword', {'password': 'other'}),
             ('deleteClient', {})]
    with d.client('w') as w, d.admin() as c:
        assert w.subscribe('will') == [0]
        password = 'adminpw'
        for command, more in steps:
            ends = command != 'enableClient'
            if ends:
                u = d.client('u', 'mine', will=('will', b'dead', 0, False), password=password)
            assert 'error' not in one(c, command, username='u', **more)
            if ends:
                assert u.expect(DISCONNECT).code == ADMINISTRATIVE
                u.close()
            password = more.get('password', password)
            if command == 'disableClient':
                with Raw(d.broker.port) as r:
                    r.connect('mine', NOT_AUTHORIZED, username='u', password='adminpw')
            if more.get('clientid'):
                with Raw(d.broker.port) as r:
                    r.connect('not-mine', NOT_AUTHORIZED, username='u', password='adminpw')
        w.silent()
        with Raw(d.broker.port) as r:
            r.connect('mine', NOT_AUTHORIZED, username='u', password='other')
        assert 'error' not in one(c, 'setClientPassword', username='admin', password='new')
        assert c.expect(DISCONNECT).code == ADMINISTRATIVE
    d.client('admin', password='new').close()


@pytest.mark.parametrize('change', [('deleteClient', {}), ('disableClient', {})],
                         ids=lambda v: v[0])
def test_a_change_counts_for_a_login_under_way(dynsec, change):
    """The derivation takes a while, and the change comes meanwhile."""
    salt, digest = passwords.pbkdf2('u', 'slow', 300000).strip().split('$')[3:]
    d = dynsec(state([user('u', iterations=300000, salt=salt, password=digest)]))
    with d.admin() as c, Raw(d.broker.port) as u:
        u.send(connect_packet('u', username='u', password='slow'))
        assert 'error' not in one(c, change[0], username='u', **change[1])
        assert u.closed() in (NOT_AUTHORIZED, ADMINISTRATIVE)


def test_anonymous_group(dynsec):
    d = dynsec(state(roles=[R1], groups=[{'groupname': 'g', 'roles': [{'rolename': 'r1'}]}],
                     anonymousGroup='g'), 'allow_anonymous true\n')
    with Raw(d.broker.port) as r:
        r.connect('nobody')
        assert r.publish_acked('a/x', 'm') < 0x80 and r.publish_acked('b', 'm') == NOT_AUTHORIZED
        assert r.unsubscribe('keep/x', 'other') == [NOT_AUTHORIZED, 0x11]
    with Raw(d.broker.port) as r:    # a name without a password is not anonymous
        r.connect('nobody', NOT_AUTHORIZED, username='u')
    with Raw(d.broker.port) as r:
        r.connect('nobody', NOT_AUTHORIZED, username='', password='adminpw')


@pytest.mark.parametrize('plugin', [True, False])
def test_it_outlives_the_broker(dynsec, plugin):
    """What was acknowledged is there after kill -9."""
    d = dynsec(state(), plugin=plugin)
    with d.admin() as c:
        one(c, 'createClient', username='late')
    d.broker.process.kill()
    d.broker.process.wait()
    assert [x['username'] for x in d.read()['clients']] == ['admin', 'late']
    d.broker.start()
    with d.admin() as c:
        assert one(c, 'listClients')['data']['clients'] == ['admin', 'late']


# Files that fail closed.

BAD = {
    'empty': ('', r':1: the file is empty'),
    'no JSON': ('{"clients": [\n {"username": \n', r'json:\d+: column \d+: it is no JSON'),
    'no object': ('[]', r':1: it is not a JSON object'),
    'no list': ('{"clients": 5}', r'"clients" is not a list'),
    'no name': ('{"clients": [\n{"username": "a"},\n{}]}', r':3: entry 2 of "clients": it has no username'),
    'twice': ('{"roles": [{"rolename": "a"},\n{"rolename": "a"}]}', r':2: entry 2 of "roles": .*before'),
    'no rule': ('{"roles": [{"rolename": "a", "acls": [{"acltype": "?", "topic": "#"}]}]}',
                r':1: entry 1 of "roles": a rule has no acltype'),
    'no filter': ('{"roles": [{"rolename": "a", "acls": [\n{"acltype": "publishClientSend", '
                  '"topic": "a#"}]}]}', r"'a#' is no topic filter"),
    'no hash': ('{"clients": [{"username": "a", "encoded_password": "secret"}]}', r'is no hash'),
    'no flag': ('{"clients": [{"username": "a", "disabled": "yes"}]}', r'disabled or clientid'),
    'no group': ('{"anonymousGroup": "g"}', r'name of no group'),
}


@pytest.mark.parametrize('what', BAD)
def test_what_cannot_be_meant_is_refused(brokers, tmp_path, what):
    """At the start, with line and reason."""
    text, says = BAD[what]
    path = tmp_path / 'ds.json'
    path.write_text(text)
    path.chmod(0o600)
    b = brokers(f'dynamic_security_file {path}\n', start=False)
    b.refuses(says)


def test_files_that_are_not_read(brokers, tmp_path):
    """Missing, readable by everybody, a symbolic link, a folder."""
    path, link = tmp_path / 'ds.json', tmp_path / 'link'
    b = brokers(f'dynamic_security_file {path}\n', start=False)
    with open(b.conf_path, encoding='utf-8') as f:
        conf = f.read()
    b.refuses('No such file.*dynsec init')
    path.write_text(json.dumps(state()))
    path.chmod(0o644)
    b.refuses('can be read by every user.*chmod 0600')
    path.chmod(0o600)
    link.symlink_to(path)
    b.write_conf(conf.replace(str(path), str(link)))
    b.refuses('it is a symbolic link')
    b.write_conf(conf.replace(str(path), str(tmp_path)))
    b.refuses('not a plain file')


def test_reload(dynsec):
    """A good file holds at once; of a bad one nothing does, and the log says
    so; one that the broker wrote itself is not read again."""
    d = dynsec(state([user('u', 'r1')], [R1]))
    with d.client('u') as u, d.admin() as c:
        for text, mode, says in (('{"roles": [', 0o600, 'it is no JSON'), ('', 0o600, 'is empty'),
                                 (json.dumps(state()), 0o644, 'every user')):
            start = d.broker.log_size()
            d.write(text, mode)
            d.broker.hup()
            d.broker.wait_log(f'Reload failed, everything stays as it was: .*{says}', start)
            assert u.publish_acked('a/x', 'm') < 0x80
        start = d.broker.log_size()
        d.write(state([user('u')], [R1]))
        d.broker.hup()
        d.broker.wait_log(r'Reloaded\.', start)
        assert u.publish_acked('a/x', 'm') == NOT_AUTHORIZED
        one(c, 'addClientRole', username='u', rolename='r1')
        start = d.broker.log_size()
        d.broker.hup()
        d.broker.wait_log(r'Reloaded\.', start)
        assert u.publish_acked('a/x', 'm') < 0x80
        start = d.broker.log_size()
        d.write(state(roles=[R1]))
        d.broker.hup()
        assert u.expect(DISCONNECT).code == ADMINISTRATIVE


def test_who_came_in_otherwise_can_be_disabled(dynsec, tmp_path):
    """A user of the password file whom a reload makes known here, as disabled."""
    users = tmp_path / 'users'
    users.write_text(passwords.pbkdf2('else', 'else') + passwords.pbkdf2('other', 'other'))
    users.chmod(0o600)
    d = dynsec(state(), f'password_file {users}\n')
    with d.client('else', password='else') as c, d.client('other', password='other') as stays:
        d.write(state([user('else', disabled=True), user('other')]))
        d.broker.reload()
        assert c.expect(DISCONNECT).code == ADMINISTRATIVE
        stays.ping()


def test_what_cannot_be_kept_does_not_hold(dynsec):
    """The folder is gone: the command fails, and so does what it would do."""
    d = dynsec(state())
    moved = d.path + '.folder'
    os.mkdir(moved)
    with d.admin() as c:
        os.rename(d.path, moved + '/x')
        os.mkdir(d.path)
        assert one(c, 'createClient', username='x')['error'] == 'Internal error'
        assert one(c, 'listClients')['data']['clients'] == ['admin']
        os.rmdir(d.path)
        assert 'error' not in one(c, 'createClient', username='x')


# The same answers as Mosquitto.

SEED = 20261121
LEVELS = ('a', 'b', 'c', '')


def topic_of(rng, wild):
    """Not what the two are known to differ about: see nightjar-dynsec(7)."""
    while True:
        v = [rng.choice(LEVELS + (('+', '+') if wild else ())) for _ in range(rng.randint(1, 4))]
        if rng.random() < 0.1 and not wild:
            v[0] = '$x'
        if wild and rng.random() < 0.4:
            v.append('#')
        t = '/'.join(v)
        if t and t not in ('/#', '+/#', '/+/#'):
            return t


def invented(rng):
    """Commands that make roles, groups and users."""
    yield {'command': 'setDefaultACLAccess', 'acls': [
        {'acltype': k, 'allow': rng.random() < 0.5}
        for k in ('publishClientSend', 'publishClientReceive', 'subscribe', 'unsubscribe')]}
    kinds = ['publishClientSend', 'publishClientReceive', 'subscribeLiteral', 'subscribePattern',
             'unsubscribeLiteral', 'unsubscribePattern']
    for i in range(24):
        seen, acls = set(), []
        for _ in range(rng.randint(1, 24)):
            kind = rng.choice(kinds)
            t = topic_of(rng, rng.random() < 0.6)
            if (kind, t) not in seen:
                seen.add((kind, t))
                acls.append(acl(kind, t, rng.random() < 0.5, rng.randint(-2, 3)))
        yield {'command': 'createRole', 'rolename': f'r{i}', 'acls': acls}

    def some(n, name, prefix):
        return [{name: f'{prefix}{k}', **({'priority': rng.randint(-1, 3)} if rng.random() < 0.7
                                          else {})} for k in rng.sample(range(n[0]), rng.randint(0, n[1]))]
    for i in range(8):
        yield {'command': 'createGroup', 'groupname': f'g{i}', 'roles': some((24, 3), 'rolename', 'r')}
    for i in range(20):
        yield {'command': 'createClient', 'username': f'u{i}', 'password': 'adminpw',
               'roles': some((24, 3), 'rolename', 'r'), 'groups': some((8, 3), 'groupname', 'g')}


class Answers:
    """Of one broker to a row of questions."""

    def __init__(self, port):
        self.port = port

    def client(self, name):
        c = Raw(self.port)
        c.connect(name, username=name, password='adminpw')
        return c

    def ask(self, rng):
        """Of each user 500: four kinds, pipelined."""
        for i in range(20):
            with self.client(f'u{i}') as c:
                topics = [topic_of(rng, False) for _ in range(200)]
                for at in range(0, len(topics), 20):
                    for t in topics[at:at + 20]:
                        c.publish(t, b'', 1)
                    for t in topics[at:at + 20]:
                        yield i, 'publish', t, c.expect(PUBACK).code < 0x80
                filters = [topic_of(rng, rng.random() < 0.8) for _ in range(200)]
                filters = [f for f in filters if f[0] != '$'] or ['a']
                for at in range(0, len(filters), 50):
                    part = filters[at:at + 50]
                    for f, code in zip(part, c.subscribe(*part), strict=True):
                        yield i, 'subscribe', f, code < 0x80
                    for f, code in zip(part, c.unsubscribe(*part), strict=True):
                        yield i, 'unsubscribe', f, code < 0x80

    def receive(self, rng):
        """What reaches each of them of what a user may send who may send all:
        they have one subscription that all of them are allowed."""
        topics = sorted({topic_of(rng, False) for _ in range(150)})
        everybody = [self.client(f'u{i}') for i in range(20)]
        for c in everybody:
            assert c.subscribe('#', '$x/#', 'end') == [0, 0, 0]
        with self.client('sender') as s:
            for t in topics:
                s.publish(t, b'')
            s.publish_acked('end', b'')
        for i, c in enumerate(everybody):
            got = set()
            while True:
                p = c.message()
                if p.topic == 'end':
                    break
                got.add(p.topic)
            c.close()
            for t in topics:
                yield i, 'receive', t, t in got


@pytest.mark.skipif(not (MOSQUITTO and PLUGIN), reason='there is no mosquitto here')
def test_same_answers_as_mosquitto(dynsec, tmp_path):
    """A file that Mosquitto wrote, and 10,000 questions put to both."""
    port = free_port()
    path, conf = tmp_path / 'theirs.json', tmp_path / 'theirs.conf'
    path.write_text(json.dumps(state()))
    conf.write_text(f'listener {port} {HOST}\nplugin {PLUGIN}\nplugin_opt_config_file {path}\n'
                    'user root\nlog_type none\nmax_queued_messages 60000\n')
    with open(tmp_path / 'theirs.log', 'wb') as log, subprocess.Popen(
            [MOSQUITTO, '-c', str(conf)], stdout=log, stderr=log) as theirs:
        try:
            wait_until(lambda: socket.socket().connect_ex((HOST, port)) == 0, 'mosquitto')
            rng = random.Random(SEED)
            with Raw(port) as c:
                c.connect('the-admin', username='admin', password='adminpw')
                c.subscribe(RESPONSE)
                assert not any('error' in r for r in commands(c, *invented(rng)))
                # allowed all of them before anything else decides
                everything = [acl('subscribeLiteral', f) for f in ('#', '$x/#', 'end')] + [
                    acl('publishClientReceive', 'end', priority=9)]
                r = commands(
                    c, {'command': 'createRole', 'rolename': 'listens', 'acls': everything},
                    {'command': 'createRole', 'rolename': 'sends', 'acls': [
                        acl('publishClientSend', '#'), acl('publishClientSend', '$x/#')]},
                    {'command': 'createClient', 'username': 'sender', 'password': 'adminpw',
                     'roles': [{'rolename': 'sends'}]},
                    *({'command': 'addClientRole', 'username': f'u{i}', 'rolename': 'listens',
                       'priority': 99} for i in range(20)))
                assert not any('error' in x for x in r), r
            want = list(Answers(port).ask(random.Random(SEED + 1)))
            want += Answers(port).receive(random.Random(SEED + 2))
        finally:
            theirs.terminate()
    d = dynsec(path.read_text(), 'max_queued_messages 0\nfailed_logins_per_minute 0\n')
    got = list(Answers(d.broker.port).ask(random.Random(SEED + 1)))
    got += Answers(d.broker.port).receive(random.Random(SEED + 2))
    assert len(want) >= 10000
    for kind in 'publish', 'subscribe', 'unsubscribe', 'receive':
        yes = [a[3] for a in want if a[1] == kind]
        assert len(yes) > 1000 and any(yes) and not all(yes), kind
    differ = [(w, g) for w, g in zip(want, got, strict=True) if w != g]
    assert not differ, (len(differ), differ[:10])
