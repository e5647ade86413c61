# SPDX-License-Identifier: Apache-2.0
"""With persistence, users, groups and roles are in the store: the JSON file is
taken over once, each change is on disk before it is answered, and files are
imported and exported by a command."""
import glob
import json
import os
import resource
import signal
import subprocess

import pytest

from dynsecs import RESPONSE, SERVES, Dynsec, acl, commands, one, state, user
from harness import NIGHTJAR, PATIENCE, wait_until
from raw import CONNACK, Raw, connect_packet

pytestmark = pytest.mark.ours

READER = {'rolename': 'reader', 'acls': [acl('subscribePattern', 'a/#')]}


@pytest.fixture
def stored(brokers, tmp_path):
    """A broker whose folder is its persistence_location."""
    def start(what, conf='', **kw):
        where = tmp_path / 'store'
        where.mkdir(exist_ok=True)
        if os.geteuid() == 0 and 'user root' not in conf:
            os.chown(where, SERVES.pw_uid, SERVES.pw_gid)
        os.chmod(tmp_path, 0o755)
        return Dynsec(brokers, str(tmp_path), what,
                      f'persistence true\npersistence_location {where}/\n'
                      f'admin_socket {where}/admin.sock\n' + conf, **kw)
    return start


def nightjar(d, *args, status=0):
    p = subprocess.run([NIGHTJAR, *args, '--socket', os.path.join(
        os.path.dirname(d.path), 'store', 'admin.sock')], capture_output=True, text=True,
        timeout=PATIENCE, check=False)
    assert p.returncode == status, (args, p.returncode, p.stdout, p.stderr)
    return p.stdout + p.stderr


def refused(d, name, password='adminpw'):
    with Raw(d.broker.port, version=5) as c:
        c.send(connect_packet(name, username=name, password=password, version=5))
        return c.expect(CONNACK).code


def kill(d):
    d.broker.process.send_signal(signal.SIGKILL)
    d.broker.process.wait()


@pytest.mark.parametrize('killed', [True, False])
def test_what_was_answered_is_kept(stored, killed):
    """Every command that changes something, then the end, at once."""
    d = stored(state([user('u1', 'reader'), user('gone')], [READER, {'rolename': 'dead', 'acls': []}],
                     [{'groupname': 'g', 'clients': [{'username': 'u1', 'priority': 4}],
                       'roles': [{'rolename': 'dead'}]}], anonymousGroup='g', other={'kept': 1}))
    d.broker.wait_log(r'3 users, 1 groups and 3 roles of .* are in the store from now on')
    before = d.read()
    with d.admin() as c:
        one(c, 'createClient', username='neu', password='pw1', clientid='neu-1', textname='N',
            groups=[{'groupname': 'g', 'priority': 7}], roles=[{'rolename': 'reader', 'priority': 2}])
        one(c, 'setClientPassword', username='u1', password='pw2')
        one(c, 'deleteClient', username='gone')
        one(c, 'deleteRole', rolename='dead')
        one(c, 'createRole', rolename='writer', acls=[acl('publishClientSend', 'w/#', True, 3)],
            allowwildcardsubs=False)
        one(c, 'createGroup', groupname='h', roles=[{'rolename': 'writer'}])
        one(c, 'addGroupClient', groupname='h', username='neu')
        one(c, 'setAnonymousGroup', groupname='h')
        one(c, 'setDefaultACLAccess', acls=[{'acltype': 'subscribe', 'allow': True}])
        one(c, 'disableClient', username='u1')
        want = [one(c, 'listClients', verbose=True), one(c, 'listGroups', verbose=True),
                one(c, 'listRoles', verbose=True), one(c, 'getAnonymousGroup'),
                one(c, 'getDefaultACLAccess')]
        if killed:
            kill(d)
    if not killed:
        d.broker.stop()
    assert d.read() == before, 'the file is not written'
    os.unlink(d.path)           # nor needed
    checked = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', d.broker.conf_path],
                             capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert checked.returncode == 0, checked.stderr
    d.broker.start()
    with d.admin() as c:
        assert [one(c, 'listClients', verbose=True), one(c, 'listGroups', verbose=True),
                one(c, 'listRoles', verbose=True), one(c, 'getAnonymousGroup'),
                one(c, 'getDefaultACLAccess')] == want
    d.client('neu', 'neu-1', password='pw1').close()
    assert refused(d, 'u1', 'pw2') == 0x87 and refused(d, 'gone') == 0x87
    text = json.loads(nightjar(d, 'role', 'export'))
    assert text['other'] == {'kept': 1}
    d.broker.stop()


