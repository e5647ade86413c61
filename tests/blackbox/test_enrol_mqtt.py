# SPDX-License-Identifier: Apache-2.0
"""Enrolment over MQTT: with Debian's clients, with a raw one, and with nightjar
enroll; what a client that came for it may not do, and that a token is used up
once, whoever vanishes when."""
import base64
import os
import re
import shutil
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from conftest import Factory, new_folder
from harness import HOST, free_port, preload, wait_until
from raw import PUBLISH, Raw, connect_packet
from test_enrol import Site, sh
from test_revoke import Ca

pytestmark = pytest.mark.ours

ASK = '$nightjar/enroll/'
REPLY = '$nightjar/enroll/reply/'
DENIED = 0x87


class MqttSite(Site):
    """One listener, where certificates are required: of all but who enrols."""

    def __init__(self, base):  # pylint: disable=super-init-not-called
        self.ca = Ca(new_folder(base, 'ca-'))
        self.folder = new_folder(base, 'csr-')
        self.factory = Factory(base)
        self.broker = self.factory(self.conf(), anonymous=False)
        self.n = 0

    def conf(self):
        return (f'certfile {self.ca.path("server", "server.crt")}\n'
                f'keyfile {self.ca.path("server", "server.key")}\n'
                f'cafile {self.ca.path("pki", "ca.crt")}\nrequire_certificate true\n'
                'use_identity_as_username true\nenroll true\nfailed_logins_per_minute 0\n')

    def text(self, what, *args):
        return self.ca('token', what, '--at', f'{HOST}:{self.broker.port}', '--mqtt', '-q',
                       *args).strip()

    def bare(self, version=5):
        """A connection without a certificate."""
        ctx = ssl.create_default_context(cafile=self.ca.path('pki', 'ca.crt'))
        return Raw(self.broker.port, tls=ctx, version=version)

    def pem(self, subject, **kw):
        der, key = self.csr(subject, **kw)
        return sh('openssl', 'req', '-inform', 'DER', stdin=der), key

    def debian(self, name, *args, token=None, folder=None, **kw):
        """mosquitto_NAME with what a device has."""
        argv = [f'mosquitto_{name}', '-h', 'localhost', '-p', str(self.broker.port), '--cafile',
                self.ca.path('pki', 'ca.crt'), *args]
        if token:
            argv += ['-P', token]
        if folder:
            argv += ['--cert', os.path.join(folder, 'client.crt'), '--key',
                     os.path.join(folder, 'client.key')]
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False, timeout=30, **kw)


@pytest.fixture(scope='module')
def site(base_folder):
    s = MqttSite(base_folder)
    yield s
    s.factory.finish()


def ask(c, op, payload=b'', props=None, qos=0):
    """(topic, status, payload) of the answer."""
    c.publish(ASK + op, payload, qos, props=props)
    while True:
        p = c.recv()
        if p.kind == PUBLISH:
            break
    status = dict(p.props.get('user_property', [])).get('status') if c.version == 5 else None
    return p.topic, status and int(status), p.payload


def certs_of(payload):
    return re.findall(r'-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n', payload.decode(),
                      re.S)


def enroll(site, c, name, token, **kw):
    """Connects with the token and gets a certificate; the folder."""
    c.connect(username=name, password=token)
    pem, key = site.pem(f'/CN={name}')
    topic, _, body = ask(c, 'simpleenroll', pem, **kw)
    assert topic == f'{REPLY}{name}/simpleenroll/ok', (topic, body)
    return site.keep(certs_of(body)[0], key)


@pytest.mark.parametrize('version', [4, 5])
def test_a_device_with_nothing(site, version):
    """Without having subscribed; then it is that device."""
    name = f'nothing-{version}'
    with site.bare(version) as c:
        folder = enroll(site, c, name, site.text(name, '--group', 'line9'))
    site.connects(folder, name)
    assert re.search(rf'{name} .*line9', site.ca('list'))
    site.broker.wait_log(f"Issued a certificate for '{name}' at .* by MQTT")


