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
        argv = [NIGHTJAR, *args, '--socket', self.socket, '--timeout', '120']
        if password:
            with open(self.secret, 'w', encoding='utf-8') as f:
                f.write(password + '\n')
            os.chmod(self.secret, 0o600)
            argv += ['--password-file', self.secret]
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False, timeout=2 * PATIENCE, stdin=subprocess.DEVNULL)
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


def test_all_that_there_is(roles):
    """What dynamic security can hold can be said, and is shown."""
    roles('role', 'add', 'reader', '--text-name', 'Reads', '--allow-wildcards', 'no')
    roles('role', 'rule-add', 'reader', 'subscribePattern', 'a/#', 'allow', '--priority', '-3')
    roles('role', 'rule-add', 'reader', 'subscribePattern', 'a/b', 'deny', '--priority', '2')
    assert roles('role', 'show', 'reader') == (
        'role:         reader\ncalled:       Reads\nwildcards:    not in subscriptions that it allows\n'
        'rules:        in the order of asking, for each kind\n'
        '    deny  subscribePattern     a/b  (priority 2)\n'
        '    allow subscribePattern     a/#  (priority -3)\n')
    roles('role', 'modify', 'reader', '--allow-wildcards', 'yes', '--text-description', 'of a')
    assert 'wildcards' not in roles('role', 'show', 'reader')
    roles('group', 'add', 'guests', '--text-name', 'Guests')
    roles('group', 'role-add', 'guests', 'reader')
    assert roles('group', 'anonymous') == 'There is none.\n'
    roles('group', 'anonymous', 'guests')
    assert roles('group', 'anonymous') == 'guests\n'
    roles('user', 'add', 'cert', '--no-password', '--client-id', 'c1', '--text-description', 'by certificate')
    roles('user', 'role-add', 'cert', 'reader', '--priority', '7')
    roles('group', 'member-add', 'guests', 'cert')
    roles('user', 'disable', 'cert')
    assert roles('user', 'show', 'cert') == (
        'user:         cert\nabout:        by certificate\nmay log in:   no, it is disabled\n'
        'client id:    c1\nroles:        reader (priority 7)\ngroups:       guests\nconnected:    none\n')
    roles('user', 'modify', 'cert', '--client-id', '', '--text-name', 'Device')
    shown = json.loads(roles('user', 'show', 'cert', '--json'))['data']['client']
    assert 'clientid' not in shown and shown['textname'] == 'Device'
    assert roles('group', 'show', 'guests') == (
        'group:        guests\ncalled:       Guests\nroles:        reader\nmembers:      cert\n')
    assert 'allow subscribe\n' in roles('role', 'default')
    roles('role', 'default', 'subscribe', 'deny')
    assert 'deny  subscribe\n' in roles('role', 'default')
    roles('user', 'add', 'next', password='x')
    assert roles('user', 'list', '--count', '1', '--offset', '1') == 'next\n'
    assert roles('user', 'list', '--verbose').count('may log in:') == 2
    assert roles('role', 'count').startswith('2 users, 1 groups and 1 roles')
    # of the listener that is asked about, and no other
    assert roles('user', 'list', '--listener', str(roles.broker.port)) == 'cert\nnext\n'
    roles('user', 'list', '--listener', '1', status=1)


@pytest.mark.parametrize('words', [
    ('user', 'list', '--priority', '3'), ('user', 'show', 'x', '--count', '1'), ('user', 'modify', 'x'),
    ('role', 'add', 'x', '--allow-wildcards', 'maybe'), ('role', 'default', 'subscribe'),
    ('role', 'default', 'subscribePattern', 'deny'), ('role', 'default', 'subscribe', 'maybe'),
    ('group', 'anonymous', 'a', 'b')])
def test_what_a_verb_does_not_take(roles, words):
    roles(*words, status=2)


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
    ('nightjar user modify --text', ['--text-name', '--text-description']),
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
