# SPDX-License-Identifier: Apache-2.0
"""The groups of devices decide about topics, and changes of them hold at once,
for those who are connected and those who are away."""
import json
import os
import shutil
import ssl
import subprocess

import pytest

import harness
import raw
from dynsecs import acl, state, user
from madecerts import Maker, openssl, shows
from test_ca import Ca

pytestmark = pytest.mark.ours

ACL = '''
group pumps
topic readwrite pumps/#
group readers
topic read news/#
'''


STATE = state([user('p1', 'own')], [
    {'rolename': 'own', 'acls': [acl('publishClientSend', 'own/#'),
                                 acl('publishClientSend', 'pumps/denied', False)]},
    {'rolename': 'pumping', 'acls': [acl('publishClientSend', 'pumps/#'),
                                     acl('subscribePattern', 'pumps/#'),
                                     acl('publishClientReceive', 'pumps/secret/#', False)]}],
    [{'groupname': 'pumps', 'roles': [{'rolename': 'pumping'}]}])


@pytest.fixture
def site(base_folder, request):
    folder = os.path.join(base_folder, 'groups-' + request.node.name)
    os.mkdir(folder)
    ca = Ca(folder)
    ca('init')
    ca('server', 'localhost')
    ca('device', 'p1', '--group', 'pumps')
    ca('device', 'p2')
    port = harness.free_port()
    with open(ca.path('acl'), 'w', encoding='ascii') as f:
        f.write(ACL)
    os.chmod(ca.path('acl'), 0o600)
    with open(ca.path('users.json'), 'w', encoding='ascii') as f:
        json.dump(STATE, f)
    os.chmod(ca.path('users.json'), 0o600)
    rules = getattr(request, 'param', 'acl_file {}/acl').format(folder)
    if 'capath' in rules:
        ca.others = Maker(ca.path('others'), 'others')
    if 'certificate_rule' not in rules:
        rules += '\nuse_identity_as_username true'
    broker = harness.Broker(folder, f'''
listener {port}
cafile {folder}/pki/ca.crt
certfile {folder}/server/server.crt
keyfile {folder}/server/server.key
require_certificate true
{rules}
log_type all
user root
''', port)
    broker.start()
    yield ca, broker
    assert broker.stop() == 0
    assert broker.faults() == ''
    shutil.rmtree(folder)


def connect(site, name, **kw):
    ca, broker = site
    folder = ca.path('devices', name)
    ctx = ssl.create_default_context(cafile=ca.path('pki', 'ca.crt'))
    ctx.load_cert_chain(f'{folder}/client.crt', f'{folder}/client.key')
    c = raw.Raw(broker.port, tls=ctx)
    c.connect(name, **kw)
    return c


def may_publish(c, topic):
    return c.publish_acked(topic, b'x') < 0x80


def test_groups_hold_at_once(site):
    ca, broker = site
    p1, p2 = connect(site, 'p1'), connect(site, 'p2')
    assert may_publish(p1, 'pumps/1') and not may_publish(p2, 'pumps/1')

    def regroup(*args):
        mark = broker.log_size()
        ca('group', *args)
        broker.wait_log('other groups', mark)
    regroup('p2', 'pumps', 'readers')
    harness.wait_until(lambda: may_publish(p2, 'pumps/1'), 'p2 is a pump')
    regroup('p1', '--none')
    harness.wait_until(lambda: not may_publish(p1, 'pumps/1'), 'p1 is none')
    # A device that is made while the broker runs.
    mark = broker.log_size()
    ca('device', 'p3', '--group', 'pumps')
    broker.wait_log('other groups', mark)
    assert may_publish(connect(site, 'p3'), 'pumps/1')
    assert not may_publish(p1, 'pumps/1')


@pytest.mark.parametrize('site', ['dynamic_security_file {}/users.json'], indirect=True,
                         ids=['roles'])