def test_each_answer_by_itself(stored):
    """The broker is killed right after an answer, again and again: all that
    were answered are there, and nothing that was not asked for."""
    d = stored(state())
    made = []
    for i in range(8):
        with d.admin() as c:
            for k in range(3):
                assert 'error' not in one(c, 'createClient', username=f'u{i}.{k}')
                made.append(f'u{i}.{k}')
            kill(d)
        d.broker.start()
        with d.admin() as c:
            assert sorted(one(c, 'listClients')['data']['clients']) == sorted(['admin'] + made)


def test_the_file_is_read_once(stored):
    """What wins is what is in the store, and the log says so; role import
    makes the file win."""
    d = stored(state([user('old')]))
    d.broker.stop()
    d.write(state([user('neu')]))
    d.broker.start()
    d.broker.wait_log(r'has changed since .* taken over into the store, and it is not read.*'
                      r'nightjar role import ')
    assert refused(d, 'neu') == 0x87
    d.client('old').close()
    c = d.client('old')
    start = d.broker.log_size()
    d.broker.hup()
    d.broker.wait_log('Reloaded', start)
    out = nightjar(d, 'role', 'import', d.path)
    assert '2 users, 0 groups and 1 roles are in force' in out
    assert c.wait_for(14).code == 0x98, 'who is gone is disconnected'
    d.client('neu').close()
    assert refused(d, 'old') == 0x87
    kill(d)
    d.broker.start()
    d.client('neu').close()
    assert refused(d, 'old') == 0x87
    start = d.broker.log_size()
    d.broker.hup()
    d.broker.wait_log('Reloaded', start)
    assert 'has changed' not in d.broker.log(start)



def test_subscriptions_end_with_the_right_to_them(stored):
    """Also those of groups, and for ever: a restart does not bring them back."""
    d = stored(state([user('u', 'reader')], [READER]))
    mine = ['a/x', '$share/g/a/1', '$share/g/a/2', '$share/h/a/1', 'a/y']
    with d.client('u', props={'session_expiry': 1000}) as u, d.admin() as c:
        assert u.subscribe(*mine, qos=1) == [1] * len(mine)
        one(c, 'removeRoleACL', rolename='reader', acltype='subscribePattern', topic='a/#')
        d.broker.wait_log(r"Subscription of u to '\$share/h/a/1' ends")
        u.publish_acked('none')
    d.broker.stop()
    d.broker.start()
    assert json.loads(nightjar(d, 'clients', 'show', 'u', '--json'))['subscriptions'] == 0


@pytest.mark.parametrize('text, mode, why', [
    ('{"clients": [', 0o600, 'no JSON'), ('', 0o600, 'the file is empty'),
    (json.dumps(state()), 0o644, 'chmod 0600'), (None, 0, 'No such file')],
    ids=['malformed', 'empty', 'exposed', 'missing'])
def test_files_that_are_not_taken_over(stored, tmp_path, brokers, text, mode, why):
    """Refused at the first start; and by an import, which changes nothing."""
    d = stored(state([user('u')]))
    other = tmp_path / 'other.json'
    if text is not None:
        other.write_text(text)
        other.chmod(mode)
        if os.geteuid() == 0:
            os.chown(other, SERVES.pw_uid, SERVES.pw_gid)
        assert why in nightjar(d, 'role', 'import', str(other), status=1)
    d.client('u').close()
    d.broker.stop()
    for f in glob.glob(str(tmp_path / 'store' / '*')):
        os.unlink(f)
    b = brokers(f'dynamic_security_file {other}\npersistence true\n'
                f'persistence_location {tmp_path}/store/\n', anonymous=False, start=False)
    b.refuses(why)
    # with what it has in the store the file does not matter
    d.broker.start()
    d.broker.stop()
    d.write('{"clients": [')
    d.broker.start()
    d.client('u').close()


