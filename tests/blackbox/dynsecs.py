# SPDX-License-Identifier: Apache-2.0
"""Brokers with users, groups and roles of their own (dynamic security), and
commands to them as clients send them."""
import json
import os
import pwd

from raw import PUBACK, PUBLISH, Raw

TOPIC = '$CONTROL/dynamic-security/v1'
RESPONSE = TOPIC + '/response'
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
        self.broker = brokers(line + conf, anonymous=False)

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
        c = self.client('admin', 'the-admin', keepalive=3600)	# it may say nothing for long
        assert c.subscribe(RESPONSE, qos=1) == [1]
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
