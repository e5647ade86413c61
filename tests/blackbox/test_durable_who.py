# SPDX-License-Identifier: Apache-2.0
"""What a kill -9 leaves of who may do what: clients with certificates, rules that are
others when the broker is back, sessions that end by themselves."""
import os
import ssl
import time

import pytest

import certs
from durable import CONF, FOREVER
from harness import paced
from pahoc import tls_context
from raw import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Raw

pytestmark = pytest.mark.ours
NOT_AUTHORIZED = 0x87


@pytest.fixture(scope='module')
def pki(base_folder):
    return certs.Authority(os.path.join(base_folder, 'who-ca'))


@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_certificates(brokers, pki, version):
    """A session is its client's in the next life as well: who comes with another
    certificate does not get it, nor what waits in it."""
    crt, key = pki.issue('server', 'server')
    b = brokers(f'{CONF}cafile {pki.ca}\ncertfile {crt}\nkeyfile {key}\nrequire_certificate true\n'
                'use_identity_as_username true\n', anonymous=False)
    alice, bob = (tls_context(pki.ca, *pki.issue(n)) for n in ('alice', 'bob'))
    for ctx in alice, bob:
        ctx.minimum_version = ctx.maximum_version = version
    s = Raw(b.port, tls=alice)
    s.connect('device', clean=False, props=FOREVER)
    s.subscribe('a/#', qos=2)
    p = Raw(b.port, tls=bob)
    p.connect('pub', clean=False, props=FOREVER)
    for i in range(20):
        assert p.publish_acked('a/b', b'%d' % i, qos=1 + i % 2) == 0
    half = p.publish('a/half', b'half', qos=2)
    p.expect(PUBREC)
    first = s.expect(PUBLISH)
    b.kill()
    b.start()
    with Raw(b.port, tls=bob) as thief:
        assert not thief.connect('thief', clean=False, props=FOREVER).session_present
    with Raw(b.port, tls=bob) as thief:
        thief.connect('device', want=0x85, clean=False, props=FOREVER)
    with Raw(b.port, tls=bob) as p:
        assert p.connect('pub', clean=False, props=FOREVER).session_present
        p.publish('a/half', b'half', qos=2, mid=half, dup=True)
        p.expect(PUBREC)
        p.ack(PUBREL, half)
        p.expect(PUBCOMP)
    with Raw(b.port, tls=alice) as s:
        assert s.connect('device', clean=False, props=FOREVER).session_present
        again = s.expect(PUBLISH)
        assert (again.mid, again.payload, again.dup) == (first.mid, first.payload, True)
        s.ack(PUBACK if again.qos == 1 else PUBREC, again.mid)
        got = [again.payload]
        while len(got) < 21:
            m = s.recv()
            if m.kind == PUBREL:
                s.ack(PUBCOMP, m.mid)
                continue
            got.append(m.payload)
            s.ack(PUBACK if m.qos == 1 else PUBREC, m.mid)
        assert sorted(got) == sorted([b'half', *(b'%d' % i for i in range(20))])


def test_rules_that_changed_while_it_was_down(brokers, tmp_path):
    """What was queued, retained or left as a will before goes by the rules that hold
    when it would be sent."""
    acl = tmp_path / 'acl'
    acl.write_text('topic readwrite a/#\ntopic readwrite b/#\n')
    b = brokers(f'{CONF}acl_file {acl}\n')
    with Raw(b.port) as s:
        s.connect('sub', clean=False, props=FOREVER)
        s.subscribe('a/#', qos=2)
        s.subscribe('b/#', qos=2)
    held = [Raw(b.port), Raw(b.port)]
    held[0].connect('will-a', will=('a/will', b'a', 1))
    held[1].connect('will-b', will=('b/will', b'b', 1))
    with Raw(b.port) as p:
        p.connect('pub')
        for t in 'a', 'b':
            for qos in 1, 2:
                assert p.publish_acked(f'{t}/{qos}', t.encode(), qos=qos) == 0
            p.publish_acked(f'{t}/kept', t.encode(), qos=1, retain=True)
    b.kill()
    acl.chmod(0o600)
    acl.write_text('topic readwrite a/#\n')
    b.start()
    with Raw(b.port) as s:
        assert s.connect('sub', clean=False, props=FOREVER).session_present
        assert sorted(s.message().topic for _ in range(4)) == ['a/1', 'a/2', 'a/kept', 'a/will']
        s.silent(0.3)
        assert s.publish_acked('b/3', b'no') == NOT_AUTHORIZED
        s.subscribe('+/kept', qos=1)
        assert s.message().topic == 'a/kept'
        s.silent(0.2)
    # and the other way round: who may again is sent what comes from then on
    b.kill()
    acl.write_text('topic readwrite a/#\ntopic readwrite b/#\n')
    b.start()
    with Raw(b.port) as s:
        assert s.connect('sub', clean=False, props=FOREVER).session_present
        assert s.publish_acked('b/4', b'yes') == 0
        while (m := s.message()).topic != 'b/4':
            assert m.dup, m


@pytest.mark.parametrize('version', [3, 4])
@pytest.mark.parametrize('expires, comes', [('1s', False), ('1d', True)])
@paced
def test_persistent_client_expiration(brokers, version, expires, comes, pace):
    """It counts while the broker is dead, from when the client went, and that is on its
    way to the disk before it is killed."""
    b = brokers(f'{CONF}persistent_client_expiration {expires}\nthreads 2\n')
    with Raw(b.port, version=version) as c:
        c.connect('device', clean=False)
        c.subscribe('a', qos=1)
        c.disconnect()
    b.wait_log('Client device disconnected')
    time.sleep(0.02 * pace)
    with Raw(b.port, version=version) as p:
        p.connect('pub')
        # what is queued for it is on disk behind that it went
        p.publish_acked('a', b'x', qos=1)
    b.kill()
    time.sleep(1.1)
    b.start()
    with Raw(b.port, version=version) as c:
        ack = c.connect('device', clean=False)
        assert version == 3 or ack.session_present == comes
        if comes:
            assert c.message().payload == b'x'
        c.silent(0.2)
