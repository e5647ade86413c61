# SPDX-License-Identifier: Apache-2.0
"""The first administrator: where there is no dynamic-security.json yet it is
made, as Mosquitto 2.1 makes it, with the password that a file has."""
import json
import os
import stat
import subprocess

import pytest

from dynsecs import RESPONSE, SERVES, TOPIC, acl, state
from harness import HOST, NIGHTJAR, PATIENCE
from raw import CONNACK, Raw, connect_packet

pytestmark = pytest.mark.ours

NOT_AUTHORIZED = 0x87

SO = '/usr/lib/x86_64-linux-gnu/mosquitto_dynamic_security.so'
FORMS = {
    'ours': 'dynamic_security_file {file}\ndynamic_security_password_file {password}\n',
    'plugin': f'plugin {SO}\nplugin_opt_password_init_file {{password}}\nplugin_opt_config_file {{file}}\n',
    'auth_plugin': f'auth_plugin {SO}\nauth_opt_config_file {{file}}\nauth_opt_password_init_file {{password}}\n',
    'global_plugin': f'per_listener_settings true\nglobal_plugin {SO}\nplugin_opt_config_file {{file}}\n'
                     'plugin_opt_password_init_file {password}\n',
    'plugin_load': f'plugin_load d {SO}\nplugin_opt_config_file {{file}}\n'
                   'plugin_opt_password_init_file {password}\nplugin_use d\n',
}


class Place:
    """A folder of who serves, with a password and no users."""

    def __init__(self, folder):
        self.folder = folder / 'data'
        self.folder.mkdir()
        if os.geteuid() == 0:
            os.chown(self.folder, SERVES.pw_uid, SERVES.pw_gid)
        os.chmod(folder, 0o755)
        self.file = self.folder / 'dynamic-security.json'
        self.password = folder / 'first'
        self.say(b'the first password \n')

    def say(self, text, mode=0o600):
        self.password.write_bytes(text)
        self.password.chmod(mode)

    def conf(self, form='ours', more=''):
        return FORMS[form].format(file=self.file, password=self.password) + more


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def code(b, password, user='admin'):
    with Raw(b.port, version=5) as c:
        c.send(connect_packet('c', username=user, password=password, version=5))
        return c.expect(CONNACK).code


def command(b, **what):
    with Raw(b.port, version=5) as c:
        c.connect('the-admin', username='admin', password='the first password')
        assert c.subscribe(RESPONSE, qos=1) == [1]
        c.publish_acked(TOPIC, json.dumps({'commands': [what]}).encode(), 1)
        return json.loads(c.message().payload)['responses'][0]


def test_config(b):
    p = subprocess.run([NIGHTJAR, 'serve', '--test-config', '-c', b.conf_path],
                       capture_output=True, text=True, timeout=PATIENCE, check=False)
    return p.returncode, p.stderr


test_config.__test__ = False


@pytest.mark.parametrize('form', list(FORMS))
def test_whichever_line_says_it(brokers, place, form):
    place.password.unlink()
    b = brokers(place.conf(form), anonymous=False, start=False)
    b.refuses(f'{place.password}: No such file')


def test_is_made(brokers, place):
    """Once, so that the password's file may go; by who only looks never."""
    b = brokers(place.conf('plugin_load'), anonymous=False, start=False)
    assert test_config(b)[0] == 0 and not place.file.exists()
    b.start()
    assert code(b, 'the first password ') >= 0x86
    st = place.file.stat()
    assert stat.S_IMODE(st.st_mode) == 0o600
    assert os.geteuid() != 0 or st.st_uid == SERVES.pw_uid
    assert 'the first password' not in place.file.read_text() + b.log()
    assert 'error' not in command(b, command='setClientPassword', username='admin', password='second')
    b.kill()
    place.password.unlink()
    b.start()
    assert code(b, 'second') == 0