def test_debian_clients(site, tmp_path):
    """The recipe of docs/certificates.md: one program asks, another listens."""
    token = site.text('deb-1')
    pem, key = site.pem('/CN=deb-1')
    (tmp_path / 'csr').write_bytes(pem)
    got = {}

    def listen():
        got['p'] = site.debian('sub', '-u', 'deb-1', '-t', REPLY + 'deb-1/#', '-C', '1', '-W', '60',
                               '-q', '1', '-v', token=token)
    t = threading.Thread(target=listen)
    t.start()
    site.broker.wait_log(re.escape(REPLY) + 'deb-1/#')
    p = site.debian('pub', '-u', 'deb-1', '-t', ASK + 'simpleenroll', '-f', str(tmp_path / 'csr'),
                    '-q', '1', token=token)
    t.join()
    assert p.returncode == 0, p.stderr
    topic, text = got['p'].stdout.split(b' ', 1)
    assert topic.decode() == REPLY + 'deb-1/simpleenroll/ok', text
    folder = site.keep(certs_of(text)[0], key)
    site.connects(folder, 'deb-1')
    # renewed with the certificate it has, by MQTT 5's request and response
    new, key = site.pem('/CN=deb-1')
    p = site.debian('rr', '-V', '5', '-i', 'deb-1', '-t', ASK + 'simplereenroll', '-e',
                    'answers/deb-1', '-m', new.decode(), '-W', '60', folder=folder)
    assert p.returncode == 0 and certs_of(p.stdout), (p.stdout, p.stderr)
    site.connects(site.keep(certs_of(p.stdout)[0], key), 'deb-1')
    site.broker.wait_log("Renewed a certificate for 'deb-1' at .* by MQTT")


