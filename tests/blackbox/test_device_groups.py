# SPDX-License-Identifier: Apache-2.0
"""The groups of devices decide about topics, and changes of them hold at once,
for those who are connected and those who are away."""
import os
import shutil
import ssl

import pytest

import harness
import raw
from test_ca import Ca

pytestmark = pytest.mark.ours

ACL = '''
group pumps
topic readwrite pumps/#
group readers
topic read news/#
'''


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
    os.chmod(ca.path('acl'), 0o644)
    broker = harness.Broker(folder, f'''
listener {port}
cafile {folder}/pki/ca.crt
certfile {folder}/server/server.crt
keyfile {folder}/server/server.key
require_certificate true
use_identity_as_username true
acl_file {folder}/acl
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