def test_groups_of_certificates_have_roles(site):
    """The group in the CA's registry is the group of that name in dynamic
    security, for who is a user there and who is not; what a user's own role
    says goes first; a change holds at once."""
    ca, broker = site
    p1, p2 = connect(site, 'p1'), connect(site, 'p2')
    assert may_publish(p1, 'own/x') and may_publish(p1, 'pumps/1')
    assert not may_publish(p1, 'pumps/denied') and not may_publish(p1, 'else')
    assert not may_publish(p2, 'pumps/1')

    def regroup(*args):
        mark = broker.log_size()
        ca('group', *args)
        broker.wait_log('other groups', mark)
    assert p2.subscribe('pumps/#') == [0x87]
    regroup('p2', 'pumps')
    harness.wait_until(lambda: may_publish(p2, 'pumps/1'), 'p2 is a pump')
    assert p2.subscribe('pumps/#') == [0]
    assert may_publish(p1, 'pumps/secret/1') and may_publish(p1, 'pumps/open')
    assert p2.message().topic == 'pumps/open', 'what the role withholds is not delivered'
    regroup('p2', '--none')
    broker.wait_log("Subscription of p2 to 'pumps/#' ends: its rights have changed")
    assert may_publish(p1, 'pumps/2')
    assert p2.silent(0.2) is None
    assert not may_publish(p2, 'pumps/1')


@pytest.mark.parametrize('site', ['dynamic_security_file {0}/users.json\nacl_file {0}/acl',
                                  'dynamic_security_file {0}/users.json\npersistence true\n'
                                  'persistence_location {0}/'], indirect=True,
                         ids=['both', 'store'])
def test_explained_by_files(site):
    """What the files say of a device is what the broker does, whether it
    keeps its users in a file or in its store."""
    ca, broker = site

    def explained(*args):
        p = subprocess.run([harness.NIGHTJAR, 'acl', 'explain', '-c', broker.conf_path, *args],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False, timeout=harness.PATIENCE)
        return p.returncode, p.stdout
    for name, device in (('p1', ['--device', 'p1']), ('p2', ['--device', 'p2'])):
        c = connect(site, name)
        for topic in ('own/x', 'pumps/1', 'pumps/denied', 'else', 'news/1'):
            status, out = explained(*device, topic)
            assert status == (0 if may_publish(c, topic) else 1), (name, topic, out)
        c.close()
    assert "role 'pumping'" in explained('--device', 'p1', 'pumps/1')[1]
    assert explained('-u', 'p2', '--group', 'pumps', 'pumps/1')[0] == 0
    assert explained('-u', 'p2', 'pumps/1')[0] == 1
    assert explained('--token', '/none', 'x')[0] == 2
    # against the file of users alone
    p = subprocess.run([harness.NIGHTJAR, 'acl', 'explain', '--dynamic-security-file',
                        ca.path('users.json'), '-u', 'p1', 'own/x'], check=False,
                       stdout=subprocess.PIPE, text=True, timeout=harness.PATIENCE)
    assert p.returncode == 0 and "role 'own'" in p.stdout


@pytest.mark.parametrize('site', [
    'acl_file {0}/acl\ncapath {0}/others',
    'acl_file {0}/acl\ncapath {0}/others\ncertificate_rule ca {0}/pki/ca.crt device\n'
    'certificate_rule ca {0}/others/ca.crt cn'], indirect=True, ids=['cn', 'rules'])
def test_groups_are_not_another_cas_to_give(site):
    """Who else may issue certificates here may not say who is a device of our
    CA: not by its URI, nor by the common name alone."""
    ca, broker = site
    uri = next(w for w in openssl('x509', '-in', ca.path('devices', 'p1', 'client.crt'), '-noout',
                                  '-ext', 'subjectAltName', cwd='/').replace(',', ' ').split()
               if w.startswith('URI:urn:nightjar:'))
    assert may_publish(connect(site, 'p1'), 'pumps/1')
    for n, pair in enumerate((ca.others.issue('/CN=partner', uri), ca.others.issue('/CN=p1'))):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with raw.Raw(broker.port, tls=shows(ca.path('pki', 'ca.crt'), pair, version)) as c:
                c.connect(('partner', 'p1:x')[n])
                assert not may_publish(c, 'pumps/1'), (pair, version)
