# SPDX-License-Identifier: Apache-2.0
"""What the table of mistakes (mistakes.py) is played in: one broker with a
listener of each kind, its files, and clients that people use."""
import os
import shutil
import socket
import ssl
import subprocess

import proxyraw
from harness import HOST, NIGHTJAR, PATIENCE, free_port, preload, wait_until
from raw import Raw, connect_packet

KEY = 'a1b2c3d4' * 8


def run(*argv, stdin=subprocess.DEVNULL, data=None, env=None):
    """(worked, all that it said)"""
    done = subprocess.run([str(a) for a in argv], stdin=None if data else stdin, input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE * 2,
                          check=False, env=env and dict(os.environ, **env))
    return done.returncode == 0, done.stdout.decode('utf-8', 'replace')


class World:
    def __init__(self, factory, pki, folder):
        self.pki, self.folder = pki, folder
        self.socket = self.path('admin.sock')
        self.port_tls, self.port_plain, self.port_ws, self.port_proxy, self.port_login, \
            self.port_psk, self.port_none = (free_port() for _ in range(7))
        self.serial = 100
        run(NIGHTJAR, 'passwd', '-c', '-b', self.path('passwords'), 'joe', 'secret')
        self.write('psk', f'sensor:{KEY}\n')
        self.put(pki.server)
        self.broker = factory('', extra_ports=[self.port_tls, self.port_plain, self.port_ws,
                                               self.port_proxy, self.port_login, self.port_psk],
                              anonymous=False, start=False)
        self.port_mutual = self.broker.port
        self.broker.write_conf(self.conf())
        self.broker.start()
        self.broker.wait_log(' running')	# its ports answer before it has read all of its files
        self.clear()

    def conf(self, ca=True, crl=True, more=''):
        ours = f"certfile {self.path('server.crt')}\nkeyfile {self.path('server.key')}\n"
        return ((f'user root\n' if os.geteuid() == 0 else '')
                + f'per_listener_settings true\nadmin_socket {self.socket}\nlog_type all\n'
                f'listener {self.port_mutual} {HOST}\n{ours}'
                + (f"cafile {self.path('ca.crt')}\n" if ca else '')
                + 'require_certificate true\nuse_identity_as_username true\n'
                + (f"crlfile {self.path('crl')}\n" if ca and crl else '')
                + f'listener {self.port_tls} {HOST}\n{ours}allow_anonymous true\n{more}'
                f'listener {self.port_plain} {HOST}\nallow_anonymous true\n'
                f'listener {self.port_ws} {HOST}\nprotocol websockets\nallow_anonymous true\n'
                f'listener {self.port_proxy} {HOST}\nenable_proxy_protocol 2\n'
                'allow_anonymous true\n'
                f"listener {self.port_login} {HOST}\n{ours}password_file {self.path('passwords')}\n"
                f"listener {self.port_psk} {HOST}\npsk_hint x\npsk_file {self.path('psk')}\n"
                'use_identity_as_username true\n')

    def clear(self):
        """Before each row."""
        self.subject, self.doctor_args, self.doctor_target = None, None, 'localhost'
        self.last_args, self.doctor_days = [], 0
        self.reloaded, self.worked = '', None

    # -- files --------------------------------------------------------------

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, data):
        path = self.path(name)
        with open(path, 'wb') as f:
            f.write(data if isinstance(data, bytes) else data.encode())
        os.chmod(path, 0o600)
        return path

    def copy(self, path, name):
        shutil.copy(path, self.path(name))
        os.chmod(self.path(name), 0o600)
        return self.path(name)

    def join(self, name, *paths):
        return self.write(name, b''.join(open(p, 'rb').read() for p in paths))

    def openssl(self, *args):
        worked, text = run('openssl', *args)
        assert worked, text

    def made(self, name, usage='client', start=None, end=None):
        return self.pki.authority.issue(name, usage, start, end)

    def p12(self, password, *more):
        out = self.path(f'client{len(more)}.p12')
        self.openssl('pkcs12', '-export', *more, '-in', self.pki.client[0], '-inkey',
                     self.pki.client[1], '-passout', f'pass:{password}', '-out', out)
        return out

    def signed(self, name, subject, ext, issuer=None, key_args=None, days=60):
        """A certificate of the good CA (or another) with these extensions."""
        key, crt, csr = (self.path(name + e) for e in ('.key', '.crt', '.csr'))
        ca, ca_key = issuer or (self.pki.ca, self.pki.authority.path('ca.key'))
        self.serial += 1
        self.openssl('req', '-new', '-nodes', '-keyout', key, *(key_args or [
            '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']), '-subj', subject, '-out', csr)
        conf = ['-extfile', self.write(name + '.ext', '[x]\n' + ext), '-extensions', 'x']
        self.openssl('x509', '-req', '-in', csr, '-CA', ca, '-CAkey', ca_key, '-set_serial',
                     self.serial, '-days', days, *conf, '-out', crt)
        os.chmod(key, 0o600)
        return crt, key

    def named(self, san, cn='broker'):
        ext = 'extendedKeyUsage=serverAuth\n' + (f'subjectAltName={san}\n' if san else '')
        return self.signed('named', f'/CN={cn}', ext)

    def subject_only(self, subject):
        return self.signed('nameless', subject, 'extendedKeyUsage=clientAuth\n')

    def weak(self, name, key_args, digest):
        key, crt = self.path(name + '.key'), self.path(name + '.crt')
        csr = self.path(name + '.csr')
        self.openssl('req', '-new', '-nodes', '-keyout', key, *key_args, '-subj', '/CN=localhost',
                     '-out', csr)
        self.openssl('x509', '-req', digest, '-in', csr, '-CA', self.pki.ca, '-CAkey',
                     self.pki.authority.path('ca.key'), '-set_serial', '99', '-days', '60',
                     '-extfile', self.write('weak.ext', 'subjectAltName=DNS:localhost\n'), '-out', crt)
        os.chmod(key, 0o600)
        return crt, key

    def version1_ca(self):
        """As seed 1 makes it: -extensions without -extfile is ignored."""
        key, csr, crt = (self.path('v1' + e) for e in ('.key', '.csr', '.crt'))
        self.openssl('req', '-new', '-nodes', '-newkey', 'rsa:2048', '-keyout', key, '-subj',
                     '/CN=Old CA', '-out', csr)
        self.openssl('x509', '-req', '-days', '365', '-extensions', 'v3_ca', '-signkey', key,
                     '-in', csr, '-out', crt)
        return crt

    def p7b(self, *certs):
        out = self.path('bundle.p7b')
        self.openssl('crl2pkcs7', '-nocrl', *(a for c in certs for a in ('-certfile', c)), '-out', out)
        return out

    def curve_alone(self):
        out = self.path('curve.key')
        self.openssl('ecparam', '-name', 'prime256v1', '-out', out)
        os.chmod(out, 0o600)
        return out

    def dead_link(self):
        link = self.path('dead.crt')
        os.symlink('../../archive/example.org/fullchain1.pem', link)
        return link

    def sealed_oldly(self, key):
        out = self.path('des.key')
        self.openssl('ec', '-provider', 'legacy', '-provider', 'default', '-in', key, '-des',
                     '-passout', 'pass:geheim', '-out', out)
        os.chmod(out, 0o600)
        return out

    def fenced_server(self):
        ca = self.signed('fenced', '/CN=Fenced', 'basicConstraints=critical,CA:true\n'
                         'keyUsage=critical,keyCertSign\nnameConstraints=critical,permitted;DNS:example.com\n')
        leaf, key = self.signed('fs', '/CN=localhost', 'extendedKeyUsage=serverAuth\n'
                                'subjectAltName=DNS:localhost\n', ca)
        return self.join('fs.pem', leaf, ca[0]), key

    def expired_root(self):
        """Of the good CA, with its key."""
        a = self.pki.authority
        a.openssl('req', '-new', '-key', a.path('ca.key'), '-subj', '/CN=Test CA', '-out',
                  self.path('root.csr'))
        a.openssl('ca', '-batch', '-notext', '-selfsign', '-keyfile', a.path('ca.key'), '-in',
                  self.path('root.csr'), '-extensions', 'v3_ca', '-startdate', '20000530104838Z',
                  '-enddate', '20200530104838Z', '-out', self.path('root.crt'))
        return self.path('root.crt')

    def serial_of(self, crt):
        return run('openssl', 'x509', '-noout', '-serial', '-in', crt)[1].strip().partition('=')[2]

    def middle(self, days=60):
        return self.signed('middle', '/CN=Middle', 'basicConstraints=critical,CA:true\n'
                           'keyUsage=critical,keyCertSign,cRLSign\n', days=days)

    def below_intermediate(self, whole, days=60):
        middle = self.middle(days)
        leaf, key = self.signed('below', '/CN=below', 'extendedKeyUsage=serverAuth\n'
                                'subjectAltName=DNS:localhost,IP:127.0.0.1\n', middle)
        return (self.join('chain.crt', leaf, middle[0]) if whole else leaf), key

    def client_below_intermediate(self):
        middle = self.middle()
        leaf, key = self.signed('deep', '/CN=deep', 'extendedKeyUsage=clientAuth\n', middle)
        return leaf, key, self.join('deep-chain.crt', leaf, middle[0])

    def self_signed(self):
        key, crt = self.path('self.key'), self.path('self.crt')
        self.openssl('req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt',
                     'ec_paramgen_curve:P-256', '-keyout', key, '-subj', '/CN=localhost', '-days',
                     '60', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-addext',
                     'basicConstraints=critical,CA:false', '-out', crt)
        os.chmod(key, 0o600)
        return crt, key

    def namesake_ca(self, subject='/CN=Test CA', *more):
        """Another CA of that name."""
        key, crt = self.path('namesake.key'), self.path('namesake.crt')
        self.openssl('req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                     '-keyout', key, '-subj', subject, '-addext', 'basicConstraints=critical,CA:true',
                     '-addext', 'keyUsage=critical,keyCertSign,cRLSign', *(more or ('-days', '60')),
                     '-out', crt)
        return crt, key

    def short_ca(self):
        return self.namesake_ca('/CN=Short CA', '-days', '1')

    def crl_of(self, ca):
        conf = self.write('crl.cnf', '[ca]\ndefault_ca=d\n[d]\ndatabase=' + self.write('index', '')
                          + '\ndefault_md=sha256\ndefault_crl_days=30\n')
        self.openssl('ca', '-gencrl', '-config', conf, '-keyfile', ca[1], '-cert', ca[0], '-out',
                     self.path('other.crl'))
        return self.path('other.crl')

    def converted_der(self, key):
        self.openssl('pkey', '-in', key, '-outform', 'DER', '-out', self.path('server.der'))
        return self.path('server.der')

    def public(self, key):
        self.openssl('pkey', '-in', key, '-pubout', '-out', self.path('server.pub'))
        return self.path('server.pub')

    def old_crl(self):
        out = self.path('old.crl')
        self.pki.authority.openssl('ca', '-gencrl', '-crl_lastupdate', '20200101000000Z',
                                   '-crl_nextupdate', '20200201000000Z', '-out', out)
        return out

    # -- the broker ---------------------------------------------------------

    def put(self, pair, ca=None, crl=None):
        for path, name in ((pair[0], 'server.crt'), (pair[1], 'server.key'),
                           (ca or self.pki.ca, 'ca.crt'), (crl or self.pki.crl, 'crl')):
            if os.path.lexists(self.path(name)):
                os.unlink(self.path(name))
            if os.path.exists(path):
                self.copy(path, name)
            elif os.path.islink(path):
                os.symlink(os.readlink(path), self.path(name))

    def reload(self):
        self.worked, text = run(NIGHTJAR, 'reload', '--socket', self.socket)
        self.reloaded += text
        return self.worked

    def refuses(self, pair, ca=None, crl=None):
        """The running broker does not take it, says why, and keeps what it has."""
        self.put(pair, ca, crl)
        assert not self.reload(), 'the broker took it'

    def refuses_ca(self, path):
        if path is None:
            self.broker.write_conf(self.conf(ca=False))
            assert not self.reload(), 'the broker took it'
        else:
            self.refuses(self.pki.server, ca=path)

    def refuses_crl(self, path):
        self.refuses(self.pki.server, crl=path)

    def add_line(self, line):
        self.broker.write_conf(self.conf(more=line + '\n'))
        assert self.reload(), self.reloaded

    def without_crl(self):
        self.broker.write_conf(self.conf(crl=False))
        assert self.reload(), self.reloaded

    def accepts(self, pair):
        self.put(pair)
        self.broker.write_conf(self.conf())
        assert self.reload(), self.reloaded

    def serve(self, pair):
        self.put(pair)
        assert self.reload(), self.reloaded

    # -- clients: (worked, what it said) ------------------------------------

    def tls(self, cafile='', port=None):
        cafile = self.pki.ca if cafile == '' else cafile
        return ['-h', 'localhost', '-p', port or self.port_tls] + (
            ['--cafile', cafile] if cafile else [])

    def mutual(self, pair):
        own = ['--cert', pair[0], '--key', pair[1]] if pair else []
        return self.tls(port=self.port_mutual) + own

    def plain(self, port):
        return ['-h', HOST, '-p', port]

    def psk(self, identity, key):
        return ['-h', HOST, '-p', self.port_psk, '--psk-identity', identity, '--psk', key]

    def mosquitto(self, args):
        self.last_args = args
        return run('mosquitto_pub', *args, '-t', 'x', '-m', 'y', '-q', '1')

    def nightjar(self, args):
        self.last_args = args
        return run(NIGHTJAR, 'pub', *args, '-t', 'x', '-m', 'y', '-q', '1')

    def s_client(self, args):
        return run('openssl', 's_client', '-connect', f'localhost:{self.port_tls}', '-brief',
                   '-CAfile', self.pki.ca, *args)

    def curl(self, args):
        worked, text = run('curl', '-sS', '--max-time', str(int(PATIENCE)), *args)
        return worked and 'HTTP' in text, text

    def curl_p12(self, args):
        """curl gets as far as the handshake: MQTT has no HTTP."""
        for seconds in 2, 10, 40:	# as long as the machine needs
            worked, text = run('curl', '-sSv', '--max-time', str(seconds), '--cacert', self.pki.ca,
                               '--cert-type', 'P12', '-E', ':'.join(args),
                               f'https://localhost:{self.port_mutual}/')
            worked = worked or 'SSL connection using' in text
            if worked or 'timed out' not in text:
                break
        return worked, text

    def python_strict(self, args):
        return self.python(args, strict=True)

    def python(self, args, strict=False):
        host = args[0] if args[0][:1] != '-' else 'localhost'
        cafile = args[args.index('--cafile') + 1] if '--cafile' in args else self.pki.ca
        ctx = ssl.create_default_context(cafile=cafile)
        ctx.hostname_checks_common_name = not strict
        try:
            with socket.create_connection((HOST, self.port_tls), PATIENCE) as s, \
                    ctx.wrap_socket(s, server_hostname=host) as t:
                t.sendall(connect_packet('python'))
                return t.recv(1) == b'\x20', ''
        except OSError as e:
            return False, str(e)

    python_ca = python

    def mosquitto_tls(self, args):
        return self.mosquitto([*self.tls(cafile=None), *args])

    def curl_get(self, args):
        return False, self.curl([f'http://localhost:{self.port_ws}/mqtt'])[1]

    def python_twice(self, args):
        """TLS within TLS, as a tunnel in front of a client that has it makes."""
        ctx = ssl.create_default_context(cafile=self.pki.ca)
        inner = ssl.MemoryBIO(), ssl.MemoryBIO()
        with socket.create_connection((HOST, self.port_tls), PATIENCE) as s, \
                ctx.wrap_socket(s, server_hostname=args[0]) as t:
            obj = ctx.wrap_bio(*inner, server_hostname=args[0])
            try:
                obj.do_handshake()
            except ssl.SSLWantReadError:
                t.sendall(inner[1].read())
            return bool(t.recv(1)), ''

    def proxied_v1(self, args):
        try:
            with Raw(args[0]) as c:
                c.send(b'PROXY TCP4 192.0.2.1 192.0.2.2 4711 1883\r\n' + connect_packet('proxied'))
                return c.sock.recv(1) == b'\x20', ''
        except OSError as e:
            return False, str(e)

    def curl_ws(self, args):
        for seconds in 0.3, 2, 10, 30:	# one that is let in stays until then
            _, text = run('curl', '-si', '--max-time', str(seconds), '-H', 'Upgrade: websocket',
                          '-H', 'Connection: Upgrade', '-H', 'Sec-WebSocket-Version: 13', '-H',
                          'Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==', *args,
                          f'http://localhost:{self.port_ws}/mqtt')
            if 'HTTP/1.1 ' in text:
                break
        return ' 101 ' in text, text

    def proxied(self, args):
        try:
            with Raw(args[0]) as c:
                c.send(proxyraw.v2() + connect_packet('proxied'))
                return c.sock.recv(1) == b'\x20', ''
        except OSError as e:
            return False, str(e)

    # -- who names the cause ------------------------------------------------

    def inspect(self, *args):
        done = subprocess.run([NIGHTJAR, 'inspect', *map(str, args)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE,
                              check=False)
        return done.stdout.decode() if '--pem' in args or '--pem-key' in args else (
            done.stdout + done.stderr).decode()

    def doctor(self):
        args = self.doctor_args if self.doctor_args is not None else [
            a for a in self.last_args if a != '--tls-use-os-certs']
        if '-p' not in args:
            args = ['-h', self.doctor_target, '-p', self.port_tls, *(args or self.tls()[4:])]
        elif '-h' not in args:
            args = ['-h', 'localhost', *args]
        return run(NIGHTJAR, 'doctor', *args, '--socket', self.socket,
                   env=preload(self.doctor_days) if self.doctor_days else None)[1]

    def reloads(self, args):
        """What the last reload came to; one that has not been, is made."""
        return (self.reload() if self.worked is None else self.worked), ''

    def config(self):
        """What a start would say."""
        return run(NIGHTJAR, 'serve', '--test-config', '-c', self.broker.conf_path)[1]

    def log_says(self, pattern, start):
        import re
        wait_until(lambda: re.search(pattern, self.broker.log(start)), f'/{pattern}/ in the log')
