# SPDX-License-Identifier: Apache-2.0
"""nightjar doctor: the steps of a connection, whose fault it is when one
fails, and what the broker wrote down of it."""
import json
import os
import subprocess

import pytest

import pahoc
import proxyraw
from harness import HOST, NIGHTJAR, free_port, preload
from raw import Raw, connect_packet

pytestmark = pytest.mark.ours

KEY = 'a1b2c3d4' * 8


class Doctor:
    """One broker of three listeners (mutual TLS, TLS, plain) and its record."""

    def __init__(self, factory, pki, folder):
        self.socket = os.path.join(folder, 'admin.sock')
        self.plain, self.tls, self.psk, self.proxy = (free_port() for _ in range(4))
        keys = os.path.join(folder, 'keys')
        with open(keys, 'w', encoding='ascii') as f:
            f.write(f'sensor:{KEY}\n')
        os.chmod(keys, 0o600)
        os.chmod(folder, 0o755)
        root = 'user root\n' if os.geteuid() == 0 else ''
        passwords = os.path.join(folder, 'passwords')
        subprocess.run([NIGHTJAR, 'passwd', '-c', '-b', passwords, 'joe', 'secret'], check=True,
                       stdout=subprocess.DEVNULL)
        acl = os.path.join(folder, 'acl')
        with open(acl, 'w', encoding='ascii') as f:
            f.write('user alice\ntopic readwrite #\nuser joe\ntopic readwrite joe/#\n'
                    'topic write only/write\n')
        self.broker = factory(
            f'{root}admin_socket {self.socket}\npsk_file {keys}\npassword_file {passwords}\nacl_file {acl}\n'
            f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n'
            'require_certificate true\nuse_identity_as_username true\n'
            f'listener {self.tls} {HOST}\ncertfile {pki.server[0]}\nkeyfile {pki.server[1]}\n'
            f'listener {self.plain} {HOST}\n'
            f'listener {self.psk} {HOST}\npsk_hint x\nuse_identity_as_username true\n'
            f'listener {self.proxy} {HOST}\nenable_proxy_protocol 2\ncertfile {pki.server[0]}\n'
            f'keyfile {pki.server[1]}\n',
            extra_ports=[self.plain, self.tls, self.psk, self.proxy], anonymous=False)
        self.mutual = self.broker.port

    def run(self, *args, check=None, days=0):
        """days: how far ahead the doctor's calendar is."""
        done = subprocess.run([NIGHTJAR, 'doctor', *map(str, args), '--socket', self.socket],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60, check=False,
                              env=dict(os.environ, **preload(days)) if days else None)
        if check is not None:
            assert done.returncode == check, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()

    def json(self, *args, **kw):
        return json.loads(self.run(*args, '--json', **kw))

    def refused(self):
        return json.loads(self.run('--last', '--json', check=0))['refused']


@pytest.fixture(scope='module')
def doctor(base_folder, pki, tmp_path_factory):
    from conftest import Factory
    factory = Factory(base_folder)
    yield Doctor(factory, pki, str(tmp_path_factory.mktemp('doctor')))
    factory.finish()


def test_all_is_well(doctor, pki):
    mine = ['--cafile', pki.ca, '--cert', pki.client[0], '--key', pki.client[1]]
    r = doctor.json(f'localhost:{doctor.mutual}', *mine)
    assert r['verdict'] == 'doubtful', r    # certificates of 30 days
    steps = {s['step'] for s in r['steps'] if s['state'] == 'ok'}
    assert {'name', 'TCP', 'protocol', 'TLS', 'certificate', 'client', 'login', 'subscribe',
            'publish'} <= steps
    r = doctor.json('-h', 'localhost', '-p', doctor.plain, '-u', 'joe', '-P', 'secret',
                    '-t', 'joe/x')
    assert (r['verdict'], r['refused_by']) == ('fine', ''), r