def test_what_is_in_it(brokers, place):
    """Mosquitto's names and rights: the administrator commands and reads, a
    client with the role of that name uses topics, who has no name nothing."""
    b = brokers(place.conf(more='allow_anonymous true\n'), anonymous=False)
    b.wait_log(' running')
    made = json.loads(place.file.read_text())
    assert made['defaultACLAccess'] == state()['defaultACLAccess']
    assert made['anonymousGroup'] == 'unauthenticated'
    assert [g['groupname'] for g in made['groups']] == ['unauthenticated']
    assert {r['rolename'] for r in made['roles']} == {
        'client', 'broker-admin', 'dynsec-admin', 'super-admin', 'sys-notify', 'sys-observe', 'topic-observe'}
    assert [(c['username'], {r['rolename'] for r in c['roles']}) for c in made['clients']] == [
        ('admin', {'super-admin', 'sys-observe', 'topic-observe'})]
    rights = {r['rolename']: {(a['acltype'], a['topic']) for a in r['acls']} for r in made['roles']}
    whole = ('publishClientSend', 'publishClientReceive', 'subscribePattern', 'unsubscribePattern')
    for role, topic in (('client', '#'), ('super-admin', '$CONTROL/#'), ('broker-admin', '$CONTROL/broker/#'),
                        ('dynsec-admin', '$CONTROL/dynamic-security/#')):
        assert rights[role] == {(a, topic) for a in whole}
    assert acl('publishClientSend', '$SYS/broker/connection/%c/state').items() <= \
        next(r for r in made['roles'] if r['rolename'] == 'sys-notify')['acls'][0].items() | {('priority', 0)}
    command(b, command='createClient', username='dev', password='p', roles=[{'rolename': 'client'}])
    with Raw(b.port, version=5) as dev, Raw(b.port, version=5) as admin, Raw(b.port, version=5) as nobody:
        dev.connect('dev', username='dev', password='p')
        admin.connect('a', username='admin', password='the first password')
        nobody.connect('n')
        assert admin.subscribe('#', qos=1) == [1] and admin.subscribe('$SYS/#', qos=0) == [0]
        assert nobody.publish_acked('x', b'', 1) == NOT_AUTHORIZED
        assert nobody.subscribe('x', qos=1)[0] >= 0x80
        assert admin.publish_acked('x', b'', 1) == NOT_AUTHORIZED
        assert dev.publish_acked('x', b'', 1) in (0, 0x10)
        assert dev.publish_acked(TOPIC, b'{}', 1) == NOT_AUTHORIZED


def test_in_the_store(brokers, place):
    """With persistence no file is made, and what the store has holds."""
    store = f'persistence true\npersistence_location {place.folder}/\n'
    b = brokers(place.conf(more=store), anonymous=False)
    assert code(b, 'the first password') == 0 and not place.file.exists()
    assert 'error' not in command(b, command='setClientPassword', username='admin', password='second')
    b.kill()
    place.password.unlink()
    b.start()
    assert code(b, 'second') == 0 and not place.file.exists()


@pytest.mark.parametrize('store', ['', 'persistence true\n'])
@pytest.mark.parametrize('text, mode, says', [
    (None, 0, 'No such file'), (b'', 0o600, 'first line of .* is empty'),
    (b' \t\nx\n', 0o600, 'is no password'), (b'a\0b\n', 0o600, 'is no password'),
    (b'p\n', 0o644, 'is open to other users'), (b'p\n', 0o640, 'is open to other users')])
def test_what_is_refused(brokers, place, text, mode, says, store):
    if text is None:
        place.password.unlink()
    else:
        place.say(text, mode)
    store = store and store + f'persistence_location {place.folder}/\n'
    b = brokers(place.conf(more=store), anonymous=False, start=False)
    assert test_config(b)[0] != 0
    b.refuses(says)
    assert not place.file.exists()


def test_only_what_is_missing_is_made(brokers, place):
    """A file that cannot be read is no reason for a new administrator."""
    place.file.write_text('')
    place.file.chmod(0o600)
    b = brokers(place.conf(), anonymous=False, start=False)
    b.refuses('is empty|empty')
    assert place.file.read_text() == ''
    place.file.unlink()
    place.file.symlink_to(place.folder / 'nothing')
    b.refuses('symbolic link')
    assert not (place.folder / 'nothing').exists()


def test_at_a_reload(brokers, place):
    """Where the line is new the file is made for who serves by then."""
    b = brokers('', anonymous=True)
    if os.geteuid() == 0:
        os.chown(place.password, SERVES.pw_uid, SERVES.pw_gid)
    with open(b.conf_path, encoding='utf-8') as f:
        old = f.read()
    b.write_conf(f'listener {b.port} {HOST}\n' + place.conf())
    assert 'allow_anonymous' in old
    b.hup()
    b.wait_log(r'Reloaded\.')
    assert code(b, 'the first password') == 0 and code(b, 'x') >= 0x86


@pytest.mark.parametrize('conf, says', [
    ('dynamic_security_password_file /x\n', 'dynamic_security_password_file without'),
    ('plugin /lib/mosquitto_acl_file.so\nplugin_opt_acl_file /x\nplugin_opt_password_init_file /x\n',
     "has no option 'password_init_file'")])
def test_where_it_means_nothing(brokers, conf, says):
    b = brokers(conf, anonymous=False, start=False)
    b.refuses(says)
