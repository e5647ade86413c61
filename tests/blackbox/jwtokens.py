# SPDX-License-Identifier: Apache-2.0
"""JSON Web Tokens and the keys for them, made without the code under test:
good ones and every kind of bad one."""
import base64
import hashlib
import hmac
import json
import time

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b'=').decode()


def number(n, size=None):
    return b64(n.to_bytes(size or (n.bit_length() + 7) // 8, 'big'))


class Key:
    """A private key and its public half in both forms."""

    def __init__(self, alg, kid=None, bits=2048, curve=None):
        self.alg, self.kid = alg, kid
        self.private = (rsa.generate_private_key(65537, bits) if alg == 'RS256'
                        else ec.generate_private_key(curve or ec.SECP256R1()) if alg == 'ES256'
                        else ed25519.Ed25519PrivateKey.generate())
        self.public = self.private.public_key()

    def pem(self):
        return self.public.public_bytes(serialization.Encoding.PEM,
                                        serialization.PublicFormat.SubjectPublicKeyInfo)

    def private_pem(self):
        return self.private.private_bytes(serialization.Encoding.PEM,
                                          serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption())

    def jwk(self, **more):
        if self.alg == 'RS256':
            n = self.public.public_numbers()
            v = {'kty': 'RSA', 'n': number(n.n), 'e': number(n.e)}
        elif self.alg == 'ES256':
            n = self.public.public_numbers()
            v = {'kty': 'EC', 'crv': 'P-256', 'x': number(n.x, 32), 'y': number(n.y, 32)}
        else:
            v = {'kty': 'OKP', 'crv': 'Ed25519', 'x': b64(self.public.public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw))}
        return {**v, **({'kid': self.kid} if self.kid else {}), **more}

    def sign(self, data):
        if self.alg == 'RS256':
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        if self.alg == 'ES256':
            r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, 'big') + s.to_bytes(32, 'big')
        return self.private.sign(data)

    def token(self, head=None, raw_claims=None, **claims):
        """exp, and sub 'dev', unless said otherwise; None takes a claim out."""
        all_of = {'sub': 'dev', 'exp': int(time.time()) + 600, **claims}
        body = raw_claims if raw_claims is not None else json.dumps(
            {k: v for k, v in all_of.items() if v is not None}).encode()
        first = {'alg': self.alg, 'typ': 'JWT', **({'kid': self.kid} if self.kid else {}),
                 **(head or {})}
        text = b64(json.dumps({k: v for k, v in first.items() if v is not None}).encode()) \
            + '.' + b64(body)
        return text + '.' + b64(self.sign(text.encode()))


def hs256(secret, **claims):
    """Signed with a shared secret: the key confusion of old libraries."""
    text = b64(b'{"alg":"HS256","typ":"JWT"}') + '.' + b64(json.dumps(
        {'sub': 'dev', 'exp': int(time.time()) + 600, **claims}).encode())
    return text + '.' + b64(hmac.new(secret, text.encode(), hashlib.sha256).digest())


def unsigned(alg='none', **claims):
    return b64(json.dumps({'alg': alg}).encode()) + '.' + b64(json.dumps(
        {'sub': 'dev', 'exp': int(time.time()) + 600, **claims}).encode()) + '.'