@pytest.mark.parametrize('args, who, what, mend', [
    (['--cafile', '{ca}'], 'broker', 'no certificate', 'nightjar ca device'),
    ([], 'client', 'no --cafile', '--cafile'),
    (['--cafile', '{stranger_ca}'], 'client', 'not among the trusted', 'cafile'),
    (['--cafile', '{ca}', '--cert', '{stranger[0]}', '--key', '{stranger[1]}'], 'broker',
     'Stranger CA', 'nightjar ca device'),
    (['--cafile', '{ca}', '--cert', '{expired[0]}', '--key', '{expired[1]}'], 'client',
     'expired', 'nightjar ca device'),
    (['--cafile', '{ca}', '--cert', '{client[0]}', '--key', '{server[1]}'], 'client',
     'belongs to none', 'pair'),
    (['--cafile', '{ca}', '--cert', '{wrong_usage[0]}', '--key', '{wrong_usage[1]}'], 'client',
     'clientAuth', 'nightjar ca device'),
    (['--cafile', '{ca}', '--servername', 'other.example', '--cert', '{client[0]}', '--key',
      '{client[1]}'], 'client', 'valid for localhost', 'nightjar ca server'),
    (['--cafile', '{ca}', '--tls-alpn', 'x-other', '--cert', '{client[0]}', '--key',
      '{client[1]}'], 'broker', 'ALPN', 'mqtt'),
    (['--no-tls'], 'network', 'speaks TLS', 'cafile'),
])
def test_mutual_listener(doctor, pki, args, who, what, mend):
    r = doctor.json(f'localhost:{doctor.mutual}', *[a.format(**vars(pki)) for a in args])
    assert (r['verdict'], r['refused_by']) == ('fails', who), r
    assert what in r['what'] and mend in r['mend'], r


@pytest.mark.parametrize('args, who, what, mend', [
    (['--cafile', '{ca}'], 'network', 'without TLS', 'TLS listener'),
    (['-t', 'x'], 'broker', 'no user name', 'nightjar passwd'),
    (['-u', 'joe', '-P', 'wrong'], 'broker', 'password is wrong', 'nightjar passwd'),
    (['--username', 'joe', '--pw', 'secret', '--topic', 'only/write'], 'broker', 'subscribe', 'topic read only/write'),
    (['--username', 'joe', '--pw', 'wrong'], 'broker', 'password is wrong', 'nightjar passwd'),
    (['--username', 'joe', '--pw', 'secret', '--protocol-version', 'mqttv31', '--topic', 'only/write'], 'broker',
     'was taken and did not come back', 'topic readwrite only/write'),  # 3.1 has no word for refused
    (['-u', 'jo', '-P', 'secret'], 'broker', 'no such user', 'nightjar passwd'),
    (['-u', 'joe', '-P', 'secret', '-t', 'only/write'], 'broker', 'subscribe', 'topic read only/write'),
    (['-u', 'joe', '-P', 'secret', '--ws'], 'broker', '', ''),
])
def test_plain_listener(doctor, pki, args, who, what, mend):
    r = doctor.json(f'localhost:{doctor.plain}', *[a.format(**vars(pki)) for a in args])
    assert (r['verdict'], r['refused_by']) == ('fails', who), r
    assert what in r['what'] and mend in r['mend'], r


@pytest.mark.parametrize('port, identity, key, who, what, mend', [
    ('psk', 'sensor', None, '', '', ''),
    ('psk', 'sensor', '00' * 32, 'client', 'another key for this identity', 'psk_file'),
    ('psk', 'nobody', None, 'client', 'knows no such PSK', 'psk_file'),
    ('tls', 'sensor', None, 'client', 'a certificate instead of the shared key', 'psk_hint'),
    ('plain', 'sensor', None, 'network', 'without TLS', 'TLS listener'),
])
def test_psk(doctor, port, identity, key, who, what, mend):
    r = doctor.json('-h', 'localhost', '-p', getattr(doctor, port), '--psk', key or KEY,
                    '--psk-identity', identity, '-t', 'x')
    if not what:   # the key is right, the rules allow it nothing
        steps = {s['step']: s['state'] for s in r['steps']}
        assert steps['login'] == 'ok', r
        return
    assert (r['verdict'], r['refused_by']) == ('fails', who), r
    assert what in r['what'] and mend in r['mend'], r


def test_cafile_at_a_psk_listener(doctor, pki):
    r = doctor.json(f'localhost:{doctor.psk}', '--cafile', pki.ca)
    assert (r['verdict'], r['refused_by']) == ('fails', 'broker'), r
    assert 'offered no shared key' in r['what'] and '--psk' in r['mend']


@pytest.mark.parametrize('days, what', [(-7305, 'before this program was made'),
                                        (11000, 'years after this program was made')])
def test_own_clock_is_wrong_by_years(doctor, pki, days, what):
    """Certificates only look wrong then, and no new one would mend it."""
    r = doctor.json(f'localhost:{doctor.tls}', '--cafile', pki.ca, days=days)
    assert (r['verdict'], r['refused_by']) == ('fails', 'client'), r
    assert what in r['what'] and 'set-ntp' in r['mend'], r


@pytest.mark.parametrize('days, what', [(-7305, 'valid only from|not valid before'),
                                        (11000, 'expired on')])
