# SPDX-License-Identifier: Apache-2.0
"""Users, groups and roles that are changed while the broker runs, in the form
of Mosquitto's dynamic security: Debian's mosquitto_ctrl, commands as clients
send them, files that fail closed, rights that change under live sessions."""
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess

import pytest

from harness import HOST, PATIENCE, REFERENCE, free_port, wait_until
from raw import Closed, DISCONNECT, PUBACK, PUBLISH, Raw

CTRL = shutil.which('mosquitto_ctrl')
TOPIC = '$CONTROL/dynamic-security/v1'
RESPONSE = TOPIC + '/response'
NOT_AUTHORIZED = 0x87
ADMINISTRATIVE = 0x98
SERVES = next(u for n in ('nightjar', 'mosquitto', 'nobody')
              for u in pwd.getpwall() if u.pw_name == n)
# PBKDF2 of "adminpw" with 101 iterations, as mosquitto_ctrl dynsec init makes it.
ADMIN = {
    'username': 'admin', 'roles': [{'rolename': 'admin'}], 'iterations': 101,
    'salt': 'RppiZldZBxec4ImY',
    'password': 'JXHTgQGGm+7aYm/qGsOtaZdfl8+rSA/P4bq15A4EIb7cdWBJNGw9M0pMOHFCV3g7'
                'Z0zBdeJ+zWEnqF6TCyJHXQ==',
}
ADMIN_ACLS = [('publishClientSend', '$CONTROL/dynamic-security/#'),
              ('publishClientReceive', '$CONTROL/dynamic-security/#'),
              ('publishClientReceive', '$SYS/#'), ('publishClientReceive', '#'),
              ('subscribePattern', '$CONTROL/dynamic-security/#'),
              ('subscribePattern', '$SYS/#'), ('subscribePattern', '#'),
              ('unsubscribePattern', '#')]


def acl(kind, topic, allow=True, priority=0):
    return {'acltype': kind, 'topic': topic, 'allow': allow, 'priority': priority}


def user(name, *roles, **more):
    """Whose password is adminpw, whatever its name."""
    return {**ADMIN, 'username': name, 'roles': [{'rolename': r} for r in roles], **more}


def state(clients=(), roles=(), groups=(), **more):
    return {
        'defaultACLAccess': {'publishClientSend': False, 'publishClientReceive': True,
                             'subscribe': False, 'unsubscribe': True},
        'clients': [ADMIN, *clients],
        'groups': list(groups),
        'roles': [{'rolename': 'admin', 'acls': [acl(*a) for a in ADMIN_ACLS]}, *roles],
        **more}


class Dynsec:
    """A broker with such a file."""

    def __init__(self, brokers, folder, what, conf='', plugin=True):
        self.path = os.path.join(folder, 'dynamic-security.json')
        self.write(what)
        line = f'dynamic_security_file {self.path}\n'
        if plugin:
            line = ('plugin /usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so\n'
                    f'plugin_opt_config_file {self.path}\n')
        self.broker = brokers(line + conf)

    def write(self, what, mode=0o600):
        with open(self.path, 'w', encoding='utf-8') as f:
            f.write(what if isinstance(what, str) else json.dumps(what, indent=1))
        os.chmod(self.path, mode)
        if os.geteuid() == 0:
            # the broker gives up being root, and reads it again at a reload
            os.chown(self.path, SERVES.pw_uid, SERVES.pw_gid)

    def read(self):
        with open(self.path, encoding='utf-8') as f:
            return json.load(f)

    def client(self, name, client_id=None, version=5, password='adminpw', **kw):
        c = Raw(self.broker.port, version=version)
        c.connect(client_id or name, username=name, password=password, **kw)
        return c

    def admin(self):
        c = self.client('admin', 'the-admin')
        assert c.subscribe(RESPONSE, 1)[0] == 1
        return c


def commands(c, *cmds):
    """Their responses, without what they have in common."""
    c.publish(TOPIC, json.dumps({'commands': list(cmds)}), qos=1)
    acked = answer = None
    while acked is None or answer is None:
        p = c.recv()
        if p.kind == PUBACK:
            acked = p
        elif p.kind == PUBLISH and p.topic == RESPONSE:
            answer = json.loads(p.payload)
    return answer['responses']


def one(c, command, **members):
    r = commands(c, {'command': command, **members})
    assert len(r) == 1 and r[0]['command'] == command, r
    return r[0]


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
