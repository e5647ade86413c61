# SPDX-License-Identifier: Apache-2.0
"""What a running broker does about its own certificate, and about files that it
may not read any more: made anew, read again, nobody thrown out."""
import json
import os
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import time

import pytest

import harness
import raw
from harness import HOST, free_port, wait_until
from test_revoke import Ca

pytestmark = pytest.mark.ours


def run(*argv, stdin=None):
    return subprocess.run(argv, check=True, input=stdin, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60).stdout


def names(path):
    return run('openssl', 'x509', '-in', path, '-noout', '-ext', 'subjectAltName')


def worn(ca, name='server'):
    """A certificate for the server's key by this CA, of whose life more than
    two thirds are over; as the broker's own it takes the place of that.  Its
    serial number: it may be followed by the next at once."""
    folder = ca.path('kept-worn-' + name)
    os.mkdir(folder)
    crt, key = ca.path('server', name + '.crt'), ca.path('server', name + '.key')
    conf = os.path.join(folder, 'ca.cnf')
    with open(conf, 'w', encoding='ascii') as f:
        f.write(f'[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nnew_certs_dir={folder}\n'
                'rand_serial=yes\ndefault_md=sha256\npolicy=p\nunique_subject=no\n'
                '[p]\ncommonName=supplied\n[x]\nbasicConstraints=critical,CA:FALSE\n'
                'keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n'
                'subjectAltName=' + names(crt).split('\n')[1].strip().replace('IP Address', 'IP') + '\n')
    open(os.path.join(folder, 'index'), 'w', encoding='ascii').close()
    run('openssl', 'req', '-new', '-key', key, '-subj', '/CN=worn', '-out', folder + '/csr')
    day = lambda t: time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() + t * 86400))
    run('openssl', 'ca', '-batch', '-config', conf, '-in', folder + '/csr', '-out', folder + '/crt',
        '-notext', '-cert', ca.path('pki', 'ca.crt'), '-keyfile', ca.path('pki', 'ca.key'), '-passin',
        'file:' + ca.path('ca.passphrase'), '-startdate', day(-8), '-enddate', day(2), '-extensions', 'x')
    number = serial(folder + '/crt')
    os.rename(folder + '/crt', crt)
    return number


def serial(path):
    return run('openssl', 'x509', '-in', path, '-noout', '-serial').strip().split('=')[1]


def shown(broker, ca, check=True):
    ctx = ssl.create_default_context(cafile=ca.path('pki', 'ca.crt'))
    ctx.check_hostname = check
    with socket.create_connection((HOST, broker.port), 10) as s, \
            ctx.wrap_socket(s, server_hostname='localhost') as t:
        return t.getpeercert()['serialNumber']


@pytest.fixture
def ca(tmp_path):
    return Ca(tmp_path / 'ca')


@pytest.fixture
def brokers():
    """Starts them, and ends them in good order."""
    all_of_them = []

    def start(folder, conf, port, **kw):
        broker = harness.Broker(str(folder), conf, port, **kw)
        all_of_them.append(broker)
        return broker.start()
    yield start
    for broker in all_of_them:
        assert broker.stop() == 0
        assert broker.faults() == ''


def conf_of(ca, port, more=''):
    return (f'listener {port}\ncertfile {ca.path("server", "server.crt")}\n'
            f'keyfile {ca.path("server", "server.key")}\ncafile {ca.path("pki", "ca.crt")}\n'
            f'allow_anonymous true\nlog_type all\n{more}')


def test_two_thirds(ca, tmp_path, brokers):
    """Made anew by the signer, and used at once, also the one with an RSA key;
    who is connected stays so."""
    ca('server', '--rsa')
    port = free_port()
    rsa = f'{ca.path("server", "server-rsa.crt")} {ca.path("server", "server-rsa.key")}'
    broker = brokers(tmp_path, conf_of(ca, port, f'further_certificate {rsa}\n'), port)
    ctx = ssl.create_default_context(cafile=ca.path('pki', 'ca.crt'))
    with socket.create_connection((HOST, port), 10) as s, \
            ctx.wrap_socket(s, server_hostname='localhost') as t:
        t.sendall(raw.connect_packet('stays', 5))
        assert t.recv(100)[0] == 0x20
        old_rsa = serial(ca.path('server', 'server-rsa.crt'))
        old = worn(ca)
        broker.wait_log('made anew: two thirds of its lifetime are over. It is for: .*localhost')
        new = serial(ca.path('server', 'server.crt'))
        assert new != old and serial(ca.path('server', 'server-rsa.crt')) != old_rsa
        wait_until(lambda: shown(broker, ca) == new, 'the new one is shown')
        assert new in ca('list', '--json')
        t.sendall(b'\xc0\x00')
        assert t.recv(10) == b'\xd0\x00'
    # It has another life, and the CA's word.
    text = run('openssl', 'x509', '-in', ca.path('server', 'server.crt'), '-noout', '-checkend', '518400')
    assert 'will not expire' in text


