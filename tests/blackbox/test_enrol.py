# SPDX-License-Identifier: Apache-2.0
"""Enrolment: tokens, EST with curl and openssl, nightjar enroll, and what must
not be had with any of them."""
import base64
import contextlib
import fcntl
import http.server
import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from conftest import Factory, new_folder
from harness import HOST, free_port, wait_until
from raw import Raw
from test_revoke import Ca

pytestmark = pytest.mark.ours

EST = '/.well-known/est/'


def sh(*argv, stdin=None, check=True):
    p = subprocess.run(argv, input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    assert not check or p.returncode == 0, (argv, p.stdout, p.stderr)
    return p.stdout


class Site:
    """A CA, and a broker with listeners for MQTT, EST and plain HTTP."""

    def __init__(self, base):
        self.ca = Ca(new_folder(base, 'ca-'))
        self.folder = new_folder(base, 'csr-')
        pair = (f'certfile {self.ca.path("server", "server.crt")}\n'
                f'keyfile {self.ca.path("server", "server.key")}\n')
        self.est, self.plain = free_port(), free_port()
        self.factory = Factory(base)
        self.broker = self.factory(
            pair + f'cafile {self.ca.path("pki", "ca.crt")}\nrequire_certificate true\n'
            'use_identity_as_username true\n'
            f'listener {self.est} {HOST}\nprotocol est\n{pair}'
            f'listener {self.plain} {HOST}\nprotocol est\n'
            f'failed_logins_per_minute 0\nca_dir {self.ca.dir}\n',
            extra_ports=[self.est, self.plain], anonymous=False)
        self.n = 0

    def token(self, what, *args):
        """The secret of a new token."""
        return self.text(what, *args).rsplit('.', 1)[1]

    def text(self, what, *args):
        return self.ca('token', what, '--at', f'{HOST}:{self.est}', '-q', *args).strip()

    def path(self, name):
        return os.path.join(self.folder, name)

    def csr(self, subject, *args, key=('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256')):
        """(DER, path of the key); args are of openssl req."""
        self.n += 1
        k, out = self.path(f'{self.n}.key'), self.path(f'{self.n}.der')
        made = ['-key', key] if isinstance(key, str) else [*key, '-keyout', k]
        sh('openssl', 'req', '-new', '-nodes', '-subj', subject, '-outform', 'DER', '-out', out,
           *made, *args)
        with open(out, 'rb') as f:
            return f.read(), key if isinstance(key, str) else k

    def curl(self, path, *args, body=None, port=None, scheme='https'):
        """(status, head, body) of a request with the real curl."""
        argv = ['curl', '-s', '-i', '--max-time', '20', '--cacert', self.ca.path('pki', 'ca.crt'),
                *args]
        if body is not None:
            argv += ['-H', 'Content-Type: application/pkcs10', '--data-binary', '@-']
        out = sh(*argv, f'{scheme}://{HOST}:{port or self.est}{path}', stdin=body)
        while True:
            head, out = out.split(b'\r\n\r\n', 1)
            status = int(head.split()[1])
            if status != 100:
                return status, head.decode(), out

    def enroll(self, secret, der, user='', path='simpleenroll', **kw):
        return self.curl(EST + path, '-u', f'{user}:{secret}', body=base64.b64encode(der), **kw)

    def certs(self, body):
        """What openssl reads of a certs-only answer, as PEM texts."""
        der = sh('openssl', 'base64', '-d', stdin=body)
        pem = sh('openssl', 'pkcs7', '-inform', 'DER', '-print_certs', stdin=der).decode()
        return re.findall(r'-----BEGIN.*?-----END CERTIFICATE-----\n', pem, re.S)

    def keep(self, pem, key):
        """A folder with the two and the CA's certificate."""
        self.n += 1
        folder = self.path(f'dev{self.n}')
        os.makedirs(folder)
        shutil.copy(key, os.path.join(folder, 'client.key'))
        shutil.copy(self.ca.path('pki', 'ca.crt'), os.path.join(folder, 'ca.crt'))
        with open(os.path.join(folder, 'client.crt'), 'w', encoding='ascii') as f:
            f.write(pem)
        return folder

    def connects(self, folder, name):
        with Raw(self.broker.port, tls=self.ca.context(folder)) as c:
            c.connect(name)

    def nightjar(self, *args, status=0):
        p = subprocess.run([harness.NIGHTJAR, 'enroll', *args], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                           timeout=60)
        assert p.returncode == status, p.stdout
        return p.stdout


@pytest.fixture(scope='module')
def site(base_folder):
    s = Site(base_folder)
    yield s
    s.factory.finish()


def test_curl_and_openssl(site):
    """The whole of it with nothing of ours on the device's side."""
    status, head, body = site.curl(EST + 'cacerts')
    assert status == 200 and 'application/pkcs7-mime' in head
    with open(site.ca.path('pki', 'ca.crt'), encoding='ascii') as f:
        assert site.certs(body) == [f.read()]
    status, _, body = site.curl(EST + 'csrattrs')
    assert status == 200
    assert b'id-ecPublicKey' in sh('openssl', 'asn1parse', '-inform', 'DER',
                                   stdin=base64.b64decode(body))
    der, key = site.csr('/CN=curl-1')
    status, head, body = site.enroll(site.token('curl-1', '--group', 'line1', '--days', '30'), der)
    assert status == 200, body
    assert 'application/pkcs7-mime; smime-type=certs-only' in head
    certs = site.certs(body)
    assert len(certs) == 1
    folder = site.keep(certs[0], key)
    text = sh('openssl', 'x509', '-noout', '-text', stdin=certs[0].encode()).decode()
    for part in ('CN = curl-1', 'URI:urn:nightjar:', ':device:curl-1', 'TLS Web Client', 'CA:FALSE'):
        assert part in text, text
    sh('openssl', 'verify', '-x509_strict', '-purpose', 'sslclient', '-CAfile',
       site.ca.path('pki', 'ca.crt'), os.path.join(folder, 'client.crt'))
    site.connects(folder, 'curl-1')
    assert re.search(r'curl-1 .*line1', site.ca('list'))
    # renewed with what it has, as PEM, with line ends; the old one may serve on
    new, key = site.csr('/CN=curl-1')
    pem = sh('openssl', 'req', '-inform', 'DER', stdin=new)
    status, _, body = site.curl(EST + 'simplereenroll', '--cert', os.path.join(folder, 'client.crt'),
                                '--key', os.path.join(folder, 'client.key'), body=pem)
    assert status == 200, body
    site.connects(site.keep(site.certs(body)[0], key), 'curl-1')
    site.broker.wait_log("Renewed a certificate for 'curl-1'")


def test_public_files(site):
    _, _, body = site.curl('/ca.crt', port=site.plain, scheme='http')
    with open(site.ca.path('pki', 'ca.crt'), 'rb') as f:
        assert body == f.read()
    site.ca.device('to-be-listed')
    site.ca('revoke', 'to-be-listed')
    _, head, body = site.curl('/ca.crl', port=site.plain, scheme='http')
    assert 'application/pkix-crl' in head
    text = sh('openssl', 'crl', '-inform', 'DER', '-noout', '-text', stdin=body).decode()
    assert site.ca.listed()[0] == re.findall(r'Serial Number: (\w+)', text)
    assert site.curl(EST + 'cacerts', port=site.plain, scheme='http')[0] == 404
    # certificates say where it is, if they are told
    url = f'http://{HOST}:{site.plain}/ca.crl'
    site.ca('crl', '--url', url)
    with open(os.path.join(site.ca.device('says-where'), 'client.crt'), 'rb') as f:
        assert f'URI:{url}' in sh('openssl', 'x509', '-noout', '-text', stdin=f.read()).decode()
    assert 'cannot be the address' in site.ca('crl', '--url', 'https://x/ca.crl', status=1)
    site.ca('crl', '--url', 'none')


def test_nightjar_enroll(site, tmp_path):
    out = str(tmp_path / 'device')
    text = site.nightjar(site.text('own-1'), '--out', out)
    assert "'own-1'" in text and '--renew' in text
    assert os.stat(os.path.join(out, 'client.key')).st_mode & 0o777 == 0o600
    site.connects(out, 'own-1')
    assert 'already' in site.nightjar(site.text('own-2'), '--out', out, status=1)
    assert 'Not due' in site.nightjar('--renew', out)
    before = site.ca.serial(out)
    site.nightjar('--renew', out, '--force')
    with open(os.path.join(out, 'client.key'), 'rb') as f:
        key = f.read()
    site.nightjar('--renew', out, '--force', '--new-key')
    with open(os.path.join(out, 'client.key'), 'rb') as f:
        assert f.read() != key
    assert site.ca.serial(out) != before
    site.connects(out, 'own-1')
    # revoked, it cannot renew, and a new token lets it begin again
    site.ca('revoke', 'own-1')
    assert site.nightjar('--renew', out, '--force', status=1)
    again = str(tmp_path / 'again')
    site.nightjar(site.text('own-1'), '--out', again)
    site.connects(again, 'own-1')


def test_many_with_one_token(site, tmp_path):
    """A token of the factory line: each device says its name, none twice."""
    token = site.text('line-*', '--uses', '3', '--group', 'pumps')
    for name in ('line-1', 'line-2'):
        site.nightjar(token, '--id', name, '--out', str(tmp_path / name))
        site.connects(str(tmp_path / name), name)
    assert 'valid certificate already' in site.nightjar(
        token, '--id', 'line-1', '--out', str(tmp_path / 'copy'), status=1)
    assert "the token is for 'line-*'" in site.nightjar(
        token, '--id', 'other', '--out', str(tmp_path / 'other'), status=1)
    site.nightjar(token, '--id', 'line-3', '--out', str(tmp_path / 'line-3'))
    assert 'used already' in site.nightjar(token, '--id', 'line-4', '--out', str(tmp_path / 'line-4'),
                                           status=1)
    assert re.search(r'line-2 .*pumps', site.ca('list'))


def test_pin(site, tmp_path):
    """A broker with another CA is not told the token."""
    place, pin, secret = site.text('pinned').rsplit('.', 2)
    wrong = ('A' if pin[0] != 'A' else 'B') + pin[1:]
    out = site.nightjar(f'{place}.{wrong}.{secret}', '--out', str(tmp_path / 'x'), status=1)
    assert 'has another CA than the token names' in out
    site.nightjar(f'{place}.{pin}.{secret}', '--out', str(tmp_path / 'x'))


@contextlib.contextmanager
def poses(site, tmp_path, name):
    """A device that poses as the broker: it shows the true root, its own
    certificate, and a root that it made of its own name and key; the list of
    what it was asked."""
    kept, asked = site.ca.device(name), []
    path = {n: str(tmp_path / n) for n in ('root.crt', 'root.ext', 'leaf.ext', 'leaf.csr', 'leaf.crt', 'leaf.key')}
    crt, key = os.path.join(kept, 'client.crt'), os.path.join(kept, 'client.key')
    for n, text in (('root.ext', 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n'),
                    ('leaf.ext', f'subjectAltName=IP:{HOST}\nextendedKeyUsage=serverAuth\n')):
        with open(path[n], 'w', encoding='ascii') as f:
            f.write(text)
    sh('openssl', 'x509', '-in', crt, '-signkey', key, '-clrext', '-extfile', path['root.ext'], '-days', '30',
       '-out', path['root.crt'])
    sh('openssl', 'req', '-new', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout',
       path['leaf.key'], '-subj', '/CN=broker', '-out', path['leaf.csr'])
    sh('openssl', 'x509', '-req', '-in', path['leaf.csr'], '-CA', path['root.crt'], '-CAkey', key, '-days', '30',
       '-extfile', path['leaf.ext'], '-out', path['leaf.crt'])
    p7 = sh('openssl', 'crl2pkcs7', '-nocrl', '-outform', 'DER', '-certfile', site.ca.path('pki', 'ca.crt'),
            '-certfile', crt, '-certfile', path['root.crt'])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers['Authorization']))
            body = base64.b64encode(p7)
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        do_POST = do_GET

        def log_message(self, *args):
            pass
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(path['leaf.crt'], path['leaf.key'])

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self):
            sock, peer = super().get_request()
            return ctx.wrap_socket(sock, server_side=True, do_handshake_on_connect=False), peer

        def handle_error(self, *args):
            pass
    server = Server((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_device_poses_as_the_broker(site, tmp_path):
    """It has a certificate by the root; that does not speak for a root of its
    own making, and no token is told."""
    with poses(site, tmp_path, 'mallory') as (port, asked):
        out = site.nightjar(site.text('victim'), '--host', f'{HOST}:{port}', '--out', str(tmp_path / 'x'), status=1)
    assert 'certificate' in out
    # what is public, once; and the second connection ended before a word
    assert asked == [(EST + 'cacerts', None)]
    assert not os.path.exists(tmp_path / 'x' / 'ca.crt')


def test_one_token_one_certificate(site):
    """Used twice, and by several at once: one wins."""
    secret = site.token('racer')
    requests = [site.csr('/CN=racer')[0] for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda der: site.enroll(secret, der), requests))
    assert sorted(r[0] for r in got) == [200] + [401] * 5
    # whose answer was lost fetches the same once more, with the same key
    for der, (status, _, body) in zip(requests, got):
        again = site.enroll(secret, der)
        assert again[0] == status
        assert status != 200 or site.certs(again[2]) == site.certs(body)
    assert site.ca('list').count('racer') == 1


def test_told_though_the_client_has_gone(site):
    """What was issued is in the log, whoever waited for it."""
    body = base64.b64encode(site.csr('/CN=hurried')[0])
    basic = base64.b64encode(f':{site.token("hurried")}'.encode()).decode()
    ctx = ssl.create_default_context(cafile=site.ca.path('pki', 'ca.crt'))
    start = site.broker.log_size()

    def ask_and_go(patience):
        """The signer waits for a lock meanwhile."""
        folder = os.open(site.ca.path('pki', 'tokens'), os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        sock = ctx.wrap_socket(socket.create_connection((HOST, site.est), 10), server_hostname='localhost')
        mark = site.broker.log_size()
        sock.sendall(f'POST {EST}simpleenroll HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n'
                     f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
        time.sleep(patience)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        sock.close()
        site.broker.wait_log('Connection from .* closed', mark)
        os.close(folder)
        assert site.curl(EST + 'cacerts')[0] == 200   # after it
    # A request that a slow broker has not read is lost with its connection.
    for patience in 0.2, 2, 5:
        ask_and_go(patience)
        with contextlib.suppress(AssertionError):
            wait_until(lambda: "Issued a certificate for 'hurried'" in site.broker.log(start), 'it is told', 3)
            return
    raise AssertionError('it is not told')


def test_expired_and_removed(site):
    secret = site.token('late', '--expires', '1s')
    gone = site.token('gone')
    name = re.search(r'^(\w{32}) gone ', site.ca('token', '--list'), re.M).group(1)
    site.ca('token', '--remove', name)
    der, _ = site.csr('/CN=gone')
    assert site.enroll(gone, der)[0] == 401
    time.sleep(1.2)
    status, head, body = site.enroll(secret, site.csr('/CN=late')[0])
    assert status == 401 and 'WWW-Authenticate: Basic' in head and b'too old' in body


CONF = '''[req]
distinguished_name=dn
[dn]
[v]
{}
'''


@pytest.mark.parametrize('subject, ext, key, says', [
    ('/CN=another', None, None, b"may only be for 'abuse"),
    ('/CN=admin', None, None, b'may only be'),
    ('/CN=abuse/CN=admin', None, None, b'two common names'),
    (r'/CN=..\/..\/etc', None, None, b'cannot be'),
    ('/CN=abuse', 'basicConstraints=CA:TRUE', None, b'asks to be a CA'),
    ('/CN=abuse', 'keyUsage=keyCertSign', None, b'asks to be a CA'),
    ('/CN=abuse', 'subjectAltName=DNS:broker.example', None, b'further names'),
    ('/CN=abuse', 'subjectAltName=URI:urn:nightjar:0:device:admin', None, b'further names'),
    ('/CN=abuse', 'subjectAltName=email:a@b.c', None, b'further names'),
    ('/CN=abuse', None, ('-newkey', 'rsa:1024'), b'1024 bits'),
    ('/CN=abuse', None, ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-224'), b'curve'),
    ('/CN=abuse', None, ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-pkeyopt',
                         'ec_param_enc:explicit'), b'curve'),
    ('/CN=abuse', None, ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-sha1'), b'SHA-1'),
])
def test_requests_for_more(site, subject, ext, key, says):
    """Each is refused, says why, and costs the token a try, not its use."""
    site.n += 1
    name = f'abuse{site.n}'
    args = []
    if ext:
        conf = site.path(f'{site.n}.cnf')
        with open(conf, 'w', encoding='ascii') as f:
            f.write(CONF.format(ext))
        args = ['-config', conf, '-reqexts', 'v']
    secret = site.token(name)
    before = site.ca('list')
    made = {'key': key} if key else {}
    der, _ = site.csr(subject.replace('abuse', name), *args, **made)
    status, _, body = site.enroll(secret, der)
    assert status == 400 and says in body, body
    assert site.ca('list') == before
    assert site.enroll(secret, site.csr(f'/CN={name}')[0])[0] == 200


def test_five_tries(site):
    secret = site.token('clumsy')
    der, _ = site.csr('/CN=somebody-else')
    assert [site.enroll(secret, der)[0] for _ in range(6)] == [400] * 5 + [401]
    assert site.enroll(secret, site.csr('/CN=clumsy')[0])[0] == 401


def test_signature_is_checked(site):
    """A request for another's key."""
    der, _ = site.csr('/CN=thief')
    broken = der[:-4] + bytes([der[-4] ^ 1]) + der[-3:]
    status, _, body = site.enroll(site.token('thief'), broken)
    assert status == 400 and b'not signed by the key' in body


def test_key_of_another_device(site):
    der, key = site.csr('/CN=first-owner')
    assert site.enroll(site.token('first-owner'), der)[0] == 200
    der, _ = site.csr('/CN=second-owner', key=key)
    status, _, body = site.enroll(site.token('second-owner'), der)
    assert status == 400 and b"another device's" in body


def test_name_that_is_taken(site):
    site.ca.device('taken')
    out = site.ca('token', 'taken', status=1)
    assert 'valid certificate already' in out and '--again' in out
    der, _ = site.csr('/CN=taken')
    assert site.enroll(site.token('taken', '--again'), der)[0] == 200
    status, _, body = site.enroll(site.token('take*', '--uses', '2'), site.csr('/CN=taken')[0])
    assert status == 400 and b'valid certificate already' in body


def test_renewing_takes_the_certificate(site):
    mine, other = site.ca.device('renews'), site.ca.device('renews-not')
    pair = ['--cert', os.path.join(mine, 'client.crt'), '--key', os.path.join(mine, 'client.key')]

    def again(der, *args):
        return site.curl(EST + 'simplereenroll', *args, body=base64.b64encode(der))

    der, _ = site.csr('/CN=renews')
    assert again(der)[0] == 403
    assert again(der, '-u', ':' + site.token('renews', '--again'))[0] == 403
    status, _, body = again(site.csr('/CN=renews-not')[0], *pair)
    assert status == 400 and b'may only be' in body
    der, _ = site.csr('/CN=renews', key=os.path.join(other, 'client.key'))
    assert again(der, *pair)[0] == 400
    # a certificate alone is no token
    status, _, _ = site.curl(EST + 'simpleenroll', *pair,
                             body=base64.b64encode(site.csr('/CN=renews')[0]))
    assert status == 401
    # nor is a server's certificate one of a device
    pair = ['--cert', site.ca.path('server', 'server.crt'), '--key',
            site.ca.path('server', 'server.key')]
    with pytest.raises(AssertionError):
        assert again(site.csr('/CN=renews')[0], *pair)[0] == 200
    site.ca('revoke', 'renews')
    pair = ['--cert', os.path.join(mine, 'client.crt'), '--key', os.path.join(mine, 'client.key')]

    def turned_away():
        try:
            return again(site.csr('/CN=renews')[0], *pair)[0] in (401, 403)
        except (AssertionError, ValueError):
            return True
    wait_until(turned_away, 'a revoked certificate renews nothing')


def signed_by_the_ca(site, name, serial, start, end):
    """A device's certificate with these dates, made with the CA's key."""
    der, key = site.csr(f'/CN={name}')
    folder = site.path(f'{name}-ca')
    os.makedirs(folder)
    with open(os.path.join(folder, 'cnf'), 'w', encoding='ascii') as f:
        f.write(f'[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\nserial={folder}/serial\n'
                f'new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\nx509_extensions=v\n'
                '[p]\ncommonName=supplied\n[v]\nbasicConstraints=CA:false\n'
                'extendedKeyUsage=clientAuth\n')
    for file, text in (('index', ''), ('serial', serial + '\n')):
        with open(os.path.join(folder, file), 'w', encoding='ascii') as f:
            f.write(text)
    with open(os.path.join(folder, 'csr'), 'wb') as f:
        f.write(sh('openssl', 'req', '-inform', 'DER', stdin=der))
    crt = os.path.join(folder, 'crt')
    sh('openssl', 'ca', '-batch', '-notext', '-config', os.path.join(folder, 'cnf'), '-in',
       os.path.join(folder, 'csr'), '-out', crt, '-startdate', start, '-enddate', end, '-cert',
       site.ca.path('pki', 'ca.crt'), '-keyfile', site.ca.path('pki', 'ca.key'), '-passin',
       'file:' + site.ca.path('ca.passphrase'))
    return crt, key


def test_grace(site):
    """A certificate that ended a week ago still reaches the listener for
    enrolment, where only one that the registry knows is renewed; months ago it
    does not, and MQTT's listener takes neither."""
    def days_ago(n):
        return time.strftime('%Y%m%d%H%M%SZ', time.gmtime(time.time() - n * 86400))
    week = signed_by_the_ca(site, 'week', '2A01', days_ago(100), days_ago(7))
    months = signed_by_the_ca(site, 'months', '2A02', days_ago(200), days_ago(60))
    der, _ = site.csr('/CN=week')
    status, _, body = site.curl(EST + 'simplereenroll', '--cert', week[0], '--key', week[1],
                                body=base64.b64encode(der))
    assert status == 403 and b'registry knows no' in body
    with pytest.raises((AssertionError, ValueError)):
        site.curl(EST + 'simplereenroll', '--cert', months[0], '--key', months[1],
                  body=base64.b64encode(site.csr('/CN=months')[0]))
    ctx = ssl.create_default_context(cafile=site.ca.path('pki', 'ca.crt'))
    ctx.load_cert_chain(*week)
    with pytest.raises((OSError, AssertionError)), Raw(site.broker.port, tls=ctx) as c:
        c.connect('week')


def test_approval(site, tmp_path):
    secret = site.token('asks', '--approve')
    der, _ = site.csr('/CN=asks')
    status, head, _ = site.enroll(secret, der)
    assert status == 202 and 'Retry-After:' in head
    assert site.enroll(secret, der)[0] == 202
    assert 'asks' in site.ca('pending')
    # another key in its place is not what is approved
    assert site.enroll(secret, site.csr('/CN=asks')[0])[0] == 400
    site.ca('approve', 'asks')
    assert site.enroll(secret, site.csr('/CN=asks')[0])[0] == 400
    assert site.enroll(secret, der)[0] == 200
    assert 'Nothing waits' in site.ca('pending')
    assert site.enroll(secret, site.csr('/CN=asks')[0])[0] == 401
    text = site.text('turned', '--approve')
    assert 'waits for approval still' in site.nightjar(text, '--wait', '0', '--out',
                                                       str(tmp_path / 'x'), status=1)
    site.ca('deny', 'turned')
    assert 'turned down' in site.nightjar(text, '--wait', '0', '--out', str(tmp_path / 'x'), status=1)
    assert 'nightjar ca pending' in site.ca('approve', 'nobody', status=1)


@pytest.mark.parametrize('request_, status', [
    (b'GET /.well-known/est/nothing HTTP/1.1\r\nHost: x\r\n\r\n', 404),
    (b'GET /.well-known/est/../est/cacerts HTTP/1.1\r\nHost: x\r\n\r\n', 404),
    (b'GET /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n\r\n', 405),
    (b'POST /.well-known/est/cacerts HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n', 405),
    (b'POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\n\r\n', 411),
    (b'POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n'
     b'\r\n0\r\n\r\n', 411),
    (b'POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n', 413),
    (b'POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nAAAA', 401),
    (b'POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n'
     b'Content-Length: 5\r\n\r\nAAAA', 400),
    (b'GET / HTTP/1.0\r\nHost: x\r\n\r\n', 505),
    (b'GET / HTTP/1.1\r\n\r\n', 400),
    (b'GET / HTTP/1.1\nHost: x\n\n', 400),
    (b'GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n', 400),
    (b'GET / HTTP/1.1\r\nHost: x\r\n' + b'A: b\r\n' * 80 + b'\r\n', 431),
    (b'GET /' + b'a' * 9000 + b' HTTP/1.1\r\nHost: x\r\n\r\n', 431),
    (b'\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00', None),
])
def test_odd_requests(site, request_, status):
    ctx = ssl.create_default_context(cafile=site.ca.path('pki', 'ca.crt'))
    with ctx.wrap_socket(socket.create_connection((HOST, site.est), 10),
                         server_hostname='localhost') as s:
        s.sendall(request_)
        got = b''
        with contextlib.suppress(OSError):
            while more := s.recv(65536):
                got += more
    assert got.startswith(b'HTTP/1.1 %d ' % status) if status else not got


def test_body_byte_by_byte(site):
    """And with Expect, as some libraries send it."""
    der, _ = site.csr('/CN=slow')
    body = base64.b64encode(der)
    login = base64.b64encode(b':' + site.token('slow').encode()).decode()
    ctx = ssl.create_default_context(cafile=site.ca.path('pki', 'ca.crt'))
    with ctx.wrap_socket(socket.create_connection((HOST, site.est), 10),
                         server_hostname='localhost') as s:
        s.sendall(f'POST {EST}simpleenroll HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}'
                  f'\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n'.encode())
        assert s.recv(100).startswith(b'HTTP/1.1 100 ')
        for i in range(0, len(body), 7):
            s.sendall(body[i:i + 7])
        assert s.recv(100).startswith(b'HTTP/1.1 200 ')


def test_slow_ones_are_cut_off(brokers, site):
    b = brokers(f'connect_timeout 1\nlistener {(port := free_port())} {HOST}\nprotocol est\n'
                f'ca_dir {site.ca.dir}\n', extra_ports=[port])
    with socket.create_connection((HOST, port), 10) as s:
        s.sendall(b'GET / HTTP/1.1\r\n')
        assert s.recv(1) == b''
    b.wait_log('no HTTP request within')


def test_guessing_is_slowed(site):
    """Nothing tells a wrong secret from a used one."""
    der, _ = site.csr('/CN=guess')
    assert {site.enroll('A' * 22, der)[0], site.enroll('short', der)[0],
            site.enroll('nj1.x:1.y.z', der)[0]} == {401}


def test_tokens_are_not_kept(site):
    secret = site.token('secretive')
    out = sh('grep', '-r', secret, site.ca.dir, check=False)
    assert out == b''
    assert secret not in site.broker.log()
    folder = site.ca.path('pki', 'tokens')
    assert os.stat(folder).st_mode & 0o777 == 0o700
    for name in os.listdir(folder):
        assert os.stat(os.path.join(folder, name)).st_mode & 0o777 == 0o600


@pytest.mark.parametrize('args, says', [
    (['a b'], 'cannot be'), (['x', '--uses', '5'], "'*' at its end"),
    (['x', '--expires', 'never'], '--expires takes'), (['x', '--ttl', '2y'], '--expires takes'),
    ([], 'one name'), (['*/..*'], 'cannot be'), (['x', '--at', 'host:99999'], 'HOST:PORT'),
])
def test_what_is_no_token(site, args, says):
    assert says in site.ca('token', *args, status=2)


def test_qr(site, tmp_path):
    out = str(tmp_path / 'q.png')
    text = site.ca('token', 'qr-1', '--png', out, '--qr', status=None)
    if 'built without' in text:
        pytest.skip('built without libqrencode and libpng')
    assert '█' in text
    with open(out, 'rb') as f:
        assert f.read(8) == b'\x89PNG\r\n\x1a\n'
    assert os.stat(out).st_mode & 0o777 == 0o600


def test_the_key_is_elsewhere(site):
    """The process that reads packets holds neither key nor registry open."""
    children = sh('ps', '-o', 'pid=,comm=', '--ppid', str(site.broker.pid)).decode()
    signer = int(re.search(r'(\d+) nightjar-signer', children).group(1))
    fds = [os.readlink(f'/proc/{signer}/fd/{n}') for n in os.listdir(f'/proc/{signer}/fd')]
    assert not [f for f in fds if 'TCP' in f or 'pki' in f]
    with open(f'/proc/{signer}/status', encoding='ascii') as f:
        status = f.read()
    assert re.search(r'CapEff:\s+0{16}', status) and re.search(r'NoNewPrivs:\s+1', status)
    if not site.broker.sanitized():
        assert re.search(r'Seccomp:\s+2', status)


def test_without_a_ca_it_does_not_start(brokers):
    brokers(f'listener {free_port()} {HOST}\nprotocol est\n', start=False).refuses('ca_dir DIR')


def test_signer_dies(brokers, site):
    """No certificates then; MQTT goes on."""
    port = free_port()
    b = brokers(f'listener {port} {HOST}\nprotocol est\ncertfile {site.ca.path("server", "server.crt")}\n'
                f'keyfile {site.ca.path("server", "server.key")}\nca_dir {site.ca.dir}\n',
                extra_ports=[port])
    children = sh('ps', '-o', 'pid=,comm=', '--ppid', str(b.pid)).decode()
    signer = int(re.search(r'(\d+) nightjar-signer', children).group(1))
    os.kill(signer, 9)
    status, _, _ = site.enroll(site.token('late-one'), site.csr('/CN=late-one')[0], port=port)
    assert status == 503
    with Raw(b.port) as c:
        c.connect('still-here')


def test_issuing_ca(brokers, base_folder, tmp_path):
    """A CA below the root: devices get the chain, and what it takes back is
    out at once."""
    ca = Ca.__new__(Ca)
    ca.dir = new_folder(base_folder, 'ca-')
    ca('init', '--issuing')
    ca('server')
    pair = (f'certfile {ca.path("server", "server.crt")}\nkeyfile {ca.path("server", "server.key")}\n'
            f'cafile {ca.path("pki", "ca.crt")}\n')
    port = free_port()
    b = brokers(f'{pair}require_certificate true\nuse_identity_as_username true\n'
                f'listener {port} {HOST}\nprotocol est\n{pair}', extra_ports=[port], anonymous=False)
    out = str(tmp_path / 'below')
    token = ca('token', 'below', '--at', f'{HOST}:{port}', '-q').strip()
    for args in ([token, '--out', out], ['--renew', out, '--force']):
        p = subprocess.run([harness.NIGHTJAR, 'enroll', *args], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, check=False)
        assert p.returncode == 0, p.stdout
        with Raw(b.port, tls=ca.context(out)) as c:
            c.connect('below')
    with open(os.path.join(out, 'client.crt'), encoding='ascii') as f:
        assert f.read().count('BEGIN CERTIFICATE') == 2
    with Raw(b.port, tls=ca.context(out)) as c:
        c.connect('below')
        ca('revoke', 'below')
        assert c.closed() == 0x98
