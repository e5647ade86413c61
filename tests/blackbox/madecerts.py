# SPDX-License-Identifier: Apache-2.0
"""Client certificates with any names one likes, by the openssl command; also
CAs below CAs."""
import os
import ssl
import subprocess

import pahoc


def openssl(*args, cwd, text=None, env=None):
    return subprocess.run(['openssl', *args], check=True, cwd=cwd, input=text, text=True, env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


class Maker:
    """A CA in a folder: its own, or one below `parent`."""

    def __init__(self, folder, name, parent=None):
        self.dir, self.n, self.parent = str(folder), 0, parent
        os.makedirs(self.dir, exist_ok=True)
        self.crt, self.key = self.path('ca.crt'), self.path('ca.key')
        if parent:
            self.crt, self.key = parent.issue(f'/CN={name}', ca=True)
        else:
            self._key(self.key)
            openssl('req', '-x509', '-new', '-key', self.key, '-subj', f'/CN={name}', '-days', '30',
                    '-addext', 'keyUsage=critical,keyCertSign,cRLSign', '-out', self.crt,
                    cwd=self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def _key(self, path):
        openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path,
                cwd=self.dir)
        os.chmod(path, 0o600)

    def crl(self, *revoked, scope=None):
        """Its list, PEM, with these certificates and those of before; scope: which
        certificates it says it is about."""
        folder = self.path('lists')
        conf = os.path.join(folder, 'cnf')
        if not os.path.exists(folder):
            os.mkdir(folder)
            with open(os.path.join(folder, 'index'), 'w', encoding='ascii'):
                pass
            with open(os.path.join(folder, 'number'), 'w', encoding='ascii') as f:
                f.write('01\n')
            with open(conf, 'w', encoding='ascii') as f:
                f.write(f'[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index\ncrlnumber={folder}/number\n'
                        'default_md=sha256\ndefault_crl_days=30\n'
                        '[scope]\nissuingDistributionPoint=critical,$ENV::SCOPE\n')
        by = ['-config', conf, '-cert', self.crt, '-keyfile', self.key]
        env = {**os.environ, 'SCOPE': scope or ''}
        for crt in revoked:
            openssl('ca', *by, '-revoke', crt, cwd=folder, env=env)
        return openssl('ca', *by, '-gencrl', *(['-crlexts', 'scope'] if scope else []), cwd=folder, env=env)

    def issue(self, subject, san='', ca=False, usage='clientAuth', extra='', serial=None,
              exts=None):
        """(certificate with what a verifier needs of CAs, key); exts: all its extensions."""
        self.n += 1
        key, csr, crt, ext = (self.path(f'{self.n}.{e}') for e in ('key', 'csr', 'crt', 'ext'))
        self._key(key)
        openssl('req', '-new', '-utf8', '-key', key, '-subj', subject, '-out', csr, cwd=self.dir)
        with open(ext, 'w', encoding='utf-8') as f:
            if exts is not None:
                f.write(exts)
            elif ca:
                f.write('basicConstraints=critical,CA:true\n'
                        'keyUsage=critical,keyCertSign,cRLSign\n')
            else:
                f.write('basicConstraints=CA:false\nkeyUsage=critical,digitalSignature\n'
                        f'extendedKeyUsage={usage}\n')
            if san:
                f.write(f'subjectAltName={san}\n')
            f.write(extra)
        openssl('x509', '-req', '-in', csr, '-CA', self.crt, '-CAkey', self.key,
                *(['-set_serial', serial] if serial else ['-CAcreateserial']), '-days', '30', '-extfile', ext, '-out', crt, cwd=self.dir)
        if self.parent:
            with open(crt, 'a', encoding='ascii') as out, open(self.crt, encoding='ascii') as own:
                out.write(own.read())
        return crt, key


def spki_sha256(crt):
    """As 'nightjar inspect' prints it."""
    import hashlib
    pem = openssl('x509', '-in', crt, '-noout', '-pubkey', cwd='/')
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(
        pem.replace('PUBLIC KEY', 'CERTIFICATE'))).hexdigest()


def shows(ca, pair, version=None):
    """A TLS context of a client with this certificate."""
    ctx = pahoc.tls_context(ca, *pair, check_name=False)
    if version:
        ctx.minimum_version = ctx.maximum_version = version
    return ctx