def test_names(ca, tmp_path, brokers):
    """A name that somebody writes down beside the certificate."""
    port = free_port()
    broker = brokers(tmp_path, conf_of(ca, port), port)
    with open(ca.path('server', 'names'), 'a', encoding='ascii') as f:
        f.write('mq.example.org\n')
    broker.wait_log('made anew: the name mq.example.org is new')
    assert 'DNS:mq.example.org' in names(ca.path('server', 'server.crt'))


def can_unshare():
    return os.geteuid() == 0 and shutil.which('ip') and shutil.which('nsenter') and subprocess.run(
        ['unshare', '-n', 'true'], check=False, stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason='takes a network of its own')
def test_addresses(ca, tmp_path):
    """Addresses that come and go while it runs."""
    conf, log = tmp_path / 'conf', tmp_path / 'log'
    conf.write_text(conf_of(ca, 8883), encoding='ascii')
    with open(log, 'wb') as out:
        p = subprocess.Popen(['unshare', '-n', 'sh', '-c', 'ip link set lo up; exec "$0" serve -c "$1"',
                              harness.NIGHTJAR, conf], stdout=out, stderr=out)
    inside = ['nsenter', '-t', str(p.pid), '-n']
    crt = ca.path('server', 'server.crt')
    try:
        wait_until(lambda: ' running' in log.read_text(encoding='utf-8'), 'it runs')
        run(*inside, 'ip', 'addr', 'add', '192.0.2.7/32', 'dev', 'lo')
        wait_until(lambda: '192.0.2.7' in names(crt), 'the address is in it', 60)

        def is_used():
            p = subprocess.run([*inside, 'openssl', 's_client', '-connect', '192.0.2.7:8883', '-CAfile',
                                ca.path('pki', 'ca.crt'), '-verify_ip', '192.0.2.7', '-verify_return_error'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True, check=False, timeout=harness.PATIENCE)
            return p.returncode == 0 and 'Verification: OK' in p.stdout
        # the one before, without the addresses that this network has not, may be used still
        wait_until(is_used, 'it is used')
        wait_until(lambda: 'The server\'s certificate was made anew: the address' in
                   log.read_text(encoding='utf-8'), 'it is told')
    finally:
        p.terminate()
        assert p.wait(harness.PATIENCE) == 0


def test_without_passphrase(ca, tmp_path, brokers):
    """A CA whose passphrase is in somebody's head: it is said, and all goes on."""
    os.rename(ca.path('ca.passphrase'), ca.path('kept-pass'))
    port = free_port()
    broker = brokers(tmp_path, conf_of(ca, port), port)
    broker.wait_log('is not made anew while this broker runs.*kept nowhere')
    assert shown(broker, ca) == serial(ca.path('server', 'server.crt'))


def test_somebody_elses(ca, tmp_path, brokers):
    """What another CA made is left as it is, wherever it lies."""
    other = Ca(tmp_path / 'other')
    worn(other)
    for name in ('server.crt', 'server.key'):
        shutil.copy(other.path('server', name), ca.path('server', name))
    before = serial(ca.path('server', 'server.crt'))
    port = free_port()
    broker = brokers(tmp_path, conf_of(ca, port), port)
    with open(ca.path('server', 'names'), 'a', encoding='ascii') as f:
        f.write('mq.example.org\n')
    time.sleep(1)
    assert shown(broker, other) == serial(ca.path('server', 'server.crt')) == before
    assert 'made anew' not in broker.log()


@pytest.mark.skipif(os.geteuid() != 0, reason='takes root')
def test_after_root(ca, tmp_path, brokers):
    """Started by root, which it gives up: keys, certificates, CAs and lists in
    folders that are closed to it are read again all the same."""
    os.chmod(tmp_path, 0o755)
    os.chmod(os.path.dirname(ca.dir), 0o755)
    os.chmod(ca.dir, 0o700)
    phone = ca.device('phone')
    lost = ca.device('lost')
    port = free_port()
    passwords = tmp_path / 'closed' / 'passwords'
    passwords.parent.mkdir(mode=0o700)
    run(harness.NIGHTJAR, 'passwd', '-c', '-b', str(passwords), 'anna', 'geheim')
    conf = conf_of(ca, port, 'require_certificate true\nuse_identity_as_username true\nuser nobody\n'
                   f'listener {free_port()} {HOST}\npassword_file {passwords}\n')
    broker = brokers(tmp_path, conf, port)
    assert broker.owner() == pwd.getpwnam('nobody').pw_uid
    ctx = ca.context(phone)

    def connects(context, name):
        with raw.Raw(port, tls=context) as c:
            c.connect(name)
    connects(ctx, 'phone')
    # The whole of it again, by a signal.
    broker.hup()
    broker.wait_log('Reloaded')
    connects(ctx, 'phone')
    # A new certificate with a new key.
    os.unlink(ca.path('server', 'server.key'))
    ca('server')
    new = serial(ca.path('server', 'server.crt'))
    broker.wait_log('New certificates')

    def current():
        with socket.create_connection((HOST, port), 10) as s, \
                ctx.wrap_socket(s, server_hostname='localhost') as t:
            return t.getpeercert()['serialNumber'] == new
    wait_until(current, 'the new one is shown')
    # One that is revoked.
    connects(ca.context(lost), 'lost')
    ca('revoke', 'lost')
    broker.wait_log('New list of revoked')
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        connects(ca.context(lost), 'lost')
    # A successor of the CA, and a device of it.
    mark = broker.log_size()
    ca('roll')
    ca('roll', '--switch')
    broker.wait_log('made anew: the CA has a successor', mark)
    wait_until(lambda: 'New certificates' in broker.log(mark), 'both CAs are believed')
    later = ca.device('later')
    connects(ca.context(later), 'later')
    connects(ctx, 'phone')
    assert not re.search('cannot be read|Reload failed', broker.log())


@pytest.mark.skipif(os.geteuid() != 0, reason='takes root')
@pytest.mark.parametrize('whose', ['folder', 'link'])
def test_paths_of_others_after_root(tmp_path, brokers, whose):
    """Who has taken the broker over, and may write where a configured file
    lies, cannot lead the right to read to another file."""
    os.chmod(tmp_path, 0o755)
    mine, sub = tmp_path / 'mine', tmp_path / 'mine' / 'sub'
    sub.mkdir(parents=True)
    closed = tmp_path / 'closed'
    closed.mkdir(mode=0o700)
    for folder, name in ((closed, 'root'), (sub, 'anna')):
        run(harness.NIGHTJAR, 'passwd', '-c', '-b', str(folder / 'passwords'), name, 'geheim')
    nobody = pwd.getpwnam('nobody')
    for path in (mine, sub, sub / 'passwords'):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    named = sub
    if whose == 'link':
        named = tmp_path / 'way'
        named.symlink_to(sub)
    port = free_port()
    broker = brokers(tmp_path, f'listener {port} {HOST}\npassword_file {named}/passwords\nuser nobody\n', port)
    broker.wait_log(' running')
    sub.rename(mine / 'gone')
    sub.symlink_to(closed)
    mark = broker.log_size()
    broker.hup()
    broker.wait_log('Reload failed', mark)


def test_dates(ca, tmp_path, brokers):
    """When what the broker serves with and believes ends: for subscribers of
    $SYS and for programs."""
    ca.device('gone')
    ca('revoke', 'gone')
    port, plain = free_port(), free_port()
    conf = conf_of(ca, port, f'require_certificate true\nlistener {plain} {HOST}\n')
    broker = brokers(tmp_path, f'sys_interval 1\nadmin_socket {tmp_path}/admin.sock\n' + conf, port,
                     extra_ports=[plain])
    want = {'server': (395, 397), 'ca': (7300, 7305), 'crl': (6, 7)}
    with raw.Raw(plain) as c:
        c.connect('watches')
        c.subscribe('$SYS/broker/certificates/#')
        seen = {}
        while len(seen) < 6:
            m = c.message()
            seen[m.topic.split('certificates/')[1]] = int(m.payload)
    status = json.loads(run(harness.NIGHTJAR, 'status', '--json', '-c', broker.conf_path))
    for name, (low, high) in want.items():
        assert low <= seen[name + '/days'] <= high, seen
        assert status['certificates'][name]['expires'] == seen[name + '/expires']
        assert low <= status['certificates'][name]['days'] <= high
    assert status['certificates']['ocsp'] == []