def test_the_recipe_of_the_manual(site, tmp_path):
    """docs/certificates.md, word for word but for the port."""
    with open(os.path.join(harness.ROOT, 'docs', 'certificates.md'), encoding='utf-8') as f:
        text = f.read().split("### With Mosquitto's clients")[1].split('\n## ')[0]
    script = '\n'.join(line[4:] for line in text.splitlines() if line.startswith('    '))
    assert 'simpleenroll' in script and 'simplereenroll' in script
    shutil.copy(site.ca.path('pki', 'ca.crt'), tmp_path / 'ca.crt')
    env = dict(os.environ, TOKEN=site.text('pump-7'))
    p = subprocess.run(['bash', '-e', '-c', script.replace('8883', str(site.broker.port))],
                       cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert p.returncode == 0, p.stdout
    site.broker.wait_log("Received PUBLISH from pump-7.*'pumps/7'")
    site.broker.wait_log("Renewed a certificate for 'pump-7' at .* by MQTT")
    site.connects(str(tmp_path), 'pump-7')


def test_forms(site):
    with open(site.ca.path('pki', 'ca.crt'), encoding='ascii') as f:
        root = f.read()
    der, _ = site.csr('/CN=forms')
    with site.bare() as c:
        c.connect(username='forms', password=site.text('forms'))
        assert ask(c, 'cacerts')[1:] == (200, root.encode())
        assert ask(c, 'cacerts/pem')[2] == root.encode()
        line = ask(c, 'cacerts/der')[2]
        assert sh('openssl', 'x509', '-inform', 'DER',
                  stdin=base64.b64decode(line)).decode() == root
        assert site.certs(ask(c, 'cacerts/p7')[2]) == [root]
        attrs = base64.b64decode(ask(c, 'csrattrs')[2])
        assert b'id-ecPublicKey' in sh('openssl', 'asn1parse', '-inform', 'DER', stdin=attrs)
        # raw DER, base64, and the same again as PEM: one certificate
        first = ask(c, 'simpleenroll/der', der)
        assert first[1] == 200, first
        leaf = sh('openssl', 'x509', '-inform', 'DER', stdin=base64.b64decode(first[2].split()[0]))
        again = ask(c, 'simpleenroll', base64.b64encode(der))
        assert certs_of(again[2])[0] == leaf.decode()
        p7 = ask(c, 'simpleenroll/p7', sh('openssl', 'req', '-inform', 'DER', stdin=der), qos=2)
        assert site.certs(p7[2])[0] == leaf.decode()


def test_response_topic(site):
    """To that client alone, though others are subscribed."""
    token = site.text('resp')
    with site.bare() as c, site.bare() as other:
        c.connect(username='resp', password=token)
        other.connect(username='resp', password=token)
        assert other.subscribe(REPLY + 'resp/#')[0] < 0x80
        c.publish(ASK + 'cacerts', b'', 0, props={'response_topic': 'mine/alone',
                                                  'correlation_data': b'\x00\x01x'})
        p = c.expect(PUBLISH)
        assert p.topic == 'mine/alone' and p.props['correlation_data'] == b'\x00\x01x'
        assert p.props['content_type'] == 'application/x-pem-file'
        other.silent()
        # below its own topics it is for all that are this device, once for each
        c.subscribe(REPLY + 'resp/x')
        c.publish(ASK + 'cacerts', b'', 0, props={'response_topic': REPLY + 'resp/x'})
        assert c.expect(PUBLISH).topic == other.expect(PUBLISH).topic == REPLY + 'resp/x'
        c.silent()


def test_it_may_do_nothing_else(site):
    watcher = site.ca.device('watcher')
    with site.bare() as c, Raw(site.broker.port, tls=site.ca.context(watcher)) as w:
        w.connect('watcher')
        w.subscribe('#')
        ack = c.connect(username='captive', password=site.text('captive'), client_id='watcher',
                        clean=False, props={'session_expiry': 1000})
        assert ack.props['session_expiry'] == 0
        for topic in ('a', '$SYS/x', '$CONTROL/dynamic-security/v1', '$nightjar/x',
                      REPLY + 'captive/simpleenroll/ok', ASK + 'simplereenroll'):
            c.publish(topic, b'x', 1)
            acks = [c.recv()]
            while acks[-1].kind == PUBLISH:
                acks.append(c.recv())
            assert acks[-1].code == DENIED, topic
        for f in ('#', '+/#', '$SYS/#', '$nightjar/#', ASK + '#', REPLY + '#', REPLY + '+/#',
                  REPLY + 'captiv/#', REPLY + 'captive2/#', '$share/g/' + REPLY + 'captive/#'):
            assert c.subscribe(f) == [DENIED], f
        assert c.subscribe(REPLY + 'captive/#', REPLY + 'captive') == [0, 0]
        # nor by a will
        with site.bare() as v:
            v.connect(username='captive', password=site.text('captive', '--again'), want=DENIED,
                      will=('a', b'x'))
        # who is here already was not disturbed, and others see nothing of it
        w.publish('mine', b'x')
        assert w.expect(PUBLISH).topic == 'mine'
        w.silent()
        for f in (REPLY + '#', '$nightjar/#', REPLY + 'captive/#', '$share/g/$nightjar/#'):
            assert w.subscribe(f) == [DENIED], f
        assert w.publish_acked(REPLY + 'captive/simpleenroll/ok', b'x') == DENIED


def test_who_may_not_come(site):
    good, other = site.text('comes'), site.text('line-*', '--uses', '2')
    place, pin, secret = good.rsplit('.', 2)
    wrong = ('A' if secret[0] != 'A' else 'B') + secret[1:]
    for name, token, says in (
            ('comes', f'{place}.{pin}.{wrong}', 'the token is not known'),
            ('comes', 'nj1.nonsense', 'copy it whole'),
            ('somebody', good, "the token is for 'comes', the user name is 'somebody'"),
            ('other-1', other, "the token is for 'line-"),
            ('../x', other, "the token is for 'line-")):
        with site.bare() as c:
            c.connect(username=name, password=token, want=DENIED)
        site.broker.wait_log(re.escape(says))
    with site.bare() as c:   # as where a certificate is required
        c.connect(username='comes', password='secret', want=DENIED)
    site.broker.wait_log('it sent no certificate, and no token')
    with site.bare() as c:
        c.connect(want=DENIED)
    # who is nobody may look at what is public, and at nothing else
    with site.bare() as c:
        c.connect(username='$enroll')
        assert ask(c, 'cacerts')[1] == 200
        topic, status, text = ask(c, 'simpleenroll', site.pem('/CN=comes')[0])
        assert status == 403 and b'takes a token' in text and topic.endswith('/error')
        assert c.subscribe(REPLY + 'comes/#') == [DENIED]
    with site.bare() as c:   # the device's name may be left to the token
        c.connect(username='', password=good)
        assert ask(c, 'simpleenroll', site.pem('/CN=comes')[0])[1] == 200


def test_who_is_nobody_reads_no_other(site):
    """What everybody may ask is answered to who asked, and to no other that
    has no name either."""
    with site.bare() as asks, site.bare() as listens:
        for c in asks, listens:
            c.connect(username='$enroll')
        assert listens.subscribe(REPLY + '-/#') == [0]
        topic, status, _ = ask(asks, 'cacerts')
        assert topic == REPLY + '-/cacerts/ok' and status == 200
        # what would have come is there before its own answer
        topic, status, _ = ask(listens, 'csrattrs')
        assert topic == REPLY + '-/csrattrs/ok' and status == 200


@pytest.mark.parametrize('subject, body, status, says', [
    ('/CN=another', None, 400, b'may only be for'),
    ('/CN=clumsy', b'nonsense!', 400, b'no certificate request'),
    ('/CN=clumsy', b'0\x03\x02\x01\x00', 400, b'no certificate request'),
    ('/CN=clumsy', b'A' * 40000, 413, b'no certificate request'),
    ('/CN=clumsy', b'', 400, b'no certificate request'),
])
def test_errors_are_told(site, subject, body, status, says):
    """By number and in words; the token is not used up."""
    token = site.text('clumsy', '--again')
    with site.bare() as c:
        c.connect(username='clumsy', password=token)
        topic, got, text = ask(c, 'simpleenroll', body if body is not None else site.pem(subject)[0])
        assert topic == REPLY + 'clumsy/simpleenroll/error' and got == status
        assert text.startswith(b'%d ' % status) and says in text
        assert ask(c, 'simpleenroll', site.pem('/CN=clumsy')[0])[1] == 200


def test_one_token_one_certificate(site):
    """Of several that ask at once with a key of their own, one gets it."""
    token = site.text('racer')
    requests = [site.pem('/CN=racer')[0] for _ in range(5)]

    def run(pem):
        with site.bare() as c:
            c.connect(username='racer', password=token)
            return ask(c, 'simpleenroll', pem)[1]
    with ThreadPoolExecutor(5) as pool:
        got = list(pool.map(run, requests))
    assert sorted(got) == [200] + [401] * 4
    again = [run(pem) for pem in requests]
    assert again == got
    assert site.ca('list').count('racer') == 1


def test_who_vanishes_fetches_it(site):
    """The token is used up, and the answer lost: the same key gets the same
    certificate, another key none."""
    token = site.text('vanisher')
    pem, key = site.pem('/CN=vanisher')
    with site.bare() as c:
        c.connect(username='vanisher', password=token)
        c.publish(ASK + 'simpleenroll', pem, 1)
    site.broker.wait_log("Issued a certificate for 'vanisher'")
    wait_until(lambda: 'vanisher' in site.ca('list'), 'it was issued')
    assert 'vanisher' not in site.ca('token', '--list')
    with site.bare(4) as c:
        c.connect(username='vanisher', password=token)
        topic, _, text = ask(c, 'simpleenroll', site.pem('/CN=vanisher')[0])
        assert topic.endswith('/error') and text.startswith(b'401 ')
        topic, _, text = ask(c, 'simpleenroll', pem)
        assert topic.endswith('/ok')
    assert site.ca('list').count('vanisher') == 1
    folder = site.keep(certs_of(text)[0], key)
    site.connects(folder, 'vanisher')
    # renewing the same: twice with one key gives one certificate
    with Raw(site.broker.port, tls=site.ca.context(folder)) as c:
        c.connect('vanisher')
        new = site.pem('/CN=vanisher')[0]
        assert ask(c, 'simplereenroll', new) == ask(c, 'simplereenroll', new)
    assert site.ca('list', '--json').count('"vanisher"') == 2
    # revoked, it gets nothing
    site.ca('revoke', 'vanisher')
    with site.bare() as c:
        c.connect(username='vanisher', password=token)
        assert ask(c, 'simpleenroll', pem)[1] in (400, 401)


def test_approval(site):
    token = site.text('patient', '--approve')
    pem, key = site.pem('/CN=patient')
    with site.bare(4) as c:
        c.connect(username='patient', password=token)
        topic, _, text = ask(c, 'simpleenroll', pem)
        assert topic == REPLY + 'patient/simpleenroll/wait'
        assert text.startswith(b'202 ') and b'Retry-After: 30' in text
        assert ask(c, 'simpleenroll', site.pem('/CN=patient')[0])[2].startswith(b'400 ')
        assert 'patient' in site.ca('pending')
        site.ca('approve', 'patient')
        topic, _, text = ask(c, 'simpleenroll', pem)
        assert topic.endswith('/ok')
    site.connects(site.keep(certs_of(text)[0], key), 'patient')
    with site.bare() as c:
        c.connect(username='unwanted', password=site.text('unwanted', '--approve'))
        pem, _ = site.pem('/CN=unwanted')
        assert ask(c, 'simpleenroll', pem)[1] == 202
        site.ca('deny', 'unwanted')
        assert ask(c, 'simpleenroll', pem)[1:] == (401, b'401 the request was turned down\n')


def test_too_many(site):
    with site.bare() as c:
        c.connect(username='$enroll')
        assert [ask(c, 'csrattrs')[1] for _ in range(20)] == [200] * 20
        assert ask(c, 'csrattrs')[1] == 429
    for _ in range(2):
        with site.bare() as c:
            c.connect(username='$enroll')
            assert ask(c, 'cacerts')[1] == 200


def test_only_with_tls_and_our_ca(brokers, site):
    brokers('enroll true\n', start=False).refuses('enroll is about TLS')
    tls = site.conf().replace('enroll true\n', '')
    brokers(tls + 'enroll true\nmount_point a/\n', start=False).refuses('enroll with mount_point')
    b = brokers(tls, anonymous=False)
    kept = site.ca.device('elsewhere')
    with Raw(b.port, tls=site.ca.context(kept)) as c:
        c.connect('elsewhere')
        assert c.publish_acked(ASK + 'simplereenroll', site.pem('/CN=elsewhere')[0]) == DENIED
        c.silent()


def test_nightjar_enroll(site, tmp_path):
    out = str(tmp_path / 'device')
    text = site.nightjar('--mqtt', site.text('own-1'), '--out', out)
    assert "'own-1'" in text
    site.connects(out, 'own-1')
    before = site.ca.serial(out)
    assert 'Not due' in site.nightjar('--renew', out)
    site.nightjar('--renew', out, '--force', '--new-key')
    assert site.ca.serial(out) != before
    site.connects(out, 'own-1')
    token = site.text('line-*', '--uses', '2', '--approve')
    out = str(tmp_path / 'line-1')
    assert 'waits for approval' in site.nightjar('--mqtt', token, '--id', 'line-1', '--out', out,
                                                 '--wait', '0', status=1)
    site.ca('approve', 'line-1')
    site.nightjar('--mqtt', token, '--id', 'line-1', '--out', out)
    site.connects(out, 'line-1')
    # a broker with another CA is not told the token
    place, pin, secret = site.text('pinned').rsplit('.', 2)
    wrong = ('A' if pin[0] != 'A' else 'B') + pin[1:]
    assert 'has another CA' in site.nightjar('--mqtt', f'{place}.{wrong}.{secret}', '--out',
                                             str(tmp_path / 'x'), status=1)
    assert 'did not take the token' in site.nightjar(
        '--mqtt', f'{place}.{pin}.{"A" * 22}', '--out', str(tmp_path / 'y'), status=1)


def test_grace(brokers, site, tmp_path, monkeypatch):
    """The broker's day is eight days later: a certificate of one day is a week
    past its end.  Over MQTT and EST it is renewed, and good for nothing else;
    forty days later it is not."""
    est = free_port()
    conf = (site.conf() + f'ca_dir {site.ca.dir}\nlistener {est} {HOST}\nprotocol est\n'
            f'certfile {site.ca.path("server", "server.crt")}\n'
            f'keyfile {site.ca.path("server", "server.key")}\n')
    kept = site.ca.device('late', '--days', '1')
    later = {}
    for days in (8, 41):
        for name, value in preload(days).items():
            monkeypatch.setenv(name, value)
        port = free_port()
        later[days] = brokers(conf.replace(str(est), str(port)), extra_ports=[port],
                              anonymous=False)
        later[days].est = port
        monkeypatch.undo()
    b = later[8]
    with Raw(b.port, tls=site.ca.context(kept)) as c:
        c.connect('late')
        assert c.publish_acked('a', b'x') == DENIED
        assert c.subscribe('#') == [DENIED]
        assert ask(c, 'simpleenroll', site.pem('/CN=late')[0])[1] == 403
        topic, _, text = ask(c, 'simplereenroll', site.pem('/CN=late', key=os.path.join(
            kept, 'client.key'))[0])
        assert topic == REPLY + 'late/simplereenroll/ok', text
    new = site.keep(certs_of(text)[0], os.path.join(kept, 'client.key'))
    with Raw(b.port, tls=site.ca.context(new)) as c:
        c.connect('late')
        assert c.publish_acked('a', b'x') == 0x10
    pair = ['--cert', os.path.join(kept, 'client.crt'), '--key', os.path.join(kept, 'client.key')]
    status, _, _ = site.curl('/.well-known/est/simplereenroll', *pair, port=b.est,
                             body=base64.b64encode(site.csr('/CN=late')[0]))
    assert status == 200
    with pytest.raises((OSError, AssertionError, Exception)):
        with Raw(later[41].port, tls=site.ca.context(kept)) as c:
            c.connect('late')
    later[41].wait_log('expired on')


@pytest.mark.parametrize('way', ['est', 'mqtt'])
def test_renewed_before_and_after_its_end(brokers, site, tmp_path, monkeypatch, way):
    """nightjar enroll --renew, as cron runs it: not while it is early, by
    itself when two thirds are over, within the grace after the end, and not
    when that is over."""
    port, days = free_port(), 90
    conf = site.conf() + f'ca_dir {site.ca.dir}\nlistener {port} {HOST}\nprotocol est\n' + '\n'.join(
        line for line in site.conf().splitlines() if line.startswith(('certfile', 'keyfile'))) + '\n'
    b = brokers(conf, extra_ports=[port], anonymous=False)
    at = f'{HOST}:{port if way == "est" else b.port}'
    out, name = str(tmp_path / 'device'), f'cron-{way}'
    site.nightjar(*(['--mqtt'] if way == 'mqtt' else []), site.ca(
        'token', name, '--at', at, '--days', str(days), '-q').strip(), '--out', out)
    serials = [site.ca.serial(out)]

    def cron(later, broker_too=False, status=0):
        where = b
        for key, value in preload(later).items():
            monkeypatch.setenv(key, value)
        if broker_too:
            other = free_port()
            where = brokers(conf.replace(str(port), str(other)), extra_ports=[other], anonymous=False)
            path = os.path.join(out, 'enroll')
            with open(path, encoding='ascii') as f:
                text = f.read()
            with open(path, 'w', encoding='ascii') as f:
                f.write(re.sub(r':\d+\.', f':{other if way == "est" else where.port}.', text))
        said = site.nightjar('--renew', out, status=status)
        monkeypatch.undo()
        serials.append(site.ca.serial(out))
        return said

    assert 'Not due' in cron(days * 2 // 3 - 2)
    assert 'Renewed' in cron(days * 2 // 3 + 1)
    assert 'Renewed' in cron(days + 20, broker_too=True)
    cron(days + 20 + days + 40, broker_too=True, status=1)
    assert serials[0] == serials[1] != serials[2] != serials[3] == serials[4]


def test_broken_frames(site):
    """What comes instead of a request does no harm."""
    with site.bare() as c:
        c.send(connect_packet('x', 5, username='\x00', password='nj1.'))
        c.closed()
    with site.bare() as c:
        c.connect(username='$enroll')
        for topic in ('', 'cacerts/', 'cacerts/xml', 'cacerts/pem/pem', 'simpleenroll/der/x', 'x' * 900):
            assert c.publish_acked(ASK + topic, b'x') == DENIED
