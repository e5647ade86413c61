# SPDX-License-Identifier: Apache-2.0
"""What a CA says of the broker's certificate, shown to clients that ask for it:
with openssl's own responder, and with ones that are down, slow or lie."""
import contextlib
import http.server
import os
import re
import subprocess
import threading
import time

import pytest

import harness
from harness import HOST, free_port, wait_until

pytestmark = pytest.mark.ours


def openssl(*args, stdin=None, check=True):
    p = subprocess.run(['openssl', *args], input=stdin, stdin=None if stdin is not None else subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    assert not check or p.returncode == 0, (args, p.stderr)
    return p.stdout.decode('utf-8', 'replace')


class Company:
    """A CA with certificates that name its responder."""

    def __init__(self, folder):
        self.dir = str(folder)
        os.makedirs(self.dir, exist_ok=True)
        self.port = free_port()
        self.root('ca')
        self.lines = {}

    def path(self, name):
        return os.path.join(self.dir, name)

    def root(self, name):
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout',
                self.path(name + '.key'), '-out', self.path(name + '.crt'), '-subj', f'/CN=Company {name}',
                '-days', '30', '-addext', 'keyUsage=critical,keyCertSign,cRLSign')

    def issue(self, name, more='', by='ca', named=True, newkey=('ec', '-pkeyopt', 'ec_paramgen_curve:P-256'),
              usage='serverAuth', dns='localhost'):
        """(certificate and its CA, key)"""
        key, csr, crt, ext = (self.path(name + e) for e in ('.key', '.csr', '.crt', '.ext'))
        openssl('req', '-new', '-newkey', *newkey, '-nodes', '-keyout', key, '-out', csr, '-subj', f'/CN={name}')
        os.chmod(key, 0o600)
        with open(ext, 'w', encoding='ascii') as f:
            f.write('basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\n'
                    f'extendedKeyUsage={usage}\nsubjectAltName=DNS:{dns}\n'
                    + (f'authorityInfoAccess=OCSP;URI:http://{HOST}:{self.port}/ocsp\n' if named else '') + more)
        openssl('x509', '-req', '-in', csr, '-CA', self.path(by + '.crt'), '-CAkey', self.path(by + '.key'),
                '-out', crt, '-days', '20', '-extfile', ext)
        self.mark(name)
        with open(crt, 'a', encoding='ascii') as out, open(self.path(by + '.crt'), encoding='ascii') as ca:
            out.write(ca.read())
        return crt, key

    def mark(self, name, revoked=None):
        """What the responder says of it: valid, or revoked for a reason."""
        text = openssl('x509', '-in', self.path(name + '.crt'), '-noout', '-serial')
        serial = text.strip().split('=')[1]
        when = time.strftime('%y%m%d%H%M%SZ', time.gmtime(time.time() - 3600))
        self.lines[name] = '\t'.join(['R' if revoked else 'V', '350101000000Z', f'{when},{revoked}' if revoked else '',
                                      serial, 'unknown', f'/CN={name}'])
        with open(self.path('index'), 'w', encoding='ascii') as f:
            f.write('\n'.join(self.lines.values()) + '\n')

    def answer_args(self, signer='ca', *more):
        return ['-index', self.path('index'), '-CA', self.path('ca.crt'), '-rsigner', self.path(signer + '.crt'),
                '-rkey', self.path(signer + '.key'), *(more or ('-ndays', '1'))]

    @contextlib.contextmanager
    def responder(self, signer='ca', *more):
        """openssl's, as it is."""
        with open(self.path('responder.log'), 'wb') as log:
            p = subprocess.Popen(['openssl', 'ocsp', '-port', str(self.port), *self.answer_args(signer, *more)],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            # It serves one at a time: a connection only to look would hold it up.
            def listens():
                with open(self.path('responder.log'), encoding='utf-8') as f:
                    return 'ACCEPT' in f.read()
            wait_until(listens, 'the responder listens')
            yield p
        finally:
            p.kill()
            p.wait()

    @contextlib.contextmanager
    def fake(self, signer='ca', *more, status=200, silent=False, body=None, twist=None,
             sized=True, claim=0):
        """One of ours, that answers with what openssl makes of the question, or
        with something else; the list of what it was asked."""
        company, asked = self, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                q = self.rfile.read(int(self.headers['Content-Length']))
                asked.append((self.path, self.headers['Content-Type'], self.request_version))
                if silent:
                    time.sleep(30)
                    return
                out = body
                if out is None:
                    with open(company.path('q.der'), 'wb') as f:
                        f.write(q)
                    openssl('ocsp', '-reqin', company.path('q.der'), '-respout', company.path('a.der'),
                            *company.answer_args(signer, *more))
                    with open(company.path('a.der'), 'rb') as f:
                        out = f.read()
                if twist:
                    out = twist(out)
                self.send_response(status)
                if sized:
                    self.send_header('Content-Length', str(claim or len(out)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(out)

            def log_message(self, *args):
                pass
        server = http.server.ThreadingHTTPServer((HOST, self.port), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
def company(tmp_path):
    return Company(tmp_path / 'company')


@pytest.fixture
def broker_of(tmp_path):
    started = []

    def start(pair, more=''):
        port = free_port()
        conf = (f'listener {port}\ncertfile {pair[0]}\nkeyfile {pair[1]}\nallow_anonymous true\n'
                f'log_type all\nuser root\n{more}')
        started.append(harness.Broker(str(tmp_path), conf, port))
        return started[-1].start()
    yield start
    for broker in started:
        assert broker.stop() == 0
        assert broker.faults() == ''


def shown(broker, version='-tls1_3', *args):
    """What a client of openssl's says of the answer it was shown."""
    text = openssl('s_client', '-connect', f'{HOST}:{broker.port}', '-servername', 'localhost', '-status', version,
                   *args, stdin=b'', check=False)
    if 'OCSP response: no response sent' in text:
        return None
    return re.search('Cert Status: (.*)', text).group(1)


@pytest.mark.parametrize('signer', ['ca', 'helper'])
def test_good(company, broker_of, signer):
    """Fetched in the background and shown, by TLS 1.3 and 1.2, with each
    certificate its own; the CA may have somebody else sign its answers."""
    pair = company.issue('own')
    rsa = company.issue('rsa', newkey=('rsa:2048',))
    other = company.issue('other', dns='elsewhere.example')
    if signer == 'helper':
        company.issue('helper', usage='OCSPSigning', named=False)
    with company.responder(signer):
        broker = broker_of(pair, f'further_certificate {rsa[0]} {rsa[1]}\n'
                           f'further_certificate {other[0]} {other[1]}\n')
        for name in ('own', 'rsa', 'other'):
            broker.wait_log(f"the CA says that the certificate '{name}' is good, until")
    assert shown(broker) == shown(broker, '-tls1_2') == 'good'
    assert shown(broker, '-tls1_2', '-cipher', 'ECDHE-RSA-AES128-GCM-SHA256') == 'good'
    assert shown(broker, '-tls1_3', '-servername', 'elsewhere.example') == 'good'
    # The client's own check of it.
    text = openssl('s_client', '-connect', f'{HOST}:{broker.port}', '-status', '-CAfile', company.path('ca.crt'),
                   '-verify_return_error', stdin=b'')
    serial = openssl('x509', '-in', pair[0], '-noout', '-serial').strip().split('=')[1]
    assert f'Serial Number: {serial}' in text
    # A reload goes on with it, without asking.
    mark = broker.log_size()
    broker.hup()
    broker.wait_log('Reloaded', mark)
    assert shown(broker) == 'good'
    assert 'OCSP' not in broker.log(mark)
    out = subprocess.run([harness.NIGHTJAR, 'inspect', f'localhost:{broker.port}', '--cafile', company.path('ca.crt')],
                         stdout=subprocess.PIPE, text=True, check=False).stdout
    assert "the CA says that the server's certificate is good" in out, out


def test_no_length(company, broker_of):
    """An answer that ends with the connection, as those to HTTP/1.0 may."""
    pair = company.issue('own')
    with company.fake(sized=False) as asked:
        broker = broker_of(pair)
        broker.wait_log("the CA says that the certificate 'own' is good, until")
    assert asked == [('/ocsp', 'application/ocsp-request', 'HTTP/1.0')]
    assert shown(broker) == 'good'


def test_issuer_comes_with_a_reload(company, broker_of):
    """Asked at once then, not when the last failure says."""
    pair = company.issue('own')
    with open(pair[0], encoding='ascii') as f:
        whole = f.read()
    with open(pair[0], 'w', encoding='ascii') as f:
        f.write(whole[:whole.index('-----END') + len('-----END CERTIFICATE-----\n')])
    with company.fake():
        broker = broker_of(pair)
        broker.wait_log('who issued it is not in its file')
        with open(pair[0], 'w', encoding='ascii') as f:
            f.write(whole)
        broker.hup()
        broker.wait_log("the CA says that the certificate 'own' is good, until")
    assert shown(broker) == 'good'


def test_revoked(company, broker_of):
    """It is said in the log, to clients, and by inspect and doctor."""
    pair = company.issue('own')
    company.mark('own', 'keyCompromise')
    with company.responder():
        broker = broker_of(pair)
        broker.wait_log("Error: the CA has revoked the certificate 'own' .* that we serve with, on .*keyCompromise.*"
                        'To mend it')
    assert shown(broker) == 'revoked'
    for argv in (['inspect', f'localhost:{broker.port}', '--cafile', company.path('ca.crt')],
                 ['doctor', f'localhost:{broker.port}', '--cafile', company.path('ca.crt')]):
        p = subprocess.run([harness.NIGHTJAR, *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False)
        assert p.returncode != 0
        assert "its CA has revoked the server's certificate on " in p.stdout and 'keyCompromise' in p.stdout, p.stdout


WRONG = {
    'stranger': (dict(signer='stranger'), 'not signed by the CA'),
    'no helper': (dict(signer='plain'), 'not signed by the CA'),
    'unknown': (dict(forget=True), 'does not know it'),
    'status': (dict(status=500), 'HTTP status 500'),
    'moved': (dict(status=301), 'HTTP status 301'),
    'noise': (dict(body=b'<html>'), 'is no OCSP answer'),
    'tail': (dict(twist=lambda b: b + b'x'), 'is no OCSP answer'),
    'bit': (dict(twist=lambda b: b[:100] + bytes([b[100] ^ 1]) + b[101:]), 'is no OCSP answer|not signed by the CA'),
    'flood': (dict(body=b'x' * 300000), 'longer than'),
    'flood without end': (dict(body=b'x' * 300000, sized=False), 'longer than'),
    'noise without length': (dict(body=b'<html>' * 1000, sized=False), 'is no OCSP answer'),
    'cut off': (dict(claim=5000), 'cut off'),
    'refusal': (dict(body=bytes.fromhex('30030a0106')), 'the CA\'s responder says: unauthorized'),
}


@pytest.mark.parametrize('what', WRONG)
def test_wrong_answers(company, broker_of, what):
    """Not shown, and the log says what is wrong; clients are served."""
    how, want = WRONG[what]
    pair = company.issue('own')
    company.root('stranger')
    company.issue('plain', usage='serverAuth', named=False)
    if how.get('forget'):
        company.issue('else')
        del company.lines['own']
        company.mark('else')
    with company.fake(how.get('signer', 'ca'), *how.get('more', ()), status=how.get('status', 200),
                      body=how.get('body'), twist=how.get('twist'), sized=how.get('sized', True),
                      claim=how.get('claim', 0)) as asked:
        broker = broker_of(pair)
        broker.wait_log(f"Warning: OCSP: no answer about the certificate 'own' from http://{HOST}:{company.port}/ocsp: "
                        f'.*({want}).*served without')
        assert asked == [('/ocsp', 'application/ocsp-request', 'HTTP/1.0')]
    assert shown(broker) is None


def test_answer_about_another(company, broker_of):
    pair = company.issue('own')
    company.issue('other')
    issued = company.path('other.crt')
    openssl('ocsp', '-issuer', company.path('ca.crt'), '-cert', issued, '-reqout', company.path('q2.der'))
    openssl('ocsp', '-reqin', company.path('q2.der'), '-respout', company.path('a2.der'), *company.answer_args())
    with open(company.path('a2.der'), 'rb') as f:
        other = f.read()
    with company.fake(body=other):
        broker = broker_of(pair)
        broker.wait_log('about another certificate')
    assert shown(broker) is None


def test_down_and_slow(company, broker_of):
    """Clients wait for none of it, nor does the end of the broker."""
    pair = company.issue('own', 'tlsfeature=status_request\n')
    broker = broker_of(pair)
    # Clients insist on an answer: that is an error.
    broker.wait_log("Error: OCSP: no answer about the certificate 'own'.*nothing listens.*refuse it.*must-staple")
    assert shown(broker) is None
    out = subprocess.run([harness.NIGHTJAR, 'inspect', f'localhost:{broker.port}', '--cafile', company.path('ca.crt')],
                         stdout=subprocess.PIPE, text=True, check=False).stdout
    assert 'must-staple' in out
    assert broker.stop() == 0
    with company.fake(silent=True) as asked:
        broker.start()
        wait_until(lambda: asked, 'it is asked')
        assert shown(broker) is None
        assert broker.stop() == 0


def test_not_asked(company, broker_of):
    """No responder is named, or the operator wants none of it."""
    silent = company.issue('silent', named=False)
    named = company.issue('named')
    with company.fake() as asked:
        broker = broker_of(silent)
        second = broker_of(named, 'ocsp_stapling false\n')
        assert shown(broker) is None and shown(second) is None
        time.sleep(1.5)
        assert not asked
    assert 'OCSP' not in broker.log()