def test_the_brokers_clock_is_wrong_by_years(brokers, doctor, pki, monkeypatch, tmp_path, days, what):
    """The broker's certificates are good by our clock, and by its own not: it
    says so at its start, or of ours; the doctor names the broker's clock."""
    for name, value in preload(days).items():
        monkeypatch.setenv(name, value)
    b = brokers(f'certfile {pki.server[0]}\nkeyfile {pki.server[1]}\ncafile {pki.ca}\n', start=False)
    b.refuses(what + '.*clock')


def test_proxies(doctor, pki):
    r = doctor.json(f'localhost:{doctor.proxy}', '--cafile', pki.ca)
    assert (r['verdict'], r['refused_by']) == ('fails', 'network'), r
    assert 'waits for a PROXY header' in r['what'] and "proxy's port" in r['mend']
    with Raw(doctor.proxy) as c:
        c.send(b'PROXY TCP4 192.0.2.1 192.0.2.2 4711 8883\r\n')
        assert c.closed() is None
    assert 'one of version 1 came' in doctor.refused()[0]['what']
    assert 'enable_proxy_protocol 1' in doctor.refused()[0]['mend']
    with Raw(doctor.tls) as c:
        c.send(proxyraw.v2() + connect_packet('proxied'))
        c.closed()
    assert 'PROXY protocol header came before TLS' in doctor.refused()[0]['what']
    assert 'enable_proxy_protocol' in doctor.refused()[0]['mend']


def test_client_certificate_that_nobody_asked_for(doctor, pki):
    r = doctor.json(f'localhost:{doctor.tls}', '--cafile', pki.ca, '--cert', pki.client[0],
                    '--key', pki.client[1], '-u', 'joe', '-P', 'secret', '-t', 'joe/x')
    assert r['verdict'] == 'doubtful'
    assert any('does not ask for a client certificate' in s['what'] for s in r['steps'])


def test_nobody_there(doctor):
    port = free_port()
    assert 'nothing listens' in doctor.run(f'{HOST}:{port}', check=1)
    assert 'no address is known' in doctor.run(f'no-such-host.invalid:{port}', check=1)
    doctor.run('a b', check=2)
    doctor.run(f'{HOST}:{port}', '--cert', 'x', check=2)


def test_the_record(doctor, pki):
    """Who, where, which side, why, what mends it; the same again is counted."""
    for _ in range(3):
        with pytest.raises(OSError):
            Raw(doctor.tls, tls=pahoc.tls_context(pki.stranger_ca))
    with Raw(doctor.plain) as c:
        c.send(connect_packet('who', username='joe', password=b'guess'))
        assert c.closed() is not None
    v = doctor.refused()
    first = v[0]
    assert (first['stage'], first['refused_by']) == ('login', 'broker')
    assert first['peer'].startswith('127.0.0.1:') and first['listener'] == f'port {doctor.plain}'
    assert "user 'joe'" in first['what'] and 'nightjar passwd' in first['mend']
    ours = [f for f in v if f['listener'] == f'port {doctor.tls}' and 'unknown_ca' in f['what']]
    assert len(ours) == 1 and ours[0]['count'] == 3
    assert (ours[0]['stage'], ours[0]['refused_by']) == ('TLS handshake', 'client')
    assert 'ca.crt' in ours[0]['mend']
    text = doctor.run('--last', check=0)
    assert 'the client refused' in text and '(3 times since' in text


def test_the_record_is_bounded(doctor):
    """Many strangers push out old entries, and nothing grows."""
    for i in range(160):
        with Raw(doctor.plain) as c:
            c.send(connect_packet('who', username=f'user{i}'))
            assert c.closed() is not None
    v = doctor.refused()
    assert len(v) == 128 and "'user159'" in v[0]['what']


def test_own_configuration(doctor, pki, tmp_path):
    text = doctor.run('-c', doctor.broker.conf_path, check=0)
    assert 'can be served' in text and 'it runs' in text and 'in its record' not in text
    conf = tmp_path / 'open.conf'
    conf.write_text('listener 1883\nallow_anonymous true\nlistener 8883\n'
                    f'certfile {pki.other_name[0]}\nkeyfile {pki.other_name[1]}\n'
                    f'cafile {pki.ca}\nallow_anonymous true\n')
    r = json.loads(doctor.run('-c', str(conf), '--json'))
    told = ' '.join(s['what'] for s in r['steps'] if s['state'] == 'doubt')
    for part in ('1883 is open to the network without TLS', '1883 lets everybody in',
                 "CA's private key lies beside", 'valid for elsewhere.example'):
        assert part in told, told
    conf.write_text('listener 1883\ncertfile /nowhere\n')
    assert 'cannot read /nowhere' in doctor.run('-c', str(conf), check=1)
