# SPDX-License-Identifier: Apache-2.0
"""Certificates for the black-box tests, good ones and bad ones, made with
the openssl command so that they do not depend on the code under test."""
import os
import subprocess

CONFIG = '''
[req]
distinguished_name = dn
prompt = no
[dn]
CN = unused
[ca]
default_ca = default
[default]
dir = {dir}
database = {dir}/index.txt
serial = {dir}/serial
crlnumber = {dir}/crlnumber
new_certs_dir = {dir}
certificate = {dir}/ca.crt
private_key = {dir}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = supplied
[v3_ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost,IP:127.0.0.1,IP:::1
[othername]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:elsewhere.example
[client]
basicConstraints = CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = clientAuth
'''


class Authority:
    """A CA in a folder; issue() gives (certificate path, key path)."""

    def __init__(self, folder, name='Test CA'):
        self.dir = str(folder)
        os.makedirs(self.dir, exist_ok=True)
        self.conf = self.path('openssl.cnf')
        self._write('openssl.cnf', CONFIG.format(dir=self.dir))
        self._write('index.txt', '')
        self._write('serial', '1000\n')
        self._write('crlnumber', '1000\n')
        self.ca = self.path('ca.crt')
        self._key('ca.key')
        self.openssl('req', '-x509', '-new', '-key', self.path('ca.key'), '-subj', f'/CN={name}',
                     '-days', '30', '-extensions', 'v3_ca', '-out', self.ca)

    def path(self, name):
        return os.path.join(self.dir, name)

    def _write(self, name, text):
        with open(self.path(name), 'w', encoding='ascii') as f:
            f.write(text)

    def openssl(self, verb, *args, config=True):
        extra = ['-config', self.conf] if config else []
        subprocess.run(['openssl', verb, *extra, *args], check=True, cwd=self.dir,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)

    def _key(self, name):
        self.openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256',
                     '-out', self.path(name), config=False)
        os.chmod(self.path(name), 0o600)

    def issue(self, name, usage='client', start=None, end=None):
        """usage: client, server or othername (a server of another name)."""
        key, csr, crt = (self.path(name + ext) for ext in ('.key', '.csr', '.crt'))
        self._key(name + '.key')
        self.openssl('req', '-new', '-key', key, '-subj', f'/CN={name}', '-out', csr)
        dates = ['-startdate', start, '-enddate', end] if start else []
        self.openssl('ca', '-batch', '-notext', '-in', csr, '-out', crt,
                     '-extensions', usage, *dates)
        return crt, key

    def encrypt_key(self, key, passphrase):
        out = key.replace('.key', '-locked.key')
        self.openssl('pkey', '-in', key, '-aes256', '-passout', f'pass:{passphrase}',
                     '-out', out, config=False)
        os.chmod(out, 0o600)
        return out

    def revoke(self, crt):
        self.openssl('ca', '-revoke', crt)

    def crl(self):
        out = self.path('ca.crl')
        self.openssl('ca', '-gencrl', '-out', out)
        return out


class Pki:
    """One good CA with a server, a client, and clients that must be refused."""

    def __init__(self, folder):
        self.authority = Authority(os.path.join(folder, 'ca'))
        self.ca = self.authority.ca
        self.server = self.authority.issue('server', 'server')
        self.other_name = self.authority.issue('othername', 'othername')
        self.client = self.authority.issue('alice')
        self.expired = self.authority.issue(
            'expired', start='20200101000000Z', end='20200201000000Z')
        self.wrong_usage = self.authority.issue('wrongusage', 'server')
        self.revoked = self.authority.issue('revoked')
        self.authority.revoke(self.revoked[0])
        self.crl = self.authority.crl()
        stranger = Authority(os.path.join(folder, 'stranger'), 'Stranger CA')
        self.stranger_ca = stranger.ca
        self.stranger = stranger.issue('mallory')
