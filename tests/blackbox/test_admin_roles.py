# SPDX-License-Identifier: Apache-2.0
"""nightjar user, group and role on a running broker, through its administrative
socket; and completion in a shell."""
import json
import os
import shutil
import subprocess

import pytest

from harness import NIGHTJAR, PATIENCE
from raw import Raw

pytestmark = pytest.mark.ours
NOT_AUTHORIZED = 0x87


class Roles:
    """A broker with users of its own."""

    def __init__(self, brokers, folder):
        self.socket, self.secret = f'{folder}/a.sock', f'{folder}/secret'
        path = f'{folder}/dynsec/dynamic-security.json'
        os.mkdir(f'{folder}/dynsec')
        os.chmod(f'{folder}/dynsec', 0o777)
        with open(path, 'w', encoding='utf-8') as f:
            json.dump({'defaultACLAccess': {'publishClientSend': False,
                                            'publishClientReceive': True, 'subscribe': True,
                                            'unsubscribe': True},
                       'clients': [], 'groups': [], 'roles': []}, f)
        if os.geteuid() == 0:
            shutil.chown(path, 'nobody')
        os.chmod(path, 0o600)
        self.broker = brokers(f'dynamic_security_file {path}\nadmin_socket {self.socket}\n'
                              + ('user nobody\n' if os.geteuid() == 0 else ''), anonymous=False)

    def __call__(self, *args, status=0, password=None):
        argv = [NIGHTJAR, *args, '--socket', self.socket]
        if password:
            with open(self.secret, 'w', encoding='utf-8') as f:
                f.write(password + '\n')
            os.chmod(self.secret, 0o600)
            argv += ['--password-file', self.secret]
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        assert p.returncode == status, p.stdout
        return p.stdout


@pytest.fixture
def roles(brokers, tmp_path):
    return Roles(brokers, str(tmp_path))


def test_users_and_roles(roles):
    """What is changed holds at once."""
    roles('user', 'add', 'anna', password='pencil')
    assert roles('user', 'list') == 'anna\n'
    with Raw(roles.broker.port) as c:
        c.connect('c', username='anna', password='pencil')
        assert c.publish_acked('a/x', b'x', 1) == NOT_AUTHORIZED
        roles('role', 'add', 'writer')
        roles('role', 'rule-add', 'writer', 'publishClientSend', 'a/#', 'allow')
        roles('group', 'add', 'ops')
        roles('group', 'role-add', 'ops', 'writer', '--priority', '5')
        roles('group', 'member-add', 'ops', 'anna')
        assert c.publish_acked('a/x', b'x', 1) in (0, 0x10)
        shown = json.loads(roles('user', 'show', 'anna', '--json'))
        assert shown['data']['client']['groups'][0]['groupname'] == 'ops'
        roles('role', 'rule-remove', 'writer', 'publishClientSend', 'a/#')
        assert c.publish_acked('a/x', b'x', 1) == NOT_AUTHORIZED
    roles('user', 'password', 'anna', password='eraser')
    with Raw(roles.broker.port) as c:
        c.connect('c', want=NOT_AUTHORIZED, username='anna', password='pencil')
    with Raw(roles.broker.port) as c:
        c.connect('c', username='anna', password='eraser')
        roles('user', 'disable', 'anna')
        c.closed()
    assert 'not found' in roles('user', 'show', 'nobody', status=1).lower()
    roles('group', 'member-remove', 'ops', 'anna')
    roles('user', 'remove', 'anna')
    assert roles('user', 'list') == ''
    assert 'pencil' not in roles.broker.log() and 'eraser' not in roles.broker.log()


def test_wrong_words(roles):
    assert 'words are wanted' in roles('user', 'show', status=2)
    assert 'allow or deny' in roles('role', 'rule-add', 'r', 'publishClientSend', 'a', 'maybe', status=2)
    assert 'no terminal' in roles('user', 'add', 'x', status=2)


def test_broker_without_users(brokers, tmp_path):
    brokers(f'admin_socket {tmp_path}/a.sock\n')
    p = subprocess.run([NIGHTJAR, 'user', 'list', '--socket', f'{tmp_path}/a.sock'],
                       stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE)
    assert p.returncode == 1 and 'dynamic_security_file' in p.stderr


@pytest.mark.parametrize('line, want', [
    ('nightjar cl', ['clients']), ('nightjar clients l', ['list']),
    ('nightjar clients disconnect --fo', ['--forget']), ('nightjar user role-', ['role-add', 'role-remove']),
    ('nightjar acl explain --acl', ['--acl-file']), ('nightjar ca de', ['device', 'deny'])])
def test_completion(line, want, tmp_path):
    """A shell asks the program itself."""
    os.symlink(NIGHTJAR, os.path.join(str(tmp_path), 'nightjar'))
    words = line.split(' ')
    script = 'source <(nightjar completion bash)\nCOMP_WORDS=({})\nCOMP_CWORD={}\n_nightjar\n' \
        'printf "%s\\n" "${{COMPREPLY[@]}}"'.format(' '.join(f"'{w}'" for w in words), len(words) - 1)
    out = subprocess.run(['bash', '-c', script], stdout=subprocess.PIPE, text=True, check=True,
                         timeout=PATIENCE, env=dict(os.environ, PATH=f'{tmp_path}:' + os.environ['PATH']))
    assert sorted(out.stdout.split()) == sorted(want)
