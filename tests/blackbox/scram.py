# SPDX-License-Identifier: Apache-2.0
"""SCRAM-SHA-256 (RFC 5802, RFC 7677) in Python, made without the code under
test: a client that can be told to do it wrong, and verifiers for files."""
import base64
import hashlib
import hmac
import os

METHOD = 'SCRAM-SHA-256'


def b64(data):
    return base64.b64encode(data).decode()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def derive(password, salt, iterations):
    """ClientKey, StoredKey, ServerKey."""
    salted = hashlib.pbkdf2_hmac('sha256', password.encode(), salt, iterations)
    client = mac(salted, b'Client Key')
    return client, hashlib.sha256(client).digest(), mac(salted, b'Server Key')


def verifier(name, password, iterations=4096, salt=None):
    """A line of a password file (RFC 5803)."""
    salt = salt or os.urandom(16)
    _, stored, server = derive(password, salt, iterations)
    return f'{name}:SCRAM-SHA-256${iterations}:{b64(salt)}${b64(stored)}:{b64(server)}\n'


SECRET = '#nightjar-scram-secret: ' + b64(bytes(range(32))) + '\n'


class Client:
    """One exchange: first(), final(server-first), verify(server-final)."""

    def __init__(self, user, password, gs2='n,,', nonce=None):
        self.password, self.gs2 = password, gs2
        self.nonce = nonce or b64(os.urandom(18))
        name = user.replace('=', '=3D').replace(',', '=2C')
        self.bare = f'n={name},r={self.nonce}'
        self.challenge = {}
        self.signature = None

    def first(self):
        return (self.gs2 + self.bare).encode()

    def final(self, server_first, wrong=False):
        text = server_first.decode()
        self.challenge = dict(f.split('=', 1) for f in text.split(','))
        assert self.challenge['r'].startswith(self.nonce)
        assert len(self.challenge['r']) > len(self.nonce)
        client, stored, server = derive(self.password, base64.b64decode(self.challenge['s']),
                                        int(self.challenge['i']))
        bare = f'c={b64(self.gs2.encode())},r={self.challenge["r"]}'
        message = f'{self.bare},{text},{bare}'.encode()
        proof = bytes(a ^ b for a, b in zip(client, mac(stored, message)))
        if wrong:
            proof = bytes([proof[0] ^ 1]) + proof[1:]
        self.signature = b64(mac(server, message))
        return f'{bare},p={b64(proof)}'.encode()

    def verify(self, server_final):
        assert server_final.decode() == f'v={self.signature}', server_final