def test_without_persistence_it_is_the_file(dynsec_file):
    d = dynsec_file(state())
    with d.admin() as c:
        one(c, 'createClient', username='neu')
    kill(d)
    d.broker.start()
    assert [u['username'] for u in d.read()['clients']] == ['admin', 'neu']


@pytest.fixture
def dynsec_file(brokers, tmp_path):
    def start(what):
        return Dynsec(brokers, str(tmp_path), what)
    return start


def test_disk_is_full(stored):
    """What cannot be kept does not hold, and is answered so; the broker goes
    on, and takes the next when there is room."""
    d = stored(state(), 'user root\n' if os.geteuid() == 0 else '')
    with d.admin() as c:
        one(c, 'createClient', username='a')
        limit = max(os.path.getsize(f) for f in glob.glob(os.path.dirname(d.path) + '/store/*'))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.prlimit(d.broker.pid, resource.RLIMIT_FSIZE, (limit + 4096, hard))
        r = None
        for i in range(40):
            r = one(c, 'createClient', username=f'b{i}', textdescription='x' * 4000)
            if 'error' in r:
                break
        assert r['error'] == 'Internal error', r
        assert f'b{i}' not in one(c, 'listClients')['data']['clients']
        resource.prlimit(d.broker.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_until(lambda: 'error' not in one(c, 'createClient', username='after'), 'room again')
    kill(d)
    d.broker.start()
    with d.admin() as c:
        names = one(c, 'listClients')['data']['clients']
    assert 'after' in names and f'b{i}' not in names


def test_export_is_read_by_mosquitto_and_us(stored, tmp_path):
    d = stored(state([user('u1', 'reader')], [READER],
                     [{'groupname': 'g', 'clients': [{'username': 'u1'}], 'roles': []}]))
    out = tmp_path / 'out.json'
    nightjar(d, 'role', 'export', '--output', str(out))
    assert os.stat(out).st_mode & 0o777 == 0o600
    text = json.loads(out.read_text())
    assert {c['username'] for c in text['clients']} == {'admin', 'u1'}
    assert text['groups'][0]['clients'] == [{'username': 'u1'}]
    assert 'password' in text['clients'][1]
    assert 'groups' not in text['clients'][1]
    if os.geteuid() == 0:
        os.chown(out, SERVES.pw_uid, SERVES.pw_gid)
    nightjar(d, 'role', 'import', str(out))
    assert json.loads(nightjar(d, 'role', 'export')) == {**text, 'changeIndex': 1}
    assert 'one file is wanted' in nightjar(d, 'role', 'import', status=2)


def test_a_reload_brings_another_file(stored, tmp_path):
    """Another path is another set of users, taken over when it is first seen."""
    d = stored(state([user('u1')]))
    other = Dynsec.__new__(Dynsec)
    other.path = str(tmp_path / 'second.json')
    other.write(state([user('u2')]))
    with open(d.broker.conf_path, encoding='utf-8') as f:
        conf = f.read()
    d.broker.write_conf(conf.replace(d.path, other.path))
    start = d.broker.log_size()
    d.broker.hup()
    d.broker.wait_log('Reloaded', start)
    d.client('u2').close()
    assert refused(d, 'u1') == 0x87
    with d.admin() as c:
        assert c.subscribe(RESPONSE) == [0]
        assert commands(c, {'command': 'createClient', 'username': 'u3'})[0].get('error') is None
    d.broker.write_conf(conf)
    start = d.broker.log_size()
    d.broker.hup()
    d.broker.wait_log('Reloaded', start)
    d.client('u1').close()
    assert refused(d, 'u2') == 0x87
